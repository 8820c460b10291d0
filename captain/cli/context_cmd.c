/* SPDX-License-Identifier: Apache-2.0
 *
 * captain context ls | show | create | use | rm
 */
#include "captain/cli/context.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "captain/cli/keyring.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"

/* Contexts are the only objects that no message describes. */
static json_t *as_json(const struct context *context, bool current)
{
    json_t *json = json_object();
    const char *const pairs[][2] = {{"name", context->name},
                                    {"url", context->url},
                                    {"creds", context->creds},
                                    {"ca", context->ca},
                                    {"operator", context->operator_name},
                                    {"releaseKey", context->release_key},
                                    {"root", context->root}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (pairs[i][1])
            (void)json_object_set_new(json, pairs[i][0], json_string(pairs[i][1]));
    if (current)
        (void)json_object_set_new(json, "current", json_true());
    return json;
}

static void print_json(json_t *json)
{
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(json);
    if (text)
        output_line("%s", text);
    free(text);
}

static void print_table(const struct contexts *contexts)
{
    struct output_table *table =
        output_table_new((const char *const[]){"", "NAME", "URL", "OPERATOR", NULL});
    for (size_t i = 0; i < contexts->list_len; i++) {
        const struct context *context = &contexts->list[i];
        bool current = str_equal(context->name, contexts->current);
        output_table_row(table, (const char *const[]){current ? "*" : "", context->name,
                                                      context->url, context->operator_name});
        if (current)
            output_table_tone(table, 1, OUTPUT_GOOD);
    }
    output_table_end(table);
}

enum err_code cmd_context_ls(struct invocation *invocation, struct err *err)
{
    struct contexts contexts;
    if (contexts_load(invocation->arena, &contexts, err))
        return err->code;
    if (output_is_json()) {
        json_t *json = json_object();
        json_t *list = json_array();
        for (size_t i = 0; i < contexts.list_len; i++) {
            const struct context *context = &contexts.list[i];
            (void)json_array_append_new(
                list, as_json(context, str_equal(context->name, contexts.current)));
        }
        (void)json_object_set_new(json, "contexts", list);
        print_json(json);
    } else if (contexts.list_len) {
        print_table(&contexts);
    } else {
        output_note("no contexts; captain context create NAME --url nats://HOST:4222");
    }
    return ERR_OK;
}

static enum err_code load_one(struct invocation *invocation, struct contexts *contexts,
                              struct context **ret, struct err *err)
{
    if (contexts_load(invocation->arena, contexts, err))
        return err->code;
    const char *name = invocation->args_len ? invocation->args[0] : contexts->current;
    *ret = name ? contexts_find(contexts, name) : NULL;
    if (*ret)
        return ERR_OK;
    if (name)
        err_set(err, ERR_NOT_FOUND, "there is no context %s", name);
    else
        err_set(err, ERR_NOT_FOUND, "no context is in use");
    return err_hint(err, "captain context ls");
}

enum err_code cmd_context_show(struct invocation *invocation, struct err *err)
{
    struct contexts contexts;
    struct context *context;
    if (load_one(invocation, &contexts, &context, err))
        return err->code;
    bool current = str_equal(context->name, contexts.current);
    if (output_is_json()) {
        print_json(as_json(context, current));
        return ERR_OK;
    }
    output_field("name", "%s%s", context->name, current ? " (in use)" : "");
    output_field("url", "%s", output_text(context->url));
    output_field("creds", "%s", output_text(context->creds));
    output_field("ca", "%s", output_text(context->ca));
    output_field("operator", "%s", output_text(context->operator_name));
    output_field("release key", "%s", output_text(context->release_key));
    output_field("root", "%s", output_text(context->root));
    return ERR_OK;
}

/* Files are named by their whole path, so that the context works from every folder. */
static enum err_code set_file(struct arena *arena, const char *path, const char **ret,
                              struct err *err)
{
    if (!path)
        return ERR_OK;
    char whole[PATH_MAX];
    if (!realpath(path, whole))
        return err_set(err, ERR_USAGE, "there is no file %s", path);
    *ret = arena_strdup(arena, whole);
    return ERR_OK;
}

static enum err_code fill(const struct invocation *invocation, struct context *context,
                          struct err *err)
{
    const char *const *flags = invocation->flags;
    const char *url = flags[FLAG_URL] ? flags[FLAG_URL] : flags[FLAG_NATS];
    const char *key = NULL;
    if (flags[FLAG_RELEASE_KEY] &&
        keyring_path(flags[FLAG_RELEASE_KEY], invocation->arena, &key, err))
        return err->code;
    if (url)
        context->url = url;
    if (flags[FLAG_OPERATOR])
        context->operator_name = flags[FLAG_OPERATOR];
    if (context->operator_name && !str_is_token(context->operator_name))
        return err_set(err, ERR_USAGE, "operator %s is no plain name", context->operator_name);
    if (set_file(invocation->arena, flags[FLAG_CREDS], &context->creds, err) ||
        set_file(invocation->arena, flags[FLAG_CA], &context->ca, err) ||
        set_file(invocation->arena, key, &context->release_key, err) ||
        set_file(invocation->arena, flags[FLAG_ROOT], &context->root, err))
        return err->code;
    if (!context->url) {
        err_set(err, ERR_USAGE, "context %s has no server", context->name);
        return err_hint(err, "captain context create %s --url nats://HOST:4222", context->name);
    }
    return ERR_OK;
}

enum err_code cmd_context_create(struct invocation *invocation, struct err *err)
{
    struct contexts contexts;
    const char *name = invocation->args[0];
    if (contexts_load(invocation->arena, &contexts, err))
        return err->code;
    if (!str_is_token(name))
        return err_set(err, ERR_USAGE, "%s is no plain name: letters, digits, _ and -", name);
    struct context *context = contexts_find(&contexts, name);
    if (!context && contexts.list_len == CONTEXTS_MAX)
        return err_set(err, ERR_FULL, "there are %d contexts already", CONTEXTS_MAX);
    if (!context) {
        context = &contexts.list[contexts.list_len++];
        *context = (struct context){.name = name};
    }
    if (fill(invocation, context, err))
        return err->code;
    if (!contexts.current)
        contexts.current = name;
    if (contexts_save(&contexts, err))
        return err->code;
    output_note("context %s is written to %s", name, contexts.path);
    if (output_is_json())
        print_json(as_json(context, str_equal(name, contexts.current)));
    return ERR_OK;
}

enum err_code cmd_context_use(struct invocation *invocation, struct err *err)
{
    struct contexts contexts;
    struct context *context;
    if (load_one(invocation, &contexts, &context, err))
        return err->code;
    contexts.current = context->name;
    if (contexts_save(&contexts, err))
        return err->code;
    output_note("context %s is in use now", context->name);
    if (output_is_json())
        print_json(as_json(context, true));
    return ERR_OK;
}

enum err_code cmd_context_rm(struct invocation *invocation, struct err *err)
{
    struct contexts contexts;
    struct context *context;
    if (load_one(invocation, &contexts, &context, err))
        return err->code;
    const char *name = context->name;
    if (str_equal(name, contexts.current))
        contexts.current = NULL;
    size_t behind = contexts.list_len - (size_t)(context - contexts.list) - 1;
    memmove(context, context + 1, behind * sizeof *context);
    contexts.list_len--;
    if (contexts_save(&contexts, err))
        return err->code;
    output_note("context %s is removed", name);
    if (output_is_json())
        print_json(as_json(&(struct context){.name = name}, false));
    return ERR_OK;
}

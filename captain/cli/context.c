/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/context.h"

#include <jansson.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/file.h"

enum { FILE_MAX_BYTES = 256 << 10 };

static const struct {
    const char *key;
    size_t offset;
} keys[] = {
    {"url", offsetof(struct context, url)},
    {"creds", offsetof(struct context, creds)},
    {"ca", offsetof(struct context, ca)},
    {"operator", offsetof(struct context, operator_name)},
    {"release_key", offsetof(struct context, release_key)},
    {"root", offsetof(struct context, root)},
};

static const char **slot(struct context *context, size_t offset)
{
    return (const char **)(void *)((char *)context + offset);
}

static const char *find_path(struct arena *arena)
{
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        return arena_printf(arena, "%s/captain/contexts.json", xdg);
    if (home && home[0] == '/')
        return arena_printf(arena, "%s/.config/captain/contexts.json", home);
    return NULL;
}

static void json_unref(json_t **json)
{
    json_decref(*json);
}

static enum err_code read_context(const struct contexts *contexts, const char *name, json_t *json,
                                  struct arena *arena, struct context *ret, struct err *err)
{
    const char *key;
    json_t *value;
    ret->name = arena_strdup(arena, name);
    if (!str_is_token(name) || !json_is_object(json))
        return err_set(err, ERR_MALFORMED, "%s: context \"%s\" is no object with a plain name",
                       contexts->path, name);
    json_object_foreach(json, key, value)
    {
        struct suggestion suggestion;
        size_t i = 0;
        suggest_start(&suggestion, key);
        while (i < ARRAY_LEN(keys) && !str_equal(keys[i].key, key))
            suggest_offer(&suggestion, keys[i++].key);
        if (i == ARRAY_LEN(keys)) {
            const char *best = suggest_best(&suggestion);
            err_set(err, ERR_MALFORMED, "%s: context \"%s\" has the unknown key \"%s\"",
                    contexts->path, name, key);
            return best ? err_hint(err, "did you mean \"%s\"?", best) : err->code;
        }
        if (!json_is_string(value))
            return err_set(err, ERR_MALFORMED, "%s: \"%s\" of context \"%s\" is no text",
                           contexts->path, key, name);
        *slot(ret, keys[i].offset) = arena_strdup(arena, json_string_value(value));
    }
    return ERR_OK;
}

static enum err_code read_json(json_t *json, struct arena *arena, struct contexts *ret,
                               struct err *err)
{
    json_t *current = json_object_get(json, "current");
    json_t *list = json_object_get(json, "contexts");
    const char *name;
    json_t *value;
    if (!json_is_object(json) || !json_is_object(list) || (current && !json_is_string(current)))
        return err_set(err, ERR_MALFORMED,
                       "%s: is not of the form {\"current\": NAME, \"contexts\": {}}", ret->path);
    if (current)
        ret->current = arena_strdup(arena, json_string_value(current));
    json_object_foreach(list, name, value)
    {
        if (ret->list_len == CONTEXTS_MAX)
            return err_set(err, ERR_FULL, "%s: more than %d contexts", ret->path, CONTEXTS_MAX);
        if (read_context(ret, name, value, arena, &ret->list[ret->list_len], err))
            return err->code;
        ret->list_len++;
    }
    return ERR_OK;
}

enum err_code contexts_load(struct arena *arena, struct contexts *ret, struct err *err)
{
    *ret = (struct contexts){.path = find_path(arena)};
    if (!ret->path)
        return ERR_OK; /* no home: no contexts; saving will say so */
    struct stat st;
    if (stat(ret->path, &st) == 0 && (st.st_mode & 077)) {
        err_set(err, ERR_DENIED, "%s can be read by others", ret->path);
        return err_hint(err, "chmod 600 %s", ret->path);
    }
    struct bytes text;
    enum err_code code = file_read(ret->path, FILE_MAX_BYTES, arena, &text, err);
    if (code == ERR_NOT_FOUND) {
        *err = (struct err){0};
        return ERR_OK;
    }
    if (code)
        return code;
    json_error_t why;
    json_t *json DEFER(json_unref) =
        json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!json)
        return err_set(err, ERR_MALFORMED, "%s:%d:%d: %s", ret->path, why.line, why.column,
                       why.text);
    return read_json(json, arena, ret, err);
}

static json_t *to_json(const struct contexts *contexts)
{
    json_t *json = json_object();
    json_t *list = json_object();
    if (contexts->current)
        (void)json_object_set_new(json, "current", json_string(contexts->current));
    for (size_t i = 0; i < contexts->list_len; i++) {
        struct context context = contexts->list[i];
        json_t *one = json_object();
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            if (*slot(&context, keys[k].offset))
                (void)json_object_set_new(one, keys[k].key,
                                          json_string(*slot(&context, keys[k].offset)));
        (void)json_object_set_new(list, context.name, one);
    }
    (void)json_object_set_new(json, "contexts", list);
    return json;
}

enum err_code contexts_save(const struct contexts *contexts, struct err *err)
{
    if (!contexts->path)
        return err_set(err, ERR_FAILED,
                       "neither XDG_CONFIG_HOME nor HOME says where contexts live");
    char *folder DEFER(mem_free_ref) = mem_strdup(contexts->path);
    *strrchr(folder, '/') = '\0';
    if (file_make_dirs(folder, 0700, err))
        return err->code;
    json_t *json DEFER(json_unref) = to_json(contexts);
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (!text)
        return err_set(err, ERR_MALFORMED, "a context holds text that is not UTF-8");
    enum err_code code = file_replace(contexts->path, bytes_of(text, strlen(text)), 0600, err);
    free(text);
    return code;
}

struct context *contexts_find(struct contexts *contexts, const char *name)
{
    for (size_t i = 0; i < contexts->list_len; i++)
        if (str_equal(contexts->list[i].name, name))
            return &contexts->list[i];
    return NULL;
}

void context_token(const char *text, char *ret)
{
    size_t at = 0;
    for (; text && text[at] && at < TOKEN_MAX; at++) {
        char one[2] = {text[at], '\0'};
        ret[at] = str_is_token(one) ? text[at] : '_';
    }
    ret[at] = '\0';
}

static const char *default_operator(struct arena *arena)
{
    char token[TOKEN_MAX + 1];
    const char *user = getenv("USER");
    if (!user || !user[0]) {
        const struct passwd *entry = getpwuid(getuid());
        user = entry ? entry->pw_name : NULL;
    }
    context_token(user, token);
    return token[0] ? arena_strdup(arena, token) : "operator";
}

static const char *first(const char *a, const char *b)
{
    return a && a[0] ? a : b;
}

static enum err_code unknown_context(struct contexts *contexts, const char *name, struct err *err)
{
    struct suggestion suggestion;
    suggest_start(&suggestion, name);
    for (size_t i = 0; i < contexts->list_len; i++)
        suggest_offer(&suggestion, contexts->list[i].name);
    const char *best = suggest_best(&suggestion);
    err_set(err, ERR_USAGE, "there is no context %s", name);
    return best ? err_hint(err, "did you mean %s?", best) : err_hint(err, "captain context ls");
}

enum err_code context_resolve(const struct invocation *invocation, struct context *ret,
                              struct err *err)
{
    struct contexts contexts;
    if (contexts_load(invocation->arena, &contexts, err))
        return err->code;
    const char *const *flags = invocation->flags;
    const char *name =
        first(flags[FLAG_CONTEXT], first(getenv("CAPTAIN_CONTEXT"), contexts.current));
    struct context *chosen = name ? contexts_find(&contexts, name) : NULL;
    if (name && !chosen)
        return unknown_context(&contexts, name, err);
    *ret = chosen ? *chosen : (struct context){0};
    ret->url = first(flags[FLAG_NATS],
                     first(getenv("NATS_URL"), first(ret->url, "nats://127.0.0.1:4222")));
    ret->creds = first(flags[FLAG_CREDS], ret->creds);
    ret->ca = first(flags[FLAG_CA], ret->ca);
    ret->operator_name =
        first(flags[FLAG_OPERATOR], first(ret->operator_name, default_operator(invocation->arena)));
    ret->release_key = first(flags[FLAG_KEY], ret->release_key);
    ret->root = first(flags[FLAG_ROOT], ret->root);
    if (!str_is_token(ret->operator_name)) {
        err_set(err, ERR_USAGE, "operator %s is no plain name", ret->operator_name);
        return err_hint(err, "letters, digits, _ and -, at most %d", TOKEN_MAX);
    }
    return ERR_OK;
}

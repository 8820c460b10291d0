/* SPDX-License-Identifier: Apache-2.0
 *
 * captain operator add | ls | rm. The key of a new operator is made here; captain gets the public half
 * and gives the credential, which goes into a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "captain/cli/client.h"
#include "captain/cli/operator_example.h"
#include "captain/cli/output.h"
#include "captain/cli/terminal.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/nkey.h"

/* Where the credential and the certificate authority go. */
struct places {
    const char *creds, *ca; /* whole paths */
    bool creds_made, ca_made;
};

/* Made before captain is asked, empty: a file that is there is never lost, and a credential that could
 * not be written is never issued. */
static enum err_code reserve(const char *path, bool *ret_made, struct err *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        (void)err_set(err, ERR_CONFLICT, "%s exists", path);
        return err_hint(err, "--output OTHER.creds");
    }
    if (fd < 0)
        return err_sys(err, errno, "making %s", path);
    (void)close(fd);
    *ret_made = true;
    return ERR_OK;
}

static void give_back(struct places *places)
{
    if (places->creds_made)
        (void)unlink(places->creds);
    if (places->ca_made)
        (void)unlink(places->ca);
}

/* "NAME.creds" and "NAME.ca.pem"; of its folder that is there the whole path, for the examples. */
static enum err_code find_places(const struct invocation *invocation, struct places *ret,
                                 struct err *err)
{
    struct arena *arena = invocation->arena;
    const char *given = invocation->flags[FLAG_OUTPUT_DIR];
    const char *creds = given ? given : arena_printf(arena, "%s.creds", invocation->args[0]);
    const char *slash = creds ? strrchr(creds, '/') : NULL;
    const char *folder = !slash ? "."
                         : slash == creds
                             ? "/"
                             : arena_printf(arena, "%.*s", (int)(slash - creds), creds);
    const char *name = slash ? slash + 1 : creds;
    char whole[PATH_MAX];
    if (!name || !name[0] || !folder || !realpath(folder, whole))
        return err_set(err, ERR_USAGE, "there is no folder for %s", creds ? creds : "the file");
    const char *dot = strrchr(name, '.');
    const int stem = dot && str_equal(dot, ".creds") ? (int)(dot - name) : (int)strlen(name);
    const char *base = str_equal(whole, "/") ? "" : whole;
    ret->creds = arena_printf(arena, "%s/%s", base, name);
    ret->ca = arena_printf(arena, "%s/%.*s.ca.pem", base, stem, name);
    return ret->creds && ret->ca ? ERR_OK : err_set(err, ERR_SIZE, "the path is too long");
}

static enum err_code read_add(const struct invocation *invocation, struct operator_add *ret,
                              struct err *err)
{
    const char *const *flags = invocation->flags;
    *ret = (struct operator_add){.name = invocation->args[0],
                                 .role = flags[FLAG_ROLE],
                                 .reason = flags[FLAG_REASON],
                                 .replace = flags[FLAG_YES] != NULL};
    if (!str_is_token(ret->name)) {
        err_set(err, ERR_USAGE, "\"%.80s\" is no plain name", ret->name);
        return err_hint(err, "letters, digits, _ and -, at most %d", TOKEN_MAX);
    }
    if (!ret->role) {
        err_set(err, ERR_USAGE, "what may %s do?", ret->name);
        return err_hint(err, "--role viewer, operator, release-manager or admin");
    }
    if (flags[FLAG_TTL] && (str_duration_ms(flags[FLAG_TTL], &ret->ttl_ms) || ret->ttl_ms <= 0)) {
        err_set(err, ERR_USAGE, "--ttl %s is not a duration", flags[FLAG_TTL]);
        return err_hint(err, "--ttl 90d");
    }
    return ERR_OK;
}

/* "tls://a:4222,tls://b:4222" */
static const char *join_urls(const struct operator_info *info, struct arena *arena)
{
    const char *all = "";
    for (size_t i = 0; i < info->urls_len; i++)
        all = output_text(arena_printf(arena, "%s%s%s", all, i ? "," : "", info->urls[i]));
    return all;
}

static enum err_code write_files(const struct operator_info *info, const struct sign_key *key,
                                 const struct places *places, struct err *err)
{
    const enum err_code code = nkey_write_creds(places->creds, info->jwt, key, err);
    if (code != ERR_OK || !info->ca[0])
        return code;
    return file_replace(places->ca, bytes_of(info->ca, strlen(info->ca)), 0644, err);
}

static enum err_code print_json(const struct operator_info *info, const struct places *places,
                                struct arena *arena, struct err *err)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "name", info->name, "role", info->role,
                  "url", join_urls(info, arena), "creds", places->creds, "ca", places->ca, "key",
                  info->key, "expires", output_time(arena, info->expires_ms));
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(json);
    if (!text)
        return err_set(err, ERR_MALFORMED, "captain's answer is no text");
    output_encoded(text);
    free(text);
    return ERR_OK;
}

static enum err_code print_added(const struct operator_info *info, const struct places *places,
                                 struct arena *arena, struct err *err)
{
    const struct operator_example example = {.arena = arena,
                                             .name = info->name,
                                             .url = join_urls(info, arena),
                                             .creds = places->creds,
                                             .ca = places->ca};
    if (output_is_json())
        return print_json(info, places, arena, err);
    output_field("operator", "%s", info->name);
    output_field("role", "%s", info->role);
    output_field("until", "%s", output_second(arena, info->expires_ms));
    output_field("creds", "%s", places->creds);
    output_field("ca", "%s", places->ca);
    output_line("%s", "");
    operator_example_context(&example);
    if (str_equal(info->role, "viewer"))
        operator_example_print(&example);
    output_note("whoever has the file %s is %s", places->creds, info->name);
    return ERR_OK;
}

/* With the files reserved. */
static enum err_code add(struct invocation *invocation, struct operator_add *request,
                         const struct places *places, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct operator_info info;
    struct sign_key key;
    if (client_open(invocation, &client, err))
        return err->code;
    sign_key_new(&key);
    request->public_key = bytes_of(key.public_key, SIGN_PUBLIC_BYTES);
    enum err_code code = client_call(client,
                                     &(struct client_call){"operator", "add", &codec_operator_add,
                                                           request, &codec_operator_info, &info},
                                     invocation->arena, err);
    if (code == ERR_OK)
        code = write_files(&info, &key, places, err);
    sign_key_wipe(&key);
    return code ? code : print_added(&info, places, invocation->arena, err);
}

enum err_code cmd_operator_add(struct invocation *invocation, struct err *err)
{
    struct places places = {0};
    struct operator_add request;
    if (read_add(invocation, &request, err) || find_places(invocation, &places, err))
        return err->code;
    enum err_code code = reserve(places.creds, &places.creds_made, err);
    if (code == ERR_OK)
        code = reserve(places.ca, &places.ca_made, err);
    if (code == ERR_OK)
        code = add(invocation, &request, &places, err);
    if (code != ERR_OK)
        give_back(&places);
    return code;
}

/* Those there are. */

static const char *state_of(const struct operator_info *info)
{
    if (info->removed)
        return "removed";
    return info->expires_ms == 0 || info->expires_ms > clock_unix_ms() ? "valid" : "expired";
}

static void print_table(const struct operator_list *list, struct arena *arena)
{
    struct output_table *table = output_table_new((const char *const[]){
        "OPERATOR", "ROLE", "STATE", "ADDED", "BY", "CREDENTIAL UNTIL", "<KEY", NULL});
    for (size_t i = 0; i < list->operators_len; i++) {
        const struct operator_info *info = &list->operators[i];
        const char *state = state_of(info);
        output_table_row(table,
                         (const char *const[]){info->name, info->role, state,
                                               output_second(arena, info->added_ms), info->added_by,
                                               output_second(arena, info->expires_ms), info->key});
        output_table_tone(table, 2, str_equal(state, "valid") ? OUTPUT_GOOD : OUTPUT_FAINT);
    }
    output_table_end(table);
}

enum err_code cmd_operator_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct operator_query query = {.name = ""};
    struct operator_list list;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"operator", "ls", &codec_operator_query, &query,
                                          &codec_operator_list, &list},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_operator_list, &list, invocation->arena, err);
    if (list.operators_len)
        print_table(&list, invocation->arena);
    else
        output_note("no operators; captain operator add NAME --role ROLE");
    return ERR_OK;
}

/* Removing. */

static enum err_code confirm(const struct invocation *invocation, struct err *err)
{
    const char *question = arena_printf(
        invocation->arena, "remove %s: contact ends at once, and the credential is void for good?",
        invocation->args[0]);
    if (invocation->flags[FLAG_YES])
        return ERR_OK;
    if (!question)
        return err_set(err, ERR_USAGE, "the name is too long");
    if (terminal_confirm(question, err) == ERR_OK)
        return ERR_OK;
    return err->code == ERR_USAGE ? err_hint(err, "--yes, if that is meant") : err->code;
}

enum err_code cmd_operator_rm(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct operator_query query = {.name = invocation->args[0],
                                         .reason = invocation->flags[FLAG_REASON]};
    struct operator_info info;
    if (confirm(invocation, err) || client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"operator", "rm", &codec_operator_query, &query,
                                          &codec_operator_info, &info},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_operator_info, &info, invocation->arena, err);
    output_line("operator %s is removed", info.name);
    return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * captain secret set | rotate | ls | rm. A value is sealed to captain's vault here, so that neither bus
 * nor server ever see it, and its buffer is wiped before the answer is waited for.
 */
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "captain/cli/client.h"
#include "captain/cli/output.h"
#include "captain/cli/setting.h"
#include "captain/cli/terminal.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/no_dump.h"

enum {
    RANDOM_BYTES = 32,
    SEALED_MAX = SETTING_VALUE_MAX + crypto_box_SEALBYTES,
    LOOK_MS = 500,
    LOOK_ARENA_BYTES = 8 << 20,
};

/* Printing. */

static const char *scope_text(const struct secret_info *info)
{
    return info->scope[0] ? info->scope : "app";
}

static const char *confirmed_text(const struct secret_info *info, struct arena *arena)
{
    return output_text(arena_printf(arena, "%" PRIu64 " of %" PRIu64 "%s", info->confirmed,
                                    info->devices, info->settling ? " so far" : ""));
}

static const char *waiting_text(const struct secret_info *info, struct arena *arena)
{
    const char *all = "";
    for (size_t i = 0; i < info->waiting_len && all; i++)
        all = arena_printf(arena, "%s%s%s", all, i ? ", " : "", info->waiting[i]);
    if (all && info->waiting_len && info->devices - info->confirmed > info->waiting_len)
        all = arena_printf(arena, "%s and %" PRIu64 " more", all,
                           info->devices - info->confirmed - info->waiting_len);
    return output_text(all);
}

static enum err_code print_one(const struct secret_info *info, struct arena *arena, struct err *err)
{
    if (output_is_json())
        return output_message(&codec_secret_info, info, arena, err);
    output_field("secret", "%s/%s", info->app, info->name);
    output_field("scope", "%s", scope_text(info));
    output_field("version", "%" PRIu64, info->version);
    output_field("set", "%s", output_time(arena, info->set_ms));
    output_field("set by", "%s", info->set_by);
    output_field("decision", "%" PRIu64, info->decision);
    output_field("confirmed", "%s", confirmed_text(info, arena));
    output_field("waiting for", "%s", waiting_text(info, arena));
    return ERR_OK;
}

static enum err_code print_list(const struct secret_list *list, struct arena *arena,
                                struct err *err)
{
    if (output_is_json())
        return output_message(&codec_secret_list, list, arena, err);
    if (list->secrets_len == 0) {
        output_note("no secrets; captain secret set APP/NAME --from FILE makes one");
        return ERR_OK;
    }
    struct output_table *table = output_table_new((const char *const[]){
        "SECRET", "SCOPE", ">VERSION", "SET", "BY", ">CONFIRMED", "<WAITING FOR", NULL});
    const int64_t now_ms = clock_unix_ms();
    for (size_t i = 0; i < list->secrets_len; i++) {
        const struct secret_info *info = &list->secrets[i];
        output_table_row(
            table, (const char *const[]){arena_printf(arena, "%s/%s", info->app, info->name),
                                         scope_text(info), output_number(arena, info->version),
                                         output_age(arena, info->set_ms, now_ms), info->set_by,
                                         confirmed_text(info, arena), waiting_text(info, arena)});
        output_table_tone(table, 5, info->confirmed == info->devices ? OUTPUT_GOOD : OUTPUT_BUSY);
    }
    output_table_end(table);
    return ERR_OK;
}

/* Asking. */

static enum err_code ask_list(struct client *client, const struct secret_query *query,
                              const char *verb, struct arena *arena, struct secret_list *ret,
                              struct err *err)
{
    return client_call(
        client,
        &(struct client_call){"secret", verb, &codec_secret_query, query, &codec_secret_list, ret},
        arena, err);
}

enum err_code cmd_secret_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct secret_query query = {.app = invocation->args_len ? invocation->args[0] : ""};
    struct secret_list list;
    if (client_open(invocation, &client, err) ||
        ask_list(client, &query, "ls", invocation->arena, &list, err))
        return err->code;
    return print_list(&list, invocation->arena, err);
}

/* Waiting until every device has said that it has it. */

/* False: there is another value now, or none. */
static bool find(const struct secret_list *list, const struct secret_info *wanted,
                 const struct secret_info **ret)
{
    for (size_t i = 0; i < list->secrets_len; i++) {
        *ret = &list->secrets[i];
        if (str_equal((*ret)->scope, wanted->scope))
            return (*ret)->version == wanted->version;
    }
    return false;
}

/* *ret_done: everyone has it. */
static enum err_code look(struct client *client, const struct secret_info *wanted, bool *ret_done,
                          struct err *err)
{
    const struct secret_query query = {.app = wanted->app, .name = wanted->name};
    const struct secret_info *now = NULL;
    struct secret_list list;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, LOOK_ARENA_BYTES);
    if (ask_list(client, &query, "ls", &arena, &list, err))
        return err->code;
    if (!find(&list, wanted, &now))
        return err_set(err, ERR_CONFLICT, "version %" PRIu64 " of %s/%s was replaced or removed",
                       wanted->version, wanted->app, wanted->name);
    output_progress("%s/%s: confirmed by %s; waiting for %s", wanted->app, wanted->name,
                    confirmed_text(now, &arena), waiting_text(now, &arena));
    *ret_done = !now->settling && now->confirmed == now->devices;
    return ERR_OK;
}

static enum err_code wait_for_all(struct client *client, const struct secret_info *wanted,
                                  struct err *err)
{
    bool done = false;
    client_catch_interrupt(client);
    while (look(client, wanted, &done, err) == ERR_OK && !done) {
        const int64_t until_ms = clock_mono_ms() + LOOK_MS;
        while (clock_mono_ms() < until_ms && !client_interrupted(client))
            client_turn(client, until_ms - clock_mono_ms());
        if (client_interrupted(client)) {
            output_progress("%s", "");
            (void)err_set(err, ERR_INTERRUPTED, "not waited any longer; the secret is set");
            return err_hint(err, "captain secret ls %s", wanted->app);
        }
    }
    output_progress("%s", "");
    return err->code;
}

/* Setting. */

/* What the value is sealed into; of the value nothing is left in value. */
static enum err_code seal(struct client *client, uint8_t value[SETTING_VALUE_MAX], size_t len,
                          struct arena *arena, struct bytes *ret, struct err *err)
{
    const struct status_query query = {0};
    struct vault_key key;
    uint8_t *box = arena_alloc(arena, SEALED_MAX);
    enum err_code code =
        box ? client_call(client,
                          &(struct client_call){"secret", "key", &codec_status_query, &query,
                                                &codec_vault_key, &key},
                          arena, err)
            : err_set(err, ERR_SIZE, "a secret takes too much memory");
    if (code == ERR_OK && crypto_box_seal(box, value, len, key.public_key.ptr) != 0)
        code = err_set(err, ERR_DENIED, "captain's vault key is none that can be sealed to");
    sodium_memzero(value, SETTING_VALUE_MAX);
    if (code == ERR_OK)
        *ret = bytes_of(box, len + crypto_box_SEALBYTES);
    return code;
}

static void make_random(uint8_t value[SETTING_VALUE_MAX], size_t *ret_len)
{
    uint8_t raw[RANDOM_BYTES];
    randombytes_buf(raw, sizeof raw);
    (void)sodium_bin2base64((char *)value, SETTING_VALUE_MAX, raw, sizeof raw,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    *ret_len = strlen((const char *)value);
    sodium_memzero(raw, sizeof raw);
}

static enum err_code read_value(const struct invocation *invocation, bool rotate,
                                uint8_t value[SETTING_VALUE_MAX], size_t *ret_len, struct err *err)
{
    const char *from = invocation->flags[FLAG_FROM];
    if (from && setting_read_value(from, value, ret_len, err))
        return err->code;
    if (!from && !rotate) {
        (void)err_set(err, ERR_USAGE, "where is the value?");
        return err_hint(err, "--from FILE, --from - for stdin, or --from env://NAME");
    }
    if (!from)
        make_random(value, ret_len);
    else if (value[*ret_len - 1] == '\n' && strncmp(from, "env://", 6) != 0)
        output_note("the value ends with a newline, which is part of it");
    return ERR_OK;
}

static enum err_code set(struct invocation *invocation, bool rotate, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    char app[TOKEN_MAX + 1];
    uint8_t value[SETTING_VALUE_MAX];
    size_t len = 0;
    struct secret_put put = {
        .app = app, .rotate = rotate, .reason = invocation->flags[FLAG_REASON]};
    struct secret_info info;
    no_dump();
    if (setting_secret_name(invocation, app, &put.name, &put.scope, err) ||
        client_open(invocation, &client, err) || read_value(invocation, rotate, value, &len, err) ||
        seal(client, value, len, invocation->arena, &put.sealed, err) ||
        client_call(client,
                    &(struct client_call){"secret", "set", &codec_secret_put, &put,
                                          &codec_secret_info, &info},
                    invocation->arena, err) ||
        (invocation->flags[FLAG_WAIT] && wait_for_all(client, &info, err)))
        return err->code;
    if (!invocation->flags[FLAG_WAIT])
        return print_one(&info, invocation->arena, err);
    const struct secret_query query = {.app = info.app, .name = info.name};
    const struct secret_info *now = NULL;
    struct secret_list list;
    if (ask_list(client, &query, "ls", invocation->arena, &list, err))
        return err->code;
    return print_one(find(&list, &info, &now) ? now : &info, invocation->arena, err);
}

enum err_code cmd_secret_set(struct invocation *invocation, struct err *err)
{
    return set(invocation, false, err);
}

enum err_code cmd_secret_rotate(struct invocation *invocation, struct err *err)
{
    return set(invocation, true, err);
}

/* Removing. */

enum err_code cmd_secret_rm(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    char app[TOKEN_MAX + 1];
    struct secret_query query = {.app = app, .reason = invocation->flags[FLAG_REASON]};
    struct secret_list list;
    if (setting_secret_name(invocation, app, &query.name, &query.scope, err))
        return err->code;
    const char *question = arena_printf(invocation->arena, "remove secret %s/%s%s%s for good?", app,
                                        query.name, query.scope[0] ? " for " : "", query.scope);
    if (!invocation->flags[FLAG_YES] && terminal_confirm(output_text(question), err))
        return err->code == ERR_USAGE ? err_hint(err, "--yes") : err->code;
    if (client_open(invocation, &client, err) ||
        ask_list(client, &query, "rm", invocation->arena, &list, err))
        return err->code;
    return print_list(&list, invocation->arena, err);
}

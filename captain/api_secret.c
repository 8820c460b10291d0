/* SPDX-License-Identifier: Apache-2.0
 *
 * secret.key | set | ls | rm. A value comes sealed to the vault's key; its box goes into a file, durable
 * before anything is decided, and neither value nor box into the log.
 */
#include <string.h>

#include "captain/api_private.h"
#include "captain/core/secret_scope.h"
#include "captain/io/store/secret.h"
#include "captain/io/vault.h"
#include "captain/secrets.h"
#include "common/hash.h"

enum {
    SECRETS_MAX = 1000, /* of the fleet: all fit one answer */
    OF_APP_MAX = 48,    /* names; a device has room for some more, of other apps */
    WAITING_MAX = 20,   /* devices named in an answer */
    WAITING_SECRETS_MAX = 40,
};

static enum err_code no_vault(struct err *err)
{
    (void)err_set(err, ERR_USAGE, "this captain keeps no secrets: it has no master key");
    return err_hint(err, "\"master_key\": \"file:keys/master.key\" in captain.json (captain init "
                         "makes both), then start it again");
}

enum err_code api_secret_key(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct vault *vault = request->captain->vault;
    if (!vault)
        return no_vault(err);
    ret->vault_key.public_key = bytes_of(vault_public_key(vault), VAULT_KEY_BYTES);
    return ERR_OK;
}

/* Finding. */

static enum err_code list(struct api_request *request, const char *app, const char *name,
                          struct store_secret **ret, size_t *ret_len, struct err *err)
{
    return store_secret_list(request->captain->db, app, name, &request->arena, ret, ret_len, err);
}

/* *ret NULL: there is none. */
static enum err_code find(struct api_request *request, const char *app, const char *name,
                          const char *scope, const struct store_secret **ret, struct err *err)
{
    struct store_secret *rows = NULL;
    size_t len = 0;
    const enum err_code code = list(request, app, name, &rows, &len, err);
    *ret = NULL;
    for (size_t i = 0; code == ERR_OK && i < len; i++)
        if (str_equal(rows[i].scope, scope))
            *ret = &rows[i];
    return code;
}

static enum err_code unknown(const char *app, const char *name, const char *scope, struct err *err)
{
    (void)err_set(err, ERR_NOT_FOUND, "there is no secret %s/%s%s%s", app, name,
                  scope[0] ? " for " : "", scope);
    return err_hint(err, "captain secret ls %s", app);
}

/* Setting. */

static enum err_code check_words(const char *app, const char *name, const char *scope,
                                 struct err *err)
{
    if (app[0] && name[0])
        return secret_scope_check(scope, err);
    (void)err_set(err, ERR_USAGE, "which secret?");
    return err_hint(err, "APP/NAME, as in hello/db-password");
}

static enum err_code check_count(struct api_request *request, const char *app, const char *name,
                                 struct err *err)
{
    struct store_secret *rows = NULL;
    size_t len = 0, names = 0;
    const enum err_code code = list(request, "", "", &rows, &len, err);
    if (code != ERR_OK)
        return code;
    for (size_t i = 0; i < len; i++) {
        if (!str_equal(rows[i].app, app))
            continue;
        if (str_equal(rows[i].name, name))
            return ERR_OK;
        names += i == 0 || !str_equal(rows[i].app, rows[i - 1].app) ||
                 !str_equal(rows[i].name, rows[i - 1].name);
    }
    if (len < SECRETS_MAX && names < OF_APP_MAX)
        return ERR_OK;
    (void)err_set(err, ERR_FULL,
                  len < SECRETS_MAX ? "app %s has %d secrets already"
                                    : "beside app %s there are %d secrets already",
                  app, len < SECRETS_MAX ? OF_APP_MAX : SECRETS_MAX);
    return err_hint(err, "captain secret ls; several values fit one secret as a file");
}

/* The next version, and nothing to do when the very same box is there. */
static enum err_code next_version(struct api_request *request, struct secret_set *set,
                                  struct err *err)
{
    const struct secret_put *in = &request->in.secret_put;
    const struct store_secret *now = NULL;
    uint64_t last = 0;
    enum err_code code = find(request, in->app, in->name, in->scope, &now, err);
    if (code == ERR_OK && !now && in->rotate)
        return unknown(in->app, in->name, in->scope, err);
    if (code == ERR_OK)
        code = store_secret_last_version(request->captain->db, in->app, in->name, &last, err);
    set->version = last + 1;
    request->settled = now && bytes_equal(bytes_of(now->digest, DIGEST_BYTES), set->digest);
    return code;
}

enum err_code api_secret_set_prepare(struct api_request *request, struct arena *arena,
                                     struct decision *ret, struct err *err)
{
    const struct secret_put *in = &request->in.secret_put;
    const struct captain *captain = request->captain;
    uint8_t digest[DIGEST_BYTES] = {0};
    struct secret_set set = {.app = in->app,
                             .name = in->name,
                             .scope = in->scope,
                             .digest = bytes_of(digest, sizeof digest)};
    if (!captain->vault)
        return no_vault(err);
    hash_bytes(in->sealed, digest);
    enum err_code code = check_words(in->app, in->name, in->scope, err);
    if (code == ERR_OK)
        code = check_count(request, in->app, in->name, err);
    if (code == ERR_OK)
        code = vault_test(captain->vault, in->sealed, err);
    if (code == ERR_OK)
        code = next_version(request, &set, err);
    if (code == ERR_OK && !request->settled)
        code = vault_put(captain->options.folder, in->sealed, digest, err);
    if (code != ERR_OK)
        return code;
    *ret = (struct decision){.actor = request->actor, .kind = "secret.set", .reason = in->reason};
    ret->subject = arena_printf(arena, "%s/%s", in->app, in->name);
    return ret->subject ? codec_encode(&codec_secret_set, &set, arena, &ret->body, err)
                        : api_too_large(err);
}

enum err_code api_secret_rm_prepare(struct api_request *request, struct arena *arena,
                                    struct decision *ret, struct err *err)
{
    const struct secret_query *in = &request->in.secret_query;
    const struct store_secret *now = NULL;
    enum err_code code = check_words(in->app, in->name, in->scope, err);
    if (code == ERR_OK)
        code = find(request, in->app, in->name, in->scope, &now, err);
    if (code != ERR_OK)
        return code;
    if (!now)
        return unknown(in->app, in->name, in->scope, err);
    const struct secret_removed removed = {.app = in->app, .name = in->name, .scope = in->scope};
    *ret =
        (struct decision){.actor = request->actor, .kind = "secret.removed", .reason = in->reason};
    ret->subject = arena_printf(arena, "%s/%s", in->app, in->name);
    return ret->subject ? codec_encode(&codec_secret_removed, &removed, arena, &ret->body, err)
                        : api_too_large(err);
}

/* Answering. */

static enum err_code describe(struct api_request *request, const struct store_secret *row,
                              bool waiting, struct secret_info *ret, struct err *err)
{
    struct db *db = request->captain->db;
    const char **names = NULL;
    *ret = (struct secret_info){.app = row->app,
                                .name = row->name,
                                .scope = row->scope,
                                .version = row->version,
                                .set_ms = row->set_ms,
                                .set_by = row->set_by,
                                .decision = row->decision,
                                .settling = secrets_settling(request->captain->secrets)};
    enum err_code code = store_secret_counts(db, row, &ret->devices, &ret->confirmed, err);
    if (code == ERR_OK && waiting && ret->confirmed < ret->devices)
        code = store_secret_waiting(db, row, WAITING_MAX, &request->arena, &names,
                                    &ret->waiting_len, err);
    ret->waiting = names;
    return code;
}

enum err_code api_secret_was_set(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct secret_put *in = &request->in.secret_put;
    const struct store_secret *now = NULL;
    const enum err_code code = find(request, in->app, in->name, in->scope, &now, err);
    if (code != ERR_OK)
        return code;
    if (!now)
        return err_set(err, ERR_CONFLICT, "secret %s/%s was removed again", in->app, in->name);
    return describe(request, now, true, &ret->secret_info, err);
}

static enum err_code answer_list(struct api_request *request, const char *name, union api_out *ret,
                                 struct err *err)
{
    struct store_secret *rows = NULL;
    size_t len = 0;
    enum err_code code = list(request, request->in.secret_query.app, name, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct secret_info *infos = arena_alloc(&request->arena, (len + 1) * sizeof *infos);
    if (!infos)
        return api_too_large(err);
    for (size_t i = 0; code == ERR_OK && i < len; i++)
        code = describe(request, &rows[i], len <= WAITING_SECRETS_MAX, &infos[i], err);
    ret->secret_list = (struct secret_list){.secrets = infos, .secrets_len = len};
    return code;
}

enum err_code api_secret_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    return answer_list(request, request->in.secret_query.name, ret, err);
}

/* What is left of the app. */
enum err_code api_secret_removed(struct api_request *request, union api_out *ret, struct err *err)
{
    return answer_list(request, "", ret, err);
}

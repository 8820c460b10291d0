/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/identities.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

/* The keys of one fleet, while they are made. */
struct making {
    const char *folder;
    int64_t now_s;
    struct sign_key operator_key, operator_signing, system, streams, fleet, captain_scope;
    struct arena *arena;
};

static enum err_code join(const struct making *making, const char *name, char ret[static PATH_MAX],
                          struct err *err)
{
    int len = snprintf(ret, PATH_MAX, "%s/%s", making->folder, name);
    return len > 0 && len < PATH_MAX
               ? ERR_OK
               : err_set(err, ERR_SIZE, "the path of folder %s is too long", making->folder);
}

static enum err_code make_key(const struct making *making, enum nkey_kind kind, const char *name,
                              struct sign_key *ret, struct err *err)
{
    char path[PATH_MAX];
    enum err_code code = join(making, name, path, err);
    sign_key_new(ret);
    return code ? code : nkey_save(kind, ret, path, err);
}

static enum err_code make_keys(struct making *making, struct err *err)
{
    struct sign_key scope;
    char name[64];
    enum err_code code =
        make_key(making, NKEY_OPERATOR, "keys/operator.nk", &making->operator_key, err);
    if (code == ERR_OK)
        code = make_key(making, NKEY_OPERATOR, "keys/operator-signing.nk",
                        &making->operator_signing, err);
    if (code == ERR_OK)
        code = make_key(making, NKEY_ACCOUNT, "keys/system.nk", &making->system, err);
    if (code == ERR_OK)
        code = make_key(making, NKEY_ACCOUNT, "keys/streams.nk", &making->streams, err);
    if (code == ERR_OK)
        code = make_key(making, NKEY_ACCOUNT, "keys/fleet.nk", &making->fleet, err);
    if (code == ERR_OK)
        code = make_key(making, NKEY_ACCOUNT, "keys/scope-captain.nk", &making->captain_scope, err);
    for (unsigned i = 0; code == ERR_OK && i < ACCOUNT_SCOPES; i++) {
        (void)snprintf(name, sizeof name, "keys/scope-%s.nk", account_scope_name(i));
        code = make_key(making, NKEY_ACCOUNT, name, &scope, err);
        sign_key_wipe(&scope);
    }
    return code;
}

/* A user that never expires: captain must not lock itself out. */
static enum err_code make_user(const struct making *making, const char *name,
                               const struct nkey_user_claims *claims, const struct sign_key *signer,
                               struct err *err)
{
    char path[PATH_MAX];
    struct sign_key user;
    struct nkey_user_claims mine = *claims;
    const char *jwt = NULL;
    sign_key_new(&user);
    memcpy(mine.key, user.public_key, SIGN_PUBLIC_BYTES);
    enum err_code code = nkey_mint_user(&mine, signer, making->now_s, making->arena, &jwt, err);
    if (code == ERR_OK)
        code = join(making, name, path, err);
    if (code == ERR_OK)
        code = nkey_write_creds(path, jwt, &user, err);
    sign_key_wipe(&user);
    return code;
}

static enum err_code make_users(const struct making *making, struct err *err)
{
    struct nkey_user_claims captain = {.name = "captain"}, streams = {.name = "captain-streams"};
    struct nkey_user_claims claims = {.name = "captain-claims",
                                      .permissions = &account_system_permissions};
    memcpy(captain.account, making->fleet.public_key, SIGN_PUBLIC_BYTES);
    memcpy(streams.account, making->streams.public_key, SIGN_PUBLIC_BYTES);
    memcpy(claims.account, making->system.public_key, SIGN_PUBLIC_BYTES);
    enum err_code code = make_user(making, "captain.creds", &captain, &making->captain_scope, err);
    if (code == ERR_OK)
        code = make_user(making, ACCOUNT_STREAMS_CREDS, &streams, &making->streams, err);
    return code ? code : make_user(making, "system.creds", &claims, &making->system, err);
}

static enum err_code mint_claims(const struct making *making, struct identities *ret,
                                 struct err *err)
{
    struct nkey_operator_claims operator_claims = {
        .name = "captain",
        .signing_keys = (const uint8_t(*)[SIGN_PUBLIC_BYTES])making->operator_signing.public_key,
        .signing_keys_len = 1};
    struct nkey_account_claims system_claims = {.name = "SYS", .system = true};
    memcpy(operator_claims.system_account, making->system.public_key, SIGN_PUBLIC_BYTES);
    memcpy(system_claims.key, making->system.public_key, SIGN_PUBLIC_BYTES);
    enum err_code code = nkey_mint_operator(&operator_claims, &making->operator_key, making->now_s,
                                            making->arena, &ret->operator_jwt, err);
    if (code == ERR_OK)
        code = nkey_mint_account(&system_claims, &making->operator_signing, making->now_s,
                                 making->arena, &ret->system_jwt, err);
    return code ? code
                : account_streams_claims(making->streams.public_key, making->fleet.public_key,
                                         &making->operator_signing, making->now_s, making->arena,
                                         &ret->streams_jwt, err);
}

/* The public credential; it must stay the same, since devices know it by the hash of what holds it. */
static enum err_code make_enroll(const struct making *making, const struct account *account,
                                 struct err *err)
{
    char path[PATH_MAX];
    struct sign_key user;
    const char *jwt = NULL;
    sign_key_new(&user);
    enum err_code code =
        account_mint_enroll(account, user.public_key, making->now_s, making->arena, &jwt, err);
    if (code == ERR_OK)
        code = join(making, "enroll.creds", path, err);
    if (code == ERR_OK)
        code = nkey_write_creds(path, jwt, &user, err);
    sign_key_wipe(&user);
    return code;
}

enum err_code identities_create(const char *folder, account_subjects_fn subjects,
                                struct arena *arena, struct identities *ret, struct err *err)
{
    struct making making = {.folder = folder, .now_s = clock_unix_ms() / 1000, .arena = arena};
    const struct account_options options = {.folder = folder, .subjects = subjects};
    struct account *account = NULL;
    char path[PATH_MAX];
    enum err_code code = join(&making, "keys", path, err);
    if (code == ERR_OK)
        code = file_make_dirs(path, 0700, err);
    if (code == ERR_OK)
        code = make_keys(&making, err);
    if (code == ERR_OK)
        code = make_users(&making, err);
    if (code == ERR_OK)
        code = mint_claims(&making, ret, err);
    if (code == ERR_OK)
        code = account_open(&options, &account, err);
    if (code == ERR_OK)
        code = account_claims(account, making.now_s, arena, &ret->fleet_jwt, err);
    if (code == ERR_OK)
        code = make_enroll(&making, account, err);
    account_close(account);
    nkey_public_text(NKEY_ACCOUNT, making.system.public_key, ret->system);
    nkey_public_text(NKEY_ACCOUNT, making.streams.public_key, ret->streams);
    nkey_public_text(NKEY_ACCOUNT, making.fleet.public_key, ret->fleet);
    struct sign_key *const all[] = {&making.operator_key, &making.operator_signing,
                                    &making.system,       &making.streams,
                                    &making.fleet,        &making.captain_scope};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        sign_key_wipe(all[i]);
    return code;
}

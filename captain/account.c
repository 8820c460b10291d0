/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/account.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "captain/account_private.h"
#include "captain/core/admit.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

enum { LISTS_ARENA_BYTES = 1 << 20, CREDS_ARENA_BYTES = 64 << 10 };

#define DIRECT_GET "$JS.API.DIRECT.GET.DESIRED."

/* What the accounts FLEET and STREAMS show each other. */
#define ACCOUNT_EVENTS "event.>"
#define ACCOUNT_REPUBLISHED "dn.>"
#define ACCOUNT_GETS DIRECT_GET ">"

/* The permission templates. {{name()}} is "<site>.<device>" of a device (nats-server makes two tokens of
 * it, measured: tests/unit/common/test_nkey_server.c) and the operator's name else. No device listens
 * on a subject that feeds a stream: it would see reply subjects there and could forge
 * acknowledgements. */
static const char *const device_publish[] = {
    "health.{{name()}}",
    "telemetry.{{name()}}",
    "event.{{name()}}",
    "lease.{{name()}}",
    "renew.{{name()}}",
    DIRECT_GET "desired.device.{{name()}}",
    DIRECT_GET "desired.channel.*.*",
    DIRECT_GET "desired.root.*",
};
static const char *const device_subscribe[] = {
    "dn.device.{{name()}}", "dn.channel.*.*", "dn.root.*", "ack.{{name()}}", "_INBOX.{{name()}}.>"};
/* One credential for all: the replies that its holders see are sealed to the one who asked. */
static const char *const enroll_publish[] = {"enroll"};
static const char *const enroll_subscribe[] = {"_INBOX.enroll.>"};
/* People publish the verbs of their role, and nothing else. */
static const char *const person_subscribe[] = {"_INBOX.op.{{name()}}.>", "health.>", "telemetry.>",
                                               "fleet.summary", "rollout.*"};

#define LIST(list) list, ARRAY_LEN(list)

enum scope { SCOPE_DEVICE, SCOPE_ENROLL, SCOPE_PERSON }; /* and the roles behind the first */

static const struct template
{
    const char *const *publish;
    size_t publish_len;
    const char *const *subscribe;
    size_t subscribe_len;
    int32_t subs, payload_bytes;
}
templates[] = {
    [SCOPE_DEVICE] = {LIST(device_publish), LIST(device_subscribe), 64, 256 << 10},
    [SCOPE_ENROLL] = {LIST(enroll_publish), LIST(enroll_subscribe), 16, 64 << 10},
    [SCOPE_PERSON] = {NULL, 0, LIST(person_subscribe), 64, 1 << 20},
};

const char *account_scope_name(unsigned scope)
{
    return scope == SCOPE_DEVICE   ? "device"
           : scope == SCOPE_ENROLL ? "enroll"
                                   : role_names[scope - SCOPE_PERSON];
}

/* Opening. */

/* The lists of a scope: its template's, and the subjects of the API that a role may use. */
static enum err_code fill_permissions(struct account *account, unsigned scope,
                                      account_subjects_fn subjects, struct err *err)
{
    const struct template *template = &templates[scope < SCOPE_PERSON ? scope : SCOPE_PERSON];
    const char **list =
        arena_alloc(&account->arena, (template->publish_len + ACCOUNT_SUBJECTS_MAX) * sizeof *list);
    size_t len = template->publish_len, more = 0;
    if (list && len > 0)
        memcpy(list, template->publish, len * sizeof *list);
    if (list && scope >= SCOPE_PERSON)
        more = subjects((enum operator_role)(scope - SCOPE_PERSON), &account->arena, list + len,
                        ACCOUNT_SUBJECTS_MAX);
    if (!list || more == ACCOUNT_SUBJECTS_MAX || (more == 0 && scope >= SCOPE_PERSON))
        return err_set(err, ERR_FULL, "the API's subjects do not fit the permissions of %s",
                       account_scope_name(scope));
    account->permissions[scope] =
        (struct nkey_permissions){.publish = list,
                                  .publish_len = len + more,
                                  .subscribe = template->subscribe,
                                  .subscribe_len = template->subscribe_len,
                                  .subs = template->subs,
                                  .payload = template->payload_bytes};
    return ERR_OK;
}

static enum err_code join(char ret[static PATH_MAX], const char *folder, const char *name,
                          struct err *err)
{
    int len = snprintf(ret, PATH_MAX, "%s/%s", folder, name);
    return len > 0 && len < PATH_MAX
               ? ERR_OK
               : err_set(err, ERR_SIZE, "the path of folder %s is too long", folder);
}

static enum err_code load_scope(struct account *account, unsigned scope,
                                const struct account_options *options, struct err *err)
{
    char name[64], path[PATH_MAX];
    (void)snprintf(name, sizeof name, "keys/scope-%s.nk", account_scope_name(scope));
    enum err_code code = join(path, options->folder, name, err);
    if (code == ERR_OK)
        code = nkey_load(NKEY_ACCOUNT, path, &account->scopes[scope], err);
    return code ? code : fill_permissions(account, scope, options->subjects, err);
}

/* Who issued the credentials of a file, and for which account. */
static enum err_code read_issuer(const char *path, uint8_t *ret_issuer, uint8_t *ret_account,
                                 struct err *err)
{
    struct arena arena DEFER(arena_fini);
    struct sign_key key;
    struct nkey_user user;
    const char *jwt;
    arena_init(&arena, CREDS_ARENA_BYTES);
    enum err_code code = nkey_read_creds(path, &arena, &jwt, &key, err);
    if (code != ERR_OK)
        return code;
    sign_key_wipe(&key);
    code = nkey_read_user(jwt, &arena, &user, err);
    if (code == ERR_OK)
        code = nkey_parse_public(NKEY_ACCOUNT, user.issuer, ret_issuer, err);
    if (code == ERR_OK)
        code = nkey_parse_public(NKEY_ACCOUNT, user.account, ret_account, err);
    return code ? err_wrap(err, "%s", path) : ERR_OK;
}

static enum err_code load_keys(struct account *account, const struct account_options *options,
                               struct err *err)
{
    char path[PATH_MAX], captain[PATH_MAX];
    uint8_t issuer[SIGN_PUBLIC_BYTES];
    enum err_code code = join(path, options->folder, "keys/operator-signing.nk", err);
    if (code == ERR_OK)
        code = nkey_load(NKEY_OPERATOR, path, &account->operator_key, err);
    for (unsigned scope = 0; code == ERR_OK && scope < ACCOUNT_SCOPES; scope++)
        code = load_scope(account, scope, options, err);
    if (code == ERR_OK)
        code = join(account->system_creds, options->folder, "system.creds", err);
    if (code == ERR_OK)
        code = join(captain, options->folder, "captain.creds", err);
    if (code == ERR_OK)
        code = read_issuer(options->captain_creds ? options->captain_creds : captain,
                           account->captain_signer, account->fleet, err);
    if (code == ERR_OK)
        code = read_issuer(account->system_creds, issuer, account->system, err);
    if (code == ERR_OK)
        code = join(path, options->folder, ACCOUNT_STREAMS_CREDS, err);
    return code ? code : read_issuer(path, issuer, account->streams, err);
}

enum err_code account_open(const struct account_options *options, struct account **ret,
                           struct err *err)
{
    struct account *account = mem_new(1, sizeof *account);
    account->version = 1;
    account->on_taken = options->on_taken;
    account->no_list = options->after_list;
    account->arg = options->arg;
    arena_init(&account->arena, LISTS_ARENA_BYTES);
    enum err_code code = load_keys(account, options, err);
    if (code == ERR_OK && options->loop)
        code = account_push_open(account, options, err);
    if (code != ERR_OK) {
        account_close(account);
        return code;
    }
    *ret = account;
    return ERR_OK;
}

void account_close(struct account *account)
{
    if (!account)
        return;
    account_push_close(account);
    sign_key_wipe(&account->operator_key);
    for (unsigned scope = 0; scope < ACCOUNT_SCOPES; scope++)
        sign_key_wipe(&account->scopes[scope]);
    arena_fini(&account->arena);
    mem_free(account->revocations);
    mem_free(account);
}

/* Credentials. */

static enum err_code mint(const struct account *account, unsigned scope, const char *name,
                          const struct account_operator *who, struct arena *arena, const char **ret,
                          struct err *err)
{
    struct nkey_user_claims claims = {.name = name, .expires_s = who->expires_s, .scoped = true};
    memcpy(claims.key, who->key, SIGN_PUBLIC_BYTES);
    memcpy(claims.account, account->fleet, SIGN_PUBLIC_BYTES);
    return nkey_mint_user(&claims, &account->scopes[scope], who->issued_s, arena, ret, err);
}

enum err_code account_mint_device(const struct account *account,
                                  const struct account_device *device, struct arena *arena,
                                  const char **ret, struct err *err)
{
    char name[2 * TOKEN_MAX + 2];
    if (!str_is_token(device->site) || !str_is_token(device->device) ||
        !admit_site_allowed(device->site))
        return err_set(err, ERR_MALFORMED, "%.64s/%.64s is no name of a device", device->site,
                       device->device);
    (void)snprintf(name, sizeof name, "%s.%s", device->site, device->device);
    const struct account_operator who = {
        .key = device->key, .issued_s = device->issued_s, .expires_s = device->expires_s};
    return mint(account, SCOPE_DEVICE, name, &who, arena, ret, err);
}

enum err_code account_mint_operator(const struct account *account,
                                    const struct account_operator *who, struct arena *arena,
                                    const char **ret, struct err *err)
{
    if (!str_is_token(who->name))
        return err_set(err, ERR_MALFORMED, "\"%.64s\" is no name of an operator", who->name);
    return mint(account, SCOPE_PERSON + (unsigned)who->role, who->name, who, arena, ret, err);
}

enum err_code account_mint_enroll(const struct account *account, const uint8_t *key,
                                  int64_t issued_s, struct arena *arena, const char **ret,
                                  struct err *err)
{
    const struct account_operator who = {.key = key, .issued_s = issued_s};
    return mint(account, SCOPE_ENROLL, "enroll", &who, arena, ret, err);
}

/* Claims. */

/* What voids nothing any more is left out of the list. */
void account_forget_old(struct account *account)
{
    const int64_t now_s = clock_unix_ms() / 1000;
    size_t kept = 0;
    for (size_t i = 0; i < account->revocations_len; i++) {
        const struct account_revocation *one = &account->revocations[i];
        if (one->until_s == 0 || one->until_s + ACCOUNT_REVOCATION_SLACK_S > now_s)
            account->revocations[kept++] = *one;
    }
    account->revocations_len = kept;
}

/* The one that need not be kept for the longest; NULL: all must be for ever. */
static struct account_revocation *soonest(const struct account *account)
{
    struct account_revocation *found = NULL;
    for (size_t i = 0; i < account->revocations_len; i++) {
        struct account_revocation *one = &account->revocations[i];
        if (one->until_s != 0 && (!found || one->until_s < found->until_s))
            found = one;
    }
    return found;
}

/* No room: what lasts longer counts more. Captain renews neither. */
static enum err_code put_in_place_of_one(struct account *account,
                                         const struct account_revocation *revocation,
                                         struct err *err)
{
    struct account_revocation *victim = soonest(account);
    if (!victim || (revocation->until_s != 0 && revocation->until_s <= victim->until_s))
        return err_set(err, ERR_FULL,
                       "%d credentials are revoked and not yet expired, more do not "
                       "fit into the account",
                       ACCOUNT_REVOCATIONS_MAX);
    log_write(
        LOG_LEVEL_ERROR,
        "account: more than %d credentials are revoked; one is valid again for its last %" PRId64
        " s",
        ACCOUNT_REVOCATIONS_MAX, victim->until_s - clock_unix_ms() / 1000);
    *victim = *revocation;
    return ERR_OK;
}

static enum err_code add_revocation(struct account *account,
                                    const struct account_revocation *revocation, struct err *err)
{
    for (size_t i = 0; i < account->revocations_len; i++) {
        struct account_revocation *one = &account->revocations[i];
        if (memcmp(one->key, revocation->key, SIGN_PUBLIC_BYTES) != 0)
            continue;
        if (one->at_s < revocation->at_s)
            one->at_s = revocation->at_s;
        if (one->until_s != 0 && (revocation->until_s == 0 || revocation->until_s > one->until_s))
            one->until_s = revocation->until_s;
        return ERR_OK;
    }
    if (account->revocations_len == ACCOUNT_REVOCATIONS_MAX)
        return put_in_place_of_one(account, revocation, err);
    if (!account->revocations)
        account->revocations = mem_new(ACCOUNT_REVOCATIONS_MAX, sizeof *account->revocations);
    account->revocations[account->revocations_len++] = *revocation;
    return ERR_OK;
}

enum err_code account_set_revocations(struct account *account,
                                      const struct account_revocation *list, size_t len,
                                      struct err *err)
{
    const int64_t now_s = clock_unix_ms() / 1000;
    enum err_code code = ERR_OK;
    account->revocations_len = 0;
    for (size_t i = 0; i < len; i++)
        if (list[i].until_s == 0 || list[i].until_s + ACCOUNT_REVOCATION_SLACK_S > now_s)
            code = add_revocation(account, &list[i], err) ? ERR_FULL : code;
    account->version++;
    account->no_list = false;
    account_push_soon(account);
    return code;
}

enum err_code account_revoke(struct account *account, const struct account_revocation *revocation,
                             struct err *err)
{
    account_forget_old(account);
    enum err_code code = add_revocation(account, revocation, err);
    if (code != ERR_OK)
        return code;
    account->version++;
    account_push_soon(account);
    return ERR_OK;
}

enum err_code account_claims(const struct account *account, int64_t issued_s, struct arena *arena,
                             const char **ret, struct err *err)
{
    struct nkey_scope scopes[ACCOUNT_SCOPES + 1] = {0};
    struct nkey_revocation *revoked =
        arena_alloc(arena, (account->revocations_len + 1) * sizeof *revoked);
    size_t len = 0;
    for (unsigned i = 0; i < ACCOUNT_SCOPES; i++) {
        scopes[i].role = account_scope_name(i);
        scopes[i].permissions = &account->permissions[i];
        memcpy(scopes[i].key, account->scopes[i].public_key, SIGN_PUBLIC_BYTES);
    }
    memcpy(scopes[ACCOUNT_SCOPES].key, account->captain_signer, SIGN_PUBLIC_BYTES);
    if (!revoked)
        return err_set(err, ERR_SIZE, "no room for the revocations");
    for (; len < account->revocations_len; len++) {
        memcpy(revoked[len].key, account->revocations[len].key, SIGN_PUBLIC_BYTES);
        revoked[len].at_s = account->revocations[len].at_s;
    }
    const struct nkey_share exports[] = {{.subject = ACCOUNT_EVENTS}};
    const struct nkey_share imports[] = {
        {.subject = ACCOUNT_REPUBLISHED, .account = account->streams},
        {.subject = ACCOUNT_GETS, .service = true, .account = account->streams}};
    struct nkey_account_claims claims = {.name = "FLEET",
                                         .system_account = account->system,
                                         .exports = exports,
                                         .exports_len = ARRAY_LEN(exports),
                                         .imports = imports,
                                         .imports_len = ARRAY_LEN(imports),
                                         .scopes = scopes,
                                         .scopes_len = ARRAY_LEN(scopes),
                                         .revocations = revoked,
                                         .revocations_len = len};
    memcpy(claims.key, account->fleet, SIGN_PUBLIC_BYTES);
    return nkey_mint_account(&claims, &account->operator_key, issued_s, arena, ret, err);
}

enum err_code account_streams_claims(const uint8_t streams[static SIGN_PUBLIC_BYTES],
                                     const uint8_t fleet[static SIGN_PUBLIC_BYTES],
                                     const struct sign_key *operator_key, int64_t issued_s,
                                     struct arena *arena, const char **ret, struct err *err)
{
    const struct nkey_share exports[] = {{.subject = ACCOUNT_REPUBLISHED},
                                         {.subject = ACCOUNT_GETS, .service = true}};
    const struct nkey_share imports[] = {{.subject = ACCOUNT_EVENTS, .account = fleet}};
    struct nkey_account_claims claims = {.name = "STREAMS",
                                         .jetstream = true,
                                         .exports = exports,
                                         .exports_len = ARRAY_LEN(exports),
                                         .imports = imports,
                                         .imports_len = ARRAY_LEN(imports)};
    memcpy(claims.key, streams, SIGN_PUBLIC_BYTES);
    return nkey_mint_account(&claims, operator_key, issued_s, arena, ret, err);
}

uint64_t account_version(const struct account *account)
{
    return account->version;
}

uint64_t account_pushed_version(const struct account *account)
{
    return account->pushed_version;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What nats-server makes of minted JWTs: the answers that the permission templates and the way of
 * captain's claims to the resolver rest on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/nkey.h"
#include "tests/support/bus_probe.h"
#include "tests/support/nats_server.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { ARENA_BYTES = 4 << 20, WAIT_MS = 10000, QUIET_MS = 200 };

/* A fleet of one operator, two accounts and one scope, on a real server. */
struct realm {
    struct arena arena;
    struct err err;
    char *dir;
    struct sign_key operator_key, system, fleet, scope;
    struct nats_server *server;
    int64_t now_s;
};

/* Both ways to name a device: by the user's name and by its tags. */
static const char *const publish[] = {"health.{{name()}}", "tagged.{{tag(site)}}.{{tag(device)}}"};
static const char *const subscribe[] = {"dn.device.{{name()}}", "_INBOX.{{name()}}.>"};
static const struct nkey_permissions permissions = {publish,        2,         subscribe,      2,
                                                    .responses = 0, .subs = 8, .payload = 1024};

static const char *fleet_claims(struct realm *realm, const struct nkey_revocation *revoked)
{
    struct nkey_scope scope = {.role = "device", .permissions = &permissions};
    memcpy(scope.key, realm->scope.public_key, SIGN_PUBLIC_BYTES);
    struct nkey_account_claims claims = {.name = "FLEET",
                                         .jetstream = true,
                                         .system_account = realm->system.public_key,
                                         .scopes = &scope,
                                         .scopes_len = 1,
                                         .revocations = revoked,
                                         .revocations_len = revoked ? 1 : 0};
    memcpy(claims.key, realm->fleet.public_key, SIGN_PUBLIC_BYTES);
    const char *jwt = NULL;
    assert_int_equal(nkey_mint_account(&claims, &realm->operator_key, realm->now_s, &realm->arena,
                                       &jwt, &realm->err),
                     ERR_OK);
    return jwt;
}

static const char *server_lines(struct realm *realm)
{
    char system[NKEY_TEXT], fleet[NKEY_TEXT];
    const char *operator_jwt = NULL, *system_jwt = NULL;
    struct nkey_operator_claims operator_claims = {.name = "test"};
    struct nkey_account_claims system_claims = {.name = "SYS", .system = true};
    memcpy(operator_claims.system_account, realm->system.public_key, SIGN_PUBLIC_BYTES);
    memcpy(system_claims.key, realm->system.public_key, SIGN_PUBLIC_BYTES);
    assert_int_equal(nkey_mint_operator(&operator_claims, &realm->operator_key, realm->now_s,
                                        &realm->arena, &operator_jwt, &realm->err),
                     ERR_OK);
    assert_int_equal(nkey_mint_account(&system_claims, &realm->operator_key, realm->now_s,
                                       &realm->arena, &system_jwt, &realm->err),
                     ERR_OK);
    nkey_public_text(NKEY_ACCOUNT, realm->system.public_key, system);
    nkey_public_text(NKEY_ACCOUNT, realm->fleet.public_key, fleet);
    return arena_printf(&realm->arena,
                        "operator: %s\nsystem_account: %s\n"
                        "resolver: { type: full, dir: \"%s/jwt\", limit: 10 }\n"
                        "resolver_preload: { %s: %s, %s: %s }\n",
                        operator_jwt, system, realm->dir, system, system_jwt, fleet,
                        fleet_claims(realm, NULL));
}

static int set_up(void **state)
{
    struct realm *realm = mem_new(1, sizeof *realm);
    arena_init(&realm->arena, ARENA_BYTES);
    realm->dir = tempdir_make();
    realm->now_s = clock_unix_ms() / 1000;
    sign_key_new(&realm->operator_key);
    sign_key_new(&realm->system);
    sign_key_new(&realm->fleet);
    sign_key_new(&realm->scope);
    realm->server = nats_server_start(server_lines(realm));
    *state = realm;
    return 0;
}

static int tear_down(void **state)
{
    struct realm *realm = *state;
    nats_server_free(realm->server);
    tempdir_remove(realm->dir);
    arena_fini(&realm->arena);
    mem_free(realm);
    return 0;
}

/* Credentials in a file: of a scoped device, or signed by the account itself. */
static char *make_creds(struct realm *realm, const char *name, const struct sign_key *account,
                        struct sign_key *ret)
{
    static const char *const tags[] = {"site:Lyon", "device:GW-17"};
    static const char *const claims_update[] = {NKEY_CLAIMS_UPDATE}, *const inbox[] = {
                                                                         "_INBOX.x.>"};
    static const struct nkey_permissions pusher = {
        .publish = claims_update, 1, inbox, 1, .subs = -1, .payload = -1};
    const char *jwt = NULL;
    char *path = tempdir_path(realm->dir, name);
    bool scoped = account == NULL;
    struct nkey_user_claims claims = {
        .name = name, .tags = tags, .tags_len = scoped ? 2 : 0, .scoped = scoped};
    if (account == &realm->system)
        claims.permissions = &pusher;
    sign_key_new(ret);
    memcpy(claims.key, ret->public_key, SIGN_PUBLIC_BYTES);
    memcpy(claims.account, scoped ? realm->fleet.public_key : account->public_key,
           SIGN_PUBLIC_BYTES);
    assert_int_equal(nkey_mint_user(&claims, scoped ? &realm->scope : account, realm->now_s,
                                    &realm->arena, &jwt, &realm->err),
                     ERR_OK);
    assert_int_equal(nkey_write_creds(path, jwt, ret, &realm->err), ERR_OK);
    return path;
}

static void open_as(struct realm *realm, struct bus_probe *probe, const char *creds,
                    const char *inbox)
{
    struct bus_options options = bus_probe_options(nats_server_url(realm->server));
    options.creds_path = creds;
    options.inbox_prefix = inbox;
    bus_probe_open(probe, &options);
}

static bool hears(struct bus_probe *captain, struct bus_probe *device, const char *subject)
{
    unsigned before = captain->messages;
    assert_int_equal(bus_publish(device->bus, subject, bytes_of("x", 1), NULL, NULL, &device->err),
                     ERR_OK);
    turn_for(device->loop, 20);
    return bus_probe_wait(captain, &captain->messages, before + 1, QUIET_MS);
}

/* "{{name()}}" of a user named "lyon.GW-17" makes two tokens, in publish and in subscribe. */
static void test_nkey_server__a_dotted_name_expands_to_two_tokens(void **state)
{
    struct realm *realm = *state;
    struct bus_probe captain, device;
    struct sign_key captain_key, device_key;
    char *captain_creds = make_creds(realm, "captain", &realm->fleet, &captain_key);
    char *device_creds = make_creds(realm, "lyon.GW-17", NULL, &device_key);
    open_as(realm, &captain, captain_creds, "_INBOX.captain");
    bus_probe_subscribe(&captain, ">");
    bus_probe_start(&captain);
    open_as(realm, &device, device_creds, "_INBOX.lyon.GW-17");
    bus_probe_subscribe(&device, "dn.device.lyon.GW-17");
    bus_probe_start(&device);

    assert_true(hears(&captain, &device, "health.lyon.GW-17"));
    assert_false(hears(&captain, &device, "health.lyon.GW-18"));
    assert_false(hears(&captain, &device, "health.lyon"));
    assert_true(hears(&captain, &device, "tagged.Lyon.GW-17")); /* tags would do as well */
    assert_int_equal(bus_publish(captain.bus, "dn.device.lyon.GW-17", bytes_of("y", 1), NULL, NULL,
                                 &captain.err),
                     ERR_OK);
    turn_for(captain.loop, 20);
    assert_true(bus_probe_wait(&device, &device.messages, 1, WAIT_MS));

    bus_probe_close(&device);
    bus_probe_close(&captain);
    free(captain_creds);
    free(device_creds);
}

/* A user of the system account with two rights reaches the resolver; what it stored outlives a restart
 * with preloaded claims that are older. */
static void test_nkey_server__pushed_claims_revoke_at_once_and_for_good(void **state)
{
    struct realm *realm = *state;
    struct bus_probe pusher, device;
    struct sign_key pusher_key, device_key;
    const char *old_lines = server_lines(realm);
    char *pusher_creds = make_creds(realm, "pusher", &realm->system, &pusher_key);
    char *device_creds = make_creds(realm, "lyon.GW-17", NULL, &device_key);
    open_as(realm, &pusher, pusher_creds, "_INBOX.x");
    bus_probe_start(&pusher);
    open_as(realm, &device, device_creds, "_INBOX.lyon.GW-17");
    bus_probe_start(&device);

    realm->now_s++; /* the same claims, issued later: nobody is disturbed */
    assert_int_equal(
        bus_probe_request(&pusher, NKEY_CLAIMS_UPDATE, fleet_claims(realm, NULL), WAIT_MS), ERR_OK);
    assert_non_null(strstr(pusher.answer, "\"code\":200"));
    turn_for(device.loop, QUIET_MS);
    assert_int_equal(device.disconnected, 0);

    struct nkey_revocation revoked = {.at_s = realm->now_s};
    memcpy(revoked.key, device_key.public_key, SIGN_PUBLIC_BYTES);
    realm->now_s++;
    assert_int_equal(
        bus_probe_request(&pusher, NKEY_CLAIMS_UPDATE, fleet_claims(realm, &revoked), WAIT_MS),
        ERR_OK);
    assert_non_null(strstr(pusher.answer, "\"code\":200"));
    assert_true(bus_probe_wait(&device, &device.disconnected, 1, WAIT_MS));

    nats_server_stop(realm->server);
    nats_server_restart(realm->server, old_lines);
    assert_true(bus_probe_wait(&pusher, &pusher.connected, 2, WAIT_MS));
    turn_for(device.loop, 2 * QUIET_MS);
    assert_int_equal(device.connected, 1);

    bus_probe_close(&device);
    bus_probe_close(&pusher);
    free(pusher_creds);
    free(device_creds);
}

/* The resolver stores claims that the operator has not signed (and says 200), but they do not come into
 * force. So nobody but captain gets a credential that can push. */
static void test_nkey_server__claims_of_a_stranger_do_not_come_into_force(void **state)
{
    struct realm *realm = *state;
    struct bus_probe pusher, device;
    struct sign_key pusher_key, device_key;
    char *pusher_creds = make_creds(realm, "pusher", &realm->system, &pusher_key);
    char *device_creds = make_creds(realm, "lyon.GW-17", NULL, &device_key);
    open_as(realm, &pusher, pusher_creds, "_INBOX.x");
    bus_probe_start(&pusher);
    open_as(realm, &device, device_creds, "_INBOX.lyon.GW-17");
    bus_probe_start(&device);
    struct nkey_revocation revoked = {.at_s = realm->now_s};
    memcpy(revoked.key, device_key.public_key, SIGN_PUBLIC_BYTES);
    sign_key_new(&realm->operator_key);
    assert_int_equal(
        bus_probe_request(&pusher, NKEY_CLAIMS_UPDATE, fleet_claims(realm, &revoked), WAIT_MS),
        ERR_OK);
    turn_for(device.loop, QUIET_MS);
    assert_int_equal(device.disconnected, 0);
    bus_probe_close(&device);
    bus_probe_close(&pusher);
    free(pusher_creds);
    free(device_creds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nkey_server__a_dotted_name_expands_to_two_tokens,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nkey_server__pushed_claims_revoke_at_once_and_for_good,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_nkey_server__claims_of_a_stranger_do_not_come_into_force, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

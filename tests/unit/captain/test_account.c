/* SPDX-License-Identifier: Apache-2.0
 *
 * The roles against a real nats-server: what each may say and hear, and revocations that hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "captain/account.h"
#include "captain/identities.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/bus_probe.h"
#include "tests/support/nats_server.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { ARENA_BYTES = 16 << 20, WAIT_MS = 10000, QUIET_MS = 150 };

static const struct {
    enum operator_role role;
    const char *subject;
} verbs[] = {
    {ROLE_VIEWER, "status.show"},
    {ROLE_OPERATOR, "rollout.start"},
    {ROLE_RELEASE_MANAGER, "channel.set"},
    {ROLE_ADMIN, "token.new"},
};

static size_t subjects(enum operator_role role, struct arena *arena, const char **ret, size_t max)
{
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(verbs) && len < max; i++)
        if (verbs[i].role <= role)
            ret[len++] = arena_printf(arena, "api.{{name()}}.%s", verbs[i].subject);
    return len;
}

struct fleet {
    struct arena arena;
    struct err err;
    char *dir, *lines;
    struct nats_server *server;
    struct account *account;  /* with its own connection when open_pushing made it */
    struct bus_probe captain; /* hears everything; its loop is the account's too */
    int64_t now_s;
    unsigned taken; /* pushes that the server has stored */
};

/* The server tells of connections too, whenever it likes. */
static void hear(void *arg, const struct bus_message *message)
{
    if (strncmp(message->subject, "presence.", 9) != 0)
        bus_probe_message(arg, message);
}

static void on_taken(void *arg, uint64_t version)
{
    struct fleet *fleet = arg;
    assert_int_equal(version, account_pushed_version(fleet->account));
    fleet->taken++;
}

static int set_up(void **state)
{
    struct fleet *fleet = mem_new(1, sizeof *fleet);
    struct identities identities;
    arena_init(&fleet->arena, ARENA_BYTES);
    fleet->dir = tempdir_make();
    fleet->now_s = clock_unix_ms() / 1000;
    assert_int_equal(
        identities_create(fleet->dir, subjects, &fleet->arena, &identities, &fleet->err), ERR_OK);
    fleet->lines = arena_printf(&fleet->arena,
                                "operator: %s\nsystem_account: %s\n"
                                "resolver: { type: full, dir: \"%s/jwt\", limit: 10 }\n"
                                "resolver_preload: { %s: %s, %s: %s, %s: %s }\n",
                                identities.operator_jwt, identities.system, fleet->dir,
                                identities.system, identities.system_jwt, identities.streams,
                                identities.streams_jwt, identities.fleet, identities.fleet_jwt);
    fleet->server = nats_server_start(fleet->lines);
    char *creds = tempdir_path(fleet->dir, "captain.creds");
    struct bus_options options = bus_probe_options(nats_server_url(fleet->server));
    options.creds_path = creds;
    bus_probe_open(&fleet->captain, &options);
    assert_int_equal(bus_subscribe(fleet->captain.bus, ">", hear, &fleet->captain, &fleet->err),
                     ERR_OK);
    bus_probe_start(&fleet->captain);
    free(creds);
    const struct account_options account = {.folder = fleet->dir,
                                            .subjects = subjects,
                                            .loop = fleet->captain.loop,
                                            .on_taken = on_taken,
                                            .arg = fleet,
                                            .nats_url = nats_server_url(fleet->server)};
    assert_int_equal(account_open(&account, &fleet->account, &fleet->err), ERR_OK);
    *state = fleet;
    return 0;
}

static int tear_down(void **state)
{
    struct fleet *fleet = *state;
    account_close(fleet->account);
    bus_probe_close(&fleet->captain);
    nats_server_free(fleet->server);
    tempdir_remove(fleet->dir);
    arena_fini(&fleet->arena);
    mem_free(fleet);
    return 0;
}

/* Writes the credentials and opens a bus with them. */
static void open_with(struct fleet *fleet, struct bus_probe *probe, const char *jwt,
                      const struct sign_key *key, const char *inbox)
{
    char *path = tempdir_path(fleet->dir, "probe.creds");
    assert_int_equal(nkey_write_creds(path, jwt, key, &fleet->err), ERR_OK);
    struct bus_options options = bus_probe_options(nats_server_url(fleet->server));
    options.creds_path = path;
    options.inbox_prefix = inbox;
    bus_probe_open(probe, &options);
    free(path);
}

static void open_device(struct fleet *fleet, struct bus_probe *probe, struct sign_key *ret_key)
{
    const char *jwt = NULL;
    sign_key_new(ret_key);
    const struct account_device device = {.site = "Lyon",
                                          .device = "gw-17",
                                          .key = ret_key->public_key,
                                          .issued_s = fleet->now_s,
                                          .expires_s = fleet->now_s + ACCOUNT_DEVICE_TTL_S};
    assert_int_equal(account_mint_device(fleet->account, &device, &fleet->arena, &jwt, &fleet->err),
                     ERR_OK);
    open_with(fleet, probe, jwt, ret_key, "_INBOX.Lyon.gw-17");
}

static void open_person(struct fleet *fleet, struct bus_probe *probe, enum operator_role role)
{
    const char *jwt = NULL;
    struct sign_key key;
    sign_key_new(&key);
    const struct account_operator who = {
        .name = "ada", .role = role, .key = key.public_key, .issued_s = fleet->now_s};
    assert_int_equal(account_mint_operator(fleet->account, &who, &fleet->arena, &jwt, &fleet->err),
                     ERR_OK);
    open_with(fleet, probe, jwt, &key, "_INBOX.op.ada");
}

/* What is published on the subject arrives. */
static bool may_say(struct fleet *fleet, struct bus_probe *probe, const char *subject)
{
    unsigned before = fleet->captain.messages;
    assert_int_equal(bus_publish(probe->bus, subject, bytes_of("x", 1), NULL, NULL, &probe->err),
                     ERR_OK);
    turn_for(probe->loop, 10);
    return bus_probe_wait(&fleet->captain, &fleet->captain.messages, before + 1, QUIET_MS);
}

/* What captain publishes on the subject arrives at the probe that has subscribed to it. */
static bool may_hear(struct fleet *fleet, struct bus_probe *probe, const char *subject)
{
    unsigned before = probe->messages;
    assert_int_equal(
        bus_publish(fleet->captain.bus, subject, bytes_of("x", 1), NULL, NULL, &fleet->err),
        ERR_OK);
    turn_for(fleet->captain.loop, 10);
    return bus_probe_wait(probe, &probe->messages, before + 1, QUIET_MS);
}

/* The device Lyon/gw-17. */
static const char *const SAYS[] = {
    "health.Lyon.gw-17",
    "telemetry.Lyon.gw-17",
    "event.Lyon.gw-17",
    "lease.Lyon.gw-17",
    "renew.Lyon.gw-17",
    "$JS.API.DIRECT.GET.DESIRED.desired.device.Lyon.gw-17",
    "$JS.API.DIRECT.GET.DESIRED.desired.channel.app.stable",
    "$JS.API.DIRECT.GET.DESIRED.desired.root.2",
};
static const char *const SAYS_NOT[] = {
    "health.Lyon.gw-18",
    "health.Paris.gw-17",
    "health.lyon.gw-17",
    "event.Lyon.gw-18",
    "renew.Lyon.gw-18",
    "enroll",
    "desired.device.Lyon.gw-17",
    "desired.channel.app.stable",
    "dn.channel.app.stable",
    "dn.root.2",
    "ack.Lyon.gw-17",
    "log.decision",
    "captain.holder",
    "api.ada.status.show",
    "_INBOX.captain.x",
    "_INBOX.Lyon.gw-17.x",
    "$JS.API.DIRECT.GET.DESIRED.desired.device.Lyon.gw-18",
    "$JS.API.DIRECT.GET.LOG.log.decision",
    "$JS.API.STREAM.INFO.DESIRED",
};
static const char *const HEARS[] = {"dn.device.Lyon.gw-17", "dn.channel.app.stable", "dn.root.2",
                                    "ack.Lyon.gw-17", "_INBOX.Lyon.gw-17.x.1"};
static const char *const HEARS_NOT[] = {
    "dn.device.Lyon.gw-18",      "ack.Lyon.gw-18",    "_INBOX.Lyon.gw-18.x",
    "_INBOX.captain.x",          "health.Lyon.gw-18", "event.Lyon.gw-17",
    "desired.device.Lyon.gw-17", "_INBOX.op.ada.x",   "api.ada.status.show"};

static void expect_says(struct fleet *fleet, struct bus_probe *device)
{
    for (size_t i = 0; i < ARRAY_LEN(SAYS); i++)
        if (!may_say(fleet, device, SAYS[i]))
            fail_msg("the device may not publish %s", SAYS[i]);
    for (size_t i = 0; i < ARRAY_LEN(SAYS_NOT); i++)
        if (may_say(fleet, device, SAYS_NOT[i]))
            fail_msg("the device may publish %s", SAYS_NOT[i]);
}

static void expect_hears(struct fleet *fleet, struct bus_probe *device)
{
    for (size_t i = 0; i < ARRAY_LEN(HEARS); i++)
        if (!may_hear(fleet, device, HEARS[i]))
            fail_msg("the device does not hear %s", HEARS[i]);
    for (size_t i = 0; i < ARRAY_LEN(HEARS_NOT); i++)
        if (may_hear(fleet, device, HEARS_NOT[i]))
            fail_msg("the device hears %s", HEARS_NOT[i]);
}

static void test_account__a_device_speaks_and_hears_only_as_itself(void **state)
{
    struct fleet *fleet = *state;
    struct bus_probe device;
    struct sign_key key;
    static const char *const asks[] = {"dn.device.Lyon.gw-17", "dn.channel.*.*",        "dn.root.*",
                                       "ack.Lyon.gw-17",       "_INBOX.Lyon.gw-17.x.1", ">"};
    open_device(fleet, &device, &key);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        bus_probe_subscribe(&device, asks[i]);
    for (size_t i = 0; i < ARRAY_LEN(HEARS_NOT); i++)
        bus_probe_subscribe(&device, HEARS_NOT[i]);
    bus_probe_start(&device);
    expect_says(fleet, &device);
    expect_hears(fleet, &device);
    bus_probe_close(&device);
}

/* The streams as captain makes them. */
static void open_streams(struct fleet *fleet, struct bus_probe *streams)
{
    static const struct bus_stream all[] = {
        {.name = "LOG", .subject = "log.decision"},
        {.name = "EVENTS", .subject = "event.>", .no_ack = true},
        {.name = "DESIRED",
         .subject = "desired.>",
         .allow_direct = true,
         .republish_source = "desired.>",
         .republish_dest = "dn.>"}};
    char *creds = tempdir_path(fleet->dir, ACCOUNT_STREAMS_CREDS);
    struct bus_options options = bus_probe_options(nats_server_url(fleet->server));
    options.creds_path = creds;
    bus_probe_open(streams, &options);
    bus_probe_start(streams);
    free(creds);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_int_equal(bus_probe_ensure(streams, &all[i]), ERR_OK);
    assert_int_equal(bus_probe_store(streams, "log.decision", "one", NULL, (struct bus_expect){0}),
                     ERR_OK);
    assert_int_equal(
        bus_probe_store(streams, "desired.device.Lyon.gw-17", "told", NULL, (struct bus_expect){0}),
        ERR_OK);
}

static uint64_t messages_of(struct bus_probe *streams, const struct bus_stream *stream)
{
    assert_int_equal(bus_probe_ensure(streams, stream), ERR_OK);
    return streams->state.messages;
}

/* nats-server asks no leave for the subject that a reply goes to. The answer to a direct get of what is not
 * there is empty, as a request to delete a stream is; the acknowledgement of an event names a number, as a
 * request to purge a stream does. */
static void test_account__what_the_server_answers_a_device_commands_nothing(void **state)
{
    static const struct bus_stream log = {.name = "LOG", .subject = "log.decision"};
    static const struct bus_stream events = {
        .name = "EVENTS", .subject = "event.>", .no_ack = true};
    static const char get[] = "$JS.API.DIRECT.GET.DESIRED.desired.root.99";
    static const char *const replies[] = {"$JS.API.STREAM.DELETE.LOG", "$JS.API.STREAM.PURGE.LOG",
                                          "log.decision", "desired.device.Lyon.gw-17"};
    struct fleet *fleet = *state;
    struct bus_probe streams, device;
    struct sign_key key;
    open_streams(fleet, &streams);
    open_device(fleet, &device, &key);
    bus_probe_subscribe(&device, "dn.device.Lyon.gw-17");
    bus_probe_start(&device);
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        assert_int_equal(
            bus_publish(device.bus, get, bytes_of("", 0), NULL, replies[i], &device.err), ERR_OK);
        assert_int_equal(bus_publish(device.bus, "event.Lyon.gw-17", bytes_of("x", 1), NULL,
                                     replies[i], &device.err),
                         ERR_OK);
    }
    /* What is meant for it still reaches it, and comes behind all of that. */
    assert_int_equal(bus_probe_get_last(&device, "DESIRED", "desired.device.Lyon.gw-17"), ERR_OK);
    assert_string_equal(device.answer, "told");
    turn_for(device.loop, 100);
    assert_int_equal(messages_of(&streams, &log), 1);
    assert_int_equal(messages_of(&streams, &events), ARRAY_LEN(replies));
    assert_int_equal(bus_probe_get_last(&device, "DESIRED", "desired.device.Lyon.gw-17"), ERR_OK);
    assert_string_equal(device.answer, "told");
    assert_int_equal(bus_probe_store(&streams, "desired.device.Lyon.gw-17", "anew", NULL,
                                     (struct bus_expect){0}),
                     ERR_OK);
    assert_true(bus_probe_wait(&device, &device.messages, 1, WAIT_MS));
    assert_string_equal(device.data, "anew");
    bus_probe_close(&device);
    bus_probe_close(&streams);
}

/* Rows: a verb; columns: the roles of people. */
static void test_account__each_role_may_use_the_verbs_of_the_ones_below(void **state)
{
    struct fleet *fleet = *state;
    char subject[64];
    for (int role = ROLE_VIEWER; role < ROLES; role++) {
        struct bus_probe person;
        open_person(fleet, &person, (enum operator_role)role);
        bus_probe_subscribe(&person, "health.>");
        bus_probe_subscribe(&person, "event.>");
        bus_probe_start(&person);
        for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
            (void)snprintf(subject, sizeof subject, "api.ada.%s", verbs[i].subject);
            if (may_say(fleet, &person, subject) != ((int)verbs[i].role <= role))
                fail_msg("%s of %s", role_names[role], subject);
        }
        assert_false(may_say(fleet, &person, "api.bob.status.show"));
        assert_false(may_say(fleet, &person, "health.Lyon.gw-17"));
        assert_true(may_hear(fleet, &person, "health.Lyon.gw-17"));
        assert_false(may_hear(fleet, &person, "event.Lyon.gw-17"));
        bus_probe_close(&person);
    }
}

static void test_account__enrolment_may_only_ask(void **state)
{
    struct fleet *fleet = *state;
    struct bus_probe stranger;
    struct sign_key key;
    const char *jwt = NULL;
    sign_key_new(&key);
    assert_int_equal(account_mint_enroll(fleet->account, key.public_key, fleet->now_s,
                                         &fleet->arena, &jwt, &fleet->err),
                     ERR_OK);
    open_with(fleet, &stranger, jwt, &key, "_INBOX.enroll");
    bus_probe_subscribe(&stranger, "dn.root.*");
    bus_probe_start(&stranger);
    assert_true(may_say(fleet, &stranger, "enroll"));
    assert_false(may_say(fleet, &stranger, "health.Lyon.gw-17"));
    assert_false(may_say(fleet, &stranger, "renew.Lyon.gw-17"));
    assert_false(may_hear(fleet, &stranger, "dn.root.2"));
    bus_probe_close(&stranger);
}

static bool is_pushed(void *arg)
{
    const struct account *account = arg;
    return account_pushed_version(account) == account_version(account);
}

static void wait_pushed(struct fleet *fleet)
{
    assert_true(wait_turning(fleet->captain.loop, is_pushed, fleet->account, WAIT_MS));
}

/* The claims are pushed again and the device was turned away since. */
static bool is_refused(void *arg)
{
    struct fleet *fleet = ((void **)arg)[0];
    struct bus_probe *device = ((void **)arg)[1];
    const unsigned *before = ((void **)arg)[2];
    turn_for(device->loop, 5);
    return fleet->taken >= 3 && device->disconnected > *before &&
           strstr(device->text, "uthorization") && !bus_connected(device->bus);
}

static void test_account__a_revoked_device_is_cut_and_stays_out(void **state)
{
    struct fleet *fleet = *state;
    struct bus_probe device;
    struct sign_key key;
    wait_pushed(fleet);
    open_device(fleet, &device, &key);
    bus_probe_start(&device);
    /* Also one that will only be issued is void. */
    struct account_revocation revocation = {.at_s = fleet->now_s + ACCOUNT_DEVICE_TTL_S};
    memcpy(revocation.key, key.public_key, SIGN_PUBLIC_BYTES);
    assert_int_equal(account_revoke(fleet->account, &revocation, &fleet->err), ERR_OK);
    wait_pushed(fleet);
    assert_true(bus_probe_wait(&device, &device.disconnected, 1, 5000));

    /* The server loses what the resolver knew, as after a restore of a backup of before: for a moment
     * the device is let in, until captain is connected. */
    char *jwt = tempdir_path(fleet->dir, "jwt");
    unsigned disconnected = device.disconnected;
    nats_server_stop(fleet->server);
    tempdir_remove(jwt);
    nats_server_restart(fleet->server, fleet->lines);
    assert_true(wait_turning(fleet->captain.loop, is_refused,
                             (void *[]){fleet, &device, &disconnected}, WAIT_MS));
    bus_probe_close(&device);
}

static void test_account__what_expired_need_not_be_revoked(void **state)
{
    struct fleet *fleet = *state;
    struct account_revocation list[3] = {{.at_s = 1, .until_s = 2},
                                         {.at_s = fleet->now_s},
                                         {.at_s = fleet->now_s, .until_s = fleet->now_s + 60}};
    const char *jwt = NULL;
    for (uint8_t i = 0; i < 3; i++)
        list[i].key[0] = i;
    assert_int_equal(account_set_revocations(fleet->account, list, 3, &fleet->err), ERR_OK);
    uint64_t version = account_version(fleet->account);
    assert_int_equal(account_claims(fleet->account, fleet->now_s, &fleet->arena, &jwt, &fleet->err),
                     ERR_OK);
    size_t with_two = strlen(jwt);
    assert_int_equal(account_set_revocations(fleet->account, list, 1, &fleet->err), ERR_OK);
    assert_int_equal(account_claims(fleet->account, fleet->now_s, &fleet->arena, &jwt, &fleet->err),
                     ERR_OK);
    assert_true(strlen(jwt) < with_two);
    assert_true(account_version(fleet->account) > version);
    wait_pushed(fleet);
}

/* Decoded only as far as it takes. */
static bool is_in_claims(struct fleet *fleet, const char *key)
{
    const char *jwt = NULL;
    uint8_t *claims = arena_alloc(&fleet->arena, NKEY_JWT_MAX_BYTES);
    size_t len = 0;
    assert_int_equal(account_claims(fleet->account, fleet->now_s, &fleet->arena, &jwt, &fleet->err),
                     ERR_OK);
    const char *body = strchr(jwt, '.') + 1;
    assert_int_equal(sodium_base642bin(claims, NKEY_JWT_MAX_BYTES, body, strcspn(body, "."), NULL,
                                       &len, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    return memmem(claims, len, key, strlen(key)) != NULL;
}

static void
test_account__a_full_list_of_revocations_is_an_error_and_fits_into_a_message(void **state)
{
    struct fleet *fleet = *state;
    struct account_revocation one = {.at_s = fleet->now_s};
    for (unsigned i = 0; i < ACCOUNT_REVOCATIONS_MAX; i++) {
        memcpy(one.key, &i, sizeof i);
        assert_int_equal(account_revoke(fleet->account, &one, &fleet->err), ERR_OK);
    }
    one.key[31] = 1;
    assert_int_equal(account_revoke(fleet->account, &one, &fleet->err), ERR_FULL);
    wait_pushed(fleet);
}

/* The newest is the one that was just asked for. */
static void test_account__a_full_list_makes_room_for_what_lasts_longer(void **state)
{
    struct fleet *fleet = *state;
    struct account_revocation *list = mem_new(ACCOUNT_REVOCATIONS_MAX, sizeof *list), one = {0};
    char first[NKEY_TEXT], second[NKEY_TEXT], newest[NKEY_TEXT];
    for (unsigned i = 0; i < ACCOUNT_REVOCATIONS_MAX; i++) {
        memcpy(list[i].key, &i, sizeof i);
        list[i].at_s = fleet->now_s;
        list[i].until_s = fleet->now_s + 100 + i;
    }
    assert_int_equal(
        account_set_revocations(fleet->account, list, ACCOUNT_REVOCATIONS_MAX, &fleet->err),
        ERR_OK);
    nkey_public_text(NKEY_USER, list[0].key, first);
    nkey_public_text(NKEY_USER, list[1].key, second);
    one = list[0];
    one.key[31] = 1;
    assert_int_equal(account_revoke(fleet->account, &one, &fleet->err), ERR_FULL); /* as soon */
    one.until_s = fleet->now_s + ACCOUNT_DEVICE_TTL_S;
    nkey_public_text(NKEY_USER, one.key, newest);
    assert_int_equal(account_revoke(fleet->account, &one, &fleet->err), ERR_OK);
    assert_false(is_in_claims(fleet, first));
    assert_true(is_in_claims(fleet, second));
    assert_true(is_in_claims(fleet, newest));
    wait_pushed(fleet);
    mem_free(list);
}

/* A site of that name would make its devices' inboxes those of others. */
static void test_account__no_device_is_named_as_an_inbox_of_others(void **state)
{
    static const char *const sites[] = {"op", "enroll", "captain"};
    struct fleet *fleet = *state;
    const char *jwt = NULL;
    for (size_t i = 0; i < ARRAY_LEN(sites); i++) {
        const struct account_device device = {.site = sites[i],
                                              .device = "ada",
                                              .key = (const uint8_t[SIGN_PUBLIC_BYTES]){1},
                                              .issued_s = fleet->now_s,
                                              .expires_s = fleet->now_s + 60};
        assert_int_equal(
            account_mint_device(fleet->account, &device, &fleet->arena, &jwt, &fleet->err),
            ERR_MALFORMED);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_account__a_device_speaks_and_hears_only_as_itself),
        T(test_account__what_the_server_answers_a_device_commands_nothing),
        T(test_account__each_role_may_use_the_verbs_of_the_ones_below),
        T(test_account__enrolment_may_only_ask),
        T(test_account__a_revoked_device_is_cut_and_stays_out),
        T(test_account__what_expired_need_not_be_revoked),
        T(test_account__a_full_list_makes_room_for_what_lasts_longer),
        T(test_account__no_device_is_named_as_an_inbox_of_others),
        T(test_account__a_full_list_of_revocations_is_an_error_and_fits_into_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

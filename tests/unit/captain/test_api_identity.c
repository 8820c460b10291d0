/* SPDX-License-Identifier: Apache-2.0
 *
 * A captain without roles lets nobody in and out, and says why; a device that runs twice is noticed there
 * too. With roles: tests/e2e/test_enrolment.c.
 */
#include "tests/unit/captain/api_world.h"

static void test_identity__without_roles_there_is_none(void **state)
{
    struct world *w = *state;
    uint8_t key[SIGN_PUBLIC_BYTES] = {0x01};
    const struct token_new token = {.public_key = bytes_of(key, sizeof key), .site = "lyon"};
    const struct token_query tokens = {.id = ""};
    const struct device_verb verb = {.device = "lyon/gate-1"};
    const struct identity_query query = {.device = ""};
    const struct {
        const char *verb;
        const struct codec_type *in_type, *out_type;
        const void *in;
    } rows[] = {
        {"token.new", &codec_token_new, &codec_token_info, &token},
        {"token.ls", &codec_token_query, &codec_token_list, &tokens},
        {"token.revoke", &codec_token_query, &codec_token_info, &tokens},
        {"device.approve", &codec_device_verb, &codec_identity_info, &verb},
        {"device.reject", &codec_device_verb, &codec_identity_info, &verb},
        {"device.revoke", &codec_device_verb, &codec_identity_info, &verb},
        {"device.retire", &codec_device_verb, &codec_identity_info, &verb},
        {"device.identities", &codec_identity_query, &codec_identity_list, &query},
    };
    const uint64_t before = status_of(w).log_seq;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *out = arena_alloc(&w->arena, 4096);
        if (ask(w, rows[i].verb, rows[i].in_type, rows[i].in, rows[i].out_type, out) != ERR_USAGE)
            fail_msg("%s: %s", rows[i].verb, w->error);
        assert_non_null(strstr(w->hint, "captain init"));
    }
    assert_int_equal(status_of(w).log_seq, before);
}

static void say(struct world *w, uint64_t instance)
{
    struct bytes data;
    const struct health health = {.epoch = epoch,
                                  .sent_ms = clock_unix_ms(),
                                  .interval_ms = 1000,
                                  .agent_version = "0.1.0",
                                  .instance = instance};
    assert_ok(w, codec_encode(&codec_health, &health, &w->arena, &data, &w->err));
    assert_ok(w, bus_publish(w->bus, "health.lyon.gate-1", data, NULL, NULL, &w->err));
}

static struct device_info shown(struct world *w)
{
    const struct device_query query = {.device = "lyon/gate-1"};
    struct device_info info;
    ask_ok(w, "device.show", &codec_device_query, &query, &codec_device_info, &info);
    return info;
}

static bool is_shown(void *arg)
{
    return strstr(shown(arg).incident, "clone: ") != NULL;
}

static void test_identity__a_clone_is_in_the_log_and_shown(void **state)
{
    struct world *w = *state;
    const struct log_query query = {.kind = "incident.noted", .limit = 10};
    struct log_list list;
    for (uint64_t instance = 1; instance <= 5; instance++) /* restarts */
        say(w, instance);
    assert_string_equal(shown(w).incident, "");
    for (int i = 0; i < 3; i++) {
        say(w, 4);
        say(w, 5);
    }
    assert_true(wait_turning(w->loop, is_shown, w, WAIT_MS));
    assert_string_equal(shown(w).identity, "");
    assert_in_range(shown(w).incident_ms, clock_unix_ms() - 60000, clock_unix_ms());
    ask_ok(w, "log.ls", &codec_log_query, &query, &codec_log_list, &list);
    assert_int_equal(list.entries_len, 1);
    assert_string_equal(list.entries[0].subject, "lyon/gate-1");
    assert_non_null(strstr(list.entries[0].reason, "two agents"));
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return captain_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity__without_roles_there_is_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_identity__a_clone_is_in_the_log_and_shown, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

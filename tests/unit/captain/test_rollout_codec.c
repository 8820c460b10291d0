/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/rollout_codec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "tests/unit/captain/assert_ok.h"

enum { ARENA_BYTES = 64 << 20, MEMBERS = 3 };
static const char id[] = "01HF7YAT00AAAAAAAAAAAAAAAA";

struct world {
    struct arena arena;
    struct err err;
    struct policy policy;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    arena_init(&w->arena, ARENA_BYTES);
    policy_default(&w->policy);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    arena_fini(&w->arena);
    mem_free(w);
    return 0;
}

static const char *const sites[] = {"north", "south", ""};
static const char *const groups[] = {"x86", ""};
static const char *const devices[MEMBERS] = {"north/a", "north/b", "south/c"};
static const struct rollout_stratum strata[] = {{0, 0}, {1, 0}, {2, 1}};
static const struct rollout_names names = {sites, 3, groups, 2, devices, MEMBERS};

static struct rollout_input start_of(const struct world *w, struct rollout_join *members)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_START, .now_ms = 1000};
    members[0] = (struct rollout_join){.eligible = true, .online = true, .pick = ROLLOUT_PICK_NONE};
    members[1] = (struct rollout_join){.pick = 2, .lease_until_ms = 123456789012};
    members[2] = (struct rollout_join){.stratum = 1, .online = true};
    input.u.start = (struct rollout_start){.policy = &w->policy,
                                           .has_base = true,
                                           .members = members,
                                           .members_len = MEMBERS,
                                           .strata = strata,
                                           .strata_len = ARRAY_LEN(strata),
                                           .seed = UINT64_MAX - 7};
    return input;
}

static struct rollout_input there_and_back(struct world *w, const struct rollout_input *input,
                                           struct rollout_names *ret_names)
{
    struct bytes bytes;
    struct rollout_input back;
    struct rollout_names read;
    assert_ok(w, rollout_codec_pack(input, &names, "why", &w->arena, &bytes, &w->err));
    assert_ok(w, rollout_codec_unpack(bytes, &w->arena, &back, &read, &w->err));
    rollout_codec_hash(&back, &read, id);
    assert_int_equal(back.kind, input->kind);
    assert_int_equal(back.now_ms, input->now_ms);
    assert_int_equal(back.member, input->member);
    if (ret_names)
        *ret_names = read;
    return back;
}

static void test_rollout_codec__a_start_comes_back_whole(void **state)
{
    struct world *w = *state;
    struct rollout_join members[MEMBERS];
    struct rollout_names read;
    const struct rollout_input input = start_of(w, members);
    const struct rollout_input back = there_and_back(w, &input, &read);
    const struct rollout_start *start = &back.u.start;
    assert_true(start->has_base);
    assert_true(start->seed == UINT64_MAX - 7);
    assert_memory_equal(start->policy, &w->policy, sizeof w->policy);
    assert_int_equal(start->strata_len, ARRAY_LEN(strata));
    assert_memory_equal(start->strata, strata, sizeof strata);
    assert_int_equal(start->members_len, MEMBERS);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_int_equal(start->members[i].stratum, members[i].stratum);
        assert_int_equal(start->members[i].pick, members[i].pick);
        assert_int_equal(start->members[i].eligible, members[i].eligible);
        assert_int_equal(start->members[i].online, members[i].online);
        assert_int_equal(start->members[i].lease_until_ms, members[i].lease_until_ms);
        assert_true(start->members[i].hash == cohort_hash(id, devices[i]));
        assert_string_equal(read.devices[i], devices[i]);
    }
    assert_string_equal(read.sites[1], "south");
    assert_string_equal(read.groups[1], "");
}

static void test_rollout_codec__every_other_kind_comes_back(void **state)
{
    struct world *w = *state;
    const struct lease_window windows[] = {{1, 2}, {5, 9}};
    struct rollout_input input = {.kind = ROLLOUT_IN_ASK, .now_ms = 5, .member = 7};
    input.u.ask.attempt = 3;
    input.u.ask.rollback = true;
    struct rollout_input back = there_and_back(w, &input, NULL);
    assert_memory_equal(&back.u.ask, &input.u.ask, sizeof back.u.ask);

    input = (struct rollout_input){.kind = ROLLOUT_IN_REPORT, .now_ms = 5, .member = 7};
    input.u.report.what = ROLLOUT_REPORT_ROLLED_BACK;
    input.u.report.attempt = 3;
    input.u.report.sequence = 4;
    input.u.report.flaps = 5;
    back = there_and_back(w, &input, NULL);
    assert_memory_equal(&back.u.report, &input.u.report, sizeof back.u.report);

    input = (struct rollout_input){.kind = ROLLOUT_IN_METRIC, .now_ms = 5};
    input.u.metric.metric = 2;
    input.u.metric.value = NAN;
    input.u.metric.measured_ms = 77;
    back = there_and_back(w, &input, NULL);
    assert_true(isnan(back.u.metric.value));
    assert_int_equal(back.u.metric.measured_ms, 77);

    input = (struct rollout_input){.kind = ROLLOUT_IN_RESUME, .now_ms = 5};
    input.u.resume.gate = GATE_COMPARE;
    input.u.resume.wave = 2;
    back = there_and_back(w, &input, NULL);
    assert_int_equal(back.u.resume.gate, GATE_COMPARE);
    assert_int_equal(back.u.resume.wave, 2);

    input = (struct rollout_input){.kind = ROLLOUT_IN_WINDOWS, .now_ms = 5};
    input.u.windows.site = 1;
    input.u.windows.windowed = true;
    input.u.windows.windows = windows;
    input.u.windows.len = 2;
    back = there_and_back(w, &input, NULL);
    assert_int_equal(back.u.windows.len, 2);
    assert_memory_equal(back.u.windows.windows, windows, sizeof windows);

    input = (struct rollout_input){.kind = ROLLOUT_IN_POLICY, .now_ms = 5};
    input.u.policy = &w->policy;
    back = there_and_back(w, &input, NULL);
    assert_memory_equal(back.u.policy, &w->policy, sizeof w->policy);

    input = (struct rollout_input){.kind = ROLLOUT_IN_JOIN, .now_ms = 5};
    input.u.join = (struct rollout_join){.stratum = 1, .eligible = true, .online = true};
    back = there_and_back(w, &input, NULL);
    assert_int_equal(back.u.join.stratum, 1);
    assert_true(back.u.join.hash == cohort_hash(id, devices[0]));
}

/* Rows of the tables are our own, and yet: a disk that turns bits must not take captain down. */
static void test_rollout_codec__foreign_bytes_are_refused(void **state)
{
    struct world *w = *state;
    struct rollout_join members[MEMBERS];
    struct rollout_input input = start_of(w, members), back;
    struct rollout_names read;
    struct bytes bytes;
    unsigned refused = 0;
    assert_ok(w, rollout_codec_pack(&input, &names, NULL, &w->arena, &bytes, &w->err));
    uint8_t *copy = mem_new(1, bytes.len);
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, ARENA_BYTES);
    for (size_t len = 0; len < bytes.len; len++) {
        memcpy(copy, bytes.ptr, len);
        arena_reset(&arena);
        refused +=
            rollout_codec_unpack(bytes_of(copy, len), &arena, &back, &read, &w->err) != ERR_OK;
    }
    assert_true(refused > bytes.len - 4); /* cut between two fields it may still be a message */
    for (size_t i = 0; i < bytes.len * 8; i++) {
        memcpy(copy, bytes.ptr, bytes.len);
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
        arena_reset(&arena);
        (void)(rollout_codec_unpack(bytes_of(copy, bytes.len), &arena, &back, &read, &w->err) ==
               ERR_OK);
    }
    mem_free(copy);
    const struct rollout_stored_input unknown = {.kind = ROLLOUT_INPUTS, .policy = ""};
    assert_int_equal(rollout_codec_read(&unknown, &arena, &back, &read, &w->err), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rollout_codec__a_start_comes_back_whole, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_rollout_codec__every_other_kind_comes_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_rollout_codec__foreign_bytes_are_refused, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"

enum {
    ONLINE_MS = 90000,
    CHANNELS = 7,
    RELEASES = 9,
    DEVICES = 100000,
    STEPS = 400000,
};
/* A device may count as online for one slot of the wheel longer than online_ms. */
enum { SLOT_MS = (ONLINE_MS - 1) / (FLEET_SEEN_SLOTS - 1) + 1 };
static const int64_t start_ms = 1700000000000;

static struct fleet_app_report app(const char *channel, const char *release, unsigned state,
                                   uint64_t generation)
{
    return (struct fleet_app_report){channel, release, state, generation};
}

/* The naive model: what each device said last, counted afresh whenever asked. */
struct model_app {
    unsigned channel, release, state;
    uint64_t generation;
};
struct model_device {
    int64_t seen_ms;
    uint64_t garbage;
    bool reported;
    size_t apps_len;
    struct model_app apps[FLEET_APPS_MAX];
};
struct model {
    struct rng rng;
    struct fleet *fleet;
    struct model_device *devices;
    char channels[CHANNELS][32];
    char releases[RELEASES][32];
    int64_t now_ms;
};

static struct model *model_new(uint64_t seed)
{
    struct model *model = mem_new(1, sizeof *model);
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&model->rng, seed);
    model->devices = mem_new(DEVICES, sizeof *model->devices);
    model->fleet = fleet_new(DEVICES, ONLINE_MS);
    model->now_ms = start_ms;
    for (int i = 0; i < CHANNELS; i++)
        (void)snprintf(model->channels[i], sizeof model->channels[i], "app%d/stable", i);
    for (int i = 1; i < RELEASES; i++)
        (void)snprintf(model->releases[i], sizeof model->releases[i], "app@%d", i);
    return model;
}

static void model_free(struct model *model)
{
    fleet_free(model->fleet);
    mem_free(model->devices);
    mem_free(model);
}

static bool model_same(const struct model_device *a, const struct model_device *b)
{
    size_t found = 0;
    for (size_t i = 0; i < a->apps_len; i++) {
        for (size_t j = 0; j < b->apps_len; j++) {
            const struct model_app *x = &a->apps[i], *y = &b->apps[j];
            found += x->channel == y->channel && x->release == y->release && x->state == y->state &&
                     x->generation == y->generation;
        }
    }
    return a->apps_len == b->apps_len && found == a->apps_len;
}

/* Up to CHANNELS apps in different channels, starting anywhere. */
static void model_random_apps(struct model *model, struct model_device *ret)
{
    const unsigned first = (unsigned)rng_below(&model->rng, CHANNELS);
    ret->apps_len = rng_below(&model->rng, 3) ? rng_below(&model->rng, 3)
                                              : rng_below(&model->rng, CHANNELS + 1);
    for (size_t i = 0; i < ret->apps_len; i++)
        ret->apps[i] = (struct model_app){
            (first + (unsigned)i) % CHANNELS, (unsigned)rng_below(&model->rng, RELEASES),
            (unsigned)rng_below(&model->rng, FLEET_STATES), rng_below(&model->rng, 3)};
}

static void model_report(struct model *model, uint32_t device, const struct model_device *says)
{
    struct fleet_app_report apps[FLEET_APPS_MAX];
    struct model_device *is = &model->devices[device];
    for (size_t i = 0; i < says->apps_len; i++)
        apps[i] =
            app(model->channels[says->apps[i].channel], model->releases[says->apps[i].release],
                says->apps[i].state, says->apps[i].generation);
    const enum fleet_change expected = !is->reported          ? FLEET_NEW
                                       : model_same(is, says) ? FLEET_SEEN
                                                              : FLEET_CHANGED;
    assert_int_equal(fleet_report(model->fleet, device, model->now_ms, apps, says->apps_len),
                     expected);
    is->reported = true;
    is->seen_ms = model->now_ms;
    is->apps_len = says->apps_len;
    memcpy(is->apps, says->apps, sizeof is->apps);
}

static void model_step(struct model *model)
{
    char name[32];
    const uint32_t device = (uint32_t)rng_below(&model->rng, DEVICES);
    (void)snprintf(name, sizeof name, "site%u/device%u", device % 10, device);
    const uint32_t number = fleet_find(model->fleet, name);
    assert_int_not_equal(number, FLEET_NONE);
    model->now_ms += (int64_t)rng_below(&model->rng, 4);
    const uint64_t what = rng_below(&model->rng, 10);
    if (what == 0) {
        fleet_seen(model->fleet, number, model->now_ms);
        model->devices[number].seen_ms = model->now_ms;
    } else if (what == 1) {
        assert_int_equal(fleet_garbage(model->fleet, number), ++model->devices[number].garbage);
    } else if (what < 5) {
        const struct model_device again = model->devices[number];
        model_report(model, number, &again);
    } else {
        struct model_device says = {0};
        model_random_apps(model, &says);
        model_report(model, number, &says);
    }
}

static void model_check_counts(const struct model *model)
{
    static uint64_t want[CHANNELS][RELEASES][FLEET_STATES];
    uint64_t running[RELEASES] = {0};
    memset(want, 0, sizeof want);
    for (uint32_t d = 0; d < DEVICES; d++) {
        unsigned seen = 0;
        for (size_t i = 0; i < model->devices[d].apps_len; i++) {
            const struct model_app *a = &model->devices[d].apps[i];
            want[a->channel][a->release][a->state]++;
            running[a->release] += !(seen >> a->release & 1);
            seen |= 1u << a->release;
        }
    }
    for (int c = 0; c < CHANNELS; c++) {
        struct fleet_count counts[RELEASES];
        const size_t len = fleet_channel_counts(model->fleet, model->channels[c], counts, RELEASES);
        assert_true(len <= RELEASES);
        uint64_t have[RELEASES][FLEET_STATES] = {{0}};
        for (size_t i = 0; i < len; i++) {
            int r = 0;
            while (!str_equal(model->releases[r], counts[i].release))
                assert_true(++r < RELEASES);
            memcpy(have[r], counts[i].by_state, sizeof have[r]);
        }
        assert_memory_equal(have, want[c], sizeof have);
    }
    for (int r = 0; r < RELEASES; r++)
        assert_int_equal(fleet_release_devices(model->fleet, model->releases[r]), running[r]);
}

static void model_check_totals(const struct model *model)
{
    struct fleet_totals totals;
    uint64_t surely = 0, perhaps = 0, garbage = 0, each = 0;
    fleet_totals(model->fleet, model->now_ms, &totals);
    for (uint32_t d = 0; d < DEVICES; d++) {
        const int64_t seen_ms = model->devices[d].seen_ms;
        surely += seen_ms > model->now_ms - ONLINE_MS;
        perhaps += seen_ms > model->now_ms - ONLINE_MS - 2 * SLOT_MS;
        garbage += model->devices[d].garbage;
        each += fleet_online(model->fleet, d, model->now_ms);
    }
    assert_int_equal(totals.devices, DEVICES);
    assert_int_equal(totals.garbage, garbage);
    assert_int_equal(totals.online, each);
    assert_in_range(totals.online, surely, perhaps);
}

static void model_check_rows(struct model *model)
{
    for (int i = 0; i < 1000; i++) {
        const uint32_t device = (uint32_t)rng_below(&model->rng, DEVICES);
        const struct model_device *want = &model->devices[device];
        struct fleet_row row;
        fleet_row(model->fleet, device, &row);
        assert_int_equal(row.last_seen_ms, want->seen_ms);
        assert_int_equal(row.garbage, want->garbage);
        assert_int_equal(row.apps_len, want->apps_len);
        for (size_t a = 0; a < row.apps_len; a++) {
            assert_string_equal(row.apps[a].channel, model->channels[want->apps[a].channel]);
            assert_string_equal(row.apps[a].release, model->releases[want->apps[a].release]);
            assert_int_equal(row.apps[a].state, want->apps[a].state);
            assert_int_equal(row.apps[a].generation, want->apps[a].generation);
        }
    }
}

static void test_fleet__counts_as_a_recount_does(void **state)
{
    (void)state;
    uint64_t seed;
    clock_random(&seed, sizeof seed);
    struct model *model = model_new(seed);
    for (uint32_t d = 0; d < DEVICES; d++) {
        char name[32];
        (void)snprintf(name, sizeof name, "site%u/device%u", d % 10, d);
        assert_int_equal(fleet_add(model->fleet, name), d);
        assert_int_equal(fleet_add(model->fleet, name), d);
        assert_string_equal(fleet_device_name(model->fleet, d), name);
    }
    assert_int_equal(fleet_add(model->fleet, "site/one-too-many"), FLEET_NONE);
    for (int i = 0; i < STEPS; i++) {
        model_step(model);
        if (i % (STEPS / 8) == 0) {
            model_check_counts(model);
            model_check_totals(model);
        }
    }
    model_check_counts(model);
    model_check_totals(model);
    model_check_rows(model);
    model->now_ms += ONLINE_MS + SLOT_MS;
    model_check_totals(model);
    model_free(model);
}

static void test_fleet__device_that_leaves_a_channel_is_taken_from_its_counts(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(10, ONLINE_MS);
    struct fleet_count counts[4];
    const uint32_t device = fleet_add(fleet, "lab/a");
    struct fleet_app_report report = app("web/stable", "web@1.0", 4, 1);
    assert_int_equal(fleet_report(fleet, device, start_ms, &report, 1), FLEET_NEW);
    assert_int_equal(fleet_channel_counts(fleet, "web/stable", counts, 4), 1);
    assert_string_equal(counts[0].release, "web@1.0");
    assert_int_equal(counts[0].by_state[4], 1);
    report.channel = "web/beta";
    assert_int_equal(fleet_report(fleet, device, start_ms, &report, 1), FLEET_CHANGED);
    assert_int_equal(fleet_channel_counts(fleet, "web/stable", counts, 4), 0);
    assert_int_equal(fleet_channel_counts(fleet, "web/beta", counts, 4), 1);
    assert_int_equal(fleet_release_devices(fleet, "web@1.0"), 1);
    assert_int_equal(fleet_report(fleet, device, start_ms, NULL, 0), FLEET_CHANGED);
    assert_int_equal(fleet_channel_counts(fleet, "web/beta", counts, 4), 0);
    assert_int_equal(fleet_release_devices(fleet, "web@1.0"), 0);
    fleet_free(fleet);
}

static void test_fleet__refuses_what_breaks_a_bound_and_changes_nothing(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(2, ONLINE_MS);
    const uint32_t device = fleet_add(fleet, "lab/a");
    char huge[200];
    memset(huge, 'x', sizeof huge);
    huge[sizeof huge - 1] = '\0';
    assert_int_equal(fleet_add(fleet, huge), FLEET_NONE);
    const struct fleet_app_report good = app("web/stable", "web@1.0", 4, 1);
    assert_int_equal(fleet_report(fleet, device, start_ms, &good, 1), FLEET_NEW);

    const struct fleet_app_report bad[] = {
        app(huge, "web@1.0", 4, 1),    app("web/stable", huge, 4, 1),
        app("", "web@1.0", 4, 1),      app(NULL, "web@1.0", 4, 1),
        app("web/stable", NULL, 4, 1), app("web/stable", "web@1.0", FLEET_STATES, 1),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(fleet_report(fleet, device, start_ms + 1, &bad[i], 1), FLEET_REFUSED);
    const struct fleet_app_report twice[] = {good, good};
    assert_int_equal(fleet_report(fleet, device, start_ms + 1, twice, 2), FLEET_REFUSED);
    struct fleet_app_report many[FLEET_APPS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = good;
    assert_int_equal(fleet_report(fleet, device, start_ms + 1, many, ARRAY_LEN(many)),
                     FLEET_REFUSED);

    struct fleet_row row;
    fleet_row(fleet, device, &row);
    assert_int_equal(row.last_seen_ms, start_ms);
    assert_int_equal(row.apps_len, 1);
    assert_string_equal(row.apps[0].release, "web@1.0");
    fleet_free(fleet);
}

/* One device that makes up a new release with every report must not use the table up for the
 * others. */
static void test_fleet__names_nobody_uses_take_no_room(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(10, ONLINE_MS);
    const uint32_t device = fleet_add(fleet, "lab/liar");
    char channel[32], release[32];
    for (int i = 0; i < 2 * FLEET_RELEASES_MAX; i++) {
        (void)snprintf(channel, sizeof channel, "web/c%d", i);
        (void)snprintf(release, sizeof release, "web@%d", i);
        const struct fleet_app_report report = app(channel, release, 4, 1);
        assert_int_not_equal(fleet_report(fleet, device, start_ms, &report, 1), FLEET_REFUSED);
    }
    assert_int_equal(fleet_release_devices(fleet, "web@7"), 0);
    assert_int_equal(fleet_release_devices(fleet, release), 1);
    fleet_free(fleet);
}

static void test_fleet__a_full_table_of_channels_refuses(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(FLEET_CHANNELS_MAX + 1, ONLINE_MS);
    char name[32], channel[32];
    for (int i = 0; i <= FLEET_CHANNELS_MAX; i++) {
        (void)snprintf(name, sizeof name, "lab/d%d", i);
        (void)snprintf(channel, sizeof channel, "web/c%d", i);
        const uint32_t device = fleet_add(fleet, name);
        const struct fleet_app_report report = app(channel, "web@1", 4, 1);
        assert_int_equal(fleet_report(fleet, device, start_ms, &report, 1),
                         i < FLEET_CHANNELS_MAX ? FLEET_NEW : FLEET_REFUSED);
    }
    const struct fleet_app_report known = app("web/c0", "web@1", 4, 1);
    assert_int_equal(fleet_report(fleet, FLEET_CHANNELS_MAX, start_ms, &known, 1), FLEET_NEW);
    fleet_free(fleet);
}

static uint64_t online_at(struct fleet *fleet, int64_t now_ms)
{
    struct fleet_totals totals;
    fleet_totals(fleet, now_ms, &totals);
    return totals.online;
}

static void test_fleet__device_is_offline_when_silent(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(10, ONLINE_MS);
    const uint32_t a = fleet_add(fleet, "lab/a");
    const uint32_t b = fleet_add(fleet, "lab/b");
    assert_int_equal(online_at(fleet, start_ms), 0);
    assert_int_equal(fleet_report(fleet, a, start_ms, NULL, 0), FLEET_NEW);
    fleet_seen(fleet, b, start_ms - 10 * ONLINE_MS); /* restored from long ago */
    assert_int_equal(online_at(fleet, start_ms), 1);
    fleet_seen(fleet, b, start_ms + 1000);
    assert_int_equal(online_at(fleet, start_ms + ONLINE_MS - 1), 2);
    assert_int_equal(online_at(fleet, start_ms + ONLINE_MS + 1000 + SLOT_MS), 0);
    assert_false(fleet_online(fleet, a, start_ms + ONLINE_MS + SLOT_MS));
    fleet_seen(fleet, a, start_ms + 1000 * ONLINE_MS);
    assert_int_equal(online_at(fleet, start_ms + 1000 * ONLINE_MS), 1);
    fleet_free(fleet);
}

static void test_fleet__survives_a_clock_that_is_set_back(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(10, ONLINE_MS);
    const uint32_t a = fleet_add(fleet, "lab/a");
    const uint32_t b = fleet_add(fleet, "lab/b");
    const int64_t wrong_ms = start_ms + 10LL * 365 * 86400000;
    assert_int_equal(fleet_report(fleet, a, wrong_ms, NULL, 0), FLEET_NEW);
    assert_int_equal(fleet_report(fleet, b, start_ms, NULL, 0), FLEET_NEW);
    assert_int_equal(online_at(fleet, start_ms), 2);
    fleet_seen(fleet, b, start_ms + ONLINE_MS);
    assert_int_equal(online_at(fleet, start_ms + ONLINE_MS + SLOT_MS), 1);
    assert_int_equal(online_at(fleet, -5), 2); /* nonsense: everybody was seen "now" */
    assert_int_equal(online_at(fleet, INT64_MAX), 0);
    fleet_free(fleet);
}

/* The bound of the header, and how fast it is (not asserted: machines differ). */
static void test_fleet__needs_at_most_200_bytes_per_device(void **state)
{
    (void)state;
    enum { COUNT = 100000, ROUNDS = 5 };
    struct fleet *fleet = fleet_new(COUNT, ONLINE_MS);
    const size_t empty = fleet_memory_bytes(fleet);
    char channels[FLEET_APPS_MAX][32], name[32];
    struct fleet_app_report apps[FLEET_APPS_MAX];
    size_t names = 0;
    for (int i = 0; i < FLEET_APPS_MAX; i++) {
        (void)snprintf(channels[i], sizeof channels[i], "app%d/stable", i);
        apps[i] = app(channels[i], "app@1", 4, 1);
    }
    const int64_t from = clock_mono_ns();
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t d = 0; d < COUNT; d++) {
            (void)snprintf(name, sizeof name, "site%u/device%u", d % 10, d);
            names += round ? 0 : strlen(name) + 1;
            (void)fleet_report(fleet, fleet_add(fleet, name), start_ms + round, apps,
                               FLEET_APPS_MAX);
        }
    }
    const double seconds = (double)(clock_mono_ns() - from) / 1e9;
    const size_t each = (fleet_memory_bytes(fleet) - empty - names) / COUNT;
    print_message("%zu bytes per device of %d apps, %.0f reports/s\n", each, FLEET_APPS_MAX,
                  ROUNDS * COUNT / seconds);
    assert_in_range(each, 1, 200);
    fleet_free(fleet);
}

static void test_fleet__one_that_is_out_is_in_no_count(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(8, ONLINE_MS);
    struct fleet_totals totals;
    struct fleet_count counts[4];
    struct fleet_row row;
    const struct fleet_app_report said = app("demo/stable", "demo@1.0", 4, 7);
    const uint32_t gone = fleet_add(fleet, "lyon/gate-1"), stays = fleet_add(fleet, "lyon/gate-2");
    assert_int_equal(fleet_report(fleet, gone, start_ms, &said, 1), FLEET_NEW);
    assert_int_equal(fleet_report(fleet, stays, start_ms, &said, 1), FLEET_NEW);
    fleet_put_out(fleet, gone, true);
    fleet_put_out(fleet, gone, true);
    assert_int_equal(fleet_report(fleet, gone, start_ms + 1, &said, 1), FLEET_REFUSED);
    fleet_seen(fleet, gone, start_ms + 1);
    fleet_totals(fleet, start_ms + 1, &totals);
    assert_int_equal(totals.devices, 1);
    assert_int_equal(totals.online, 1);
    assert_int_equal(fleet_len(fleet), 2);
    assert_int_equal(fleet_release_devices(fleet, "demo@1.0"), 1);
    assert_int_equal(fleet_channel_counts(fleet, "demo/stable", counts, 4), 1);
    assert_int_equal(counts[0].by_state[4], 1);
    fleet_row(fleet, gone, &row);
    assert_int_equal(row.apps_len, 0);
    assert_int_equal(row.last_seen_ms, 0);
    assert_true(fleet_is_out(fleet, gone) && !fleet_is_out(fleet, stays));

    fleet_put_out(fleet, gone, false);
    assert_int_equal(fleet_report(fleet, gone, start_ms + 2, &said, 1), FLEET_NEW);
    fleet_totals(fleet, start_ms + 2, &totals);
    assert_int_equal(totals.devices, 2);
    assert_int_equal(totals.online, 2);
    assert_int_equal(fleet_release_devices(fleet, "demo@1.0"), 2);
    fleet_free(fleet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fleet__one_that_is_out_is_in_no_count),
        cmocka_unit_test(test_fleet__counts_as_a_recount_does),
        cmocka_unit_test(test_fleet__device_that_leaves_a_channel_is_taken_from_its_counts),
        cmocka_unit_test(test_fleet__refuses_what_breaks_a_bound_and_changes_nothing),
        cmocka_unit_test(test_fleet__names_nobody_uses_take_no_room),
        cmocka_unit_test(test_fleet__a_full_table_of_channels_refuses),
        cmocka_unit_test(test_fleet__device_is_offline_when_silent),
        cmocka_unit_test(test_fleet__survives_a_clock_that_is_set_back),
        cmocka_unit_test(test_fleet__needs_at_most_200_bytes_per_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

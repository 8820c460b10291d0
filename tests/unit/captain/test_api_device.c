/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/api_world.h"

static struct device_list list_devices(struct world *w, const struct device_query *query)
{
    struct device_list list;
    ask_ok(w, "device.ls", &codec_device_query, query, &codec_device_list, &list);
    return list;
}

static void test_api__devices_are_listed(void **state)
{
    struct world *w = *state;
    device_says(w, "lab.a", "1.0", APP_STATE_HEALTHY);
    device_says(w, "lab.b", "1.0", APP_STATE_FAILED);
    device_says(w, "shop.a", "1.1", APP_STATE_HEALTHY);
    wait_counts(w, 3, 0);
    struct device_list list = list_devices(w, &(struct device_query){.limit = 0});
    assert_int_equal(list.devices_len, 3);
    assert_string_equal(list.devices[0].device, "lab/a");
    assert_true(list.devices[0].online);
    assert_string_equal(list.devices[0].agent_version, "0.1.0");
    assert_string_equal(list.devices[0].apps[0].state, "healthy");
    assert_string_equal(list.devices[0].apps[0].version, "1.0");
    assert_string_equal(list.next, "");
    list = list_devices(w, &(struct device_query){.site = "lab"});
    assert_int_equal(list.devices_len, 2);
    list = list_devices(w, &(struct device_query){.state = "failed", .app = "hello"});
    assert_int_equal(list.devices_len, 1);
    assert_string_equal(list.devices[0].device, "lab/b");
    assert_int_equal(list_devices(w, &(struct device_query){.app = "hell"}).devices_len, 0);
    /* Pages. */
    list = list_devices(w, &(struct device_query){.limit = 2});
    assert_int_equal(list.devices_len, 2);
    assert_string_equal(list.next, "lab/b");
    list = list_devices(w, &(struct device_query){.limit = 2, .after = "lab/b"});
    assert_int_equal(list.devices_len, 1);
    assert_string_equal(list.devices[0].device, "shop/a");
    assert_string_equal(list.next, "");
    /* By name, whatever came first; a name to go on after need not be there. */
    device_says(w, "lab.a1", "1.0", APP_STATE_HEALTHY);
    device_says(w, "depot.z", "1.0", APP_STATE_HEALTHY);
    wait_counts(w, 5, 0);
    static const char *const names[] = {"depot/z", "lab/a", "lab/a1", "lab/b", "shop/a"};
    const char *after = "";
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        list = list_devices(w, &(struct device_query){.limit = 1, .after = after});
        assert_int_equal(list.devices_len, 1);
        assert_string_equal(list.devices[0].device, names[i]);
        assert_string_equal(list.next, i + 1 < ARRAY_LEN(names) ? names[i] : "");
        after = list.next;
    }
    list = list_devices(w, &(struct device_query){.limit = 2, .after = "lab/a0"});
    assert_string_equal(list.devices[0].device, "lab/a1");
    const struct device_query bad[] = {{.state = "splendid"}, {.site = "a.b"}, {.app = "*"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(
            ask(w, "device.ls", &codec_device_query, &bad[i], &codec_device_list, &list),
            ERR_USAGE);
}

static void test_api__one_device_is_shown(void **state)
{
    struct world *w = *state;
    struct device_info info;
    struct device_query query = {.device = "lab/a"};
    device_says(w, "lab.a", "1.0", APP_STATE_UNHEALTHY);
    device_says(w, "shop.a", "1.0", APP_STATE_HEALTHY);
    for (uint64_t seq = 1; seq <= 60; seq++)
        device_event(w, "lab.a", seq);
    wait_counts(w, 2, 60);
    ask_ok(w, "device.show", &codec_device_query, &query, &codec_device_info, &info);
    assert_string_equal(info.device, "lab/a");
    assert_int_equal(info.events_stored, 60);
    assert_int_equal(info.events_len, 50);
    assert_int_equal(info.events[0].seq, 60);
    assert_string_equal(info.events[0].kind, "rolled_back");
    assert_string_equal(info.events[0].code, "unhealthy");
    assert_string_equal(info.apps[0].state, "unhealthy");
    query.device = "a";
    assert_int_equal(ask(w, "device.show", &codec_device_query, &query, &codec_device_info, &info),
                     ERR_USAGE);
    assert_non_null(strstr(w->error, "lab/a, shop/a"));
    query.device = "nobody";
    assert_int_equal(ask(w, "device.show", &codec_device_query, &query, &codec_device_info, &info),
                     ERR_NOT_FOUND);
}

static void test_api__telemetry_is_shown_with_the_apps_own_numbers(void **state)
{
    struct world *w = *state;
    struct device_info info;
    struct bytes data;
    const struct device_query query = {.device = "lab/a"};
    const struct metric metrics[] = {{.name = "orders_open", .value = 42.5}};
    const struct app_metrics apps[] = {{.app = "hello", .metrics = metrics, .metrics_len = 1}};
    const struct telemetry telemetry = {.sent_ms = 1,
                                        .uptime_ms = 90000,
                                        .cpu_permille = 125,
                                        .temperature_millicelsius = 41500,
                                        .has_temperature = true,
                                        .apps = apps,
                                        .apps_len = 1};
    assert_ok(w, codec_encode(&codec_telemetry, &telemetry, &w->arena, &data, &w->err));
    assert_ok(w, bus_publish(w->bus, "telemetry.lab.a", data, NULL, NULL, &w->err));
    device_says(w, "lab.a", "1.0", APP_STATE_HEALTHY);
    wait_counts(w, 1, 0);
    ask_ok(w, "device.show", &codec_device_query, &query, &codec_device_info, &info);
    assert_non_null(info.telemetry);
    assert_int_equal(info.telemetry->cpu_permille, 125);
    assert_int_equal(info.telemetry->uptime_ms, 90000);
    assert_true(info.telemetry->has_temperature);
    assert_int_equal(info.telemetry->temperature_millicelsius, 41500);
    assert_int_equal(info.telemetry->apps_len, 1);
    assert_string_equal(info.telemetry->apps[0].app, "hello");
    assert_string_equal(info.telemetry->apps[0].metrics[0].name, "orders_open");
    assert_true(info.telemetry->apps[0].metrics[0].value == 42.5);
}

/* A page that one message could not carry. */
static void test_api__long_stories_make_shorter_pages(void **state)
{
    enum { DEVICES = 300 };
    struct world *w = *state;
    char reason[501];
    struct app_status apps[8];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(apps); i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
        apps[i] = (struct app_status){
            .app = names[i], .channel = "stable", .state = APP_STATE_FAILED, .reason = reason};
    }
    const struct health health = {.epoch = epoch,
                                  .sent_ms = 1,
                                  .agent_version = "0.1.0",
                                  .apps = apps,
                                  .apps_len = ARRAY_LEN(apps)};
    for (int i = 0; i < DEVICES; i++) {
        char subject[64];
        struct bytes data;
        (void)snprintf(subject, sizeof subject, "health.lab.d%03d", i);
        assert_ok(w, codec_encode(&codec_health, &health, &w->arena, &data, &w->err));
        assert_ok(w, bus_publish(w->bus, subject, data, NULL, NULL, &w->err));
    }
    wait_counts(w, DEVICES, 0);
    int seen = 0;
    const char *after = "";
    do {
        struct device_list list = list_devices(w, &(struct device_query){.after = after});
        assert_true(list.devices_len > 0);
        seen += (int)list.devices_len;
        after = list.next;
    } while (after[0]);
    assert_int_equal(seen, DEVICES);
}

static void test_api__channel_counts_its_devices(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.1", &channel), ERR_OK);
    device_says(w, "lab.a", "1.1", APP_STATE_HEALTHY);
    device_says(w, "lab.b", "1.1", APP_STATE_CONFIRMING);
    device_says(w, "lab.c", "1.1", APP_STATE_HEALTHY);
    device_says(w, "lab.d", "1.0", APP_STATE_HEALTHY);
    wait_counts(w, 4, 0);
    const struct status status = status_of(w);
    assert_int_equal(status.devices, 4);
    assert_int_equal(status.online, 4);
    assert_int_equal(status.channels_len, 1);
    assert_int_equal(status.channels[0].devices, 4);
    assert_int_equal(status.channels[0].on_release, 2);
    assert_int_equal(status.channels[0].versions_len, 2);
    assert_string_equal(status.channels[0].versions[0].name, "1.1");
    assert_int_equal(status.channels[0].versions[0].devices, 3);
    assert_int_equal(status.channels[0].states_len, 2);
    const struct release_query query = {.app = "hello", .version = "1.1"};
    struct release_info info;
    ask_ok(w, "release.show", &codec_release_query, &query, &codec_release_info, &info);
    assert_int_equal(info.devices, 3);
}

#define API_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return captain_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        API_TEST(test_api__devices_are_listed),
        API_TEST(test_api__one_device_is_shown),
        API_TEST(test_api__telemetry_is_shown_with_the_apps_own_numbers),
        API_TEST(test_api__long_stories_make_shorter_pages),
        API_TEST(test_api__channel_counts_its_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/config.h"
#include "common/base/mem.h"
#include "tests/support/tempdir.h"

#define HEAD                                                                                       \
    "\"device\": \"gw-17\", \"site\": \"lyon\", \"nats\": {\"url\": \"nats://captain:4222\"}, "    \
    "\"root\": \"/r\""
#define APPS "\"apps\": {\"hello\": {\"channel\": \"stable\"}}"
#define GOOD "{" HEAD ", " APPS "}"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static enum err_code parse(const char *text, struct config *ret, struct err *err)
{
    *err = (struct err){.code = ERR_OK};
    return config_parse("agent.json", bytes_of(text, strlen(text)), &arena, ret, err);
}

static void test_config__least_file_has_the_defaults(void **unused)
{
    (void)unused;
    struct config config;
    struct err err;
    assert_int_equal(parse(GOOD, &config, &err), ERR_OK);
    assert_string_equal(config.device, "gw-17");
    assert_string_equal(config.site, "lyon");
    assert_null(config.tenant);
    assert_string_equal(config.folder, "/var/lib/captain-agent");
    assert_string_equal(config.fetch_helper, CAPTAIN_LIBEXEC "/captain-fetch");
    assert_null(config.fetch_user);
    assert_null(config.fetch_ca);
    assert_null(config.nats_creds);
    assert_string_equal(config.hardware, "");
    assert_int_equal(config.health_ms, 30000);
    assert_int_equal(config.telemetry_ms, 60000);
    assert_int_equal(config.refresh_ms, 600000);
    assert_int_equal(config.log_level, LOG_LEVEL_INFO);
    assert_int_equal(config.apps_len, 1);
    assert_string_equal(config.apps[0].app, "hello");
    assert_string_equal(config.apps[0].channel, "stable");
    assert_null(config.apps[0].env[0]);
}

static void test_config__every_key(void **unused)
{
    (void)unused;
    static const char text[] =
        "{\"device\": \"d\", \"site\": \"s\", \"tenant\": \"t\", \"root\": \"/root.dsse\", "
        "\"folder\": \"/f\",\n"
        " \"nats\": {\"url\": \"tls://a:1,b:2\", \"creds\": \"/c\", \"ca\": \"/ca\", \"cert\": "
        "\"/ce\", \"key\": \"/k\"},\n"
        " \"apps\": {\"a\": {\"channel\": \"x\", \"env\": {\"PORT\": \"8080\", \"_E\": \"\"}}, "
        "\"b\": {\"channel\": \"y\", \"lock\": \"/run/b.lock\"}},\n"
        " \"fetch\": {\"helper\": \"/h\", \"user\": \"u\", \"ca\": \"/ca\"},\n"
        " \"intervals\": {\"health\": \"500ms\", \"telemetry\": \"1h\", \"refresh\": \"1h30m\"},\n"
        " \"labels\": {\"tier\": \"gold\", \"line\": \"3\"},\n"
        " \"supervisor\": {\"enabled\": false, \"hang\": \"5s\", \"restart\": \"1s\"},\n"
        " \"hardware\": \"rpi4\", \"log\": \"debug\"}\n";
    struct config config;
    struct err err;
    if (parse(text, &config, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_string_equal(config.nats_url, "tls://a:1,b:2");
    assert_string_equal(config.nats_creds, "/c");
    assert_string_equal(config.nats_ca, "/ca");
    assert_string_equal(config.nats_cert, "/ce");
    assert_string_equal(config.nats_key, "/k");
    assert_string_equal(config.apps[0].env[0], "PORT=8080");
    assert_string_equal(config.apps[0].env[1], "_E=");
    assert_null(config.apps[0].env[2]);
    assert_string_equal(config.apps[1].channel, "y");
    assert_string_equal(config.fetch_helper, "/h");
    assert_string_equal(config.fetch_user, "u");
    assert_string_equal(config.fetch_ca, "/ca");
    assert_int_equal(config.health_ms, 500);
    assert_int_equal(config.refresh_ms, 90 * 60 * 1000);
    assert_null(config.apps[0].lock);
    assert_string_equal(config.apps[1].lock, "/run/b.lock");
    assert_int_equal(config.labels_len, 2);
    assert_string_equal(config.labels[0].key, "tier");
    assert_string_equal(config.labels[0].value, "gold");
    assert_false(config.supervised);
    assert_int_equal(config.hang_ms, 5000);
    assert_int_equal(config.restart_ms, 1000);
    assert_string_equal(config.hardware, "rpi4");
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
}

static void test_config__what_is_wrong_is_said_with_its_place(void **unused)
{
    (void)unused;
    static const struct {
        const char *file, *text, *hint;
    } rows[] = {
        {"{\n  \"device\": x\n}", "agent.json:2:", ""},
        {"", "agent.json:1:", ""},
        {"{\"device\": \"a\", \"device\": \"b\"}", "agent.json:1:", ""},
        {"{" HEAD ", " APPS ", \"labels\": {\"a b\": \"x\"}}",
         "agent.json: labels: \"a b\" must be", ""},
        {"{" HEAD ", " APPS ", \"labels\": {\"a\": 1}}", "agent.json: labels.a: must be text", ""},
        {"{" HEAD ", " APPS ", \"labels\": {\"a\": \"\\n\"}}",
         "agent.json: labels.a: must be plain text", ""},
        {"{" HEAD ", " APPS ", \"supervisor\": {\"enabled\": \"no\"}}",
         "agent.json: supervisor.enabled: must be true or false", ""},
        {"[]", "agent.json: the file: must be an object, is an array", ""},
        {"{" HEAD "}", "agent.json: apps: is missing", ""},
        {"{" HEAD ", " APPS ", \"hardwear\": \"x\"}", "agent.json: hardwear: unknown key",
         "did you mean hardware"},
        {"{" HEAD ", " APPS ", \"zzzzzz\": 1}", "agent.json: zzzzzz: unknown key",
         "known are device, site"},
        {"{" HEAD ", \"apps\": {\"hello\": {\"chanel\": \"x\"}}}",
         "agent.json: apps.hello.chanel: unknown key", "did you mean channel"},
        {"{" HEAD ", \"apps\": {\"hello\": {}}}", "agent.json: apps.hello.channel: is missing", ""},
        {"{" HEAD ", \"apps\": {}}", "agent.json: apps: must name 1 to 8 apps, names 0", ""},
        {"{" HEAD ", \"apps\": []}", "agent.json: apps: must be an object, is an array", ""},
        {"{" HEAD ", \"apps\": {\"a b\": {\"channel\": \"x\"}}}",
         "agent.json: apps.a b: \"a b\" must be 1 to 64", ""},
        {"{" HEAD ", \"apps\": {\"a\": {\"channel\": 7}}}",
         "agent.json: apps.a.channel: must be text, is a number", ""},
        {"{" HEAD ", \"apps\": {\"a\": {\"channel\": \"x\", \"env\": {\"1A\": \"\"}}}}",
         "agent.json: apps.a.env: \"1A\" is no name of a variable", ""},
        {"{" HEAD ", \"apps\": {\"a\": {\"channel\": \"x\", \"env\": {\"A\": 8080}}}}",
         "agent.json: apps.a.env.A: must be text, is a number", ""},
        {"{" HEAD ", " APPS ", \"intervals\": {\"health\": \"30\"}}",
         "agent.json: intervals.health: \"30\" must be a duration", ""},
        {"{" HEAD ", " APPS ", \"intervals\": {\"health\": \"1ms\"}}",
         "agent.json: intervals.health: 1ms must be from 500ms to 1h", ""},
        {"{" HEAD ", " APPS ", \"log\": \"loud\"}",
         "agent.json: log: \"loud\" must be error, warning, info or debug", ""},
        {"{" HEAD ", " APPS ", \"folder\": \"\"}", "agent.json: folder: must not be empty", ""},
        {"{" HEAD ", " APPS ", \"tenant\": null}", "agent.json: tenant: must be text, is null", ""},
        {"{\"nats\": {\"url\": \"http://x\"}}",
         "agent.json: nats.url: \"http://x\" must begin with nats://", ""},
        {"{\"nats\": {\"url\": \"nats://x\", \"cert\": \"/c\"}}",
         "agent.json: nats: cert and key belong together", ""},
        {"{\"nats\": {}}", "agent.json: nats.url: is missing", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config config = {.device = "untouched"};
        struct err err;
        assert_int_equal(parse(rows[i].file, &config, &err), ERR_MALFORMED);
        if (strncmp(err.text, rows[i].text, strlen(rows[i].text)) != 0)
            fail_msg("%s\nsays: %s\nnot:  %s", rows[i].file, err.text, rows[i].text);
        assert_memory_equal(err.hint, rows[i].hint, strlen(rows[i].hint));
        assert_string_equal(config.device, "untouched");
    }
}

static void test_config__at_most_eight_apps(void **unused)
{
    (void)unused;
    char text[1024] = "{" HEAD ", \"apps\": {";
    for (int i = 0; i < CONFIG_APPS_MAX + 1; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s\"a%d\": {\"channel\": \"c\"}",
                       i ? ", " : "", i);
    }
    strncat(text, "}}", sizeof text - strlen(text) - 1);
    struct config config;
    struct err err;
    assert_int_equal(parse(text, &config, &err), ERR_MALFORMED);
    assert_non_null(strstr(err.text, "names 9"));
}

static void test_config__file_that_is_not_there(void **unused)
{
    (void)unused;
    char *dir = tempdir_make(), *path = tempdir_path(dir, "agent.json");
    struct config config;
    struct err err;
    assert_int_equal(config_load(path, &arena, &config, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
    tempdir_write(path, GOOD, sizeof GOOD - 1);
    assert_int_equal(config_load(path, &arena, &config, &err), ERR_OK);
    free(path);
    tempdir_remove(dir);
}

static void test_config__never_takes_more_than_its_arena(void **unused)
{
    (void)unused;
    for (size_t limit = 0; limit < 600; limit++) {
        struct arena small;
        struct config config;
        struct err err;
        arena_init(&small, limit);
        enum err_code code =
            config_parse("agent.json", bytes_of(GOOD, sizeof GOOD - 1), &small, &config, &err);
        assert_true(code == ERR_OK || code == ERR_SIZE);
        arena_fini(&small);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_config__##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(least_file_has_the_defaults),
        TEST(every_key),
        TEST(what_is_wrong_is_said_with_its_place),
        TEST(at_most_eight_apps),
        TEST(file_that_is_not_there),
        TEST(never_takes_more_than_its_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

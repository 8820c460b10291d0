/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/release_yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "proto/codec.h"

#define HEAD                                                                                       \
    "app: hello\n"                                                                                 \
    "version: 1.0\n"                                                                               \
    "sources:\n"                                                                                   \
    "  - {repository: \"https://example.org/h.git\", commit: "                                     \
    "0123456789012345678901234567890123456789}\n"

static enum err_code parse(const char *text, struct arena *arena, struct release_yaml *ret,
                           struct err *err)
{
    return release_yaml_parse("release.yaml", bytes_of(text, strlen(text)), arena, ret, err);
}

static void expect_wrong(const char *text, const char *error, const char *hint)
{
    struct arena arena;
    struct release_yaml yaml;
    struct err err = {0};
    arena_init(&arena, 1 << 20);
    assert_int_equal(parse(text, &arena, &yaml, &err), ERR_USAGE);
    assert_int_equal(err.code, ERR_USAGE);
    assert_string_equal(err.text, error);
    if (hint)
        assert_string_equal(err.hint, hint);
    arena_fini(&arena);
}

static const char every_key[] =
    HEAD "artifacts:\n"
         "  - {path: www, to: site, os: linux, arch: aarch64, hardware: "
         "rpi4, executable: true}\n"
         "services:\n"
         "  - name: web\n"
         "    command: [./web, \"-p\", 80]\n"
         "    env: {A: b, PORT: \"${PORT}\"}\n"
         "    working_dir: site\n"
         "    memory_max: 64M\n"
         "    open_files_max: 99\n"
         "    stop_timeout: 3s\n"
         "    restart_min: 250ms\n"
         "    restart_max: 1m\n"
         "    reload: HUP\n"
         "  - name: worker\n"
         "    command: [./work]\n"
         "    reload: [./reload, now]\n"
         "checks:\n"
         "  - {name: a, kind: process, service: web}\n"
         "  - {name: b, kind: http, url: \"http://127.0.0.1:1/x\", "
         "expect_status: 204, expect_body: ok, interval: 2s,\n"
         "     timeout: 1s, healthy_threshold: 2, "
         "unhealthy_threshold: 4}\n"
         "  - {name: c, kind: tcp, address: \"127.0.0.1:${PORT}\"}\n"
         "  - {name: d, kind: exec, command: [./ok]}\n"
         "data_version: 7\n"
         "minimum_agent: 0.1.0\n"
         "expires: 30d\n"
         "confirm: 5s\n"
         "metrics_file: m/x.prom\n"
         "provenance: by hand\n";

static void test_release_yaml__every_key_reaches_the_message(void **state)
{
    (void)state;
    struct arena arena;
    struct release_yaml yaml;
    struct release release;
    struct err err = {0};
    arena_init(&arena, 1 << 20);
    assert_int_equal(parse(every_key, &arena, &yaml, &err), ERR_OK);
    assert_int_equal(release_yaml_message(&yaml, &arena, &release, &err), ERR_OK);
    assert_string_equal(release.app, "hello");
    assert_string_equal(release.version, "1.0");
    assert_int_equal(release.sources_len, 1);
    assert_string_equal(release.sources[0].repository, "https://example.org/h.git");
    assert_int_equal(yaml.artifacts_len, 1);
    assert_string_equal(yaml.artifacts[0].path, "www");
    assert_string_equal(yaml.artifacts[0].to, "site");
    assert_string_equal(yaml.artifacts[0].hardware, "rpi4");
    assert_true(yaml.artifacts[0].executable);
    const struct service *service = &release.services[0];
    assert_int_equal(service->command_len, 3);
    assert_string_equal(service->command[2], "80");
    assert_int_equal(service->env_len, 2);
    assert_string_equal(service->env[1].value, "${PORT}");
    assert_string_equal(service->working_dir, "site");
    assert_int_equal(service->memory_max_bytes, 64 << 20);
    assert_int_equal(service->open_files_max, 99);
    assert_int_equal(service->stop_timeout_ms, 3000);
    assert_int_equal(service->restart_min_ms, 250);
    assert_int_equal(service->restart_max_ms, 60000);
    assert_string_equal(service->reload_signal, "HUP");
    assert_int_equal(service->reload_len, 0);
    assert_int_equal(release.services[1].reload_len, 2);
    assert_string_equal(release.services[1].reload[1], "now");
    assert_null(release.services[1].reload_signal);
    assert_int_equal(release.checks_len, 4);
    assert_int_equal(release.checks[0].kind, CHECK_KIND_PROCESS);
    assert_int_equal(release.checks[1].expect_status, 204);
    assert_int_equal(release.checks[1].interval_ms, 2000);
    assert_int_equal(release.checks[1].timeout_ms, 1000);
    assert_int_equal(release.checks[1].healthy_threshold, 2);
    assert_int_equal(release.checks[1].unhealthy_threshold, 4);
    assert_string_equal(release.checks[2].address, "127.0.0.1:${PORT}");
    assert_string_equal(release.checks[3].command[0], "./ok");
    assert_int_equal(release.data_version, 7);
    assert_int_equal(release.confirm_ms, 5000);
    assert_string_equal(release.metrics_file, "m/x.prom");
    assert_int_equal(yaml.expires_ms, 30ll * 24 * 3600 * 1000);
    release.sequence = 1;
    struct bytes bytes;
    assert_int_equal(codec_encode(&codec_release, &release, &arena, &bytes, &err), ERR_OK);
    arena_fini(&arena);
}

static void test_release_yaml__expires_after_half_a_year_by_default(void **state)
{
    (void)state;
    struct arena arena;
    struct release_yaml yaml;
    struct err err = {0};
    arena_init(&arena, 1 << 20);
    assert_int_equal(parse(HEAD, &arena, &yaml, &err), ERR_OK);
    assert_int_equal(yaml.expires_ms, 180ll * 24 * 3600 * 1000);
    arena_fini(&arena);
}

static void test_release_yaml__unknown_keys_have_a_place_and_the_nearest_name(void **state)
{
    (void)state;
    expect_wrong("app: hello\nversoin: 1\n", "release.yaml:2:1: a release has no key \"versoin\"",
                 "did you mean version?");
    expect_wrong(HEAD "checks:\n  - name: a\n    kind: process\n    intervall: 10s\n",
                 "release.yaml:8:5: a check has no key \"intervall\"", "did you mean interval?");
    expect_wrong(HEAD "artifacts: [{path: x, zzz: 1}]\n",
                 "release.yaml:5:23: an artifact has no key \"zzz\"",
                 "it has path, to, os, arch, hardware, url, sha256, size, executable");
    expect_wrong(HEAD "services: [{name: w, command: [x], comand: [x]}]\n",
                 "release.yaml:5:36: a service has no key \"comand\"", "did you mean command?");
}

static void test_release_yaml__wrong_types_have_a_place_and_an_example(void **state)
{
    (void)state;
    expect_wrong("app: [hello]\n", "release.yaml:1:6: app must be a text and is a list",
                 "app: hello");
    expect_wrong("app:\n", "release.yaml:1:5: app must be a text and is empty", "app: hello");
    expect_wrong(HEAD "services:\n  - name: web\n    command: ./web\n",
                 "release.yaml:7:14: command must be a list of texts and is a text",
                 "command: [\"./web\", \"--port\", \"80\"]");
    expect_wrong(HEAD "services: {name: web}\n",
                 "release.yaml:5:11: services must be a list of maps and is a map", NULL);
    expect_wrong(HEAD "services: [web]\n",
                 "release.yaml:5:12: a service must be a map of keys and is a text", NULL);
    expect_wrong(HEAD "services: [{name: w, command: [x], env: [A]}]\n",
                 "release.yaml:5:41: env must be a map of texts and is a list", NULL);
    expect_wrong(HEAD "data_version: {}\n",
                 "release.yaml:5:15: data_version must be a number and is a map",
                 "data_version: 1");
    expect_wrong("- app\n", "release.yaml:1:1: a release must be a map of keys and is a list",
                 NULL);
    expect_wrong("[a]: b\n", "release.yaml:1:1: a key of a release must be a text and is a list",
                 NULL);
}

static void test_release_yaml__reload_is_a_known_signal_or_a_program(void **state)
{
    (void)state;
    expect_wrong(HEAD "services:\n  - name: web\n    command: [./web]\n    reload: TERM\n",
                 "release.yaml:8:13: reload: \"TERM\" is wrong, it must be the signal HUP, USR1 or "
                 "USR2, or a list: [program, ...]",
                 "reload: HUP");
    expect_wrong(HEAD "services:\n  - name: web\n    command: [./web]\n    reload: {a: b}\n",
                 "release.yaml:8:13: reload must be a list of texts and is a map", "reload: HUP");
    expect_wrong(HEAD "services:\n  - name: web\n    command: [./web]\n    reload:\n",
                 "release.yaml:8:12: reload must be a list of texts and is empty", "reload: HUP");
    expect_wrong(HEAD "services:\n  - name: web\n    command: [./web]\n    reload: []\n",
                 "release.yaml:6:5: service web has an empty reload", NULL);
}

static void test_release_yaml__missing_keys_are_named(void **state)
{
    (void)state;
    expect_wrong("app: hello\nversion: 1\n",
                 "release.yaml:1:1: a release needs the key \"sources\"", NULL);
    expect_wrong(HEAD "services:\n  - name: web\n",
                 "release.yaml:6:5: a service needs the key \"command\"",
                 "command: [\"./web\", \"--port\", \"80\"]");
    expect_wrong("app: hello\nversion: 1\nsources: []\n",
                 "release.yaml:1:1: a release names at least one source", NULL);
    expect_wrong(HEAD "artifacts: [{to: x}]\n",
                 "release.yaml:5:13: an artifact needs the key \"path\" or \"url\"", "path: www");
    expect_wrong(HEAD "artifacts: [{url: \"https://x/y\", to: y}]\n",
                 "release.yaml:5:13: an artifact that is not here needs \"sha256\", \"size\" and "
                 "\"to\"",
                 NULL);
}

static void test_release_yaml__wrong_values_say_what_they_must_be(void **state)
{
    (void)state;
    expect_wrong(HEAD "confirm: 10\n",
                 "release.yaml:5:10: confirm: \"10\" is wrong, it must be a time with its unit "
                 "(ms, s, m, h, d), at most 1d",
                 "confirm: 30s");
    expect_wrong("app: hello\nversion: 1\nsources:\n  - repository: x\n    commit: 8f6a1c\n",
                 "release.yaml:5:13: commit: \"8f6a1c\" is wrong, it must be the whole commit, 40 "
                 "or 64 digits of 0-9a-f",
                 NULL);
    expect_wrong(HEAD "checks:\n  - {name: a, kind: proces, service: w}\n",
                 "release.yaml:6:21: kind: there is no \"proces\", but: process, http, tcp, exec",
                 "did you mean process?");
    expect_wrong("app: he llo\n",
                 "release.yaml:1:6: app: \"he llo\" is wrong, it must be letters, digits, _ and "
                 "-, at most 64",
                 "app: hello");
    expect_wrong(HEAD "artifacts: [{path: x, to: ../y}]\n",
                 "release.yaml:5:27: to: \"../y\" is wrong, it must be a path inside the release: "
                 "no / in front, no ..",
                 "to: bin/hello");
    expect_wrong(HEAD "artifacts: [{path: x, executable: yes}]\n",
                 "release.yaml:5:35: executable: \"yes\" is wrong, it must be true or false", NULL);
    expect_wrong(HEAD "services: [{name: w, command: [x], memory_max: 64X}]\n",
                 "release.yaml:5:48: memory_max: \"64X\" is wrong, it must be a size in bytes, K, "
                 "M, G or T",
                 "memory_max: 64M");
    expect_wrong(HEAD "data_version: -1\n",
                 "release.yaml:5:15: data_version: \"-1\" is wrong, it must be a whole number "
                 "from 0 to 2147483647",
                 NULL);
}

static void test_release_yaml__checks_fit_their_kind_and_their_service(void **state)
{
    (void)state;
    expect_wrong(HEAD "checks: [{name: a, kind: http}]\n",
                 "release.yaml:5:10: check a: kind http needs the key \"url\"", NULL);
    expect_wrong(HEAD "checks: [{name: a, kind: tcp, address: \"h:1\", url: \"http://h\"}]\n",
                 "release.yaml:5:10: check a: kind tcp has no key \"url\"", NULL);
    expect_wrong(HEAD "services: [{name: web, command: [x]}]\nchecks: [{name: a, kind: process, "
                      "service: wbe}]\n",
                 "release.yaml:6:10: check a: there is no service wbe", "did you mean web?");
    expect_wrong(HEAD "services: [{name: w, command: [x]}, {name: w, command: [y]}]\n",
                 "release.yaml:5:37: there are two services w", NULL);
    expect_wrong(HEAD "services: [{name: w, command: []}]\n",
                 "release.yaml:5:12: service w has an empty command", NULL);
}

static void test_release_yaml__what_yaml_allows_and_we_do_not(void **state)
{
    (void)state;
    expect_wrong("app: a\napp: b\n", "release.yaml:2:1: a release has the key \"app\" twice", NULL);
    expect_wrong(HEAD "---\napp: b\n", "release.yaml:6:1: a second document begins here", NULL);
    expect_wrong("", "release.yaml:1:1: the file is empty", NULL);
    expect_wrong("app: \"a\\0b\"\n", "release.yaml:1:6: app holds a NUL character", NULL);
    expect_wrong("app: [\n",
                 "release.yaml:2:1: did not find expected node content while parsing "
                 "a flow node",
                 NULL);
    expect_wrong("app: &x [*x]\n", "release.yaml:1:6: app must be a text and is a list", NULL);
}

static void test_release_yaml__an_arena_that_is_full_is_an_error(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 2048; limit += 64) {
        struct arena arena;
        struct release_yaml yaml;
        struct err err = {0};
        arena_init(&arena, limit);
        enum err_code code =
            parse(HEAD "services: [{name: w, command: [x]}]\n", &arena, &yaml, &err);
        assert_true(code == ERR_OK || code == ERR_USAGE);
        if (limit < 256)
            assert_int_equal(code, ERR_USAGE);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_release_yaml__every_key_reaches_the_message),
        cmocka_unit_test(test_release_yaml__expires_after_half_a_year_by_default),
        cmocka_unit_test(test_release_yaml__unknown_keys_have_a_place_and_the_nearest_name),
        cmocka_unit_test(test_release_yaml__wrong_types_have_a_place_and_an_example),
        cmocka_unit_test(test_release_yaml__reload_is_a_known_signal_or_a_program),
        cmocka_unit_test(test_release_yaml__missing_keys_are_named),
        cmocka_unit_test(test_release_yaml__wrong_values_say_what_they_must_be),
        cmocka_unit_test(test_release_yaml__checks_fit_their_kind_and_their_service),
        cmocka_unit_test(test_release_yaml__what_yaml_allows_and_we_do_not),
        cmocka_unit_test(test_release_yaml__an_arena_that_is_full_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

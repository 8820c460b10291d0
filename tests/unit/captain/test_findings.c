/* SPDX-License-Identifier: Apache-2.0
 *
 * The checks behind captain doctor: known holes of nats-server, ends, certificates, modes, clocks.
 */
#include "captain/findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "captain/core/server_version.h"
#include "captain/device_clocks.h"
#include "captain/io/ca.h"
#include "captain/io/cert.h"
#include "captain/io/modes.h"
#include "common/base/mem.h"
#include "tests/support/tempdir.h"

#define DAY_MS INT64_C(86400000)
#define NOW_MS INT64_C(1900000000000)

struct desk {
    struct arena arena;
    struct err err;
    struct findings findings;
    char *dir;
};

static int set_up(void **state)
{
    struct desk *desk = mem_new(1, sizeof *desk);
    arena_init(&desk->arena, 4 << 20);
    desk->findings.arena = &desk->arena;
    desk->findings.now_ms = NOW_MS;
    desk->dir = tempdir_make();
    *state = desk;
    return 0;
}

static int tear_down(void **state)
{
    struct desk *desk = *state;
    tempdir_remove(desk->dir);
    arena_fini(&desk->arena);
    mem_free(desk);
    return 0;
}

static void expect(const struct desk *desk, size_t i, const char *level, const char *what)
{
    assert_true(i < desk->findings.len);
    assert_string_equal(desk->findings.list[i].level, level);
    if (!strstr(desk->findings.list[i].what, what))
        fail_msg("not \"%s\" but \"%s\"", what, desk->findings.list[i].what);
}

static void test_server_version__each_has_its_holes(void **state)
{
    (void)state;
    static const struct {
        const char *version;
        size_t holes;
        bool grave;
    } rows[] = {
        {"2.9.9", 5, true},    {"2.9.10", 4, false},      {"2.9.21", 3, false},
        {"2.10.0", 2, false},  {"2.10.22", 3, true},      {"2.10.23", 2, false},
        {"2.10.27", 1, false}, {"2.11.0-RC.1", 2, false}, {"2.11.1", 1, false},
        {"2.11.14", 0, false}, {"2.12.4", 1, false},      {"2.12.5", 0, false},
        {"2.15.1", 0, false},  {"10.0.0", 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct server_hole *holes[SERVER_HOLES_MAX];
        size_t len = 99;
        bool grave = false;
        assert_true(server_version_holes(rows[i].version, holes, &len));
        if (len != rows[i].holes)
            fail_msg("%s: %zu holes", rows[i].version, len);
        for (size_t k = 0; k < len; k++) {
            grave = grave || holes[k]->grave;
            assert_true(holes[k]->mend[0]);
        }
        assert_int_equal(grave, rows[i].grave);
    }
    static const char *const none[] = {"",        "2",       "2.9",         "2.9.",  "2.9.x",
                                       "v2.9.10", "2.9.10x", "2.9.1000000", "-1.2.3"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        const struct server_hole *holes[SERVER_HOLES_MAX];
        size_t len = 0;
        assert_false(server_version_holes(none[i], holes, &len));
    }
}

static void test_findings__an_end_is_judged(void **state)
{
    struct desk *desk = *state;
    const struct findings_end rows[] = {{"a", "m", 0, DAY_MS},
                                        {"b", "m", NOW_MS + 2 * DAY_MS, DAY_MS},
                                        {"c", "m", NOW_MS + DAY_MS - 1, DAY_MS},
                                        {"d", "m", NOW_MS, DAY_MS},
                                        {"e", "m", 1, DAY_MS}};
    static const char *const levels[] = {"ok", "ok", "warning", "error", "error"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        findings_check_end(&desk->findings, &rows[i]);
        expect(desk, i, levels[i], rows[i].what);
        assert_string_equal(desk->findings.list[i].mend, i < 2 ? "" : "m");
    }
    findings_sort(&desk->findings);
    expect(desk, 0, "error", "d ended");
    expect(desk, 1, "error", "e ended");
    expect(desk, 2, "warning", "c ends in 23h59m");
    expect(desk, 3, "ok", "a does not end");
    expect(desk, 4, "ok", "b ends in 2d");
}

static void test_findings__too_many_are_said_to_be(void **state)
{
    struct desk *desk = *state;
    for (int i = 0; i < FINDINGS_MAX + 10; i++)
        findings_add(&desk->findings, FINDING_OK, NULL, "number %d", i);
    assert_int_equal(desk->findings.len, FINDINGS_MAX);
    expect(desk, FINDINGS_MAX - 2, "ok", "number");
    expect(desk, FINDINGS_MAX - 1, "error", "there is more");
}

static const char *write_certificate(struct desk *desk, int64_t now_s)
{
    struct ca_pair pair;
    const char *path = arena_printf(&desk->arena, "%s/ca.pem", desk->dir);
    assert_int_equal(ca_create("acme", now_s, &desk->arena, &pair, &desk->err), ERR_OK);
    tempdir_write(path, pair.cert, strlen(pair.cert));
    return path;
}

static void test_findings__dates_of_a_certificate(void **state)
{
    struct desk *desk = *state;
    struct cert_dates dates;
    const int64_t now_s = NOW_MS / 1000;
    const char *path = write_certificate(desk, now_s);
    assert_int_equal(cert_dates_read(path, &desk->arena, &dates, &desk->err), ERR_OK);
    assert_int_equal(dates.from_ms, NOW_MS - 3600 * 1000);
    assert_int_equal(dates.until_ms, NOW_MS + CA_DAYS * DAY_MS);
    findings_check_certificate(&desk->findings, "it", path, "mend it");
    expect(desk, 0, "ok", "it ends in 3650d");
    (void)write_certificate(desk, now_s - (CA_DAYS - 29) * 86400);
    findings_check_certificate(&desk->findings, "it", path, "mend it");
    expect(desk, 1, "warning", "it ends in 29d");
    (void)write_certificate(desk, now_s - (CA_DAYS + 1) * 86400);
    findings_check_certificate(&desk->findings, "it", path, "mend it");
    expect(desk, 2, "error", "it ended at");
    (void)write_certificate(desk, now_s + 86400);
    findings_check_certificate(&desk->findings, "it", path, "mend it");
    expect(desk, 3, "error", "begins only at");
    tempdir_write(path, "nothing", 7);
    findings_check_certificate(&desk->findings, "it", path, "mend it");
    expect(desk, 4, "error", "holds no certificate");
}

struct faults {
    unsigned len;
    char path[512];
    mode_t wanted;
};

static void on_fault(void *arg, const struct modes_fault *fault)
{
    struct faults *faults = arg;
    faults->len++;
    (void)snprintf(faults->path, sizeof faults->path, "%s", fault->path);
    faults->wanted = fault->wanted;
}

static void test_modes__what_is_secret_is_looked_at(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *name;
        mode_t good, bad, wanted;
    } rows[] = {
        {"captain.json", 0600, 0640, 0600},        {"captain.creds", 0600, 0604, 0600},
        {"keys/desired.key", 0400, 0440, 0400},    {"keys/scope-admin.nk", 0600, 0660, 0600},
        {"nats/tls/server.key", 0640, 0644, 0640},
    };
    static const char *const folders[] = {"keys", "nats", "nats/tls"};
    assert_int_equal(chmod(desk->dir, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        assert_int_equal(mkdir(arena_printf(&desk->arena, "%s/%s", desk->dir, folders[i]), 0700),
                         0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct faults faults = {0};
        const char *path = arena_printf(&desk->arena, "%s/%s", desk->dir, rows[i].name);
        tempdir_write(path, "x", 1);
        assert_int_equal(chmod(path, rows[i].good), 0);
        assert_int_equal(modes_check(desk->dir, on_fault, &faults, &desk->err), ERR_OK);
        if (faults.len > 0)
            fail_msg("%s", faults.path);
        assert_int_equal(chmod(path, rows[i].bad), 0);
        assert_int_equal(modes_check(desk->dir, on_fault, &faults, &desk->err), ERR_OK);
        assert_int_equal(faults.len, 1);
        assert_string_equal(faults.path, path);
        assert_int_equal(faults.wanted, rows[i].wanted);
        assert_int_equal(chmod(path, rows[i].good), 0);
    }
    /* What is public may lie open. */
    struct faults faults = {0};
    const char *root = arena_printf(&desk->arena, "%s/keys/root.dsse", desk->dir);
    tempdir_write(root, "x", 1);
    assert_int_equal(chmod(root, 0644), 0);
    assert_int_equal(modes_check(desk->dir, on_fault, &faults, &desk->err), ERR_OK);
    assert_int_equal(faults.len, 0);
    assert_int_equal(chmod(arena_printf(&desk->arena, "%s/keys", desk->dir), 0711), 0);
    assert_int_equal(modes_check(desk->dir, on_fault, &faults, &desk->err), ERR_OK);
    assert_int_equal(faults.len, 1);
}

static void test_clocks__those_that_are_off_are_counted(void **state)
{
    (void)state;
    struct device_clocks *clocks = device_clocks_new();
    uint32_t behind = 9;
    assert_int_equal(device_clocks_off(clocks, &behind), 0);
    assert_int_equal(behind, 0);
    device_clocks_heard(clocks, 0, NOW_MS, NOW_MS);
    device_clocks_heard(clocks, 1, NOW_MS + DEVICE_CLOCKS_OFF_MS, NOW_MS);
    device_clocks_heard(clocks, 2, NOW_MS + DEVICE_CLOCKS_OFF_MS + 1, NOW_MS);
    device_clocks_heard(clocks, 900, 1, NOW_MS);
    device_clocks_heard(clocks, 5, 0, NOW_MS); /* says nothing */
    assert_int_equal(device_clocks_off(clocks, &behind), 2);
    assert_int_equal(behind, 1);
    device_clocks_heard(clocks, 900, NOW_MS, NOW_MS); /* set */
    assert_int_equal(device_clocks_off(clocks, &behind), 1);
    assert_int_equal(behind, 0);
    device_clocks_free(clocks);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_server_version__each_has_its_holes), T(test_findings__an_end_is_judged),
        T(test_findings__too_many_are_said_to_be),  T(test_findings__dates_of_a_certificate),
        T(test_modes__what_is_secret_is_looked_at), T(test_clocks__those_that_are_off_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

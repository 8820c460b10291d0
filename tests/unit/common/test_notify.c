/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/notify.h"
#include "tests/support/tempdir.h"

/* Plays systemd: a datagram socket in a folder of its own. */
struct systemd {
    char *dir;
    char *path;
    int fd;
};

static int start_systemd(void **state)
{
    static struct systemd systemd;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    systemd.dir = tempdir_make();
    systemd.path = tempdir_path(systemd.dir, "notify");
    assert_true(strlen(systemd.path) < sizeof address.sun_path);
    memcpy(address.sun_path, systemd.path, strlen(systemd.path) + 1);
    systemd.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(systemd.fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", systemd.path, 1), 0);
    *state = &systemd;
    return 0;
}

static int stop_systemd(void **state)
{
    struct systemd *systemd = *state;
    (void)unsetenv("NOTIFY_SOCKET");
    (void)close(systemd->fd);
    free(systemd->path);
    tempdir_remove(systemd->dir);
    return 0;
}

static void assert_heard(const struct systemd *systemd, const char *expected)
{
    char text[1024];
    ssize_t len = recv(systemd->fd, text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    assert_string_equal(text, expected);
}

static void test_notify__tells_systemd(void **state)
{
    struct systemd *systemd = *state;
    notify_ready();
    assert_heard(systemd, "READY=1");
    notify_watchdog();
    assert_heard(systemd, "WATCHDOG=1");
    notify_stopping();
    assert_heard(systemd, "STOPPING=1");
    notify_status("%d devices", 7);
    assert_heard(systemd, "STATUS=7 devices");
}

static void test_notify__a_status_cannot_carry_other_variables(void **state)
{
    struct systemd *systemd = *state;
    notify_status("x\nMAINPID=1");
    assert_heard(systemd, "STATUS=x MAINPID=1");
}

static void test_notify__without_systemd_nothing_happens(void **state)
{
    struct systemd *systemd = *state;
    char byte;
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    notify_ready();
    notify_status("x");
    assert_int_equal(recv(systemd->fd, &byte, 1, 0), -1);
}

static void test_notify__the_watchdog_is_fed_at_half_its_time(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
    assert_int_equal(notify_watchdog_interval_ms(), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
    assert_int_equal(notify_watchdog_interval_ms(), 15000);
    assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0);
    assert_int_equal(notify_watchdog_interval_ms(), 0);
    (void)unsetenv("WATCHDOG_PID");
    (void)unsetenv("WATCHDOG_USEC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notify__tells_systemd, start_systemd, stop_systemd),
        cmocka_unit_test_setup_teardown(test_notify__a_status_cannot_carry_other_variables,
                                        start_systemd, stop_systemd),
        cmocka_unit_test_setup_teardown(test_notify__without_systemd_nothing_happens, start_systemd,
                                        stop_systemd),
        cmocka_unit_test(test_notify__the_watchdog_is_fed_at_half_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

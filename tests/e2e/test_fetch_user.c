/* SPDX-License-Identifier: Apache-2.0
 *
 * What reads foreign bytes does not run as root, even if nobody configured a user for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/world.h"
#include "tests/support/tempdir.h"

/* Writes down how it was called, then is captain-fetch. */
static void write_helper(const char *path, const char *told)
{
    char text[3 * PATH_MAX];
    const int len = snprintf(text, sizeof text, "#!/bin/sh\necho \"$*\" >> %s\nexec %s \"$@\"\n",
                             told, getenv("CAPTAIN_FETCH_BIN"));
    tempdir_write(path, text, (size_t)len);
    assert_int_equal(chmod(path, 0755), 0);
}

static void test_fetch_user__root_fetches_as_somebody_else(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    char *dir = tempdir_make();
    char *helper = tempdir_path(dir, "helper");
    char *told = tempdir_path(dir, "told");
    write_helper(helper, told);
    assert_int_equal(setenv("CAPTAIN_FETCH_BIN", helper, 1), 0);
    struct world *world = world_new(1);
    world_agents_start(world);
    world_release(world, "1.0", "/index.html");
    world_channel_set(world, "hello@1.0");
    world_wait_serving(world, "1.0", 20000);
    world_check_disks(world);
    world_free(world);

    char *calls = tempdir_read(told, NULL);
    unsigned seen = 0;
    for (char *line = strtok(calls, "\n"); line; line = strtok(NULL, "\n"), seen++) {
        if (!strstr(line, "--user captain-fetch") && !strstr(line, "--user nobody"))
            fail_msg("called as root: %s", line);
    }
    assert_int_equal(seen, 3); /* the document, the archive, unpacking it */
    free(calls);
    free(told);
    free(helper);
    tempdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetch_user__root_fetches_as_somebody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The examples of captain-agent.json.5 are configurations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/config.h"
#include "common/file.h"

enum { PAGE_MAX_BYTES = 1 << 20 };

static void test_man__examples_of_the_configuration_are_accepted(void **state)
{
    (void)state;
    static const char fence[] = "\n```\n";
    struct arena arena;
    struct bytes text;
    struct err err = {0};
    size_t examples = 0;
    arena_init(&arena, 4 * PAGE_MAX_BYTES);
    const char *path = arena_printf(&arena, "%s/packaging/man/captain-agent.json.5.scd",
                                    getenv("CAPTAIN_SOURCE_DIR"));
    if (file_read(path, PAGE_MAX_BYTES, &arena, &text, &err))
        fail_msg("%s", err.text);
    const char *at = arena_printf(&arena, "%.*s", (int)text.len, (const char *)text.ptr);
    for (; (at = strstr(at, fence)); examples++) {
        const char *start = at + strlen(fence);
        const char *end = strstr(start, fence);
        struct config config;
        assert_non_null(end);
        if (config_parse("example", bytes_of(start, (size_t)(end - start)), &arena, &config, &err))
            fail_msg("%s", err.text);
        assert_string_equal(config.device, "gw-17");
        at = end + strlen(fence);
    }
    assert_int_equal(examples, 3);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_man__examples_of_the_configuration_are_accepted),
    };
    return cmocka_run_group_tests_name("man", tests, NULL, NULL);
}

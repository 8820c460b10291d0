/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of the lifecycle, and its picture in agent/README.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/lifecycle.h"
#include "tests/support/tempdir.h"

static void test_lifecycle__table_has_no_dead_end_and_no_orphan(void **unused)
{
    (void)unused;
    for (int s = 0; s < LIFECYCLE_STATES; s++) {
        unsigned in = 0, out = 0;
        for (int t = 0; t < LIFECYCLE_STATES; t++) {
            out += s != t && lifecycle_may_move((enum lifecycle_state)s, (enum lifecycle_state)t);
            in += s != t && lifecycle_may_move((enum lifecycle_state)t, (enum lifecycle_state)s);
        }
        assert_true(in > 0 && out > 0);
    }
    assert_false(lifecycle_may_move(LIFECYCLE_STATES, LIFECYCLE_EMPTY));
}

/* The diagram in agent/README.md is drawn from the table. CAPTAIN_REWRITE=1 writes it anew. */

static const char begin_mark[] =
    "<!-- lifecycle: drawn by tests/unit/agent/test_lifecycle_table.c -->\n";
static const char end_mark[] = "<!-- /lifecycle -->\n";

static void draw(char *ret, size_t size)
{
    size_t used = (size_t)snprintf(ret, size, "```mermaid\nstateDiagram-v2\n    [*] --> empty\n");
    for (int s = 0; s < LIFECYCLE_STATES; s++) {
        for (int t = 0; t < LIFECYCLE_STATES; t++) {
            if (lifecycle_may_move((enum lifecycle_state)s, (enum lifecycle_state)t))
                used += (size_t)snprintf(ret + used, size - used, "    %s --> %s\n",
                                         lifecycle_state_name((enum lifecycle_state)s),
                                         lifecycle_state_name((enum lifecycle_state)t));
        }
    }
    (void)snprintf(ret + used, size - used, "```\n");
}

static void rewrite(const char *path, const char *text, const char *from, const char *to,
                    const char *drawing)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%.*s%s%s", (int)(from - text), text, drawing, to) > 0);
    assert_int_equal(fclose(file), 0);
}

static void test_lifecycle__diagram_in_the_readme_is_the_table(void **unused)
{
    (void)unused;
    const char *source = getenv("CAPTAIN_SOURCE_DIR");
    if (!source)
        skip();
    char *path = tempdir_path(source, "agent/README.md");
    char *text = tempdir_read(path, NULL);
    assert_non_null(text);
    const char *from = strstr(text, begin_mark);
    assert_non_null(from);
    from += sizeof begin_mark - 1;
    const char *to = strstr(from, end_mark);
    assert_non_null(to);
    char drawing[4096];
    draw(drawing, sizeof drawing);
    bool equal =
        strlen(drawing) == (size_t)(to - from) && memcmp(drawing, from, strlen(drawing)) == 0;
    if (!equal && getenv("CAPTAIN_REWRITE"))
        rewrite(path, text, from, to, drawing);
    else
        assert_true(equal); /* CAPTAIN_REWRITE=1 draws it anew */
    free(text);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lifecycle__table_has_no_dead_end_and_no_orphan),
        cmocka_unit_test(test_lifecycle__diagram_in_the_readme_is_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

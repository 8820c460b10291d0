/* SPDX-License-Identifier: Apache-2.0
 *
 * Each story is told, and must be told word for word as in stories/NAME.txt; SIM_WRITE=1 writes them
 * anew, for a person to read before they are committed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/scenario.h"

enum { STORY_MAX = 1 << 20, SCENARIOS_MAX = 64, PATH_BYTES = 512 };

static FILE *open_story(const struct scenario *scenario, const char *mode)
{
    const char *folder = getenv("SIM_STORIES");
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s.txt", folder ? folder : "tests/sim/stories",
                   scenario->name);
    FILE *file = fopen(path, mode);
    if (!file)
        fail_msg("cannot open %s", path);
    return file;
}

/* The first line that differs is shown with its number. */
static void assert_same_story(const char *told, const char *known)
{
    for (int number = 1; *told || *known; number++) {
        const size_t told_len = strcspn(told, "\n");
        const size_t known_len = strcspn(known, "\n");
        if (told_len != known_len || strncmp(told, known, told_len) != 0)
            fail_msg("line %d: \"%.*s\", and it should be \"%.*s\"", number, (int)told_len, told,
                     (int)known_len, known);
        told += told_len + (told[told_len] != '\0');
        known += known_len + (known[known_len] != '\0');
    }
}

static void test_story(void **state)
{
    const struct scenario *scenario = *state;
    struct shrink_result result;
    char *told = NULL;
    size_t told_len = 0;
    FILE *story = open_memstream(&told, &told_len);
    assert_non_null(story);
    const bool ok = scenario_run(scenario, story, &result);
    assert_int_equal(fclose(story), 0);
    if (!ok)
        (void)fprintf(stderr, "%s\n", told);
    if (!ok)
        fail_msg("%s: %s", scenario->name, result.why);
    if (getenv("SIM_WRITE")) {
        FILE *file = open_story(scenario, "w");
        assert_int_equal(fwrite(told, 1, told_len, file), told_len);
        assert_int_equal(fclose(file), 0);
    } else {
        static char known[STORY_MAX];
        FILE *file = open_story(scenario, "r");
        known[fread(known, 1, sizeof known - 1, file)] = '\0';
        (void)fclose(file);
        assert_same_story(told, known);
    }
    free(told);
}

int main(void)
{
    static char names[SCENARIOS_MAX][96];
    struct CMUnitTest tests[SCENARIOS_MAX];
    memset(tests, 0, sizeof tests);
    for (size_t i = 0; i < scenarios_len; i++) {
        (void)snprintf(names[i], sizeof names[i], "test_scenario__%s", scenarios[i].name);
        tests[i] = (struct CMUnitTest){.name = names[i],
                                       .test_func = test_story,
                                       .initial_state = (void *)(uintptr_t)&scenarios[i]};
    }
    return _cmocka_run_group_tests("scenarios", tests, scenarios_len, NULL, NULL);
}

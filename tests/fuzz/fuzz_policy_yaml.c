/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as a policy. A complaint is ERR_USAGE with file, line and column (but for a file
 * that is too large); what is taken keeps the rules of the core, and written out it is read as the
 * same.
 */
#include <stdlib.h>
#include <string.h>

#include "captain/io/policy_yaml.h"

enum { ARENA_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_complaint(const struct err *err)
{
    char *end = NULL;
    if (err->code == ERR_NOT_FOUND) /* nothing in it, and "x.yaml" is no policy's name */
        return;
    if (err->code != ERR_USAGE || strncmp(err->text, "x.yaml", 6) != 0)
        abort();
    if (err->text[6] != ':')
        return;
    if (strtoul(err->text + 7, &end, 10) == 0 || *end != ':' || strtoul(end + 1, NULL, 10) == 0)
        abort();
}

static void check_taken(const struct policy *policy, struct arena *arena)
{
    struct policy again;
    const char *text;
    struct err err = {0};
    if (policy_check(policy, &err) || policy_yaml_write(policy, arena, &text, &err) ||
        policy_yaml_parse("x.yaml", bytes_of(text, strlen(text)), &again, &err) ||
        memcmp(policy, &again, sizeof again) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy policy;
    struct err err = {0};
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    if (policy_yaml_parse("x.yaml", bytes_of(data, size), &policy, &err))
        check_complaint(&err);
    else
        check_taken(&policy, &arena);
    arena_fini(&arena);
    return 0;
}

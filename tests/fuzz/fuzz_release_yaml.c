/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as a release.yaml. A complaint is ERR_USAGE and, but for a file that is too
 * large, begins with file, line and column; what is taken becomes a message that either keeps every
 * limit of the contract or is refused by the codec with a sentence.
 */
#include <stdlib.h>
#include <string.h>

#include "captain/cli/release_yaml.h"
#include "proto/codec.h"

enum { ARENA_BYTES = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_complaint(const struct err *err)
{
    if (err->code != ERR_USAGE || strncmp(err->text, "x.yaml", 6) != 0)
        abort();
    unsigned line = 0;
    unsigned column = 0;
    if (err->text[6] == ':') {
        line = (unsigned)strtoul(err->text + 7, NULL, 10);
        const char *colon = strchr(err->text + 7, ':');
        column = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
        if (line == 0 || column == 0)
            abort();
    }
}

static void check_taken(const struct release_yaml *yaml, struct arena *arena)
{
    struct release release;
    struct bytes bytes;
    struct err err = {0};
    if (!yaml->app || !yaml->version || yaml->sources_len == 0 || yaml->expires_ms <= 0)
        abort();
    if (release_yaml_message(yaml, arena, &release, &err))
        return;
    release.sequence = 1;
    if (codec_encode(&codec_release, &release, arena, &bytes, &err) && !err.text[0])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct release_yaml yaml;
    struct err err = {0};
    arena_init(&arena, ARENA_BYTES);
    if (release_yaml_parse("x.yaml", bytes_of(data, size), &arena, &yaml, &err))
        check_complaint(&err);
    else
        check_taken(&yaml, &arena);
    arena_fini(&arena);
    return 0;
}

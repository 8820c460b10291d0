/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as an app's file of numbers. What is taken keeps to the contract: it can be encoded.
 */
#include <stdlib.h>

#include "agent/io/telemetry.h"
#include "proto/codec.h"

enum { ARENA_MAX_BYTES = 256 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct arena arena;
    const struct metric *metrics = NULL;
    struct bytes encoded;
    size_t len = 0;
    arena_init(&arena, ARENA_MAX_BYTES);
    enum err_code code =
        telemetry_parse_app("app", bytes_of(data, size), &arena, &metrics, &len, &err);
    if (code != ERR_OK && (err.code != code || err.text[0] == '\0' || metrics != NULL))
        abort();
    if (code == ERR_OK) {
        struct app_metrics all = {.app = "app", .metrics = metrics, .metrics_len = len};
        if (codec_encode(&codec_app_metrics, &all, &arena, &encoded, &err) != ERR_OK)
            abort();
    }
    arena_fini(&arena);
    return 0;
}

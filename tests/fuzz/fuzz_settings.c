/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as captain.json. What is taken has all that is required, and paths in the folder.
 */
#include <stdlib.h>
#include <string.h>

#include "captain/io/settings.h"

enum { ARENA_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct settings settings = {0};
    struct err err = {0};
    arena_init(&arena, ARENA_BYTES);
    enum err_code code =
        settings_parse("captain.json", "/f", bytes_of(data, size), &arena, &settings, &err);
    if (code && (err.code != code || !err.text[0] || settings.tenant))
        abort();
    if (!code &&
        (!str_is_token(settings.tenant) || !settings.nats_url || !settings.listen ||
         !settings.master_key || settings.nats_creds[0] != '/' || settings.nats_ca[0] != '/' ||
         settings.tls_cert[0] != '/' || settings.tls_key[0] != '/'))
        abort();
    arena_fini(&arena);
    return 0;
}

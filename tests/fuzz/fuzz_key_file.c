/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as a key file. What is taken keeps the bounds on what opening it may cost, has a
 * plain name, and either is sealed or is the seed of its public key; what is refused says why.
 */
#include <stdlib.h>
#include <string.h>

#include "captain/io/key_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plain(const struct key_file *file)
{
    struct sign_key key;
    sign_key_from_seed(file->seed, &key);
    if (file->name[0] || memcmp(key.public_key, file->public_key, SIGN_PUBLIC_BYTES) != 0)
        abort();
}

static void check_sealed(const struct key_file *file)
{
    if (!str_is_token(file->name) || file->ops < 1 || file->ops > KEY_FILE_OPS_MAX ||
        file->mem < KEY_FILE_MEM_MIN || file->mem > KEY_FILE_MEM_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_file file = {.name = "untouched"};
    struct err err = {0};
    enum err_code code = key_file_parse("x.key", bytes_of(data, size), &file, &err);
    if (code == ERR_OK && file.sealed)
        check_sealed(&file);
    else if (code == ERR_OK)
        check_plain(&file);
    else if ((code != ERR_MALFORMED && code != ERR_SIZE) || err.code != code || !err.text[0] ||
             !str_equal(file.name, "untouched"))
        abort();
    return 0;
}

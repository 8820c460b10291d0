/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/hash.h"

/* FIPS 180-4 examples. */
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define MILLION_A "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void assert_digest(const uint8_t *digest, const char *expected)
{
    char hex[DIGEST_HEX];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    assert_string_equal(hex, expected);
}

static void test_hash__bytes(void **state)
{
    (void)state;
    uint8_t digest[DIGEST_BYTES];
    hash_bytes(bytes_of("", 0), digest);
    assert_digest(digest, EMPTY);
    hash_bytes(bytes_of(NULL, 0), digest);
    assert_digest(digest, EMPTY);
    hash_bytes(bytes_of("abc", 3), digest);
    assert_digest(digest, ABC);
}

static void test_hash__in_pieces_and_used_again(void **state)
{
    (void)state;
    uint8_t digest[DIGEST_BYTES];
    struct hash *hash = hash_new();
    char piece[1000];
    memset(piece, 'a', sizeof piece);
    for (int i = 0; i < 1000; i++)
        hash_update(hash, piece, sizeof piece);
    hash_final(hash, digest);
    assert_digest(digest, MILLION_A);
    hash_final(hash, digest);
    assert_digest(digest, EMPTY);
    hash_update(hash, "ab", 2);
    hash_update(hash, "c", 1);
    hash_final(hash, digest);
    assert_digest(digest, ABC);
    hash_free(hash);
    hash_free(NULL);
}

static void test_hash__a_file_from_its_start_wherever_it_stands(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    char *million = mem_new(1, 1000000);
    memset(million, 'a', 1000000);
    assert_int_equal(fwrite(million, 1, 1000000, file), 1000000);
    mem_free(million);
    assert_int_equal(fflush(file), 0);
    uint8_t digest[DIGEST_BYTES];
    uint64_t size = 0;
    struct err err;
    assert_int_equal(hash_file(fileno(file), digest, &size, &err), ERR_OK);
    assert_int_equal(size, 1000000);
    assert_digest(digest, MILLION_A);
    (void)fclose(file);
}

static void test_hash__a_file_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    int ends[2];
    uint8_t digest[DIGEST_BYTES] = {7};
    uint64_t size = 9;
    struct err err;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(hash_file(ends[0], digest, &size, &err), ERR_IO);
    assert_int_equal(digest[0], 7);
    assert_int_equal(size, 9);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash__bytes),
        cmocka_unit_test(test_hash__in_pieces_and_used_again),
        cmocka_unit_test(test_hash__a_file_from_its_start_wherever_it_stands),
        cmocka_unit_test(test_hash__a_file_that_cannot_be_read_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"

static void test_rng__gives_the_published_sequences(void **state)
{
    (void)state;
    /* 1234567: the reference program's published output; 0 and 42: computed apart from this code.
     */
    static const struct {
        uint64_t seed;
        uint64_t numbers[3];
    } vectors[] = {
        {1234567, {6457827717110365317u, 3203168211198807973u, 9817491932198370423u}},
        {0, {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu}},
        {42, {0xbdd732262feb6e95u, 0x28efe333b266f103u, 0x47526757130f9f52u}},
    };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct rng rng;
        rng_seed(&rng, vectors[i].seed);
        for (int j = 0; j < 3; j++)
            assert_true(rng_next(&rng) == vectors[i].numbers[j]);
    }
}

static void test_rng__below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t n = rng_below(&rng, 7);
        assert_true(n < 7);
        seen[n]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 850, 1150); /* 5 standard deviations of 29 */
    assert_int_equal(rng_below(&rng, 0), 0);
    assert_int_equal(rng_below(&rng, 1), 0);
    for (int i = 0; i < 100; i++)
        assert_true(rng_below(&rng, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
}

static void test_rng__hash_is_pinned(void **state)
{
    (void)state;
    assert_true(rng_hash(0, NULL, 0) == 0xefd01f60ba992926u);
    assert_true(rng_hash(0, "a", 1) == 0x82a2a958a9bece5bu);
    assert_true(rng_hash(1, "a", 1) == 0x86ede49b2924d824u);
    assert_true(rng_hash(0, "foobar", 6) == 0x2c22194922d1672bu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng__gives_the_published_sequences),
        cmocka_unit_test(test_rng__below_stays_below_and_reaches_all),
        cmocka_unit_test(test_rng__hash_is_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/mem.h"

static void test_mem__new_and_grown_bytes_are_zero(void **state)
{
    (void)state;
    uint32_t *numbers = mem_new(4, sizeof *numbers);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(numbers[i], 0);
        numbers[i] = 7;
    }
    numbers = mem_grow(numbers, 4, 1000, sizeof *numbers);
    assert_int_equal(numbers[3], 7);
    for (int i = 4; i < 1000; i++)
        assert_int_equal(numbers[i], 0);
    mem_free(numbers);
}

static void test_mem__nothing_is_fine(void **state)
{
    (void)state;
    mem_free(NULL);
    assert_null(mem_strdup(NULL));
    void *p DEFER(mem_free_ref) = mem_new(0, 0);
    assert_non_null(p);
    char *copy DEFER(mem_free_ref) = mem_strdup("text");
    assert_string_equal(copy, "text");
}

static void test_arena__gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    for (size_t size = 1; size < 9000; size = size * 3 + 1) {
        unsigned char *p = arena_alloc(&arena, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    arena_fini(&arena);
    assert_int_equal(arena.used_bytes, 0);
}

static void test_arena__refuses_beyond_its_limit(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 64);
    assert_null(arena_alloc(&arena, 65));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_non_null(arena_alloc(&arena, 48));
    assert_null(arena_alloc(&arena, 17));
    assert_null(arena_printf(&arena, "%s", "seventeen letters"));
    assert_non_null(arena_alloc(&arena, 16));
    assert_null(arena_alloc(&arena, 1));
    arena_fini(&arena);
}

static void test_arena__rounding_up_does_not_wrap_around(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, SIZE_MAX);
    assert_null(arena_alloc(&arena, SIZE_MAX - 3));
    arena_fini(&arena);
}

static void test_arena__reset_forgets_and_is_used_again(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 100000);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 9; i++)
            assert_non_null(arena_dup(&arena, "0123456789", 10));
        unsigned char *big = arena_alloc(&arena, 90000);
        assert_non_null(big);
        assert_int_equal(big[89999], 0);
        memset(big, 1, 90000);
        arena_reset(&arena);
        assert_int_equal(arena.used_bytes, 0);
    }
    arena_fini(&arena);
    arena_fini(&arena);
}

static void test_arena__copies_texts(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 4096);
    assert_string_equal(arena_strdup(&arena, "abc"), "abc");
    assert_string_equal(arena_printf(&arena, "%s/%d", "site", 7), "site/7");
    assert_memory_equal(arena_dup(&arena, "\0\1\2", 3), "\0\1\2", 3);
    assert_non_null(arena_dup(&arena, NULL, 0));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem__new_and_grown_bytes_are_zero),
        cmocka_unit_test(test_mem__nothing_is_fine),
        cmocka_unit_test(test_arena__gives_zeroed_aligned_memory),
        cmocka_unit_test(test_arena__refuses_beyond_its_limit),
        cmocka_unit_test(test_arena__rounding_up_does_not_wrap_around),
        cmocka_unit_test(test_arena__reset_forgets_and_is_used_again),
        cmocka_unit_test(test_arena__copies_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

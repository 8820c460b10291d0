/* SPDX-License-Identifier: Apache-2.0
 *
 * captain root show | rotate | sign | assemble | lint
 */
#include "tests/unit/cli/sign_world.h"

static void test_root__a_next_root_needs_the_old_keys_and_the_new(void **state)
{
    struct world *world = *state;
    assert_int_equal(RUN(world, "root", "rotate", "--root", "root.dsse", "--add", "root=carl",
                         "--remove", "root=ada", "--floor", "tool=7", "--key", "ada", "--output",
                         "next.dsse"),
                     0);
    expect_said(world, "out", "version 2 of tenant default");
    expect_said(world, "out", "old root keys:  1 signed, needed 2");
    expect_said(world, "out", "new root keys:  0 signed, needed 2");
    expect_said(world, "out", "no release below sequence 7");
    write_bytes(world, "copy.dsse", read_bytes(world, "next.dsse"));
    assert_int_equal(RUN(world, "root", "sign", "copy.dsse", "--root", "root.dsse", "--key", "bob"),
                     0);
    expect_said(world, "out", "removed");
    expect_said(world, "out", "old root keys:  2 signed, needed 2");
    expect_said(world, "out", "new root keys:  1 signed, needed 2");
    assert_int_equal(
        RUN(world, "root", "sign", "next.dsse", "--root", "root.dsse", "--key", "carl"), 0);
    expect_said(world, "err", "captain root sign next.dsse");
    assert_int_equal(
        RUN(world, "root", "assemble", "next.dsse", "copy.dsse", "--root", "root.dsse"), 0);
    expect_said(world, "err", "captain root publish next.dsse");

    struct root old;
    struct root next;
    assert_int_equal(
        trust_root_anchor(read_bytes(world, "root.dsse"), &world->arena, &old, &world->err),
        ERR_OK);
    assert_int_equal(
        trust_root_next(&old, read_bytes(world, "next.dsse"), &world->arena, &next, &world->err),
        ERR_OK);
    assert_int_equal(next.version, 2);
    assert_int_equal(trust_floor(&next, "tool"), 7);
}

static void test_root__a_root_that_cannot_be_is_not_written(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *flag, *value, *text;
    } rows[] = {
        {"--remove", "root=ada", "2 signatures are asked for, but there are 1 keys"},
        {"--remove", "root=carl", "role root has no key carl"},
        {"--remove", "desired=nobody", "role desired has no key"},
        {"--add", "root=ada", "has the key ada already"},
        {"--add", "captain=carl", "there is no role captain"},
        {"--add", "root", "not of the form ROLE=VALUE"},
        {"--add", "root=0000000000000000000000000000000000000000000000000000000000000000",
         "role \"root\": key 3 is not a usable key"},
        {"--threshold", "release=3", "3 signatures are asked for, but there are 2 keys"},
        {"--threshold", "release=0", "not of the form"},
        {"--floor", "tool", "not of the form APP=SEQUENCE"},
        {"--floor", "tool=many", "not of the form APP=SEQUENCE"},
        {"--revoke", "1234", "neither APP@VERSION nor a digest"},
        {"--ttl", "4000d", "up to ten years"},
        {"--ttl", "0s", "up to ten years"},
        {"--add", "root=carl,,", "has an empty part"},
        {"--key", "carl", "root key neither before nor after"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(RUN(world, "root", "rotate", "--root", "root.dsse", rows[i].flag,
                             rows[i].value, "--output", "next.dsse"),
                         2);
        expect_said(world, "err", rows[i].text);
        assert_int_equal(access(at(world, "next.dsse"), F_OK), -1);
    }
    assert_int_equal(RUN(world, "root", "rotate", "--root", "root.dsse", "--output", "root.dsse"),
                     5);
}

static void test_root__a_root_that_skips_one_is_not_signed(void **state)
{
    struct world *world = *state;
    assert_int_equal(RUN(world, "root", "rotate", "--root", "root.dsse", "--key", "ada,bob",
                         "--output", "2.dsse"),
                     0);
    assert_int_equal(
        RUN(world, "root", "rotate", "--root", "2.dsse", "--key", "ada", "--output", "3.dsse"), 0);
    assert_int_equal(RUN(world, "root", "sign", "3.dsse", "--root", "root.dsse", "--key", "bob"),
                     1);
    expect_said(world, "err", "is no next root");
    assert_int_equal(signatures(world, "3.dsse"), 1);
}

static void test_root__lint_says_what_is_weak(void **state)
{
    struct world *world = *state;
    assert_int_equal(RUN(world, "root", "lint", "root.dsse"), 1);
    expect_said(world, "out", "all 2 keys are needed");
    expect_said(world, "out", "is in role root and in role release");
    assert_int_equal(RUN(world, "key", "new", "dora", "--yes", "--passphrase", "/dev/null"), 0);
    assert_int_equal(RUN(world, "key", "new", "eve", "--yes", "--passphrase", "/dev/null"), 0);
    assert_int_equal(RUN(world, "key", "new", "fay", "--yes", "--passphrase", "/dev/null"), 0);
    assert_int_equal(RUN(world, "root", "rotate", "--root", "root.dsse", "--add",
                         "root=fay,release=dora,release=eve", "--remove", "release=ada", "--key",
                         "ada,bob", "--output", "good.dsse"),
                     0);
    assert_int_equal(RUN(world, "root", "lint", "good.dsse"), 0);
    assert_int_equal(RUN(world, "root", "rotate", "--root", "good.dsse", "--ttl", "29d", "--key",
                         "ada,bob", "--output", "short.dsse"),
                     0);
    assert_int_equal(RUN(world, "root", "lint", "short.dsse"), 1);
    expect_said(world, "out", "expires soon");
    assert_int_equal(RUN(world, "root", "show", "short.dsse", "--json"), 0);
    expect_said(world, "out", "\"version\": \"3\"");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_root__a_next_root_needs_the_old_keys_and_the_new),
        TEST(test_root__a_root_that_cannot_be_is_not_written),
        TEST(test_root__a_root_that_skips_one_is_not_signed),
        TEST(test_root__lint_says_what_is_weak),
    };
    return cmocka_run_group_tests_name("root", tests, NULL, NULL);
}

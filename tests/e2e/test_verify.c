/* SPDX-License-Identifier: Apache-2.0
 *
 * captain-agent verify: of a release as a file, and of what is installed; the code is the reason.
 */
#include "tests/e2e/house.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/tempdir.h"

static char *hex_of(struct house *h, const struct released *r)
{
    char hex[DIGEST_HEX];
    str_hex(bytes_of(r->digest, DIGEST_BYTES), hex);
    return arena_strdup(&h->arena, hex);
}

static void expect(struct house *h, const char *const *args, int code, const char *said)
{
    const char *argv[8] = {getenv("CAPTAIN_AGENT_BIN"), "verify"};
    char *out = house_path_in(h, "said");
    size_t len = 2;
    for (; *args; args++)
        argv[len++] = *args;
    tempdir_write(out, "", 0);
    int got = proc_run(&(struct proc_options){.argv = argv, .out_path = out}, LONG_MS);
    char *text = tempdir_read(out, NULL);
    if (got != code || !strstr(text, said))
        fail_msg("code %d, not %d, or \"%s\" is missing; it said:\n%s", got, code, said, text);
    free(text);
}

static void expect_release(struct house *h, const char *path, int code, const char *said)
{
    const char *args[] = {"--root", house_path_in(h, "root.dsse"), path, NULL};
    expect(h, args, code, said);
}

static void expect_device(struct house *h, int code, const char *said)
{
    const char *args[] = {"--config", house_path_in(h, "agent.json"), NULL};
    expect(h, args, code, said);
}

static void test_verify__of_a_release_says_what_is_wrong_with_it(void **state)
{
    struct house *h = *state;
    struct released good = house_release(h, &(struct recipe){.version = "1.0"});
    struct released forged =
        house_release(h, &(struct recipe){.version = "1.1", .foreign_signature = true});
    struct released other = house_release(h, &(struct recipe){.version = "1.2", .os = "plan9"});
    const char *path = house_path_in(h, "http/release/%s", hex_of(h, &good));
    expect_release(h, path, 0, "hello: 1.0, sequence 1");
    expect_release(h, path, 0, hex_of(h, &good));
    expect_release(h, house_path_in(h, "http/release/%s", hex_of(h, &forged)), 10, "");
    expect_release(h, house_path_in(h, "http/release/%s", hex_of(h, &other)), 16, "");
    expect_release(h, house_path_in(h, "none"), 3, "none");

    size_t len;
    char *bytes = tempdir_read(path, &len);
    char *broken = house_path_in(h, "broken.dsse");
    bytes[len / 2] ^= 1;
    tempdir_write(broken, bytes, len);
    expect_release(h, broken, 10, "broken.dsse");
    tempdir_write(broken, bytes, 10);
    expect_release(h, broken, 18, "broken.dsse");
    free(bytes);
    const char *args[] = {"--root", broken, path, NULL};
    expect(h, args, 18, "broken.dsse");
}

static char *installed(struct house *h, const struct released *r, const char *name)
{
    return house_path_in(h, "device/apps/hello/releases/%s/%s", hex_of(h, r), name);
}

static void test_verify__of_a_device_finds_what_was_changed(void **state)
{
    struct house *h = *state;
    house_write_config(h);
    expect_device(h, 0, "hello: nothing is installed");
    struct released r = house_install(h, &(struct recipe){.version = "1.0"});
    expect_device(h, 0, "1 file as signed"); /* while the agent runs */
    expect_device(h, 0, hex_of(h, &r));

    size_t len;
    char *page = installed(h, &r, "root/www/index.html"), *before = tempdir_read(page, &len);
    assert_non_null(before);
    before[0] ^= 1;
    tempdir_write(page, before, len);
    expect_device(h, 14, "is not what was signed");
    tempdir_write(page, before, len - 1);
    expect_device(h, 15, "index.html");
    before[0] ^= 1;
    tempdir_write(page, before, len);
    expect_device(h, 0, "1 file as signed");
    free(before);

    char *document = installed(h, &r, "release.dsse");
    before = tempdir_read(document, &len);
    assert_non_null(before);
    before[len / 3] ^= 1;
    tempdir_write(document, before, len);
    expect_device(h, 14, "hello");
    free(before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_verify__of_a_release_says_what_is_wrong_with_it),
        TEST(test_verify__of_a_device_finds_what_was_changed),
    };
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}

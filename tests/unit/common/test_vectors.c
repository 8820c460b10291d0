/* SPDX-License-Identifier: Apache-2.0
 *
 * Signatures and key agreement against vectors in the JSON layout of Wycheproof: ours (vectors/), and
 * those that CAPTAIN_WYCHEPROOF names, a file or a folder of them. Files of other algorithms are left
 * out, and counted. "valid" must be taken, "invalid" refused, "acceptable" may be either.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>

#include "common/base/mem.h"
#include "common/sign.h"

enum { HEX_MAX = 1 << 16, PATH_BYTES = 4096, FILES_MAX = 4096 };

struct tally {
    unsigned files, skipped, eddsa, xdh;
};

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* Hexadecimal of any length; owned by the caller. */
static struct bytes hex_of(const json_t *object, const char *name)
{
    const char *text = text_of(object, name);
    const size_t len = strlen(text);
    uint8_t *data = mem_new(1, len / 2 + 1);
    assert_true(len % 2 == 0 && len < HEX_MAX);
    if (len > 0)
        assert_int_equal(str_unhex(text, data, len / 2), ERR_OK);
    return bytes_of(data, len / 2);
}

static void drop(struct bytes bytes)
{
    mem_free((void *)(uintptr_t)bytes.ptr);
}

static void expect(const char *path, const json_t *test, bool taken)
{
    const char *result = text_of(test, "result");
    if ((str_equal(result, "valid") && !taken) || (str_equal(result, "invalid") && taken))
        fail_msg("%s, test %lld (%s): %s, and it was %s", path,
                 (long long)json_integer_value(json_object_get(test, "tcId")),
                 text_of(test, "comment"), result, taken ? "taken" : "refused");
}

static void check_eddsa(const char *path, const json_t *group, const json_t *test)
{
    const json_t *key = json_object_get(group, "publicKey");
    struct bytes public_key = hex_of(key ? key : json_object_get(group, "key"), "pk");
    struct bytes msg = hex_of(test, "msg"), sig = hex_of(test, "sig");
    expect(path, test,
           public_key.len == SIGN_PUBLIC_BYTES && sign_verify(public_key.ptr, msg, sig));
    drop(public_key);
    drop(msg);
    drop(sig);
}

/* What secrets and credentials are sealed with. A public key that gives no secret must be refused. */
static void check_xdh(const char *path, const json_t *group, const json_t *test)
{
    struct bytes public_key = hex_of(test, "public"), secret = hex_of(test, "private"),
                 shared = hex_of(test, "shared");
    uint8_t found[crypto_scalarmult_BYTES];
    (void)group;
    bool taken = public_key.len == crypto_scalarmult_BYTES &&
                 secret.len == crypto_scalarmult_SCALARBYTES &&
                 crypto_scalarmult(found, secret.ptr, public_key.ptr) == 0;
    expect(path, test, taken);
    if (taken)
        assert_true(bytes_equal(bytes_of(found, sizeof found), shared));
    uint8_t box[crypto_box_SEALBYTES + 1];
    if (!taken && public_key.len == crypto_box_PUBLICKEYBYTES)
        assert_int_not_equal(crypto_box_seal(box, (const uint8_t *)"x", 1, public_key.ptr), 0);
    drop(public_key);
    drop(secret);
    drop(shared);
}

static bool is_eddsa(const json_t *group)
{
    const json_t *key = json_object_get(group, "publicKey");
    const char *type = text_of(group, "type");
    return (str_equal(type, "EddsaVerify") || str_equal(type, "Ed25519Verify")) &&
           str_equal(text_of(key ? key : json_object_get(group, "key"), "curve"), "edwards25519");
}

static bool is_xdh(const json_t *group)
{
    return str_equal(text_of(group, "type"), "XdhComp") &&
           str_equal(text_of(group, "curve"), "curve25519");
}

static void check_group(const char *path, const json_t *group, struct tally *tally)
{
    size_t i;
    json_t *test;
    const bool eddsa = is_eddsa(group), xdh = is_xdh(group);
    json_array_foreach(json_object_get(group, "tests"), i, test)
    {
        if (eddsa)
            check_eddsa(path, group, test);
        else if (xdh)
            check_xdh(path, group, test);
        tally->eddsa += eddsa;
        tally->xdh += xdh;
    }
}

static void check_file(const char *path, struct tally *tally)
{
    json_error_t error;
    size_t i;
    json_t *group, *file = json_load_file(path, 0, &error);
    if (!file)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    const unsigned before = tally->eddsa + tally->xdh;
    json_array_foreach(json_object_get(file, "testGroups"), i, group)
        check_group(path, group, tally);
    tally->files++;
    tally->skipped += tally->eddsa + tally->xdh == before;
    json_decref(file);
}

static void check_path(const char *path, struct tally *tally)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    if (!S_ISDIR(st.st_mode)) {
        check_file(path, tally);
        return;
    }
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) && tally->files < FILES_MAX;) {
        char file[PATH_BYTES];
        const char *end = strrchr(entry->d_name, '.');
        (void)snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (end && str_equal(end, ".json"))
            check_file(file, tally);
    }
    (void)closedir(dir);
}

static void test_vectors__of_our_own(void **state)
{
    char path[PATH_BYTES];
    const char *source = getenv("CAPTAIN_SOURCE_DIR");
    struct tally tally = {0};
    (void)state;
    (void)snprintf(path, sizeof path, "%s/tests/unit/common/vectors", source ? source : ".");
    check_path(path, &tally);
    print_message("%u of EdDSA, %u of X25519\n", tally.eddsa, tally.xdh);
    assert_int_equal(tally.skipped, 0);
    assert_true(tally.eddsa >= 30 && tally.xdh >= 18);
}

static void test_vectors__of_wycheproof(void **state)
{
    const char *path = getenv("CAPTAIN_WYCHEPROOF");
    struct tally tally = {0};
    (void)state;
    if (!path || !path[0]) {
        print_message("CAPTAIN_WYCHEPROOF names no file or folder\n");
        skip();
    }
    check_path(path, &tally);
    print_message("%u of EdDSA, %u of X25519 in %u files, %u of them of other algorithms\n",
                  tally.eddsa, tally.xdh, tally.files, tally.skipped);
    assert_true(tally.eddsa + tally.xdh > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors__of_our_own),
        cmocka_unit_test(test_vectors__of_wycheproof),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

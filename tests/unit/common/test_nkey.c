/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/base32.h"
#include "common/base/mem.h"
#include "common/nkey.h"
#include "tests/support/tempdir.h"

enum { ARENA_BYTES = 8 << 20, ISSUED_S = 1795000000 };

/* RFC 8032's first test key, as nats-server's own tool writes it. */
#define SEED_HEX "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"

struct identity {
    struct arena arena;
    struct err err;
    struct sign_key key, other;
    char *dir;
};

static int set_up(void **state)
{
    struct identity *id = mem_new(1, sizeof *id);
    uint8_t seed[SIGN_SEED_BYTES];
    assert_int_equal(str_unhex(SEED_HEX, seed, sizeof seed), ERR_OK);
    sign_key_from_seed(seed, &id->key);
    sign_key_new(&id->other);
    arena_init(&id->arena, ARENA_BYTES);
    id->dir = tempdir_make();
    *state = id;
    return 0;
}

static int tear_down(void **state)
{
    struct identity *id = *state;
    tempdir_remove(id->dir);
    arena_fini(&id->arena);
    mem_free(id);
    return 0;
}

/* RFC 4648, section 10, without its padding. */
static void test_nkey__base32_has_the_vectors_of_its_standard(void **state)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "MY"},
                                             {"fo", "MZXQ"},
                                             {"foo", "MZXW6"},
                                             {"foob", "MZXW6YQ"},
                                             {"fooba", "MZXW6YTB"},
                                             {"foobar", "MZXW6YTBOI"}};
    char text[32];
    uint8_t back[16];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        size_t len = strlen(vectors[i][0]);
        base32_encode(bytes_of(vectors[i][0], len), text);
        assert_string_equal(text, vectors[i][1]);
        assert_true(base32_decode(text, back, len));
        assert_memory_equal(back, vectors[i][0], len);
    }
    assert_false(base32_decode("MZ", back, 1)); /* bits behind the byte */
}

static void test_nkey__every_kind_comes_back(void **state)
{
    struct identity *id = *state;
    static const struct {
        enum nkey_kind kind;
        char letter;
    } kinds[] = {{NKEY_OPERATOR, 'O'}, {NKEY_ACCOUNT, 'A'}, {NKEY_USER, 'U'}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        char text[NKEY_TEXT], seed[NKEY_SEED_TEXT];
        uint8_t back[SIGN_PUBLIC_BYTES];
        struct sign_key key = {0};
        nkey_public_text(kinds[i].kind, id->key.public_key, text);
        nkey_seed_text(kinds[i].kind, id->key.seed, seed);
        assert_int_equal(strlen(text), NKEY_TEXT - 1);
        assert_int_equal(strlen(seed), NKEY_SEED_TEXT - 1);
        assert_int_equal(text[0], kinds[i].letter);
        assert_int_equal(seed[0], 'S');
        assert_int_equal(seed[1], kinds[i].letter);
        assert_int_equal(nkey_parse_public(kinds[i].kind, text, back, &id->err), ERR_OK);
        assert_memory_equal(back, id->key.public_key, sizeof back);
        assert_int_equal(nkey_parse_seed(kinds[i].kind, seed, &key, &id->err), ERR_OK);
        assert_memory_equal(&key, &id->key, sizeof key);
        /* Of no other kind. */
        enum nkey_kind other = kinds[(i + 1) % ARRAY_LEN(kinds)].kind;
        assert_int_equal(nkey_parse_public(other, text, back, &id->err), ERR_MALFORMED);
        assert_int_equal(nkey_parse_seed(other, seed, &key, &id->err), ERR_MALFORMED);
        assert_null(strstr(id->err.text, seed));
    }
}

/* Each character exchanged for each other one of the alphabet, and for some that are none. */
static void test_nkey__a_mistyped_key_is_noticed(void **state)
{
    struct identity *id = *state;
    static const char others[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ2345670189a=-. \n";
    char text[NKEY_TEXT], seed[NKEY_SEED_TEXT];
    uint8_t back[SIGN_PUBLIC_BYTES];
    struct sign_key key;
    nkey_public_text(NKEY_USER, id->key.public_key, text);
    nkey_seed_text(NKEY_USER, id->key.seed, seed);
    for (size_t at = 0; at < NKEY_SEED_TEXT - 1; at++)
        for (const char *c = others; *c; c++) {
            char wrong[NKEY_SEED_TEXT];
            memcpy(wrong, seed, sizeof wrong);
            wrong[at] = *c;
            if (*c != seed[at])
                assert_int_equal(nkey_parse_seed(NKEY_USER, wrong, &key, &id->err), ERR_MALFORMED);
            if (at >= NKEY_TEXT - 1 || *c == text[at])
                continue;
            memcpy(wrong, text, NKEY_TEXT);
            wrong[at] = *c;
            assert_int_equal(nkey_parse_public(NKEY_USER, wrong, back, &id->err), ERR_MALFORMED);
        }
}

static void test_nkey__a_key_of_the_wrong_length_is_refused(void **state)
{
    struct identity *id = *state;
    char text[NKEY_TEXT + 1], seed[NKEY_SEED_TEXT + 1];
    uint8_t back[SIGN_PUBLIC_BYTES];
    struct sign_key key;
    nkey_public_text(NKEY_USER, id->key.public_key, text);
    nkey_seed_text(NKEY_USER, id->key.seed, seed);
    for (size_t len = 0; len < NKEY_TEXT + 1; len++) {
        char cut[NKEY_SEED_TEXT + 1] = "";
        (void)snprintf(cut, sizeof cut, "%.*s%s", (int)len, text, len >= NKEY_TEXT ? "A" : "");
        if (len != NKEY_TEXT - 1)
            assert_int_equal(nkey_parse_public(NKEY_USER, cut, back, &id->err), ERR_MALFORMED);
        (void)snprintf(cut, sizeof cut, "%.*s", (int)len, seed);
        assert_int_equal(nkey_parse_seed(NKEY_USER, cut, &key, &id->err), ERR_MALFORMED);
    }
}

static void test_nkey__a_key_file_is_ours_alone(void **state)
{
    struct identity *id = *state;
    char *path = tempdir_path(id->dir, "user.nk");
    struct sign_key back;
    struct stat st;
    assert_int_equal(nkey_load(NKEY_USER, path, &back, &id->err), ERR_NOT_FOUND);
    assert_int_equal(nkey_save(NKEY_USER, &id->key, path, &id->err), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(nkey_load(NKEY_USER, path, &back, &id->err), ERR_OK);
    assert_memory_equal(&back, &id->key, sizeof back);
    assert_int_equal(nkey_load(NKEY_ACCOUNT, path, &back, &id->err), ERR_MALFORMED);
    assert_non_null(strstr(id->err.text, path));
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(nkey_load(NKEY_USER, path, &back, &id->err), ERR_DENIED);
    assert_non_null(strstr(id->err.hint, "chmod 600"));
    free(path);
}

static const char *mint_user(struct identity *id, const struct nkey_user_claims *claims)
{
    const char *jwt = NULL;
    assert_int_equal(nkey_mint_user(claims, &id->key, ISSUED_S, &id->arena, &jwt, &id->err),
                     ERR_OK);
    return jwt;
}

static struct nkey_user_claims some_claims(const struct identity *id)
{
    struct nkey_user_claims claims = {
        .name = "lyon.gw-17", .expires_s = ISSUED_S + 600, .scoped = true};
    memcpy(claims.key, id->other.public_key, SIGN_PUBLIC_BYTES);
    memcpy(claims.account, id->key.public_key, SIGN_PUBLIC_BYTES);
    return claims;
}

/* The claims of a JWT as text. */
static const char *claims_of(struct identity *id, const char *jwt)
{
    const char *first = strchr(jwt, '.') + 1;
    size_t len = strcspn(first, "."), got = 0;
    char *text = arena_alloc(&id->arena, len + 1);
    assert_int_equal(sodium_base642bin((unsigned char *)text, len, first, len, NULL, &got, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    return text;
}

static void test_nkey__a_users_jwt_is_read_back(void **state)
{
    struct identity *id = *state;
    struct nkey_user_claims claims = some_claims(id);
    struct nkey_user user;
    char issuer[NKEY_TEXT], subject[NKEY_TEXT];
    const char *jwt = mint_user(id, &claims);
    assert_int_equal(nkey_read_user(jwt, &id->arena, &user, &id->err), ERR_OK);
    nkey_public_text(NKEY_ACCOUNT, id->key.public_key, issuer);
    nkey_public_text(NKEY_USER, id->other.public_key, subject);
    assert_string_equal(user.name, "lyon.gw-17");
    assert_string_equal(user.issuer, issuer);
    assert_string_equal(user.account, issuer);
    assert_string_equal(user.subject, subject);
    assert_int_equal(user.issued_s, ISSUED_S);
    assert_int_equal(user.expires_s, ISSUED_S + 600);
    /* What the server wants of a scoped user: nothing of its own. */
    assert_non_null(strstr(claims_of(id, jwt), "\"pub\":{},\"sub\":{},\"subs\":0,\"data\":0,"
                                               "\"payload\":0"));
    claims.expires_s = 0;
    jwt = mint_user(id, &claims);
    assert_int_equal(nkey_read_user(jwt, &id->arena, &user, &id->err), ERR_OK);
    assert_int_equal(user.expires_s, 0);
    assert_null(strstr(claims_of(id, jwt), "\"exp\""));
}

/* Each byte changed, each byte missing, each length cut. */
static void test_nkey__an_edited_jwt_is_refused(void **state)
{
    struct identity *id = *state;
    struct nkey_user_claims claims = some_claims(id);
    const char *jwt = mint_user(id, &claims);
    size_t len = strlen(jwt);
    char *edited = mem_strdup(jwt);
    for (size_t at = 0; at < len; at++) {
        struct nkey_user user = {.issued_s = 7};
        edited[at] = jwt[at] == 'A' ? 'B' : 'A';
        assert_int_not_equal(nkey_read_user(edited, &id->arena, &user, &id->err), ERR_OK);
        edited[at] = '\0';
        assert_int_not_equal(nkey_read_user(edited, &id->arena, &user, &id->err), ERR_OK);
        memmove(edited + at, jwt + at + 1, len - at);
        assert_int_not_equal(nkey_read_user(edited, &id->arena, &user, &id->err), ERR_OK);
        assert_int_equal(user.issued_s, 7);
        assert_null(user.name);
        memcpy(edited, jwt, len + 1);
        arena_reset(&id->arena);
    }
    mem_free(edited);
}

/* A JWT whose parts are these, signed as they are. */
static const char *forge(struct identity *id, const char *header, const char *claims)
{
    char parts[3][2048];
    uint8_t secret[crypto_sign_SECRETKEYBYTES], public_key[SIGN_PUBLIC_BYTES], sig[64];
    const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
    (void)sodium_bin2base64(parts[0], sizeof parts[0], (const uint8_t *)header, strlen(header),
                            variant);
    (void)sodium_bin2base64(parts[1], sizeof parts[1], (const uint8_t *)claims, strlen(claims),
                            variant);
    char *head = arena_printf(&id->arena, "%s.%s", parts[0], parts[1]);
    (void)crypto_sign_seed_keypair(public_key, secret, id->key.seed);
    (void)crypto_sign_detached(sig, NULL, (const uint8_t *)head, strlen(head), secret);
    (void)sodium_bin2base64(parts[2], sizeof parts[2], sig, sizeof sig, variant);
    return arena_printf(&id->arena, "%s.%s", head, parts[2]);
}

static void test_nkey__a_jwt_that_breaks_a_rule_is_refused_though_signed(void **state)
{
    struct identity *id = *state;
    static const char good[] = "{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}";
    char iss[NKEY_TEXT], sub[NKEY_TEXT], claims[1024];
    struct nkey_user user;
    nkey_public_text(NKEY_ACCOUNT, id->key.public_key, iss);
    nkey_public_text(NKEY_USER, id->other.public_key, sub);
    const struct {
        const char *header, *iss, *sub, *rest, *says;
    } cases[] = {
        {good, iss, sub, "\"iat\":5,\"nats\":{\"type\":\"user\"}", NULL},
        {"{\"alg\":\"none\"}", iss, sub, "\"iat\":5,\"nats\":{\"type\":\"user\"}", "header"},
        {good, sub, sub, "\"iat\":5,\"nats\":{\"type\":\"user\"}", "iss"},
        {good, iss, iss, "\"iat\":5,\"nats\":{\"type\":\"user\"}", "sub"},
        {good, iss, sub, "\"iat\":5,\"nats\":{\"type\":\"account\"}", "type"},
        {good, iss, sub, "\"iat\":5,\"nats\":[]", "type"},
        {good, iss, sub, "\"iat\":\"5\",\"nats\":{\"type\":\"user\"}", "time"},
        {good, iss, sub, "\"iat\":-5,\"nats\":{\"type\":\"user\"}", "time"},
        {good, iss, sub, "\"nats\":{\"type\":\"user\"}", "time"},
        {good, iss, sub, "\"iat\":5,\"exp\":null,\"nats\":{\"type\":\"user\"}", "time"},
        {good, iss, sub, "\"iat\":5,\"nats\":{\"type\":\"user\",\"issuer_account\":7}",
         "issuer_account"},
        {good, iss, sub, "\"iat\":5,\"iat\":5,\"nats\":{\"type\":\"user\"}", "JSON"},
        {good, iss, sub, "\"iat\":5,\"name\":\"a\\u0000b\",\"nats\":{\"type\":\"user\"}", "JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        id->err = (struct err){0};
        (void)snprintf(claims, sizeof claims, "{\"iss\":\"%s\",\"sub\":\"%s\",%s%s}", cases[i].iss,
                       cases[i].sub, strstr(cases[i].rest, "\"name\"") ? "" : "\"name\":\"n\",",
                       cases[i].rest);
        enum err_code code =
            nkey_read_user(forge(id, cases[i].header, claims), &id->arena, &user, &id->err);
        assert_int_equal(code, cases[i].says ? ERR_MALFORMED : ERR_OK);
        if (cases[i].says && !strstr(id->err.text, cases[i].says))
            fail_msg("case %zu says: %s", i, id->err.text);
    }
    char *endless = mem_new(1, NKEY_USER_JWT_MAX_BYTES + 2);
    memset(endless, 'A', NKEY_USER_JWT_MAX_BYTES + 1);
    assert_int_equal(nkey_read_user(endless, &id->arena, &user, &id->err), ERR_SIZE);
    mem_free(endless);
}

/* Permissions that allow nothing must not read as "everything". */
static void test_nkey__an_empty_list_denies_everything(void **state)
{
    struct identity *id = *state;
    static const char *const hears[] = {"health.>"};
    struct nkey_permissions permissions = {
        .subscribe = hears, .subscribe_len = 1, .responses = 2, .subs = 3, .payload = 4};
    struct nkey_user_claims claims = some_claims(id);
    claims.scoped = false;
    claims.permissions = &permissions;
    const char *text = claims_of(id, mint_user(id, &claims));
    assert_non_null(strstr(text, "\"pub\":{\"deny\":[\">\"]},\"sub\":{\"allow\":[\"health.>\"]},"
                                 "\"subs\":3,\"data\":-1,\"payload\":4,"
                                 "\"resp\":{\"max\":2,\"ttl\":5000000000}"));
}

static void test_nkey__claims_that_cannot_be_minted_are_refused(void **state)
{
    struct identity *id = *state;
    const char *jwt = NULL, *many[NKEY_LIST_MAX + 1];
    char long_name[NKEY_USER_JWT_MAX_BYTES];
    struct nkey_user_claims claims = some_claims(id);
    claims.name = "\xff";
    assert_int_equal(nkey_mint_user(&claims, &id->key, ISSUED_S, &id->arena, &jwt, &id->err),
                     ERR_MALFORMED);
    memset(long_name, 'n', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    claims.name = long_name;
    assert_int_equal(nkey_mint_user(&claims, &id->key, ISSUED_S, &id->arena, &jwt, &id->err),
                     ERR_SIZE);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = "x";
    claims = some_claims(id);
    claims.tags = many;
    claims.tags_len = ARRAY_LEN(many);
    assert_int_equal(nkey_mint_user(&claims, &id->key, ISSUED_S, &id->arena, &jwt, &id->err),
                     ERR_MALFORMED);
    assert_null(jwt);
}

static void test_nkey__credentials_are_written_and_read(void **state)
{
    struct identity *id = *state;
    char *path = tempdir_path(id->dir, "x.creds");
    struct nkey_user_claims claims = some_claims(id);
    const char *jwt = mint_user(id, &claims), *back = NULL;
    struct sign_key key;
    struct stat st;
    assert_int_equal(nkey_write_creds(path, jwt, &id->other, &id->err), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(nkey_read_creds(path, &id->arena, &back, &key, &id->err), ERR_OK);
    assert_string_equal(back, jwt);
    assert_memory_equal(&key, &id->other, sizeof key);

    size_t len = 0;
    char *text = tempdir_read(path, &len);
    for (size_t cut = 0; cut < len; cut += 7) { /* no part of it passes for the whole */
        tempdir_write(path, text, cut);
        assert_int_equal(chmod(path, 0600), 0);
        enum err_code code = nkey_read_creds(path, &id->arena, &back, &key, &id->err);
        assert_true(code == ERR_MALFORMED || strstr(text + cut, "SEED---") == NULL);
    }
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(nkey_read_creds(path, &id->arena, &back, &key, &id->err), ERR_DENIED);
    free(text);
    free(path);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_nkey__base32_has_the_vectors_of_its_standard),
        T(test_nkey__every_kind_comes_back),
        T(test_nkey__a_mistyped_key_is_noticed),
        T(test_nkey__a_key_of_the_wrong_length_is_refused),
        T(test_nkey__a_key_file_is_ours_alone),
        T(test_nkey__a_users_jwt_is_read_back),
        T(test_nkey__an_edited_jwt_is_refused),
        T(test_nkey__a_jwt_that_breaks_a_rule_is_refused_though_signed),
        T(test_nkey__an_empty_list_denies_everything),
        T(test_nkey__claims_that_cannot_be_minted_are_refused),
        T(test_nkey__credentials_are_written_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sign.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/hash.h"
#include "proto/codec.h"

enum { KEY_FILE_MAX_BYTES = 128, SEED_HEX = 2 * SIGN_SEED_BYTES + 1 };

/* May be called again; fails only on a machine that libsodium cannot run on. */
static void start_sodium(void)
{
    if (sodium_init() < 0)
        abort();
}

/* libsodium's secret key is the seed and the public key behind it. */
static void expand(const struct sign_key *key, uint8_t ret[static crypto_sign_SECRETKEYBYTES])
{
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    (void)crypto_sign_seed_keypair(public_key, ret, key->seed);
}

void sign_key_new(struct sign_key *ret)
{
    uint8_t seed[SIGN_SEED_BYTES];
    clock_random(seed, sizeof seed);
    sign_key_from_seed(seed, ret);
    sodium_memzero(seed, sizeof seed);
}

void sign_key_from_seed(const uint8_t seed[static SIGN_SEED_BYTES], struct sign_key *ret)
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    start_sodium();
    memmove(ret->seed, seed, SIGN_SEED_BYTES);
    (void)crypto_sign_seed_keypair(ret->public_key, secret, ret->seed);
    sodium_memzero(secret, sizeof secret);
}

enum err_code sign_key_save(const struct sign_key *key, const char *path, struct err *err)
{
    char text[SEED_HEX + 1];
    str_hex(bytes_of(key->seed, SIGN_SEED_BYTES), text);
    text[SEED_HEX - 1] = '\n';
    enum err_code code = file_replace(path, bytes_of(text, SEED_HEX), 0600, err);
    sodium_memzero(text, sizeof text);
    return code;
}

static enum err_code parse_seed(const char *text, size_t len, const char *path, uint8_t *ret_seed,
                                struct err *err)
{
    char hex[SEED_HEX] = "";
    size_t digits = SEED_HEX - 1;
    bool form = len == digits || (len == digits + 1 && text[digits] == '\n');
    if (form)
        memcpy(hex, text, digits);
    enum err_code code = str_unhex(hex, ret_seed, SIGN_SEED_BYTES);
    sodium_memzero(hex, sizeof hex);
    if (code == ERR_OK)
        return ERR_OK;
    return err_set(err, ERR_MALFORMED, "%s is no key file: it must hold 64 hexadecimal digits",
                   path);
}

enum err_code sign_key_load(const char *path, struct sign_key *ret, struct err *err)
{
    char text[KEY_FILE_MAX_BYTES];
    size_t len = 0;
    uint8_t seed[SIGN_SEED_BYTES];
    enum err_code code = file_read_secret(path, text, sizeof text, &len, err);
    if (code == ERR_OK)
        code = parse_seed(text, len, path, seed, err);
    if (code == ERR_OK)
        sign_key_from_seed(seed, ret);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(text, sizeof text);
    return code;
}

void sign_key_wipe(struct sign_key *key)
{
    sodium_memzero(key->seed, sizeof key->seed);
}

void sign_key_id(const uint8_t public_key[static SIGN_PUBLIC_BYTES], char ret[static 17])
{
    uint8_t digest[DIGEST_BYTES];
    hash_bytes(bytes_of(public_key, SIGN_PUBLIC_BYTES), digest);
    str_hex(bytes_of(digest, 8), ret);
}

bool sign_public_key_usable(const uint8_t public_key[static SIGN_PUBLIC_BYTES])
{
    /* On the curve, canonical, in the main subgroup and not of small order. */
    start_sodium();
    return crypto_core_ed25519_is_valid_point(public_key) == 1;
}

enum err_code sign_pae(const char *type, struct bytes payload, struct arena *arena,
                       struct bytes *ret, struct err *err)
{
    char *head = arena_printf(arena, "DSSEv1 %zu %s %zu ", strlen(type), type, payload.len);
    size_t head_len = head ? strlen(head) : 0;
    uint8_t *pae = head ? arena_alloc(arena, head_len + payload.len) : NULL;
    if (!pae)
        return err_set(err, ERR_SIZE, "a payload of %zu bytes is too large to sign", payload.len);
    memcpy(pae, head, head_len);
    if (payload.len)
        memcpy(pae + head_len, payload.ptr, payload.len);
    *ret = bytes_of(pae, head_len + payload.len);
    return ERR_OK;
}

static enum err_code sign_one(struct bytes pae, const struct sign_key *key, struct arena *arena,
                              struct signature *ret, struct err *err)
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint8_t *sig = arena_alloc(arena, SIGN_SIGNATURE_BYTES);
    char *id = arena_alloc(arena, 17);
    if (!sig || !id)
        return err_set(err, ERR_SIZE, "no room for the signatures");
    expand(key, secret);
    (void)crypto_sign_detached(sig, NULL, pae.ptr, pae.len, secret);
    sodium_memzero(secret, sizeof secret);
    sign_key_id(key->public_key, id);
    *ret = (struct signature){.sig = bytes_of(sig, SIGN_SIGNATURE_BYTES), .keyid = id};
    return ERR_OK;
}

enum err_code sign_seal(const char *type, struct bytes payload, const struct sign_key *keys,
                        size_t keys_len, struct arena *arena, struct bytes *ret, struct err *err)
{
    struct signature signatures[SIGN_SIGNATURES_MAX] = {0};
    struct bytes pae;
    if (keys_len > SIGN_SIGNATURES_MAX)
        return err_set(err, ERR_FULL, "at most %d signatures", SIGN_SIGNATURES_MAX);
    start_sodium();
    enum err_code code = sign_pae(type, payload, arena, &pae, err);
    for (size_t i = 0; code == ERR_OK && i < keys_len; i++)
        code = sign_one(pae, &keys[i], arena, &signatures[i], err);
    if (code != ERR_OK)
        return code;
    struct envelope envelope = {
        .payload = payload,
        .payload_type = type,
        .signatures = signatures,
        .signatures_len = keys_len,
    };
    return codec_encode(&codec_envelope, &envelope, arena, ret, err);
}

static bool verifies(const uint8_t *key, struct bytes message, struct bytes signature)
{
    return signature.len == SIGN_SIGNATURE_BYTES &&
           crypto_sign_verify_detached(signature.ptr, message.ptr, message.len, key) == 0;
}

bool sign_verify(const uint8_t public_key[static SIGN_PUBLIC_BYTES], struct bytes message,
                 struct bytes signature)
{
    return sign_public_key_usable(public_key) && verifies(public_key, message, signature);
}

/* The key ids are not looked at: a signature counts for the key that verifies it. */
static bool key_signed(const uint8_t *key, struct bytes pae, const struct envelope *envelope)
{
    if (!sign_public_key_usable(key))
        return false;
    for (size_t i = 0; i < envelope->signatures_len; i++)
        if (verifies(key, pae, envelope->signatures[i].sig))
            return true;
    return false;
}

static bool key_is_repeated(const struct sign_role *role, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (memcmp(role->keys[i], role->keys[index], SIGN_PUBLIC_BYTES) == 0)
            return true;
    return false;
}

static enum err_code check_signatures(const struct envelope *envelope, const struct sign_role *role,
                                      struct bytes pae, struct err *err)
{
    size_t signers = 0;
    for (size_t i = 0; i < role->keys_len && (signers == 0 || signers < role->threshold); i++)
        if (!key_is_repeated(role, i) && key_signed(role->keys[i], pae, envelope))
            signers++;
    if (signers == 0)
        return err_set(err, ERR_BAD_SIGNATURE,
                       "none of the %zu signatures is of a key that may sign this",
                       envelope->signatures_len);
    if (role->threshold == 0 || signers < role->threshold)
        return err_set(err, ERR_THRESHOLD, "signed by %zu of the keys that may, %u are needed",
                       signers, role->threshold);
    return ERR_OK;
}

static enum err_code check_form(const struct envelope *envelope, const char *type, struct err *err)
{
    if (envelope->signatures_len > SIGN_SIGNATURES_MAX)
        return err_set(err, ERR_MALFORMED, "%zu signatures, at most %d are allowed",
                       envelope->signatures_len, SIGN_SIGNATURES_MAX);
    if (!str_equal(envelope->payload_type, type))
        return err_set(err, ERR_MALFORMED, "the document is of type \"%.100s\", not \"%s\"",
                       envelope->payload_type, type);
    return ERR_OK;
}

enum err_code sign_open(const char *type, size_t max_bytes, struct bytes bytes,
                        const struct sign_role *role, struct arena *arena,
                        struct bytes *ret_payload, struct err *err)
{
    struct envelope envelope;
    struct bytes pae;
    if (bytes.len > max_bytes)
        return err_set(err, ERR_SIZE, "the document has %zu bytes, at most %zu are allowed",
                       bytes.len, max_bytes);
    start_sodium();
    enum err_code code = codec_decode(&codec_envelope, bytes, arena, &envelope, err);
    if (code == ERR_OK)
        code = check_form(&envelope, type, err);
    if (code == ERR_OK)
        code = sign_pae(type, envelope.payload, arena, &pae, err);
    if (code == ERR_OK)
        code = check_signatures(&envelope, role, pae, err);
    if (code != ERR_OK)
        return code;
    /* Inside the verified bytes: what is handed out is what was checked. */
    *ret_payload = bytes_of(pae.ptr + pae.len - envelope.payload.len, envelope.payload.len);
    return ERR_OK;
}

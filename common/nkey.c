/* SPDX-License-Identifier: Apache-2.0 */
#include "common/nkey.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/base32.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"

enum {
    PUBLIC_RAW = 1 + SIGN_PUBLIC_BYTES + 2,
    SEED_RAW = 2 + SIGN_SEED_BYTES + 2,
    SEED_PREFIX = 0x90,
    CLAIMS_MAX_BYTES = NKEY_JWT_MAX_BYTES / 4 * 3,
    HEADER_MAX_BYTES = 128,
    RESPONSE_TTL_S = 5,
};
#define HEADER "{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}"

static void json_unref(json_t **json)
{
    json_decref(*json);
}

/* ---- keys as text ---- */

/* CRC-16/XMODEM: polynomial 0x1021, start 0. */
static uint16_t crc16(const uint8_t *data, size_t len)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint32_t)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000) ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
    }
    return (uint16_t)crc;
}

/* Puts the checksum behind the first len - 2 bytes and writes all of it as text. */
static void encode(uint8_t *raw, size_t len, char *ret)
{
    uint16_t crc = crc16(raw, len - 2);
    raw[len - 2] = (uint8_t)(crc & 0xff);
    raw[len - 1] = (uint8_t)(crc >> 8);
    base32_encode(bytes_of(raw, len), ret);
}

static bool decode(const char *text, uint8_t *ret, size_t len)
{
    if (!base32_decode(text, ret, len))
        return false;
    uint16_t crc = crc16(ret, len - 2);
    return ret[len - 2] == (crc & 0xff) && ret[len - 1] == crc >> 8;
}

/* The letter that the text of a key of this kind begins with. */
static char letter_of(enum nkey_kind kind)
{
    return kind == NKEY_OPERATOR ? 'O' : kind == NKEY_ACCOUNT ? 'A' : 'U';
}

void nkey_public_text(enum nkey_kind kind, const uint8_t public_key[static SIGN_PUBLIC_BYTES],
                      char ret[static NKEY_TEXT])
{
    uint8_t raw[PUBLIC_RAW] = {(uint8_t)kind};
    memcpy(raw + 1, public_key, SIGN_PUBLIC_BYTES);
    encode(raw, sizeof raw, ret);
}

void nkey_seed_text(enum nkey_kind kind, const uint8_t seed[static SIGN_SEED_BYTES],
                    char ret[static NKEY_SEED_TEXT])
{
    uint8_t raw[SEED_RAW] = {(uint8_t)(SEED_PREFIX | kind >> 5), (uint8_t)((kind & 31) << 3)};
    memcpy(raw + 2, seed, SIGN_SEED_BYTES);
    encode(raw, sizeof raw, ret);
    sodium_memzero(raw, sizeof raw);
}

enum err_code nkey_parse_public(enum nkey_kind kind, const char *text,
                                uint8_t ret[static SIGN_PUBLIC_BYTES], struct err *err)
{
    uint8_t raw[PUBLIC_RAW];
    if (!decode(text, raw, sizeof raw))
        return err_set(
            err, ERR_MALFORMED,
            "no public nkey: it must be 56 characters of A-Z and 2-7 that hold their own "
            "checksum");
    if (raw[0] != kind)
        return err_set(err, ERR_MALFORMED, "the public nkey is of another kind than %c...",
                       letter_of(kind));
    memcpy(ret, raw + 1, SIGN_PUBLIC_BYTES);
    return ERR_OK;
}

static enum err_code seed_of(enum nkey_kind kind, const uint8_t raw[static SEED_RAW],
                             struct sign_key *ret, struct err *err)
{
    if (raw[0] != (SEED_PREFIX | kind >> 5) || raw[1] != (kind & 31) << 3)
        return err_set(err, ERR_MALFORMED, "the nkey seed is of another kind than S%c...",
                       letter_of(kind));
    sign_key_from_seed(raw + 2, ret);
    return ERR_OK;
}

enum err_code nkey_parse_seed(enum nkey_kind kind, const char *text, struct sign_key *ret,
                              struct err *err)
{
    uint8_t raw[SEED_RAW];
    enum err_code code =
        decode(text, raw, sizeof raw)
            ? seed_of(kind, raw, ret, err)
            : err_set(err, ERR_MALFORMED,
                      "no nkey seed: it must be 58 characters of A-Z and 2-7 that hold their own "
                      "checksum");
    sodium_memzero(raw, sizeof raw);
    return code;
}

enum err_code nkey_save(enum nkey_kind kind, const struct sign_key *key, const char *path,
                        struct err *err)
{
    char text[NKEY_SEED_TEXT];
    nkey_seed_text(kind, key->seed, text);
    text[NKEY_SEED_TEXT - 1] = '\n';
    enum err_code code = file_replace(path, bytes_of(text, sizeof text), 0600, err);
    sodium_memzero(text, sizeof text);
    return code;
}

enum err_code nkey_load(enum nkey_kind kind, const char *path, struct sign_key *ret,
                        struct err *err)
{
    char text[NKEY_SEED_TEXT + 1];
    size_t len = 0;
    enum err_code code = file_read_secret(path, text, sizeof text, &len, err);
    if (code == ERR_OK) {
        if (len > 0 && text[len - 1] == '\n')
            text[len - 1] = '\0';
        code = nkey_parse_seed(kind, text, ret, err);
        if (code != ERR_OK)
            (void)err_wrap(err, "%s", path);
    }
    sodium_memzero(text, sizeof text);
    return code;
}

/* ---- minting ---- */

/* Takes value. False when it could not be made (text that is not UTF-8). */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool put_key(json_t *object, const char *name, enum nkey_kind kind, const uint8_t *key)
{
    char text[NKEY_TEXT];
    nkey_public_text(kind, key, text);
    return put(object, name, json_string(text));
}

static bool put_texts(json_t *object, const char *name, const char *const *list, size_t len)
{
    json_t *array = json_array();
    bool ok = len <= NKEY_LIST_MAX;
    for (size_t i = 0; ok && i < len; i++)
        ok = json_array_append_new(array, json_string(list[i])) == 0;
    return put(object, name, array) && ok;
}

/* A list that allows nothing must say so: an empty one would allow everything. */
static bool put_subjects(json_t *object, const char *name, const char *const *list, size_t len)
{
    static const char *const everything[] = {">"};
    json_t *rule = json_object();
    bool ok =
        len > 0 ? put_texts(rule, "allow", list, len) : put_texts(rule, "deny", everything, 1);
    return put(object, name, rule) && ok;
}

static bool put_limits(json_t *object, int64_t subs, int64_t data, int64_t payload)
{
    return put(object, "subs", json_integer(subs)) && put(object, "data", json_integer(data)) &&
           put(object, "payload", json_integer(payload));
}

static bool put_permissions(json_t *object, const struct nkey_permissions *permissions)
{
    bool ok = put_subjects(object, "pub", permissions->publish, permissions->publish_len) &&
              put_subjects(object, "sub", permissions->subscribe, permissions->subscribe_len) &&
              put_limits(object, permissions->subs, -1, permissions->payload);
    if (!ok || permissions->responses == 0)
        return ok;
    return put(object, "resp",
               json_pack("{s:i,s:I}", "max", (int)permissions->responses, "ttl",
                         (json_int_t)RESPONSE_TTL_S * 1000000000));
}

/* json is the claims without jti, which becomes a digest of them. */
static enum err_code sign_claims(json_t *json, const struct sign_key *signer, struct arena *arena,
                                 const char **ret, struct err *err)
{
    uint8_t digest[DIGEST_BYTES], public_key[SIGN_PUBLIC_BYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES], signature[SIGN_SIGNATURE_BYTES];
    char id[DIGEST_HEX], header[HEADER_MAX_BYTES], tail[HEADER_MAX_BYTES];
    const size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER;
    char *bare = json_dumps(json, flags);
    if (!bare)
        return err_set(err, ERR_MALFORMED, "claims that are not UTF-8 or too deep");
    hash_bytes(bytes_of(bare, strlen(bare)), digest);
    free(bare);
    str_hex(bytes_of(digest, sizeof digest), id);
    char *text = put(json, "jti", json_string(id)) ? json_dumps(json, flags) : NULL;
    size_t len = text ? strlen(text) : 0;
    size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *body =
        text && len <= CLAIMS_MAX_BYTES - HEADER_MAX_BYTES ? arena_alloc(arena, room) : NULL;
    if (body)
        (void)sodium_bin2base64(body, room, (const uint8_t *)text, len,
                                sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    free(text);
    if (!body)
        return err_set(err, ERR_SIZE, "%zu bytes of claims are too many", len);
    (void)sodium_bin2base64(header, sizeof header, (const uint8_t *)HEADER, strlen(HEADER),
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *head = arena_printf(arena, "%s.%s", header, body);
    if (!head)
        return err_set(err, ERR_SIZE, "no room for the JWT");
    (void)crypto_sign_seed_keypair(public_key, secret, signer->seed);
    (void)crypto_sign_detached(signature, NULL, (const uint8_t *)head, strlen(head), secret);
    sodium_memzero(secret, sizeof secret);
    (void)sodium_bin2base64(tail, sizeof tail, signature, sizeof signature,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    *ret = arena_printf(arena, "%s.%s", head, tail);
    return *ret ? ERR_OK : err_set(err, ERR_SIZE, "no room for the JWT");
}

struct minting {
    enum nkey_kind issuer;
    const struct sign_key *signer;
    enum nkey_kind kind;
    const uint8_t *key;
    const char *name;
    int64_t issued_s, expires_s;
};

/* Takes nats; ok: everything before could be put. */
static enum err_code mint(const struct minting *minting, json_t *nats, bool ok, struct arena *arena,
                          const char **ret, struct err *err)
{
    json_t *json DEFER(json_unref) = json_object();
    const char *type = minting->kind == NKEY_OPERATOR  ? "operator"
                       : minting->kind == NKEY_ACCOUNT ? "account"
                                                       : "user";
    ok = put(nats, "type", json_string(type)) && put(nats, "version", json_integer(2)) && ok;
    ok = put(json, "iat", json_integer(minting->issued_s)) && ok;
    if (minting->expires_s > 0)
        ok = put(json, "exp", json_integer(minting->expires_s)) && ok;
    ok = put_key(json, "iss", minting->issuer, minting->signer->public_key) && ok;
    ok = put_key(json, "sub", minting->kind, minting->key) && ok;
    ok = put(json, "name", json_string(minting->name)) && ok;
    ok = put(json, "nats", nats) && ok;
    if (!ok)
        return err_set(
            err, ERR_MALFORMED,
            "the claims of %s \"%.64s\" hold a list of more than %d entries, or text that "
            "is not UTF-8",
            type, minting->name ? minting->name : "", NKEY_LIST_MAX);
    return sign_claims(json, minting->signer, arena, ret, err);
}

enum err_code nkey_mint_operator(const struct nkey_operator_claims *claims,
                                 const struct sign_key *operator_key, int64_t issued_s,
                                 struct arena *arena, const char **ret, struct err *err)
{
    json_t *nats = json_object(), *keys = json_array();
    bool ok = claims->signing_keys_len <= NKEY_LIST_MAX;
    for (size_t i = 0; ok && i < claims->signing_keys_len; i++) {
        char text[NKEY_TEXT];
        nkey_public_text(NKEY_OPERATOR, claims->signing_keys[i], text);
        ok = json_array_append_new(keys, json_string(text)) == 0;
    }
    ok = put(nats, "signing_keys", keys) && ok;
    ok = put_key(nats, "system_account", NKEY_ACCOUNT, claims->system_account) && ok;
    struct minting minting = {NKEY_OPERATOR,
                              operator_key,
                              NKEY_OPERATOR,
                              operator_key->public_key,
                              claims->name,
                              issued_s,
                              0};
    return mint(&minting, nats, ok, arena, ret, err);
}

/* Every limit is written: one that is missing counts as 0, which denies. */
static bool put_account_limits(json_t *nats, bool jetstream)
{
    json_t *limits =
        json_pack("{s:i,s:i,s:i,s:i,s:i,s:b,s:i,s:i}", "subs", -1, "data", -1, "payload", -1,
                  "imports", -1, "exports", -1, "wildcards", 1, "conn", -1, "leaf", -1);
    if (limits && jetstream &&
        json_object_update_new(limits, json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:b}", "mem_storage",
                                                 -1, "disk_storage", -1, "streams", -1, "consumer",
                                                 -1, "max_ack_pending", -1, "mem_max_stream_bytes",
                                                 -1, "disk_max_stream_bytes", -1,
                                                 "max_bytes_required", 0)) != 0)
        return false;
    return put(nats, "limits", limits);
}

/* What the system account shows to others: each account its own events. */
static json_t *account_events_export(void)
{
    return json_pack("{s:s,s:s,s:s,s:i}", "name", "account-events", "subject", "$SYS.ACCOUNT.*.>",
                     "type", "stream", "account_token_position", 3);
}

static json_t *account_events_import(const struct nkey_account_claims *claims)
{
    char own[NKEY_TEXT], system[NKEY_TEXT], events[NKEY_TEXT + 32];
    nkey_public_text(NKEY_ACCOUNT, claims->key, own);
    nkey_public_text(NKEY_ACCOUNT, claims->system_account, system);
    (void)snprintf(events, sizeof events, "$SYS.ACCOUNT.%s.>", own);
    return json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", "account-events", "subject", events,
                     "account", system, "local_subject", "presence.>", "type", "stream");
}

/* An import when it names whose it is. */
static json_t *share_json(const struct nkey_share *share)
{
    char account[NKEY_TEXT];
    json_t *json = json_pack("{s:s,s:s,s:s}", "name", share->subject, "subject", share->subject,
                             "type", share->service ? "service" : "stream");
    if (!share->account)
        return json;
    nkey_public_text(NKEY_ACCOUNT, share->account, account);
    (void)json_object_set_new(json, "account", json_string(account));
    return json;
}

/* Takes first, which may be NULL. */
static bool put_shares(json_t *nats, const char *name, json_t *first,
                       const struct nkey_share *shares, size_t len)
{
    json_t *list = json_array();
    bool ok = !first || json_array_append_new(list, first) == 0;
    for (size_t i = 0; ok && i < len; i++)
        ok = json_array_append_new(list, share_json(&shares[i])) == 0;
    return put(nats, name, list) && ok;
}

static bool append_scope(json_t *keys, const struct nkey_scope *scope)
{
    char text[NKEY_TEXT];
    nkey_public_text(NKEY_ACCOUNT, scope->key, text);
    if (!scope->permissions)
        return json_array_append_new(keys, json_string(text)) == 0;
    json_t *one = json_object(), *template = json_object();
    bool ok = put_permissions(template, scope->permissions);
    ok = put(one, "kind", json_string("user_scope")) && ok;
    ok = put(one, "key", json_string(text)) && ok;
    ok = put(one, "role", json_string(scope->role)) && ok;
    ok = put(one, "template", template) && ok;
    return json_array_append_new(keys, one) == 0 && ok;
}

static bool put_scopes(json_t *nats, const struct nkey_account_claims *claims)
{
    json_t *keys = json_array();
    bool ok = claims->scopes_len <= NKEY_LIST_MAX;
    for (size_t i = 0; ok && i < claims->scopes_len; i++)
        ok = append_scope(keys, &claims->scopes[i]);
    return put(nats, "signing_keys", keys) && ok;
}

static bool put_revocations(json_t *nats, const struct nkey_account_claims *claims)
{
    json_t *list = json_object();
    bool ok = true;
    for (size_t i = 0; ok && i < claims->revocations_len; i++) {
        char text[NKEY_TEXT];
        nkey_public_text(NKEY_USER, claims->revocations[i].key, text);
        ok = put(list, text, json_integer(claims->revocations[i].at_s));
    }
    return put(nats, "revocations", list) && ok;
}

enum err_code nkey_mint_account(const struct nkey_account_claims *claims,
                                const struct sign_key *operator_key, int64_t issued_s,
                                struct arena *arena, const char **ret, struct err *err)
{
    json_t *nats = json_object();
    bool ok = put_account_limits(nats, claims->jetstream);
    json_t *exported = claims->system ? account_events_export() : NULL;
    json_t *imported = claims->system_account ? account_events_import(claims) : NULL;
    ok = put_shares(nats, "exports", exported, claims->exports, claims->exports_len) && ok;
    ok = put_shares(nats, "imports", imported, claims->imports, claims->imports_len) && ok;
    ok = put_scopes(nats, claims) && ok;
    ok = put_revocations(nats, claims) && ok;
    struct minting minting = {
        NKEY_OPERATOR, operator_key, NKEY_ACCOUNT, claims->key, claims->name, issued_s, 0};
    return mint(&minting, nats, ok, arena, ret, err);
}

/* A scoped user must have nothing of its own, or the server refuses it. */
static bool put_user_rights(json_t *nats, const struct nkey_user_claims *claims)
{
    if (claims->permissions)
        return put_permissions(nats, claims->permissions);
    int64_t limit = claims->scoped ? 0 : -1;
    return put(nats, "pub", json_object()) && put(nats, "sub", json_object()) &&
           put_limits(nats, limit, limit, limit);
}

enum err_code nkey_mint_user(const struct nkey_user_claims *claims, const struct sign_key *signer,
                             int64_t issued_s, struct arena *arena, const char **ret,
                             struct err *err)
{
    json_t *nats = json_object();
    const char *jwt = NULL;
    bool ok = put_user_rights(nats, claims);
    ok = put_key(nats, "issuer_account", NKEY_ACCOUNT, claims->account) && ok;
    if (claims->tags_len > 0)
        ok = put_texts(nats, "tags", claims->tags, claims->tags_len) && ok;
    struct minting minting = {NKEY_ACCOUNT, signer,   NKEY_USER,        claims->key,
                              claims->name, issued_s, claims->expires_s};
    enum err_code code = mint(&minting, nats, ok, arena, &jwt, err);
    if (code != ERR_OK)
        return code;
    if (strlen(jwt) > NKEY_USER_JWT_MAX_BYTES)
        return err_set(err, ERR_SIZE,
                       "the JWT of user \"%.64s\" has %zu bytes, at most %d fit into "
                       "a CONNECT line",
                       claims->name, strlen(jwt), NKEY_USER_JWT_MAX_BYTES);
    *ret = jwt;
    return ERR_OK;
}

/* ---- reading ---- */

static enum err_code bad_jwt(struct err *err, const char *what)
{
    return err_set(err, ERR_MALFORMED, "no user JWT: %s", what);
}

/* One part of len characters, into the arena with a NUL behind it. */
static bool unbase64(const char *text, size_t len, struct arena *arena, struct bytes *ret)
{
    size_t room = len / 4 * 3 + 3, got = 0;
    uint8_t *data = arena_alloc(arena, room + 1);
    if (!data || sodium_base642bin(data, room, text, len, NULL, &got, NULL,
                                   sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return false;
    *ret = bytes_of(data, got);
    return true;
}

static const char *text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static bool key_of(const json_t *object, const char *name, enum nkey_kind kind,
                   char ret[static NKEY_TEXT], uint8_t ret_key[static SIGN_PUBLIC_BYTES])
{
    const char *text = text_of(object, name);
    return text && nkey_parse_public(kind, text, ret_key, NULL) == ERR_OK &&
           str_copy(ret, NKEY_TEXT, text) == ERR_OK;
}

static bool time_of(const json_t *object, const char *key, bool needed, int64_t *ret)
{
    const json_t *value = json_object_get(object, key);
    *ret = json_integer_value(value);
    return value ? json_is_integer(value) && *ret >= 0 : !needed;
}

static enum err_code read_claims(const json_t *json, struct arena *arena, struct nkey_user *ret,
                                 uint8_t ret_issuer[static SIGN_PUBLIC_BYTES], struct err *err)
{
    uint8_t key[SIGN_PUBLIC_BYTES];
    const json_t *nats = json_object_get(json, "nats");
    const char *name = text_of(json, "name");
    if (!key_of(json, "iss", NKEY_ACCOUNT, ret->issuer, ret_issuer))
        return bad_jwt(err, "\"iss\" is no account's key");
    if (!key_of(json, "sub", NKEY_USER, ret->subject, key))
        return bad_jwt(err, "\"sub\" is no user's key");
    if (!str_equal(text_of(nats, "type"), "user"))
        return bad_jwt(err, "it is of another type");
    if (json_object_get(nats, "issuer_account") &&
        !key_of(nats, "issuer_account", NKEY_ACCOUNT, ret->account, key))
        return bad_jwt(err, "\"issuer_account\" is no account's key");
    if (!time_of(json, "iat", true, &ret->issued_s) ||
        !time_of(json, "exp", false, &ret->expires_s))
        return bad_jwt(err, "\"iat\" or \"exp\" is no time");
    ret->name = name ? arena_strdup(arena, name) : NULL;
    return ret->name ? ERR_OK : bad_jwt(err, "\"name\" is missing");
}

static bool signature_holds(const char *jwt, size_t signed_len, struct arena *arena,
                            const uint8_t issuer[static SIGN_PUBLIC_BYTES])
{
    struct bytes signature;
    const char *text = jwt + signed_len + 1;
    return unbase64(text, strlen(text), arena, &signature) &&
           signature.len == SIGN_SIGNATURE_BYTES && sign_public_key_usable(issuer) &&
           crypto_sign_verify_detached(signature.ptr, (const uint8_t *)jwt, signed_len, issuer) ==
               0;
}

enum err_code nkey_read_user(const char *jwt, struct arena *arena, struct nkey_user *ret,
                             struct err *err)
{
    struct nkey_user user = {0};
    struct bytes header, claims;
    uint8_t issuer[SIGN_PUBLIC_BYTES];
    if (strnlen(jwt, NKEY_USER_JWT_MAX_BYTES + 1) > NKEY_USER_JWT_MAX_BYTES)
        return err_set(err, ERR_SIZE, "a user's JWT has at most %d bytes", NKEY_USER_JWT_MAX_BYTES);
    const char *first = strchr(jwt, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    if (!second || strchr(second + 1, '.'))
        return bad_jwt(err, "it is not three parts with dots between");
    if (!unbase64(jwt, (size_t)(first - jwt), arena, &header) ||
        !bytes_equal(header, bytes_of(HEADER, strlen(HEADER))))
        return bad_jwt(err, "the header is not " HEADER);
    if (!unbase64(first + 1, (size_t)(second - first) - 1, arena, &claims))
        return bad_jwt(err, "the claims are not base64url");
    json_t *json DEFER(json_unref) =
        json_loadb((const char *)claims.ptr, claims.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json))
        return bad_jwt(err, "the claims are no JSON object");
    enum err_code code = read_claims(json, arena, &user, issuer, err);
    if (code != ERR_OK)
        return code;
    if (!signature_holds(jwt, (size_t)(second - jwt), arena, issuer))
        return err_set(err, ERR_BAD_SIGNATURE, "the JWT is not signed by its issuer");
    *ret = user;
    return ERR_OK;
}

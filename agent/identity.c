/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity.h"

#include <sodium.h>
#include <string.h>

#include "proto/codec.h"

enum { CREDS_ARENA_MAX_BYTES = 256 << 10 };

enum err_code identity_request(const struct identity_keys *keys, const struct identity_ask *ask,
                               struct arena *arena, struct bytes *ret, struct err *err)
{
    struct bytes payload;
    struct enrol_request request = {
        .tenant = ask->tenant,
        .site = ask->site,
        .device = ask->device,
        .token = ask->token ? ask->token->id : "",
        .device_key = bytes_of(keys->device.public_key, SIGN_PUBLIC_BYTES),
        .seal_key = bytes_of(keys->seal_public, IDENTITY_SEAL_BYTES),
        .nonce = bytes_of(ask->nonce, IDENTITY_NONCE_BYTES),
        .time_ms = ask->now_ms,
        .hardware = ask->hardware,
        .agent_version = CAPTAIN_VERSION,
    };
    struct sign_key signers[2] = {keys->device};
    size_t signers_len = 1;
    if (ask->token)
        signers[signers_len++] = ask->token->key;
    enum err_code code = codec_encode(&codec_enrol_request, &request, arena, &payload, err);
    if (code == ERR_OK)
        code = sign_seal(SIGN_TYPE_ENROL, payload, signers, signers_len, arena, ret, err);
    sodium_memzero(signers, sizeof signers);
    return code;
}

/* Name and times of a credential that says it is ours. */
static enum err_code check_jwt(const char *jwt, const struct identity_keys *keys,
                               struct arena *arena, struct identity_credential *ret,
                               struct err *err)
{
    enum { JWT_MAX_S = INT32_MAX };
    const int64_t far_s = (int64_t)JWT_MAX_S * 100;
    char own[NKEY_TEXT];
    struct nkey_user user;
    enum err_code code = nkey_read_user(jwt, arena, &user, err);
    if (code != ERR_OK)
        return err_wrap(err, "the credential");
    nkey_public_text(NKEY_USER, keys->device.public_key, own);
    if (!str_equal(user.subject, own))
        return err_set(err, ERR_WRONG_TARGET,
                       "the credential is of another key (%.8s..., not %.8s...)", user.subject,
                       own);
    if (user.issued_s < 0 || user.expires_s < 0 || user.issued_s > far_s || user.expires_s > far_s)
        return err_set(err, ERR_MALFORMED, "the credential names impossible times");
    if (str_copy(ret->name, sizeof ret->name, user.name) != ERR_OK)
        return err_set(err, ERR_MALFORMED, "the credential's name is too long");
    ret->issued_ms = user.issued_s * 1000;
    ret->expires_ms = user.expires_s * 1000;
    return ERR_OK;
}

static enum err_code open_grant(const struct identity_keys *keys, struct bytes sealed,
                                struct arena *arena, struct enrol_grant *ret, struct err *err)
{
    if (sealed.len <= crypto_box_SEALBYTES)
        return err_set(err, ERR_MALFORMED, "captain's grant is empty");
    size_t len = sealed.len - crypto_box_SEALBYTES;
    uint8_t *plain = arena_alloc(arena, len);
    if (!plain)
        return err_set(err, ERR_SIZE, "captain's grant is too large");
    if (crypto_box_seal_open(plain, sealed.ptr, sealed.len, keys->seal_public, keys->seal_secret) !=
        0)
        return err_set(err, ERR_WRONG_TARGET, "captain's grant is not sealed to this device");
    return codec_decode(&codec_enrol_grant, bytes_of(plain, len), arena, ret, err);
}

static enum err_code take_grant(const struct identity_keys *keys,
                                const uint8_t nonce[static IDENTITY_NONCE_BYTES],
                                struct bytes sealed, struct arena *arena,
                                struct identity_reply *ret, struct err *err)
{
    struct enrol_grant grant;
    enum err_code code = open_grant(keys, sealed, arena, &grant, err);
    if (code != ERR_OK)
        return code;
    if (!bytes_equal(grant.nonce, bytes_of(nonce, IDENTITY_NONCE_BYTES)))
        return err_set(err, ERR_WRONG_TARGET, "captain's grant answers another request");
    ret->jwt = grant.jwt;
    ret->urls = grant.urls;
    ret->urls_len = grant.urls_len;
    return check_jwt(grant.jwt, keys, arena, &ret->credential, err);
}

/* What captain may refuse with; anything else is a plain no. */
static enum err_code refusal_code(uint32_t code)
{
    bool known = code == ERR_NOT_FOUND || code == ERR_CONFLICT || code == ERR_EXPIRED ||
                 code == ERR_WRONG_TARGET || code == ERR_REVOKED || code == ERR_BAD_SIGNATURE ||
                 code == ERR_THRESHOLD || code == ERR_MALFORMED || code == ERR_FULL;
    return known ? (enum err_code)code : ERR_DENIED;
}

enum err_code identity_open_reply(const struct identity_keys *keys,
                                  const uint8_t nonce[static IDENTITY_NONCE_BYTES], struct bytes in,
                                  struct arena *arena, struct identity_reply *ret, struct err *err)
{
    struct enrol_reply reply;
    enum err_code code = codec_decode(&codec_enrol_reply, in, arena, &reply, err);
    if (code != ERR_OK)
        return err_wrap(err, "captain's answer");
    if (!bytes_equal(reply.nonce, bytes_of(nonce, IDENTITY_NONCE_BYTES)))
        return err_set(err, ERR_WRONG_TARGET, "captain's answer answers another request");
    if (reply.state < IDENTITY_REFUSED || reply.state > IDENTITY_GRANTED)
        return err_set(err, ERR_MALFORMED, "captain's answer has the unknown state %u",
                       (unsigned)reply.state);
    struct identity_reply taken = {
        .state = (enum identity_state)reply.state,
        .retry_ms = reply.retry_ms,
        .code = reply.state == IDENTITY_REFUSED ? refusal_code(reply.code) : ERR_OK,
        .reason = reply.reason[0] ? reply.reason : "captain gives no reason",
    };
    if (taken.state == IDENTITY_GRANTED &&
        (code = take_grant(keys, nonce, reply.sealed, arena, &taken, err)))
        return code;
    *ret = taken;
    return ERR_OK;
}

enum err_code identity_credential(const char *folder, const struct identity_keys *keys,
                                  struct identity_credential *ret, struct err *err)
{
    char path[IDENTITY_PATH_MAX];
    struct arena arena;
    struct sign_key user;
    const char *jwt;
    arena_init(&arena, CREDS_ARENA_MAX_BYTES);
    identity_files_path(folder, IDENTITY_DEVICE_CREDS, path);
    enum err_code code = nkey_read_creds(path, &arena, &jwt, &user, err);
    if (code == ERR_OK) {
        sign_key_wipe(&user);
        code = check_jwt(jwt, keys, &arena, ret, err);
    }
    arena_fini(&arena);
    return code;
}

enum err_code identity_keep(const char *folder, const struct identity_keys *keys,
                            const struct identity_reply *reply, const char *tenant, struct err *err)
{
    char path[IDENTITY_PATH_MAX];
    identity_files_path(folder, IDENTITY_DEVICE_CREDS, path);
    enum err_code code =
        reply->urls_len > 0
            ? identity_files_write_nats(folder, reply->urls, reply->urls_len, tenant, err)
            : ERR_OK;
    return code ? code : nkey_write_creds(path, reply->jwt, &keys->device, err);
}

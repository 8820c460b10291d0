/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/enrol_request.h"

#include <sodium.h>
#include <string.h>

#include "proto/codec.h"

static enum err_code too_large(struct err *err)
{
    return err_set(err, ERR_SIZE, "the request takes too much memory");
}

static enum err_code read_envelope(struct bytes bytes, struct arena *arena, struct envelope *ret,
                                   struct err *err)
{
    if (bytes.len > ENROL_MAX_BYTES)
        return err_set(err, ERR_SIZE, "the request has %zu bytes, at most %d are allowed",
                       bytes.len, ENROL_MAX_BYTES);
    const enum err_code code = codec_decode(&codec_envelope, bytes, arena, ret, err);
    if (code != ERR_OK)
        return code;
    if (!str_equal(ret->payload_type, SIGN_TYPE_ENROL))
        return err_set(err, ERR_MALFORMED, "the request is of another type");
    if (ret->signatures_len > ENROL_SIGNATURES_MAX)
        return err_set(err, ERR_MALFORMED, "%zu signatures, at most %d are allowed",
                       ret->signatures_len, ENROL_SIGNATURES_MAX);
    return ERR_OK;
}

/* One check of one signature: the envelope with that signature alone. */
static enum err_code check(const struct envelope *envelope,
                           const uint8_t key[static SIGN_PUBLIC_BYTES], const char *whose,
                           struct arena *arena, struct bytes *ret_payload, struct err *err)
{
    const struct sign_role role = {(const uint8_t(*)[SIGN_PUBLIC_BYTES])key, 1, 1};
    struct envelope alone = *envelope;
    struct bytes bytes;
    char id[17];
    size_t i = 0;
    sign_key_id(key, id);
    while (i < envelope->signatures_len && !str_equal(envelope->signatures[i].keyid, id))
        i++;
    if (i == envelope->signatures_len)
        return err_set(err, ERR_BAD_SIGNATURE, "the request is not signed by %s key", whose);
    alone.signatures = &envelope->signatures[i];
    alone.signatures_len = 1;
    enum err_code code = codec_encode(&codec_envelope, &alone, arena, &bytes, err);
    if (code == ERR_OK)
        code = sign_open(SIGN_TYPE_ENROL, ENROL_MAX_BYTES, bytes, &role, arena, ret_payload, err);
    return code == ERR_OK ? code : err_wrap(err, "%s key", whose);
}

enum err_code enrol_request_read(struct bytes bytes, struct arena *arena, struct enrol_request *ret,
                                 struct err *err)
{
    struct envelope envelope;
    struct bytes payload;
    struct enrol_request claimed;
    enum err_code code = read_envelope(bytes, arena, &envelope, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_enrol_request, envelope.payload, arena, &claimed, err);
    if (code != ERR_OK)
        return code;
    const uint8_t *key = arena_dup(arena, claimed.device_key.ptr, SIGN_PUBLIC_BYTES);
    if (!key)
        return too_large(err);
    code = check(&envelope, key, "the device's", arena, &payload, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_enrol_request, payload, arena, ret, err);
    return code;
}

enum err_code enrol_request_signed_by(struct bytes bytes,
                                      const uint8_t key[static SIGN_PUBLIC_BYTES],
                                      struct arena *arena, struct err *err)
{
    struct envelope envelope;
    struct bytes payload;
    const enum err_code code = read_envelope(bytes, arena, &envelope, err);
    return code ? code : check(&envelope, key, "the join token's", arena, &payload, err);
}

enum err_code enrol_request_seal(const struct enrol_request *request,
                                 const struct enrol_grant *grant, struct arena *arena,
                                 struct bytes *ret, struct err *err)
{
    struct bytes plain;
    const enum err_code code = codec_encode(&codec_enrol_grant, grant, arena, &plain, err);
    if (code != ERR_OK)
        return code;
    uint8_t *sealed = arena_alloc(arena, plain.len + crypto_box_SEALBYTES);
    if (!sealed)
        return too_large(err);
    if (crypto_box_seal(sealed, plain.ptr, plain.len, request->seal_key.ptr) != 0)
        return err_set(err, ERR_MALFORMED, "the request's X25519 key is none");
    *ret = bytes_of(sealed, plain.len + crypto_box_SEALBYTES);
    return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as captain's answer to an enrolment: as they come; as the grant inside an answer
 * that is sealed rightly; and as the credential inside a grant that is right otherwise. What is
 * taken carries the request's nonce and is a credential of this device's key.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity.h"
#include "proto/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t nonce[IDENTITY_NONCE_BYTES] = "nonce of a test";
static struct identity_keys keys;

static void must(bool fact)
{
    if (!fact)
        abort();
}

static void make_keys(void)
{
    static const uint8_t seed[SIGN_SEED_BYTES] = "the seed of a device in a test.";
    sign_key_from_seed(seed, &keys.device);
    memcpy(keys.seal_secret, seed, sizeof keys.seal_secret);
    must(crypto_scalarmult_base(keys.seal_public, keys.seal_secret) == 0);
}

static void take(struct bytes answer, struct arena *arena)
{
    char own[NKEY_TEXT];
    struct identity_reply reply;
    struct nkey_user user;
    struct err err = {.code = ERR_OK};
    if (identity_open_reply(&keys, nonce, answer, arena, &reply, &err) != ERR_OK) {
        must(err.code != ERR_OK && err.text[0]);
        return;
    }
    if (reply.state != IDENTITY_GRANTED)
        return;
    nkey_public_text(NKEY_USER, keys.device.public_key, own);
    must(nkey_read_user(reply.jwt, arena, &user, &err) == ERR_OK);
    must(str_equal(user.subject, own));
}

static void take_sealed(struct bytes grant, struct arena *arena)
{
    uint8_t *sealed = arena_alloc(arena, grant.len + crypto_box_SEALBYTES);
    struct bytes answer;
    if (!sealed || crypto_box_seal(sealed, grant.ptr, grant.len, keys.seal_public) != 0)
        return;
    struct enrol_reply reply = {.state = IDENTITY_GRANTED,
                                .sealed = bytes_of(sealed, grant.len + crypto_box_SEALBYTES),
                                .nonce = bytes_of(nonce, sizeof nonce)};
    if (codec_encode(&codec_enrol_reply, &reply, arena, &answer, NULL) == ERR_OK)
        take(answer, arena);
}

static void take_jwt(struct bytes text, struct arena *arena)
{
    char *jwt = arena_alloc(arena, text.len + 1);
    struct bytes grant;
    if (!jwt)
        return;
    if (text.len > 0)
        memcpy(jwt, text.ptr, text.len);
    struct enrol_grant granted = {.jwt = jwt, .nonce = bytes_of(nonce, sizeof nonce)};
    if (codec_encode(&codec_enrol_grant, &granted, arena, &grant, NULL) == ERR_OK)
        take_sealed(grant, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    if (keys.seal_public[0] == 0)
        make_keys();
    arena_init(&arena, 4 << 20);
    take(bytes_of(data, size), &arena);
    arena_reset(&arena);
    take_sealed(bytes_of(data, size), &arena);
    arena_reset(&arena);
    take_jwt(bytes_of(data, size), &arena);
    arena_fini(&arena);
    return 0;
}

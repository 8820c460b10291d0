/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/root_document.h"

#include "common/trust.h"
#include "proto/codec.h"

static enum err_code too_large(struct err *err)
{
    return err_set(err, ERR_SIZE, "the root document is too large");
}

enum err_code root_document_first(const char *tenant, const struct root_document_role *roles,
                                  size_t roles_len, int64_t expires_ms, struct arena *arena,
                                  struct root *ret, struct err *err)
{
    struct role *list = arena_alloc(arena, roles_len * sizeof *list);
    if (!list)
        return too_large(err);
    for (size_t i = 0; i < roles_len; i++) {
        struct bytes *keys = arena_alloc(arena, roles[i].keys_len * sizeof *keys);
        if (!keys)
            return too_large(err);
        for (size_t k = 0; k < roles[i].keys_len; k++)
            keys[k] = bytes_of(roles[i].keys[k], SIGN_PUBLIC_BYTES);
        list[i] = (struct role){.name = roles[i].name,
                                .threshold = roles[i].threshold,
                                .keys = keys,
                                .keys_len = roles[i].keys_len};
    }
    *ret = (struct root){.tenant = tenant,
                         .version = 1,
                         .expires_ms = expires_ms,
                         .roles = list,
                         .roles_len = roles_len};
    return ERR_OK;
}

enum err_code root_document_check(const struct root *root, struct err *err)
{
    const enum err_code code = trust_root_form(root, err);
    if (code != ERR_ROOT_CHAIN)
        return code;
    err->code = ERR_USAGE; /* whoever puts it together asked for it; no device has refused it */
    return err->code;
}

enum err_code root_document_seal(const struct root *root, const struct sign_key *keys,
                                 size_t keys_len, struct arena *arena, struct bytes *ret,
                                 struct err *err)
{
    struct bytes payload;
    enum err_code code = root_document_check(root, err);
    if (code == ERR_OK)
        code = codec_encode(&codec_root, root, arena, &payload, err);
    if (code == ERR_OK)
        code = sign_seal(SIGN_TYPE_ROOT, payload, keys, keys_len, arena, ret, err);
    if (code != ERR_OK)
        return code;
    if (ret->len > SIGN_ROOT_MAX_BYTES)
        return err_set(err, ERR_SIZE, "the root document has %zu bytes, at most %d are allowed",
                       ret->len, SIGN_ROOT_MAX_BYTES);
    return ERR_OK;
}

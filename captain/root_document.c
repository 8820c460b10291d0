/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/root_document.h"

#include "common/base/mem.h"
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

static enum err_code check_keys(const struct role *role, struct err *err)
{
    for (size_t i = 0; i < role->keys_len; i++) {
        char id[17];
        sign_key_id(role->keys[i].ptr, id);
        if (!sign_public_key_usable(role->keys[i].ptr))
            return err_set(err, ERR_USAGE, "role %s: key %s is no usable Ed25519 key", role->name,
                           id);
        for (size_t k = 0; k < i; k++)
            if (bytes_equal(role->keys[i], role->keys[k]))
                return err_set(err, ERR_USAGE, "role %s has the key %s already", role->name, id);
    }
    return ERR_OK;
}

static enum err_code check_role(const struct role *role, struct err *err)
{
    if (role->keys_len == 0)
        return err_set(err, ERR_USAGE, "role %s has no key left", role->name);
    if (role->keys_len > SIGN_SIGNATURES_MAX)
        return err_set(err, ERR_USAGE, "role %s has %zu keys, at most %d are allowed", role->name,
                       role->keys_len, SIGN_SIGNATURES_MAX);
    if (role->threshold < 1 || role->threshold > role->keys_len)
        return err_set(err, ERR_USAGE, "role %s: %u of %zu keys cannot sign", role->name,
                       role->threshold, role->keys_len);
    return check_keys(role, err);
}

enum err_code root_document_check(const struct root *root, struct err *err)
{
    static const char *const names[] = {TRUST_ROLE_ROOT, TRUST_ROLE_RELEASE, TRUST_ROLE_DESIRED};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t found = 0;
        for (size_t k = 0; k < root->roles_len; k++)
            found += str_equal(root->roles[k].name, names[i]);
        if (found != 1)
            return err_set(err, ERR_USAGE, "a root has the role %s once, not %zu times", names[i],
                           found);
    }
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < root->roles_len; i++)
        code = check_role(&root->roles[i], err);
    return code;
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

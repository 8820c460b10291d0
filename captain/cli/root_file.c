/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/root_file.h"

#include <string.h>

#include "captain/cli/context.h"
#include "captain/cli/output.h"
#include "common/file.h"

enum { CHECK_ARENA_BYTES = 16 << 20 };

enum err_code root_file_path(const struct invocation *invocation, const char **ret, struct err *err)
{
    struct context context;
    *ret = invocation->flags[FLAG_ROOT];
    if (*ret)
        return ERR_OK;
    if (context_resolve(invocation, &context, err))
        return err->code;
    *ret = context.root;
    return ERR_OK;
}

enum err_code root_file_read(const char *path, struct arena *arena, struct root_file *ret,
                             struct err *err)
{
    enum err_code code = file_read(path, SIGN_ROOT_MAX_BYTES, arena, &ret->envelope, err);
    if (code == ERR_NOT_FOUND) {
        err->code = ERR_USAGE;
        return err_hint(err, "--root FILE; captain's is root.dsse in its folder");
    }
    if (code)
        return code;
    ret->path = path;
    if (trust_root_anchor(ret->envelope, arena, &ret->root, err))
        return err_wrap(err, "%s", path);
    return ERR_OK;
}

enum err_code root_file_load(const struct invocation *invocation, struct root_file *ret,
                             struct err *err)
{
    const char *path;
    if (root_file_path(invocation, &path, err))
        return err->code;
    if (path)
        return root_file_read(path, invocation->arena, ret, err);
    err_set(err, ERR_USAGE, "no root document says whose keys count");
    return err_hint(err, "--root FILE; captain's is root.dsse in its folder");
}

const struct role *root_role(const struct root *root, const char *name)
{
    for (size_t i = 0; i < root->roles_len; i++)
        if (str_equal(root->roles[i].name, name))
            return &root->roles[i];
    return NULL;
}

bool role_has(const struct role *role, const uint8_t *public_key)
{
    for (size_t i = 0; role && i < role->keys_len; i++)
        if (bytes_equal(role->keys[i], bytes_of(public_key, SIGN_PUBLIC_BYTES)))
            return true;
    return false;
}

/* One key alone, as the trust core would count it. Scratch memory is given back. */
static enum err_code key_signed(const uint8_t *key, const char *type, struct bytes envelope,
                                bool *ret, struct err *err)
{
    struct arena arena;
    struct bytes payload;
    const struct sign_role alone = {(const uint8_t(*)[SIGN_PUBLIC_BYTES])key, 1, 1};
    arena_init(&arena, CHECK_ARENA_BYTES);
    enum err_code code =
        sign_open(type, SIGN_RELEASE_MAX_BYTES, envelope, &alone, &arena, &payload, err);
    arena_fini(&arena);
    *ret = code == ERR_OK;
    if (code != ERR_BAD_SIGNATURE)
        return code;
    *err = (struct err){0};
    return ERR_OK;
}

enum err_code role_signers_find(const struct role *role, const char *type, struct bytes envelope,
                                struct role_signers *ret, struct err *err)
{
    *ret = (struct role_signers){.threshold = role ? role->threshold : 0};
    for (size_t i = 0; role && i < role->keys_len && ret->len < SIGN_SIGNATURES_MAX; i++) {
        bool signed_it;
        if (key_signed(role->keys[i].ptr, type, envelope, &signed_it, err))
            return err->code;
        if (signed_it)
            ret->keys[ret->len++] = role->keys[i].ptr;
    }
    return ERR_OK;
}

const char *role_key_text(const struct keyring *keyring, const uint8_t *public_key,
                          struct arena *arena)
{
    char id[17];
    sign_key_id(public_key, id);
    const char *name = keyring_name(keyring, public_key);
    return output_text(arena_printf(arena, "%s%s%s", id, name[0] ? " " : "", name));
}

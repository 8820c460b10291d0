/* SPDX-License-Identifier: Apache-2.0
 *
 * captain root show | rotate | lint
 */
#include "captain/cli/root.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "captain/cli/output.h"
#include "captain/cli/root_change.h"
#include "captain/root_document.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

enum { FINDINGS_MAX = 64 };

enum err_code root_draft_read(const char *path, struct arena *arena, struct root_draft *ret,
                              struct err *err)
{
    if (document_read(SIGN_TYPE_ROOT, path, arena, &ret->document, err))
        return err->code;
    if (codec_decode(&codec_root, ret->document.envelope.payload, arena, &ret->root, err))
        return err_wrap(err, "%s", path);
    return ERR_OK;
}

/* -- show ------------------------------------------------------------------------------------- */

static bool is_among(const struct role_signers *signers, const uint8_t *key)
{
    for (size_t i = 0; i < signers->len; i++)
        if (memcmp(signers->keys[i], key, SIGN_PUBLIC_BYTES) == 0)
            return true;
    return false;
}

static enum err_code print_roles(const struct root_draft *draft, const struct keyring *keyring,
                                 struct arena *arena, struct err *err)
{
    struct role_signers signers;
    if (role_signers_find(root_role(&draft->root, TRUST_ROLE_ROOT), SIGN_TYPE_ROOT,
                          draft->document.bytes, &signers, err))
        return err->code;
    struct output_table *table = output_table_new(
        (const char *const[]){"ROLE", "NEEDED", "KEY ID", "HERE AS", "SIGNED THIS", NULL});
    for (size_t i = 0; i < draft->root.roles_len; i++) {
        const struct role *role = &draft->root.roles[i];
        bool is_root = str_equal(role->name, TRUST_ROLE_ROOT);
        for (size_t k = 0; k < role->keys_len; k++) {
            const uint8_t *key = role->keys[k].ptr;
            char id[17];
            sign_key_id(key, id);
            const char *needed =
                output_text(arena_printf(arena, "%u of %zu", role->threshold, role->keys_len));
            output_table_row(
                table, (const char *const[]){k ? "" : role->name, k ? "" : needed, id,
                                             keyring_name(keyring, key),
                                             is_root && is_among(&signers, key) ? "yes" : ""});
        }
    }
    output_table_end(table);
    return ERR_OK;
}

enum err_code root_print(const struct root_draft *draft, const struct keyring *keyring,
                         struct arena *arena, struct err *err)
{
    const struct root *root = &draft->root;
    if (output_is_json())
        return output_message(&codec_root, root, arena, err);
    output_field("root", "version %" PRIu64 " of tenant %s", root->version, root->tenant);
    document_print_digest(&draft->document);
    output_field("expires", "%s",
                 root->expires_ms ? output_second(arena, root->expires_ms) : "never");
    for (size_t i = 0; i < root->floors_len; i++)
        output_field("floor", "%s: no release below sequence %" PRIu64, root->floors[i].app,
                     root->floors[i].sequence);
    for (size_t i = 0; i < root->revoked_len; i++) {
        char hex[DIGEST_HEX];
        str_hex(root->revoked[i], hex);
        output_field("revoked", "%s", hex);
    }
    output_line("%s", "");
    return print_roles(draft, keyring, arena, err);
}

enum err_code cmd_root_show(struct invocation *invocation, struct err *err)
{
    struct arena *arena = invocation->arena;
    struct root_draft draft;
    struct root_file file;
    struct keyring keyring;
    const char *path = invocation->args_len ? invocation->args[0] : NULL;
    if (!path && root_file_load(invocation, &file, err))
        return err->code;
    if (root_draft_read(path ? path : file.path, arena, &draft, err) ||
        keyring_load(arena, &keyring, err))
        return err->code;
    return root_print(&draft, &keyring, arena, err);
}

/* -- lint ------------------------------------------------------------------------------------- */

enum err_code cmd_root_lint(struct invocation *invocation, struct err *err)
{
    const char *findings[FINDINGS_MAX];
    struct root_file file;
    enum err_code code = invocation->args_len
                             ? root_file_read(invocation->args[0], invocation->arena, &file, err)
                             : root_file_load(invocation, &file, err);
    if (code)
        return code;
    size_t len =
        trust_root_lint(&file.root, clock_unix_ms(), invocation->arena, findings, FINDINGS_MAX);
    for (size_t i = 0; i < len; i++)
        output_line("%s", output_text(findings[i]));
    if (len)
        return err_set(err, ERR_FAILED, "%s in %s", output_count(invocation->arena, len, "finding"),
                       file.path);
    output_note("%s: nothing to mend", file.path);
    return ERR_OK;
}

/* -- rotate ----------------------------------------------------------------------------------- */

static enum err_code check_place(const char *path, struct err *err)
{
    if (!path) {
        err_set(err, ERR_USAGE, "the next root needs a file of its own");
        return err_hint(err, "--output next.dsse");
    }
    if (access(path, F_OK) == 0) {
        err_set(err, ERR_CONFLICT, "%s exists; it may be signed", path);
        return err_hint(err, "--output with another name");
    }
    return ERR_OK;
}

static enum err_code check_signers(const struct root *old, const struct root *next,
                                   const struct keyring_signers *signers, struct err *err)
{
    for (size_t i = 0; i < signers->len; i++) {
        const uint8_t *key = signers->keys[i].public_key;
        if (!role_has(root_role(old, TRUST_ROLE_ROOT), key) &&
            !role_has(root_role(next, TRUST_ROLE_ROOT), key))
            return err_set(err, ERR_USAGE, "%s is a root key neither before nor after",
                           signers->names[i]);
    }
    return ERR_OK;
}

enum err_code cmd_root_rotate(struct invocation *invocation, struct err *err)
{
    struct keyring_signers signers DEFER(keyring_signers_wipe) = {.len = 0};
    struct arena *arena = invocation->arena;
    const char *path = invocation->flags[FLAG_OUTPUT_DIR];
    const char *keys = invocation->flags[FLAG_KEY];
    struct root_file current;
    struct root next;
    struct root_draft draft;
    struct keyring keyring;
    struct bytes envelope;
    if (check_place(path, err) || root_file_load(invocation, &current, err) ||
        root_change_apply(invocation, &current.root, clock_unix_ms(), &next, err) ||
        (keys && keyring_signers(invocation, keys, &signers, err)) ||
        check_signers(&current.root, &next, &signers, err) ||
        root_document_seal(&next, signers.keys, signers.len, arena, &envelope, err) ||
        file_replace(path, envelope, 0644, err) || root_draft_read(path, arena, &draft, err) ||
        keyring_load(arena, &keyring, err) || root_print(&draft, &keyring, arena, err))
        return err->code;
    if (!output_is_json()) {
        output_line("%s", "");
        root_change_print(&current.root, &draft.root, &keyring, arena);
    }
    return root_print_progress(invocation, &draft, path, err);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * captain root sign | assemble: on files, without network.
 */
#include "captain/cli/output.h"
#include "captain/cli/root.h"
#include "captain/cli/root_change.h"
#include "common/base/mem.h"

static void print_count(const char *label, const struct role_signers *signers)
{
    output_field(label, "%zu signed, needed %u", signers->len, signers->threshold);
}

static bool is_enough(const struct role_signers *signers)
{
    return signers->threshold > 0 && signers->len >= signers->threshold;
}

/* ret_found false: nothing says which root came before, or it is a fleet's first. */
static enum err_code find_old(const struct invocation *invocation, const struct root_draft *draft,
                              struct root_file *ret, bool *ret_found, struct err *err)
{
    const char *path;
    *ret_found = false;
    if (draft->root.version == 1)
        return ERR_OK;
    if (root_file_path(invocation, &path, err))
        return err->code;
    if (path && root_file_read(path, invocation->arena, ret, err))
        return err->code;
    *ret_found = path != NULL;
    return ERR_OK;
}

static enum err_code check_chain(const struct root_file *old, const struct root_draft *draft,
                                 struct err *err)
{
    if (draft->root.version == old->root.version + 1 &&
        str_equal(draft->root.tenant, old->root.tenant))
        return ERR_OK;
    err_set(err, ERR_ROOT_CHAIN, "%s is no next root of %s (version %llu, tenant %s)",
            draft->document.path, old->path, (unsigned long long)old->root.version,
            old->root.tenant);
    return err_hint(err, "--root names the root that the devices have now");
}

/* Both thresholds, as the devices will count them. */
static enum err_code count(const struct root_file *old, const struct root_draft *draft,
                           bool *ret_enough, struct err *err)
{
    struct role_signers before = {0};
    struct role_signers after;
    struct bytes bytes = draft->document.bytes;
    if (old && role_signers_find(root_role(&old->root, TRUST_ROLE_ROOT), SIGN_TYPE_ROOT, bytes,
                                 &before, err))
        return err->code;
    if (role_signers_find(root_role(&draft->root, TRUST_ROLE_ROOT), SIGN_TYPE_ROOT, bytes, &after,
                          err))
        return err->code;
    *ret_enough = is_enough(&after) && (!old || is_enough(&before));
    if (output_is_json())
        return ERR_OK;
    output_line("%s", "");
    if (old)
        print_count("old root keys", &before);
    print_count("new root keys", &after);
    return ERR_OK;
}

static void print_next(const struct root_draft *draft, bool enough, bool found, const char *file)
{
    if (!enough) {
        output_note("next, with another root key: captain root sign %s --key NAME", file);
        output_note("  copies that were signed elsewhere: captain root assemble %s COPY...", file);
    } else if (draft->root.version == 1) {
        output_note("next: captain serve, with this as keys/root.dsse of the fleet's folder");
    } else if (!found) {
        output_note("--root CURRENT tells whether the keys of the root before are enough");
    } else {
        output_note("next: captain root publish %s", file);
    }
}

enum err_code root_print_progress(const struct invocation *invocation,
                                  const struct root_draft *draft, const char *file, struct err *err)
{
    struct root_file old;
    struct root next;
    bool found;
    bool enough = false;
    if (find_old(invocation, draft, &old, &found, err) ||
        (found && check_chain(&old, draft, err)) || count(found ? &old : NULL, draft, &enough, err))
        return err->code;
    if (enough && found &&
        trust_root_next(&old.root, draft->document.bytes, invocation->arena, &next, err))
        return err->code;
    print_next(draft, enough, found, file);
    return ERR_OK;
}

static const char *written_to(const struct invocation *invocation)
{
    const char *path = invocation->flags[FLAG_OUTPUT_DIR];
    return path ? path : invocation->args[0];
}

/* What is about to be signed: all of it, and what is new about it. */
static enum err_code print_before_signing(const struct invocation *invocation,
                                          const struct root_draft *draft, struct err *err)
{
    struct arena *arena = invocation->arena;
    struct keyring keyring;
    struct root_file old;
    bool found;
    if (keyring_load(arena, &keyring, err) || root_print(draft, &keyring, arena, err) ||
        find_old(invocation, draft, &old, &found, err) || (found && check_chain(&old, draft, err)))
        return err->code;
    if (!found || output_is_json())
        return ERR_OK;
    output_line("%s", "");
    root_change_print(&old.root, &draft->root, &keyring, arena);
    return ERR_OK;
}

enum err_code cmd_root_sign(struct invocation *invocation, struct err *err)
{
    struct keyring_signers signers DEFER(keyring_signers_wipe) = {.len = 0};
    struct arena *arena = invocation->arena;
    const char *keys = invocation->flags[FLAG_KEY];
    struct root_draft draft;
    if (!keys) {
        err_set(err, ERR_USAGE, "no key to sign with");
        return err_hint(err, "--key NAME; captain key ls");
    }
    if (root_draft_read(invocation->args[0], arena, &draft, err) ||
        print_before_signing(invocation, &draft, err) ||
        keyring_signers(invocation, keys, &signers, err) ||
        document_sign(&draft.document, &signers, arena, err) ||
        document_write(&draft.document, invocation->flags[FLAG_OUTPUT_DIR], err))
        return err->code;
    return root_print_progress(invocation, &draft, written_to(invocation), err);
}

enum err_code cmd_root_assemble(struct invocation *invocation, struct err *err)
{
    struct root_draft draft;
    if (document_assemble(SIGN_TYPE_ROOT, invocation, &draft.document, err))
        return err->code;
    if (codec_decode(&codec_root, draft.document.envelope.payload, invocation->arena, &draft.root,
                     err))
        return err_wrap(err, "%s", draft.document.path);
    return root_print_progress(invocation, &draft, written_to(invocation), err);
}

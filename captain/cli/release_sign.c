/* SPDX-License-Identifier: Apache-2.0
 *
 * captain release sign | assemble | verify: on files, without network. What is shown before a
 * signature is given is read from the very bytes that are signed.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "captain/cli/bundle.h"
#include "captain/cli/context.h"
#include "captain/cli/output.h"
#include "captain/cli/release.h"
#include "captain/cli/root_file.h"
#include "common/base/mem.h"
#include "common/clock.h"

static const char *target_of(const struct artifact *artifact, struct arena *arena)
{
    const char *const parts[] = {artifact->os, artifact->arch, artifact->hardware};
    const char *all = "";
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i][0])
            all = output_text(arena_printf(arena, "%s%s%s", all, all[0] ? "/" : "", parts[i]));
    return all[0] ? all : "any";
}

static void print_artifacts(const struct release *release, struct arena *arena)
{
    if (release->artifacts_len == 0)
        return;
    output_line("%s", "");
    struct output_table *table =
        output_table_new((const char *const[]){"ARTIFACT", "TARGET", ">SIZE", "<SHA256", NULL});
    for (size_t i = 0; i < release->artifacts_len; i++) {
        const struct artifact *artifact = &release->artifacts[i];
        char hex[DIGEST_HEX];
        str_hex(artifact->sha256, hex);
        output_table_row(table,
                         (const char *const[]){artifact->path, target_of(artifact, arena),
                                               output_size(arena, artifact->size_bytes), hex});
    }
    output_table_end(table);
}

enum err_code release_print_document(const struct document *document, struct arena *arena,
                                     struct err *err)
{
    struct release release;
    if (codec_decode(&codec_release, document->envelope.payload, arena, &release, err))
        return err_wrap(err, "%s", document->path);
    if (output_is_json())
        return output_message(&codec_release, &release, arena, err);
    output_field("release", "%s@%s", release.app, release.version);
    output_field("sequence", "%" PRIu64, release.sequence);
    document_print_digest(document);
    output_field("created", "%s", output_second(arena, release.created_ms));
    output_field("expires", "%s", output_second(arena, release.expires_ms));
    for (size_t i = 0; i < release.sources_len; i++)
        output_field("source", "%s %s", release.sources[i].repository, release.sources[i].commit);
    print_artifacts(&release, arena);
    return ERR_OK;
}

/* -- sign ------------------------------------------------------------------------------------- */

/* A signature that no device counts is worth a word; without a root nobody knows. */
static void note_strangers(const struct invocation *invocation,
                           const struct keyring_signers *signers)
{
    struct err err = {0};
    struct root_file root;
    if (root_file_load(invocation, &root, &err))
        return;
    const struct role *role = root_role(&root.root, TRUST_ROLE_RELEASE);
    for (size_t i = 0; i < signers->len; i++)
        if (!role_has(role, signers->keys[i].public_key))
            output_note("note: by %s, %s may not sign releases", root.path, signers->names[i]);
}

static void note_next(const struct invocation *invocation, const struct document *document)
{
    const char *written = invocation->flags[FLAG_OUTPUT_DIR];
    output_note("signed: %zu in %s", document->envelope.signatures_len,
                written ? written : document->path);
}

enum err_code cmd_release_sign(struct invocation *invocation, struct err *err)
{
    struct keyring_signers signers DEFER(keyring_signers_wipe) = {.len = 0};
    struct arena *arena = invocation->arena;
    struct document document;
    struct context context;
    if (document_read(SIGN_TYPE_RELEASE, invocation->args[0], arena, &document, err) ||
        release_print_document(&document, arena, err) || context_resolve(invocation, &context, err))
        return err->code;
    if (!context.release_key) {
        err_set(err, ERR_USAGE, "no key to sign with");
        return err_hint(err, "--key NAME; captain key ls");
    }
    if (keyring_signers(invocation, context.release_key, &signers, err) ||
        document_sign(&document, &signers, arena, err) ||
        document_write(&document, invocation->flags[FLAG_OUTPUT_DIR], err))
        return err->code;
    note_strangers(invocation, &signers);
    note_next(invocation, &document);
    return ERR_OK;
}

enum err_code cmd_release_assemble(struct invocation *invocation, struct err *err)
{
    struct document document;
    if (document_assemble(SIGN_TYPE_RELEASE, invocation, &document, err))
        return err->code;
    note_next(invocation, &document);
    return ERR_OK;
}

/* -- verify ----------------------------------------------------------------------------------- */

static enum err_code check_artifacts(const struct document *document, const struct release *release,
                                     struct arena *arena, size_t *ret_elsewhere, struct err *err)
{
    *ret_elsewhere = 0;
    for (size_t i = 0; i < release->artifacts_len; i++) {
        const struct artifact *artifact = &release->artifacts[i];
        const char *path = bundle_artifact_path(document->folder, artifact, arena);
        if (!path)
            return err_set(err, ERR_SIZE, "the release is too large");
        output_progress("hashing %s", artifact->path);
        enum err_code code = bundle_check_file(path, artifact, err);
        bool elsewhere = code == ERR_NOT_FOUND && artifact->urls_len > 0;
        if (code && !elsewhere)
            return code;
        *ret_elsewhere += elsewhere;
    }
    *err = (struct err){0};
    output_progress("%s", "");
    return ERR_OK;
}

static void print_signers(const struct role_signers *signers, const struct keyring *keyring,
                          struct arena *arena)
{
    output_field("signed by", "%s, needed %u", output_count(arena, signers->len, "key"),
                 signers->threshold);
    for (size_t i = 0; i < signers->len; i++)
        output_field("", "%s", role_key_text(keyring, signers->keys[i], arena));
}

static void print_verified(const struct document *document, const struct release *release,
                           size_t elsewhere, struct arena *arena)
{
    size_t here = release->artifacts_len - elsewhere;
    if (document->folder)
        output_field(
            "artifacts", "%zu with the right hash%s", here,
            elsewhere ? output_text(arena_printf(arena, ", %zu by URL, not looked at", elsewhere))
                      : "");
    output_field("verdict", "valid");
}

static void print_json(const struct document *document, const struct role_signers *signers,
                       const struct root *root, enum err_code code)
{
    char hex[DIGEST_HEX];
    json_t *json = json_object();
    json_t *list = json_array();
    str_hex(bytes_of(document->digest, DIGEST_BYTES), hex);
    for (size_t i = 0; i < signers->len; i++) {
        char id[17];
        sign_key_id(signers->keys[i], id);
        (void)json_array_append_new(list, json_string(id));
    }
    (void)json_object_set_new(json, "digest", json_string(hex));
    (void)json_object_set_new(json, "rootVersion", json_integer((json_int_t)root->version));
    (void)json_object_set_new(json, "signers", list);
    (void)json_object_set_new(json, "threshold", json_integer(signers->threshold));
    (void)json_object_set_new(json, "verdict", json_string(code ? err_name(code) : "valid"));
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(json);
    if (text)
        output_encoded(text);
    free(text);
}

/* As a device would judge it, of any kind and with nothing seen before; then the files. */
static enum err_code judge(const struct document *document, const struct root *root,
                           struct arena *arena, struct release *ret, size_t *ret_elsewhere,
                           struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    if (trust_check_release(root, document->bytes, &(struct trust_release_want){0},
                            &(struct trust_target){0}, clock_unix_ms(), arena, ret, digest, err))
        return err->code;
    if (document->folder)
        return check_artifacts(document, ret, arena, ret_elsewhere, err);
    return ERR_OK;
}

enum err_code cmd_release_verify(struct invocation *invocation, struct err *err)
{
    struct arena *arena = invocation->arena;
    struct document document;
    struct root_file root;
    struct keyring keyring;
    struct role_signers signers;
    struct release release;
    size_t elsewhere = 0;
    invocation->says_reason = true;
    if (root_file_load(invocation, &root, err) ||
        document_read(SIGN_TYPE_RELEASE, invocation->args[0], arena, &document, err) ||
        keyring_load(arena, &keyring, err) ||
        role_signers_find(root_role(&root.root, TRUST_ROLE_RELEASE), SIGN_TYPE_RELEASE,
                          document.bytes, &signers, err))
        return err->code;
    if (!output_is_json()) {
        if (release_print_document(&document, arena, err))
            return err->code;
        output_line("%s", "");
        output_field("root", "version %" PRIu64 " of tenant %s, until %s", root.root.version,
                     root.root.tenant, output_second(arena, root.root.expires_ms));
        print_signers(&signers, &keyring, arena);
    }
    enum err_code code = judge(&document, &root.root, arena, &release, &elsewhere, err);
    if (output_is_json())
        print_json(&document, &signers, &root.root, code);
    else if (code == ERR_OK)
        print_verified(&document, &release, elsewhere, arena);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * captain release create: everything that can be checked here is checked before captain is asked,
 * what captain has to say is asked before anything is sent, and the release itself comes last, when
 * all its artifacts are stored.
 */
#include "captain/cli/release.h"

#include <string.h>

#include "captain/cli/bundle.h"
#include "captain/cli/document.h"
#include "captain/cli/output.h"
#include "captain/cli/release_files.h"
#include "captain/cli/upload.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/sign.h"

/* The keys of --key, else the context's; none is fine when sending is not meant (ret->len 0). */
static enum err_code load_keys(const struct invocation *invocation, struct keyring_signers *ret,
                               struct err *err)
{
    struct context context;
    if (context_resolve(invocation, &context, err))
        return err->code;
    if (context.release_key)
        return keyring_signers(invocation, context.release_key, ret, err);
    if (invocation->flags[FLAG_OUTPUT_DIR])
        return ERR_OK; /* signed later, elsewhere */
    err_set(err, ERR_USAGE, "no key to sign the release with");
    return err_hint(err, "--key FILE, or a name of captain key ls; captain made one: "
                         "DATA/keys/release.key");
}

static enum err_code encode(const struct release *release, struct arena *arena, struct bytes *ret,
                            struct err *err)
{
    if (codec_encode(&codec_release, release, arena, ret, err) == ERR_OK)
        return ERR_OK;
    return err->code =
               ERR_USAGE; /* what the description says goes beyond a limit of the contract */
}

/* ERR_NOT_FOUND: captain has no such version. ERR_CONFLICT: it has another one. ERR_OK: it has this
 * one. */
static enum err_code compare(struct client *client, const struct release_yaml *yaml,
                             struct release *release, struct arena *arena, struct err *err)
{
    struct release_query query = {.app = release->app, .version = release->version};
    struct release_info info;
    struct release there;
    struct bytes payload;
    struct bytes ours;
    if (release_ask(client, "export", &query, arena, &info, err) ||
        release_unwrap(info.envelope, arena, &payload, &there, err))
        return err->code;
    struct release same = *release;
    same.sequence = there.sequence;
    same.created_ms = there.created_ms;
    same.expires_ms = there.created_ms + yaml->expires_ms;
    if (encode(&same, arena, &ours, err))
        return err->code;
    if (bytes_equal(ours, payload))
        return ERR_OK;
    err_set(err, ERR_CONFLICT,
            "release %s@%s exists with other content\na version is never replaced", release->app,
            release->version);
    return err_hint(err, "give it a new version; captain release show %s@%s", release->app,
                    release->version);
}

static enum err_code next_sequence(struct client *client, const char *app, struct arena *arena,
                                   uint64_t *ret, struct err *err)
{
    struct release_next request = {.app = app};
    struct release_sequence reply;
    if (client_call(client,
                    &(struct client_call){"release", "next", &codec_release_next, &request,
                                          &codec_release_sequence, &reply},
                    arena, err))
        return err->code;
    *ret = reply.last_sequence + 1;
    return ERR_OK;
}

static enum err_code store(struct client *client, struct bytes envelope, const char *reason,
                           struct arena *arena, struct err *err)
{
    struct release_create request = {.envelope = envelope, .reason = reason};
    struct release_info info;
    if (client_call(client,
                    &(struct client_call){"release", "create", &codec_release_create, &request,
                                          &codec_release_info, &info},
                    arena, err))
        return err->code;
    return release_print(&info, arena, err);
}

static enum err_code send_files(struct client *client, const struct release_files *files,
                                struct err *err)
{
    uint64_t sent = 0;
    for (size_t i = 0; i < files->len; i++) {
        const struct artifact *artifact = &files->artifacts[i];
        const struct release_file *file = &files->files[i];
        if (file->path &&
            upload_artifact(client,
                            &(struct upload){file->path, file->label, artifact->sha256,
                                             artifact->size_bytes, &sent},
                            err))
            return err->code;
    }
    return ERR_OK;
}

static enum err_code show_existing(struct client *client, const struct release *release,
                                   struct arena *arena, struct err *err)
{
    struct release_query query = {.app = release->app, .version = release->version};
    struct release_info info;
    output_note("release %s@%s is there already, with this content", release->app,
                release->version);
    if (release_ask(client, "show", &query, arena, &info, err))
        return err->code;
    return release_print(&info, arena, err);
}

/* Created now. */
static enum err_code seal(const struct release_yaml *yaml, struct release *release,
                          const struct keyring_signers *signers, struct arena *arena,
                          struct bytes *ret, struct err *err)
{
    struct bytes payload;
    release->created_ms = clock_unix_ms();
    release->expires_ms = release->created_ms + yaml->expires_ms;
    if (encode(release, arena, &payload, err))
        return err->code;
    return sign_seal(SIGN_TYPE_RELEASE, payload, signers->keys, signers->len, arena, ret, err);
}

/* The files stay as they were when compare was asked: send_files checks each against its hash. */
static enum err_code seal_and_send(struct client *client, const struct release_yaml *yaml,
                                   struct release *release, const struct release_files *files,
                                   const struct keyring_signers *signers,
                                   const struct invocation *invocation, struct err *err)
{
    struct arena *arena = invocation->arena;
    struct bytes envelope;
    if (next_sequence(client, release->app, arena, &release->sequence, err) ||
        seal(yaml, release, signers, arena, &envelope, err) || send_files(client, files, err))
        return err->code;
    return store(client, envelope, invocation->flags[FLAG_REASON], arena, err);
}

static enum err_code create(struct invocation *invocation, const struct release_yaml *yaml,
                            struct release *release, const struct release_files *files,
                            const struct keyring_signers *signers, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct arena *arena = invocation->arena;
    struct bytes trial;
    release->sequence = 1;
    if (encode(release, arena, &trial, err) || client_open(invocation, &client, err))
        return err->code;
    switch (compare(client, yaml, release, arena, err)) {
    case ERR_OK:
        return show_existing(client, release, arena, err);
    case ERR_NOT_FOUND:
        *err = (struct err){0};
        return seal_and_send(client, yaml, release, files, signers, invocation, err);
    default:
        return err->code;
    }
}

/* Into a folder; captain is not asked, so the sequence comes from the caller. */
static enum err_code write_bundle(struct invocation *invocation, const struct release_yaml *yaml,
                                  struct release *release, const struct release_files *files,
                                  const struct keyring_signers *signers, struct err *err)
{
    struct arena *arena = invocation->arena;
    const char *folder = invocation->flags[FLAG_OUTPUT_DIR];
    struct bytes envelope;
    struct document document;
    if (str_u64(invocation->flags[FLAG_SEQUENCE], INT64_MAX, &release->sequence) ||
        release->sequence == 0)
        return err_set(err, ERR_USAGE, "--sequence must be a number above 0");
    if (seal(yaml, release, signers, arena, &envelope, err) ||
        bundle_write(folder, files, envelope, arena, err) ||
        document_read(SIGN_TYPE_RELEASE, folder, arena, &document, err) ||
        release_print_document(&document, arena, err))
        return err->code;
    output_note("written to %s; %s; nothing was sent", folder,
                signers->len ? output_count(arena, signers->len, "signature") : "not signed yet");
    output_note("next: captain release sign --key NAME %s; then captain release create --bundle %s",
                folder, folder);
    return ERR_OK;
}

static enum err_code from_yaml(struct invocation *invocation, struct err *err)
{
    const char *path = invocation->flags[FLAG_FILE];
    struct keyring_signers signers DEFER(keyring_signers_wipe) = {.len = 0};
    struct release_files files DEFER(release_files_fini) = {0};
    struct release_yaml yaml;
    struct release release;
    struct bytes text;
    if (file_read(path, RELEASE_YAML_MAX_BYTES, invocation->arena, &text, err)) {
        err->code = ERR_USAGE;
        return err_hint(err, "-f names the description of the release");
    }
    if (release_yaml_parse(path, text, invocation->arena, &yaml, err) ||
        load_keys(invocation, &signers, err) ||
        release_files_prepare(&yaml, path, invocation->arena, &files, err) ||
        release_yaml_message(&yaml, invocation->arena, &release, err))
        return err->code;
    release.artifacts = files.artifacts;
    release.artifacts_len = files.len;
    return invocation->flags[FLAG_OUTPUT_DIR]
               ? write_bundle(invocation, &yaml, &release, &files, &signers, err)
               : create(invocation, &yaml, &release, &files, &signers, err);
}

static enum err_code check_bundle(const char *folder, const struct release *release,
                                  struct arena *arena, struct release_files *ret, struct err *err)
{
    for (size_t i = 0; i < release->artifacts_len && i < RELEASE_FILES_MAX; i++) {
        const struct artifact *artifact = &release->artifacts[i];
        const char *path = bundle_artifact_path(folder, artifact, arena);
        if (!path)
            return err_set(err, ERR_SIZE, "the bundle is too large");
        enum err_code code = bundle_check_file(path, artifact, err);
        bool elsewhere = code == ERR_NOT_FOUND && artifact->urls_len > 0;
        if (code && !elsewhere)
            return code;
        ret->artifacts[i] = *artifact;
        ret->files[i] = (struct release_file){elsewhere ? NULL : path, artifact->path};
        ret->len = i + 1;
    }
    return ERR_OK;
}

/* ERR_NOT_FOUND: captain has no such version. */
static enum err_code compare_bundle(struct client *client, const struct release *release,
                                    struct bytes payload, struct arena *arena, struct err *err)
{
    struct release_query query = {.app = release->app, .version = release->version};
    struct release_info info;
    struct release there;
    struct bytes theirs;
    if (release_ask(client, "export", &query, arena, &info, err) ||
        release_unwrap(info.envelope, arena, &theirs, &there, err))
        return err->code;
    if (bytes_equal(theirs, payload))
        return ERR_OK;
    return err_set(err, ERR_CONFLICT,
                   "release %s@%s exists with other content\na version is never replaced",
                   release->app, release->version);
}

static enum err_code from_bundle(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct release_files files DEFER(release_files_fini) = {0};
    struct arena *arena = invocation->arena;
    const char *folder = invocation->flags[FLAG_BUNDLE];
    const char *path = output_text(arena_printf(arena, "%s/release.dsse", folder));
    struct bytes envelope;
    struct bytes payload;
    struct release release;
    if (file_read(path, SIGN_RELEASE_MAX_BYTES, arena, &envelope, err) ||
        release_unwrap(envelope, arena, &payload, &release, err)) {
        err->code = ERR_USAGE;
        return err_hint(err, "--bundle names a folder that `captain release export` wrote");
    }
    if (check_bundle(folder, &release, arena, &files, err) || client_open(invocation, &client, err))
        return err->code;
    enum err_code code = compare_bundle(client, &release, payload, arena, err);
    if (code == ERR_OK)
        return show_existing(client, &release, arena, err);
    if (code != ERR_NOT_FOUND)
        return code;
    *err = (struct err){0};
    if (send_files(client, &files, err))
        return err->code;
    return store(client, envelope, invocation->flags[FLAG_REASON], arena, err);
}

enum err_code cmd_release_create(struct invocation *invocation, struct err *err)
{
    bool file = invocation->flags[FLAG_FILE] != NULL;
    if (file == (invocation->flags[FLAG_BUNDLE] != NULL)) {
        err_set(err, ERR_USAGE, "release create takes either a description or a bundle");
        return err_hint(err, "captain release create -f release.yaml");
    }
    bool offline = invocation->flags[FLAG_OUTPUT_DIR] != NULL;
    if (offline != (invocation->flags[FLAG_SEQUENCE] != NULL) || (offline && !file)) {
        err_set(err, ERR_USAGE,
                "a release that is only written to a folder takes both --output "
                "and --sequence");
        return err_hint(err, "captain release create -f release.yaml --sequence N --output DIR");
    }
    return file ? from_yaml(invocation, err) : from_bundle(invocation, err);
}

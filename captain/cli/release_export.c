/* SPDX-License-Identifier: Apache-2.0
 *
 * captain release export: DIR/release.dsse and DIR/artifacts/<sha256>, all that another captain
 * needs.
 */
#include "captain/cli/release.h"

#include <stdio.h>
#include <sys/stat.h>

#include "captain/cli/output.h"
#include "captain/cli/upload.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"

static enum err_code export_artifact(struct client *client, const struct artifact *artifact,
                                     const char *folder, struct arena *arena, struct err *err)
{
    char hex[DIGEST_HEX];
    str_hex(artifact->sha256, hex);
    const char *path = arena_printf(arena, "%s/artifacts/%s", folder, hex);
    if (!path)
        return err_set(err, ERR_SIZE, "the release is too large to export");
    struct stat st;
    if (stat(path, &st) == 0 && (uint64_t)st.st_size == artifact->size_bytes)
        return ERR_OK; /* two targets of one release may share a file */
    enum err_code code = download_artifact(client, artifact->sha256, path, err);
    if (code != ERR_NOT_FOUND || artifact->urls_len == 0)
        return code;
    output_note("%s is not stored here; devices take it from %s", artifact->path,
                artifact->urls[0]);
    *err = (struct err){0};
    return ERR_OK;
}

static enum err_code check_digest(const struct release_info *info, struct bytes payload,
                                  struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    hash_bytes(payload, digest);
    str_hex(bytes_of(digest, sizeof digest), hex);
    if (str_equal(hex, info->digest))
        return ERR_OK;
    return err_set(err, ERR_HASH, "captain's copy of %s@%s has another hash", info->app,
                   info->version);
}

static enum err_code export_all(struct client *client, const struct release_info *info,
                                const char *folder, struct arena *arena, struct err *err)
{
    struct release release;
    struct bytes payload;
    const char *artifacts = output_text(arena_printf(arena, "%s/artifacts", folder));
    const char *document = output_text(arena_printf(arena, "%s/release.dsse", folder));
    if (release_unwrap(info->envelope, arena, &payload, &release, err) ||
        check_digest(info, payload, err) || file_make_dirs(artifacts, 0755, err))
        return err->code;
    for (size_t i = 0; i < release.artifacts_len; i++)
        if (export_artifact(client, &release.artifacts[i], folder, arena, err))
            return err->code;
    return file_replace(document, info->envelope, 0644, err);
}

enum err_code cmd_release_export(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct arena *arena = invocation->arena;
    struct release_query query;
    struct release_info info;
    if (release_query_parse(invocation->args[0], arena, &query, err) ||
        client_open(invocation, &client, err) ||
        release_ask(client, "export", &query, arena, &info, err))
        return err->code;
    const char *folder = invocation->flags[FLAG_OUTPUT_DIR];
    if (!folder)
        folder = output_text(arena_printf(arena, "%s-%s", info.app, info.version));
    if (export_all(client, &info, folder, arena, err))
        return err->code;
    output_note("release %s@%s is written to %s", info.app, info.version, folder);
    if (!output_is_json())
        return ERR_OK;
    return output_message(&codec_release_info, &info, arena, err);
}

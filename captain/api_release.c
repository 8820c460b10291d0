/* SPDX-License-Identifier: Apache-2.0
 *
 * release.create | next | ls | show | export
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "captain/api_private.h"
#include "common/clock.h"

enum {
    KNOWN_NAMED_MAX = 8,
    INSTALL_LEAST_MS = 60 * 1000, /* what ends sooner reaches no device in time */
};

/* Names. */

static enum err_code check_app(const char *app, struct err *err)
{
    if (str_is_token(app))
        return ERR_OK;
    return err_set(err, ERR_USAGE, "'%s' is not the name of an app", app);
}

enum err_code api_release_unknown(struct api_request *request, const char *app, const char *version,
                                  struct err *err)
{
    struct store_release *releases;
    struct err failed = {0};
    char known[256] = "";
    size_t len = 0, used = 0;
    if (store_release_list(request->captain->db, app, &request->arena, &releases, &len, &failed) !=
        ERR_OK)
        return err_set(err, ERR_NOT_FOUND, "release %s@%s is not known here", app, version);
    for (size_t i = 0; i < len && i < KNOWN_NAMED_MAX && used < sizeof known - VERSION_MAX - 4; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 releases[i].version);
    if (len == 0) {
        (void)err_set(err, ERR_NOT_FOUND, "release %s@%s is not known here\napp %s has none", app,
                      version, app);
        return err_hint(err, "captain release create -f release.yaml");
    }
    (void)err_set(err, ERR_NOT_FOUND, "release %s@%s is not known here\napp %s has: %s%s", app,
                  version, app, known, len > KNOWN_NAMED_MAX ? " ..." : "");
    return err_hint(err, "captain release ls %s", app);
}

/* Creating. */

static enum err_code check_version(struct api_request *request, const struct release *release,
                                   const uint8_t digest[DIGEST_BYTES], struct err *err)
{
    struct store_release existing;
    struct err absent = {0};
    arena_reset(&request->scratch);
    const enum err_code code =
        store_release_find(request->captain->db, release->app, release->version, &request->scratch,
                           &existing, &absent);
    if (code == ERR_NOT_FOUND)
        return ERR_OK;
    if (code != ERR_OK)
        return err_set(err, code, "%s", absent.text);
    if (memcmp(existing.digest, digest, DIGEST_BYTES) == 0) {
        request->settled = true;
        return ERR_OK;
    }
    (void)err_set(err, ERR_CONFLICT, "release %s@%s exists with other content", release->app,
                  release->version);
    return err_hint(err, "a release never changes: give the new one another version");
}

static enum err_code check_sequence(struct api_request *request, const struct release *release,
                                    struct err *err)
{
    uint64_t last = 0;
    const enum err_code code =
        store_release_last_sequence(request->captain->db, release->app, &last, err);
    if (code != ERR_OK || release->sequence > last)
        return code;
    (void)err_set(err, ERR_CONFLICT,
                  "release %s@%s has sequence %" PRIu64 ", which must be above %" PRIu64
                  ", the last of its app",
                  release->app, release->version, release->sequence, last);
    return err_hint(err, "somebody was faster: create it again");
}

static enum err_code check_artifacts(struct api_request *request, const struct release *release,
                                     struct err *err)
{
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < release->artifacts_len; i++) {
        const struct artifact *artifact = &release->artifacts[i];
        if (artifact->urls_len ||
            artifacts_has(request->captain->artifacts, artifact->sha256.ptr, artifact->size_bytes))
            continue;
        str_hex(artifact->sha256, hex);
        (void)err_set(err, ERR_NOT_FOUND,
                      "artifact %s (%" PRIu64 " bytes, sha256 %s) is not in the store",
                      artifact->path, artifact->size_bytes, hex);
        return err_hint(err, "upload it first, or name a URL for it");
    }
    return ERR_OK;
}

static enum err_code check_expiry(const struct release *release, struct err *err)
{
    const int64_t now_ms = clock_unix_ms();
    char when[32];
    if (!release->expires_ms || release->expires_ms >= now_ms + INSTALL_LEAST_MS)
        return ERR_OK;
    str_format_time(release->expires_ms, when);
    if (release->expires_ms <= now_ms)
        (void)err_set(err, ERR_EXPIRED, "release %s@%s expired at %s: no device would install it",
                      release->app, release->version, when);
    else
        (void)err_set(err, ERR_EXPIRED,
                      "release %s@%s expires at %s, within a minute: no device could install it",
                      release->app, release->version, when);
    return err_hint(
        err, "sign it anew with a later \"expires\"; is the clock right where it was signed?");
}

static enum err_code check_release(struct api_request *request, const struct release *release,
                                   const uint8_t digest[DIGEST_BYTES], struct err *err)
{
    if (!str_is_token(release->app) || !str_is_version(release->version))
        return err_set(err, ERR_MALFORMED, "the release's app or version is not a name");
    enum err_code code = check_expiry(release, err);
    if (code == ERR_OK)
        code = check_version(request, release, digest, err);
    if (code != ERR_OK || request->settled)
        return code;
    code = check_sequence(request, release, err);
    return code == ERR_OK ? check_artifacts(request, release, err) : code;
}

enum err_code api_release_prepare(struct api_request *request, struct arena *arena,
                                  struct decision *ret, struct err *err)
{
    const struct release_create *create = &request->in.release_create;
    struct captain *captain = request->captain;
    struct release_created created = {.envelope = create->envelope};
    struct release release;
    uint8_t digest[DIGEST_BYTES];
    enum err_code code =
        keys_open_release(&captain->keys, create->envelope, &request->arena, &release, digest, err);
    if (code == ERR_OK)
        code = check_release(request, &release, digest, err);
    if (code != ERR_OK || request->settled)
        return code;
    /* Durable before the log names it: whoever reads the log can fetch it. */
    code = artifacts_put_release(captain->artifacts, digest, create->envelope, err);
    if (code != ERR_OK)
        return code;
    *ret = (struct decision){
        .actor = request->actor, .kind = "release.created", .reason = create->reason};
    created.digest = bytes_of(digest, DIGEST_BYTES);
    ret->subject = arena_printf(arena, "%s@%s", release.app, release.version);
    return ret->subject ? codec_encode(&codec_release_created, &created, arena, &ret->body, err)
                        : api_too_large(err);
}

/* Telling. */

static enum err_code describe_one(struct api_request *request, const char *app, const char *version,
                                  struct store_release *ret_row, struct release_info *ret,
                                  struct err *err)
{
    if (!str_is_token(app) || !str_is_version(version)) {
        (void)err_set(err, ERR_USAGE, "'%s@%s' is not the name of a release", app, version);
        return err_hint(err, "APP@VERSION, as in hello@1.1");
    }
    const enum err_code code =
        store_release_find(request->captain->db, app, version, &request->arena, ret_row, err);
    if (code == ERR_NOT_FOUND)
        return api_release_unknown(request, app, version, err);
    return code == ERR_OK ? api_release_describe(request, ret_row, ret, err) : code;
}

/* After release.create: what stands in the tables now. */
enum err_code api_release_created(struct api_request *request, union api_out *ret, struct err *err)
{
    struct store_release row;
    struct release release;
    uint8_t digest[DIGEST_BYTES];
    const enum err_code code =
        keys_open_release(&request->captain->keys, request->in.release_create.envelope,
                          &request->arena, &release, digest, err);
    return code == ERR_OK
               ? describe_one(request, release.app, release.version, &row, &ret->release_info, err)
               : code;
}

enum err_code api_release_next(struct api_request *request, union api_out *ret, struct err *err)
{
    const char *app = request->in.release_next.app;
    const enum err_code code = check_app(app, err);
    if (code != ERR_OK)
        return code;
    return store_release_last_sequence(request->captain->db, app,
                                       &ret->release_sequence.last_sequence, err);
}

enum err_code api_release_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    const char *app = request->in.release_query.app;
    struct store_release *rows;
    size_t len = 0;
    enum err_code code = app[0] ? check_app(app, err) : ERR_OK;
    if (code == ERR_OK)
        code = store_release_list(request->captain->db, app, &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct release_info *infos = arena_alloc(&request->arena, (len + 1) * sizeof *infos);
    if (!infos)
        return api_too_large(err);
    for (size_t i = 0; i < len && code == ERR_OK; i++)
        code = api_release_describe(request, &rows[i], &infos[i], err);
    ret->release_list = (struct release_list){.releases = infos, .releases_len = len};
    return code;
}

enum err_code api_release_show(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct release_query *query = &request->in.release_query;
    struct store_release row;
    return describe_one(request, query->app, query->version, &row, &ret->release_info, err);
}

enum err_code api_release_export(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct release_query *query = &request->in.release_query;
    struct store_release row;
    const enum err_code code =
        describe_one(request, query->app, query->version, &row, &ret->release_info, err);
    if (code == ERR_OK)
        ret->release_info.envelope = row.envelope;
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A release in words, for release.ls, show, export and create.
 */
#include <stdio.h>
#include <string.h>

#include "captain/api_private.h"

enum { LINE_MAX_BYTES = 1000, KEYID_BYTES = 8 };

static bool take_signers(struct api_request *request, const struct envelope *envelope,
                         struct release_info *ret)
{
    const char **signers =
        arena_alloc(&request->arena, (envelope->signatures_len + 1) * sizeof *signers);
    uint8_t keyid[KEYID_BYTES];
    if (!signers)
        return false;
    for (size_t i = 0; i < envelope->signatures_len; i++) {
        /* The key id is a hint that anybody may write. */
        if (str_unhex(envelope->signatures[i].keyid, keyid, sizeof keyid) == ERR_OK)
            signers[ret->signers_len++] = envelope->signatures[i].keyid;
    }
    ret->signers = signers;
    return true;
}

static bool take_sources(struct api_request *request, const struct release *release,
                         struct release_info *ret)
{
    struct release_info_source *sources =
        arena_alloc(&request->arena, (release->sources_len + 1) * sizeof *sources);
    if (!sources)
        return false;
    for (size_t i = 0; i < release->sources_len; i++)
        sources[i] = (struct release_info_source){.repository = release->sources[i].repository,
                                                  .commit = release->sources[i].commit};
    ret->sources = sources;
    ret->sources_len = release->sources_len;
    return true;
}

static const char *target_of(struct api_request *request, const struct artifact *artifact)
{
    if (!artifact->os[0] && !artifact->arch[0] && !artifact->hardware[0])
        return "any";
    return arena_printf(&request->arena, "%s/%s%s%s", artifact->os[0] ? artifact->os : "any",
                        artifact->arch[0] ? artifact->arch : "any",
                        artifact->hardware[0] ? "/" : "", artifact->hardware);
}

static bool take_artifacts(struct api_request *request, const struct release *release,
                           struct release_info *ret)
{
    struct release_artifact *artifacts =
        arena_alloc(&request->arena, (release->artifacts_len + 1) * sizeof *artifacts);
    if (!artifacts)
        return false;
    for (size_t i = 0; i < release->artifacts_len; i++) {
        const struct artifact *artifact = &release->artifacts[i];
        artifacts[i] = (struct release_artifact){
            .path = artifact->path,
            .kind = artifact->kind == ARTIFACT_KIND_TREE ? "tree" : "file",
            .target = target_of(request, artifact),
            .size_bytes = artifact->size_bytes,
            .sha256 = api_hex(request, artifact->sha256)};
    }
    ret->artifacts = artifacts;
    ret->artifacts_len = release->artifacts_len;
    return true;
}

/* A line for people; control characters of a command would be refused by the codec. */
static const char *line_of(struct api_request *request, const char *name, const char *what,
                           const char *const *command, size_t command_len)
{
    char line[LINE_MAX_BYTES + 1];
    size_t used = (size_t)snprintf(line, sizeof line, "%s: %s", name, what);
    for (size_t i = 0; i < command_len && used < sizeof line; i++)
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%s", i ? " " : "", command[i]);
    for (char *p = line; *p; p++) {
        if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
            *p = '?';
    }
    return arena_strdup(&request->arena, line);
}

static bool take_services(struct api_request *request, const struct release *release,
                          struct release_info *ret)
{
    const char **lines = arena_alloc(&request->arena, (release->services_len + 1) * sizeof *lines);
    bool complete = lines != NULL;
    for (size_t i = 0; i < release->services_len && complete; i++) {
        const struct service *service = &release->services[i];
        lines[i] = line_of(request, service->name, "", service->command, service->command_len);
        complete = lines[i] != NULL;
    }
    ret->services = lines;
    ret->services_len = release->services_len;
    return complete;
}

static const char *check_line(struct api_request *request, const struct check *check)
{
    switch (check->kind) {
    case CHECK_KIND_PROCESS:
        return line_of(request, check->name, "process ", &check->service, 1);
    case CHECK_KIND_HTTP:
        return line_of(request, check->name, "http ", &check->url, 1);
    case CHECK_KIND_TCP:
        return line_of(request, check->name, "tcp ", &check->address, 1);
    case CHECK_KIND_EXEC:
        return line_of(request, check->name, "exec ", check->command, check->command_len);
    case CHECK_KIND_UNSPECIFIED:
        break;
    }
    return line_of(request, check->name, "of a kind this captain does not know", NULL, 0);
}

static bool take_checks(struct api_request *request, const struct release *release,
                        struct release_info *ret)
{
    const char **lines = arena_alloc(&request->arena, (release->checks_len + 1) * sizeof *lines);
    bool complete = lines != NULL;
    for (size_t i = 0; i < release->checks_len && complete; i++)
        complete = (lines[i] = check_line(request, &release->checks[i])) != NULL;
    ret->checks = lines;
    ret->checks_len = release->checks_len;
    return complete;
}

/* Those that point to it now. */
static enum err_code take_channels(struct api_request *request, const struct store_release *release,
                                   struct release_info *ret, struct err *err)
{
    if (!request->channels) {
        const enum err_code code = store_channel_list(
            request->captain->db, &request->arena, &request->channels, &request->channels_len, err);
        if (code != ERR_OK)
            return code;
    }
    const char **names = arena_alloc(&request->arena, (request->channels_len + 1) * sizeof *names);
    bool complete = names != NULL;
    for (size_t i = 0; i < request->channels_len && complete; i++) {
        const struct store_channel *channel = &request->channels[i];
        if (memcmp(channel->digest, release->digest, DIGEST_BYTES) != 0)
            continue;
        const char *name = arena_printf(&request->arena, "%s/%s", channel->app, channel->channel);
        complete = name != NULL;
        names[ret->channels_len++] = name;
    }
    ret->channels = names;
    return complete ? ERR_OK : api_too_large(err);
}

static enum err_code take_document(struct api_request *request, const struct store_release *row,
                                   struct release_info *ret, struct err *err)
{
    struct envelope envelope;
    struct release release;
    enum err_code code =
        codec_decode(&codec_envelope, row->envelope, &request->arena, &envelope, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_release, envelope.payload, &request->arena, &release, err);
    if (code != ERR_OK)
        return err_wrap(err, "release %s@%s as stored", row->app, row->version);
    ret->data_version = release.data_version;
    const bool complete =
        take_signers(request, &envelope, ret) && take_sources(request, &release, ret) &&
        take_artifacts(request, &release, ret) && take_services(request, &release, ret) &&
        take_checks(request, &release, ret);
    return complete ? ERR_OK : api_too_large(err);
}

enum err_code api_release_describe(struct api_request *request, const struct store_release *row,
                                   struct release_info *ret, struct err *err)
{
    char name[RELEASE_NAME_MAX];
    (void)snprintf(name, sizeof name, "%s@%s", row->app, row->version);
    *ret = (struct release_info){.app = row->app,
                                 .version = row->version,
                                 .sequence = row->sequence,
                                 .digest = api_hex(request, bytes_of(row->digest, DIGEST_BYTES)),
                                 .created_ms = row->created_ms,
                                 .created_by = row->created_by,
                                 .decision = row->decision,
                                 .size_bytes = row->size_bytes,
                                 .devices = fleet_release_devices(request->captain->fleet, name)};
    enum err_code code = ret->digest ? ERR_OK : api_too_large(err);
    if (code == ERR_OK && row->envelope.len > 0)
        code = take_document(request, row, ret, err);
    return code == ERR_OK ? take_channels(request, row, ret, err) : code;
}

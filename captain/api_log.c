/* SPDX-License-Identifier: Apache-2.0
 *
 * log.ls | show: decisions, and in words what each decided.
 */
#include <inttypes.h>

#include "captain/api_private.h"
#include "common/base/mem.h"

enum { PAGE_DEFAULT = 50, DETAILS_MAX = 96 };

/* Details of one entry; the first that does not fit the arena sets failed. */
struct details {
    struct api_request *request;
    struct log_detail *at;
    size_t len;
    bool failed;
};

static void add(struct details *details, const char *name, const char *value)
{
    if (!value)
        details->failed = true;
    else if (value[0] && details->len < DETAILS_MAX)
        details->at[details->len++] = (struct log_detail){.name = name, .value = value};
}

static void add_number(struct details *details, const char *name, uint64_t value)
{
    add(details, name, arena_printf(&details->request->arena, "%" PRIu64, value));
}

static void add_digest(struct details *details, const char *name, struct bytes digest)
{
    add(details, name, api_hex(details->request, digest));
}

static enum err_code tell_started(struct details *details, struct bytes body, struct err *err)
{
    struct captain_started started;
    const enum err_code code =
        codec_decode(&codec_captain_started, body, &details->request->arena, &started, err);
    if (code != ERR_OK)
        return code;
    add(details, "holder", started.holder);
    add(details, "folder", started.folder);
    add(details, "version", started.version);
    return ERR_OK;
}

static enum err_code tell_root(struct details *details, struct bytes body, struct err *err)
{
    struct arena *arena = &details->request->arena;
    struct envelope envelope;
    struct root root;
    enum err_code code = codec_decode(&codec_envelope, body, arena, &envelope, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_root, envelope.payload, arena, &root, err);
    if (code != ERR_OK)
        return code;
    char expires[32];
    str_format_time(root.expires_ms, expires);
    add(details, "tenant", root.tenant);
    add_number(details, "version", root.version);
    add(details, "expires", arena_strdup(arena, expires));
    for (size_t i = 0; i < root.roles_len; i++)
        add(details, arena_printf(arena, "role.%s", root.roles[i].name),
            arena_printf(arena, "%u of %zu", root.roles[i].threshold, root.roles[i].keys_len));
    return ERR_OK;
}

static enum err_code tell_release(struct details *details, struct bytes body, struct err *err)
{
    struct arena *arena = &details->request->arena;
    struct release_created created;
    struct envelope envelope;
    struct release release;
    enum err_code code = codec_decode(&codec_release_created, body, arena, &created, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_envelope, created.envelope, arena, &envelope, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_release, envelope.payload, arena, &release, err);
    if (code != ERR_OK)
        return code;
    add(details, "app", release.app);
    add(details, "version", release.version);
    add_number(details, "sequence", release.sequence);
    add_digest(details, "digest", created.digest);
    for (size_t i = 0; i < release.artifacts_len; i++)
        add_digest(details, "artifact", release.artifacts[i].sha256);
    return ERR_OK;
}

static enum err_code tell_channel(struct details *details, struct bytes body, struct err *err)
{
    struct channel_set set;
    const enum err_code code =
        codec_decode(&codec_channel_set, body, &details->request->arena, &set, err);
    if (code != ERR_OK)
        return code;
    add(details, "app", set.app);
    add(details, "channel", set.channel);
    add(details, "release", api_release_name(details->request, set.digest));
    add(details, "previous", api_release_name(details->request, set.base_digest));
    add_digest(details, "digest", set.digest);
    add_digest(details, "base_digest", set.base_digest);
    return ERR_OK;
}

static const struct {
    const char *kind;
    enum err_code (*tell)(struct details *details, struct bytes body, struct err *err);
} kinds[] = {
    {"captain.started", tell_started},
    {"root.created", tell_root},
    {"release.created", tell_release},
    {"channel.set", tell_channel},
};

static enum err_code tell(struct api_request *request, const struct log_entry *entry,
                          struct log_info *ret, struct err *err)
{
    struct details details = {.request = request};
    details.at = arena_alloc(&request->arena, DETAILS_MAX * sizeof *details.at);
    if (!details.at)
        return api_too_large(err);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const enum err_code code = str_equal(kinds[i].kind, entry->kind)
                                       ? kinds[i].tell(&details, entry->body, err)
                                       : ERR_OK;
        if (code != ERR_OK)
            return err_wrap(err, "entry %" PRIu64 " of the log", entry->seq);
    }
    for (size_t i = 0; i < entry->evidence_len; i++)
        add(&details, entry->evidence[i].name, entry->evidence[i].value);
    ret->details = details.at;
    ret->details_len = details.len;
    return details.failed ? api_too_large(err) : ERR_OK;
}

static enum err_code describe(struct api_request *request, const struct store_log_row *row,
                              bool in_full, struct log_info *ret, struct err *err)
{
    struct log_entry entry;
    const enum err_code code =
        codec_decode(&codec_log_entry, row->entry, &request->arena, &entry, err);
    if (code != ERR_OK)
        return err_wrap(err, "entry %" PRIu64 " of the log", row->seq);
    *ret = (struct log_info){.seq = entry.seq,
                             .time_ms = entry.time_ms,
                             .actor = entry.actor,
                             .kind = entry.kind,
                             .subject = entry.subject,
                             .reason = entry.reason,
                             .hash = api_hex(request, bytes_of(row->hash, DIGEST_BYTES)),
                             .previous = api_hex(request, entry.previous)};
    if (!ret->hash || !ret->previous)
        return api_too_large(err);
    return in_full ? tell(request, &entry, ret, err) : ERR_OK;
}

enum err_code api_log_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct log_query *query = &request->in.log_query;
    const uint32_t limit = query->limit ? query->limit : PAGE_DEFAULT;
    struct store_log_row *rows;
    size_t len = 0;
    enum err_code code = store_log_list(request->captain->db, query->before, query->kind,
                                        query->subject, limit, &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct log_info *infos = arena_alloc(&request->arena, (len + 1) * sizeof *infos);
    if (!infos)
        return api_too_large(err);
    for (size_t i = 0; i < len && code == ERR_OK; i++)
        code = describe(request, &rows[i], false, &infos[i], err);
    const bool more = len == limit && rows[len - 1].seq > 1;
    ret->log_list = (struct log_list){
        .entries = infos, .entries_len = len, .next_before = more ? rows[len - 1].seq : 0};
    return code;
}

enum err_code api_log_show(struct api_request *request, union api_out *ret, struct err *err)
{
    const uint64_t seq = request->in.log_query.seq;
    struct store_log_row row;
    const enum err_code code = store_log_get(request->captain->db, seq, &request->arena, &row, err);
    if (code == ERR_NOT_FOUND) {
        (void)err_set(err, ERR_NOT_FOUND,
                      "the log has no entry %" PRIu64 ", the newest is %" PRIu64, seq,
                      decisions_last_seq(request->captain->decisions));
        return err_hint(err, "captain log ls");
    }
    return code == ERR_OK ? describe(request, &row, true, &ret->log_info, err) : code;
}

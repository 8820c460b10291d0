/* SPDX-License-Identifier: Apache-2.0
 *
 * channel.set | ls | show | history
 */
#include <stdlib.h>
#include <string.h>

#include "captain/api_private.h"
#include "common/base/mem.h"

enum { HISTORY_DEFAULT = 50 };

/* Names. */

enum err_code api_read_channel(const char *text, struct api_channel *ret, struct err *err)
{
    if (str_split_pair(text, '/', ret->app, ret->channel, err) == ERR_OK &&
        str_is_token(ret->app) && str_is_token(ret->channel))
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "'%s' is not the name of a channel", text);
    return err_hint(err, "APP/CHANNEL, as in hello/stable");
}

/* Setting. */

enum err_code api_find_release(struct api_request *request, const char *app, const char *text,
                               struct store_release *ret, struct err *err)
{
    char of[TOKEN_MAX + 1], version[VERSION_MAX + 1];
    if (str_split_pair(text, '@', of, version, err) != ERR_OK || !str_is_token(of) ||
        !str_is_version(version)) {
        (void)err_set(err, ERR_USAGE, "'%s' is not the name of a release", text);
        return err_hint(err, "APP@VERSION, as in hello@1.1");
    }
    if (!str_equal(of, app)) {
        (void)err_set(err, ERR_USAGE, "%s is no release of app %s", text, app);
        return err_hint(err, "captain release ls %s", app);
    }
    const enum err_code code =
        store_release_find(request->captain->db, of, version, &request->arena, ret, err);
    return code == ERR_NOT_FOUND ? api_release_unknown(request, of, version, err) : code;
}

/* While a rollout steers the channel, pointing it elsewhere would be two orders at once. */
static enum err_code check_no_rollout(struct api_request *request, const struct api_channel *name,
                                      struct err *err)
{
    struct rollout_handle live;
    if (!rollouts_live(request->captain->rollouts, name->app, name->channel, &live))
        return ERR_OK;
    struct rollout_view view;
    rollout_view(live.core, &view);
    (void)err_set(err, ERR_CONFLICT, "channel %s/%s has a rollout that is %s: %s", name->app,
                  name->channel, rollout_state_name(view.state), live.id);
    return err_hint(err, "captain rollout abort %s/%s, or captain rollout start, which supersedes",
                    name->app, name->channel);
}

enum err_code api_channel_prepare(struct api_request *request, struct arena *arena,
                                  struct decision *ret, struct err *err)
{
    struct captain *captain = request->captain;
    struct api_channel name;
    struct store_release release;
    struct store_channel now;
    struct err absent = {0};
    enum err_code code = api_read_channel(request->in.channel_set.channel, &name, err);
    if (code == ERR_OK)
        code = check_no_rollout(request, &name, err);
    if (code == ERR_OK)
        code = api_find_release(request, name.app, request->in.channel_set.release, &release, err);
    if (code != ERR_OK)
        return code;
    struct channel_set set = {.app = name.app, .channel = name.channel};
    set.digest = bytes_of(release.digest, DIGEST_BYTES);
    code = store_channel_get(captain->db, name.app, name.channel, &request->arena, &now, &absent);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return err_set(err, code, "%s", absent.text);
    if (code == ERR_OK) {
        request->settled = memcmp(now.digest, release.digest, DIGEST_BYTES) == 0;
        set.base_digest = bytes_of(now.digest, DIGEST_BYTES);
    }
    *ret = (struct decision){
        .actor = request->actor, .kind = "channel.set", .reason = request->in.channel_set.reason};
    ret->subject = arena_printf(arena, "%s/%s", name.app, name.channel);
    return ret->subject ? codec_encode(&codec_channel_set, &set, arena, &ret->body, err)
                        : api_too_large(err);
}

/* Counters of one channel. */

static uint64_t devices_of(const struct fleet_count *count)
{
    uint64_t sum = 0;
    for (int i = 0; i < FLEET_STATES; i++)
        sum += count->by_state[i];
    return sum;
}

/* Most devices first; then by name, so that an answer is the same each time. */
static int compare_counts(const void *a, const void *b)
{
    const struct fleet_count *x = a, *y = b;
    const uint64_t x_devices = devices_of(x), y_devices = devices_of(y);
    if (x_devices != y_devices)
        return x_devices > y_devices ? -1 : 1;
    return strcmp(x->release, y->release);
}

/* "app@1.1" -> "1.1" */
static const char *version_of(const char *release)
{
    const char *at = strchr(release, '@');
    return at ? at + 1 : "none";
}

static bool take_versions(struct api_request *request, const struct fleet_count *counts, size_t len,
                          struct channel_info *ret)
{
    const size_t told = len < API_VERSIONS_MAX ? len : API_VERSIONS_MAX;
    struct state_count *versions = arena_alloc(&request->arena, (told + 1) * sizeof *versions);
    bool complete = versions != NULL;
    for (size_t i = 0; i < told && complete; i++) {
        const char *version = arena_strdup(&request->arena, version_of(counts[i].release));
        versions[i] = (struct state_count){.name = version, .devices = devices_of(&counts[i])};
        complete = version != NULL;
    }
    ret->versions = versions;
    ret->versions_len = told;
    return complete;
}

static bool take_states(struct api_request *request, const struct fleet_count *counts, size_t len,
                        struct channel_info *ret)
{
    struct state_count *states = arena_alloc(&request->arena, FLEET_STATES * sizeof *states);
    if (!states)
        return false;
    for (unsigned state = 0; state < FLEET_STATES; state++) {
        uint64_t devices = 0;
        for (size_t i = 0; i < len; i++)
            devices += counts[i].by_state[state];
        if (devices)
            states[ret->states_len++] =
                (struct state_count){.name = api_state_name(state), .devices = devices};
        ret->devices += devices;
    }
    ret->states = states;
    return true;
}

static bool take_counts(struct api_request *request, struct channel_info *ret)
{
    const struct fleet *fleet = request->captain->fleet;
    const size_t len = fleet_channel_counts(fleet, ret->channel, NULL, 0);
    struct fleet_count *counts = mem_new(len + 1, sizeof *counts);
    (void)fleet_channel_counts(fleet, ret->channel, counts, len);
    qsort(counts, len, sizeof *counts, compare_counts);
    for (size_t i = 0; i < len; i++) {
        if (str_equal(counts[i].release, ret->release))
            ret->on_release = counts[i].by_state[APP_STATE_HEALTHY];
    }
    const bool complete =
        take_versions(request, counts, len, ret) && take_states(request, counts, len, ret);
    mem_free(counts);
    return complete;
}

static bool describe(struct api_request *request, const struct store_channel *row,
                     struct channel_info *ret)
{
    const struct bytes base = bytes_of(row->base_digest, row->has_base ? DIGEST_BYTES : 0);
    *ret = (struct channel_info){
        .channel = arena_printf(&request->arena, "%s/%s", row->app, row->channel),
        .release = api_release_name(request, bytes_of(row->digest, DIGEST_BYTES)),
        .digest = api_hex(request, bytes_of(row->digest, DIGEST_BYTES)),
        .generation = row->generation,
        .since_ms = row->since_ms,
        .set_by = row->set_by,
        .reason = row->reason,
        .decision = row->decision,
        .previous = api_release_name(request, base),
    };
    return ret->channel && ret->release && take_counts(request, ret);
}

enum err_code api_channels(struct api_request *request, const struct channel_info **ret,
                           size_t *ret_len, struct err *err)
{
    struct store_channel *rows;
    size_t len = 0;
    const enum err_code code =
        store_channel_list(request->captain->db, &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct channel_info *infos = arena_alloc(&request->arena, (len + 1) * sizeof *infos);
    if (!infos)
        return api_too_large(err);
    for (size_t i = 0; i < len; i++) {
        if (!describe(request, &rows[i], &infos[i]))
            return api_too_large(err);
    }
    *ret = infos;
    *ret_len = len;
    return ERR_OK;
}

static enum err_code show(struct api_request *request, const char *text, struct channel_info *ret,
                          struct err *err)
{
    struct api_channel name;
    struct store_channel row;
    enum err_code code = api_read_channel(text, &name, err);
    if (code == ERR_OK)
        code = store_channel_get(request->captain->db, name.app, name.channel, &request->arena,
                                 &row, err);
    if (code == ERR_NOT_FOUND) {
        (void)err_set(err, ERR_NOT_FOUND, "channel %s is not known here", text);
        return err_hint(err, "captain channel ls; captain channel set %s APP@VERSION makes it",
                        text);
    }
    if (code != ERR_OK)
        return code;
    return describe(request, &row, ret) ? ERR_OK : api_too_large(err);
}

/* After channel.set: what stands in the tables now. */
enum err_code api_channel_was_set(struct api_request *request, union api_out *ret, struct err *err)
{
    return show(request, request->in.channel_set.channel, &ret->channel_info, err);
}

enum err_code api_channel_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    struct channel_list *list = &ret->channel_list;
    if (request->in.channel_query.channel[0] == '\0')
        return api_channels(request, &list->channels, &list->channels_len, err);
    struct channel_info *one = arena_alloc(&request->arena, sizeof *one);
    if (!one)
        return api_too_large(err);
    list->channels = one;
    list->channels_len = 1;
    return show(request, request->in.channel_query.channel, one, err);
}

enum err_code api_channel_show(struct api_request *request, union api_out *ret, struct err *err)
{
    return show(request, request->in.channel_query.channel, &ret->channel_info, err);
}

static enum err_code change_of(struct api_request *request, struct bytes encoded,
                               struct channel_change *ret, struct err *err)
{
    struct log_entry entry;
    struct channel_set set;
    enum err_code code = codec_decode(&codec_log_entry, encoded, &request->arena, &entry, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_channel_set, entry.body, &request->arena, &set, err);
    if (code != ERR_OK)
        return err_wrap(err, "an entry of the log");
    *ret = (struct channel_change){.decision = entry.seq,
                                   .time_ms = entry.time_ms,
                                   .actor = entry.actor,
                                   .release = api_release_name(request, set.digest),
                                   .previous = api_release_name(request, set.base_digest),
                                   .reason = entry.reason};
    return ret->release && ret->previous ? ERR_OK : api_too_large(err);
}

enum err_code api_channel_history(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct channel_query *query = &request->in.channel_query;
    struct api_channel name;
    struct store_log_row *rows;
    size_t len = 0;
    enum err_code code = api_read_channel(query->channel, &name, err);
    if (code == ERR_OK)
        code = store_log_list(request->captain->db, 0, "channel.set", query->channel,
                              query->limit ? query->limit : HISTORY_DEFAULT, &request->arena, &rows,
                              &len, err);
    if (code != ERR_OK)
        return code;
    struct channel_change *changes = arena_alloc(&request->arena, (len + 1) * sizeof *changes);
    if (!changes)
        return api_too_large(err);
    if (len == 0) {
        (void)err_set(err, ERR_NOT_FOUND, "channel %s is not known here", query->channel);
        return err_hint(err, "captain channel ls");
    }
    for (size_t i = 0; i < len && code == ERR_OK; i++)
        code = change_of(request, rows[i].entry, &changes[i], err);
    ret->channel_history =
        (struct channel_history){.channel = query->channel, .changes = changes, .changes_len = len};
    return code;
}

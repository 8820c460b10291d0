/* SPDX-License-Identifier: Apache-2.0
 *
 * What a channel's document says: by the tables alone.
 */
#include <string.h>

#include "captain/desired_flags.h"
#include "captain/desired_private.h"
#include "captain/io/store/channel.h"
#include "captain/io/store/release.h"
#include "captain/io/store/rollout.h"
#include "captain/selector.h"
#include "common/base/cohort.h"
#include "common/clock.h"
#include "common/log.h"

uint64_t desired_generation(uint64_t last, int64_t now_ms)
{
    return now_ms > 0 && last + 1 < (uint64_t)now_ms ? (uint64_t)now_ms : last + 1;
}

/* What the channel wants: plainly its release, or what the rollout that steers it published last. */
struct wish {
    const uint8_t *digest;
    const uint8_t *base; /* NULL: none */
    struct cohort cohort;
    const char *rollout; /* "": none */
    uint64_t decision;
};

static enum err_code fill_document(const struct desired_signer *p, const struct wish *wish,
                                   struct arena *arena, struct desired *document, struct err *err)
{
    struct store_release target;
    struct store_release base;
    enum err_code code = store_release_get(p->db, wish->digest, arena, &target, err);
    if (code == ERR_OK && wish->base)
        code = store_release_get(p->db, wish->base, arena, &base, err);
    if (code != ERR_OK)
        return code;
    document->release_digest = bytes_of(wish->digest, DIGEST_BYTES);
    document->release_sequence = target.sequence;
    document->release_version = target.version;
    document->cohort = &wish->cohort;
    document->rollout = wish->rollout;
    document->lease = wish->rollout[0] != '\0';
    document->decision = wish->decision;
    if (wish->base) {
        document->base_digest = bytes_of(wish->base, DIGEST_BYTES);
        document->base_sequence = base.sequence;
        document->base_version = base.version;
    }
    return ERR_OK;
}

static enum err_code read_selectors(const struct rollout_published *published, struct arena *arena,
                                    struct cohort *ret, struct err *err)
{
    struct selector *selectors =
        arena_alloc(arena, (published->selectors_len + 1) * sizeof *selectors);
    if (!selectors)
        return err_set(err, ERR_SIZE, "the selectors of a cohort take too much memory");
    for (size_t i = 0; i < published->selectors_len; i++) {
        enum err_code code = selector_parse(published->selectors[i], arena, &selectors[i], err);
        if (code != ERR_OK)
            return code;
    }
    ret->selectors = selectors;
    ret->selectors_len = published->selectors_len;
    return ERR_OK;
}

/* The way back is a cohort of nobody: everyone is outside, on the base. */
static enum err_code wish_of_rollout(const struct store_rollout *rollout, struct arena *arena,
                                     struct wish *ret, struct err *err)
{
    struct rollout_published published;
    enum err_code code =
        codec_decode(&codec_rollout_published, rollout->cohort, arena, &published, err);
    if (code != ERR_OK)
        return code;
    *ret = (struct wish){.digest = rollout->digest,
                         .base = rollout->has_base ? rollout->base_digest : NULL,
                         .cohort = {.salt = rollout->id},
                         .rollout = rollout->id,
                         .decision = rollout->published_decision};
    if (published.to_base)
        return ERR_OK;
    ret->cohort.cut = published.cut;
    ret->cohort.devices = published.devices;
    ret->cohort.devices_len = published.devices_len;
    return read_selectors(&published, arena, &ret->cohort, err);
}

/* A rollout steers from its first publication until the channel is set by something later: its own
 * success, or an operator. One that went back steers no more, unless there is nothing behind it. */
static bool steers(const struct store_rollout *rollout, const struct store_channel *channel)
{
    if (rollout->published_decision <= channel->decision)
        return false;
    return rollout->ended_ms == 0 || !rollout->to_base || !rollout->has_base;
}

static enum err_code find_wish(const struct desired_signer *p, const struct store_channel *channel,
                               uint64_t decision, struct arena *arena, struct wish *ret,
                               struct err *err)
{
    struct store_rollout *rollout = arena_alloc(arena, sizeof *rollout);
    struct err absent = {0};
    if (!rollout)
        return err_set(err, ERR_SIZE, "a channel takes too much memory");
    enum err_code code =
        store_rollout_steering(p->db, channel->app, channel->channel, arena, rollout, &absent);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return err_set(err, code, "%s", absent.text);
    if (code == ERR_OK && steers(rollout, channel))
        return wish_of_rollout(rollout, arena, ret, err);
    if (channel->unsettled)
        return err_set(err, ERR_NOT_FOUND, "channel %s/%s has no release yet", channel->app,
                       channel->channel);
    *ret = (struct wish){.digest = channel->digest,
                         .base = channel->has_base ? channel->base_digest : NULL,
                         .cohort = {.cut = COHORT_CUT_ALL},
                         .rollout = "",
                         .decision = decision};
    return ERR_OK;
}

enum err_code desired_seal(const struct desired_signer *p, const struct codec_type *type,
                           const void *document, struct arena *arena, struct bytes *ret,
                           struct err *err)
{
    struct bytes payload;
    const char *sign_type = type == &codec_device_desired ? SIGN_TYPE_DEVICE : SIGN_TYPE_DESIRED;
    enum err_code code = codec_encode(type, document, arena, &payload, err);
    if (code == ERR_OK)
        code = sign_seal(sign_type, payload, &p->keys->desired, 1, arena, ret, err);
    if (code == ERR_OK && ret->len > SIGN_DESIRED_MAX_BYTES)
        return err_set(err, ERR_SIZE, "a document of %zu bytes, of which devices take %d", ret->len,
                       SIGN_DESIRED_MAX_BYTES);
    return code;
}

/* Devices go on with what they have. A refusal here would end captain, and again at each start,
 * for the decision is in the log already. */
static enum err_code keep_document(const struct desired *document, struct err *err)
{
    (void)err_wrap(err,
                   "channel %s/%s keeps its last document, the new one is too large (%zu flags)",
                   document->app, document->channel, document->flags_len);
    (void)err_hint(err, "captain flag unset some of them");
    log_err("desired state cannot be issued", err);
    *err = (struct err){0};
    return ERR_OK;
}

enum err_code desired_document(const struct desired_signer *p, const char *app, const char *name,
                               uint64_t decision, struct arena *arena, struct err *err)
{
    struct store_channel channel;
    struct bytes envelope;
    const char *stores[] = {p->store_url};
    struct wish wish = {0};
    int64_t now_ms = clock_unix_ms();
    enum err_code code = store_channel_get(p->db, app, name, arena, &channel, err);
    if (code != ERR_OK)
        return code;
    code = find_wish(p, &channel, decision, arena, &wish, err);
    if (code != ERR_OK)
        return code;
    const uint64_t generation = desired_generation(channel.generation, now_ms);
    struct desired document = {.tenant = p->tenant,
                               .app = app,
                               .channel = name,
                               .generation = generation,
                               .issued_ms = now_ms,
                               .expires_ms = now_ms + p->valid_ms,
                               .stores = stores,
                               .stores_len = 1};
    code = fill_document(p, &wish, arena, &document, err);
    if (code == ERR_OK)
        code =
            desired_flags_read(p->db, app, name, arena, &document.flags, &document.flags_len, err);
    if (code == ERR_OK)
        code = desired_seal(p, &codec_desired, &document, arena, &envelope, err);
    if (code == ERR_SIZE)
        return keep_document(&document, err);
    if (code == ERR_OK)
        code = store_channel_issued(p->db, app, name, generation, now_ms, envelope, err);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/rollout_watch.h"

#include <stdio.h>
#include <string.h>

#include "captain/cli/client.h"
#include "captain/cli/output.h"
#include "captain/cli/rollout_view.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum {
    POLL_EVERY_MS = 2000, /* captain's own words come at once; this is for those that were lost */
    DRAW_EVERY_MS = 200,
    PATIENCE_MS = 30000, /* with a captain that is out of reach */
    TURN_MS = 50,
    ARENA_BYTES = 16 << 20,
};

/* Two infos live at a time: the one told last, and the next. */
struct told {
    struct arena arena;
    struct rollout_info info;
    bool known;
};

struct follow {
    struct client *client;
    const char *id;
    bool silent;
    struct told told[2];
    unsigned now;   /* index of the newer one */
    bool fresh;     /* and it has not been shown */
    uint64_t shown; /* a sum of what is on the screen */
    int64_t drawn_ms, polled_ms, heard_ms;
};

static struct told *newest(struct follow *follow)
{
    return &follow->told[follow->now];
}

static struct told *previous(struct follow *follow)
{
    return &follow->told[1 - follow->now];
}

/* Messages that come between two showings replace each other. */
static struct told *place_for_next(struct follow *follow)
{
    if (!follow->fresh)
        follow->now = 1 - follow->now;
    struct told *told = newest(follow);
    arena_reset(&told->arena);
    told->known = false;
    return told;
}

static void took(struct follow *follow)
{
    newest(follow)->known = true;
    follow->fresh = true;
    follow->heard_ms = clock_mono_ms();
}

static void on_message(void *arg, const struct bus_message *message)
{
    struct follow *follow = arg;
    struct arena scratch DEFER(arena_fini);
    struct rollout_info info;
    struct err err = {0};
    arena_init(&scratch, ARENA_BYTES);
    /* What cannot be read is not shown; the next poll tells. */
    if (codec_decode(&codec_rollout_info, message->data, &scratch, &info, &err) ||
        !str_equal(info.id, follow->id))
        return;
    struct told *told = place_for_next(follow);
    void *copy = arena_dup(&told->arena, message->data.ptr, message->data.len);
    if (copy && codec_decode(&codec_rollout_info, bytes_of(copy, message->data.len), &told->arena,
                             &told->info, &err) == ERR_OK)
        took(follow);
}

static enum err_code poll_captain(struct follow *follow, struct err *err)
{
    const struct rollout_query query = {.rollout = follow->id};
    struct rollout_info info;
    struct arena scratch DEFER(arena_fini);
    arena_init(&scratch, ARENA_BYTES);
    follow->polled_ms = clock_mono_ms();
    if (client_call(follow->client,
                    &(struct client_call){"rollout", "show", &codec_rollout_query, &query,
                                          &codec_rollout_info, &info},
                    &scratch, err))
        return err->code;
    /* A message may have come meanwhile and filled the place: this answer is newer than it. */
    struct told *told = place_for_next(follow);
    struct bytes bytes;
    if (codec_encode(&codec_rollout_info, &info, &told->arena, &bytes, err) ||
        codec_decode(&codec_rollout_info, bytes, &told->arena, &told->info, err))
        return err->code;
    took(follow);
    return ERR_OK;
}

/* Showing. */

static uint64_t sum_of(const struct output_row *rows, size_t len)
{
    uint64_t sum = len;
    for (size_t i = 0; i < len; i++)
        for (const char *p = rows[i].text; *p; p++)
            sum = sum * 1099511628211u + (unsigned char)*p;
    return sum;
}

static void draw(struct follow *follow, const struct rollout_info *info)
{
    struct rollout_view_size size;
    struct arena arena DEFER(arena_fini);
    size_t len = 0;
    arena_init(&arena, ARENA_BYTES);
    output_terminal_size(&size.width, &size.height, &size.plain);
    if (size.height > 1)
        size.height--; /* the cursor stands below */
    const struct output_row *rows = rollout_view_tree(info, clock_unix_ms(), &size, &arena, &len);
    const uint64_t sum = sum_of(rows, len);
    if (sum != follow->shown)
        output_redraw(rows, len);
    follow->shown = sum;
}

static void print_changes(struct follow *follow, const struct rollout_info *info)
{
    struct arena arena DEFER(arena_fini);
    size_t len = 0;
    arena_init(&arena, ARENA_BYTES);
    const struct told *before = previous(follow);
    const struct output_row *rows = rollout_view_changes(before->known ? &before->info : NULL, info,
                                                         clock_unix_ms(), &arena, &len);
    output_rows(rows, len);
}

static enum err_code print_json(struct follow *follow, const struct rollout_info *info,
                                struct err *err)
{
    struct arena arena DEFER(arena_fini);
    struct bytes bytes;
    arena_init(&arena, ARENA_BYTES);
    if (codec_encode(&codec_rollout_info, info, &arena, &bytes, err))
        return err->code;
    uint64_t sum = bytes.len;
    for (size_t i = 0; i < bytes.len; i++)
        sum = sum * 1099511628211u + bytes.ptr[i];
    if (sum == follow->shown)
        return ERR_OK;
    follow->shown = sum;
    return output_message_line(&codec_rollout_info, info, &arena, err);
}

static enum err_code show(struct follow *follow, struct err *err)
{
    const struct rollout_info *info = &newest(follow)->info;
    enum err_code code = ERR_OK;
    if (follow->silent)
        code = ERR_OK;
    else if (output_is_json())
        code = print_json(follow, info, err);
    else if (output_is_terminal())
        draw(follow, info);
    else
        print_changes(follow, info);
    follow->drawn_ms = clock_mono_ms();
    follow->fresh = false;
    return code;
}

/* Waiting. */

static enum err_code interrupted(const struct follow *follow, struct err *err)
{
    err_set(err, ERR_INTERRUPTED, "no longer watching; rollout %s goes on", follow->id);
    return err_hint(err, "captain rollout watch %s, or captain rollout abort %s", follow->id,
                    follow->id);
}

static enum err_code poll_if_due(struct follow *follow, struct err *err)
{
    struct err trouble = {0};
    if (clock_mono_ms() - follow->polled_ms < POLL_EVERY_MS)
        return ERR_OK;
    const enum err_code code = poll_captain(follow, &trouble);
    const bool may_come_back = code == ERR_NO_CONTACT || code == ERR_TIMEOUT;
    if (code == ERR_OK || (may_come_back && clock_mono_ms() - follow->heard_ms < PATIENCE_MS))
        return ERR_OK; /* captain may be starting again; its rollout is not over for that */
    *err = trouble;
    return code;
}

static enum err_code wait_for_end(struct follow *follow, int64_t deadline_ms, struct err *err)
{
    for (;;) {
        const int64_t now_ms = clock_mono_ms();
        const bool over = newest(follow)->known && rollout_view_over(&newest(follow)->info);
        if (follow->fresh && (over || now_ms - follow->drawn_ms >= DRAW_EVERY_MS) &&
            show(follow, err))
            return err->code;
        if (over)
            return ERR_OK;
        if (client_interrupted(follow->client))
            return interrupted(follow, err);
        if (deadline_ms && now_ms >= deadline_ms)
            return err_set(err, ERR_TIMEOUT, "rollout %s is %s and has not ended in time",
                           follow->id, newest(follow)->info.state);
        client_turn(follow->client, TURN_MS);
        if (poll_if_due(follow, err))
            return err->code;
    }
}

static enum err_code judge(const struct rollout_info *info, struct arena *arena, struct err *err)
{
    if (info->outcome_good)
        return ERR_OK;
    err_set(err, ERR_UNHEALTHY, "rollout %s ended without success\n%s", info->id,
            rollout_view_outcome(info, arena));
    return err_hint(err, "captain gate replay %s; captain why DEVICE", info->id);
}

static void follow_fini(struct follow *follow)
{
    client_close(follow->client);
    arena_fini(&follow->told[0].arena);
    arena_fini(&follow->told[1].arena);
}

enum err_code rollout_follow(struct invocation *invocation, const char *id, bool silent,
                             struct err *err)
{
    struct follow follow DEFER(follow_fini) = {.id = id, .silent = silent};
    char subject[BUS_SUBJECT_MAX + 1];
    int64_t timeout_ms = 0;
    arena_init(&follow.told[0].arena, ARENA_BYTES);
    arena_init(&follow.told[1].arena, ARENA_BYTES);
    (void)snprintf(subject, sizeof subject, "rollout.%s", id);
    if (client_timeout(invocation, &timeout_ms, err) ||
        client_open_on(invocation, subject, on_message, &follow, &follow.client, err))
        return err->code;
    client_catch_interrupt(follow.client);
    const int64_t deadline_ms = invocation->flags[FLAG_TIMEOUT] ? clock_mono_ms() + timeout_ms : 0;
    if (poll_captain(&follow, err) || wait_for_end(&follow, deadline_ms, err))
        return err->code;
    return judge(&newest(&follow)->info, invocation->arena, err);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The desired state of one app: accepted or rejected, remembered, and what it means for this
 * device.
 */
#include <stdio.h>
#include <string.h>

#include "agent/app_private.h"
#include "common/base/mem.h"
#include "common/base/ulid.h"
#include "common/clock.h"
#include "common/log.h"

static void wish_for(struct app *app, struct bytes digest, uint64_t decision)
{
    app->wish = (struct lifecycle_desired){.decision = decision};
    app->wish.release.set = digest.len == DIGEST_BYTES;
    if (app->wish.release.set)
        memcpy(app->wish.release.digest, digest.ptr, DIGEST_BYTES);
}

/* Devices outside the cohort run the base; with no base named they keep what they have. All waves
 * of a rollout with leases are one decision here: what failed is not tried again because the next
 * wave begins, but when captain gives a lease for it. */
static void follow_channel(struct app *app)
{
    const struct desired *desired = &app->desired;
    bool in = !desired->cohort || device_is_in(app->options.device, desired->cohort);
    struct bytes digest = in ? desired->release_digest : desired->base_digest;
    uint64_t decision = desired->decision ? desired->decision : desired->generation;
    app->wish_rollout = ulid_valid(desired->rollout) ? desired->rollout : "";
    app->wish_lease = desired->lease && app->wish_rollout[0];
    app->wish_rollback = bytes_equal(digest, desired->base_digest);
    if (app->wish_lease)
        decision = rng_hash(0, app->wish_rollout, strlen(app->wish_rollout)) | 1;
    wish_for(app, digest, decision);
}

static void make_wish(struct app *app)
{
    const struct pin *pin = device_pin(app->options.device, app->options.app->app);
    app->wish_rollout = "";
    app->wish_lease = app->wish_rollback = false;
    app->pinned = pin != NULL;
    if (pin)
        wish_for(app, pin->digest, device_document(app->options.device)->decision);
    else if (app->desired.generation > 0)
        follow_channel(app);
    else
        app->wish = (struct lifecycle_desired){0};
    app->target_known = false;
    app->news = true;
}

void app_device_changed(struct app *app)
{
    struct lifecycle_desired before = app->wish;
    app->settings.secrets_due = true;
    make_wish(app);
    if (before.decision == app->wish.decision &&
        lifecycle_same(&before.release, &app->wish.release))
        return;
    app_say(app, EVENT_KIND_DESIRED_ACCEPTED, &app->wish.release, ERR_OK,
            app->pinned ? "pinned" : "");
    app->options.on_change(app->options.arg);
}

void app_root_changed(struct app *app)
{
    lifecycle_trust_changed(&app->row.lifecycle);
    app->row_dirty = app->news = true;
}

static enum err_code check(struct app *app, struct bytes envelope, struct err *err)
{
    const struct app_options *o = &app->options;
    struct arena arena;
    struct desired desired;
    arena_init(&arena, app->desired_arena.limit_bytes);
    enum err_code code =
        trust_desired(o->trust, envelope, o->app->app, o->app->channel, app->row.desired,
                      app->row.generation, clock_unix_ms(), &arena, &desired, err);
    if (code != ERR_OK) {
        arena_fini(&arena);
        return code;
    }
    arena_fini(&app->desired_arena);
    app->desired_arena = arena;
    app->desired = desired;
    app->settings.flags_due = true;
    return ERR_OK;
}

static void reject(struct app *app, struct bytes envelope, const struct err *err)
{
    uint64_t hash = rng_hash((uint64_t)err->code, envelope.ptr, envelope.len);
    if (hash == app->rejected)
        return; /* it comes again with every refresh */
    app->rejected = hash;
    log_err("a desired state is rejected", err);
    app_say(app, EVENT_KIND_DESIRED_REJECTED, NULL, err->code, err->text);
}

static void keep(struct app *app, struct bytes envelope)
{
    uint8_t *copy = mem_new(1, envelope.len);
    memcpy(copy, envelope.ptr, envelope.len);
    mem_free((void *)(uintptr_t)app->row.desired.ptr);
    app->row.desired = bytes_of(copy, envelope.len);
    app->row.generation = app->desired.generation;
    app->row_dirty = true;
}

void app_desired(struct app *app, struct bytes envelope)
{
    struct err err;
    if (app->desired.generation > 0 && bytes_equal(envelope, app->row.desired))
        return;
    if (check(app, envelope, &err) != ERR_OK) {
        reject(app, envelope, &err);
        return;
    }
    struct lifecycle_desired before = app->wish;
    keep(app, envelope);
    make_wish(app);
    app_follow_rollout(app);
    bool same = before.decision == app->wish.decision &&
                lifecycle_same(&before.release, &app->wish.release);
    if (same)
        return; /* issued again: nothing new to tell */
    app_say(app, EVENT_KIND_DESIRED_ACCEPTED, &app->wish.release, ERR_OK, "");
    app->options.on_change(app->options.arg);
}

void app_recall_desired(struct app *app)
{
    struct err err;
    if (app->row.desired.len > 0 && check(app, app->row.desired, &err) != ERR_OK)
        log_err("the desired state remembered is not followed", &err);
    make_wish(app);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The desired state of one app: accepted or rejected, remembered, and what it means for this
 * device.
 */
#include <stdio.h>
#include <string.h>

#include "agent/app_private.h"
#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

static bool is_in_cohort(const struct app *app)
{
    const struct cohort *cohort = app->desired.cohort;
    char name[2 * TOKEN_MAX + 2];
    if (!cohort)
        return true;
    (void)snprintf(name, sizeof name, "%s/%s", app->options.config->site,
                   app->options.config->device);
    struct cohort_rule rule = {.salt = cohort->salt,
                               .cut = cohort->cut,
                               .devices = cohort->devices,
                               .devices_len = cohort->devices_len};
    return cohort_contains(&rule, name);
}

/* Devices outside the cohort run the base; with no base named they keep what they have. */
static void make_wish(struct app *app)
{
    struct bytes digest =
        is_in_cohort(app) ? app->desired.release_digest : app->desired.base_digest;
    app->wish = (struct lifecycle_desired){
        .decision = app->desired.decision ? app->desired.decision : app->desired.generation};
    app->wish.release.set = digest.len == DIGEST_BYTES;
    if (app->wish.release.set)
        memcpy(app->wish.release.digest, digest.ptr, DIGEST_BYTES);
    app->target_known = false;
    app->news = true;
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
    if (app->row.desired.len == 0)
        return;
    if (check(app, app->row.desired, &err) == ERR_OK)
        make_wish(app);
    else
        log_err("the desired state remembered is not followed", &err);
}

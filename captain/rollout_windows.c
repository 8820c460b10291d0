/* SPDX-License-Identifier: Apache-2.0
 *
 * Maintenance windows of sites, told to rollouts some days ahead.
 */
#include <string.h>

#include "captain/io/windows.h"
#include "captain/rollouts_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

enum { WINDOWS_LIST_MAX = 1024, ARENA_BYTES = 16 << 20 };
#define AHEAD_MS (14 * INT64_C(86400000))
#define AGAIN_MS (7 * INT64_C(86400000))

static const char *text_of(const struct site_info *sites, size_t len, const char *site)
{
    for (size_t i = 0; i < len; i++)
        if (str_equal(sites[i].site, site))
            return sites[i].windows;
    return "";
}

/* A text that is not understood any more (its zone is gone) closes the site, loudly. */
static void tell_site(struct rollouts_live *live, uint32_t site, const char *text, int64_t now_ms)
{
    struct rollouts *r = live->rollouts;
    struct rollout_input input = {.kind = ROLLOUT_IN_WINDOWS, .now_ms = now_ms};
    struct lease_window *list = arena_alloc(&r->turn_arena, WINDOWS_LIST_MAX * sizeof *list);
    struct err err = {0};
    size_t len = 0;
    if (!list)
        return; /* told by the next sweep */
    if (text[0] && windows_between(text, now_ms, now_ms + AHEAD_MS, list, WINDOWS_LIST_MAX, &len,
                                   &err) != ERR_OK) {
        (void)err_wrap(&err, "site %s is closed", live->names.sites[site]);
        log_err("rollouts", &err);
    }
    input.u.windows.site = (uint16_t)site;
    input.u.windows.windowed = text[0] != '\0';
    input.u.windows.windows = list;
    input.u.windows.len = len;
    rollouts_push(live, &input, NULL, NULL);
}

static void tell_live(struct rollouts_live *live, bool first)
{
    struct rollouts *r = live->rollouts;
    struct site_info *sites = NULL;
    size_t len = 0;
    struct err err = {0};
    const int64_t now_ms = clock_unix_ms();
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, ARENA_BYTES);
    if (store_site_list(r->parts.db, &arena, &sites, &len, &err) != ERR_OK) {
        log_err("the windows of sites could not be read", &err);
        return;
    }
    for (uint32_t i = 0; i < live->names.sites_len; i++) {
        const char *text = text_of(sites, len, live->names.sites[i]);
        if (text[0] || (!first && live->windows[i]))
            tell_site(live, i, text, now_ms);
    }
    live->windows_until_ms = now_ms + AHEAD_MS;
}

void rollouts_begin_windows(struct rollouts_live *live)
{
    tell_live(live, true);
}

static bool any_windows(const struct rollouts_live *live)
{
    for (uint32_t i = 0; i < live->names.sites_len; i++)
        if (live->windows[i])
            return true;
    return false;
}

void rollouts_tell_windows(struct rollouts *r, bool all)
{
    const int64_t now_ms = clock_unix_ms();
    for (uint32_t i = 0; i < r->lives_len; i++) {
        struct rollouts_live *live = r->lives[i];
        if (!rollouts_is_live(live) || !live->begun)
            continue;
        const bool ending = live->windows_until_ms - now_ms < AGAIN_MS && any_windows(live);
        if (all || ending)
            tell_live(live, false);
    }
}

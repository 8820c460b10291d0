/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/rollout_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "captain/core/evalue.h"
#include "common/base/mem.h"

enum { ROWS_MAX = 2048, ROW_BYTES = 1024 };

struct view {
    struct arena *arena;
    const struct rollout_view_size *size;
    int64_t now_ms;
    struct output_row *rows;
    bool *detail; /* of each row: it may be cut */
    size_t len;
};

/* Lines. */

/* At most width columns; a code point counts as one. */
static void clip(char *text, unsigned width, bool plain)
{
    size_t columns = 0, cut = 0;
    for (size_t i = 0; text[i]; i++) {
        if (((unsigned char)text[i] & 0xc0) == 0x80)
            continue;
        if (columns + 1 == width)
            cut = i;
        if (++columns > width)
            break;
    }
    if (width > 0 && columns > width)
        memcpy(text + cut, plain ? "~" : "\xe2\x80\xa6", plain ? 2 : 4);
}

static void row(struct view *view, enum output_tone tone, bool detail, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void row(struct view *view, enum output_tone tone, bool detail, const char *fmt, ...)
{
    char text[ROW_BYTES + 4]; /* the mark of a cut may be longer than what it stands for */
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, ROW_BYTES, fmt, args);
    va_end(args);
    if (view->size)
        clip(text, view->size->width, view->size->plain);
    const char *copy = view->len < ROWS_MAX ? arena_strdup(view->arena, text) : NULL;
    if (!copy)
        return;
    view->detail[view->len] = detail;
    view->rows[view->len++] = (struct output_row){copy, tone};
}

static bool view_open(struct view *view)
{
    view->rows = arena_alloc(view->arena, ROWS_MAX * sizeof *view->rows);
    view->detail = arena_alloc(view->arena, ROWS_MAX * sizeof *view->detail);
    return view->rows && view->detail;
}

/* Words. */

static const char *or_none(const char *text)
{
    return text && text[0] ? text : "nothing";
}

static const char *duration(struct view *view, int64_t ms)
{
    char text[32];
    if (ms < 1000)
        return "0s";
    str_format_duration(ms / 1000 * 1000, text);
    return output_text(arena_strdup(view->arena, text));
}

static enum output_tone state_tone(const struct rollout_info *info)
{
    static const char *const bad[] = {"held", "aborting", "rolling_back", "aborted", "superseded"};
    if (info->outcome_good)
        return OUTPUT_GOOD;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (str_equal(info->state, bad[i]))
            return OUTPUT_BAD;
    return OUTPUT_BUSY;
}

static enum output_tone verdict_tone(const struct rollout_gate_info *gate)
{
    if (str_equal(gate->verdict, "pass"))
        return OUTPUT_GOOD;
    return str_equal(gate->verdict, "wait") ? OUTPUT_BUSY : OUTPUT_BAD;
}

static const char *verdict_verb(const struct rollout_gate_info *gate)
{
    static const char *const verbs[][2] = {
        {"pass", "passes"}, {"wait", "waits"}, {"hold", "holds"}, {"fail", "has failed"}};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (str_equal(gate->verdict, verbs[i][0]))
            return verbs[i][1];
    return gate->verdict;
}

bool rollout_view_over(const struct rollout_info *info)
{
    return str_equal(info->state, "succeeded") || str_equal(info->state, "aborted") ||
           str_equal(info->state, "superseded");
}

const char *rollout_view_outcome(const struct rollout_info *info, struct arena *arena)
{
    const char *text;
    if (info->outcome_good)
        text = arena_printf(arena, "every device runs %s", info->release);
    else if (info->gate && str_equal(info->gate->verdict, "fail"))
        text = arena_printf(arena, "%s by gate %s: %s; %" PRIu32 " of %" PRIu32 " devices had %s",
                            info->state, info->gate->gate, info->gate->sentence, info->exposed,
                            info->devices, info->release);
    else
        text = arena_printf(arena, "%s; %" PRIu32 " of %" PRIu32 " devices had %s", info->state,
                            info->exposed, info->devices, info->release);
    return output_text(text);
}

/* The rollout. */

static void head(struct view *view, const struct rollout_info *info)
{
    row(view, state_tone(info), false, "%s  %s -> %s  %s  (%s)", info->channel,
        or_none(info->base_release), info->release, info->state, info->id);
    const char *took = "";
    if (info->ended_ms)
        took = output_text(arena_printf(view->arena, ", took %s",
                                        duration(view, info->ended_ms - info->started_ms)));
    row(view, OUTPUT_PLAIN, false, "policy %s, begun %s ago%s by %s%s%s", info->policy_name,
        duration(view, view->now_ms - info->started_ms), took, info->started_by,
        info->reason[0] ? ": " : "", info->reason);
    char rest[160] = "";
    if (info->quarantined)
        (void)snprintf(rest, sizeof rest, ", %" PRIu32 " in quarantine", info->quarantined);
    if (info->to_go_back)
        (void)snprintf(rest + strlen(rest), sizeof rest - strlen(rest), ", %" PRIu32 " to go back",
                       info->to_go_back);
    row(view, info->failed + info->quarantined ? OUTPUT_BAD : OUTPUT_PLAIN, false,
        "%" PRIu32 " device%s: %" PRIu32 " on it, %" PRIu32 " changing, %" PRIu32 " failed%s",
        info->devices, info->devices == 1 ? "" : "s", info->on_target, info->in_flight,
        info->failed, rest);
}

/* Lines of the tree: a branch, and what stands below one. */
struct marks {
    const char *done, *open, *failed, *next, *branch, *last, *below, *none;
};

static const struct marks *marks_of(const struct view *view)
{
    static const struct marks fine = {"✔", "▶", "✖", "·", "├─ ", "└─ ", "│  ", "   "};
    static const struct marks plain = {"+", ">", "x", ".", "|- ", "`- ", "|  ", "   "};
    return view->size->plain ? &plain : &fine;
}

/* Failing devices. */

static void device_row(struct view *view, const char *below, bool last,
                       const struct rollout_device_info *device)
{
    const struct marks *marks = marks_of(view);
    const bool classed = device->class[0] && !str_equal(device->class, device->state);
    row(view, OUTPUT_BAD, true, "%s%s%s  %s%s%s%s%s%s%s", below, last ? marks->last : marks->branch,
        device->device, device->state, classed ? " (" : "", classed ? device->class : "",
        classed ? ")" : "", device->boxed ? ", in the penalty box" : "",
        device->text[0] ? ": " : "", device->text);
}

/* Sites. */

static void site_row(struct view *view, const char *below, bool last,
                     const struct rollout_site_info *site)
{
    const struct marks *marks = marks_of(view);
    char deeper[64];
    row(view, OUTPUT_BAD, true,
        "%s%s%s: %" PRIu32 " of %" PRIu32 " healthy, %" PRIu32 " changing, %" PRIu32 " failing",
        below, last ? marks->last : marks->branch, site->site, site->healthy, site->devices,
        site->applying, site->failed);
    (void)snprintf(deeper, sizeof deeper, "%s%s", below, last ? marks->none : marks->below);
    const bool more = site->failed > site->failing_len;
    for (size_t i = 0; i < site->failing_len; i++)
        device_row(view, deeper, i + 1 == site->failing_len && !more, &site->failing[i]);
    if (more)
        row(view, OUTPUT_BAD, true, "%s%s%zu more", deeper, marks->last,
            site->failed - site->failing_len);
}

static void sites(struct view *view, const char *below, const struct rollout_wave_info *wave)
{
    const struct marks *marks = marks_of(view);
    struct rollout_site_info fold = {0};
    size_t folded = 0;
    for (size_t i = 0; i < wave->sites_len; i++) {
        if (wave->sites[i].failed)
            continue;
        folded++;
        fold.devices += wave->sites[i].devices;
        fold.healthy += wave->sites[i].healthy;
        fold.applying += wave->sites[i].applying;
    }
    size_t left = wave->sites_len - folded;
    for (size_t i = 0; i < wave->sites_len; i++)
        if (wave->sites[i].failed)
            site_row(view, below, --left == 0 && !folded, &wave->sites[i]);
    if (folded)
        row(view, OUTPUT_PLAIN, false,
            "%s%s%zu site%s%s: %" PRIu32 " of %" PRIu32 " healthy, %" PRIu32 " changing", below,
            marks->last, folded, folded == 1 ? "" : "s",
            folded < wave->sites_len ? " without a failure" : "", fold.healthy, fold.devices,
            fold.applying);
}

/* Gates: why it waits, how long yet, what comes then. */

static bool goes_back(const struct rollout_info *info)
{
    return str_equal(info->state, "aborting") || str_equal(info->state, "rolling_back");
}

static void gate_row(struct view *view, const char *below, const struct rollout_info *info)
{
    const struct rollout_gate_info *gate = info->gate;
    if (gate && goes_back(info) && !str_equal(gate->verdict, "fail"))
        gate = NULL; /* it was no gate that turned it round */
    const char *left = "";
    if (gate && gate->until_ms > view->now_ms)
        left = output_text(
            arena_printf(view->arena, "; %s left", duration(view, gate->until_ms - view->now_ms)));
    if (gate)
        row(view, verdict_tone(gate), false, "%sgate %s %s: %s%s%s%s", below, gate->gate,
            verdict_verb(gate), gate->sentence, left, info->next[0] ? "; " : "", info->next);
    else if (info->next[0])
        row(view, OUTPUT_PLAIN, false, "%s%s", below, info->next);
}

/* A fleet that is not frozen, and one that goes on, need no line. */
static bool is_silent(const struct rollout_gate_info *gate)
{
    return str_equal(gate->verdict, "pass") &&
           (str_equal(gate->gate, "freeze") || str_equal(gate->gate, "progress"));
}

static void gates_rows(struct view *view, const char *below, const struct rollout_info *info,
                       const struct rollout_wave_info *wave)
{
    for (size_t i = 0; i < wave->gates_len && !goes_back(info); i++) {
        const struct rollout_gate_info *gate = &wave->gates[i];
        const bool told = info->gate && str_equal(gate->gate, info->gate->gate);
        if (!told && !is_silent(gate))
            row(view, verdict_tone(gate), true, "%sgate %s %s: %s", below, gate->gate,
                verdict_verb(gate), gate->sentence);
    }
}

/* Waves. */

/* Few canaries see only gross breakage; whoever reads "0 failed" should know how little that says. */
static const char *small_print(struct view *view, const struct rollout_wave_info *wave)
{
    if (wave->failed || wave->healthy == 0)
        return "";
    return output_text(arena_printf(
        view->arena, "; 0 failures of %" PRIu32 " bound the rate below %.3g %% (95 %%)",
        wave->healthy, 100 * evalue_zero_failures_bound(wave->healthy)));
}

static void wave_row(struct view *view, const struct rollout_wave_info *wave, bool last)
{
    const struct marks *marks = marks_of(view);
    const char *branch = last ? marks->last : marks->branch;
    if (str_equal(wave->state, "next")) {
        row(view, OUTPUT_FAINT, false, "%s%s %s", branch, marks->next,
            wave->devices
                ? output_text(arena_printf(view->arena, "%s: %" PRIu32 " more device%s", wave->name,
                                           wave->devices, wave->devices == 1 ? "" : "s"))
                : wave->name);
        return;
    }
    const bool done = str_equal(wave->state, "done"), open = str_equal(wave->state, "open");
    const char *since = "";
    if (open && wave->started_ms)
        since = output_text(
            arena_printf(view->arena, ", for %s", duration(view, view->now_ms - wave->started_ms)));
    row(view,
        done   ? OUTPUT_GOOD
        : open ? OUTPUT_BUSY
               : OUTPUT_BAD,
        false, "%s%s %s: %" PRIu32 " of %" PRIu32 " healthy, %" PRIu32 " failed%s%s", branch,
        done   ? marks->done
        : open ? marks->open
               : marks->failed,
        wave->name, wave->healthy, wave->devices, wave->failed, since,
        done ? small_print(view, wave) : "");
}

static void waves(struct view *view, const struct rollout_info *info)
{
    const struct marks *marks = marks_of(view);
    for (size_t i = 0; i < info->waves_len; i++) {
        const struct rollout_wave_info *wave = &info->waves[i];
        const bool last = i + 1 == info->waves_len;
        wave_row(view, wave, last);
        if (str_equal(wave->state, "next") || i + 1 != info->wave || rollout_view_over(info))
            continue;
        const char *below = last ? marks->none : marks->below;
        gate_row(view, below, info);
        gates_rows(view, below, info, wave);
        sites(view, below, wave);
    }
}

/* Fitting the height: details go first, from the end; one line says how many. */
static void fit(struct view *view)
{
    const size_t height = view->size->height;
    size_t details = 0, kept = 0, len = 0, dropped = 0;
    if (height == 0 || view->len <= height)
        return;
    for (size_t i = 0; i < view->len; i++)
        details += view->detail[i];
    const size_t fixed = view->len - details + 1;
    const size_t room = fixed < height ? height - fixed : 0;
    size_t mark = view->len;
    for (size_t i = 0; i < view->len; i++) {
        if (view->detail[i] && kept >= room) {
            mark = mark == view->len ? len++ : mark; /* its place is kept for the count */
            dropped++;
            continue;
        }
        kept += view->detail[i];
        view->rows[len++] = view->rows[i];
    }
    const char *text = arena_printf(view->arena, "   ... %zu more lines", dropped);
    if (dropped)
        view->rows[mark] = (struct output_row){output_text(text), OUTPUT_FAINT};
    view->len = len < height ? len : height;
}

struct output_row *rollout_view_tree(const struct rollout_info *info, int64_t now_ms,
                                     const struct rollout_view_size *size, struct arena *arena,
                                     size_t *ret_len)
{
    struct view view = {.arena = arena, .size = size, .now_ms = now_ms};
    *ret_len = 0;
    if (!view_open(&view))
        return NULL;
    head(&view, info);
    waves(&view, info);
    if (rollout_view_over(info))
        row(&view, state_tone(info), false, "%s", rollout_view_outcome(info, arena));
    else if (info->wave == 0 || info->wave > info->waves_len)
        gate_row(&view, "", info);
    fit(&view);
    *ret_len = view.len;
    return view.rows;
}

/* Changes. */

static bool same_gate(const struct rollout_gate_info *a, const struct rollout_gate_info *b)
{
    if (!a || !b)
        return a == b;
    return str_equal(a->gate, b->gate) && str_equal(a->verdict, b->verdict) &&
           str_equal(a->reason, b->reason);
}

static bool was_failing(const struct rollout_info *before, const char *device)
{
    for (size_t w = 0; before && w < before->waves_len; w++)
        for (size_t s = 0; s < before->waves[w].sites_len; s++)
            for (size_t d = 0; d < before->waves[w].sites[s].failing_len; d++)
                if (str_equal(before->waves[w].sites[s].failing[d].device, device))
                    return true;
    return false;
}

static void failing_changes(struct view *view, const char *time, const struct rollout_info *before,
                            const struct rollout_info *info)
{
    for (size_t w = 0; w < info->waves_len; w++)
        for (size_t s = 0; s < info->waves[w].sites_len; s++)
            for (size_t d = 0; d < info->waves[w].sites[s].failing_len; d++) {
                const struct rollout_device_info *device = &info->waves[w].sites[s].failing[d];
                if (!was_failing(before, device->device))
                    row(view, OUTPUT_BAD, false, "%s device %s %s%s%s", time, device->device,
                        device->state, device->text[0] ? ": " : "", device->text);
            }
}

static void wave_change(struct view *view, const char *time, const struct rollout_info *info)
{
    const struct rollout_wave_info *wave = &info->waves[info->wave - 1];
    if (info->wave > 1)
        row(view, OUTPUT_GOOD, false, "%s wave %s done%s", time, info->waves[info->wave - 2].name,
            small_print(view, &info->waves[info->wave - 2]));
    row(view, OUTPUT_BUSY, false, "%s wave %s (%" PRIu32 " of %zu): %" PRIu32 " device%s", time,
        wave->name, info->wave, info->waves_len, wave->devices, wave->devices == 1 ? "" : "s");
}

struct output_row *rollout_view_changes(const struct rollout_info *before,
                                        const struct rollout_info *info, int64_t now_ms,
                                        struct arena *arena, size_t *ret_len)
{
    struct view view = {.arena = arena, .now_ms = now_ms};
    char time[32];
    *ret_len = 0;
    str_format_time(now_ms, time);
    if (!view_open(&view))
        return NULL;
    if (!before)
        row(&view, OUTPUT_PLAIN, false, "%s rollout %s of %s: %s -> %s", time, info->id,
            info->channel, or_none(info->base_release), info->release);
    if (info->wave && info->wave <= info->waves_len && (!before || before->wave != info->wave))
        wave_change(&view, time, info);
    failing_changes(&view, time, before, info);
    if (info->gate && !same_gate(before ? before->gate : NULL, info->gate))
        row(&view, verdict_tone(info->gate), false, "%s gate %s %s: %s", time, info->gate->gate,
            verdict_verb(info->gate), info->gate->sentence);
    if (!before || !str_equal(before->state, info->state))
        row(&view, state_tone(info), false, "%s %s%s%s", time, info->state,
            rollout_view_over(info) ? ": " : "",
            rollout_view_over(info) ? rollout_view_outcome(info, arena) : "");
    *ret_len = view.len;
    return view.rows;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "captain/cli/device.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

enum { TAIL_LINES = 12, LOG_MAX_BYTES = 16 << 20 };

void dev_say(struct dev *dev, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    output_note("%6.1fs  %s", (double)(clock_mono_ms() - dev->started_ms) / 1000, line);
}

void dev_warn(const struct dev *dev)
{
    const char *what = dev->secure ? "TLS, roles and enrolment as in a real fleet, but its"
                                   : "to try things. No TLS, no passwords, keys in a temporary";
    const char *rest = dev->secure
                           ? "keys lie together in a temporary folder. Removed at the end."
                           : "folder. Everything is removed at the end. Not for a real fleet.";
    output_note("+-----------------------------------------------------------------------+");
    output_note("| captain dev: %-56s |", what);
    output_note("| %-69s |", rest);
    output_note("+-----------------------------------------------------------------------+");
}

enum err_code dev_show_fleet(struct dev *dev, const char *title, struct err *err)
{
    struct device_query query = {.limit = DEV_AGENTS_MAX};
    struct device_list list;
    if (output_is_json())
        return ERR_OK;
    if (device_list_ask(dev->client, &query, dev->arena, &list, err))
        return err->code;
    output_line("\n%s", title);
    device_table(&list, dev->arena);
    output_line("%s", "");
    return output_flush(err);
}

/* Anonymous memory of a process in KiB; 0 when it cannot be read. */
static uint64_t memory_kib(pid_t pid)
{
    char path[64];
    char line[128];
    uint64_t kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtoull(line + 8, NULL, 10);
    (void)fclose(file);
    return kib;
}

static uint64_t agents_memory_kib(const struct dev *dev)
{
    uint64_t kib = 0;
    for (uint32_t i = 0; i < dev->agents_len; i++)
        kib += memory_kib(dev->agents[i].proc.pid);
    return dev->agents_len ? kib / dev->agents_len : 0;
}

static json_t *move_json(const struct dev_move *move)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "release", move->version,
                     "sizeBytes", (json_int_t)move->size_bytes, "createMs",
                     (json_int_t)move->create_ms, "decidedMs", (json_int_t)move->decided_ms,
                     "firstServingMs", (json_int_t)move->first_ms, "lastServingMs",
                     (json_int_t)move->last_ms, "allHealthyMs", (json_int_t)move->healthy_ms,
                     "waves", (json_int_t)move->waves);
}

static json_t *bad_json(const struct dev *dev)
{
    const struct dev_bad *bad = &dev->bad;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "release", bad->version,
                     "scenario", dev->scenario->name, "state", bad->state, "gate", bad->gate, "why",
                     bad->sentence, "canaries", (json_int_t)bad->canaries, "exposed",
                     (json_int_t)bad->exposed, "served", (json_int_t)bad->served, "backMs",
                     (json_int_t)bad->ended_ms);
}

static json_t *agents_json(const struct dev *dev)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < dev->agents_len; i++) {
        const struct dev_agent *agent = &dev->agents[i];
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:i, s:s}", "device", agent->device, "port",
                                              (int)agent->port, "serves", agent->served));
    }
    return list;
}

static void print_json(json_t *json)
{
    char *text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    if (text)
        output_encoded(text); /* longer than a line may be */
    free(text);
}

static json_t *trust_json(const struct dev *dev)
{
    const struct dev_trust *trust = &dev->trust;
    return json_pack("{s:I, s:I, s:I, s:s, s:s, s:s++, s:I}", "enrolledMs",
                     (json_int_t)trust->enrolled_ms, "flagMs", (json_int_t)trust->flag_ms,
                     "secretMs", (json_int_t)trust->secret_ms, "settings", trust->settings,
                     "secrets", trust->secrets, "revoked", trust->revoked->site, "/",
                     trust->revoked->device, "cutMs", (json_int_t)trust->cut_ms);
}

static void show_json(struct dev *dev)
{
    json_t *json = json_pack(
        "{s:b, s:I, s:s, s:s, s:[o, o], s:o, s:I, s:I, s:o}", "ok", 1, "tookMs",
        (json_int_t)(clock_mono_ms() - dev->started_ms), "natsServer", dev->nats_version, "natsUrl",
        dev->nats_url, "moves", move_json(&dev->moves[0]), move_json(&dev->moves[1]), "bad",
        bad_json(dev), "captainAnonymousKib", (json_int_t)memory_kib(dev->captain.pid),
        "agentAnonymousKib", (json_int_t)agents_memory_kib(dev), "devices", agents_json(dev));
    if (dev->secure)
        (void)json_object_set_new(json, "secure", trust_json(dev));
    print_json(json);
}

static void show_table(struct dev *dev)
{
    struct output_table *table = output_table_new(
        (const char *const[]){"RELEASE", ">SIZE", ">CREATED IN", ">DECIDED IN", ">FIRST DEVICE",
                              ">LAST DEVICE", ">ALL HEALTHY", NULL});
    for (size_t i = 0; i < ARRAY_LEN(dev->moves); i++) {
        const struct dev_move *move = &dev->moves[i];
        const char *cells[7] = {arena_printf(dev->arena, "hello@%s", move->version),
                                output_size(dev->arena, move->size_bytes)};
        const int64_t times[] = {move->create_ms, move->decided_ms, move->first_ms, move->last_ms,
                                 move->healthy_ms};
        for (size_t k = 0; k < ARRAY_LEN(times); k++)
            cells[2 + k] = arena_printf(dev->arena, "%" PRId64 " ms", times[k]);
        output_table_row(table, cells);
    }
    output_table_end(table);
    const struct dev_bad *bad = &dev->bad;
    output_line("\nhello@%s (%s) was stopped by gate %s: %s", bad->version, dev->scenario->name,
                bad->gate, bad->sentence);
    output_line("%" PRIu32 " of %" PRIu32 " devices ever had it, the canary's; the fleet was back "
                "%.1f s after the order.",
                bad->exposed, dev->agents_len, (double)bad->ended_ms / 1000);
    if (dev->secure)
        output_line("%s/%s was revoked and cut off %" PRId64
                    " ms after the order; what it runs goes on running.",
                    dev->trust.revoked->site, dev->trust.revoked->device, dev->trust.cut_ms);
    output_line(
        "\nEvery time is counted from the order. Serving: an HTTP GET gave the new content.");
    output_line("Memory of its own: captain %.1f MiB, one agent %.1f MiB. nats-server %s.",
                (double)memory_kib(dev->captain.pid) / 1024, (double)agents_memory_kib(dev) / 1024,
                dev->nats_version);
}

void dev_show_result(struct dev *dev)
{
    if (output_is_json())
        show_json(dev);
    else
        show_table(dev);
}

/* The last lines of a text. */
static struct bytes tail(struct bytes text)
{
    size_t at = text.len;
    unsigned lines = 0;
    while (at > 0) {
        if (text.ptr[at - 1] == '\n' && at != text.len && ++lines == TAIL_LINES)
            break;
        at--;
    }
    return bytes_of(text.ptr + at, text.len - at);
}

void dev_show_failure(struct dev *dev, const struct err *err)
{
    if (output_is_json())
        print_json(json_pack("{s:b, s:s, s:s}", "ok", 0, "step", dev->step ? dev->step : "",
                             "error", err->text));
    struct arena arena DEFER(arena_fini);
    struct bytes text;
    arena_init(&arena, LOG_MAX_BYTES + 4096);
    if (!dev->failed || !dev->failed->log[0] ||
        file_read(dev->failed->log, LOG_MAX_BYTES, &arena, &text, NULL))
        return;
    struct bytes end = tail(text);
    output_note("the end of the log of %s:", dev->failed->name);
    output_quote((const char *)end.ptr, end.len);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/telemetry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SMALL_BYTES = 2048, ZONES_MAX = 16, METRIC_NAME_MAX = 64 };

/* ---- the machine ---- */

/* The first bytes of a small file, as text; false when it cannot be read. */
static bool read_text(const char *path, char ret[static SMALL_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, ret, SMALL_BYTES - 1);
    (void)close(fd);
    if (len <= 0)
        return false;
    ret[len] = '\0';
    return true;
}

/* Share of time not idle since the last reading, in thousandths; 0 the first time. */
static uint32_t read_cpu(struct telemetry_reader *reader)
{
    char text[SMALL_BYTES];
    uint64_t v[8] = {0}; /* user nice system idle iowait irq softirq steal */
    if (!read_text("/proc/stat", text) ||
        sscanf(text,
               "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
               " %" SCNu64 " %" SCNu64,
               &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) < 4)
        return 0;
    uint64_t idle = v[3] + v[4];
    uint64_t busy = v[0] + v[1] + v[2] + v[5] + v[6] + v[7];
    uint64_t total = busy + idle;
    uint64_t busy_delta = busy - reader->cpu_busy;
    uint64_t total_delta = total - reader->cpu_total;
    bool first = reader->cpu_total == 0;
    bool forward = busy >= reader->cpu_busy && total > reader->cpu_total;
    reader->cpu_busy = busy;
    reader->cpu_total = total;
    if (first || !forward || busy_delta > total_delta)
        return 0;
    return (uint32_t)(busy_delta * 1000 / total_delta);
}

static uint64_t meminfo_bytes(const char *text, const char *key)
{
    uint64_t kilobytes = 0;
    const char *at = strstr(text, key);
    if (at == NULL || sscanf(at + strlen(key), ": %" SCNu64, &kilobytes) != 1)
        return 0;
    return kilobytes * 1024;
}

static void read_memory(struct telemetry *ret)
{
    char text[SMALL_BYTES];
    if (!read_text("/proc/meminfo", text))
        return;
    ret->memory_total_bytes = meminfo_bytes(text, "MemTotal");
    ret->memory_available_bytes = meminfo_bytes(text, "MemAvailable");
}

static void read_disk(const char *path, struct telemetry *ret)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return;
    ret->disk_total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    ret->disk_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* The hottest zone. */
static void read_temperature(struct telemetry *ret)
{
    char path[64];
    char text[SMALL_BYTES];
    int32_t value = 0;
    for (int i = 0; i < ZONES_MAX; i++) {
        (void)snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/temp", i);
        if (!read_text(path, text))
            return; /* zones are numbered without gaps */
        if (sscanf(text, "%" SCNd32, &value) != 1)
            continue;
        if (!ret->has_temperature || value > ret->temperature_millicelsius)
            ret->temperature_millicelsius = value;
        ret->has_temperature = true;
    }
}

static uint64_t read_uptime_ms(void)
{
    char text[SMALL_BYTES];
    double seconds = 0;
    if (!read_text("/proc/uptime", text) || sscanf(text, "%lf", &seconds) != 1)
        return 0;
    return (uint64_t)(seconds * 1000);
}

void telemetry_read(struct telemetry_reader *reader, const char *disk_path, int64_t now_ms,
                    struct telemetry *ret)
{
    *ret = (struct telemetry){.sent_ms = now_ms};
    ret->uptime_ms = read_uptime_ms();
    ret->cpu_permille = read_cpu(reader);
    read_memory(ret);
    read_disk(disk_path, ret);
    read_temperature(ret);
}

/* ---- the app ---- */

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > METRIC_NAME_MAX)
        return false;
    for (const char *c = name; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f)
            return false;
    }
    return true;
}

static enum err_code take_metric(const char *file, const char *name, const json_t *value,
                                 struct arena *arena, struct metric *ret, struct err *err)
{
    if (!is_name(name))
        return err_set(err, ERR_MALFORMED, "%s: a name must be 1 to %d printable characters", file,
                       METRIC_NAME_MAX);
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return err_set(err, ERR_MALFORMED, "%s: %s must be a number", file, name);
    *ret = (struct metric){.name = arena_strdup(arena, name), .value = json_number_value(value)};
    return ret->name != NULL ? ERR_OK : err_set(err, ERR_SIZE, "%s: too large to keep", file);
}

static enum err_code take_object(const char *file, json_t *object, struct arena *arena,
                                 const struct metric **ret, size_t *ret_len, struct err *err)
{
    const char *name;
    json_t *value;
    size_t len = 0;
    if (!json_is_object(object))
        return err_set(err, ERR_MALFORMED, "%s: must be an object of numbers", file);
    if (json_object_size(object) > TELEMETRY_METRICS_MAX)
        return err_set(err, ERR_MALFORMED, "%s: %zu numbers, at most %d are taken", file,
                       json_object_size(object), TELEMETRY_METRICS_MAX);
    struct metric *metrics = arena_alloc(arena, sizeof *metrics * TELEMETRY_METRICS_MAX);
    if (metrics == NULL)
        return err_set(err, ERR_SIZE, "%s: too large to keep", file);
    json_object_foreach(object, name, value)
    {
        enum err_code code = take_metric(file, name, value, arena, &metrics[len], err);
        if (code != ERR_OK)
            return code;
        len++;
    }
    *ret = metrics;
    *ret_len = len;
    return ERR_OK;
}

enum err_code telemetry_parse_app(const char *name, struct bytes text, struct arena *arena,
                                  const struct metric **ret, size_t *ret_len, struct err *err)
{
    json_error_t why;
    if (text.len > TELEMETRY_APP_MAX_BYTES)
        return err_set(err, ERR_MALFORMED, "%s: over %d bytes", name, TELEMETRY_APP_MAX_BYTES);
    json_t *object = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    if (object == NULL)
        return err_set(err, ERR_MALFORMED, "%s:%d:%d: %s", name, why.line, why.column, why.text);
    enum err_code code = take_object(name, object, arena, ret, ret_len, err);
    json_decref(object);
    return code;
}

enum err_code telemetry_read_app(const char *path, const struct app_user *user, struct arena *arena,
                                 const struct metric **ret, size_t *ret_len, struct err *err)
{
    struct bytes text;
    enum err_code code = app_user_read(path, user, TELEMETRY_APP_MAX_BYTES, arena, &text, err);
    if (code == ERR_SIZE)
        return err_set(err, ERR_MALFORMED, "%s: over %d bytes", path, TELEMETRY_APP_MAX_BYTES);
    return code == ERR_OK ? telemetry_parse_app(path, text, arena, ret, ret_len, err) : code;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/deadman_file.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/child.h"
#include "agent/io/release_dir.h"
#include "common/clock.h"
#include "common/file.h"

enum {
    FILE_MAX_BYTES = 8 << 10,
    ARENA_MAX_BYTES = 32 << 10,
    PATH_BYTES = RELEASE_DIR_PATH_MAX + 16
};

static const char form[] = "captain deadman 1";

static void file_path(const char *dir, char ret[PATH_BYTES])
{
    (void)snprintf(ret, PATH_BYTES, "%s/deadman", dir);
}

void deadman_clock_read(struct deadman_clock *ret, char boot_id[static 37])
{
    clock_boot_id(boot_id);
    *ret = (struct deadman_clock){clock_mono_ms(), clock_unix_ms(), boot_id};
}

/* ---- text ---- */

static void put_digest(char *ret, bool set, const uint8_t digest[DIGEST_BYTES])
{
    ret[0] = '-';
    ret[1] = '\0';
    if (set)
        str_hex(bytes_of(digest, DIGEST_BYTES), ret);
}

static size_t print(const struct deadman *d, char *text, size_t size)
{
    char target[DIGEST_HEX], previous[DIGEST_HEX];
    put_digest(target, true, d->target);
    put_digest(previous, d->has_previous, d->previous);
    size_t len =
        (size_t)snprintf(text, size,
                         "%s\nstate %s\ntarget %s\nprevious %s\nboot %s\ndeadline %" PRIu64
                         "\nunix %" PRIu64 "\nwindow %" PRIu64 "\nreboots %u\n",
                         form, d->state == DEADMAN_FIRED ? "fired" : "armed", target, previous,
                         d->boot_id, (uint64_t)d->deadline_ms, (uint64_t)d->deadline_unix_ms,
                         (uint64_t)d->window_ms, (unsigned)d->reboots);
    for (uint32_t i = 0; i < d->processes_len; i++)
        len += (size_t)snprintf(text + len, size - len, "process %" PRIu64 ".%" PRIu64 "\n",
                                (uint64_t)d->processes[i].pid, d->processes[i].start_ticks);
    return len;
}

static bool take_process(struct deadman *d, char *value)
{
    uint64_t pid, ticks;
    char *dot = strchr(value, '.');
    if (!dot || d->processes_len == DEADMAN_PROCESSES_MAX)
        return false;
    *dot = '\0';
    if (str_u64(value, INT32_MAX, &pid) || str_u64(dot + 1, UINT64_MAX, &ticks))
        return false;
    d->processes[d->processes_len++] = (struct deadman_process){(int64_t)pid, ticks};
    return true;
}

static bool take_number(const char *value, int64_t *ret)
{
    uint64_t number;
    if (str_u64(value, INT64_MAX, &number) != ERR_OK)
        return false;
    *ret = (int64_t)number;
    return true;
}

static bool take_field(struct deadman *d, const char *name, char *value)
{
    int64_t reboots = d->reboots;
    bool good = true;
    if (str_equal(name, "state"))
        d->state = str_equal(value, "fired") ? DEADMAN_FIRED : DEADMAN_ARMED;
    else if (str_equal(name, "target"))
        good = str_unhex(value, d->target, DIGEST_BYTES) == ERR_OK;
    else if (str_equal(name, "previous"))
        d->has_previous = str_unhex(value, d->previous, DIGEST_BYTES) == ERR_OK;
    else if (str_equal(name, "boot"))
        good = str_copy(d->boot_id, sizeof d->boot_id, value) == ERR_OK;
    else if (str_equal(name, "deadline"))
        good = take_number(value, &d->deadline_ms);
    else if (str_equal(name, "unix"))
        good = take_number(value, &d->deadline_unix_ms);
    else if (str_equal(name, "window"))
        good = take_number(value, &d->window_ms);
    else if (str_equal(name, "reboots"))
        good = take_number(value, &reboots);
    else if (str_equal(name, "process"))
        good = take_process(d, value);
    d->reboots = (uint32_t)reboots;
    return good;
}

static enum err_code parse(char *text, struct deadman *ret, struct err *err)
{
    char *save = NULL;
    const char *first = strtok_r(text, "\n", &save);
    bool good = first && str_equal(first, form);
    for (char *line; good && (line = strtok_r(NULL, "\n", &save));) {
        char *space = strchr(line, ' ');
        good = space != NULL;
        if (!good)
            break;
        *space = '\0';
        good = take_field(ret, line, space + 1);
    }
    return good ? ERR_OK : err_set(err, ERR_MALFORMED, "the dead-man record cannot be read");
}

/* ---- the file ---- */

enum err_code deadman_file_read(const char *dir, struct deadman *ret, struct err *err)
{
    char path[PATH_BYTES];
    struct arena arena;
    struct bytes data;
    struct deadman deadman = {0};
    file_path(dir, path);
    arena_init(&arena, ARENA_MAX_BYTES);
    enum err_code code = file_read(path, FILE_MAX_BYTES, &arena, &data, err);
    char *text = code == ERR_OK ? arena_strdup(&arena, (const char *)data.ptr) : NULL;
    if (code == ERR_OK)
        code = text ? parse(text, &deadman, err) : err_set(err, ERR_SIZE, "%s: too large", path);
    arena_fini(&arena);
    if (code == ERR_OK)
        *ret = deadman;
    return code;
}

enum err_code deadman_file_write(const char *dir, const struct deadman *deadman, struct err *err)
{
    char path[PATH_BYTES], text[FILE_MAX_BYTES];
    file_path(dir, path);
    return file_replace(path, bytes_of(text, print(deadman, text, sizeof text)), 0600, err);
}

enum err_code deadman_file_remove(const char *dir, struct err *err)
{
    char path[PATH_BYTES];
    file_path(dir, path);
    if (unlink(path) != 0)
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "removing %s", path);
    return file_sync_dir(dir, err);
}

/* ---- firing ---- */

static enum err_code turn_back(const char *dir, const struct deadman *d, struct err *err)
{
    struct release_dir releases;
    bool set = false;
    uint8_t current[DIGEST_BYTES];
    enum err_code code = release_dir_open(&releases, dir, err);
    if (code || (code = release_dir_current(&releases, &set, current, err)))
        return code;
    if (!set || memcmp(current, d->target, DIGEST_BYTES) != 0)
        return ERR_OK;
    return d->has_previous ? release_dir_switch(&releases, d->previous, err)
                           : release_dir_clear(&releases, err);
}

enum err_code deadman_file_fire(const char *dir, struct deadman *d, struct err *err)
{
    struct child_identity identity;
    memcpy(identity.boot_id, d->boot_id, sizeof identity.boot_id);
    for (uint32_t i = 0; i < d->processes_len; i++) {
        identity.pid = d->processes[i].pid;
        identity.start_ticks = d->processes[i].start_ticks;
        child_kill(&identity);
    }
    enum err_code code = turn_back(dir, d, err);
    if (code)
        return code;
    d->state = DEADMAN_FIRED;
    return deadman_file_write(dir, d, err);
}

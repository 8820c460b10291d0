/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/roots.h"

#include <inttypes.h>
#include <stdio.h>

#include "captain/io/store/log.h"
#include "captain/io/store/root.h"
#include "common/base/mem.h"
#include "common/log.h"
#include "common/trust.h"
#include "proto/codec.h"

enum {
    TIMEOUT_MS = 5000,
    RETRY_MS = 1000,
    ROOTS_ARENA_BYTES = 8 << 20,
};

struct roots {
    struct roots_parts parts;
    struct loop_timer retry;
    bool ready, busy, again;
    uint64_t at; /* the version that is looked at */
};

/* The chain in table and files. */

static enum err_code other_fleet(const struct roots *roots, uint64_t version, struct err *err)
{
    (void)err_set(err, ERR_ROOT_CHAIN,
                  "the root in %s/keys, version %" PRIu64
                  ", is not the one that the log brought (version %" PRIu64 ")",
                  roots->parts.folder, roots->parts.keys->root.version, version);
    return err_hint(err, "restore keys/ and root.dsse of this fleet from a backup");
}

static enum err_code get(const struct roots *roots, uint64_t version, struct arena *arena,
                         struct store_root *ret, struct err *err)
{
    struct err found = {0};
    enum err_code code = store_root_get(roots->parts.db, version, arena, ret, &found);
    return code == ERR_OK || code == ERR_NOT_FOUND ? code : err_set(err, code, "%s", found.text);
}

/* Forward from the version in force. */
static enum err_code take_newer(struct roots *roots, struct err *err)
{
    struct keys *keys = roots->parts.keys;
    for (;;) {
        struct store_root row;
        struct arena arena DEFER(arena_fini) = {0};
        arena_init(&arena, ROOTS_ARENA_BYTES);
        enum err_code code = get(roots, keys->root.version + 1, &arena, &row, err);
        if (code == ERR_NOT_FOUND)
            return ERR_OK;
        if (code == ERR_OK)
            code = keys_take_root(keys, roots->parts.folder, row.envelope, err);
        if (code != ERR_OK)
            return err_wrap(err, "the chain of roots");
        log_write(LOG_LEVEL_INFO, "root version %" PRIu64 " is in force", keys->root.version);
    }
}

/* *ret_newest is 0 for an empty table. One that is older than the files is no error yet: the log may
 * bring the rest. */
static enum err_code follow_table(struct roots *roots, uint64_t *ret_newest, struct err *err)
{
    const struct keys *keys = roots->parts.keys;
    struct store_root newest, ours;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, ROOTS_ARENA_BYTES);
    enum err_code code = get(roots, 0, &arena, &newest, err);
    *ret_newest = code == ERR_OK ? newest.version : 0;
    if (code == ERR_NOT_FOUND || (code == ERR_OK && newest.version < keys->root.version))
        return ERR_OK;
    if (code == ERR_OK)
        code = get(roots, keys->root.version, &arena, &ours, err);
    if (code == ERR_NOT_FOUND ||
        (code == ERR_OK && !bytes_equal(ours.envelope, keys->root_envelope)))
        return other_fleet(roots, newest.version, err);
    return code ? code : take_newer(roots, err);
}

/* The log of an older captain has root.created, its tables have no chain. */
static enum err_code fill_table(struct roots *roots, struct err *err)
{
    struct store_root row;
    struct store_log_row *rows;
    struct log_entry entry;
    struct root root;
    size_t len = 0;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, ROOTS_ARENA_BYTES);
    enum err_code code = get(roots, 0, &arena, &row, err);
    if (code != ERR_NOT_FOUND)
        return code;
    code = store_log_list(roots->parts.db, 0, "root.created", "", 1, &arena, &rows, &len, err);
    if (code != ERR_OK || len == 0)
        return code;
    if ((code = codec_decode(&codec_log_entry, rows[0].entry, &arena, &entry, err)) ||
        (code = trust_root_anchor(entry.body, &arena, &root, err)))
        return err_wrap(err, "entry %" PRIu64 " of the log", rows[0].seq);
    row = (struct store_root){root.version, entry.body,   root.expires_ms, entry.time_ms,
                              entry.actor,  entry.reason, entry.seq};
    code = store_root_add(roots->parts.db, &row, err);
    return code ? code : db_commit(roots->parts.db, err);
}

enum err_code roots_open(const struct roots_parts *parts, struct roots **ret, struct err *err)
{
    struct roots *roots = mem_new(1, sizeof *roots);
    uint64_t newest;
    roots->parts = *parts;
    enum err_code code = fill_table(roots, err);
    if (code == ERR_OK)
        code = follow_table(roots, &newest, err);
    if (code != ERR_OK) {
        roots_close(roots);
        return code;
    }
    *ret = roots;
    return ERR_OK;
}

void roots_close(struct roots *roots)
{
    if (!roots)
        return;
    if (roots->parts.loop)
        loop_timer_stop(&roots->retry);
    mem_free(roots);
}

static bool is_root(const struct log_entry *entry)
{
    return str_equal(entry->kind, "root.created") || str_equal(entry->kind, "root.rotated");
}

enum err_code roots_applied(struct roots *roots, const struct log_entry *entry, struct err *err)
{
    uint64_t newest;
    return is_root(entry) ? follow_table(roots, &newest, err) : ERR_OK;
}

/* DESIRED: one version after the other, each looked at and sent when it is not there. */

static void send_all(struct roots *roots);

static void on_retry(void *arg)
{
    send_all(arg);
}

static void failed(struct roots *roots, const struct err *err)
{
    roots->busy = false;
    if (err->code == ERR_NO_CONTACT) {
        roots->ready = false; /* on_ready begins again */
        return;
    }
    log_err("a root is not in the stream yet", err);
    loop_timer_at(roots->parts.loop, &roots->retry, loop_now_ms(roots->parts.loop) + RETRY_MS,
                  on_retry, roots);
}

static void look_at(struct roots *roots);

static void next(struct roots *roots)
{
    roots->at++;
    look_at(roots);
}

static void on_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct roots *roots = arg;
    (void)seq;
    (void)duplicate;
    if (err->code == ERR_OK)
        next(roots);
    else
        failed(roots, err);
}

static enum err_code store(struct roots *roots, struct bytes envelope, struct err *err)
{
    char subject[64], id[64];
    (void)snprintf(subject, sizeof subject, "desired.root.%" PRIu64, roots->at);
    (void)snprintf(id, sizeof id, "root/%" PRIu64, roots->at);
    return bus_store(roots->parts.bus, subject, envelope, id, (struct bus_expect){0}, TIMEOUT_MS,
                     on_stored, roots, err);
}

static void on_got(void *arg, const struct bus_message *message, const struct err *err)
{
    struct roots *roots = arg;
    struct store_root row;
    struct err why = *err;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, ROOTS_ARENA_BYTES);
    if (err->code != ERR_OK && err->code != ERR_NOT_FOUND) {
        failed(roots, err);
        return;
    }
    enum err_code code = get(roots, roots->at, &arena, &row, &why);
    if (code == ERR_OK && message && bytes_equal(message->data, row.envelope)) {
        next(roots);
        return;
    }
    if (code == ERR_OK)
        code = store(roots, row.envelope, &why);
    if (code != ERR_OK)
        failed(roots, &why);
}

static void look_at(struct roots *roots)
{
    char subject[64];
    struct err err = {0};
    if (roots->at > roots->parts.keys->root.version) {
        roots->busy = false;
        if (roots->again)
            send_all(roots);
        return;
    }
    (void)snprintf(subject, sizeof subject, "desired.root.%" PRIu64, roots->at);
    if (bus_get_last(roots->parts.bus, "DESIRED", subject, TIMEOUT_MS, on_got, roots, &err) !=
        ERR_OK)
        failed(roots, &err);
}

/* A chain may begin above version 1. */
static uint64_t first_version(const struct roots *roots)
{
    struct store_root *rows = NULL;
    size_t len = 0;
    struct err err = {0};
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, ROOTS_ARENA_BYTES);
    if (store_root_list(roots->parts.db, &arena, &rows, &len, &err) != ERR_OK)
        log_err("the chain of roots", &err);
    return len > 0 ? rows[0].version : UINT64_MAX;
}

static void send_all(struct roots *roots)
{
    roots->again = true;
    if (!roots->ready || roots->busy)
        return;
    loop_timer_stop(&roots->retry);
    roots->again = false;
    roots->busy = true;
    roots->at = first_version(roots);
    look_at(roots);
}

void roots_committed(struct roots *roots, const struct log_entry *entry)
{
    if (is_root(entry))
        send_all(roots);
}

enum err_code roots_known(struct roots *roots, bool *ret, struct err *err)
{
    uint64_t newest;
    enum err_code code = follow_table(roots, &newest, err);
    *ret = newest > 0;
    if (code == ERR_OK && newest > 0 && newest < roots->parts.keys->root.version)
        return other_fleet(roots, newest, err);
    return code;
}

void roots_connected(struct roots *roots)
{
    roots->ready = true;
    send_all(roots);
}

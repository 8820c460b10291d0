/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/agent_store.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "agent/io/sql/agent_schema_1.sql.h"
#include "agent/io/sql/agent_schema_2.sql.h"
#include "agent/io/sql/agent_store.sql.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/file.h"
#include "proto/codec.h"

enum {
    APPLICATION_ID = 0x63617061, /* "capa" */
    COUNTERS_MAX = 256,
    COUNTER_NAME_MAX = 200,
    COUNTERS_FILE_MAX_BYTES = COUNTERS_MAX * (COUNTER_NAME_MAX + 24),
    ENCODE_MAX_BYTES = 64 << 10,
    SERVICES_MAX = 64,
};

struct counter {
    char name[COUNTER_NAME_MAX + 1];
    uint64_t value;
};

struct agent_store {
    struct db *db;
    char counters_path[PATH_MAX];
    char epoch[ULID_TEXT];
    uint64_t seq;     /* of the newest event, this transaction included */
    uint64_t waiting; /* events in the outbox */
    struct counter *counters;
    size_t counters_len;
};

static int64_t signed_of(uint64_t value)
{
    return (int64_t)value;
}

/* db_row wants an error struct in every case; ours may be NULL. */
static enum err_code hand_over(const struct err *from, struct err *err)
{
    if (err != NULL)
        *err = *from;
    return from->code;
}

/* Reads the first row's text or number, then lets the statement go. */
static bool one_row(struct agent_store *store, struct db_stmt *stmt, char *ret_text, size_t size,
                    int64_t *ret_int, struct err *err)
{
    struct err rest;
    if (!db_row(store->db, stmt, err))
        return false;
    if (ret_text != NULL && str_copy(ret_text, size, db_text(stmt, 0)) != ERR_OK)
        (void)err_set(err, ERR_MALFORMED, "the agent's database holds a text that is too long");
    if (ret_int != NULL)
        *ret_int = db_int(stmt, 0);
    while (db_row(store->db, stmt, &rest)) {
    }
    return err->code == ERR_OK;
}

/* ---- counters ---- */

static struct counter *find_counter(const struct agent_store *store, const char *name)
{
    for (size_t i = 0; i < store->counters_len; i++) {
        if (str_equal(store->counters[i].name, name))
            return &store->counters[i];
    }
    return NULL;
}

/* In memory only. */
static enum err_code note_counter(struct agent_store *store, const char *name, uint64_t value,
                                  struct err *err)
{
    struct counter *counter = find_counter(store, name);
    if (counter == NULL) {
        if (store->counters_len == COUNTERS_MAX)
            return err_set(err, ERR_FULL, "there are %d trusted counters already", COUNTERS_MAX);
        counter = &store->counters[store->counters_len];
        if (name[0] == '\0' || strchr(name, '\n') != NULL ||
            str_copy(counter->name, sizeof counter->name, name) != ERR_OK)
            return err_set(err, ERR_USAGE, "a trusted counter cannot have this name");
        counter->value = 0;
        store->counters_len++;
    }
    counter->value = value > counter->value ? value : counter->value;
    return ERR_OK;
}

static enum err_code write_counters(const struct agent_store *store, struct err *err)
{
    char *text DEFER(mem_free_ref) = mem_new(1, COUNTERS_FILE_MAX_BYTES);
    size_t len = 0;
    for (size_t i = 0; i < store->counters_len; i++)
        len += (size_t)snprintf(text + len, COUNTERS_FILE_MAX_BYTES - len, "%" PRIu64 " %s\n",
                                store->counters[i].value, store->counters[i].name);
    return file_replace(store->counters_path, bytes_of(text, len), 0600, err);
}

/* A line that cannot be read is left out: the copy in the database counts, and the file is written
 * anew. */
static enum err_code take_line(struct agent_store *store, char *line, struct err *err)
{
    uint64_t value = 0;
    char *space = strchr(line, ' ');
    if (space == NULL)
        return ERR_OK;
    *space = '\0';
    if (str_u64(line, INT64_MAX, &value) != ERR_OK || space[1] == '\0')
        return ERR_OK;
    return note_counter(store, space + 1, value, err);
}

static enum err_code read_counters_file(struct agent_store *store, struct err *err)
{
    struct bytes data;
    struct arena arena;
    arena_init(&arena, COUNTERS_FILE_MAX_BYTES * 2);
    enum err_code code =
        file_read(store->counters_path, COUNTERS_FILE_MAX_BYTES, &arena, &data, err);
    if (code == ERR_OK) {
        char *save = NULL;
        char *text = arena_strdup(&arena, (const char *)data.ptr);
        for (char *line = text == NULL ? NULL : strtok_r(text, "\n", &save);
             line != NULL && code == ERR_OK; line = strtok_r(NULL, "\n", &save))
            code = take_line(store, line, err);
    }
    arena_fini(&arena);
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

static enum err_code read_counters_table(struct agent_store *store, struct err *err)
{
    struct err row = {.code = ERR_OK};
    enum err_code code = ERR_OK;
    struct db_stmt *stmt = db_stmt(store->db, SQL_COUNTER_ALL, "i", (int64_t)COUNTERS_MAX);
    while (code == ERR_OK && db_row(store->db, stmt, &row))
        code = note_counter(store, db_text(stmt, 0), (uint64_t)db_int(stmt, 1), err);
    return row.code != ERR_OK ? hand_over(&row, err) : code;
}

static enum err_code put_counter(struct agent_store *store, const char *name, uint64_t value,
                                 struct err *err)
{
    return db_run(store->db, db_stmt(store->db, SQL_COUNTER_RAISE, "si", name, signed_of(value)),
                  err);
}

/* Both copies say the larger of the two afterwards. */
static enum err_code load_counters(struct agent_store *store, struct err *err)
{
    store->counters = mem_new(COUNTERS_MAX, sizeof *store->counters);
    enum err_code code = read_counters_file(store, err);
    if (code == ERR_OK)
        code = read_counters_table(store, err);
    for (size_t i = 0; i < store->counters_len && code == ERR_OK; i++)
        code = put_counter(store, store->counters[i].name, store->counters[i].value, err);
    return code == ERR_OK ? write_counters(store, err) : code;
}

enum err_code agent_store_raise_counter(struct agent_store *store, const char *name, uint64_t value,
                                        struct err *err)
{
    if (value > INT64_MAX)
        return err_set(err, ERR_SIZE, "trusted counter %s cannot be that large", name);
    if (find_counter(store, name) != NULL && value <= agent_store_counter(store, name))
        return ERR_OK;
    uint64_t before = agent_store_counter(store, name);
    enum err_code code = note_counter(store, name, value, err);
    if (code == ERR_OK)
        code =
            write_counters(store, err); /* durable from here on; the table follows with the turn */
    if (code != ERR_OK) {
        struct counter *counter = find_counter(store, name);
        if (counter != NULL)
            counter->value = before; /* what is not durable is not believed */
        return code;
    }
    return put_counter(store, name, value, err);
}

uint64_t agent_store_counter(const struct agent_store *store, const char *name)
{
    const struct counter *counter = find_counter(store, name);
    return counter != NULL ? counter->value : 0;
}

enum err_code agent_store_drop_counters(struct agent_store *store, const char *prefix,
                                        struct err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < store->counters_len; i++) {
        if (strncmp(store->counters[i].name, prefix, strlen(prefix)) != 0)
            store->counters[kept++] = store->counters[i];
    }
    store->counters_len = kept;
    enum err_code code = db_run(store->db, db_stmt(store->db, SQL_COUNTER_DROP, "s", prefix), err);
    return code == ERR_OK ? write_counters(store, err) : code;
}

/* ---- open ---- */

static enum err_code load_epoch(struct agent_store *store, struct err *err)
{
    struct err row = {.code = ERR_OK};
    if (one_row(store, db_stmt(store->db, SQL_SETTING_GET, "s", "epoch"), store->epoch,
                sizeof store->epoch, NULL, &row) &&
        ulid_valid(store->epoch))
        return ERR_OK;
    if (row.code != ERR_OK)
        return hand_over(&row, err);
    clock_ulid(store->epoch);
    return db_run(store->db, db_stmt(store->db, SQL_SETTING_PUT, "ss", "epoch", store->epoch), err);
}

/* What memory keeps of the outbox, as the file has it. */
static enum err_code load_events(struct agent_store *store, struct err *err)
{
    struct err row = {.code = ERR_OK};
    int64_t seq = 0;
    int64_t waiting = 0;
    (void)one_row(store, db_stmt(store->db, SQL_SETTING_GET, "s", "event_seq"), NULL, 0, &seq,
                  &row);
    if (row.code == ERR_OK)
        (void)one_row(store, db_stmt(store->db, SQL_EVENT_COUNT, ""), NULL, 0, &waiting, &row);
    if (row.code != ERR_OK)
        return hand_over(&row, err);
    store->seq = (uint64_t)seq;
    store->waiting = (uint64_t)waiting;
    return ERR_OK;
}

enum err_code agent_store_open(const char *path, struct agent_store **ret, struct err *err)
{
    static const char *const migrations[] = {SQL_AGENT_SCHEMA_1, SQL_AGENT_SCHEMA_2};
    static const struct db_schema schema = {APPLICATION_ID, migrations, ARRAY_LEN(migrations)};
    struct agent_store *store = mem_new(1, sizeof *store);
    enum err_code code = ERR_OK;
    int len = snprintf(store->counters_path, sizeof store->counters_path, "%s.counters", path);
    if (len < 0 || (size_t)len >= sizeof store->counters_path)
        code = err_set(err, ERR_SIZE, "the path of the agent's database is too long");
    if (code == ERR_OK)
        code = db_open(path, &schema, &store->db, err);
    if (code == ERR_OK)
        code = load_epoch(store, err);
    if (code == ERR_OK)
        code = load_events(store, err);
    if (code == ERR_OK)
        code = load_counters(store, err);
    if (code == ERR_OK)
        code = db_commit(store->db, err);
    if (code != ERR_OK) {
        agent_store_close(store);
        return code;
    }
    *ret = store;
    return ERR_OK;
}

void agent_store_close(struct agent_store *store)
{
    if (store == NULL)
        return;
    db_close(store->db);
    mem_free(store->counters);
    mem_free(store);
}

enum err_code agent_store_commit(struct agent_store *store, struct err *err)
{
    enum err_code code = db_commit(store->db, err);
    if (code == ERR_OK)
        return ERR_OK;
    /* Rolled back: memory must not know of events that the file does not have. */
    enum err_code loaded = load_events(store, NULL);
    (void)loaded; /* a database that cannot even be read fails again at the next turn, with the same
                     word */
    return code;
}

const char *agent_store_epoch(const struct agent_store *store)
{
    return store->epoch;
}

/* ---- apps ---- */

static struct bytes release_bytes(const struct lifecycle_release *release)
{
    return bytes_of(release->digest, release->set ? DIGEST_BYTES : 0);
}

static void read_release(struct db_stmt *stmt, int column, struct lifecycle_release *ret)
{
    struct bytes digest = db_bytes(stmt, column);
    ret->set = digest.len == DIGEST_BYTES;
    if (ret->set)
        memcpy(ret->digest, digest.ptr, DIGEST_BYTES);
}

static enum err_code read_app(struct db_stmt *stmt, struct arena *arena, struct agent_app_row *row,
                              struct err *err)
{
    struct lifecycle *life = &row->lifecycle;
    int64_t state = db_int(stmt, 0);
    life->state = (enum lifecycle_state)state;
    read_release(stmt, 1, &life->target);
    read_release(stmt, 2, &life->confirmed);
    read_release(stmt, 3, &life->previous);
    read_release(stmt, 4, &life->refused);
    life->decision = (uint64_t)db_int(stmt, 5);
    life->refused_decision = (uint64_t)db_int(stmt, 6);
    life->data_version = (uint32_t)db_int(stmt, 7);
    life->failures = (uint32_t)db_int(stmt, 8);
    life->since_ms = db_int(stmt, 9);
    life->refused_code = (enum err_code)db_int(stmt, 10);
    life->reason_code = (enum err_code)db_int(stmt, 11);
    struct bytes desired = db_bytes(stmt, 12);
    row->generation = (uint64_t)db_int(stmt, 13);
    row->attempt_number = (uint32_t)db_int(stmt, 16);
    row->flaps = (uint32_t)db_int(stmt, 17);
    life->space_bytes = (uint64_t)db_int(stmt, 20);
    if (state < 0 || state >= LIFECYCLE_STATES ||
        str_copy(row->attempt, sizeof row->attempt, db_text(stmt, 14)) != ERR_OK ||
        str_copy(row->rollout, sizeof row->rollout, db_text(stmt, 15)) != ERR_OK ||
        str_copy(row->excused, sizeof row->excused, db_text(stmt, 18)) != ERR_OK ||
        str_copy(row->failure, sizeof row->failure, db_text(stmt, 19)) != ERR_OK)
        return err_set(err, ERR_MALFORMED, "the agent's database holds an app that cannot be read");
    if (desired.len > 0) {
        row->desired = bytes_of(arena_dup(arena, desired.ptr, desired.len), desired.len);
        if (row->desired.ptr == NULL)
            return err_set(err, ERR_SIZE, "the desired document is too large to read");
    }
    return ERR_OK;
}

enum err_code agent_store_get_app(struct agent_store *store, const char *app, struct arena *arena,
                                  struct agent_app_row *ret, struct err *err)
{
    struct err row_err = {.code = ERR_OK};
    struct agent_app_row row = {0};
    struct db_stmt *stmt = db_stmt(store->db, SQL_APP_GET, "s", app);
    bool found = db_row(store->db, stmt, &row_err);
    enum err_code code = found ? read_app(stmt, arena, &row, err) : ERR_OK;
    while (found && db_row(store->db, stmt, &row_err)) {
    }
    if (row_err.code != ERR_OK)
        return hand_over(&row_err, err);
    if (!found)
        return err_set(err, ERR_NOT_FOUND, "app %s is new", app);
    if (code == ERR_OK)
        *ret = row;
    return code;
}

enum err_code agent_store_put_app(struct agent_store *store, const char *app,
                                  const struct agent_app_row *row, struct err *err)
{
    const struct lifecycle *life = &row->lifecycle;
    struct db_stmt *stmt = db_stmt(
        store->db, SQL_APP_PUT, "sibbbbiiiiiiibissiissi", app, (int64_t)life->state,
        release_bytes(&life->target), release_bytes(&life->confirmed),
        release_bytes(&life->previous), release_bytes(&life->refused), signed_of(life->decision),
        signed_of(life->refused_decision), (int64_t)life->data_version, (int64_t)life->failures,
        life->since_ms, (int64_t)life->refused_code, (int64_t)life->reason_code, row->desired,
        signed_of(row->generation), row->attempt, row->rollout, (int64_t)row->attempt_number,
        (int64_t)row->flaps, row->excused, row->failure, signed_of(life->space_bytes));
    return db_run(store->db, stmt, err);
}

/* ---- the device ---- */

enum err_code agent_store_get_device(struct agent_store *store, struct arena *arena,
                                     struct bytes *ret, struct err *err)
{
    struct err row_err = {.code = ERR_OK};
    struct bytes copy = {0};
    struct db_stmt *stmt = db_stmt(store->db, SQL_DEVICE_GET, "");
    bool found = db_row(store->db, stmt, &row_err);
    if (found) {
        struct bytes envelope = db_bytes(stmt, 0);
        copy = bytes_of(arena_dup(arena, envelope.ptr, envelope.len), envelope.len);
    }
    while (found && db_row(store->db, stmt, &row_err)) {
    }
    if (row_err.code != ERR_OK)
        return hand_over(&row_err, err);
    if (!found || copy.ptr == NULL)
        return err_set(err, ERR_NOT_FOUND, "nothing is known of this device's own desired state");
    *ret = copy;
    return ERR_OK;
}

enum err_code agent_store_put_device(struct agent_store *store, struct bytes envelope,
                                     struct err *err)
{
    return db_run(store->db, db_stmt(store->db, SQL_DEVICE_PUT, "b", envelope), err);
}

/* ---- events ---- */

static bool can_wait(enum event_kind kind)
{
    return kind == EVENT_KIND_SERVICE_EXITED || kind == EVENT_KIND_HEALTHY ||
           kind == EVENT_KIND_UNHEALTHY;
}

static enum err_code write_event(struct agent_store *store, uint64_t seq, struct bytes encoded,
                                 struct err *err)
{
    enum err_code code =
        db_run(store->db, db_stmt(store->db, SQL_EVENT_ADD, "ib", signed_of(seq), encoded), err);
    if (code == ERR_OK)
        code = db_run(store->db,
                      db_stmt(store->db, SQL_SETTING_PUT, "si", "event_seq", signed_of(seq)), err);
    if (code != ERR_OK)
        return code;
    store->seq = seq;
    store->waiting++;
    return ERR_OK;
}

enum err_code agent_store_add_event(struct agent_store *store, struct event *event, struct err *err)
{
    uint64_t bound = can_wait(event->kind) ? AGENT_OUTBOX_MAX : 2 * (uint64_t)AGENT_OUTBOX_MAX;
    if (store->waiting >= bound)
        return err_set(err, ERR_FULL, "%" PRIu64 " events wait for captain", store->waiting);
    struct bytes encoded;
    struct arena arena;
    arena_init(&arena, ENCODE_MAX_BYTES);
    event->epoch = store->epoch;
    event->seq = store->seq + 1;
    enum err_code code = codec_encode(&codec_event, event, &arena, &encoded, err);
    if (code == ERR_OK)
        code = write_event(store, event->seq, encoded, err);
    arena_fini(&arena);
    return code;
}

uint64_t agent_store_event_seq(const struct agent_store *store)
{
    return store->seq;
}

enum err_code agent_store_outbox(struct agent_store *store, uint64_t after, size_t max,
                                 struct arena *arena, struct agent_outbox_row **ret,
                                 size_t *ret_len, struct err *err)
{
    struct err row_err = {.code = ERR_OK};
    max = max > AGENT_OUTBOX_MAX ? AGENT_OUTBOX_MAX : max;
    struct agent_outbox_row *rows = arena_alloc(arena, sizeof *rows * (max + 1));
    size_t len = 0;
    bool full = rows == NULL;
    struct db_stmt *stmt =
        db_stmt(store->db, SQL_EVENT_AFTER, "ii", signed_of(after), signed_of(max));
    while (db_row(store->db, stmt, &row_err)) {
        struct bytes encoded = db_bytes(stmt, 1);
        const void *copy = full ? NULL : arena_dup(arena, encoded.ptr, encoded.len);
        full = full || copy == NULL;
        if (!full)
            rows[len++] =
                (struct agent_outbox_row){(uint64_t)db_int(stmt, 0), bytes_of(copy, encoded.len)};
    }
    if (row_err.code != ERR_OK)
        return hand_over(&row_err, err);
    if (rows == NULL || (full && len == 0))
        return err_set(err, ERR_SIZE, "the memory given does not hold one event");
    *ret = rows; /* what fits; the rest comes with the next call */
    *ret_len = len;
    return ERR_OK;
}

enum err_code agent_store_acked(struct agent_store *store, uint64_t seq, struct err *err)
{
    enum err_code code =
        db_run(store->db, db_stmt(store->db, SQL_EVENT_DROP, "i", signed_of(seq)), err);
    if (code == ERR_OK)
        store->waiting -= (uint64_t)db_changes(store->db);
    return code;
}

/* ---- processes ---- */

enum err_code agent_store_put_process(struct agent_store *store, const char *app,
                                      const char *service, const struct child_identity *identity,
                                      struct err *err)
{
    struct db_stmt *stmt = db_stmt(store->db, SQL_PROCESS_PUT, "ssiis", app, service, identity->pid,
                                   signed_of(identity->start_ticks), identity->boot_id);
    return db_run(store->db, stmt, err);
}

enum err_code agent_store_drop_process(struct agent_store *store, const char *app,
                                       const char *service, struct err *err)
{
    return db_run(store->db, db_stmt(store->db, SQL_PROCESS_DROP, "ss", app, service), err);
}

enum err_code agent_store_get_process(struct agent_store *store, const char *app,
                                      const char *service, struct child_identity *ret,
                                      struct err *err)
{
    struct err row_err = {.code = ERR_OK};
    struct child_identity identity = {0};
    bool fits = true;
    struct db_stmt *stmt = db_stmt(store->db, SQL_PROCESS_GET, "ss", app, service);
    bool found = db_row(store->db, stmt, &row_err);
    if (found) {
        identity.pid = db_int(stmt, 0);
        identity.start_ticks = (uint64_t)db_int(stmt, 1);
        fits = str_copy(identity.boot_id, sizeof identity.boot_id, db_text(stmt, 2)) == ERR_OK;
    }
    while (found && db_row(store->db, stmt, &row_err)) {
    }
    if (row_err.code != ERR_OK)
        return hand_over(&row_err, err);
    if (!found || !fits)
        return err_set(err, ERR_NOT_FOUND, "%s/%s has no process", app, service);
    *ret = identity;
    return ERR_OK;
}

enum err_code agent_store_list_processes(struct agent_store *store, const char *app,
                                         struct arena *arena, const char ***ret, size_t *ret_len,
                                         struct err *err)
{
    struct err row_err = {.code = ERR_OK};
    const char **names = arena_alloc(arena, sizeof *names * SERVICES_MAX);
    size_t len = 0;
    bool full = names == NULL;
    struct db_stmt *stmt = db_stmt(store->db, SQL_PROCESS_LIST, "si", app, (int64_t)SERVICES_MAX);
    while (db_row(store->db, stmt, &row_err)) {
        const char *name = full ? NULL : arena_strdup(arena, db_text(stmt, 0));
        full = full || name == NULL;
        if (!full)
            names[len++] = name;
    }
    if (row_err.code != ERR_OK)
        return hand_over(&row_err, err);
    if (full)
        return err_set(err, ERR_SIZE, "the memory given does not hold the names of the services");
    *ret = names;
    *ret_len = len;
    return ERR_OK;
}

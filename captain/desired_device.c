/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/desired_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "captain/desired_private.h"
#include "captain/io/store/release.h"
#include "captain/io/store/rollout.h"
#include "captain/io/store/secret.h"
#include "captain/io/store/trust.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    TIMEOUT_MS = 5000,
    RETRY_MS = 1000,
    LOOK_MS = 3600000,
    ISSUE_ARENA_BYTES = 4 << 20,
    LIST_ARENA_BYTES = 64 << 20,
    DEVICE_MAX = 2 * TOKEN_MAX + 2,
};

struct desired_devices {
    struct loop *loop;
    struct bus *bus;
    struct desired_signer signer;
    int64_t reissue_ms;
    struct loop_timer retry, look;
    bool ready, closed;
    bool again;     /* something was issued while others were on their way */
    unsigned calls; /* of the bus that have not ended */
    unsigned failed;
};

struct call {
    struct desired_devices *devices;
    char device[DEVICE_MAX];
    uint64_t generation;
};

/* Issuing. */

static enum err_code read_pins(const struct desired_signer *signer, const struct device_set *set,
                               struct arena *arena, struct device_desired *ret, struct err *err)
{
    struct pin *pins = arena_alloc(arena, (set->pins_len + 1) * sizeof *pins);
    if (!pins)
        return err_set(err, ERR_SIZE, "the pins of a device take too much memory");
    for (size_t i = 0; i < set->pins_len; i++) {
        struct store_release release;
        enum err_code code =
            store_release_get(signer->db, set->pins[i].digest.ptr, arena, &release, err);
        if (code != ERR_OK)
            return code;
        pins[i] = (struct pin){.app = set->pins[i].app,
                               .digest = set->pins[i].digest,
                               .version = release.version,
                               .sequence = release.sequence};
    }
    ret->pins = pins;
    ret->pins_len = set->pins_len;
    return ERR_OK;
}

static enum err_code read_set(const struct desired_signer *signer,
                              const struct store_device_set *row, struct arena *arena,
                              struct device_desired *ret, struct err *err)
{
    struct device_set set;
    enum err_code code = codec_decode(&codec_device_set, row->set, arena, &set, err);
    if (code != ERR_OK)
        return code;
    struct label *labels = arena_alloc(arena, (set.labels_len + 1) * sizeof *labels);
    if (!labels)
        return err_set(err, ERR_SIZE, "the labels of a device take too much memory");
    for (size_t i = 0; i < set.labels_len; i++)
        labels[i] = (struct label){.key = set.labels[i].key, .value = set.labels[i].value};
    ret->labels = labels;
    ret->labels_len = set.labels_len;
    return read_pins(signer, &set, arena, ret, err);
}

/* As the tables have them: the same boxes again, so that a device sees at once that nothing is new. */
static enum err_code read_secrets(const struct desired_signer *signer, const char *device,
                                  struct arena *arena, struct device_desired *ret, struct err *err)
{
    struct store_secret_device *rows = NULL;
    size_t len = 0;
    enum err_code code = store_secret_device_list(signer->db, device, arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct sealed_secret *secrets = arena_alloc(arena, (len + 1) * sizeof *secrets);
    if (!secrets)
        return err_set(err, ERR_SIZE, "the secrets of a device take too much memory");
    for (size_t i = 0; i < len; i++)
        if (rows[i].sealed.len > 0)
            secrets[ret->secrets_len++] = (struct sealed_secret){.app = rows[i].app,
                                                                 .name = rows[i].name,
                                                                 .version = rows[i].version,
                                                                 .sealed = rows[i].sealed};
    ret->secrets = secrets;
    return ERR_OK;
}

static enum err_code issue(const struct desired_signer *signer, const char *device,
                           struct arena *arena, struct err *err)
{
    struct store_device_set row;
    struct bytes envelope;
    const char *stores[] = {signer->store_url};
    const int64_t now_ms = clock_unix_ms();
    enum err_code code = store_device_set_row(signer->db, device, arena, &row, err);
    if (code != ERR_OK)
        return code;
    struct device_desired document = {.tenant = signer->tenant,
                                      .device = device,
                                      .generation = desired_generation(row.generation, now_ms),
                                      .issued_ms = now_ms,
                                      .expires_ms = now_ms + signer->valid_ms,
                                      .stores = stores,
                                      .stores_len = 1,
                                      .decision = row.decision};
    code = read_set(signer, &row, arena, &document, err);
    if (code == ERR_OK)
        code = read_secrets(signer, device, arena, &document, err);
    if (code == ERR_OK)
        code = desired_seal(signer, &codec_device_desired, &document, arena, &envelope, err);
    if (code == ERR_OK)
        code =
            store_device_set_issued(signer->db, device, document.generation, now_ms, envelope, err);
    if (code == ERR_OK)
        code = store_secret_device_issued(signer->db, device, document.generation, err);
    return code;
}

/* Who was put out, or is not let in yet, is told nothing. */
static enum err_code is_told(struct db *db, const char *device, struct arena *arena, bool *ret,
                             struct err *err)
{
    struct store_identity identity;
    struct err absent = {0};
    const enum err_code code = store_identity_get(db, device, arena, &identity, &absent);
    *ret = code == ERR_NOT_FOUND || (code == ERR_OK && str_equal(identity.state, "approved"));
    return code == ERR_OK || code == ERR_NOT_FOUND ? ERR_OK : err_set(err, code, "%s", absent.text);
}

enum err_code desired_devices_issue(struct desired_devices *d, const char *device, struct err *err)
{
    bool told = false;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, ISSUE_ARENA_BYTES);
    enum err_code code = is_told(d->signer.db, device, &arena, &told, err);
    if (code == ERR_OK && told)
        code = issue(&d->signer, device, &arena, err);
    return code == ERR_OK ? ERR_OK : err_wrap(err, "issuing device %s", device);
}

/* Sending. */

static void on_retry(void *arg)
{
    desired_devices_send(arg);
}

static void try_again(struct desired_devices *d, const struct err *err)
{
    log_err("desired state of a device is not in the stream yet", err);
    loop_timer_at(d->loop, &d->retry, loop_now_ms(d->loop) + RETRY_MS, on_retry, d);
}

/* The next batch, when this one has ended. */
static void call_ended(struct desired_devices *d)
{
    if (d->calls > 0 || d->closed)
        return;
    const bool again = d->again && d->failed == 0;
    d->again = false;
    if (again)
        desired_devices_send(d);
}

static void on_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct call call = *(struct call *)arg;
    struct desired_devices *d = call.devices;
    struct err failed = *err;
    (void)seq;
    (void)duplicate; /* the same document, stored before */
    mem_free(arg);
    d->calls--;
    if (d->closed) {
        if (d->calls == 0)
            mem_free(d);
        return;
    }
    if (failed.code == ERR_OK)
        failed.code = store_device_set_sent(d->signer.db, call.device, call.generation, &failed);
    if (failed.code != ERR_OK) {
        d->failed++;
        try_again(d, &failed);
    }
    call_ended(d);
}

static enum err_code send_one(struct desired_devices *d, const struct store_device_set *row,
                              struct err *err)
{
    char subject[BUS_SUBJECT_MAX + 1], id[DEVICE_MAX + 32];
    struct call *call = mem_new(1, sizeof *call);
    call->devices = d;
    call->generation = row->generation;
    (void)snprintf(call->device, sizeof call->device, "%s", row->device);
    const int site = (int)strcspn(row->device, "/");
    (void)snprintf(subject, sizeof subject, "desired.device.%.*s.%s", site, row->device,
                   row->device + site + (row->device[site] == '/'));
    (void)snprintf(id, sizeof id, "%s/%" PRIu64, row->device, row->generation);
    enum err_code code = bus_store(d->bus, subject, row->desired, id, (struct bus_expect){0},
                                   TIMEOUT_MS, on_stored, call, err);
    if (code == ERR_OK)
        d->calls++;
    else
        mem_free(call);
    return code;
}

void desired_devices_send(struct desired_devices *d)
{
    struct err err = {0};
    struct store_device_set *rows = NULL;
    size_t len = 0;
    struct arena arena DEFER(arena_fini) = {0};
    d->again = true;
    if (!d->ready || d->calls > 0)
        return; /* the end of the batch on its way comes here again */
    d->failed = 0;
    loop_timer_stop(&d->retry);
    arena_init(&arena, LIST_ARENA_BYTES);
    enum err_code code = store_device_set_list(d->signer.db, true, &arena, &rows, &len, &err);
    d->again = len > 0;
    for (size_t i = 0; code == ERR_OK && i < len; i++)
        if (rows[i].desired.len > 0)
            code = send_one(d, &rows[i], &err);
    if (code != ERR_OK)
        try_again(d, &err);
}

/* Issuing again before a document expires. */

static enum err_code issue_stale(struct desired_devices *d, size_t *ret_len, struct err *err)
{
    struct store_device_set *rows = NULL;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, LIST_ARENA_BYTES);
    enum err_code code = store_device_set_stale(d->signer.db, clock_unix_ms() - d->reissue_ms,
                                                &arena, &rows, ret_len, err);
    for (size_t i = 0; code == ERR_OK && i < *ret_len; i++)
        code = desired_devices_issue(d, rows[i].device, err);
    return code == ERR_OK ? db_commit(d->signer.db, err) : code;
}

static void on_look(void *arg)
{
    struct desired_devices *d = arg;
    struct err err = {0};
    size_t len = 0;
    if (issue_stale(d, &len, &err) != ERR_OK) {
        log_err("desired state of devices, issued again", &err);
        len = 0;
    }
    const int64_t wait_ms = len > 0 ? RETRY_MS : LOOK_MS;
    loop_timer_at(d->loop, &d->look, loop_now_ms(d->loop) + wait_ms, on_look, d);
    desired_devices_send(d);
}

void desired_devices_connected(struct desired_devices *d)
{
    struct err err = {0};
    d->ready = true;
    if (store_device_set_unsent(d->signer.db, &err) != ERR_OK ||
        db_commit(d->signer.db, &err) != ERR_OK)
        log_err("desired state of devices", &err);
    on_look(d);
}

enum err_code desired_devices_open(struct loop *loop, struct bus *bus, struct db *db,
                                   const struct keys *keys, const struct desired_options *options,
                                   struct desired_devices **ret, struct err *err)
{
    struct desired_devices *d = mem_new(1, sizeof *d);
    *d = (struct desired_devices){.loop = loop, .bus = bus, .reissue_ms = options->reissue_ms};
    d->signer = (struct desired_signer){.db = db, .keys = keys, .valid_ms = options->valid_ms};
    if (str_copy(d->signer.tenant, sizeof d->signer.tenant, options->tenant) != ERR_OK ||
        str_copy(d->signer.store_url, sizeof d->signer.store_url, options->store_url) != ERR_OK) {
        mem_free(d);
        return err_set(err, ERR_SIZE, "the name of the tenant or the store's URL is too long");
    }
    *ret = d;
    return ERR_OK;
}

void desired_devices_close(struct desired_devices *d)
{
    if (!d)
        return;
    loop_timer_stop(&d->retry);
    loop_timer_stop(&d->look);
    d->closed = true;
    if (d->calls == 0)
        mem_free(d);
}

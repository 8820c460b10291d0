/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/device.h"

#include <stdio.h>
#include <string.h>

#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    DEVICE_ARENA_MAX_BYTES = 256 << 10,
    DOCUMENT_LABELS_MAX = 32,
    SELECTORS_MAX = 16,
    SELECTOR_LABELS_MAX = 16,
};

struct device {
    const struct config *config;
    struct agent_store *store;
    struct trust *trust;
    char name[2 * TOKEN_MAX + 2];
    struct arena arena; /* envelope and document */
    struct bytes envelope;
    struct device_desired document;
    uint64_t rejected; /* hash of the document rejected last, told once */
    bool dirty;
    uint64_t in_force; /* generation of the document whose secrets are in place */
    struct cohort_label labels[DOCUMENT_LABELS_MAX + CONFIG_LABELS_MAX];
    size_t labels_len;
};

static void collect_labels(struct device *device)
{
    device->labels_len = 0;
    for (size_t i = 0; i < device->document.labels_len && i < DOCUMENT_LABELS_MAX; i++)
        device->labels[device->labels_len++] =
            (struct cohort_label){device->document.labels[i].key, device->document.labels[i].value};
    for (size_t i = 0; i < device->config->labels_len; i++)
        device->labels[device->labels_len++] =
            (struct cohort_label){device->config->labels[i].key, device->config->labels[i].value};
}

static enum err_code take(struct device *device, struct bytes envelope, int64_t now_ms,
                          struct err *err)
{
    struct arena arena;
    struct device_desired document;
    arena_init(&arena, DEVICE_ARENA_MAX_BYTES);
    const void *copy = arena_dup(&arena, envelope.ptr, envelope.len);
    enum err_code code =
        copy ? trust_device(device->trust, bytes_of(copy, envelope.len), device->name,
                            device->envelope, device->document.generation, now_ms, &arena,
                            &document, err)
             : err_set(err, ERR_SIZE, "the document about this device is too large");
    if (code != ERR_OK) {
        arena_fini(&arena);
        return code;
    }
    arena_fini(&device->arena);
    device->arena = arena;
    device->envelope = bytes_of(copy, envelope.len);
    device->document = document;
    collect_labels(device);
    return ERR_OK;
}

/* Whatever the time: a pin holds until something newer is said (nothing is fetched by one that has
 * expired). */
static enum err_code recall(struct device *device, struct err *err)
{
    struct arena arena;
    struct bytes envelope;
    struct err ignored;
    arena_init(&arena, DEVICE_ARENA_MAX_BYTES);
    enum err_code code = agent_store_get_device(device->store, &arena, &envelope, err);
    if (code == ERR_OK && take(device, envelope, TRUST_ANY_TIME, &ignored) != ERR_OK)
        log_err("what was said of this device is not followed", &ignored);
    arena_fini(&arena);
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

enum err_code device_open(const struct config *config, struct agent_store *store,
                          struct trust *trust, struct device **ret, struct err *err)
{
    struct device *device = mem_new(1, sizeof *device);
    device->config = config;
    device->store = store;
    device->trust = trust;
    (void)snprintf(device->name, sizeof device->name, "%s/%s", config->site, config->device);
    arena_init(&device->arena, DEVICE_ARENA_MAX_BYTES);
    collect_labels(device);
    enum err_code code = recall(device, err);
    if (code != ERR_OK) {
        device_close(device);
        return code;
    }
    *ret = device;
    return ERR_OK;
}

void device_close(struct device *device)
{
    if (!device)
        return;
    arena_fini(&device->arena);
    mem_free(device);
}

bool device_desired(struct device *device, struct bytes envelope, struct err *err)
{
    err->code = ERR_OK;
    if (bytes_equal(envelope, device->envelope))
        return false;
    if (take(device, envelope, clock_unix_ms(), err) == ERR_OK) {
        device->dirty = true;
        return true;
    }
    uint64_t hash = rng_hash((uint64_t)err->code, envelope.ptr, envelope.len);
    if (hash == device->rejected)
        err->code = ERR_OK; /* it comes again with every refresh */
    device->rejected = hash;
    return false;
}

enum err_code device_store(struct device *device, struct err *err)
{
    return device->dirty ? agent_store_put_device(device->store, device->envelope, err) : ERR_OK;
}

void device_stored(struct device *device)
{
    device->dirty = false;
}

const struct pin *device_pin(const struct device *device, const char *app)
{
    for (size_t i = 0; i < device->document.pins_len; i++) {
        if (str_equal(device->document.pins[i].app, app))
            return &device->document.pins[i];
    }
    return NULL;
}

const struct device_desired *device_document(const struct device *device)
{
    return &device->document;
}

const char *device_name(const struct device *device)
{
    return device->name;
}

uint64_t device_generation_in_force(const struct device *device)
{
    return device->in_force;
}

bool device_put_in_force(struct device *device, uint64_t generation)
{
    bool news = device->in_force != generation;
    device->in_force = generation;
    return news;
}

bool device_is_in(const struct device *device, const struct cohort *cohort)
{
    struct cohort_selector selectors[SELECTORS_MAX];
    struct cohort_label wanted[SELECTORS_MAX][SELECTOR_LABELS_MAX];
    size_t len = cohort->selectors_len < SELECTORS_MAX ? cohort->selectors_len : SELECTORS_MAX;
    for (size_t i = 0; i < len; i++) {
        const struct selector *from = &cohort->selectors[i];
        size_t all_len = from->all_len <= SELECTOR_LABELS_MAX ? from->all_len : 0;
        for (size_t k = 0; k < all_len; k++)
            wanted[i][k] = (struct cohort_label){from->all[k].key, from->all[k].value};
        selectors[i] = (struct cohort_selector){wanted[i], all_len};
    }
    struct cohort_rule rule = {.salt = cohort->salt,
                               .cut = cohort->cut,
                               .devices = cohort->devices,
                               .devices_len = cohort->devices_len,
                               .selectors = selectors,
                               .selectors_len = len};
    return cohort_contains_labelled(&rule, device->name, device->labels, device->labels_len);
}

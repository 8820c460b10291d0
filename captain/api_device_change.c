/* SPDX-License-Identifier: Apache-2.0
 *
 * device.label | pin | unpin: what is said of one device. A decision carries all of it anew, so that the
 * newest one is the whole truth.
 */
#include <string.h>

#include "captain/api_private.h"

enum { LABELS_MAX = 64, PINS_MAX = 8 };

enum err_code api_device_said(struct api_request *request, const char *device,
                              struct device_set *ret, struct err *err)
{
    struct bytes encoded = {0};
    *ret = (struct device_set){.device = device};
    const enum err_code code =
        store_device_set_get(request->captain->db, device, &request->arena, &encoded, err);
    if (code == ERR_NOT_FOUND || (code == ERR_OK && encoded.len == 0)) {
        *err = (struct err){0};
        return ERR_OK;
    }
    if (code != ERR_OK)
        return code;
    return codec_decode(&codec_device_set, encoded, &request->arena, ret, err) == ERR_OK
               ? ERR_OK
               : err_wrap(err, "what is said of %s", device);
}

/* Labels. */

static enum err_code check_label(const struct device_label_set *label, struct err *err)
{
    if (!str_is_token(label->key) || str_equal(label->key, "site"))
        (void)err_set(err, ERR_USAGE, "'%.64s' cannot be the key of a label", label->key);
    else if (label->value[0] && !str_is_version(label->value))
        (void)err_set(err, ERR_USAGE, "'%.64s' cannot be the value of a label", label->value);
    else
        return ERR_OK;
    return err_hint(err, "KEY=VALUE: letters, digits, _ and -; a value may hold . + ~ too");
}

static enum err_code put_label(struct device_label_set *labels, size_t *len,
                               const struct device_label_set *label, struct err *err)
{
    size_t i = 0;
    while (i < *len && !str_equal(labels[i].key, label->key))
        i++;
    if (!label->value[0]) {
        if (i < *len)
            memmove(&labels[i], &labels[i + 1], (--*len - i) * sizeof *labels);
        return ERR_OK;
    }
    if (i == LABELS_MAX)
        return err_set(err, ERR_FULL, "a device has at most %d labels", LABELS_MAX);
    labels[i] = *label;
    *len += i == *len;
    return ERR_OK;
}

static enum err_code change_labels(struct api_request *request, struct device_set *set,
                                   struct err *err)
{
    const struct device_change *in = &request->in.device_change;
    struct device_label_set *labels =
        arena_alloc(&request->arena, (LABELS_MAX + 1) * sizeof *labels);
    if (!labels)
        return api_too_large(err);
    if (in->labels_len == 0) {
        (void)err_set(err, ERR_USAGE, "which label?");
        return err_hint(err, "captain device label DEVICE KEY=VALUE; KEY= takes it away");
    }
    set->labels_len = set->labels_len < LABELS_MAX ? set->labels_len : LABELS_MAX;
    for (size_t i = 0; i < set->labels_len; i++)
        labels[i] = set->labels[i];
    for (size_t i = 0; i < in->labels_len; i++)
        if (check_label(&in->labels[i], err) ||
            put_label(labels, &set->labels_len, &in->labels[i], err))
            return err->code;
    set->labels = labels;
    return ERR_OK;
}

/* Pins. */

static size_t find_pin(const struct device_pin_set *pins, size_t len, const char *app)
{
    size_t i = 0;
    while (i < len && !str_equal(pins[i].app, app))
        i++;
    return i;
}

static struct device_pin_set *copy_pins(struct api_request *request, struct device_set *set)
{
    struct device_pin_set *pins = arena_alloc(&request->arena, (PINS_MAX + 1) * sizeof *pins);
    set->pins_len = set->pins_len < PINS_MAX ? set->pins_len : PINS_MAX;
    for (size_t i = 0; pins && i < set->pins_len; i++)
        pins[i] = set->pins[i];
    set->pins = pins;
    return pins;
}

static enum err_code add_pin(struct api_request *request, struct device_set *set, struct err *err)
{
    const char *text = request->in.device_change.release;
    char app[TOKEN_MAX + 1] = "", version[VERSION_MAX + 1];
    struct store_release release;
    struct device_pin_set *pins = copy_pins(request, set);
    if (!pins)
        return api_too_large(err);
    if (str_split_pair(text, '@', app, version, NULL) != ERR_OK)
        app[0] = '\0'; /* what is no release's name is told there */
    const enum err_code code = api_find_release(request, app, text, &release, err);
    if (code != ERR_OK)
        return code;
    const size_t i = find_pin(pins, set->pins_len, release.app);
    if (i == PINS_MAX)
        return err_set(err, ERR_FULL, "a device has at most %d pins", PINS_MAX);
    const uint8_t *digest = arena_dup(&request->arena, release.digest, DIGEST_BYTES);
    if (!digest)
        return api_too_large(err);
    pins[i] = (struct device_pin_set){.app = release.app, .digest = bytes_of(digest, DIGEST_BYTES)};
    set->pins_len += i == set->pins_len;
    return ERR_OK;
}

static enum err_code drop_pin(struct api_request *request, struct device_set *set, struct err *err)
{
    const char *app = request->in.device_change.app;
    struct device_pin_set *pins = copy_pins(request, set);
    if (!pins)
        return api_too_large(err);
    const size_t i = find_pin(pins, set->pins_len, app);
    if (i == set->pins_len)
        return err_set(err, ERR_NOT_FOUND, "app %s is not pinned on %s", app, set->device);
    memmove(&pins[i], &pins[i + 1], (--set->pins_len - i) * sizeof *pins);
    return ERR_OK;
}

enum err_code api_device_change_prepare(struct api_request *request, struct arena *arena,
                                        struct decision *ret, struct err *err)
{
    const struct device_change *in = &request->in.device_change;
    const char *verb = request->verb->verb;
    struct device_set set;
    uint32_t device = 0;
    enum err_code code = api_find_device(request->captain, in->device, &device, err);
    if (code == ERR_OK && str_equal(verb, "pin"))
        code = api_demand_reason(in->reason, "pinning a device", err);
    if (code == ERR_OK)
        code =
            api_device_said(request, fleet_device_name(request->captain->fleet, device), &set, err);
    if (code != ERR_OK)
        return code;
    if (str_equal(verb, "label"))
        code = change_labels(request, &set, err);
    else
        code = str_equal(verb, "pin") ? add_pin(request, &set, err) : drop_pin(request, &set, err);
    if (code != ERR_OK)
        return code;
    *ret = (struct decision){
        .actor = request->actor, .kind = "device.set", .subject = set.device, .reason = in->reason};
    return codec_encode(&codec_device_set, &set, arena, &ret->body, err);
}

enum err_code api_device_changed(struct api_request *request, union api_out *ret, struct err *err)
{
    return api_describe_device(request, request->in.device_change.device, &ret->device_info, err);
}

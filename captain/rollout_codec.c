/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/rollout_codec.h"

#include <math.h>
#include <string.h>

#include "captain/io/policy_yaml.h"
#include "captain/rollout_pack.h"
#include "common/base/cohort.h"
#include "proto/codec.h"

/* To be stored. */

static enum err_code no_room(struct err *err)
{
    return err_set(err, ERR_SIZE, "the input of a rollout is larger than its limit");
}

static enum err_code fill_policy(const struct policy *policy, struct arena *arena,
                                 struct rollout_stored_input *ret, struct err *err)
{
    return policy_yaml_write(policy, arena, &ret->policy, err);
}

static enum err_code fill_members(const struct rollout_start *start,
                                  const struct rollout_names *names, struct arena *arena,
                                  struct rollout_stored_input *ret, struct err *err)
{
    return rollout_pack_members(start, names, arena, &ret->members, err);
}

static enum err_code fill_join(const struct rollout_join *join, const struct rollout_names *names,
                               struct arena *arena, struct rollout_stored_input *ret,
                               struct err *err)
{
    struct rollout_start one = {.members = join, .members_len = 1};
    struct rollout_names name = {.devices = names->devices, .devices_len = 1};
    return fill_members(&one, &name, arena, ret, err);
}

static enum err_code fill_windows(const struct rollout_input *input, struct arena *arena,
                                  struct rollout_stored_input *ret, struct err *err)
{
    const size_t len = input->u.windows.len;
    struct rollout_window *windows = arena_alloc(arena, (len + 1) * sizeof *windows);
    if (!windows)
        return no_room(err);
    for (size_t i = 0; i < len; i++)
        windows[i] = (struct rollout_window){.from_ms = input->u.windows.windows[i].from_ms,
                                             .to_ms = input->u.windows.windows[i].to_ms};
    ret->number = input->u.windows.site;
    ret->flag = input->u.windows.windowed;
    ret->windows = windows;
    ret->windows_len = len;
    return ERR_OK;
}

static void fill_metric(const struct rollout_input *input, struct rollout_stored_input *ret)
{
    ret->number = input->u.metric.metric;
    ret->what = input->u.metric.sample;
    ret->since_ms = input->u.metric.measured_ms;
    ret->not_a_number = isnan(input->u.metric.value);
    ret->value = ret->not_a_number ? 0 : input->u.metric.value;
}

/* Kinds whose fields are numbers. */
static void fill_numbers(const struct rollout_input *input, struct rollout_stored_input *ret)
{
    switch (input->kind) {
    case ROLLOUT_IN_ASK:
        ret->attempt = input->u.ask.attempt;
        ret->flag = input->u.ask.rollback;
        break;
    case ROLLOUT_IN_RETURN:
        ret->attempt = input->u.lease_return.attempt;
        break;
    case ROLLOUT_IN_REPORT:
        ret->what = input->u.report.what;
        ret->attempt = input->u.report.attempt;
        ret->sequence = input->u.report.sequence;
        ret->flaps = input->u.report.flaps;
        break;
    case ROLLOUT_IN_SILENT:
        ret->since_ms = input->u.silent.since_ms;
        break;
    case ROLLOUT_IN_RESUME:
        ret->what = input->u.resume.gate;
        ret->number = input->u.resume.wave;
        break;
    case ROLLOUT_IN_ABORT:
        ret->flag = input->u.abort.keep;
        break;
    case ROLLOUT_IN_APPROVE:
        ret->operator_id = input->u.approve.operator_id;
        ret->number = input->u.approve.wave;
        break;
    case ROLLOUT_IN_SUPERSEDE:
        ret->flag = input->u.supersede.to_base;
        break;
    case ROLLOUT_IN_FREEZE:
        ret->flag = input->u.freeze.on;
        break;
    case ROLLOUT_IN_METRIC:
        fill_metric(input, ret);
        break;
    default:
        break;
    }
}

enum err_code rollout_codec_fill(const struct rollout_input *input,
                                 const struct rollout_names *names, const char *reason,
                                 struct arena *arena, struct rollout_stored_input *ret,
                                 struct err *err)
{
    enum err_code code = ERR_OK;
    *ret = (struct rollout_stored_input){.kind = input->kind,
                                         .now_ms = input->now_ms,
                                         .member = input->member,
                                         .policy = "",
                                         .reason = reason ? reason : ""};
    fill_numbers(input, ret);
    if (input->kind == ROLLOUT_IN_START)
        code = fill_policy(input->u.start.policy, arena, ret, err);
    if (code == ERR_OK && input->kind == ROLLOUT_IN_START)
        code = fill_members(&input->u.start, names, arena, ret, err);
    if (input->kind == ROLLOUT_IN_JOIN)
        code = fill_join(&input->u.join, names, arena, ret, err);
    if (input->kind == ROLLOUT_IN_POLICY)
        code = fill_policy(input->u.policy, arena, ret, err);
    if (input->kind == ROLLOUT_IN_WINDOWS)
        code = fill_windows(input, arena, ret, err);
    return code;
}

enum err_code rollout_codec_pack(const struct rollout_input *input,
                                 const struct rollout_names *names, const char *reason,
                                 struct arena *arena, struct bytes *ret, struct err *err)
{
    struct rollout_stored_input stored;
    enum err_code code = rollout_codec_fill(input, names, reason, arena, &stored, err);
    return code ? code : codec_encode(&codec_rollout_stored_input, &stored, arena, ret, err);
}

/* From what is stored. */

static enum err_code read_policy(const struct rollout_stored_input *stored, struct arena *arena,
                                 const struct policy **ret, struct err *err)
{
    struct policy *policy = arena_alloc(arena, sizeof *policy);
    if (!policy)
        return no_room(err);
    *ret = policy;
    return policy_yaml_parse("policy", bytes_of(stored->policy, strlen(stored->policy)), policy,
                             err);
}

static enum err_code read_join(const struct rollout_stored_input *stored, struct arena *arena,
                               struct rollout_input *ret, struct rollout_names *ret_names,
                               struct err *err)
{
    struct rollout_start one;
    enum err_code code = rollout_unpack_members(stored->members, arena, &one, ret_names, err);
    if (code != ERR_OK)
        return code;
    if (one.members_len != 1)
        return err_set(err, ERR_MALFORMED, "%u devices join at once", one.members_len);
    ret->u.join = one.members[0];
    return ERR_OK;
}

static enum err_code read_windows(const struct rollout_stored_input *stored, struct arena *arena,
                                  struct rollout_input *ret, struct err *err)
{
    struct lease_window *windows = arena_alloc(arena, (stored->windows_len + 1) * sizeof *windows);
    if (!windows)
        return no_room(err);
    if (stored->number > UINT16_MAX)
        return err_set(err, ERR_MALFORMED, "there is no site %u", stored->number);
    for (size_t i = 0; i < stored->windows_len; i++)
        windows[i] = (struct lease_window){stored->windows[i].from_ms, stored->windows[i].to_ms};
    ret->u.windows.site = (uint16_t)stored->number;
    ret->u.windows.windowed = stored->flag;
    ret->u.windows.windows = windows;
    ret->u.windows.len = stored->windows_len;
    return ERR_OK;
}

static void read_metric(const struct rollout_stored_input *stored, struct rollout_input *ret)
{
    ret->u.metric.metric = stored->number;
    ret->u.metric.sample = (enum rollout_sample)stored->what;
    ret->u.metric.measured_ms = stored->since_ms;
    ret->u.metric.value = stored->not_a_number ? (double)NAN : stored->value;
}

static void read_numbers(const struct rollout_stored_input *stored, struct rollout_input *ret)
{
    switch (ret->kind) {
    case ROLLOUT_IN_ASK:
        ret->u.ask.attempt = stored->attempt;
        ret->u.ask.rollback = stored->flag;
        break;
    case ROLLOUT_IN_RETURN:
        ret->u.lease_return.attempt = stored->attempt;
        break;
    case ROLLOUT_IN_REPORT:
        ret->u.report.what = (enum rollout_report)stored->what;
        ret->u.report.attempt = stored->attempt;
        ret->u.report.sequence = stored->sequence;
        ret->u.report.flaps = stored->flaps;
        break;
    case ROLLOUT_IN_SILENT:
        ret->u.silent.since_ms = stored->since_ms;
        break;
    case ROLLOUT_IN_RESUME:
        ret->u.resume.gate = (enum gate_id)stored->what;
        ret->u.resume.wave = stored->number;
        break;
    case ROLLOUT_IN_ABORT:
        ret->u.abort.keep = stored->flag;
        break;
    case ROLLOUT_IN_APPROVE:
        ret->u.approve.operator_id = stored->operator_id;
        ret->u.approve.wave = stored->number;
        break;
    case ROLLOUT_IN_SUPERSEDE:
        ret->u.supersede.to_base = stored->flag;
        break;
    case ROLLOUT_IN_FREEZE:
        ret->u.freeze.on = stored->flag;
        break;
    case ROLLOUT_IN_METRIC:
        read_metric(stored, ret);
        break;
    default:
        break;
    }
}

static enum err_code check_kind(const struct rollout_stored_input *stored, struct err *err)
{
    const bool is_report = stored->kind == ROLLOUT_IN_REPORT;
    const bool is_metric = stored->kind == ROLLOUT_IN_METRIC;
    const bool is_resume = stored->kind == ROLLOUT_IN_RESUME;
    if (stored->kind < ROLLOUT_INPUTS && !(is_report && stored->what >= ROLLOUT_REPORTS) &&
        !(is_metric && stored->what > ROLLOUT_SAMPLE_ERROR) &&
        !(is_resume && stored->what >= GATE_IDS))
        return ERR_OK;
    return err_set(err, ERR_MALFORMED, "no input of a rollout is of kind %u with %u", stored->kind,
                   stored->what);
}

enum err_code rollout_codec_read(const struct rollout_stored_input *stored, struct arena *arena,
                                 struct rollout_input *ret, struct rollout_names *ret_names,
                                 struct err *err)
{
    enum err_code code = check_kind(stored, err);
    if (code != ERR_OK)
        return code;
    memset(ret, 0, sizeof *ret);
    *ret_names = (struct rollout_names){0};
    ret->kind = (enum rollout_input_kind)stored->kind;
    ret->now_ms = stored->now_ms;
    ret->member = stored->member;
    read_numbers(stored, ret);
    if (ret->kind == ROLLOUT_IN_START)
        code = rollout_unpack_members(stored->members, arena, &ret->u.start, ret_names, err);
    if (code == ERR_OK && ret->kind == ROLLOUT_IN_START)
        code = read_policy(stored, arena, &ret->u.start.policy, err);
    if (ret->kind == ROLLOUT_IN_JOIN)
        code = read_join(stored, arena, ret, ret_names, err);
    if (ret->kind == ROLLOUT_IN_POLICY)
        code = read_policy(stored, arena, &ret->u.policy, err);
    if (ret->kind == ROLLOUT_IN_WINDOWS)
        code = read_windows(stored, arena, ret, err);
    return code;
}

enum err_code rollout_codec_unpack(struct bytes in, struct arena *arena, struct rollout_input *ret,
                                   struct rollout_names *ret_names, struct err *err)
{
    struct rollout_stored_input stored;
    enum err_code code = codec_decode(&codec_rollout_stored_input, in, arena, &stored, err);
    return code ? code : rollout_codec_read(&stored, arena, ret, ret_names, err);
}

void rollout_codec_hash(struct rollout_input *input, const struct rollout_names *names,
                        const char *id)
{
    if (input->kind == ROLLOUT_IN_JOIN)
        input->u.join.hash = cohort_hash(id, names->devices[0]);
    if (input->kind != ROLLOUT_IN_START)
        return;
    /* They were allocated by the reading of this very input. */
    struct rollout_join *members = (struct rollout_join *)(uintptr_t)input->u.start.members;
    for (uint32_t i = 0; i < input->u.start.members_len; i++)
        members[i].hash = cohort_hash(id, names->devices[i]);
}

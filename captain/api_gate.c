/* SPDX-License-Identifier: Apache-2.0
 *
 * gate.replay: every verdict of a rollout again, from its stored inputs, beside those that the log has; or
 * what another policy would have said of what happened.
 */
#include <stdlib.h>
#include <string.h>

#include "captain/api_private.h"
#include "captain/io/policy_yaml.h"
#include "common/base/mem.h"

enum { VERDICTS_MAX = 2048, PAGE = 512 };

struct replay {
    struct api_request *request;
    const struct policy *words; /* the policy that sentences are about */
    struct gate_replay_verdict *verdicts;
    struct gate_evidence *evidence; /* of each */
    size_t len;
    bool full;            /* of verdicts, or of the arena */
    history_next_fn next; /* the stored inputs */
    void *inputs;
};

static bool next_input(void *arg, struct rollout_input *ret)
{
    struct replay *replay = arg;
    return replay->next(replay->inputs, ret);
}

static void on_verdict(void *arg, uint64_t input, int64_t now_ms, uint32_t wave,
                       const struct gate_result *result)
{
    struct replay *replay = arg;
    struct arena *arena = &replay->request->arena;
    struct rollout_gate_info *gate =
        replay->len < VERDICTS_MAX ? arena_alloc(arena, sizeof *gate) : NULL;
    if (!gate || !api_gate_info(replay->request, replay->words, result, gate)) {
        replay->full = true;
        return;
    }
    replay->evidence[replay->len] = result->evidence;
    replay->verdicts[replay->len++] =
        (struct gate_replay_verdict){.input = input,
                                     .time_ms = now_ms,
                                     .wave = wave == ROLLOUT_NONE ? 0 : wave + 1,
                                     .gate = gate};
}

/* The log's own verdicts. */

static bool same_evidence(const struct gate_evidence *a, const struct rollout_verdict *b)
{
    return a->n == b->n && a->healthy == b->healthy && a->failed == b->failed &&
           a->missing == b->missing &&
           memcmp(&a->observed, &b->observed, sizeof a->observed) == 0 &&
           memcmp(&a->threshold, &b->threshold, sizeof a->threshold) == 0;
}

static bool is_same(const struct replay *replay, size_t i, const struct rollout_verdict *logged)
{
    const struct gate_replay_verdict *again = &replay->verdicts[i];
    return again->input == logged->input && str_equal(again->gate->gate, logged->gate) &&
           str_equal(again->gate->verdict, logged->verdict) &&
           str_equal(again->gate->reason, logged->reason) &&
           same_evidence(&replay->evidence[i], logged);
}

/* Marks the one that came out again; false: none did. */
static bool mark(struct replay *replay, const struct rollout_verdict *logged)
{
    for (size_t i = 0; i < replay->len; i++) {
        if (replay->verdicts[i].recorded || !is_same(replay, i, logged))
            continue;
        replay->verdicts[i].recorded = true;
        return true;
    }
    return false;
}

struct compared {
    const char *id;
    uint64_t until;
    uint64_t newest; /* input of the newest verdict in the log, plus 1; 0: none */
    uint64_t missing_input;
    const char *missing; /* NULL: all came again */
};

static enum err_code compare_one(struct replay *replay, struct bytes entry_bytes,
                                 struct compared *compared, struct err *err)
{
    struct arena *arena = &replay->request->arena;
    struct log_entry entry;
    struct rollout_verdict logged;
    enum err_code code = codec_decode(&codec_log_entry, entry_bytes, arena, &entry, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_rollout_verdict, entry.body, arena, &logged, err);
    if (code != ERR_OK)
        return err_wrap(err, "an entry of the log");
    if (!str_equal(logged.id, compared->id))
        return ERR_OK;
    if (logged.input >= compared->newest)
        compared->newest = logged.input + 1;
    if (logged.input > compared->until || mark(replay, &logged))
        return ERR_OK;
    /* Newest first: the last that is missing is the first difference. */
    compared->missing_input = logged.input;
    compared->missing = arena_printf(
        arena, "input %llu: the log has %s %s (%s), the replay has not",
        (unsigned long long)logged.input, logged.gate, logged.verdict, logged.sentence);
    return compared->missing ? ERR_OK : api_too_large(err);
}

static enum err_code compare_log(struct replay *replay, struct compared *compared,
                                 uint64_t decision, struct err *err)
{
    uint64_t before = 0;
    for (;;) {
        struct store_log_row *rows;
        size_t len = 0;
        enum err_code code = store_log_list(replay->request->captain->db, before, "rollout.verdict",
                                            "", PAGE, &replay->request->arena, &rows, &len, err);
        for (size_t i = 0; i < len && code == ERR_OK; i++)
            if (rows[i].seq > decision)
                code = compare_one(replay, rows[i].entry, compared, err);
        /* None of them is older than the decision that started it. */
        if (code != ERR_OK || len < PAGE || rows[len - 1].seq <= decision)
            return code;
        before = rows[len - 1].seq;
    }
}

static const char *first_extra(struct replay *replay, uint64_t before_input)
{
    for (size_t i = 0; i < replay->len; i++) {
        const struct gate_replay_verdict *verdict = &replay->verdicts[i];
        if (verdict->input >= before_input)
            return NULL;
        if (!verdict->recorded)
            return arena_printf(&replay->request->arena,
                                "input %llu: the replay has %s %s (%s), the log has not",
                                (unsigned long long)verdict->input, verdict->gate->gate,
                                verdict->gate->verdict, verdict->gate->sentence);
    }
    return NULL;
}

static enum err_code judge_same(struct replay *replay, const struct rollout_handle *handle,
                                uint64_t until, struct gate_replay *ret, struct err *err)
{
    struct compared compared = {.id = handle->id, .until = until, .missing_input = UINT64_MAX};
    const enum err_code code = compare_log(replay, &compared, handle->decision, err);
    if (code != ERR_OK)
        return code;
    /* What a live one has only just said may not have come to the log yet. */
    const uint64_t logged = handle->ended_ms ? UINT64_MAX : compared.newest;
    const char *extra =
        first_extra(replay, logged < compared.missing_input ? logged : compared.missing_input);
    const char *difference = extra ? extra : compared.missing;
    ret->same = difference == NULL;
    ret->first_difference = difference ? difference : "";
    return ERR_OK;
}

static enum err_code judge_other(struct replay *replay, const struct history_diff *diff,
                                 const struct policy *recorded, struct gate_replay *ret,
                                 struct err *err)
{
    char theirs[GATE_SENTENCE_MAX], ours[GATE_SENTENCE_MAX];
    ret->same = !diff->differs;
    ret->first_difference = "";
    if (!diff->differs)
        return ERR_OK;
    gate_sentence(recorded, &diff->differs_recorded, theirs);
    gate_sentence(replay->words, &diff->differs_other, ours);
    ret->first_difference = arena_printf(
        &replay->request->arena, "input %llu: recorded %s %s (%s), with %s %s %s (%s)",
        (unsigned long long)diff->differs_input, gate_name(diff->differs_recorded.gate),
        gate_verdict_name(diff->differs_recorded.verdict), theirs, replay->words->name,
        gate_name(diff->differs_other.gate), gate_verdict_name(diff->differs_other.verdict), ours);
    return ret->first_difference ? ERR_OK : api_too_large(err);
}

/* All of it. */

static void take_stop(const struct history_diff *diff, bool other, uint32_t exposed_in_all,
                      struct gate_replay *ret)
{
    const struct history_stop *stop = other ? &diff->other : &diff->recorded;
    ret->stopped = stop->stopped;
    ret->stop_input = stop->stop_input;
    ret->stop_exposed = stop->stopped ? stop->stop_exposed : exposed_in_all;
    ret->recorded_exposed = diff->recorded.stopped ? diff->recorded.stop_exposed : exposed_in_all;
    ret->inputs = diff->inputs;
}

static enum err_code run(struct replay *replay, const struct rollout_handle *handle,
                         const struct policy *other, struct gate_replay *ret, struct err *err)
{
    const struct gate_replay_request *in = &replay->request->in.gate_replay;
    const uint64_t until = in->at_input ? in->at_input : UINT64_MAX;
    struct history_diff diff;
    struct rollout_view view;
    enum err_code code = rollouts_inputs(replay->request->captain->rollouts, handle->id,
                                         &replay->next, &replay->inputs, err);
    if (code != ERR_OK)
        return code;
    code = history_replay(next_input, replay, until, other, on_verdict, &diff, err);
    if (code == ERR_OK)
        code = rollouts_inputs_error(replay->inputs, err);
    rollouts_inputs_end(replay->inputs);
    if (code != ERR_OK)
        return code;
    if (replay->full)
        return api_too_large(err);
    rollout_view(handle->core, &view);
    take_stop(&diff, other != NULL, view.exposed, ret);
    ret->verdicts = replay->verdicts;
    ret->verdicts_len = replay->len;
    ret->policy_name = arena_strdup(&replay->request->arena, replay->words->name);
    return other ? judge_other(replay, &diff, rollout_policy(handle->core), ret, err)
                 : judge_same(replay, handle, until, ret, err);
}

enum err_code api_gate_replay(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct gate_replay_request *in = &request->in.gate_replay;
    const bool with_other = in->policy[0] || in->policy_name[0];
    struct rollout_handle handle;
    struct policy other;
    enum err_code code = api_find_rollout(request, in->rollout, &handle, err);
    if (code == ERR_OK && with_other)
        code = policy_yaml_parse(in->policy_name[0] ? in->policy_name : "policy",
                                 bytes_of(in->policy, strlen(in->policy)), &other, err);
    if (code != ERR_OK)
        return code;
    struct replay replay = {.request = request};
    replay.words = with_other ? &other : rollout_policy(handle.core);
    replay.verdicts = arena_alloc(&request->arena, VERDICTS_MAX * sizeof *replay.verdicts);
    replay.evidence = arena_alloc(&request->arena, VERDICTS_MAX * sizeof *replay.evidence);
    ret->gate_replay.rollout = arena_strdup(&request->arena, handle.id);
    if (!replay.verdicts || !replay.evidence || !ret->gate_replay.rollout)
        return api_too_large(err);
    return run(&replay, &handle, with_other ? &other : NULL, &ret->gate_replay, err);
}

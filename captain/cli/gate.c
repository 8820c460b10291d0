/* SPDX-License-Identifier: Apache-2.0
 *
 * captain gate replay
 */
#include <inttypes.h>

#include "captain/cli/client.h"
#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "captain/cli/policy_file.h"
#include "common/base/mem.h"

static void print_verdicts(const struct gate_replay *replay, bool with_other, struct arena *arena)
{
    struct output_table *table = output_table_new((const char *const[]){
        ">INPUT", "TIME", ">WAVE", "GATE", "VERDICT", with_other ? "" : "IN LOG", "WHY", NULL});
    for (size_t i = 0; i < replay->verdicts_len; i++) {
        const struct gate_replay_verdict *verdict = &replay->verdicts[i];
        if (!verdict->gate)
            continue;
        output_table_row(table, (const char *const[]){
                                    output_number(arena, verdict->input),
                                    output_time(arena, verdict->time_ms),
                                    output_number(arena, verdict->wave),
                                    verdict->gate->gate,
                                    verdict->gate->verdict,
                                    with_other          ? ""
                                    : verdict->recorded ? "yes"
                                                        : "no",
                                    verdict->gate->sentence,
                                });
    }
    output_table_end(table);
}

/* Would it have stopped it, and how many devices later? */
static void print_other(const struct gate_replay *replay)
{
    if (!replay->stopped)
        output_line("%s would not have stopped it; it stopped with %" PRIu32 " devices exposed",
                    replay->policy_name, replay->recorded_exposed);
    else if (replay->stop_exposed == replay->recorded_exposed)
        output_line("%s would have stopped it at input %" PRIu64
                    ", with as many devices exposed: %" PRIu32,
                    replay->policy_name, replay->stop_input, replay->stop_exposed);
    else
        output_line("%s would have stopped it at input %" PRIu64 ", with %" PRIu32
                    " devices exposed: %" PRIu32 " %s",
                    replay->policy_name, replay->stop_input, replay->stop_exposed,
                    replay->stop_exposed > replay->recorded_exposed
                        ? replay->stop_exposed - replay->recorded_exposed
                        : replay->recorded_exposed - replay->stop_exposed,
                    replay->stop_exposed > replay->recorded_exposed ? "more" : "fewer");
    if (replay->first_difference[0])
        output_line("first difference: %s", replay->first_difference);
}

static enum err_code print_same(const struct gate_replay *replay, struct err *err)
{
    if (replay->same) {
        output_line("%" PRIu64 " inputs give every verdict again", replay->inputs);
        return ERR_OK;
    }
    err_set(err, ERR_FAILED, "the stored inputs do not give the recorded verdicts\n%s",
            replay->first_difference);
    return err_hint(err, "captain log ls --kind rollout.verdict");
}

enum err_code cmd_gate_replay(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct gate_replay_request request = {.rollout = invocation->args[0]};
    struct policy_file file;
    struct gate_replay replay;
    const char *at = invocation->flags[FLAG_AT];
    if ((at && number_sequence(at, &request.at_input, err)) ||
        policy_file_read(invocation->flags[FLAG_POLICY], invocation->arena, &file, err))
        return err->code;
    request.policy = file.text;
    request.policy_name = file.name;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"gate", "replay", &codec_gate_replay_request, &request,
                                          &codec_gate_replay, &replay},
                    invocation->arena, err))
        return err->code;
    const bool with_other = file.name[0] != '\0';
    if (!output_is_json()) {
        print_verdicts(&replay, with_other, invocation->arena);
        if (with_other)
            print_other(&replay);
    } else if (output_message(&codec_gate_replay, &replay, invocation->arena, err)) {
        return err->code;
    }
    if (with_other || (output_is_json() && replay.same))
        return ERR_OK;
    return print_same(&replay, err);
}

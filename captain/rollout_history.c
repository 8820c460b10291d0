/* SPDX-License-Identifier: Apache-2.0
 *
 * The stored inputs of a rollout one by one, for gate replay.
 */
#include <stdio.h>
#include <string.h>

#include "captain/rollouts_private.h"
#include "common/base/mem.h"

/* What windows say is borrowed by the core to the end of the replay; all else until the next input. */
struct inputs {
    struct db *db;
    char id[ULID_TEXT];
    uint64_t number, len; /* of the next one; of all */
    struct arena arena, windows;
    struct rollout_input input;
    struct err err; /* of the read that failed, and ended it */
};

static bool keeps_windows(struct inputs *inputs)
{
    if (inputs->input.kind != ROLLOUT_IN_WINDOWS || inputs->input.u.windows.len == 0)
        return true;
    inputs->input.u.windows.windows =
        arena_dup(&inputs->windows, inputs->input.u.windows.windows,
                  inputs->input.u.windows.len * sizeof *inputs->input.u.windows.windows);
    return inputs->input.u.windows.windows != NULL;
}

static enum err_code take_one(struct inputs *inputs)
{
    struct bytes encoded;
    struct rollout_names names;
    arena_reset(&inputs->arena);
    enum err_code code = store_rollout_input_get(inputs->db, inputs->id, inputs->number,
                                                 &inputs->arena, &encoded, &inputs->err);
    if (code == ERR_OK)
        code = rollout_codec_unpack(encoded, &inputs->arena, &inputs->input, &names, &inputs->err);
    if (code != ERR_OK)
        return code;
    rollout_codec_hash(&inputs->input, &names, inputs->id);
    inputs->number++;
    return keeps_windows(inputs)
               ? ERR_OK
               : err_set(&inputs->err, ERR_SIZE, "the windows of a replay are too many");
}

static bool next(void *context, struct rollout_input *ret)
{
    struct inputs *inputs = context;
    if (inputs->number == inputs->len || take_one(inputs) != ERR_OK)
        return false;
    *ret = inputs->input;
    return true;
}

enum err_code rollouts_inputs(struct rollouts *r, const char *id, history_next_fn *ret_next,
                              void **ret_context, struct err *err)
{
    uint64_t len = 0;
    const enum err_code code = store_rollout_inputs_len(r->parts.db, id, &len, err);
    if (code != ERR_OK)
        return code;
    if (len == 0)
        return err_set(err, ERR_NOT_FOUND, "the inputs of rollout %s are not kept any more", id);
    struct inputs *inputs = mem_new(1, sizeof *inputs);
    inputs->db = r->parts.db;
    inputs->len = len;
    (void)snprintf(inputs->id, sizeof inputs->id, "%s", id);
    arena_init(&inputs->arena, ROLLOUTS_INPUT_ARENA);
    arena_init(&inputs->windows, ROLLOUTS_INPUT_ARENA);
    *ret_next = next;
    *ret_context = inputs;
    return ERR_OK;
}

enum err_code rollouts_inputs_error(const void *context, struct err *err)
{
    const struct inputs *inputs = context;
    return inputs->err.code == ERR_OK ? ERR_OK
                                      : err_set(err, inputs->err.code, "%s", inputs->err.text);
}

void rollouts_inputs_end(void *context)
{
    struct inputs *inputs = context;
    arena_fini(&inputs->arena);
    arena_fini(&inputs->windows);
    mem_free(inputs);
}

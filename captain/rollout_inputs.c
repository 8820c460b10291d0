/* SPDX-License-Identifier: Apache-2.0
 *
 * The stored inputs of a rollout one by one, for gate replay.
 */
#include <stdio.h>
#include <string.h>

#include "captain/rollouts_private.h"
#include "common/base/mem.h"
#include "common/log.h"

struct inputs {
    struct rollouts *rollouts;
    char id[ULID_TEXT];
    uint64_t next, len;
    struct arena arena;   /* of the input at hand */
    struct arena windows; /* borrowed by the core until the end */
};

static enum err_code read_one(struct inputs *inputs, struct rollout_input *ret, struct err *err)
{
    struct bytes encoded;
    struct rollout_names names;
    struct arena *arena = &inputs->arena;
    arena_reset(arena);
    enum err_code code = store_rollout_input_get(inputs->rollouts->parts.db, inputs->id,
                                                 inputs->next, arena, &encoded, err);
    if (code == ERR_OK)
        code = rollout_codec_unpack(encoded, arena, ret, &names, err);
    if (code != ERR_OK)
        return code;
    rollout_codec_hash(ret, &names, inputs->id);
    if (ret->kind != ROLLOUT_IN_WINDOWS)
        return ERR_OK;
    const size_t size = ret->u.windows.len * sizeof *ret->u.windows.windows;
    ret->u.windows.windows = arena_dup(&inputs->windows, ret->u.windows.windows, size ? size : 1);
    return ret->u.windows.windows ? ERR_OK
                                  : err_set(err, ERR_SIZE, "the windows of a rollout are too many");
}

static bool next_input(void *context, struct rollout_input *ret)
{
    struct inputs *inputs = context;
    struct err err = {0};
    if (inputs->next == inputs->len)
        return false;
    if (read_one(inputs, ret, &err) != ERR_OK) {
        log_err("the history of a rollout cannot be read to its end", &err);
        return false;
    }
    inputs->next++;
    return true;
}

enum err_code rollouts_inputs(struct rollouts *r, const char *id, history_next_fn *ret_next,
                              void **ret_context, struct err *err)
{
    uint64_t len = 0;
    enum err_code code = store_rollout_inputs_len(r->parts.db, id, &len, err);
    if (code == ERR_OK && len == 0)
        return err_set(err, ERR_NOT_FOUND, "rollout %s has no history", id);
    if (code != ERR_OK)
        return code;
    struct inputs *inputs = mem_new(1, sizeof *inputs);
    inputs->rollouts = r;
    inputs->len = len;
    (void)snprintf(inputs->id, sizeof inputs->id, "%s", id);
    arena_init(&inputs->arena, ROLLOUTS_INPUT_ARENA);
    arena_init(&inputs->windows, ROLLOUTS_INPUT_ARENA);
    *ret_next = next_input;
    *ret_context = inputs;
    return ERR_OK;
}

void rollouts_inputs_end(void *context)
{
    struct inputs *inputs = context;
    arena_fini(&inputs->arena);
    arena_fini(&inputs->windows);
    mem_free(inputs);
}

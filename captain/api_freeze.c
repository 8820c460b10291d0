/* SPDX-License-Identifier: Apache-2.0
 *
 * freeze.set | get: whether anything may change in the fleet. Rollbacks may, always.
 */
#include "captain/api_private.h"

enum err_code api_freeze_prepare(struct api_request *request, struct arena *arena,
                                 struct decision *ret, struct err *err)
{
    const struct freeze_request *in = &request->in.freeze;
    const struct fleet_freeze freeze = {.on = in->on};
    const enum err_code code =
        api_demand_reason(in->reason, in->on ? "freezing the fleet" : "thawing the fleet", err);
    if (code != ERR_OK)
        return code;
    request->settled = rollouts_frozen(request->captain->rollouts) == in->on;
    *ret = (struct decision){.actor = request->actor,
                             .kind = in->on ? "fleet.frozen" : "fleet.thawed",
                             .subject = "fleet",
                             .reason = in->reason};
    return codec_encode(&codec_fleet_freeze, &freeze, arena, &ret->body, err);
}

/* Who said so last, and why: the log knows. */
enum err_code api_freeze_get(struct api_request *request, union api_out *ret, struct err *err)
{
    struct freeze_info *info = &ret->freeze_info;
    struct store_log_row *rows;
    struct log_entry entry;
    size_t len = 0;
    *info = (struct freeze_info){.on = rollouts_frozen(request->captain->rollouts)};
    enum err_code code =
        store_log_list(request->captain->db, 0, info->on ? "fleet.frozen" : "fleet.thawed", "", 1,
                       &request->arena, &rows, &len, err);
    if (code != ERR_OK || len == 0)
        return code; /* it was never frozen */
    code = codec_decode(&codec_log_entry, rows[0].entry, &request->arena, &entry, err);
    if (code != ERR_OK)
        return err_wrap(err, "an entry of the log");
    info->since_ms = entry.time_ms;
    info->set_by = entry.actor;
    info->reason = entry.reason;
    return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * device.approve | reject | revoke | retire | identities: devices as captain let them in.
 */
#include <string.h>

#include "captain/api_private.h"
#include "captain/captain_trust.h"
#include "captain/core/admit.h"

enum { PAGE_DEFAULT = 1000 };

static enum err_code unknown(const char *text, struct err *err)
{
    (void)err_set(err, ERR_NOT_FOUND, "device %s is not enrolled here", text);
    return err_hint(err, "captain device identities");
}

/* "site/device", or "device" when only one site has it. */
static enum err_code find(struct api_request *request, const char *text, struct store_identity *ret,
                          struct err *err)
{
    struct db *db = request->captain->db;
    struct store_identity *rows = NULL;
    size_t len = 0;
    if (strchr(text, '/')) {
        const enum err_code code = store_identity_get(db, text, &request->arena, ret, err);
        return code == ERR_NOT_FOUND ? unknown(text, err) : code;
    }
    const enum err_code code = store_identity_named(db, text, &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    if (len == 0)
        return unknown(text, err);
    if (len > 1) {
        (void)err_set(err, ERR_USAGE, "device %s is not unique: %s, %s", text, rows[0].device,
                      rows[1].device);
        return err_hint(err, "name it with its site: SITE/DEVICE");
    }
    *ret = rows[0];
    return ERR_OK;
}

static bool describe(struct api_request *request, const struct store_identity *row,
                     struct identity_info *ret)
{
    char *key = arena_alloc(&request->arena, NKEY_TEXT);
    if (!key)
        return false;
    nkey_public_text(NKEY_USER, row->device_key, key);
    *ret = (struct identity_info){.device = row->device,
                                  .state = row->state,
                                  .key = key,
                                  .token = row->token,
                                  .enrolled_ms = row->enrolled_ms,
                                  .changed_ms = row->changed_ms,
                                  .changed_by = row->changed_by,
                                  .expires_ms = row->expires_ms,
                                  .decision = row->decision,
                                  .hardware = row->hardware};
    return true;
}

/* Verdicts: the verb, the state after it, and the decision. */
static const struct {
    const char *verb, *kind;
    enum admit_state state;
} VERDICTS[ADMIT_STATES] = {
    [ADMIT_PENDING] = {"", "", ADMIT_PENDING},
    [ADMIT_APPROVED] = {"approve", "device.approved", ADMIT_APPROVED},
    [ADMIT_REJECTED] = {"reject", "device.rejected", ADMIT_REJECTED},
    [ADMIT_REVOKED] = {"revoke", "device.revoked", ADMIT_REVOKED},
    [ADMIT_RETIRED] = {"retire", "device.retired", ADMIT_RETIRED},
};

static enum admit_state wanted(const char *verb)
{
    unsigned state = ADMIT_APPROVED;
    while (state < ADMIT_RETIRED && !str_equal(VERDICTS[state].verb, verb))
        state++;
    return (enum admit_state)state;
}

enum err_code api_identity_prepare(struct api_request *request, struct arena *arena,
                                   struct decision *ret, struct err *err)
{
    const struct device_verb *in = &request->in.device_verb;
    const enum admit_state to = wanted(request->verb->verb);
    struct store_identity row;
    enum admit_state from = ADMIT_PENDING;
    enum err_code code = captain_trust_demand(request->captain, err);
    if (code == ERR_OK)
        code = find(request, in->device, &row, err);
    if (code != ERR_OK)
        return code;
    (void)admit_state_parse(row.state, &from); /* the table knows no others */
    request->settled = from == to;
    if (!request->settled && !admit_may_become(from, to)) {
        (void)err_set(err, ERR_CONFLICT, "device %s is %s: it cannot be %s", row.device, row.state,
                      admit_state_names[to]);
        return err_hint(err, "what was put out comes back with a new join token and a new key");
    }
    const struct device_verdict verdict = {
        .device = row.device, .device_key = bytes_of(row.device_key, SIGN_PUBLIC_BYTES)};
    *ret = (struct decision){.actor = request->actor,
                             .kind = VERDICTS[to].kind,
                             .subject = row.device,
                             .reason = in->reason};
    return codec_encode(&codec_device_verdict, &verdict, arena, &ret->body, err);
}

enum err_code api_identity_changed(struct api_request *request, union api_out *ret, struct err *err)
{
    struct store_identity row;
    const enum err_code code = find(request, request->in.device_verb.device, &row, err);
    if (code != ERR_OK)
        return code;
    return describe(request, &row, &ret->identity_info) ? ERR_OK : api_too_large(err);
}

/* Listing. */

static enum err_code check_state(const char *state, struct err *err)
{
    enum admit_state parsed;
    if (!state[0] || admit_state_parse(state, &parsed))
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "'%s' is not a state of an identity", state);
    return err_hint(err, "pending, approved, rejected, revoked or retired");
}

static enum err_code read_page(struct api_request *request, uint32_t limit,
                               struct store_identity **ret, size_t *ret_len, struct err *err)
{
    const struct identity_query *in = &request->in.identity_query;
    if (!in->device[0]) /* one more than asked for says whether there is more */
        return store_identity_list(request->captain->db, in->state, in->after, limit + 1,
                                   &request->arena, ret, ret_len, err);
    *ret = arena_alloc(&request->arena, sizeof **ret);
    if (!*ret)
        return api_too_large(err);
    *ret_len = 1;
    return find(request, in->device, *ret, err);
}

enum err_code api_identity_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct identity_query *in = &request->in.identity_query;
    const uint32_t limit = in->limit && in->limit < PAGE_DEFAULT ? in->limit : PAGE_DEFAULT;
    struct store_identity *rows = NULL;
    size_t len = 0;
    enum err_code code = captain_trust_demand(request->captain, err);
    if (code == ERR_OK)
        code = check_state(in->state, err);
    if (code == ERR_OK)
        code = read_page(request, limit, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct identity_info *infos = arena_alloc(&request->arena, (len + 1) * sizeof *infos);
    if (!infos)
        return api_too_large(err);
    struct identity_list *list = &ret->identity_list;
    *list = (struct identity_list){.identities = infos, .next = ""};
    for (size_t i = 0; i < len && i < limit; i++)
        if (!describe(request, &rows[i], &infos[list->identities_len++]))
            return api_too_large(err);
    if (len > limit)
        list->next = rows[limit - 1].device;
    return ERR_OK;
}

/* Of a device in other answers. */

static enum err_code take_incident(struct api_request *request, struct device_info *info,
                                   struct err *err)
{
    struct store_log_row *rows = NULL;
    struct log_entry entry;
    struct incident_noted noted;
    size_t len = 0;
    enum err_code code = store_log_list(request->captain->db, 0, "incident.noted", info->device, 1,
                                        &request->arena, &rows, &len, err);
    if (code != ERR_OK || len == 0)
        return code;
    code = codec_decode(&codec_log_entry, rows[0].entry, &request->arena, &entry, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_incident_noted, entry.body, &request->arena, &noted, err);
    if (code != ERR_OK)
        return err_wrap(err, "the last incident of %s", info->device);
    info->incident = arena_printf(&request->arena, "%s: %s", noted.kind, noted.text);
    info->incident_ms = entry.time_ms;
    return info->incident ? ERR_OK : api_too_large(err);
}

enum err_code api_identity_of(struct api_request *request, bool incident, struct device_info *info,
                              struct err *err)
{
    struct store_identity row;
    struct err absent = {0};
    info->identity = info->incident = "";
    if (request->captain->account) {
        const enum err_code code =
            store_identity_get(request->captain->db, info->device, &request->arena, &row, &absent);
        if (code == ERR_OK)
            info->identity = row.state;
        else if (code != ERR_NOT_FOUND)
            return err_set(err, code, "%s", absent.text);
    }
    return incident ? take_incident(request, info, err) : ERR_OK;
}

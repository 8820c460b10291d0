/* SPDX-License-Identifier: Apache-2.0
 *
 * root.publish | show: the chain of roots.
 */
#include <inttypes.h>

#include "captain/api_private.h"
#include "captain/io/store/root.h"
#include "common/clock.h"
#include "common/trust.h"

enum { ODD_MAX = 256 };

enum err_code api_root_prepare(struct api_request *request, struct arena *arena,
                               struct decision *ret, struct err *err)
{
    const struct root_publish *in = &request->in.root_publish;
    const struct keys *keys = &request->captain->keys;
    struct root root;
    enum err_code code = api_demand_reason(in->reason, "a new root", err);
    if (code != ERR_OK)
        return code;
    request->settled = bytes_equal(in->envelope, keys->root_envelope);
    if (request->settled)
        return ERR_OK;
    if ((code = keys_check_root(keys, in->envelope, arena, &root, err)))
        return code;
    if ((code = trust_root_fresh(&root, clock_unix_ms(), err)))
        return err_hint(err, "sign one that ends later");
    *ret = (struct decision){.actor = request->actor,
                             .kind = "root.rotated",
                             .subject = arena_printf(arena, "%" PRIu64, root.version),
                             .reason = in->reason,
                             .body = in->envelope};
    return ret->subject ? ERR_OK : api_too_large(err);
}

static enum err_code read_chain(struct api_request *request, struct root_info *ret, struct err *err)
{
    struct store_root *rows = NULL;
    size_t len = 0;
    enum err_code code = store_root_list(request->captain->db, &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct root_step *steps = arena_alloc(&request->arena, (len + 1) * sizeof *steps);
    if (!steps)
        return api_too_large(err);
    for (size_t i = 0; i < len; i++)
        steps[i] = (struct root_step){.version = rows[i].version,
                                      .expires_ms = rows[i].expires_ms,
                                      .at_ms = rows[i].at_ms,
                                      .by = rows[i].by,
                                      .reason = rows[i].reason,
                                      .decision = rows[i].decision};
    ret->chain = steps;
    ret->chain_len = len;
    return ERR_OK;
}

static enum err_code answer(struct api_request *request, uint64_t version, struct root_info *ret,
                            struct err *err)
{
    struct arena *arena = &request->arena;
    struct store_root row;
    struct root *root = arena_alloc(arena, sizeof *root);
    const char **odd = arena_alloc(arena, ODD_MAX * sizeof *odd);
    if (!root || !odd)
        return api_too_large(err);
    enum err_code code = store_root_get(request->captain->db, version, arena, &row, err);
    if (code == ERR_OK)
        code = trust_root_anchor(row.envelope, arena, root, err);
    if (code != ERR_OK)
        return code;
    *ret = (struct root_info){.root = root, .envelope = row.envelope, .odd = odd};
    ret->odd_len = trust_root_lint(root, clock_unix_ms(), arena, odd, ODD_MAX);
    return read_chain(request, ret, err);
}

enum err_code api_root_published(struct api_request *request, union api_out *ret, struct err *err)
{
    return answer(request, 0, &ret->root_info, err);
}

enum err_code api_root_show(struct api_request *request, union api_out *ret, struct err *err)
{
    return answer(request, request->in.root_query.version, &ret->root_info, err);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * root.created and root.rotated: the chain, in the table root.
 */
#include "captain/io/store/root.h"
#include "captain/projection_private.h"
#include "common/trust.h"

static enum err_code add(struct projection *context, const struct root *root, struct err *err)
{
    const struct store_root row = {.version = root->version,
                                   .envelope = context->entry->body,
                                   .expires_ms = root->expires_ms,
                                   .at_ms = context->entry->time_ms,
                                   .by = context->entry->actor,
                                   .reason = context->entry->reason ? context->entry->reason : "",
                                   .decision = context->entry->seq};
    return store_root_add(context->db, &row, err);
}

/* *ret is NULL when there is none. */
static enum err_code newest(struct projection *context, struct root *root, struct root **ret,
                            struct err *err)
{
    struct store_root row;
    struct err absent = {0};
    enum err_code code = store_root_get(context->db, 0, &context->arena, &row, &absent);
    *ret = NULL;
    if (code == ERR_NOT_FOUND)
        return ERR_OK;
    if (code != ERR_OK)
        return err_set(err, code, "%s", absent.text);
    code = trust_root_anchor(row.envelope, &context->arena, root, err);
    if (code == ERR_OK)
        *ret = root;
    return code;
}

enum err_code projection_root_created(struct projection *context, struct err *err)
{
    struct root old, root;
    struct root *before;
    enum err_code code = trust_root_anchor(context->entry->body, &context->arena, &root, err);
    if (code == ERR_OK)
        code = newest(context, &old, &before, err);
    if (code == ERR_OK && before)
        return err_set(err, ERR_ROOT_CHAIN, "there is a root already, version %llu",
                       (unsigned long long)before->version);
    return code ? code : add(context, &root, err);
}

enum err_code projection_root_rotated(struct projection *context, struct err *err)
{
    struct root old, root;
    struct root *before;
    enum err_code code = newest(context, &old, &before, err);
    if (code == ERR_OK && !before)
        return err_set(err, ERR_ROOT_CHAIN, "there is no root that it could follow");
    if (code == ERR_OK)
        code = trust_root_next(before, context->entry->body, &context->arena, &root, err);
    return code ? code : add(context, &root, err);
}

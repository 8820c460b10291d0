/* SPDX-License-Identifier: Apache-2.0
 *
 * What decisions about feature flags and secrets mean in the tables.
 */
#include "captain/io/store/flag.h"
#include "captain/io/store/secret.h"
#include "captain/projection_private.h"
#include "proto/codec.h"

enum err_code projection_flag_set(struct projection *p, struct err *err)
{
    struct flag_set flag;
    enum err_code code = codec_decode(&codec_flag_set, p->entry->body, &p->arena, &flag, err);
    if (code != ERR_OK)
        return code;
    return store_flag_set(p->db, &flag, p->entry->actor, p->entry->time_ms, p->entry->seq, err);
}

enum err_code projection_flag_unset(struct projection *p, struct err *err)
{
    struct flag_unset flag;
    enum err_code code = codec_decode(&codec_flag_unset, p->entry->body, &p->arena, &flag, err);
    return code ? code : store_flag_unset(p->db, &flag, err);
}

enum err_code projection_secret_set(struct projection *p, struct err *err)
{
    struct secret_set secret;
    enum err_code code = codec_decode(&codec_secret_set, p->entry->body, &p->arena, &secret, err);
    if (code != ERR_OK)
        return code;
    return store_secret_set(p->db, &secret, p->entry->actor, p->entry->time_ms, p->entry->seq, err);
}

enum err_code projection_secret_removed(struct projection *p, struct err *err)
{
    struct secret_removed secret;
    enum err_code code =
        codec_decode(&codec_secret_removed, p->entry->body, &p->arena, &secret, err);
    return code ? code : store_secret_remove(p->db, &secret, err);
}

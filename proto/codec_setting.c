/* SPDX-License-Identifier: Apache-2.0
 *
 * setting.proto: one row a field, one table a message. The macros are explained in codec_table.h.
 */
#include "proto/codec_table.h"

#include "common/base/mem.h"
#include "proto/setting.pb-c.h"

#define S struct secret_set
static const struct codec_row secret_set_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),  NEED(name, 128, TOKEN),
    TEXT(scope, 160, GRAPH),      NEED_BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
    U64(version, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(secret_set, secret_set, 1024);

#define S struct secret_removed
static const struct codec_row secret_removed_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    NEED(name, 128, TOKEN),
    TEXT(scope, 160, GRAPH),
};
#undef S
CODEC_TYPE(secret_removed, secret_removed, 512);

#define S struct flag_set
static const struct codec_row flag_set_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN), NEED(channel, TOKEN_MAX, TOKEN), NEED(name, 128, TOKEN),
    TEXT(value, 1024, LINE),     TEXT(otherwise, 1024, LINE),     U32(permyriad, 0, 10000),
    NEED(salt, 160, GRAPH),
};
#undef S
CODEC_TYPE(flag_set, flag_set, 4096);

#define S struct flag_unset
static const struct codec_row flag_unset_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    NEED(channel, TOKEN_MAX, TOKEN),
    NEED(name, 128, TOKEN),
};
#undef S
CODEC_TYPE(flag_unset, flag_unset, 512);

#define S struct vault_key
static const struct codec_row vault_key_rows[] = {
    NEED_BYTES(public_key, KEY_BYTES, KEY_BYTES),
};
#undef S
CODEC_TYPE(vault_key, vault_key, 128);

#define S struct secret_put
static const struct codec_row secret_put_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),  NEED(name, 128, TOKEN), TEXT(scope, 160, GRAPH),
    NEED_BYTES(sealed, 49, 8192), BOOL(rotate),           TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(secret_put, secret_put, 65536);

#define S struct secret_query
static const struct codec_row secret_query_rows[] = {
    TEXT(app, TOKEN_MAX, TOKEN),
    TEXT(name, 128, TOKEN),
    TEXT(scope, 160, GRAPH),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(secret_query, secret_query, 8192);

#define S struct secret_info
static const struct codec_row secret_info_rows[] = {
    TEXT(app, TOKEN_MAX, TOKEN),
    TEXT(name, 128, TOKEN),
    TEXT(scope, 160, GRAPH),
    U64(version, 0, COUNTER_MAX),
    I64(set_ms, 0, INT64_MAX),
    TEXT(set_by, ACTOR_MAX, LINE),
    U64(decision, 0, COUNTER_MAX),
    U64(devices, 0, COUNTER_MAX),
    U64(confirmed, 0, COUNTER_MAX),
    TEXTS(waiting, 0, 20, NAME_MAX_BYTES, GRAPH),
    BOOL(settling),
};
#undef S
CODEC_TYPE(secret_info, secret_info, 16384);

#define S struct secret_list
static const struct codec_row secret_list_rows[] = {
    SUBS(secrets, secret_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(secret_list, secret_list, API_MAX_BYTES);

#define S struct flag_change
static const struct codec_row flag_change_rows[] = {
    TEXT(channel, NAME_MAX_BYTES, GRAPH), TEXT(name, 128, TOKEN),   TEXT(value, 1024, LINE),
    TEXT(otherwise, 1024, LINE),          U32(permyriad, 0, 10000), TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(flag_change, flag_change, 16384);

#define S struct flag_info
static const struct codec_row flag_info_rows[] = {
    TEXT(channel, NAME_MAX_BYTES, GRAPH), TEXT(name, 128, TOKEN),        TEXT(value, 1024, LINE),
    TEXT(otherwise, 1024, LINE),          U32(permyriad, 0, 10000),      I64(set_ms, 0, INT64_MAX),
    TEXT(set_by, ACTOR_MAX, LINE),        U64(decision, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(flag_info, flag_info, 8192);

#define S struct flag_list
static const struct codec_row flag_list_rows[] = {
    SUBS(flags, flag_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(flag_list, flag_list, API_MAX_BYTES);

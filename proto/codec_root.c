/* SPDX-License-Identifier: Apache-2.0
 *
 * root.proto: one row a field, one table a message. The macros are explained in codec_table.h.
 */
#include "proto/codec_table.h"

#include "common/base/mem.h"
#include "proto/root.pb-c.h"

enum { ROOT_ENVELOPE_MAX_BYTES = (64 << 10) + 4096 };

#define S struct root_publish
static const struct codec_row root_publish_rows[] = {
    NEED_BYTES(envelope, 1, ROOT_ENVELOPE_MAX_BYTES),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(root_publish, root_publish, 128 << 10);

#define S struct root_query
static const struct codec_row root_query_rows[] = {
    U64(version, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(root_query, root_query, 256);

#define S struct root_step
static const struct codec_row root_step_rows[] = {
    U64(version, 0, COUNTER_MAX), I64(expires_ms, 0, INT64_MAX),  I64(at_ms, 0, INT64_MAX),
    TEXT(by, ACTOR_MAX, LINE),    TEXT(reason, REASON_MAX, TEXT), U64(decision, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(root_step, root_step, 8 << 10);

#define S struct root_info
static const struct codec_row root_info_rows[] = {
    SUB(root, root),
    BYTES(envelope, 0, ROOT_ENVELOPE_MAX_BYTES),
    SUBS(chain, root_step, 0, LIST_MAX),
    NEED_TEXTS(odd, 0, 256, CAUSE_MAX, LINE),
};
#undef S
CODEC_TYPE(root_info, root_info, API_MAX_BYTES);

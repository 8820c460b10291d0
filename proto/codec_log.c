/* SPDX-License-Identifier: Apache-2.0
 *
 * log.proto: one row a field, one table a message. The macros are explained in codec_table.h.
 */
#include "proto/codec_table.h"

#include "common/base/mem.h"
#include "proto/log.pb-c.h"

enum { BODY_MAX_BYTES = ENVELOPE_MAX_BYTES + 4096 };

#define S struct evidence
static const struct codec_row evidence_rows[] = {
    NEED(name, TOKEN_MAX, GRAPH),
    TEXT(value, 1024, TEXT),
};
#undef S
CODEC_TYPE(evidence, evidence, 2048);

/* previous is 32 zero bytes in the first entry, never empty. */
#define S struct log_entry
static const struct codec_row log_entry_rows[] = {
    U64(seq, 1, COUNTER_MAX),        NEED_BYTES(previous, DIGEST_BYTES, DIGEST_BYTES),
    I64(time_ms, 0, INT64_MAX),      NEED(actor, ACTOR_MAX, LINE),
    NEED(kind, TOKEN_MAX, GRAPH),    TEXT(subject, NAME_MAX_BYTES, LINE),
    BYTES(body, 1, BODY_MAX_BYTES),  TEXT(reason, REASON_MAX, TEXT),
    SUBS(evidence, evidence, 0, 64),
};
#undef S
CODEC_TYPE(log_entry, log_entry, 640 << 10);

#define S struct captain_started
static const struct codec_row captain_started_rows[] = {
    NEED(holder, HOLDER_MAX, LINE),
    TEXT(folder, 4096, LINE),
    TEXT(version, VERSION_MAX, VERSION),
};
#undef S
CODEC_TYPE(captain_started, captain_started, 8 << 10);

#define S struct release_created
static const struct codec_row release_created_rows[] = {
    NEED_BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
    NEED_BYTES(envelope, 1, ENVELOPE_MAX_BYTES),
};
#undef S
CODEC_TYPE(release_created, release_created, BODY_MAX_BYTES);

#define S struct channel_set
static const struct codec_row channel_set_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    NEED(channel, TOKEN_MAX, TOKEN),
    NEED_BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
    BYTES(base_digest, DIGEST_BYTES, DIGEST_BYTES),
};
#undef S
CODEC_TYPE(channel_set, channel_set, 512);

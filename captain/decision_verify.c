/* SPDX-License-Identifier: Apache-2.0
 *
 * The chain of captain.db, from its first entry to where it ended at start, a slice per turn: sync
 * compares the ends of the two copies, so it would not see a row in the middle that was edited.
 */
#include <inttypes.h>
#include <string.h>

#include "captain/decision_private.h"
#include "common/hash.h"
#include "common/log.h"
#include "proto/codec.h"

enum { SLICE_ROWS = 256, SLICE_BYTES = 4 << 20, VERIFY_ARENA_BYTES = 16 << 20 };

static enum err_code edited(uint64_t seq, const char *what, struct err *err)
{
    (void)err_set(err, ERR_HASH, "entry %" PRIu64 " of captain.db %s", seq, what);
    return err_hint(err, "restore captain.db from a backup, or move it away: it is rebuilt from "
                         "stream " DECISION_STREAM);
}

static enum err_code verify_one(struct decisions *d, uint64_t seq, struct arena *arena,
                                struct err *err)
{
    struct store_log_row row;
    struct log_entry entry;
    uint8_t hash[DIGEST_BYTES];
    enum err_code code = store_log_get(d->db, seq, arena, &row, err);
    if (code != ERR_OK)
        return code;
    hash_bytes(row.entry, hash);
    if (memcmp(hash, row.hash, DIGEST_BYTES) != 0 ||
        codec_decode(&codec_log_entry, row.entry, arena, &entry, NULL) != ERR_OK ||
        entry.seq != seq)
        return edited(seq, "was edited", err);
    if (!bytes_equal(entry.previous, bytes_of(d->verify.hash, DIGEST_BYTES)))
        return edited(seq, "does not follow the one before it: the log was edited", err);
    memcpy(d->verify.hash, hash, DIGEST_BYTES);
    return ERR_OK;
}

static void verify_slice(void *arg)
{
    struct decisions *d = arg;
    struct decision_verify *verify = &d->verify;
    struct arena arena;
    struct err err = {0};
    enum err_code code = ERR_OK;
    arena_init(&arena, VERIFY_ARENA_BYTES);
    for (int i = 0; i < SLICE_ROWS && arena.used_bytes < SLICE_BYTES && verify->next <= verify->end;
         i++) {
        code = verify_one(d, verify->next, &arena, &err);
        if (code != ERR_OK)
            break;
        verify->next++;
    }
    arena_fini(&arena);
    if (code != ERR_OK)
        decision_lose(d, &err);
    else if (verify->next <= verify->end)
        loop_timer_at(d->loop, &verify->timer, loop_now_ms(d->loop), verify_slice, d);
    else
        log_write(LOG_LEVEL_INFO, "log: the chain of captain.db holds, up to entry %" PRIu64,
                  verify->end);
}

void decision_verify_start(struct decisions *d)
{
    d->verify = (struct decision_verify){.next = 1, .end = d->last_seq};
    if (d->last_seq > 0)
        loop_timer_at(d->loop, &d->verify.timer, loop_now_ms(d->loop), verify_slice, d);
}

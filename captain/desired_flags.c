/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/desired_flags.h"

#include "common/base/cohort.h"
#include "common/sign.h"
#include "proto/codec.h"

/* Of a flag in its document, beside its own bytes: the field's number and length. */
enum { FIELD_BYTES = 5 };

static struct feature_flag flag_of(const char *name, const char *value, const char *otherwise,
                                   const char *salt, uint32_t permyriad)
{
    return (struct feature_flag){.name = name,
                                 .value = value,
                                 .otherwise = otherwise,
                                 .salt = salt,
                                 .cut = cohort_cut_permyriad(permyriad)};
}

enum err_code desired_flags_read(struct db *db, const char *app, const char *channel,
                                 struct arena *arena, const struct feature_flag **ret,
                                 size_t *ret_len, struct err *err)
{
    struct store_flag *rows = NULL;
    size_t len = 0;
    enum err_code code = store_flag_list(db, app, channel, arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct feature_flag *flags = arena_alloc(arena, (len + 1) * sizeof *flags);
    if (!flags)
        return err_set(err, ERR_SIZE, "the flags of a channel take too much memory");
    for (size_t i = 0; i < len; i++)
        flags[i] = flag_of(rows[i].name, rows[i].value, rows[i].otherwise, rows[i].salt,
                           rows[i].permyriad);
    *ret = flags;
    *ret_len = len;
    return ERR_OK;
}

static enum err_code bytes_of_flag(const struct feature_flag *flag, struct arena *arena,
                                   size_t *ret, struct err *err)
{
    struct bytes encoded;
    enum err_code code = codec_encode(&codec_feature_flag, flag, arena, &encoded, err);
    if (code == ERR_OK)
        *ret += encoded.len + FIELD_BYTES;
    return code;
}

enum err_code desired_flags_check(struct db *db, const struct flag_set *flag, size_t envelope_bytes,
                                  struct arena *arena, struct err *err)
{
    const struct feature_flag *flags = NULL;
    const struct feature_flag added =
        flag_of(flag->name, flag->value, flag->otherwise, flag->salt, flag->permyriad);
    size_t len = 0, before = 0, after = 0, others = 0;
    enum err_code code = desired_flags_read(db, flag->app, flag->channel, arena, &flags, &len, err);
    for (size_t i = 0; code == ERR_OK && i < len; i++) {
        code = bytes_of_flag(&flags[i], arena, &before, err);
        if (code == ERR_OK && !str_equal(flags[i].name, flag->name)) {
            code = bytes_of_flag(&flags[i], arena, &after, err);
            others++;
        }
    }
    if (code == ERR_OK)
        code = bytes_of_flag(&added, arena, &after, err);
    if (code != ERR_OK)
        return code;
    if (others == DESIRED_FLAGS_MAX) {
        (void)err_set(err, ERR_FULL, "channel %s/%s has %d flags already", flag->app, flag->channel,
                      DESIRED_FLAGS_MAX);
        return err_hint(err, "captain flag ls %s/%s; captain flag unset one that nobody reads",
                        flag->app, flag->channel);
    }
    const size_t rest = envelope_bytes > before ? envelope_bytes - before : 0;
    if (after <= DESIRED_FLAGS_MAX_BYTES && rest + after <= SIGN_DESIRED_MAX_BYTES)
        return ERR_OK;
    (void)err_set(err, ERR_SIZE,
                  "with this flag, the flags of %s/%s take %zu bytes; the channel's document has "
                  "room for %zu",
                  flag->app, flag->channel, after,
                  rest + DESIRED_FLAGS_MAX_BYTES <= SIGN_DESIRED_MAX_BYTES
                      ? (size_t)DESIRED_FLAGS_MAX_BYTES
                      : SIGN_DESIRED_MAX_BYTES - rest);
    return err_hint(err, "shorter values; or captain flag unset one that nobody reads");
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * token.new | ls | revoke: join tokens. Captain never sees the secret half of one.
 */
#include <string.h>

#include "captain/api_private.h"
#include "captain/captain_trust.h"
#include "captain/core/admit.h"
#include "common/clock.h"

enum { LIST_LIMIT = 1000 };
#define TTL_DEFAULT_MS INT64_C(3600000)
#define TTL_MAX_MS (30 * INT64_C(86400000))

/* New. */

static enum err_code check_labels(const struct token_new *in, struct err *err)
{
    for (size_t i = 0; i < in->labels_len; i++) {
        const struct label *label = &in->labels[i];
        if (!str_is_token(label->key) || str_equal(label->key, "site"))
            (void)err_set(err, ERR_USAGE, "'%.64s' cannot be the key of a label", label->key);
        else if (!str_is_version(label->value))
            (void)err_set(err, ERR_USAGE, "'%.64s' cannot be the value of a label", label->value);
        else
            continue;
        return err_hint(err, "KEY=VALUE: letters, digits, _ and -; a value may hold . + ~ too");
    }
    return ERR_OK;
}

static enum err_code check_new(const struct token_new *in, struct err *err)
{
    if (!sign_public_key_usable(in->public_key.ptr))
        return err_set(err, ERR_USAGE, "the token's public key cannot be used");
    if (!admit_site_allowed(in->site)) {
        (void)err_set(err, ERR_USAGE, "no site can be named %s", in->site);
        return err_hint(err, "captain, enroll and op are taken");
    }
    if (in->ttl_ms > TTL_MAX_MS) {
        (void)err_set(err, ERR_USAGE, "a join token lasts 30 days at most");
        return err_hint(err, "--ttl 30d, and another one later");
    }
    return check_labels(in, err);
}

enum err_code api_token_prepare(struct api_request *request, struct arena *arena,
                                struct decision *ret, struct err *err)
{
    const struct token_new *in = &request->in.token_new;
    uint8_t random[ULID_RANDOM_BYTES];
    const int64_t now_ms = clock_unix_ms();
    enum err_code code = captain_trust_demand(request->captain, err);
    if (code == ERR_OK)
        code = check_new(in, err);
    if (code != ERR_OK)
        return code;
    clock_random(random, sizeof random);
    ulid_format(now_ms, random, request->token);
    const struct token_created created = {.id = request->token,
                                          .public_key = in->public_key,
                                          .site = in->site,
                                          .labels = in->labels,
                                          .labels_len = in->labels_len,
                                          .uses = in->uses ? in->uses : 1,
                                          .expires_ms =
                                              now_ms + (in->ttl_ms ? in->ttl_ms : TTL_DEFAULT_MS),
                                          .approval = in->approval};
    *ret = (struct decision){.actor = request->actor,
                             .kind = "token.created",
                             .subject = request->token,
                             .reason = in->reason};
    return codec_encode(&codec_token_created, &created, arena, &ret->body, err);
}

/* Reading. */

static enum err_code describe(struct api_request *request, const struct store_token *row,
                              struct token_info *ret, struct err *err)
{
    struct token_created created;
    const struct admit_token token = {.uses = row->uses,
                                      .used = row->used,
                                      .expires_ms = row->expires_ms,
                                      .revoked = row->revoked_ms != 0};
    const enum err_code code =
        codec_decode(&codec_token_created, row->body, &request->arena, &created, err);
    if (code != ERR_OK)
        return err_wrap(err, "token %s", row->id);
    *ret = (struct token_info){.id = row->id,
                               .site = row->site,
                               .labels = created.labels,
                               .labels_len = created.labels_len,
                               .uses = row->uses,
                               .used = row->used,
                               .created_ms = row->created_ms,
                               .expires_ms = row->expires_ms,
                               .approval = row->approval,
                               .state = admit_token_state(&token, clock_unix_ms()),
                               .created_by = row->created_by,
                               .decision = row->decision};
    return ERR_OK;
}

static enum err_code describe_id(struct api_request *request, const char *id,
                                 struct token_info *ret, struct err *err)
{
    struct store_token row;
    const enum err_code code =
        store_token_get(request->captain->db, id, &request->arena, &row, err);
    return code ? code : describe(request, &row, ret, err);
}

enum err_code api_token_created(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct captain *captain = request->captain;
    const struct trust_bundle_parts parts = {.folder = captain->options.folder,
                                             .tenant = captain->options.tenant,
                                             .ca_path = captain->options.nats_ca,
                                             .root = captain->keys.root_envelope,
                                             .nats_urls = captain->options.nats_url};
    char *fingerprint = arena_alloc(&request->arena, DIGEST_HEX);
    if (!fingerprint)
        return api_too_large(err);
    enum err_code code = describe_id(request, request->token, &ret->token_info, err);
    if (code == ERR_OK)
        code = trust_bundle_write(&parts, fingerprint, err);
    ret->token_info.url = captain->store_url;
    ret->token_info.fingerprint = fingerprint;
    return code;
}

enum err_code api_token_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    struct store_token *rows = NULL;
    size_t len = 0;
    enum err_code code = captain_trust_demand(request->captain, err);
    if (code == ERR_OK)
        code = store_token_list(request->captain->db, request->in.token_query.id, LIST_LIMIT,
                                &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct token_info *infos = arena_alloc(&request->arena, (len + 1) * sizeof *infos);
    if (!infos)
        return api_too_large(err);
    for (size_t i = 0; code == ERR_OK && i < len; i++)
        code = describe(request, &rows[i], &infos[i], err);
    ret->token_list = (struct token_list){.tokens = infos, .tokens_len = len};
    return code;
}

/* Revoking. */

static enum err_code find(struct api_request *request, const char *id, struct store_token *ret,
                          struct err *err)
{
    struct store_token *rows = NULL;
    size_t len = 0;
    const enum err_code code =
        store_token_list(request->captain->db, id, 2, &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    if (id[0] && len == 1) {
        *ret = rows[0];
        return ERR_OK;
    }
    if (len == 0)
        (void)err_set(err, ERR_NOT_FOUND, "there is no join token %s", id);
    else
        (void)err_set(err, ERR_USAGE, "more than one join token begins with '%s'", id);
    return err_hint(err, "captain token ls");
}

enum err_code api_token_revoke_prepare(struct api_request *request, struct arena *arena,
                                       struct decision *ret, struct err *err)
{
    const struct token_query *in = &request->in.token_query;
    struct store_token row = {0};
    enum err_code code = captain_trust_demand(request->captain, err);
    if (code == ERR_OK)
        code = find(request, in->id, &row, err);
    if (code != ERR_OK)
        return code;
    memcpy(request->token, row.id, ULID_TEXT); /* ids of the table are ULIDs */
    request->settled = row.revoked_ms != 0;
    const struct token_revoked revoked = {.id = row.id};
    *ret = (struct decision){
        .actor = request->actor, .kind = "token.revoked", .subject = row.id, .reason = in->reason};
    return codec_encode(&codec_token_revoked, &revoked, arena, &ret->body, err);
}

enum err_code api_token_revoked(struct api_request *request, union api_out *ret, struct err *err)
{
    return describe_id(request, request->token, &ret->token_info, err);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * operator.add | rm | ls: people and what they may do. Captain sees the public half of a key and gives
 * the credential for it; one person has one at a time.
 */
#include <inttypes.h>
#include <string.h>

#include "captain/api_private.h"
#include "captain/captain_trust.h"
#include "common/clock.h"
#include "common/file.h"

enum { CA_MAX_BYTES = 16 << 10 };
#define TTL_DEFAULT_MS (90 * INT64_C(86400000))
#define TTL_MAX_MS (ACCOUNT_OPERATOR_TTL_S * INT64_C(1000))

/* All there are and ever were. */
struct people {
    struct store_operator *rows;
    size_t len;
};

static enum err_code load_people(struct api_request *request, struct people *ret, struct err *err)
{
    const enum err_code code = captain_trust_demand(request->captain, err);
    return code ? code
                : store_operator_list(request->captain->db, &request->arena, &ret->rows, &ret->len,
                                      err);
}

static bool is_valid(const struct store_operator *row, int64_t now_ms)
{
    return row->removed_ms == 0 && (row->expires_ms == 0 || row->expires_ms > now_ms);
}

/* NULL: nobody has that name, or ever had. */
static const struct store_operator *find(const struct people *people, const char *name)
{
    for (size_t i = 0; i < people->len; i++)
        if (str_equal(people->rows[i].name, name))
            return &people->rows[i];
    return NULL;
}

/* Without one nobody could let an admin in again. */
static enum err_code check_admin_stays(const struct people *people,
                                       const struct store_operator *leaves, struct err *err)
{
    if (!str_equal(leaves->role, role_names[ROLE_ADMIN]))
        return ERR_OK;
    for (size_t i = 0; i < people->len; i++)
        if (&people->rows[i] != leaves && is_valid(&people->rows[i], clock_unix_ms()) &&
            str_equal(people->rows[i].role, role_names[ROLE_ADMIN]))
            return ERR_OK;
    (void)err_set(err, ERR_CONFLICT, "%s is the last admin", leaves->name);
    return err_hint(err, "captain operator add NAME --role admin, then again");
}

/* Adding. */

static enum err_code check_add(const struct operator_add *in, struct err *err)
{
    enum operator_role role;
    if (!role_parse(in->role, &role)) {
        (void)err_set(err, ERR_USAGE, "there is no role %s", in->role);
        return err_hint(err, "viewer, operator, release-manager or admin");
    }
    if (!sign_public_key_usable(in->public_key.ptr))
        return err_set(err, ERR_USAGE, "the public key cannot be used");
    if (in->ttl_ms <= TTL_MAX_MS)
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "a credential lasts 365 days at most");
    return err_hint(err, "--ttl 365d, and another one later");
}

/* A key that was taken away once stays so; its holder makes a new one. */
static enum err_code check_key_is_new(const struct people *people, struct bytes key,
                                      struct err *err)
{
    for (size_t i = 0; i < people->len; i++)
        if (memcmp(people->rows[i].public_key, key.ptr, SIGN_PUBLIC_BYTES) == 0)
            return err_set(err, ERR_CONFLICT, "that key is or was %s's", people->rows[i].name);
    return ERR_OK;
}

static enum err_code check_name_is_free(const struct operator_add *in, const struct people *people,
                                        const struct store_operator *now, struct err *err)
{
    if (in->replace)
        return str_equal(in->role, role_names[ROLE_ADMIN]) ? ERR_OK
                                                           : check_admin_stays(people, now, err);
    (void)err_set(err, ERR_CONFLICT, "there is an operator %s already, with role %s", now->name,
                  now->role);
    return err_hint(err, "--yes gives a new credential and voids the one there is");
}

static enum err_code write_added(struct api_request *request, const struct store_operator *now,
                                 struct arena *arena, struct decision *ret, struct err *err)
{
    const struct operator_add *in = &request->in.operator_add;
    struct operator_added added = {.name = in->name,
                                   .role = in->role,
                                   .public_key = in->public_key,
                                   .expires_ms = clock_unix_ms() +
                                                 (in->ttl_ms ? in->ttl_ms : TTL_DEFAULT_MS)};
    if (now) {
        added.replaces_key = bytes_of(now->public_key, SIGN_PUBLIC_BYTES);
        added.replaces_expires_ms = now->expires_ms;
    }
    *ret = (struct decision){.actor = request->actor,
                             .kind = "operator.added",
                             .subject = in->name,
                             .reason = in->reason};
    return codec_encode(&codec_operator_added, &added, arena, &ret->body, err);
}

enum err_code api_operator_add_prepare(struct api_request *request, struct arena *arena,
                                       struct decision *ret, struct err *err)
{
    const struct operator_add *in = &request->in.operator_add;
    struct people people;
    enum err_code code = load_people(request, &people, err);
    if (code == ERR_OK)
        code = check_add(in, err);
    if (code != ERR_OK)
        return code;
    const struct store_operator *now = find(&people, in->name);
    if (now && now->removed_ms != 0)
        now = NULL;
    request->settled = now && str_equal(now->role, in->role) &&
                       memcmp(now->public_key, in->public_key.ptr, SIGN_PUBLIC_BYTES) == 0;
    if (request->settled)
        return ERR_OK; /* asked again: the answer was lost */
    code = check_key_is_new(&people, in->public_key, err);
    if (code == ERR_OK && now)
        code = check_name_is_free(in, &people, now, err);
    return code ? code : write_added(request, now, arena, ret, err);
}

/* Reading. */

static enum err_code describe(struct api_request *request, const struct store_operator *row,
                              struct operator_info *ret)
{
    char *key = arena_alloc(&request->arena, NKEY_TEXT);
    if (!key)
        return ERR_SIZE;
    nkey_public_text(NKEY_USER, row->public_key, key);
    *ret = (struct operator_info){.name = row->name,
                                  .role = row->role,
                                  .key = key,
                                  .added_ms = row->added_ms,
                                  .added_by = row->added_by,
                                  .expires_ms = row->expires_ms,
                                  .decision = row->decision,
                                  .removed = row->removed_ms != 0};
    return ERR_OK;
}

static enum err_code describe_name(struct api_request *request, const char *name,
                                   struct store_operator *row, struct operator_info *ret,
                                   struct err *err)
{
    const enum err_code code =
        store_operator_get(request->captain->db, name, &request->arena, row, err);
    if (code != ERR_OK)
        return code;
    return describe(request, row, ret) ? api_too_large(err) : ERR_OK;
}

/* What one needs beside the credential. */
static enum err_code add_surroundings(struct api_request *request, struct operator_info *ret,
                                      struct err *err)
{
    const struct captain *captain = request->captain;
    struct bytes ca = {0};
    ret->urls = captain->nats_urls;
    while (ret->urls_len < TRUST_BUNDLE_URLS_MAX && captain->nats_urls[ret->urls_len])
        ret->urls_len++;
    if (!captain->options.nats_ca)
        return ERR_OK;
    const enum err_code code =
        file_read(captain->options.nats_ca, CA_MAX_BYTES, &request->arena, &ca, err);
    ret->ca = (const char *)ca.ptr; /* file_read ends it with a NUL */
    return code;
}

enum err_code api_operator_added(struct api_request *request, union api_out *ret, struct err *err)
{
    struct store_operator row;
    struct operator_info *info = &ret->operator_info;
    enum operator_role role;
    enum err_code code = describe_name(request, request->in.operator_add.name, &row, info, err);
    if (code != ERR_OK)
        return code;
    if (!role_parse(row.role, &role))
        return err_set(err, ERR_MALFORMED, "operator %s has no role that is known here", row.name);
    const struct account_operator who = {.name = row.name,
                                         .role = role,
                                         .key = row.public_key,
                                         .issued_s = row.added_ms / 1000,
                                         .expires_s = row.expires_ms / 1000};
    code = account_mint_operator(request->captain->account, &who, &request->arena, &info->jwt, err);
    return code ? code : add_surroundings(request, info, err);
}

enum err_code api_operator_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    const char *name = request->in.operator_query.name;
    struct people people;
    size_t len = 0;
    const enum err_code code = load_people(request, &people, err);
    if (code != ERR_OK)
        return code;
    struct operator_info *infos = arena_alloc(&request->arena, (people.len + 1) * sizeof *infos);
    if (!infos)
        return api_too_large(err);
    for (size_t i = 0; i < people.len; i++) {
        if (name[0] && !str_equal(people.rows[i].name, name))
            continue;
        if (describe(request, &people.rows[i], &infos[len++]) != ERR_OK)
            return api_too_large(err);
    }
    ret->operator_list = (struct operator_list){.operators = infos, .operators_len = len};
    return ERR_OK;
}

/* Removing. */

enum err_code api_operator_rm_prepare(struct api_request *request, struct arena *arena,
                                      struct decision *ret, struct err *err)
{
    const struct operator_query *in = &request->in.operator_query;
    struct people people;
    enum err_code code = load_people(request, &people, err);
    if (code != ERR_OK)
        return code;
    const struct store_operator *row = find(&people, in->name);
    if (!row) {
        (void)err_set(err, ERR_NOT_FOUND, "there is no operator %s", in->name);
        return err_hint(err, "captain operator ls");
    }
    request->settled = row->removed_ms != 0;
    code = request->settled ? ERR_OK : check_admin_stays(&people, row, err);
    if (code != ERR_OK)
        return code;
    const struct operator_removed removed = {
        .name = row->name, .public_key = bytes_of(row->public_key, SIGN_PUBLIC_BYTES)};
    *ret = (struct decision){.actor = request->actor,
                             .kind = "operator.removed",
                             .subject = row->name,
                             .reason = in->reason};
    return codec_encode(&codec_operator_removed, &removed, arena, &ret->body, err);
}

enum err_code api_operator_removed(struct api_request *request, union api_out *ret, struct err *err)
{
    struct store_operator row;
    return describe_name(request, request->in.operator_query.name, &row, &ret->operator_info, err);
}

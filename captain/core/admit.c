/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/admit.h"

#include <stddef.h>

#include "common/base/str.h"

const char *const admit_state_names[ADMIT_STATES] = {"pending", "approved", "rejected", "revoked",
                                                     "retired"};

bool admit_state_parse(const char *name, enum admit_state *ret)
{
    for (size_t i = 0; i < ADMIT_STATES; i++) {
        if (str_equal(admit_state_names[i], name)) {
            *ret = (enum admit_state)i;
            return true;
        }
    }
    return false;
}

bool admit_may_become(enum admit_state from, enum admit_state to)
{
    switch (to) {
    case ADMIT_APPROVED:
        return from == ADMIT_PENDING || from == ADMIT_REJECTED;
    case ADMIT_REJECTED:
        return from == ADMIT_PENDING;
    case ADMIT_REVOKED: /* a key that turns out to be stolen is never let in again */
        return from != ADMIT_REVOKED;
    case ADMIT_RETIRED:
        return from == ADMIT_APPROVED || from == ADMIT_REVOKED;
    case ADMIT_PENDING:
    case ADMIT_STATES:
        break;
    }
    return false;
}

bool admit_site_allowed(const char *site)
{
    static const char *const taken[] = {"captain", "enroll", "op"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (str_equal(site, taken[i]))
            return false;
    return true;
}

const char *admit_token_state(const struct admit_token *token, int64_t now_ms)
{
    if (token->revoked)
        return "revoked";
    if (token->used >= token->uses)
        return "used";
    return now_ms >= token->expires_ms ? "expired" : "open";
}

static struct admit_verdict refuse(enum err_code code, const char *reason, const char *incident)
{
    return (struct admit_verdict){
        .what = ADMIT_REFUSED, .code = code, .reason = reason, .incident = incident};
}

static struct admit_verdict check_token(const struct admit_facts *facts, int64_t now_ms)
{
    static const char kind[] = "token";
    const struct admit_token *token = facts->token;
    if (!token)
        return refuse(ERR_NOT_FOUND, "there is no such join token", kind);
    if (!str_equal(token->site, facts->site))
        return refuse(ERR_WRONG_TARGET, "the join token is for another site", kind);
    if (token->revoked)
        return refuse(ERR_REVOKED, "the join token was revoked", kind);
    if (now_ms >= token->expires_ms)
        return refuse(ERR_EXPIRED, "the join token has expired", kind);
    if (token->used >= token->uses)
        return refuse(ERR_CONFLICT, "the join token is used up", kind);
    return (struct admit_verdict){
        .what = token->approval ? ADMIT_WAITS : ADMIT_GRANTED, .enrol = true, .reason = ""};
}

/* A device that is known by this key. */
static struct admit_verdict again(const struct admit_facts *facts, int64_t now_ms)
{
    const bool in = facts->state == ADMIT_PENDING || facts->state == ADMIT_APPROVED;
    if (in && facts->seal_differs)
        return refuse(ERR_DENIED, "this device was enrolled with another X25519 key", "renewal");
    switch (facts->state) {
    case ADMIT_PENDING:
        return (struct admit_verdict){.what = ADMIT_WAITS, .reason = ""};
    case ADMIT_APPROVED:
        return (struct admit_verdict){.what = ADMIT_GRANTED, .reason = ""};
    case ADMIT_REJECTED:
        return refuse(ERR_DENIED, "an operator rejected this device", NULL);
    case ADMIT_RETIRED:
        return facts->has_token
                   ? check_token(facts, now_ms)
                   : refuse(ERR_DENIED, "this device is retired; it needs a new join token", NULL);
    case ADMIT_REVOKED:
    case ADMIT_STATES:
        break;
    }
    return refuse(ERR_REVOKED, "this device was revoked", "renewal");
}

struct admit_verdict admit(const struct admit_facts *facts, int64_t now_ms)
{
    const char *kind = facts->has_token ? "token" : "renewal";
    if (facts->key_revoked)
        return refuse(ERR_REVOKED, "this device's key was revoked; it needs a new one", kind);
    if (facts->known)
        return again(facts, now_ms);
    if (facts->key_owner)
        return refuse(ERR_DENIED, "this key belongs to another device", kind);
    if (!facts->has_token)
        return refuse(ERR_NOT_FOUND, "this device is not enrolled here; it needs a join token",
                      facts->name_taken ? kind : NULL);
    struct admit_verdict verdict = check_token(facts, now_ms);
    if (verdict.what == ADMIT_REFUSED || !facts->name_taken)
        return verdict;
    if (facts->holder == ADMIT_PENDING || facts->holder == ADMIT_APPROVED)
        return refuse(ERR_CONFLICT,
                      "a device of this name is enrolled with another key; retire or revoke it "
                      "first, or use another name",
                      kind);
    verdict.renamed = true;
    return verdict;
}

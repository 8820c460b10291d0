/* SPDX-License-Identifier: Apache-2.0
 *
 * PURE: whether a device that asks is let in. The caller has checked the signatures (the device's key,
 * and the token's when one is named) and looks up what the tables know; time is a parameter.
 *
 * The rules, the first that fits counts:
 *   1  a revoked key is never let in again
 *   2  the key is that of the named device (it asks again, or renews): pending stays pending, approved is
 *      granted, with or without the token it came with, whatever has become of that; rejected, retired
 *      and revoked are refused, unless (retired) it brings a token
 *      what is pending or approved keeps both its keys: with another X25519 key it is refused
 *   3  the key is another device's: refused; a device makes its own
 *   4  without a token: refused
 *   5  the token is unknown, revoked, expired, of another site, or used up: refused
 *   6  the name belongs to another key that is pending or approved: refused
 *   7  let in: one more use of the token, and pending when it says so
 * What is refused by 1, 3, 5, 6, or by 2 because of revocation, is an incident.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

enum admit_state {
    ADMIT_PENDING,
    ADMIT_APPROVED,
    ADMIT_REJECTED,
    ADMIT_REVOKED,
    ADMIT_RETIRED,
    ADMIT_STATES,
};
extern const char *const admit_state_names[ADMIT_STATES]; /* "pending" ... */
/* False: none of them. */
bool admit_state_parse(const char *name, enum admit_state *ret);
/* Whether an operator may bring a device from one state to the other. */
bool admit_may_become(enum admit_state from, enum admit_state to);

/* Whether a site may have that name. Not those that stand behind _INBOX for somebody else: a device ada of
 * a site op would hear what captain answers the operator ada. */
bool admit_site_allowed(const char *site);

struct admit_token {
    const char *site;
    uint32_t uses, used;
    int64_t expires_ms;
    bool revoked;
    bool approval; /* each device waits for an operator */
};
/* What the token is good for at now_ms: "open", "used", "expired" or "revoked". */
const char *admit_token_state(const struct admit_token *token, int64_t now_ms);

struct admit_facts {
    const char *site;                /* of the request */
    bool has_token;                  /* it names one */
    bool key_revoked;                /* its key was revoked once */
    bool known;                      /* the named device is enrolled with this very key ... */
    enum admit_state state;          /* ... and this is how it stands */
    bool seal_differs;               /* but asks with another X25519 key */
    const char *key_owner;           /* another device with this key; NULL: none */
    bool name_taken;                 /* the named device is enrolled with another key ... */
    enum admit_state holder;         /* ... and this is how that one stands */
    const struct admit_token *token; /* NULL: none of that id */
};

struct admit_verdict {
    enum { ADMIT_REFUSED, ADMIT_WAITS, ADMIT_GRANTED } what;
    bool enrol;           /* decide device.enrolled first; what is then how it will stand */
    bool renamed;         /* the name had another key, which is out */
    enum err_code code;   /* of a refusal */
    const char *reason;   /* of a refusal; "" otherwise */
    const char *incident; /* its kind, "token", "renewal"; NULL: nothing to note */
};
struct admit_verdict admit(const struct admit_facts *facts, int64_t now_ms);

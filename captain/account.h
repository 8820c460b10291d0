/* SPDX-License-Identifier: Apache-2.0
 *
 * Captain's hold on nats-server: who may say what. The one table of permission templates per role, the
 * credentials of devices and operators, and the claims of the FLEET account (templates and
 * revocations), which are pushed to the server's resolver at every connect (a server restored from a
 * backup must not forget a revocation), at every change and once an hour, tried again until the
 * server has stored them. The pushes need a user of the system account (common/nkey.h says why), so
 * this has a connection of its own, whose credentials allow nothing else.
 *
 * The streams are in an account of their own, STREAMS, where nobody but captain has a user. nats-server
 * asks no leave for the subject that a reply goes to: whoever may publish into a stream, or ask it for a
 * message, can make the server say what it answers anywhere in the asker's account; where the streams'
 * API is ($JS.API.STREAM.DELETE.LOG), that is a command. FLEET sees the republished subjects and the
 * direct gets of DESIRED, STREAMS the events; EVENTS acknowledges nothing (ingest.h).
 *
 * Files of FOLDER, made by `captain init`: keys/operator-signing.nk, keys/scope-<role>.nk, system.creds,
 * streams.creds and captain.creds. The keys of operator, accounts and captain's signer are not needed and may be
 * kept elsewhere.
 */
#pragma once

#include "captain/role.h"
#include "common/base/arena.h"
#include "common/loop.h"
#include "common/nkey.h"

/* The subjects of the API that a role may publish to, as templates ("api.{{name()}}.device.ls"), in the
 * arena; 0: they do not fit. What api_role_subjects is. */
typedef size_t (*account_subjects_fn)(enum operator_role role, struct arena *arena,
                                      const char **ret, size_t max);

enum {
    ACCOUNT_SUBJECTS_MAX = 200, /* of one role */
    ACCOUNT_REVOCATIONS_MAX = 8000,
    ACCOUNT_DEVICE_TTL_S = 7 * 86400,
    ACCOUNT_OPERATOR_TTL_S = 365 * 86400,
    /* Far beyond the clock skew that is tolerated: a revocation is kept so much longer than what it
     * voids. */
    ACCOUNT_REVOCATION_SLACK_S = 86400,
};

/* keys/scope-<name>.nk for each: "device", "enroll" and those of role_names. */
enum { ACCOUNT_SCOPES = 2 + ROLES };
const char *account_scope_name(unsigned scope);

struct account_revocation {
    uint8_t key[SIGN_PUBLIC_BYTES];
    int64_t at_s;    /* JWTs issued up to then are void; Unix seconds */
    int64_t until_s; /* when the last of them expires: then it may be forgotten; 0: never */
};

/* In FOLDER: of captain's user of account STREAMS. */
#define ACCOUNT_STREAMS_CREDS "streams.creds"

/* Of the user of the system account in FOLDER/system.creds: it may push claims and nothing else. */
extern const struct nkey_permissions account_system_permissions;

struct account;
/* The server has stored the claims of this version (account_version). */
typedef void (*account_taken_fn)(void *arg, uint64_t version);

struct account_options {
    const char *folder;        /* with keys/, system.creds and streams.creds */
    const char *captain_creds; /* NULL: FOLDER/captain.creds */
    account_subjects_fn subjects;
    struct loop *loop;    /* NULL: nothing is ever pushed (`captain init`) */
    const char *nats_url; /* with loop */
    const char *nats_ca;  /* or NULL */
    bool
        after_list; /* nothing is pushed before account_set_revocations: the server may know more */
    account_taken_fn on_taken; /* or NULL; on the loop */
    void *arg;
};

/* Loads the keys and starts connecting. ERR_NOT_FOUND naming the file when one is missing. */
MUST_USE enum err_code account_open(const struct account_options *options, struct account **ret,
                                    struct err *err);
/* NULL is fine. */
void account_close(struct account *account);

/* Credentials (JWTs), in the arena. Times are Unix seconds. */
struct account_device {
    const char *site, *device;
    const uint8_t *key; /* its public nkey */
    int64_t issued_s, expires_s;
};
MUST_USE enum err_code account_mint_device(const struct account *account,
                                           const struct account_device *device, struct arena *arena,
                                           const char **ret, struct err *err);
struct account_operator {
    const char *name; /* a token: the one in api.<name>.> */
    enum operator_role role;
    const uint8_t *key;
    int64_t issued_s, expires_s; /* expires 0: never */
};
MUST_USE enum err_code account_mint_operator(const struct account *account,
                                             const struct account_operator *who,
                                             struct arena *arena, const char **ret,
                                             struct err *err);
/* The public credential for enrolment, never expiring. */
MUST_USE enum err_code account_mint_enroll(const struct account *account, const uint8_t *key,
                                           int64_t issued_s, struct arena *arena, const char **ret,
                                           struct err *err);
/* The list as the tables have it (at start), replacing what there was. ERR_FULL: more than
 * ACCOUNT_REVOCATIONS_MAX are still needed, and those that end the soonest are left out. */
MUST_USE enum err_code account_set_revocations(struct account *account,
                                               const struct account_revocation *list, size_t len,
                                               struct err *err);
/* Adds one (or makes an older one of the same key newer) and pushes soon; when there is no room, in place
 * of one that ends sooner, or else ERR_FULL. The server cuts the
 * connection of that key, if there is one, and refuses it from then on. */
MUST_USE enum err_code account_revoke(struct account *account,
                                      const struct account_revocation *revocation, struct err *err);

/* Rises with every change of the claims; what the server has stored. Equal: it is all in force. */
uint64_t account_version(const struct account *account);
uint64_t account_pushed_version(const struct account *account);

/* The claims as they are now, in the arena (for the server's configuration). */
MUST_USE enum err_code account_claims(const struct account *account, int64_t issued_s,
                                      struct arena *arena, const char **ret, struct err *err);
/* Those of account STREAMS, which never change. */
MUST_USE enum err_code account_streams_claims(const uint8_t streams[static SIGN_PUBLIC_BYTES],
                                              const uint8_t fleet[static SIGN_PUBLIC_BYTES],
                                              const struct sign_key *operator_key, int64_t issued_s,
                                              struct arena *arena, const char **ret,
                                              struct err *err);

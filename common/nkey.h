/* SPDX-License-Identifier: Apache-2.0
 *
 * NATS identities: nkeys (Ed25519 keys in base32 with a CRC-16) and the JWTs of operator mode, minted
 * and read; signatures by libsodium. The claims are what nats-server 2.9.10 was measured to accept.
 *   public = base32(prefix, key[32], crc16 le)        seed = base32(0x90|prefix>>5, (prefix&31)<<3, seed[32], crc16 le)
 *   jwt = b64url({"typ":"JWT","alg":"ed25519-nkey"}) . b64url(claims) . b64url(signature of the two with the dot)
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"
#include "common/sign.h"

/* The resolver's service in the system account: a request that holds an account's JWT is answered, when it
 * is stored, as JSON: {"data":{"code":200}}, else {"error":{"description"}}. It takes a user of the system
 * account: over an import into another account nats-server 2.9.10 puts a header with the asker's
 * particulars before the JWT and then cannot read it ("expected 3 chunks"). */
#define NKEY_CLAIMS_UPDATE "$SYS.REQ.CLAIMS.UPDATE"

enum nkey_kind {
    NKEY_OPERATOR = 0x70, /* O... */
    NKEY_ACCOUNT = 0x00,  /* A... */
    NKEY_USER = 0xA0,     /* U... */
};

enum {
    NKEY_TEXT = 57,                 /* public key with its NUL */
    NKEY_SEED_TEXT = 59,            /* seed with its NUL */
    NKEY_LIST_MAX = 256,            /* subjects of one list */
    NKEY_JWT_MAX_BYTES = 768 << 10, /* of an account: it is one message of the bus */
    NKEY_USER_JWT_MAX_BYTES = 3072, /* goes into the CONNECT line, of which 4,096 bytes are taken */
};

/* Text of a public key and of a seed. */
void nkey_public_text(enum nkey_kind kind, const uint8_t public_key[static SIGN_PUBLIC_BYTES],
                      char ret[static NKEY_TEXT]);
void nkey_seed_text(enum nkey_kind kind, const uint8_t seed[static SIGN_SEED_BYTES],
                    char ret[static NKEY_SEED_TEXT]);
/* ERR_MALFORMED: length, alphabet, checksum, or another kind of key; the text never repeats a seed. */
MUST_USE enum err_code nkey_parse_public(enum nkey_kind kind, const char *text,
                                         uint8_t ret[static SIGN_PUBLIC_BYTES], struct err *err);
MUST_USE enum err_code nkey_parse_seed(enum nkey_kind kind, const char *text, struct sign_key *ret,
                                       struct err *err);
/* A file with one seed and a newline, mode 0600; one that others may read is ERR_DENIED. */
MUST_USE enum err_code nkey_save(enum nkey_kind kind, const struct sign_key *key, const char *path,
                                 struct err *err);
MUST_USE enum err_code nkey_load(enum nkey_kind kind, const char *path, struct sign_key *ret,
                                 struct err *err);

/* Subjects that may be published and subscribed to; lists of len entries. */
struct nkey_permissions {
    const char *const *publish;
    size_t publish_len;
    const char *const *subscribe;
    size_t subscribe_len;
    int32_t responses; /* replies allowed to each request received; 0: none */
    int32_t subs;      /* at most so many subscriptions; -1: any */
    int32_t payload;   /* bytes of a message; -1: any */
};

/* A role: users signed by this key have exactly these permissions. {{name()}} and {{tag(x)}} must be
 * whole tokens; a name with a dot in it makes two (measured, test_nkey_server). permissions NULL: the key signs users with permissions of their own. */
struct nkey_scope {
    const char *role;
    uint8_t key[SIGN_PUBLIC_BYTES];
    const struct nkey_permissions *permissions;
};
struct nkey_revocation {
    uint8_t key[SIGN_PUBLIC_BYTES];
    int64_t at_s; /* JWTs issued up to then are void; Unix seconds */
};

struct nkey_operator_claims {
    const char *name;
    uint8_t system_account[SIGN_PUBLIC_BYTES];
    const uint8_t (*signing_keys)[SIGN_PUBLIC_BYTES];
    size_t signing_keys_len;
};
/* A subject that one account shows to all others, or takes from one under the same name: what is said on
 * it (stream), or a service, whose answers come back. */
struct nkey_share {
    const char *subject;
    bool service;
    const uint8_t *account; /* of an import: whose it is; else NULL */
};
/* jetstream: the account may use it, without limits of its own. */
struct nkey_account_claims {
    const char *name;
    uint8_t key[SIGN_PUBLIC_BYTES];
    bool jetstream, system;
    const uint8_t
        *system_account; /* NULL, or that account, whose events of this account are imported */
    const struct nkey_scope *scopes;
    size_t scopes_len;
    const struct nkey_revocation *revocations;
    size_t revocations_len;
    const struct nkey_share *exports, *imports;
    size_t exports_len, imports_len;
};
/* expires_s 0: never. permissions NULL: scoped, or everything when the signing key has no scope. */
struct nkey_user_claims {
    const char *name;
    uint8_t key[SIGN_PUBLIC_BYTES];
    uint8_t account[SIGN_PUBLIC_BYTES];
    const char *const *tags; /* "site:lyon" */
    size_t tags_len;
    int64_t expires_s;
    const struct nkey_permissions *permissions;
    bool scoped;
};

/* Minted JWTs live in the arena. issued_s is Unix seconds. */
MUST_USE enum err_code nkey_mint_operator(const struct nkey_operator_claims *claims,
                                          const struct sign_key *operator_key, int64_t issued_s,
                                          struct arena *arena, const char **ret, struct err *err);
MUST_USE enum err_code nkey_mint_account(const struct nkey_account_claims *claims,
                                         const struct sign_key *operator_key, int64_t issued_s,
                                         struct arena *arena, const char **ret, struct err *err);
MUST_USE enum err_code nkey_mint_user(const struct nkey_user_claims *claims,
                                      const struct sign_key *signer, int64_t issued_s,
                                      struct arena *arena, const char **ret, struct err *err);

/* What is asked of a user's JWT; checked: form, limits, signature by its issuer. */
struct nkey_user {
    const char *name; /* in the arena */
    char issuer[NKEY_TEXT], subject[NKEY_TEXT],
        account[NKEY_TEXT];      /* account: "" or issuer_account */
    int64_t issued_s, expires_s; /* expires 0: never */
};
MUST_USE enum err_code nkey_read_user(const char *jwt, struct arena *arena, struct nkey_user *ret,
                                      struct err *err);

/* The credentials file that NATS clients take: the JWT and the user's seed; mode 0600, replaced
 * atomically. */
MUST_USE enum err_code nkey_write_creds(const char *path, const char *jwt,
                                        const struct sign_key *user, struct err *err);
/* Its JWT, in the arena, and its key. */
MUST_USE enum err_code nkey_read_creds(const char *path, struct arena *arena, const char **ret_jwt,
                                       struct sign_key *ret_user, struct err *err);

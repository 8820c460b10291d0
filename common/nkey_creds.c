/* SPDX-License-Identifier: Apache-2.0
 *
 * The credentials files of NATS clients: a JWT and its user's seed.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/nkey.h"

enum { SECRET_FILE_MAX_BYTES = 8 << 10 };
#define JWT_BEGIN "-----BEGIN NATS USER JWT-----\n"
#define JWT_END "\n------END NATS USER JWT------\n"
#define SEED_BEGIN "-----BEGIN USER NKEY SEED-----\n"
#define SEED_END "\n------END USER NKEY SEED------\n"

enum err_code nkey_write_creds(const char *path, const char *jwt, const struct sign_key *user,
                               struct err *err)
{
    char text[SECRET_FILE_MAX_BYTES], seed[NKEY_SEED_TEXT];
    nkey_seed_text(NKEY_USER, user->seed, seed);
    int len = snprintf(text, sizeof text, JWT_BEGIN "%s" JWT_END "\n" SEED_BEGIN "%s" SEED_END, jwt,
                       seed);
    enum err_code code =
        len > 0 && (size_t)len < sizeof text
            ? file_replace(path, bytes_of(text, (size_t)len), 0600, err)
            : err_set(err, ERR_SIZE, "a JWT of %zu bytes is too large for credentials",
                      strlen(jwt));
    sodium_memzero(text, sizeof text);
    sodium_memzero(seed, sizeof seed);
    return code;
}

/* What stands between the two lines, ended with a NUL in place; NULL when they are not there. */
static char *between(char *text, const char *begin, const char *end)
{
    char *from = strstr(text, begin);
    char *to = from ? strstr(from, end) : NULL;
    if (!to)
        return NULL;
    *to = '\0';
    return from + strlen(begin);
}

enum err_code nkey_read_creds(const char *path, struct arena *arena, const char **ret_jwt,
                              struct sign_key *ret_user, struct err *err)
{
    char text[SECRET_FILE_MAX_BYTES];
    size_t len = 0;
    struct sign_key user;
    enum err_code code = file_read_secret(path, text, sizeof text, &len, err);
    if (code != ERR_OK)
        return code;
    /* The seed first: each cut ends the text for what stands before it. */
    char *seed = between(text, SEED_BEGIN, SEED_END);
    code = seed ? nkey_parse_seed(NKEY_USER, seed, &user, err)
                : err_set(err, ERR_MALFORMED, "there is no block with the seed");
    char *jwt = between(text, JWT_BEGIN, JWT_END);
    char *copy = jwt ? arena_strdup(arena, jwt) : NULL;
    sodium_memzero(text, sizeof text);
    if (code == ERR_OK && !copy)
        code = err_set(err, ERR_MALFORMED, "there is no block with the JWT");
    if (code != ERR_OK)
        return err_wrap(err, "%s is no credentials file", path);
    *ret_jwt = copy;
    *ret_user = user;
    return ERR_OK;
}

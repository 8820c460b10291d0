/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that is being fetched: its bytes so far, their running SHA-256, and a small side file that
 * says where they came from. Both lie beside the goal under hidden names made from the goal's name,
 * and stay when the transfer is cut or the process dies, so that the next one goes on. The bytes on
 * disk are hashed again on opening and never trusted before the whole hash matched. One process at
 * a time (flock).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/str.h"
#include "common/hash.h"

enum {
    PARTIAL_NAME_MAX = 64,
    PARTIAL_URL_MAX = 2048,
    PARTIAL_VALIDATOR_MAX = 256, /* longer ones are not used */
    PARTIAL_FLUSH_BYTES = 8 << 20,
};

struct partial {
    int folder_fd; /* borrowed */
    const char *name;
    char part_name[PARTIAL_NAME_MAX];
    char tag_name[PARTIAL_NAME_MAX];
    int fd;
    bool hashes;
    struct hash *hash;
    uint64_t size_bytes;
    uint64_t flushed_bytes;    /* write-back was started up to here */
    char url[PARTIAL_URL_MAX]; /* where the bytes came from, "": unknown */
    char
        validator[PARTIAL_VALIDATOR_MAX]; /* what If-Range takes: strong ETag or a date; "": none */
};

/* The hidden name beside `name` with this suffix ("part", "tag", "unpack"). */
void partial_hidden_name(const char *name, const char *suffix, char ret[static PARTIAL_NAME_MAX]);

struct partial_options {
    int folder_fd; /* borrowed, as name */
    const char *name;
    bool resume; /* what is there, at most max_bytes of it; else it is made empty */
    uint64_t max_bytes;
    bool hashes; /* false: partial_check accepts any bytes, somebody else will hash them */
};

/* ERR_CONFLICT when another process has it. */
MUST_USE enum err_code partial_open(struct partial *partial, const struct partial_options *options,
                                    struct err *err);
/* Empty again, and from nowhere. */
MUST_USE enum err_code partial_restart(struct partial *partial, struct err *err);
/* Notes where the bytes to come are from. */
MUST_USE enum err_code partial_set_origin(struct partial *partial, const char *url,
                                          const char *validator, struct err *err);
MUST_USE enum err_code partial_append(struct partial *partial, const void *data, size_t len,
                                      struct err *err);
/* Compares with sha256 (unless NULL); ERR_HASH removes the bytes, and the object is empty again. */
MUST_USE enum err_code partial_check(struct partial *partial, const uint8_t *sha256,
                                     struct err *err);
/* Renames it to its name, removes the side file. Nothing is synced: write-back has begun, and who
 * uses the bytes hashes and syncs them. */
MUST_USE enum err_code partial_finish(struct partial *partial, struct err *err);
/* Removes both files. */
void partial_remove(struct partial *partial);
/* Keeps the files. */
void partial_close(struct partial *partial);

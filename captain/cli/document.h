/* SPDX-License-Identifier: Apache-2.0
 *
 * A signed document in a file, release or root, as people without network pass it around: read, shown,
 * signed, copies put together, written. Who may sign is not judged here (root_file.h, common/trust.h).
 */
#pragma once

#include "captain/cli/keyring.h"
#include "proto/messages.h"

struct document {
    const char *type;   /* SIGN_TYPE_RELEASE or SIGN_TYPE_ROOT */
    const char *path;   /* of the envelope */
    const char *folder; /* of a release with its artifacts; NULL: only the envelope */
    struct bytes bytes; /* the whole envelope */
    struct envelope envelope;
    uint8_t digest[DIGEST_BYTES]; /* of the payload */
};

/* Digest words: a digest said aloud. Every 16 bits are a word of five letters: consonant (4 bits),
 * vowel (2), consonant, vowel, consonant, highest bits first, of "bdfghjklmnprstvz" and "aiou"; 16
 * words in lines of 4, parted by a newline. */
enum { DIGEST_WORDS_SIZE = 16 * 6 };
void digest_words(const uint8_t digest[static DIGEST_BYTES], char ret[static DIGEST_WORDS_SIZE]);

/* path: a file, or (release) the folder of a bundle with release.dsse in it. ERR_USAGE when there is
 * none, ERR_SIZE, ERR_MALFORMED also for a document of another type. */
MUST_USE enum err_code document_read(const char *type, const char *path, struct arena *arena,
                                     struct document *ret, struct err *err);
/* Adds a signature of each key; an earlier one of the same key is replaced. */
MUST_USE enum err_code document_sign(struct document *document,
                                     const struct keyring_signers *signers, struct arena *arena,
                                     struct err *err);
/* Adds what other has and document has not. ERR_CONFLICT with both digests when it is another
 * document. */
MUST_USE enum err_code document_merge(struct document *document, const struct document *other,
                                      struct arena *arena, size_t *ret_added, struct err *err);
/* To path, or (NULL) where it was read; replaced whole. Mode 0644: nothing in it is secret. */
MUST_USE enum err_code document_write(const struct document *document, const char *path,
                                      struct err *err);

/* Its digest, as hex and as words, for people. */
void document_print_digest(const struct document *document);

/* The commands `assemble` of both kinds: args are FILE SIG... */
MUST_USE enum err_code document_assemble(const char *type, const struct invocation *invocation,
                                         struct document *ret, struct err *err);

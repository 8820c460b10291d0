/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the passphrase of a key comes from: --passphrase FILE|-|env://NAME, else the terminal. Never
 * an argument, which everybody on the machine could read.
 */
#pragma once

#include "captain/io/key_file.h"

/* Of a whole call: given once, by whichever way, it is used for every key that has one. */
struct passphrase {
    const char *source; /* of --passphrase; NULL: the terminal */
    bool read;          /* text is what source gave */
    bool asked;         /* a person was asked: worth asking again */
    char text[KEY_FILE_PASSPHRASE_MAX + 1];
};

/* FILE (mode 0600), "-" (stdin) or env://NAME, up to the end of the first line. */
MUST_USE enum err_code
passphrase_read(const char *source, char ret[static KEY_FILE_PASSPHRASE_MAX + 1], struct err *err);
/* For a new key: twice, and the same. From the source (once) when there is one. */
MUST_USE enum err_code passphrase_choose(const char *source, const char *name,
                                         char ret[static KEY_FILE_PASSPHRASE_MAX + 1],
                                         struct err *err);
/* A key_file_ask_fn; arg is a struct passphrase. */
enum err_code passphrase_ask(void *arg, const char *name,
                             char ret[static KEY_FILE_PASSPHRASE_MAX + 1], struct err *err);
void passphrase_wipe(struct passphrase *passphrase);

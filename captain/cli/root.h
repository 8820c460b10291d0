/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands of `captain root` share.
 */
#pragma once

#include "captain/cli/document.h"
#include "captain/cli/root_file.h"

/* A root in a file that may still lack signatures: read, not verified. */
struct root_draft {
    struct document document;
    struct root root;
};
MUST_USE enum err_code root_draft_read(const char *path, struct arena *arena,
                                       struct root_draft *ret, struct err *err);

/* All of it, for people or as JSON. */
MUST_USE enum err_code root_print(const struct root_draft *draft, const struct keyring *keyring,
                                  struct arena *arena, struct err *err);

/* How many of the old and of the new threshold have signed, and what to do next. The old root is the
 * one of --root or the context, when there is one. file: what the next command is told. */
MUST_USE enum err_code root_print_progress(const struct invocation *invocation,
                                           const struct root_draft *draft, const char *file,
                                           struct err *err);

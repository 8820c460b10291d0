/* SPDX-License-Identifier: Apache-2.0
 *
 * What `captain doctor` found, collected; and the checks that captain and the command line share.
 */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "proto/messages.h"
#include "proto/messages_enrol.h"

enum finding_level { FINDING_OK, FINDING_WARNING, FINDING_ERROR, FINDING_LEVELS };
extern const char *const finding_level_names[FINDING_LEVELS]; /* "ok", "warning", "error" */

enum { FINDINGS_MAX = 200 };
#define FINDINGS_ROOT_SOON_MS (30 * INT64_C(86400000))
#define FINDINGS_CREDENTIAL_SOON_MS (14 * INT64_C(86400000))

struct findings {
    struct arena *arena; /* where texts go */
    int64_t now_ms;      /* Unix */
    struct doctor_finding list[FINDINGS_MAX];
    size_t len;
};

/* A sentence, and what to do about it ("" or NULL: nothing). Beyond FINDINGS_MAX the last one says so. */
void findings_add(struct findings *findings, enum finding_level level, const char *mend,
                  const char *fmt, ...) PRINTF_LIKE(4, 5);
/* A check that could not be made. */
void findings_add_err(struct findings *findings, const char *what, const struct err *err);
/* Worst first; those of one level stay in their order. */
void findings_sort(struct findings *findings);
/* Of a name that is none: FINDING_WARNING. */
enum finding_level finding_level_of(const char *name);

/* Something ends: an error when it has, a warning when it does within soon_ms. 0: never. */
struct findings_end {
    const char *what, *mend;
    int64_t until_ms, soon_ms;
};
void findings_check_end(struct findings *findings, const struct findings_end *end);
/* The dates of a certificate in a file. */
void findings_check_certificate(struct findings *findings, const char *what, const char *path,
                                const char *mend);
/* Whether a credentials file is its owner's alone, and when it ends. */
void findings_check_creds(struct findings *findings, const char *what, const char *path,
                          const char *mend);
/* End of the root, and what is odd about it. */
void findings_check_root(struct findings *findings, const struct root *root, const char *mend);

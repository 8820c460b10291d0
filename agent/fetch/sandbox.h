/* SPDX-License-Identifier: Apache-2.0
 *
 * What captain-fetch takes away from itself before it speaks with anybody: descriptors it was not
 * given, privileges, core dumps, being traced, files larger than the transfer may be. It dies with
 * its parent.
 */
#pragma once

#include <stdint.h>

#include "common/base/err.h"

/* First thing in the process: closes every descriptor above stderr, opens the missing standard ones
 * on /dev/null, closes the process to others of its user, sets umask and limits. file_bytes_max bounds every file it writes. */
MUST_USE enum err_code sandbox_prepare(uint64_t file_bytes_max, struct err *err);

/* After folders and files that only root may reach were opened. When the process is root and user
 * is not NULL it becomes that user for good; ERR_DENIED when that is not possible, and then the
 * process must end. Not root: stays who it is. */
MUST_USE enum err_code sandbox_enter(const char *user, struct err *err);

/* Before foreign bytes are parsed: no more processes or threads (only for users other than root).
 */
void sandbox_no_processes(void);

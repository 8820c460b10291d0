/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that holds keys leaves no core file and cannot be read by others of its user
 * (/proc/PID/mem, ptrace). What it starts is not bound by that.
 */
#pragma once

/* At the start of main. Under a sanitizer ptrace stays allowed, which the leak check needs. */
void no_dump(void);
/* In a new process before exec: the limit on core files that this process began with. System calls
 * only. */
void no_dump_undo(void);

/* SPDX-License-Identifier: Apache-2.0
 *
 * The signals by which a service may be told that its flags or secrets changed. A fixed list, the
 * same for whoever writes a release and for the device that runs it. Pure.
 */
#pragma once

#define RELOAD_SIGNALS "HUP, USR1 or USR2"

/* Its number; 0: not one of RELOAD_SIGNALS. */
int reload_signal_number(const char *name);

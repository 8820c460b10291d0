/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose certificates the bus believes. Part of the bus; not for others.
 */
#pragma once

#include <stdbool.h>

/* Of the TLS connections that this thread makes from now on: only the authorities that are named to the
 * library, or the system's too (which it would always add). */
void bus_tls_trust_named_only(bool only);

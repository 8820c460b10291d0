/* SPDX-License-Identifier: Apache-2.0
 *
 * What somebody types who got a viewer's credential for a dashboard: with the `nats` command line, and a
 * whole program for nats.js. tests/e2e/test_viewer.c runs that program as it is printed.
 */
#pragma once

#include "common/base/arena.h"

struct operator_example {
    struct arena *arena;
    const char *name;
    const char *url; /* several with commas */
    const char *creds, *ca;
};

/* The command that makes a context of it, to stdout. */
void operator_example_context(const struct operator_example *example);

/* To stdout. The program is all that comes from the line "// NAME.mjs" on. */
void operator_example_print(const struct operator_example *example);

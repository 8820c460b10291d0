/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of `captain`: finds the command in the one table (command.h), runs it, says what
 * went wrong in at most three lines, and returns the exit code of OPERATORS: 0 done, 1 failed, 2
 * usage and nothing was sent, 3 no such object, 4 not authorised, 5 conflict, 6 ended unhealthy, 8
 * no contact, 124 timeout, 130 interrupted.
 */
#pragma once

#include "common/base/err.h"

int cli_main(int argc, char **argv);

/* What the process ends with for an error of this code. */
int cli_exit_code(enum err_code code);

/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP on 127.0.0.1 for tests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A port nobody listens on at this moment; another process may take it before you do: retry. */
uint16_t port_free(void);

/* Connects; -1 with errno when it is refused. */
int port_connect(uint16_t port);

/* Listens on a free port, non-blocking. */
int port_listen(uint16_t *ret_port);

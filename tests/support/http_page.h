/* SPDX-License-Identifier: Apache-2.0
 *
 * What an app of a test serves.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* GET /index.html on 127.0.0.1 is answered with exactly this body within 2 s. */
bool http_page_is(uint16_t port, const char *body);

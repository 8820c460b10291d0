/* SPDX-License-Identifier: Apache-2.0
 *
 * One small GET of http://127.0.0.1:PORT/PATH, to see with a customer's eyes what a device serves.
 */
#pragma once

#include <stdint.h>

#include "common/base/str.h"
#include "common/loop.h"

enum { DEV_HTTP_MAX_BYTES = 16 << 10, DEV_HTTP_TIMEOUT_MS = 1000 };

/* status 0: no answer. body is borrowed for the call. */
typedef void (*dev_http_fn)(void *arg, int status, struct bytes body);

/* fn runs exactly once, in a later turn of the loop, after DEV_HTTP_TIMEOUT_MS at the latest. */
void dev_http_get(struct loop *loop, uint16_t port, const char *path, dev_http_fn fn, void *arg);

/* SPDX-License-Identifier: Apache-2.0
 *
 * A real prometheus on 127.0.0.1, with a folder of its own, that scrapes one target every 200 ms.
 */
#pragma once

#include <stdint.h>

struct prometheus;

/* Waits until it answers; dies when it does not. */
struct prometheus *prometheus_start(uint16_t target_port);
/* "http://127.0.0.1:PORT", borrowed. */
const char *prometheus_address(const struct prometheus *prometheus);
/* SIGKILL; the address stays as it was. */
void prometheus_kill(struct prometheus *prometheus);
void prometheus_free(struct prometheus *prometheus);

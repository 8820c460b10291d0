/* SPDX-License-Identifier: Apache-2.0
 *
 * The network of one device in `captain dev`: a TCP relay before the bus. While a file is there it
 * is cut: what is connected is thrown off, and what connects too.
 */
#pragma once

#include "common/loop.h"

struct dev_net;

/* server: "nats://127.0.0.1:4222", no other address. cut is copied. */
MUST_USE enum err_code dev_net_open(struct loop *loop, const char *server, const char *cut,
                                    struct dev_net **ret, struct err *err);
/* What the agent connects to; of the net. */
const char *dev_net_url(const struct dev_net *net);
/* NULL is fine. The loop runs it to its end when it closes. */
void dev_net_close(struct dev_net *net);

/* SPDX-License-Identifier: Apache-2.0
 *
 * A bad network between a client and a server: a TCP proxy on 127.0.0.1, run by a thread of the
 * test. It forwards bytes both ways and can be told, at any time and from any thread, to misbehave.
 */
#pragma once

#include <stdint.h>

struct proxy;

struct proxy *proxy_start(uint16_t server_port);
/* Cuts everything, ends the thread, frees. NULL is fine. */
void proxy_free(struct proxy *proxy);

uint16_t proxy_port(const struct proxy *proxy);
/* "nats://127.0.0.1:PORT", borrowed. */
const char *proxy_url(const struct proxy *proxy);
/* Forward new connections elsewhere (a server that came back on another port). */
void proxy_set_server(struct proxy *proxy, uint16_t server_port);

/* Every n-th connection is reset at once; 0: none. */
void proxy_refuse_every(struct proxy *proxy, unsigned n);
/* Each connection is accepted and closed at once (orderly), while on. */
void proxy_close_at_once(struct proxy *proxy, int on);
/* Each direction of each connection carries at most this much per second; 0: no bound. */
void proxy_throttle(struct proxy *proxy, uint64_t bytes_per_s);
/* Nothing is forwarded while on, and connections stay: a half-open network. */
void proxy_hold(struct proxy *proxy, int on);
/* Resets every connection that has carried this many bytes towards the client; 0: none. */
void proxy_cut_after(struct proxy *proxy, uint64_t bytes);
/* Resets every connection that exists now. */
void proxy_cut(struct proxy *proxy);

/* Connections taken, refused and closed ones included. */
unsigned proxy_accepted(const struct proxy *proxy);
/* Those that were reset by proxy_refuse_every or closed by proxy_close_at_once. */
unsigned proxy_refused(const struct proxy *proxy);

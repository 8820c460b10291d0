/* SPDX-License-Identifier: Apache-2.0
 *
 * The root chain over the bus, one link after the other: at each connect, and on the slow timer of
 * desired states, the version after the one in force is asked for by direct get, until there is none;
 * a new one comes on dn.root.<version> too. Part of link.c.
 */
#pragma once

#include "common/base/rng.h"
#include "common/bus.h"

struct link_root_owner {
    /* Checks it and takes it; false: it is not accepted. The envelope is borrowed. */
    bool (*take)(void *arg, struct bytes envelope);
    uint64_t (*version)(void *arg); /* in force */
    void *arg;
};

struct link_root_options {
    struct loop *loop;
    struct rng *rng;
    int64_t refresh_ms;
    struct link_root_owner owner;
    void (*taken)(void *arg); /* a new one is in force: what was refused is to be asked for again */
    void *arg;
};

struct link_root {
    struct link_root_options options;
    struct bus *bus;
    bool closing;
    bool asked; /* a direct get is out */
    uint32_t failures;
    int64_t due_ms;
};

void link_root_init(struct link_root *root, const struct link_root_options *options);
/* Before bus_start. */
MUST_USE enum err_code link_root_subscribe(struct link_root *root, struct bus *bus,
                                           struct err *err);
void link_root_connected(struct link_root *root);
/* Asks when it is time to. */
void link_root_turn(struct link_root *root);
int64_t link_root_due_ms(const struct link_root *root);

/* SPDX-License-Identifier: Apache-2.0
 *
 * PURE: whether two agents speak with one device's key. Each start of an agent has a random instance
 * number, and one that has ended does not come back: when an instance is heard again after a newer
 * one, twice with the newer in between, both live. Once may be a message that was late.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Of one device; zeroed: nothing heard yet. */
struct clone_watch {
    uint32_t newest, older; /* hashes; 0: none */
    uint8_t returns;        /* of the older one */
    bool away;              /* the older one was heard last */
};

/* True when this message shows a clone; counting begins anew then. instance 0 says nothing. */
bool clone_heard(struct clone_watch *watch, uint64_t instance);

/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/clone.h"

enum { RETURNS_MAX = 2 };

bool clone_heard(struct clone_watch *watch, uint64_t instance)
{
    const uint32_t folded = (uint32_t)(instance ^ (instance >> 32));
    const uint32_t hash = folded ? folded : 1;
    if (instance == 0)
        return false;
    if (hash == watch->newest) {
        watch->away = false;
        return false;
    }
    if (hash != watch->older) {
        *watch = (struct clone_watch){.newest = hash, .older = watch->newest};
        return false;
    }
    watch->returns += !watch->away;
    watch->away = true;
    if (watch->returns < RETURNS_MAX)
        return false;
    watch->returns = 0;
    return true;
}

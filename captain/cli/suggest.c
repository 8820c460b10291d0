/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/command.h"

#include <limits.h>
#include <string.h>

#include "common/base/str.h"

void suggest_start(struct suggestion *suggestion, const char *text)
{
    *suggestion = (struct suggestion){text, NULL, UINT_MAX};
}

void suggest_offer(struct suggestion *suggestion, const char *name)
{
    unsigned distance = str_distance(suggestion->text, name);
    size_t len = strlen(suggestion->text);
    /* A name that was only begun ("rel") is as near as a slip of the hand. */
    if (len >= 2 && strncmp(name, suggestion->text, len) == 0)
        distance = 1;
    if (distance < suggestion->distance) {
        suggestion->distance = distance;
        suggestion->best = name;
    }
}

const char *suggest_best(const struct suggestion *suggestion)
{
    if (suggestion->best == NULL)
        return NULL;
    size_t longest = strlen(suggestion->text);
    if (strlen(suggestion->best) > longest)
        longest = strlen(suggestion->best);
    unsigned allowed = longest < 4 ? 1 : longest < 9 ? 2 : 3;
    return suggestion->distance <= allowed ? suggestion->best : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/suggest.h"

#include <limits.h>
#include <string.h>

#include "common/base/str.h"

void suggest_start(struct suggestion *suggestion, const char *text)
{
    *suggestion = (struct suggestion){text, NULL, UINT_MAX};
}

/* Two neighbouring letters changed places: the most common slip, and two steps in str_distance. */
static bool is_swap(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] && a[i] == b[i])
        i++;
    return a[i] && b[i] && a[i + 1] == b[i] && b[i + 1] == a[i] && str_equal(a + i + 2, b + i + 2);
}

void suggest_offer(struct suggestion *suggestion, const char *name)
{
    unsigned distance = str_distance(suggestion->text, name);
    size_t len = strlen(suggestion->text);
    /* A name that was only begun ("rel") is as near as a slip of the hand. */
    bool begun = len >= 2 && strncmp(name, suggestion->text, len) == 0;
    if (distance > 1 && (begun || is_swap(name, suggestion->text)))
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

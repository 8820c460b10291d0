/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/secret_scope.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/str.h"

/* What stands behind the prefix; NULL when the scope begins with another. */
static const char *behind(const char *scope, const char *prefix)
{
    const size_t len = strlen(prefix);
    return strncmp(scope, prefix, len) == 0 ? scope + len : NULL;
}

enum err_code secret_scope_check(const char *scope, struct err *err)
{
    char site[TOKEN_MAX + 1], device[TOKEN_MAX + 1];
    const char *of = behind(scope, "device:");
    if (of && strlen(of) <= 2 * TOKEN_MAX + 1 &&
        str_split_pair(of, '/', site, device, NULL) == ERR_OK && str_is_token(site) &&
        str_is_token(device))
        return ERR_OK;
    of = behind(scope, "site:") ? behind(scope, "site:") : behind(scope, "channel:");
    if (!scope[0] || (of && str_is_token(of)))
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "'%.160s' is no scope of a secret", scope);
    return err_hint(err, "--channel CHANNEL, --site SITE, --device SITE/DEVICE, or none of them");
}

static bool is_site(const char *device, const char *site)
{
    const size_t len = strlen(site);
    return strncmp(device, site, len) == 0 && device[len] == '/';
}

enum secret_rank secret_scope_rank(const char *scope, const char *device, const char *channel)
{
    const char *of = behind(scope, "device:");
    if (of)
        return str_equal(of, device) ? SECRET_OF_DEVICE : SECRET_ELSEWHERE;
    of = behind(scope, "site:");
    if (of)
        return is_site(device, of) ? SECRET_OF_SITE : SECRET_ELSEWHERE;
    of = behind(scope, "channel:");
    if (of)
        return str_equal(of, channel) ? SECRET_OF_CHANNEL : SECRET_ELSEWHERE;
    return scope[0] ? SECRET_ELSEWHERE : SECRET_OF_APP;
}

static enum secret_rank rank_on(const struct secret_rule *rule, const char *device,
                                const struct secret_app *apps, size_t apps_len)
{
    enum secret_rank best = SECRET_ELSEWHERE;
    for (size_t i = 0; i < apps_len; i++) {
        if (!str_equal(apps[i].app, rule->app))
            continue;
        const enum secret_rank rank = secret_scope_rank(rule->scope, device, apps[i].channel);
        best = rank > best ? rank : best;
    }
    return best;
}

size_t secret_choose(const struct secret_rule *rules, size_t rules_len, const char *device,
                     const struct secret_app *apps, size_t apps_len, uint32_t *ret)
{
    size_t len = 0;
    enum secret_rank best = SECRET_ELSEWHERE;
    for (size_t i = 0; i < rules_len; i++) {
        const bool same = i > 0 && str_equal(rules[i].app, rules[i - 1].app) &&
                          str_equal(rules[i].name, rules[i - 1].name);
        if (!same)
            best = SECRET_ELSEWHERE;
        const enum secret_rank rank = rank_on(&rules[i], device, apps, apps_len);
        if (rank <= best)
            continue;
        len -= best != SECRET_ELSEWHERE; /* in place of the one that was best until here */
        best = rank;
        ret[len++] = (uint32_t)i;
    }
    return len;
}

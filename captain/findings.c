/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "captain/io/cert.h"
#include "common/base/mem.h"
#include "common/nkey.h"
#include "common/trust.h"

enum { TEXT_BYTES = 512, ODD_MAX = 64 };
#define CERTIFICATE_SOON_MS (30 * INT64_C(86400000))

const char *const finding_level_names[FINDING_LEVELS] = {"ok", "warning", "error"};

enum finding_level finding_level_of(const char *name)
{
    for (int level = 0; level < FINDING_LEVELS; level++)
        if (str_equal(finding_level_names[level], name))
            return (enum finding_level)level;
    return FINDING_WARNING;
}

void findings_add(struct findings *findings, enum finding_level level, const char *mend,
                  const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    if (findings->len == FINDINGS_MAX)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct doctor_finding *at = &findings->list[findings->len];
    *at = (struct doctor_finding){.level = finding_level_names[level],
                                  .what = arena_strdup(findings->arena, text),
                                  .mend = arena_strdup(findings->arena, mend ? mend : "")};
    findings->len++;
    if (findings->len == FINDINGS_MAX || !at->what || !at->mend)
        *at = (struct doctor_finding){.level = finding_level_names[FINDING_ERROR],
                                      .what = "there is more than can be listed",
                                      .mend = "mend what is listed, and ask again"};
}

void findings_add_err(struct findings *findings, const char *what, const struct err *err)
{
    findings_add(findings, FINDING_ERROR, err->hint, "%s: %s", what, err->text);
}

void findings_sort(struct findings *findings)
{
    for (size_t i = 1; i < findings->len; i++) {
        const struct doctor_finding one = findings->list[i];
        const enum finding_level level = finding_level_of(one.level);
        size_t at = i;
        for (; at > 0 && finding_level_of(findings->list[at - 1].level) < level; at--)
            findings->list[at] = findings->list[at - 1];
        findings->list[at] = one;
    }
}

void findings_check_end(struct findings *findings, const struct findings_end *end)
{
    char when[32], left[32];
    const int64_t left_ms = end->until_ms - findings->now_ms;
    str_format_time(end->until_ms, when);
    if (end->until_ms == 0) {
        findings_add(findings, FINDING_OK, NULL, "%s does not end", end->what);
    } else if (left_ms <= 0) {
        findings_add(findings, FINDING_ERROR, end->mend, "%s ended at %s", end->what, when);
    } else {
        const bool soon = left_ms < end->soon_ms;
        str_format_duration(left_ms, left);
        findings_add(findings, soon ? FINDING_WARNING : FINDING_OK, soon ? end->mend : NULL,
                     "%s ends in %s, at %s", end->what, left, when);
    }
}

void findings_check_certificate(struct findings *findings, const char *what, const char *path,
                                const char *mend)
{
    struct cert_dates dates;
    struct err err = {0};
    if (cert_dates_read(path, findings->arena, &dates, &err) != ERR_OK) {
        findings_add_err(findings, what, &err);
        return;
    }
    if (dates.from_ms > findings->now_ms) {
        char when[32];
        str_format_time(dates.from_ms, when);
        findings_add(findings, FINDING_ERROR, "set the clock, if that is wrong",
                     "%s (%s) begins only at %s", what, path, when);
        return;
    }
    const struct findings_end end = {what, mend, dates.until_ms, CERTIFICATE_SOON_MS};
    findings_check_end(findings, &end);
}

void findings_check_creds(struct findings *findings, const char *what, const char *path,
                          const char *mend)
{
    struct sign_key key;
    struct nkey_user user;
    const char *jwt;
    struct err err = {0};
    enum err_code code = nkey_read_creds(path, findings->arena, &jwt, &key, &err);
    if (code == ERR_OK) {
        sign_key_wipe(&key);
        code = nkey_read_user(jwt, findings->arena, &user, &err);
    }
    if (code != ERR_OK) {
        findings_add_err(findings, what, &err);
        return;
    }
    const struct findings_end end = {what, mend, user.expires_s * 1000,
                                     FINDINGS_CREDENTIAL_SOON_MS};
    findings_check_end(findings, &end);
}

void findings_check_root(struct findings *findings, const struct root *root, const char *mend)
{
    const char *odd[ODD_MAX];
    const struct findings_end end = {"the root", mend, root->expires_ms, FINDINGS_ROOT_SOON_MS};
    if (root->expires_ms != 0)
        findings_check_end(findings, &end);
    /* At a time long before its end: of that was just spoken. */
    const size_t len = trust_root_lint(root, 0, findings->arena, odd, ODD_MAX);
    for (size_t i = 0; i < len; i++)
        findings_add(findings, FINDING_WARNING,
                     "captain root rotate, with other keys or thresholds", "%s",
                     odd[i] ? odd[i] : "the root is odd");
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * captain doctor: what captain sees of itself, and what can be seen from here: clock, files of the
 * context, keys. Without contact it still says the latter.
 */
#include "captain/findings.h"

#include <stdlib.h>

#include "captain/cli/client.h"
#include "captain/cli/keyring.h"
#include "captain/cli/output.h"
#include "captain/cli/root_file.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { CLOCK_SKEW_MS = 5000, CLOCK_WRONG_MS = TRUST_CLOCK_SKEW_MS };

/* Here. */

static void check_files(const struct context *context, struct findings *findings)
{
    if (context->creds)
        findings_check_creds(findings, "your credential", context->creds,
                             "an admin: captain operator add YOU --role ROLE --yes");
    if (context->ca)
        findings_check_certificate(findings, "the certificate authority of your context",
                                   context->ca, "ask the admin for the new one");
}

/* What a key may sign ends with the root that names it. */
static void check_keys(const struct root *root, struct arena *arena, struct findings *findings)
{
    struct keyring keyring;
    struct err err = {0};
    if (keyring_load(arena, &keyring, &err) != ERR_OK) {
        findings_add_err(findings, "your keys", &err);
        return;
    }
    for (size_t i = 0; i < keyring.len; i++) {
        const struct keyring_entry *entry = &keyring.list[i];
        bool used = false;
        for (size_t k = 0; k < root->roles_len; k++)
            used = used || role_has(&root->roles[k], entry->file.public_key);
        const char *what = arena_printf(arena, "what your key %s may sign", entry->name);
        const struct findings_end end = {what, "captain root rotate, and publish", root->expires_ms,
                                         FINDINGS_ROOT_SOON_MS};
        if (used && what && root->expires_ms != 0)
            findings_check_end(findings, &end);
        if (used && !entry->file.sealed)
            findings_add(findings, FINDING_WARNING, "make one with a passphrase, and rotate",
                         "whoever reads %s signs as you: it has no passphrase", entry->path);
    }
}

static void check_root(const struct invocation *invocation, struct findings *findings)
{
    struct root_file file;
    const char *path = NULL;
    struct err err = {0};
    enum err_code code = root_file_path(invocation, &path, &err);
    if (code == ERR_OK && !path)
        return;
    if (code == ERR_OK)
        code = root_file_read(path, invocation->arena, &file, &err);
    if (code != ERR_OK) {
        findings_add_err(findings, "the root of your context", &err);
        return;
    }
    const struct findings_end end = {"the root of your context",
                                     "get the newest from captain's folder", file.root.expires_ms,
                                     FINDINGS_ROOT_SOON_MS};
    if (file.root.expires_ms != 0)
        findings_check_end(findings, &end);
    check_keys(&file.root, invocation->arena, findings);
}

/* Captain's clock was read between the two moments. */
static void check_clock(struct findings *findings, int64_t captain_ms, int64_t before_ms,
                        int64_t after_ms)
{
    char text[32];
    const int64_t off_ms = captain_ms < before_ms  ? before_ms - captain_ms
                           : captain_ms > after_ms ? captain_ms - after_ms
                                                   : 0;
    str_format_duration(off_ms, text);
    if (off_ms <= CLOCK_SKEW_MS)
        findings_add(findings, FINDING_OK, NULL, "this clock and captain's agree");
    else
        findings_add(findings, off_ms > CLOCK_WRONG_MS ? FINDING_ERROR : FINDING_WARNING,
                     "set the one that is wrong: timedatectl set-ntp true",
                     "this clock is %s %s captain's", text,
                     captain_ms < before_ms ? "ahead of" : "behind");
}

/* Captain. */

static enum err_code ask(struct invocation *invocation, struct findings *findings,
                         struct doctor *ret, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct status_query query = {0};
    if (client_open(invocation, &client, err))
        return err->code;
    const int64_t before_ms = clock_unix_ms();
    if (client_call(client,
                    &(struct client_call){"doctor", "show", &codec_status_query, &query,
                                          &codec_doctor, ret},
                    invocation->arena, err))
        return err->code;
    check_clock(findings, ret->now_ms, before_ms, clock_unix_ms());
    for (size_t i = 0; i < ret->findings_len; i++)
        findings_add(findings, finding_level_of(ret->findings[i].level), ret->findings[i].mend,
                     "%s", ret->findings[i].what);
    return ERR_OK;
}

static void print(const struct findings *findings, struct arena *arena)
{
    static const enum output_tone tones[FINDING_LEVELS] = {OUTPUT_FAINT, OUTPUT_BUSY, OUTPUT_BAD};
    for (size_t i = 0; i < findings->len; i++) {
        const struct doctor_finding *one = &findings->list[i];
        const struct output_row rows[] = {
            {output_text(arena_printf(arena, "%-8s %s", one->level, one->what)),
             tones[finding_level_of(one->level)]},
            {output_text(arena_printf(arena, "%-8s %s", "", one->mend)), OUTPUT_PLAIN}};
        output_rows(rows, one->mend[0] ? 2 : 1);
    }
}

static size_t count(const struct findings *findings, enum finding_level level)
{
    size_t n = 0;
    for (size_t i = 0; i < findings->len; i++)
        n += finding_level_of(findings->list[i].level) == level;
    return n;
}

/* No contact is said behind what was found, and is the exit code then. */
static enum err_code say(const struct findings *findings, const struct doctor *doctor,
                         const struct err *silence, struct arena *arena, struct err *err)
{
    const struct doctor all = {
        .now_ms = doctor->now_ms, .findings = findings->list, .findings_len = findings->len};
    if (!output_is_json())
        print(findings, arena);
    else if (output_message(&codec_doctor, &all, arena, err))
        return err->code;
    *err = *silence;
    if (err->code != ERR_OK)
        return err->code;
    const size_t errors = count(findings, FINDING_ERROR);
    if (errors > 0)
        return err_set(err, ERR_FAILED, "%s to mend", output_count(arena, errors, "error"));
    if (count(findings, FINDING_WARNING) == 0)
        output_note("all is well");
    return ERR_OK;
}

enum err_code cmd_doctor(struct invocation *invocation, struct err *err)
{
    struct arena *arena = invocation->arena;
    struct context context;
    struct doctor doctor = {0};
    struct err silence = {0};
    struct findings *findings = arena_alloc(arena, sizeof *findings);
    if (!findings)
        return err_set(err, ERR_SIZE, "there is no room for findings");
    if (context_resolve(invocation, &context, err))
        return err->code;
    findings->arena = arena;
    findings->now_ms = clock_unix_ms();
    check_files(&context, findings);
    check_root(invocation, findings);
    if (ask(invocation, findings, &doctor, &silence) == ERR_USAGE) {
        *err = silence;
        return err->code;
    }
    findings_sort(findings);
    return say(findings, &doctor, &silence, arena, err);
}

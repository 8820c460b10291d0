/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "captain/core/server_version.h"
#include "captain/device_clocks.h"
#include "captain/io/modes.h"
#include "captain/io/store/log.h"
#include "captain/io/store/trust.h"
#include "common/base/mem.h"
#include "common/trust.h"
#include "proto/codec.h"

enum {
    INCIDENTS_MAX = 1000,
    DISK_PERCENT_LOW = 10,
    DISK_MIB_GONE = 256,
};
#define DAY_MS INT64_C(86400000)

/* Keys. */

/* Those that make the fleet's identities and roots: captain works without. */
static void check_apart(const struct captain *captain, struct findings *findings)
{
    static const char *const apart[] = {"root.key",   "ca.key",   "operator.nk",     "system.nk",
                                        "streams.nk", "fleet.nk", "scope-captain.nk"};
    char path[PATH_MAX + 32];
    const char *names = "";
    for (size_t i = 0; i < ARRAY_LEN(apart); i++) {
        (void)snprintf(path, sizeof path, "%s/keys/%s", captain->options.folder, apart[i]);
        if (names && access(path, F_OK) == 0)
            names = arena_printf(findings->arena, "%s%s%s", names, names[0] ? ", " : "", apart[i]);
    }
    if (names && names[0])
        findings_add(findings, FINDING_WARNING, "move them to where they are kept offline",
                     "captain does not need %s in %s/keys: who takes this machine has the fleet",
                     names, captain->options.folder);
}

static void check_keys(const struct captain *captain, struct findings *findings)
{
    findings_check_root(findings, &captain->keys.root,
                        "captain root rotate, sign, and captain root publish");
    if (trust_role_has(&captain->keys.root, TRUST_ROLE_DESIRED, captain->keys.desired.public_key))
        findings_add(findings, FINDING_OK, NULL, "captain's key has role desired in the root");
    else
        findings_add(findings, FINDING_ERROR, "captain root rotate --add desired=KEY, and publish",
                     "captain's key has no role in the root: devices follow nobody");
    if (captain->account)
        check_apart(captain, findings);
}

/* Credentials. */

static bool is_admin(const struct store_operator *row)
{
    return row->removed_ms == 0 && str_equal(row->role, role_names[ROLE_ADMIN]);
}

/* An ended one of somebody who left is no error, only worth a word. */
static void check_operator(struct findings *findings, const struct store_operator *row)
{
    if (row->removed_ms != 0)
        return;
    const char *mend = arena_printf(
        findings->arena, "captain operator add %s --role %s --yes; or rm", row->name, row->role);
    const char *what =
        arena_printf(findings->arena, "the credential of %s (%s)", row->name, row->role);
    if (!what)
        return;
    if (row->expires_ms != 0 && row->expires_ms <= findings->now_ms) {
        findings_add(findings, FINDING_WARNING, mend, "%s has ended", what);
        return;
    }
    const struct findings_end end = {what, mend, row->expires_ms, FINDINGS_CREDENTIAL_SOON_MS};
    findings_check_end(findings, &end);
}

static void check_operators(struct captain *captain, struct findings *findings)
{
    struct store_operator *rows = NULL;
    size_t len = 0, admins = 0;
    struct err err = {0};
    if (store_operator_list(captain->db, findings->arena, &rows, &len, &err) != ERR_OK) {
        findings_add_err(findings, "operators", &err);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        check_operator(findings, &rows[i]);
        admins += is_admin(&rows[i]) &&
                  (rows[i].expires_ms == 0 || rows[i].expires_ms > findings->now_ms);
    }
    if (admins == 1)
        findings_add(findings, FINDING_WARNING, "captain operator add NAME --role admin",
                     "there is one admin: nobody else can let people in");
}

static void check_account(struct captain *captain, struct findings *findings)
{
    if (!captain->account) {
        findings_add(findings, FINDING_WARNING, "captain init DIR, then captain serve --data DIR",
                     "there are no roles: whoever reaches nats-server may do all");
        return;
    }
    if (account_pushed_version(captain->account) == account_version(captain->account))
        findings_add(findings, FINDING_OK, NULL, "nats-server has all permissions and revocations");
    else
        findings_add(findings, FINDING_ERROR, "look into captain's journal; it is tried again",
                     "nats-server has not stored the newest permissions and revocations");
    check_operators(captain, findings);
    if (captain->options.nats_creds)
        findings_check_creds(findings, "captain's own credential", captain->options.nats_creds,
                             "make the fleet's identities anew");
}

/* Surroundings. */

static void check_server(const struct captain *captain, struct findings *findings)
{
    const struct server_hole *holes[SERVER_HOLES_MAX];
    const char *version = bus_server_version(captain->bus);
    size_t len = 0;
    if (!server_version_holes(version, holes, &len)) {
        findings_add(findings, FINDING_WARNING, "nats-server --version; 2.10.27 or newer is well",
                     "which version nats-server has is not known");
        return;
    }
    for (size_t i = 0; i < len; i++)
        findings_add(findings, holes[i]->grave ? FINDING_ERROR : FINDING_WARNING, holes[i]->mend,
                     "nats-server %s %s", version, holes[i]->what);
    if (len == 0)
        findings_add(findings, FINDING_OK, NULL, "nats-server %s has no hole known here", version);
}

static void check_certificates(const struct captain *captain, struct findings *findings)
{
    static const char mend[] = "captain init DIR --yes --host NAME, then reload nats-server";
    if (captain->options.nats_ca)
        findings_check_certificate(findings, "the certificate authority", captain->options.nats_ca,
                                   "make a new one, and enrol the devices again");
    if (captain->options.tls_cert)
        findings_check_certificate(findings, "the servers' certificate", captain->options.tls_cert,
                                   mend);
}

static void on_fault(void *arg, const struct modes_fault *fault)
{
    struct findings *findings = arg;
    const char *mend =
        fault->foreign
            ? arena_printf(findings->arena, "chown %u %s", (unsigned)geteuid(), fault->path)
            : arena_printf(findings->arena, "chmod %o %s", (unsigned)fault->wanted, fault->path);
    if (fault->foreign)
        findings_add(findings, FINDING_ERROR, mend, "%s belongs to user %u", fault->path,
                     (unsigned)fault->owner);
    else
        findings_add(findings, FINDING_ERROR, mend, "%s is open to others (mode %04o)", fault->path,
                     (unsigned)fault->mode);
}

static void check_modes(const struct captain *captain, struct findings *findings)
{
    struct err err = {0};
    const size_t before = findings->len;
    if (modes_check(captain->options.folder, on_fault, findings, &err) != ERR_OK)
        findings_add_err(findings, "file modes", &err);
    else if (findings->len == before)
        findings_add(findings, FINDING_OK, NULL, "what is secret in %s is captain's alone",
                     captain->options.folder);
}

static void check_disk(const struct captain *captain, struct findings *findings)
{
    struct statvfs fs;
    char size[32];
    if (statvfs(captain->options.folder, &fs) != 0) {
        struct err err = {0};
        (void)err_sys(&err, errno, "asking for the space of %s", captain->options.folder);
        findings_add_err(findings, "disk", &err);
        return;
    }
    const uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    const bool low = fs.f_bavail < fs.f_blocks / DISK_PERCENT_LOW;
    const bool gone = free_bytes >> 20 < DISK_MIB_GONE;
    str_format_size(free_bytes, size);
    findings_add(findings,
                 gone  ? FINDING_ERROR
                 : low ? FINDING_WARNING
                       : FINDING_OK,
                 low || gone ? "make room: artifacts that no release needs, old logs" : NULL,
                 "%s are free for %s", size, captain->options.folder);
}

/* What happened. */

static void check_incidents(struct captain *captain, struct findings *findings)
{
    struct store_log_row *rows = NULL;
    size_t len = 0, recent = 0;
    uint64_t count = 0;
    struct err err = {0};
    if (store_log_list(captain->db, 0, "incident.noted", "", INCIDENTS_MAX, findings->arena, &rows,
                       &len, &err) != ERR_OK) {
        findings_add_err(findings, "incidents", &err);
        return;
    }
    for (; recent < len; recent++) {
        struct log_entry entry;
        struct incident_noted noted;
        if (codec_decode(&codec_log_entry, rows[recent].entry, findings->arena, &entry, &err) ||
            codec_decode(&codec_incident_noted, entry.body, findings->arena, &noted, &err) ||
            findings->now_ms - entry.time_ms > DAY_MS)
            break;
        count += 1 + noted.suppressed;
    }
    if (err.code != ERR_OK)
        findings_add_err(findings, "incidents", &err);
    else if (count > 0)
        findings_add(findings, FINDING_WARNING, "captain log ls --kind incident.noted",
                     "%" PRIu64 " incidents within a day", count);
    else
        findings_add(findings, FINDING_OK, NULL, "no incidents within a day");
}

static void check_devices(const struct captain *captain, struct findings *findings)
{
    uint32_t behind = 0;
    const uint32_t off = device_clocks_off(captain->clocks, &behind);
    if (off > 0)
        findings_add(findings, FINDING_WARNING,
                     "set their clocks (NTP); captain's own is right, if few are off",
                     "the clocks of %" PRIu32 " devices are off by more than a minute, %" PRIu32
                     " of them behind: what is signed may be too new or too old for them",
                     off, behind);
    else
        findings_add(findings, FINDING_OK, NULL, "no device's clock is off");
    if (bus_dropped(captain->bus) > 0)
        findings_add(findings, FINDING_WARNING,
                     "give captain more of its processor, or devices longer intervals",
                     "captain was too slow for %" PRIu64 " messages since its start",
                     bus_dropped(captain->bus));
}

void doctor_examine(struct captain *captain, struct findings *findings)
{
    check_keys(captain, findings);
    check_account(captain, findings);
    check_server(captain, findings);
    check_certificates(captain, findings);
    check_modes(captain, findings);
    check_disk(captain, findings);
    check_incidents(captain, findings);
    check_devices(captain, findings);
    findings_sort(findings);
}

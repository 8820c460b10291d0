/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/captain_trust.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "captain/api.h"
#include "captain/device_clocks.h"
#include "captain/operators.h"
#include "common/clock.h"
#include "common/log.h"

static enum err_code mint_device(void *arg, const struct account_device *device,
                                 struct arena *arena, const char **ret, struct err *err)
{
    return account_mint_device(arg, device, arena, ret, err);
}

static enum err_code revoke_key(void *arg, const struct account_revocation *revocation,
                                struct err *err)
{
    return account_revoke(arg, revocation, err);
}

static enum err_code set_revocations(void *arg, const struct account_revocation *list, size_t len,
                                     struct err *err)
{
    return account_set_revocations(arg, list, len, err);
}

static enum err_code open_account(struct captain *captain, struct err *err)
{
    const struct account_options options = {.folder = captain->options.folder,
                                            .captain_creds = captain->options.nats_creds,
                                            .subjects = api_role_subjects,
                                            .loop = captain->loop,
                                            .after_list = true,
                                            .nats_url = captain->options.nats_url,
                                            .nats_ca = captain->options.nats_ca};
    return account_open(&options, &captain->account, err);
}

static enum err_code open_enrol(struct captain *captain, struct err *err)
{
    struct enrol_parts parts = {.bus = captain->bus,
                                .db = captain->db,
                                .fleet = captain->fleet,
                                .decisions = captain->decisions,
                                .incidents = captain->incidents,
                                .tenant = captain->options.tenant,
                                .holder = captain->holder,
                                .urls = captain->nats_urls,
                                .mint = mint_device,
                                .revoke = revoke_key,
                                .set_revocations = set_revocations,
                                .arg = captain->account};
    enum err_code code = trust_bundle_split(captain->options.nats_url, captain->nats_urls_text,
                                            sizeof captain->nats_urls_text, captain->nats_urls,
                                            &parts.urls_len, err);
    return code ? code : enrol_open(&parts, &captain->enrol, err);
}

enum err_code captain_trust_has_roles(const struct captain *captain, bool *ret, struct err *err)
{
    char path[PATH_MAX];
    const int len = snprintf(path, sizeof path, "%s/captain.json", captain->options.folder);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", captain->options.folder);
    *ret = access(path, F_OK) == 0;
    return ERR_OK;
}

enum err_code captain_trust_open(struct captain *captain, struct err *err)
{
    bool roles = false;
    captain->incidents = incidents_new(captain->decisions, captain->holder);
    captain->clocks = device_clocks_new();
    enum err_code code = captain_trust_has_roles(captain, &roles, err);
    if (code != ERR_OK || !roles)
        return code;
    code = open_account(captain, err);
    return code ? code : open_enrol(captain, err);
}

void captain_trust_close(struct captain *captain)
{
    enrol_close(captain->enrol);
    account_close(captain->account);
    device_clocks_free(captain->clocks);
    incidents_free(captain->incidents);
}

void captain_trust_ready(struct captain *captain)
{
    struct err err = {0};
    if (captain->enrol && enrol_ready(captain->enrol, &err) != ERR_OK)
        log_err("devices are told to ask later, and the claims are not pushed", &err);
    operators_ready(captain);
}

void captain_trust_committed(struct captain *captain, const struct log_entry *entry)
{
    if (captain->enrol)
        enrol_committed(captain->enrol, entry);
    operators_committed(captain, entry);
}

void captain_trust_heard(struct captain *captain, uint32_t device, const struct health *health)
{
    incidents_heard(captain->incidents, device, fleet_device_name(captain->fleet, device),
                    health->instance);
    device_clocks_heard(captain->clocks, device, health->sent_ms, clock_unix_ms());
}

enum err_code captain_trust_demand(const struct captain *captain, struct err *err)
{
    if (captain->account)
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "this captain has no roles: whoever reaches its bus may do all");
    return err_hint(err,
                    "captain init DIR makes a fleet with credentials; captain serve --data DIR");
}

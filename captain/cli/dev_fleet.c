/* SPDX-License-Identifier: Apache-2.0
 *
 * captain dev --secure: a fleet as it is set up in earnest, by the same programs.
 */
#include "captain/cli/dev.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "captain/cli/output.h"
#include "captain/cli/token.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

enum {
    ENROL_MS = 60000,
    AT_ONCE = 8,
    TOKEN_TTL_MS = 3600 * 1000,
    ENV_BYTES = JOIN_TOKEN_TEXT + 32
};

#define ADMIN "dev"

/* Requests of this process are the first admin's, as those of the commands are by their context. */
static enum err_code be_admin(struct dev *dev, struct err *err)
{
    const char **flags = dev->invocation->flags;
    flags[FLAG_CONTEXT] = NULL;
    flags[FLAG_OPERATOR] = ADMIN;
    flags[FLAG_CREDS] = arena_printf(dev->arena, "%s/config/captain/" ADMIN ".creds", dev->dir);
    flags[FLAG_CA] = arena_printf(dev->arena, "%s/captain/nats/tls/ca.pem", dev->dir);
    return flags[FLAG_CREDS] && flags[FLAG_CA] ? ERR_OK
                                               : err_set(err, ERR_SIZE, "the path is too long");
}

enum err_code dev_fleet_init(struct dev *dev, struct err *err)
{
    struct dev_trust *trust = &dev->trust;
    uint16_t ports[2] = {0};
    if (dev_free_ports(ports, ARRAY_LEN(ports), err))
        return err->code;
    trust->nats_port = ports[0];
    trust->store_port = ports[1];
    (void)snprintf(trust->secrets, sizeof trust->secrets, "/dev/shm/captain-dev-XXXXXX");
    if (!mkdtemp(trust->secrets)) {
        const int why = errno;
        trust->secrets[0] = '\0';
        return err_sys(err, why, "making a folder in memory, in /dev/shm");
    }
    const char *folder = arena_printf(dev->arena, "%s/captain", dev->dir);
    const char *listen = arena_printf(dev->arena, "127.0.0.1:%u", (unsigned)trust->store_port);
    const char *store =
        arena_printf(dev->arena, "https://localhost:%u", (unsigned)trust->store_port);
    trust->url = arena_printf(dev->arena, "tls://localhost:%u", (unsigned)trust->nats_port);
    if (!folder || !listen || !store || !trust->url)
        return err_set(err, ERR_SIZE, "the path is too long");
    dev->step = "setting up the fleet";
    if (dev_run(dev,
                (const char *const[]){"init", folder, "--tenant", ADMIN, "--operator", ADMIN,
                                      "--context", ADMIN, "--host", "localhost", "--url",
                                      trust->url, "--listen", listen, "--store-url", store, NULL},
                err) ||
        be_admin(dev, err))
        return err->code;
    dev_say(dev, "captain init: keys, accounts, roles, certificates");
    return ERR_OK;
}

/* Ended ones that said no come first. */
static enum err_code look(struct dev *dev, uint32_t len, uint32_t *ret_under_way, struct err *err)
{
    char how[32];
    *ret_under_way = 0;
    for (uint32_t i = 0; i < len; i++) {
        const struct dev_agent *agent = &dev->agents[i];
        *ret_under_way += !agent->enrol.ended;
        if (!agent->enrol.ended || agent->enrol.status == 0)
            continue;
        dev_proc_how(&agent->enrol, how);
        dev->failed = &agent->enrol;
        return err_set(err, ERR_FAILED, "captain-agent enroll of %s/%s failed (%s)", agent->site,
                       agent->device, how);
    }
    return ERR_OK;
}

static bool one_moved(struct dev *dev)
{
    struct err ignored;
    uint32_t started = 0, under_way = 0;
    while (started < dev->agents_len && dev->agents[started].enrol.pid)
        started++;
    return look(dev, started, &under_way, &ignored) != ERR_OK ||
           under_way < (started < dev->agents_len ? AT_ONCE : 1);
}

static enum err_code start_enrol(struct dev *dev, struct dev_agent *agent,
                                 const struct token_made *token, struct err *err)
{
    char name[sizeof agent->enrol.name], secret[ENV_BYTES];
    const char *env[DEV_ENV_MAX + 1];
    const char *const argv[] = {dev->agent_bin,
                                "enroll",
                                "--config",
                                agent->config,
                                "--url",
                                token->info.url,
                                "--token",
                                "env://CAPTAIN_DEV_TOKEN",
                                "--fingerprint",
                                token->info.fingerprint,
                                NULL};
    size_t len = 0;
    (void)snprintf(name, sizeof name, "enroll-%.20s", agent->device);
    (void)snprintf(secret, sizeof secret, "CAPTAIN_DEV_TOKEN=%s", token->text);
    for (; dev->env[len]; len++)
        env[len] = dev->env[len];
    env[len++] = secret;
    env[len] = NULL;
    enum err_code code = dev_start(dev, &agent->enrol, name, argv, env, err);
    sodium_memzero(secret, sizeof secret);
    return code;
}

static enum err_code enrol_all(struct dev *dev, const struct token_made *tokens, struct err *err)
{
    uint32_t under_way = 0;
    for (uint32_t i = 0; i < dev->agents_len; i++) {
        struct dev_agent *agent = &dev->agents[i];
        if ((i >= AT_ONCE && dev_wait(dev, one_moved, ENROL_MS, err)) ||
            look(dev, i, &under_way, err) || start_enrol(dev, agent, &tokens[i % 2], err))
            return err->code;
    }
    do {
        if (dev_wait(dev, one_moved, ENROL_MS, err) || look(dev, dev->agents_len, &under_way, err))
            return err->code;
    } while (under_way > 0);
    return ERR_OK;
}

/* A token for each site, good for as many devices as it has here. */
enum err_code dev_fleet_enrol(struct dev *dev, struct err *err)
{
    struct token_made tokens[2];
    const int64_t order_ms = clock_mono_ms();
    enum err_code code = ERR_OK;
    dev->step = "enrolling the devices";
    for (uint32_t i = 0; i < ARRAY_LEN(tokens) && i < dev->agents_len && code == ERR_OK; i++) {
        const struct token_new request = {.site = dev->agents[i].site,
                                          .uses = (dev->agents_len + 1 - i) / 2,
                                          .ttl_ms = TOKEN_TTL_MS,
                                          .reason = "captain dev"};
        code = token_make(dev->client, &request, dev->arena, &tokens[i], err);
    }
    if (code == ERR_OK)
        code = enrol_all(dev, tokens, err);
    sodium_memzero(tokens, sizeof tokens);
    if (code != ERR_OK)
        return code;
    dev->trust.enrolled_ms = clock_mono_ms() - order_ms;
    dev_say(dev, "captain token new, and captain-agent enroll on each device: all in after %lld ms",
            (long long)dev->trust.enrolled_ms);
    return ERR_OK;
}

void dev_fleet_end(struct dev *dev)
{
    struct err err = {0};
    if (dev->trust.secrets[0] && file_remove_tree(dev->trust.secrets, &err))
        output_note("could not remove %s: %s", dev->trust.secrets, err.text);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * captain dev --secure: a flag and a secret reach the apps, a viewer gets a credential, a device is put
 * out. Each is seen from outside: at the app's own page, by the credential at work, in the log of the
 * device.
 */
#include "captain/cli/dev.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "captain/cli/device.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/hash.h"

enum {
    SECRET_BYTES = 24,
    SHOWN_BYTES = 8, /* of the secret's digest; as many as the page shows */
    CUT_MS = 5000,   /* a revoked device has lost contact by then */
    AGAIN_MS = 15000,
    DENIED = 4, /* exit code */
    LOG_MAX_BYTES = 16 << 20,
};

#define PAGE "/cgi-bin/settings"

static enum err_code no_room(struct err *err)
{
    return err_set(err, ERR_SIZE, "the path is too long");
}

/* ---- what apps are given ---- */

/* At random; the file that tells captain of it is in memory, and gone again. */
static enum err_code set_secret(struct dev *dev, char ret_shown[static 2 * SHOWN_BYTES + 1],
                                struct err *err)
{
    uint8_t raw[SECRET_BYTES], digest[DIGEST_BYTES];
    char value[2 * SECRET_BYTES + 1];
    const char *path = arena_printf(dev->arena, "%s/api-key", dev->trust.secrets);
    clock_random(raw, sizeof raw);
    str_hex(bytes_of(raw, sizeof raw), value);
    hash_bytes(bytes_of(value, sizeof value - 1), digest);
    str_hex(bytes_of(digest, SHOWN_BYTES), ret_shown);
    enum err_code code =
        path ? file_replace(path, bytes_of(value, sizeof value - 1), 0600, err) : no_room(err);
    sodium_memzero(raw, sizeof raw);
    sodium_memzero(value, sizeof value);
    if (code == ERR_OK)
        code = dev_run(
            dev, (const char *const[]){"secret", "set", "hello/api-key", "--from", path, NULL},
            err);
    if (path)
        (void)unlink(path);
    return code;
}

static enum err_code wait_settings(struct dev *dev, const char *flag, const char *secret,
                                   int64_t order_ms, int64_t *ret_ms, struct err *err)
{
    const char *line = arena_printf(dev->arena, "welcome=%s api-key=%s", flag, secret);
    dev->trust.settings = line;
    return line ? dev_wait_page(dev, PAGE, line, order_ms, ret_ms, err) : no_room(err);
}

enum err_code dev_trust_settings(struct dev *dev, struct err *err)
{
    struct dev_trust *trust = &dev->trust;
    char shown[2 * SHOWN_BYTES + 1];
    int64_t order_ms = clock_mono_ms();
    dev->step = "waiting for every app to have the secret";
    if (set_secret(dev, shown, err) ||
        wait_settings(dev, "", shown, order_ms, &trust->secret_ms, err))
        return err->code;
    dev_say(dev,
            "secret hello/api-key: every app has it after %lld ms, in memory, as SHA-256 %s...",
            (long long)trust->secret_ms, shown);
    order_ms = clock_mono_ms();
    dev->step = "waiting for every app to have the flag";
    if (dev_run(dev, (const char *const[]){"flag", "set", "hello/stable", "welcome", "on", NULL},
                err) ||
        wait_settings(dev, "on", shown, order_ms, &trust->flag_ms, err))
        return err->code;
    dev_say(dev, "flag welcome=on: every app has it after %lld ms", (long long)trust->flag_ms);
    return ERR_OK;
}

/* ---- people ---- */

/* The command must end as one that may not be. */
static enum err_code is_denied(struct dev *dev, const char *const *words, struct err *err)
{
    const enum err_code code = dev_run(dev, words, err);
    if (code == ERR_OK)
        return err_set(err, ERR_FAILED, "it was done while %s", dev->step);
    if (code != ERR_FAILED || !dev->command.ended || !WIFEXITED(dev->command.status) ||
        WEXITSTATUS(dev->command.status) != DENIED)
        return code;
    dev->failed = NULL;
    *err = (struct err){0};
    return ERR_OK;
}

enum err_code dev_trust_people(struct dev *dev, struct err *err)
{
    const char *creds = arena_printf(dev->arena, "%s/wall.creds", dev->dir);
    if (!creds)
        return no_room(err);
    dev->trust.viewer = creds;
    dev->step = "letting a viewer in";
    if (dev_run(dev,
                (const char *const[]){"operator", "add", "wall", "--role", "viewer", "--output",
                                      creds, NULL},
                err))
        return err->code;
    dev->step = "looking with the viewer's credential";
    if (dev_run(dev, (const char *const[]){"--operator", "wall", "--creds", creds, "status", NULL},
                err))
        return err->code;
    dev->step = "trying more than a viewer may";
    if (is_denied(dev,
                  (const char *const[]){"--operator", "wall", "--creds", creds, "freeze",
                                        "--reason", "shown by captain dev", NULL},
                  err))
        return err->code;
    dev_say(dev, "operator wall, a viewer: its credential shows the fleet, and freezes nothing");
    dev->step = "asking captain doctor";
    if (dev_run(dev, (const char *const[]){"doctor", NULL}, err))
        return err->code;
    dev_say(dev, "captain doctor: nothing is broken");
    return ERR_OK;
}

/* ---- out ---- */

static size_t refusals(const struct dev *dev)
{
    static const char refused[] = "the bus refuses";
    struct arena arena DEFER(arena_fini);
    struct bytes text;
    size_t found = 0;
    arena_init(&arena, LOG_MAX_BYTES + 4096);
    if (file_read(dev->trust.log, LOG_MAX_BYTES, &arena, &text, NULL))
        return 0;
    const uint8_t *end = text.ptr + text.len;
    for (const uint8_t *at = text.ptr;
         (at = memmem(at, (size_t)(end - at), refused, sizeof refused - 1));
         at += sizeof refused - 1)
        found++;
    return found;
}

static bool is_refused(struct dev *dev)
{
    return refusals(dev) >= dev->trust.refusals;
}

/* The last one; cut off first, and then turned away when it comes again. */
enum err_code dev_trust_revoke(struct dev *dev, struct err *err)
{
    struct dev_trust *trust = &dev->trust;
    struct dev_agent *agent = &dev->agents[dev->agents_len - 1];
    struct dev_move still = {.version = dev->moves[1].version};
    const char *name = arena_printf(dev->arena, "%s/%s", agent->site, agent->device);
    trust->log = agent->proc.log;
    trust->refusals = refusals(dev) + 1;
    if (!name)
        return no_room(err);
    const int64_t order_ms = clock_mono_ms();
    dev->step = arena_printf(dev->arena, "revoking %s", name);
    if (dev_run(dev,
                (const char *const[]){"device", "revoke", name, "--yes", "--reason",
                                      "shown by captain dev", NULL},
                err))
        return err->code;
    dev->failed = &agent->proc;
    dev->step = arena_printf(dev->arena, "waiting for %s to be cut", name);
    if (dev_wait(dev, is_refused, CUT_MS, err))
        return err->code;
    trust->cut_ms = clock_mono_ms() - order_ms;
    trust->revoked = agent;
    trust->refusals++;
    dev->step = arena_printf(dev->arena, "waiting for %s to be turned away", name);
    if (dev_wait(dev, is_refused, AGAIN_MS, err))
        return err->code;
    dev->failed = NULL;
    dev->step = arena_printf(dev->arena, "looking whether %s still serves", name);
    if (dev_wait_serving(dev, &still, clock_mono_ms(), err))
        return err->code;
    dev_say(
        dev,
        "%s revoked: cut off after %lld ms, and turned away when it came again; its app goes on",
        name, (long long)trust->cut_ms);
    return ERR_OK;
}

void dev_trust_hints(const struct dev *dev)
{
    const char *program = dev->invocation->program;
    output_note("\nIn another terminal:  export XDG_CONFIG_HOME=%s/config", dev->dir);
    output_note("                      %s status", program);
    output_note("                      %s device identities", program);
    output_note("                      %s doctor", program);
    output_note("                      %s log ls", program);
    output_note("As a viewer:          %s --operator wall --creds %s status", program,
                dev->trust.viewer);
    output_note("                      nats --server %s --creds %s --tlsca %s/wall.ca.pem \\",
                dev->nats_url, dev->trust.viewer, dev->dir);
    output_note("                           --inbox-prefix _INBOX.op.wall sub 'health.>'");
}

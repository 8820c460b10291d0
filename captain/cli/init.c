/* SPDX-License-Identifier: Apache-2.0
 *
 * captain init DIR
 */
#include "captain/cli/init.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "captain/cli/context.h"
#include "captain/cli/output.h"
#include "captain/io/settings.h"
#include "common/base/mem.h"
#include "common/file.h"

/* Refused before anything is made: a context of another fleet must not be lost. */
static enum err_code check_context(const struct init_plan *plan, struct contexts *ret,
                                   struct err *err)
{
    if (contexts_load(plan->arena, ret, err))
        return err->code;
    if (!ret->path)
        return err_set(err, ERR_FAILED,
                       "neither XDG_CONFIG_HOME nor HOME says where contexts live");
    if (contexts_find(ret, plan->context)) {
        (void)err_set(err, ERR_CONFLICT, "there is a context %s already", plan->context);
        return err_hint(err, "--context OTHER, or captain context rm %s", plan->context);
    }
    return ret->list_len < CONTEXTS_MAX
               ? ERR_OK
               : err_set(err, ERR_FULL, "more than %d contexts", CONTEXTS_MAX);
}

/* Beside contexts.json. */
static const char *beside(const struct init_plan *plan, const struct contexts *contexts,
                          const char *suffix)
{
    return arena_printf(plan->arena, "%.*s/%s%s",
                        (int)(strrchr(contexts->path, '/') - contexts->path), contexts->path,
                        plan->context, suffix);
}

static enum err_code write_context(const struct init_plan *plan, const struct init_admin *admin,
                                   struct contexts *contexts, struct err *err)
{
    const char *creds = beside(plan, contexts, ".creds"), *ca = beside(plan, contexts, ".ca.pem");
    const char *root = arena_printf(plan->arena, "%s/root.dsse", plan->folder);
    const char *release = arena_printf(plan->arena, "%s/keys/release.key", plan->folder);
    char *folder DEFER(mem_free_ref) = mem_strdup(contexts->path);
    *strrchr(folder, '/') = '\0';
    if (!creds || !ca || !root || !release)
        return err_set(err, ERR_SIZE, "the paths are too long");
    enum err_code code = file_make_dirs(folder, 0700, err);
    if (code == ERR_OK)
        code = nkey_write_creds(creds, admin->jwt, &admin->key, err);
    if (code == ERR_OK)
        code = file_replace(ca, bytes_of(admin->ca, strlen(admin->ca)), 0644, err);
    if (code != ERR_OK)
        return code;
    contexts->list[contexts->list_len++] =
        (struct context){.name = plan->context,
                         .url = plan->url,
                         .creds = creds,
                         .ca = ca,
                         .operator_name = plan->operator_name,
                         .release_key = plan->release.len ? NULL : release,
                         .root = root};
    if (!contexts->current)
        contexts->current = plan->context;
    return contexts_save(contexts, err);
}

static enum err_code print_json(const struct init_plan *plan, struct err *err)
{
    json_t *json = json_pack("{s:s,s:s,s:s,s:s,s:s,s:b}", "folder", plan->folder, "tenant",
                             plan->tenant, "url", plan->url, "operator", plan->operator_name,
                             "context", plan->context, "rootSigned", plan->root.len == 0);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(json);
    if (!text)
        return err_set(err, ERR_FAILED, "the folder's name is not UTF-8");
    output_line("%s", text);
    free(text);
    return ERR_OK;
}

/* For a tired person: what is there, what to take away, what to type next. */
static void print_text(const struct init_plan *plan, const struct init_admin *admin, bool current)
{
    output_note("fleet %s is made, in %s", plan->tenant, plan->folder);
    output_note("%s", "");
    output_note("Take away from this machine, and keep well; captain does not need them:");
    if (plan->root.len == 0)
        output_note("  keys/root.key          says who may sign what");
    output_note("  keys/ca.key            signs the certificate of the servers");
    output_note("  keys/operator.nk, system.nk, streams.nk, fleet.nk, scope-captain.nk");
    output_note("                         make the accounts of nats-server anew");
    if (plan->release.len == 0)
        output_note("  keys/release.key       signs releases: to the people who release");
    output_note("Back up the rest; keys/ and root.dsse cannot be made again.");
    output_note("%s", "");
    if (plan->root.len > 0) {
        output_note(
            "The root is not signed yet, and captain does not start without. There, or on a copy:");
        output_note("  captain root sign %s/keys/root.dsse --key NAME", plan->folder);
        output_note("%s", "");
    }
    output_note("Start:");
    output_note("  nats-server -c %s/nats/server.conf", plan->folder);
    output_note("  captain serve --data %s", plan->folder);
    output_note("%s", "");
    output_note("You are %s, the first admin, until %s: context %s%s.", plan->operator_name,
                output_second(plan->arena, admin->expires_ms), plan->context,
                current ? ", in use now" : "");
    output_note("  captain %s%sstatus", current ? "" : "--context ",
                current ? "" : arena_printf(plan->arena, "%s ", plan->context));
}

/* DIR is a fleet already and --yes was said. */
static enum err_code renew(const struct invocation *invocation, struct init_plan *plan,
                           struct err *err)
{
    struct settings settings;
    if (settings_load(plan->folder, plan->arena, &settings, err))
        return err->code;
    if (!invocation->flags[FLAG_HOST] && !invocation->flags[FLAG_URL]) {
        (void)err_set(err, ERR_USAGE, "%s is a fleet already; a new certificate needs its hosts",
                      plan->folder);
        return err_hint(err, "captain init %s --yes --host NAME[,NAME...]", plan->folder);
    }
    if (init_renew_certificate(plan, err))
        return err->code;
    output_note("nats/tls/server.pem is new, for %d days, and for:", CA_SERVER_DAYS);
    for (size_t i = 0; i < plan->hosts_len; i++)
        output_note("  %s", plan->hosts[i]);
    output_note("Now: nats-server --signal reload, and start captain again.");
    return output_is_json() ? print_json(plan, err) : ERR_OK;
}

enum err_code cmd_init(struct invocation *invocation, struct err *err)
{
    struct init_plan plan;
    struct init_admin admin = {0};
    struct contexts contexts;
    char path[PATH_MAX];
    if (init_plan_read(invocation, &plan, err))
        return err->code;
    int len = snprintf(path, sizeof path, "%s/captain.json", plan.folder);
    if (invocation->flags[FLAG_YES] && len > 0 && (size_t)len < sizeof path &&
        access(path, F_OK) == 0)
        return renew(invocation, &plan, err);
    if (check_context(&plan, &contexts, err))
        return err->code;
    enum err_code code = init_folder_make(&plan, &admin, err);
    if (code == ERR_OK)
        code = write_context(&plan, &admin, &contexts, err);
    sign_key_wipe(&admin.key);
    if (code != ERR_OK)
        return code;
    if (output_is_json())
        return print_json(&plan, err);
    print_text(&plan, &admin, str_equal(contexts.current, plan.context));
    return ERR_OK;
}

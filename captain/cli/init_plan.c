/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/init.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "captain/cli/context.h"
#include "captain/cli/keyring.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/trust.h"

enum { NATS_PORT = 4222, STORE_PORT = 8480, URLS_MAX = 8, HOST_BYTES = 256 };

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_SIZE, "the arguments are too long");
}

/* Absolute, though it need not be there yet; its parent must. */
static enum err_code read_folder(const char *word, struct init_plan *plan, struct err *err)
{
    char parent[PATH_MAX], real[PATH_MAX], name[NAME_MAX + 1];
    size_t len = strlen(word);
    while (len > 1 && word[len - 1] == '/')
        len--;
    if (len == 0 || len >= sizeof parent)
        return err_set(err, ERR_USAGE, "\"%.80s\" is no folder", word);
    memcpy(parent, word, len);
    parent[len] = '\0';
    if (realpath(parent, real)) {
        plan->folder = arena_strdup(plan->arena, real);
        return plan->folder ? ERR_OK : no_memory(err);
    }
    char *slash = strrchr(parent, '/');
    if (str_copy(name, sizeof name, slash ? slash + 1 : parent) || str_equal(name, "."))
        return err_set(err, ERR_USAGE, "\"%.80s\" is no folder", word);
    if (slash)
        slash[slash == parent ? 1 : 0] = '\0';
    if (!realpath(slash ? parent : ".", real))
        return err_sys(err, errno, "looking for %s", parent);
    plan->folder = arena_printf(plan->arena, "%s/%s", str_equal(real, "/") ? "" : real, name);
    return plan->folder ? ERR_OK : no_memory(err);
}

static enum err_code add_host(void *arg, char *host, struct err *err)
{
    struct init_plan *plan = arg;
    if (ca_check_host(host, err))
        return err->code;
    for (size_t i = 0; i < plan->hosts_len; i++)
        if (str_equal(plan->hosts[i], host))
            return ERR_OK;
    if (plan->hosts_len == CA_HOSTS_MAX)
        return err_set(err, ERR_USAGE, "more than %d hosts", CA_HOSTS_MAX);
    const char *copy = arena_strdup(plan->arena, host);
    plan->hosts[plan->hosts_len++] = copy;
    return copy ? ERR_OK : no_memory(err);
}

/* "tls://HOST:PORT", its host into the certificate; the port of the first is the server's. */
static enum err_code add_url(void *arg, char *url, struct err *err)
{
    struct init_plan *plan = arg;
    uint64_t port = NATS_PORT;
    char host[HOST_BYTES];
    const char *start = url + 6, *end = start + strlen(start);
    const char *colon = strncmp(url, "tls://", 6) == 0 ? strrchr(start, ':') : NULL;
    bool ok = strncmp(url, "tls://", 6) == 0;
    if (ok && colon && !strchr(colon, ']')) {
        ok = str_u64(colon + 1, 65535, &port) == ERR_OK && port > 0;
        end = colon;
    }
    if (ok && *start == '[' && end[-1] == ']') {
        start++;
        end--;
    }
    if (!ok || (size_t)(end - start) >= sizeof host) {
        (void)err_set(err, ERR_USAGE, "--url %.80s is not of the form tls://HOST:PORT", url);
        return err_hint(err, "devices and operators reach nats-server only by TLS");
    }
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    if (plan->nats_port == 0)
        plan->nats_port = (uint16_t)port;
    return add_host(plan, host, err);
}

/* What --host says, else this machine's name if a certificate can be for it; localhost always. */
static enum err_code read_hosts(const struct invocation *invocation, struct init_plan *plan,
                                struct err *err)
{
    char name[HOST_NAME_MAX + 1] = "", local[] = "localhost", loopback[] = "127.0.0.1";
    struct err ignored;
    const char *flag = invocation->flags[FLAG_HOST];
    (void)gethostname(name, sizeof name - 1);
    enum err_code code = ERR_OK;
    if (flag)
        code = keyring_each(flag, CA_HOSTS_MAX, plan->arena, add_host, plan, err);
    else if (ca_check_host(name, &ignored) == ERR_OK)
        code = add_host(plan, name, err);
    if (code == ERR_OK)
        code = add_host(plan, local, err);
    return code ? code : add_host(plan, loopback, err);
}

static const char *in_url(const struct init_plan *plan, const char *host)
{
    return strchr(host, ':') ? arena_printf(plan->arena, "[%s]", host) : host;
}

static enum err_code read_addresses(const struct invocation *invocation, struct init_plan *plan,
                                    struct err *err)
{
    const char *const *flags = invocation->flags;
    const char *host = in_url(plan, plan->hosts[0]);
    const char *listen = flags[FLAG_LISTEN];
    const char *colon = listen ? strrchr(listen, ':') : NULL;
    uint64_t store_port = STORE_PORT;
    if (listen && (!colon || str_u64(colon + 1, 65535, &store_port) || store_port == 0))
        return err_set(err, ERR_USAGE, "--listen %.80s is not of the form ADDR:PORT", listen);
    plan->listen = listen ? listen : arena_printf(plan->arena, "0.0.0.0:%u", (unsigned)store_port);
    plan->url = flags[FLAG_URL] ? flags[FLAG_URL]
                                : arena_printf(plan->arena, "tls://%s:%d", host, NATS_PORT);
    plan->store_url = flags[FLAG_STORE_URL]
                          ? flags[FLAG_STORE_URL]
                          : arena_printf(plan->arena, "https://%s:%u", host, (unsigned)store_port);
    if (!plan->listen || !plan->url || !plan->store_url)
        return no_memory(err);
    return keyring_each(plan->url, URLS_MAX, plan->arena, add_url, plan, err);
}

/* "ROLE=VALUE"; desired is captain's own key and always made here. */
static struct init_role *role_of(struct init_plan *plan, const char *flag, char *word,
                                 char **ret_value, struct err *err)
{
    char *sign = strchr(word, '=');
    struct init_role *role = NULL;
    if (sign) {
        *sign = '\0';
        *ret_value = sign + 1;
        role = str_equal(word, TRUST_ROLE_ROOT)      ? &plan->root
               : str_equal(word, TRUST_ROLE_RELEASE) ? &plan->release
                                                     : NULL;
    }
    if (!role) {
        (void)err_set(err, ERR_USAGE, "--%s %.80s is not of the form root=... or release=...", flag,
                      word);
        (void)err_hint(err, "the key of role desired is captain's own and made here");
    }
    return role;
}

static enum err_code add_key(void *arg, char *word, struct err *err)
{
    struct init_plan *plan = arg;
    char *value;
    struct init_role *role = role_of(plan, "add", word, &value, err);
    if (!role)
        return err->code;
    if (role->len == INIT_ROLE_KEYS_MAX)
        return err_set(err, ERR_USAGE, "more than %d keys of one role", INIT_ROLE_KEYS_MAX);
    if (keyring_public(value, plan->arena, role->keys[role->len], err))
        return err->code;
    role->len++;
    return ERR_OK;
}

static enum err_code set_threshold(void *arg, char *word, struct err *err)
{
    char *value;
    uint64_t number;
    struct init_role *role = role_of(arg, "threshold", word, &value, err);
    if (!role)
        return err->code;
    if (str_u64(value, INIT_ROLE_KEYS_MAX, &number) || number == 0)
        return err_set(err, ERR_USAGE, "--threshold: %.20s is no number from 1 to %d", value,
                       INIT_ROLE_KEYS_MAX);
    role->threshold = (unsigned)number;
    return ERR_OK;
}

static enum err_code read_roles(const struct invocation *invocation, struct init_plan *plan,
                                struct err *err)
{
    const char *add = invocation->flags[FLAG_ADD], *need = invocation->flags[FLAG_THRESHOLD];
    enum err_code code = ERR_OK;
    plan->root.threshold = plan->release.threshold = 1;
    if (add)
        code = keyring_each(add, 2 * INIT_ROLE_KEYS_MAX, plan->arena, add_key, plan, err);
    if (code == ERR_OK && need)
        code = keyring_each(need, 2, plan->arena, set_threshold, plan, err);
    return code;
}

/* The tenant is named after the folder, the context after the tenant. */
static enum err_code read_names(const struct invocation *invocation, struct init_plan *plan,
                                struct err *err)
{
    char token[TOKEN_MAX + 1];
    const char *const *flags = invocation->flags;
    const char *user = flags[FLAG_OPERATOR] ? flags[FLAG_OPERATOR] : getenv("USER");
    context_token(strrchr(plan->folder, '/') + 1, token);
    plan->tenant = flags[FLAG_TENANT] ? flags[FLAG_TENANT] : arena_strdup(plan->arena, token);
    if (!flags[FLAG_OPERATOR]) {
        context_token(user, token);
        user = token[0] ? arena_strdup(plan->arena, token) : "admin";
    }
    plan->operator_name = user;
    plan->context = flags[FLAG_CONTEXT] ? flags[FLAG_CONTEXT] : plan->tenant;
    const char *const names[][2] = {
        {"tenant", plan->tenant}, {"operator", plan->operator_name}, {"context", plan->context}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!names[i][1] || !str_is_token(names[i][1])) {
            (void)err_set(err, ERR_USAGE, "\"%.80s\" is no plain name", names[i][1]);
            return err_hint(err, "--%s NAME: letters, digits, _ and -, at most %d", names[i][0],
                            TOKEN_MAX);
        }
    return ERR_OK;
}

enum err_code init_plan_read(const struct invocation *invocation, struct init_plan *ret,
                             struct err *err)
{
    *ret = (struct init_plan){.arena = invocation->arena, .now_ms = clock_unix_ms()};
    enum err_code code = read_folder(invocation->args[0], ret, err);
    if (code == ERR_OK)
        code = read_names(invocation, ret, err);
    if (code == ERR_OK)
        code = read_hosts(invocation, ret, err);
    if (code == ERR_OK)
        code = read_addresses(invocation, ret, err);
    return code ? code : read_roles(invocation, ret, err);
}

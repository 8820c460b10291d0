/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_plan.h"

#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/reload_signal.h"

enum {
    BUILT_INS_MAX = 11,
    DEFAULT_TIMEOUT_MS = 2000,
    VALUE_MAX_BYTES = 16 << 10, /* of a text after replacing */
};

static const char default_path[] =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct planner {
    const struct app_plan_input *in;
    struct arena *arena;
    struct err *err;
    const char *known[BUILT_INS_MAX + CONFIG_ENV_MAX + 1]; /* "K=V"; the later one wins */
    size_t known_len;
};

static enum err_code too_large(struct planner *p)
{
    return err_set(p->err, ERR_SIZE, "what release %s asks for is too large",
                   p->in->release->version);
}

static bool names(const char *pair, const char *name, size_t name_len)
{
    return strncmp(pair, name, name_len) == 0 && pair[name_len] == '=';
}

/* Puts "K=V" into a list, in the place of an earlier K. */
static void put(const char **list, size_t *len, const char *pair)
{
    size_t name_len = (size_t)(strchr(pair, '=') - pair);
    for (size_t i = 0; i < *len; i++) {
        if (names(list[i], pair, name_len)) {
            list[i] = pair;
            return;
        }
    }
    list[(*len)++] = pair;
}

static enum err_code collect_known(struct planner *p)
{
    const struct app_plan_input *in = p->in;
    const char *const built_ins[BUILT_INS_MAX] = {
        default_path,
        arena_printf(p->arena, "HOME=%s", in->state),
        arena_printf(p->arena, "CAPTAIN_DEVICE=%s", in->config->device),
        arena_printf(p->arena, "CAPTAIN_SITE=%s", in->config->site),
        arena_printf(p->arena, "CAPTAIN_APP=%s", in->app->app),
        arena_printf(p->arena, "CAPTAIN_VERSION=%s", in->release->version),
        arena_printf(p->arena, "CAPTAIN_STATE=%s", in->state),
        arena_printf(p->arena, "CAPTAIN_ROOT=%s", in->root),
        arena_printf(p->arena, "CAPTAIN_FLAGS=%s", in->flags ? in->flags : ""),
        arena_printf(p->arena, "CAPTAIN_FLAGS_ENV=%s", in->flags_env ? in->flags_env : ""),
        arena_printf(p->arena, "CAPTAIN_SECRETS=%s", in->secrets ? in->secrets : ""),
    };
    for (size_t i = 0; i < BUILT_INS_MAX; i++) {
        if (!built_ins[i])
            return too_large(p);
        put(p->known, &p->known_len, built_ins[i]);
    }
    for (size_t i = 0; in->app->env && in->app->env[i]; i++)
        put(p->known, &p->known_len, in->app->env[i]);
    return ERR_OK;
}

static const char *value_of(const struct planner *p, const char *name, size_t name_len)
{
    for (size_t i = 0; i < p->known_len; i++) {
        if (names(p->known[i], name, name_len))
            return p->known[i] + name_len + 1;
    }
    return NULL;
}

static enum err_code not_set(struct planner *p, const char *where, const char *name, size_t len)
{
    err_set(p->err, ERR_WRONG_TARGET, "%s: ${%.*s} is not set on this device", where, (int)len,
            name);
    return err_hint(p->err, "set it in apps.%s.env of the agent's configuration", p->in->app->app);
}

/* Replaces each ${NAME}; any other text stands for itself. */
static enum err_code replace(struct planner *p, const char *where, const char *text,
                             const char **ret)
{
    if (!strstr(text, "${")) {
        *ret = text;
        return ERR_OK;
    }
    char out[VALUE_MAX_BYTES];
    size_t used = 0;
    while (*text) {
        const char *end = strncmp(text, "${", 2) == 0 ? strchr(text, '}') : NULL;
        const char *piece = text;
        size_t len = 1;
        if (end) {
            piece = value_of(p, text + 2, (size_t)(end - text - 2));
            if (!piece)
                return not_set(p, where, text + 2, (size_t)(end - text - 2));
            len = strlen(piece);
        }
        if (len >= sizeof out - used)
            return too_large(p);
        memcpy(out + used, piece, len);
        used += len;
        text = end ? end + 1 : text + 1;
    }
    out[used] = '\0';
    *ret = arena_strdup(p->arena, out);
    return *ret ? ERR_OK : too_large(p);
}

/* argv[0] is a program of the release when there is one of that name, else PATH is asked. */
static enum err_code plan_argv(struct planner *p, const char *where, const char *const *command,
                               size_t len, const char *const **ret)
{
    const char **argv = arena_alloc(p->arena, (len + 1) * sizeof *argv);
    if (!argv)
        return too_large(p);
    for (size_t i = 0; i < len; i++) {
        enum err_code code = replace(p, where, command[i], &argv[i]);
        if (code)
            return code;
    }
    if (len > 0 && argv[0][0] != '/') {
        const char *own = arena_printf(p->arena, "%s/%s", p->in->root, argv[0]);
        if (!own)
            return too_large(p);
        if (access(own, X_OK) == 0)
            argv[0] = own;
    }
    *ret = argv;
    return ERR_OK;
}

static enum err_code plan_env(struct planner *p, const char *where, const struct env_var *env,
                              size_t env_len, const char *const **ret)
{
    const char **list = arena_alloc(p->arena, (p->known_len + env_len + 1) * sizeof *list);
    if (!list)
        return too_large(p);
    size_t len = 0;
    for (size_t i = 0; i < p->known_len; i++)
        put(list, &len, p->known[i]);
    for (size_t i = 0; i < env_len; i++) {
        const char *value;
        enum err_code code = replace(p, where, env[i].value, &value);
        if (code)
            return code;
        const char *pair = arena_printf(p->arena, "%s=%s", env[i].name, value);
        if (!pair)
            return too_large(p);
        put(list, &len, pair);
    }
    *ret = list;
    return ERR_OK;
}

static enum err_code plan_reload(struct planner *p, const char *where,
                                 const struct service *service, struct app_plan_service *ret)
{
    if (service->reload_signal[0]) {
        ret->reload_signal = reload_signal_number(service->reload_signal);
        if (ret->reload_signal == 0)
            return err_set(p->err, ERR_MALFORMED, "%s: reload by %s, and not by " RELOAD_SIGNALS,
                           where, service->reload_signal);
    }
    if (service->reload_len == 0)
        return ERR_OK;
    return plan_argv(p, where, service->reload, service->reload_len, &ret->reload);
}

static enum err_code plan_service(struct planner *p, const struct service *service,
                                  struct app_plan_service *ret)
{
    const struct app_plan_input *in = p->in;
    const char *where = arena_printf(p->arena, "service %s", service->name);
    bool sub = service->working_dir[0] != '\0';
    struct child_spec spec = {
        .name = arena_printf(p->arena, "%s/%s", in->app->app, service->name),
        .folder = arena_printf(p->arena, "%s%s%s", in->root, sub ? "/" : "", service->working_dir),
        .log_path = in->logs ? arena_printf(p->arena, "%s/%s.log", in->logs, service->name) : NULL,
        .memory_max_bytes = service->memory_max_bytes,
        .open_files_max = service->open_files_max,
        .user = in->user,
    };
    if (!where || !spec.name || !spec.folder || (in->logs && !spec.log_path))
        return too_large(p);
    enum err_code code;
    if ((code = plan_argv(p, where, service->command, service->command_len, &spec.argv)) ||
        (code = plan_env(p, where, service->env, service->env_len, &spec.env)))
        return code;
    *ret = (struct app_plan_service){.service = service, .spec = spec};
    if (service->pre_stop_len > 0 &&
        (code = plan_argv(p, where, service->pre_stop, service->pre_stop_len, &ret->pre_stop)))
        return code;
    return plan_reload(p, where, service, ret);
}

static enum err_code plan_process_check(struct planner *p, const struct check *check)
{
    for (size_t i = 0; i < p->in->release->services_len; i++) {
        if (str_equal(p->in->release->services[i].name, check->service))
            return ERR_OK;
    }
    return err_set(p->err, ERR_MALFORMED, "check %s: the release has no service \"%s\"",
                   check->name, check->service);
}

static enum err_code plan_check(struct planner *p, const struct check *check,
                                struct app_plan_check *ret)
{
    static const enum probe_kind kinds[] = {[CHECK_KIND_HTTP] = PROBE_HTTP,
                                            [CHECK_KIND_TCP] = PROBE_TCP,
                                            [CHECK_KIND_EXEC] = PROBE_EXEC};
    *ret = (struct app_plan_check){.check = check};
    if (check->kind == CHECK_KIND_PROCESS)
        return plan_process_check(p, check);
    if (check->kind == CHECK_KIND_UNSPECIFIED || (size_t)check->kind >= ARRAY_LEN(kinds))
        return err_set(p->err, ERR_MALFORMED, "check %s: of a kind that this agent does not know",
                       check->name);
    const char *where = arena_printf(p->arena, "check %s", check->name);
    if (!where)
        return too_large(p);
    struct probe_spec *spec = &ret->spec;
    spec->kind = kinds[check->kind];
    spec->expect_status = check->expect_status;
    spec->folder = p->in->root;
    spec->user = p->in->user;
    spec->timeout_ms = check->timeout_ms ? check->timeout_ms : DEFAULT_TIMEOUT_MS;
    enum err_code code;
    if ((code = replace(p, where, check->url, &spec->url)) ||
        (code = replace(p, where, check->address, &spec->address)) ||
        (code = replace(p, where, check->expect_body, &spec->expect_body)) ||
        (code = plan_argv(p, where, check->command, check->command_len, &spec->argv)))
        return code;
    return plan_env(p, where, NULL, 0, &spec->env);
}

enum err_code app_plan_make(const struct app_plan_input *input, struct arena *arena,
                            struct app_plan *ret, struct err *err)
{
    const struct release *release = input->release;
    struct planner planner = {.in = input, .arena = arena, .err = err};
    enum err_code code = collect_known(&planner);
    if (code)
        return code;
    struct app_plan_service *services =
        arena_alloc(arena, (release->services_len + 1) * sizeof *services);
    struct app_plan_check *checks = arena_alloc(arena, (release->checks_len + 1) * sizeof *checks);
    if (!services || !checks)
        return too_large(&planner);
    for (size_t i = 0; i < release->services_len; i++) {
        if ((code = plan_service(&planner, &release->services[i], &services[i])))
            return code;
    }
    for (size_t i = 0; i < release->checks_len; i++) {
        if ((code = plan_check(&planner, &release->checks[i], &checks[i])))
            return code;
    }
    *ret = (struct app_plan){release, services, checks};
    return ERR_OK;
}

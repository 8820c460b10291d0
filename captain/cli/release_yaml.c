/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/release_yaml.h"

#include <stddef.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/reload_signal.h"
#include "common/base/suggest.h"

enum {
    DURATION_MAX_MS = 24 * 3600 * 1000,
    EXPIRES_DEFAULT_DAYS = 180,
    TEXT_MAX = 1024,
    INNER_PATH_MAX = 1024,
    STATUS_MIN = 100,
    STATUS_MAX = 599,
};
#define DAY_MS (INT64_C(24) * 3600 * 1000)

static const char *must_token(const char *text)
{
    return str_is_token(text) ? NULL : "letters, digits, _ and -, at most 64";
}

static const char *must_version(const char *text)
{
    return str_is_version(text)
               ? NULL
               : "letters, digits and . _ + ~ -, at most 64, first a letter or digit";
}

static const char *must_inside(const char *text)
{
    return str_equal(text, ".") || str_is_inner_path(text)
               ? NULL
               : "a path inside the release: no / in front, no ..";
}

static const char *must_graph(const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p > '~')
            return "plain characters without blanks";
    return NULL;
}

static const char *must_url(const char *text)
{
    bool http = strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
    return http && !must_graph(text) ? NULL : "a URL with http:// or https://";
}

static const char *must_probe_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 && !must_graph(text) ? NULL : "a URL with http://";
}

static const char *must_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    return colon && colon != text && colon[1] && !must_graph(text) ? NULL : "host:port";
}

static bool is_hex(const char *text, size_t len)
{
    return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

static const char *must_commit(const char *text)
{
    return is_hex(text, 40) || is_hex(text, 64) ? NULL
                                                : "the whole commit, 40 or 64 digits of 0-9a-f";
}

static const char *must_sha256(const char *text)
{
    return is_hex(text, 64) ? NULL : "64 digits of 0-9a-f";
}

static const char *must_signal(const char *text)
{
    return reload_signal_number(text) ? NULL
                                      : "the signal " RELOAD_SIGNALS ", or a list: [program, ...]";
}

static const char *must_filled(const char *text)
{
    return text[0] ? NULL : "a text that is not empty";
}

#define AT(type, member) .offset = offsetof(type, member)
#define LIST(type, member)                                                                         \
    .offset = offsetof(type, member), .len_offset = offsetof(type, member##_len)
#define MAP(map_name, what_, type, fields_)                                                        \
    static const struct yaml_map map_name = {.what = what_,                                        \
                                             .size = sizeof(type),                                 \
                                             .place_offset = offsetof(type, place),                \
                                             .fields = fields_,                                    \
                                             .fields_len = ARRAY_LEN(fields_)}

#define S struct release_yaml_source
static const struct yaml_field source_fields[] = {
    {"repository", YAML_TEXT, true, AT(S, repository), .max = TEXT_MAX, .breach = must_graph,
     .example = "https://git.example.org/hello.git"},
    {"commit", YAML_TEXT, true, AT(S, commit), .breach = must_commit,
     .example = "8f6a1c... (all 40 digits: git rev-parse HEAD)"},
};
MAP(source_map, "a source", S, source_fields);
#undef S

#define S struct release_yaml_artifact
static const struct yaml_field artifact_fields[] = {
    {"path", YAML_TEXT, false, AT(S, path), .max = TEXT_MAX, .breach = must_filled,
     .example = "www"},
    {"to", YAML_TEXT, false, AT(S, to), .max = INNER_PATH_MAX, .breach = must_inside,
     .example = "bin/hello"},
    {"os", YAML_TEXT, false, AT(S, os), .breach = must_version, .example = "linux"},
    {"arch", YAML_TEXT, false, AT(S, arch), .breach = must_version, .example = "aarch64"},
    {"hardware", YAML_TEXT, false, AT(S, hardware), .breach = must_version, .example = "rpi4"},
    {"url", YAML_TEXT, false, AT(S, url), .max = 2048, .breach = must_url,
     .example = "https://cdn.example.org/x"},
    {"sha256", YAML_TEXT, false, AT(S, sha256), .breach = must_sha256,
     .example = "(sha256sum FILE)"},
    {"size", YAML_SIZE, false, AT(S, size_bytes), .example = "1048576"},
    {"executable", YAML_BOOL, false, AT(S, executable), .example = "true"},
};
MAP(artifact_map, "an artifact", S, artifact_fields);
#undef S

#define S struct release_yaml_service
static const struct yaml_field service_fields[] = {
    {"name", YAML_TEXT, true, AT(S, service.name), .breach = must_token, .example = "web"},
    {"command", YAML_TEXTS, true, LIST(S, service.command), .max = 64,
     .example = "[\"./web\", \"--port\", \"80\"]"},
    {"env", YAML_PAIRS, false, LIST(S, env), .max = 64, .breach = must_token,
     .example = "{PORT: \"${PORT}\"}"},
    {"working_dir", YAML_TEXT, false, AT(S, service.working_dir), .breach = must_inside,
     .example = "www"},
    {"memory_max", YAML_SIZE, false, AT(S, service.memory_max_bytes), .example = "64M"},
    {"open_files_max", YAML_NUMBER, false, AT(S, service.open_files_max), .max = 1 << 20,
     .example = "1024"},
    {"stop_timeout", YAML_MS, false, AT(S, service.stop_timeout_ms), .max = DURATION_MAX_MS,
     .example = "10s"},
    {"restart_min", YAML_MS, false, AT(S, service.restart_min_ms), .max = DURATION_MAX_MS,
     .example = "1s"},
    {"restart_max", YAML_MS, false, AT(S, service.restart_max_ms), .max = DURATION_MAX_MS,
     .example = "60s"},
    {"pre_stop", YAML_TEXTS, false, LIST(S, service.pre_stop), .max = 64,
     .example = "[\"./may-stop\"]"},
    {"reload", YAML_TEXTS, false, LIST(S, service.reload), .max = 64, .breach = must_signal,
     .word_offset = offsetof(S, service.reload_signal), .example = "HUP"},
};
MAP(service_map, "a service", S, service_fields);
#undef S

static const struct yaml_choice check_kinds[] = {
    {"process", CHECK_KIND_PROCESS},
    {"http", CHECK_KIND_HTTP},
    {"tcp", CHECK_KIND_TCP},
    {"exec", CHECK_KIND_EXEC},
    {NULL, 0},
};

#define S struct release_yaml_check
static const struct yaml_field check_fields[] = {
    {"name", YAML_TEXT, true, AT(S, check.name), .breach = must_token, .example = "web-answers"},
    {"kind", YAML_CHOICE, true, AT(S, check.kind), .choices = check_kinds, .example = "http"},
    {"service", YAML_TEXT, false, AT(S, check.service), .breach = must_token, .example = "web"},
    {"url", YAML_TEXT, false, AT(S, check.url), .max = 2048, .breach = must_probe_url,
     .example = "http://127.0.0.1:${PORT}/health"},
    {"expect_status", YAML_NUMBER, false, AT(S, check.expect_status), .min = STATUS_MIN,
     .max = STATUS_MAX, .example = "200"},
    {"expect_body", YAML_TEXT, false, AT(S, check.expect_body), .max = TEXT_MAX, .example = "ok"},
    {"address", YAML_TEXT, false, AT(S, check.address), .max = 320, .breach = must_address,
     .example = "127.0.0.1:${PORT}"},
    {"command", YAML_TEXTS, false, LIST(S, check.command), .max = 64, .example = "[\"./healthy\"]"},
    {"interval", YAML_MS, false, AT(S, check.interval_ms), .min = 1, .max = DURATION_MAX_MS,
     .example = "10s"},
    {"timeout", YAML_MS, false, AT(S, check.timeout_ms), .min = 1, .max = DURATION_MAX_MS,
     .example = "2s"},
    {"healthy_threshold", YAML_NUMBER, false, AT(S, check.healthy_threshold), .min = 1, .max = 1000,
     .example = "1"},
    {"unhealthy_threshold", YAML_NUMBER, false, AT(S, check.unhealthy_threshold), .min = 1,
     .max = 1000, .example = "3"},
};
MAP(check_map, "a check", S, check_fields);
#undef S

#define S struct release_yaml
static const struct yaml_field release_fields[] = {
    {"app", YAML_TEXT, true, AT(S, app), .breach = must_token, .example = "hello"},
    {"version", YAML_TEXT, true, AT(S, version), .breach = must_version, .example = "1.0"},
    {"sources", YAML_MAPS, true, LIST(S, sources), .max = 64, .map = &source_map,
     .example = "[{repository: https://git.example.org/hello.git, commit: (git rev-parse HEAD)}]"},
    {"artifacts", YAML_MAPS, false, LIST(S, artifacts), .max = 64, .map = &artifact_map,
     .example = "[{path: www}]"},
    {"services", YAML_MAPS, false, LIST(S, services), .max = 16, .map = &service_map,
     .example = "[{name: web, command: [\"./web\"]}]"},
    {"checks", YAML_MAPS, false, LIST(S, checks), .max = 32, .map = &check_map,
     .example = "[{name: alive, kind: process, service: web}]"},
    {"data_version", YAML_NUMBER, false, AT(S, data_version), .max = INT32_MAX, .example = "1"},
    {"minimum_agent", YAML_TEXT, false, AT(S, minimum_agent), .breach = must_version,
     .example = "0.1.0"},
    {"expires", YAML_MS64, false, AT(S, expires_ms), .min = 1, .max = (uint64_t)(3650 * DAY_MS),
     .example = "180d"},
    {"confirm", YAML_MS, false, AT(S, confirm_ms), .min = 1, .max = DURATION_MAX_MS,
     .example = "30s"},
    {"metrics_file", YAML_TEXT, false, AT(S, metrics_file), .breach = must_inside,
     .example = "metrics.json"},
    {"provenance", YAML_TEXT, false, AT(S, provenance), .max = 2048,
     .example = "https://ci.example.org/runs/1"},
};
MAP(release_map, "a release", S, release_fields);
#undef S

static enum err_code check_artifact(const struct release_yaml *yaml,
                                    const struct release_yaml_artifact *artifact, struct err *err)
{
    if (artifact->path)
        return ERR_OK;
    if (!artifact->url) {
        yaml_complain(err, yaml->name, artifact->place,
                      "an artifact needs the key \"path\" or \"url\"");
        return err_hint(err, "path: www");
    }
    if (artifact->sha256 && artifact->size_bytes && artifact->to)
        return ERR_OK;
    yaml_complain(err, yaml->name, artifact->place,
                  "an artifact that is not here needs \"sha256\", \"size\" and \"to\"");
    return err_hint(err, "path: FILE as well hashes it here");
}

static enum err_code check_sources(const struct release_yaml *yaml, struct err *err)
{
    if (yaml->sources_len)
        return ERR_OK;
    yaml_complain(err, yaml->name, yaml->place, "a release names at least one source");
    return err_hint(err, "sources: %s", release_fields[2].example);
}

static enum err_code check_services(const struct release_yaml *yaml, struct err *err)
{
    for (size_t i = 0; i < yaml->services_len; i++) {
        const struct service *service = &yaml->services[i].service;
        if (service->command_len == 0)
            return yaml_complain(err, yaml->name, yaml->services[i].place,
                                 "service %s has an empty command", service->name);
        if (service->reload && service->reload_len == 0)
            return yaml_complain(err, yaml->name, yaml->services[i].place,
                                 "service %s has an empty reload", service->name);
        for (size_t k = 0; k < i; k++)
            if (str_equal(yaml->services[k].service.name, service->name))
                return yaml_complain(err, yaml->name, yaml->services[i].place,
                                     "there are two services %s", service->name);
    }
    return ERR_OK;
}

static enum err_code check_reference(const struct release_yaml *yaml,
                                     const struct release_yaml_check *check, struct err *err)
{
    struct suggestion suggestion;
    suggest_start(&suggestion, check->check.service);
    for (size_t i = 0; i < yaml->services_len; i++) {
        if (str_equal(yaml->services[i].service.name, check->check.service))
            return ERR_OK;
        suggest_offer(&suggestion, yaml->services[i].service.name);
    }
    const char *best = suggest_best(&suggestion);
    yaml_complain(err, yaml->name, check->place, "check %s: there is no service %s",
                  check->check.name, check->check.service);
    return best ? err_hint(err, "did you mean %s?", best)
                : err_hint(err, "services: name it there");
}

/* Which key each kind needs, and that it has no key of another kind. */
static enum err_code check_kind_keys(const struct release_yaml *yaml,
                                     const struct release_yaml_check *check, struct err *err)
{
    const struct check *c = &check->check;
    const char *kind = check_kinds[c->kind - 1].name;
    const struct {
        const char *key;
        enum check_kind kind;
        bool given;
        bool needed;
    } keys[] = {
        {"service", CHECK_KIND_PROCESS, c->service != NULL, true},
        {"url", CHECK_KIND_HTTP, c->url != NULL, true},
        {"expect_status", CHECK_KIND_HTTP, c->expect_status != 0, false},
        {"expect_body", CHECK_KIND_HTTP, c->expect_body != NULL, false},
        {"address", CHECK_KIND_TCP, c->address != NULL, true},
        {"command", CHECK_KIND_EXEC, c->command_len != 0, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i].kind == c->kind && keys[i].needed && !keys[i].given)
            return yaml_complain(err, yaml->name, check->place,
                                 "check %s: kind %s needs the key \"%s\"", c->name, kind,
                                 keys[i].key);
        if (keys[i].kind != c->kind && keys[i].given)
            return yaml_complain(err, yaml->name, check->place,
                                 "check %s: kind %s has no key \"%s\"", c->name, kind, keys[i].key);
    }
    return ERR_OK;
}

static enum err_code check_checks(const struct release_yaml *yaml, struct err *err)
{
    for (size_t i = 0; i < yaml->checks_len; i++) {
        const struct release_yaml_check *check = &yaml->checks[i];
        if (check_kind_keys(yaml, check, err))
            return err->code;
        if (check->check.service && check_reference(yaml, check, err))
            return err->code;
        for (size_t k = 0; k < i; k++)
            if (str_equal(yaml->checks[k].check.name, check->check.name))
                return yaml_complain(err, yaml->name, check->place, "there are two checks %s",
                                     check->check.name);
    }
    return ERR_OK;
}

enum err_code release_yaml_parse(const char *name, struct bytes text, struct arena *arena,
                                 struct release_yaml *ret, struct err *err)
{
    struct release_yaml yaml = {0};
    if (yaml_bind(name, text, &release_map, arena, &yaml, err))
        return err->code;
    yaml.name = name;
    if (!yaml.expires_ms)
        yaml.expires_ms = EXPIRES_DEFAULT_DAYS * DAY_MS;
    for (size_t i = 0; i < yaml.artifacts_len; i++)
        if (check_artifact(&yaml, &yaml.artifacts[i], err))
            return err->code;
    if (check_sources(&yaml, err) || check_services(&yaml, err) || check_checks(&yaml, err))
        return err->code;
    *ret = yaml;
    return ERR_OK;
}

static bool copy_sources(const struct release_yaml *yaml, struct arena *arena, struct release *ret)
{
    struct source *sources = arena_alloc(arena, (yaml->sources_len + 1) * sizeof *sources);
    for (size_t i = 0; sources && i < yaml->sources_len; i++)
        sources[i] = (struct source){.repository = yaml->sources[i].repository,
                                     .commit = yaml->sources[i].commit};
    ret->sources = sources;
    ret->sources_len = yaml->sources_len;
    return sources != NULL;
}

static bool copy_env(const struct release_yaml_service *from, struct arena *arena,
                     struct service *ret)
{
    struct env_var *env = arena_alloc(arena, (from->env_len + 1) * sizeof *env);
    for (size_t i = 0; env && i < from->env_len; i++)
        env[i] = (struct env_var){.name = from->env[i].name, .value = from->env[i].value};
    ret->env = env;
    ret->env_len = from->env_len;
    return env != NULL;
}

static bool copy_services(const struct release_yaml *yaml, struct arena *arena, struct release *ret)
{
    struct service *services = arena_alloc(arena, (yaml->services_len + 1) * sizeof *services);
    for (size_t i = 0; services && i < yaml->services_len; i++) {
        services[i] = yaml->services[i].service;
        if (!copy_env(&yaml->services[i], arena, &services[i]))
            return false;
    }
    ret->services = services;
    ret->services_len = yaml->services_len;
    return services != NULL;
}

static bool copy_checks(const struct release_yaml *yaml, struct arena *arena, struct release *ret)
{
    struct check *checks = arena_alloc(arena, (yaml->checks_len + 1) * sizeof *checks);
    for (size_t i = 0; checks && i < yaml->checks_len; i++)
        checks[i] = yaml->checks[i].check;
    ret->checks = checks;
    ret->checks_len = yaml->checks_len;
    return checks != NULL;
}

enum err_code release_yaml_message(const struct release_yaml *yaml, struct arena *arena,
                                   struct release *ret, struct err *err)
{
    *ret = (struct release){
        .app = yaml->app,
        .version = yaml->version,
        .data_version = yaml->data_version,
        .minimum_agent = yaml->minimum_agent,
        .provenance = yaml->provenance,
        .metrics_file = yaml->metrics_file,
        .confirm_ms = yaml->confirm_ms,
    };
    if (copy_sources(yaml, arena, ret) && copy_services(yaml, arena, ret) &&
        copy_checks(yaml, arena, ret))
        return ERR_OK;
    return err_set(err, ERR_SIZE, "%s is too large", yaml->name);
}

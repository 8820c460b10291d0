/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"

enum {
    CONFIG_FILE_MAX_BYTES = 64 << 10,
    CONFIG_SUGGEST_MAX = 2, /* edits between a wrong key and the one that is suggested */
    CONFIG_PATH_MAX = 256,  /* of a key path in errors */
};

static const char default_folder[] = "/var/lib/captain-agent";
static const char default_helper[] = CAPTAIN_LIBEXEC "/captain-fetch";

struct reader {
    const char *name;
    struct arena *arena;
    struct config *config;
    struct err *err;
};

struct key;
typedef enum err_code (*key_fn)(struct reader *r, const struct key *key, const char *path,
                                const json_t *value);

/* One key of an object: how it is read and where it goes. */
struct key {
    const char *name;
    bool required;
    key_fn read;
    size_t offset;     /* of the field in struct config */
    int64_t low, high; /* durations, in ms */
};

static enum err_code no_memory(struct reader *r)
{
    return err_set(r->err, ERR_SIZE, "%s: too large", r->name);
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"an object", "an array", "text",  "a number",
                                        "a number",  "true",     "false", "null"};
    return names[json_typeof(value)];
}

static enum err_code wrong_type(struct reader *r, const char *path, const char *allowed,
                                const json_t *value)
{
    return err_set(r->err, ERR_MALFORMED, "%s: %s: must be %s, is %s", r->name, path, allowed,
                   type_name(value));
}

static const char **field(struct reader *r, const struct key *key)
{
    return (const char **)(void *)((char *)r->config + key->offset);
}

static enum err_code want_text(struct reader *r, const char *path, const json_t *value,
                               const char **ret)
{
    if (!json_is_string(value))
        return wrong_type(r, path, "text", value);
    const char *text = json_string_value(value);
    if (text[0] == '\0')
        return err_set(r->err, ERR_MALFORMED, "%s: %s: must not be empty", r->name, path);
    *ret = arena_strdup(r->arena, text);
    return *ret ? ERR_OK : no_memory(r);
}

static enum err_code check_token(struct reader *r, const char *path, const char *text)
{
    if (str_is_token(text))
        return ERR_OK;
    return err_set(r->err, ERR_MALFORMED,
                   "%s: %s: \"%.70s\" must be 1 to 64 letters, digits, \"_\" or \"-\"", r->name,
                   path, text);
}

static enum err_code read_token(struct reader *r, const struct key *key, const char *path,
                                const json_t *value)
{
    enum err_code code = want_text(r, path, value, field(r, key));
    return code ? code : check_token(r, path, *field(r, key));
}

static enum err_code read_url(struct reader *r, const struct key *key, const char *path,
                              const json_t *value)
{
    enum err_code code = want_text(r, path, value, field(r, key));
    if (code)
        return code;
    const char *url = *field(r, key);
    if (strncmp(url, "nats://", 7) == 0 || strncmp(url, "tls://", 6) == 0)
        return ERR_OK;
    return err_set(r->err, ERR_MALFORMED, "%s: %s: \"%.80s\" must begin with nats:// or tls://",
                   r->name, path, url);
}

static enum err_code read_path(struct reader *r, const struct key *key, const char *path,
                               const json_t *value)
{
    enum err_code code = want_text(r, path, value, field(r, key));
    if (code)
        return code;
    if (strlen(*field(r, key)) < PATH_MAX / 4)
        return ERR_OK;
    return err_set(r->err, ERR_MALFORMED, "%s: %s: a path may have at most %d bytes", r->name, path,
                   PATH_MAX / 4 - 1);
}

static enum err_code read_absolute(struct reader *r, const struct key *key, const char *path,
                                   const json_t *value)
{
    enum err_code code = read_path(r, key, path, value);
    if (code || (*field(r, key))[0] == '/')
        return code;
    return err_set(r->err, ERR_MALFORMED, "%s: %s: must be an absolute path", r->name, path);
}

static enum err_code read_duration(struct reader *r, const struct key *key, const char *path,
                                   const json_t *value)
{
    const char *text;
    enum err_code code = want_text(r, path, value, &text);
    if (code)
        return code;
    int64_t ms;
    if (str_duration_ms(text, &ms) != ERR_OK)
        return err_set(r->err, ERR_MALFORMED,
                       "%s: %s: \"%.40s\" must be a duration, as in \"30s\" or \"1h30m\"", r->name,
                       path, text);
    if (ms < key->low || ms > key->high) {
        char low[32], high[32];
        str_format_duration(key->low, low);
        str_format_duration(key->high, high);
        return err_set(r->err, ERR_MALFORMED, "%s: %s: %.40s must be from %s to %s", r->name, path,
                       text, low, high);
    }
    *(int64_t *)(void *)((char *)r->config + key->offset) = ms;
    return ERR_OK;
}

static enum err_code read_bool(struct reader *r, const struct key *key, const char *path,
                               const json_t *value)
{
    if (!json_is_boolean(value))
        return wrong_type(r, path, "true or false", value);
    *(bool *)(void *)((char *)r->config + key->offset) = json_is_true(value);
    return ERR_OK;
}

static enum err_code read_level(struct reader *r, const struct key *key, const char *path,
                                const json_t *value)
{
    (void)key;
    const char *text;
    enum err_code code = want_text(r, path, value, &text);
    if (code)
        return code;
    if (log_parse_level(text, &r->config->log_level) == ERR_OK)
        return ERR_OK;
    return err_set(r->err, ERR_MALFORMED, "%s: %s: \"%.40s\" must be error, warning, info or debug",
                   r->name, path, text);
}

static enum err_code unknown_key(struct reader *r, const char *path, const char *name,
                                 const struct key *keys, size_t keys_len)
{
    const char *nearest = NULL;
    unsigned least = CONFIG_SUGGEST_MAX + 1;
    for (size_t i = 0; i < keys_len; i++) {
        unsigned distance = str_distance(name, keys[i].name);
        if (distance < least) {
            least = distance;
            nearest = keys[i].name;
        }
    }
    err_set(r->err, ERR_MALFORMED, "%s: %s%s%.64s: unknown key", r->name, path, path[0] ? "." : "",
            name);
    if (nearest)
        return err_hint(r->err, "did you mean %s", nearest);
    char all[ERR_HINT_MAX] = "";
    for (size_t i = 0; i < keys_len; i++)
        (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "",
                       keys[i].name);
    return err_hint(r->err, "known are %s", all);
}

static const struct key *find_key(const char *name, const struct key *keys, size_t keys_len)
{
    for (size_t i = 0; i < keys_len; i++) {
        if (str_equal(keys[i].name, name))
            return &keys[i];
    }
    return NULL;
}

static enum err_code child_path(struct reader *r, const char *path, const char *name,
                                char ret[CONFIG_PATH_MAX])
{
    int len = snprintf(ret, CONFIG_PATH_MAX, "%s%s%s", path, path[0] ? "." : "", name);
    if (len < CONFIG_PATH_MAX)
        return ERR_OK;
    return err_set(r->err, ERR_MALFORMED, "%s: %s: a key of %zu bytes is too long", r->name, path,
                   strlen(name));
}

/* Every key is known, what is required is there, each is read. */
static enum err_code read_object(struct reader *r, const char *path, const json_t *object,
                                 const struct key *keys, size_t keys_len)
{
    if (!json_is_object(object))
        return wrong_type(r, path[0] ? path : "the file", "an object", object);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        const struct key *key = find_key(name, keys, keys_len);
        if (!key)
            return unknown_key(r, path, name, keys, keys_len);
        char sub[CONFIG_PATH_MAX];
        enum err_code code = child_path(r, path, name, sub);
        if (code || (code = key->read(r, key, sub, value)))
            return code;
    }
    for (size_t i = 0; i < keys_len; i++) {
        if (keys[i].required && !json_object_get(object, keys[i].name))
            return err_set(r->err, ERR_MALFORMED, "%s: %s%s%s: is missing", r->name, path,
                           path[0] ? "." : "", keys[i].name);
    }
    return ERR_OK;
}

#define AT(field) offsetof(struct config, field)
#define LEN(keys) (sizeof(keys) / sizeof((keys)[0]))

static enum err_code read_nats(struct reader *r, const struct key *key, const char *path,
                               const json_t *value)
{
    static const struct key keys[] = {
        {"url", true, read_url, AT(nats_url), 0, 0},
        {"creds", false, read_path, AT(nats_creds), 0, 0},
        {"ca", false, read_path, AT(nats_ca), 0, 0},
        {"cert", false, read_path, AT(nats_cert), 0, 0},
        {"key", false, read_path, AT(nats_key), 0, 0},
    };
    (void)key;
    enum err_code code = read_object(r, path, value, keys, LEN(keys));
    if (code == ERR_OK && !r->config->nats_cert != !r->config->nats_key)
        return err_set(r->err, ERR_MALFORMED, "%s: %s: cert and key belong together", r->name,
                       path);
    return code;
}

static enum err_code read_fetch(struct reader *r, const struct key *key, const char *path,
                                const json_t *value)
{
    static const struct key keys[] = {
        {"ca", false, read_path, AT(fetch_ca), 0, 0},
        {"helper", false, read_path, AT(fetch_helper), 0, 0},
        {"user", false, read_token, AT(fetch_user), 0, 0},
    };
    (void)key;
    return read_object(r, path, value, keys, LEN(keys));
}

static enum err_code read_intervals(struct reader *r, const struct key *key, const char *path,
                                    const json_t *value)
{
    enum { SECOND = 1000, HOUR = 3600 * SECOND, DAY = 24 * HOUR };
    static const struct key keys[] = {
        {"health", false, read_duration, AT(health_ms), 500, HOUR},
        {"telemetry", false, read_duration, AT(telemetry_ms), SECOND, DAY},
        {"refresh", false, read_duration, AT(refresh_ms), SECOND, DAY},
        {"reconnect_first", false, read_duration, AT(reconnect_first_ms), 1, HOUR},
        {"reconnect_max", false, read_duration, AT(reconnect_max_ms), SECOND, HOUR},
    };
    (void)key;
    return read_object(r, path, value, keys, LEN(keys));
}

static enum err_code read_supervisor(struct reader *r, const struct key *key, const char *path,
                                     const json_t *value)
{
    enum { SECOND = 1000, HOUR = 3600 * SECOND };
    static const struct key keys[] = {
        {"enabled", false, read_bool, AT(supervised), 0, 0},
        {"hang", false, read_duration, AT(hang_ms), SECOND, 24 * HOUR},
        {"restart", false, read_duration, AT(restart_ms), 10, HOUR},
    };
    (void)key;
    return read_object(r, path, value, keys, LEN(keys));
}

static enum err_code read_label(struct reader *r, const char *path, const char *key,
                                const json_t *value, struct config_label *ret)
{
    char sub[CONFIG_PATH_MAX];
    enum err_code code = check_token(r, path, key);
    if (code || (code = child_path(r, path, key, sub)) ||
        (code = want_text(r, sub, value, &ret->value)))
        return code;
    for (const char *p = ret->value; *p; p++) {
        if (*p < ' ' || *p > '~')
            return err_set(r->err, ERR_MALFORMED, "%s: %s: must be plain text", r->name, sub);
    }
    if (strlen(ret->value) > TOKEN_MAX)
        return err_set(r->err, ERR_MALFORMED, "%s: %s: at most %d characters", r->name, sub,
                       TOKEN_MAX);
    ret->key = arena_strdup(r->arena, key);
    return ret->key ? ERR_OK : no_memory(r);
}

static enum err_code read_labels(struct reader *r, const struct key *key, const char *path,
                                 const json_t *value)
{
    (void)key;
    if (!json_is_object(value))
        return wrong_type(r, path, "an object", value);
    if (json_object_size(value) > CONFIG_LABELS_MAX)
        return err_set(r->err, ERR_MALFORMED, "%s: %s: at most %d labels", r->name, path,
                       CONFIG_LABELS_MAX);
    struct config_label *labels =
        arena_alloc(r->arena, (json_object_size(value) + 1) * sizeof *labels);
    if (!labels)
        return no_memory(r);
    const char *name;
    json_t *label;
    json_object_foreach((json_t *)value, name, label)
    {
        enum err_code code = read_label(r, path, name, label, &labels[r->config->labels_len]);
        if (code)
            return code;
        r->config->labels_len++;
    }
    r->config->labels = labels;
    return ERR_OK;
}

static bool env_name_is_good(const char *name)
{
    bool good = name[0] != '\0' && !(name[0] >= '0' && name[0] <= '9') && strlen(name) <= TOKEN_MAX;
    for (const char *p = name; *p && good; p++)
        good = *p == '_' || (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
               (*p >= 'a' && *p <= 'z');
    return good;
}

static enum err_code read_env(struct reader *r, const char *path, const json_t *object,
                              struct config_app *app)
{
    if (!json_is_object(object))
        return wrong_type(r, path, "an object", object);
    if (json_object_size(object) > CONFIG_ENV_MAX)
        return err_set(r->err, ERR_MALFORMED, "%s: %s: at most %d variables", r->name, path,
                       CONFIG_ENV_MAX);
    const char **env = arena_alloc(r->arena, (json_object_size(object) + 1) * sizeof *env);
    if (!env)
        return no_memory(r);
    size_t len = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        if (!env_name_is_good(name))
            return err_set(r->err, ERR_MALFORMED, "%s: %s: \"%.64s\" is no name of a variable",
                           r->name, path, name);
        if (!json_is_string(value)) {
            char sub[CONFIG_PATH_MAX];
            enum err_code code = child_path(r, path, name, sub);
            return code ? code : wrong_type(r, sub, "text", value);
        }
        env[len] = arena_printf(r->arena, "%s=%s", name, json_string_value(value));
        if (!env[len++])
            return no_memory(r);
    }
    app->env = env;
    return ERR_OK;
}

static enum err_code read_app(struct reader *r, const char *path, const char *name,
                              const json_t *value)
{
    static const struct key keys[] = {{"channel", true, NULL, 0, 0, 0},
                                      {"env", false, NULL, 0, 0, 0},
                                      {"lock", false, NULL, 0, 0, 0},
                                      {"user", false, NULL, 0, 0, 0}};
    static const char *const no_env[] = {NULL};
    enum err_code code = check_token(r, path, name);
    if (code)
        return code;
    if (!json_is_object(value))
        return wrong_type(r, path, "an object", value);
    struct config_app *app = &r->config->apps[r->config->apps_len];
    *app = (struct config_app){.app = arena_strdup(r->arena, name), .env = no_env};
    if (!app->app)
        return no_memory(r);
    const char *sub_name;
    json_t *sub_value;
    json_object_foreach((json_t *)value, sub_name, sub_value)
    {
        char sub[CONFIG_PATH_MAX];
        if ((code = child_path(r, path, sub_name, sub)))
            return code;
        if (str_equal(sub_name, "channel")) {
            if ((code = want_text(r, sub, sub_value, &app->channel)) ||
                (code = check_token(r, sub, app->channel)))
                return code;
        } else if (str_equal(sub_name, "env")) {
            if ((code = read_env(r, sub, sub_value, app)))
                return code;
        } else if (str_equal(sub_name, "lock") || str_equal(sub_name, "user")) {
            bool lock = str_equal(sub_name, "lock");
            if ((code = want_text(r, sub, sub_value, lock ? &app->lock : &app->user)))
                return code;
        } else {
            return unknown_key(r, path, sub_name, keys, LEN(keys));
        }
    }
    if (!app->channel)
        return err_set(r->err, ERR_MALFORMED, "%s: %s.channel: is missing", r->name, path);
    r->config->apps_len++;
    return ERR_OK;
}

static enum err_code read_apps(struct reader *r, const struct key *key, const char *path,
                               const json_t *value)
{
    (void)key;
    if (!json_is_object(value))
        return wrong_type(r, path, "an object", value);
    size_t size = json_object_size(value);
    if (size < 1 || size > CONFIG_APPS_MAX)
        return err_set(r->err, ERR_MALFORMED, "%s: %s: must name 1 to %d apps, names %zu", r->name,
                       path, CONFIG_APPS_MAX, size);
    const char *name;
    json_t *app;
    json_object_foreach((json_t *)value, name, app)
    {
        char sub[CONFIG_PATH_MAX];
        enum err_code code = child_path(r, path, name, sub);
        if (code || (code = read_app(r, sub, name, app)))
            return code;
    }
    return ERR_OK;
}

static const struct key top_keys[] = {
    {"device", true, read_token, AT(device), 0, 0},
    {"site", true, read_token, AT(site), 0, 0},
    {"tenant", false, read_token, AT(tenant), 0, 0},
    {"nats", false, read_nats, 0, 0, 0},
    {"root", false, read_path, AT(root), 0, 0},
    {"folder", false, read_path, AT(folder), 0, 0},
    {"apps", true, read_apps, 0, 0, 0},
    {"secrets", false, read_absolute, AT(secrets), 0, 0},
    {"fetch", false, read_fetch, 0, 0, 0},
    {"intervals", false, read_intervals, 0, 0, 0},
    {"hardware", false, read_token, AT(hardware), 0, 0},
    {"labels", false, read_labels, 0, 0, 0},
    {"supervisor", false, read_supervisor, 0, 0, 0},
    {"log", false, read_level, 0, 0, 0},
};

enum err_code config_parse(const char *name, struct bytes text, struct arena *arena,
                           struct config *ret, struct err *err)
{
    json_error_t where;
    json_t *root = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(err, ERR_MALFORMED, "%s:%d:%d: %.200s", name, where.line, where.column,
                       where.text);
    struct config config = {
        .folder = default_folder,
        .fetch_helper = default_helper,
        .hardware = "",
        .health_ms = 30000,
        .telemetry_ms = 60000,
        .refresh_ms = 600000,
        .reconnect_first_ms = 30000,
        .reconnect_max_ms = 300000,
        .supervised = true,
        .hang_ms = 120000,
        .restart_ms = 500,
        .log_level = LOG_LEVEL_INFO,
    };
    struct reader reader = {name, arena, &config, err};
    enum err_code code = read_object(&reader, "", root, top_keys, LEN(top_keys));
    json_decref(root);
    if (code == ERR_OK)
        *ret = config;
    return code;
}

enum err_code config_read(const char *path, struct arena *arena, struct config *ret,
                          struct err *err)
{
    struct bytes text;
    enum err_code code = file_read(path, CONFIG_FILE_MAX_BYTES, arena, &text, err);
    return code ? code : config_parse(path, text, arena, ret, err);
}

enum err_code config_load(const char *path, struct arena *arena, struct config *ret,
                          struct err *err)
{
    struct config config;
    enum err_code code = config_read(path, arena, &config, err);
    if (code || (code = config_complete(path, &config, arena, err)))
        return code;
    *ret = config;
    return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/settings.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/suggest.h"
#include "common/file.h"

/* Every key; object "": of the whole. */
static const struct key {
    const char *object, *name;
    size_t offset;
    bool optional, path, number;
} keys[] = {
    {"", "tenant", offsetof(struct settings, tenant), false, false, false},
    {"nats", "url", offsetof(struct settings, nats_url), false, false, false},
    {"nats", "creds", offsetof(struct settings, nats_creds), false, true, false},
    {"nats", "ca", offsetof(struct settings, nats_ca), false, true, false},
    {"", "listen", offsetof(struct settings, listen), false, false, false},
    {"", "store_url", offsetof(struct settings, store_url), true, false, false},
    {"tls", "cert", offsetof(struct settings, tls_cert), false, true, false},
    {"tls", "key", offsetof(struct settings, tls_key), false, true, false},
    {"", "master_key", offsetof(struct settings, master_key), false, false, false},
    {"first_admin", "name", offsetof(struct settings, admin_name), true, false, false},
    {"first_admin", "key", offsetof(struct settings, admin_key), true, false, false},
    {"first_admin", "expires_ms", offsetof(struct settings, admin_expires_ms), true, false, true},
};

/* Where one text comes from and goes to. */
struct reader {
    const char *name, *folder;
    struct arena *arena;
    struct settings settings;
};

static const char **slot(struct settings *settings, const struct key *key)
{
    return (const char **)(void *)((char *)settings + key->offset);
}

static int64_t *number_slot(struct settings *settings, const struct key *key)
{
    return (int64_t *)(void *)((char *)settings + key->offset);
}

static void json_unref(json_t **json)
{
    json_decref(*json);
}

static enum err_code unknown_key(const struct reader *reader, const char *object, const char *name,
                                 struct err *err)
{
    struct suggestion suggestion;
    suggest_start(&suggestion, name);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (str_equal(keys[i].object, object))
            suggest_offer(&suggestion, keys[i].name);
        else if (!object[0])
            suggest_offer(&suggestion, keys[i].object);
    }
    const char *best = suggest_best(&suggestion);
    (void)err_set(err, ERR_MALFORMED, "%s: %s%sunknown key \"%.64s\"", reader->name, object,
                  object[0] ? ": " : "", name);
    return best ? err_hint(err, "did you mean \"%s\"?", best) : err->code;
}

static enum err_code read_number(struct reader *reader, const struct key *key, const json_t *value,
                                 struct err *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return err_set(err, ERR_MALFORMED, "%s: %s.%s is no number of 0 or more", reader->name,
                       key->object, key->name);
    *number_slot(&reader->settings, key) = json_integer_value(value);
    return ERR_OK;
}

static enum err_code read_text(struct reader *reader, const struct key *key, const json_t *value,
                               struct err *err)
{
    const char *text = json_string_value(value);
    if (!text || !text[0] || strlen(text) != json_string_length(value) || strlen(text) >= PATH_MAX)
        return err_set(err, ERR_MALFORMED, "%s: %s%s%s is not a text of 1 to %d bytes",
                       reader->name, key->object, key->object[0] ? "." : "", key->name,
                       PATH_MAX - 1);
    const char *copy = key->path && text[0] != '/'
                           ? arena_printf(reader->arena, "%s/%s", reader->folder, text)
                           : arena_strdup(reader->arena, text);
    *slot(&reader->settings, key) = copy;
    return copy ? ERR_OK : err_set(err, ERR_SIZE, "%s is too large", reader->name);
}

static const struct key *find_key(const char *object, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (str_equal(keys[i].object, object) && str_equal(keys[i].name, name))
            return &keys[i];
    return NULL;
}

/* One of the inner objects. */
static enum err_code read_object(struct reader *reader, const char *object, json_t *json,
                                 struct err *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(json))
        return err_set(err, ERR_MALFORMED, "%s: %s is no object", reader->name, object);
    json_object_foreach(json, name, value)
    {
        const struct key *key = find_key(object, name);
        if (!key)
            return unknown_key(reader, object, name, err);
        if (key->number ? read_number(reader, key, value, err) : read_text(reader, key, value, err))
            return err->code;
    }
    return ERR_OK;
}

static bool is_object_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i].object[0] && str_equal(keys[i].object, name))
            return true;
    return false;
}

static enum err_code check(struct reader *reader, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (!keys[i].optional && !*slot(&reader->settings, &keys[i]))
            return err_set(err, ERR_MALFORMED, "%s: %s%s%s is missing", reader->name,
                           keys[i].object, keys[i].object[0] ? "." : "", keys[i].name);
    if (!str_is_token(reader->settings.tenant))
        return err_set(err, ERR_MALFORMED, "%s: tenant \"%.64s\" is no plain name", reader->name,
                       reader->settings.tenant);
    if (!reader->settings.admin_name != !reader->settings.admin_key)
        return err_set(err, ERR_MALFORMED, "%s: first_admin needs both name and key", reader->name);
    return ERR_OK;
}

enum err_code settings_parse(const char *name, const char *folder, struct bytes text,
                             struct arena *arena, struct settings *ret, struct err *err)
{
    struct reader reader = {.name = name, .folder = folder, .arena = arena};
    json_error_t why;
    const char *member;
    json_t *value;
    json_t *json DEFER(json_unref) =
        text.len <= SETTINGS_MAX_BYTES
            ? json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &why)
            : NULL;
    if (text.len > SETTINGS_MAX_BYTES)
        return err_set(err, ERR_SIZE, "%s is larger than %d bytes", name, SETTINGS_MAX_BYTES);
    if (!json)
        return err_set(err, ERR_MALFORMED, "%s:%d:%d: %s", name, why.line, why.column, why.text);
    if (!json_is_object(json))
        return err_set(err, ERR_MALFORMED, "%s: is no JSON object", name);
    json_object_foreach(json, member, value)
    {
        const struct key *key = member[0] ? find_key("", member) : NULL;
        enum err_code code = key                      ? read_text(&reader, key, value, err)
                             : is_object_name(member) ? read_object(&reader, member, value, err)
                                                      : unknown_key(&reader, "", member, err);
        if (code)
            return code;
    }
    if (check(&reader, err))
        return err->code;
    *ret = reader.settings;
    return ERR_OK;
}

enum err_code settings_load(const char *folder, struct arena *arena, struct settings *ret,
                            struct err *err)
{
    struct bytes text;
    const char *path = arena_printf(arena, "%s/captain.json", folder);
    if (!path)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", folder);
    enum err_code code = file_read(path, SETTINGS_MAX_BYTES, arena, &text, err);
    return code ? code : settings_parse(path, folder, text, arena, ret, err);
}

enum err_code settings_save(const char *folder, const struct settings *settings, struct err *err)
{
    struct settings copy = *settings;
    char path[PATH_MAX];
    json_t *json DEFER(json_unref) = json_object();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const int64_t number = keys[i].number ? *number_slot(&copy, &keys[i]) : 0;
        const char *text = keys[i].number ? NULL : *slot(&copy, &keys[i]);
        json_t *object = json;
        if (!text && number == 0)
            continue;
        if (keys[i].object[0] && !(object = json_object_get(json, keys[i].object))) {
            object = json_object();
            (void)json_object_set_new(json, keys[i].object, object);
        }
        if (json_object_set_new(object, keys[i].name,
                                text ? json_string(text) : json_integer(number)) != 0)
            return err_set(err, ERR_MALFORMED, "%s holds text that is not UTF-8", keys[i].name);
    }
    int len = snprintf(path, sizeof path, "%s/captain.json", folder);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", folder);
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (!text)
        return err_set(err, ERR_FAILED, "captain.json cannot be written");
    size_t text_len = strlen(text);
    text[text_len] = '\n'; /* in place of the NUL: the length says where it ends */
    enum err_code code = file_replace(path, bytes_of(text, text_len + 1), 0600, err);
    free(text);
    return code;
}

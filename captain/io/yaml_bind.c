/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/yaml_bind.h"

#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/base/suggest.h"

struct bind {
    const char *name;
    yaml_document_t *document;
    struct arena *arena;
    struct err *err;
};

static struct yaml_place place_of(yaml_mark_t mark)
{
    return (struct yaml_place){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

enum err_code yaml_complain(struct err *err, const char *name, struct yaml_place place,
                            const char *fmt, ...)
{
    char text[ERR_TEXT_MAX - 160];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return err_set(err, ERR_USAGE, "%.120s:%u:%u: %s", name, place.line, place.column, text);
}

#define COMPLAIN(bind, node, ...)                                                                  \
    yaml_complain((bind)->err, (bind)->name, place_of((node)->start_mark), __VA_ARGS__)

static enum err_code too_large(struct bind *bind)
{
    return err_set(bind->err, ERR_USAGE, "%s is too large", bind->name);
}

static const char *kind_of(const yaml_node_t *node)
{
    switch (node->type) {
    case YAML_SCALAR_NODE:
        return node->data.scalar.length == 0 ? "empty" : "a text";
    case YAML_SEQUENCE_NODE:
        return "a list";
    case YAML_MAPPING_NODE:
        return "a map";
    default:
        return "nothing";
    }
}

static const char *kind_wanted(enum yaml_type type)
{
    switch (type) {
    case YAML_TEXTS:
        return "a list of texts";
    case YAML_MAPS:
        return "a list of maps";
    case YAML_PAIRS:
        return "a map of texts";
    case YAML_MAP:
        return "a map of keys";
    case YAML_NUMBER:
    case YAML_REAL:
        return "a number";
    case YAML_BOOL:
        return "true or false";
    case YAML_MS:
    case YAML_MS64:
        return "a time";
    case YAML_SIZE:
        return "a size";
    case YAML_CHOICE:
    case YAML_CHARS:
    case YAML_TEXT:
        return "a text";
    }
    return "something else";
}

static enum err_code wrong_kind(struct bind *bind, const yaml_node_t *node,
                                const struct yaml_field *field)
{
    COMPLAIN(bind, node, "%s must be %s and is %s", field->key, kind_wanted(field->type),
             kind_of(node));
    return field->example ? err_hint(bind->err, "%s: %s", field->key, field->example) : ERR_USAGE;
}

static enum err_code wrong_value(struct bind *bind, const yaml_node_t *node,
                                 const struct yaml_field *field, const char *must)
{
    COMPLAIN(bind, node, "%s: \"%.64s\" is wrong, it must be %s", field->key,
             (const char *)node->data.scalar.value, must);
    return field->example ? err_hint(bind->err, "%s: %s", field->key, field->example) : ERR_USAGE;
}

/* A scalar with something in it, as text in the arena. */
static enum err_code scalar(struct bind *bind, const yaml_node_t *node,
                            const struct yaml_field *field, const char **ret)
{
    if (node->type != YAML_SCALAR_NODE)
        return wrong_kind(bind, node, field);
    const char *text = (const char *)node->data.scalar.value;
    size_t len = node->data.scalar.length;
    bool plain_null = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                      (len == 0 || str_equal(text, "~") || str_equal(text, "null"));
    if (plain_null)
        return wrong_kind(bind, node, field);
    if (memchr(text, '\0', len))
        return COMPLAIN(bind, node, "%s holds a NUL character", field->key);
    *ret = arena_strdup(bind->arena, text);
    return *ret ? ERR_OK : too_large(bind);
}

static enum err_code check_text(struct bind *bind, const yaml_node_t *node,
                                const struct yaml_field *field, const char *text)
{
    if (field->max && strlen(text) > field->max)
        return COMPLAIN(bind, node, "%s is longer than %llu characters", field->key,
                        (unsigned long long)field->max);
    const char *must = field->breach ? field->breach(text) : NULL;
    return must ? wrong_value(bind, node, field, must) : ERR_OK;
}

static enum err_code take_choice(struct bind *bind, const yaml_node_t *node,
                                 const struct yaml_field *field, const char *text, int *ret)
{
    struct suggestion suggestion;
    char all[128] = "";
    suggest_start(&suggestion, text);
    for (const struct yaml_choice *choice = field->choices; choice->name; choice++) {
        if (str_equal(choice->name, text)) {
            *ret = choice->value;
            return ERR_OK;
        }
        suggest_offer(&suggestion, choice->name);
        size_t used = strlen(all);
        (void)snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", choice->name);
    }
    COMPLAIN(bind, node, "%s: there is no \"%.64s\", but: %s", field->key, text, all);
    const char *best = suggest_best(&suggestion);
    return best ? err_hint(bind->err, "did you mean %s?", best)
                : err_hint(bind->err, "%s: %s", field->key, field->example);
}

static bool in_range(const struct yaml_field *field, uint64_t value)
{
    return value >= field->min && (field->max == 0 || value <= field->max);
}

static enum err_code take_number(struct bind *bind, const yaml_node_t *node,
                                 const struct yaml_field *field, const char *text, uint32_t *ret)
{
    uint64_t value;
    char must[80];
    if (str_u64(text, UINT32_MAX, &value) || !in_range(field, value)) {
        (void)snprintf(must, sizeof must, "a whole number from %llu to %llu",
                       (unsigned long long)field->min, (unsigned long long)field->max);
        return wrong_value(bind, node, field, must);
    }
    *ret = (uint32_t)value;
    return ERR_OK;
}

static enum err_code take_time(struct bind *bind, const yaml_node_t *node,
                               const struct yaml_field *field, const char *text, int64_t *ret)
{
    int64_t ms;
    char must[96];
    char most[32];
    if (str_duration_ms(text, &ms) || ms < 0 || !in_range(field, (uint64_t)ms)) {
        str_format_duration((int64_t)field->max, most);
        (void)snprintf(must, sizeof must, "a time with its unit (ms, s, m, h, d), at most %s",
                       most);
        return wrong_value(bind, node, field, must);
    }
    *ret = ms;
    return ERR_OK;
}

static enum err_code take_bool(struct bind *bind, const yaml_node_t *node,
                               const struct yaml_field *field, const char *text, bool *ret)
{
    if (!str_equal(text, "true") && !str_equal(text, "false"))
        return wrong_value(bind, node, field, "true or false");
    *ret = text[0] == 't';
    return ERR_OK;
}

static enum err_code take_real(struct bind *bind, const yaml_node_t *node,
                               const struct yaml_field *field, const char *text, double *ret)
{
    char *end = NULL;
    const double value = strtod(text, &end);
    /* strtod takes hexadecimal, infinity and blanks in front as well; nobody means those. */
    if (strspn(text, "0123456789.+-eE") != strlen(text) || end == text || *end || !isfinite(value))
        return wrong_value(bind, node, field, "a number");
    *ret = value;
    return ERR_OK;
}

static enum err_code take_chars(struct bind *bind, const yaml_node_t *node,
                                const struct yaml_field *field, const char *text, char *ret)
{
    if (check_text(bind, node, field, text))
        return bind->err->code;
    memset(ret, 0, field->max + 1);
    memcpy(ret, text, strlen(text));
    return ERR_OK;
}

static enum err_code take_scalar(struct bind *bind, const yaml_node_t *node,
                                 const struct yaml_field *field, void *at)
{
    const char *text;
    int64_t ms = 0;
    if (scalar(bind, node, field, &text))
        return bind->err->code;
    switch (field->type) {
    case YAML_NUMBER:
        return take_number(bind, node, field, text, at);
    case YAML_REAL:
        return take_real(bind, node, field, text, at);
    case YAML_CHARS:
        return take_chars(bind, node, field, text, at);
    case YAML_BOOL:
        return take_bool(bind, node, field, text, at);
    case YAML_CHOICE:
        return take_choice(bind, node, field, text, at);
    case YAML_SIZE:
        return str_size_bytes(text, at)
                   ? wrong_value(bind, node, field, "a size in bytes, K, M, G or T")
                   : ERR_OK;
    case YAML_MS64:
        return take_time(bind, node, field, text, at);
    case YAML_MS:
        if (take_time(bind, node, field, text, &ms))
            return bind->err->code;
        *(uint32_t *)at = (uint32_t)ms;
        return ERR_OK;
    default:
        *(const char **)at = text;
        return check_text(bind, node, field, text);
    }
}

static yaml_node_t *node_at(struct bind *bind, int index)
{
    return yaml_document_get_node(bind->document, index);
}

static enum err_code take_map(struct bind *bind, const yaml_node_t *node,
                              const struct yaml_map *map, void *ret);

static enum err_code check_list(struct bind *bind, const yaml_node_t *node,
                                const struct yaml_field *field, size_t count)
{
    if (count <= field->max)
        return ERR_OK;
    return COMPLAIN(bind, node, "%s has %zu entries, at most %llu", field->key, count,
                    (unsigned long long)field->max);
}

static enum err_code take_texts(struct bind *bind, const yaml_node_t *node,
                                const struct yaml_field *field, char *base)
{
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    const char **texts = arena_alloc(bind->arena, (count + 1) * sizeof *texts);
    if (!texts)
        return too_large(bind);
    for (size_t i = 0; i < count; i++)
        if (scalar(bind, node_at(bind, node->data.sequence.items.start[i]), field, &texts[i]))
            return bind->err->code;
    *(const char ***)(void *)(base + field->offset) = texts;
    *(size_t *)(void *)(base + field->len_offset) = count;
    return ERR_OK;
}

static enum err_code take_maps(struct bind *bind, const yaml_node_t *node,
                               const struct yaml_field *field, char *base)
{
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    char *maps = arena_alloc(bind->arena, (count + 1) * field->map->size);
    if (!maps)
        return too_large(bind);
    for (size_t i = 0; i < count; i++) {
        yaml_node_t *item = node_at(bind, node->data.sequence.items.start[i]);
        if (field->map->initial)
            memcpy(maps + i * field->map->size, field->map->initial, field->map->size);
        if (take_map(bind, item, field->map, maps + i * field->map->size))
            return bind->err->code;
    }
    *(void **)(void *)(base + field->offset) = maps;
    *(size_t *)(void *)(base + field->len_offset) = count;
    return ERR_OK;
}

static enum err_code take_pairs(struct bind *bind, const yaml_node_t *node,
                                const struct yaml_field *field, char *base)
{
    size_t count = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    struct yaml_pair *pairs = arena_alloc(bind->arena, (count + 1) * sizeof *pairs);
    if (!pairs)
        return too_large(bind);
    for (size_t i = 0; i < count; i++) {
        yaml_node_pair_t *pair = &node->data.mapping.pairs.start[i];
        yaml_node_t *key = node_at(bind, pair->key);
        if (scalar(bind, key, field, &pairs[i].name) ||
            scalar(bind, node_at(bind, pair->value), field, &pairs[i].value))
            return bind->err->code;
        const char *must = field->breach ? field->breach(pairs[i].name) : NULL;
        if (must)
            return wrong_value(bind, key, field, must);
        for (size_t k = 0; k < i; k++)
            if (str_equal(pairs[k].name, pairs[i].name))
                return COMPLAIN(bind, key, "%s: %s is there twice", field->key, pairs[i].name);
    }
    *(struct yaml_pair **)(void *)(base + field->offset) = pairs;
    *(size_t *)(void *)(base + field->len_offset) = count;
    return ERR_OK;
}

static enum err_code take_word(struct bind *bind, const yaml_node_t *node,
                               const struct yaml_field *field, char *base)
{
    const char *text;
    if (scalar(bind, node, field, &text))
        return bind->err->code;
    *(const char **)(void *)(base + field->word_offset) = text;
    const char *must = field->breach ? field->breach(text) : NULL;
    return must ? wrong_value(bind, node, field, must) : ERR_OK;
}

static enum err_code take_value(struct bind *bind, const yaml_node_t *node,
                                const struct yaml_field *field, char *base)
{
    if (field->type == YAML_MAP)
        return node->type == YAML_MAPPING_NODE
                   ? take_map(bind, node, field->map, base + field->offset)
                   : wrong_kind(bind, node, field);
    bool pairs = field->type == YAML_PAIRS;
    bool list = field->type == YAML_TEXTS || field->type == YAML_MAPS;
    if (!pairs && !list)
        return take_scalar(bind, node, field, base + field->offset);
    if (field->word_offset && node->type == YAML_SCALAR_NODE)
        return take_word(bind, node, field, base);
    if (node->type != (pairs ? YAML_MAPPING_NODE : YAML_SEQUENCE_NODE))
        return wrong_kind(bind, node, field);
    size_t count = pairs
                       ? (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start)
                       : (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (check_list(bind, node, field, count))
        return bind->err->code;
    if (pairs)
        return take_pairs(bind, node, field, base);
    return field->type == YAML_TEXTS ? take_texts(bind, node, field, base)
                                     : take_maps(bind, node, field, base);
}

static enum err_code unknown_key(struct bind *bind, const yaml_node_t *key,
                                 const struct yaml_map *map)
{
    struct suggestion suggestion;
    char all[ERR_HINT_MAX - 16] = "";
    suggest_start(&suggestion, (const char *)key->data.scalar.value);
    for (size_t i = 0; i < map->fields_len; i++) {
        suggest_offer(&suggestion, map->fields[i].key);
        size_t used = strlen(all);
        (void)snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", map->fields[i].key);
    }
    COMPLAIN(bind, key, "%s has no key \"%.64s\"", map->what, (const char *)key->data.scalar.value);
    const char *best = suggest_best(&suggestion);
    return best ? err_hint(bind->err, "did you mean %s?", best)
                : err_hint(bind->err, "it has %s", all);
}

static enum err_code find_field(struct bind *bind, const yaml_node_t *key,
                                const struct yaml_map *map, size_t *ret)
{
    if (key->type != YAML_SCALAR_NODE)
        return COMPLAIN(bind, key, "a key of %s must be a text and is %s", map->what, kind_of(key));
    for (size_t i = 0; i < map->fields_len; i++)
        if (str_equal(map->fields[i].key, (const char *)key->data.scalar.value)) {
            *ret = i;
            return ERR_OK;
        }
    return unknown_key(bind, key, map);
}

static enum err_code check_missing(struct bind *bind, const yaml_node_t *node,
                                   const struct yaml_map *map, uint64_t seen)
{
    for (size_t i = 0; i < map->fields_len; i++) {
        const struct yaml_field *field = &map->fields[i];
        if (!field->required || (seen >> i & 1))
            continue;
        COMPLAIN(bind, node, "%s needs the key \"%s\"", map->what, field->key);
        return field->example ? err_hint(bind->err, "%s: %s", field->key, field->example)
                              : ERR_USAGE;
    }
    return ERR_OK;
}

static enum err_code take_map(struct bind *bind, const yaml_node_t *node,
                              const struct yaml_map *map, void *ret)
{
    if (node->type != YAML_MAPPING_NODE)
        return COMPLAIN(bind, node, "%s must be a map of keys and is %s", map->what, kind_of(node));
    uint64_t seen = 0;
    *(struct yaml_place *)(void *)((char *)ret + map->place_offset) = place_of(node->start_mark);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = node_at(bind, pair->key);
        size_t i = 0;
        if (find_field(bind, key, map, &i))
            return bind->err->code;
        if (seen >> i & 1)
            return COMPLAIN(bind, key, "%s has the key \"%s\" twice", map->what,
                            map->fields[i].key);
        seen |= UINT64_C(1) << i;
        if (take_value(bind, node_at(bind, pair->value), &map->fields[i], ret))
            return bind->err->code;
    }
    return check_missing(bind, node, map, seen);
}

static enum err_code syntax_error(const char *name, const yaml_parser_t *parser, struct err *err)
{
    struct yaml_place place = place_of(parser->problem_mark);
    yaml_complain(err, name, place, "%s%s%s", parser->problem ? parser->problem : "cannot be read",
                  parser->context ? " " : "", parser->context ? parser->context : "");
    return err_hint(err,
                    "YAML wants spaces, no tabs, and the same depth for keys that belong together");
}

static enum err_code bind_document(const char *name, yaml_document_t *document,
                                   const struct yaml_map *map, struct arena *arena, void *ret,
                                   struct err *err)
{
    struct bind bind = {name, document, arena, err};
    yaml_node_t *top = yaml_document_get_root_node(document);
    if (!top)
        return yaml_complain(err, name, (struct yaml_place){1, 1}, "the file is empty");
    return take_map(&bind, top, map, ret);
}

/* A second document would be ignored silently. */
static enum err_code expect_end(const char *name, yaml_parser_t *parser, struct err *err)
{
    yaml_document_t more;
    if (!yaml_parser_load(parser, &more))
        return syntax_error(name, parser, err);
    yaml_node_t *top = yaml_document_get_root_node(&more);
    struct yaml_place place = top ? place_of(top->start_mark) : (struct yaml_place){0};
    yaml_document_delete(&more);
    return top ? yaml_complain(err, name, place, "a second document begins here") : ERR_OK;
}

enum err_code yaml_bind(const char *name, struct bytes text, const struct yaml_map *map,
                        struct arena *arena, void *ret, struct err *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return err_set(err, ERR_FAILED, "no memory for a YAML parser");
    yaml_parser_set_input_string(&parser, text.ptr, text.len);
    enum err_code code;
    if (!yaml_parser_load(&parser, &document)) {
        code = syntax_error(name, &parser, err);
    } else {
        code = bind_document(name, &document, map, arena, ret, err);
        yaml_document_delete(&document);
        if (code == ERR_OK)
            code = expect_end(name, &parser, err);
    }
    yaml_parser_delete(&parser);
    return code;
}

/* Finding a key again. */

static yaml_node_t *value_of(yaml_document_t *document, const yaml_node_t *node, const char *key,
                             size_t len)
{
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(document, pair->key);
        if (name->type == YAML_SCALAR_NODE && name->data.scalar.length == len &&
            memcmp(name->data.scalar.value, key, len) == 0)
            return yaml_document_get_node(document, pair->value);
    }
    return NULL;
}

static yaml_node_t *item_of(yaml_document_t *document, const yaml_node_t *node, const char *number)
{
    const unsigned long i = strtoul(number, NULL, 10);
    if (node->type != YAML_SEQUENCE_NODE ||
        i >= (unsigned long)(node->data.sequence.items.top - node->data.sequence.items.start))
        return NULL;
    return yaml_document_get_node(document, node->data.sequence.items.start[i]);
}

/* The deepest node on the path; NULL when not even its first step is there. */
static yaml_node_t *walk(yaml_document_t *document, yaml_node_t *node, const char *path)
{
    yaml_node_t *found = NULL;
    while (node && *path) {
        const size_t len = strcspn(path, ".[]");
        node =
            *path == '[' ? item_of(document, node, path + 1) : value_of(document, node, path, len);
        found = node ? node : found;
        path += *path == '[' ? strcspn(path, "]") : len;
        path += strspn(path, *path == '[' ? "" : ".]");
    }
    return found;
}

static yaml_node_t *find_node(yaml_document_t *document, const char *path)
{
    yaml_node_t *found = walk(document, yaml_document_get_root_node(document), path);
    for (int i = 1; !found; i++) {
        yaml_node_t *node = yaml_document_get_node(document, i);
        if (!node)
            return NULL;
        found = value_of(document, node, path, strlen(path));
    }
    return found;
}

struct yaml_place yaml_find(struct bytes text, const char *path)
{
    struct yaml_place place = {1, 1};
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return place;
    yaml_parser_set_input_string(&parser, text.ptr, text.len);
    if (yaml_parser_load(&parser, &document)) {
        const yaml_node_t *node =
            yaml_document_get_root_node(&document) ? find_node(&document, path) : NULL;
        if (node)
            place = place_of(node->start_mark);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return place;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/codec_table.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

enum { KEY_MAX = 64 };

/* Each maker returns a new value, or NULL when jansson refuses the text or has no memory. */
static json_t *message_value(const struct codec_type *type, const void *message, bool top);

static void camel(const char *name, char ret[static KEY_MAX])
{
    size_t used = 0;
    bool upper = false;
    for (; *name && used < KEY_MAX - 1; name++) {
        if (*name != '_')
            ret[used++] = upper ? (char)toupper((unsigned char)*name) : *name;
        upper = *name == '_';
    }
    ret[used] = 0;
}

static json_t *base64_value(const struct bytes *in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text DEFER(mem_free_ref) = mem_new((in->len + 2) / 3 * 4 + 1, 1);
    size_t used = 0;
    for (size_t i = 0; i < in->len; i += 3) {
        size_t left = in->len - i;
        uint32_t bits = (uint32_t)in->ptr[i] << 16;
        bits |= left > 1 ? (uint32_t)in->ptr[i + 1] << 8 : 0;
        bits |= left > 2 ? in->ptr[i + 2] : 0;
        text[used++] = digits[bits >> 18];
        text[used++] = digits[bits >> 12 & 63];
        text[used++] = left > 1 ? digits[bits >> 6 & 63] : '=';
        text[used++] = left > 2 ? digits[bits & 63] : '=';
    }
    return json_stringn(text, used);
}

static json_t *text_value(const char *text)
{
    return json_string(text ? text : "");
}

static json_t *enum_value(const ProtobufCEnumDescriptor *descriptor, int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    return value ? json_string(value->name) : json_integer(number);
}

/* NULL also when the field has its default, which is left out: then *ret_absent. */
static json_t *number_value(const struct codec_row *row, const ProtobufCFieldDescriptor *field,
                            const void *member, bool *ret_absent)
{
    char text[32];
    static const uint8_t zero[sizeof(uint64_t)];
    bool wide = row->kind == CODEC_U64 || row->kind == CODEC_I64 || row->kind == CODEC_DOUBLE;
    size_t size = row->kind == CODEC_BOOL ? sizeof(bool) : wide ? 8 : 4;
    *ret_absent = memcmp(member, zero, size) == 0;
    if (*ret_absent)
        return NULL;
    switch (row->kind) {
    case CODEC_BOOL:
        return json_true();
    case CODEC_U32:
        return json_integer(*(const uint32_t *)member);
    case CODEC_I32:
        return json_integer(*(const int32_t *)member);
    case CODEC_ENUM:
        return enum_value(field->descriptor, *(const int32_t *)member);
    case CODEC_DOUBLE:
        return json_real(*(const double *)member);
    case CODEC_U64:
        (void)snprintf(text, sizeof text, "%" PRIu64, *(const uint64_t *)member);
        return json_string(text);
    default:
        (void)snprintf(text, sizeof text, "%" PRId64, *(const int64_t *)member);
        return json_string(text);
    }
}

static json_t *element_value(const struct codec_row *row, const void *list, size_t i)
{
    if (row->kind == CODEC_TEXTS)
        return text_value(((const char *const *)list)[i]);
    if (row->kind == CODEC_BYTES_LIST)
        return base64_value((const struct bytes *)list + i);
    return message_value(row->sub, (const char *)list + i * row->sub->size, false);
}

static json_t *list_value(const struct codec_row *row, const void *list, size_t len)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < len; i++) {
        if (json_array_append_new(array, element_value(row, list, i)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *field_value(const struct codec_row *row, const ProtobufCFieldDescriptor *field,
                           const char *plain, bool top, bool *ret_absent)
{
    const void *member = plain + row->offset;
    const struct bytes *bytes = member;
    const void *pointer;
    size_t len;
    switch (row->kind) {
    case CODEC_TEXT:
        pointer = *(const char *const *)member;
        *ret_absent = !pointer || !*(const char *)pointer;
        return *ret_absent ? NULL : text_value(pointer);
    case CODEC_BYTES:
        *ret_absent = !bytes->len;
        return *ret_absent ? NULL : base64_value(bytes);
    case CODEC_SUB:
        pointer = *(const void *const *)member;
        *ret_absent = !pointer;
        return pointer ? message_value(row->sub, pointer, false) : NULL;
    case CODEC_TEXTS:
    case CODEC_BYTES_LIST:
    case CODEC_SUBS:
        len = *(const size_t *)(const void *)(plain + row->offset_len);
        *ret_absent = !len && !top;
        return *ret_absent ? NULL : list_value(row, *(const void *const *)member, len);
    default:
        return number_value(row, field, member, ret_absent);
    }
}

static json_t *message_value(const struct codec_type *type, const void *message, bool top)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < type->rows_len; i++) {
        char key[KEY_MAX];
        bool absent = false;
        camel(type->rows[i].name, key);
        json_t *value =
            field_value(&type->rows[i], &type->descriptor->fields[i], message, top, &absent);
        if (!absent && json_object_set_new(object, key, value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

enum err_code codec_json(const struct codec_type *type, const void *message, int indent,
                         struct arena *arena, const char **ret, struct err *err)
{
    enum err_code code = codec_agrees(type, err);
    if (code)
        return code;
    json_t *object = message_value(type, message, true);
    if (!object)
        return err_set(err, ERR_MALFORMED, "%s: holds text that is not UTF-8", type->name);
    size_t flags = indent > 0 ? JSON_INDENT((size_t)indent) : JSON_COMPACT;
    char *text = json_dumps(object, flags | JSON_REAL_PRECISION(17));
    json_decref(object);
    char *copy = text ? arena_strdup(arena, text) : NULL;
    free(text);
    if (!copy)
        return err_set(err, ERR_SIZE, "%s: its JSON needs more than %zu bytes of memory",
                       type->name, arena->limit_bytes);
    *ret = copy;
    return ERR_OK;
}

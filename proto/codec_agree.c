/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/codec_table.h"

static bool is_list(const struct codec_row *row)
{
    return row->kind >= CODEC_TEXTS;
}

static ProtobufCType wire_type(enum codec_kind kind, ProtobufCType declared)
{
    switch (kind) {
    case CODEC_BOOL:
        return PROTOBUF_C_TYPE_BOOL;
    case CODEC_U32:
        return PROTOBUF_C_TYPE_UINT32;
    case CODEC_U64: /* either form on the wire, one form in memory */
        return declared == PROTOBUF_C_TYPE_FIXED64 ? declared : PROTOBUF_C_TYPE_UINT64;
    case CODEC_I32:
        return declared == PROTOBUF_C_TYPE_SINT32 ? declared : PROTOBUF_C_TYPE_INT32;
    case CODEC_I64:
        return PROTOBUF_C_TYPE_INT64;
    case CODEC_DOUBLE:
        return PROTOBUF_C_TYPE_DOUBLE;
    case CODEC_ENUM:
        return PROTOBUF_C_TYPE_ENUM;
    case CODEC_TEXT:
    case CODEC_TEXTS:
        return PROTOBUF_C_TYPE_STRING;
    case CODEC_BYTES:
    case CODEC_BYTES_LIST:
        return PROTOBUF_C_TYPE_BYTES;
    case CODEC_SUB:
    case CODEC_SUBS:
        break;
    }
    return PROTOBUF_C_TYPE_MESSAGE;
}

static bool row_agrees(const struct codec_row *row, const ProtobufCFieldDescriptor *field)
{
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    bool sub = field->type == PROTOBUF_C_TYPE_MESSAGE;
    return str_equal(row->name, field->name) && is_list(row) == repeated &&
           field->type == wire_type(row->kind, field->type) && sub == (row->sub != NULL) &&
           (!sub || row->sub->descriptor == field->descriptor);
}

enum err_code codec_agrees(const struct codec_type *type, struct err *err)
{
    if (atomic_load_explicit(type->agreed, memory_order_relaxed))
        return ERR_OK;
    const ProtobufCMessageDescriptor *descriptor = type->descriptor;
    if (type->rows_len != descriptor->n_fields)
        return err_set(err, ERR_FAILED, "%s: the table has %zu rows, the .proto %u fields",
                       type->name, type->rows_len, descriptor->n_fields);
    for (size_t i = 0; i < type->rows_len; i++)
        if (!row_agrees(&type->rows[i], &descriptor->fields[i]))
            return err_set(err, ERR_FAILED, "%s: row %zu (%s) is not the .proto's field %s",
                           type->name, i, type->rows[i].name, descriptor->fields[i].name);
    atomic_store_explicit(type->agreed, true, memory_order_relaxed);
    return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/codec_table.h"

#include <stdalign.h>
#include <string.h>

enum { FIELD_ID_MAX = (1 << 29) - 1 }; /* https://protobuf.dev/programming-guides/proto3 */

/* One decoding or encoding. */
struct run {
    struct arena *arena;
    bool full; /* the arena's limit was reached */
    struct err *err;
};

/* protobuf-c gives no length with a string, so its allocator keeps the size of each allocation in
 * front of it: a NUL inside is found like any other control character, and no strlen is needed. */
struct sized {
    size_t size;
    alignas(max_align_t) char data[];
};

static void *run_alloc(void *user, size_t size)
{
    struct run *run = user;
    struct sized *p =
        size > SIZE_MAX - sizeof *p ? NULL : arena_alloc(run->arena, sizeof *p + size);
    if (!p) {
        run->full = true;
        return NULL;
    }
    p->size = size;
    return p->data;
}

static void run_free(void *user, void *p)
{
    (void)user; /* the arena frees */
    (void)p;
}

/* Of the string as it was on the wire. */
static size_t wire_len(const char *text)
{
    if (text == protobuf_c_empty_string)
        return 0;
    const struct sized *sized =
        (const struct sized *)(const void *)(text - offsetof(struct sized, data));
    return sized->size - 1;
}

static enum err_code arena_full(struct run *run, const struct codec_at *at)
{
    return codec_fail(at, run->err, ERR_SIZE, "needs more than the %zu bytes of memory it may take",
                      run->arena->limit_bytes);
}

static const ProtobufCFieldDescriptor *field_at(const struct codec_type *type, size_t i)
{
    return &type->descriptor->fields[i];
}

/* Bytes to plain. wire is protobuf-c's struct of the type, plain is ours. */

static enum err_code read_message(struct run *run, const struct codec_at *up,
                                  const struct codec_type *type, const void *wire, void *plain);

static enum err_code read_text(struct run *run, const struct codec_at *at, const char *text)
{
    return codec_check_text(at, text, wire_len(text), run->err);
}

static enum err_code read_texts(struct run *run, struct codec_at *at, const char *const *texts,
                                size_t len)
{
    enum err_code code = ERR_OK;
    for (at->index = 0; !code && at->index < len; at->index++)
        code = read_text(run, at, texts[at->index]);
    return code;
}

static enum err_code read_bytes_list(struct run *run, struct codec_at *at,
                                     const ProtobufCBinaryData *wire, size_t len, void *member)
{
    struct bytes *list = arena_alloc(run->arena, len * sizeof *list);
    if (!list)
        return arena_full(run, at);
    enum err_code code = ERR_OK;
    for (at->index = 0; !code && at->index < len; at->index++) {
        list[at->index] = bytes_of(wire[at->index].data, wire[at->index].len);
        code = codec_check_bytes(at, wire[at->index].len, run->err);
    }
    *(const struct bytes **)member = list;
    return code;
}

static enum err_code read_subs(struct run *run, struct codec_at *at, const void *const *wire,
                               size_t len, void *member)
{
    const struct codec_type *sub = at->row->sub;
    char *list = arena_alloc(run->arena, len * sub->size);
    if (!list)
        return arena_full(run, at);
    enum err_code code = ERR_OK;
    for (at->index = 0; !code && at->index < len; at->index++)
        code = read_message(run, at, sub, wire[at->index], list + at->index * sub->size);
    *(const void **)member = list;
    return code;
}

static enum err_code read_list(struct run *run, struct codec_at *at, const void *list, size_t len,
                               char *plain)
{
    const struct codec_row *row = at->row;
    enum err_code code = codec_check_count(at, len, run->err);
    if (code)
        return code;
    *(size_t *)(void *)(plain + row->offset_len) = len;
    void *member = plain + row->offset;
    if (!len)
        return ERR_OK;
    if (row->kind == CODEC_SUBS)
        return read_subs(run, at, list, len, member);
    if (row->kind == CODEC_BYTES_LIST)
        return read_bytes_list(run, at, list, len, member);
    *(const void **)member = list;
    return read_texts(run, at, list, len);
}

static enum err_code read_bytes(struct run *run, const struct codec_at *at,
                                const ProtobufCBinaryData *wire, struct bytes *ret)
{
    *ret = bytes_of(wire->data, wire->len);
    return codec_check_bytes(at, wire->len, run->err);
}

static enum err_code read_sub(struct run *run, const struct codec_at *at, const void *wire,
                              void *member)
{
    if (!wire)
        return ERR_OK;
    void *sub = arena_alloc(run->arena, at->row->sub->size);
    if (!sub)
        return arena_full(run, at);
    *(const void **)member = sub;
    return read_message(run, at, at->row->sub, wire, sub);
}

static enum err_code read_number(struct run *run, const struct codec_at *at, const void *wire,
                                 void *member)
{
    switch (at->row->kind) {
    case CODEC_BOOL:
        *(bool *)member = *(const protobuf_c_boolean *)wire != 0;
        return ERR_OK;
    case CODEC_U32:
    case CODEC_I32:
    case CODEC_ENUM:
        memcpy(member, wire, sizeof(uint32_t));
        break;
    default:
        memcpy(member, wire, sizeof(uint64_t));
        break;
    }
    return codec_check_number(at, member, run->err);
}

static enum err_code read_field(struct run *run, struct codec_at *at,
                                const ProtobufCFieldDescriptor *field, const char *wire,
                                char *plain)
{
    const void *from = wire + field->offset;
    void *member = plain + at->row->offset;
    switch (at->row->kind) {
    case CODEC_TEXT:
        *(const char **)member = *(const char *const *)from;
        return read_text(run, at, *(const char *const *)from);
    case CODEC_BYTES:
        return read_bytes(run, at, from, member);
    case CODEC_SUB:
        return read_sub(run, at, *(const void *const *)from, member);
    case CODEC_TEXTS:
    case CODEC_BYTES_LIST:
    case CODEC_SUBS:
        return read_list(run, at, *(const void *const *)from,
                         *(const size_t *)(const void *)(wire + field->quantifier_offset), plain);
    default:
        return read_number(run, at, from, member);
    }
}

/* protobuf-c takes field number 0 when it is written in more than one byte, and cannot read what it
 * writes for it. */
static enum err_code read_unknown(struct run *run, const struct codec_at *at,
                                  const ProtobufCMessage *wire, struct codec_head *ret)
{
    for (unsigned i = 0; i < wire->n_unknown_fields; i++)
        if (!wire->unknown_fields[i].tag || wire->unknown_fields[i].tag > FIELD_ID_MAX)
            return codec_fail(at, run->err, ERR_MALFORMED, "has a field with number %u",
                              wire->unknown_fields[i].tag);
    *ret = (struct codec_head){wire->unknown_fields, wire->n_unknown_fields};
    return ERR_OK;
}

static enum err_code read_message(struct run *run, const struct codec_at *up,
                                  const struct codec_type *type, const void *wire, void *plain)
{
    struct codec_at at = {.up = up, .type = type, .index = CODEC_NO_INDEX};
    enum err_code unknown = read_unknown(run, &at, wire, plain);
    if (unknown)
        return unknown;
    for (size_t i = 0; i < type->rows_len; i++) {
        at.row = &type->rows[i];
        at.index = CODEC_NO_INDEX;
        enum err_code code = read_field(run, &at, field_at(type, i), wire, plain);
        if (code)
            return code;
    }
    return ERR_OK;
}

enum err_code codec_decode(const struct codec_type *type, struct bytes in, struct arena *arena,
                           void *ret, struct err *err)
{
    enum err_code code = codec_agrees(type, err);
    if (code)
        return code;
    struct codec_at at = {.type = type, .index = CODEC_NO_INDEX};
    if (in.len > type->bytes_max)
        return codec_fail(&at, err, ERR_SIZE, "%zu bytes, at most %zu", in.len, type->bytes_max);
    struct run run = {.arena = arena, .err = err};
    ProtobufCAllocator allocator = {run_alloc, run_free, &run};
    const void *wire = protobuf_c_message_unpack(type->descriptor, &allocator, in.len, in.ptr);
    if (!wire && !run.full)
        return codec_fail(&at, err, ERR_MALFORMED, "%zu bytes that are no such message", in.len);
    void *plain = wire ? arena_alloc(arena, type->size) : NULL;
    if (!plain)
        return arena_full(&run, &at);
    code = read_message(&run, NULL, type, wire, plain);
    if (!code)
        memcpy(ret, plain, type->size);
    return code;
}

/* Plain to bytes. */

static enum err_code write_message(struct run *run, const struct codec_at *up,
                                   const struct codec_type *type, const void *plain,
                                   ProtobufCMessage **ret);

static enum err_code write_text(struct run *run, const struct codec_at *at, const char *text,
                                const char **ret)
{
    *ret = text ? text : protobuf_c_empty_string;
    return codec_check_text(at, *ret, strlen(*ret), run->err);
}

static enum err_code write_bytes(struct run *run, const struct codec_at *at,
                                 const struct bytes *bytes, ProtobufCBinaryData *ret)
{
    *ret = (ProtobufCBinaryData){.len = bytes->len, .data = (uint8_t *)bytes->ptr};
    return codec_check_bytes(at, bytes->len, run->err);
}

static size_t wire_size(const struct codec_row *row)
{
    return row->kind == CODEC_BYTES_LIST ? sizeof(ProtobufCBinaryData) : sizeof(void *);
}

static enum err_code write_element(struct run *run, const struct codec_at *at, const void *list,
                                   void *out)
{
    switch (at->row->kind) {
    case CODEC_TEXTS:
        return write_text(run, at, ((const char *const *)list)[at->index],
                          (const char **)out + at->index);
    case CODEC_BYTES_LIST:
        return write_bytes(run, at, (const struct bytes *)list + at->index,
                           (ProtobufCBinaryData *)out + at->index);
    default:
        return write_message(run, at, at->row->sub,
                             (const char *)list + at->index * at->row->sub->size,
                             (ProtobufCMessage **)out + at->index);
    }
}

static enum err_code write_list(struct run *run, struct codec_at *at, const char *plain, void **ret,
                                size_t *ret_len)
{
    size_t len = *(const size_t *)(const void *)(plain + at->row->offset_len);
    const void *list = *(const void *const *)(const void *)(plain + at->row->offset);
    enum err_code code = codec_check_count(at, len, run->err);
    if (code || !len)
        return code;
    void *out = arena_alloc(run->arena, len * wire_size(at->row));
    if (!out)
        return arena_full(run, at);
    for (at->index = 0; !code && at->index < len; at->index++)
        code = write_element(run, at, list, out);
    *ret = out;
    *ret_len = len;
    return code;
}

static enum err_code write_number(struct run *run, const struct codec_at *at, const void *member,
                                  void *ret)
{
    switch (at->row->kind) {
    case CODEC_BOOL:
        *(protobuf_c_boolean *)ret = *(const bool *)member;
        return ERR_OK;
    case CODEC_U32:
    case CODEC_I32:
    case CODEC_ENUM:
        memcpy(ret, member, sizeof(uint32_t));
        break;
    default:
        memcpy(ret, member, sizeof(uint64_t));
        break;
    }
    return codec_check_number(at, member, run->err);
}

static enum err_code write_field(struct run *run, struct codec_at *at,
                                 const ProtobufCFieldDescriptor *field, const char *plain,
                                 char *wire)
{
    void *to = wire + field->offset;
    const void *member = plain + at->row->offset;
    switch (at->row->kind) {
    case CODEC_TEXT:
        return write_text(run, at, *(const char *const *)member, to);
    case CODEC_BYTES:
        return write_bytes(run, at, member, to);
    case CODEC_SUB:
        return *(const void *const *)member
                   ? write_message(run, at, at->row->sub, *(const void *const *)member, to)
                   : ERR_OK;
    case CODEC_TEXTS:
    case CODEC_BYTES_LIST:
    case CODEC_SUBS:
        return write_list(run, at, plain, to, (size_t *)(void *)(wire + field->quantifier_offset));
    default:
        return write_number(run, at, member, to);
    }
}

static enum err_code write_message(struct run *run, const struct codec_at *up,
                                   const struct codec_type *type, const void *plain,
                                   ProtobufCMessage **ret)
{
    struct codec_at at = {.up = up, .type = type, .index = CODEC_NO_INDEX};
    ProtobufCMessage *wire = arena_alloc(run->arena, type->descriptor->sizeof_message);
    if (!wire)
        return arena_full(run, &at);
    type->descriptor->message_init(wire);
    const struct codec_head *head = plain;
    wire->unknown_fields = (ProtobufCMessageUnknownField *)head->unknown;
    wire->n_unknown_fields = (unsigned)head->unknown_len;
    for (size_t i = 0; i < type->rows_len; i++) {
        at.row = &type->rows[i];
        at.index = CODEC_NO_INDEX;
        enum err_code code = write_field(run, &at, field_at(type, i), plain, (char *)wire);
        if (code)
            return code;
    }
    *ret = wire;
    return ERR_OK;
}

enum err_code codec_encode(const struct codec_type *type, const void *message, struct arena *arena,
                           struct bytes *ret, struct err *err)
{
    enum err_code code = codec_agrees(type, err);
    if (code)
        return code;
    struct run run = {.arena = arena, .err = err};
    ProtobufCMessage *wire = NULL;
    code = write_message(&run, NULL, type, message, &wire);
    if (code)
        return code;
    struct codec_at at = {.type = type, .index = CODEC_NO_INDEX};
    size_t len = protobuf_c_message_get_packed_size(wire);
    if (len > type->bytes_max)
        return codec_fail(&at, err, ERR_SIZE, "%zu bytes, at most %zu", len, type->bytes_max);
    uint8_t *out = arena_alloc(arena, len);
    if (!out)
        return arena_full(&run, &at);
    *ret = bytes_of(out, protobuf_c_message_pack(wire, out));
    return ERR_OK;
}

size_t codec_max_bytes(const struct codec_type *type)
{
    return type->bytes_max;
}

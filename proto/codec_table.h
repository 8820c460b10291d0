/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside proto/ and its tests only: what a row of a message's table says, and the checks that both
 * directions share. A row stands at the index of its field in the .proto; one line documents the
 * field's limits. codec_agrees() holds the table against the generated descriptor, so the two
 * cannot drift apart.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>

#include "proto/codec.h"

enum codec_kind {
    CODEC_BOOL,
    CODEC_U32,
    CODEC_U64,
    CODEC_I32,
    CODEC_I64,
    CODEC_DOUBLE, /* finite */
    CODEC_ENUM,   /* a number that is not known yet is kept */
    CODEC_TEXT,
    CODEC_BYTES,
    CODEC_SUB,
    CODEC_TEXTS,
    CODEC_BYTES_LIST,
    CODEC_SUBS,
};

/* What a text may hold. */
enum codec_class {
    CLASS_TEXT,    /* UTF-8, no control characters but newline and tab */
    CLASS_LINE,    /* UTF-8, no control characters */
    CLASS_GRAPH,   /* printable ASCII without blanks: URLs, addresses, names with separators */
    CLASS_TOKEN,   /* [A-Za-z0-9_-] */
    CLASS_VERSION, /* [A-Za-z0-9._+~-], begins with a letter or digit */
    CLASS_PATH,    /* stays inside its folder, or "." */
    CLASS_HEX,     /* lower-case hexadecimal, of exactly max digits */
    CLASS_COMMIT,  /* lower-case hexadecimal, 40 or 64 digits */
    CLASS_ULID,
};

struct codec_row {
    const char *name;
    enum codec_kind kind;
    enum codec_class class;
    bool required;       /* text and bytes, and each of a list: not empty */
    unsigned offset;     /* of the member in the plain struct */
    unsigned offset_len; /* lists: of its length */
    unsigned count_min;  /* lists */
    unsigned count_max;
    int64_t min;  /* numbers: value; bytes: length unless empty */
    uint64_t max; /* numbers: value; text and bytes: length */
    const struct codec_type *sub;
};

struct codec_type {
    const char *name; /* the plain struct's */
    size_t size;      /* of the plain struct */
    size_t bytes_max; /* encoded */
    const struct codec_row *rows;
    size_t rows_len;
    const ProtobufCMessageDescriptor *descriptor;
    atomic_bool *agreed; /* codec_agrees() has held */
};

/* Every type of codec.h. */
extern const struct codec_type *const codec_types[];
extern const size_t codec_types_len;

/* Where a check stands, for the path in its text. */
struct codec_at {
    const struct codec_at *up;
    const struct codec_type *type;
    const struct codec_row *row; /* NULL: the whole message */
    size_t index;                /* of a list, or CODEC_NO_INDEX */
};
#define CODEC_NO_INDEX SIZE_MAX

/* Sets err to "path: sentence" and returns code. */
enum err_code codec_fail(const struct codec_at *at, struct err *err, enum err_code code,
                         const char *fmt, ...) PRINTF_LIKE(4, 5);

MUST_USE enum err_code codec_check_text(const struct codec_at *at, const char *text, size_t len,
                                        struct err *err);
MUST_USE enum err_code codec_check_bytes(const struct codec_at *at, size_t len, struct err *err);
MUST_USE enum err_code codec_check_count(const struct codec_at *at, size_t count, struct err *err);
/* member points to the number in a plain struct. */
MUST_USE enum err_code codec_check_number(const struct codec_at *at, const void *member,
                                          struct err *err);

/* Table, plain struct and descriptor say the same of names, kinds, labels and sub-types. */
MUST_USE enum err_code codec_agrees(const struct codec_type *type, struct err *err);

/* Rows. Each table defines S as its plain struct. IS_A costs nothing and refuses, at compile time,
 * a member of another C type. */
#define IS_A(f, ctype) (0 * _Generic(((S *)0)->f, ctype : 1u))
#define ROW(f, k, ctype) .name = #f, .kind = k, .offset = (unsigned)offsetof(S, f) + IS_A(f, ctype)
#define ROW_LIST(f, k, ctype, lo, hi)                                                              \
    ROW(f, k, ctype), .offset_len = (unsigned)offsetof(S, f##_len) + IS_A(f##_len, size_t),        \
                      .count_min = (lo), .count_max = (hi)

#define BOOL(f)                                                                                    \
    {                                                                                              \
        ROW(f, CODEC_BOOL, bool)                                                                   \
    }
#define U32(f, lo, hi)                                                                             \
    {                                                                                              \
        ROW(f, CODEC_U32, uint32_t), .min = (lo), .max = (hi)                                      \
    }
#define U64(f, lo, hi)                                                                             \
    {                                                                                              \
        ROW(f, CODEC_U64, uint64_t), .min = (lo), .max = (hi)                                      \
    }
#define I32(f, lo, hi)                                                                             \
    {                                                                                              \
        ROW(f, CODEC_I32, int32_t), .min = (lo), .max = (hi)                                       \
    }
#define I64(f, lo, hi)                                                                             \
    {                                                                                              \
        ROW(f, CODEC_I64, int64_t), .min = (lo), .max = (hi)                                       \
    }
#define DOUBLE(f)                                                                                  \
    {                                                                                              \
        ROW(f, CODEC_DOUBLE, double)                                                               \
    }
#define ENUM(f, lo)                                                                                \
    {                                                                                              \
        ROW(f, CODEC_ENUM, unsigned), .min = (lo), .max = INT32_MAX                                \
    }
/* NEED: not empty. Lengths in bytes, lists with how many of what length each. */
#define TEXT(f, hi, c)                                                                             \
    {                                                                                              \
        ROW(f, CODEC_TEXT, const char *), .max = (hi), .class = CLASS_##c                          \
    }
#define NEED(f, hi, c)                                                                             \
    {                                                                                              \
        ROW(f, CODEC_TEXT, const char *), .max = (hi), .class = CLASS_##c, .required = true        \
    }
#define BYTES(f, lo, hi)                                                                           \
    {                                                                                              \
        ROW(f, CODEC_BYTES, struct bytes), .min = (lo), .max = (hi)                                \
    }
#define NEED_BYTES(f, lo, hi)                                                                      \
    {                                                                                              \
        ROW(f, CODEC_BYTES, struct bytes), .min = (lo), .max = (hi), .required = true              \
    }
#define TEXTS(f, lo, hi, each, c)                                                                  \
    {                                                                                              \
        ROW_LIST(f, CODEC_TEXTS, const char *const *, lo, hi), .max = (each), .class = CLASS_##c   \
    }
#define NEED_TEXTS(f, lo, hi, each, c)                                                             \
    {                                                                                              \
        ROW_LIST(f, CODEC_TEXTS, const char *const *, lo, hi), .max = (each), .class = CLASS_##c,  \
                                                               .required = true                    \
    }
#define NEED_BYTES_LIST(f, lo, hi, each)                                                           \
    {                                                                                              \
        ROW_LIST(f, CODEC_BYTES_LIST, const struct bytes *, lo, hi), .min = (each), .max = (each), \
                                                                     .required = true              \
    }
#define SUB(f, type)                                                                               \
    {                                                                                              \
        ROW(f, CODEC_SUB, const struct type *), .sub = &codec_##type                               \
    }
#define SUBS(f, type, lo, hi)                                                                      \
    {                                                                                              \
        ROW_LIST(f, CODEC_SUBS, const struct type *, lo, hi), .sub = &codec_##type                 \
    }

/* codec_<n> from <n>_rows and the generated descriptor. */
#define CODEC_TYPE(n, generated, max_bytes)                                                        \
    static atomic_bool n##_agreed;                                                                 \
    const struct codec_type codec_##n = {                                                          \
        #n,         sizeof(struct n),    (max_bytes),                                              \
        n##_rows,   ARRAY_LEN(n##_rows), &captain__v1__##generated##__descriptor,                  \
        &n##_agreed}

/* Limits that several rows share. Counters and times fit the 63 bits that SQLite keeps. */
#define COUNTER_MAX INT64_MAX
#define DURATION_MAX_MS (7u * 24 * 3600 * 1000)
enum {
    SIG_BYTES = 64,
    KEY_BYTES = 32,
    KEYID_HEX = 16,
    ULID_LEN = 26,
    HOLDER_MAX = 320,     /* host:pid */
    NAME_MAX_BYTES = 129, /* "app/channel", "app@version", "site/device" */
    ACTOR_MAX = 384,      /* "operator:<token>", "captain:<holder>" */
    REASON_MAX = 4096,    /* an operator's words */
    CAUSE_MAX = 512,      /* a program's sentence, as ERR_TEXT_MAX */
    URL_MAX = 2048,
    PATH_MAX_BYTES = 1024,
    ENVELOPE_MAX_BYTES = (512 << 10) + 4096,
    /* A body must fit into an ApiReply, and that into one message of the bus (1 MiB). */
    API_REPLY_MAX_BYTES = 1 << 20,
    API_MAX_BYTES = API_REPLY_MAX_BYTES - 4096,
    PIECE_MAX_BYTES = 512 << 10,
    LIST_MAX = 4096, /* rows of one reply */
};

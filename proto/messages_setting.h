/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of setting.proto as plain structs; messages.h says how they are to be read.
 */
#pragma once

#include "proto/messages.h"

struct secret_set {
    struct codec_head head;
    const char *app;
    const char *name;
    const char *scope;
    struct bytes digest;
    uint64_t version;
};
struct secret_removed {
    struct codec_head head;
    const char *app;
    const char *name;
    const char *scope;
};
struct flag_set {
    struct codec_head head;
    const char *app;
    const char *channel;
    const char *name;
    const char *value;
    const char *otherwise;
    uint32_t permyriad;
    const char *salt;
};
struct flag_unset {
    struct codec_head head;
    const char *app;
    const char *channel;
    const char *name;
};
struct vault_key {
    struct codec_head head;
    struct bytes public_key;
};
struct secret_put {
    struct codec_head head;
    const char *app;
    const char *name;
    const char *scope;
    struct bytes sealed;
    bool rotate;
    const char *reason;
};
struct secret_query {
    struct codec_head head;
    const char *app;
    const char *name;
    const char *scope;
    const char *reason;
};
struct secret_info {
    struct codec_head head;
    const char *app;
    const char *name;
    const char *scope;
    uint64_t version;
    int64_t set_ms;
    const char *set_by;
    uint64_t decision;
    uint64_t devices;
    uint64_t confirmed;
    const char *const *waiting;
    size_t waiting_len;
    bool settling;
};
struct secret_list {
    struct codec_head head;
    const struct secret_info *secrets;
    size_t secrets_len;
};
struct flag_change {
    struct codec_head head;
    const char *channel;
    const char *name;
    const char *value;
    const char *otherwise;
    uint32_t permyriad;
    const char *reason;
};
struct flag_info {
    struct codec_head head;
    const char *channel;
    const char *name;
    const char *value;
    const char *otherwise;
    uint32_t permyriad;
    int64_t set_ms;
    const char *set_by;
    uint64_t decision;
};
struct flag_list {
    struct codec_head head;
    const struct flag_info *flags;
    size_t flags_len;
};

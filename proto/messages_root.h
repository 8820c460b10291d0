/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of root.proto as plain structs; messages.h says how they are to be read.
 */
#pragma once

#include "proto/messages.h"

struct root_publish {
    struct codec_head head;
    struct bytes envelope;
    const char *reason;
};
struct root_query {
    struct codec_head head;
    uint64_t version;
};
struct root_step {
    struct codec_head head;
    uint64_t version;
    int64_t expires_ms;
    int64_t at_ms;
    const char *by;
    const char *reason;
    uint64_t decision;
};
struct root_info {
    struct codec_head head;
    const struct root *root; /* NULL: absent */
    struct bytes envelope;
    const struct root_step *chain;
    size_t chain_len;
    const char *const *odd;
    size_t odd_len;
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * captain root publish
 */
#include <inttypes.h>

#include "captain/cli/client.h"
#include "captain/cli/output.h"
#include "captain/cli/root.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "proto/messages_root.h"

static enum err_code print(const struct root_info *info, struct arena *arena, struct err *err)
{
    if (output_is_json())
        return output_message(&codec_root_info, info, arena, err);
    if (info->root)
        output_field("root", "version %" PRIu64 " of tenant %s, until %s", info->root->version,
                     info->root->tenant, output_second(arena, info->root->expires_ms));
    for (size_t i = 0; i < info->odd_len; i++)
        output_field("note", "%s", info->odd[i]);
    return ERR_OK;
}

/* The root at hand goes on with the chain, so that the next command judges by the new one. What is
 * published is published: a file that cannot follow is said, and no error. */
static void follow(const struct invocation *invocation, struct bytes envelope)
{
    struct err err = {0};
    struct root_file old;
    struct root next;
    if (root_file_load(invocation, &old, &err) || bytes_equal(old.envelope, envelope) ||
        trust_root_next(&old.root, envelope, invocation->arena, &next, &err))
        return;
    if (file_replace(old.path, envelope, 0644, &err))
        output_note("%s is still the root before: %s", old.path, err.text);
    else
        output_note("%s is this root now", old.path);
}

enum err_code cmd_root_publish(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct arena *arena = invocation->arena;
    struct root_draft draft;
    struct root_info info;
    if (root_draft_read(invocation->args[0], arena, &draft, err))
        return err->code;
    struct root_publish request = {.envelope = draft.document.bytes,
                                   .reason = invocation->flags[FLAG_REASON]};
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"root", "publish", &codec_root_publish, &request,
                                          &codec_root_info, &info},
                    arena, err) ||
        print(&info, arena, err))
        return err->code;
    follow(invocation, draft.document.bytes);
    return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/link_root.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/retry.h"
#include "common/base/str.h"

enum { GET_TIMEOUT_MS = 5000, SLACK_MS = 1000 };

static const char prefix[] = "dn.root.";
static const struct retry_policy get_retry = {.min_ms = 500, .base_ms = 1000, .max_ms = 60000};

void link_root_init(struct link_root *root, const struct link_root_options *options)
{
    *root = (struct link_root){.options = *options};
}

static int64_t now_ms(const struct link_root *root)
{
    return loop_now_ms(root->options.loop);
}

/* Between half and one and a half of the interval. */
static int64_t refresh_at_ms(struct link_root *root)
{
    int64_t half_ms = root->options.refresh_ms / 2;
    int64_t jitter_ms = (int64_t)rng_below(root->options.rng, (uint64_t)(2 * half_ms + 1));
    return (now_ms(root) + half_ms + jitter_ms + SLACK_MS - 1) / SLACK_MS * SLACK_MS;
}

static void take(struct link_root *root, struct bytes envelope)
{
    const struct link_root_owner *owner = &root->options.owner;
    if (!owner->take(owner->arg, envelope))
        return;
    root->due_ms = now_ms(root); /* there may be one more */
    root->options.taken(root->options.arg);
}

static void on_got(void *arg, const struct bus_message *message, const struct err *err)
{
    struct link_root *root = arg;
    root->asked = false;
    if (root->closing)
        return;
    if (err->code != ERR_OK && err->code != ERR_NOT_FOUND) {
        root->failures++;
        root->due_ms = now_ms(root) + retry_delay_ms(&get_retry, root->failures, root->options.rng);
        return;
    }
    root->failures = 0;
    root->due_ms = refresh_at_ms(root);
    if (err->code == ERR_OK)
        take(root, message->data);
}

/* One that was missed on the way is asked for first. */
static void on_root(void *arg, const struct bus_message *message)
{
    struct link_root *root = arg;
    uint64_t version = 0, own = root->options.owner.version(root->options.owner.arg);
    if (root->closing || strncmp(message->subject, prefix, sizeof prefix - 1) != 0 ||
        str_u64(message->subject + sizeof prefix - 1, INT64_MAX, &version) != ERR_OK)
        return;
    if (version == own + 1)
        take(root, message->data);
    else if (version > own)
        root->due_ms = now_ms(root);
}

enum err_code link_root_subscribe(struct link_root *root, struct bus *bus, struct err *err)
{
    root->bus = bus;
    return bus_subscribe(bus, "dn.root.*", on_root, root, err);
}

void link_root_connected(struct link_root *root)
{
    root->due_ms = now_ms(root);
}

void link_root_turn(struct link_root *root)
{
    char subject[64];
    struct err err;
    if (root->asked || root->due_ms > now_ms(root))
        return;
    (void)snprintf(subject, sizeof subject, "desired.root.%" PRIu64,
                   root->options.owner.version(root->options.owner.arg) + 1);
    root->asked = true;
    if (bus_get_last(root->bus, "DESIRED", subject, GET_TIMEOUT_MS, on_got, root, &err) != ERR_OK)
        on_got(root, NULL, &err);
}

int64_t link_root_due_ms(const struct link_root *root)
{
    return root->asked ? INT64_MAX : root->due_ms;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_events.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

/* An event and the text it points to, in one piece of memory. */
struct kept {
    struct event event;
    char app[TOKEN_MAX + 1], channel[TOKEN_MAX + 1];
    char version[VERSION_MAX + 1], attempt[ULID_TEXT];
    char rollout[TOKEN_MAX + 1];
    uint8_t digest[DIGEST_BYTES];
    char text[ERR_TEXT_MAX + ERR_HINT_MAX];
};

static const char *keep(char *to, size_t size, const char *text)
{
    size_t len = text ? strnlen(text, size - 1) : 0;
    for (size_t i = 0; i < len; i++)
        to[i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i]
                                                        : '?'); /* it may quote foreign bytes */
    to[len] = '\0';
    return to;
}

void app_events_add(struct app_events *events, const struct event *event)
{
    if (events->len == APP_EVENTS_MAX) {
        events->dropped++;
        return;
    }
    struct kept *kept = mem_new(1, sizeof *kept);
    kept->event = *event;
    kept->event.time_ms = clock_unix_ms();
    kept->event.app = keep(kept->app, sizeof kept->app, event->app);
    kept->event.channel = keep(kept->channel, sizeof kept->channel, event->channel);
    kept->event.version = keep(kept->version, sizeof kept->version, event->version);
    kept->event.attempt = keep(kept->attempt, sizeof kept->attempt, event->attempt);
    kept->event.rollout = keep(kept->rollout, sizeof kept->rollout, event->rollout);
    kept->event.text = keep(kept->text, sizeof kept->text, event->text);
    if (event->digest.len == DIGEST_BYTES) {
        memcpy(kept->digest, event->digest.ptr, DIGEST_BYTES);
        kept->event.digest = bytes_of(kept->digest, DIGEST_BYTES);
    }
    events->list[events->len++] = &kept->event;
}

enum err_code app_events_store(struct app_events *events, struct agent_store *store,
                               struct err *err)
{
    if (events->dropped > 0)
        log_write(LOG_LEVEL_WARNING, "%u events could not be kept while the store took nothing",
                  events->dropped);
    events->dropped = 0;
    for (size_t i = 0; i < events->len; i++) {
        enum err_code code = agent_store_add_event(store, events->list[i], err);
        if (code == ERR_FULL || code == ERR_MALFORMED || code == ERR_SIZE)
            log_err("an event is not kept", err);
        else if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

void app_events_clear(struct app_events *events)
{
    for (size_t i = 0; i < events->len; i++)
        mem_free(events->list[i]);
    events->len = 0;
}

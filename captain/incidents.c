/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/incidents.h"

#include <inttypes.h>
#include <stdio.h>

#include "captain/core/clone.h"
#include "captain/core/incident.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum { TEXT_MAX_BYTES = 400, SUBJECT_MAX_BYTES = 2 * TOKEN_MAX + 2, KIND_MAX_BYTES = 32 };

struct incidents {
    struct decisions *decisions;
    const char *holder;
    struct incident_limit limit;
    unsigned waiting; /* decisions that have not ended */
    struct clone_watch *watches;
    uint32_t watches_cap;
};

/* One on its way into the log. */
struct note {
    struct incidents *incidents;
    char kind[KIND_MAX_BYTES];
    char subject[SUBJECT_MAX_BYTES];
    char text[TEXT_MAX_BYTES];
    char actor[300];
    uint64_t suppressed;
};

static enum err_code prepare(void *arg, struct arena *arena, struct decision *ret, struct err *err)
{
    const struct note *note = arg;
    const struct incident_noted noted = {.kind = note->kind,
                                         .subject = note->subject,
                                         .text = note->text,
                                         .suppressed = note->suppressed};
    *ret = (struct decision){.actor = note->actor,
                             .kind = "incident.noted",
                             .subject = note->subject,
                             .reason = note->text};
    return codec_encode(&codec_incident_noted, &noted, arena, &ret->body, err);
}

static void missed(struct note *note, const struct err *err)
{
    log_err("an incident is not in the log", err);
    incident_missed(&note->incidents->limit, note->kind, note->suppressed + 1);
    mem_free(note);
}

static void decided(void *arg, uint64_t seq, const struct err *err)
{
    struct note *note = arg;
    (void)seq;
    note->incidents->waiting--;
    if (err->code == ERR_OK)
        mem_free(note);
    else
        missed(note, err);
}

static void submit(struct note *note)
{
    struct incidents *incidents = note->incidents;
    struct err err = {0};
    log_write(LOG_LEVEL_WARNING, "incident: %s %s: %s", note->kind, note->subject, note->text);
    enum err_code code = incidents->waiting < INCIDENTS_WAITING_MAX
                             ? ERR_OK
                             : err_set(&err, ERR_FULL, "%d wait already", INCIDENTS_WAITING_MAX);
    if (code == ERR_OK)
        code = decisions_submit(incidents->decisions, prepare, decided, note, &err);
    if (code == ERR_OK)
        incidents->waiting++;
    else
        missed(note, &err);
}

void incidents_note(struct incidents *incidents, const char *kind, const char *subject,
                    const char *fmt, ...)
{
    uint64_t suppressed = 0;
    va_list args;
    if (!incident_may(&incidents->limit, kind, subject, clock_unix_ms(), &suppressed))
        return;
    struct note *note = mem_new(1, sizeof *note);
    note->incidents = incidents;
    note->suppressed = suppressed;
    (void)snprintf(note->kind, sizeof note->kind, "%s", kind);
    (void)snprintf(note->subject, sizeof note->subject, "%s", subject);
    (void)snprintf(note->actor, sizeof note->actor, "captain:%s", incidents->holder);
    va_start(args, fmt);
    (void)vsnprintf(note->text, sizeof note->text, fmt, args);
    va_end(args);
    submit(note);
}

void incidents_heard(struct incidents *incidents, uint32_t device, const char *name,
                     uint64_t instance)
{
    if (instance == 0)
        return; /* an agent that does not say it */
    if (device >= incidents->watches_cap) {
        const uint32_t cap = device + device / 2 + 64;
        incidents->watches =
            mem_grow(incidents->watches, incidents->watches_cap, cap, sizeof *incidents->watches);
        incidents->watches_cap = cap;
    }
    if (clone_heard(&incidents->watches[device], instance))
        incidents_note(incidents, "clone", name,
                       "two agents speak as %s: its key was copied, or it runs twice", name);
}

struct incidents *incidents_new(struct decisions *decisions, const char *holder)
{
    struct incidents *incidents = mem_new(1, sizeof *incidents);
    incidents->decisions = decisions;
    incidents->holder = holder;
    return incidents;
}

void incidents_free(struct incidents *incidents)
{
    if (!incidents)
        return;
    mem_free(incidents->watches);
    mem_free(incidents);
}

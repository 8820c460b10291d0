/* SPDX-License-Identifier: Apache-2.0
 *
 * Simulated devices of rollouts_world.h, which includes this file: they speak over the bus as agents do.
 */
#pragma once

static inline const char *digest_version(const struct world *w, const uint8_t *digest)
{
    return memcmp(digest, w->one, DIGEST_BYTES) == 0   ? "1.0"
           : memcmp(digest, w->two, DIGEST_BYTES) == 0 ? "1.1"
                                                       : "1.2";
}

static inline void sim_subject(const struct sim *s, const char *what, char ret[static 96])
{
    const int site = (int)strcspn(s->name, "/");
    (void)snprintf(ret, 96, "%s.%.*s.%s", what, site, s->name, s->name + site + 1);
}

static inline void on_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    (void)arg, (void)seq, (void)duplicate, (void)err; /* sent again until captain has it */
}

static inline void sim_send_events(struct sim *s, uint64_t from)
{
    char subject[96], id[96];
    sim_subject(s, "event", subject);
    for (uint64_t i = from; i < s->written; i++) {
        (void)snprintf(id, sizeof id, "%s/%" PRIu64 "/%" PRId64, s->name, i,
                       clock_mono_ms() / RESEND_MS);
        if (bus_store(s->w->bus, subject, s->events[i], id, (struct bus_expect){0}, 2000, on_stored,
                      NULL, &s->w->err) != ERR_OK)
            return;
        s->sent = i + 1;
    }
}

static inline void sim_event(struct sim *s, enum event_kind kind, const uint8_t *digest)
{
    struct world *w = s->w;
    const struct event event = {.epoch = "01HF7YAT00AAAAAAAAAAAAAAAA",
                                .seq = s->written + 1,
                                .time_ms = clock_unix_ms(),
                                .kind = kind,
                                .app = "hello",
                                .channel = "stable",
                                .generation = s->generation,
                                .digest = bytes_of(digest, DIGEST_BYTES),
                                .version = digest_version(w, digest),
                                .rollout = s->taking_rollout,
                                .attempt_number = s->taking_rollout[0] ? s->attempt : 0};
    assert_true(s->written < EVENTS_MAX);
    assert_ok(w, codec_encode(&codec_event, &event, &w->arena, &s->events[s->written], &w->err));
    s->written++;
    sim_send_events(s, s->sent);
}

static inline void sim_health(struct sim *s)
{
    struct world *w = s->w;
    struct bytes data;
    char subject[96];
    const struct app_status app = {.app = "hello",
                                   .channel = "stable",
                                   .state = s->busy ? APP_STATE_INSTALLING : APP_STATE_HEALTHY,
                                   .digest =
                                       bytes_of(s->running, s->has_release ? DIGEST_BYTES : 0),
                                   .version = s->has_release ? digest_version(w, s->running) : "",
                                   .generation = s->generation,
                                   .rollout = s->rollout,
                                   .attempt_number = s->attempt};
    const struct health health = {.epoch = "01HF7YAT00AAAAAAAAAAAAAAAA",
                                  .event_seq = s->written,
                                  .sent_ms = clock_unix_ms(),
                                  .interval_ms = HEALTH_MS,
                                  .agent_version = "0.1.0",
                                  .apps = &app,
                                  .apps_len = 1,
                                  .hardware = "x86"};
    sim_subject(s, "health", subject);
    arena_reset(&w->passing);
    assert_ok(w, codec_encode(&codec_health, &health, &w->passing, &data, &w->err));
    if (bus_publish(w->bus, subject, data, NULL, NULL, &w->err) != ERR_OK)
        return; /* the next one says it too */
}

static inline void sim_done(struct sim *s)
{
    struct world *w = s->w;
    const bool bad = s->bad && memcmp(s->taking, w->one, DIGEST_BYTES) != 0;
    if (s->stuck && !bad)
        return;
    s->busy = false;
    w->busy--;
    w->busy_site[s->site]--;
    if (bad) {
        memcpy(s->failed, s->taking, DIGEST_BYTES);
        s->has_failed = true;
        sim_event(s, EVENT_KIND_ROLLED_BACK, s->taking);
    } else {
        memcpy(s->running, s->taking, DIGEST_BYTES);
        s->has_release = true;
        sim_event(s, EVENT_KIND_CONFIRMED, s->taking);
    }
    sim_health(s);
}

static inline void sim_switch(struct sim *s)
{
    struct world *w = s->w;
    s->busy = true;
    memcpy(s->taking, s->wanted, DIGEST_BYTES);
    (void)snprintf(s->taking_rollout, sizeof s->taking_rollout, "%s", s->rollout);
    w->busy++;
    w->busy_site[s->site]++;
    s->switched += memcmp(s->taking, w->one, DIGEST_BYTES) != 0;
    if (s->taking_rollout[0]) {
        w->busy_max = w->busy > w->busy_max ? w->busy : w->busy_max;
        assert_true(w->busy <= CAP);
        assert_true(w->busy_site[s->site] <= CAP_SITE);
    }
    sim_event(s, EVENT_KIND_ACTIVATED, s->taking);
    s->done_at_ms = clock_mono_ms() + w->work_ms;
}

static inline void on_lease(void *arg, const struct bus_message *message, const struct err *err)
{
    struct sim *s = arg;
    struct world *w = s->w;
    struct lease_reply reply;
    s->asking = false;
    s->ask_at_ms = clock_mono_ms() + ASK_AGAIN_MS;
    if (err->code != ERR_OK)
        return;
    arena_reset(&w->passing);
    assert_ok(w, codec_decode(&codec_lease_reply, message->data, &w->passing, &reply, &w->err));
    if (!reply.granted || !str_equal(reply.rollout, s->rollout) || !s->wants || s->busy ||
        reply.attempt_number != s->attempt)
        return;
    sim_switch(s);
}

static inline void sim_ask(struct sim *s)
{
    struct world *w = s->w;
    char subject[96];
    struct bytes data;
    if (!str_equal(s->counted, s->rollout)) {
        (void)snprintf(s->counted, sizeof s->counted, "%s", s->rollout);
        s->attempt = 0;
    }
    if (!s->asking && s->ask_at_ms == 0)
        s->attempt++; /* else the same ask again */
    const struct lease_request request = {.app = "hello",
                                          .channel = "stable",
                                          .rollout = s->rollout,
                                          .attempt_number = s->attempt,
                                          .rollback = s->rollback,
                                          .digest = bytes_of(s->wanted, DIGEST_BYTES)};
    sim_subject(s, "lease", subject);
    arena_reset(&w->passing);
    assert_ok(w, codec_encode(&codec_lease_request, &request, &w->passing, &data, &w->err));
    s->asking = bus_request(w->bus, subject, data, 1000, on_lease, s, &w->err) == ERR_OK;
    s->ask_at_ms = clock_mono_ms() + ASK_AGAIN_MS;
}

static inline void sim_step(struct sim *s, int64_t now_ms)
{
    if (!s->online)
        return;
    if (now_ms >= s->health_at_ms) {
        s->health_at_ms = now_ms + HEALTH_MS;
        sim_health(s);
    }
    if (now_ms >= s->resend_at_ms) {
        s->resend_at_ms = now_ms + RESEND_MS;
        sim_send_events(s, s->acked);
    }
    if (s->busy && now_ms >= s->done_at_ms)
        sim_done(s);
    const bool there = s->has_release && memcmp(s->running, s->wanted, DIGEST_BYTES) == 0;
    const bool refused = s->has_failed && memcmp(s->failed, s->wanted, DIGEST_BYTES) == 0;
    if (!s->wants || s->busy || there || refused) {
        if (!s->busy && !s->asking)
            s->ask_at_ms = 0;
        return;
    }
    if (!s->lease)
        sim_switch(s);
    else if (!s->asking && now_ms >= s->ask_at_ms)
        sim_ask(s);
}

static inline void sim_desired(struct sim *s, const struct desired *d)
{
    const struct cohort_rule rule = {.salt = d->cohort->salt,
                                     .cut = d->cohort->cut,
                                     .devices = d->cohort->devices,
                                     .devices_len = d->cohort->devices_len};
    if (d->generation <= s->generation)
        return;
    const bool in = cohort_contains(&rule, s->name);
    const struct bytes digest = in ? d->release_digest : d->base_digest;
    s->generation = d->generation;
    s->wants = digest.len == DIGEST_BYTES;
    s->lease = d->lease;
    s->rollback = !in;
    (void)snprintf(s->rollout, sizeof s->rollout, "%s", d->rollout);
    if (!s->wants)
        return;
    if (memcmp(s->wanted, digest.ptr, DIGEST_BYTES) != 0 || !str_equal(s->counted, s->rollout))
        s->ask_at_ms = 0;
    memcpy(s->wanted, digest.ptr, DIGEST_BYTES);
}

static inline void read_desired(struct world *w, struct bytes envelope)
{
    struct envelope outer;
    struct desired desired;
    arena_reset(&w->passing);
    assert_ok(w, codec_decode(&codec_envelope, envelope, &w->passing, &outer, &w->err));
    assert_ok(w, codec_decode(&codec_desired, outer.payload, &w->passing, &desired, &w->err));
    for (unsigned i = 0; i < w->sims_len; i++)
        if (w->sims[i].online)
            sim_desired(&w->sims[i], &desired);
}

static inline void on_desired(void *arg, const struct bus_message *message)
{
    read_desired(arg, message->data);
}

static inline void on_last(void *arg, const struct bus_message *message, const struct err *err)
{
    if (err->code == ERR_OK)
        read_desired(arg, message->data);
}

static inline void on_ack(void *arg, const struct bus_message *message)
{
    struct world *w = arg;
    struct ack ack;
    char subject[96];
    arena_reset(&w->passing);
    assert_ok(w, codec_decode(&codec_ack, message->data, &w->passing, &ack, &w->err));
    for (unsigned i = 0; i < w->sims_len; i++) {
        sim_subject(&w->sims[i], "ack", subject);
        if (str_equal(subject, message->subject) && ack.seq > w->sims[i].acked)
            w->sims[i].acked = ack.seq;
    }
}

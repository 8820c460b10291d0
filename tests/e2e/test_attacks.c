/* SPDX-License-Identifier: Apache-2.0
 *
 * SECURITY.md, "Attacks that must bounce": documents. An attacker holds captain's online key and its
 * credential on the bus (attacker.h), so captain stops nothing: the device judges alone, says why, and
 * fetches nothing.
 *
 * Where each line of the list is shown; tests/README.md has the same with codes:
 *   forged, unsigned, half-signed release      here: releases_that_are_not_signed_as_they_must_be
 *   one key signing twice                      the same
 *   desired replayed, of another tenant        here: desired_states_...; agent.trust, common.trust
 *   release below the floor                    here: an_online_key_can_only_choose_...
 *   frozen metadata past expiry                here: desired_states_...; e2e.trust clock_ten_years_ahead_*
 *   an online key in an attacker's hands       here: an_online_key_can_only_choose_...
 *   a device on another's subjects             e2e.attacks_bus
 *   a reused join token                        e2e.enrolment tokens_that_are_no_good_*, captain.admit
 *   an edited or truncated log                 captain.decision, captain.decision_kill
 *   the transfer, its archives, its helpers    e2e.attacks_transfer, agent.artifact, fetch.*
 */
#include "tests/e2e/attacker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/clock.h"

enum { SECOND_MS = 1000, HOUR_MS = 3600 * 1000 };

static const char CHANNEL[] = "desired.channel.hello.stable";

/* To the device, past captain. */
static void choose(struct attacker *a, const struct attacker_release *release)
{
    const struct desired desired = attacker_desired(a, release);
    attacker_begin(a);
    attacker_publish(a, CHANNEL, attacker_seal(a, &desired, &a->desired));
}

/* ---- releases ---- */

static void test_attacks__releases_that_are_not_signed_as_they_must_be(void **state)
{
    struct attacker *a = *state;
    const struct sign_key *ada = &a->keys[ATTACKER_ADA];
    const struct sign_key forger[2] = {a->keys[ATTACKER_STRANGER], a->desired},
                          half[2] = {*ada, a->keys[ATTACKER_STRANGER]}, twice[2] = {*ada, *ada};
    const struct {
        const char *version;
        const struct sign_key *keys;
        size_t len;
        enum err_code code;
    } rows[] = {
        {"6.0-unsigned", NULL, 0, ERR_BAD_SIGNATURE},
        {"6.1-forged", forger, 2, ERR_BAD_SIGNATURE},
        {"6.2-half", ada, 1, ERR_THRESHOLD},
        {"6.3-half-forged", half, 2, ERR_THRESHOLD},
        {"6.4-one-key-twice", twice, 2, ERR_THRESHOLD},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct attacker_release release =
            attacker_release(a, rows[i].version, 60 + i, 0, rows[i].keys, rows[i].len);
        const enum err_code said = attacker_ask_captain(a, release.envelope);
        if (said != rows[i].code)
            fail_msg("captain says %s to %s", err_name(said), rows[i].version);
        const unsigned before = fault_http_asked(a->store, "/release/");
        choose(a, &release);
        attacker_assert_bounces(a, rows[i].code, "1.0");
        assert_true(fault_http_asked(a->store, "/release/") >
                    before); /* it was judged, not missed */
    }
}

/* ---- desired states ---- */

static void replayed(struct attacker *a, struct desired *desired)
{
    desired->generation = a->now.generation - 1;
}
static void rewritten(struct attacker *a, struct desired *desired)
{
    desired->generation = a->now.generation;
}
static void of_another_tenant(struct attacker *a, struct desired *desired)
{
    (void)a;
    desired->tenant = "umbrella";
}
static void of_another_channel(struct attacker *a, struct desired *desired)
{
    (void)a;
    desired->channel = "beta";
}
static void frozen(struct attacker *a, struct desired *desired)
{
    (void)a;
    desired->issued_ms -= HOUR_MS;
    desired->expires_ms = clock_unix_ms() - SECOND_MS;
}

/* Signed by the right key; a release that is all right waits in the store. */
static void test_attacks__desired_states_that_do_not_hold(void **state)
{
    static const struct {
        const char *what;
        void (*spoil)(struct attacker *a, struct desired *desired);
        enum err_code code;
    } rows[] = {
        {"replayed", replayed, ERR_ROLLBACK},
        {"rewritten", rewritten, ERR_ROLLBACK},
        {"of another tenant", of_another_tenant, ERR_WRONG_TARGET},
        {"of another channel", of_another_channel, ERR_WRONG_TARGET},
        {"frozen past its expiry", frozen, ERR_EXPIRED},
    };
    struct attacker *a = *state;
    const struct attacker_release good = attacker_release(a, "7.0", 70, 0, a->keys, 2);
    const unsigned before = fault_http_asked(a->store, "/");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct desired desired = attacker_desired(a, &good);
        rows[i].spoil(a, &desired);
        attacker_begin(a);
        attacker_publish(a, CHANNEL, attacker_seal(a, &desired, &a->desired));
        attacker_assert_bounces(a, rows[i].code, "1.0");
    }
    struct desired desired = attacker_desired(a, &good);
    attacker_begin(a);
    attacker_publish(a, CHANNEL, attacker_seal(a, &desired, &a->keys[ATTACKER_STRANGER]));
    attacker_assert_bounces(a, ERR_BAD_SIGNATURE, "1.0");
    attacker_begin(a);
    attacker_publish(a, CHANNEL, bytes_of("no envelope", 11));
    attacker_assert_bounces(a, ERR_MALFORMED, "1.0");
    assert_int_equal(fault_http_asked(a->store, "/"), before); /* not even the document */
}

static void wait_generation(struct attacker *a, uint64_t generation)
{
    secure_wait_said(a->secure, (const char *const[]){"device", "show", "--json", "gate-1", NULL},
                     secure_text(a->secure, "\"generation\": \"%" PRIu64 "\"", generation));
}

/* What captain itself once said, byte for byte: known, and older than what came after. */
static void test_attacks__a_recorded_desired_state_replayed(void **state)
{
    struct attacker *a = *state;
    const struct bytes recorded = a->first;
    struct desired same = a->now;
    same.generation = ++a->generation;
    same.issued_ms = clock_unix_ms();
    attacker_publish(a, CHANNEL, attacker_seal(a, &same, &a->desired));
    wait_generation(a, same.generation);
    attacker_begin(a);
    attacker_publish(a, CHANNEL, recorded);
    attacker_assert_bounces(a, ERR_ROLLBACK, "1.0");
}

/* Nor does the document of a device get anything in. */
static void test_attacks__a_pin_to_a_forged_release(void **state)
{
    struct attacker *a = *state;
    const struct attacker_release forged =
        attacker_release(a, "8.0", 80, 0, &a->keys[ATTACKER_STRANGER], 1);
    struct desired same = attacker_desired(a, &forged); /* but for the store */
    same.release_digest = a->now.release_digest;
    same.release_sequence = a->now.release_sequence;
    same.release_version = a->now.release_version;
    attacker_publish(a, CHANNEL, attacker_seal(a, &same, &a->desired));
    wait_generation(a, same.generation);
    struct pin pin = {.app = "hello",
                      .digest = bytes_of(forged.digest, DIGEST_BYTES),
                      .version = "8.0",
                      .sequence = forged.sequence};
    struct device_desired document = {.tenant = "acme",
                                      .device = "lyon/gate-2",
                                      .generation = 1000,
                                      .issued_ms = clock_unix_ms(),
                                      .expires_ms = clock_unix_ms() + HOUR_MS,
                                      .pins = &pin,
                                      .pins_len = 1};
    struct bytes payload, envelope = {0};
    attacker_begin(a);
    for (int i = 0; i < 2; i++) {
        if (codec_encode(&codec_device_desired, &document, &a->secure->arena, &payload, &a->err) ||
            sign_seal(SIGN_TYPE_DEVICE, payload, &a->desired, 1, &a->secure->arena, &envelope,
                      &a->err))
            fail_msg("%s", a->err.text);
        attacker_publish(a, "desired.device.lyon.gate-1", envelope);
        /* first another device's, then its own */
        attacker_assert_bounces(a, i ? ERR_BAD_SIGNATURE : ERR_WRONG_TARGET, "1.0");
        document.device = "lyon/gate-1";
    }
    document.generation++;
    document.pins_len = 0;
    if (codec_encode(&codec_device_desired, &document, &a->secure->arena, &payload, &a->err) ||
        sign_seal(SIGN_TYPE_DEVICE, payload, &a->desired, 1, &a->secure->arena, &envelope, &a->err))
        fail_msg("%s", a->err.text);
    attacker_publish(a, "desired.device.lyon.gate-1", envelope);
}

/* ---- a second captain ---- */

/* The fleet's next root: nothing of hello below 20, and one release of those above revoked. */
static void rotate_root(struct attacker *a, const struct attacker_release *revoked)
{
    struct secure *s = a->secure;
    char hex[DIGEST_HEX];
    str_hex(bytes_of(revoked->digest, DIGEST_BYTES), hex);
    const char *root = secure_text(s, "%s/root.dsse", s->folder),
               *next = secure_path(s, "next.dsse");
    CAPTAIN_OK(s, "root", "rotate", "--root", root, "--floor", "hello=20", "--revoke", hex, "--key",
               secure_text(s, "%s/keys/root.key", s->folder), "--output", next);
    CAPTAIN_OK(s, "root", "publish", next, "--root", root, "--reason", "stolen online key");
}

static void test_attacks__an_online_key_can_only_choose_what_is_signed_and_in_force(void **state)
{
    struct attacker *a = *state;
    const int64_t now_ms = clock_unix_ms();
    /* Signed in earnest, all of them. */
    const struct attacker_release expired = attacker_release(a, "2.1", 21, now_ms - SECOND_MS,
                                                             a->keys, 2),
                                  revoked = attacker_release(a, "2.2", 22, 0, a->keys, 2),
                                  old = attacker_release(a, "1.9", 19, 0, a->keys, 2);
    const struct {
        const struct attacker_release *release;
        enum err_code code;
    } rows[] = {{&expired, ERR_EXPIRED}, {&revoked, ERR_REVOKED}, {&old, ERR_ROLLBACK}};
    rotate_root(a, &revoked);
    secure_wait_log(a->secure, "gate-1.log", "root version 2 is in force", 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        choose(a, rows[i].release);
        attacker_assert_bounces(a, rows[i].code, "1.0");
    }
    assert_int_equal(attacker_ask_captain(a, revoked.envelope), ERR_REVOKED);
    assert_int_equal(attacker_ask_captain(a, old.envelope), ERR_ROLLBACK);

    /* What is signed, unexpired, unrevoked and above the floor it may choose: that is what the key is for. */
    const struct attacker_release good = attacker_release_in_earnest(a, "3.0", "30");
    struct desired desired = attacker_desired(a, &good);
    desired.stores = a->now.stores;
    desired.stores_len = a->now.stores_len;
    attacker_begin(a);
    attacker_publish(a, CHANNEL, attacker_seal(a, &desired, &a->desired));
    secure_wait_serving(a->secure, &a->secure->devices[0], "3.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attacks__releases_that_are_not_signed_as_they_must_be),
        cmocka_unit_test(test_attacks__desired_states_that_do_not_hold),
        cmocka_unit_test(test_attacks__a_recorded_desired_state_replayed),
        cmocka_unit_test(test_attacks__a_pin_to_a_forged_release),
        cmocka_unit_test(test_attacks__an_online_key_can_only_choose_what_is_signed_and_in_force),
    };
    return cmocka_run_group_tests_name("attacks", tests, attacker_set_up, attacker_tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/enrol_world.h"

static void test_enrol__lets_a_device_in_with_a_token(void **state)
{
    struct world *w = *state;
    const struct label labels[] = {{.key = "rack", .value = "3"}, {.key = "role", .value = "gate"}};
    const struct ticket ticket =
        ticket_like(w, (struct token_created){.labels = labels, .labels_len = 2});
    const struct device device = device_new("lyon", "gate-1");
    struct store_identity row;
    struct store_token token;
    struct device_set set;
    struct bytes body = {0};
    const struct enrol_reply reply = ask(w, &device, &ticket);
    assert_granted(w, &device, &reply);
    assert_int_equal(entries(w, "device.enrolled", "lyon/gate-1"), 1);
    assert_int_equal(entries(w, "", ""), 3); /* captain.started, token.created and that */
    assert_ok(w, store_identity_get(w->db, "lyon/gate-1", &w->arena, &row, &w->err));
    assert_string_equal(row.state, "approved");
    assert_string_equal(row.token, ticket.id);
    assert_string_equal(row.hardware, "pi4");
    assert_true(row.expires_ms > clock_unix_ms());
    assert_memory_equal(row.seal_key, device.seal_public, sizeof row.seal_key);
    assert_ok(w, store_token_get(w->db, ticket.id, &w->arena, &token, &w->err));
    assert_int_equal(token.used, 1);
    assert_ok(w, store_device_set_get(w->db, "lyon/gate-1", &w->arena, &body, &w->err));
    assert_ok(w, codec_decode(&codec_device_set, body, &w->arena, &set, &w->err));
    assert_int_equal(set.labels_len, 2);
    assert_string_equal(set.labels[1].key, "role");
    assert_string_equal(set.labels[1].value, "gate");
}

static void test_enrol__answers_again_when_the_answer_was_lost(void **state)
{
    struct world *w = *state;
    const struct ticket ticket = ticket_new(w);
    const struct device device = device_new("lyon", "gate-1");
    struct store_token token;
    for (int i = 0; i < 3; i++) {
        const struct enrol_reply reply = ask(w, &device, &ticket);
        assert_granted(w, &device, &reply);
    }
    assert_int_equal(entries(w, "device.enrolled", ""), 1);
    assert_ok(w, store_token_get(w->db, ticket.id, &w->arena, &token, &w->err));
    assert_int_equal(token.used, 1);
    assert_int_equal(entries(w, "incident.noted", ""), 0);
}

static void test_enrol__refuses_and_notes_tokens_that_are_no_good(void **state)
{
    struct world *w = *state;
    struct ticket unknown = {.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"};
    const struct ticket used = ticket_new(w);
    const struct ticket foreign = ticket_like(w, (struct token_created){.site = "nice"});
    const struct ticket expired = ticket_like(w, (struct token_created){.expires_ms = 1});
    const struct ticket revoked = ticket_new(w);
    const struct token_revoked said = {.id = revoked.id};
    const struct device first = device_new("lyon", "gate-1"), second = device_new("lyon", "gate-2");
    sign_key_new(&unknown.key);
    decide(w, "token.revoked", revoked.id, &codec_token_revoked, &said);
    struct enrol_reply reply = ask(w, &first, &used);
    assert_granted(w, &first, &reply);
    const struct {
        const struct ticket *ticket;
        enum err_code code;
    } rows[] = {{&unknown, ERR_NOT_FOUND},
                {&used, ERR_CONFLICT},
                {&foreign, ERR_WRONG_TARGET},
                {&expired, ERR_EXPIRED},
                {&revoked, ERR_REVOKED}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        reply = ask(w, &second, rows[i].ticket);
        assert_refused(&reply, rows[i].code);
        wait_incidents(w, i + 1);
        assert_int_equal(entries(w, "incident.noted", rows[i].ticket->id), 1);
    }
    assert_string_equal(state_of(w, "lyon/gate-2"), "none");
    /* The same again: counted, not noted. */
    for (int i = 0; i < 20; i++)
        (void)ask(w, &second, &used);
    turn_for(w->loop, NOTHING_MS);
    assert_int_equal(entries(w, "incident.noted", ""), ARRAY_LEN(rows));
    assert_int_equal(w->minted, 1);
}

static void test_enrol__lets_one_of_two_in_with_the_last_use(void **state)
{
    struct world *w = *state;
    const struct ticket ticket = ticket_new(w);
    const struct device devices[] = {device_new("lyon", "gate-1"), device_new("lyon", "gate-2")};
    w->answers = w->granted = 0;
    for (size_t i = 0; i < 2; i++)
        assert_ok(w, bus_request(w->enroll, "enroll", request_of(w, &devices[i], &ticket), 5000,
                                 on_answer, w, &w->err));
    wait_answers(w, 2);
    assert_int_equal(w->granted, 1);
    assert_int_equal(entries(w, "device.enrolled", ""), 1);
}

static void test_enrol__waits_for_an_operator_when_the_token_says_so(void **state)
{
    struct world *w = *state;
    const struct ticket ticket =
        ticket_like(w, (struct token_created){.approval = true, .uses = 2});
    const struct device good = device_new("lyon", "gate-1"), bad = device_new("lyon", "gate-2");
    struct enrol_reply reply = ask(w, &good, &ticket);
    assert_int_equal(reply.state, 2);
    assert_true(reply.retry_ms > 0);
    assert_int_equal(ask(w, &bad, &ticket).state, 2);
    assert_string_equal(state_of(w, "lyon/gate-1"), "pending");
    assert_int_equal(w->minted, 0);
    verdict(w, "device.approved", &good);
    verdict(w, "device.rejected", &bad);
    reply = ask(w, &good, &ticket);
    assert_granted(w, &good, &reply);
    reply = ask(w, &bad, &ticket);
    assert_refused(&reply, ERR_DENIED);
    assert_int_equal(w->revoked_len, 0); /* neither had a credential to take away */
}

static void test_enrol__renews_until_the_device_is_revoked(void **state)
{
    struct world *w = *state;
    const struct ticket ticket = ticket_new(w);
    const struct device device = device_new("lyon", "gate-1");
    struct enrol_reply reply = ask(w, &device, &ticket);
    assert_granted(w, &device, &reply);
    reply = send_on(w, w->own, "renew.lyon.gate-1", request_of(w, &device, NULL));
    assert_granted(w, &device, &reply);
    reply = ask(w, &device, NULL); /* its credential ran out while it was away */
    assert_granted(w, &device, &reply);
    assert_int_equal(entries(w, "device.enrolled", ""), 1);

    verdict(w, "device.revoked", &device);
    assert_int_equal(w->revoked_len, 1);
    assert_memory_equal(w->revoked[0].key, device.key.public_key, SIGN_PUBLIC_BYTES);
    assert_true(w->revoked[0].until_s >= clock_unix_ms() / 1000 + ACCOUNT_DEVICE_TTL_S);
    /* Also what was issued while the verdict was on its way is void, and what a clock that is ahead
     * issued: for as long as any of it lasts. */
    assert_int_equal(w->revoked[0].at_s, w->revoked[0].until_s);
    const unsigned minted = w->minted;
    reply = send_on(w, w->own, "renew.lyon.gate-1", request_of(w, &device, NULL));
    assert_refused(&reply, ERR_REVOKED);
    reply = ask(w, &device, NULL);
    assert_refused(&reply, ERR_REVOKED);
    const struct ticket other = ticket_new(w);
    reply = ask(w, &device, &other);
    assert_refused(&reply, ERR_REVOKED);
    assert_int_equal(w->minted, minted);
    wait_incidents(w, 2);
}

static void test_enrol__gives_a_name_to_a_new_key_only_after_the_old_is_out(void **state)
{
    struct world *w = *state;
    const struct ticket ticket = ticket_like(w, (struct token_created){.uses = 9});
    const struct device old = device_new("lyon", "gate-1");
    struct device new = device_new("lyon", "gate-1"), other = old;
    struct enrol_reply reply = ask(w, &old, &ticket);
    assert_granted(w, &old, &reply);
    reply = ask(w, &new, &ticket);
    assert_refused(&reply, ERR_CONFLICT);
    reply = ask(w, &new, NULL);
    assert_refused(&reply, ERR_NOT_FOUND);
    other.name = "gate-2"; /* one key, one device */
    reply = ask(w, &other, &ticket);
    assert_refused(&reply, ERR_DENIED);
    other = old;
    (void)crypto_box_keypair(other.seal_public, other.seal_secret);
    reply = ask(w, &other, NULL); /* a replaced X25519 key would get what is sealed to the device */
    assert_refused(&reply, ERR_DENIED);
    verdict(w, "device.revoked", &old);
    reply = ask(w, &new, &ticket);
    assert_granted(w, &new, &reply);
    reply = ask(w, &old, &ticket);
    assert_refused(&reply, ERR_REVOKED);
}

static void test_enrol__wants_every_signature(void **state)
{
    struct world *w = *state;
    const struct ticket ticket = ticket_new(w);
    const struct device device = device_new("lyon", "gate-1");
    struct sign_key stranger;
    sign_key_new(&stranger);
    const struct sign_key only_device[] = {device.key}, only_token[] = {ticket.key};
    const struct sign_key forged[] = {device.key, stranger}, stolen[] = {stranger, ticket.key};
    const struct {
        const struct sign_key *signers;
        size_t len;
    } rows[] = {{only_device, 1}, {only_token, 1}, {forged, 2}, {stolen, 2}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct enrol_reply reply =
            send_on(w, w->enroll, "enroll",
                    request_by(w, &device, ticket.id, rows[i].signers, rows[i].len));
        assert_refused(&reply, ERR_BAD_SIGNATURE);
    }
    const struct sign_key three[] = {device.key, ticket.key, stranger};
    struct enrol_reply reply =
        send_on(w, w->enroll, "enroll", request_by(w, &device, ticket.id, three, 3));
    assert_refused(&reply, ERR_MALFORMED);
    struct bytes envelope = request_of(w, &device, &ticket);
    for (size_t i = 0; i < envelope.len; i += 7) {
        uint8_t *bent = arena_dup(&w->arena, envelope.ptr, envelope.len);
        bent[i] ^= 1;
        reply = send_on(w, w->enroll, "enroll", bytes_of(bent, envelope.len));
        assert_int_equal(reply.state, 1);
    }
    assert_int_equal(w->minted, 0);
    assert_int_equal(entries(w, "device.enrolled", ""), 0);
    reply = ask(w, &device, &ticket); /* and nothing of that used the token up */
    assert_granted(w, &device, &reply);
}

static void test_enrol__answers_only_under_the_askers_own_inbox(void **state)
{
    struct world *w = *state;
    const struct ticket ticket = ticket_like(w, (struct token_created){.uses = 9});
    const struct device mine = device_new("lyon", "gate-1"), other = device_new("lyon", "gate-2");
    struct enrol_reply reply = ask(w, &mine, &ticket);
    assert_granted(w, &mine, &reply);
    reply = ask(w, &other, &ticket);
    assert_granted(w, &other, &reply);
    const unsigned minted = w->minted;
    assert_ok(w, bus_publish(w->own, "enroll", request_of(w, &mine, NULL), NULL,
                             "health.lyon.gate-1", &w->err));
    wait_incidents(w, 1);
    assert_ok(w, bus_publish(w->own, "renew.lyon.gate-1", request_of(w, &mine, NULL), NULL,
                             "_INBOX.lyon.gate-2.x", &w->err));
    wait_incidents(w, 2);
    /* Another's request, on its own subject. */
    reply = send_on(w, w->own, "renew.lyon.gate-1", request_of(w, &other, NULL));
    assert_refused(&reply, ERR_WRONG_TARGET);
    wait_incidents(w, 3);
    assert_int_equal(w->minted, minted);
}

static void test_enrol__tells_a_crowd_to_come_later(void **state)
{
    enum { CROWD = 600 };
    struct world *w = *state;
    const struct ticket ticket = ticket_like(w, (struct token_created){.uses = CROWD});
    struct device *devices = mem_new(CROWD, sizeof *devices);
    struct bytes *requests = mem_new(CROWD, sizeof *requests);
    for (size_t i = 0; i < CROWD; i++) {
        devices[i] = device_new("lyon", arena_printf(&w->arena, "d%zu", i));
        requests[i] = request_of(w, &devices[i], &ticket);
    }
    w->answers = w->granted = w->later = 0;
    nats_server_freeze(w->server); /* nothing is decided while they come */
    for (size_t i = 0; i < CROWD; i++)
        assert_ok(w, bus_request(w->enroll, "enroll", requests[i], 20000, on_answer, w, &w->err));
    nats_server_thaw(w->server);
    wait_answers(w, CROWD);
    assert_int_equal(w->granted + w->later, CROWD);
    assert_in_range(w->granted, 1, CROWD - 1);
    assert_int_equal(entries(w, "device.enrolled", ""), w->granted);
    /* Who came too early comes again. */
    for (size_t i = 0; i < CROWD; i++) {
        const struct enrol_reply reply = ask(w, &devices[i], &ticket);
        assert_granted(w, &devices[i], &reply);
    }
    struct store_token token;
    assert_ok(w, store_token_get(w->db, ticket.id, &w->arena, &token, &w->err));
    assert_int_equal(token.used, CROWD);
    mem_free(devices);
    mem_free(requests);
}

static void test_enrol__remembers_at_the_next_start_who_is_out(void **state)
{
    struct world *w = *state;
    const struct ticket ticket = ticket_like(w, (struct token_created){.uses = 9});
    const struct device revoked = device_new("lyon", "gate-1"), gone = device_new("lyon", "gate-2");
    struct fleet_totals totals;
    const uint32_t number = fleet_add(w->fleet, "lyon/gate-2");
    fleet_seen(w->fleet, number, clock_unix_ms());
    struct enrol_reply reply = ask(w, &revoked, &ticket);
    assert_granted(w, &revoked, &reply);
    reply = ask(w, &gone, &ticket);
    assert_granted(w, &gone, &reply);
    verdict(w, "device.revoked", &revoked);
    verdict(w, "device.retired", &gone);
    assert_true(fleet_is_out(w->fleet, number));
    fleet_totals(w->fleet, clock_unix_ms(), &totals);
    assert_int_equal(totals.devices, 0);

    captain_close(w);
    w->revoked_len = 0;
    fleet_put_out(w->fleet, number, false);
    captain_open(w);
    assert_true(wait_turning(w->loop, is_ready, w, WAIT_MS));
    assert_int_equal(w->revoked_len, 2);
    for (size_t i = 0; i < 2; i++) /* one that may come back gets newer credentials */
        assert_int_equal(w->revoked[i].at_s == w->revoked[i].until_s,
                         memcmp(w->revoked[i].key, revoked.key.public_key, SIGN_PUBLIC_BYTES) == 0);
    assert_true(fleet_is_out(w->fleet, number));
    reply = ask(w, &revoked, NULL);
    assert_refused(&reply, ERR_REVOKED);
    reply = ask(w, &gone, &ticket); /* back from the shelf */
    assert_granted(w, &gone, &reply);
    assert_false(fleet_is_out(w->fleet, number));
}

/* The tables are those of a backup from before the device was put out; the stream knows of it. */
static void test_enrol__lets_nobody_in_by_tables_that_are_behind_the_log(void **state)
{
    struct world *w = *state;
    const struct ticket ticket = ticket_new(w);
    const struct device device = device_new("lyon", "gate-1");
    struct enrol_reply reply = ask(w, &device, &ticket);
    char *db = tempdir_path(w->dir, "captain.db");
    size_t len = 0;
    assert_granted(w, &device, &reply);
    captain_close(w);
    char *backup = tempdir_read(db, &len);
    captain_open(w);
    assert_true(wait_turning(w->loop, is_ready, w, WAIT_MS));
    verdict(w, "device.revoked", &device);
    captain_close(w);
    tempdir_write(db, backup, len);
    const unsigned minted = w->minted;
    w->revoked_len = 0;
    w->held = true;
    captain_open(w);
    assert_true(wait_turning(w->loop, is_ready, w, WAIT_MS));
    assert_int_equal(w->revoked_len, 0); /* the server may know more */
    reply = ask(w, &device, NULL);
    assert_refused(&reply, ERR_FULL);
    assert_true(reply.retry_ms > 0);
    assert_ok(w, enrol_ready(w->enrol, &w->err));
    assert_int_equal(w->revoked_len, 1);
    assert_memory_equal(w->revoked[0].key, device.key.public_key, SIGN_PUBLIC_BYTES);
    reply = ask(w, &device, NULL);
    assert_refused(&reply, ERR_REVOKED);
    assert_int_equal(w->minted, minted);
    free(backup);
    free(db);
}

#define ENROL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENROL_TEST(test_enrol__lets_a_device_in_with_a_token),
        ENROL_TEST(test_enrol__answers_again_when_the_answer_was_lost),
        ENROL_TEST(test_enrol__refuses_and_notes_tokens_that_are_no_good),
        ENROL_TEST(test_enrol__lets_one_of_two_in_with_the_last_use),
        ENROL_TEST(test_enrol__waits_for_an_operator_when_the_token_says_so),
        ENROL_TEST(test_enrol__renews_until_the_device_is_revoked),
        ENROL_TEST(test_enrol__gives_a_name_to_a_new_key_only_after_the_old_is_out),
        ENROL_TEST(test_enrol__wants_every_signature),
        ENROL_TEST(test_enrol__answers_only_under_the_askers_own_inbox),
        ENROL_TEST(test_enrol__tells_a_crowd_to_come_later),
        ENROL_TEST(test_enrol__lets_nobody_in_by_tables_that_are_behind_the_log),
        ENROL_TEST(test_enrol__remembers_at_the_next_start_who_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

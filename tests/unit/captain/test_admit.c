/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "captain/core/admit.h"
#include "common/base/mem.h"
#include "common/base/str.h"

enum { NOW = 1000000 };

static const struct admit_token open_token = {
    .site = "lyon", .uses = 2, .used = 1, .expires_ms = NOW + 1};
static const struct admit_token approval_token = {
    .site = "lyon", .uses = 2, .used = 1, .expires_ms = NOW + 1, .approval = true};
static const struct admit_token used_token = {
    .site = "lyon", .uses = 2, .used = 2, .expires_ms = NOW + 1};
static const struct admit_token expired_token = {.site = "lyon", .uses = 2, .expires_ms = NOW};
static const struct admit_token revoked_token = {
    .site = "lyon", .uses = 2, .expires_ms = NOW + 1, .revoked = true};
static const struct admit_token foreign_token = {.site = "nice", .uses = 2, .expires_ms = NOW + 1};

#define TOKEN(t) .has_token = true, .token = &(t)
#define KNOWN(s) .known = true, .state = (s)
#define TAKEN(s) .name_taken = true, .holder = (s)

static const struct row {
    const char *name;
    struct admit_facts facts;
    int what;
    bool enrol;
    enum err_code code;
    const char *incident;
} rows[] = {
    {"a new device with a token", {TOKEN(open_token)}, ADMIT_GRANTED, true, ERR_OK, NULL},
    {"one that waits for an operator", {TOKEN(approval_token)}, ADMIT_WAITS, true, ERR_OK, NULL},
    {"an unknown token", {.has_token = true}, ADMIT_REFUSED, false, ERR_NOT_FOUND, "token"},
    {"a foreign one", {TOKEN(foreign_token)}, ADMIT_REFUSED, false, ERR_WRONG_TARGET, "token"},
    {"a revoked one", {TOKEN(revoked_token)}, ADMIT_REFUSED, false, ERR_REVOKED, "token"},
    {"an expired one", {TOKEN(expired_token)}, ADMIT_REFUSED, false, ERR_EXPIRED, "token"},
    {"a used one", {TOKEN(used_token)}, ADMIT_REFUSED, false, ERR_CONFLICT, "token"},

    {"no token", {.site = NULL}, ADMIT_REFUSED, false, ERR_NOT_FOUND, NULL},
    {"no token, a taken name",
     {TAKEN(ADMIT_APPROVED)},
     ADMIT_REFUSED,
     false,
     ERR_NOT_FOUND,
     "renewal"},
    {"no token, another's key",
     {.key_owner = "lyon/b"},
     ADMIT_REFUSED,
     false,
     ERR_DENIED,
     "renewal"},
    {"a token, another's key",
     {.key_owner = "lyon/b", TOKEN(open_token)},
     ADMIT_REFUSED,
     false,
     ERR_DENIED,
     "token"},

    {"a renewal", {KNOWN(ADMIT_APPROVED)}, ADMIT_GRANTED, false, ERR_OK, NULL},
    {"a renewal that waits", {KNOWN(ADMIT_PENDING)}, ADMIT_WAITS, false, ERR_OK, NULL},
    {"with another X25519 key",
     {KNOWN(ADMIT_APPROVED), .seal_differs = true},
     ADMIT_REFUSED,
     false,
     ERR_DENIED,
     "renewal"},
    {"of a rejected device", {KNOWN(ADMIT_REJECTED)}, ADMIT_REFUSED, false, ERR_DENIED, NULL},
    {"of a revoked device", {KNOWN(ADMIT_REVOKED)}, ADMIT_REFUSED, false, ERR_REVOKED, "renewal"},
    {"of a retired device", {KNOWN(ADMIT_RETIRED)}, ADMIT_REFUSED, false, ERR_DENIED, NULL},
    {"the same token again, the answer was lost",
     {KNOWN(ADMIT_APPROVED), TOKEN(used_token)},
     ADMIT_GRANTED,
     false,
     ERR_OK,
     NULL},
    {"again, and the token has expired since",
     {KNOWN(ADMIT_APPROVED), TOKEN(expired_token)},
     ADMIT_GRANTED,
     false,
     ERR_OK,
     NULL},
    {"again, and it waits",
     {KNOWN(ADMIT_PENDING), TOKEN(used_token)},
     ADMIT_WAITS,
     false,
     ERR_OK,
     NULL},
    {"a rejected device with another token",
     {KNOWN(ADMIT_REJECTED), TOKEN(open_token)},
     ADMIT_REFUSED,
     false,
     ERR_DENIED,
     NULL},
    {"a revoked device with another token",
     {KNOWN(ADMIT_REVOKED), TOKEN(open_token)},
     ADMIT_REFUSED,
     false,
     ERR_REVOKED,
     "renewal"},
    {"a revoked key, whatever else",
     {.key_revoked = true, KNOWN(ADMIT_APPROVED), TOKEN(open_token)},
     ADMIT_REFUSED,
     false,
     ERR_REVOKED,
     "token"},
    {"a retired device with a token",
     {KNOWN(ADMIT_RETIRED), TOKEN(open_token)},
     ADMIT_GRANTED,
     true,
     ERR_OK,
     NULL},
    {"a retired device with a used token",
     {KNOWN(ADMIT_RETIRED), TOKEN(used_token)},
     ADMIT_REFUSED,
     false,
     ERR_CONFLICT,
     "token"},

    {"the name of an approved device",
     {TAKEN(ADMIT_APPROVED), TOKEN(open_token)},
     ADMIT_REFUSED,
     false,
     ERR_CONFLICT,
     "token"},
    {"the name of one that waits",
     {TAKEN(ADMIT_PENDING), TOKEN(open_token)},
     ADMIT_REFUSED,
     false,
     ERR_CONFLICT,
     "token"},
    {"the name of a revoked device",
     {TAKEN(ADMIT_REVOKED), TOKEN(open_token)},
     ADMIT_GRANTED,
     true,
     ERR_OK,
     NULL},
    {"the name of a retired device",
     {TAKEN(ADMIT_RETIRED), TOKEN(approval_token)},
     ADMIT_WAITS,
     true,
     ERR_OK,
     NULL},
    {"the name of a rejected device",
     {TAKEN(ADMIT_REJECTED), TOKEN(open_token)},
     ADMIT_GRANTED,
     true,
     ERR_OK,
     NULL},
    {"that name, with an expired token",
     {TAKEN(ADMIT_REJECTED), TOKEN(expired_token)},
     ADMIT_REFUSED,
     false,
     ERR_EXPIRED,
     "token"},
};

static void test_admit__follows_its_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct admit_facts facts = row->facts;
        facts.site = "lyon";
        const struct admit_verdict verdict = admit(&facts, NOW);
        if ((int)verdict.what != row->what || verdict.enrol != row->enrol ||
            verdict.code != row->code || !str_equal(verdict.incident, row->incident))
            fail_msg("%s: %d, enrol %d, code %s, incident %s", row->name, (int)verdict.what,
                     verdict.enrol, err_name(verdict.code),
                     verdict.incident ? verdict.incident : "none");
        assert_int_equal(verdict.reason[0] != '\0', verdict.what == ADMIT_REFUSED);
        assert_int_equal(verdict.renamed, verdict.enrol && facts.name_taken);
    }
}

/* Nothing but an open token of the site lets in who is not known. */
static void test_admit__lets_nobody_in_without_a_token(void **state)
{
    (void)state;
    static const struct admit_token *const tokens[] = {
        NULL,           &open_token,    &approval_token, &used_token,
        &expired_token, &revoked_token, &foreign_token};
    for (unsigned bits = 0; bits < 32; bits++)
        for (unsigned s = 0; s < ADMIT_STATES; s++)
            for (size_t t = 0; t < ARRAY_LEN(tokens); t++) {
                const struct admit_facts facts = {.site = "lyon",
                                                  .has_token = bits & 1,
                                                  .key_revoked = bits & 2,
                                                  .known = bits & 4,
                                                  .state = (enum admit_state)s,
                                                  .key_owner = bits & 8 ? "lyon/b" : NULL,
                                                  .name_taken = bits & 16,
                                                  .holder = (enum admit_state)s,
                                                  .token = bits & 1 ? tokens[t] : NULL};
                const struct admit_verdict verdict = admit(&facts, NOW);
                const bool good = facts.token == &open_token || facts.token == &approval_token;
                if (verdict.enrol)
                    assert_true(facts.has_token && good && !facts.key_revoked);
                if (verdict.what == ADMIT_GRANTED && !verdict.enrol)
                    assert_true(facts.known && s == ADMIT_APPROVED && !facts.key_revoked);
            }
}

static void test_admit__knows_which_states_follow(void **state)
{
    (void)state;
    static const bool may[ADMIT_STATES][ADMIT_STATES] = {
        [ADMIT_PENDING] =
            {[ADMIT_APPROVED] = true, [ADMIT_REJECTED] = true, [ADMIT_REVOKED] = true},
        [ADMIT_APPROVED] = {[ADMIT_REVOKED] = true, [ADMIT_RETIRED] = true},
        [ADMIT_REJECTED] = {[ADMIT_APPROVED] = true, [ADMIT_REVOKED] = true},
        [ADMIT_REVOKED] = {[ADMIT_RETIRED] = true},
        [ADMIT_RETIRED] = {[ADMIT_REVOKED] = true},
    };
    for (unsigned from = 0; from < ADMIT_STATES; from++)
        for (unsigned to = 0; to < ADMIT_STATES; to++)
            assert_int_equal(admit_may_become((enum admit_state)from, (enum admit_state)to),
                             may[from][to]);
}

static void test_admit__names_the_state_of_a_token(void **state)
{
    (void)state;
    assert_string_equal(admit_token_state(&open_token, NOW), "open");
    assert_string_equal(admit_token_state(&used_token, NOW), "used");
    assert_string_equal(admit_token_state(&expired_token, NOW), "expired");
    assert_string_equal(admit_token_state(&revoked_token, NOW), "revoked");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admit__follows_its_rules),
        cmocka_unit_test(test_admit__lets_nobody_in_without_a_token),
        cmocka_unit_test(test_admit__knows_which_states_follow),
        cmocka_unit_test(test_admit__names_the_state_of_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

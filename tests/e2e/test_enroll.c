/* SPDX-License-Identifier: Apache-2.0
 *
 * captain-agent enroll against a captain that says yes, no, later, and lies.
 */
#include "tests/e2e/admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/port.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

static void assert_said(struct admission *a, const char *text)
{
    const char *said = admission_said(a);
    if (!strstr(said, text))
        fail_msg("not said: %s\nbut:\n%s", text, said);
}

static bool has_file(struct admission *a, const char *name)
{
    return access(admission_path(a, "device/%s", name), F_OK) == 0;
}

static unsigned mode_of(struct admission *a, const char *name)
{
    struct stat st;
    assert_int_equal(stat(admission_path(a, "device/%s", name), &st), 0);
    return st.st_mode & 07777;
}

static char *key_text(struct admission *a, const char *name)
{
    return tempdir_read(admission_path(a, "device/identity/%s", name), NULL);
}

static int enroll(struct admission *a)
{
    return admission_end(a, admission_enroll(a, a->token_text, "30s"));
}

static void test_enroll__a_granted_device_has_what_it_needs_and_no_more_is_asked(void **state)
{
    static const char *const files[] = {"identity/device.nk",
                                        "identity/seal.key",
                                        "identity/device.creds",
                                        "identity/enroll.creds",
                                        "identity/ca.pem",
                                        "identity/nats.json",
                                        "root.dsse"};
    struct admission *a = *state;
    assert_int_equal(enroll(a), 0);
    assert_int_equal(a->enrols, 1);
    assert_int_equal(a->with_token, 1);
    assert_int_equal(a->proven, 1); /* by token and device both */
    assert_string_equal(a->name, "lyon.gw-1");
    assert_int_equal(mode_of(a, "identity"), 0700);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(mode_of(a, files[i]), 0600);
    assert_said(a, "lyon/gw-1 is enrolled in tenant default");
    assert_said(a, "next: systemctl enable --now captain-agent");

    struct bus_probe device;
    struct bus_options options = bus_probe_options(a->bundle.urls[0]);
    options.creds_path = admission_path(a, "device/identity/device.creds");
    options.tls_ca_path = admission_path(a, "device/identity/ca.pem");
    options.inbox_prefix = "_INBOX.lyon.gw-1";
    options.write_deadline_ms = 5000;
    bus_probe_open(&device, &options);
    bus_probe_start(&device);
    bus_probe_close(&device);

    assert_int_equal(enroll(a), 0);
    assert_said(a, "is enrolled already");
    assert_int_equal(a->enrols, 1);
}

static void test_enroll__waits_for_an_operator(void **state)
{
    struct admission *a = *state;
    a->pendings = 2;
    assert_int_equal(enroll(a), 0);
    assert_int_equal(a->enrols, 3);
    assert_said(a, "captain device approve lyon/gw-1");
}

static void test_enroll__that_is_not_approved_in_time_goes_on_when_run_again(void **state)
{
    struct admission *a = *state;
    a->pendings = 1000;
    assert_int_equal(admission_end(a, admission_enroll(a, a->token_text, "1s")), 124);
    assert_false(has_file(a, "identity/device.creds"));
    a->pendings = 0;
    assert_int_equal(enroll(a), 0);
}

/* The keys are made before anything is asked, so captain sees one device, however often it dies. */
static void test_enroll__that_was_killed_ends_in_the_same_place(void **state)
{
    struct admission *a = *state;
    a->answer = ADMISSION_SILENT;
    struct proc *proc = admission_enroll(a, a->token_text, "60s");
    admission_wait(a, &a->enrols, 1);
    proc_signal(proc, SIGKILL);
    assert_true(proc_wait(proc, ADMISSION_WAIT_MS, NULL));
    proc_free(proc);
    uint8_t device_key[SIGN_PUBLIC_BYTES], seal_key[32];
    memcpy(device_key, a->device_key, sizeof device_key);
    memcpy(seal_key, a->seal_key, sizeof seal_key);
    char *before[] = {key_text(a, "device.nk"), key_text(a, "seal.key")};

    a->answer = ADMISSION_GRANTS;
    assert_int_equal(enroll(a), 0);
    assert_memory_equal(a->device_key, device_key, sizeof device_key);
    assert_memory_equal(a->seal_key, seal_key, sizeof seal_key);
    char *after[] = {key_text(a, "device.nk"), key_text(a, "seal.key")};
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(before[i], after[i]);
        free(before[i]);
        free(after[i]);
    }
}

static void test_enroll__believes_no_answer_that_is_not_for_it(void **state)
{
    static const struct {
        enum admission_answer answer;
        int code;
        const char *said;
    } rows[] = {
        {ADMISSION_WRONG_NONCE, 16, "answers another request"},
        {ADMISSION_WRONG_GRANT, 16, "grant answers another request"},
        {ADMISSION_WRONG_KEY, 16, "is of another key"},
        {ADMISSION_WRONG_SEAL, 16, "is not sealed to this device"},
        {ADMISSION_GARBAGE, 18, "captain's answer"},
    };
    struct admission *a = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        a->answer = rows[i].answer;
        assert_int_equal(enroll(a), rows[i].code);
        assert_said(a, rows[i].said);
        assert_false(has_file(a, "identity/device.creds"));
    }
}

static void test_enroll__never_says_a_token_that_was_put_in_the_wrong_place(void **state)
{
    struct admission *a = *state;
    const char *seed = strrchr(a->token_text, '-') + 1;
    const char *joined = admission_path(a, "x--tokn=%s", a->token_text);
    const char *const rows[][6] = {
        {"enroll", "--config", "agent.json", a->token_text, NULL},
        {"enroll", "--config", "agent.json", strstr(joined, "--tokn"), NULL},
        {"enroll", "--config", "agent.json", strstr(joined, "tokn"), NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(admission_end(a, admission_start(a, rows[i], NULL)), 2);
        assert_null(strstr(admission_said(a), seed));
    }
}

static void test_enroll__says_why_captain_refuses(void **state)
{
    struct admission *a = *state;
    a->answer = ADMISSION_REFUSES;
    a->code = ERR_DENIED;
    a->reason = "the token is used up";
    assert_int_equal(enroll(a), 4);
    assert_said(a, "captain refuses: the token is used up");
    assert_said(a, "captain token new --site lyon");
    a->code = ERR_WRONG_TARGET;
    a->reason = "the token is for site paris";
    assert_int_equal(enroll(a), 16);
    a->code = 9999; /* a code that is none */
    assert_int_equal(enroll(a), 4);
}

static void test_enroll__takes_only_what_the_fingerprint_stands_for(void **state)
{
    struct admission *a = *state;
    a->fingerprint[0] = a->fingerprint[0] == '0' ? '1' : '0';
    assert_int_equal(enroll(a), 14);
    assert_said(a, "--fingerprint");
    assert_false(has_file(a, "identity/ca.pem"));
    assert_false(has_file(a, "root.dsse"));
    (void)snprintf(a->fingerprint, sizeof a->fingerprint, "abc");
    assert_int_equal(enroll(a), 2);
}

static void test_enroll__refuses_the_bundle_of_another_tenant(void **state)
{
    struct admission *a = *state;
    a->extra = ", \"tenant\": \"mine\"";
    admission_write_config(a);
    assert_int_equal(enroll(a), 16);
    assert_said(a, "the bundle is of tenant \"default\", this device belongs to \"mine\"");
    assert_int_equal(a->enrols, 0);
}

static void test_enroll__does_not_change_fleets_by_itself(void **state)
{
    struct admission *a = *state;
    a->answer = ADMISSION_REFUSES;
    a->code = ERR_DENIED;
    a->reason = "no";
    assert_int_equal(enroll(a), 4); /* the root document is there now */
    sign_key_new(&a->root_key);
    a->bundle.root = bytes_of(NULL, 0);
    admission_serve(a);
    a->answer = ADMISSION_GRANTS;
    assert_int_equal(enroll(a), 5);
    assert_said(a, "is the root document of another fleet");
}

static void test_enroll__without_contact_says_what_to_look_at(void **state)
{
    struct admission *a = *state;
    const char *urls[] = {arena_printf(&a->arena, "tls://127.0.0.1:%u", (unsigned)port_free())};
    const char *good = a->bundle.urls[0];
    a->bundle.urls = urls;
    admission_serve(a);
    assert_int_equal(admission_end(a, admission_enroll(a, a->token_text, "1s")), 8);
    assert_said(a, "is there a route from here");

    urls[0] = good;
    a->bundle.ca = admission_foreign_ca(a);
    admission_serve(a);
    int code = admission_end(a, admission_enroll(a, a->token_text, "20s"));
    if (code != 8)
        fail_msg("%d: %s", code, admission_said(a));
    assert_said(a, "that server is not the one of the bundle");
    assert_int_equal(a->enrols, 0);
}

/* dated.pem and dated.key, signed by itself, good from one time (YYYYMMDDHHMMSSZ) to the other. */
static void make_dated(struct admission *a, const char *from, const char *to)
{
    static const char config[] = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\n"
                                 "new_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
                                 "x509_extensions=e\n[p]\ncommonName=supplied\n"
                                 "[e]\nsubjectAltName=IP:127.0.0.1\n";
    const char *request[] = {"openssl",
                             "req",
                             "-new",
                             "-newkey",
                             "ec",
                             "-pkeyopt",
                             "ec_paramgen_curve:P-256",
                             "-nodes",
                             "-keyout",
                             "dated.key",
                             "-out",
                             "dated.csr",
                             "-subj",
                             "/CN=captain",
                             NULL};
    const char *sign[] = {"openssl",   "ca",        "-config",    "ca.cnf", "-batch",
                          "-selfsign", "-keyfile",  "dated.key",  "-in",    "dated.csr",
                          "-out",      "dated.pem", "-startdate", from,     "-enddate",
                          to,          "-notext",   NULL};
    tempdir_write(admission_path(a, "ca.cnf"), config, sizeof config - 1);
    tempdir_write(admission_path(a, "index.txt"), "", 0);
    tempdir_write(admission_path(a, "serial"), "01\n", 3);
    assert_int_equal(proc_run(&(struct proc_options){.argv = request, .dir = a->dir}, 20000), 0);
    assert_int_equal(proc_run(&(struct proc_options){.argv = sign, .dir = a->dir}, 20000), 0);
}

static void expect_dated(struct admission *a, const char *from, const char *to, const char *said)
{
    make_dated(a, from, to);
    struct nats_server *server = nats_server_start(
        arena_printf(&a->arena, "tls { cert_file: \"%s/dated.pem\", key_file: \"%s/dated.key\" }",
                     a->dir, a->dir));
    const char *urls[] = {
        arena_printf(&a->arena, "tls://127.0.0.1:%u", (unsigned)nats_server_port(server))};
    char *pem = tempdir_read(admission_path(a, "dated.pem"), NULL);
    a->bundle.ca = pem;
    a->bundle.urls = urls;
    admission_serve(a);
    int code = admission_end(a, admission_enroll(a, a->token_text, "20s"));
    if (code != 8)
        fail_msg("%d: %s", code, admission_said(a));
    assert_said(a, said);
    free(pem);
    nats_server_free(server);
}

/* A device without a battery wakes in the past. */
static void test_enroll__with_a_clock_that_is_off_says_so(void **state)
{
    struct admission *a = *state;
    expect_dated(a, "20400101000000Z", "20410101000000Z", "this device's clock is behind: set it");
    expect_dated(a, "20200101000000Z", "20210101000000Z", "this device's clock is ahead");
}

static void test_enroll__takes_the_token_from_where_no_one_sees_it(void **state)
{
    struct admission *a = *state;
    const char *env[] = {arena_printf(&a->arena, "JOIN=%s", a->token_text), NULL};
    a->env = env;
    assert_int_equal(admission_end(a, admission_enroll(a, "env://JOIN", "20s")), 0);
    assert_null(strstr(admission_said(a), a->token_text + 35)); /* its secret half */
}

/* Among the arguments it is overwritten before anything slow begins. */
static void test_enroll__hides_the_token_from_ps(void **state)
{
    struct admission *a = *state;
    char cmdline[64];
    a->answer = ADMISSION_SILENT;
    struct proc *proc = admission_enroll(a, a->token_text, "60s");
    admission_wait(a, &a->enrols, 1);
    (void)snprintf(cmdline, sizeof cmdline, "/proc/%d/cmdline", (int)proc_pid(proc));
    size_t len;
    char *text = tempdir_read(cmdline, &len);
    assert_non_null(text);
    assert_non_null(memmem(text, len, "--token", 7));
    assert_null(memmem(text, len, a->token_text, strlen(a->token_text)));
    assert_null(memmem(text, len, a->token_text + 35, 16));
    free(text);
    proc_signal(proc, SIGTERM);
    assert_int_equal(admission_end(a, proc), 130);
}

static void test_enroll__leaves_no_core_file(void **state)
{
    struct admission *a = *state;
    char path[64];
    a->answer = ADMISSION_SILENT;
    struct proc *proc = admission_enroll(a, a->token_text, "60s");
    admission_wait(a, &a->enrols, 1);
    (void)snprintf(path, sizeof path, "/proc/%d/limits", (int)proc_pid(proc));
    char *text = tempdir_read(path, NULL);
    assert_non_null(text);
    const char *line = strstr(text, "Max core file size");
    unsigned long long soft = 1;
    assert_non_null(line);
    assert_int_equal(sscanf(line, "Max core file size %llu", &soft), 1);
    assert_int_equal(soft, 0);
    free(text);
    proc_signal(proc, SIGTERM);
    assert_int_equal(admission_end(a, proc), 130);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, admission_setup, admission_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_enroll__a_granted_device_has_what_it_needs_and_no_more_is_asked),
        TEST(test_enroll__waits_for_an_operator),
        TEST(test_enroll__that_is_not_approved_in_time_goes_on_when_run_again),
        TEST(test_enroll__that_was_killed_ends_in_the_same_place),
        TEST(test_enroll__believes_no_answer_that_is_not_for_it),
        TEST(test_enroll__never_says_a_token_that_was_put_in_the_wrong_place),
        TEST(test_enroll__says_why_captain_refuses),
        TEST(test_enroll__takes_only_what_the_fingerprint_stands_for),
        TEST(test_enroll__refuses_the_bundle_of_another_tenant),
        TEST(test_enroll__does_not_change_fleets_by_itself),
        TEST(test_enroll__without_contact_says_what_to_look_at),
        TEST(test_enroll__with_a_clock_that_is_off_says_so),
        TEST(test_enroll__takes_the_token_from_where_no_one_sees_it),
        TEST(test_enroll__hides_the_token_from_ps),
        TEST(test_enroll__leaves_no_core_file),
    };
    return cmocka_run_group_tests_name("enroll", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus over TLS: whom it trusts, and that it shows its own certificate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/bus_probe.h"
#include "tests/support/nats_server.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"

static char *dir;

/* A key and a certificate for it, signed by itself, in dir/NAME.key and dir/NAME.pem. */
static void make_certificate(const char *name, const char *subject_alt)
{
    char key[64], pem[64], alt[128];
    (void)snprintf(key, sizeof key, "%s.key", name);
    (void)snprintf(pem, sizeof pem, "%s.pem", name);
    (void)snprintf(alt, sizeof alt, "subjectAltName=%s", subject_alt);
    const char *argv[] = {
        "openssl", "req",         "-x509",   "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes",  "-days",       "2",       "-keyout", key,  "-out",     pem,
        "-subj",   "/CN=captain", "-addext", alt,       NULL};
    assert_int_equal(proc_run(&(struct proc_options){.argv = argv, .dir = dir}, 20000), 0);
}

static int setup_group(void **state)
{
    (void)state;
    dir = tempdir_make();
    make_certificate("server", "IP:127.0.0.1");
    make_certificate("elsewhere", "DNS:elsewhere.example");
    make_certificate("client", "DNS:client.example");
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    tempdir_remove(dir);
    return 0;
}

/* Starts a server with the certificate, tries with trust in ca; true when the bus connects. */
static bool connects(const char *certificate, const char *ca, bool with_client_certificate)
{
    char url[64], config[2048], ca_path[512], cert_path[512], key_path[512];
    (void)snprintf(config, sizeof config,
                   "tls { cert_file: \"%s/%s.pem\", key_file: \"%s/%s.key\", "
                   "ca_file: \"%s/client.pem\", verify: true, timeout: 5 }",
                   dir, certificate, dir, certificate, dir);
    struct nats_server *server = nats_server_start(config);
    (void)snprintf(url, sizeof url, "tls://127.0.0.1:%u", (unsigned)nats_server_port(server));
    struct bus_options options = bus_probe_options(url);
    (void)snprintf(ca_path, sizeof ca_path, "%s/%s.pem", dir, ca ? ca : "none");
    (void)snprintf(cert_path, sizeof cert_path, "%s/client.pem", dir);
    (void)snprintf(key_path, sizeof key_path, "%s/client.key", dir);
    options.tls_ca_path = ca ? ca_path : NULL;
    options.tls_cert_path = with_client_certificate ? cert_path : NULL;
    options.tls_key_path = with_client_certificate ? key_path : NULL;
    options.write_deadline_ms = 3000;

    struct bus_probe probe;
    bus_probe_open(&probe, &options);
    assert_int_equal(bus_subscribe(probe.bus, "echo.*", bus_probe_echo, &probe, &probe.err),
                     ERR_OK);
    assert_int_equal(bus_start(probe.bus, &probe.err), ERR_OK);
    while (probe.connected + probe.disconnected + probe.auth_errors == 0) {
        loop_turn(probe.loop, 100);
    }
    bool connected = probe.connected > 0;
    if (connected) {
        assert_int_equal(bus_probe_request(&probe, "echo.1", "secret", 5000), ERR_OK);
        assert_string_equal(probe.answer, "secret");
    }
    bus_probe_close(&probe);
    nats_server_free(server);
    return connected;
}

static void test_bus__connects_to_the_server_it_trusts(void **state)
{
    (void)state;
    assert_true(connects("server", "server", true));
}

static void test_bus__refuses_a_server_of_another_authority(void **state)
{
    (void)state;
    assert_false(connects("server", "elsewhere", true));
}

/* What the machine trusts says nothing about the fleet. */
static void test_bus__trusts_no_authority_of_the_system(void **state)
{
    char path[512];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/server.pem", dir);
    assert_int_equal(setenv("SSL_CERT_FILE", path, 1), 0);
    bool refused = !connects("server", "elsewhere", true);
    /* But where no authority is named, they count: that this is one of them. */
    assert_true(connects("server", NULL, true));
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    assert_true(refused);
}

static void test_bus__refuses_a_certificate_for_another_host(void **state)
{
    (void)state;
    assert_false(connects("elsewhere", "elsewhere", true));
}

static void test_bus__is_refused_without_its_own_certificate(void **state)
{
    (void)state;
    assert_false(connects("server", "server", false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bus__connects_to_the_server_it_trusts),
        cmocka_unit_test(test_bus__refuses_a_server_of_another_authority),
        cmocka_unit_test(test_bus__trusts_no_authority_of_the_system),
        cmocka_unit_test(test_bus__refuses_a_certificate_for_another_host),
        cmocka_unit_test(test_bus__is_refused_without_its_own_certificate),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}

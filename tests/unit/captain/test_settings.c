/* SPDX-License-Identifier: Apache-2.0
 *
 * What a fleet's folder is made of: captain.json, certificates, nats-server's configuration.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "captain/io/ca.h"
#include "captain/io/nats_conf.h"
#include "captain/io/settings.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"

enum { ARENA_BYTES = 4 << 20, RUN_MS = 20000 };

struct folder {
    struct arena arena;
    struct err err;
    char *dir;
};

static int set_up(void **state)
{
    struct folder *folder = mem_new(1, sizeof *folder);
    arena_init(&folder->arena, ARENA_BYTES);
    folder->dir = tempdir_make();
    *state = folder;
    return 0;
}

static int tear_down(void **state)
{
    struct folder *folder = *state;
    tempdir_remove(folder->dir);
    arena_fini(&folder->arena);
    mem_free(folder);
    return 0;
}

static const struct settings whole = {.tenant = "acme",
                                      .nats_url = "tls://h:4222",
                                      .nats_creds = "captain.creds",
                                      .nats_ca = "/etc/ca.pem",
                                      .listen = "0.0.0.0:8480",
                                      .store_url = "https://h:8480",
                                      .tls_cert = "cert.pem",
                                      .tls_key = "key.pem",
                                      .master_key = "file:keys/master.key",
                                      .admin_name = "ada",
                                      .admin_key = "UABC",
                                      .admin_expires_ms = 1800000000000};

static void test_settings__come_back_with_paths_in_the_folder(void **state)
{
    struct folder *folder = *state;
    struct settings back;
    struct stat st;
    const char *path = arena_printf(&folder->arena, "%s/captain.json", folder->dir);
    assert_int_equal(settings_load(folder->dir, &folder->arena, &back, &folder->err),
                     ERR_NOT_FOUND);
    assert_int_equal(settings_save(folder->dir, &whole, &folder->err), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(settings_load(folder->dir, &folder->arena, &back, &folder->err), ERR_OK);
    assert_string_equal(back.tenant, "acme");
    assert_string_equal(back.nats_creds,
                        arena_printf(&folder->arena, "%s/captain.creds", folder->dir));
    assert_string_equal(back.nats_ca, "/etc/ca.pem");
    assert_string_equal(back.master_key,
                        "file:keys/master.key"); /* the vault looks in the folder */
    assert_string_equal(back.admin_key, "UABC");
    assert_int_equal(back.admin_expires_ms, 1800000000000);
}

static void test_settings__what_is_wrong_is_named(void **state)
{
    struct folder *folder = *state;
    static const char nats[] = "\"nats\":{\"url\":\"tls://h:1\",\"creds\":\"c\",\"ca\":\"a\"}";
    static const char rest[] = "\"listen\":\"x:1\",\"tls\":{\"cert\":\"c\",\"key\":\"k\"},"
                               "\"master_key\":\"env:K\"";
    static const struct {
        const char *head, *nats, *rest, *says, *hint;
    } cases[] = {
        {"\"tenant\":\"acme\",", nats, rest, NULL, NULL},
        {"", nats, rest, "tenant is missing", NULL},
        {"\"tenant\":\"a b\",", nats, rest, "no plain name", NULL},
        {"\"tenant\":7,", nats, rest, "tenant is not a text", NULL},
        {"\"tenant\":\"\",", nats, rest, "tenant is not a text", NULL},
        {"\"tenant\":\"a\\u0000b\",", nats, rest, "captain.json:1:", NULL},
        {"\"tennant\":\"a\",", nats, rest, "unknown key \"tennant\"", "tenant"},
        {"\"\":\"a\",", nats, rest, "unknown key \"\"", NULL},
        {"\"tenant\":\"a\",\"tenant\":\"a\",", nats, rest, "duplicate", NULL},
        {"\"tenant\":\"a\",", "\"nats\":[]", rest, "nats is no object", NULL},
        {"\"tenant\":\"a\",", "\"nats\":{\"uri\":\"x\"}", rest, "nats: unknown key \"uri\"", "url"},
        {"\"tenant\":\"a\",", "\"nats\":{\"url\":\"x\",\"ca\":\"x\"}", rest,
         "nats.creds is missing", NULL},
        {"\"tenant\":\"a\",\"first_admin\":{\"name\":\"ada\"},", nats, rest, "needs both", NULL},
        {"\"tenant\":\"a\",\"first_admin\":{\"expires_ms\":-1},", nats, rest, "no number", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct settings settings = {0};
        folder->err = (struct err){0};
        const char *text =
            arena_printf(&folder->arena, "{%s%s,%s}", cases[i].head, cases[i].nats, cases[i].rest);
        enum err_code code = settings_parse("captain.json", "/f", bytes_of(text, strlen(text)),
                                            &folder->arena, &settings, &folder->err);
        assert_int_equal(code, cases[i].says ? ERR_MALFORMED : ERR_OK);
        if (cases[i].says && !strstr(folder->err.text, cases[i].says))
            fail_msg("case %zu says: %s", i, folder->err.text);
        if (cases[i].hint && !strstr(folder->err.hint, cases[i].hint))
            fail_msg("case %zu hints: %s", i, folder->err.hint);
        if (code)
            assert_null(settings.tenant);
    }
}

/* openssl verifies the chain, the dates, the purpose and each name. */
static int openssl(struct folder *folder, const char *purpose, const char *flag, const char *host)
{
    const char *ca = arena_printf(&folder->arena, "%s/ca.pem", folder->dir);
    const char *cert = arena_printf(&folder->arena, "%s/server.pem", folder->dir);
    const char *argv[] = {"openssl", "verify", "-x509_strict", "-CAfile", ca,  "-purpose",
                          purpose,   flag,     host,           cert,      NULL};
    return proc_run(&(struct proc_options){.argv = argv}, RUN_MS);
}

static void write_text(struct folder *folder, const char *name, const char *text)
{
    tempdir_write(arena_printf(&folder->arena, "%s/%s", folder->dir, name), text, strlen(text));
}

static void test_settings__a_certificate_is_for_its_hosts_and_for_servers(void **state)
{
    struct folder *folder = *state;
    static const char *const hosts[] = {"captain.example", "192.0.2.7", "2001:db8::7"};
    struct ca_pair ca, other, server;
    const int64_t now_s = clock_unix_ms() / 1000;
    assert_int_equal(ca_create("acme", now_s, &folder->arena, &ca, &folder->err), ERR_OK);
    assert_int_equal(ca_create("acme", now_s, &folder->arena, &other, &folder->err), ERR_OK);
    assert_int_equal(ca_issue(&ca, hosts, 3, now_s, &folder->arena, &server, &folder->err), ERR_OK);
    write_text(folder, "server.pem", server.cert);
    write_text(folder, "ca.pem", ca.cert);
    assert_int_equal(openssl(folder, "sslserver", "-verify_hostname", hosts[0]), 0);
    assert_int_equal(openssl(folder, "sslserver", "-verify_ip", hosts[1]), 0);
    assert_int_equal(openssl(folder, "sslserver", "-verify_ip", hosts[2]), 0);
    assert_int_not_equal(openssl(folder, "sslserver", "-verify_hostname", "b.example"), 0);
    assert_int_not_equal(openssl(folder, "sslserver", "-verify_ip", "192.0.2.8"), 0);
    assert_int_not_equal(openssl(folder, "sslclient", "-verify_hostname", hosts[0]), 0);
    write_text(folder, "ca.pem", other.cert);
    assert_int_not_equal(openssl(folder, "sslserver", "-verify_hostname", hosts[0]), 0);

    /* Of ten years ago: both have ended. */
    const int64_t then_s = now_s - INT64_C(3660) * 86400;
    assert_int_equal(ca_create("acme", then_s, &folder->arena, &ca, &folder->err), ERR_OK);
    assert_int_equal(ca_issue(&ca, hosts, 3, now_s, &folder->arena, &server, &folder->err), ERR_OK);
    write_text(folder, "server.pem", server.cert);
    write_text(folder, "ca.pem", ca.cert);
    assert_int_not_equal(openssl(folder, "sslserver", "-verify_hostname", hosts[0]), 0);
}

static void test_settings__a_certificate_that_cannot_be_made_is_refused(void **state)
{
    struct folder *folder = *state;
    static const char *const good[] = {"localhost"};
    static const char *const bad[] = {"",          "a,DNS:b",      "a b", "-a",
                                      "*.example", "192.0.2.7/24", "\n"};
    struct ca_pair ca, other, server;
    assert_int_equal(ca_create("acme", 1795000000, &folder->arena, &ca, &folder->err), ERR_OK);
    assert_int_equal(ca_create("acme", 1795000000, &folder->arena, &other, &folder->err), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(ca_issue(&ca, &bad[i], 1, 0, &folder->arena, &server, &folder->err),
                         ERR_USAGE);
    assert_int_equal(ca_issue(&ca, good, 0, 0, &folder->arena, &server, &folder->err), ERR_USAGE);
    ca.key = other.key;
    assert_int_equal(ca_issue(&ca, good, 1, 0, &folder->arena, &server, &folder->err),
                     ERR_MALFORMED);
    char rubbish[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    ca.key = rubbish;
    assert_int_equal(ca_issue(&ca, good, 1, 0, &folder->arena, &server, &folder->err),
                     ERR_MALFORMED);
}

static void test_settings__a_server_configuration_names_everything_once(void **state)
{
    struct folder *folder = *state;
    struct nats_conf conf = {.tenant = "acme",
                             .port = 4222,
                             .folder = "/srv/acme/nats",
                             .operator_jwt = "OPERATOR",
                             .system = "ASYS",
                             .system_jwt = "SYSJWT",
                             .streams = "ASTREAMS",
                             .streams_jwt = "STREAMSJWT",
                             .fleet = "AFLEET",
                             .fleet_jwt = "FLEETJWT"};
    const char *text;
    assert_int_equal(nats_conf_text(&conf, &folder->arena, &text, &folder->err), ERR_OK);
    static const char *const lines[] = {
        "\nlisten: \"0.0.0.0:4222\"\n",      "\noperator: OPERATOR\n",
        "\nsystem_account: ASYS\n",          "    ASYS: SYSJWT\n",
        "    ASTREAMS: STREAMSJWT\n",        "    AFLEET: FLEETJWT\n",
        "    dir: \"/srv/acme/nats/jwt\"\n", "\nauthorization { timeout: 10 }\n",
        "\"/srv/acme/nats/tls/server.key\""};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (!strstr(text, lines[i]))
            fail_msg("no %s in\n%s", lines[i], text);
    assert_null(strchr(text, '@'));
    conf.folder = "/srv/\"acme";
    assert_int_equal(nats_conf_text(&conf, &folder->arena, &text, &folder->err), ERR_MALFORMED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_settings__come_back_with_paths_in_the_folder),
        T(test_settings__what_is_wrong_is_named),
        T(test_settings__a_certificate_is_for_its_hosts_and_for_servers),
        T(test_settings__a_certificate_that_cannot_be_made_is_refused),
        T(test_settings__a_server_configuration_names_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

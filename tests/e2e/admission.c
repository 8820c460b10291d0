/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/admission.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/nkey.h"
#include "tests/support/root_doc.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { ARENA_BYTES = 32 << 20 };

static void must(struct admission *a, enum err_code code)
{
    if (code != ERR_OK)
        fail_msg("%s", a->err.text);
}

/* ---- the server ---- */

static void make_certificate(struct admission *a, const char *name)
{
    char key[64], pem[64];
    (void)snprintf(key, sizeof key, "%s.key", name);
    (void)snprintf(pem, sizeof pem, "%s.pem", name);
    const char *argv[] = {"openssl",
                          "req",
                          "-x509",
                          "-newkey",
                          "ec",
                          "-pkeyopt",
                          "ec_paramgen_curve:P-256",
                          "-nodes",
                          "-days",
                          "2",
                          "-keyout",
                          key,
                          "-out",
                          pem,
                          "-subj",
                          "/CN=captain",
                          "-addext",
                          "subjectAltName=IP:127.0.0.1",
                          NULL};
    assert_int_equal(proc_run(&(struct proc_options){.argv = argv, .dir = a->dir}, 20000), 0);
}

static const char *read_pem(struct admission *a, const char *name)
{
    char *text = tempdir_read(admission_path(a, "%s.pem", name), NULL);
    const char *copy = arena_strdup(&a->arena, text);
    free(text);
    return copy;
}

const char *admission_foreign_ca(struct admission *a)
{
    make_certificate(a, "foreign");
    return read_pem(a, "foreign");
}

static const char *account_claims(struct admission *a, const struct sign_key *account, bool system)
{
    static const char *const device_pub[] = {"health.{{name()}}", "telemetry.{{name()}}",
                                             "event.{{name()}}", "renew.{{name()}}",
                                             "$JS.API.DIRECT.GET.DESIRED.>"};
    static const char *const device_sub[] = {"dn.device.{{name()}}", "dn.channel.*.*", "dn.root.*",
                                             "ack.{{name()}}", "_INBOX.{{name()}}.>"};
    static const char *const enroll_pub[] = {"enroll"}, *const enroll_sub[] = {"_INBOX.enroll.>"};
    static const struct nkey_permissions device = {device_pub, 5,          device_sub,
                                                   5,          .subs = 32, .payload = 65536};
    static const struct nkey_permissions enroll = {enroll_pub, 1,         enroll_sub,
                                                   1,          .subs = 8, .payload = 8192};
    struct nkey_scope scopes[] = {{.role = "device", .permissions = &device},
                                  {.role = "enroll", .permissions = &enroll}};
    memcpy(scopes[0].key, a->device_scope.public_key, SIGN_PUBLIC_BYTES);
    memcpy(scopes[1].key, a->enroll_scope.public_key, SIGN_PUBLIC_BYTES);
    struct nkey_account_claims claims = {.name = system ? "SYS" : "FLEET",
                                         .system = system,
                                         .jetstream = !system,
                                         .scopes = system ? NULL : scopes,
                                         .scopes_len = system ? 0 : 2};
    memcpy(claims.key, account->public_key, SIGN_PUBLIC_BYTES);
    const char *jwt = NULL;
    must(a, nkey_mint_account(&claims, &a->operator_key, clock_unix_ms() / 1000, &a->arena, &jwt,
                              &a->err));
    return jwt;
}

static const char *server_lines(struct admission *a)
{
    char system[NKEY_TEXT], fleet[NKEY_TEXT];
    const char *operator_jwt = NULL;
    struct nkey_operator_claims claims = {.name = "test"};
    memcpy(claims.system_account, a->system.public_key, SIGN_PUBLIC_BYTES);
    must(a, nkey_mint_operator(&claims, &a->operator_key, clock_unix_ms() / 1000, &a->arena,
                               &operator_jwt, &a->err));
    nkey_public_text(NKEY_ACCOUNT, a->system.public_key, system);
    nkey_public_text(NKEY_ACCOUNT, a->fleet.public_key, fleet);
    return arena_printf(&a->arena,
                        "operator: %s\nsystem_account: %s\n"
                        "resolver: { type: full, dir: \"%s/jwt\", limit: 10 }\n"
                        "resolver_preload: { %s: %s, %s: %s }\n"
                        "tls { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\", "
                        "timeout: 10 }\n",
                        operator_jwt, system, a->dir, system, account_claims(a, &a->system, true),
                        fleet, account_claims(a, &a->fleet, false), a->dir, a->dir);
}

static const char *mint(struct admission *a, const char *name, const uint8_t *key,
                        const struct sign_key *signer, int64_t life_s)
{
    const char *jwt = NULL;
    int64_t now_s = clock_unix_ms() / 1000;
    struct nkey_user_claims claims = {
        .name = name, .scoped = signer != &a->fleet, .expires_s = life_s ? now_s + life_s : 0};
    memcpy(claims.key, key, SIGN_PUBLIC_BYTES);
    memcpy(claims.account, a->fleet.public_key, SIGN_PUBLIC_BYTES);
    must(a, nkey_mint_user(&claims, signer, now_s, &a->arena, &jwt, &a->err));
    return jwt;
}

static const char *make_creds(struct admission *a, const char *name, const struct sign_key *signer)
{
    struct sign_key key;
    const char *path = admission_path(a, "%s.creds", name);
    sign_key_new(&key);
    must(a, nkey_write_creds(path, mint(a, name, key.public_key, signer, 0), &key, &a->err));
    return path;
}

/* ---- captain ---- */

static void reply(struct admission *a, const struct bus_message *message,
                  const struct enrol_request *request, struct enrol_reply answer)
{
    struct bytes bytes;
    uint8_t nonce[16];
    memcpy(nonce, request->nonce.ptr, sizeof nonce);
    if (a->answer == ADMISSION_WRONG_NONCE)
        nonce[3] ^= 1;
    answer.nonce = bytes_of(nonce, sizeof nonce);
    must(a, codec_encode(&codec_enrol_reply, &answer, &a->arena, &bytes, &a->err));
    must(a, bus_publish(a->captain.bus, message->reply, bytes, NULL, NULL, &a->err));
}

static void grant(struct admission *a, const struct bus_message *message,
                  const struct enrol_request *request)
{
    uint8_t nonce[16], seal[32], sealed[8192];
    uint8_t key[SIGN_PUBLIC_BYTES];
    struct bytes plain;
    memcpy(nonce, request->nonce.ptr, sizeof nonce);
    memcpy(seal, request->seal_key.ptr, sizeof seal);
    memcpy(key, request->device_key.ptr, sizeof key);
    if (a->answer == ADMISSION_WRONG_GRANT)
        nonce[3] ^= 1;
    if (a->answer == ADMISSION_WRONG_KEY)
        memcpy(key, a->captain_key.public_key, sizeof key);
    if (a->answer == ADMISSION_WRONG_SEAL)
        assert_int_equal(crypto_scalarmult_base(seal, a->captain_key.seed), 0);
    struct enrol_grant granted = {.jwt = mint(a, a->name, key, &a->device_scope, a->life_s),
                                  .nonce = bytes_of(nonce, sizeof nonce),
                                  .urls = a->bundle.urls,
                                  .urls_len = a->bundle.urls_len};
    must(a, codec_encode(&codec_enrol_grant, &granted, &a->arena, &plain, &a->err));
    assert_true(plain.len + crypto_box_SEALBYTES <= sizeof sealed);
    assert_int_equal(crypto_box_seal(sealed, plain.ptr, plain.len, seal), 0);
    reply(a, message, request,
          (struct enrol_reply){.state = 3,
                               .sealed = bytes_of(sealed, plain.len + crypto_box_SEALBYTES)});
}

/* As captain does: who signed is told by the request itself, and by what captain knows. */
static bool is_proven(struct admission *a, struct bytes envelope,
                      const struct enrol_request *request)
{
    uint8_t keys[2][SIGN_PUBLIC_BYTES];
    bool token = request->token[0] != '\0';
    struct bytes payload;
    memcpy(keys[0], request->device_key.ptr, SIGN_PUBLIC_BYTES);
    memcpy(keys[1], a->token.key.public_key, SIGN_PUBLIC_BYTES);
    struct sign_role role = {(const uint8_t(*)[SIGN_PUBLIC_BYTES])keys, token ? 2 : 1,
                             token ? 2 : 1};
    return sign_open(SIGN_TYPE_ENROL, SIGN_DESIRED_MAX_BYTES, envelope, &role, &a->arena, &payload,
                     &a->err) == ERR_OK &&
           (!token || str_equal(request->token, a->token.id));
}

static void on_request(void *arg, const struct bus_message *message)
{
    struct admission *a = arg;
    struct envelope envelope;
    struct enrol_request request;
    must(a, codec_decode(&codec_envelope, message->data, &a->arena, &envelope, &a->err));
    must(a, codec_decode(&codec_enrol_request, envelope.payload, &a->arena, &request, &a->err));
    bool own = strncmp(message->subject, "renew.", 6) == 0;
    a->proven += is_proven(a, message->data, &request);
    a->with_token += request.token[0] != '\0';
    a->renewals += own;
    a->enrols += !own;
    memcpy(a->device_key, request.device_key.ptr, sizeof a->device_key);
    memcpy(a->seal_key, request.seal_key.ptr, sizeof a->seal_key);
    (void)snprintf(a->name, sizeof a->name, "%s.%s", request.site, request.device);
    if (a->answer == ADMISSION_SILENT)
        return;
    if (a->pendings > 0) {
        a->pendings--;
        reply(a, message, &request,
              (struct enrol_reply){.state = 2, .retry_ms = 200, .reason = "later"});
    } else if (a->answer == ADMISSION_REFUSES || a->answer == ADMISSION_WRONG_NONCE) {
        reply(a, message, &request,
              (struct enrol_reply){.state = 1, .code = a->code, .reason = a->reason});
    } else if (a->answer == ADMISSION_GARBAGE) {
        must(a, bus_publish(a->captain.bus, message->reply, bytes_of("\xff\xff", 2), NULL, NULL,
                            &a->err));
    } else {
        grant(a, message, &request);
    }
}

static void on_health(void *arg, const struct bus_message *message)
{
    struct admission *a = arg;
    struct health health;
    must(a, codec_decode(&codec_health, message->data, &a->arena, &health, &a->err));
    a->health++;
    a->instance = health.instance;
}

static void open_captain(struct admission *a, const char *url)
{
    struct bus_options options = bus_probe_options(url);
    options.creds_path = make_creds(a, "captain", &a->fleet);
    options.tls_ca_path = admission_path(a, "server.pem");
    options.inbox_prefix = "_INBOX.captain";
    options.write_deadline_ms = 5000;
    bus_probe_open(&a->captain, &options);
    must(a, bus_subscribe(a->captain.bus, "enroll", on_request, a, &a->err));
    must(a, bus_subscribe(a->captain.bus, "renew.>", on_request, a, &a->err));
    must(a, bus_subscribe(a->captain.bus, "health.>", on_health, a, &a->err));
    bus_probe_start(&a->captain);
}

/* ---- the bundle ---- */

static struct bytes make_root(struct admission *a, const char *tenant)
{
    const struct root_doc doc = {.tenant = tenant,
                                 .version = 1,
                                 .expires_ms = clock_unix_ms() + 3600 * 1000,
                                 .root = &a->root_key,
                                 .release = &a->release_key,
                                 .desired = &a->release_key};
    return root_doc_seal(&doc, &a->root_key, 1, &a->arena);
}

void admission_serve(struct admission *a)
{
    struct bytes bytes;
    uint8_t digest[DIGEST_BYTES];
    if (!a->bundle.root.ptr)
        a->bundle.root = make_root(a, a->bundle.tenant);
    must(a, codec_encode(&codec_trust_bundle, &a->bundle, &a->arena, &bytes, &a->err));
    hash_bytes(bytes, digest);
    str_hex(bytes_of(digest, sizeof digest), a->fingerprint);
    if (a->http)
        fault_http_change(a->http, bytes.ptr, bytes.len, "bundle");
    else
        a->http = fault_http_start(bytes.ptr, bytes.len, "bundle");
}

static void make_bundle(struct admission *a, const char *url)
{
    const char **urls = arena_alloc(&a->arena, sizeof *urls);
    char *creds = tempdir_read(make_creds(a, "enroll", &a->enroll_scope), NULL);
    urls[0] = url;
    a->bundle = (struct trust_bundle){.tenant = "default",
                                      .ca = read_pem(a, "server"),
                                      .urls = urls,
                                      .urls_len = 1,
                                      .enroll_creds = arena_strdup(&a->arena, creds)};
    free(creds);
    admission_serve(a);
}

static void make_token(struct admission *a)
{
    clock_ulid(a->token.id);
    sign_key_new(&a->token.key);
    join_token_text(&a->token, a->token_text);
}

/* ---- programs ---- */

void admission_write_config(struct admission *a)
{
    const char *text = arena_printf(
        &a->arena,
        "{\"device\": \"gw-1\", \"site\": \"lyon\", \"folder\": \"%s\",\n"
        " \"apps\": {\"hello\": {\"channel\": \"stable\"}}, \"fetch\": {\"helper\": \"%s\"},\n"
        " \"intervals\": {\"health\": \"500ms\", \"reconnect_first\": \"100ms\", "
        "\"reconnect_max\": \"1s\"}%s}\n",
        admission_path(a, "device"), getenv("CAPTAIN_FETCH_BIN"), a->extra ? a->extra : "");
    tempdir_write(admission_path(a, "agent.json"), text, strlen(text));
}

struct proc *admission_start(struct admission *a, const char *const *args, const char *const *env)
{
    const char *argv[16] = {getenv("CAPTAIN_AGENT_BIN")};
    size_t len = 1;
    assert_non_null(argv[0]);
    for (; *args; args++) {
        assert_true(len < 15);
        argv[len++] = *args;
    }
    return proc_start(&(struct proc_options){.argv = argv, .env = env, .out_path = a->log});
}

struct proc *admission_enroll(struct admission *a, const char *token, const char *wait)
{
    const char *url =
        arena_printf(&a->arena, "http://127.0.0.1:%u/", (unsigned)fault_http_port(a->http));
    const char *args[] = {"enroll",
                          "--config",
                          admission_path(a, "agent.json"),
                          "--url",
                          url,
                          "--token",
                          token,
                          "--fingerprint",
                          a->fingerprint,
                          "--wait",
                          wait,
                          NULL};
    return admission_start(a, args, a->env);
}

int admission_end(struct admission *a, struct proc *proc)
{
    int status = -1;
    int64_t until_ms = clock_mono_ms() + ADMISSION_WAIT_MS;
    while (!proc_wait(proc, 0, &status)) {
        if (clock_mono_ms() > until_ms)
            fail_msg("it does not end; it said:\n%s", admission_said(a));
        loop_turn(a->captain.loop, 10);
    }
    proc_free(proc);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void admission_wait(struct admission *a, const unsigned *counter, unsigned value)
{
    if (!bus_probe_wait(&a->captain, counter, value, ADMISSION_WAIT_MS))
        fail_msg("%u of %u; it said:\n%s", *counter, value, admission_said(a));
}

const char *admission_said(struct admission *a)
{
    char *text = tempdir_read(a->log, NULL);
    const char *copy = arena_strdup(&a->arena, text ? text : "");
    free(text);
    assert_non_null(copy);
    return copy;
}

int admission_setup(void **state)
{
    struct admission *a = calloc(1, sizeof *a);
    assert_non_null(a);
    struct sign_key *keys[] = {&a->operator_key, &a->system,      &a->fleet,    &a->device_scope,
                               &a->enroll_scope, &a->captain_key, &a->root_key, &a->release_key};
    arena_init(&a->arena, ARENA_BYTES);
    a->dir = tempdir_make();
    (void)snprintf(a->log, sizeof a->log, "%s/said", a->dir);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        sign_key_new(keys[i]);
    make_certificate(a, "server");
    a->nats = nats_server_start(server_lines(a));
    const char *url =
        arena_printf(&a->arena, "tls://127.0.0.1:%u", (unsigned)nats_server_port(a->nats));
    open_captain(a, url);
    make_bundle(a, url);
    make_token(a);
    admission_write_config(a);
    *state = a;
    return 0;
}

int admission_teardown(void **state)
{
    struct admission *a = *state;
    bus_probe_close(&a->captain);
    nats_server_free(a->nats);
    fault_http_free(a->http);
    tempdir_remove(a->dir);
    arena_fini(&a->arena);
    free(a);
    return 0;
}

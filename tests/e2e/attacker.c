/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/attacker.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { VALID_MS = 3600 * 1000, ASK_MS = 10000 };

static const char *const key_names[ATTACKER_KEYS] = {"ada", "bob", "stranger"};
static const char CHANNEL[] = "desired.channel.hello.stable";

static void must(struct attacker *a, enum err_code code)
{
    if (code != ERR_OK)
        fail_msg("%s", a->err.text);
}

static const char *key_path(struct attacker *a, size_t i)
{
    return secure_path(a->secure, "%s.key", key_names[i]);
}

static struct bytes file_bytes(struct attacker *a, const char *path)
{
    size_t len = 0;
    char *text = tempdir_read(path, &len);
    assert_non_null(text);
    const struct bytes bytes = bytes_of(arena_dup(&a->secure->arena, text, len), len);
    free(text);
    return bytes;
}

/* ---- asking on the bus ---- */

struct answer {
    struct attacker *a;
    bool done;
    enum err_code code;
    struct bytes data;
};

static void on_answer(void *arg, const struct bus_message *message, const struct err *err)
{
    struct answer *answer = arg;
    answer->done = true;
    answer->code = err->code;
    if (message)
        answer->data =
            bytes_of(arena_dup(&answer->a->secure->arena, message->data.ptr, message->data.len),
                     message->data.len);
}

static bool is_answered(void *arg)
{
    return ((const struct answer *)arg)->done;
}

static struct bytes await(struct bus_probe *probe, struct answer *answer)
{
    assert_true(wait_turning(probe->loop, is_answered, answer, 2 * ASK_MS));
    assert_int_equal(answer->code, ERR_OK);
    return answer->data;
}

static void read_channel(struct attacker *a)
{
    struct answer answer = {.a = a};
    struct envelope envelope;
    must(a, bus_get_last(a->probe.bus, "DESIRED", CHANNEL, ASK_MS, on_answer, &answer, &a->err));
    a->first = await(&a->probe, &answer);
    must(a, codec_decode(&codec_envelope, a->first, &a->secure->arena, &envelope, &a->err));
    must(a, codec_decode(&codec_desired, envelope.payload, &a->secure->arena, &a->now, &a->err));
    a->generation = a->now.generation;
}

enum err_code attacker_ask_captain(struct attacker *a, struct bytes envelope)
{
    struct answer answer = {.a = a};
    struct release_create request = {.envelope = envelope, .reason = "test"};
    struct api_reply reply;
    struct bytes bytes;
    struct bus_probe ada;
    secure_probe(a->secure, &ada, secure_path(a->secure, "config/captain/acme.creds"),
                 "_INBOX.op.ada");
    bus_probe_start(&ada);
    must(a, codec_encode(&codec_release_create, &request, &a->secure->arena, &bytes, &a->err));
    must(a, bus_request(ada.bus, "api.ada.release.create", bytes, ASK_MS, on_answer, &answer,
                        &a->err));
    must(a,
         codec_decode(&codec_api_reply, await(&ada, &answer), &a->secure->arena, &reply, &a->err));
    bus_probe_close(&ada);
    return (enum err_code)reply.code;
}

/* ---- documents ---- */

static struct attacker_release seal_release(struct attacker *a, const struct release *release,
                                            const struct sign_key *keys, size_t keys_len)
{
    struct arena *arena = &a->secure->arena;
    struct attacker_release ret = {.version = release->version, .sequence = release->sequence};
    struct bytes payload, envelope;
    must(a, codec_encode(&codec_release, release, arena, &payload, &a->err));
    hash_bytes(payload, ret.digest);
    if (keys_len > 0) {
        must(a, sign_seal(SIGN_TYPE_RELEASE, payload, keys, keys_len, arena, &envelope, &a->err));
    } else {
        const struct envelope bare = {.payload = payload, .payload_type = SIGN_TYPE_RELEASE};
        must(a, codec_encode(&codec_envelope, &bare, arena, &envelope, &a->err));
    }
    ret.envelope = envelope;
    return ret;
}

struct attacker_release attacker_release(struct attacker *a, const char *version, uint64_t sequence,
                                         int64_t expires_ms, const struct sign_key *keys,
                                         size_t keys_len)
{
    struct release release = a->release;
    release.version = version;
    release.sequence = sequence;
    release.expires_ms = expires_ms;
    return seal_release(a, &release, keys, keys_len);
}

struct attacker_release attacker_release_in_earnest(struct attacker *a, const char *version,
                                                    const char *sequence)
{
    struct secure *s = a->secure;
    struct arena *arena = &s->arena;
    const char *bundle = secure_path(s, "bundle-%s", version);
    const char *keys =
        secure_text(s, "%s,%s", key_path(a, ATTACKER_ADA), key_path(a, ATTACKER_BOB));
    CAPTAIN_OK(s, "release", "create", "-f", secure_package(s, version), "--key", keys, "--output",
               bundle, "--sequence", sequence);
    CAPTAIN_OK(s, "release", "create", "--bundle", bundle);
    struct envelope envelope;
    struct attacker_release ret = {
        .version = version, .envelope = file_bytes(a, secure_text(s, "%s/release.dsse", bundle))};
    must(a, codec_decode(&codec_envelope, ret.envelope, arena, &envelope, &a->err));
    must(a, codec_decode(&codec_release, envelope.payload, arena, &a->release, &a->err));
    hash_bytes(envelope.payload, ret.digest);
    ret.sequence = a->release.sequence;
    return ret;
}

struct desired attacker_desired(struct attacker *a, const struct attacker_release *release)
{
    const char **stores = arena_alloc(&a->secure->arena, sizeof *stores);
    assert_non_null(stores);
    *stores = secure_text(a->secure, "http://127.0.0.1:%u", fault_http_port(a->store));
    struct desired desired = a->now;
    desired.generation = ++a->generation;
    desired.issued_ms = clock_unix_ms();
    desired.expires_ms = desired.issued_ms + VALID_MS;
    desired.release_digest =
        bytes_of(arena_dup(&a->secure->arena, release->digest, DIGEST_BYTES), DIGEST_BYTES);
    desired.release_sequence = release->sequence;
    desired.release_version = release->version;
    desired.decision += a->generation;
    desired.stores = stores;
    desired.stores_len = 1;
    fault_http_change(a->store, release->envelope.ptr, release->envelope.len, release->version);
    return desired;
}

struct bytes attacker_seal(struct attacker *a, const struct desired *desired,
                           const struct sign_key *key)
{
    struct arena *arena = &a->secure->arena;
    struct bytes payload, envelope = {0};
    must(a, codec_encode(&codec_desired, desired, arena, &payload, &a->err));
    must(a, sign_seal(SIGN_TYPE_DESIRED, payload, key, 1, arena, &envelope, &a->err));
    return envelope;
}

void attacker_publish(struct attacker *a, const char *subject, struct bytes envelope)
{
    const struct bus_expect any = {0};
    const enum err_code code = bus_store(a->probe.bus, subject, envelope, NULL, any, ASK_MS,
                                         bus_probe_stored, &a->probe, &a->probe.err);
    if (bus_probe_end(&a->probe, code) != ERR_OK)
        fail_msg("%s", a->probe.err.text);
}

/* ---- what the device does ---- */

static json_t *events(struct attacker *a)
{
    const char *const words[] = {"device", "show", "--json", "gate-1", NULL};
    json_t *device = secure_json(a->secure, words);
    json_t *list = json_incref(json_object_get(device, "events"));
    json_decref(device);
    return list;
}

static uint64_t seq_of(const json_t *event)
{
    const char *seq = json_string_value(json_object_get(event, "seq"));
    return seq ? strtoull(seq, NULL, 10) : 0;
}

void attacker_begin(struct attacker *a)
{
    json_t *list = events(a);
    size_t i;
    json_t *event;
    json_array_foreach(list, i, event)
    {
        if (seq_of(event) > a->mark)
            a->mark = seq_of(event);
    }
    json_decref(list);
}

struct refusal {
    struct attacker *a;
    const char *code;
};

static bool is_refused(void *arg)
{
    const struct refusal *refusal = arg;
    json_t *list = events(refusal->a);
    bool found = false;
    size_t i;
    json_t *event;
    json_array_foreach(list, i, event)
    {
        const char *code = json_string_value(json_object_get(event, "code"));
        found =
            found || (seq_of(event) > refusal->a->mark && code && strcmp(code, refusal->code) == 0);
    }
    json_decref(list);
    return found;
}

static void assert_releases(struct attacker *a, unsigned releases)
{
    DIR *dir = opendir(secure_app_path(a->secure, &a->secure->devices[0], "releases"));
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        releases -= entry->d_name[0] != '.';
    (void)closedir(dir);
    assert_int_equal(releases, 0);
}

void attacker_assert_bounces(struct attacker *a, enum err_code code, const char *version)
{
    struct refusal refusal = {a, err_name(code)};
    if (!wait_until(is_refused, &refusal, SECURE_WAIT_MS))
        fail_msg("not refused as %s: %s\n%s", refusal.code, secure_said(a->secure),
                 secure_content(a->secure, secure_path(a->secure, "gate-1.log")));
    assert_int_equal(fault_http_asked(a->store, "/artifact/"), 0);
    assert_releases(a, 1);
    secure_wait_serving(a->secure, &a->secure->devices[0], version);
}

/* ---- the fleet ---- */

static void make_keys(struct attacker *a)
{
    for (size_t i = 0; i < ATTACKER_KEYS; i++) {
        sign_key_new(&a->keys[i]);
        must(a, sign_key_save(&a->keys[i], key_path(a, i), &a->err));
    }
}

static const char *public_hex(struct attacker *a, size_t i)
{
    char hex[2 * SIGN_PUBLIC_BYTES + 1];
    str_hex(bytes_of(a->keys[i].public_key, SIGN_PUBLIC_BYTES), hex);
    return secure_text(a->secure, "%s", hex);
}

static void init(struct attacker *a)
{
    const char *add = secure_text(a->secure, "release=%s,release=%s", public_hex(a, ATTACKER_ADA),
                                  public_hex(a, ATTACKER_BOB));
    const char *const more[] = {"--add", add, "--threshold", "release=2", NULL};
    if (secure_init(a->secure, more) != 0)
        fail_msg("%s", secure_said(a->secure));
    secure_start_nats(a->secure);
    secure_start_captain(a->secure);
    secure_wait_captain(a->secure);
}

int attacker_set_up(void **state)
{
    struct attacker *a = mem_new(1, sizeof *a);
    void *secure;
    (void)secure_set_up(&secure);
    a->secure = secure;
    *state = a;
    make_keys(a);
    init(a);
    secure_join(a->secure, 1);
    (void)attacker_release_in_earnest(a, "1.0", "10");
    CAPTAIN_OK(a->secure, "channel", "set", "hello/stable", "hello@1.0");
    secure_wait_serving(a->secure, &a->secure->devices[0], "1.0");
    must(a, sign_key_load(secure_text(a->secure, "%s/keys/desired.key", a->secure->folder),
                          &a->desired, &a->err));
    a->store = fault_http_start("", 0, "none");
    secure_probe(a->secure, &a->probe,
                 secure_text(a->secure, "%s/streams.creds", a->secure->folder), "_INBOX.captain");
    bus_probe_start(&a->probe);
    read_channel(a);
    return 0;
}

int attacker_tear_down(void **state)
{
    struct attacker *a = *state;
    void *secure = a->secure;
    bus_probe_close(&a->probe);
    fault_http_free(a->store);
    mem_free(a);
    return secure_tear_down(&secure);
}

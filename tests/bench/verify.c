/* SPDX-License-Identifier: Apache-2.0
 *
 * What it costs to accept a document: common/trust (envelope, signatures, decoding, every check) beside
 * crypto_sign_verify_detached of the same signed bytes. verify SECONDS; a line for each document:
 *   name bytes signatures microseconds_ours microseconds_libsodium
 * Rounds of both alternate; medians.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/trust.h"
#include "proto/codec.h"

enum { KEYS = 3, ROUNDS = 21, ARENA_BYTES = 8 << 20, ARTIFACTS = 64 };
static const int64_t NOW_MS = 1800000000000, DAY_MS = 24 * 3600 * 1000;

struct lab {
    struct arena arena, scratch;
    struct err err;
    struct sign_key keys[KEYS];
    struct bytes publics[KEYS];
    struct role roles[3];
    struct root root;
    struct trust_target target;
};

/* One document, ready to be checked. */
struct subject {
    const char *name;
    struct bytes envelope, pae;
    struct bytes signatures[KEYS];
    size_t signatures_len;
    void (*check)(struct lab *lab, struct bytes envelope);
};

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "verify: %s failed\n", what);
    exit(1);
}

static void check_desired(struct lab *lab, struct bytes envelope)
{
    const struct trust_seen seen = {0};
    struct desired desired;
    must(trust_check_desired(&lab->root, envelope, &lab->target, &seen, NOW_MS, &lab->scratch,
                             &desired, &lab->err) == ERR_OK,
         lab->err.text);
}

static void check_release(struct lab *lab, struct bytes envelope)
{
    const struct trust_release_want want = {0};
    struct release release;
    uint8_t digest[DIGEST_BYTES];
    must(trust_check_release(&lab->root, envelope, &want, &lab->target, NOW_MS, &lab->scratch,
                             &release, digest, &lab->err) == ERR_OK,
         lab->err.text);
}

static struct subject seal(struct lab *lab, const char *name, const char *type,
                           const struct codec_type *codec, const void *message, size_t signers)
{
    struct subject subject = {.name = name, .signatures_len = signers};
    struct bytes payload;
    struct envelope envelope;
    must(codec_encode(codec, message, &lab->arena, &payload, &lab->err) == ERR_OK, lab->err.text);
    must(sign_seal(type, payload, lab->keys, signers, &lab->arena, &subject.envelope, &lab->err) ==
             ERR_OK,
         "seal");
    must(sign_pae(type, payload, &lab->arena, &subject.pae, &lab->err) == ERR_OK, "pae");
    must(codec_decode(&codec_envelope, subject.envelope, &lab->arena, &envelope, &lab->err) ==
             ERR_OK,
         "envelope");
    for (size_t i = 0; i < signers; i++)
        subject.signatures[i] = envelope.signatures[i].sig;
    return subject;
}

static void set_up(struct lab *lab, unsigned threshold)
{
    static const char *const names[] = {TRUST_ROLE_ROOT, TRUST_ROLE_RELEASE, TRUST_ROLE_DESIRED};
    arena_init(&lab->arena, ARENA_BYTES);
    arena_init(&lab->scratch, ARENA_BYTES);
    for (unsigned i = 0; i < KEYS; i++) {
        sign_key_new(&lab->keys[i]);
        lab->publics[i] = bytes_of(lab->keys[i].public_key, SIGN_PUBLIC_BYTES);
    }
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        lab->roles[i] = (struct role){.name = names[i],
                                      .threshold = i == 1 ? threshold : 1,
                                      .keys = lab->publics,
                                      .keys_len = i == 1 ? 2 * threshold - 1 : 1};
    lab->root = (struct root){.tenant = "acme",
                              .version = 1,
                              .expires_ms = NOW_MS + DAY_MS,
                              .roles = lab->roles,
                              .roles_len = ARRAY_LEN(names)};
    lab->target = (struct trust_target){.tenant = "acme",
                                        .app = "hello",
                                        .channel = "stable",
                                        .os = "linux",
                                        .arch = "amd64",
                                        .hardware = "",
                                        .agent_version = "1.0.0"};
}

static void ours(struct lab *lab, const struct subject *subject)
{
    arena_reset(&lab->scratch);
    subject->check(lab, subject->envelope);
}

static void bare(struct lab *lab, const struct subject *subject)
{
    for (size_t i = 0; i < subject->signatures_len; i++)
        must(crypto_sign_verify_detached(subject->signatures[i].ptr, subject->pae.ptr,
                                         subject->pae.len, lab->keys[i].public_key) == 0,
             "libsodium");
}

/* Microseconds of one call, over so long. */
static double timed(struct lab *lab, const struct subject *subject,
                    void (*fn)(struct lab *, const struct subject *), int64_t ns)
{
    const int64_t start = clock_mono_ns();
    long calls = 0;
    for (; clock_mono_ns() < start + ns; calls++)
        fn(lab, subject);
    return (double)(clock_mono_ns() - start) / 1e3 / (double)calls;
}

static int compare(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void measure(struct lab *lab, const struct subject *subject, double seconds)
{
    double mine[ROUNDS], floor[ROUNDS];
    const int64_t ns = (int64_t)(seconds * 1e9 / ROUNDS / 2);
    for (int i = 0; i < ROUNDS; i++) {
        mine[i] = timed(lab, subject, ours, ns);
        floor[i] = timed(lab, subject, bare, ns);
    }
    qsort(mine, ROUNDS, sizeof *mine, compare);
    qsort(floor, ROUNDS, sizeof *floor, compare);
    printf("%s %zu %zu %.1f %.1f\n", subject->name, subject->envelope.len, subject->signatures_len,
           mine[ROUNDS / 2], floor[ROUNDS / 2]);
}

static struct release make_release(struct lab *lab, size_t artifacts_len)
{
    static const uint8_t digest[DIGEST_BYTES] = {7};
    struct artifact *artifacts = arena_alloc(&lab->arena, artifacts_len * sizeof *artifacts);
    must(artifacts != NULL, "arena");
    for (size_t i = 0; i < artifacts_len; i++)
        artifacts[i] = (struct artifact){.kind = ARTIFACT_KIND_FILE,
                                         .os = "linux",
                                         .arch = "amd64",
                                         .path = arena_printf(&lab->arena, "lib/part-%zu.bin", i),
                                         .size_bytes = 4096,
                                         .sha256 = bytes_of(digest, DIGEST_BYTES)};
    return (struct release){.app = "hello",
                            .version = "1.0",
                            .sequence = 7,
                            .created_ms = NOW_MS,
                            .expires_ms = NOW_MS + DAY_MS,
                            .artifacts = artifacts,
                            .artifacts_len = artifacts_len};
}

static void run(double seconds, unsigned threshold)
{
    static const uint8_t digest[DIGEST_BYTES] = {7};
    struct lab lab = {0};
    set_up(&lab, threshold);
    const struct desired desired = {.tenant = "acme",
                                    .app = "hello",
                                    .channel = "stable",
                                    .generation = 5,
                                    .issued_ms = NOW_MS,
                                    .expires_ms = NOW_MS + DAY_MS,
                                    .release_digest = bytes_of(digest, DIGEST_BYTES),
                                    .release_version = "1.0",
                                    .release_sequence = 7};
    const struct release small = make_release(&lab, 3), large = make_release(&lab, ARTIFACTS);
    struct subject subjects[] = {
        seal(&lab, "desired", SIGN_TYPE_DESIRED, &codec_desired, &desired, 1),
        seal(&lab, "release", SIGN_TYPE_RELEASE, &codec_release, &small, threshold),
        seal(&lab, "release-64", SIGN_TYPE_RELEASE, &codec_release, &large, threshold)};
    subjects[0].check = check_desired;
    subjects[1].check = subjects[2].check = check_release;
    for (size_t i = threshold == 1 ? 0 : 1; i < ARRAY_LEN(subjects); i++)
        measure(&lab, &subjects[i], seconds);
    arena_fini(&lab.arena);
    arena_fini(&lab.scratch);
}

int main(int argc, char **argv)
{
    must(argc == 2, "usage: verify SECONDS;");
    const double seconds = strtod(argv[1], NULL);
    must(seconds > 0 && sodium_init() >= 0, "SECONDS;");
    run(seconds, 1);
    run(seconds, 2);
    return 0;
}

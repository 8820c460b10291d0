/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/trust_bundle.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"
#include "proto/codec.h"
#include "proto/messages_enrol.h"

enum { ARENA_BYTES = 1 << 20, CA_MAX_BYTES = 16384, CREDS_MAX_BYTES = 4096, URLS_BYTES = 2048 };

enum err_code trust_bundle_split(const char *urls, char *text, size_t text_size,
                                 const char *ret[static TRUST_BUNDLE_URLS_MAX], size_t *ret_len,
                                 struct err *err)
{
    size_t len = 0;
    char *rest = NULL;
    if (str_copy(text, text_size, urls) != ERR_OK)
        return err_set(err, ERR_SIZE, "the URLs of nats-server are longer than %zu bytes",
                       text_size - 1);
    for (char *url = strtok_r(text, ", ", &rest); url; url = strtok_r(NULL, ", ", &rest)) {
        if (len == TRUST_BUNDLE_URLS_MAX)
            return err_set(err, ERR_FULL, "more than %d URLs of nats-server",
                           TRUST_BUNDLE_URLS_MAX);
        ret[len++] = url;
    }
    *ret_len = len;
    return ERR_OK;
}

static enum err_code read_creds(const char *folder, struct arena *arena, const char **ret,
                                struct err *err)
{
    char path[PATH_MAX];
    char *text = arena_alloc(arena, CREDS_MAX_BYTES + 1);
    size_t len = 0;
    const int path_len = snprintf(path, sizeof path, "%s/enroll.creds", folder);
    if (!text || path_len < 0 || (size_t)path_len >= sizeof path)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", folder);
    const enum err_code code = file_read_secret(path, text, CREDS_MAX_BYTES + 1, &len, err);
    if (code == ERR_NOT_FOUND)
        return err_hint(err, "captain init makes it");
    *ret = text;
    return code;
}

static enum err_code build(const struct trust_bundle_parts *parts, struct arena *arena,
                           struct bytes *ret, struct err *err)
{
    char urls_text[URLS_BYTES];
    const char *urls[TRUST_BUNDLE_URLS_MAX];
    struct bytes ca;
    struct trust_bundle bundle = {.tenant = parts->tenant, .root = parts->root, .urls = urls};
    if (!parts->ca_path) {
        (void)err_set(err, ERR_USAGE, "captain knows no certificate authority");
        return err_hint(err, "captain.json: \"nats\": {\"ca\": FILE}");
    }
    enum err_code code = file_read(parts->ca_path, CA_MAX_BYTES, arena, &ca, err);
    if (code == ERR_OK)
        code = read_creds(parts->folder, arena, &bundle.enroll_creds, err);
    if (code == ERR_OK)
        code = trust_bundle_split(parts->nats_urls, urls_text, sizeof urls_text, urls,
                                  &bundle.urls_len, err);
    if (code != ERR_OK)
        return code;
    bundle.ca = (const char *)ca.ptr;
    return codec_encode(&codec_trust_bundle, &bundle, arena, ret, err);
}

static enum err_code keep(const char *folder, const char *name, struct bytes data, struct err *err)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/trust", folder);
    if (len < 0 || (size_t)len + DIGEST_HEX + 1 >= sizeof path)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", folder);
    enum err_code code = file_make_dirs(path, 0700, err);
    if (code != ERR_OK)
        return code;
    (void)snprintf(path + len, sizeof path - (size_t)len, "/%s", name);
    return file_replace(path, data, 0600, err);
}

enum err_code trust_bundle_write(const struct trust_bundle_parts *parts,
                                 char ret_fingerprint[static DIGEST_HEX], struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    struct bytes bundle;
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_BYTES);
    enum err_code code = build(parts, &arena, &bundle, err);
    if (code == ERR_OK) {
        hash_bytes(bundle, digest);
        str_hex(bytes_of(digest, sizeof digest), ret_fingerprint);
        code = keep(parts->folder, ret_fingerprint, bundle, err);
    }
    return code == ERR_OK ? code : err_wrap(err, "what a new device starts from");
}

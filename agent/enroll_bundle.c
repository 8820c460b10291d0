/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/enroll_bundle.h"

#include <inttypes.h>
#include <string.h>

#include "agent/io/download.h"
#include "agent/io/identity_files.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/trust.h"
#include "proto/codec.h"

static enum err_code fetch(const struct enroll_options *o, const struct config *config,
                           struct arena *arena, struct bytes *ret, struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    if (str_unhex(o->fingerprint, digest, sizeof digest) != ERR_OK)
        return err_set(err, ERR_USAGE, "a fingerprint is %d hexadecimal digits", DIGEST_HEX - 1);
    size_t len = strlen(o->url);
    while (len > 0 && o->url[len - 1] == '/')
        len--;
    const char *url = arena_printf(arena, "%.*s/trust/%s", (int)len, o->url, o->fingerprint);
    if (!url)
        return err_set(err, ERR_USAGE, "the address is too long");
    struct download_proven request = {.helper = config->fetch_helper,
                                      .user = config->fetch_user,
                                      .url = url,
                                      .sha256 = digest,
                                      .folder = config->folder};
    return download_proven(&request, arena, ret, err);
}

static enum err_code explain(const struct enroll_options *o, struct err *err)
{
    (void)err_wrap(err, "the bundle of this fingerprint");
    if (err->code == ERR_USAGE || err->hint[0])
        return err->code;
    if (err->code == ERR_HASH)
        return err_hint(err, "%.120s does not serve what --fingerprint stands for: check both",
                        o->url);
    if (err->code == ERR_NOT_FOUND || err->code == ERR_FAILED)
        return err_hint(err, "`captain token new` prints --url and --fingerprint: compare them");
    return err_hint(err, "is %.120s right, and can it be reached from here?", o->url);
}

static enum err_code check_tenant(const struct config *config, const struct trust_bundle *bundle,
                                  const struct root *root, struct err *err)
{
    if (!str_equal(root->tenant, bundle->tenant))
        return err_set(err, ERR_WRONG_TARGET,
                       "the bundle is of tenant \"%s\", its root document of \"%s\"",
                       bundle->tenant, root->tenant);
    if (!config->tenant || str_equal(config->tenant, bundle->tenant))
        return ERR_OK;
    err_set(err, ERR_WRONG_TARGET, "the bundle is of tenant \"%s\", this device belongs to \"%s\"",
            bundle->tenant, config->tenant);
    return err_hint(err, "take another fingerprint, or change tenant in the configuration");
}

static enum err_code another_fleet(const char *path, struct err *err)
{
    err_set(err, ERR_CONFLICT, "%s is the root document of another fleet", path);
    return err_hint(err, "to give this device away, empty its folder first");
}

/* Whether the bundle's root is to be written. One that is there has been followed since. */
static enum err_code compare_root(const struct config *config, struct bytes envelope,
                                  const struct root *offered, struct arena *arena, bool *ret_write,
                                  struct err *err)
{
    char path[IDENTITY_PATH_MAX];
    struct bytes there;
    struct root kept;
    struct envelope a, b;
    identity_files_path(config->folder, IDENTITY_ROOT, path);
    *ret_write = true;
    enum err_code code = file_read(path, SIGN_ROOT_MAX_BYTES, arena, &there, err);
    if (code != ERR_OK)
        return code == ERR_NOT_FOUND ? ERR_OK : code;
    if (trust_root_anchor(there, arena, &kept, err) != ERR_OK)
        return ERR_OK; /* it is of no use as it is */
    if (!str_equal(kept.tenant, offered->tenant))
        return another_fleet(path, err);
    *ret_write = kept.version < offered->version;
    if (kept.version != offered->version)
        return ERR_OK;
    if ((code = codec_decode(&codec_envelope, there, arena, &a, err)) ||
        (code = codec_decode(&codec_envelope, envelope, arena, &b, err)))
        return code;
    return bytes_equal(a.payload, b.payload) ? ERR_OK : another_fleet(path, err);
}

static enum err_code keep(const struct config *config, const struct trust_bundle *bundle,
                          bool write_root, struct err *err)
{
    const char *folder = config->folder;
    struct bytes ca = bytes_of(bundle->ca, strlen(bundle->ca));
    struct bytes creds = bytes_of(bundle->enroll_creds, strlen(bundle->enroll_creds));
    enum err_code code;
    if ((code = identity_files_write_nats(folder, bundle->urls, bundle->urls_len, bundle->tenant,
                                          err)) ||
        (code = identity_files_write(folder, IDENTITY_CA, ca, err)) ||
        (code = identity_files_write(folder, IDENTITY_ENROLL_CREDS, creds, err)))
        return code;
    return write_root ? identity_files_write(folder, IDENTITY_ROOT, bundle->root, err) : ERR_OK;
}

static void warn_of_expiry(const struct enroll_options *o, const struct root *root)
{
    struct err err;
    if (trust_root_fresh(root, clock_unix_ms(), &err) == ERR_OK)
        return;
    o->say(err.text);
    o->say("  until there is a newer one, or this device's clock is right, nothing is installed");
}

enum err_code enroll_bundle(const struct enroll_options *o, const struct config *config,
                            struct arena *arena, struct err *err)
{
    struct bytes bytes;
    struct trust_bundle bundle;
    struct root root;
    bool write_root = false;
    enum err_code code = fetch(o, config, arena, &bytes, err);
    if (code != ERR_OK)
        return explain(o, err);
    if ((code = codec_decode(&codec_trust_bundle, bytes, arena, &bundle, err)) ||
        (code = trust_root_anchor(bundle.root, arena, &root, err)) ||
        (code = check_tenant(config, &bundle, &root, err)) ||
        (code = compare_root(config, bundle.root, &root, arena, &write_root, err)))
        return err_wrap(err, "the bundle of this fingerprint");
    warn_of_expiry(o, &root);
    return keep(config, &bundle, write_root, err);
}

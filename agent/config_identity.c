/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "agent/config.h"
#include "agent/io/identity_files.h"

static const char *path_of(const struct config *config, enum identity_file file,
                           struct arena *arena)
{
    char path[IDENTITY_PATH_MAX];
    if (!identity_files_has(config->folder, file))
        return NULL;
    identity_files_path(config->folder, file, path);
    return arena_strdup(arena, path);
}

/* Where the credential is, or will be when the agent has got one again. */
static const char *creds_path(const struct config *config, struct arena *arena)
{
    char path[IDENTITY_PATH_MAX];
    if (!identity_files_has(config->folder, IDENTITY_DEVICE_KEY) ||
        !identity_files_has(config->folder, IDENTITY_ENROLL_CREDS))
        return NULL;
    identity_files_path(config->folder, IDENTITY_DEVICE_CREDS, path);
    return arena_strdup(arena, path);
}

static enum err_code fill_nats(struct config *config, struct arena *arena, struct err *err)
{
    struct identity_nats nats;
    if (!identity_files_has(config->folder, IDENTITY_NATS))
        return ERR_OK;
    enum err_code code = identity_files_read_nats(config->folder, arena, &nats, err);
    if (code != ERR_OK)
        return code;
    if (!config->tenant)
        config->tenant = nats.tenant;
    if (!config->nats_url)
        config->nats_url = nats.url;
    return ERR_OK;
}

static enum err_code missing(const char *name, const char *key, struct err *err)
{
    err_set(err, ERR_MALFORMED, "%s: %s: is missing, and this device has not enrolled", name, key);
    return err_hint(err, "captain-agent enroll --config %.100s --url ... writes what it stands for",
                    name);
}

enum err_code config_complete(const char *name, struct config *config, struct arena *arena,
                              struct err *err)
{
    enum err_code code = fill_nats(config, arena, err);
    if (code != ERR_OK)
        return code;
    if (!config->nats_creds) {
        config->nats_creds = creds_path(config, arena);
        config->renews = config->nats_creds != NULL;
    }
    if (!config->nats_ca)
        config->nats_ca = path_of(config, IDENTITY_CA, arena);
    if (!config->root)
        config->root = path_of(config, IDENTITY_ROOT, arena);
    if (!config->tenant)
        config->tenant = CONFIG_TENANT;
    if (!config->nats_url)
        return missing(name, "nats", err);
    return config->root ? ERR_OK : missing(name, "root", err);
}

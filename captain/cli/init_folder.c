/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/init.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "captain/api.h"
#include "captain/cli/output.h"
#include "captain/identities.h"
#include "captain/io/nats_conf.h"
#include "captain/io/settings.h"
#include "captain/root_document.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "common/trust.h"

/* A folder beside the final one, which becomes it. */
struct making {
    const struct init_plan *plan;
    char folder[PATH_MAX];
    struct identities identities;
    struct ca_pair ca;
};

static const char *inside(const struct making *making, const char *name, struct err *err)
{
    const char *path = arena_printf(making->plan->arena, "%s/%s", making->folder, name);
    if (!path)
        (void)err_set(err, ERR_SIZE, "the path of folder %s is too long", making->folder);
    return path;
}

static enum err_code write_file(const struct making *making, const char *name, struct bytes data,
                                mode_t mode, struct err *err)
{
    const char *path = inside(making, name, err);
    return path ? file_replace(path, data, mode, err) : err->code;
}

static enum err_code make_folders(const struct making *making, struct err *err)
{
    static const char *const names[] = {"keys", "nats/jwt", "nats/jetstream", "nats/tls"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *path = inside(making, names[i], err);
        if (!path || file_make_dirs(path, 0700, err))
            return err->code;
    }
    return ERR_OK;
}

/* A signing key in keys/. */
static enum err_code make_key(const struct making *making, const char *name, struct sign_key *ret,
                              struct err *err)
{
    const char *path = inside(making, name, err);
    sign_key_new(ret);
    return path ? sign_key_save(ret, path, err) : err->code;
}

/* The keys of a role: those kept elsewhere, or one that is made here. */
static enum err_code fill_role(const struct making *making, const char *name,
                               const struct init_role *given, struct sign_key *made,
                               struct root_document_role *ret, struct err *err)
{
    char file[64];
    *ret = (struct root_document_role){
        .name = name, .keys = given->keys, .keys_len = given->len, .threshold = given->threshold};
    if (given->len > 0)
        return ERR_OK;
    (void)snprintf(file, sizeof file, "keys/%s.key", name);
    ret->keys = (const uint8_t(*)[SIGN_PUBLIC_BYTES])made->public_key;
    ret->keys_len = 1;
    return make_key(making, file, made, err);
}

static enum err_code make_root(const struct making *making, struct err *err)
{
    const struct init_plan *plan = making->plan;
    static const struct init_role own = {.threshold = 1};
    struct sign_key root_key = {0}, release_key = {0}, desired_key = {0};
    struct root_document_role roles[3];
    struct root root;
    struct bytes envelope;
    enum err_code code = fill_role(making, TRUST_ROLE_ROOT, &plan->root, &root_key, &roles[0], err);
    if (code == ERR_OK)
        code = fill_role(making, TRUST_ROLE_RELEASE, &plan->release, &release_key, &roles[1], err);
    if (code == ERR_OK)
        code = fill_role(making, TRUST_ROLE_DESIRED, &own, &desired_key, &roles[2], err);
    if (code == ERR_OK)
        code = root_document_first(plan->tenant, roles, ARRAY_LEN(roles),
                                   plan->now_ms + ROOT_DOCUMENT_VALID_MS, plan->arena, &root, err);
    if (code == ERR_OK)
        code = root_document_seal(&root, &root_key, plan->root.len ? 0 : 1, plan->arena, &envelope,
                                  err);
    sign_key_wipe(&root_key);
    sign_key_wipe(&release_key);
    sign_key_wipe(&desired_key);
    if (code == ERR_OK)
        code = write_file(making, "keys/root.dsse", envelope, 0600, err);
    if (code != ERR_OK || plan->root.len > 0)
        return code; /* captain publishes it at its first start, when it is signed */
    return write_file(making, "root.dsse", envelope, 0644, err);
}

static struct bytes text_bytes(const char *text)
{
    return bytes_of(text, strlen(text));
}

static enum err_code make_certificates(struct making *making, struct err *err)
{
    const struct init_plan *plan = making->plan;
    struct ca_pair server;
    int64_t now_s = plan->now_ms / 1000;
    enum err_code code = ca_create(plan->tenant, now_s, plan->arena, &making->ca, err);
    if (code != ERR_OK)
        return code;
    code = ca_issue(&making->ca, plan->hosts, plan->hosts_len, now_s, plan->arena, &server, err);
    if (code == ERR_OK)
        code = write_file(making, "keys/ca.key", text_bytes(making->ca.key), 0600, err);
    sodium_memzero(making->ca.key, strlen(making->ca.key));
    if (code != ERR_OK)
        return code;
    code = write_file(making, "nats/tls/server.key", text_bytes(server.key), 0600, err);
    sodium_memzero(server.key, strlen(server.key));
    if (code == ERR_OK)
        code = write_file(making, "nats/tls/server.pem", text_bytes(server.cert), 0644, err);
    return code ? code
                : write_file(making, "nats/tls/ca.pem", text_bytes(making->ca.cert), 0644, err);
}

static enum err_code make_nats(struct making *making, struct err *err)
{
    const struct init_plan *plan = making->plan;
    const char *text;
    enum err_code code =
        identities_create(making->folder, api_role_subjects, plan->arena, &making->identities, err);
    if (code != ERR_OK)
        return code;
    struct nats_conf conf = {.tenant = plan->tenant,
                             .port = plan->nats_port,
                             .folder = arena_printf(plan->arena, "%s/nats", plan->folder),
                             .operator_jwt = making->identities.operator_jwt,
                             .system = making->identities.system,
                             .system_jwt = making->identities.system_jwt,
                             .streams = making->identities.streams,
                             .streams_jwt = making->identities.streams_jwt,
                             .fleet = making->identities.fleet,
                             .fleet_jwt = making->identities.fleet_jwt};
    if (!conf.folder)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", plan->folder);
    code = nats_conf_text(&conf, plan->arena, &text, err);
    return code ? code : write_file(making, "nats/server.conf", text_bytes(text), 0600, err);
}

static enum err_code make_admin(const struct making *making, struct init_admin *ret,
                                struct err *err)
{
    const struct init_plan *plan = making->plan;
    const struct account_options options = {.folder = making->folder,
                                            .subjects = api_role_subjects};
    struct account *account = NULL;
    int64_t now_s = plan->now_ms / 1000;
    sign_key_new(&ret->key);
    const struct account_operator who = {.name = plan->operator_name,
                                         .role = ROLE_ADMIN,
                                         .key = ret->key.public_key,
                                         .issued_s = now_s,
                                         .expires_s = now_s + ACCOUNT_OPERATOR_TTL_S};
    enum err_code code = account_open(&options, &account, err);
    if (code == ERR_OK)
        code = account_mint_operator(account, &who, plan->arena, &ret->jwt, err);
    account_close(account);
    ret->expires_ms = who.expires_s * 1000;
    ret->ca = making->ca.cert;
    return code;
}

static enum err_code make_settings(const struct making *making, const struct init_admin *admin,
                                   struct err *err)
{
    const struct init_plan *plan = making->plan;
    char admin_key[NKEY_TEXT];
    struct sign_key master;
    nkey_public_text(NKEY_USER, admin->key.public_key, admin_key);
    const struct settings settings = {.tenant = plan->tenant,
                                      .nats_url = plan->url,
                                      .nats_creds = "captain.creds",
                                      .nats_ca = "nats/tls/ca.pem",
                                      .listen = plan->listen,
                                      .store_url = plan->store_url,
                                      .tls_cert = "nats/tls/server.pem",
                                      .tls_key = "nats/tls/server.key",
                                      .master_key = "file:keys/master.key",
                                      .admin_name = plan->operator_name,
                                      .admin_key = admin_key,
                                      .admin_expires_ms = admin->expires_ms};
    /* Not a key to sign with, but as random and in the same form of file. */
    enum err_code code = make_key(making, "keys/master.key", &master, err);
    sign_key_wipe(&master);
    return code ? code : settings_save(making->folder, &settings, err);
}

static enum err_code fill(struct making *making, struct init_admin *ret, struct err *err)
{
    enum err_code code = make_folders(making, err);
    if (code == ERR_OK)
        code = make_root(making, err);
    if (code == ERR_OK)
        code = make_certificates(making, err);
    if (code == ERR_OK)
        code = make_nats(making, err);
    if (code == ERR_OK)
        code = make_admin(making, ret, err);
    if (code == ERR_OK)
        code = make_settings(making, ret, err);
    return code ? code : file_sync_dir(making->folder, err);
}

static enum err_code taken(const char *folder, struct err *err)
{
    (void)err_set(err, ERR_CONFLICT, "%s is there and is not an empty folder", folder);
    return err_hint(err, "a fleet is made once; name another folder, or move that one away");
}

static enum err_code put_in_place(const struct making *making, struct err *err)
{
    char parent[PATH_MAX];
    const char *folder = making->plan->folder;
    if (rename(making->folder, folder) == 0) {
        (void)snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(folder, '/') - folder) + 1,
                       folder);
        return file_sync_dir(parent, err);
    }
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
        return err_sys(err, errno, "renaming %s to %s", making->folder, folder);
    return taken(folder, err);
}

/* A folder that cannot take the fleet is refused before keys are made for it. */
static enum err_code check_place(const char *folder, struct err *err)
{
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT)
        return ERR_OK;
    if (!dir && errno != ENOTDIR)
        return err_sys(err, errno, "looking into %s", folder);
    bool empty = dir != NULL;
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry && empty; entry = readdir(dir))
        empty = str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..");
    if (dir)
        (void)closedir(dir);
    return empty ? ERR_OK : taken(folder, err);
}

enum err_code init_folder_make(const struct init_plan *plan, struct init_admin *ret,
                               struct err *err)
{
    struct making making = {.plan = plan};
    struct err left = {0};
    int len = snprintf(making.folder, sizeof making.folder, "%s.XXXXXX", plan->folder);
    if (len < 0 || (size_t)len >= sizeof making.folder)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", plan->folder);
    if (check_place(plan->folder, err))
        return err->code;
    if (!mkdtemp(making.folder))
        return err_sys(err, errno, "making a folder beside %s", plan->folder);
    enum err_code code = fill(&making, ret, err);
    if (code == ERR_OK)
        code = put_in_place(&making, err);
    if (code != ERR_OK && file_remove_tree(making.folder, &left))
        output_note("%s is left behind: %s", making.folder, left.text);
    return code;
}

static char *read_text(const struct making *making, const char *name, struct err *err)
{
    struct bytes data;
    const char *path = inside(making, name, err);
    if (!path || file_read(path, CA_PEM_MAX_BYTES, making->plan->arena, &data, err))
        return NULL;
    return (char *)(uintptr_t)data.ptr; /* file_read ends it with a NUL */
}

enum err_code init_renew_certificate(const struct init_plan *plan, struct err *err)
{
    struct making making = {.plan = plan};
    struct ca_pair server;
    if (str_copy(making.folder, sizeof making.folder, plan->folder))
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", plan->folder);
    making.ca.cert = read_text(&making, "nats/tls/ca.pem", err);
    making.ca.key = making.ca.cert ? read_text(&making, "keys/ca.key", err) : NULL;
    if (!making.ca.key)
        return err_hint(err, "bring keys/ca.key back for as long as this takes");
    enum err_code code = ca_issue(&making.ca, plan->hosts, plan->hosts_len, plan->now_ms / 1000,
                                  plan->arena, &server, err);
    sodium_memzero(making.ca.key, strlen(making.ca.key));
    if (code != ERR_OK)
        return code;
    code = write_file(&making, "nats/tls/server.key", text_bytes(server.key), 0600, err);
    sodium_memzero(server.key, strlen(server.key));
    return code ? code
                : write_file(&making, "nats/tls/server.pem", text_bytes(server.cert), 0644, err);
}

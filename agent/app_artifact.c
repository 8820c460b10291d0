/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_artifact.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/download.h"
#include "agent/io/stage.h"
#include "agent/io/takeover.h"
#include "agent/io/verify.h"
#include "common/base/mem.h"
#include "common/file.h"

enum { PATH_BYTES = APP_ARTIFACT_PATH_BYTES };

struct app_artifact {
    struct app_artifact_order order;
    char hex[DIGEST_HEX];
    char incoming[PATH_BYTES];
    bool fetched; /* by this object */
    bool mixed;   /* of several stores, or resumed: perhaps wrong only because of that */
    bool checked; /* the last transfer has hashed by itself */
    struct download *download;
    struct verify *verify;
    struct err err;
};

static enum err_code join(char ret[PATH_BYTES], const char *staging, const char *rest,
                          struct err *err)
{
    int len = snprintf(ret, PATH_BYTES, "%s/%s", staging, rest);
    return len >= 0 && len < PATH_BYTES
               ? ERR_OK
               : err_set(err, ERR_SIZE, "a path in %s is longer than %d bytes", staging,
                         PATH_BYTES);
}

enum err_code app_artifact_incoming(const char *staging, const char *name, char *ret,
                                    struct err *err)
{
    char inner[DIGEST_HEX + sizeof "incoming/"];
    (void)snprintf(inner, sizeof inner, "incoming/%s", name);
    enum err_code code = join(ret, staging, "incoming", err);
    if (code == ERR_OK && mkdir(ret, 0700) != 0 && errno != EEXIST)
        return err_sys(err, errno, "making folder %s", ret);
    return code == ERR_OK ? join(ret, staging, inner, err) : code;
}

uint64_t app_artifact_bytes_there(const char *staging)
{
    char path[PATH_BYTES];
    struct stat st;
    uint64_t bytes = 0;
    if (join(path, staging, "incoming", NULL) != ERR_OK)
        return 0;
    DIR *folder = opendir(path);
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        if (fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            bytes += (uint64_t)st.st_blocks * 512;
    }
    if (folder)
        (void)closedir(folder);
    return bytes;
}

/* ---- the end ---- */

static void app_artifact_free(struct app_artifact *a)
{
    download_cancel(a->download);
    verify_cancel(a->verify);
    mem_free(a);
}

void app_artifact_cancel(struct app_artifact *artifact)
{
    if (artifact)
        app_artifact_free(artifact);
}

static void finish(struct app_artifact *a)
{
    struct err err = a->err;
    a->order.done(a->order.arg, &err);
    app_artifact_free(a);
}

/* ---- an archive ---- */

static enum err_code place_tree(struct app_artifact *a)
{
    const struct artifact *artifact = a->order.artifact;
    const struct takeover_limits limits = {artifact->unpacked_bytes_max,
                                           artifact->unpacked_files_max};
    char tree[PATH_BYTES], root[PATH_BYTES];
    enum err_code code = join(tree, a->order.staging, "unpack/tree", &a->err);
    if (code == ERR_OK)
        code = join(root, a->order.staging, "root", &a->err);
    if (code == ERR_OK)
        code = takeover_tree(tree, &limits, &a->err);
    return code ? code : stage_tree(root, artifact->path, tree, &a->err);
}

static enum err_code remove_unpack(struct app_artifact *a)
{
    char path[PATH_BYTES];
    enum err_code code = join(path, a->order.staging, "unpack", &a->err);
    return code ? code : file_remove_tree(path, &a->err);
}

static void on_unpacked(void *arg, const struct err *err)
{
    struct app_artifact *a = arg;
    a->download = NULL;
    a->err = *err;
    if (err->code == ERR_OK && place_tree(a) == ERR_OK && remove_unpack(a) == ERR_OK)
        (void)unlink(a->incoming); /* it has served */
    finish(a);
}

/* A folder that nobody had before, so nobody has it open. */
static enum err_code start_unpack(struct app_artifact *a, int fd)
{
    char folder[PATH_BYTES], tree[PATH_BYTES];
    enum err_code code = remove_unpack(a);
    if (code == ERR_OK)
        code = join(folder, a->order.staging, "unpack", &a->err);
    if (code == ERR_OK)
        code = join(tree, a->order.staging, "unpack/tree", &a->err);
    if (code == ERR_OK && mkdir(folder, 0700) != 0)
        return err_sys(&a->err, errno, "making folder %s", folder);
    if (code)
        return code;
    struct download_unpack request = {
        .helper = a->order.config->fetch_helper,
        .user = a->order.config->fetch_user,
        .archive_fd = fd,
        .to = tree,
        .bytes_max = a->order.artifact->unpacked_bytes_max,
        .files_max = a->order.artifact->unpacked_files_max,
    };
    return download_unpack_start(a->order.loop, &request, on_unpacked, a, &a->download, &a->err);
}

/* ---- what is verified gets its place ---- */

static enum err_code place_file(struct app_artifact *a, int fd)
{
    char root[PATH_BYTES];
    enum err_code code = join(root, a->order.staging, "root", &a->err);
    return code ? code : stage_file(root, a->order.artifact->path, fd, &a->err);
}

/* In the folder of the transfer's user a second name is of no use, and copy was only for the way. */
static void remove_names(struct app_artifact *a)
{
    char copy[PATH_BYTES];
    (void)unlink(a->incoming);
    if (join(copy, a->order.staging, "copy", NULL) == ERR_OK)
        (void)unlink(copy);
}

static void use(struct app_artifact *a, int fd)
{
    bool tree = a->order.artifact->kind == ARTIFACT_KIND_TREE;
    enum err_code code = tree ? start_unpack(a, fd) : place_file(a, fd);
    (void)close(fd);
    if (!tree)
        remove_names(a);
    if (code != ERR_OK || !tree)
        finish(a);
}

/* ---- fetched and verified ---- */

static enum err_code fetch(struct app_artifact *a);

static void on_verified(void *arg, int fd, const struct err *err)
{
    struct app_artifact *a = arg;
    a->verify = NULL;
    a->err = *err;
    if (err->code == ERR_OK) {
        use(a, fd);
        return;
    }
    remove_names(a); /* the next try gets it anew */
    if (a->checked || (a->fetched && !a->mixed) || fetch(a) != ERR_OK)
        finish(a);
}

static enum err_code verify(struct app_artifact *a, const char *path)
{
    const struct artifact *artifact = a->order.artifact;
    char copy[PATH_BYTES];
    enum err_code code = join(copy, a->order.staging, "copy", &a->err);
    if (code)
        return code;
    bool tree = artifact->kind == ARTIFACT_KIND_TREE;
    struct verify_request request = {
        .path = path,
        .copy_path = copy,
        .size_bytes = artifact->size_bytes,
        .sha256 = artifact->sha256.ptr,
        .mode = tree                   ? 0600
                : artifact->executable ? 0755
                                       : 0644,
    };
    return verify_start(a->order.loop, &request, on_verified, a, &a->verify, &a->err);
}

static void on_fetched(void *arg, const struct err *err)
{
    struct app_artifact *a = arg;
    a->download = NULL;
    a->err = *err;
    if (err->code != ERR_OK) {
        finish(a);
    } else if (verify(a, a->incoming) != ERR_OK) {
        remove_names(a);
        finish(a);
    }
}

static void on_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct app_artifact *a = arg;
    a->order.progress(a->order.arg, done_bytes, total_bytes);
}

static enum err_code fetch(struct app_artifact *a)
{
    const struct config *config = a->order.config;
    const struct artifact *artifact = a->order.artifact;
    struct download_request request = {
        .helper = config->fetch_helper,
        .user = config->fetch_user,
        .ca_path = config->fetch_ca ? config->fetch_ca : config->nats_ca,
        .urls = a->order.urls,
        .to = a->incoming,
        .max_bytes = artifact->size_bytes,
        .size_bytes = artifact->size_bytes,
        .sha256 = artifact->sha256.ptr,
    };
    /* Hashing once is enough, and the once that counts is ours. Only when that fails the helper
     * hashes too, so that it can leave out the store that has wrong bytes. */
    a->checked = a->fetched;
    request.hash_later = !a->checked;
    a->mixed = a->order.urls[1] != NULL || app_artifact_bytes_there(a->order.staging) > 0;
    a->fetched = true;
    return download_start(a->order.loop, &request, on_progress, on_fetched, a, &a->download,
                          &a->err);
}

/* ---- the start: what an earlier try left ---- */

static bool has_size(const char *path, uint64_t size_bytes)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size_bytes;
}

static enum err_code begin(struct app_artifact *a)
{
    const struct artifact *artifact = a->order.artifact;
    enum err_code code = app_artifact_incoming(a->order.staging, a->hex, a->incoming, &a->err);
    if (code)
        return code;
    /* What cannot be verified is got anew. */
    if (has_size(a->incoming, artifact->size_bytes)) {
        if (verify(a, a->incoming) == ERR_OK)
            return ERR_OK;
        remove_names(a);
    }
    return fetch(a);
}

enum err_code app_artifact_start(const struct app_artifact_order *order, struct app_artifact **ret,
                                 struct err *err)
{
    struct app_artifact *a = mem_new(1, sizeof *a);
    a->order = *order;
    str_hex(order->artifact->sha256, a->hex);
    if (begin(a) == ERR_OK) {
        *ret = a;
        return ERR_OK;
    }
    *err = a->err;
    app_artifact_free(a);
    return err->code;
}

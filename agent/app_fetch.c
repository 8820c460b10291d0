/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_fetch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/app_artifact.h"
#include "agent/app_plan.h"
#include "agent/io/download.h"
#include "agent/io/takeover.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/sign.h"

enum {
    FETCH_ARENA_MAX_BYTES = 8 << 20,
    ARTIFACTS_MAX = 64,
    STORES_MAX = 8,
    SPARE_BYTES = 1 << 20, /* left free on the disk */
    PATH_BYTES = RELEASE_DIR_PATH_MAX + 1200,
};

#define DOCUMENT "release.dsse"

struct app_fetch {
    struct app_fetch_options options;
    bool running;
    struct arena arena; /* of one fetch */
    struct app_fetch_order order;
    app_fetch_done_fn done;
    void *arg;
    char staging[RELEASE_DIR_PATH_MAX];
    struct release release;
    const struct artifact *picked[ARTIFACTS_MAX]; /* in the order of fetching */
    size_t picked_len, next;
    uint64_t done_bytes, now_bytes, total_bytes;
    struct download *download; /* of the document */
    struct app_artifact *artifact;
    struct loop_timer soon; /* a result known at once is told in a later turn */
    struct err err;
};

static void next_artifact(struct app_fetch *f);

struct app_fetch *app_fetch_new(const struct app_fetch_options *options)
{
    struct app_fetch *f = mem_new(1, sizeof *f);
    f->options = *options;
    return f;
}

void app_fetch_free(struct app_fetch *f)
{
    if (!f)
        return;
    app_fetch_cancel(f);
    mem_free(f);
}

void app_fetch_cancel(struct app_fetch *f)
{
    loop_timer_stop(&f->soon);
    download_cancel(f->download);
    f->download = NULL;
    app_artifact_cancel(f->artifact);
    f->artifact = NULL;
    if (f->running)
        arena_fini(&f->arena);
    f->running = false;
}

bool app_fetch_running(const struct app_fetch *f)
{
    return f->running;
}

unsigned app_fetch_percent(const struct app_fetch *f)
{
    if (!f->running || f->total_bytes == 0)
        return 0;
    uint64_t bytes = f->done_bytes + f->now_bytes;
    return bytes >= f->total_bytes ? 100 : (unsigned)(bytes * 100 / f->total_bytes);
}

static void tell(void *arg)
{
    struct app_fetch *f = arg;
    struct err err = f->err;
    app_fetch_cancel(f);
    f->done(f->arg, &err);
}

/* The end, with f->err set or fine. */
static void finish(struct app_fetch *f)
{
    loop_timer_at(f->options.loop, &f->soon, 0, tell, f);
}

static void finish_ok(struct app_fetch *f)
{
    f->err = (struct err){.code = ERR_OK};
    finish(f);
}

/* An unpacked tree replaces the folder of its name, so outer trees come before inner ones and
 * before files. */
static int rank(const struct artifact *artifact)
{
    if (artifact->kind != ARTIFACT_KIND_TREE)
        return 4096;
    int depth = str_equal(artifact->path, ".") ? 0 : 1;
    for (const char *p = artifact->path; *p; p++)
        depth += *p == '/';
    return depth;
}

/* What of it is for this device. */
static void pick(struct app_fetch *f)
{
    const struct release *release = &f->release;
    for (size_t i = 0; i < release->artifacts_len && f->picked_len < ARTIFACTS_MAX; i++) {
        if (!trust_artifact_fits(&release->artifacts[i], trust_self(f->options.trust)))
            continue;
        size_t at = f->picked_len++;
        for (; at > 0 && rank(f->picked[at - 1]) > rank(&release->artifacts[i]); at--)
            f->picked[at] = f->picked[at - 1];
        f->picked[at] = &release->artifacts[i];
        f->total_bytes += release->artifacts[i].size_bytes;
    }
}

static void root_path(const struct app_fetch *f, const struct artifact *artifact,
                      char ret[PATH_BYTES])
{
    bool top = str_equal(artifact->path, ".");
    (void)snprintf(ret, PATH_BYTES, "%s/root%s%s", f->staging, top ? "" : "/",
                   top ? "" : artifact->path);
}

/* Put there by this or an earlier try: only what was verified, and is on disk, gets a name below
 * root. A tree may be a folder on the way to something else, unless it is the top. */
static bool is_there(const struct app_fetch *f, const struct artifact *artifact)
{
    char path[PATH_BYTES];
    struct stat st;
    root_path(f, artifact, path);
    if (lstat(path, &st) != 0)
        return false;
    if (artifact->kind == ARTIFACT_KIND_TREE)
        return str_equal(artifact->path, ".") && S_ISDIR(st.st_mode);
    mode_t mode = artifact->executable ? 0755 : 0644;
    return S_ISREG(st.st_mode) && (uint64_t)st.st_size == artifact->size_bytes &&
           (st.st_mode & 07777) == mode;
}

static enum err_code check_space(struct app_fetch *f)
{
    struct statvfs fs;
    if (statvfs(f->staging, &fs) != 0)
        return err_sys(&f->err, errno, "looking at the disk of %s", f->staging);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize, need_bytes = SPARE_BYTES;
    for (size_t i = 0; i < f->picked_len; i++) {
        if (!is_there(f, f->picked[i]))
            need_bytes += f->picked[i]->size_bytes + f->picked[i]->unpacked_bytes_max;
    }
    uint64_t there_bytes = app_artifact_bytes_there(f->staging);
    need_bytes -= there_bytes < need_bytes ? there_bytes : need_bytes;
    if (need_bytes <= free_bytes)
        return ERR_OK;
    char need[32], have[32];
    str_format_size(need_bytes, need);
    str_format_size(free_bytes, have);
    return err_set(&f->err, ERR_NO_SPACE, "release %s needs up to %s on disk, %s are free",
                   f->release.version, need, have);
}

/* What its services ask for can be given here; the folders do not matter for that. */
static enum err_code check_plan(struct app_fetch *f)
{
    struct app_plan plan;
    struct app_plan_input input = {.config = f->options.config,
                                   .app = f->options.app,
                                   .release = &f->release,
                                   .root = "/",
                                   .state = "/"};
    return app_plan_make(&input, &f->arena, &plan, &f->err);
}

static void document_path(const struct app_fetch *f, char ret[PATH_BYTES])
{
    (void)snprintf(ret, PATH_BYTES, "%s/" DOCUMENT, f->staging);
}

static enum err_code trust_document(struct app_fetch *f, struct bytes envelope)
{
    return trust_release(f->options.trust, envelope, f->order.digest, f->options.app->app,
                         clock_unix_ms(), &f->arena, &f->release, &f->err);
}

static enum err_code read_document(struct app_fetch *f, const char *path)
{
    struct bytes envelope;
    enum err_code code = file_read(path, SIGN_RELEASE_MAX_BYTES, &f->arena, &envelope, &f->err);
    return code ? code : trust_document(f, envelope);
}

/* What is kept are the bytes that were accepted, in a file of our own. */
static enum err_code take_over_document(struct app_fetch *f)
{
    char path[PATH_BYTES];
    struct bytes envelope;
    enum err_code code = app_artifact_incoming(f->staging, DOCUMENT, path, &f->err);
    if (code)
        return code;
    code = takeover_read(path, SIGN_RELEASE_MAX_BYTES, &f->arena, &envelope, &f->err);
    (void)unlink(path); /* the next try gets it anew */
    if (code || (code = trust_document(f, envelope)))
        return code;
    document_path(f, path);
    return file_replace(path, envelope, 0600, &f->err);
}

static void take_document(struct app_fetch *f)
{
    pick(f);
    if (check_plan(f) || check_space(f))
        finish(f);
    else
        next_artifact(f);
}

static void on_document(void *arg, const struct err *err)
{
    struct app_fetch *f = arg;
    f->download = NULL;
    f->err = *err;
    if (err->code != ERR_OK) {
        (void)err_wrap(&f->err, "release document");
        finish(f);
    } else if (take_over_document(f) == ERR_OK) {
        take_document(f);
    } else {
        finish(f);
    }
}

static const char **list_urls(struct app_fetch *f, const char *const *own, size_t own_len,
                              const char *kind, const uint8_t digest[DIGEST_BYTES])
{
    char hex[DIGEST_HEX];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    const char **urls = arena_alloc(&f->arena, (own_len + f->order.stores_len + 1) * sizeof *urls);
    for (size_t i = 0; urls && i < own_len; i++)
        urls[i] = own[i];
    for (size_t i = 0; urls && i < f->order.stores_len; i++) {
        urls[own_len + i] = arena_printf(&f->arena, "%s/%s/%s", f->order.stores[i], kind, hex);
        if (!urls[own_len + i])
            return NULL;
    }
    return urls;
}

static void on_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct app_fetch *f = arg;
    (void)total_bytes;
    f->now_bytes = done_bytes;
}

static enum err_code check_urls(struct app_fetch *f, const char *const *urls)
{
    if (!urls)
        return err_set(&f->err, ERR_SIZE, "too many addresses to fetch from");
    if (!urls[0])
        return err_set(&f->err, ERR_NO_CONTACT, "nobody says where to fetch from");
    return ERR_OK;
}

static void get_document(struct app_fetch *f)
{
    const struct config *config = f->options.config;
    char to[PATH_BYTES];
    struct download_request request = {
        .helper = config->fetch_helper,
        .user = config->fetch_user,
        .ca_path = config->fetch_ca ? config->fetch_ca : config->nats_ca,
        .urls = list_urls(f, NULL, 0, "release", f->order.digest),
        .to = to,
        .max_bytes = SIGN_RELEASE_MAX_BYTES,
    };
    if (check_urls(f, request.urls) || app_artifact_incoming(f->staging, DOCUMENT, to, &f->err) ||
        download_start(f->options.loop, &request, on_progress, on_document, f, &f->download,
                       &f->err))
        finish(f);
}

static void on_artifact(void *arg, const struct err *err)
{
    struct app_fetch *f = arg;
    const struct artifact *artifact = f->picked[f->next];
    f->artifact = NULL;
    f->err = *err;
    if (err->code != ERR_OK) {
        (void)err_wrap(&f->err, "artifact %.100s", artifact->path);
        finish(f);
        return;
    }
    f->done_bytes += artifact->size_bytes;
    f->now_bytes = 0;
    f->next++;
    next_artifact(f);
}

static void get_artifact(struct app_fetch *f, const struct artifact *artifact)
{
    struct app_artifact_order order = {
        .loop = f->options.loop,
        .config = f->options.config,
        .staging = f->staging,
        .artifact = artifact,
        .urls = list_urls(f, artifact->urls, artifact->urls_len, "artifact", artifact->sha256.ptr),
        .progress = on_progress,
        .done = on_artifact,
        .arg = f,
    };
    if (check_urls(f, order.urls) || app_artifact_start(&order, &f->artifact, &f->err))
        finish(f);
}

/* A release without artifacts has an empty folder all the same. */
static void complete(struct app_fetch *f)
{
    char root[PATH_BYTES];
    (void)snprintf(root, sizeof root, "%s/root", f->staging);
    if (file_make_dirs(root, 0755, &f->err) == ERR_OK &&
        release_dir_commit(f->options.dir, f->order.digest, &f->err) == ERR_OK)
        finish_ok(f);
    else
        finish(f);
}

static void next_artifact(struct app_fetch *f)
{
    while (f->next < f->picked_len && is_there(f, f->picked[f->next])) {
        f->done_bytes += f->picked[f->next]->size_bytes;
        f->next++;
    }
    if (f->next < f->picked_len)
        get_artifact(f, f->picked[f->next]);
    else
        complete(f);
}

static enum err_code copy_order(struct app_fetch *f, const struct app_fetch_order *order)
{
    const char **stores = arena_alloc(&f->arena, (order->stores_len + 1) * sizeof *stores);
    f->order = *order;
    f->order.stores = stores;
    for (size_t i = 0; stores && i < order->stores_len; i++) {
        stores[i] = arena_strdup(&f->arena, order->stores[i]);
        stores = stores[i] ? stores : NULL;
    }
    return stores ? ERR_OK : err_set(&f->err, ERR_SIZE, "too many stores");
}

static enum err_code prepare(struct app_fetch *f, const struct app_fetch_order *order)
{
    enum err_code code = copy_order(f, order);
    if (code == ERR_OK && order->expires_ms != 0 && clock_unix_ms() >= order->expires_ms)
        return err_set(&f->err, ERR_EXPIRED,
                       "the desired state has expired and was not issued again");
    return code ? code : release_dir_staging(f->options.dir, order->digest, f->staging, &f->err);
}

void app_fetch_start(struct app_fetch *f, const struct app_fetch_order *order,
                     app_fetch_done_fn done, void *arg)
{
    app_fetch_cancel(f);
    *f = (struct app_fetch){.options = f->options, .running = true, .done = done, .arg = arg};
    arena_init(&f->arena, FETCH_ARENA_MAX_BYTES);
    if (prepare(f, order) != ERR_OK) {
        finish(f);
        return;
    }
    char path[PATH_BYTES];
    document_path(f, path);
    if (read_document(f, path) == ERR_OK) {
        take_document(f);
    } else {
        (void)unlink(path);
        get_document(f);
    }
}

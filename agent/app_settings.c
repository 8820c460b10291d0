/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/app_private.h"
#include "agent/core/flags.h"
#include "agent/io/identity_files.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/log.h"

enum {
    AGAIN_MS = 5000, /* what could not be written is tried again this often */
    SWEEP_MS = 1000, /* who was on the way into the old secrets has arrived by then */
    SECRETS_MAX = 64,
    FLAGS_ARENA_MAX_BYTES = 2 << 20,
};

static int64_t now_ms(const struct app *app)
{
    return loop_now_ms(app->options.loop);
}

/* ---- word of a change ---- */

static bool anybody_listens(const struct app *app)
{
    const struct app_plan *plan = &app->current.plan;
    if (!app->current.planned || !app_services_running(app->services))
        return false;
    for (size_t i = 0; i < plan->release->services_len; i++) {
        if (plan->services[i].reload || plan->services[i].reload_signal)
            return true;
    }
    return false;
}

/* Before the change: an agent that dies between the two tells it after its restart. */
static void note_change(struct app *app)
{
    if (!anybody_listens(app))
        return;
    int fd = open(app->settings.due, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        log_write(LOG_LEVEL_WARNING, "%s: %s", app->settings.due, strerrordesc_np(errno));
    else
        (void)close(fd);
}

static void tell_change(struct app *app)
{
    if (anybody_listens(app))
        app_reload_due(app->settings.reload, &app->current.plan);
}

static void on_told(void *arg)
{
    struct app *app = arg;
    (void)unlink(app->settings.due); /* when it stays they are told once more: no harm */
}

static void on_not_told(void *arg, const char *text)
{
    struct app *app = arg;
    log_write(LOG_LEVEL_WARNING, "%s: %s", app->options.app->app, text);
    app_say(app, EVENT_KIND_SETTINGS_FAILED, &app->link, ERR_FAILED, text);
    app->news = true;
}

void app_forget_change(struct app *app)
{
    app_reload_cancel(app->settings.reload);
    on_told(app);
}

/* ---- complaints ---- */

const char *app_settings_trouble(const struct app *app)
{
    const struct app_settings *s = &app->settings;
    return s->secrets_err.code ? s->secrets_err.text : s->flags_err.code ? s->flags_err.text : "";
}

/* The same complaint is told once, until all is well again. */
static void complain(struct app *app)
{
    struct app_settings *s = &app->settings;
    const struct err *err = s->secrets_err.code ? &s->secrets_err : &s->flags_err;
    uint64_t hash = err->code ? rng_hash(1, err->text, strlen(err->text)) : 0;
    if (hash == s->told)
        return;
    s->told = hash;
    if (err->code) {
        log_err(app->options.app->app, err);
        app_say(app, EVENT_KIND_SETTINGS_FAILED, NULL, err->code, err->text);
        app->news = true;
    }
    app->options.on_change(app->options.arg);
}

/* ---- flags ---- */

/* Without a desired state in force (it has expired) the files stay as they are. */
static bool flags_stay(const struct app *app)
{
    return app->desired.generation == 0 && access(app->settings.flags, F_OK) == 0 &&
           access(app->settings.flags_env, F_OK) == 0;
}

static enum err_code write_flags(struct app *app, struct arena *arena, struct err *err)
{
    const struct desired *desired = &app->desired;
    struct flag flags[FLAGS_MAX];
    struct bytes json, env;
    size_t len = desired->flags_len < FLAGS_MAX ? desired->flags_len : FLAGS_MAX;
    for (size_t i = 0; i < len; i++) {
        const struct feature_flag *from = &desired->flags[i];
        flags[i] = (struct flag){from->name, from->value, from->otherwise, from->salt, from->cut};
    }
    enum err_code code =
        flags_write(flags, len, device_name(app->options.device), arena, &json, &env, err);
    if (code != ERR_OK || app_files_same(app->dir.path, json, env))
        return code;
    note_change(app);
    code = app_files_write(app->dir.path, json, env, err);
    if (code == ERR_OK)
        tell_change(app);
    return code;
}

static void give_flags(struct app *app)
{
    struct app_settings *s = &app->settings;
    struct arena arena;
    s->flags_due = false;
    s->flags_err.code = ERR_OK;
    if (flags_stay(app))
        return;
    arena_init(&arena, FLAGS_ARENA_MAX_BYTES);
    if (write_flags(app, &arena, &s->flags_err) != ERR_OK)
        (void)err_wrap(&s->flags_err, "flags");
    arena_fini(&arena);
}

/* ---- secrets ---- */

struct opened {
    struct secret list[SECRETS_MAX];
    size_t len;
    const char *closed; /* name of one that does not open; NULL: all do */
};

static void wipe(struct opened *opened)
{
    for (size_t i = 0; i < opened->len; i++)
        sodium_free((void *)(uintptr_t)opened->list[i].value.ptr);
    opened->len = 0;
}

static bool has_name(const struct opened *opened, const char *name)
{
    for (size_t i = 0; i < opened->len; i++) {
        if (str_equal(opened->list[i].name, name))
            return true;
    }
    return false;
}

/* The plain text lies in locked memory that a core file leaves out, and sodium_free wipes it. */
static void open_box(const struct sealed_secret *box, const struct identity_keys *keys,
                     struct opened *opened)
{
    bool possible = opened->len < SECRETS_MAX && box->sealed.len > crypto_box_SEALBYTES &&
                    !has_name(opened, box->name);
    size_t len = possible ? box->sealed.len - crypto_box_SEALBYTES : 0;
    uint8_t *plain = possible ? sodium_malloc(len) : NULL;
    if (!plain || crypto_box_seal_open(plain, box->sealed.ptr, box->sealed.len, keys->seal_public,
                                       keys->seal_secret) != 0) {
        sodium_free(plain);
        opened->closed = box->name;
        return;
    }
    opened->list[opened->len++] = (struct secret){box->name, bytes_of(plain, len)};
}

static enum err_code open_boxes(const struct app *app, struct opened *opened, struct err *err)
{
    const struct device_desired *told = device_document(app->options.device);
    struct identity_keys keys;
    bool loaded = false;
    for (size_t i = 0; i < told->secrets_len; i++) {
        const struct sealed_secret *box = &told->secrets[i];
        if (!str_equal(box->app, app->options.app->app))
            continue;
        if (!loaded && identity_files_keys(app->options.config->folder, &keys, err) != ERR_OK)
            return err->code;
        loaded = true;
        open_box(box, &keys, opened);
    }
    if (loaded)
        identity_keys_wipe(&keys);
    return ERR_OK;
}

static void on_sweep(void *arg)
{
    struct app *app = arg;
    struct err err;
    if (secret_folder_sweep(app->options.secrets, app->options.app->app, &err) != ERR_OK)
        log_err("removing old secrets", &err);
}

static enum err_code put_secrets(struct app *app, const struct opened *opened, struct err *err)
{
    struct app_settings *s = &app->settings;
    const char *name = app->options.app->app;
    const struct app_user *user = s->has_user ? &s->user : NULL;
    if (secret_folder_same(app->options.secrets, name, opened->list, opened->len, user))
        return ERR_OK;
    note_change(app);
    enum err_code code = opened->len > 0 ? secret_folder_put(app->options.secrets, name,
                                                             opened->list, opened->len, user, err)
                                         : secret_folder_drop(app->options.secrets, name, err);
    if (code != ERR_OK)
        return code;
    loop_timer_at(app->options.loop, &s->sweep, now_ms(app) + SWEEP_MS, on_sweep, app);
    tell_change(app);
    return ERR_OK;
}

static enum err_code try_secrets(struct app *app, struct err *err)
{
    struct opened opened = {0};
    enum err_code code = app->settings.here ? open_boxes(app, &opened, err) : ERR_OK;
    if (code == ERR_OK)
        code = put_secrets(app, &opened, err);
    wipe(&opened);
    if (code == ERR_OK && opened.closed)
        code = err_set(err, ERR_BAD_SIGNATURE, "secret %s does not open with this device's key",
                       opened.closed);
    return code;
}

static void give_secrets(struct app *app)
{
    struct app_settings *s = &app->settings;
    s->secrets_due = false;
    s->secrets_err.code = ERR_OK;
    if (try_secrets(app, &s->secrets_err) == ERR_OK)
        s->generation = device_document(app->options.device)->generation;
    else
        (void)err_wrap(&s->secrets_err, "secrets");
}

/* ---- all of it ---- */

static void on_again(void *arg)
{
    struct app *app = arg;
    app->settings.flags_due |= app->settings.flags_err.code != ERR_OK;
    app->settings.secrets_due |= app->settings.secrets_err.code != ERR_OK;
}

static bool is_here(const struct app *app)
{
    return app->link.set || app->wish.release.set || app_services_running(app->services);
}

void app_give(struct app *app)
{
    struct app_settings *s = &app->settings;
    bool here = is_here(app);
    s->secrets_due |= here != s->here;
    s->here = here;
    if (!s->flags_due && !s->secrets_due)
        return;
    if (s->flags_due)
        give_flags(app);
    if (s->secrets_due)
        give_secrets(app);
    complain(app);
    if (s->flags_err.code || s->secrets_err.code)
        loop_timer_at(app->options.loop, &s->again, now_ms(app) + AGAIN_MS, on_again, app);
}

uint64_t app_secrets_generation(const struct app *app)
{
    return app->settings.generation;
}

static enum err_code find_user(struct app *app, struct err *err)
{
    struct app_settings *s = &app->settings;
    const char *name = app->options.app->user;
    if (!name)
        return ERR_OK;
    enum err_code code = app_user_find(name, &s->user, err);
    s->has_user = code == ERR_OK && s->user.uid != geteuid();
    if (code == ERR_OK)
        return ERR_OK;
    err->code = ERR_USAGE; /* it is the configuration that is to be mended */
    return err_wrap(err, "user");
}

static enum err_code open_folders(struct app *app, struct err *err)
{
    struct app_settings *s = &app->settings;
    char state[RELEASE_DIR_PATH_MAX];
    if (!s->has_user)
        return ERR_OK;
    release_dir_state(&app->dir, state);
    enum err_code code = app_user_let_in(app->options.config->folder, app->dir.path, &s->user, err);
    if (code == ERR_OK)
        code = app_user_give(state, &s->user, err);
    if (code == ERR_OK && app->logs[0])
        code = app_user_give(app->logs, &s->user, err);
    return code;
}

enum err_code app_open_settings(struct app *app, struct err *err)
{
    struct app_settings *s = &app->settings;
    char base[SECRET_FOLDER_PATH_MAX];
    app_files_paths(app->dir.path, s->flags, s->flags_env);
    (void)snprintf(s->due, sizeof s->due, "%s/reload", app->dir.path);
    secret_folder_path(secret_folder_base(app->options.config->secrets, base),
                       app->options.app->app, s->secrets);
    s->flags_due = s->secrets_due = true;
    enum err_code code = find_user(app, err);
    if (code == ERR_OK)
        code = open_folders(app, err);
    if (code != ERR_OK)
        return code;
    app->load.flags = s->flags;
    app->load.flags_env = s->flags_env;
    app->load.secrets = s->secrets;
    app->load.user = s->has_user ? &s->user : NULL;
    return ERR_OK;
}

void app_start_settings(struct app *app)
{
    struct app_reload_options options = {.loop = app->options.loop,
                                         .services = app->services,
                                         .on_failed = on_not_told,
                                         .on_done = on_told,
                                         .arg = app};
    app->settings.reload = app_reload_new(&options);
}

void app_recall_change(struct app *app)
{
    if (access(app->settings.due, F_OK) == 0)
        tell_change(app);
}

void app_close_settings(struct app *app)
{
    loop_timer_stop(&app->settings.again);
    loop_timer_stop(&app->settings.sweep);
    app_reload_free(app->settings.reload);
}

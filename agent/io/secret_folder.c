/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/secret_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/file.h"

enum {
    SET_NAME_MAX = TOKEN_MAX + 32,
    BASE_MODE = 0711,
    SET_MODE = 0500,
    FILE_MODE = 0400,
    OTHERS_WRITE = 022,
    ENTRIES_MAX = 4096, /* of the base: more is nothing that an agent left there */
};

#define LOCK_NAME ".lock"
#define NEXT_LINK ".next"

struct secret_folder {
    char base[SECRET_FOLDER_PATH_MAX];
    int fd, lock_fd; /* -1: not taken */
};

static void close_ref(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

const char *secret_folder_base(const char *configured, char ret[static SECRET_FOLDER_PATH_MAX])
{
    const char *runtime = getenv("RUNTIME_DIRECTORY");
    const char *from = configured            ? configured
                       : runtime && *runtime ? runtime
                                             : "/run/captain-agent";
    size_t len = configured ? strlen(from) : strcspn(from, ":");
    (void)snprintf(ret, SECRET_FOLDER_PATH_MAX, "%.*s", (int)len, from);
    return ret;
}

void secret_folder_path(const char *base, const char *app, char ret[static SECRET_FOLDER_PATH_MAX])
{
    (void)snprintf(ret, SECRET_FOLDER_PATH_MAX, "%s/%s", base, app);
}

struct secret_folder *secret_folder_new(const char *base)
{
    struct secret_folder *f = mem_new(1, sizeof *f);
    (void)snprintf(f->base, sizeof f->base, "%s", base);
    f->fd = f->lock_fd = -1;
    return f;
}

void secret_folder_free(struct secret_folder *f)
{
    if (!f)
        return;
    close_ref(&f->fd);
    close_ref(&f->lock_fd);
    mem_free(f);
}

/* ---- the base ---- */

static enum err_code check_memory(const struct secret_folder *f, int fd, struct err *err)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return err_sys(err, errno, "looking at %s", f->base);
    /* Some of the magic numbers have the highest of 32 bits, and f_type a sign. */
    uint32_t magic = (uint32_t)fs.f_type;
    if (magic == TMPFS_MAGIC || magic == (uint32_t)RAMFS_MAGIC)
        return ERR_OK;
    (void)err_set(err, ERR_DENIED, "%s would be on a disk (no tmpfs), so no secret is written",
                  f->base);
    return err_hint(err, "set \"secrets\" to a folder below /run");
}

static enum err_code check_owner(const struct secret_folder *f, int fd, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_sys(err, errno, "looking at %s", f->base);
    if (st.st_uid == geteuid() && (st.st_mode & OTHERS_WRITE) == 0)
        return fchmod(fd, (st.st_mode | BASE_MODE) & 07777) == 0
                   ? ERR_OK
                   : err_sys(err, errno, "opening %s", f->base);
    return err_set(err, ERR_DENIED,
                   "%s is not the agent's alone (owner %u, mode %03o), so no secret is written",
                   f->base, (unsigned)st.st_uid, (unsigned)st.st_mode & 0777U);
}

/* Asked of the folder above, so that nothing is made where nothing may be. */
static enum err_code make_base(const struct secret_folder *f, struct err *err)
{
    char above[SECRET_FOLDER_PATH_MAX];
    (void)snprintf(above, sizeof above, "%s", f->base);
    char *slash = strrchr(above, '/');
    if (!slash)
        return err_set(err, ERR_USAGE, "%s is no absolute path", f->base);
    slash[slash == above] = '\0';
    int fd DEFER(close_ref) = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", above);
    enum err_code code = check_memory(f, fd, err);
    if (code != ERR_OK)
        return code;
    if (mkdir(f->base, 0700) != 0 && errno != EEXIST)
        return err_sys(err, errno, "making %s", f->base);
    return ERR_OK;
}

static int open_base(const struct secret_folder *f)
{
    return open(f->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static enum err_code lock_base(const struct secret_folder *f, int *ret, struct err *err)
{
    char path[SECRET_FOLDER_PATH_MAX + 8], holder[64];
    (void)snprintf(path, sizeof path, "%s/" LOCK_NAME, f->base);
    (void)snprintf(holder, sizeof holder, "captain-agent, process %d", (int)getpid());
    return file_lock(path, holder, ret, err);
}

/* Opens the base and keeps it. ERR_NOT_FOUND when it is not there and not to be made. */
static enum err_code take(struct secret_folder *f, bool make, struct err *err)
{
    if (f->fd >= 0)
        return ERR_OK;
    int fd = open_base(f);
    if (fd < 0 && errno == ENOENT) {
        if (!make)
            return err_set(err, ERR_NOT_FOUND, "%s does not exist", f->base);
        enum err_code code = make_base(f, err);
        if (code != ERR_OK)
            return code;
        fd = open_base(f);
    }
    if (fd < 0)
        return err_sys(err, errno, "opening %s", f->base);
    enum err_code code = check_memory(f, fd, err);
    if (code == ERR_OK)
        code = check_owner(f, fd, err);
    if (code == ERR_OK)
        code = lock_base(f, &f->lock_fd, err);
    if (code == ERR_OK)
        f->fd = fd;
    else
        (void)close(fd);
    return code;
}

/* ---- sets ---- */

/* Name of the set that the link names; false: there is none. */
static bool current_set(const struct secret_folder *f, const char *app,
                        char ret[static SET_NAME_MAX])
{
    ssize_t len = readlinkat(f->fd, app, ret, SET_NAME_MAX - 1);
    ret[len > 0 ? len : 0] = '\0';
    size_t app_len = strlen(app);
    return len > 0 && ret[0] == '.' && strncmp(ret + 1, app, app_len) == 0 &&
           ret[app_len + 1] == '.' && !strchr(ret, '/');
}

static void next_set(const struct secret_folder *f, const char *app, char ret[static SET_NAME_MAX])
{
    char current[SET_NAME_MAX];
    uint64_t number = 0;
    if (current_set(f, app, current))
        (void)!str_u64(strrchr(current, '.') + 1, UINT32_MAX, &number); /* else it stays 0 */
    (void)snprintf(ret, SET_NAME_MAX, ".%s.%" PRIu64, app, number + 1);
}

static enum err_code remove_entry(const struct secret_folder *f, const char *name, struct err *err)
{
    char path[SECRET_FOLDER_PATH_MAX + NAME_MAX + 2];
    (void)snprintf(path, sizeof path, "%s/%s", f->base, name);
    return file_remove_tree(path, err);
}

static bool write_all(int fd, struct bytes data)
{
    while (data.len > 0) {
        ssize_t put = write(fd, data.ptr, data.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        data = bytes_of(data.ptr + put, data.len - (size_t)put);
    }
    return true;
}

static bool own(int fd, const struct app_user *user, mode_t mode)
{
    return (!user || fchown(fd, user->uid, user->gid) == 0) && fchmod(fd, mode) == 0;
}

static enum err_code write_one(int set, const struct secret *secret, const struct app_user *user,
                               struct err *err)
{
    int fd DEFER(close_ref) =
        openat(set, secret->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0 || !write_all(fd, secret->value) || !own(fd, user, FILE_MODE))
        return err_sys(err, errno, "writing secret %s", secret->name);
    return ERR_OK;
}

static enum err_code write_set(const struct secret_folder *f, const char *name,
                               const struct secret *secrets, size_t len,
                               const struct app_user *user, struct err *err)
{
    if (mkdirat(f->fd, name, 0700) != 0)
        return err_sys(err, errno, "making %s/%s", f->base, name);
    int set DEFER(close_ref) = openat(f->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (set < 0)
        return err_sys(err, errno, "opening %s/%s", f->base, name);
    for (size_t i = 0; i < len; i++) {
        enum err_code code = write_one(set, &secrets[i], user, err);
        if (code != ERR_OK)
            return code;
    }
    return own(set, user, SET_MODE) ? ERR_OK
                                    : err_sys(err, errno, "giving %s/%s away", f->base, name);
}

static enum err_code switch_to(const struct secret_folder *f, const char *app, const char *set,
                               struct err *err)
{
    if (unlinkat(f->fd, NEXT_LINK, 0) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing %s/" NEXT_LINK, f->base);
    if (symlinkat(set, f->fd, NEXT_LINK) != 0 || renameat(f->fd, NEXT_LINK, f->fd, app) != 0)
        return err_sys(err, errno, "switching %s/%s", f->base, app);
    return ERR_OK;
}

enum err_code secret_folder_put(struct secret_folder *f, const char *app,
                                const struct secret *secrets, size_t len,
                                const struct app_user *user, struct err *err)
{
    char set[SET_NAME_MAX];
    struct err ignored;
    if (!str_is_token(app))
        return err_set(err, ERR_MALFORMED, "\"%.64s\" is no name of an app", app);
    enum err_code code = take(f, true, err);
    if (code != ERR_OK)
        return code;
    next_set(f, app, set);
    code = remove_entry(f, set, err);
    if (code == ERR_OK)
        code = write_set(f, set, secrets, len, user, err);
    if (code == ERR_OK)
        code = switch_to(f, app, set, err);
    if (code != ERR_OK)
        (void)!remove_entry(f, set, &ignored); /* the first error is what is told */
    return code;
}

/* ---- looking ---- */

static bool is_owned(const struct stat *st, const struct app_user *user, mode_t mode)
{
    return st->st_uid == (user ? user->uid : geteuid()) &&
           st->st_gid == (user ? user->gid : st->st_gid) && (st->st_mode & 07777) == mode;
}

static bool holds(int set, const struct secret *secret, const struct app_user *user)
{
    struct stat st;
    int fd DEFER(close_ref) = openat(set, secret->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !is_owned(&st, user, FILE_MODE) ||
        (size_t)st.st_size != secret->value.len)
        return false;
    uint8_t *found = mem_new(1, secret->value.len + 1);
    bool same = read(fd, found, secret->value.len + 1) == (ssize_t)secret->value.len &&
                sodium_memcmp(found, secret->value.ptr, secret->value.len) == 0;
    sodium_memzero(found, secret->value.len + 1);
    mem_free(found);
    return same;
}

static bool is_dots(const char *name)
{
    return str_equal(name, ".") || str_equal(name, "..");
}

static size_t count_entries(int fd)
{
    size_t count = 0;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = copy >= 0 ? fdopendir(copy) : NULL;
    for (struct dirent *entry = listing ? readdir(listing) : NULL; entry; entry = readdir(listing))
        count += !is_dots(entry->d_name);
    if (listing)
        (void)closedir(listing);
    else
        close_ref(&copy);
    return count;
}

bool secret_folder_same(struct secret_folder *f, const char *app, const struct secret *secrets,
                        size_t len, const struct app_user *user)
{
    char name[SET_NAME_MAX];
    struct stat st;
    struct err ignored;
    if (take(f, false, &ignored) != ERR_OK)
        return len == 0 && ignored.code == ERR_NOT_FOUND;
    if (!current_set(f, app, name))
        return len == 0 && faccessat(f->fd, app, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
    int set DEFER(close_ref) = openat(f->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (len == 0 || set < 0 || fstat(set, &st) != 0 || !is_owned(&st, user, SET_MODE) ||
        count_entries(set) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!holds(set, &secrets[i], user))
            return false;
    }
    return true;
}

/* ---- removing ---- */

/* The app that an entry of the base belongs to: "app" or ".app.7"; "" for any other. */
static void app_of(const char *entry, char ret[static TOKEN_MAX + 1])
{
    const char *start = entry + (entry[0] == '.');
    size_t len = strcspn(start, ".");
    bool set = entry[0] == '.' && start[len] == '.';
    ret[0] = '\0';
    if ((set || (entry[0] != '.' && start[len] == '\0')) && len <= TOKEN_MAX) {
        memcpy(ret, start, len);
        ret[len] = '\0';
    }
}

static bool is_among(const char *app, const char *const *apps, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (str_equal(apps[i], app))
            return true;
    }
    return false;
}

struct broom {
    const char *only;        /* look at this app alone; NULL: at all */
    const char *const *keep; /* the others go */
    size_t keep_len;
};

static bool is_rubbish(const struct secret_folder *f, const struct broom *broom, const char *entry)
{
    char app[TOKEN_MAX + 1], set[SET_NAME_MAX];
    if (is_dots(entry) || str_equal(entry, LOCK_NAME))
        return false;
    app_of(entry, app);
    if (broom->only && !str_equal(app, broom->only))
        return false;
    if (!app[0] || !is_among(app, broom->keep, broom->keep_len))
        return true;
    return entry[0] == '.' && !(current_set(f, app, set) && str_equal(set, entry));
}

static enum err_code sweep(const struct secret_folder *f, const struct broom *broom,
                           struct err *err)
{
    int copy = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = copy >= 0 ? fdopendir(copy) : NULL;
    if (!listing) {
        int why = errno;
        close_ref(&copy);
        return err_sys(err, why, "reading %s", f->base);
    }
    enum err_code code = ERR_OK;
    unsigned seen = 0;
    for (struct dirent *entry = readdir(listing); entry && code == ERR_OK && seen < ENTRIES_MAX;
         entry = readdir(listing), seen++) {
        if (is_rubbish(f, broom, entry->d_name))
            code = remove_entry(f, entry->d_name, err);
    }
    (void)closedir(listing);
    return code;
}

/* What is not there has nothing to remove. */
static enum err_code take_to_remove(struct secret_folder *f, bool *ret_there, struct err *err)
{
    enum err_code code = take(f, false, err);
    *ret_there = code == ERR_OK;
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

enum err_code secret_folder_drop(struct secret_folder *f, const char *app, struct err *err)
{
    bool there;
    struct broom broom = {.only = app};
    enum err_code code = take_to_remove(f, &there, err);
    if (!there)
        return code;
    if (unlinkat(f->fd, app, 0) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing %s/%s", f->base, app);
    return sweep(f, &broom, err);
}

enum err_code secret_folder_sweep(struct secret_folder *f, const char *app, struct err *err)
{
    bool there;
    struct broom broom = {.only = app, .keep = &app, .keep_len = 1};
    enum err_code code = take_to_remove(f, &there, err);
    return there ? sweep(f, &broom, err) : code;
}

enum err_code secret_folder_keep_only(struct secret_folder *f, const char *const *apps, size_t len,
                                      struct err *err)
{
    bool there;
    struct broom broom = {.keep = apps, .keep_len = len};
    enum err_code code = take_to_remove(f, &there, err);
    return there ? sweep(f, &broom, err) : code;
}

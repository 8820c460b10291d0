/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/modes.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

static const struct {
    const char *name;
    mode_t closed; /* bits that must not be set */
} places[] = {
    {"", 077},        {"/captain.json", 077}, {"/keys", 077},
    {"/secret", 077}, {"/nats/tls", 007},     {"/nats/tls/server.key", 007},
};

/* All files of a folder with one of these endings. */
static const struct {
    const char *folder, *ending;
} groups[] = {
    {"", ".creds"},
    {"/keys", ".key"},
    {"/keys", ".nk"},
};

struct look {
    const char *folder;
    modes_fn fn;
    void *arg;
};

static enum err_code look_at(const struct look *look, const char *name, mode_t closed,
                             struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    const int len = snprintf(path, sizeof path, "%s%s", look->folder, name);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", look->folder);
    if (lstat(path, &st) != 0)
        return errno == ENOENT || errno == ENOTDIR ? ERR_OK
                                                   : err_sys(err, errno, "looking at %s", path);
    const struct modes_fault fault = {.path = path,
                                      .mode = st.st_mode & 07777,
                                      .wanted = st.st_mode & 07777 & ~closed,
                                      .owner = st.st_uid,
                                      .foreign = st.st_uid != geteuid() && st.st_uid != 0};
    if (fault.foreign || fault.mode != fault.wanted)
        look->fn(look->arg, &fault);
    return ERR_OK;
}

static bool ends_with(const char *text, const char *ending)
{
    const size_t len = strlen(text), tail = strlen(ending);
    return len > tail && strcmp(text + len - tail, ending) == 0;
}

static enum err_code look_at_group(const struct look *look, const char *folder, const char *ending,
                                   struct err *err)
{
    char path[PATH_MAX], name[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s%s", look->folder, folder);
    DIR *dir = opendir(path);
    enum err_code code = ERR_OK;
    if (!dir)
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "looking into %s", path);
    for (struct dirent *entry = readdir(dir); entry && code == ERR_OK; entry = readdir(dir)) {
        if (!ends_with(entry->d_name, ending))
            continue;
        (void)snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
        code = look_at(look, name, 077, err);
    }
    (void)closedir(dir);
    return code;
}

enum err_code modes_check(const char *folder, modes_fn fn, void *arg, struct err *err)
{
    const struct look look = {folder, fn, arg};
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < ARRAY_LEN(places); i++)
        code = look_at(&look, places[i].name, places[i].closed, err);
    for (size_t i = 0; code == ERR_OK && i < ARRAY_LEN(groups); i++)
        code = look_at_group(&look, groups[i].folder, groups[i].ending, err);
    return code;
}

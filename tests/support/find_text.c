/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/find_text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/str.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"

static bool has(const char *path, const char *text)
{
    size_t len = 0;
    char *content = tempdir_read(path, &len);
    bool found = content && memmem(content, len, text, strlen(text));
    free(content);
    return found;
}

bool find_text_in_tree(const char *dir, const char *text, char *ret_path, size_t size)
{
    bool found = false;
    DIR *listing = opendir(dir);
    if (!listing && errno == ENOENT)
        return false; /* gone while we looked */
    if (!listing)
        support_die(errno, "cannot look into %s", dir);
    for (struct dirent *e; !found && (e = readdir(listing));) {
        char path[PATH_MAX];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (str_equal(e->d_name, ".") || str_equal(e->d_name, "..") || lstat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            found = find_text_in_tree(path, text, ret_path, size);
        else if (S_ISREG(st.st_mode) && has(path, text))
            found = snprintf(ret_path, size, "%s", path) > 0;
    }
    (void)closedir(listing);
    return found;
}

/* A process may be gone, or end, while it is looked at. */
bool find_text_in_processes(const char *text, char *ret_path, size_t size)
{
    static const char *const places[] = {"cmdline", "environ"};
    bool found = false;
    DIR *listing = opendir("/proc");
    if (!listing)
        support_die(errno, "cannot look into /proc");
    for (struct dirent *e; !found && (e = readdir(listing));) {
        for (size_t i = 0; isdigit((unsigned char)e->d_name[0]) && !found && i < 2; i++) {
            char path[PATH_MAX], content[1 << 16];
            (void)snprintf(path, sizeof path, "/proc/%s/%s", e->d_name, places[i]);
            FILE *file = fopen(path, "re");
            size_t len = file ? fread(content, 1, sizeof content, file) : 0;
            if (file)
                (void)fclose(file);
            if (memmem(content, len, text, strlen(text)))
                found = snprintf(ret_path, size, "%s", path) > 0;
        }
    }
    (void)closedir(listing);
    return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tempdir.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/base/mem.h"
#include "tests/support/support.h"

char *tempdir_path(const char *dir, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        support_die(errno, "no memory for a path");
    }
    return path;
}

char *tempdir_in(struct arena *arena, const char *dir, const char *fmt, ...)
{
    char name[512];
    va_list args;
    va_start(args, fmt);
    const int len = vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    char *path = arena_printf(arena, "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= sizeof name || path == NULL) {
        support_die(0, "no room for a path in %s", dir);
    }
    return path;
}

char *tempdir_make(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = tempdir_path(base != NULL ? base : "/tmp", "captain-test-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        support_die(errno, "cannot make a folder %s", dir);
    }
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    if (remove(path) != 0 && errno != ENOENT) {
        support_die(errno, "cannot remove %s", path);
    }
    return 0;
}

/* A test may have taken rights away from its folders. */
static int open_folder(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if ((type == FTW_D || type == FTW_DNR) && (st->st_mode & 0700) != 0700) {
        (void)chmod(path, 0700);
    }
    return 0;
}

void tempdir_remove(char *dir)
{
    if (dir == NULL) {
        return;
    }
    (void)nftw(dir, open_folder, 16, FTW_PHYS);
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

void tempdir_write(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "we");
    if (file == NULL || fwrite(data, 1, len, file) != len || fclose(file) != 0) {
        support_die(errno, "cannot write %s", path);
    }
}

char *tempdir_read(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return NULL;
    }
    char *text = NULL;
    size_t len = 0;
    for (size_t got = 1; got > 0; len += got) {
        text = mem_grow(text, len, len + 4097, 1);
        got = fread(text + len, 1, 4096, file);
    }
    if (ferror(file) || fclose(file) != 0) {
        support_die(errno, "cannot read %s", path);
    }
    text[len] = '\0';
    if (ret_len != NULL) {
        *ret_len = len;
    }
    return text;
}

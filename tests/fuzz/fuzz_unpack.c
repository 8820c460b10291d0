/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as an archive, unpacked for real into a folder of its own. Whatever they are: nothing but the
 * unpacked folder appears, within its bounds, and no link in it leads out of it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/fetch/unpack.h"
#include "common/file.h"

enum { BYTES_MAX = 64 << 10, FILES_MAX = 20, OPEN_MAX_FDS = 8 };

static char home[64];
static char root[80];
static uint64_t bytes_seen;
static unsigned files_seen;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void clean_up(void)
{
    if (file_remove_tree(home, NULL) != ERR_OK)
        abort();
}

static int make_home(void)
{
    if (home[0] == '\0') {
        (void)snprintf(home, sizeof home, "/tmp/captain-fuzz-XXXXXX");
        if (mkdtemp(home) == NULL || atexit(clean_up) != 0)
            abort();
        (void)snprintf(root, sizeof root, "%s/root", home);
        (void)umask(022);
    }
    return open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void check_link(const char *path)
{
    char target[PATH_MAX];
    size_t len = strlen(root);
    /* One that dangles leads nowhere. */
    if (realpath(path, target) != NULL &&
        (strncmp(target, root, len) != 0 || (target[len] != '/' && target[len] != '\0')))
        abort();
}

static int check_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)type;
    files_seen += ftw->level > 0;
    if (S_ISLNK(st->st_mode))
        check_link(path);
    else if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
        abort();
    else if ((st->st_mode & 07022) != 0)
        abort();
    bytes_seen += S_ISREG(st->st_mode) && st->st_nlink == 1 ? (uint64_t)st->st_size : 0;
    return 0;
}

static void check_home(bool unpacked)
{
    unsigned count = 0;
    DIR *dir = opendir(home);
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir))
        count += !str_equal(one->d_name, ".") && !str_equal(one->d_name, "..");
    (void)closedir(dir);
    if (count != unpacked)
        abort();
    bytes_seen = 0;
    files_seen = 0;
    if (unpacked && nftw(root, check_one, OPEN_MAX_FDS, FTW_PHYS) != 0)
        abort();
    if (bytes_seen > BYTES_MAX || files_seen > FILES_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    uint64_t bytes = 0;
    int folder_fd = make_home();
    int archive_fd = memfd_create("archive", MFD_CLOEXEC);
    if (folder_fd < 0 || archive_fd < 0 || write(archive_fd, data, size) != (ssize_t)size ||
        lseek(archive_fd, 0, SEEK_SET) != 0)
        abort();
    struct unpack_options options = {.archive_fd = archive_fd,
                                     .folder_fd = folder_fd,
                                     .name = "root",
                                     .bytes_max = BYTES_MAX,
                                     .files_max = FILES_MAX};
    enum err_code code = unpack_run(&options, &bytes, &err);
    if (code != err.code || (code != ERR_OK && err.text[0] == '\0'))
        abort();
    check_home(code == ERR_OK);
    if (file_remove_tree(root, NULL) != ERR_OK)
        abort();
    (void)close(archive_fd);
    (void)close(folder_fd);
    return 0;
}

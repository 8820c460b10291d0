/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of unpacking share: archives built by libarchive, unpacked by the real thing, and a look at what
 * is there afterwards.
 */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/fetch/unpack.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/hash.h"
#include "tests/support/fault_http.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum form { FORM_TAR, FORM_GZIP, FORM_ZSTD, FORM_ZIP };

struct world {
    char *dir;
    int dir_fd;
    char *inside; /* dir/box: what holds the unpacked folder */
    int inside_fd;
    char *archive_path;
    struct archive *out;
    struct unpack_options options;
    struct err err;
    uint64_t bytes;
};

static inline int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    (void)umask(022);
    w->dir = tempdir_make();
    w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->inside = tempdir_path(w->dir, "box");
    assert_int_equal(mkdir(w->inside, 0700), 0);
    w->inside_fd = open(w->inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->archive_path = tempdir_path(w->dir, "archive");
    w->options = (struct unpack_options){
        .folder_fd = w->inside_fd, .name = "root", .bytes_max = 1 << 20, .files_max = 100};
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    if (w->out != NULL)
        (void)archive_write_free(w->out);
    (void)close(w->inside_fd);
    (void)close(w->dir_fd);
    tempdir_remove(w->dir);
    free(w->inside);
    free(w->archive_path);
    mem_free(w);
    return 0;
}

/* ---- building ---- */

static inline void begin(struct world *w, enum form form)
{
    w->out = archive_write_new();
    if (form == FORM_ZIP)
        assert_int_equal(archive_write_set_format_zip(w->out), ARCHIVE_OK);
    else
        assert_int_equal(archive_write_set_format_pax(w->out), ARCHIVE_OK);
    if (form == FORM_GZIP)
        assert_int_equal(archive_write_add_filter_gzip(w->out), ARCHIVE_OK);
    if (form == FORM_ZSTD)
        assert_int_equal(archive_write_add_filter_zstd(w->out), ARCHIVE_OK);
    assert_int_equal(archive_write_open_filename(w->out, w->archive_path), ARCHIVE_OK);
}

static inline void add_entry(struct world *w, struct archive_entry *entry, const void *data,
                             size_t len)
{
    assert_in_range(archive_write_header(w->out, entry) + 30, 10, 30); /* OK or WARN */
    if (len > 0)
        assert_int_equal(archive_write_data(w->out, data, len), len);
    archive_entry_free(entry);
}

static inline struct archive_entry *entry_of(const char *path, unsigned type, mode_t mode,
                                             int64_t size)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, mode);
    archive_entry_set_size(entry, size);
    archive_entry_set_mtime(entry, 1700000000, 0);
    return entry;
}

static inline void add_file(struct world *w, const char *path, mode_t mode, const void *data,
                            size_t len)
{
    add_entry(w, entry_of(path, AE_IFREG, mode, (int64_t)len), data, len);
}

static inline void add_text(struct world *w, const char *path, const char *text)
{
    add_file(w, path, 0644, text, strlen(text));
}

static inline void add_folder(struct world *w, const char *path, mode_t mode)
{
    add_entry(w, entry_of(path, AE_IFDIR, mode, 0), NULL, 0);
}

static inline void add_symlink(struct world *w, const char *path, const char *target)
{
    struct archive_entry *entry = entry_of(path, AE_IFLNK, 0777, 0);
    archive_entry_set_symlink(entry, target);
    add_entry(w, entry, NULL, 0);
}

static inline void add_hardlink(struct world *w, const char *path, const char *target)
{
    struct archive_entry *entry = entry_of(path, AE_IFREG, 0644, 0);
    archive_entry_set_hardlink(entry, target);
    add_entry(w, entry, NULL, 0);
}

static inline enum err_code unpack(struct world *w)
{
    if (w->out != NULL) {
        (void)archive_write_close(w->out);
        (void)archive_write_free(w->out);
        w->out = NULL;
    }
    char before[4096];
    char after[4096];
    assert_non_null(getcwd(before, sizeof before));
    w->options.archive_fd = open(w->archive_path, O_RDONLY | O_CLOEXEC);
    w->err = (struct err){.code = ERR_OK};
    enum err_code code = unpack_run(&w->options, &w->bytes, &w->err);
    (void)close(w->options.archive_fd);
    assert_non_null(getcwd(after, sizeof after));
    assert_string_equal(before, after);
    assert_int_equal(w->err.code, code);
    return code;
}

/* ---- looking ---- */

static inline char *text_at(struct world *w, const char *path)
{
    char *whole = tempdir_path(w->inside, path);
    char *text = tempdir_read(whole, NULL);
    free(whole);
    return text;
}

static inline void assert_text(struct world *w, const char *path, const char *expected)
{
    char *text = text_at(w, path);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static inline mode_t mode_at(struct world *w, const char *path)
{
    struct stat st;
    assert_int_equal(fstatat(w->inside_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode;
}

static inline unsigned entries_of(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir))
        count += one->d_name[0] != '.' || strlen(one->d_name) > 2;
    (void)closedir(dir);
    return count;
}

/* Refused with code; the box is empty, and beside it lie the archive and the box only. */
static inline void assert_bounces(struct world *w, enum err_code code)
{
    enum err_code got = unpack(w);
    if (got != code)
        print_error("%s\n", w->err.text);
    assert_int_equal(got, code);
    assert_int_not_equal(w->err.text[0], '\0');
    assert_int_equal(entries_of(w->inside), 0);
    assert_int_equal(entries_of(w->dir), 2);
}

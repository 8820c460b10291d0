/* SPDX-License-Identifier: Apache-2.0
 *
 * Good archives of each form, and every bad one: built here by libarchive, unpacked by the real
 * thing. After each refusal nothing is left, inside or outside.
 */
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

static int set_up(void **state)
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

static int tear_down(void **state)
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

static void begin(struct world *w, enum form form)
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

static void add_entry(struct world *w, struct archive_entry *entry, const void *data, size_t len)
{
    assert_in_range(archive_write_header(w->out, entry) + 30, 10, 30); /* OK or WARN */
    if (len > 0)
        assert_int_equal(archive_write_data(w->out, data, len), len);
    archive_entry_free(entry);
}

static struct archive_entry *entry_of(const char *path, unsigned type, mode_t mode, int64_t size)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, mode);
    archive_entry_set_size(entry, size);
    archive_entry_set_mtime(entry, 1700000000, 0);
    return entry;
}

static void add_file(struct world *w, const char *path, mode_t mode, const void *data, size_t len)
{
    add_entry(w, entry_of(path, AE_IFREG, mode, (int64_t)len), data, len);
}

static void add_text(struct world *w, const char *path, const char *text)
{
    add_file(w, path, 0644, text, strlen(text));
}

static void add_folder(struct world *w, const char *path, mode_t mode)
{
    add_entry(w, entry_of(path, AE_IFDIR, mode, 0), NULL, 0);
}

static void add_symlink(struct world *w, const char *path, const char *target)
{
    struct archive_entry *entry = entry_of(path, AE_IFLNK, 0777, 0);
    archive_entry_set_symlink(entry, target);
    add_entry(w, entry, NULL, 0);
}

static void add_hardlink(struct world *w, const char *path, const char *target)
{
    struct archive_entry *entry = entry_of(path, AE_IFREG, 0644, 0);
    archive_entry_set_hardlink(entry, target);
    add_entry(w, entry, NULL, 0);
}

static enum err_code unpack(struct world *w)
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

static char *text_at(struct world *w, const char *path)
{
    char *whole = tempdir_path(w->inside, path);
    char *text = tempdir_read(whole, NULL);
    free(whole);
    return text;
}

static void assert_text(struct world *w, const char *path, const char *expected)
{
    char *text = text_at(w, path);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static mode_t mode_at(struct world *w, const char *path)
{
    struct stat st;
    assert_int_equal(fstatat(w->inside_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode;
}

static unsigned entries_of(const char *path)
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
static void assert_bounces(struct world *w, enum err_code code)
{
    enum err_code got = unpack(w);
    if (got != code)
        print_error("%s\n", w->err.text);
    assert_int_equal(got, code);
    assert_int_not_equal(w->err.text[0], '\0');
    assert_int_equal(entries_of(w->inside), 0);
    assert_int_equal(entries_of(w->dir), 2);
}

/* ---- good ---- */

static void assert_good(struct world *w, enum form form)
{
    begin(w, form);
    add_folder(w, "./", 0755);
    add_folder(w, "./bin", 0755);
    add_file(w, "./bin/run", 0755, "#!", 2);
    add_text(w, "deep/er/file", "hello");
    add_text(w, "empty", "");
    add_symlink(w, "bin/link", "../deep/er/file");
    assert_int_equal(unpack(w), ERR_OK);
    assert_text(w, "root/deep/er/file", "hello");
    assert_text(w, "root/bin/link", "hello");
    assert_text(w, "root/empty", "");
    assert_int_equal(mode_at(w, "root/bin/run"), S_IFREG | 0755);
    assert_int_equal(mode_at(w, "root"), S_IFDIR | 0755);
    assert_int_equal(w->bytes, 7);
    assert_int_equal(entries_of(w->inside), 1);
}

static void test_unpack__takes_a_tar(void **state)
{
    assert_good(*state, FORM_TAR);
}

static void test_unpack__takes_a_tar_gz(void **state)
{
    assert_good(*state, FORM_GZIP);
}

static void test_unpack__takes_a_tar_zst(void **state)
{
    assert_good(*state, FORM_ZSTD);
}

static void test_unpack__takes_a_zip(void **state)
{
    assert_good(*state, FORM_ZIP);
}

static void test_unpack__replaces_what_an_earlier_run_left(void **state)
{
    struct world *w = *state;
    begin(w, FORM_TAR);
    add_text(w, "old", "1");
    assert_int_equal(unpack(w), ERR_OK);
    begin(w, FORM_TAR);
    add_text(w, "new", "2");
    assert_int_equal(unpack(w), ERR_OK);
    assert_text(w, "root/new", "2");
    assert_null(text_at(w, "root/old"));
}

static void test_unpack__keeps_hard_links_inside(void **state)
{
    struct world *w = *state;
    struct stat st;
    begin(w, FORM_TAR);
    add_text(w, "a/one", "same");
    add_hardlink(w, "b/two", "./a/one");
    assert_int_equal(unpack(w), ERR_OK);
    assert_text(w, "root/b/two", "same");
    assert_int_equal(fstatat(w->inside_fd, "root/a/one", &st, 0), 0);
    assert_int_equal(st.st_nlink, 2);
}

static void test_unpack__takes_no_owner_and_no_odd_bits(void **state)
{
    struct world *w = *state;
    struct stat st;
    begin(w, FORM_TAR);
    struct archive_entry *entry = entry_of("suid", AE_IFREG, 06777, 1);
    archive_entry_set_uid(entry, 12345);
    archive_entry_set_gid(entry, 12345);
    add_entry(w, entry, "x", 1);
    add_folder(w, "sticky", 01777);
    add_file(w, "closed", 0000, "y", 1);
    add_folder(w, "shut", 0000);
    add_text(w, "shut/in", "z");
    assert_int_equal(unpack(w), ERR_OK);
    assert_int_equal(fstatat(w->inside_fd, "root/suid", &st, 0), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_gid, getegid());
    assert_int_equal(st.st_mode, S_IFREG | 0755);
    assert_int_equal(mode_at(w, "root/sticky"), S_IFDIR | 0755);
    assert_int_equal(mode_at(w, "root/closed"), S_IFREG | 0600);
    assert_int_equal(mode_at(w, "root/shut"), S_IFDIR | 0700);
    assert_text(w, "root/shut/in", "z");
}

static void test_unpack__takes_names_beyond_ascii(void **state)
{
    struct world *w = *state;
    begin(w, FORM_TAR);
    add_text(w, "h\xc3\xa9llo/\xe4\xb8\x96", "utf8");
    assert_int_equal(unpack(w), ERR_OK);
    assert_text(w, "root/h\xc3\xa9llo/\xe4\xb8\x96", "utf8");
}

static void test_unpack__takes_links_up_to_the_root_and_no_higher(void **state)
{
    struct world *w = *state;
    begin(w, FORM_TAR);
    add_text(w, "file", "top");
    add_symlink(w, "a/b/up", "../../file");
    add_symlink(w, "a/root", "..");
    add_symlink(w, "here", ".");
    add_symlink(w, "dangling", "nowhere/yet");
    assert_int_equal(unpack(w), ERR_OK);
    assert_text(w, "root/a/b/up", "top");
    assert_text(w, "root/a/root/file", "top");
}

/* ---- attacks ---- */

static void test_unpack__refuses_paths_that_leave(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"../evil",   "a/../../evil", "..",        "a/..",
                                      "/tmp/evil", "//evil",       "./../evil", "a/./../../b",
                                      "a\nb",      "./../",        "a//../../x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        for (int form = FORM_TAR; form <= FORM_ZIP; form += FORM_ZIP) {
            begin(w, (enum form)form);
            add_text(w, "good", "1");
            add_text(w, bad[i], "evil");
            assert_bounces(w, ERR_MALFORMED);
        }
    }
}

static void test_unpack__refuses_links_that_leave(void **state)
{
    struct world *w = *state;
    static const char *const bad[][2] = {
        {"link", "/etc/passwd"},    {"link", ".."},
        {"link", "../box"},         {"a/link", "../../x"},
        {"a/b/link", "../../../x"}, {"link", "a/../../x"},
        {"link", "./../x"},         {"a/link", "../b/../../x"},
        {"link", "x/.."},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        begin(w, FORM_TAR);
        add_symlink(w, bad[i][0], bad[i][1]);
        assert_bounces(w, ERR_MALFORMED);
    }
}

/* p/q/s -> "." makes the name p/q/s one deeper than the place it names. */
static void test_unpack__refuses_a_climb_through_a_link(void **state)
{
    struct world *w = *state;
    begin(w, FORM_TAR);
    add_symlink(w, "p/q/s", ".");
    add_symlink(w, "t", "p/q/s/../../..");
    assert_bounces(w, ERR_MALFORMED);
}

static void test_unpack__refuses_to_write_through_a_link(void **state)
{
    struct world *w = *state;
    begin(w, FORM_TAR);
    add_folder(w, "real", 0755);
    add_symlink(w, "door", "real");
    add_text(w, "door/file", "through");
    assert_bounces(w, ERR_MALFORMED);
}

static void test_unpack__refuses_to_use_a_link_that_was_there(void **state)
{
    struct world *w = *state;
    /* What a helper gone bad could have left: the folder's own name as a link. */
    assert_int_equal(symlinkat("..", w->inside_fd, "root"), 0);
    begin(w, FORM_TAR);
    add_text(w, "file", "1");
    assert_int_equal(unpack(w), ERR_OK);
    assert_true(S_ISDIR(mode_at(w, "root")));
    assert_int_equal(entries_of(w->dir), 2);
}

static void test_unpack__refuses_hard_links_that_leave(void **state)
{
    struct world *w = *state;
    char *victim = tempdir_path(w->dir, "archive");
    static const char *const bad[] = {"../../archive", "/etc/passwd", "missing", "folder", "soft"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        begin(w, FORM_TAR);
        add_folder(w, "folder", 0755);
        add_symlink(w, "soft", "folder");
        add_hardlink(w, "link", bad[i]);
        assert_bounces(w, ERR_MALFORMED);
    }
    free(victim);
}

static void test_unpack__refuses_devices_fifos_and_sockets(void **state)
{
    struct world *w = *state;
    static const unsigned bad[] = {AE_IFCHR, AE_IFBLK, AE_IFIFO};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        begin(w, FORM_TAR);
        struct archive_entry *entry = entry_of("node", bad[i], 0666, 0);
        archive_entry_set_rdevmajor(entry, 1);
        archive_entry_set_rdevminor(entry, 3);
        add_entry(w, entry, NULL, 0);
        assert_bounces(w, ERR_MALFORMED);
    }
}

/* 64 MiB of zeros in a few kilobytes. */
static void test_unpack__stops_a_bomb_of_bytes(void **state)
{
    struct world *w = *state;
    static const char zeros[1 << 16];
    begin(w, FORM_ZSTD);
    struct archive_entry *entry = entry_of("bomb", AE_IFREG, 0644, 64 << 20);
    assert_int_equal(archive_write_header(w->out, entry), ARCHIVE_OK);
    for (int i = 0; i < (64 << 20) / (int)sizeof zeros; i++)
        assert_int_equal(archive_write_data(w->out, zeros, sizeof zeros), sizeof zeros);
    archive_entry_free(entry);
    assert_bounces(w, ERR_SIZE);
}

/* Many small ones, each within the bound. */
static void test_unpack__stops_a_bomb_of_bytes_in_pieces(void **state)
{
    struct world *w = *state;
    static const char zeros[1 << 16];
    char name[32];
    begin(w, FORM_GZIP);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "piece%d", i);
        add_file(w, name, 0644, zeros, sizeof zeros);
    }
    assert_bounces(w, ERR_SIZE);
}

static void test_unpack__takes_exactly_the_bound(void **state)
{
    struct world *w = *state;
    static const char zeros[1 << 16];
    begin(w, FORM_GZIP);
    for (int i = 0; i < 16; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "piece%d", i);
        add_file(w, name, 0644, zeros, sizeof zeros);
    }
    w->options.files_max = 16;
    assert_int_equal(unpack(w), ERR_OK);
    assert_int_equal(w->bytes, 1 << 20);
}

static void test_unpack__stops_a_bomb_of_files(void **state)
{
    struct world *w = *state;
    begin(w, FORM_ZSTD);
    for (int i = 0; i < 101; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "file%d", i);
        add_text(w, name, "");
    }
    assert_bounces(w, ERR_SIZE);
}

/* One entry that brings a hundred folders with it. */
static void test_unpack__counts_folders_that_no_entry_names(void **state)
{
    struct world *w = *state;
    char path[400] = "";
    for (int i = 0; i < 100; i++)
        strcat(path, "d/");
    strcat(path, "file");
    begin(w, FORM_TAR);
    add_text(w, path, "x");
    assert_bounces(w, ERR_SIZE);
    w->options.files_max = 101;
    begin(w, FORM_TAR);
    add_text(w, path, "x");
    assert_int_equal(unpack(w), ERR_OK);
}

/* A file that is all hole: 64 MiB of it in an archive of a few kilobytes. */
static void test_unpack__stops_a_sparse_bomb(void **state)
{
    struct world *w = *state;
    static const char zeros[1 << 16];
    const int64_t size = 64 << 20;
    struct stat st;
    begin(w, FORM_TAR);
    struct archive_entry *entry = entry_of("hole", AE_IFREG, 0644, size);
    archive_entry_sparse_add_entry(entry, size - 1, 1);
    assert_int_equal(archive_write_header(w->out, entry), ARCHIVE_OK);
    for (int i = 0; i < (int)(size / (int64_t)sizeof zeros); i++)
        assert_true(archive_write_data(w->out, zeros, sizeof zeros) >= 0);
    archive_entry_free(entry);
    assert_bounces(w, ERR_SIZE);
    assert_int_equal(stat(w->archive_path, &st), 0);
    assert_in_range(st.st_size, 1, 64 << 10);
}

static void test_unpack__refuses_compression_in_compression(void **state)
{
    struct world *w = *state;
    w->out = archive_write_new();
    assert_int_equal(archive_write_set_format_pax(w->out), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter_gzip(w->out), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter_gzip(w->out), ARCHIVE_OK);
    assert_int_equal(archive_write_open_filename(w->out, w->archive_path), ARCHIVE_OK);
    add_text(w, "file", "x");
    assert_bounces(w, ERR_MALFORMED);
}

static void test_unpack__refuses_what_is_no_archive(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"",
                                      "hello",
                                      "\x1f\x8b\x08",
                                      "\x28\xb5\x2f\xfd",
                                      "PK\x03\x04",
                                      "#mtree\n./x type=file contents=/etc/passwd\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        tempdir_write(w->archive_path, bad[i], strlen(bad[i]));
        assert_bounces(w, ERR_MALFORMED);
    }
}

/* Cut at every length: an error and nothing left, or the whole. */
static void test_unpack__refuses_or_takes_every_prefix_whole(void **state)
{
    struct world *w = *state;
    size_t len = 0;
    begin(w, FORM_TAR);
    add_text(w, "one", "1111111111");
    add_text(w, "two", "2222222222");
    assert_int_equal(archive_write_close(w->out), ARCHIVE_OK);
    char *whole = tempdir_read(w->archive_path, &len);
    for (size_t cut = 0; cut < len; cut += 97) {
        tempdir_write(w->archive_path, whole, cut);
        if (unpack(w) != ERR_OK)
            assert_int_equal(entries_of(w->inside), 0);
    }
    free(whole);
}

/* ---- bad luck ---- */

static void test_unpack__says_no_space_and_leaves_nothing(void **state)
{
    struct world *w = *state;
    static char noise[1 << 19];
    if (mount("tmpfs", w->inside, "tmpfs", 0, "size=256k") != 0)
        skip(); /* needs root */
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)rng_next(&rng);
    int before = w->inside_fd;
    w->options.folder_fd = open(w->inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    begin(w, FORM_TAR);
    add_file(w, "large", 0644, noise, sizeof noise);
    enum err_code code = unpack(w);
    unsigned left = entries_of(w->inside);
    (void)close(w->options.folder_fd);
    w->inside_fd = before;
    (void)umount2(w->inside, MNT_DETACH);
    assert_int_equal(code, ERR_NO_SPACE);
    assert_int_equal(left, 0);
}

struct look {
    struct world *w;
    const char *path;
};

static bool some_files_are_there(void *arg)
{
    struct look *look = arg;
    DIR *dir = opendir(look->w->inside);
    bool there = false;
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir))
        there = there || strstr(one->d_name, ".unpack") != NULL;
    (void)closedir(dir);
    return there;
}

/* SIGKILL while it unpacks: the folder's name never stands for a half; the next run makes it whole.
 */
static void test_unpack__survives_sigkill_in_the_middle(void **state)
{
    struct world *w = *state;
    enum { FILES = 2000 };
    char hex[DIGEST_HEX];
    uint8_t digest[DIGEST_BYTES];
    size_t len = 0;
    begin(w, FORM_GZIP);
    for (int i = 0; i < FILES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "d%d/f%d", i % 50, i);
        add_text(w, name, "content");
    }
    assert_int_equal(archive_write_close(w->out), ARCHIVE_OK);
    char *data = tempdir_read(w->archive_path, &len);
    hash_bytes(bytes_of(data, len), digest);
    str_hex(bytes_of(digest, sizeof digest), hex);
    struct fault_http *http = fault_http_start(data, len, "a");
    free(data);
    char *to = tempdir_path(w->inside, "download");
    char *root = tempdir_path(w->inside, "root");
    const char *argv[] = {getenv("CAPTAIN_FETCH_BIN"),
                          "--url",
                          fault_http_url(http),
                          "--to",
                          to,
                          "--max-bytes",
                          "10000000",
                          "--sha256",
                          hex,
                          "--unpack-to",
                          root,
                          "--unpack-bytes-max",
                          "1000000",
                          "--unpack-files-max",
                          "3000",
                          NULL};
    struct look look = {.w = w};
    struct stat st;
    struct proc *first = proc_start(&(struct proc_options){.argv = argv});
    bool began = wait_until(some_files_are_there, &look, 20000);
    proc_free(first);
    bool half_named = lstat(root, &st) == 0;
    int status = proc_run(&(struct proc_options){.argv = argv}, 30000);
    struct fault_http_counts counts;
    fault_http_counts(http, &counts);
    fault_http_free(http);
    unsigned folders = entries_of(root);
    unsigned left = entries_of(w->inside);
    free(to);
    free(root);
    assert_true(began);
    assert_false(half_named);
    assert_int_equal(status, 0);
    assert_int_equal(counts.requests, 1); /* the archive itself was whole already */
    assert_int_equal(folders, 50);
    assert_int_equal(left, 1); /* neither the archive nor a temporary folder */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_unpack__takes_a_tar),
        T(test_unpack__takes_a_tar_gz),
        T(test_unpack__takes_a_tar_zst),
        T(test_unpack__takes_a_zip),
        T(test_unpack__replaces_what_an_earlier_run_left),
        T(test_unpack__keeps_hard_links_inside),
        T(test_unpack__takes_no_owner_and_no_odd_bits),
        T(test_unpack__takes_names_beyond_ascii),
        T(test_unpack__takes_links_up_to_the_root_and_no_higher),
        T(test_unpack__refuses_paths_that_leave),
        T(test_unpack__refuses_links_that_leave),
        T(test_unpack__refuses_a_climb_through_a_link),
        T(test_unpack__refuses_to_write_through_a_link),
        T(test_unpack__refuses_to_use_a_link_that_was_there),
        T(test_unpack__refuses_hard_links_that_leave),
        T(test_unpack__refuses_devices_fifos_and_sockets),
        T(test_unpack__stops_a_bomb_of_bytes),
        T(test_unpack__stops_a_bomb_of_bytes_in_pieces),
        T(test_unpack__takes_exactly_the_bound),
        T(test_unpack__stops_a_bomb_of_files),
        T(test_unpack__counts_folders_that_no_entry_names),
        T(test_unpack__stops_a_sparse_bomb),
        T(test_unpack__refuses_compression_in_compression),
        T(test_unpack__refuses_what_is_no_archive),
        T(test_unpack__refuses_or_takes_every_prefix_whole),
        T(test_unpack__says_no_space_and_leaves_nothing),
        T(test_unpack__survives_sigkill_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

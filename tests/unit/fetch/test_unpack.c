/* SPDX-License-Identifier: Apache-2.0
 *
 * Good archives of each form, and bad luck while they are unpacked.
 */
#include "tests/unit/fetch/archive_world.h"

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
    begin(w, FORM_GZIP);
    for (int i = 0; i < FILES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "d%d/f%d", i % 50, i);
        add_text(w, name, "content");
    }
    assert_int_equal(archive_write_close(w->out), ARCHIVE_OK);
    char *root = tempdir_path(w->inside, "root");
    const char *argv[] = {
        getenv("CAPTAIN_FETCH_BIN"), "--unpack-to", root, "--unpack-bytes-max", "1000000",
        "--unpack-files-max",        "3000",        NULL};
    struct look look = {.w = w};
    struct stat st;
    struct proc_options options = {.argv = argv, .in_path = w->archive_path};
    struct proc *first = proc_start(&options);
    bool began = wait_until(some_files_are_there, &look, 20000);
    proc_free(first);
    bool half_named = lstat(root, &st) == 0;
    int status = proc_run(&options, 30000);
    unsigned folders = entries_of(root);
    unsigned left = entries_of(w->inside);
    free(root);
    assert_true(began);
    assert_false(half_named);
    assert_int_equal(status, 0);
    assert_int_equal(folders, 50);
    assert_int_equal(left, 1); /* no temporary folder */
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
        T(test_unpack__says_no_space_and_leaves_nothing),
        T(test_unpack__survives_sigkill_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

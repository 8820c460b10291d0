/* SPDX-License-Identifier: Apache-2.0
 *
 * Every bad archive. After each refusal nothing is left, inside or outside.
 */
#include "tests/unit/fetch/archive_world.h"

/* ---- attacks ---- */

static void test_unpack_attacks__refuses_paths_that_leave(void **state)
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

static void test_unpack_attacks__refuses_links_that_leave(void **state)
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
static void test_unpack_attacks__refuses_a_climb_through_a_link(void **state)
{
    struct world *w = *state;
    begin(w, FORM_TAR);
    add_symlink(w, "p/q/s", ".");
    add_symlink(w, "t", "p/q/s/../../..");
    assert_bounces(w, ERR_MALFORMED);
}

static void test_unpack_attacks__refuses_to_write_through_a_link(void **state)
{
    struct world *w = *state;
    begin(w, FORM_TAR);
    add_folder(w, "real", 0755);
    add_symlink(w, "door", "real");
    add_text(w, "door/file", "through");
    assert_bounces(w, ERR_MALFORMED);
}

static void test_unpack_attacks__refuses_to_use_a_link_that_was_there(void **state)
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

static void test_unpack_attacks__refuses_hard_links_that_leave(void **state)
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

static void test_unpack_attacks__refuses_devices_fifos_and_sockets(void **state)
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
static void test_unpack_attacks__stops_a_bomb_of_bytes(void **state)
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
static void test_unpack_attacks__stops_a_bomb_of_bytes_in_pieces(void **state)
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

static void test_unpack_attacks__takes_exactly_the_bound(void **state)
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

static void test_unpack_attacks__stops_a_bomb_of_files(void **state)
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
static void test_unpack_attacks__counts_folders_that_no_entry_names(void **state)
{
    struct world *w = *state;
    char path[400];
    for (int i = 0; i < 100; i++)
        (void)snprintf(path + 2 * i, 3, "d/");
    (void)snprintf(path + 200, 5, "file");
    begin(w, FORM_TAR);
    add_text(w, path, "x");
    assert_bounces(w, ERR_SIZE);
    w->options.files_max = 101;
    begin(w, FORM_TAR);
    add_text(w, path, "x");
    assert_int_equal(unpack(w), ERR_OK);
}

/* A file that is all hole: 64 MiB of it in an archive of a few kilobytes. */
static void test_unpack_attacks__stops_a_sparse_bomb(void **state)
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

static void test_unpack_attacks__refuses_compression_in_compression(void **state)
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

static void test_unpack_attacks__refuses_what_is_no_archive(void **state)
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
static void test_unpack_attacks__refuses_or_takes_every_prefix_whole(void **state)
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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_unpack_attacks__refuses_paths_that_leave),
        T(test_unpack_attacks__refuses_links_that_leave),
        T(test_unpack_attacks__refuses_a_climb_through_a_link),
        T(test_unpack_attacks__refuses_to_write_through_a_link),
        T(test_unpack_attacks__refuses_to_use_a_link_that_was_there),
        T(test_unpack_attacks__refuses_hard_links_that_leave),
        T(test_unpack_attacks__refuses_devices_fifos_and_sockets),
        T(test_unpack_attacks__stops_a_bomb_of_bytes),
        T(test_unpack_attacks__stops_a_bomb_of_bytes_in_pieces),
        T(test_unpack_attacks__takes_exactly_the_bound),
        T(test_unpack_attacks__stops_a_bomb_of_files),
        T(test_unpack_attacks__counts_folders_that_no_entry_names),
        T(test_unpack_attacks__stops_a_sparse_bomb),
        T(test_unpack_attacks__refuses_compression_in_compression),
        T(test_unpack_attacks__refuses_what_is_no_archive),
        T(test_unpack_attacks__refuses_or_takes_every_prefix_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

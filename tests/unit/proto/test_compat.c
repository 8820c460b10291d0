/* SPDX-License-Identifier: Apache-2.0
 *
 * proto/corpus/v<n>/<type>.bin holds messages as version n of the contract wrote them, <type>.json
 * what they say. They must be read for ever, and say the same. CAPTAIN_CORPUS_WRITE=v<n> writes the
 * files that version n does not have yet and changes none that it has.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/proto/codec_fixture.h"

enum { FILE_MAX_BYTES = 1 << 20 };

static const char *corpus_path(struct arena *arena, const char *version, const char *type,
                               const char *suffix)
{
    const char *root = getenv("CAPTAIN_SOURCE_DIR");
    return arena_printf(arena, "%s/proto/corpus/%s%s%s%s", root ? root : ".", version,
                        type ? "/" : "", type ? type : "", suffix);
}

/* False when there is no such file. */
static bool file_read(struct arena *arena, const char *path, struct bytes *ret)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        assert_int_equal(errno, ENOENT);
        return false;
    }
    char *data = arena_alloc(arena, FILE_MAX_BYTES + 1);
    assert_non_null(data);
    *ret = bytes_of(data, fread(data, 1, FILE_MAX_BYTES, file));
    assert_int_equal(fclose(file), 0);
    return true;
}

static void file_write_new(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "wbx");
    if (!file && errno == EEXIST)
        return;
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static const char *json_of(const struct codec_type *type, const void *message, struct arena *arena)
{
    struct err err = {0};
    const char *json = NULL;
    if (codec_json(type, message, 2, arena, &json, &err))
        fail_msg("%s", err.text);
    return arena_printf(arena, "%s\n", json);
}

static void corpus_write(struct fixture *fixture, const char *version)
{
    (void)mkdir(corpus_path(&fixture->arena, version, NULL, ""), 0777);
    for (size_t i = 0; i < codec_types_len; i++) {
        const struct codec_type *type = codec_types[i];
        struct fill fill = {.arena = &fixture->arena};
        void *message = fill_message(&fill, type);
        struct bytes bin = encoded(type, message, &fixture->arena);
        const char *json = json_of(type, message, &fixture->arena);
        file_write_new(corpus_path(&fixture->arena, version, type->name, ".bin"), bin.ptr, bin.len);
        file_write_new(corpus_path(&fixture->arena, version, type->name, ".json"), json,
                       strlen(json));
        arena_reset(&fixture->arena);
    }
}

/* The same but for lists that a later version added, which are empty. */
static void assert_says(const char *json, struct bytes expected)
{
    json_t *now = json_loads(json, 0, NULL);
    json_t *then = json_loadb((const char *)expected.ptr, expected.len, 0, NULL);
    assert_non_null(now);
    assert_non_null(then);
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(now, next, key, value)
    {
        if (!json_object_get(then, key) && json_is_array(value) && !json_array_size(value))
            (void)json_object_del(now, key);
    }
    if (!json_equal(now, then))
        fail_msg("says now\n%s\nand said\n%s", json, (const char *)expected.ptr);
    json_decref(now);
    json_decref(then);
}

/* A stored message of the type says what it said, and is written again without loss. */
static bool check_stored(struct fixture *fixture, const char *version,
                         const struct codec_type *type)
{
    struct arena *arena = &fixture->arena;
    struct bytes bin;
    struct bytes json;
    arena_reset(arena);
    if (!file_read(arena, corpus_path(arena, version, type->name, ".bin"), &bin))
        return false;
    if (!file_read(arena, corpus_path(arena, version, type->name, ".json"), &json))
        fail_msg("%s/%s.bin has no .json", version, type->name);
    const void *message = decoded(type, bin, arena);
    assert_says(json_of(type, message, arena), json);
    const void *again = decoded(type, encoded(type, message, arena), arena);
    assert_says(json_of(type, again, arena), json);
    return true;
}

static size_t check_version(struct fixture *fixture, const char *version)
{
    size_t count = 0;
    for (size_t i = 0; i < codec_types_len; i++)
        count += check_stored(fixture, version, codec_types[i]);
    return count;
}

/* A file that no type of today reads would be a message that was taken away. */
static size_t stored_messages(struct fixture *fixture, const char *version)
{
    arena_reset(&fixture->arena);
    DIR *folder = opendir(corpus_path(&fixture->arena, version, NULL, ""));
    assert_non_null(folder);
    size_t count = 0;
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const char *suffix = strrchr(entry->d_name, '.');
        count += suffix && str_equal(suffix, ".bin");
    }
    assert_int_equal(closedir(folder), 0);
    return count;
}

static void test_compat__reads_stored_messages_of_every_version(void **state)
{
    struct fixture *fixture = *state;
    const char *version_to_write = getenv("CAPTAIN_CORPUS_WRITE");
    if (version_to_write)
        corpus_write(fixture, version_to_write);
    DIR *folder = opendir(corpus_path(&fixture->arena, "", NULL, ""));
    assert_non_null(folder);
    size_t versions = 0;
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] != 'v')
            continue;
        versions++;
        size_t read = check_version(fixture, entry->d_name);
        assert_int_equal(read, stored_messages(fixture, entry->d_name));
        print_message("%s: %zu messages\n", entry->d_name, read);
    }
    assert_int_equal(closedir(folder), 0);
    assert_true(versions >= 1);
}

/* Every type of today has its message in the first version that had the type. */
static void test_compat__no_type_is_without_a_stored_message(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < codec_types_len; i++) {
        bool found = false;
        for (int version = 1; !found && version <= 99; version++) {
            arena_reset(&fixture->arena);
            const char *name = arena_printf(&fixture->arena, "v%d", version);
            struct bytes bin;
            found =
                file_read(&fixture->arena,
                          corpus_path(&fixture->arena, name, codec_types[i]->name, ".bin"), &bin);
        }
        if (!found)
            fail_msg("%s has no stored message in proto/corpus", codec_types[i]->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compat__reads_stored_messages_of_every_version),
        cmocka_unit_test(test_compat__no_type_is_without_a_stored_message),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

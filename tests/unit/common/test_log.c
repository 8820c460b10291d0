/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/log.h"

/* What goes to stderr between start and stop lands in a file. */
struct capture {
    FILE *file;
    int stderr_fd;
    char text[16384];
};

static void start(struct capture *capture)
{
    capture->file = tmpfile();
    assert_non_null(capture->file);
    capture->stderr_fd = dup(STDERR_FILENO);
    assert_true(dup2(fileno(capture->file), STDERR_FILENO) >= 0);
}

/* The text behind the time stamps, which must be well formed. */
static const char *stop(struct capture *capture)
{
    assert_true(dup2(capture->stderr_fd, STDERR_FILENO) >= 0);
    (void)close(capture->stderr_fd);
    rewind(capture->file);
    size_t len = fread(capture->text, 1, sizeof capture->text - 1, capture->file);
    capture->text[len] = '\0';
    (void)fclose(capture->file);
    if (len == 0)
        return "";
    assert_true(len > 25);
    for (int i = 0; i < 24; i++) {
        const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
        if (form[i] == 'd')
            assert_in_range(capture->text[i], '0', '9');
        else
            assert_int_equal(capture->text[i], form[i]);
    }
    return capture->text + 24;
}

static void test_log__plain_line_with_fields(void **state)
{
    (void)state;
    struct capture capture;
    const struct log_field fields[] = {{"DEVICE_ID", "d1"}, {"RELEASE", "1.1"}, {NULL, NULL}};
    log_open("agent", LOG_LEVEL_INFO);
    start(&capture);
    log_with(LOG_LEVEL_INFO, fields, "installed %d files", 3);
    assert_string_equal(stop(&capture), " info agent: installed 3 files device=d1 release=1.1\n");
}

static void test_log__values_with_spaces_are_quoted(void **state)
{
    (void)state;
    struct capture capture;
    const struct log_field fields[] = {{"REASON", "no room"}, {"APP", ""}, {"X", NULL}, {0}};
    log_open("captain", LOG_LEVEL_INFO);
    start(&capture);
    log_with(LOG_LEVEL_WARNING, fields, "stopped");
    assert_string_equal(stop(&capture),
                        " warning captain: stopped reason=\"no room\" app=\"\" x=\"\"\n");
}

static void test_log__foreign_text_stays_in_its_line(void **state)
{
    (void)state;
    struct capture capture;
    const struct log_field fields[] = {{"APP", "a\x1b[31mb"}, {0}};
    log_open("captain", LOG_LEVEL_INFO);
    start(&capture);
    log_with(LOG_LEVEL_ERROR, fields, "bad name: x\n2026 info captain: all is well");
    assert_string_equal(stop(&capture),
                        " error captain: bad name: x\\x0a2026 info captain: all is well "
                        "app=a\\x1b[31mb\n");
}

static void test_log__lines_below_the_level_are_dropped(void **state)
{
    (void)state;
    struct capture capture;
    log_open("captain", LOG_LEVEL_WARNING);
    start(&capture);
    log_write(LOG_LEVEL_INFO, "not this");
    log_write(LOG_LEVEL_DEBUG, "nor this");
    log_write(LOG_LEVEL_WARNING, "this");
    assert_string_equal(stop(&capture), " warning captain: this\n");
}

static void test_log__an_error_with_its_hint(void **state)
{
    (void)state;
    struct capture capture;
    struct err err;
    (void)err_set(&err, ERR_EXPIRED, "the release has expired");
    log_open("captain", LOG_LEVEL_INFO);
    start(&capture);
    log_err("publishing", &err);
    assert_string_equal(stop(&capture), " error captain: publishing: the release has expired\n");
    (void)err_hint(&err, "sign it again");
    start(&capture);
    log_err("publishing", &err);
    assert_string_equal(stop(&capture),
                        " error captain: publishing: the release has expired; sign it again\n");
}

static void test_log__an_endless_line_is_cut_and_ended(void **state)
{
    (void)state;
    struct capture capture;
    char *endless = mem_new(1, 20001);
    memset(endless, '\n', 20000);
    const struct log_field fields[] = {{"APP", endless}, {0}};
    log_open("captain", LOG_LEVEL_INFO);
    start(&capture);
    log_with(LOG_LEVEL_INFO, fields, "%s", endless);
    (void)stop(&capture);
    mem_free(endless);
    size_t len = strlen(capture.text);
    assert_int_equal(len, 4096);
    assert_ptr_equal(strchr(capture.text, '\n'), capture.text + len - 1);
}

static void test_log__more_fields_than_allowed_are_left_out(void **state)
{
    (void)state;
    struct capture capture;
    struct log_field fields[LOG_FIELDS_MAX + 2] = {{0}};
    for (int i = 0; i <= LOG_FIELDS_MAX; i++)
        fields[i] = (struct log_field){"K", "v"};
    log_open("c", LOG_LEVEL_INFO);
    start(&capture);
    log_with(LOG_LEVEL_INFO, fields, "t");
    assert_string_equal(stop(&capture), " info c: t k=v k=v k=v k=v k=v k=v k=v k=v\n");
}

static void test_log__another_journal_stream_is_not_ours(void **state)
{
    (void)state;
    struct capture capture;
    start(&capture);
    assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
    log_open("captain", LOG_LEVEL_INFO);
    log_write(LOG_LEVEL_INFO, "here");
    assert_string_equal(stop(&capture), " info captain: here\n");
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
}

static void test_log__levels_by_name(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_INFO;
    assert_int_equal(log_parse_level("debug", &level), ERR_OK);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_parse_level("error", &level), ERR_OK);
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_int_equal(log_parse_level("verbose", &level), ERR_USAGE);
    assert_int_equal(log_parse_level("", &level), ERR_USAGE);
    assert_int_equal(level, LOG_LEVEL_ERROR);
}

int main(void)
{
    (void)unsetenv("JOURNAL_STREAM");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__plain_line_with_fields),
        cmocka_unit_test(test_log__values_with_spaces_are_quoted),
        cmocka_unit_test(test_log__foreign_text_stays_in_its_line),
        cmocka_unit_test(test_log__lines_below_the_level_are_dropped),
        cmocka_unit_test(test_log__an_error_with_its_hint),
        cmocka_unit_test(test_log__an_endless_line_is_cut_and_ended),
        cmocka_unit_test(test_log__more_fields_than_allowed_are_left_out),
        cmocka_unit_test(test_log__another_journal_stream_is_not_ours),
        cmocka_unit_test(test_log__levels_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of transfers share: a folder, a server of one file, the options that fetch it.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/fetch/transfer.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/hash.h"
#include "tests/support/fault_http.h"
#include "tests/support/port.h"
#include "tests/support/proc.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { BODY_BYTES = 3 << 20 };

struct world {
    char *dir;
    int dir_fd;
    char *body;
    uint8_t sha256[DIGEST_BYTES];
    struct fault_http *http;
    const char *urls[4];
    struct transfer_options options;
    struct err err;
};

static inline void fill(char *body, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        body[i] = (char)((i * 2654435761U + seed) >> 13);
}

static inline int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->body = mem_new(1, BODY_BYTES);
    fill(w->body, BODY_BYTES, 1);
    hash_bytes(bytes_of(w->body, BODY_BYTES), w->sha256);
    w->http = fault_http_start(w->body, BODY_BYTES, "v1");
    w->urls[0] = fault_http_url(w->http);
    w->options = (struct transfer_options){
        .urls = w->urls,
        .folder_fd = w->dir_fd,
        .name = "file",
        .max_bytes = 10 << 20,
        .size_bytes = BODY_BYTES,
        .sha256 = w->sha256,
        .low_speed_bytes = 1000,
        .low_speed_s = 30,
    };
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    fault_http_free(w->http);
    (void)close(w->dir_fd);
    tempdir_remove(w->dir);
    mem_free(w->body);
    mem_free(w);
    return 0;
}

static inline enum err_code run(struct world *w)
{
    int fd = -1;
    uint64_t size = 0;
    w->err = (struct err){.code = ERR_OK};
    enum err_code code = transfer_run(&w->options, &fd, &size, &w->err);
    if (code == ERR_OK) {
        assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
        (void)close(fd);
    } else {
        assert_int_equal(w->err.code, code);
        assert_int_not_equal(w->err.text[0], '\0');
    }
    return code;
}

static inline void assert_whole(struct world *w)
{
    uint8_t digest[DIGEST_BYTES];
    uint8_t expected[DIGEST_BYTES];
    uint64_t size = 0;
    int fd = openat(w->dir_fd, "file", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(hash_file(fd, digest, &size, NULL), ERR_OK);
    (void)close(fd);
    hash_bytes(bytes_of(w->body, BODY_BYTES), expected);
    assert_int_equal(size, BODY_BYTES);
    assert_memory_equal(digest, expected, DIGEST_BYTES);
}

/* Number of files in the folder, and the size of the hidden partial one (0: none). */
static inline unsigned files(struct world *w, uint64_t *ret_partial)
{
    unsigned count = 0;
    struct stat st;
    DIR *dir = opendir(w->dir);
    *ret_partial = 0;
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir)) {
        if (str_equal(one->d_name, ".") || str_equal(one->d_name, ".."))
            continue;
        count++;
        size_t len = strlen(one->d_name);
        if (len > 5 && str_equal(one->d_name + len - 5, ".part") &&
            fstatat(w->dir_fd, one->d_name, &st, 0) == 0)
            *ret_partial = (uint64_t)st.st_size;
    }
    (void)closedir(dir);
    return count;
}

static inline void assert_empty(struct world *w)
{
    uint64_t partial;
    assert_int_equal(files(w, &partial), 0);
}

static inline struct fault_http_counts counts(struct world *w)
{
    struct fault_http_counts ret;
    fault_http_counts(w->http, &ret);
    return ret;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Helpers gone bad, for test_artifact.c: another process, with the rights that captain-fetch has. What it does is the
 * name it was started by; beside that name lie the files "good" (the bytes that would be right) and "go".
 */
#pragma once

#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/str.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"

enum { HELPER_MAX_S = 60 };

struct bad {
    const char *mode; /* our own name */
    int folder;
    const char *name; /* in it: what we are asked for */
    bool unpacks;
    char *good;
    size_t good_len;
    int go_fd; /* of the file "go": as long as it has its name we go on */
};

static inline void must(bool fine, const char *what)
{
    if (!fine)
        support_die(0, "bad helper: %s", what);
}

static inline void say_done(void)
{
    must(write(STDOUT_FILENO, "done 5\n", 7) == 7, "say");
}

static inline int put(const struct bad *bad, const char *name, const void *data, size_t len)
{
    int fd = openat(bad->folder, name, O_RDWR | O_CREAT | O_TRUNC, 0666);
    must(fd >= 0 && write(fd, data, len) == (ssize_t)len, name);
    return fd;
}

/* Goes on after the helper has ended, outside its process group, until the test removes the file "go". */
static inline bool go_on(void)
{
    if (fork() != 0)
        return false;
    (void)setsid();
    (void)alarm(HELPER_MAX_S);
    (void)close(STDOUT_FILENO);
    return true;
}

static inline bool told_to_stop(const struct bad *bad)
{
    struct stat st;
    return fstat(bad->go_fd, &st) != 0 || st.st_nlink == 0;
}

/* Writes through the descriptor that it still has, and tries to get another. */
static inline void hold(const struct bad *bad)
{
    int fd = put(bad, bad->name, bad->good, bad->good_len);
    if (!go_on()) {
        say_done();
        return;
    }
    for (unsigned i = 0; !told_to_stop(bad); i++) {
        char byte = (char)(i % 2 ? bad->good[0] : ~bad->good[0]);
        (void)!pwrite(fd, &byte, 1, 0);
        int other = openat(bad->folder, bad->name, O_WRONLY);
        if (other >= 0) {
            (void)!pwrite(other, &byte, 1, 0);
            (void)close(other);
        }
    }
}

/* Exchanges the file for another one, again and again. */
static inline void swap(const struct bad *bad)
{
    (void)close(put(bad, bad->name, bad->good, bad->good_len));
    if (!go_on()) {
        say_done();
        return;
    }
    for (unsigned i = 0; !told_to_stop(bad); i++) {
        bad->good[0] = (char)~bad->good[0];
        int fd = openat(bad->folder, "other", O_RDWR | O_CREAT | O_TRUNC, 0666);
        if (fd >= 0) {
            (void)!write(fd, bad->good, bad->good_len);
            (void)close(fd);
        }
        (void)renameat(bad->folder, "other", bad->folder, bad->name);
    }
}

static inline void fetch_badly(struct bad *bad)
{
    if (str_equal(bad->mode, "hold")) {
        hold(bad);
        return;
    }
    if (str_equal(bad->mode, "swap")) {
        swap(bad);
        return;
    }
    if (str_equal(bad->mode, "link"))
        must(symlinkat("/etc/passwd", bad->folder, bad->name) == 0, "symlink");
    else if (str_equal(bad->mode, "fifo"))
        must(mkfifoat(bad->folder, bad->name, 0600) == 0, "fifo");
    else if (str_equal(bad->mode, "names"))
        must(close(put(bad, "one", bad->good, bad->good_len)) == 0 &&
                 linkat(bad->folder, "one", bad->folder, bad->name, 0) == 0,
             "link");
    else if (str_equal(bad->mode, "short"))
        (void)close(put(bad, bad->name, bad->good, bad->good_len - 1));
    else if (str_equal(bad->mode, "lie")) {
        bad->good[bad->good_len - 1] = (char)~bad->good[bad->good_len - 1];
        (void)close(put(bad, bad->name, bad->good, bad->good_len));
    } else if (!str_equal(bad->mode, "nothing"))
        (void)close(put(bad, bad->name, bad->good, bad->good_len));
    say_done();
}

static inline void unpack_badly(struct bad *bad)
{
    must(mkdirat(bad->folder, bad->name, 0755) == 0, "mkdir");
    bad->folder = openat(bad->folder, bad->name, O_RDONLY | O_DIRECTORY);
    int fd = put(bad, "file", "x", 1);
    if (str_equal(bad->mode, "setuid"))
        must(fchmod(fd, 06777) == 0, "chmod");
    else if (str_equal(bad->mode, "climb"))
        must(symlinkat("../../../../../etc/passwd", bad->folder, "door") == 0, "symlink");
    else if (str_equal(bad->mode, "pipe"))
        must(mkfifoat(bad->folder, "pipe", 0666) == 0, "fifo");
    else if (str_equal(bad->mode, "large"))
        must(ftruncate(fd, 1 << 30) == 0, "truncate");
    else if (str_equal(bad->mode, "many")) {
        for (int i = 0; i < 20; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "f%d", i);
            (void)close(put(bad, name, "x", 1));
        }
    } else if (str_equal(bad->mode, "keep") && go_on()) {
        while (!told_to_stop(bad))
            (void)!pwrite(fd, "y", 1, 0);
        return;
    }
    (void)close(fd);
    say_done();
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (str_equal(argv[i], name))
            return argv[i + 1];
    }
    return NULL;
}

static inline int be_bad(int argc, char **argv)
{
    char folder[PATH_MAX];
    char path[PATH_MAX];
    struct bad bad = {.mode = strrchr(argv[0], '/') + 1};
    const char *to = option(argc, argv, "--to");
    const char *user = option(argc, argv, "--user");
    bad.unpacks = to == NULL;
    to = bad.unpacks ? option(argc, argv, "--unpack-to") : to;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(to, '/') - to), to);
    bad.name = strrchr(to, '/') + 1;
    bad.folder = open(folder, O_RDONLY | O_DIRECTORY);
    (void)snprintf(path, sizeof path, "%.*s/good", (int)(bad.mode - 1 - argv[0]), argv[0]);
    bad.good = tempdir_read(path, &bad.good_len);
    (void)snprintf(path, sizeof path, "%.*s/go", (int)(bad.mode - 1 - argv[0]), argv[0]);
    bad.go_fd = open(path, O_RDONLY);
    must(bad.folder >= 0 && bad.go_fd >= 0 && bad.good != NULL, "places");
    const struct passwd *other = user != NULL ? getpwnam(user) : NULL;
    must(user == NULL ||
             (other != NULL && setresgid(other->pw_gid, other->pw_gid, other->pw_gid) == 0 &&
              setresuid(other->pw_uid, other->pw_uid, other->pw_uid) == 0),
         "become");
    (void)umask(0);
    if (bad.unpacks)
        unpack_badly(&bad);
    else
        fetch_badly(&bad);
    _exit(0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "captain/cli/output.h"
#include "common/base/mem.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* The terminal as it is while something is asked, and what it has to become again. */
struct asking {
    int fd;
    struct termios settings;
    bool quiet;
    sigset_t mask;
    struct sigaction old[4];
};
static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void say(const struct asking *asking, const char *text)
{
    ssize_t written = write(asking->fd, text, strlen(text));
    (void)written; /* the read behind it finds a terminal that is gone */
}

/* The signals stay blocked but for the wait itself, so that none falls between look and wait. */
static enum err_code asking_start(struct asking *asking, bool echo, struct err *err)
{
    *asking = (struct asking){.fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)};
    if (asking->fd < 0 || tcgetattr(asking->fd, &asking->settings)) {
        if (asking->fd >= 0)
            (void)close(asking->fd);
        asking->fd = -1;
        return err_set(err, ERR_USAGE, "there is no terminal to ask on");
    }
    sigset_t block;
    (void)sigemptyset(&block);
    interrupted = 0;
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        (void)sigaddset(&block, caught[i]);
    (void)sigprocmask(SIG_BLOCK, &block, &asking->mask);
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        (void)sigaction(caught[i], &(struct sigaction){.sa_handler = on_signal}, &asking->old[i]);
    if (!echo) {
        struct termios quiet = asking->settings;
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
        asking->quiet = tcsetattr(asking->fd, TCSAFLUSH, &quiet) == 0;
    }
    return ERR_OK;
}

static void asking_end(struct asking *asking)
{
    if (asking->fd < 0)
        return;
    if (asking->quiet) {
        (void)tcsetattr(asking->fd, TCSAFLUSH, &asking->settings);
        say(asking, "\n");
    }
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        (void)sigaction(caught[i], &asking->old[i], NULL);
    (void)sigprocmask(SIG_SETMASK, &asking->mask, NULL);
    (void)close(asking->fd);
}

static enum err_code wait_for_key(const struct asking *asking, struct err *err)
{
    struct pollfd poll = {.fd = asking->fd, .events = POLLIN};
    int ready = ppoll(&poll, 1, NULL, &asking->mask);
    if (interrupted)
        return err_set(err, ERR_INTERRUPTED, "interrupted; nothing was changed");
    if (ready < 0 && errno != EINTR)
        return err_sys(err, errno, "reading the terminal");
    return ERR_OK;
}

/* To the end of the line, however long: what does not fit must not become the next answer. */
static enum err_code read_line(const struct asking *asking, char *ret, size_t ret_size,
                               struct err *err)
{
    size_t len = 0;
    for (;;) {
        char one;
        if (wait_for_key(asking, err))
            return err->code;
        ssize_t n = read(asking->fd, &one, 1);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return err_sys(err, errno, "reading the terminal");
        if (n == 0)
            return err_set(err, ERR_INTERRUPTED, "the terminal was closed; nothing was changed");
        if (n < 0)
            continue;
        if (one == '\n')
            break;
        if (len + 1 < ret_size)
            ret[len] = one;
        len++;
    }
    if (len >= ret_size)
        return err_set(err, ERR_SIZE, "more than %zu characters", ret_size - 1);
    ret[len] = '\0';
    return ERR_OK;
}

static enum err_code ask(const char *prompt, bool echo, char *ret, size_t ret_size, struct err *err)
{
    struct asking asking DEFER(asking_end);
    if (asking_start(&asking, echo, err))
        return err->code;
    say(&asking, prompt);
    enum err_code code = read_line(&asking, ret, ret_size, err);
    if (code)
        sodium_memzero(ret, ret_size);
    return code;
}

enum err_code terminal_secret(const char *prompt, char *ret, size_t ret_size, struct err *err)
{
    output_progress("%s", "");
    return ask(prompt, false, ret, ret_size, err);
}

enum err_code terminal_confirm(const char *question, struct err *err)
{
    char answer[16];
    char prompt[256];
    if (str_copy(prompt, sizeof prompt - 8, question))
        return err_set(err, ERR_SIZE, "the question is too long");
    memcpy(prompt + strlen(prompt), " [y/N] ", sizeof " [y/N] ");
    if (ask(prompt, true, answer, sizeof answer, err))
        return err->code;
    if (str_equal(answer, "y") || str_equal(answer, "Y") || str_equal(answer, "yes"))
        return ERR_OK;
    return err_set(err, ERR_INTERRUPTED, "nothing was changed");
}

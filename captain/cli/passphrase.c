/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "captain/cli/terminal.h"
#include "common/base/mem.h"

#define ENV_PREFIX "env://"
#define FLAG_HINT "--passphrase FILE|-|env://NAME"

enum { PROMPT_MAX = 128 };

static void close_fd(int *fd)
{
    if (*fd > STDIN_FILENO)
        (void)close(*fd);
}

static void wipe_text(char (*text)[KEY_FILE_PASSPHRASE_MAX + 1])
{
    sodium_memzero(*text, sizeof *text);
}

static enum err_code open_source(const char *source, int *ret_fd, struct err *err)
{
    struct stat st;
    *ret_fd = str_equal(source, "-") ? STDIN_FILENO : open(source, O_RDONLY | O_CLOEXEC);
    if (*ret_fd < 0 || fstat(*ret_fd, &st)) {
        err_set(err, ERR_USAGE, "cannot read the passphrase from %s: %s", source, strerror(errno));
        return err_hint(err, FLAG_HINT);
    }
    if (*ret_fd != STDIN_FILENO && S_ISREG(st.st_mode) && (st.st_mode & 077)) {
        err_set(err, ERR_DENIED, "the passphrase in %s may be read by others", source);
        return err_hint(err, "chmod 600 %s", source);
    }
    return ERR_OK;
}

static enum err_code read_first_line(int fd, const char *source, char *ret, struct err *err)
{
    size_t len = 0;
    bool ended = false;
    while (!ended && len <= KEY_FILE_PASSPHRASE_MAX) {
        ssize_t n = read(fd, ret + len, 1);
        if (n < 0 && errno != EINTR)
            return err_sys(err, errno, "reading the passphrase from %s", source);
        ended = n == 0 || (n == 1 && ret[len] == '\n');
        if (n == 1 && ret[len] == '\0')
            return err_set(err, ERR_USAGE, "the passphrase in %s is no text", source);
        len += n == 1 && !ended;
    }
    if (!ended)
        return err_set(err, ERR_USAGE, "the passphrase in %s has more than %d bytes", source,
                       KEY_FILE_PASSPHRASE_MAX);
    ret[len] = '\0';
    return ERR_OK;
}

static enum err_code read_env(const char *source, char *ret, struct err *err)
{
    const char *value = getenv(source + strlen(ENV_PREFIX));
    if (!value)
        return err_set(err, ERR_USAGE, "the environment has no %s", source + strlen(ENV_PREFIX));
    if (str_copy(ret, KEY_FILE_PASSPHRASE_MAX + 1, value))
        return err_set(err, ERR_USAGE, "the passphrase in %s has more than %d bytes", source,
                       KEY_FILE_PASSPHRASE_MAX);
    return ERR_OK;
}

enum err_code passphrase_read(const char *source, char ret[static KEY_FILE_PASSPHRASE_MAX + 1],
                              struct err *err)
{
    if (strncmp(source, ENV_PREFIX, strlen(ENV_PREFIX)) == 0)
        return read_env(source, ret, err);
    int fd DEFER(close_fd) = -1;
    if (open_source(source, &fd, err))
        return err->code;
    enum err_code code = read_first_line(fd, source, ret, err);
    if (code)
        sodium_memzero(ret, KEY_FILE_PASSPHRASE_MAX + 1);
    return code;
}

static enum err_code ask_terminal(const char *prompt, char *ret, struct err *err)
{
    enum err_code code = terminal_secret(prompt, ret, KEY_FILE_PASSPHRASE_MAX + 1, err);
    return code == ERR_USAGE ? err_hint(err, FLAG_HINT) : code;
}

enum err_code passphrase_choose(const char *source, const char *name,
                                char ret[static KEY_FILE_PASSPHRASE_MAX + 1], struct err *err)
{
    char again[KEY_FILE_PASSPHRASE_MAX + 1] DEFER(wipe_text) = "";
    char prompt[PROMPT_MAX];
    if (source)
        return passphrase_read(source, ret, err);
    (void)snprintf(prompt, sizeof prompt, "passphrase for the new key %s: ", name);
    if (ask_terminal(prompt, ret, err) || (ret[0] && ask_terminal("once more: ", again, err)))
        return err->code;
    if (str_equal(ret, again))
        return ERR_OK;
    sodium_memzero(ret, KEY_FILE_PASSPHRASE_MAX + 1);
    return err_set(err, ERR_USAGE, "these are two passphrases; nothing was written");
}

enum err_code passphrase_ask(void *arg, const char *name,
                             char ret[static KEY_FILE_PASSPHRASE_MAX + 1], struct err *err)
{
    struct passphrase *passphrase = arg;
    char prompt[PROMPT_MAX];
    if (passphrase->source) {
        if (!passphrase->read && passphrase_read(passphrase->source, passphrase->text, err))
            return err->code;
        passphrase->read = true;
        return str_copy(ret, KEY_FILE_PASSPHRASE_MAX + 1, passphrase->text);
    }
    passphrase->asked = true;
    (void)snprintf(prompt, sizeof prompt, "passphrase of the key %s: ", name);
    return ask_terminal(prompt, ret, err);
}

void passphrase_wipe(struct passphrase *passphrase)
{
    sodium_memzero(passphrase->text, sizeof passphrase->text);
    passphrase->read = false;
}

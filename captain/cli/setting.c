/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/setting.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Percentages. */

enum err_code setting_percent(const char *text, uint32_t *ret_permyriad, struct err *err)
{
    char whole[8] = "", part[3] = "00";
    uint64_t units = 0, cents = 0;
    const size_t len = strcspn(text, "."), rest = strlen(text) - len;
    bool good = len > 0 && len < sizeof whole && rest != 1 && rest <= sizeof part;
    if (good) {
        memcpy(whole, text, len);
        if (rest)
            memcpy(part, text + len + 1, rest - 1);
        good = str_u64(whole, 100, &units) == ERR_OK && str_u64(part, 99, &cents) == ERR_OK &&
               units * 100 + cents <= 10000;
    }
    if (!good) {
        (void)err_set(err, ERR_USAGE, "--percent %s is no percentage from 0.01 to 100", text);
        return err_hint(err, "--percent 12.5");
    }
    if (units * 100 + cents == 0) {
        (void)err_set(err, ERR_USAGE, "--percent %s is a flag that no device has", text);
        return err_hint(err, "set the other value for every device, or captain flag unset");
    }
    *ret_permyriad = (uint32_t)(units * 100 + cents);
    return ERR_OK;
}

const char *setting_otherwise(const char *value)
{
    if (str_equal(value, "true"))
        return "false";
    return str_equal(value, "false") ? "true" : "";
}

/* Values of secrets. No word of theirs is in any sentence here. */

static enum err_code read_fd(int fd, const char *from, uint8_t ret[SETTING_VALUE_MAX],
                             size_t *ret_len, struct err *err)
{
    size_t len = 0;
    uint8_t more;
    for (;;) {
        const bool full = len == SETTING_VALUE_MAX;
        const ssize_t got = read(fd, full ? &more : ret + len, full ? 1 : SETTING_VALUE_MAX - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, errno, "reading %s", from);
        if (got > 0 && full) {
            sodium_memzero(&more, sizeof more);
            return err_set(err, ERR_SIZE, "%s has more than the %d bytes of a secret", from,
                           SETTING_VALUE_MAX);
        }
        if (got == 0)
            break;
        len += (size_t)got;
    }
    *ret_len = len;
    return ERR_OK;
}

static enum err_code read_file(const char *path, uint8_t ret[SETTING_VALUE_MAX], size_t *ret_len,
                               struct err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        return err_sys(err, errno, "opening %s", path);
    if (fd < 0) {
        (void)err_set(err, ERR_NOT_FOUND, "--from: there is no such file");
        return err_hint(err, "--from FILE, --from - for stdin, or --from env://NAME");
    }
    const enum err_code code = read_fd(fd, path, ret, ret_len, err);
    (void)close(fd);
    return code;
}

/* Taken out of the environment: nobody needs it there any more. */
static enum err_code read_variable(const char *name, uint8_t ret[SETTING_VALUE_MAX],
                                   size_t *ret_len, struct err *err)
{
    char *value = getenv(name);
    if (!value)
        return err_set(err, ERR_NOT_FOUND, "the variable %s is not set", name);
    const size_t len = strlen(value);
    if (len <= SETTING_VALUE_MAX)
        memcpy(ret, value, len);
    sodium_memzero(value, len);
    (void)unsetenv(name); /* what is there is wiped already */
    if (len > SETTING_VALUE_MAX)
        return err_set(err, ERR_SIZE, "%s has more than the %d bytes of a secret", name,
                       SETTING_VALUE_MAX);
    *ret_len = len;
    return ERR_OK;
}

enum err_code setting_read_value(const char *from, uint8_t ret[SETTING_VALUE_MAX], size_t *ret_len,
                                 struct err *err)
{
    size_t len = 0;
    enum err_code code = ERR_OK;
    if (strncmp(from, "env://", 6) == 0)
        code = read_variable(from + 6, ret, &len, err);
    else if (str_equal(from, "-"))
        code = read_fd(STDIN_FILENO, "stdin", ret, &len, err);
    else
        code = read_file(from, ret, &len, err);
    if (code == ERR_OK && len == 0)
        code =
            err_set(err, ERR_USAGE, "what --from names is empty; a secret has at least one byte");
    if (code != ERR_OK) {
        sodium_memzero(ret, SETTING_VALUE_MAX);
        return code;
    }
    *ret_len = len;
    return ERR_OK;
}

/* Names and scopes. */

static bool is_name(const char *text)
{
    const size_t len = strlen(text);
    return len > 0 && len <= 128 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* A value that somebody typed is not said again: what an error says ends up in logs. */
static enum err_code refuse_value(const struct invocation *invocation, struct err *err)
{
    (void)err_set(err, ERR_USAGE,
                  "a value cannot be an argument: every user of this machine sees those in ps, and "
                  "the shell keeps them");
    return err_hint(err,
                    "captain secret %s APP/NAME --from FILE, --from - or --from env://NAME; "
                    "take the one just typed as known",
                    invocation->command->verb);
}

static enum err_code read_scope(const struct invocation *invocation, const char **ret,
                                struct err *err)
{
    static const struct {
        enum flag_id flag;
        const char *prefix;
    } kinds[] = {{FLAG_CHANNEL, "channel"}, {FLAG_SITE, "site"}, {FLAG_DEVICE, "device"}};
    const char *scope = "";
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *value = invocation->flags[kinds[i].flag];
        if (!value)
            continue;
        if (scope[0]) {
            (void)err_set(err, ERR_USAGE, "a secret has one scope");
            return err_hint(err, "one of --channel, --site and --device");
        }
        scope = arena_printf(invocation->arena, "%s:%s", kinds[i].prefix, value);
        if (!scope)
            return err_set(err, ERR_SIZE, "--%s is too long", kinds[i].prefix);
    }
    *ret = scope;
    return ERR_OK;
}

enum err_code setting_secret_name(const struct invocation *invocation,
                                  char ret_app[static TOKEN_MAX + 1], const char **ret_name,
                                  const char **ret_scope, struct err *err)
{
    const char *text = invocation->args_len ? invocation->args[0] : "";
    const char *slash = strchr(text, '/');
    const size_t len = slash ? (size_t)(slash - text) : 0;
    char app[TOKEN_MAX + 1] = "";
    if (invocation->args_len > 1 || strchr(text, '='))
        return refuse_value(invocation, err);
    if (slash && len <= TOKEN_MAX)
        memcpy(app, text, len);
    if (!str_is_token(app) || !is_name(slash + 1)) {
        (void)err_set(err, ERR_USAGE, "the name of a secret is APP/NAME");
        return err_hint(err, "as in hello/db-password: letters, digits, _ and -");
    }
    if (read_scope(invocation, ret_scope, err))
        return err->code;
    memcpy(ret_app, app, sizeof app);
    *ret_name = slash + 1;
    return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define ERR_HIDDEN /* here they are themselves */
#include "common/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (!err)
        return code;
    va_list args;
    va_start(args, fmt);
    struct err fresh = {.code = code}; /* an argument may be the old text */
    (void)vsnprintf(fresh.text, sizeof fresh.text, fmt, args);
    va_end(args);
    *err = fresh;
    return code;
}

enum err_code err_sys(struct err *err, int sys_errno, const char *fmt, ...)
{
    enum err_code code = sys_errno == ENOSPC || sys_errno == EDQUOT ? ERR_NO_SPACE : ERR_IO;
    if (!err)
        return code;
    va_list args;
    va_start(args, fmt);
    struct err fresh = {.code = code, .sys = sys_errno};
    (void)vsnprintf(fresh.text, sizeof fresh.text, fmt, args);
    va_end(args);
    size_t used = strlen(fresh.text);
    (void)snprintf(fresh.text + used, sizeof fresh.text - used, ": %s", strerror(sys_errno));
    *err = fresh;
    return code;
}

enum err_code err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return ERR_FAILED;
    va_list args;
    va_start(args, fmt);
    char text[2 * ERR_TEXT_MAX + 2]; /* both whole; the end of a long one is cut */
    (void)vsnprintf(text, ERR_TEXT_MAX, fmt, args);
    va_end(args);
    size_t used = strlen(text);
    (void)snprintf(text + used, sizeof text - used, ": %s", err->text);
    memcpy(err->text, text, ERR_TEXT_MAX - 1);
    err->text[ERR_TEXT_MAX - 1] = '\0';
    return err->code;
}

enum err_code err_hint(struct err *err, const char *fmt, ...)
{
    if (!err)
        return ERR_FAILED;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->hint, sizeof err->hint, fmt, args);
    va_end(args);
    return err->code;
}

const char *err_name(enum err_code code)
{
    switch (code) {
    case ERR_OK:
        return "ok";
    case ERR_FAILED:
        return "failed";
    case ERR_USAGE:
        return "usage";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_DENIED:
        return "denied";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_NO_CONTACT:
        return "no_contact";
    case ERR_BAD_SIGNATURE:
        return "bad_signature";
    case ERR_THRESHOLD:
        return "threshold";
    case ERR_EXPIRED:
        return "expired";
    case ERR_ROLLBACK:
        return "rollback";
    case ERR_HASH:
        return "hash";
    case ERR_SIZE:
        return "size";
    case ERR_WRONG_TARGET:
        return "wrong_target";
    case ERR_REVOKED:
        return "revoked";
    case ERR_MALFORMED:
        return "malformed";
    case ERR_TOO_SLOW:
        return "too_slow";
    case ERR_ROOT_CHAIN:
        return "root_chain";
    case ERR_NO_SPACE:
        return "no_space";
    case ERR_UNHEALTHY:
        return "unhealthy";
    case ERR_FULL:
        return "full";
    case ERR_IO:
        return "io";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_INTERRUPTED:
        return "interrupted";
    }
    return "unknown";
}

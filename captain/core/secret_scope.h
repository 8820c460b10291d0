/* SPDX-License-Identifier: Apache-2.0
 *
 * Which secrets a device has. A secret belongs to an app and is set for a scope; of those of one name the
 * most specific scope that the device lies in wins. Pure.
 *
 *   1 device:S/D   this device
 *   2 site:S       every device of the site
 *   3 channel:C    every device on which the app follows that channel
 *   4 ""           every device that has the app
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum secret_rank {
    SECRET_ELSEWHERE, /* it does not concern the device */
    SECRET_OF_APP,
    SECRET_OF_CHANNEL,
    SECRET_OF_SITE,
    SECRET_OF_DEVICE,
};

/* ERR_USAGE: none of the four forms. */
MUST_USE enum err_code secret_scope_check(const char *scope, struct err *err);

/* device is "site/device"; channel the one that the app follows there, without the app. */
enum secret_rank secret_scope_rank(const char *scope, const char *device, const char *channel);

struct secret_rule {
    const char *app, *name, *scope;
};
struct secret_app {
    const char *app, *channel;
};
/* The rules (ordered by app and name) that hold on the device, one of each name, in their order, as
 * indices into rules. Returns how many; ret takes rules_len. */
size_t secret_choose(const struct secret_rule *rules, size_t rules_len, const char *device,
                     const struct secret_app *apps, size_t apps_len, uint32_t *ret);

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/reload_signal.h"

#include <signal.h>
#include <stddef.h>

#include "common/base/mem.h"
#include "common/base/str.h"

int reload_signal_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {{"HUP", SIGHUP}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (str_equal(known[i].name, name))
            return known[i].number;
    }
    return 0;
}

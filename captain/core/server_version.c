/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/server_version.h"

#include <stdint.h>

#include "common/base/mem.h"

#define VERSION(major, minor, patch)                                                               \
    (((uint64_t)(major) << 40) | ((uint64_t)(minor) << 20) | (uint64_t)(patch))
enum { PARTS = 3, PART_MAX = 99999 };

static const struct {
    uint64_t from, below; /* the first that has it, and the first that has it no more */
    struct server_hole hole;
} holes[] = {
    {VERSION(0, 0, 0),
     VERSION(2, 9, 10),
     {"is older than any that captain was tried with", "install 2.10.27 or newer", true}},
    {VERSION(2, 10, 20),
     VERSION(2, 10, 23),
     {"loses whole streams when it is killed", "install 2.10.27 or newer", true}},
    {VERSION(0, 0, 0),
     VERSION(2, 10, 0),
     {"syncs once a minute at best: when power is cut it loses what it acknowledged last, and "
      "captain completes the log from its own tables",
      "chattr +S DIR/nats/jetstream while that is empty; or 2.10.27 with sync_interval: always",
      false}},
    {VERSION(0, 0, 0),
     VERSION(2, 9, 21),
     {"lets several writers of one subject win at once in a cluster",
      "do not cluster it; install 2.10.27 or newer for that", false}},
    {VERSION(2, 2, 0),
     VERSION(2, 10, 27),
     {"does not check all requests to JetStream's API between accounts (CVE-2025-30215)",
      "let no account but this fleet's use it, or install 2.10.27 or newer", false}},
    {VERSION(2, 11, 0),
     VERSION(2, 11, 1),
     {"does not check all requests to JetStream's API between accounts (CVE-2025-30215)",
      "let no account but this fleet's use it, or install 2.11.1 or newer", false}},
    {VERSION(2, 2, 0),
     VERSION(2, 11, 14),
     {"can be stopped by anybody who reaches its WebSocket listener (CVE-2026-27889, "
      "CVE-2026-27571)",
      "open no websocket listener to a network you do not trust, or install 2.11.14 or newer",
      false}},
    {VERSION(2, 12, 0),
     VERSION(2, 12, 5),
     {"can be stopped by anybody who reaches its WebSocket listener (CVE-2026-27889, "
      "CVE-2026-27571)",
      "open no websocket listener to a network you do not trust, or install 2.12.5 or newer",
      false}},
};

/* Three numbers; what follows the third (a pre-release) is left out. */
static bool parse(const char *text, uint64_t *ret)
{
    uint64_t parts[PARTS] = {0};
    for (size_t i = 0; i < PARTS; i++) {
        if (i > 0 && *text++ != '.')
            return false;
        if (*text < '0' || *text > '9')
            return false;
        for (; *text >= '0' && *text <= '9'; text++) {
            parts[i] = parts[i] * 10 + (uint64_t)(*text - '0');
            if (parts[i] > PART_MAX)
                return false;
        }
    }
    *ret = VERSION(parts[0], parts[1], parts[2]);
    return *text == '\0' || *text == '-' || *text == '+';
}

bool server_version_holes(const char *version,
                          const struct server_hole *ret[static SERVER_HOLES_MAX], size_t *ret_len)
{
    uint64_t number;
    size_t len = 0;
    if (!parse(version, &number))
        return false;
    _Static_assert(ARRAY_LEN(holes) <= SERVER_HOLES_MAX, "there is room for all");
    for (size_t i = 0; i < ARRAY_LEN(holes); i++)
        if (number >= holes[i].from && number < holes[i].below)
            ret[len++] = &holes[i].hole;
    *ret_len = len;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/inbox.h"

#include <string.h>

bool inbox_is_own(struct incidents *incidents, const struct bus_message *message, const char *owner)
{
    static const char head[] = "_INBOX.";
    const char *reply = message->reply;
    const size_t len = strlen(owner);
    if (!reply)
        return true;
    if (strncmp(reply, head, sizeof head - 1) == 0 &&
        strncmp(reply + sizeof head - 1, owner, len) == 0 && reply[sizeof head - 1 + len] == '.')
        return true;
    incidents_note(incidents, "reply", message->subject, "an answer was wanted outside of %s%s.",
                   head, owner);
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/http_page.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/base/str.h"
#include "tests/support/port.h"

enum { PAGE_MAX = 4096 };

bool http_page_is(uint16_t port, const char *body)
{
    static const char get[] = "GET /index.html HTTP/1.0\r\n\r\n";
    const struct timeval limit = {.tv_sec = 2};
    char page[PAGE_MAX];
    size_t len = 0;
    int fd = port_connect(port);
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ssize_t got = send(fd, get, sizeof get - 1, MSG_NOSIGNAL);
    while (got > 0 && len < sizeof page - 1) {
        got = recv(fd, page + len, sizeof page - 1 - len, 0);
        len += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    page[len] = '\0';
    const char *at = strstr(page, "\r\n\r\n");
    return at && strstr(page, " 200 ") && str_equal(at + 4, body);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/support.h"

static struct sockaddr_in local(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int bound(int flags, uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    struct sockaddr_in addr = local(0);
    socklen_t len = sizeof addr;
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        support_die(errno, "cannot bind to a free port");
    }
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

uint16_t port_free(void)
{
    uint16_t port;
    (void)close(bound(0, &port));
    return port;
}

int port_connect(uint16_t port)
{
    struct sockaddr_in addr = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        int failed = errno;
        (void)close(fd);
        errno = failed;
        return -1;
    }
    return fd;
}

int port_listen(uint16_t *ret_port)
{
    int fd = bound(SOCK_NONBLOCK, ret_port);
    if (listen(fd, 128) != 0) {
        support_die(errno, "cannot listen");
    }
    return fd;
}

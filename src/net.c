/* SPDX-License-Identifier: MIT */
/* Parses listening addresses and binds them. */
#include "cavage/net.h"

#include "cavage/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union endpoint {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int parse_port(const char *text, in_port_t *port)
{
    unsigned value = 0;
    if (text[0] == '\0' || strlen(text) > 5)
        return ERR_INVALID;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return ERR_INVALID;
        value = value * 10 + (unsigned)(*text - '0');
    }
    if (value > UINT16_MAX)
        return ERR_INVALID;
    *port = htons((uint16_t)value);
    return ERR_OK;
}

/* Split "host:port" or "[host]:port"; host gets the host without brackets. */
static int split(const char *address, char *host, size_t size, const char **port, bool *bracketed)
{
    const char *colon = strrchr(address, ':');
    *bracketed = address[0] == '[';
    const char *begin = address + (*bracketed ? 1 : 0);
    if (colon == NULL || (*bracketed && (colon < begin + 1 || colon[-1] != ']')))
        return ERR_INVALID;
    size_t len = (size_t)(colon - begin) - (*bracketed ? 1 : 0);
    if (len == 0 || len >= size)
        return ERR_INVALID;
    memcpy(host, begin, len);
    host[len] = '\0';
    *port = colon + 1;
    return ERR_OK;
}

static int parse(const char *address, union endpoint *out, socklen_t *len)
{
    char host[INET6_ADDRSTRLEN];
    const char *port;
    bool bracketed;
    int err = split(address, host, sizeof(host), &port, &bracketed);
    if (err != ERR_OK)
        return err;
    memset(out, 0, sizeof(*out));
    if (bracketed) {
        out->v6.sin6_family = AF_INET6;
        *len = sizeof(out->v6);
        return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1 ? parse_port(port, &out->v6.sin6_port) : ERR_INVALID;
    }
    const char *numeric = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    out->v4.sin_family = AF_INET;
    *len = sizeof(out->v4);
    return inet_pton(AF_INET, numeric, &out->v4.sin_addr) == 1 ? parse_port(port, &out->v4.sin_port) : ERR_INVALID;
}

int net_check(const char *address)
{
    union endpoint endpoint;
    socklen_t len;
    return parse(address, &endpoint, &len);
}

int net_name_check(const char *name_port)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    enum { NAME_MAX_BYTES = 253 };
    in_port_t port;
    size_t len = strspn(name_port, letters);
    bool numeric = strspn(name_port, "0123456789.") == len; /* a wrong address is no name */
    if (len == 0 || len > NAME_MAX_BYTES || name_port[len] != ':' || numeric || strchr("-.", name_port[0]))
        return ERR_INVALID;
    return parse_port(name_port + len + 1, &port) == ERR_OK && port != 0 ? ERR_OK : ERR_INVALID;
}

bool net_is_wildcard(const char *address)
{
    union endpoint endpoint;
    socklen_t len;
    if (parse(address, &endpoint, &len) != ERR_OK)
        return false;
    if (endpoint.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&endpoint.v6.sin6_addr);
    return endpoint.v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

bool net_is_loopback(const char *address)
{
    union endpoint endpoint;
    socklen_t len;
    if (parse(address, &endpoint, &len) != ERR_OK)
        return false;
    if (endpoint.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&endpoint.v6.sin6_addr);
    return ntohl(endpoint.v4.sin_addr.s_addr) >> 24 == 127;
}

static int describe(int fd, char *out, size_t size)
{
    union endpoint endpoint = {.v6 = {0}};
    socklen_t len = sizeof(endpoint);
    char host[INET6_ADDRSTRLEN];
    if (getsockname(fd, &endpoint.any, &len) != 0)
        return ERR_IO;
    bool v6 = endpoint.any.sa_family == AF_INET6;
    const void *from = v6 ? (const void *)&endpoint.v6.sin6_addr : (const void *)&endpoint.v4.sin_addr;
    if (inet_ntop(endpoint.any.sa_family, from, host, sizeof(host)) == NULL)
        return ERR_IO;
    unsigned port = ntohs(v6 ? endpoint.v6.sin6_port : endpoint.v4.sin_port);
    int need = snprintf(out, size, v6 ? "[%s]:%u" : "%s:%u", host, port);
    return need >= 0 && (size_t)need < size ? ERR_OK : ERR_RANGE;
}

int net_listen(const char *address, int backlog, int *fd, char *bound, unsigned bound_size)
{
    union endpoint endpoint;
    socklen_t len;
    const int on = 1;
    int err = parse(address, &endpoint, &len);
    if (err != ERR_OK)
        return err;
    int sock = socket(endpoint.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return err_from_errno(errno);
    if (setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 || bind(sock, &endpoint.any, len) != 0 ||
        listen(sock, backlog) != 0)
        err = err_from_errno(errno);
    else
        err = describe(sock, bound, bound_size);
    if (err != ERR_OK) {
        int saved = errno;
        close(sock);
        errno = saved;
        return err;
    }
    *fd = sock;
    return ERR_OK;
}

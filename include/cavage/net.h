/* SPDX-License-Identifier: MIT */
/* Listening addresses: "127.0.0.1:8080", "[::1]:8080", "localhost:8080". Host names are never looked up. */
#ifndef CAVAGE_NET_H
#define CAVAGE_NET_H

#include <stdbool.h>

/* ERR_INVALID unless the text is a listening address: a numeric host or "localhost", a colon, a port of 0..65535. */
int net_check(const char *address);

/* ERR_INVALID unless the text is a DNS name (letters, digits, hyphens and dots, at most 253), a colon, and a port of 1..65535. */
int net_name_check(const char *name_port);
/* True when the host part of a listening address means all addresses of this host. */
bool net_is_wildcard(const char *address);

/* Bind and listen on "host:port" or "[v6]:port"; *fd is non-blocking and close-on-exec; bound gets "host:port" as bound (size >= 64).
 * ERR_INVALID for a malformed address, ERR_EXISTS when the port is taken, ERR_DENIED when the port is privileged, ERR_IO. */
int net_listen(const char *address, int backlog, int *fd, char *bound, unsigned bound_size);

/* True when the host part of "host:port" is a loopback address. False for what is malformed. */
bool net_is_loopback(const char *address);

#endif

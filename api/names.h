/* SPDX-License-Identifier: MIT */
/* Endpoints behind DNS names: looked up again and again by a thread of its own, so that nothing else ever waits for DNS. */
#ifndef CAVAGE_API_NAMES_H
#define CAVAGE_API_NAMES_H

#include "cavage/loop.h"

#include <stddef.h>
#include <stdint.h>

enum {
    NAMES_ADDRESSES_MAX =
        256, /* that are told of one name; those that it had before are among them, then the first in order */
    NAMES_FOUND_MAX = 8192, /* more than answers of 64 KiB for A and AAAA can hold */
    NAMES_ADDRESS_SIZE = 64,
    NAMES_HOST_SIZE = 254
};

/* The numeric addresses of a host, "10.0.0.1", "fd00::1", in any order, and more than once if need be. */
struct names_found {
    size_t count;
    char of[NAMES_FOUND_MAX][NAMES_ADDRESS_SIZE];
};

/* Find the addresses of a host: of one family, AF_INET or AF_INET6, or of both, AF_UNSPEC. None is an answer too; on any error those that were known stay.
 * May block. */
typedef int (*names_lookup_fn)(void *arg, const char *host, int family, struct names_found *out);
/* The system's resolver. ERR_IO: no answer; ERR_NOMEM. */
int names_lookup(void *arg, const char *host, int family, struct names_found *out);

struct names_config {
    struct loop *loop;
    int64_t interval_us; /* between two look-ups of a name */
    names_lookup_fn lookup;
    /* On the loop: some name has other addresses than before. */
    void (*changed)(void *arg);
    void *arg;
};

struct names;

int names_new(const struct names_config *config, struct names **out);
/* Add "tcp://NAME:PORT", before the start. ERR_INVALID, ERR_NOMEM. */
int names_add(struct names *n, const char *endpoint);
/* Look up all at once, then every interval. */
int names_start(struct names *n);
/* Does not wait for a look-up that is under way; `changed` is not called any more. The loop's thread only; before or after loop_run. */
void names_stop(struct names *n);

/* Call told(arg, "tcp://ADDRESS:PORT") for each address that is known. The loop's thread. */
void names_each(struct names *n, void (*told)(void *arg, const char *endpoint), void *arg);

#endif

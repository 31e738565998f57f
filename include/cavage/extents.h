/* SPDX-License-Identifier: MIT */
/* The staging arena: memory reserved at start, cut in extents, reused last-in first-out, counted as bytes arrive. Other processes can be given it
 * to read. */
#ifndef CAVAGE_EXTENTS_H
#define CAVAGE_EXTENTS_H

#include <stddef.h>
#include <stdint.h>

struct extents;

/* One staged body: a chain of extents. All zero but for customer is an empty one. Set customer before the first append and leave it. */
struct staged {
    uint32_t first; /* index + 1 of the first extent; 0: none */
    uint32_t last;
    size_t bytes; /* arrived so far */
    uint64_t customer;
};

struct extents_config {
    size_t budget_bytes;       /* of all bodies; rounded down to whole extents */
    size_t extent_bytes;       /* a power of two, at least 4,096 */
    unsigned customer_percent; /* one customer's share of the budget, 1 .. 100; at least one extent */
};

/* Reserve the address space (not the memory: pages come as they are used, and stay; the kernel counts them as shared memory). ERR_NOMEM, ERR_RANGE. */
int extents_new(const struct extents_config *config, struct extents **out);
/* All bodies were released before. */
void extents_free(struct extents *e);

/* Append bytes to a body, all of them or none. ERR_RANGE: this customer's share is used up; else ERR_FULL: the budget is. Both are judged by
 * the whole extents that are held, since those are the memory. What was staged before stays until staged_release. Different bodies may be
 * appended to and released by different threads at once; one body belongs to one thread at a time. */
int staged_append(struct extents *e, struct staged *s, const void *data, size_t len);
/* Copy the whole body into out of s->bytes bytes. */
void staged_copy(const struct extents *e, const struct staged *s, void *out);
/* Call fn with each piece in order. */
void staged_each(const struct extents *e, const struct staged *s, void (*fn)(void *arg, const void *data, size_t len),
                 void *arg);
/* The first piece: the body's beginning, up to one extent of it. NULL and 0 for an empty body. */
const void *staged_head(const struct extents *e, const struct staged *s, size_t *len);
/* The numbers of the extents that hold the body, in order: number n begins n * extents_each_bytes() into the memory, and all but the last are full. ERR_RANGE:
 * more than max. */
int staged_numbers(const struct extents *e, const struct staged *s, uint32_t *out, size_t max, size_t *count);
/* Wipe and give back. The body is empty afterwards; releasing an empty one does nothing. */
void staged_release(struct extents *e, struct staged *s);

/* The memory, as a memfd of extents_count() * extents_each_bytes() bytes, which stays e's. It is sealed: its size is fixed, and whoever else gets it can map it
 * for reading only. */
int extents_fd(const struct extents *e);
size_t extents_each_bytes(const struct extents *e);
uint32_t extents_count(const struct extents *e);

/* Would len more bytes of this customer, in a body of their own, fit now? ERR_FULL, ERR_RANGE; nothing is reserved. */
int extents_check(struct extents *e, uint64_t customer, size_t len);
/* The longest body that a customer without any other could stage. */
size_t extents_customer_bytes(const struct extents *e);
/* Bytes of all bodies that are staged now. */
size_t extents_used_bytes(const struct extents *e);

#endif

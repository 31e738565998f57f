/* SPDX-License-Identifier: MIT */
/* A binary heap of timers, the earliest first; unarmed ones rest in it at HEAP_NEVER, so that arming needs no memory. */
#ifndef CAVAGE_LOOP_HEAP_H
#define CAVAGE_LOOP_HEAP_H

#include <stddef.h>
#include <stdint.h>

#define HEAP_NEVER INT64_MAX

/* A member; embedded in what is ordered. */
struct heap_item {
    int64_t key;
    size_t slot; /* its place in slots */
};

/* All zero is an empty heap. No item's key is greater than those of the items at 2 * slot + 1 and 2 * slot + 2. */
struct heap {
    struct heap_item **slots;
    size_t count;
    size_t capacity;
};

void heap_close(struct heap *heap);
/* Take item in with the key HEAP_NEVER. It is not owned. ERR_NOMEM. */
int heap_add(struct heap *heap, struct heap_item *item);
void heap_set(struct heap *heap, struct heap_item *item, int64_t key);
void heap_remove(struct heap *heap, struct heap_item *item);
/* The item of the least key; NULL when the heap is empty. */
struct heap_item *heap_first(const struct heap *heap);

#endif

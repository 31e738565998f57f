/* SPDX-License-Identifier: MIT */
/* The binary heap under the loop's timers. */
#include "loop_heap.h"

#include "cavage/err.h"

#include <stdlib.h>

void heap_close(struct heap *heap)
{
    free(heap->slots);
    *heap = (struct heap){0};
}

static void place(struct heap *heap, struct heap_item *item, size_t slot)
{
    heap->slots[slot] = item;
    item->slot = slot;
}

static void rise(struct heap *heap, struct heap_item *item)
{
    size_t slot = item->slot;
    while (slot > 0 && heap->slots[(slot - 1) / 2]->key > item->key) {
        place(heap, heap->slots[(slot - 1) / 2], slot);
        slot = (slot - 1) / 2;
    }
    place(heap, item, slot);
}

static void sink(struct heap *heap, struct heap_item *item)
{
    size_t slot = item->slot;
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child + 1 < heap->count && heap->slots[child + 1]->key < heap->slots[child]->key)
            child++;
        if (child >= heap->count || heap->slots[child]->key >= item->key)
            break;
        place(heap, heap->slots[child], slot);
        slot = child;
    }
    place(heap, item, slot);
}

static int grow(struct heap *heap)
{
    size_t capacity = heap->capacity == 0 ? 16 : 2 * heap->capacity;
    struct heap_item **slots = reallocarray(heap->slots, capacity, sizeof(struct heap_item *));
    if (slots == NULL)
        return ERR_NOMEM;
    heap->slots = slots;
    heap->capacity = capacity;
    return ERR_OK;
}

int heap_add(struct heap *heap, struct heap_item *item)
{
    if (heap->count == heap->capacity && grow(heap) != ERR_OK)
        return ERR_NOMEM;
    /* Nothing is later than never: the last place is the right one. */
    item->key = HEAP_NEVER;
    place(heap, item, heap->count);
    heap->count++;
    return ERR_OK;
}

void heap_set(struct heap *heap, struct heap_item *item, int64_t key)
{
    int64_t old = item->key;
    item->key = key;
    if (key < old)
        rise(heap, item);
    else if (key > old)
        sink(heap, item);
}

void heap_remove(struct heap *heap, struct heap_item *item)
{
    struct heap_item *last = heap->slots[--heap->count];
    if (last == item)
        return;
    place(heap, last, item->slot);
    rise(heap, last);
    sink(heap, last);
}

struct heap_item *heap_first(const struct heap *heap)
{
    return heap->count == 0 ? NULL : heap->slots[0];
}

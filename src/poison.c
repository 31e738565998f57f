/* SPDX-License-Identifier: MIT */
/* A short array that is searched from end to end: it is empty nearly always, and then nobody asks. */
#include "cavage/poison.h"

#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint8_t digest[POISON_DIGEST_BYTES];
    int64_t until_us;
};

struct poison {
    int64_t keep_us;
    size_t max;
    size_t count;
    struct entry entries[];
};

int poison_new(size_t entries, int64_t keep_us, struct poison **out)
{
    *out = NULL;
    if (entries == 0 || entries > POISON_ENTRIES_MAX || keep_us <= 0)
        return ERR_RANGE;
    struct poison *p = calloc(1, sizeof(*p) + entries * sizeof(p->entries[0]));
    if (!p)
        return ERR_NOMEM;
    p->keep_us = keep_us;
    p->max = entries;
    *out = p;
    return 0;
}

void poison_free(struct poison *p)
{
    free(p);
}

static size_t find(const struct poison *p, const uint8_t digest[POISON_DIGEST_BYTES])
{
    size_t i = 0;
    while (i < p->count && memcmp(p->entries[i].digest, digest, POISON_DIGEST_BYTES) != 0)
        i++;
    return i;
}

static size_t find_oldest(const struct poison *p)
{
    size_t oldest = 0;
    for (size_t i = 1; i < p->count; i++)
        if (p->entries[i].until_us < p->entries[oldest].until_us)
            oldest = i;
    return oldest;
}

void poison_add(struct poison *p, int64_t now_us, const uint8_t digest[POISON_DIGEST_BYTES])
{
    size_t i = find(p, digest);
    if (i == p->count)
        i = p->count < p->max ? p->count++ : find_oldest(p);
    memcpy(p->entries[i].digest, digest, POISON_DIGEST_BYTES);
    p->entries[i].until_us = now_us + p->keep_us;
}

bool poison_has(const struct poison *p, int64_t now_us, const uint8_t digest[POISON_DIGEST_BYTES])
{
    size_t i = find(p, digest);
    return i < p->count && now_us < p->entries[i].until_us;
}

size_t poison_count(struct poison *p, int64_t now_us)
{
    for (size_t i = p->count; i-- > 0;)
        if (now_us >= p->entries[i].until_us)
            p->entries[i] = p->entries[--p->count];
    return p->count;
}

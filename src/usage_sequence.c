/* SPDX-License-Identifier: MIT */
/* Watermarks of usage batches in a hash table that only grows, with the digests of the latest batches of each epoch. */
#include "cavage/usage_sequence.h"

#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 64, RECENT = 8 };

struct recent {
    uint64_t sequence;
    uint8_t digest[WIRE_DIGEST_BYTES];
};

struct mark {
    struct id producer;
    uint64_t epoch;
    uint64_t sequence;
    bool used;
    struct recent *recent; /* RECENT of them, by sequence; NULL until one is known */
};

struct usage_sequence {
    struct mark *slots; /* a power of two; at most half are used */
    size_t slot_count, used;
};

int usage_sequence_new(struct usage_sequence **out)
{
    struct usage_sequence *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->slot_count = FIRST_SLOTS;
    s->slots = calloc(s->slot_count, sizeof *s->slots);
    if (!s->slots) {
        free(s);
        return ERR_NOMEM;
    }
    *out = s;
    return ERR_OK;
}

void usage_sequence_free(struct usage_sequence *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->slot_count; i++)
        free(s->slots[i].recent);
    free(s->slots);
    free(s);
}

/* Producers are random, so their first bytes spread well; epochs of one producer are mixed in by a multiplication. */
static size_t slot_of(const struct id *producer, uint64_t epoch, size_t slot_count)
{
    uint64_t h;
    memcpy(&h, producer->bytes, sizeof h);
    h = (h ^ epoch) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h >> 32) & (slot_count - 1);
}

/* The mark of an epoch, or the free slot where it would go. */
static struct mark *find(struct mark *slots, size_t slot_count, const struct id *producer, uint64_t epoch)
{
    size_t i = slot_of(producer, epoch, slot_count);
    while (slots[i].used && (slots[i].epoch != epoch || !id_equal(&slots[i].producer, producer)))
        i = (i + 1) & (slot_count - 1);
    return &slots[i];
}

static const struct mark *lookup(const struct usage_sequence *s, const struct id *producer, uint64_t epoch)
{
    const struct mark *mark = find(s->slots, s->slot_count, producer, epoch);
    return mark->used ? mark : NULL;
}

static int grow(struct usage_sequence *s)
{
    size_t count = s->slot_count * 2;
    struct mark *slots = calloc(count, sizeof *slots);
    if (!slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->slot_count; i++)
        if (s->slots[i].used)
            *find(slots, count, &s->slots[i].producer, s->slots[i].epoch) = s->slots[i];
    free(s->slots);
    s->slots = slots;
    s->slot_count = count;
    return ERR_OK;
}

static const struct recent *recent_get(const struct mark *mark, uint64_t sequence)
{
    if (!mark->recent || mark->recent[sequence % RECENT].sequence != sequence)
        return NULL;
    return &mark->recent[sequence % RECENT];
}

uint64_t usage_sequence_get(const struct usage_sequence *s, const struct id *producer, uint64_t epoch)
{
    const struct mark *mark = lookup(s, producer, epoch);
    return mark ? mark->sequence : 0;
}

/* Whether the batch says that an epoch before it ended later than anything we have. */
static bool lost_tail(const struct usage_sequence *s, const struct wire_usage *m)
{
    return m->sequence == 1 && m->previous_epoch != 0 &&
           usage_sequence_get(s, &m->producer, m->previous_epoch) < m->previous_sequence;
}

enum usage_verdict usage_sequence_judge(const struct usage_sequence *s, const struct wire_usage *m, uint64_t *expected)
{
    const struct mark *mark = lookup(s, &m->producer, m->epoch);
    uint64_t watermark = mark ? mark->sequence : 0;

    *expected = watermark + 1;
    if (m->sequence == 0)
        return USAGE_EXPECT;
    if (m->sequence <= watermark) {
        const struct recent *recent = recent_get(mark, m->sequence);
        bool differs = recent && memcmp(recent->digest, m->digest, sizeof m->digest) != 0;
        return differs ? USAGE_CONFLICT : USAGE_DUPLICATE;
    }
    if (m->sequence == *expected)
        return lost_tail(s, m) ? USAGE_TAKE_GAP : USAGE_TAKE;
    return m->gap ? USAGE_TAKE_GAP : USAGE_EXPECT;
}

int usage_sequence_restore(struct usage_sequence *s, const struct id *producer, uint64_t epoch, uint64_t sequence,
                           const uint8_t *digest)
{
    if ((s->used + 1) * 2 > s->slot_count) {
        int err = grow(s);
        if (err)
            return err;
    }
    struct mark *mark = find(s->slots, s->slot_count, producer, epoch);
    if (digest && !mark->recent) {
        mark->recent = calloc(RECENT, sizeof *mark->recent);
        if (!mark->recent)
            return ERR_NOMEM;
    }
    if (!mark->used) {
        mark->used = true;
        mark->producer = *producer;
        mark->epoch = epoch;
        s->used++;
    }
    if (sequence > mark->sequence)
        mark->sequence = sequence;
    struct recent *recent = digest ? &mark->recent[sequence % RECENT] : NULL;
    if (recent && sequence >= recent->sequence) {
        recent->sequence = sequence;
        memcpy(recent->digest, digest, sizeof recent->digest);
    }
    return ERR_OK;
}

int usage_sequence_taken(struct usage_sequence *s, const struct wire_usage *m)
{
    return usage_sequence_restore(s, &m->producer, m->epoch, m->sequence, m->digest);
}

int usage_sequence_each(const struct usage_sequence *s, usage_sequence_fn fn, void *arg)
{
    for (size_t i = 0; i < s->slot_count; i++) {
        const struct mark *mark = &s->slots[i];
        if (!mark->used)
            continue;
        const struct recent *recent = recent_get(mark, mark->sequence);
        int err = fn(arg, &mark->producer, mark->epoch, mark->sequence, recent ? recent->digest : NULL);
        if (err)
            return err;
    }
    return ERR_OK;
}

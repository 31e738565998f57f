/* SPDX-License-Identifier: MIT */
/* Loans in a list for each reader, and the bodies they are of in a table by job. */
#include "cavage/lending.h"

#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>

/* A body that at least one loan is of; or that is kept, has none any more, and waits for lending_next. */
struct lent {
    uint64_t job;
    size_t loans;
    struct staged kept; /* empty: it is still the request's */
    struct lent *next;  /* in the bucket, among those that are over, or among the free */
};

struct loan {
    uint32_t link;
    uint64_t sequence;
    struct lent *of;
    struct loan *next; /* of the reader, or among the free */
};

struct reader {
    struct id boot; /* zero: free */
    bool suspended;
    size_t count;
    struct loan *loans;
};

struct lending {
    struct id boot;
    size_t readers_max, readers_end; /* used ones are below the end */
    struct reader *readers;
    struct loan *loans, *free_loans;
    struct lent *lent, *free_lent; /* as many as there are loans */
    struct lent **buckets;
    size_t bucket_mask;
    struct lent *over;
    struct lending_stats stats;
};

int lending_new(const struct id *api_boot, size_t readers_max, size_t loans_max, struct lending **out)
{
    size_t buckets = 1;
    if (readers_max == 0 || loans_max == 0 || loans_max > UINT32_MAX || id_is_zero(api_boot))
        return ERR_RANGE;
    while (buckets < loans_max)
        buckets *= 2;
    struct lending *l = calloc(1, sizeof(*l));
    if (!l)
        return ERR_NOMEM;
    l->boot = *api_boot;
    l->readers_max = readers_max;
    l->bucket_mask = buckets - 1;
    l->readers = calloc(readers_max, sizeof(l->readers[0]));
    l->loans = calloc(loans_max, sizeof(l->loans[0]));
    l->lent = calloc(loans_max, sizeof(l->lent[0]));
    l->buckets = calloc(buckets, sizeof(struct lent *));
    if (!l->readers || !l->loans || !l->lent || !l->buckets) {
        lending_free(l);
        return ERR_NOMEM;
    }
    /* The first ones first, so that little memory is touched. */
    for (size_t i = loans_max; i-- > 0;) {
        l->loans[i].next = l->free_loans;
        l->free_loans = &l->loans[i];
        l->lent[i].next = l->free_lent;
        l->free_lent = &l->lent[i];
    }
    *out = l;
    return ERR_OK;
}

void lending_free(struct lending *l)
{
    if (!l)
        return;
    free(l->readers);
    free(l->loans);
    free(l->lent);
    free(l->buckets);
    free(l);
}

/* ---- Bodies ---- */

static struct lent **place_of(struct lending *l, uint64_t job)
{
    uint64_t h = job * UINT64_C(0x9e3779b97f4a7c15);
    struct lent **at = &l->buckets[(h ^ h >> 32) & l->bucket_mask];
    while (*at && (*at)->job != job)
        at = &(*at)->next;
    return at;
}

static void lent_free(struct lending *l, struct lent *b)
{
    *b = (struct lent){.next = l->free_lent};
    l->free_lent = b;
}

/* One loan less. After the last the request has its body back, or the caller gets it. */
static void lent_return(struct lending *l, struct lent *b)
{
    if (--b->loans > 0)
        return;
    struct lent **at = place_of(l, b->job);
    *at = b->next;
    if (b->kept.first == 0) {
        lent_free(l, b);
        return;
    }
    b->next = l->over;
    l->over = b;
}

/* ---- Readers and their loans ---- */

static struct reader *reader_of(struct lending *l, const struct id *boot)
{
    for (size_t i = 0; i < l->readers_end && !id_is_zero(boot); i++)
        if (id_equal(&l->readers[i].boot, boot))
            return &l->readers[i];
    return NULL;
}

/* End the loan of the reader that *at points to; the next one is there then. */
static void loan_end(struct lending *l, struct reader *r, struct loan **at)
{
    struct loan *loan = *at;
    *at = loan->next;
    r->count--;
    lent_return(l, loan->of);
    *loan = (struct loan){.next = l->free_loans};
    l->free_loans = loan;
    l->stats.loans--;
}

int lending_join(struct lending *l, const struct id *worker_boot)
{
    size_t i = 0;
    if (id_is_zero(worker_boot))
        return ERR_RANGE;
    if (reader_of(l, worker_boot))
        return ERR_EXISTS;
    while (i < l->readers_end && !id_is_zero(&l->readers[i].boot))
        i++;
    if (i == l->readers_max)
        return ERR_FULL;
    if (i == l->readers_end)
        l->readers_end++;
    l->readers[i] = (struct reader){.boot = *worker_boot};
    l->stats.readers++;
    return ERR_OK;
}

void lending_suspend(struct lending *l, const struct id *worker_boot)
{
    struct reader *r = reader_of(l, worker_boot);
    if (r)
        r->suspended = true;
}

void lending_leave(struct lending *l, const struct id *worker_boot)
{
    struct reader *r = reader_of(l, worker_boot);
    if (!r)
        return;
    while (r->loans)
        loan_end(l, r, &r->loans);
    *r = (struct reader){0};
    l->stats.readers--;
}

int lending_lend(struct lending *l, const struct id *worker_boot, uint32_t link, uint64_t sequence, uint64_t job)
{
    struct reader *r = reader_of(l, worker_boot);
    if (!r || r->suspended)
        return ERR_NOTFOUND;
    struct lent **at = place_of(l, job);
    if (r->count == WIRE_HELD_MAX || !l->free_loans || (!*at && !l->free_lent))
        return ERR_FULL;
    struct lent *b = *at;
    if (!b) {
        b = l->free_lent;
        l->free_lent = b->next;
        *b = (struct lent){.job = job};
        *at = b;
    }
    b->loans++;
    struct loan *loan = l->free_loans;
    l->free_loans = loan->next;
    *loan = (struct loan){.link = link, .sequence = sequence, .of = b, .next = r->loans};
    r->loans = loan;
    r->count++;
    l->stats.loans++;
    return ERR_OK;
}

void lending_take_back(struct lending *l, const struct id *worker_boot, uint32_t link, uint64_t sequence)
{
    struct reader *r = reader_of(l, worker_boot);
    if (!r)
        return;
    /* The newest of that sequence: a number that was not used is given out again. */
    for (struct loan **at = &r->loans; *at; at = &(*at)->next) {
        if ((*at)->link == link && (*at)->sequence == sequence) {
            loan_end(l, r, at);
            return;
        }
    }
}

static bool is_held(const struct wire_status *m, uint64_t sequence)
{
    size_t low = 0, high = m->held_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->held[middle] < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->held_count && m->held[low] == sequence;
}

static bool held_ascends(const struct wire_status *m)
{
    for (size_t i = 1; i < m->held_count; i++)
        if (m->held[i - 1] >= m->held[i])
            return false;
    return true;
}

void lending_hear(struct lending *l, const struct wire_status *m)
{
    struct reader *r = reader_of(l, &m->worker_boot);
    if (!r || !r->loans || !id_equal(&m->api_boot, &l->boot) || !held_ascends(m))
        return;
    for (struct loan **at = &r->loans; *at;) {
        const struct loan *loan = *at;
        if (loan->link == m->link && loan->sequence <= m->seen && !is_held(m, loan->sequence))
            loan_end(l, r, at);
        else
            at = &(*at)->next;
    }
}

/* ---- Ends ---- */

bool lending_keep(struct lending *l, uint64_t job, struct staged *body)
{
    struct lent *b = *place_of(l, job);
    if (!b || body->first == 0)
        return false;
    b->kept = *body;
    l->stats.kept_bytes += body->bytes;
    body->first = body->last = 0;
    body->bytes = 0;
    return true;
}

bool lending_next(struct lending *l, struct staged *body)
{
    struct lent *b = l->over;
    if (!b)
        return false;
    l->over = b->next;
    *body = b->kept;
    l->stats.kept_bytes -= body->bytes;
    lent_free(l, b);
    return true;
}

void lending_stats(const struct lending *l, struct lending_stats *out)
{
    *out = l->stats;
}

/* SPDX-License-Identifier: MIT */
/* The table of jobs by id, and the heap of their deadlines. */
#include "cavage/err.h"

#include <limits.h>
#include <stdlib.h>

#include "dispatch_parts.h"

int job_table_new(struct job_table *table, size_t max)
{
    size_t buckets = 1;

    if (max == 0 || max > INT_MAX / 2)
        return ERR_RANGE;
    while (buckets < max)
        buckets *= 2;
    *table = (struct job_table){.max = max, .bucket_mask = buckets - 1};
    table->jobs = calloc(max, sizeof table->jobs[0]);
    table->buckets = calloc(buckets, sizeof(struct job *));
    table->heap = calloc(max, sizeof(struct job *));
    if (!table->jobs || !table->buckets || !table->heap) {
        job_table_free(table);
        return ERR_NOMEM;
    }
    /* The lowest first, so that a quiet API touches little memory. */
    for (size_t i = max; i > 0; i--) {
        table->jobs[i - 1].chain = table->free;
        table->free = &table->jobs[i - 1];
    }
    return ERR_OK;
}

void job_table_free(struct job_table *table)
{
    free(table->jobs);
    free(table->buckets);
    free(table->heap);
    *table = (struct job_table){0};
}

static struct job **bucket_of(const struct job_table *table, uint64_t id)
{
    uint64_t h = id * 0x9e3779b97f4a7c15u;
    return &table->buckets[(h ^ h >> 32) & table->bucket_mask];
}

static void heap_put(struct job_table *table, size_t i, struct job *job)
{
    table->heap[i] = job;
    job->heap_index = (int)i;
}

static void heap_up(struct job_table *table, size_t i, struct job *job)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (table->heap[parent]->deadline_us <= job->deadline_us)
            break;
        heap_put(table, i, table->heap[parent]);
        i = parent;
    }
    heap_put(table, i, job);
}

static void heap_down(struct job_table *table, size_t i, struct job *job)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= table->heap_count)
            break;
        if (child + 1 < table->heap_count && table->heap[child + 1]->deadline_us < table->heap[child]->deadline_us)
            child++;
        if (job->deadline_us <= table->heap[child]->deadline_us)
            break;
        heap_put(table, i, table->heap[child]);
        i = child;
    }
    heap_put(table, i, job);
}

struct job *job_table_add(struct job_table *table, const struct dispatch_job *job)
{
    struct job *j = table->free;
    struct job **bucket = bucket_of(table, job->id);

    if (!j)
        return NULL;
    table->free = j->chain;
    *j = (struct job){.id = job->id,
                      .deadline_us = job->deadline_us,
                      .entry = {.customer = job->customer, .lane = job->lane, .cost_us = job->cost_us},
                      .state = JOB_QUEUED,
                      .chain = *bucket};
    *bucket = j;
    table->count++;
    heap_up(table, table->heap_count++, j);
    return j;
}

struct job *job_table_find(const struct job_table *table, uint64_t id)
{
    struct job *job = *bucket_of(table, id);
    while (job && job->id != id)
        job = job->chain;
    return job;
}

void job_table_unwatch(struct job_table *table, struct job *job)
{
    if (job->heap_index == NO_HEAP_INDEX)
        return;
    size_t i = (size_t)job->heap_index;
    struct job *last = table->heap[--table->heap_count];
    job->heap_index = NO_HEAP_INDEX;
    if (last == job)
        return;
    if (i > 0 && last->deadline_us < table->heap[(i - 1) / 2]->deadline_us)
        heap_up(table, i, last);
    else
        heap_down(table, i, last);
}

void job_table_remove(struct job_table *table, struct job *job)
{
    struct job **at = bucket_of(table, job->id);

    job_table_unwatch(table, job);
    while (*at != job)
        at = &(*at)->chain;
    *at = job->chain;
    job->chain = table->free;
    table->free = job;
    table->count--;
}

struct job *job_table_earliest(const struct job_table *table)
{
    return table->heap_count > 0 ? table->heap[0] : NULL;
}

void job_list_append(struct job_list *list, struct job *job)
{
    job->next = NULL;
    job->prev = list->last;
    if (list->last)
        list->last->next = job;
    else
        list->first = job;
    list->last = job;
}

void job_list_insert(struct job_list *list, struct job *job)
{
    struct job *before = list->last;

    while (before && before->current.sequence > job->current.sequence)
        before = before->prev;
    job->prev = before;
    job->next = before ? before->next : list->first;
    if (job->next)
        job->next->prev = job;
    else
        list->last = job;
    if (before)
        before->next = job;
    else
        list->first = job;
}

void job_list_remove(struct job_list *list, struct job *job)
{
    if (job->prev)
        job->prev->next = job->next;
    else
        list->first = job->next;
    if (job->next)
        job->next->prev = job->prev;
    else
        list->last = job->prev;
    job->prev = job->next = NULL;
}

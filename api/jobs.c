/* SPDX-License-Identifier: MIT */
/* A job number is a slot and the count of times that slots were given out. */
#include "jobs.h"

#include "cavage/err.h"

#include <stdlib.h>

struct slot {
    uint64_t job; /* 0: free */
    struct request *request;
};

struct jobs {
    size_t capacity; /* a power of two */
    struct slot *slots;
    uint32_t *free;
    size_t free_count;
    uint64_t given;
};

int jobs_new(size_t max, struct jobs **out)
{
    if (max == 0 || max > UINT32_MAX / 2)
        return ERR_RANGE;
    struct jobs *jobs = calloc(1, sizeof(*jobs));
    if (!jobs)
        return ERR_NOMEM;
    for (jobs->capacity = 1; jobs->capacity < max; jobs->capacity <<= 1) {
    }
    jobs->slots = calloc(jobs->capacity, sizeof(*jobs->slots));
    jobs->free = calloc(jobs->capacity, sizeof(*jobs->free));
    if (!jobs->slots || !jobs->free) {
        jobs_free(jobs);
        return ERR_NOMEM;
    }
    for (size_t i = jobs->capacity; i-- > 0;)
        jobs->free[jobs->free_count++] = (uint32_t)i;
    *out = jobs;
    return 0;
}

void jobs_free(struct jobs *jobs)
{
    if (!jobs)
        return;
    free(jobs->slots);
    free(jobs->free);
    free(jobs);
}

static struct slot *slot_of(const struct jobs *jobs, uint64_t job)
{
    return &jobs->slots[job & (jobs->capacity - 1)];
}

uint64_t jobs_add(struct jobs *jobs, struct request *r)
{
    if (jobs->free_count == 0)
        return 0;
    uint32_t index = jobs->free[--jobs->free_count];
    struct slot *slot = &jobs->slots[index];
    slot->job = ++jobs->given * jobs->capacity + index;
    slot->request = r;
    return slot->job;
}

struct request *jobs_find(const struct jobs *jobs, uint64_t job)
{
    struct slot *slot = slot_of(jobs, job);
    return job != 0 && slot->job == job ? slot->request : NULL;
}

void jobs_remove(struct jobs *jobs, uint64_t job)
{
    struct slot *slot = slot_of(jobs, job);
    if (job == 0 || slot->job != job)
        return;
    jobs->free[jobs->free_count++] = (uint32_t)(slot - jobs->slots);
    *slot = (struct slot){0};
}

void jobs_each(struct jobs *jobs, void (*fn)(void *arg, struct request *r), void *arg)
{
    for (size_t i = 0; i < jobs->capacity; i++)
        if (jobs->slots[i].job != 0)
            fn(arg, jobs->slots[i].request);
}

/* SPDX-License-Identifier: MIT */
/* Job numbers for requests: unique while the process lives, and found without a search. */
#ifndef CAVAGE_API_JOBS_H
#define CAVAGE_API_JOBS_H

#include <stddef.h>
#include <stdint.h>

struct request;
struct jobs;

int jobs_new(size_t max, struct jobs **out);
void jobs_free(struct jobs *jobs);
/* A number, never 0 and never used before, that stands for the request; 0 when max are out. */
uint64_t jobs_add(struct jobs *jobs, struct request *r);
/* NULL: it was removed, or never was. */
struct request *jobs_find(const struct jobs *jobs, uint64_t job);
void jobs_remove(struct jobs *jobs, uint64_t job);
/* Call fn for each; it may remove that one. */
void jobs_each(struct jobs *jobs, void (*fn)(void *arg, struct request *r), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/* What the parts of the region share: its jobs, its events, and the way a policy is plugged in. */
#ifndef CAVAGE_SCALE_PARTS_H
#define CAVAGE_SCALE_PARTS_H

#include "region.h"

enum event_kind {
    EVENT_ARRIVAL, /* the next new request */
    EVENT_AGAIN,   /* a request that was refused comes again; index: the job */
    EVENT_FAULT,   /* index: of the fault; node: 1 it begins, 0 it ends */
    EVENT_POLICY   /* the policy's own, from here on */
};

struct event {
    int64_t at_us;
    uint64_t order;
    int kind, node;
    uint64_t index;
    void *data;
};

enum booking { BOOKED_NOT, BOOKED_WAITING, BOOKED_SENT };

struct job {
    uint64_t id; /* 0: free; its low bits are the index */
    int64_t arrived_us, sent_us, began_us, service_us;
    int64_t deadline_us;
    int64_t used_us; /* of converters, by attempts that gave no answer */
    uint32_t customer;
    uint8_t kind, tries;
    bool measured, sent;
    enum booking booked;
    int api;
    struct admission_job terms;
    uint32_t next_free;
};

struct region {
    struct region_config config;
    struct region_result *result;
    int64_t now_us;
    struct noise arrivals, services, routes, network;
    struct event *heap;
    size_t heap_count, heap_room;
    uint64_t orders;
    struct job *jobs;
    size_t job_room;
    uint32_t free_job; /* index + 1 */
    uint64_t ids;
    double *zipf; /* cumulated */
    uint32_t *customer_offered, *customer_answered;
    double busy_us; /* of converters, in the measured time */
    const struct policy_ops *ops;
    void *policy;
};

struct policy_ops {
    void *(*start)(struct region *r);
    void (*stop)(struct region *r, void *policy);
    void (*arrive)(struct region *r, struct job *j);
    void (*event)(struct region *r, const struct event *e);
    void (*fault)(struct region *r, const struct fault *fault, bool begins);
};

extern const struct policy_ops policy_ours, policy_plain;

void region_post(struct region *r, int64_t at_us, int kind, int node, uint64_t index, void *data);
/* NULL: it was answered meanwhile. */
struct job *region_job(struct region *r, uint64_t id);
/* The job's last converter began; conversions are counted as they are used. */
void region_used(struct region *r, struct job *j, int64_t from_us, int64_t to_us, bool answers);
void region_answer(struct region *r, struct job *j);
void region_fail(struct region *r, struct job *j, enum refusal why, int64_t retry_us);

#endif

/* SPDX-License-Identifier: MIT */
/* A region of API servers, worker hosts and customers, simulated at its full size: what a request waits, and what becomes of it.
 *
 * Ways to bring jobs to converters stand side by side: ours, which runs libcavage's dispatch, fair queue, admission and credit; one queue for all
 * converters, which no network can have; and nanomsg's own routing, round robin to hosts, or to single cores, that queue for themselves. */
#ifndef CAVAGE_SCALE_REGION_H
#define CAVAGE_SCALE_REGION_H

#include "measure.h"

#include "../sim/noise.h"

#include "cavage/admission.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REGION_APIS_MAX = 8, REGION_WORKERS_MAX = 64, REGION_KINDS_MAX = 4, REGION_FAULTS_MAX = 4, REGION_BINS = 4096 };

enum policy { POLICY_OURS, POLICY_POOLED, POLICY_HOSTS, POLICY_CORES };

/* A kind of image: its part of the requests, and what it takes. */
struct kind {
    double part;
    double mean_us;
    double variation2; /* squared coefficient of variation: 0 constant, 1 exponential */
    enum lane lane;
};

/* KILL ends the processes, and their connections with them; from VANISH on nothing is heard. */
enum fault_kind { FAULT_KILL, FAULT_VANISH, FAULT_PAUSE, FAULT_SLOW };

/* Of `count` hosts from number `first` on, from from_us to to_us. */
struct fault {
    enum fault_kind kind;
    int first, count;
    int64_t from_us, to_us;
    int factor; /* SLOW: conversions take so many times longer */
};

struct region_config {
    uint64_t seed;
    enum policy policy;
    int apis, workers, slots;
    double rate_per_s;
    size_t customers;
    double zipf; /* exponent; 0: all alike */
    struct kind kinds[REGION_KINDS_MAX];
    size_t kind_count;
    struct fault faults[REGION_FAULTS_MAX];
    size_t fault_count;
    double burst; /* from burst_from_us to burst_to_us the rate is so many times higher; 0: never */
    int64_t burst_from_us, burst_to_us;
    double hog; /* one customer more sends so many times the mean customer's rate of the busiest hundred; 0: none */
    bool retries, patient; /* clients try again when refused, up to three times; after Retry-After, or at once */
    bool fifo, no_hedges;
    int64_t network_us;
    int64_t target_us; /* of admission for small images; 0: admission is off */
    int64_t deadline_us;
    int64_t warm_us, end_us; /* measured is what arrives between */
    int64_t bin_us;
};

enum refusal { REFUSED_WAIT, REFUSED_QUEUE, REFUSED_CUSTOMER, FAILED_DEADLINE, FAILED_RETRIES, REFUSALS };

struct bin {
    uint32_t offered, good, refused, failed;
    double wait_us; /* sum, over `answered` */
    uint32_t answered;
};

struct region_result {
    struct measure wait[LANES], latency[LANES];
    struct measure queue;             /* from the arrival to the sending, small ones */
    uint64_t offered, answered, good; /* good: answered within 500 ms */
    uint64_t refused[REFUSALS];
    uint64_t retried_by_clients, requeued, hedged;
    double busy_us, wasted_us; /* of converters: in all, and for what answered nothing */
    double utilization;
    uint64_t hog_offered, hog_answered;
    struct measure others; /* latency of the others, when there is a hog */
    uint64_t others_offered, others_refused;
    double fairness; /* Jain's index of answered / offered over customers with 20 requests and more */
    size_t bins;
    struct bin bin[REGION_BINS];
};

/* Simulate. The result is large: from the heap. */
void region_run(const struct region_config *config, struct region_result *out);

#endif

/* SPDX-License-Identifier: MIT */
/* Runs one scenario with one seed and prints its figures as JSON; or compares the plain case with theory. */
#include "scenarios.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const policy_names[] = {
    [POLICY_OURS] = "ours", [POLICY_POOLED] = "pooled", [POLICY_HOSTS] = "hosts", [POLICY_CORES] = "cores"};
static const char *const refusal_names[REFUSALS] = {[REFUSED_WAIT] = "wait",
                                                    [REFUSED_QUEUE] = "queue",
                                                    [REFUSED_CUSTOMER] = "customer",
                                                    [FAILED_DEADLINE] = "deadline",
                                                    [FAILED_RETRIES] = "retries"};

static void print_measure(const char *name, const struct measure *m)
{
    printf("\"%s\":{\"count\":%" PRIu64 ",\"mean\":%.1f,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%" PRId64 "},",
           name, m->count, measure_mean_us(m), measure_quantile_us(m, 0.5), measure_quantile_us(m, 0.99),
           measure_quantile_us(m, 0.999), m->most_us);
}

static void print_bins(const struct region_config *c, const struct region_result *x)
{
    double seconds = (double)c->bin_us / 1e6;
    printf("\"bin_s\":%g,\"bins\":[", seconds);
    for (size_t i = 0; i < x->bins; i++) {
        const struct bin *b = &x->bin[i];
        printf("%s[%.0f,%.0f,%.0f,%.0f,%.0f]", i ? "," : "", b->offered / seconds, b->good / seconds,
               b->refused / seconds, b->failed / seconds, b->answered ? b->wait_us / b->answered : 0);
    }
    printf("]");
}

static void print_result(const char *scenario, const struct region_config *c, const struct region_result *x)
{
    double seconds = (double)(c->end_us - c->warm_us) / 1e6;
    printf("{\"scenario\":\"%s\",\"policy\":\"%s\",\"seed\":%" PRIu64 ",", scenario, policy_names[c->policy], c->seed);
    print_measure("wait_small", &x->wait[LANE_SMALL]);
    print_measure("wait_large", &x->wait[LANE_LARGE]);
    print_measure("latency_small", &x->latency[LANE_SMALL]);
    print_measure("latency_large", &x->latency[LANE_LARGE]);
    print_measure("queue_small", &x->queue);
    print_measure("others", &x->others);
    printf("\"offered_s\":%.1f,\"answered_s\":%.1f,\"good_s\":%.1f,\"utilization\":%.5f,\"fairness\":%.5f,",
           (double)x->offered / seconds, (double)x->answered / seconds, (double)x->good / seconds, x->utilization,
           x->fairness);
    printf("\"wasted\":%.6f,\"requeued\":%" PRIu64 ",\"hedged\":%" PRIu64 ",\"client_retries\":%" PRIu64
           ",\"refused\":{",
           x->busy_us > 0 ? x->wasted_us / x->busy_us : 0, x->requeued, x->hedged, x->retried_by_clients);
    for (int i = 0; i < REFUSALS; i++)
        printf("%s\"%s\":%" PRIu64, i ? "," : "", refusal_names[i], x->refused[i]);
    printf("},\"offered\":%" PRIu64 ",\"hog_offered\":%" PRIu64 ",\"hog_answered\":%" PRIu64
           ",\"others_offered\":%" PRIu64 ",\"others_refused\":%" PRIu64 ",",
           x->offered, x->hog_offered, x->hog_answered, x->others_offered, x->others_refused);
    print_bins(c, x);
    printf("}\n");
}

/* ---- M/M/k ---- */

/* Chance to wait (Erlang C), by the recursion of Erlang B. */
static double erlang_c(int k, double a)
{
    double b = 1;
    for (int i = 1; i <= k; i++)
        b = a * b / (i + a * b);
    return b / (1 - a / k * (1 - b));
}

static double theory_us(int k, double load, double service_us)
{
    return erlang_c(k, load * k) * service_us / (k * (1 - load));
}

/* The plain case: one API, one worker of k converters, a network without delay, nobody refused. */
static double simulated_us(int k, double load, double seconds, uint64_t seed, bool fifo, struct region_result *x)
{
    const double service_us = 10000;
    struct region_config c = {.seed = seed,
                              .apis = 1,
                              .workers = 1,
                              .slots = k,
                              .rate_per_s = load * k / (service_us / 1e6),
                              .customers = 1000,
                              .zipf = 1,
                              .kinds = {{1, service_us, 1, LANE_SMALL}},
                              .kind_count = 1,
                              .deadline_us = INT64_C(3600) * 1000000,
                              .fifo = fifo,
                              .warm_us = 20 * 1000000,
                              .end_us = 20 * 1000000 + (int64_t)(seconds * 1e6),
                              .bin_us = INT64_C(3600) * 1000000};
    region_run(&c, x);
    return measure_mean_us(&x->wait[LANE_SMALL]);
}

static int compare(double jobs)
{
    static const struct {
        int k;
        double load;
        bool fifo;
    } cases[] = {{1, 0.5, true}, {4, 0.7, true}, {4, 0.7, false}, {16, 0.8, true}, {16, 0.8, false}};
    struct region_result *x = malloc(sizeof *x);
    int failed = 0;
    if (!x)
        return 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double seconds = jobs / (cases[i].load * cases[i].k / 0.01);
        double theory = theory_us(cases[i].k, cases[i].load, 10000);
        double mean = simulated_us(cases[i].k, cases[i].load, seconds, 1, cases[i].fifo, x);
        double off = mean / theory - 1;
        bool bad = fabs(off) > 0.02;
        printf("M/M/%d at %.2f, %s: mean wait %.1f us, Erlang C says %.1f us, %+.2f %%%s\n", cases[i].k, cases[i].load,
               cases[i].fifo ? "fifo" : "fair", mean, theory, 100 * off, bad ? ": more than 2 % off" : "");
        failed += bad;
    }
    free(x);
    return failed ? 1 : 0;
}

/* ---- Command line ---- */

static int usage(FILE *out, int status)
{
    fputs("usage: scale SCENARIO POLICY SEED     figures of one run as JSON; POLICY is ours, pooled, hosts or cores\n"
          "       scale mmk JOBS                 mean waits against Erlang C; fails when more than 2 % off\n"
          "       scale list                     the scenarios\n",
          out);
    return status;
}

int main(int argc, char **argv)
{
    struct region_config c;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (const char *const *name = scenario_names(); *name; name++)
            puts(*name);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "mmk") == 0)
        return compare(strtod(argv[2], NULL));
    if (argc != 4 || !scenario_find(argv[1], &c))
        return usage(stderr, 2);
    for (size_t i = 0; i < sizeof policy_names / sizeof policy_names[0]; i++) {
        struct region_result *x = malloc(sizeof *x);
        if (!x)
            return 1;
        if (strcmp(argv[2], policy_names[i]) == 0) {
            c.policy = (enum policy)i;
            c.seed = strtoull(argv[3], NULL, 10);
            region_run(&c, x);
            print_result(argv[1], &c, x);
            free(x);
            return 0;
        }
        free(x);
    }
    return usage(stderr, 2);
}

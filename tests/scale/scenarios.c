/* SPDX-License-Identifier: MIT */
/* The region of the article, and what may befall it. */
#include "scenarios.h"

#include <string.h>

enum { SECOND = 1000 * 1000, MS = 1000 };

/* The article: 100 ms a conversion, spread as an exponential. All small: the article knows no others. */
static void article(struct region_config *c)
{
    *c = (struct region_config){.apis = 3,
                                .workers = 40,
                                .slots = 32,
                                .rate_per_s = 10000,
                                .customers = 100000,
                                .zipf = 1,
                                .kinds = {{1, 100 * MS, 1, LANE_SMALL}},
                                .kind_count = 1,
                                .network_us = 200,
                                .target_us = 300 * MS,
                                .deadline_us = 10 * SECOND,
                                .warm_us = 5 * SECOND,
                                .end_us = 25 * SECOND,
                                .bin_us = SECOND / 4};
}

/* Measured with libvips 8.18 on one core: a JPEG of 256 KB to 320 and to 800 pixels; and one image in ten of 1 MB and more, at 90 ms. */
static void mix(struct region_config *c)
{
    article(c);
    c->kinds[0] = (struct kind){0.5, 9 * MS, 0.1, LANE_SMALL};
    c->kinds[1] = (struct kind){0.4, 17 * MS, 0.1, LANE_SMALL};
    c->kinds[2] = (struct kind){0.1, 90 * MS, 0.5, LANE_LARGE};
    c->kind_count = 3;
}

/* As many hosts as that needs to be as busy as the article's. */
static void mix_full(struct region_config *c)
{
    mix(c);
    c->workers = 8;
}

static void mix_over(struct region_config *c)
{
    mix_full(c);
    c->rate_per_s = 30000;
    c->warm_us = 15 * SECOND;
    c->end_us = 35 * SECOND;
}

static void at_capacity(struct region_config *c)
{
    article(c);
    c->rate_per_s = 12800;
}

static void at_triple(struct region_config *c)
{
    article(c);
    c->rate_per_s = 3 * 12800;
}

static void add_fault(struct region_config *c, enum fault_kind kind, int count, int64_t from_us, int64_t to_us,
                      int factor)
{
    c->faults[c->fault_count++] =
        (struct fault){.kind = kind, .count = count, .from_us = from_us, .to_us = to_us, .factor = factor};
}

static void lost_hosts(struct region_config *c)
{
    article(c);
    add_fault(c, FAULT_KILL, 8, 10 * SECOND, 20 * SECOND, 0);
    c->end_us = 30 * SECOND;
}

/* As by a switch that fails: their connections do not break, they only fall silent. */
static void cut_off_hosts(struct region_config *c)
{
    article(c);
    add_fault(c, FAULT_VANISH, 8, 10 * SECOND, 20 * SECOND, 0);
    c->end_us = 30 * SECOND;
}

static void slow_host(struct region_config *c)
{
    article(c);
    add_fault(c, FAULT_SLOW, 1, 1 * SECOND, 30 * SECOND, 10);
}

static void paused_host(struct region_config *c)
{
    article(c);
    add_fault(c, FAULT_PAUSE, 1, 10 * SECOND, 15 * SECOND, 0);
}

static void slow_host_unhedged(struct region_config *c)
{
    slow_host(c);
    c->no_hedges = true;
}

static void paused_host_unhedged(struct region_config *c)
{
    paused_host(c);
    c->no_hedges = true;
}

static void burst(struct region_config *c)
{
    article(c);
    c->burst = 10;
    c->burst_from_us = 10 * SECOND;
    c->burst_to_us = 11 * SECOND;
}

static void hog(struct region_config *c)
{
    article(c);
    c->hog = 100;
}

static void storm(struct region_config *c)
{
    article(c);
    add_fault(c, FAULT_KILL, 24, 10 * SECOND, 15 * SECOND, 0);
    c->retries = true;
    c->end_us = 35 * SECOND;
}

static void patient_storm(struct region_config *c)
{
    storm(c);
    c->patient = true;
}

static const struct {
    const char *name;
    void (*make)(struct region_config *c);
} scenarios[] = {
    {"article", article},
    {"mix", mix},
    {"mix-full", mix_full},
    {"mix-over", mix_over},
    {"at-capacity", at_capacity},
    {"at-triple", at_triple},
    {"lost-hosts", lost_hosts},
    {"cut-off-hosts", cut_off_hosts},
    {"slow-host", slow_host},
    {"paused-host", paused_host},
    {"slow-host-unhedged", slow_host_unhedged},
    {"paused-host-unhedged", paused_host_unhedged},
    {"burst", burst},
    {"hog", hog},
    {"storm", storm},
    {"patient-storm", patient_storm},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

bool scenario_find(const char *name, struct region_config *out)
{
    for (size_t i = 0; i < SCENARIOS; i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            scenarios[i].make(out);
            return true;
        }
    }
    return false;
}

const char *const *scenario_names(void)
{
    static const char *names[SCENARIOS + 1];
    for (size_t i = 0; i < SCENARIOS; i++)
        names[i] = scenarios[i].name;
    return names;
}

/* SPDX-License-Identifier: MIT */
/* Tells what a load tool counted: for people, and as JSON. */
#include "cavage/err.h"
#include "load_stats.h"
#include "record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    double percent;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}};

/* At least the time of one request, so that it can be divided by. */
static double measured_s(const struct load_stats *stats)
{
    return stats->measured_us > 1 ? (double)stats->measured_us / 1e6 : 1e-6;
}

enum { PERCENTILES = sizeof(percentiles) / sizeof(percentiles[0]) };

/* Members are added to objects that lack memory as to others; the first failure is remembered. */
struct writer {
    int err;
};

static void keep(struct writer *w, int err)
{
    if (w->err == ERR_OK)
        w->err = err;
}

static struct record *object(struct writer *w)
{
    struct record *o = record_new_object();
    keep(w, o ? ERR_OK : ERR_NOMEM);
    return o;
}

static void put(struct writer *w, struct record *o, const char *name, struct record *member)
{
    keep(w, record_set(o, name, member));
}

static void put_int(struct writer *w, struct record *o, const char *name, uint64_t value)
{
    keep(w, record_set_int(o, name, (int64_t)value));
}

static void put_real(struct writer *w, struct record *o, const char *name, double value)
{
    keep(w, record_set_real(o, name, value));
}

static struct record *times_of(struct writer *w, const struct histogram *h)
{
    struct record *o = object(w);
    put_int(w, o, "count", h->count);
    put_real(w, o, "mean", histogram_mean(h) / 1000);
    for (size_t i = 0; i < PERCENTILES; i++)
        put_real(w, o, percentiles[i].name, (double)histogram_percentile(h, percentiles[i].percent) / 1000);
    put_real(w, o, "max", (double)h->max / 1000);
    return o;
}

static void put_group(struct writer *w, struct record *o, const struct load_group *group)
{
    put_int(w, o, "sent", group->sent);
    put_int(w, o, "ok", group->ok);
    put_int(w, o, "in_time", group->in_time);
    put_int(w, o, "refused", group->refused);
    put_int(w, o, "failed", group->failed);
    put(w, o, "latency_ms", times_of(w, &group->latency));
}

static struct record *counts_of(struct writer *w, const struct load_stats *stats)
{
    struct record *o = object(w);
    char name[16];
    for (unsigned i = 0; i < LOAD_STATUS_MAX; i++) {
        if (stats->status[i] == 0)
            continue;
        snprintf(name, sizeof(name), "%u", i);
        put_int(w, o, name, stats->status[i]);
    }
    return o;
}

static struct record *reasons_of(struct writer *w, const struct load_stats *stats)
{
    struct record *o = object(w);
    for (size_t i = 0; i < LOAD_REASONS_MAX && stats->reasons[i].count > 0; i++)
        put_int(w, o, i < LOAD_REASONS_MAX - 1 ? stats->reasons[i].name : "other", stats->reasons[i].count);
    return o;
}

static struct record *failures_of(struct writer *w, const struct load_stats *stats)
{
    struct record *o = object(w);
    for (size_t i = 0; i < LOAD_FAILURES; i++)
        put_int(w, o, load_failure_names[i], stats->failure[i]);
    return o;
}

static struct record *timings_of(struct writer *w, const struct load_stats *stats)
{
    struct record *o = object(w);
    for (size_t i = 0; i < HTTP_TIMING_COUNT; i++)
        put(w, o, http_timing_names[i], times_of(w, &stats->timing[i]));
    return o;
}

static struct record *generator_of(struct writer *w, const struct load_stats *stats, const struct load_summary *summary)
{
    struct record *o = object(w);
    put_real(w, o, "cpu_s", summary->cpu_s);
    put_real(w, o, "cores", summary->wall_s > 0 ? summary->cpu_s / summary->wall_s : 0);
    put(w, o, "late_ms", times_of(w, &stats->late));
    put(w, o, "held_ms", times_of(w, &stats->held));
    put_int(w, o, "connections", stats->connections);
    keep(w, record_set_bool(o, "behind", load_stats_behind(stats)));
    return o;
}

static struct record *report_of(struct writer *w, const struct load_stats *stats, const struct load_summary *summary)
{
    struct record *o = object(w);
    keep(w, record_set_str(o, "url", summary->url));
    keep(w, record_set_str(o, "arrivals", summary->arrivals));
    keep(w, record_set_str(o, "mix", summary->mix));
    put_real(w, o, "from_per_s", summary->from_per_s);
    put_real(w, o, "to_per_s", summary->to_per_s);
    put_real(w, o, "measured_s", measured_s(stats));
    put_int(w, o, "seed", summary->seed);
    put_int(w, o, "customers", summary->customers);
    put_int(w, o, "warm_up", stats->warm);
    keep(w, record_set_bool(o, "cut", stats->cut));
    put_group(w, o, &stats->all);
    put_real(w, o, "slo_ms", (double)stats->slo_us / 1000);
    put_real(w, o, "offered_per_s", (double)stats->all.sent / measured_s(stats));
    put_real(w, o, "goodput_per_s", (double)stats->all.in_time / measured_s(stats));
    put(w, o, "refused_latency_ms", times_of(w, &stats->refused_latency));
    put(w, o, "statuses", counts_of(w, stats));
    put(w, o, "refusals", reasons_of(w, stats));
    put(w, o, "failures", failures_of(w, stats));
    put(w, o, "server_ms", timings_of(w, stats));
    put_int(w, o, "bytes_sent", stats->bytes_sent);
    put_int(w, o, "bytes_received", stats->bytes_received);
    for (size_t i = 0; stats->grouped && i < 2; i++) {
        struct record *group = object(w);
        put_group(w, group, &stats->groups[i]);
        put(w, o, i == 0 ? "first" : "others", group);
    }
    put(w, o, "generator", generator_of(w, stats, summary));
    return o;
}

/* ---- For people ---- */

static void print_times(const char *title, const struct histogram *h)
{
    if (h->count == 0)
        return;
    printf("%-12s %9.2f", title, histogram_mean(h) / 1000);
    for (size_t i = 0; i < PERCENTILES; i++)
        printf(" %9.2f", (double)histogram_percentile(h, percentiles[i].percent) / 1000);
    printf(" %9.2f\n", (double)h->max / 1000);
}

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100 * (double)part / (double)whole : 0;
}

static void print_group(const char *title, const struct load_group *group)
{
    printf("%-12s %" PRIu64 " sent, %" PRIu64 " ok, %" PRIu64 " in time (%.2f %%), %" PRIu64 " refused, %" PRIu64
           " failed\n",
           title, group->sent, group->ok, group->in_time, share(group->in_time, group->sent), group->refused,
           group->failed);
}

static void print_counts(const struct load_stats *stats)
{
    for (unsigned i = 0; i < LOAD_STATUS_MAX; i++)
        if (stats->status[i] > 0)
            printf("%-12s %u: %" PRIu64 "\n", "answers", i, stats->status[i]);
    for (size_t i = 0; i < LOAD_REASONS_MAX && stats->reasons[i].count > 0; i++)
        printf("%-12s %s: %" PRIu64 "\n", "refusals", stats->reasons[i].name, stats->reasons[i].count);
    for (size_t i = 0; stats->all.failed > 0 && i < LOAD_FAILURES; i++)
        if (stats->failure[i] > 0)
            printf("%-12s %s: %" PRIu64 "\n", "failures", load_failure_names[i], stats->failure[i]);
}

static void print_text(const struct load_stats *stats, const struct load_summary *summary)
{
    printf("%-12s %s\n", "target", summary->url);
    printf("%-12s %s arrivals, %.1f to %.1f a second, %.1f s measured, %zu customers (%s), seed %" PRIu64 "%s\n",
           "load", summary->arrivals, summary->from_per_s, summary->to_per_s, measured_s(stats), summary->customers,
           summary->mix, summary->seed, stats->cut ? ", ended early" : "");
    print_group("requests", &stats->all);
    for (size_t i = 0; stats->grouped && i < 2; i++)
        print_group(i == 0 ? "  first" : "  others", &stats->groups[i]);
    print_counts(stats);
    printf("%-12s %.1f/s answered within %.0f ms, of %.1f/s\n", "goodput",
           (double)stats->all.in_time / measured_s(stats), (double)stats->slo_us / 1000,
           (double)stats->all.sent / measured_s(stats));
    printf("\n%-12s %9s", "ms", "mean");
    for (size_t i = 0; i < PERCENTILES; i++)
        printf(" %9s", percentiles[i].name);
    printf(" %9s\n", "max");
    print_times("latency", &stats->all.latency);
    for (size_t i = 0; stats->grouped && i < 2; i++)
        print_times(i == 0 ? "  first" : "  others", &stats->groups[i].latency);
    print_times("refused", &stats->refused_latency);
    for (size_t i = 0; i < HTTP_TIMING_COUNT; i++)
        print_times(http_timing_names[i], &stats->timing[i]);
    print_times("tool late", &stats->late);
    print_times("tool held", &stats->held);
    printf("\n%-12s %.2f s of CPU, %.2f cores, %" PRIu64 " connections\n", "this tool", summary->cpu_s,
           summary->wall_s > 0 ? summary->cpu_s / summary->wall_s : 0, stats->connections);
}

int load_stats_print(const struct load_stats *stats, const struct load_summary *summary, bool json)
{
    struct writer w = {0};
    if (!json) {
        print_text(stats, summary);
        return ERR_OK;
    }
    struct record *report = report_of(&w, stats, summary);
    if (w.err == ERR_OK)
        record_print_json(report, stdout);
    record_free(report);
    return w.err;
}

/* SPDX-License-Identifier: MIT */
/* Counters, gauges and histograms in atomics, and their exposition in Prometheus text format. */
#include "cavage/metrics.h"

#include "cavage/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EDGES_MAX = 24 };

/* One atomic for a counter or gauge. A histogram has one for each edge, one above all edges, and one for the sum in µs. */
typedef _Atomic int64_t cell;

struct metrics {
    const struct metric_def *defs;
    size_t count;
    cell **series; /* by index in defs; all point into cells */
    cell *cells;
};

static bool def_valid(const struct metric_def *def)
{
    if (def->name == NULL || def->help == NULL)
        return false;
    if (def->type != METRIC_HISTOGRAM)
        return true;
    if (def->edges_us == NULL || def->edge_count == 0 || def->edge_count > EDGES_MAX)
        return false;
    for (size_t i = 1; i < def->edge_count; i++)
        if (def->edges_us[i] <= def->edges_us[i - 1])
            return false;
    return true;
}

static size_t cells_of(const struct metric_def *def)
{
    return def->type == METRIC_HISTOGRAM ? def->edge_count + 2 : 1;
}

int metrics_new(const struct metric_def *defs, size_t count, struct metrics **out)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (!def_valid(&defs[i]))
            return ERR_INVALID;
        total += cells_of(&defs[i]);
    }
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics == NULL)
        return ERR_NOMEM;
    metrics->defs = defs;
    metrics->count = count;
    metrics->series = calloc(count + 1, sizeof(cell *));
    metrics->cells = calloc(total + 1, sizeof(cell));
    if (metrics->series == NULL || metrics->cells == NULL) {
        metrics_free(metrics);
        return ERR_NOMEM;
    }
    cell *next = metrics->cells;
    for (size_t i = 0; i < count; i++) {
        metrics->series[i] = next;
        next += cells_of(&defs[i]);
    }
    *out = metrics;
    return ERR_OK;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    free(metrics->series);
    free(metrics->cells);
    free(metrics);
}

void metrics_add(struct metrics *metrics, size_t index, int64_t delta)
{
    atomic_fetch_add_explicit(metrics->series[index], delta, memory_order_relaxed);
}

void metrics_set(struct metrics *metrics, size_t index, int64_t value)
{
    atomic_store_explicit(metrics->series[index], value, memory_order_relaxed);
}

void metrics_observe(struct metrics *metrics, size_t index, int64_t value_us)
{
    const struct metric_def *def = &metrics->defs[index];
    cell *cells = metrics->series[index];
    size_t bucket = 0;
    if (value_us < 0)
        value_us = 0;
    while (bucket < def->edge_count && value_us > def->edges_us[bucket])
        bucket++;
    atomic_fetch_add_explicit(&cells[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cells[def->edge_count + 1], value_us, memory_order_relaxed);
}

int64_t metrics_get(const struct metrics *metrics, size_t index)
{
    const struct metric_def *def = &metrics->defs[index];
    size_t cells = def->type == METRIC_HISTOGRAM ? def->edge_count + 1 : 1;
    int64_t sum = 0;
    for (size_t i = 0; i < cells; i++)
        sum += atomic_load_explicit(&metrics->series[index][i], memory_order_relaxed);
    return sum;
}

static void put_help(FILE *out, const struct metric_def *def)
{
    static const char *const types[] = {"counter", "gauge", "gauge", "histogram"};
    fprintf(out, "# HELP %s ", def->name);
    for (const char *next = def->help; *next != '\0'; next++) {
        if (*next == '\\')
            fputs("\\\\", out);
        else if (*next == '\n')
            fputs("\\n", out);
        else
            fputc(*next, out);
    }
    fprintf(out, "\n# TYPE %s %s\n", def->name, types[def->type]);
}

/* µs as seconds, without trailing zeros. */
static void put_seconds(FILE *out, int64_t us)
{
    int64_t fraction = llabs(us % 1000000);
    int digits = 6;
    fprintf(out, "%s%lld", us < 0 ? "-" : "", llabs(us / 1000000));
    if (fraction == 0)
        return;
    for (; fraction % 10 == 0; fraction /= 10)
        digits--;
    fprintf(out, ".%0*lld", digits, (long long)fraction);
}

/* "name_suffix{labels} ", as far as there are any. */
static void put_series(FILE *out, const struct metric_def *def, const char *suffix)
{
    fprintf(out, "%s%s", def->name, suffix);
    if (def->labels != NULL)
        fprintf(out, "{%s}", def->labels);
    fputc(' ', out);
}

static void put_histogram(FILE *out, const struct metric_def *def, const cell *cells)
{
    int64_t below = 0;
    for (size_t i = 0; i <= def->edge_count; i++) {
        below += atomic_load_explicit(&cells[i], memory_order_relaxed);
        fprintf(out, "%s_bucket{%s%sle=\"", def->name, def->labels == NULL ? "" : def->labels,
                def->labels == NULL ? "" : ",");
        if (i < def->edge_count)
            put_seconds(out, def->edges_us[i]);
        else
            fputs("+Inf", out);
        fprintf(out, "\"} %lld\n", (long long)below);
    }
    put_series(out, def, "_sum");
    put_seconds(out, atomic_load_explicit(&cells[def->edge_count + 1], memory_order_relaxed));
    fputc('\n', out);
    put_series(out, def, "_count");
    fprintf(out, "%lld\n", (long long)below);
}

char *metrics_render(const struct metrics *metrics, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < metrics->count; i++) {
        const struct metric_def *def = &metrics->defs[i];
        if (i == 0 || strcmp(def->name, metrics->defs[i - 1].name) != 0)
            put_help(out, def);
        if (def->type == METRIC_HISTOGRAM) {
            put_histogram(out, def, metrics->series[i]);
            continue;
        }
        put_series(out, def, "");
        if (def->type == METRIC_GAUGE_US)
            put_seconds(out, metrics_get(metrics, i));
        else
            fprintf(out, "%lld", (long long)metrics_get(metrics, i));
        fputc('\n', out);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

/* SPDX-License-Identifier: MIT */
/* Counts answers by status, reason and time. */
#include "load_stats.h"

#include "record.h"

#include <stdio.h>
#include <string.h>

enum { LATE_P99_US = 5000 };

const char *const load_failure_names[LOAD_FAILURES] = {"timeout", "connect", "closed", "malformed"};

void load_stats_sent(struct load_stats *stats, bool first)
{
    stats->all.sent++;
    stats->groups[first ? 0 : 1].sent++;
}

void load_stats_failed(struct load_stats *stats, bool first, enum load_failure failure)
{
    stats->failure[failure]++;
    stats->all.failed++;
    stats->groups[first ? 0 : 1].failed++;
}

/* "https://…/problems/overloaded": its end. Of what is no problem, the status. */
static void read_reason(const struct http_answer *answer, char out[LOAD_REASON_SIZE])
{
    struct record *problem = answer->problem ? record_parse(answer->kept, answer->kept_len) : NULL;
    const char *type = problem ? record_str(problem, "type") : NULL;
    const char *end = type ? type + strlen(type) : NULL;
    while (end && end > type && !strchr("/:#", end[-1]))
        end--;
    if (end && *end)
        snprintf(out, LOAD_REASON_SIZE, "%s", end);
    else
        snprintf(out, LOAD_REASON_SIZE, "status %u", answer->status);
    record_free(problem);
}

/* When the table is full, the last place takes the rest. */
static void count_reason(struct load_stats *stats, const struct http_answer *answer)
{
    char name[LOAD_REASON_SIZE];
    read_reason(answer, name);
    size_t i = 0;
    while (i < LOAD_REASONS_MAX - 1 && stats->reasons[i].count > 0 && strcmp(stats->reasons[i].name, name) != 0)
        i++;
    if (stats->reasons[i].count++ == 0)
        memcpy(stats->reasons[i].name, name, sizeof(name));
}

static void count_answer(struct load_group *group, bool ok, bool in_time, int64_t latency_us)
{
    group->ok += ok;
    group->refused += !ok;
    group->in_time += ok && in_time;
    if (ok)
        histogram_add(&group->latency, latency_us);
}

void load_stats_answered(struct load_stats *stats, bool first, const struct http_answer *answer, size_t body_bytes,
                         int64_t latency_us)
{
    bool ok = answer->status == 200, in_time = latency_us <= stats->slo_us;
    stats->status[answer->status < LOAD_STATUS_MAX ? answer->status : LOAD_STATUS_MAX - 1]++;
    stats->bytes_sent += body_bytes;
    stats->bytes_received += answer->body_bytes;
    count_answer(&stats->all, ok, in_time, latency_us);
    count_answer(&stats->groups[first ? 0 : 1], ok, in_time, latency_us);
    for (size_t i = 0; ok && i < HTTP_TIMING_COUNT; i++)
        if (answer->timing_us[i] >= 0)
            histogram_add(&stats->timing[i], answer->timing_us[i]);
    if (!ok) {
        histogram_add(&stats->refused_latency, latency_us);
        count_reason(stats, answer);
    }
}

bool load_stats_behind(const struct load_stats *stats)
{
    return histogram_percentile(&stats->late, 99) > LATE_P99_US;
}

/* SPDX-License-Identifier: MIT */
/* How long one more job would wait, by the books. */
#include "admission_parts.h"

/* A customer's own work takes so many times longer in bad moments, where others take nearly everything: they do not come evenly. */
static const double unsteadiness = 1.5;

/* A customer's measured rate counts as much as its share when something of it has waited for so long, as a part of the time of the recent jobs. */
static const double convincing = 0.2;

/* Of the target at least a tenth is for waiting, so that the converters always have something to do. With the default target it is 30 ms: conversions of
 * 100 ms that are spread as an exponential, the article's, are still done within 500 ms at p99 then. Where converters are few so little is the work of a
 * few jobs, which may meet by chance: who asks for no more than its share may wait until some more have ended, but a quarter of the target at most. */
enum { LEAST_PART = 10, MOST_PART = 4, ENDS = 16 };

/* Time a converter needs for a µs of estimated cost in a lane; in a lane without conversions so far, that of the other one. */
static double stretch(const struct admission_books *b, enum lane lane)
{
    double own = service_times_stretch(&b->service[lane]);
    double other = service_times_stretch(&b->service[other_than(lane)]);
    return own > 0 ? own : other > 0 ? other : 1;
}

/* Until all that the workers hold beside what their converters are at has begun, since it goes before all that waits here, and one converter more is free. */
static double prefetched_us(const struct admission_books *b)
{
    double converters = (double)b->slots_milli / 1000, sent = (double)(b->sent[LANE_SMALL] + b->sent[LANE_LARGE]);
    if (sent < converters)
        return 0;
    double ends_per_us = 0;
    for (int i = 0; i < LANES; i++) {
        enum lane lane = (enum lane)i;
        double n = (double)b->sent[lane];
        ends_per_us += n > 0 ? n * n / ((double)b->sent_us[lane] * stretch(b, lane)) : 0;
    }
    return (sent - converters + 1) / (ends_per_us * converters / sent);
}

/* ---- What a customer gets ---- */

/* The time of the recent jobs. */
static double window_us(const struct admission_books *b)
{
    if (b->recent_count < RECENT_MAX)
        return (double)recent_for_us;
    return (double)max_i64(1, b->seen_us - b->recent[b->recent_first].sent_us);
}

/* What the lane did in that time, and could have done beside it, in estimated cost. What was done is counted, not worked out from the converters and their
 * speed: where a hundred customers divide what thousands leave to them, an error of a hundredth is more than any of them has. */
static double capacity_us(const struct admission_books *b, enum lane lane)
{
    double spare_us = (double)(b->spare_us[lane] + b->spare_now_us[lane]) * (double)b->slots_milli / 1000;
    return (double)b->recent_us[lane] + spare_us / stretch(b, lane);
}

/* What a customer would have got of that if it had work without end, and others had gone on as they did. */
static double share_us(struct admission_books *b, enum lane lane, const struct standing *s, double all_us)
{
    levels_change(&b->recent_of[lane], s->recent_us, 0);
    int64_t share = levels_fair_share(&b->recent_of[lane], (int64_t)all_us);
    levels_change(&b->recent_of[lane], 0, s->recent_us);
    return (double)max_i64(1, share);
}

/* What it really got while something of it waited, on top of its share. That is believed when it is less, since the counts of a second are small, and who got most
 * was lucky; and when it is more and the customer asks for no more than its share. */
static double rate_us(struct admission_books *b, enum lane lane, const struct standing *s, int64_t asked_us,
                      double all_us)
{
    double share = share_us(b, lane, s, all_us);
    int64_t behind_us = s->behind_us + (s->waiting_us > 0 ? max_i64(0, b->seen_us - s->since_us) : 0);
    double got = (share * convincing + (double)s->got_us) / (convincing + (double)behind_us / window_us(b));
    if (got >= share && (double)(s->recent_us + asked_us) > share)
        return share;
    return got < all_us ? got : all_us;
}

/* Turns that came while it had nothing to send are saved, as many as this job needs. */
static double saved_us(const struct admission_books *b, const struct standing *s, double rate, double cost_us)
{
    if (s->waiting_us > 0)
        return 0;
    double saved = rate * (double)max_i64(0, b->seen_us - s->since_us) / window_us(b);
    return saved < cost_us ? saved : cost_us;
}

/* ---- The forecast ---- */

/* Work of the lane until a customer has got what it has waiting, and this job. */
static double own_work_us(struct admission_books *b, enum lane lane, const struct standing *s, int64_t cost_us)
{
    int64_t asked_us = s->waiting_us + cost_us;
    double all_us = capacity_us(b, lane), rate = rate_us(b, lane, s, asked_us, all_us);
    double owed_us = (double)asked_us - saved_us(b, s, rate, (double)cost_us);
    double part = rate < all_us ? rate / all_us : 1;
    return owed_us / part * (1 + (unsteadiness - 1) * (1 - part)) - (double)cost_us;
}

/* Work of the job's lane that goes before it: what its own customer has waiting, and a turn of everybody's, which is the mean cost of what waits; or more, when
 * those who are yet to come will be served meanwhile. */
static double work_of_lane(struct admission_books *b, const struct admission_job *job)
{
    enum lane lane = lane_in(b, job);
    if (b->waiting[lane] == 0)
        return 0;
    if (b->config.fifo)
        return (double)b->waiting_us[lane];
    const struct standing *s = &account_find(b, customer_in(b, job))->in[lane];
    int64_t turn_us = max_i64(cost_of(job), b->waiting_us[lane] / (int64_t)b->waiting[lane]);
    double turns_us = (double)levels_sum_min(&b->waiting_of[lane], s->waiting_us + turn_us);
    double own_us = own_work_us(b, lane, s, cost_of(job));
    return own_us > turns_us ? own_us : turns_us;
}

/* How long work of a lane takes while the other lane's goes on: that has its part, or what waits there and what will come if that is less. */
static double time_of_us(const struct admission_books *b, enum lane lane, double work_us)
{
    enum lane other = other_than(lane);
    double converters = (double)b->slots_milli / 1000, taken_us = work_us * stretch(b, lane) / converters;
    double waiting_us = (double)b->waiting_us[other] * stretch(b, other) / converters;
    double coming = (double)b->recent_us[other] * stretch(b, other) / converters / window_us(b);
    double left = coming < 0.99 ? 1 - coming : 0.01, least = (double)percent_of(b, lane) / 100;
    double beside_all_us = (taken_us + waiting_us) / left;
    return beside_all_us * least < taken_us ? beside_all_us : taken_us / least;
}

/* There is a converter for all that is here, and for this job: what waits just has not been sent yet. Not so for large images, which may not have all of
 * the converters. */
static bool has_converter(const struct admission_books *b, const struct admission_job *job)
{
    size_t here = b->sent[LANE_SMALL] + b->sent[LANE_LARGE] + b->waiting[LANE_SMALL] + b->waiting[LANE_LARGE];
    return lane_in(b, job) == LANE_SMALL && (here < b->within_reach || (uint64_t)(here + 1) * 1000 <= b->slots_milli);
}

static int64_t wait_us(struct admission_books *b, const struct admission_job *job)
{
    if (has_converter(b, job))
        return 0;
    double work_us = work_of_lane(b, job);
    double wait = (work_us > 0 ? time_of_us(b, lane_in(b, job), work_us) : 0) + prefetched_us(b);
    return wait < (double)cost_max_us ? (int64_t)wait : cost_max_us;
}

static bool is_within_share(struct admission_books *b, const struct admission_job *job)
{
    enum lane lane = lane_in(b, job);
    const struct standing *s = &account_find(b, customer_in(b, job))->in[lane];
    return (double)(s->recent_us + s->waiting_us + cost_of(job)) <= share_us(b, lane, s, capacity_us(b, lane));
}

/* How long a job may wait at least, however long conversions take. */
static int64_t patience_us(struct admission_books *b, const struct admission_job *job)
{
    enum lane lane = lane_in(b, job);
    int64_t least_us = b->config.target_us[lane] / LEAST_PART, most_us = b->config.target_us[lane] / MOST_PART;
    double ends_us = ENDS * b->service[lane].taken_us * 1000 / (double)b->slots_milli;
    if (ends_us <= (double)least_us || !is_within_share(b, job))
        return least_us;
    return ends_us < (double)most_us ? (int64_t)ends_us : most_us;
}

void admission_judge(struct admission_books *b, int64_t now_us, const struct admission_job *job,
                     struct admission_forecast *out)
{
    enum lane lane = lane_in(b, job);
    int64_t target_us = b->config.target_us[lane];
    int64_t p99_us = b->service[lane].p99_us;

    books_pass_time(b, now_us);
    out->wait_us = wait_us(b, job);
    out->service_us = p99_us > 0 ? p99_us : (int64_t)((double)cost_of(job) * stretch(b, lane));
    int64_t most_us = max_i64(target_us - out->service_us, patience_us(b, job));
    out->admitted = out->wait_us == 0 || out->wait_us <= most_us;
    out->retry_us = out->admitted ? 0 : out->wait_us - most_us;
}

void admission_stats(struct admission_books *b, int64_t now_us, struct admission_stats *out)
{
    double taken_us = 0, cost_us = 0;
    books_pass_time(b, now_us);
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t n = b->waiting[lane];
        /* No customer has this number but by chance, and then it is one of many. */
        struct admission_job job = {
            .customer = UINT64_MAX, .lane = (enum lane)lane, .cost_us = n ? b->waiting_us[lane] / (int64_t)n : 1};
        out->wait_us[lane] = wait_us(b, &job);
        out->service_us[lane] = b->service[lane].p99_us;
        taken_us += b->service[lane].taken_us;
        cost_us += b->service[lane].cost_us;
    }
    out->stretch_permille = cost_us > 0 ? (int64_t)(taken_us * 1000 / cost_us) : 1000;
}

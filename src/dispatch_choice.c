/* SPDX-License-Identifier: MIT */
/* Which of the workers that could take a job gets it: none that is slow while others will soon be free, of the rest the one with the least load, and of
 * equals the better of two that are drawn. */
#include "dispatch_parts.h"

enum {
    PACE_WINDOW =
        32, /* results that weigh in a pace, and are needed before it is a measure for others: the best of many is lucky */
    PACE_LEAST = 8,             /* results before a worker is compared with it */
    SLOW_MILLI = 2500,          /* so many times the best pace, and a worker is slow; below, it is noise */
    STUCK_US = 20 * 1000,       /* a job that is out less long says nothing */
    STUCK_WAITS = 2,            /* it may have waited there as long as it takes */
    PROBE_US = 5 * 1000 * 1000, /* a slow worker's pace is believed half as much after this without a result */
    WHOLE = 1000
};

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static uint64_t next_random(struct dispatch *d)
{
    uint64_t z = d->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int64_t bounded(int64_t n, int64_t least, int64_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* Time taken for each microsecond of estimated cost, in thousandths. */
static int64_t pace_of(int64_t taken_us, int64_t cost_us)
{
    const int64_t longest_us = INT64_C(3600) * 1000 * 1000;
    return bounded(taken_us, 1, longest_us) * WHOLE / (cost_us > 0 ? cost_us : 1) + 1;
}

static void smooth(int64_t *mean, int64_t sample, unsigned before)
{
    int64_t n = before < PACE_WINDOW ? (int64_t)before + 1 : PACE_WINDOW;
    *mean += (sample - *mean) / n;
}

static void learn(struct dispatch *d, struct peer *peer, int64_t taken_us, int64_t cost_us)
{
    /* What was learnt long ago gives way to the first that comes after it; that one is believed by itself. */
    bool anew = peer->paced > 0 && d->now_us - peer->pace_us >= PROBE_US;
    if (anew)
        peer->paced = PACE_LEAST - 1;
    unsigned before = anew ? 0 : peer->paced;
    /* The mean of the times by the mean of the costs: a mean of ratios would hang on the cheapest jobs. */
    smooth(&peer->taken_us, taken_us, before);
    smooth(&peer->cost_us, cost_us, before);
    peer->pace_milli = pace_of(peer->taken_us, peer->cost_us);
    peer->pace_us = d->now_us;
    if (peer->paced < PACE_WINDOW)
        peer->paced++;
}

void peer_learn_pace(struct dispatch *d, const struct job *job, const struct attempt *attempt,
                     const struct wire_result *m)
{
    struct peer *peer = &d->peers[attempt->peer];
    int64_t out_us = d->now_us - attempt->sent_us;

    if (peer->generation != attempt->generation)
        return;
    peer->result_us = d->now_us;
    if (m->outcome != OUTCOME_OK)
        return;
    int64_t waited_us = m->wait_us < (uint64_t)out_us ? (int64_t)m->wait_us : out_us;
    learn(d, peer, out_us - waited_us, job->entry.cost_us);
}

void peer_learn_overdue(struct dispatch *d, const struct job *job)
{
    learn(d, &d->peers[job->current.peer], d->now_us - job->current.sent_us, job->entry.cost_us);
}

/* Since when the oldest job there is out and nothing has come back, of which `back_us` is the last. */
static int64_t alone_since_us(const struct job *oldest, int64_t back_us)
{
    return back_us > oldest->current.sent_us ? back_us : oldest->current.sent_us;
}

/* What the oldest job is taken to cost: an estimate that is too low makes no worker slow. */
static int64_t cost_of_oldest(const struct peer *peer, const struct job *oldest)
{
    return oldest->entry.cost_us > peer->cost_us ? oldest->entry.cost_us : peer->cost_us;
}

/* At least this slow by the job that is out longest, when no other has come back since: so a worker that stands still is noticed before its silence is. */
static int64_t stuck_milli(const struct dispatch *d, const struct peer *peer)
{
    const struct job *oldest = peer->jobs.first;
    if (!oldest)
        return 0;
    int64_t out_us = d->now_us - alone_since_us(oldest, peer->pace_us);
    return out_us < STUCK_US ? 0 : pace_of(out_us / STUCK_WAITS, cost_of_oldest(peer, oldest));
}

static bool is_slow(const struct fleet *fleet, int64_t pace_milli)
{
    return fleet->best_milli > 0 && pace_milli >= fleet->best_milli * SLOW_MILLI / WHOLE;
}

/* How many times as long as the best the worker takes, in thousandths; WHOLE for all that are not slow. */
static int64_t slowness(const struct dispatch *d, const struct fleet *fleet, const struct peer *peer)
{
    int64_t known = peer->paced >= PACE_LEAST ? peer->pace_milli : 0;
    int64_t halvings = bounded((d->now_us - peer->pace_us) / PROBE_US, 0, 62);
    int64_t pace = known >> halvings, stuck = stuck_milli(d, peer);

    /* Whoever was slow gets one job now and then, to show that it is not any more. */
    if (is_slow(fleet, known) && !is_slow(fleet, pace) && peer->inflight > 0)
        pace = known;
    if (stuck > pace)
        pace = stuck;
    return is_slow(fleet, pace) ? pace * WHOLE / fleet->best_milli : WHOLE;
}

/* Enough to tell which workers are slow. */
static struct fleet best_of(const struct dispatch *d)
{
    struct fleet fleet = {0};

    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *peer = &d->peers[i];
        if (peer_is_there(peer) && peer->paced == PACE_WINDOW &&
            (fleet.best_milli == 0 || peer->pace_milli < fleet.best_milli))
            fleet.best_milli = peer->pace_milli;
    }
    return fleet;
}

static size_t idle_of(const struct peer *peer)
{
    size_t own = peer_own_slots(peer);
    return own > peer->inflight ? own - peer->inflight : 0;
}

static void add_peer(struct fleet *fleet, const struct peer *peer)
{
    size_t own = peer_own_slots(peer);

    fleet->slots += own;
    fleet->jobs += peer->inflight;
    fleet->idle += idle_of(peer);
    if (peer->paced < PACE_LEAST)
        return;
    fleet->paced_slots += own;
    fleet->ends_per_us += (double)own / (double)bounded(peer->taken_us, 1, INT64_MAX);
}

/* When a job would be done there, in service times of a worker that is not slow, in thousandths. */
static uint64_t finish(const struct dispatch *d, const struct fleet *fleet, const struct peer *peer)
{
    uint64_t slots = peer->slots ? peer->slots : 1, load = peer_load(peer);
    uint64_t behind = load + 1 > slots ? load + 1 - slots : 0;
    return (uint64_t)slowness(d, fleet, peer) * (slots + behind) / slots;
}

/* A slow server is of use only once the queue for the quick ones takes longer than it does; the best rule has such a threshold (Lin, Kumar: Optimal
 * control of a queueing system with two heterogeneous servers, 1984). */
static bool is_worth(const struct dispatch *d, const struct fleet *fleet, const struct peer *peer)
{
    if (fleet->slots == 0 || slowness(d, fleet, peer) == WHOLE)
        return true;
    uint64_t behind = fleet->jobs > fleet->slots ? fleet->jobs - fleet->slots : 0;
    return finish(d, fleet, peer) <= WHOLE * (fleet->slots + behind) / fleet->slots;
}

static bool serves(const struct peer *peer)
{
    return peer_is_there(peer) && (peer->inflight > 0 || peer->sent < peer->limit);
}

void peers_survey(const struct dispatch *d, struct fleet *fleet)
{
    bool any_slow = false;

    *fleet = best_of(d);
    fleet->jobs = fair_queue_count(d->queue);
    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *peer = &d->peers[i];
        bool slow = serves(peer) && slowness(d, fleet, peer) != WHOLE;
        any_slow |= slow;
        if (serves(peer) && !slow)
            add_peer(fleet, peer);
    }
    /* Which of the others are worth a job hangs on all that were added. */
    for (size_t i = 0; any_slow && i < d->peer_count; i++) {
        const struct peer *peer = &d->peers[i];
        if (serves(peer) && slowness(d, fleet, peer) != WHOLE && is_worth(d, fleet, peer))
            fleet->idle += idle_of(peer);
    }
}

bool peers_have_room(const struct dispatch *d, const struct fleet *fleet, enum lane lane)
{
    if (lane == LANE_LARGE && !d->config.fifo && !peers_let_large_go(d))
        return false;

    for (size_t i = 0; i < d->peer_count; i++) {
        if (peer_has_room(d, &d->peers[i], lane) && is_worth(d, fleet, &d->peers[i]))
            return true;
    }
    return false;
}

/* Load is (in flight + busy for others) / slots; compared without division. Negative: a has less. */
static int compare_load(const struct peer *a, const struct peer *b)
{
    uint64_t load_a = peer_load(a) * (b->slots ? b->slots : 1);
    uint64_t load_b = peer_load(b) * (a->slots ? a->slots : 1);
    return load_a < load_b ? -1 : load_a > load_b;
}

/* Of equals, two are drawn, and the one whose host is less busy is taken: all APIs see the same stale loads, and would rush to one least busy host
 * (Mitzenmacher: The power of two choices in randomized load balancing, 2001). */
struct draw {
    const struct peer *first, *second;
    uint64_t count, finish;
};

static void draw_from(struct dispatch *d, struct draw *draw, const struct peer *peer, uint64_t peer_finish)
{
    int order = draw->count == 0 || peer_finish < draw->finish ? -1 : peer_finish > draw->finish;
    if (order == 0)
        order = compare_load(peer, draw->first);
    if (order > 0)
        return;
    if (order < 0)
        *draw = (struct draw){.finish = peer_finish};
    draw->count++;
    /* The k-th takes one of the two places with a chance of 2 in k. */
    uint64_t place = draw->count <= 2 ? draw->count - 1 : next_random(d) % draw->count;
    if (place == 0)
        draw->first = peer;
    else if (place == 1)
        draw->second = peer;
}

bool peer_choose(struct dispatch *d, const struct fleet *fleet, enum lane lane, size_t *peer)
{
    struct draw draw = {0};

    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *p = &d->peers[i];
        if (peer_has_room(d, p, lane) && is_worth(d, fleet, p))
            draw_from(d, &draw, p, finish(d, fleet, p));
    }
    if (!draw.first)
        return false;
    const struct peer *best = draw.first;
    if (draw.second) {
        bool even = draw.first->load_permille == draw.second->load_permille;
        bool second = even ? next_random(d) % 2 : draw.second->load_permille < draw.first->load_permille;
        best = second ? draw.second : draw.first;
    }
    *peer = (size_t)(best - d->peers);
    return true;
}

static bool is_idle(const struct dispatch *d, const struct fleet *fleet, const struct peer *peer)
{
    return peer_is_there(peer) && peer_idle(peer) > 0 && slowness(d, fleet, peer) == WHOLE;
}

/* When its oldest job has been out for so long that the worker counts as slow for that, and no other came back meanwhile; INT64_MAX: never. A job
 * that is long by itself would be as long elsewhere. */
static int64_t overdue_us(const struct fleet *fleet, const struct peer *peer)
{
    const int64_t longest_us = INT64_C(3600) * 1000 * 1000, pace_most_milli = 100 * 1000 * 1000;
    const struct job *job = peer->jobs.first;

    if (!peer->usable || !job || job->starts >= STARTS_MAX || job->previous.sequence > 0 || fleet->best_milli == 0)
        return INT64_MAX;
    /* A pace is about one, so its thousandths count: divided last. The product of the bounds is below 2^61. */
    int64_t slow_milli = bounded(fleet->best_milli, 0, pace_most_milli) * SLOW_MILLI / WHOLE * STUCK_WAITS;
    int64_t cost_us = bounded(cost_of_oldest(peer, job), 1, INT32_MAX);
    return alone_since_us(job, peer->result_us) + bounded(slow_milli * cost_us / WHOLE, STUCK_US, longest_us);
}

static const struct peer *idlest(const struct dispatch *d, const struct fleet *fleet, const struct job *job)
{
    const struct peer *best = NULL;

    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *peer = &d->peers[i];
        if (i != job->current.peer && peer_has_room(d, peer, job->entry.lane) && is_idle(d, fleet, peer) &&
            (!best || compare_load(peer, best) < 0))
            best = peer;
    }
    return best;
}

bool peer_hedge(const struct dispatch *d, struct job **job, size_t *peer)
{
    if (fair_queue_count(d->queue) > 0 || d->hedges_milli < HEDGE_MILLI)
        return false;
    struct fleet fleet = best_of(d);
    for (size_t i = 0; i < d->peer_count; i++) {
        if (overdue_us(&fleet, &d->peers[i]) > d->now_us)
            continue;
        const struct peer *best = idlest(d, &fleet, d->peers[i].jobs.first);
        if (!best)
            continue;
        *job = d->peers[i].jobs.first;
        *peer = (size_t)(best - d->peers);
        return true;
    }
    return false;
}

int64_t peers_hedge_us(const struct dispatch *d)
{
    int64_t next_us = INT64_MAX;

    if (d->hedges_milli < HEDGE_MILLI)
        return next_us;
    struct fleet fleet = best_of(d);
    for (size_t i = 0; i < d->peer_count; i++) {
        int64_t due_us = overdue_us(&fleet, &d->peers[i]);
        /* What is overdue by now waits for room elsewhere, and that comes with an event. */
        if (due_us > d->now_us && due_us < next_us)
            next_us = due_us;
    }
    return next_us;
}

/* SPDX-License-Identifier: MIT */
/* What the files of dispatch share: its structs, and the operations on the job table, the peers and the moves between them. */
#ifndef CAVAGE_DISPATCH_PARTS_H
#define CAVAGE_DISPATCH_PARTS_H

#include "cavage/dispatch.h"
#include "cavage/fair_queue.h"
#include "cavage/shares.h"
#include "minmax.h"

enum {
    REPLACED_BOOTS = 16,             /* remembered for each peer */
    NO_HEAP_INDEX = -1,              /* the deadline is not watched */
    STARTS_MAX = 2,                  /* of one job because of faults */
    CRASHES_MAX = 2,                 /* converters one image may end */
    HELLO_QUEUED_GAP_US = 10 * 1000, /* between two HELLOs that both tell of waiting jobs */
    RETRY_REFUSED_US = 5 * 1000,     /* a peer that refused is tried again after this at the latest */
    LATE_TICK_US = 100 * 1000,       /* a tick this late means that we were paused */
    HEDGE_MILLI = 1000,              /* what a hedge costs */
    LATE_RESULT_US = 20 * 1000       /* a converter killed this close to the deadline was killed at it */
};

/* One try to have a job done: where, and under which number. */
struct attempt {
    size_t peer;
    uint32_t generation; /* the peer's, when sent */
    bool open;           /* for all we know it may still be running */
    bool hedge;          /* a second copy, beside the attempt before */
    uint64_t sequence;   /* on the link; 0: no attempt */
    int64_t sent_us;
};

enum job_state {
    JOB_QUEUED, /* in the fair queue */
    JOB_SENT,   /* in its peer's list, waiting for a result */
    JOB_FAILED  /* in the list of failures, until the action is taken */
};

struct job {
    struct fair_entry entry; /* first: the queue hands back pointers to it */
    uint64_t id;
    int64_t deadline_us;
    int64_t least_us; /* with less time left it is not begun */
    enum job_state state;
    enum dispatch_failure failure;
    unsigned starts;         /* attempts that may have begun, 0 .. STARTS_MAX */
    unsigned crashes;        /* converters it ended, 0 .. CRASHES_MAX */
    struct attempt current;  /* while SENT */
    struct attempt previous; /* the attempt given up before; its result still answers */
    struct job *prev, *next; /* in the peer's list, ascending by sequence, or the list of failures */
    struct job *chain;       /* next in the bucket, or next free one */
    int heap_index;
};

struct job_list {
    struct job *first, *last;
};

/* Jobs by id, and a binary heap of their deadlines. */
struct job_table {
    size_t max, count;
    struct job *jobs;
    struct job *free;
    struct job **buckets;
    size_t bucket_mask;
    struct job **heap; /* earliest deadline first */
    size_t heap_count;
};

/* A boot of a worker that gave way to another, and the highest sequence that was sent to it. */
struct replaced_boot {
    struct id boot;
    uint64_t sent;
};

struct peer {
    bool up;       /* the connection stands */
    bool usable;   /* up, and heard since */
    bool draining; /* as of the last STATUS */
    bool retired;  /* listed no more */
    bool
        refused; /* the last send was not taken; nothing is sent until a STATUS, dispatch_peer_ready or refused_until_us */
    bool hello_owed;
    struct id boot;      /* zero: none yet */
    uint32_t generation; /* counts boots */
    struct replaced_boot replaced[REPLACED_BOOTS];
    size_t replaced_count;    /* ever; the ring holds the last ones */
    uint64_t status_sequence; /* newest taken */
    uint64_t sent;            /* highest sequence sent to this boot */
    uint64_t limit;           /* highest it may be */
    uint64_t told_sent;       /* `sent` of the last HELLO */
    uint32_t told_queued;     /* `queued` of the last HELLO */
    unsigned slots, busy;     /* as of the last STATUS */
    unsigned busy_others;     /* of busy: for other APIs */
    unsigned load_permille;   /* of its host, as of the last STATUS */
    uint64_t longest;         /* image it takes, in bytes, as of the last STATUS; 0: not told */
    struct job_list jobs;
    size_t inflight;
    size_t large;       /* of them */
    int64_t service_us; /* what conversions take there, smoothed; 0: none was seen */
    int64_t taken_us;   /* by jobs, without their waiting there, smoothed; and their cost */
    int64_t cost_us;
    int64_t pace_milli; /* time for each microsecond of cost */
    int64_t pace_us;    /* when it was learnt last */
    int64_t result_us;  /* when a job came back last */
    unsigned paced;     /* results it is made of, as far as that matters */
    int64_t heard_us;
    int64_t hello_us; /* when the last HELLO went out */
    int64_t hello_at_us;
    int64_t refused_until_us;
};

/* Retries that may still be made, in thousandths. Earned by submissions and by time. */
struct budget {
    int64_t milli;
    int64_t refilled_us;
};

struct cancel {
    size_t peer;
    uint64_t job;
    struct id worker_boot;
    uint64_t sequence;
};

/* How close together jobs start. */
struct pace {
    bool submitted;
    uint64_t customer; /* who submitted last */
    int64_t mixed_us;  /* when that was another one than the time before; 0: never */
    size_t slots;      /* as of the last survey, as are the next two */
    int64_t service_us;
    int64_t interval_ns; /* between two starts; 0: not known */
    int64_t next_ns;     /* a greedy customer's job starts no earlier */
    size_t idle;         /* converters that are kept idle since the last event */
    int64_t spare;       /* converters' time that may be kept so, in hundredths of a microsecond */
};

struct dispatch {
    struct dispatch_config config;
    int64_t now_us;    /* of the last event */
    int64_t paused_us; /* pauses of our own since the last tick */
    bool queue_was_empty;
    int64_t small_us;      /* when the last small job came */
    size_t sent_of[LANES]; /* jobs at all workers */
    struct shares *out;    /* of them, each customer's */
    size_t small_peak;     /* most small ones at once, when small_peak_us */
    int64_t small_peak_us;
    struct fair_queue *queue;
    struct job_table table;
    struct job_list failures;
    struct cancel *cancels; /* ring */
    size_t cancels_max, cancels_first, cancels_count;
    struct peer peers[DISPATCH_PEERS_MAX];
    size_t peer_count;
    uint64_t random;      /* state of the generator */
    unsigned worker_hold; /* the most jobs that one worker could hold so far */
    struct pace pace;
    struct budget lost;    /* for jobs whose worker went */
    int64_t hedges_milli;  /* that may still be made, in thousandths */
    struct budget crashed; /* for images that ended a converter; apart, so that bad images leave the other alone */
    struct dispatch_stats counts; /* only the counters */
};

/* dispatch_jobs.c */
int job_table_new(struct job_table *table, size_t max);
void job_table_free(struct job_table *table);
/* NULL when full. The job's deadline is watched from here on. */
struct job *job_table_add(struct job_table *table, const struct dispatch_job *job);
struct job *job_table_find(const struct job_table *table, uint64_t id);
void job_table_remove(struct job_table *table, struct job *job);
void job_table_unwatch(struct job_table *table, struct job *job);
/* The job whose deadline comes first, NULL when none is watched. */
struct job *job_table_earliest(const struct job_table *table);
void job_list_append(struct job_list *list, struct job *job);
/* Where its current sequence belongs. */
void job_list_insert(struct job_list *list, struct job *job);
void job_list_remove(struct job_list *list, struct job *job);

/* dispatch_moves.c: the only places where a job changes its state. */
enum requeue_reason {
    REQUEUE_NOT_STARTED, /* refused: no attempt */
    REQUEUE_GONE,        /* its worker is out of reach, and may still be at it */
    REQUEUE_LOST,        /* its worker has it no more */
    REQUEUE_CRASHED      /* it ended its converter */
};
/* QUEUED, just popped, to SENT. */
void job_send(struct dispatch *d, struct job *job, size_t peer);
/* SENT to QUEUED at the head; or to FAILED when it may not be tried again. A second copy is no more, and the job SENT where the first is still out. */
void job_requeue(struct dispatch *d, struct job *job, enum requeue_reason reason);
/* SENT at one worker to SENT at another, while the first goes on: the first result wins. */
void job_hedge(struct dispatch *d, struct job *job, size_t peer);
/* QUEUED or SENT to FAILED; what may be running is cancelled. */
void job_fail(struct dispatch *d, struct job *job, enum dispatch_failure failure);
/* QUEUED or SENT to forgotten; what may be running is cancelled but for the attempt that is `done`, if any. */
void job_forget(struct dispatch *d, struct job *job, const struct attempt *done);

/* dispatch_choice.c */
/* What the workers that are not slow can do for this API. */
struct fleet {
    int64_t best_milli; /* pace; 0: not known */
    uint64_t slots;
    uint64_t jobs; /* in flight there, and waiting here */
    size_t idle;   /* of the slots, and of those of slow workers that are worth it by now */
    /* Of the slots, those of workers that are known by enough results; and the jobs that end on these while all are busy. */
    uint64_t paced_slots;
    double ends_per_us;
};
/* Holds until the next event, or until a job goes out. Once for each job: to look at all workers is most of what dispatch costs. */
void peers_survey(const struct dispatch *d, struct fleet *fleet);
/* The worker that the next job of this lane is best sent to; false when it had better wait. In fifo every job is of the small one. The survey is from
 * before the job was taken off the queue: it must find the room that it was promised. */
bool peer_choose(struct dispatch *d, const struct fleet *fleet, enum lane lane, size_t *peer);
/* peer_choose would find one. */
bool peers_have_room(const struct dispatch *d, const struct fleet *fleet, enum lane lane);
/* The job's attempt takes at least as long as it has been out; its result may never be seen. */
void peer_learn_overdue(struct dispatch *d, const struct job *job);
/* A job whose worker seems to stand still, and an idle worker for a second copy of it; false when there is none, when jobs wait, or when as many were
 * hedged already as may be. Rules: Dean, Barroso: The Tail at Scale, 2013; but later than at their 95th percentile. */
bool peer_hedge(const struct dispatch *d, struct job **job, size_t *peer);
/* When the next job is overdue. */
int64_t peers_hedge_us(const struct dispatch *d);
/* The attempt has its result. */
void peer_learn_pace(struct dispatch *d, const struct job *job, const struct attempt *attempt,
                     const struct wire_result *m);

/* dispatch_pace.c */
/* A job came. */
void pace_submit(struct dispatch *d, uint64_t customer);
/* From d->now_us to now_us; to be told before d->now_us is set. */
void pace_elapse(struct dispatch *d, int64_t now_us);
/* The next job that may start now, off the queue; NULL when there is none. */
struct fair_entry *pace_pop(struct dispatch *d, const struct fleet *fleet, unsigned open);
/* A job started. */
void pace_sent(struct dispatch *d);
/* When one that is held back may start; INT64_MAX: none is, or it waits for another event. */
int64_t pace_next_us(const struct dispatch *d);

/* dispatch_peers.c */
/* A small job was sent. */
void peers_note_small(struct dispatch *d);
/* Large jobs may have one converter more of all workers together. */
bool peers_let_large_go(const struct dispatch *d);
/* A conversion ended there. */
void peer_learn_service(struct peer *peer, const struct wire_result *m);
/* It is given jobs when it has room for them: what it can do counts for those that wait. */
bool peer_is_there(const struct peer *peer);
/* Credit there, and room for a job of this lane. */
bool peer_has_room(const struct dispatch *d, const struct peer *peer, enum lane lane);
/* Converters there that this API can use, > 0. */
size_t peer_own_slots(const struct peer *peer);
/* Converters there that this API can use, in thousandths: half of what it holds and may send. */
uint64_t peer_own_slots_milli(const struct peer *peer);
/* Jobs there: those of this API, and those that converters are at for others. */
size_t peer_load(const struct peer *peer);
/* Its converters that have no job of any API. */
unsigned peer_idle(const struct peer *peer);
/* The boot was replaced by one that still speaks. When that one falls silent it was a dead one's last word that came late, and the boot may
 * come back. */
bool peer_boot_is_stale(const struct dispatch *d, struct peer *peer, const struct id *boot);
/* Sequences start anew with each boot of the worker, and go on for one that comes back; a zero one is not known yet. */
void peer_replace_boot(struct peer *peer, const struct id *boot);
/* All its jobs are queued again, in their order. */
void peer_lose_jobs(struct dispatch *d, struct peer *peer);
void peer_take_status(struct dispatch *d, struct peer *peer, const struct wire_status *m);
/* HELLOs that are due by now, and the earliest later one of everything that peers wait for. */
void peers_tick(struct dispatch *d);
int64_t peers_next_us(const struct dispatch *d);
/* The queue became non-empty: owe HELLO to those that do not know. */
void peers_announce_queue(struct dispatch *d);
/* The next HELLO that is owed; false when none. */
bool peers_next_hello(struct dispatch *d, struct dispatch_action *out);

#endif

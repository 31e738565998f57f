/* SPDX-License-Identifier: MIT */
/* The pipeline between two APIs and two workers: credit, loss, requeue, second copies, cancel, refusals, restarts. docs/model.md tells what is kept of the code and what is
 * left out. Checked by scripts/model.
 *
 * JOBS, FAULTS  how many there may be; faults of any kind
 * HEDGES        second copies of jobs that are at a worker
 * LENGTH        of a connection, in messages
 * LATE          a message of a connection that broke may come late
 * PATIENT       timers are slower than conversions; for the properties that need time to pass
 * BROKEN_...    one rule of the protocol is left out; each must be found */

#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef HEDGES
#define HEDGES 0
#endif
#ifndef JOBS
#define JOBS 3 /* the last one belongs to API 1, the others to API 0 */
#endif

#define APIS 2
#define WORKERS 2
#define ROOM 2   /* of each worker: one slot, held twice over */
#define STARTS 2 /* of one job because of faults */
#define SEQUENCES 8
#ifndef LENGTH
#define LENGTH 2 /* of a connection, in messages */
#endif
#define OWNER(j) ((j) == JOBS - 1)
#define LINK(a, w) ((a) * WORKERS + (w))
#define LINKS (APIS * WORKERS)
#define BIT(s) (1 << (s))

mtype = { HELLO, JOB, CANCEL, STATUS, RESULT, REFUSED };

/* API to worker: type, boots of both, number (JOB, CANCEL: its own; HELLO: the highest sent), job. */
chan up[LINKS] = [LENGTH] of { mtype, byte, byte, byte, byte };
/* Worker to API: type, boots of both, seen, limit, held as a set of numbers, number and job of a RESULT or REFUSED. */
chan down[LINKS] = [LENGTH] of { mtype, byte, byte, byte, byte, byte, byte, byte };

/* One message, of all links, that its connection's end has delayed: it comes among those of the next connection. `stale`: a message from a worker
 * that was overtaken by a status of its own boot, which the code sees by the sequence. */
mtype late_type = 0;
byte late_link, late_from, late_to, late_seen, late_limit, late_held, late_number, late_job;
bit late_stale, late_is_down;

/* ---- The API's side: dispatch.c ---- */

mtype = { NEW, QUEUED, SENT, DONE };

typedef Attempt {
    byte worker, boot, number; /* number 0: none */
    bit open;
    bit hit /* ghost: a fault has touched it */
};
typedef Task {
    mtype state = NEW;
    byte starts;
    bit hedged; /* current is a second copy, of previous */
    Attempt current, previous
};
Task task[JOBS];

typedef Peer {
    byte boot, sent, limit;
    bit usable, refused
};
Peer peer[LINKS];
byte api_boot[APIS] = 1;
bit severed[LINKS]; /* the connection broke and the API has not noticed yet */

/* ---- The worker's side: credit.c ---- */

typedef Client {
    byte boot; /* 0: not known */
    byte seen, limit, told;
    bit owed
};
Client client[LINKS];
byte worker_boot[WORKERS] = 1;
typedef Held {
    byte number[JOBS]; /* 0: not held */
    bit cancelled[JOBS]
};
Held held[WORKERS];

byte faults = 0, hedges = 0;

inline clear_late()
{
    late_type = 0; late_link = 0; late_from = 0; late_to = 0; late_seen = 0; late_limit = 0; late_held = 0; late_number = 0; late_job = 0;
    late_stale = 0; late_is_down = 0
}

/* ---- Credit ---- */

#define HELD_OF(w, a) ((held[w].number[0] > 0 && OWNER(0) == a) + (held[w].number[1] > 0 && OWNER(1) == a) + (JOBS > 2 && held[w].number[JOBS - 1] > 0 && OWNER(JOBS - 1) == a))
#define HELD(w) (HELD_OF(w, 0) + HELD_OF(w, 1))
#define GRANTED(w) (client[LINK(0, w)].limit - client[LINK(0, w)].seen + client[LINK(1, w)].limit - client[LINK(1, w)].seen)
#define CREDITS(w) (ROOM > HELD(w) -> ROOM - HELD(w) : 0)

inline grant(l, n)
{
    client[l].limit = client[l].seen + n;
    client[l].owed = client[l].owed || client[l].limit != client[l].told
}

/* Share what is left of the room among the APIs that are known: all of it, so that none is lost. */
inline reckon(w)
{
#ifdef BROKEN_CREDIT
    credits = ROOM; /* what is held is not taken off: it counts twice */
#else
    credits = CREDITS(w);
#endif
    if
    :: client[LINK(0, w)].boot == 0 && client[LINK(1, w)].boot == 0 -> skip
    :: client[LINK(0, w)].boot > 0 && client[LINK(1, w)].boot == 0 -> grant(LINK(0, w), credits)
    :: client[LINK(0, w)].boot == 0 && client[LINK(1, w)].boot > 0 -> grant(LINK(1, w), credits)
    :: client[LINK(0, w)].boot > 0 && client[LINK(1, w)].boot > 0 ->
       /* One for each, as long as it holds none; the code's rule for a room of two. */
       first = (HELD_OF(w, 0) == 0 && credits > 0 -> 1 : 0);
       first = (HELD_OF(w, 1) > 0 && HELD_OF(w, 0) == 0 -> credits : first);
       grant(LINK(0, w), first);
       grant(LINK(1, w), credits - first)
    fi;
    first = 0;
    credits = 0;
    assert(GRANTED(w) <= CREDITS(w)); /* no credit is invented */
    assert(HELD(w) <= 2 * ROOM)
}

/* The numbers that worker w holds for API a, as a set. */
#define HELD_BIT(w, a, j) (held[w].number[j] > 0 && OWNER(j) == a -> BIT(held[w].number[j]) : 0)
#define HELD_SET(w, a) (HELD_BIT(w, a, 0) | HELD_BIT(w, a, 1) | HELD_BIT(w, a, JOBS - 1))

inline tell(l, w, a, kind, n, j)
{
    printf("worker %d.%d -> API %d: %e number %d job %d; seen %d, limit %d, held %d\n", w, worker_boot[w], a, kind, n, j, client[l].seen, client[l].limit, HELD_SET(w, a));
    down[l]!kind(worker_boot[w], client[l].boot, client[l].seen, client[l].limit, HELD_SET(w, a), n, j);
    client[l].told = client[l].limit;
    client[l].owed = 0
}

inline pass_over(l, n)
{
    if
    :: n > client[l].seen -> client[l].seen = n
    :: else
    fi;
    if
    :: client[l].limit < client[l].seen -> client[l].limit = client[l].seen
    :: else
    fi
}

inline forget_held(w, a)
{
    for (i : 0 .. JOBS - 1) {
        if
        :: OWNER(i) == a -> held[w].number[i] = 0; held[w].cancelled[i] = 0
        :: else
        fi
    }
    i = 0
}

inline take_hello(l, w, a)
{
    if
    :: from < client[l].boot -> skip /* of an API that was replaced */
    :: else ->
       if
       :: from > client[l].boot ->
          forget_held(w, a);
          client[l].boot = from;
          client[l].seen = 0;
          client[l].limit = 0;
          client[l].told = 0
       :: else
       fi;
#ifndef BROKEN_HELLO
       if
       :: to == worker_boot[w] -> pass_over(l, number)
       :: else
       fi;
#endif
       client[l].owed = 1;
       reckon(w)
    fi
}

inline take_job(l, w, a)
{
    if
    :: from != client[l].boot || from == 0 -> skip
    :: from == client[l].boot && to != worker_boot[w] -> tell(l, w, a, REFUSED, number, job)
    :: from == client[l].boot && to == worker_boot[w] && number <= client[l].seen -> skip /* reported lost already */
    :: else ->
       pass_over(l, number);
       if
       :: HELD(w) >= 2 * ROOM || held[w].number[job] > 0 -> reckon(w); tell(l, w, a, REFUSED, number, job)
       :: else -> held[w].number[job] = number; reckon(w)
       fi
    fi
}

inline take_cancel(w)
{
    if
    :: to == worker_boot[w] && held[w].number[job] == number ->
       if
       :: held[w].number[job] = 0; held[w].cancelled[job] = 0; reckon(w) /* it waited */
       :: held[w].cancelled[job] = 1                                     /* it runs */
       fi
    :: else
    fi
}

proctype Worker(byte w)
{
    byte i = 0, a, l, from, to, number, job, credits = 0, first = 0;
    mtype type;
end:
    do
    :: atomic {
           (len(up[LINK(0, w)]) > 0 && len(down[LINK(0, w)]) < LENGTH) || (len(up[LINK(1, w)]) > 0 && len(down[LINK(1, w)]) < LENGTH) ->
           if
           :: len(up[LINK(0, w)]) > 0 && len(down[LINK(0, w)]) < LENGTH -> a = 0
           :: len(up[LINK(1, w)]) > 0 && len(down[LINK(1, w)]) < LENGTH -> a = 1
           fi;
           l = LINK(a, w);
           if
           :: up[l]?HELLO(from, to, number, job) -> take_hello(l, w, a)
           :: up[l]?JOB(from, to, number, job) -> take_job(l, w, a)
           :: up[l]?CANCEL(from, to, number, job) -> take_cancel(w)
           fi;
           if
           :: client[l].owed && len(down[l]) < LENGTH -> tell(l, w, a, STATUS, 0, 0)
           :: else
           fi;
           from = 0; to = 0; number = 0; job = 0; a = 0; l = 0
       }
    :: atomic { /* what comes late */
           late_type != 0 && !late_is_down && late_link % WORKERS == w && len(down[late_link]) < LENGTH ->
           l = late_link;
           a = l / WORKERS;
           type = late_type; from = late_from; to = late_to; number = late_number; job = late_job;
           clear_late();
           if
           :: type == HELLO -> take_hello(l, w, a)
           :: type == JOB -> take_job(l, w, a)
           :: type == CANCEL -> take_cancel(w)
           fi;
           type = 0; from = 0; to = 0; number = 0; job = 0; a = 0; l = 0
       }
    :: atomic {
           client[LINK(0, w)].owed && len(down[LINK(0, w)]) < LENGTH -> tell(LINK(0, w), w, 0, STATUS, 0, 0)
       }
    :: atomic {
           client[LINK(1, w)].owed && len(down[LINK(1, w)]) < LENGTH -> tell(LINK(1, w), w, 1, STATUS, 0, 0)
       }
    od
}

/* Its converters: any job that is held may end next. */
proctype Converters(byte w)
{
    byte j = 0, l = 0, a = 0, number = 0, credits = 0, first = 0;
end:
    do
    :: atomic {
           if
           :: held[w].number[0] > 0 && len(down[LINK(OWNER(0), w)]) < LENGTH -> j = 0
           :: held[w].number[1] > 0 && len(down[LINK(OWNER(1), w)]) < LENGTH -> j = 1
#if JOBS > 2
           :: held[w].number[2] > 0 && len(down[LINK(OWNER(2), w)]) < LENGTH -> j = 2
#endif
           fi;
           a = OWNER(j);
           l = LINK(a, w);
           number = held[w].number[j];
           held[w].number[j] = 0;
           reckon(w);
           if
           :: held[w].cancelled[j] -> held[w].cancelled[j] = 0
           :: else -> tell(l, w, a, RESULT, number, j)
           fi;
           j = 0; l = 0; a = 0; number = 0
       }
    od
}

/* ---- Dispatch ---- */

#define IS_QUEUED(j, a) (OWNER(j) == a && task[j].state == QUEUED)
#define WAITS(a) (IS_QUEUED(0, a) || IS_QUEUED(1, a) || IS_QUEUED(JOBS - 1, a))
#define HAS_CREDIT(l) (peer[l].usable && !peer[l].refused && peer[l].sent < peer[l].limit && len(up[l]) < LENGTH)

inline drop_attempt(t)
{
    t.worker = 0; t.boot = 0; t.number = 0; t.open = 0; t.hit = 0
}

inline copy_attempt(t, x)
{
    t.worker = x.worker; t.boot = x.boot; t.number = x.number; t.open = x.open; t.hit = x.hit
}

inline cancel_attempt(a, j, t)
{
    if
    :: t.number > 0 && t.open && t.boot == peer[LINK(a, t.worker)].boot && len(up[LINK(a, t.worker)]) < LENGTH ->
       printf("API %d -> worker %d.%d: CANCEL number %d job %d\n", a, t.worker, t.boot, t.number, j);
       up[LINK(a, t.worker)]!CANCEL(api_boot[a], t.boot, t.number, j)
    :: else /* only work is saved by it */
    fi;
    drop_attempt(t)
}

/* Answered, failed, or its client left: forgotten, and never to be answered again. */
inline finish(j)
{
    printf("job %d is over\n", j);
    assert(task[j].state == QUEUED || task[j].state == SENT);
    drop_attempt(task[j].current);
    drop_attempt(task[j].previous);
    task[j].starts = 0; task[j].hedged = 0;
    task[j].state = DONE
}

#ifdef BROKEN_HEDGE
#define IS_AT_WORK_ELSEWHERE(a, j) false
#else
#define IS_AT_WORK_ELSEWHERE(a, j) (task[j].hedged && task[j].previous.open && peer[LINK(a, task[j].previous.worker)].usable && \
                                    task[j].previous.boot == peer[LINK(a, task[j].previous.worker)].boot)
#endif

/* The second copy is given up: the job is where it was. */
inline wait_for_first(j, counts, still_open)
{
    printf("job %d is left to worker %d.%d\n", j, task[j].previous.worker, task[j].previous.boot);
    copy_attempt(spare, task[j].current);
    copy_attempt(task[j].current, task[j].previous);
    if
    :: counts -> copy_attempt(task[j].previous, spare); task[j].previous.open = still_open
    :: else -> drop_attempt(task[j].previous); task[j].starts--
    fi;
    drop_attempt(spare)
}

/* All of its copies are given up. */
inline queue_again(a, j, counts, still_open)
{
    printf("job %d leaves worker %d.%d\n", j, task[j].current.worker, task[j].current.boot);
    if
    :: counts ->
       assert(task[j].previous.number == 0 || task[j].previous.hit); /* and none is left at work */
       cancel_attempt(a, j, task[j].previous);
       copy_attempt(task[j].previous, task[j].current);
       task[j].previous.open = still_open
    :: else -> task[j].starts--
    fi;
    drop_attempt(task[j].current);
    if
    :: task[j].starts >= STARTS ->
       cancel_attempt(a, j, task[j].previous);
       finish(j)
    :: else ->
#ifdef BROKEN_REQUEUE
       task[j].state = (counts -> SENT : QUEUED)
#else
       task[j].state = QUEUED
#endif
    fi
}

/* The job's attempt is given up. */
inline requeue(a, j, counts, still_open)
{
    assert(!counts || task[j].current.hit); /* no loss is invented */
    if
    :: IS_AT_WORK_ELSEWHERE(a, j) -> wait_for_first(j, counts, still_open)
    :: else -> queue_again(a, j, counts, still_open)
    fi;
    task[j].hedged = 0
}

inline lose_all(a, w)
{
    for (i : 0 .. JOBS - 1) {
        if
        :: OWNER(i) == a && task[i].state == SENT && task[i].current.number > 0 && task[i].current.worker == w -> requeue(a, i, 1, 1)
        :: else
        fi
    }
    i = 0
}

inline take_status(a, w, l)
{
    if
    :: from != peer[l].boot ->
       lose_all(a, w);
       peer[l].boot = from;
       peer[l].sent = 0;
       peer[l].limit = 0;
       severed[l] = 0
    :: else
    fi;
    if
    :: stale || seen > peer[l].sent -> skip
    :: else ->
       peer[l].limit = limit;
       peer[l].usable = 1;
       peer[l].refused = 0;
       for (i : 0 .. JOBS - 1) {
           if
           :: OWNER(i) == a && task[i].state == SENT && task[i].current.number > 0 && task[i].current.worker == w &&
              task[i].current.number <= seen && !(set & BIT(task[i].current.number)) -> requeue(a, i, 1, 0)
           :: else
           fi
       }
       i = 0;
       late_stale = late_stale || (late_type != 0 && late_link == l && late_from == from)
    fi
}

#define IS_ATTEMPT(t, w, b, n) (t.number == n && n > 0 && t.worker == w && t.boot == b)

inline take_result(a, w, l)
{
    if
    :: task[job].state != QUEUED && task[job].state != SENT -> skip
#ifdef BROKEN_BOOT
    :: task[job].state == SENT && task[job].current.number == number && task[job].current.worker == w ->
#else
    :: task[job].state == SENT && IS_ATTEMPT(task[job].current, w, from, number) && from == peer[l].boot ->
#endif
       drop_attempt(task[job].current);
       cancel_attempt(a, job, task[job].previous);
       finish(job)
    :: IS_ATTEMPT(task[job].previous, w, from, number) && from == peer[l].boot ->
       drop_attempt(task[job].previous);
       if
       :: task[job].state == SENT -> cancel_attempt(a, job, task[job].current)
       :: else
       fi;
       finish(job)
    :: else
    fi
}

/* The worker would not begin it. From a boot that has not seen the number itself, it speaks of one that was meant for the boot before. */
inline take_refused(a, w, l)
{
    if
    :: task[job].state == SENT && (from == peer[l].boot) == (seen >= number) && IS_ATTEMPT(task[job].current, w, peer[l].boot, number) ->
       requeue(a, job, 0, 0)
    :: else ->
       if
       :: (task[job].state == SENT || task[job].state == QUEUED) && task[job].previous.number == number && task[job].previous.worker == w &&
          (from == peer[l].boot && seen < number -> task[job].previous.boot < from : task[job].previous.boot == peer[l].boot) ->
          drop_attempt(task[job].previous);
          task[job].starts--;
          task[job].hedged = 0
       :: else
       fi
    fi
}

inline take_down(a, w, l)
{
    if
    :: to != api_boot[a] -> skip
#ifndef BROKEN_BOOT
    :: to == api_boot[a] && from < peer[l].boot -> skip /* of a boot that was replaced */
    :: to == api_boot[a] && from >= peer[l].boot ->
#else
    :: to == api_boot[a] ->
#endif
       if
       :: type == RESULT -> take_result(a, w, l)
       :: type == REFUSED -> take_refused(a, w, l)
       :: else
       fi;
       take_status(a, w, l);
       if
       :: type == REFUSED -> peer[l].refused = 1
       :: else
       fi
    fi
}

/* A fault touches the attempts of API a's jobs that are at worker w. */
inline hit_all(a, w)
{
    for (i : 0 .. JOBS - 1) {
        if
        :: OWNER(i) == a && task[i].state == SENT && task[i].current.worker == w -> task[i].current.hit = 1
        :: OWNER(i) == a && task[i].state == SENT && task[i].hedged && task[i].previous.worker == w -> task[i].previous.hit = 1
        :: else
        fi
    }
    i = 0
}

inline send(a, j, w)
{
    l = LINK(a, w);
    peer[l].sent++;
    assert(peer[l].sent < SEQUENCES);
    task[j].state = SENT;
    task[j].starts++;
    assert(task[j].starts <= STARTS);
    assert(task[j].previous.number == 0 || task[j].starts == STARTS); /* every copy counts */
    task[j].current.worker = w;
    task[j].current.boot = peer[l].boot;
    task[j].current.number = peer[l].sent;
    task[j].current.open = 1;
    task[j].current.hit = severed[l] || peer[l].boot != worker_boot[w];
    printf("API %d -> worker %d.%d: JOB number %d job %d\n", a, w, peer[l].boot, peer[l].sent, j);
    up[l]!JOB(api_boot[a], peer[l].boot, peer[l].sent, j);
    l = 0
}

/* Bind jobs that wait to workers that have granted credit, as late as this. */
inline dispatch(a)
{
    do
    :: atomic {
           if
           :: OWNER(0) == a && task[0].state == QUEUED -> j = 0
           :: OWNER(1) == a && task[1].state == QUEUED -> j = 1
           :: OWNER(JOBS - 1) == a && task[JOBS - 1].state == QUEUED -> j = JOBS - 1
           :: else -> break
           fi;
           if
           :: HAS_CREDIT(LINK(a, 0)) -> w = 0
           :: HAS_CREDIT(LINK(a, 1)) -> w = 1
           :: else -> break
           fi;
           send(a, j, w)
       }
    od;
    j = 0; w = 0
}

/* A second copy of a job whose worker seems to stand still. */
#define CAN_HEDGE(a, j) (OWNER(j) == a && task[j].state == SENT && task[j].starts < STARTS && task[j].previous.number == 0 && \
                         peer[LINK(a, task[j].current.worker)].usable && HAS_CREDIT(LINK(a, 1 - task[j].current.worker)))

inline hedge(a, j)
{
    hedges++;
    copy_attempt(task[j].previous, task[j].current);
    task[j].hedged = 1;
    w = 1 - task[j].current.worker;
    send(a, j, w);
    w = 0
}

#define HEARS(a, w) (len(down[LINK(a, w)]) > 0)

/* Both sides of a link think the same. */
#define IS_SENT_TO(w, a, j) (OWNER(j) == a && task[j].state == SENT && task[j].current.worker == w)
#define SENT_TO(w, a) (IS_SENT_TO(w, a, 0) + IS_SENT_TO(w, a, 1) + (JOBS > 2 && IS_SENT_TO(w, a, JOBS - 1)))
#define LINKED(a, w) (client[LINK(a, w)].boot == api_boot[a] && peer[LINK(a, w)].boot == worker_boot[w] && peer[LINK(a, w)].usable && \
                      peer[LINK(a, w)].sent == client[LINK(a, w)].seen && peer[LINK(a, w)].limit == client[LINK(a, w)].limit)
#define AGREED(a, w) (LINKED(a, w) && HELD_OF(w, a) == SENT_TO(w, a))

/* A timer lets an API say HELLO on links where nothing is under way, once it has read what has arrived. Where both sides agree already, HELLO and its STATUS
 * would change nothing, and are left out. With PATIENT timers are slower than conversions too. */
#ifdef PATIENT
#define QUIET(a, w) (HELD_OF(w, a) == 0)
#else
#define QUIET(a, w) true
#endif
#define STILL(a, w) (len(up[LINK(a, w)]) == 0 && len(down[LINK(a, w)]) == 0 && !AGREED(a, w) && QUIET(a, w))
#define TIME(a) ((STILL(a, 0) || STILL(a, 1)) && !HEARS(a, 0) && !HEARS(a, 1))

inline hello(a, w)
{
    if
    :: STILL(a, w) ->
       printf("API %d -> worker %d.%d: HELLO sent %d\n", a, w, peer[LINK(a, w)].boot, peer[LINK(a, w)].sent);
       up[LINK(a, w)]!HELLO(api_boot[a], peer[LINK(a, w)].boot, peer[LINK(a, w)].sent, 0); peer[LINK(a, w)].refused = 0
    :: else
    fi
}

inline admit(a, n)
{
    task[n].state = QUEUED;
    dispatch(a)
}

/* The client of a job leaves. */
inline leave(a, n)
{
    if
    :: task[n].state == SENT -> cancel_attempt(a, n, task[n].current)
    :: else
    fi;
    cancel_attempt(a, n, task[n].previous);
    finish(n)
}

#define MINE(n, a, s) (OWNER(n) == a && task[n].state == s)

proctype Api(byte a)
{
    byte i = 0, j = 0, w = 0, l = 0, from, to, seen, limit, set, number, job;
    bit stale;
    mtype type;
    Attempt spare;
end:
    do
    :: atomic { MINE(0, a, NEW) -> admit(a, 0) }
    :: atomic { MINE(1, a, NEW) -> admit(a, 1) }
#if JOBS > 2
    :: atomic { MINE(2, a, NEW) -> admit(a, 2) }
#endif
    :: atomic { MINE(0, a, QUEUED) || MINE(0, a, SENT) -> leave(a, 0) }
    :: atomic {
           HEARS(a, 0) || HEARS(a, 1) ->
           if
           :: HEARS(a, 0) -> w = 0
           :: HEARS(a, 1) -> w = 1
           fi;
           l = LINK(a, w);
           down[l]?type(from, to, seen, limit, set, number, job);
           take_down(a, w, l);
           type = 0; from = 0; to = 0; seen = 0; limit = 0; set = 0; number = 0; job = 0; w = 0; l = 0;
           dispatch(a)
       }
    :: atomic { /* what comes late */
           late_type != 0 && late_is_down && late_link / WORKERS == a ->
           w = late_link % WORKERS;
           l = late_link;
           type = late_type; from = late_from; to = late_to; seen = late_seen; limit = late_limit; set = late_held; number = late_number; job = late_job;
           stale = late_stale;
           printf("late, from worker %d.%d at API %d: %e number %d job %d\n", w, from, a, type, number, job);
           clear_late();
#ifdef BROKEN_STALE
           stale = 0;
#endif
           take_down(a, w, l);
           type = 0; from = 0; to = 0; seen = 0; limit = 0; set = 0; number = 0; job = 0; w = 0; l = 0; stale = 0;
           dispatch(a)
       }
    :: atomic { TIME(a) -> hello(a, 0); hello(a, 1); dispatch(a) }
    :: atomic { WAITS(a) && (HAS_CREDIT(LINK(a, 0)) || HAS_CREDIT(LINK(a, 1))) -> dispatch(a) }
#if HEDGES > 0
    :: atomic { hedges < HEDGES && !WAITS(a) && CAN_HEDGE(a, 0) -> hedge(a, 0) }
    :: atomic { hedges < HEDGES && !WAITS(a) && CAN_HEDGE(a, 1) -> hedge(a, 1) }
#if JOBS > 2
    :: atomic { hedges < HEDGES && !WAITS(a) && CAN_HEDGE(a, 2) -> hedge(a, 2) }
#endif
#endif
    :: atomic { /* a worker counts as silent, though it is there */
           faults < FAULTS && (peer[LINK(a, 0)].usable || peer[LINK(a, 1)].usable) ->
           faults++;
           if
           :: peer[LINK(a, 0)].usable -> w = 0
           :: peer[LINK(a, 1)].usable -> w = 1
           fi;
           printf("FAULT: API %d takes worker %d for silent\n", a, w);
           peer[LINK(a, w)].usable = 0;
           hit_all(a, w);
           lose_all(a, w);
           w = 0;
           dispatch(a)
       }
    :: atomic {
           severed[LINK(a, 0)] || severed[LINK(a, 1)] ->
           w = (severed[LINK(a, 0)] -> 0 : 1);
           l = LINK(a, w);
           severed[l] = 0;
           peer[l].usable = 0;
           lose_all(a, w);
           w = 0; l = 0;
           dispatch(a)
       }
    od
}

/* ---- Faults ---- */

inline drain_up(l)
{
    do
    :: nempty(up[l]) -> up[l]?type(from, to, number, job)
    :: empty(up[l]) -> break
    od
}

inline drain_down(l)
{
    do
    :: nempty(down[l]) -> down[l]?type(from, to, seen, limit, set, number, job)
    :: empty(down[l]) -> break
    od
}

/* The first message that is under way from a worker becomes late. */
inline delay_down(l)
{
    down[l]?late_type(late_from, late_to, late_seen, late_limit, late_held, late_number, late_job);
    late_link = l;
    late_is_down = 1
}

#define IS_OF(l, t) (t.number == number && t.worker == l % WORKERS)

/* What a RESULT or REFUSED speaks of. */
inline hit_first(l)
{
    down[l]?<type, from, to, seen, limit, set, number, job>;
    if
    :: type != STATUS && task[job].state == SENT && IS_OF(l, task[job].current) -> task[job].current.hit = 1
    :: type != STATUS && task[job].state == SENT && task[job].hedged && IS_OF(l, task[job].previous) -> task[job].previous.hit = 1
    :: else
    fi
}

/* All that the worker knew is gone; what it had said may arrive or not. */
inline restart_worker(w)
{
    worker_boot[w]++;
    printf("FAULT: worker %d restarts as %d.%d\n", w, w, worker_boot[w]);
    for (a : 0 .. APIS - 1) {
        l = LINK(a, w);
        hit_all(a, w);
        drain_up(l);
        if
#ifdef LATE
        :: late_type == 0 && len(down[l]) > 0 -> delay_down(l)
#endif
        :: drain_down(l)
        :: true
        fi;
        client[l].boot = 0; client[l].seen = 0; client[l].limit = 0; client[l].told = 0; client[l].owed = 0;
        severed[l] = peer[l].boot > 0
    }
    a = 0; l = 0;
    for (i : 0 .. JOBS - 1) {
        held[w].number[i] = 0; held[w].cancelled[i] = 0
    }
    i = 0
}

/* The clients of its requests see their connections end; what is under way to workers arrives or not. */
inline restart_api(a)
{
    api_boot[a]++;
    printf("FAULT: API %d restarts\n", a);
    for (i : 0 .. JOBS - 1) {
        if
        :: OWNER(i) == a && (task[i].state == QUEUED || task[i].state == SENT) ->
           finish(i)
        :: else
        fi
    }
    i = 0;
    for (w : 0 .. WORKERS - 1) {
        l = LINK(a, w);
        peer[l].boot = 0; peer[l].sent = 0; peer[l].limit = 0; peer[l].usable = 0; peer[l].refused = 0;
        severed[l] = 0;
        drain_down(l);
        if
        :: drain_up(l)
        :: skip
        fi
    }
    w = 0; l = 0
}

/* The connection on which an API sends breaks: what is under way is lost, but for one message that comes late. */
inline break_up(a, w)
{
    l = LINK(a, w);
    printf("FAULT: the connection from API %d to worker %d breaks\n", a, w);
    severed[l] = 1;
    hit_all(a, w);
    if
#ifdef LATE
    :: nempty(up[l]) && late_type == 0 ->
       up[l]?late_type(late_from, late_to, late_number, late_job);
       late_link = l
#endif
    :: skip
    fi;
    drain_up(l);
    l = 0
}

/* The connection on which a worker sends breaks; the API does not notice that. */
inline break_down(l)
{
    printf("FAULT: the connection from worker %d to API %d breaks\n", l % WORKERS, l / WORKERS);
    hit_first(l);
    if
#ifdef LATE
    :: late_type == 0 -> delay_down(l)
#endif
    :: down[l]?type(from, to, seen, limit, set, number, job)
    fi;
    if
    :: len(down[l]) > 0 -> hit_first(l); drain_down(l)
    :: true
    fi
}

inline choose(x)
{
    if
    :: x = 0
    :: x = 1
    fi
}

proctype Fate()
{
    byte i = 0, a = 0, w = 0, l = 0, from, to, seen, limit, set, number, job;
    mtype type;
    do
    :: atomic {
           faults < FAULTS -> faults++;
           if
           :: w = 0
           :: faults > 1 -> w = 1 /* the first is at worker 0, since workers are alike */
           fi;
           if
           :: restart_worker(w)
           :: choose(a); restart_api(a)
           :: choose(a); break_up(a, w)
           :: len(down[LINK(0, w)]) > 0 -> break_down(LINK(0, w))
           :: len(down[LINK(1, w)]) > 0 -> break_down(LINK(1, w))
           fi;
           i = 0; a = 0; w = 0; type = 0; from = 0; to = 0; seen = 0; limit = 0; set = 0; number = 0; job = 0
       }
    :: break
    od
}

/* ---- What must hold in the end ---- */

#define WHOLE(w) (HELD(w) == 0 && GRANTED(w) == ROOM)

/* Every job that was admitted is answered, or its client left. */
ltl answered { <> (task[0].state == DONE && task[1].state == DONE && task[JOBS - 1].state == DONE) }
/* Afterwards no credit is missing: all the room is granted, and both sides agree on it. */
ltl settled { <> [] (LINKED(0, 0) && LINKED(0, 1) && LINKED(1, 0) && LINKED(1, 1) && WHOLE(0) && WHOLE(1)) }

init
{
    byte l = 0;
    atomic {
        /* Begun long ago: all know each other, and each worker has granted each API one credit. */
        do
        :: l < LINKS ->
           client[l].boot = 1; client[l].limit = 1; client[l].told = 1;
           peer[l].boot = 1; peer[l].limit = 1; peer[l].usable = 1;
           l++
        :: else -> break
        od;
        run Worker(0);
        run Worker(1);
        run Converters(0);
        run Converters(1);
        run Api(0);
        run Api(1);
        run Fate()
    }
}

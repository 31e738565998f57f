/* SPDX-License-Identifier: MIT */
/* The simulator's command line: plays seeds on all cores, replays one, cuts a failing one down. */
#include "shrink.h"
#include "sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILURES_MAX = 16, PROCESSES_MAX = 64 };

struct failure {
    uint64_t seed;
    struct violation violation;
};

/* What the processes that play seeds share. */
struct board {
    _Atomic uint64_t next, played, answered, failed, refused, starts, requeues, crashes, lost, duplicates, batches,
        read, kept;
    atomic_bool stop;
    atomic_size_t failures;
    struct failure failure[FAILURES_MAX];
    _Atomic uint64_t playing[PROCESSES_MAX]; /* 0: none */
};

struct options {
    uint64_t first, last;
    unsigned processes;
    bool one, trace, stop_at_first, cut;
    const char *replay, *out;
};

static void *shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

static void report(struct board *b, uint64_t seed, const struct violation *v)
{
    size_t i = atomic_fetch_add(&b->failures, 1);
    if (i < FAILURES_MAX)
        b->failure[i] = (struct failure){.seed = seed, .violation = *v};
}

static void count(struct board *b, const struct sim *s)
{
    b->played++;
    b->answered += s->counts.answered;
    b->failed += s->counts.failed;
    b->refused += s->counts.refused;
    b->starts += s->counts.starts;
    b->requeues += s->counts.requeues;
    b->crashes += s->counts.crashes;
    b->lost += s->counts.lost;
    b->duplicates += s->counts.duplicates;
    b->batches += s->counts.batches;
    b->read += s->counts.read;
    b->kept += s->counts.kept;
}

static void play_some(struct board *b, const struct options *o, unsigned process)
{
    struct plan *plan = malloc(sizeof *plan);
    struct sim *s = malloc(sizeof *s);
    uint64_t seed;

    if (!plan || !s)
        abort();
    while (!b->stop && (seed = atomic_fetch_add(&b->next, 1)) <= o->last) {
        b->playing[process] = seed;
        plan_make(seed, plan);
        sim_play(plan, false, s);
        if (s->violation.name[0] != '\0') {
            report(b, seed, &s->violation);
            b->stop = b->stop || o->stop_at_first;
        }
        count(b, s);
        sim_free(s);
    }
    b->playing[process] = 0;
    free(plan);
    free(s);
}

static void play_all(struct board *b, const struct options *o)
{
    pid_t pids[PROCESSES_MAX];

    b->next = o->first;
    for (unsigned i = 0; i < o->processes; i++) {
        fflush(stdout);
        pids[i] = fork();
        if (pids[i] < 0)
            abort();
        if (pids[i] == 0) {
            play_some(b, o, i);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < o->processes; i++) {
        struct violation crash = {.name = "crash", .text = "the program ended"};
        int status;
        if (waitpid(pids[i], &status, 0) == pids[i] && status != 0)
            report(b, b->playing[i], &crash);
    }
}

/* Write the smallest history that fails, for tests/sim/found. */
static void cut_down(const struct options *o, uint64_t seed, const struct violation *v)
{
    struct plan *plan = malloc(sizeof *plan);
    char path[512];
    if (!plan)
        abort();
    plan_make(seed, plan);
    size_t before = plan->count;
    unsigned plays = shrink(plan, v->name);
    snprintf(path, sizeof path, "%s/%s-%" PRIu64 ".plan", o->out, v->name, seed);
    FILE *out = fopen(path, "w");
    if (!out) {
        perror(path);
    } else {
        fprintf(out, "# Violated \"%s\" by seed %" PRIu64 ".\n", v->name, seed);
        plan_write(plan, out);
        fclose(out);
        printf("  cut from %zu inputs to %zu (%u plays); replay: build/sim --trace --replay %s\n", before, plan->count,
               plays, path);
    }
    free(plan);
}

static int play_seeds(const struct options *o)
{
    struct board *b = shared(sizeof *b);
    play_all(b, o);
    size_t failures = b->failures;
    for (size_t i = 0; i < failures && i < FAILURES_MAX; i++) {
        const struct failure *f = &b->failure[i];
        printf("seed %" PRIu64 ": %s at %.3f ms: %s\n", f->seed, f->violation.name, (double)f->violation.at_us / MS,
               f->violation.text);
        if (i == 0 && o->cut)
            cut_down(o, f->seed, &f->violation);
    }
    printf("sim: %" PRIu64 " histories, %zu failed; %" PRIu64 " requests answered well, %" PRIu64 " not, %" PRIu64
           " refused; %" PRIu64 " conversions, %" PRIu64 " requeues, %" PRIu64 " converters ended, %" PRIu64
           " messages lost, %" PRIu64 " doubled, %" PRIu64 " batches of usage; %" PRIu64
           " images read in place, %" PRIu64 " kept beyond their requests\n",
           b->played, failures, b->answered, b->failed, b->refused, b->starts, b->requeues, b->crashes, b->lost,
           b->duplicates, b->batches, b->read, b->kept);
    munmap(b, sizeof *b);
    return failures ? 1 : 0;
}

static int play_one(const struct options *o, const struct plan *plan, const char *name)
{
    struct sim *s = malloc(sizeof *s);
    if (!s)
        abort();
    sim_play(plan, o->trace, s);
    bool failed = s->violation.name[0] != '\0';
    if (failed)
        printf("%s: %s at %.3f ms: %s\n", name, s->violation.name, (double)s->violation.at_us / MS, s->violation.text);
    else
        printf("%s: ok, %" PRIu64 " steps, digest %016" PRIx64 "\n", name, s->steps, s->digest);
    sim_free(s);
    free(s);
    return failed ? 1 : 0;
}

static int replay(const struct options *o)
{
    struct plan *plan = malloc(sizeof *plan);
    FILE *in = fopen(o->replay, "r");
    int line = 0;
    if (!plan || !in || !plan_read(in, plan, &line)) {
        fprintf(stderr, "sim: %s: cannot be read (line %d)\n", o->replay, line);
        free(plan);
        if (in)
            fclose(in);
        return 2;
    }
    fclose(in);
    int status = play_one(o, plan, o->replay);
    free(plan);
    return status;
}

static int play_seed(const struct options *o)
{
    struct plan *plan = malloc(sizeof *plan);
    char name[32];
    if (!plan)
        abort();
    plan_make(o->first, plan);
    snprintf(name, sizeof name, "seed %" PRIu64, o->first);
    int status = play_one(o, plan, name);
    if (status == 1 && o->cut) {
        struct violation v;
        shrink_play(plan, &v);
        cut_down(o, o->first, &v);
    }
    free(plan);
    return status;
}

static void usage(FILE *out)
{
    fputs(
        "usage: sim [--seeds FIRST-LAST] [--processes N] [--first] [--cut DIR]\n"
        "       sim --seed N [--trace] [--cut DIR]\n"
        "       sim --replay FILE [--trace]\n"
        "Plays histories of API servers, workers and the meter under faults, and checks the invariants at every step.\n"
        "--first stops at the first history that fails; --cut writes the smallest one that fails like it to DIR.\n",
        out);
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option long_options[] = {{"seeds", required_argument, NULL, 's'},
                                                 {"seed", required_argument, NULL, 'n'},
                                                 {"processes", required_argument, NULL, 'p'},
                                                 {"trace", no_argument, NULL, 't'},
                                                 {"first", no_argument, NULL, 'f'},
                                                 {"cut", required_argument, NULL, 'c'},
                                                 {"replay", required_argument, NULL, 'r'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    char *end;
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 's':
            o->first = strtoull(optarg, &end, 10);
            if (*end != '-')
                return false;
            o->last = strtoull(end + 1, NULL, 10);
            break;
        case 'n':
            o->one = true;
            o->first = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            o->processes = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            o->trace = true;
            break;
        case 'f':
            o->stop_at_first = true;
            break;
        case 'c':
            o->cut = true;
            o->out = optarg;
            break;
        case 'r':
            o->replay = optarg;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            return false;
        }
    }
    return optind == argc && o->processes >= 1 && o->processes <= PROCESSES_MAX;
}

int main(int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = {.first = 1, .last = 1000, .processes = cores < 1 ? 1 : cores > 16 ? 16 : (unsigned)cores};
    if (!read_options(argc, argv, &o)) {
        usage(stderr);
        return 2;
    }
    if (o.replay)
        return replay(&o);
    return o.one ? play_seed(&o) : play_seeds(&o);
}

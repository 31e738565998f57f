/* SPDX-License-Identifier: MIT */
/* Delta debugging (Zeller, Hildebrandt: Simplifying and isolating failure-inducing input, 2002) over the inputs of a plan, then its settings. */
#include "shrink.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLAYS_MAX = 4000, PLAY_SECONDS = 20 };

struct shrinker {
    struct plan *best;
    struct plan *trial;
    const char *violation;
    unsigned plays;
};

void shrink_play(const struct plan *plan, struct violation *out)
{
    struct violation *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;

    if (shared == MAP_FAILED)
        abort();
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        struct sim *s = malloc(sizeof *s);
        alarm(PLAY_SECONDS);
        if (!s)
            abort();
        sim_play(plan, false, s);
        *shared = s->violation;
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid)
        abort();
    *out = *shared;
    munmap(shared, sizeof *shared);
    if (WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0)) {
        *out = (struct violation){.name = "crash"};
        snprintf(out->text, sizeof out->text, "the program ended with %s %d", WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

/* Keep the trial when it still fails in the same way. */
static bool try_it(struct shrinker *z)
{
    struct violation v;
    if (z->plays >= PLAYS_MAX)
        return false;
    z->plays++;
    shrink_play(z->trial, &v);
    if (strcmp(v.name, z->violation) != 0)
        return false;
    /* Nothing after the violation matters. */
    size_t count = 0;
    for (size_t i = 0; i < z->trial->count; i++)
        if (strcmp(v.name, "rest") == 0 || v.at_us == 0 || z->trial->inputs[i].at_us <= v.at_us)
            z->trial->inputs[count++] = z->trial->inputs[i];
    z->trial->count = count;
    *z->best = *z->trial;
    return true;
}

static bool is_request(const struct input *in)
{
    return in->kind == INPUT_REQUEST || in->kind == INPUT_LEAVE;
}

/* Leave out the inputs of one kind, requests or faults, whose ordinal is in [from, to). */
static void without(const struct shrinker *z, bool requests, size_t from, size_t to)
{
    size_t ordinal = 0, count = 0;
    *z->trial = *z->best;
    for (size_t i = 0; i < z->best->count; i++) {
        const struct input *in = &z->best->inputs[i];
        bool of_kind = is_request(in) == requests;
        bool out = of_kind && ordinal >= from && ordinal < to;
        ordinal += of_kind;
        if (!out)
            z->trial->inputs[count++] = *in;
    }
    z->trial->count = count;
}

static size_t count_of(const struct plan *p, bool requests)
{
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        n += is_request(&p->inputs[i]) == requests;
    return n;
}

static bool cut_inputs(struct shrinker *z, bool requests)
{
    bool any = false;
    for (size_t piece = count_of(z->best, requests); piece > 0; piece = piece > 1 ? (piece + 1) / 2 : 0) {
        for (size_t from = 0; from < count_of(z->best, requests);) {
            without(z, requests, from, from + piece);
            if (try_it(z))
                any = true;
            else
                from += piece;
        }
    }
    return any;
}

static bool cut_setting(struct shrinker *z, int *of_trial, int value)
{
    if (*of_trial == value)
        return false;
    *of_trial = value;
    return try_it(z);
}

static bool cut_settings(struct shrinker *z)
{
    static const size_t offsets[] = {offsetof(struct plan, loss),          offsetof(struct plan, duplicates),
                                     offsetof(struct plan, slow_messages), offsetof(struct plan, bad_outcomes),
                                     offsetof(struct plan, refused_sends), offsetof(struct plan, fifo)};
    bool any = false;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        *z->trial = *z->best;
        any |= cut_setting(z, (int *)(void *)((char *)z->trial + offsets[i]), 0);
    }
    for (int n = 1; n < z->best->apis; n++) {
        *z->trial = *z->best;
        any |= cut_setting(z, &z->trial->apis, n);
    }
    for (int n = 1; n < z->best->workers; n++) {
        *z->trial = *z->best;
        any |= cut_setting(z, &z->trial->workers, n);
    }
    return any;
}

unsigned shrink(struct plan *plan, const char *violation)
{
    struct shrinker z = {.best = plan, .trial = malloc(sizeof *plan), .violation = violation};
    if (!z.trial)
        abort();
    *z.trial = *plan;
    if (try_it(&z))
        while (cut_inputs(&z, false) | cut_inputs(&z, true) | cut_settings(&z))
            ;
    free(z.trial);
    return z.plays;
}

/* SPDX-License-Identifier: MIT */
/* Histories from seeds, and their text form. */
#include "plan.h"

#include "noise.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MS = 1000 };

static struct input *add(struct plan *p, int64_t at_us, enum input_kind kind, int node)
{
    static struct input spare;
    struct input *in = p->count < PLAN_INPUTS_MAX ? &p->inputs[p->count] : &spare;
    *in = (struct input){.at_us = at_us, .id = (uint32_t)++p->count, .kind = kind, .node = node};
    if (p->count > PLAN_INPUTS_MAX)
        p->count = PLAN_INPUTS_MAX;
    return in;
}

static int any_worker(struct noise *n, const struct plan *p)
{
    return FIRST_WORKER + (int)noise_below(n, p->workers);
}

static int any_api(struct noise *n, const struct plan *p)
{
    return (int)noise_below(n, p->apis);
}

/* Gentle and wild alike; what only a wild history can bear is told apart by `wild`. */
static void add_fault(struct noise *n, struct plan *p, int64_t at_us, bool wild)
{
    static const enum input_kind kinds[] = {INPUT_KILL,  INPUT_KILL,      INPUT_BREAK,     INPUT_BREAK, INPUT_LOSE,
                                            INPUT_LOSE,  INPUT_PARTITION, INPUT_PARTITION, INPUT_PAUSE, INPUT_PAUSE,
                                            INPUT_DRAIN, INPUT_JUMP,      INPUT_WALL,      INPUT_SLOW,  INPUT_SLOTS};
    const int64_t count = (int64_t)(sizeof kinds / sizeof kinds[0]);
    enum input_kind kind = kinds[noise_below(n, wild ? count : count - 1)];
    int worker = any_worker(n, p), api = any_api(n, p);
    int where = (int)noise_below(n, 10);
    int node = where < 5 ? worker : where < 9 ? api : METER;
    struct input *in = add(p, at_us, kind, node);

    switch (kind) {
    case INPUT_KILL:
        in->x = 1 + noise_below(n, noise_chance(n, 500) ? 5 * MS : 200 * MS);
        p->patience_us = 250 * MS;
        break;
    case INPUT_BREAK:
    case INPUT_LOSE:
    case INPUT_PARTITION:
        /* An API is at one end of every connection. */
        in->node = noise_chance(n, 500) ? api : node == METER ? METER : worker;
        in->peer = in->node == api ? (node == METER ? METER : worker) : api;
        in->x = kind == INPUT_BREAK ? 10 * MS + noise_below(n, 90 * MS) : 1 + noise_below(n, 2500 * MS);
        in->y = kind == INPUT_BREAK ? noise_below(n, 2) * noise_below(n, 120 * MS) : noise_below(n, 2);
        if (kind == INPUT_LOSE)
            in->x = 1 + noise_below(n, 3);
        /* A result that was lost is found out by the next status; a partition by a second of silence. */
        p->patience_us = kind == INPUT_PARTITION ? 1450 * MS : kind == INPUT_LOSE ? 1000 * MS : 600 * MS;
        break;
    case INPUT_PAUSE:
        in->x = 1 + noise_below(n, 2500 * MS);
        p->patience_us = node == api ? 2600 * MS : 1150 * MS;
        break;
    case INPUT_DRAIN:
        in->node = worker;
        in->x = 1 + noise_below(n, 200 * MS);
        p->patience_us = 250 * MS;
        break;
    case INPUT_JUMP:
        in->x = 1 + noise_below(n, 2500 * MS);
        p->patience_us = node == api ? 2600 * MS : 500 * MS;
        break;
    case INPUT_WALL:
        in->node = noise_chance(n, 800) ? api : METER;
        in->x = noise_between(n, -INT64_C(7200) * 1000 * MS, INT64_C(7200) * 1000 * MS);
        break;
    case INPUT_SLOW:
        in->node = worker;
        in->x = 1 + noise_below(n, 1000 * MS);
        in->y = noise_between(n, 2, 10);
        p->patience_us = 700 * MS;
        break;
    default:
        in->kind = INPUT_SLOTS;
        in->node = worker;
        in->x = noise_below(n, SLOTS_MAX + 1);
        break;
    }
}

/* Both ends of a connection restart while what one of them said is held up: the last words of the dead come after the first of the living. */
static void add_double_restart(struct noise *n, struct plan *p, int64_t at_us)
{
    int worker = any_worker(n, p), api = any_api(n, p);
    bool worker_first = noise_chance(n, 500);
    int64_t second_us = at_us + 20 * MS + noise_below(n, 300 * MS);

    add(p, at_us, INPUT_KILL, worker_first ? worker : api)->x = 1 + noise_below(n, 5 * MS);
    struct input *in = add(p, at_us + 1 + noise_below(n, 110 * MS), INPUT_PARTITION, api);
    in->peer = worker;
    in->x = 50 * MS + noise_below(n, 1500 * MS);
    add(p, second_us, INPUT_KILL, worker_first ? api : worker)->x = 1 + noise_below(n, 5 * MS);
}

static void add_request(struct noise *n, struct plan *p, int64_t at_us, int64_t deadline_us, unsigned flags)
{
    struct input *in = add(p, at_us, INPUT_REQUEST, any_api(n, p));
    in->x = 1 * MS + noise_below(n, 14 * MS);
    in->y = deadline_us;
    in->z = 1 + noise_below(n, 12000);
    in->w = 1 + noise_below(n, CUSTOMERS);
    in->flags = flags | (noise_chance(n, 200) ? REQUEST_LARGE : 0);
}

/* Requests at random times, `every_us` apart on average. */
static void add_load(struct noise *n, struct plan *p, int64_t from_us, int64_t to_us, int64_t every_us, bool wild)
{
    for (int64_t at_us = from_us; at_us < to_us; at_us += 1 + noise_below(n, 2 * every_us)) {
        bool must = !wild && !noise_chance(n, 40);
        bool poison = !must && (!wild || noise_chance(n, 40));
        add_request(n, p, at_us, wild ? 20 * MS + noise_below(n, 3000 * MS) : 8000 * MS,
                    (must ? REQUEST_MUST_SUCCEED : 0) | (poison ? REQUEST_POISON : 0));
        if (wild && noise_chance(n, 30))
            add(p, at_us + noise_below(n, 20 * MS), INPUT_LEAVE, any_api(n, p))->x = noise_below(n, 1000);
    }
}

static int by_time(const void *a, const void *b)
{
    const struct input *x = a, *y = b;
    if (x->at_us != y->at_us)
        return x->at_us < y->at_us ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void make_gentle(struct noise *n, struct plan *p)
{
    p->apis = (int)noise_between(n, 1, APIS_MAX);
    p->workers = (int)noise_between(n, 2, 3);
    for (int w = 0; w < p->workers; w++)
        p->slots[w] = (int)noise_between(n, 2, SLOTS_MAX);
    p->max_queued = p->customer_queued = 2000;
    p->arena_extents = 16 * 1024;
    p->target_ms = 600 * 1000;
    p->patience_us = 250 * MS;
    p->quiet_us = 0;
    p->end_us = 10 * 1000 * MS;
    add_load(n, p, 1000 * MS, 2000 * MS, 6 * MS, false);
    /* Mostly while something is under way. */
    const struct input *near = &p->inputs[noise_below(n, (int64_t)p->count)];
    int64_t at_us =
        noise_chance(n, 700) ? near->at_us + noise_below(n, 16 * MS) : 1000 * MS + noise_below(n, 1000 * MS);
    add_fault(n, p, at_us, false);
}

static void make_wild(struct noise *n, struct plan *p)
{
    p->apis = (int)noise_between(n, 1, APIS_MAX);
    p->workers = (int)noise_between(n, 1, WORKERS_MAX);
    for (int w = 0; w < p->workers; w++)
        p->slots[w] = (int)noise_between(n, 1, SLOTS_MAX);
    p->max_queued = (int)noise_between(n, 8, 256);
    p->customer_queued = (int)noise_between(n, 4, 200);
    p->arena_extents = (int)noise_between(n, 64, 512);
    p->target_ms = (int)noise_between(n, 50, 1000);
    p->loss = (int)noise_below(n, 2) * (int)noise_below(n, 30);
    p->duplicates = (int)noise_below(n, 2) * (int)noise_below(n, 60);
    p->slow_messages = (int)noise_below(n, 60);
    p->bad_outcomes = (int)noise_below(n, 2) * (int)noise_below(n, 80);
    p->refused_sends = (int)noise_below(n, 2) * (int)noise_below(n, 60);
    p->quiet_us = 3000 * MS;
    p->end_us = 10500 * MS;
    int64_t every_us = noise_between(n, 3, 12) * MS, fault_every_us = noise_between(n, 50, 400) * MS;
    add_load(n, p, 1000 * MS, p->quiet_us, every_us, true);
    for (int64_t at_us = 1000 * MS + noise_below(n, fault_every_us); at_us < p->quiet_us;
         at_us += 1 + noise_below(n, 2 * fault_every_us)) {
        if (noise_chance(n, 150))
            add_double_restart(n, p, at_us);
        else
            add_fault(n, p, at_us, true);
    }
    /* Enough for all to be found again, and for every deadline to pass. */
    for (int w = 0; w < p->workers; w++)
        add(p, p->quiet_us, INPUT_SLOTS, FIRST_WORKER + w)->x = noise_between(n, 2, SLOTS_MAX);
    for (int64_t at_us = p->quiet_us + 6000 * MS; at_us < p->quiet_us + 6200 * MS; at_us += noise_below(n, 20 * MS))
        add_request(n, p, at_us, 8000 * MS, REQUEST_MUST_SUCCEED);
    p->patience_us = 150 * MS;
}

void plan_make(uint64_t seed, struct plan *p)
{
    struct noise n = {noise_of(seed, 0, 0)};

    memset(p, 0, sizeof *p);
    p->seed = seed;
    p->fifo = seed % 3 == 0;
    p->retry_percent = 10;
    if (seed % 2 == 0)
        make_gentle(&n, p);
    else
        make_wild(&n, p);
    qsort(p->inputs, p->count, sizeof p->inputs[0], by_time);
}

/* ---- Text ---- */

static const char *const names[INPUT_KINDS] = {
    [INPUT_REQUEST] = "request", [INPUT_LEAVE] = "leave",         [INPUT_KILL] = "kill",   [INPUT_BREAK] = "break",
    [INPUT_LOSE] = "lose",       [INPUT_PARTITION] = "partition", [INPUT_PAUSE] = "pause", [INPUT_DRAIN] = "drain",
    [INPUT_SLOTS] = "slots",     [INPUT_JUMP] = "jump",           [INPUT_WALL] = "wall",   [INPUT_SLOW] = "slow",
};

const char *input_name(enum input_kind kind)
{
    return names[kind];
}

/* The settings that are plain integers, by name. */
static const struct {
    const char *name;
    size_t offset;
} settings[] = {
    {"apis", offsetof(struct plan, apis)},
    {"workers", offsetof(struct plan, workers)},
    {"slots-1", offsetof(struct plan, slots[0])},
    {"slots-2", offsetof(struct plan, slots[1])},
    {"slots-3", offsetof(struct plan, slots[2])},
    {"slots-4", offsetof(struct plan, slots[3])},
    {"fifo", offsetof(struct plan, fifo)},
    {"max-queued", offsetof(struct plan, max_queued)},
    {"customer-queued", offsetof(struct plan, customer_queued)},
    {"arena-extents", offsetof(struct plan, arena_extents)},
    {"retry-percent", offsetof(struct plan, retry_percent)},
    {"target-ms", offsetof(struct plan, target_ms)},
    {"loss", offsetof(struct plan, loss)},
    {"duplicates", offsetof(struct plan, duplicates)},
    {"slow-messages", offsetof(struct plan, slow_messages)},
    {"bad-outcomes", offsetof(struct plan, bad_outcomes)},
    {"refused-sends", offsetof(struct plan, refused_sends)},
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

static int *setting(struct plan *p, size_t i)
{
    return (int *)(void *)((char *)p + settings[i].offset);
}

void plan_write(const struct plan *p, FILE *out)
{
    struct plan copy = *p;
    fprintf(out, "seed %" PRIu64 "\n", p->seed);
    fprintf(out, "times %" PRId64 " %" PRId64 " %" PRId64 "\n", p->quiet_us, p->patience_us, p->end_us);
    for (size_t i = 0; i < SETTINGS; i++)
        fprintf(out, "%s %d\n", settings[i].name, *setting(&copy, i));
    fputs("# at_us kind node peer x y z w flags id\n", out);
    for (size_t i = 0; i < p->count; i++) {
        const struct input *in = &p->inputs[i];
        fprintf(out, "%" PRId64 " %s %d %d %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %u %u\n", in->at_us,
                names[in->kind], in->node, in->peer, in->x, in->y, in->z, in->w, in->flags, in->id);
    }
}

/* The words of a line. */
enum { WORDS_MAX = 10 };

static size_t split(char *line, char *words[WORDS_MAX])
{
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \n", &rest); word && count < WORDS_MAX; word = strtok_r(NULL, " \n", &rest))
        words[count++] = word;
    return count;
}

static bool read_number(const char *word, int64_t low, int64_t high, int64_t *out)
{
    char *end;
    *out = strtoll(word, &end, 10);
    return end != word && *end == '\0' && *out >= low && *out <= high;
}

static bool read_input(struct plan *p, char *const words[WORDS_MAX])
{
    struct input in = {.kind = INPUT_KINDS};
    int64_t node, peer, flags, id;

    for (int kind = 0; kind < INPUT_KINDS; kind++)
        if (strcmp(names[kind], words[1]) == 0)
            in.kind = (enum input_kind)kind;
    bool good =
        in.kind != INPUT_KINDS && p->count < PLAN_INPUTS_MAX && read_number(words[0], 0, INT64_MAX / 4, &in.at_us) &&
        read_number(words[2], 0, NODES - 1, &node) && read_number(words[3], 0, NODES - 1, &peer) &&
        read_number(words[4], INT64_MIN / 4, INT64_MAX / 4, &in.x) && read_number(words[5], 0, INT64_MAX / 4, &in.y) &&
        read_number(words[6], 0, INT64_MAX / 4, &in.z) && read_number(words[7], 0, CUSTOMERS, &in.w) &&
        read_number(words[8], 0, UINT32_MAX, &flags) && read_number(words[9], 0, UINT32_MAX, &id);
    if (!good)
        return false;
    in.node = (int)node;
    in.peer = (int)peer;
    in.flags = (unsigned)flags;
    in.id = (uint32_t)id;
    p->inputs[p->count++] = in;
    return true;
}

static bool read_setting(struct plan *p, const char *name, const char *value)
{
    int64_t number;
    if (strcmp(name, "seed") == 0) {
        p->seed = strtoull(value, NULL, 10);
        return true;
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strcmp(settings[i].name, name) == 0 && read_number(value, 0, 1000000, &number)) {
            *setting(p, i) = (int)number;
            return true;
        }
    }
    return false;
}

static bool read_line(struct plan *p, char *line)
{
    char *words[WORDS_MAX];
    size_t count = line[0] == '#' ? 0 : split(line, words);
    if (count == 2)
        return read_setting(p, words[0], words[1]);
    if (count == 4 && strcmp(words[0], "times") == 0)
        return read_number(words[1], 0, INT64_MAX / 4, &p->quiet_us) &&
               read_number(words[2], 0, INT64_MAX / 4, &p->patience_us) &&
               read_number(words[3], 1, INT64_MAX / 4, &p->end_us);
    return count == 0 || (count == WORDS_MAX && read_input(p, words));
}

static bool in_bounds(const struct plan *p)
{
    bool good = p->apis >= 1 && p->apis <= APIS_MAX && p->workers >= 1 && p->workers <= WORKERS_MAX && p->end_us > 0 &&
                p->max_queued >= 1 && p->customer_queued >= 1 && p->arena_extents >= 1 && p->target_ms >= 1;
    for (int w = 0; w < WORKERS_MAX; w++)
        good = good && p->slots[w] >= 0 && p->slots[w] <= SLOTS_MAX;
    for (size_t i = 1; i < p->count; i++)
        good = good && p->inputs[i - 1].at_us <= p->inputs[i].at_us;
    return good;
}

bool plan_read(FILE *in, struct plan *p, int *line)
{
    char text[512];
    memset(p, 0, sizeof *p);
    for (*line = 1; fgets(text, sizeof text, in); ++*line)
        if (!read_line(p, text))
            return false;
    return in_bounds(p);
}

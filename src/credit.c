/* SPDX-License-Identifier: MIT */
/* Grants of jobs to APIs: shared evenly, taken back where they are not used, never more than the worker has room for. */
#include "cavage/credit.h"

#include "cavage/err.h"
#include "cavage/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REPLACED_BOOTS = 64,       /* remembered, of all APIs */
    LATE_POLL_US = 500 * 1000, /* beside the asked time: we were paused */
    HELD_PER_SLOT = 2          /* one at work, one prefetched */
};

struct api {
    bool known;
    bool replaced; /* by a new boot; waits for credit_next_gone */
    bool alive;    /* heard within CREDIT_SILENCE_US */
    bool owed;     /* a STATUS */
    struct id boot;
    uint32_t link;
    char result_address[WIRE_ADDRESS_SIZE];
    uint32_t queued;     /* at its last HELLO, less what came since */
    uint64_t seen;       /* highest sequence received or passed over */
    uint64_t limit;      /* >= seen */
    uint64_t limit_max;  /* the highest there was */
    uint64_t limit_told; /* in the last STATUS */
    int64_t heard_us;
    int64_t status_us; /* of the last STATUS */
    size_t held_count;
    uint64_t held[WIRE_HELD_MAX]; /* ascending */
};

struct credit {
    struct id boot;
    unsigned slots, slots_max; /* now; the most ever */
    unsigned busy, load_permille;
    bool draining;
    size_t held;              /* sum over the APIs */
    uint64_t status_sequence; /* one for all APIs, so that it rises for one that was forgotten and comes back */
    size_t turn;              /* who comes first when credits do not divide evenly */
    int64_t turn_us;          /* when the turn was passed on by time */
    int64_t polled_us;        /* last credit_next_gone; 0: none yet */
    struct id replaced[REPLACED_BOOTS];
    size_t replaced_count;
    size_t api_count; /* known ones are below this index */
    struct api apis[CREDIT_APIS_MAX];
};

int credit_new(const struct id *worker_boot, struct credit **out)
{
    if (id_is_zero(worker_boot))
        return ERR_INVALID;
    struct credit *c = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    c->boot = *worker_boot;
    *out = c;
    return ERR_OK;
}

void credit_free(struct credit *c)
{
    free(c);
}

static bool is_served(const struct api *api)
{
    return api->known && !api->replaced && api->alive;
}

static bool has_work(const struct api *api)
{
    return api->queued > 0 || api->held_count > 0;
}

/* What is to be shared out among the APIs of one kind: those with work, or those without. */
struct share {
    bool work;      /* which kind */
    size_t members; /* of that kind */
    size_t level;   /* what each has in hand: held and granted */
    size_t spare;   /* of credits that do not divide evenly; one for each in turn */
};

static bool is_member(const struct api *api, const struct share *share)
{
    return is_served(api) && has_work(api) == share->work;
}

/* Raise all members to one level of held + granted jobs. Who holds more than the level already gets nothing, which lowers it for nobody. */
static void share_plan(const struct credit *c, struct share *share, size_t credits)
{
    bool over[CREDIT_APIS_MAX] = {false};

    for (;;) {
        size_t members = 0, pool = credits;
        for (size_t i = 0; i < c->api_count; i++) {
            if (is_member(&c->apis[i], share) && !over[i]) {
                members++;
                pool += c->apis[i].held_count;
            }
        }
        share->members = members;
        share->level = members ? pool / members : 0;
        share->spare = members ? pool % members : 0;

        bool changed = false;
        for (size_t i = 0; i < c->api_count; i++) {
            if (is_member(&c->apis[i], share) && !over[i] && c->apis[i].held_count > share->level)
                over[i] = changed = true;
        }
        if (!changed)
            return;
    }
}

static void set_grant(struct api *api, size_t grant)
{
    api->limit = api->seen + grant;
    if (api->limit > api->limit_max)
        api->limit_max = api->limit;
    /* An API must know at once what it may no longer send, and what it waits for; the rest rides on the next message. */
    if (api->limit < api->limit_told || (api->limit > api->limit_told && api->queued > 0))
        api->owed = true;
}

/* Set the limits of one kind. What does not divide stays where it is or goes to the next in turn, so that limits do not wander. */
static void share_out(struct credit *c, struct share *share)
{
    bool extra[CREDIT_APIS_MAX] = {false};
    size_t first = c->turn;

    for (int pass = 0; pass < 2 && share->spare > 0; pass++) {
        for (size_t k = 0; k < c->api_count && share->spare > 0; k++) {
            size_t i = (first + k) % c->api_count;
            const struct api *api = &c->apis[i];
            bool keeps = api->held_count + (api->limit - api->seen) > share->level;
            if (!is_member(api, share) || extra[i] || api->held_count > share->level || (pass == 0 && !keeps))
                continue;
            extra[i] = true;
            share->spare--;
            if (pass == 1)
                c->turn = i + 1;
        }
    }
    for (size_t i = 0; i < c->api_count; i++) {
        struct api *api = &c->apis[i];
        if (is_member(api, share))
            set_grant(api, api->held_count > share->level ? 0 : share->level - api->held_count + extra[i]);
    }
}

/* Share out the room that is left. Called after everything that changes it, or who has work. */
static void reckon(struct credit *c)
{
    size_t room = c->draining ? 0 : (size_t)HELD_PER_SLOT * c->slots;
    size_t credits = room > c->held ? room - c->held : 0;
    size_t working = 0, idle = 0;

    for (size_t i = 0; i < c->api_count; i++) {
        if (!is_served(&c->apis[i]) && c->apis[i].known)
            set_grant(&c->apis[i], 0);
        working += is_served(&c->apis[i]) && has_work(&c->apis[i]);
        idle += is_served(&c->apis[i]) && !has_work(&c->apis[i]);
    }
    /* One for each idle API, but half the room stays for those that have work. */
    size_t kept = idle < room / 2 ? idle : room / 2;
    size_t for_idle = working == 0 || credits < kept ? credits : kept;

    struct share with = {.work = true}, without = {.work = false};
    share_plan(c, &without, for_idle);
    share_plan(c, &with, credits - for_idle);
    share_out(c, &without);
    share_out(c, &with);
}

void credit_set_slots(struct credit *c, int64_t now_us, unsigned slots)
{
    (void)now_us;
    if (slots > CREDIT_SLOTS_MAX)
        slots = CREDIT_SLOTS_MAX;
    if (slots == c->slots)
        return;
    c->slots = slots;
    if (slots > c->slots_max)
        c->slots_max = slots;
    for (size_t i = 0; i < c->api_count; i++)
        c->apis[i].owed = true;
    reckon(c);
}

void credit_set_busy(struct credit *c, int64_t now_us, unsigned busy, unsigned load_permille)
{
    (void)now_us;
    c->busy = busy;
    c->load_permille = load_permille;
}

void credit_drain(struct credit *c, int64_t now_us)
{
    (void)now_us;
    c->draining = true;
    for (size_t i = 0; i < c->api_count; i++)
        c->apis[i].owed = true;
    reckon(c);
}

static struct api *api_find(struct credit *c, const struct id *boot)
{
    for (size_t i = 0; i < c->api_count; i++) {
        if (c->apis[i].known && !c->apis[i].replaced && id_equal(&c->apis[i].boot, boot))
            return &c->apis[i];
    }
    return NULL;
}

static struct id *find_replaced(struct credit *c, const struct id *boot)
{
    size_t n = c->replaced_count < REPLACED_BOOTS ? c->replaced_count : REPLACED_BOOTS;
    for (size_t i = 0; i < n; i++) {
        if (id_equal(&c->replaced[i], boot))
            return &c->replaced[i];
    }
    return NULL;
}

/* The API that has a result address now. */
static struct api *api_at(struct credit *c, const char *result_address)
{
    for (size_t i = 0; i < c->api_count; i++) {
        struct api *api = &c->apis[i];
        if (api->known && !api->replaced && strcmp(api->result_address, result_address) == 0)
            return api;
    }
    return NULL;
}

static int api_make(struct credit *c, int64_t now_us, const struct wire_hello *m, struct api **out)
{
    struct id *replaced = find_replaced(c, &m->api_boot);
    struct api *current = api_at(c, m->result_address);
    if (replaced && current && now_us - current->heard_us < CREDIT_SILENCE_US)
        return ERR_DENIED;
    size_t i = 0;
    while (i < c->api_count && c->apis[i].known)
        i++;
    if (i == CREDIT_APIS_MAX)
        return ERR_FULL;
    if (replaced)
        *replaced = (struct id){0};
    if (current) {
        current->replaced = true;
        c->replaced[c->replaced_count++ % REPLACED_BOOTS] = current->boot;
    }
    if (i == c->api_count)
        c->api_count++;

    struct api *api = &c->apis[i];
    memset(api, 0, sizeof *api);
    api->known = true;
    api->boot = m->api_boot;
    api->link = m->link;
    snprintf(api->result_address, sizeof api->result_address, "%s", m->result_address);
    api->status_us = now_us;
    *out = api;
    return ERR_OK;
}

/* What was sent and is not here by now was lost on the way: messages of a connection keep their order. */
static void pass_over(struct api *api, uint64_t sent)
{
    if (sent > api->seen)
        api->seen = sent;
    if (api->limit < api->seen)
        api->limit = api->seen;
}

int credit_hello(struct credit *c, int64_t now_us, const struct wire_hello *m, size_t *api, bool *is_new)
{
    struct api *a = api_find(c, &m->api_boot);

    if (a && (a->link != m->link || strcmp(a->result_address, m->result_address) != 0)) {
        if (a->alive)
            return ERR_EXISTS;
        /* It reaches us by another of our addresses now. Its numbers are those of the link, so the account begins anew. */
        a->replaced = true;
        a = NULL;
    }
    *is_new = a == NULL;
    if (!a) {
        int err = api_make(c, now_us, m, &a);
        if (err)
            return err;
    }
    a->heard_us = now_us;
    a->alive = true;
    a->owed = true;
    a->queued = m->queued;
    /* Numbers that were meant for another boot say nothing here. */
    if (id_equal(&m->worker_boot, &c->boot))
        pass_over(a, m->sent);
    *api = (size_t)(a - c->apis);
    reckon(c);
    return ERR_OK;
}

int credit_job(struct credit *c, int64_t now_us, const struct wire_job *m, size_t *api)
{
    struct api *a = api_find(c, &m->api_boot);

    if (!a || a->link != m->link)
        return ERR_NOTFOUND;
    *api = (size_t)(a - c->apis);
    a->heard_us = now_us;
    a->alive = true;
    if (!id_equal(&m->worker_boot, &c->boot))
        return ERR_DENIED;
    if (m->sequence <= a->seen)
        return ERR_EXISTS;

    bool within = m->sequence <= a->limit_max;
    pass_over(a, m->sequence);
    if (a->queued > 0)
        a->queued--;
    int err = ERR_OK;
    if (c->draining)
        err = ERR_DENIED;
    else if (!within || a->held_count == WIRE_HELD_MAX || c->held >= (size_t)2 * HELD_PER_SLOT * c->slots_max)
        err = ERR_FULL;
    if (!err) {
        a->held[a->held_count++] = m->sequence;
        c->held++;
    }
    reckon(c);
    return err;
}

void credit_done(struct credit *c, int64_t now_us, size_t api, uint64_t sequence)
{
    (void)now_us;
    if (api >= c->api_count || !c->apis[api].known)
        return;
    struct api *a = &c->apis[api];
    for (size_t i = 0; i < a->held_count; i++) {
        if (a->held[i] != sequence)
            continue;
        memmove(&a->held[i], &a->held[i + 1], (a->held_count - i - 1) * sizeof a->held[0]);
        a->held_count--;
        c->held--;
        reckon(c);
        return;
    }
}

/* A converter that has ended a job goes on with the next that is held, and is not told to be free between the two. */
static unsigned busy_or_taken(const struct credit *c)
{
    unsigned taken = c->held < c->slots ? (unsigned)c->held : c->slots;
    return c->busy > taken ? c->busy : taken;
}

void credit_status(struct credit *c, int64_t now_us, size_t api, struct wire_status *out)
{
    struct api *a = &c->apis[api];

    out->worker_boot = c->boot;
    out->api_boot = a->boot;
    out->link = a->link;
    out->sequence = ++c->status_sequence;
    out->slots = c->slots;
    out->busy = busy_or_taken(c);
    out->load_permille = c->load_permille;
    out->draining = c->draining;
    snprintf(out->version, sizeof out->version, "%s", CAVAGE_VERSION);
    out->seen = a->seen;
    out->limit = a->limit;
    out->held_count = a->held_count;
    memcpy(out->held, a->held, a->held_count * sizeof a->held[0]);
    a->limit_told = a->limit;
    a->owed = false;
    a->status_us = now_us;
}

/* Where there are more APIs than credits each gets its turn, also from those that do not use theirs. */
static void pass_turn(struct credit *c, int64_t now_us)
{
    size_t served = 0, room = (size_t)HELD_PER_SLOT * c->slots;

    if (now_us - c->turn_us < CREDIT_STATUS_US)
        return;
    c->turn_us = now_us;
    for (size_t i = 0; i < c->api_count; i++)
        served += is_served(&c->apis[i]);
    if (served <= room / 2 || c->draining)
        return;
    for (size_t i = 0; i < c->api_count; i++)
        c->apis[i].limit = c->apis[i].seen;
    reckon(c);
}

bool credit_next_status(struct credit *c, int64_t now_us, size_t *api)
{
    pass_turn(c, now_us);
    for (size_t i = 0; i < c->api_count; i++) {
        struct api *a = &c->apis[i];
        if (a->known && !a->replaced && (a->owed || now_us - a->status_us >= CREDIT_STATUS_US)) {
            *api = i;
            return true;
        }
    }
    return false;
}

static void api_forget(struct credit *c, struct api *api)
{
    c->held -= api->held_count;
    memset(api, 0, sizeof *api);
    while (c->api_count > 0 && !c->apis[c->api_count - 1].known)
        c->api_count--;
    reckon(c);
}

static void judge_silence(struct credit *c, int64_t now_us)
{
    bool paused = c->polled_us != 0 && now_us - c->polled_us > CREDIT_STATUS_US + LATE_POLL_US;
    bool changed = false;

    c->polled_us = now_us;
    for (size_t i = 0; i < c->api_count; i++) {
        struct api *a = &c->apis[i];
        if (paused && a->alive)
            a->heard_us = now_us;
        if (a->known && a->alive && now_us - a->heard_us >= CREDIT_SILENCE_US) {
            a->alive = false;
            changed = true;
        }
    }
    if (changed)
        reckon(c);
}

bool credit_next_gone(struct credit *c, int64_t now_us, size_t *api)
{
    judge_silence(c, now_us);
    for (size_t i = 0; i < c->api_count; i++) {
        struct api *a = &c->apis[i];
        if (a->known && (a->replaced || now_us - a->heard_us >= CREDIT_FORGET_US)) {
            *api = i;
            api_forget(c, a);
            return true;
        }
    }
    return false;
}

int64_t credit_next_us(const struct credit *c)
{
    int64_t next_us = INT64_MAX;

    for (size_t i = 0; i < c->api_count; i++) {
        const struct api *a = &c->apis[i];
        if (!a->known)
            continue;
        if (a->owed || a->replaced)
            return 0;
        int64_t silent_us = a->heard_us + (a->alive ? CREDIT_SILENCE_US : CREDIT_FORGET_US);
        int64_t status_us = a->status_us + CREDIT_STATUS_US;
        int64_t first_us = silent_us < status_us ? silent_us : status_us;
        next_us = first_us < next_us ? first_us : next_us;
    }
    return next_us;
}

size_t credit_held(const struct credit *c)
{
    return c->held;
}

size_t credit_granted(const struct credit *c)
{
    size_t granted = 0;
    for (size_t i = 0; i < c->api_count; i++)
        granted += (size_t)(c->apis[i].limit - c->apis[i].seen);
    return granted;
}

/* SPDX-License-Identifier: MIT */
/* Looks names up in a thread. What thread and loop share outlives both: a look-up may hang for longer than the program wants to end. */
#include "names.h"

#include "cavage/err.h"
#include "cavage/log.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PORT_SIZE = 8, ENDPOINT_SIZE = NAMES_ADDRESS_SIZE + 32 };

/* Sorted, and each once. */
struct names_set {
    size_t count;
    char of[NAMES_ADDRESSES_MAX][NAMES_ADDRESS_SIZE];
};

struct name {
    struct name *next;
    char host[NAMES_HOST_SIZE];
    char port[PORT_SIZE];
    bool failing;         /* the last look-up failed, which was told */
    size_t left_out;      /* addresses for which there was no room, as told */
    struct names_set set; /* changed under the lock, by the thread */
};

/* What look-ups found; the thread's. */
struct scratch {
    struct names_found found;
    struct names_found alone; /* of one family */
};

struct names {
    struct names_config config;
    struct name *first; /* no more are added once the thread runs */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Under the lock: */
    bool stopped;
    bool posted; /* a call of on_changed is under way */
    unsigned holders;
};

/* ---- The system's resolver ---- */

static void add_address(const struct addrinfo *info, struct names_found *out)
{
    const void *bytes = NULL;
    if (info->ai_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_addr;
    else if (info->ai_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)info->ai_addr)->sin6_addr;
    if (bytes && inet_ntop(info->ai_family, bytes, out->of[out->count], sizeof(out->of[0])))
        out->count++;
}

int names_lookup(void *arg, const char *host, int family, struct names_found *out)
{
    const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    (void)arg;
    out->count = 0;
    switch (getaddrinfo(host, NULL, &hints, &found)) {
    case 0:
        break;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return ERR_OK;
    case EAI_MEMORY:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
    for (const struct addrinfo *i = found; i && out->count < NAMES_FOUND_MAX; i = i->ai_next)
        add_address(i, out);
    freeaddrinfo(found);
    return ERR_OK;
}

/* ---- Life ---- */

int names_new(const struct names_config *config, struct names **out)
{
    pthread_condattr_t attr;
    struct names *n = calloc(1, sizeof(*n));
    if (!n)
        return ERR_NOMEM;
    n->config = *config;
    n->holders = 1;
    pthread_mutex_init(&n->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&n->wake, &attr);
    pthread_condattr_destroy(&attr);
    *out = n;
    return ERR_OK;
}

/* Called with the lock held, which is let go. */
static void let_go(struct names *n)
{
    bool last = --n->holders == 0;
    pthread_mutex_unlock(&n->lock);
    if (!last)
        return;
    while (n->first) {
        struct name *next = n->first->next;
        free(n->first);
        n->first = next;
    }
    pthread_mutex_destroy(&n->lock);
    pthread_cond_destroy(&n->wake);
    free(n);
}

int names_add(struct names *n, const char *endpoint)
{
    const char *host = endpoint + strlen("tcp://"), *port = strrchr(endpoint, ':') + 1;
    struct name *name = calloc(1, sizeof(*name));
    if (!name)
        return ERR_NOMEM;
    int a = snprintf(name->host, sizeof(name->host), "%.*s", (int)(port - 1 - host), host);
    int b = snprintf(name->port, sizeof(name->port), "%s", port);
    if (a < 1 || a >= (int)sizeof(name->host) || b >= (int)sizeof(name->port)) {
        free(name);
        return ERR_INVALID;
    }
    name->next = n->first;
    n->first = name;
    return ERR_OK;
}

/* ---- The thread ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void on_changed(void *arg)
{
    struct names *n = arg;
    pthread_mutex_lock(&n->lock);
    n->posted = false;
    bool stopped = n->stopped;
    let_go(n);
    if (!stopped)
        n->config.changed(n->config.arg);
}

/* Under the lock. */
static void tell(struct names *n)
{
    if (n->stopped || n->posted || loop_post(n->config.loop, on_changed, n) != ERR_OK)
        return;
    n->posted = true;
    n->holders++;
}

static void sort(struct names_found *found)
{
    size_t count = 0;
    qsort(found->of, found->count, sizeof(found->of[0]), compare);
    for (size_t i = 0; i < found->count; i++)
        if (count == 0 || compare(found->of[count - 1], found->of[i]) != 0)
            memmove(found->of[count++], found->of[i], sizeof(found->of[0]));
    found->count = count;
}

/* Sorted ones. */
static bool has(const char of[][NAMES_ADDRESS_SIZE], size_t count, const char *address)
{
    return bsearch(address, of, count, sizeof(of[0]), compare) != NULL;
}

/* As many as there is room for of what was found, sorted: those that were there before, so that no resolver's order moves work about, and then the
 * first ones. Returns how many are left out. */
static size_t choose(const struct names_set *before, const struct names_found *found, struct names_set *out)
{
    size_t room = NAMES_ADDRESSES_MAX;
    for (size_t i = 0; i < found->count; i++)
        room -= has(before->of, before->count, found->of[i]);
    out->count = 0;
    for (size_t i = 0; i < found->count; i++) {
        bool stays = has(before->of, before->count, found->of[i]);
        if (!stays && room == 0)
            continue;
        room -= !stays;
        memcpy(out->of[out->count++], found->of[i], sizeof(out->of[0]));
    }
    return found->count - out->count;
}

static int family_of(const char *address)
{
    return strchr(address, ':') ? AF_INET6 : AF_INET;
}

static bool equal(const struct names_set *a, const struct names_set *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = compare(a->of[i], b->of[i]) == 0;
    return same;
}

static void tell_left_out(struct name *name, size_t left_out)
{
    if (left_out > 0 && left_out != name->left_out)
        log_warn("too_many_addresses", "addresses behind a name are left out", LOG_S("name", name->host),
                 LOG_U("left_out", left_out), LOG_U("most", NAMES_ADDRESSES_MAX));
    name->left_out = left_out;
}

static void take(struct names *n, struct name *name, struct names_found *found)
{
    struct names_set set;
    sort(found);
    tell_left_out(name, choose(&name->set, found, &set));
    if (equal(&set, &name->set))
        return;
    pthread_mutex_lock(&n->lock);
    name->set = set;
    tell(n);
    pthread_mutex_unlock(&n->lock);
}

static bool has_family(const char of[][NAMES_ADDRESS_SIZE], size_t count, int family)
{
    for (size_t i = 0; i < count; i++)
        if (family_of(of[i]) == family)
            return true;
    return false;
}

/* Asked for both families, the system passes over that one of them had no answer. One that was known and is missing now is asked for alone, and only what both
 * questions and the last look-up agree on stays: alone, it may be answered by another source or domain. */
static int keep_missing(struct names *n, const struct name *name, int family, struct scratch *s)
{
    const struct names_set *known = &name->set;
    if (!has_family(known->of, known->count, family) || has_family(s->found.of, s->found.count, family))
        return ERR_OK;
    int err = n->config.lookup(n->config.arg, name->host, family, &s->alone);
    sort(&s->alone);
    for (size_t i = 0; i < known->count && s->found.count < NAMES_FOUND_MAX; i++)
        if (family_of(known->of[i]) == family && (err || has(s->alone.of, s->alone.count, known->of[i])))
            memcpy(s->found.of[s->found.count++], known->of[i], sizeof(s->found.of[0]));
    return err;
}

static void look_up(struct names *n, struct name *name, struct scratch *s)
{
    int err = n->config.lookup(n->config.arg, name->host, AF_UNSPEC, &s->found);
    if (!err && s->found.count == 0)
        err = ERR_NOTFOUND; /* a name without any address is a mistake */
    bool answered = !err;
    if (answered) {
        int v4 = keep_missing(n, name, AF_INET, s), v6 = keep_missing(n, name, AF_INET6, s);
        err = v4 ? v4 : v6;
    }
    if (err && !name->failing)
        log_warn("name_failed", "workers behind a name cannot be looked up; those that are known stay",
                 LOG_S("name", name->host), LOG_S("error", err_text(err)));
    name->failing = err != ERR_OK;
    if (answered)
        take(n, name, &s->found);
}

/* True: go on. */
static bool nap(struct names *n)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + n->config.interval_us % 1000000 * 1000;
    at.tv_sec += n->config.interval_us / 1000000 + ns / 1000000000;
    at.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&n->lock);
    while (!n->stopped && pthread_cond_timedwait(&n->wake, &n->lock, &at) == 0)
        ;
    bool go_on = !n->stopped;
    pthread_mutex_unlock(&n->lock);
    return go_on;
}

static void *run(void *arg)
{
    struct names *n = arg;
    struct scratch *scratch = malloc(sizeof(*scratch));
    while (scratch) {
        for (struct name *name = n->first; name; name = name->next)
            look_up(n, name, scratch);
        if (!nap(n))
            break;
    }
    free(scratch);
    pthread_mutex_lock(&n->lock);
    let_go(n);
    return NULL;
}

int names_start(struct names *n)
{
    pthread_t thread;
    if (!n->first)
        return ERR_OK;
    pthread_mutex_lock(&n->lock);
    n->holders++;
    pthread_mutex_unlock(&n->lock);
    if (pthread_create(&thread, NULL, run, n) == 0) {
        pthread_detach(thread);
        return ERR_OK;
    }
    pthread_mutex_lock(&n->lock);
    let_go(n);
    return ERR_NOMEM;
}

void names_stop(struct names *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->stopped = true;
    if (n->posted) {
        /* The loop has ended, and drops what was posted to it. */
        n->posted = false;
        n->holders--;
    }
    pthread_cond_signal(&n->wake);
    let_go(n);
}

void names_each(struct names *n, void (*told)(void *arg, const char *endpoint), void *arg)
{
    char endpoint[ENDPOINT_SIZE];
    pthread_mutex_lock(&n->lock);
    for (const struct name *name = n->first; name; name = name->next) {
        for (size_t i = 0; i < name->set.count; i++) {
            bool v6 = family_of(name->set.of[i]) == AF_INET6;
            snprintf(endpoint, sizeof(endpoint), v6 ? "tcp://[%s]:%s" : "tcp://%s:%s", name->set.of[i], name->port);
            told(arg, endpoint);
        }
    }
    pthread_mutex_unlock(&n->lock);
}

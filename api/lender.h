/* SPDX-License-Identifier: MIT */
/* Lends the staging arena to workers of this host: gives them its descriptor over a unix socket beside the results, and keeps the account of what they may be
 * reading. All of it on the loop's thread. A NULL lender lends nothing. */
#ifndef CAVAGE_API_LENDER_H
#define CAVAGE_API_LENDER_H

#include "cavage/dispatch.h"
#include "cavage/extents.h"
#include "cavage/lending.h"
#include "cavage/loop.h"
#include "cavage/metrics.h"
#include "cavage/wire.h"

struct lender;

struct lender_config {
    struct loop *loop;
    struct metrics *metrics; /* indices of metrics.h */
    struct extents *extents;
    struct id boot;      /* this API's */
    const char *results; /* "ipc://PATH", bound by us; the socket is beside it */
    size_t loans_max;
};

int lender_start(const struct lender_config *config, struct lender **out);
/* Wipes and gives back what is still kept: the program ends. */
void lender_stop(struct lender *l);

/* Tell in *m where the body is, if its worker can read it there; to be called before the message of the action SEND is sent. False: the message has to carry it. */
bool lender_lend(struct lender *l, const struct dispatch_action *a, const struct staged *body, struct wire_job *m);
/* The message was not sent. */
void lender_take_back(struct lender *l, const struct dispatch_action *a);
/* A worker spoke, alone or on a RESULT: before dispatch hears it. */
void lender_hear(struct lender *l, const struct wire_status *m);
/* The request of the job is over. A body that may still be read is empty for it afterwards, and released here when nobody can read it any more. */
void lender_keep(struct lender *l, uint64_t job, struct staged *body);

void lender_stats(const struct lender *l, struct lending_stats *out);

#endif

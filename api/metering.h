/* SPDX-License-Identifier: MIT */
/* One usage record for each answer to an admitted request, spooled before the answer leaves; and one a minute for a customer's 429s. */
#ifndef CAVAGE_API_METERING_H
#define CAVAGE_API_METERING_H

#include "request.h"

struct metering;

int metering_new(struct api *api, struct metering **out);
void metering_free(struct metering *m);

/* Spool the record of a request that is answered with `type` now (PROBLEM_NONE: with its result). Does nothing for one that was not admitted or
 * has its record. Whoever may answer the request calls it, once. False: the record could not be spooled, so no result may leave. */
bool metering_record(struct metering *m, struct request *r, enum problem_type type);
/* The client left, or the connection ended, before there was an answer. */
void metering_record_gone(struct metering *m, struct request *r);
/* The answer has left completely (confirmed), or never will. */
void metering_resolve(struct metering *m, struct request *r, bool confirmed);

/* Count a request that was refused with 429 before admission. Any thread. */
void metering_limited(struct metering *m, const struct request *r);
/* Spool the records of customers whose minute is over; with `all`, of all. */
void metering_flush_limited(struct metering *m, int64_t now_us, bool all);

#endif

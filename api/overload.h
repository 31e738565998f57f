/* SPDX-License-Identifier: MIT */
/* What a request will cost, and whether it could be served in time: the estimate and the forecast, shared by all threads. */
#ifndef CAVAGE_API_OVERLOAD_H
#define CAVAGE_API_OVERLOAD_H

#include "request.h"

#include "cavage/admission.h"
#include "cavage/dispatch.h"
#include "cavage/params.h"

struct overload;

int overload_new(struct api *api, struct overload **out);
void overload_free(struct overload *o);

/* What is to be made. Of several outputs the one with the largest box counts, whichever is told first. */
void overload_expect(struct request *r, const struct params *params);

/* By the headers alone: may this request's image be sent at all? False: r->problem, r->retry_us and r->refused_by are set. Any thread. */
bool overload_admits(struct overload *o, struct request *r);
/* The image is staged: set its lane and cost, judge again by what it is, and book it as waiting. False as above. Any thread. */
bool overload_enter(struct overload *o, struct request *r);

/* A booked job was given to a worker's socket, which did not take it after all; is over, converted well or not. What is not booked is left alone. */
void overload_sent(struct overload *o, struct request *r);
void overload_unsent(struct overload *o, struct request *r);
void overload_leave(struct overload *o, struct request *r);
/* A conversion went well: learn from r->conversion. Before overload_leave. */
void overload_converted(struct overload *o, struct request *r);

/* What the workers have to offer now. Loop thread. */
void overload_capacity(struct overload *o, const struct dispatch_stats *stats);
void overload_stats(struct overload *o, struct admission_stats *out);
/* Measured cost over the first estimate, by input format, in thousandths. */
void overload_ratios(struct overload *o, int64_t permille[IMAGE_FORMAT_COUNT]);

#endif

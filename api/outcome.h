/* SPDX-License-Identifier: MIT */
/* What a worker's result or the dispatcher's failure means for the client. */
#ifndef CAVAGE_API_OUTCOME_H
#define CAVAGE_API_OUTCOME_H

#include "request.h"

#include "cavage/dispatch.h"

/* Put the result of a job into its request: its conversion, and the problem or the media type of the body. */
void outcome_result(struct request *r, const struct wire_result *m, size_t body_len);
/* The dispatcher gave the job up. */
void outcome_failure(struct request *r, enum dispatch_failure failure);

#endif

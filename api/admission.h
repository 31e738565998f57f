/* SPDX-License-Identifier: MIT */
/* What the headers alone decide: the cheapest check first, and nothing staged before all have passed. */
#ifndef CAVAGE_API_ADMISSION_H
#define CAVAGE_API_ADMISSION_H

#include "accept.h"
#include "framing.h"
#include "request.h"

struct admission;

/* The headers of a request as admission reads them. Strings are borrowed for the call; NULL: the header was not sent. */
struct head {
    struct framing framing;
    const char *method;
    bool http11;
    bool expects_continue;
    uint32_t accepts;              /* of Accept, what format=auto goes by */
    struct accept_archive archive; /* and what the form of an archive does */
    const char *authorization;
    const char *content_type;
    const char *request_id;
    const char *idempotency_key;
    const char *traceparent;
};

int admission_new(struct api *api, struct admission **out);
void admission_free(struct admission *a);

/* Fill the request's fields from its headers. True: it is admitted, or its answer is known already (r->text). False: r->problem. Any thread. */
bool admission_decide(struct admission *a, struct request *r, const struct head *head, int64_t now_us);
/* Refuse because the memory for images is used up: this customer's share of it, or all. Any thread. */
void admission_no_share(struct request *r);
void admission_no_memory(struct request *r);
/* The connection is closed: it is nobody's any more. Any thread. */
void admission_disconnect(struct admission *a, struct conn *conn);

#endif

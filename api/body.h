/* SPDX-License-Identifier: MIT */
/* A request's body on its way into the staging arena, and what can be told of the image before a worker sees it. */
#ifndef CAVAGE_API_BODY_H
#define CAVAGE_API_BODY_H

#include "request.h"

/* Prepare for the body of an admitted request, by its Content-Type. False: r->problem tells why not. */
bool body_begin(struct request *r, const char *content_type);
/* Stage bytes that came. False: r->problem tells why not. */
bool body_add(struct request *r, const void *data, size_t len);
/* The body is complete: judge the image by its first bytes. False: r->problem tells what is wrong with it. Sets r->cost_us. */
bool body_end(struct request *r);
/* Wipe and release what is staged. */
void body_drop(struct request *r);

#endif

/* SPDX-License-Identifier: MIT */
/* The outputs of a request to /v1/renditions: asked for by the headers, made by a worker, sent as one archive. */
#ifndef CAVAGE_API_OUTPUTS_H
#define CAVAGE_API_OUTPUTS_H

#include "admission.h"
#include "archive.h"

struct outputs {
    enum archive_form form;
    size_t count;
    char names[RENDITIONS_MAX][RENDITION_NAME_SIZE];
    /* Of the result. */
    enum image_format formats[RENDITIONS_MAX];
    size_t bytes[RENDITIONS_MAX];
    void *message; /* the pictures, once they are being sent */
    struct archive archive;
};

/* Read what is asked for: r->outputs, r->canonical, r->operation. False: r->problem names the output and the parameter. */
bool outputs_admit(struct request *r, const struct head *head);
/* What all of them will cost, when one does so much. Other requests have one. */
int64_t outputs_cost_us(const struct request *r, int64_t one_us);
/* Take the worker's result of body_len bytes into the request. False: it makes no sense. */
bool outputs_take(struct request *r, const struct wire_result *m, size_t body_len);
/* Name the output that a worker could not make in r->problem. */
void outputs_blame(struct request *r, const struct wire_result *m);
/* Make the archive of what was taken: r->outputs->archive and r->media_type. False: r->problem tells why not. */
bool outputs_pack(struct request *r, int64_t wall_us);
/* Free them, and the message with the pictures if they have it; NULL is nothing. As a callback of libmicrohttpd. */
void outputs_free(void *outputs);

#endif

/* SPDX-License-Identifier: MIT */
/* What the files of the conversion share; for them only. */
#ifndef CAVAGE_WORKER_CONVERT_PARTS_H
#define CAVAGE_WORKER_CONVERT_PARTS_H

#include "geometry.h"
#include "source.h"
#include "steps.h"

/* One result on its way. */
struct plan {
    const struct params *params;
    const struct limits *limits;
    enum image_format format; /* of the result */
    bool cut;                 /* the image was cropped or trimmed, so that it is in memory and upright */
    struct geometry g;
    uint8_t *out;
    size_t size;   /* of out, */
    size_t before; /* of that, taken by other results */
};

/* Read the header and judge what will be made, as far as that can be told before decoding. s has its page, or pages, and its source the size of the
 * image. ERR_CORRUPT: the answer has what is wrong. */
int convert_look(struct steps *s, struct plan *plan, struct source_size *size);
/* Make the result: bytes from out + before on; their number goes to the answer's len. */
int convert_make(struct steps *s, struct plan *plan);
/* Let go of the image. */
void convert_finish(struct steps *s);

#endif

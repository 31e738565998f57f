/* SPDX-License-Identifier: MIT */
/* From bytes to an image of libvips: what is opened for its header, and what is decoded, as coarse as quality allows. convert_open is here, too. */
#ifndef CAVAGE_WORKER_LOAD_H
#define CAVAGE_WORKER_LOAD_H

#include "source.h"
#include "steps.h"

/* All of them put the image into s->at, and return ERR_CORRUPT when the answer holds what went wrong. */

/* Open by the magic bytes, and judge by what the loader itself read of the first page. */
int load_checked(struct steps *s, const struct limits *limits);
/* Open the header of s's page, or pages. */
int load_header(struct steps *s);
int load_check_pixels(struct steps *s, const struct limits *limits);
bool load_has_pages(enum image_format format);

/* Whether the image will be turned by a quarter to be upright. */
bool load_is_sideways(const struct steps *s);
/* How far the decoder may shrink for a result of this size: 1, 2, 4 or 8. No less than twice the target is left for the kernel. */
uint32_t load_shrink(struct steps *s, uint32_t to_width, uint32_t to_height);
/* Load for this target alone: decoders scale where they can, as far as quality allows, and SVG is drawn at its size. */
int load_shrunk(struct steps *s, const struct source_size *to);
/* Load all of the pixels, as they are. */
int load_whole(struct steps *s);

/* Whether several outputs share what is decoded; and load that, decoded for the first of them. */
bool load_is_shared(const struct steps *s);
int load_shared(struct steps *s);

#endif

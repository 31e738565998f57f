/* SPDX-License-Identifier: MIT */
/* What several outputs of one image are made from: the image opened once and decoded once, and results of scaling that are good enough to go on from. */
#ifndef CAVAGE_WORKER_SOURCE_H
#define CAVAGE_WORKER_SOURCE_H

#include "steps.h"

enum { SOURCE_OPENED_MAX = 4, SOURCE_SCALED_MAX = 4 };

/* An image that was opened and not decoded: for its header alone. */
struct source_opened {
    uint32_t page;
    bool all_pages;
    VipsImage *image;
};

/* What an output is scaled to, and the shrink that it would leave to the decoder, were it alone: 1, 2, 4 or 8. A decoder drops what remains of a
 * division, so that the shrink tells how much of the image is in the result. */
struct source_size {
    uint32_t width, height; /* 0: not known yet */
    uint32_t shrink;
};

struct source_scaled {
    VipsImage *image;
    struct source_size size;
};

/* All zero is empty. */
struct source {
    bool shared;            /* outputs take their pixels from here */
    bool keep;              /* another output goes on from what is scaled for this one */
    uint32_t coarse;        /* 1, 2, 4 or 8: how far the decoder may shrink for all of them */
    uint32_t width, height; /* of the image as it is stored */
    bool sideways;          /* a result's width is made of its height */
    /* Of one page, or all of them: in memory, as decoded; and scaled, upright and in sRGB, the larger first. */
    uint32_t page;
    bool all_pages;
    VipsImage *decoded;
    struct source_scaled scaled[SOURCE_SCALED_MAX];
    size_t scaled_count;
    struct source_opened opened[SOURCE_OPENED_MAX];
    size_t opened_count;
};

/* Put the opened image of s's page, or pages, into s->at. False: it was not opened before. */
bool source_find_opened(struct steps *s);
/* Keep s->at as opened, if there is room. */
void source_keep_opened(struct steps *s);

/* Put the decoded image of s's page, or pages, into s->at. False: they are not decoded. */
bool source_find_decoded(struct steps *s);
/* Decode s->at into memory, and keep it in place of all that was kept of other pages. ERR_CORRUPT: it cannot be decoded. */
int source_keep_decoded(struct steps *s);

/* Cut s->at, which is the decoded image, to what a decoder that shrinks so far would have kept of it. ERR_CORRUPT. */
int source_cut(struct steps *s, uint32_t shrink);

/* Whether an image of one size is as good as the decoded one to make another from. */
bool source_is_enough(const struct source *source, const struct source_size *size, const struct source_size *to);
/* Put the latest of the scaled images that are good enough into s->at; size->shrink becomes that of the image. False: none. */
bool source_find_scaled(struct steps *s, struct source_size *size);
/* Keep s->at as scaled, in memory, where another goes on from it. All that is kept takes no more memory than the decoded image. ERR_CORRUPT: it cannot be
 * decoded. */
int source_keep_scaled(struct steps *s, const struct source_size *size);

/* Let go of all pixels, or of everything. */
void source_forget(struct source *source);
void source_close(struct source *source);

#endif

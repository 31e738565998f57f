/* SPDX-License-Identifier: MIT */
/* The parameters of a resize: parsed from a query, checked, and written in one canonical form. Pure. */
#ifndef CAVAGE_PARAMS_H
#define CAVAGE_PARAMS_H

#include "cavage/image_header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum params_fit { FIT_INSIDE, FIT_COVER, FIT_CONTAIN, FIT_FILL, FIT_OUTSIDE };

enum {
    PARAMS_DIMENSION_MAX = 16383, /* WebP's limit, the least of all formats */
    PARAMS_CANONICAL_SIZE = 1024, /* with NUL; what params_format needs at most */
    PARAMS_QUERY_MAX = 4096
};

struct params {
    uint32_t width; /* 0: not given, follows the aspect */
    uint32_t height;
    enum params_fit fit;
    bool enlarge;             /* unless it was said: not with FIT_INSIDE, with the others */
    enum image_format format; /* IMAGE_UNKNOWN: the input's */
    int quality;              /* 1 .. 100; 0: the format's default */
    bool has_background;
    uint8_t background[4]; /* RGBA, alpha 255 = opaque */
};

/* Why a parameter was refused, for the client. */
struct params_problem {
    char name[64];     /* the parameter, or empty */
    char message[256]; /* one sentence: what is wrong and what is allowed */
};

/* Parse "width=320&h=200&fit=cover" (percent-encoded, without "?"). Unknown, repeated (by whichever of its names), empty and doubtful parameters are
 * refused. With neither width nor height the size stays. ERR_INVALID with *problem filled. Query bytes are hostile. */
int params_parse(const char *query, size_t len, struct params *out, struct params_problem *problem);

/* The canonical form: canonical names in the table's order, only what differs from the defaults: "width=320&height=200&fit=cover". Parsing it
 * gives the same params. Returns its length. */
size_t params_format(const struct params *params, char out[PARAMS_CANONICAL_SIZE]);

const char *params_fit_name(enum params_fit fit);

#endif

/* SPDX-License-Identifier: MIT */
/* The parameters of a resize: parsed from a query, checked, and written in one canonical form. Pure. */
#ifndef CAVAGE_PARAMS_H
#define CAVAGE_PARAMS_H

#include "cavage/image_header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum params_fit { FIT_INSIDE, FIT_COVER, FIT_CONTAIN, FIT_FILL, FIT_OUTSIDE };

/* Which part FIT_COVER keeps, and where FIT_CONTAIN puts the picture. */
enum params_position {
    POSITION_CENTRE,
    POSITION_NORTH,
    POSITION_NORTHEAST,
    POSITION_EAST,
    POSITION_SOUTHEAST,
    POSITION_SOUTH,
    POSITION_SOUTHWEST,
    POSITION_WEST,
    POSITION_NORTHWEST,
    POSITION_ENTROPY,
    POSITION_ATTENTION,
    POSITION_FOCUS /* around focus_x, focus_y */
};

enum params_kernel { KERNEL_LANCZOS3, KERNEL_LANCZOS2, KERNEL_MITCHELL, KERNEL_CUBIC, KERNEL_LINEAR, KERNEL_NEAREST };

enum params_metadata { METADATA_NONE, METADATA_COPYRIGHT, METADATA_ALL };

/* Formats that the client of format=auto said it takes. */
enum { AUTO_AVIF = 1, AUTO_WEBP = 2 };

enum {
    PARAMS_DIMENSION_MAX = 16383, /* WebP's limit, the least of all formats */
    PARAMS_CANONICAL_SIZE = 1024, /* with NUL; what params_format needs at most */
    PARAMS_QUERY_MAX = 4096,
    PARAMS_FOCUS_ONE = 10000, /* focus_x, focus_y: the right and lower edge */
    PARAMS_QUARTER = 9000     /* of a turn, as rotate counts */
};

/* Steps in order: upright, crop, trim, flip, flop, rotate, resize, blur, sharpen, grayscale, encode. 0 or false: not asked for. */
struct params {
    uint32_t crop_x, crop_y, crop_width, crop_height; /* width 0: no crop */
    uint32_t trim;                                    /* threshold, 1 .. 255 */
    bool flip;                                        /* upside down */
    bool flop;                                        /* left to right */
    uint32_t rotate;                                  /* clockwise, in hundredths of a degree: 0 .. 35999 */
    uint32_t width;                                   /* 0: not given, follows the aspect */
    uint32_t height;
    uint32_t dpr; /* in hundredths; multiplies width and height */
    enum params_fit fit;
    enum params_position position;
    uint32_t focus_x, focus_y; /* 0 .. PARAMS_FOCUS_ONE, with POSITION_FOCUS */
    bool enlarge;              /* unless it was said: not with FIT_INSIDE, with the others */
    enum params_kernel kernel;
    uint32_t blur;    /* sigma in hundredths of a pixel */
    uint32_t sharpen; /* the same */
    bool grayscale;
    enum image_format format; /* IMAGE_UNKNOWN: the input's */
    bool format_auto;         /* the best for the image of those in auto_formats, or one that everybody takes */
    uint32_t auto_formats;    /* AUTO_AVIF | AUTO_WEBP */
    uint32_t quality;         /* 1 .. 100; 0: the format's default */
    bool lossless;
    uint32_t effort; /* as the format counts it, plus one; 0: the default */
    bool progressive;
    uint32_t chroma;    /* 420, 444; 0: the format's default */
    uint32_t max_bytes; /* 0: no bound */
    enum params_metadata metadata;
    uint32_t page; /* the page from 0, plus one; 0: all frames where the result can hold them, else the first */
    bool has_background;
    uint8_t background[4]; /* RGBA, alpha 255 = opaque */
};

/* Why a parameter was refused, for the client. */
struct params_problem {
    char name[64];     /* the parameter, or empty */
    char message[512]; /* one sentence: what is wrong and what is allowed */
};

/* What there is to say about one parameter. */
struct params_option {
    const char *name;
    const char *alias;   /* its short name, or NULL */
    const char *what;    /* it does: "turn upside down" */
    const char *allowed; /* "0 or 1" */
    bool flag;           /* takes 0 and 1 */
};

/* The parameters in the order of the canonical form. False: there is none at `index`. */
bool params_option_at(size_t index, struct params_option *out);

/* Parse "width=320&h=200&fit=cover" (percent-encoded, without "?"). Unknown, repeated (by whichever of its names), empty and doubtful parameters are
 * refused. With neither width nor height the size stays. ERR_INVALID with *problem filled. Query bytes are hostile. */
int params_parse(const char *query, size_t len, struct params *out, struct params_problem *problem);

/* The canonical form: canonical names in the table's order, only what differs from the defaults: "width=320&height=200&fit=cover". Parsing it
 * gives the same params. Returns its length. */
size_t params_format(const struct params *params, char out[PARAMS_CANONICAL_SIZE]);

/* The box in pixels of the result, dpr applied; 0: that side follows the aspect. */
void params_box(const struct params *params, uint32_t *width, uint32_t *height);

const char *params_fit_name(enum params_fit fit);

#endif

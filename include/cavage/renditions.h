/* SPDX-License-Identifier: MIT */
/* The outputs of one upload: named sets of resize parameters, parsed from a query, checked, and written in one canonical form. Pure. */
#ifndef CAVAGE_RENDITIONS_H
#define CAVAGE_RENDITIONS_H

#include "cavage/params.h"

#include <stddef.h>

enum {
    RENDITIONS_MAX = 16,
    RENDITION_NAME_SIZE = 33,         /* with NUL */
    RENDITIONS_QUERY_MAX = 16 * 1024, /* bytes */
    RENDITIONS_CANONICAL_SIZE = 4096  /* with NUL */
};

struct rendition {
    char name[RENDITION_NAME_SIZE];
    struct params params;
};

struct renditions {
    size_t count; /* 1 .. RENDITIONS_MAX */
    struct rendition outputs[RENDITIONS_MAX];
};

/* Why the outputs were refused, for the client. */
struct renditions_problem {
    size_t output;                  /* which of them, from 1; 0: none by itself */
    char name[RENDITION_NAME_SIZE]; /* its name, or empty where that is what is wrong */
    struct params_problem why;
};

/* Parse "output=small:width=320,format=webp&output=square:width=200,height=200,fit=cover" (percent-encoded, without "?"). An output is its name
 * alone, or its name, a colon and parameters of a resize joined by commas; a comma before something without "=" is a part of the value before it, as
 * in crop=0,0,90,90. Names begin with a letter or digit, go on with these, "-" and "_", and stay names of files everywhere: none twice, whatever
 * the case, and none that Windows keeps for itself. format=auto is refused: Accept chooses the form of the archive. ERR_INVALID with *problem filled.
 * Query bytes are hostile. */
int renditions_parse(const char *query, size_t len, struct renditions *out, struct renditions_problem *problem);

/* The canonical form: each output with the canonical form of its params, in the order given. Parsing it gives the same renditions. Returns its
 * length; 0 when it does not fit. What was parsed by renditions_parse fits. */
size_t renditions_format(const struct renditions *r, char out[RENDITIONS_CANONICAL_SIZE]);

#endif

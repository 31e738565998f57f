/* SPDX-License-Identifier: MIT */
/* Fuzz: what the parameters accept has a canonical form that reads back the same, and what they refuse has a clean reason. */
#include "cavage/err.h"
#include "cavage/params.h"

#include <stdlib.h>
#include <string.h>

/* To the byte: what lies between fields is zero. */
static bool same(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct params)) == 0;
}

static void check_problem(const struct params_problem *problem)
{
    if (problem->message[0] == '\0')
        abort();
    for (const char *c = problem->name; *c; c++)
        if (*c <= ' ' || *c >= 0x7f)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct params first;
    struct params again;
    struct params_problem problem;
    char text[PARAMS_CANONICAL_SIZE];
    char text_again[PARAMS_CANONICAL_SIZE];
    if (params_parse((const char *)data, size, &first, &problem)) {
        check_problem(&problem);
        return 0;
    }
    size_t len = params_format(&first, text);
    if (len != strlen(text) || params_parse(text, len, &again, &problem) || !same(&first, &again))
        abort();
    if (params_format(&again, text_again) != len || strcmp(text, text_again) != 0)
        abort();
    return 0;
}

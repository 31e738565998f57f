/* SPDX-License-Identifier: MIT */
/* Fuzz: outputs that are accepted have a canonical form that reads back the same, and those that are refused have a clean reason. */
#include "cavage/renditions.h"

#include <stdlib.h>
#include <string.h>

static void require(bool held)
{
    if (!held)
        abort();
}

static void check_name(const char *name, size_t size)
{
    static const char marks[] = "0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t len = strnlen(name, size);
    require(len < size && strspn(name, marks) == len);
}

/* To the byte: what lies between fields is zero. */
static bool same(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct renditions)) == 0;
}

static void check_problem(const struct renditions_problem *problem)
{
    check_name(problem->name, sizeof(problem->name));
    require(problem->why.message[0] != '\0' && problem->output <= RENDITIONS_MAX + 1);
    for (const char *c = problem->why.name; *c; c++)
        require(*c > ' ' && *c < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct renditions first, again;
    struct renditions_problem problem;
    char text[RENDITIONS_CANONICAL_SIZE], text_again[RENDITIONS_CANONICAL_SIZE];
    if (renditions_parse((const char *)data, size, &first, &problem)) {
        check_problem(&problem);
        return 0;
    }
    require(first.count >= 1 && first.count <= RENDITIONS_MAX);
    for (size_t i = 0; i < first.count; i++) {
        check_name(first.outputs[i].name, sizeof(first.outputs[i].name));
        require(first.outputs[i].name[0] != '\0' && !first.outputs[i].params.format_auto);
    }
    size_t len = renditions_format(&first, text);
    require(len > 0 && len == strlen(text));
    require(renditions_parse(text, len, &again, &problem) == 0 && same(&first, &again));
    require(renditions_format(&again, text_again) == len && strcmp(text, text_again) == 0);
    return 0;
}

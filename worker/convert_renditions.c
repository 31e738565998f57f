/* SPDX-License-Identifier: MIT */
/* Several results from one image, which is decoded once for all that are made from the same of its pages. */
#include "convert_parts.h"
#include "source.h"

#include "cavage/err.h"

#include <string.h>

_Static_assert((int)WIRE_OUTPUTS_MAX == (int)RENDITIONS_MAX, "an answer has room for all outputs");

struct batch {
    const struct renditions *renditions;
    const struct limits *limits;
    const uint8_t *data;
    size_t len;
    uint8_t *out;
    size_t size;
    struct convert_answer *answer;
    struct source source;
    /* Of each output. */
    struct {
        bool made;
        bool may_share; /* its pixels as decoded are no more than may stay in memory */
        uint32_t page;
        bool all_pages;
        struct source_size size;
    } outputs[RENDITIONS_MAX];
};

static struct steps begin(struct batch *b)
{
    return (struct steps){.data = b->data, .len = b->len, .answer = b->answer, .source = &b->source};
}

static struct plan plan_of(const struct batch *b, size_t i, size_t used)
{
    return (struct plan){.params = &b->renditions->outputs[i].params,
                         .limits = b->limits,
                         .out = b->out,
                         .size = b->size,
                         .before = used};
}

/* A converter has memory for 8 bytes of each pixel that is allowed; half of it is left to the output that is being made. */
enum { SHARED_BYTES = 4 };

static bool may_share(const struct batch *b, const struct steps *s)
{
    return VIPS_IMAGE_SIZEOF_IMAGE(s->at) <= SHARED_BYTES * b->limits->of[LIMIT_TOTAL_PIXELS_IN][s->format];
}

static int look(struct batch *b, size_t i)
{
    struct steps s = begin(b);
    struct plan plan = plan_of(b, i, 0);
    int err = convert_look(&s, &plan, &b->outputs[i].size);
    b->outputs[i].page = s.page;
    b->outputs[i].all_pages = s.all_pages;
    b->outputs[i].may_share = !err && may_share(b, &s);
    convert_finish(&s);
    return err;
}

/* An image that cannot be read or decoded is no output's fault. */
static bool is_of_output(const struct batch *b)
{
    const struct convert_answer *a = b->answer;
    return a->outcome != OUTCOME_NOT_AN_IMAGE && a->detail != DETAIL_PIXELS && a->detail != DETAIL_UNSUPPORTED &&
           (a->outcome != OUTCOME_UNDECODABLE || b->source.decoded);
}

static int make(struct batch *b, size_t i, size_t *used)
{
    struct steps s = begin(b);
    struct plan plan = plan_of(b, i, *used);
    int err = convert_make(&s, &plan);
    convert_finish(&s);
    if (err)
        return err;
    b->answer->outputs[i] = (struct convert_output){.offset = *used, .len = b->answer->len};
    *used += b->answer->len;
    b->outputs[i].made = true;
    return 0;
}

static bool is_alike(const struct batch *b, size_t i, size_t k)
{
    return b->outputs[i].page == b->outputs[k].page && b->outputs[i].all_pages == b->outputs[k].all_pages;
}

/* Those of unknown size are cut from the whole image, and first. */
static uint64_t pixels_of(const struct batch *b, size_t i)
{
    uint64_t pixels = (uint64_t)b->outputs[i].size.width * b->outputs[i].size.height;
    return pixels > 0 ? pixels : UINT64_MAX;
}

/* The outputs that are made from the same pages as the first, large ones before small ones. Returns their number. */
static size_t alike(const struct batch *b, size_t first, size_t order[RENDITIONS_MAX])
{
    size_t count = 0;
    for (size_t i = first; i < b->renditions->count; i++) {
        if (!is_alike(b, first, i))
            continue;
        size_t at = count++;
        for (; at > 0 && pixels_of(b, order[at - 1]) < pixels_of(b, i); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return count;
}

static bool is_enough(const struct batch *b, size_t i, size_t k)
{
    const struct source_size *size = &b->outputs[i].size;
    const struct source_size *to = &b->outputs[k].size;
    return size->width > 0 && to->width > 0 && source_is_enough(&b->source, size, to);
}

/* Whether another goes on from this one, rather than from one between them. */
static bool is_wanted(const struct batch *b, const size_t order[RENDITIONS_MAX], size_t count, size_t at)
{
    for (size_t k = at + 1; k < count; k++) {
        size_t best = k;
        while (best > at && (best == k || !is_enough(b, order[best], order[k])))
            best--;
        if (best == at && is_enough(b, order[at], order[k]))
            return true;
    }
    return false;
}

/* What is decoded for the first of them has to do for all. One alone decodes as it goes, and so does each of what is too large. */
static int make_alike(struct batch *b, const size_t order[RENDITIONS_MAX], size_t count, size_t *used)
{
    source_forget(&b->source);
    b->source.shared = count > 1 && b->outputs[order[0]].may_share;
    b->source.coarse = b->outputs[order[0]].size.shrink;
    for (size_t i = 1; i < count; i++)
        if (b->outputs[order[i]].size.shrink < b->source.coarse)
            b->source.coarse = b->outputs[order[i]].size.shrink;
    for (size_t i = 0; i < count; i++) {
        b->answer->failed_output = (uint32_t)order[i] + 1;
        b->source.keep = is_wanted(b, order, count, i);
        int err = make(b, order[i], used);
        if (err)
            return err;
    }
    return 0;
}

/* Every output is looked at before the image is decoded for any. */
static int make_all(struct batch *b, size_t *used)
{
    size_t order[RENDITIONS_MAX];
    int err = 0;
    for (size_t i = 0; !err && i < b->renditions->count; i++) {
        b->answer->failed_output = (uint32_t)i + 1;
        err = look(b, i);
    }
    for (size_t i = 0; !err && i < b->renditions->count; i++)
        if (!b->outputs[i].made)
            err = make_alike(b, order, alike(b, i, order), used);
    if (!err)
        b->answer->failed_output = 0;
    return err;
}

void convert_renditions(const struct renditions *renditions, const uint8_t *data, size_t len,
                        const struct limits *limits, uint8_t *out, size_t size, struct convert_answer *answer)
{
    struct batch b = {.renditions = renditions,
                      .limits = limits,
                      .data = data,
                      .len = len,
                      .out = out,
                      .size = size,
                      .answer = answer};
    size_t used = 0;
    *answer = (struct convert_answer){.outcome = OUTCOME_OK};
    if (make_all(&b, &used) == 0) {
        answer->output_count = (uint32_t)renditions->count;
    } else {
        if (!is_of_output(&b))
            answer->failed_output = 0;
        memset(answer->outputs, 0, sizeof(answer->outputs));
        explicit_bzero(out, used); /* nobody else knows that anything was written */
        used = 0;
    }
    answer->len = used;
    source_close(&b.source);
}

/* SPDX-License-Identifier: MIT */
/* Sharing of a decoded image and of what was scaled from it. */
#include "source.h"

static bool is_same(uint32_t page, bool all_pages, const struct steps *s)
{
    return page == s->page && all_pages == s->all_pages;
}

static bool put(struct steps *s, VipsImage *image)
{
    g_object_ref(image);
    return steps_take(s, 0, image) == 0;
}

bool source_find_opened(struct steps *s)
{
    const struct source *source = s->source;
    for (size_t i = 0; i < source->opened_count; i++)
        if (is_same(source->opened[i].page, source->opened[i].all_pages, s))
            return put(s, source->opened[i].image);
    return false;
}

void source_keep_opened(struct steps *s)
{
    struct source *source = s->source;
    if (source->opened_count == SOURCE_OPENED_MAX)
        return;
    g_object_ref(s->at);
    source->opened[source->opened_count++] = (struct source_opened){s->page, s->all_pages, s->at};
}

bool source_find_decoded(struct steps *s)
{
    const struct source *source = s->source;
    return source->decoded && is_same(source->page, source->all_pages, s) && put(s, source->decoded);
}

int source_keep_decoded(struct steps *s)
{
    struct source *source = s->source;
    source_forget(source);
    int err = steps_to_memory(s);
    if (err)
        return err;
    source->page = s->page;
    source->all_pages = s->all_pages;
    g_object_ref(s->at);
    source->decoded = s->at;
    return 0;
}

int source_cut(struct steps *s, uint32_t shrink)
{
    const struct source *source = s->source;
    uint32_t by = shrink / source->coarse;
    uint32_t width = source->width / shrink * by;
    uint32_t height = source->height / shrink * by;
    VipsImage *next = NULL;
    if (by <= 1 || width == 0 || height == 0)
        return 0;
    int failed = vips_extract_area(s->at, &next, 0, 0, (int)width, (int)height, NULL);
    return steps_take(s, failed, next);
}

/* Whether both shrinks keep as much of a side of the image, to a quarter of a pixel of the result. In a small image it has to be the same: there it
 * is dear to lose sharpness, and cheap to keep it. */
static bool shows_alike(const struct source *source, uint32_t side, uint32_t shrink, uint32_t to_shrink,
                        uint64_t to_side)
{
    enum { SMALL_PIXELS = 1000 * 1000 };
    uint32_t rest = side % shrink;
    uint32_t to_rest = side % to_shrink;
    uint64_t more = rest > to_rest ? rest - to_rest : to_rest - rest;
    bool small = (uint64_t)source->width * source->height < SMALL_PIXELS;
    return more == 0 || (!small && more * 4 * to_side < side);
}

/* Scaling twice costs sharpness where the second step is a small one: from 1.3 on the result differs from one made at once by some -50 dB. */
bool source_is_enough(const struct source *source, const struct source_size *size, const struct source_size *to)
{
    bool same = size->width == to->width && size->height == to->height;
    bool enough = (uint64_t)size->width * 10 >= (uint64_t)to->width * 13 &&
                  (uint64_t)size->height * 10 >= (uint64_t)to->height * 13;
    uint32_t across = source->sideways ? to->height : to->width;
    uint32_t down = source->sideways ? to->width : to->height;
    return (same || enough) && shows_alike(source, source->width, size->shrink, to->shrink, across) &&
           shows_alike(source, source->height, size->shrink, to->shrink, down);
}

bool source_find_scaled(struct steps *s, struct source_size *size)
{
    const struct source *source = s->source;
    if (!source->decoded || !is_same(source->page, source->all_pages, s))
        return false;
    for (size_t i = source->scaled_count; i > 0; i--) {
        const struct source_scaled *scaled = &source->scaled[i - 1];
        if (!source_is_enough(source, &scaled->size, size))
            continue;
        size->shrink = scaled->size.shrink;
        return put(s, scaled->image);
    }
    return false;
}

static uint64_t bytes_of(VipsImage *image)
{
    return (uint64_t)VIPS_IMAGE_SIZEOF_IMAGE(image);
}

/* Frames would run into each other a little more with each step, and colours that are hardly seen lose their last bits. */
static bool is_worth_it(const struct steps *s)
{
    return s->source->keep && s->source->decoded && !s->all_pages && !vips_image_hasalpha(s->at) &&
           vips_image_get_format(s->at) == VIPS_FORMAT_UCHAR && bytes_of(s->at) <= bytes_of(s->source->decoded);
}

static void drop_largest(struct source *source)
{
    g_object_unref(source->scaled[0].image);
    source->scaled_count--;
    for (size_t i = 0; i < source->scaled_count; i++)
        source->scaled[i] = source->scaled[i + 1];
}

int source_keep_scaled(struct steps *s, const struct source_size *size)
{
    struct source *source = s->source;
    VipsImage *kept = NULL;
    if (!is_worth_it(s))
        return 0;
    int err = steps_to_memory(s);
    if (err)
        return err;
    uint64_t bytes = bytes_of(s->at);
    for (size_t i = 0; i < source->scaled_count; i++)
        bytes += bytes_of(source->scaled[i].image);
    while (source->scaled_count == SOURCE_SCALED_MAX ||
           (source->scaled_count > 0 && bytes > bytes_of(source->decoded))) {
        bytes -= bytes_of(source->scaled[0].image);
        drop_largest(source);
    }
    if (vips_copy(s->at, &kept, NULL))
        return steps_fail(s, OUTCOME_INTERNAL, DETAIL_NONE);
    /* It is sRGB by now. */
    vips_image_remove(kept, VIPS_META_ICC_NAME);
    source->scaled[source->scaled_count++] = (struct source_scaled){kept, *size};
    return 0;
}

void source_forget(struct source *source)
{
    g_clear_object(&source->decoded);
    while (source->scaled_count > 0)
        drop_largest(source);
}

void source_close(struct source *source)
{
    source_forget(source);
    for (size_t i = 0; i < source->opened_count; i++)
        g_object_unref(source->opened[i].image);
    source->opened_count = 0;
}

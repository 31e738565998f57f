/* SPDX-License-Identifier: MIT */
/* Steps that cut, turn, place and filter. */
#include "steps.h"

#include "cavage/err.h"

int steps_fail(struct steps *s, enum outcome outcome, enum convert_detail detail)
{
    s->answer->outcome = outcome;
    s->answer->detail = detail;
    return ERR_CORRUPT;
}

int steps_fail_with(struct steps *s, enum outcome outcome, enum convert_detail detail, uint64_t limit, uint64_t actual)
{
    s->answer->limit_value = limit;
    s->answer->actual_value = actual;
    return steps_fail(s, outcome, detail);
}

int steps_fail_too_large(struct steps *s, enum convert_detail detail, uint64_t limit, uint64_t actual)
{
    return steps_fail_with(s, OUTCOME_TOO_LARGE, detail, limit, actual);
}

int steps_take(struct steps *s, int failed, VipsImage *next)
{
    if (failed)
        return steps_fail(s, OUTCOME_UNDECODABLE, DETAIL_DAMAGED);
    if (s->at)
        g_object_unref(s->at);
    s->at = next;
    return 0;
}

uint32_t steps_frame_height(const struct steps *s)
{
    return (uint32_t)(s->all_pages ? vips_image_get_page_height(s->at) : vips_image_get_height(s->at));
}

uint32_t steps_frames(const struct steps *s)
{
    return (uint32_t)vips_image_get_height(s->at) / steps_frame_height(s);
}

int steps_to_memory(struct steps *s)
{
    VipsImage *next = vips_image_copy_memory(s->at);
    return steps_take(s, next == NULL, next);
}

/* ---- Frame by frame ---- */

typedef int (*frame_fn)(VipsImage *in, VipsImage **out, const void *arg);

static int frame_apply(VipsImage *all, uint32_t number, uint32_t height, frame_fn fn, const void *arg, VipsImage **out)
{
    VipsImage *frame = NULL;
    if (vips_extract_area(all, &frame, 0, (int)(number * height), vips_image_get_width(all), (int)height, NULL))
        return -1;
    vips_image_set_int(frame, VIPS_META_PAGE_HEIGHT, (int)height);
    int failed = fn(frame, out, arg);
    g_object_unref(frame);
    return failed;
}

static int join(VipsImage **frames, uint32_t count, VipsImage **out)
{
    VipsImage *joined = NULL;
    int height = vips_image_get_height(frames[0]);
    if (vips_arrayjoin(frames, &joined, (int)count, "across", 1, NULL))
        return -1;
    int failed = vips_copy(joined, out, NULL);
    g_object_unref(joined);
    if (!failed)
        vips_image_set_int(*out, VIPS_META_PAGE_HEIGHT, height);
    return failed;
}

/* Do the same to each frame: what knows nothing of frames would mix their edges. */
static int each_frame(struct steps *s, frame_fn fn, const void *arg)
{
    uint32_t count = steps_frames(s);
    uint32_t height = steps_frame_height(s);
    VipsImage *next = NULL;
    if (count == 1) {
        int failed = fn(s->at, &next, arg);
        return steps_take(s, failed, next);
    }
    int err = steps_to_memory(s);
    VipsImage **frames = err ? NULL : g_try_new0(VipsImage *, count);
    if (!frames)
        return err ? err : steps_fail(s, OUTCOME_INTERNAL, DETAIL_NONE);
    int failed = 0;
    for (uint32_t i = 0; !failed && i < count; i++)
        failed = frame_apply(s->at, i, height, fn, arg, &frames[i]);
    if (!failed)
        failed = join(frames, count, &next);
    for (uint32_t i = 0; i < count; i++)
        if (frames[i])
            g_object_unref(frames[i]);
    g_free(frames);
    return steps_take(s, failed, next);
}

/* ---- Cutting ---- */

struct rect {
    int left, top, width, height;
};

static int frame_cut(VipsImage *in, VipsImage **out, const void *arg)
{
    const struct rect *r = arg;
    return vips_extract_area(in, out, r->left, r->top, r->width, r->height, NULL);
}

int steps_crop(struct steps *s, const struct params *params)
{
    uint32_t width = (uint32_t)vips_image_get_width(s->at);
    uint32_t height = steps_frame_height(s);
    uint64_t right = (uint64_t)params->crop_x + params->crop_width;
    uint64_t bottom = (uint64_t)params->crop_y + params->crop_height;
    if (right > width)
        return steps_fail_with(s, OUTCOME_BAD_REQUEST, DETAIL_CROP, width, right);
    if (bottom > height)
        return steps_fail_with(s, OUTCOME_BAD_REQUEST, DETAIL_CROP, height, bottom);
    struct rect r = {(int)params->crop_x, (int)params->crop_y, (int)params->crop_width, (int)params->crop_height};
    return each_frame(s, frame_cut, &r);
}

/* The first frame, which decides where all are cut. */
static int first_frame(const struct steps *s, VipsImage **out)
{
    return vips_extract_area(s->at, out, 0, 0, vips_image_get_width(s->at), (int)steps_frame_height(s), NULL);
}

/* What differs from the colour of the first pixel. Transparency is left out. */
static int find_content(VipsImage *frame, double threshold, struct rect *r)
{
    double *corner = NULL;
    int n = 0;
    if (vips_getpoint(frame, &corner, &n, 0, 0, NULL))
        return -1;
    VipsArrayDouble *background = vips_array_double_new(corner, vips_image_hasalpha(frame) ? n - 1 : n);
    double unit = vips_image_get_format(frame) == VIPS_FORMAT_USHORT ? 256 : 1;
    int failed = vips_find_trim(frame, &r->left, &r->top, &r->width, &r->height, "threshold", threshold * unit,
                                "background", background, NULL);
    vips_area_unref(VIPS_AREA(background));
    g_free(corner);
    return failed;
}

/* What is as transparent as the first pixel is not seen, whatever its colour: transparency counts by itself. */
static int find_alpha(VipsImage *frame, double threshold, struct rect *r)
{
    VipsImage *alpha = NULL;
    if (vips_extract_band(frame, &alpha, vips_image_get_bands(frame) - 1, NULL))
        return -1;
    int failed = find_content(alpha, threshold, r);
    g_object_unref(alpha);
    return failed;
}

static void unite(struct rect *r, const struct rect *other)
{
    if (other->width == 0 || other->height == 0)
        return;
    if (r->width == 0 || r->height == 0) {
        *r = *other;
        return;
    }
    int right = VIPS_MAX(r->left + r->width, other->left + other->width);
    int bottom = VIPS_MAX(r->top + r->height, other->top + other->height);
    r->left = VIPS_MIN(r->left, other->left);
    r->top = VIPS_MIN(r->top, other->top);
    r->width = right - r->left;
    r->height = bottom - r->top;
}

/* libvips looks through a median of 3 × 3 pixels, and takes nothing smaller. */
enum { TRIM_SIDE_MIN = 3 };

int steps_trim(struct steps *s, uint32_t threshold)
{
    struct rect content = {0, 0, 0, 0};
    struct rect opaque = {0, 0, 0, 0};
    VipsImage *frame = NULL;
    if (vips_image_get_width(s->at) < TRIM_SIDE_MIN || steps_frame_height(s) < TRIM_SIDE_MIN)
        return 0;
    int failed = first_frame(s, &frame) || find_content(frame, threshold, &content) ||
                 (vips_image_hasalpha(frame) && find_alpha(frame, threshold, &opaque));
    if (frame)
        g_object_unref(frame);
    if (failed)
        return steps_fail(s, OUTCOME_UNDECODABLE, DETAIL_DAMAGED);
    unite(&content, &opaque);
    /* A picture of one colour stays whole. */
    if (content.width == 0 || content.height == 0)
        return 0;
    return each_frame(s, frame_cut, &content);
}

/* ---- Turning ---- */

int steps_upright(struct steps *s)
{
    VipsImage *next = NULL;
    int failed = s->all_pages ? vips_copy(s->at, &next, NULL) : vips_autorot(s->at, &next, NULL);
    int err = steps_take(s, failed, next);
    if (!err)
        vips_image_remove(s->at, VIPS_META_ORIENTATION);
    return err;
}

struct turning {
    const struct params *params;
    VipsArrayDouble *colour; /* of the corners */
};

static int rotate(VipsImage *in, VipsImage **out, const struct turning *t)
{
    static const VipsAngle quarters[] = {VIPS_ANGLE_D0, VIPS_ANGLE_D90, VIPS_ANGLE_D180, VIPS_ANGLE_D270};
    return geometry_is_askew(t->params) ? vips_rotate(in, out, t->params->rotate / 100.0, "background", t->colour, NULL)
                                        : vips_rot(in, out, quarters[t->params->rotate / PARAMS_QUARTER % 4], NULL);
}

/* In sharp's order. */
static int frame_turn(VipsImage *in, VipsImage **out, const void *arg)
{
    const struct turning *t = arg;
    VipsImage *flipped = NULL;
    VipsImage *flopped = NULL;
    int failed =
        t->params->flip ? vips_flip(in, &flipped, VIPS_DIRECTION_VERTICAL, NULL) : vips_copy(in, &flipped, NULL);
    if (!failed)
        failed = t->params->flop ? vips_flip(flipped, &flopped, VIPS_DIRECTION_HORIZONTAL, NULL)
                                 : vips_copy(flipped, &flopped, NULL);
    if (!failed)
        failed = rotate(flopped, out, t);
    if (flipped)
        g_object_unref(flipped);
    if (flopped)
        g_object_unref(flopped);
    return failed;
}

int steps_turn(struct steps *s, const struct params *params)
{
    const struct turning t = {params, NULL};
    if (params->rotate == 0 && !params->flip && !params->flop)
        return 0;
    int err = steps_to_memory(s);
    return err ? err : each_frame(s, frame_turn, &t);
}

/* ---- Placing ---- */

struct placing {
    struct rect at; /* where the image goes; width and height are the canvas's */
    VipsArrayDouble *colour;
};

static int frame_embed(VipsImage *in, VipsImage **out, const void *arg)
{
    const struct placing *p = arg;
    return vips_embed(in, out, p->at.left, p->at.top, p->at.width, p->at.height, "extend", VIPS_EXTEND_BACKGROUND,
                      "background", p->colour, NULL);
}

static bool is_grey(const uint8_t rgba[4])
{
    return rgba[0] == rgba[1] && rgba[1] == rgba[2];
}

static int to_srgb(struct steps *s)
{
    VipsImage *next = NULL;
    int failed = vips_colourspace(s->at, &next, VIPS_INTERPRETATION_sRGB, NULL);
    return steps_take(s, failed, next);
}

/* Make room for the background's colour and transparency in an image that has none. */
static int widen_for(struct steps *s, const uint8_t rgba[4], bool alpha)
{
    int err = 0;
    if (vips_image_get_bands(s->at) < 3 && !is_grey(rgba))
        err = to_srgb(s);
    if (err || !alpha || rgba[3] == 255 || vips_image_hasalpha(s->at))
        return err;
    VipsImage *next = NULL;
    int failed = vips_addalpha(s->at, &next, NULL);
    return steps_take(s, failed, next);
}

/* A colour as the image has bands. */
static VipsArrayDouble *colour_of(VipsImage *image, const uint8_t rgba[4])
{
    double value[4] = {rgba[0], rgba[1], rgba[2], rgba[3]};
    int bands = vips_image_get_bands(image);
    if (bands == 2)
        value[1] = rgba[3];
    return vips_array_double_new(value, bands < 4 ? bands : 4);
}

/* The colour is the image's, so the image has to be as the colour is meant. */
int steps_turn_askew(struct steps *s, const struct params *params, const uint8_t rgba[4], bool alpha)
{
    int err = steps_plain(s);
    if (!err)
        err = widen_for(s, rgba, alpha);
    if (!err)
        err = steps_to_memory(s);
    if (err)
        return err;
    /* libvips weighs the picture's colours by their alpha before it turns, but not the corners'. */
    uint8_t weighed[4] = {rgba[0], rgba[1], rgba[2], rgba[3]};
    for (size_t i = 0; vips_image_hasalpha(s->at) && i < 3; i++)
        weighed[i] = (uint8_t)((rgba[i] * rgba[3] + 127) / 255);
    struct turning t = {params, colour_of(s->at, weighed)};
    err = each_frame(s, frame_turn, &t);
    vips_area_unref(VIPS_AREA(t.colour));
    /* What follows would have parts of it turned again and again. */
    return err ? err : steps_to_memory(s);
}

int steps_flatten(struct steps *s, const uint8_t rgba[4])
{
    if (!vips_image_hasalpha(s->at))
        return 0;
    uint8_t opaque[4] = {rgba[0], rgba[1], rgba[2], 255};
    int err = widen_for(s, opaque, false);
    if (err)
        return err;
    double value[3] = {rgba[0], rgba[1], rgba[2]};
    VipsArrayDouble *colour = vips_array_double_new(value, vips_image_get_bands(s->at) - 1 < 3 ? 1 : 3);
    VipsImage *next = NULL;
    int failed = vips_flatten(s->at, &next, "background", colour, NULL);
    vips_area_unref(VIPS_AREA(colour));
    return steps_take(s, failed, next);
}

/* Where libvips finds most to look at. */
static int find_interesting(struct steps *s, enum params_position by, struct rect *r)
{
    VipsImage *frame = NULL;
    VipsImage *cut = NULL;
    int err = steps_to_memory(s);
    if (err)
        return err;
    int failed = first_frame(s, &frame) ||
                 vips_smartcrop(frame, &cut, r->width, r->height, "interesting",
                                by == POSITION_ENTROPY ? VIPS_INTERESTING_ENTROPY : VIPS_INTERESTING_ATTENTION, NULL);
    if (!failed) {
        r->left = -vips_image_get_xoffset(cut);
        r->top = -vips_image_get_yoffset(cut);
    }
    if (frame)
        g_object_unref(frame);
    if (cut)
        g_object_unref(cut);
    return failed ? steps_fail(s, OUTCOME_UNDECODABLE, DETAIL_DAMAGED) : 0;
}

int steps_canvas(struct steps *s, const struct params *params, const struct geometry *g, const uint8_t rgba[4],
                 bool alpha)
{
    uint32_t x, y;
    if (g->width == g->canvas_width && g->height == g->canvas_height)
        return 0;
    geometry_place(params, g, &x, &y);
    struct rect r = {(int)x, (int)y, (int)g->canvas_width, (int)g->canvas_height};
    if (g->width >= g->canvas_width && g->height >= g->canvas_height) {
        int err = params->position == POSITION_ENTROPY || params->position == POSITION_ATTENTION
                      ? find_interesting(s, params->position, &r)
                      : 0;
        return err ? err : each_frame(s, frame_cut, &r);
    }
    int err = widen_for(s, rgba, alpha);
    if (err)
        return err;
    struct placing p = {r, colour_of(s->at, rgba)};
    err = each_frame(s, frame_embed, &p);
    vips_area_unref(VIPS_AREA(p.colour));
    return err;
}

/* ---- Filters ---- */

/* Colours under transparency must not bleed into what is seen. */
static int blur_with_alpha(VipsImage *in, VipsImage **out, double sigma)
{
    VipsImage *step[3] = {NULL, NULL, NULL};
    int failed = vips_premultiply(in, &step[0], NULL) || vips_gaussblur(step[0], &step[1], sigma, NULL) ||
                 vips_unpremultiply(step[1], &step[2], NULL) || vips_cast_uchar(step[2], out, NULL);
    for (int i = 0; i < 3; i++)
        if (step[i])
            g_object_unref(step[i]);
    return failed;
}

static int frame_blur(VipsImage *in, VipsImage **out, const void *arg)
{
    const double *sigma = arg;
    return vips_image_hasalpha(in) ? blur_with_alpha(in, out, *sigma) : vips_gaussblur(in, out, *sigma, NULL);
}

int steps_blur(struct steps *s, double sigma)
{
    int err = steps_to_memory(s);
    return err ? err : each_frame(s, frame_blur, &sigma);
}

/* In lightness, with sharp's measures of what is flat and what is jagged. */
static int frame_sharpen(VipsImage *in, VipsImage **out, const void *arg)
{
    const double *sigma = arg;
    return vips_sharpen(in, out, "sigma", *sigma, "m1", 1.0, "m2", 2.0, "x1", 2.0, "y2", 10.0, "y3", 20.0, NULL);
}

int steps_sharpen(struct steps *s, double sigma)
{
    int err = steps_to_memory(s);
    return err ? err : each_frame(s, frame_sharpen, &sigma);
}

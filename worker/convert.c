/* SPDX-License-Identifier: MIT */
/* Conversion by libvips: bounds before decoding, one scaling step, one encoder. */
#include "convert.h"

#include "cavage/err.h"
#include "convert_parts.h"
#include "encode.h"
#include "load.h"

#include <string.h>
#include <vips/vips.h>

/* Whether a choice of ours may fall on the format. */
static bool may_choose(const struct limits *limits, enum image_format format, const struct geometry *g)
{
    uint64_t pixels = (uint64_t)g->canvas_width * g->canvas_height;
    return pixels <= limits->of[LIMIT_AUTO_PIXELS_OUT][format] && pixels <= limits->of[LIMIT_PIXELS_OUT][format] &&
           g->canvas_width <= encode_side_max(format) && g->canvas_height <= encode_side_max(format);
}

static enum image_format choose_format(const struct steps *s, const struct plan *plan)
{
    const struct params *p = plan->params;
    bool webp = p->auto_formats & AUTO_WEBP;
    if (!p->format_auto)
        return p->format != IMAGE_UNKNOWN ? p->format : s->format == IMAGE_SVG ? IMAGE_PNG : s->format;
    if (s->all_pages)
        return webp ? IMAGE_WEBP : IMAGE_GIF;
    if (p->auto_formats & AUTO_AVIF && may_choose(plan->limits, IMAGE_AVIF, &plan->g))
        return IMAGE_AVIF;
    if (webp && may_choose(plan->limits, IMAGE_WEBP, &plan->g))
        return IMAGE_WEBP;
    return vips_image_hasalpha(s->at) ? IMAGE_PNG : IMAGE_JPEG;
}

/* The box around a picture of 4:1 that is turned by 45 degrees has some three times its pixels. */
enum { ASKEW_FACTOR = 3 };

/* Choose the page, or all frames of an animation that the result can hold. */
static int open_pages(struct steps *s, const struct plan *plan)
{
    const struct params *p = plan->params;
    uint32_t pages = (uint32_t)(load_has_pages(s->format) ? vips_image_get_n_pages(s->at) : 1);
    if (p->page > pages)
        return steps_fail_with(s, OUTCOME_BAD_REQUEST, DETAIL_PAGE, pages - 1, p->page - 1);
    enum image_format wanted = p->format != IMAGE_UNKNOWN ? p->format : s->format;
    s->page = p->page > 0 ? p->page - 1 : 0;
    s->all_pages =
        p->page == 0 && pages > 1 && encode_has_frames(s->format) && (p->format_auto || encode_has_frames(wanted));
    if (s->page == 0 && !s->all_pages)
        return 0;
    int err = load_header(s);
    return err ? err : load_check_pixels(s, plan->limits);
}

/* Whether the result can have transparency. What format=auto falls back to has it only where the image has. */
static bool may_have_alpha(const struct steps *s, const struct params *p)
{
    if (p->format_auto)
        return p->auto_formats != 0 || vips_image_hasalpha(s->at);
    return encode_has_alpha(p->format != IMAGE_UNKNOWN ? p->format : s->format) || s->format == IMAGE_SVG;
}

/* What is behind the picture unless the request says: nothing where the result can have that, else black. */
static void background_of(const struct params *p, bool alpha, uint8_t rgba[4])
{
    static const uint8_t clear[4] = {0, 0, 0, 0};
    static const uint8_t black[4] = {0, 0, 0, 255};
    memcpy(rgba, p->has_background ? p->background : alpha ? clear : black, 4);
    if (!alpha)
        rgba[3] = 255;
}

/* A turn by any angle comes before the resize, as in sharp: the box around it is what is resized. */
static int turn_askew(struct steps *s, const struct plan *plan)
{
    const struct params *p = plan->params;
    uint32_t width, height;
    geometry_turn(p, (uint32_t)vips_image_get_width(s->at), steps_frame_height(s), &width, &height);
    uint64_t most = ASKEW_FACTOR * plan->limits->of[LIMIT_TOTAL_PIXELS_IN][s->format];
    uint64_t pixels = (uint64_t)width * height;
    if (pixels > most / steps_frames(s))
        return steps_fail_too_large(s, DETAIL_TURNED, most, pixels * steps_frames(s));
    bool alpha = may_have_alpha(s, p);
    uint8_t rgba[4];
    background_of(p, alpha, rgba);
    return steps_turn_askew(s, p, rgba, alpha);
}

static bool is_cut(const struct params *p)
{
    return p->crop_width > 0 || p->trim > 0 || geometry_is_askew(p);
}

/* What is cut or turned askew before the resize needs the whole picture, upright. */
static int cut(struct steps *s, struct plan *plan)
{
    const struct params *p = plan->params;
    if (!is_cut(p))
        return 0;
    plan->cut = true;
    int err = load_whole(s);
    if (!err)
        err = steps_to_memory(s);
    if (!err)
        err = steps_upright(s);
    if (!err && p->crop_width > 0)
        err = steps_crop(s, p);
    if (!err && p->trim > 0)
        err = steps_trim(s, p->trim);
    if (!err && geometry_is_askew(p))
        err = turn_askew(s, plan);
    return err;
}

/* Refuse a result that is over a bound before any work on it. */
static int check_result(struct steps *s, const struct plan *plan)
{
    const struct geometry *g = &plan->g;
    uint64_t frames = steps_frames(s);
    uint64_t scaled = (uint64_t)g->width * g->height;
    uint64_t canvas = (uint64_t)g->canvas_width * g->canvas_height;
    uint64_t pixels = VIPS_MAX(scaled, canvas);
    uint64_t most = plan->limits->of[LIMIT_PIXELS_OUT][plan->format];
    if (pixels > most / frames)
        return steps_fail_too_large(s, DETAIL_OUTPUT_PIXELS, most, pixels * frames);
    uint32_t side = VIPS_MAX(g->canvas_width, g->canvas_height);
    if (side > encode_side_max(plan->format))
        return steps_fail_too_large(s, DETAIL_OUTPUT_SIDE, encode_side_max(plan->format), side);
    return 0;
}

static int make_plan(struct steps *s, struct plan *plan)
{
    bool sideways = (vips_image_get_orientation_swap(s->at) && !s->all_pages) != geometry_is_sideways(plan->params);
    /* sharp does not shrink while it decodes what it turns. */
    bool jpeg = s->format == IMAGE_JPEG && !plan->cut && plan->params->rotate == 0;
    uint32_t across = (uint32_t)vips_image_get_width(s->at);
    uint32_t down = steps_frame_height(s);
    if (geometry_plan(plan->params, sideways ? down : across, sideways ? across : down, jpeg, &plan->g))
        return steps_fail_too_large(s, DETAIL_OUTPUT_SIDE, PARAMS_DIMENSION_MAX, UINT32_MAX);
    plan->format = choose_format(s, plan);
    return check_result(s, plan);
}

/* Nearest takes pixels as they are: a decoder that scales would mix them. */
static bool may_shrink(const struct params *p)
{
    return p->kernel != KERNEL_NEAREST;
}

/* What to scale to, before it is turned. */
static struct source_size scaled_size(struct steps *s, const struct plan *plan)
{
    bool sideways = geometry_is_sideways(plan->params);
    struct source_size size = {.width = sideways ? plan->g.height : plan->g.width,
                               .height = sideways ? plan->g.width : plan->g.height,
                               .shrink = 1};
    if (!plan->cut && may_shrink(plan->params))
        size.shrink = load_shrink(s, size.width, size.height);
    return size;
}

/* Go on from the pixels that outputs share, or from what was scaled for another. */
static int scale_shared(struct steps *s, const struct plan *plan, struct source_size *size)
{
    bool usual = plan->params->kernel == KERNEL_LANCZOS3;
    int err = 0;
    if (!usual || !source_find_scaled(s, size)) {
        err = load_shared(s);
        if (!err)
            err = source_cut(s, size->shrink);
    }
    if (!err && s->all_pages)
        err = steps_upright(s);
    if (!err)
        err = steps_scale(s, size->width, size->height, plan->params->kernel);
    return !err && usual ? source_keep_scaled(s, size) : err;
}

static int scale_alone(struct steps *s, const struct plan *plan, const struct source_size *size)
{
    int err = 0;
    if (!plan->cut)
        err = may_shrink(plan->params) ? load_shrunk(s, size) : load_whole(s);
    if (!err && s->all_pages)
        err = steps_upright(s);
    return err ? err : steps_scale(s, size->width, size->height, plan->params->kernel);
}

static int scale(struct steps *s, const struct plan *plan)
{
    struct source_size size = scaled_size(s, plan);
    int err = load_is_shared(s) && !plan->cut ? scale_shared(s, plan, &size) : scale_alone(s, plan, &size);
    return err || geometry_is_askew(plan->params) ? err : steps_turn(s, plan->params);
}

static int filter(struct steps *s, const struct params *p)
{
    int err = p->blur > 0 ? steps_blur(s, p->blur / 100.0) : 0;
    if (!err && p->sharpen > 0)
        err = steps_sharpen(s, p->sharpen / 100.0);
    if (!err && p->grayscale)
        err = steps_grayscale(s);
    return err;
}

static int write_within(struct steps *s, const struct plan *plan, void **data, size_t *len)
{
    int err = steps_to_memory(s);
    if (!err)
        err = encode_within(s->at, plan->format, plan->params, data, len);
    if (err == ERR_RANGE)
        return steps_fail_too_large(s, DETAIL_MAX_BYTES, plan->params->max_bytes, *len);
    return err;
}

static int write_result(struct steps *s, const struct plan *plan)
{
    void *data = NULL;
    size_t len = 0;
    int err = plan->params->max_bytes > 0 ? write_within(s, plan, &data, &len)
                                          : encode(s->at, plan->format, plan->params, &data, &len);
    if (err || !data)
        return s->answer->outcome != OUTCOME_OK ? err : steps_fail(s, OUTCOME_UNDECODABLE, DETAIL_DAMAGED);
    uint64_t most = VIPS_MIN(plan->limits->of[LIMIT_BYTES_OUT][plan->format], plan->size);
    if (len > most) {
        err = steps_fail_too_large(s, DETAIL_OUTPUT_BYTES, most, len);
    } else if (len > plan->size - plan->before) {
        err = steps_fail_too_large(s, DETAIL_SUM_BYTES, plan->size, plan->before + len);
    } else {
        memcpy(plan->out + plan->before, data, len);
        s->answer->len = len;
    }
    g_free(data);
    return err;
}

int convert_look(struct steps *s, struct plan *plan, struct source_size *size)
{
    *size = (struct source_size){.shrink = 1};
    int err = load_checked(s, plan->limits);
    if (!err)
        err = open_pages(s, plan);
    if (err)
        return err;
    s->source->width = (uint32_t)vips_image_get_width(s->at);
    s->source->height = steps_frame_height(s);
    s->source->sideways = load_is_sideways(s);
    /* What is cut has to be decoded to know its size. */
    if (is_cut(plan->params) || (err = make_plan(s, plan)))
        return err;
    *size = scaled_size(s, plan);
    return 0;
}

int convert_make(struct steps *s, struct plan *plan)
{
    uint8_t background[4];
    int err = load_checked(s, plan->limits);
    if (err || (err = open_pages(s, plan)) || (err = cut(s, plan)) || (err = make_plan(s, plan)) ||
        (err = scale(s, plan)) || (err = steps_eight_bits(s)))
        return err;
    bool alpha = encode_has_alpha(plan->format);
    background_of(plan->params, alpha, background);
    if ((!alpha && (err = steps_flatten(s, background))) ||
        (err = steps_canvas(s, plan->params, &plan->g, background, alpha)) || (err = filter(s, plan->params)))
        return err;
    return write_result(s, plan);
}

void convert_finish(struct steps *s)
{
    if (s->at)
        g_object_unref(s->at);
    g_free(s->prepared);
    vips_error_clear();
}

void convert_resize(const struct params *params, const uint8_t *data, size_t len, const struct limits *limits,
                    uint8_t *out, size_t size, struct convert_answer *answer)
{
    struct steps s = {.data = data, .len = len, .answer = answer};
    struct plan plan = {.params = params, .limits = limits, .out = out, .size = size};
    *answer = (struct convert_answer){.outcome = OUTCOME_OK};
    (void)convert_make(&s, &plan);
    convert_finish(&s);
}

static enum convert_space space_of(VipsImage *image)
{
    switch (vips_image_get_interpretation(image)) {
    case VIPS_INTERPRETATION_sRGB:
        return SPACE_SRGB;
    case VIPS_INTERPRETATION_B_W:
        return SPACE_GREY;
    case VIPS_INTERPRETATION_CMYK:
        return SPACE_CMYK;
    case VIPS_INTERPRETATION_RGB16:
        return SPACE_RGB16;
    case VIPS_INTERPRETATION_GREY16:
        return SPACE_GREY16;
    case VIPS_INTERPRETATION_LAB:
        return SPACE_LAB;
    default:
        return SPACE_OTHER;
    }
}

void convert_info(const uint8_t *data, size_t len, const struct limits *limits, struct convert_answer *answer)
{
    struct steps s = {.data = data, .len = len, .answer = answer};
    *answer = (struct convert_answer){.outcome = OUTCOME_OK};
    if (load_checked(&s, limits) == 0) {
        answer->info.orientation = (uint32_t)vips_image_get_orientation(s.at);
        answer->info.space = space_of(s.at);
        answer->info.alpha = vips_image_hasalpha(s.at) ? 1 : 0;
        answer->info.profile = vips_image_get_typeof(s.at, VIPS_META_ICC_NAME) ? 1 : 0;
    }
    convert_finish(&s);
}

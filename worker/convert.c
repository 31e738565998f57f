/* SPDX-License-Identifier: MIT */
/* Conversion by libvips: one loader chosen by magic bytes, bounds before decoding, one scaling step, one encoder. */
#include "convert.h"

#include "cavage/err.h"
#include "cavage/svg.h"
#include "convert_parts.h"
#include "encode.h"
#include "source.h"

#include <string.h>
#include <time.h>
#include <vips/vips.h>

/* The one loader of each format: its class, to be let through the block of all, and its name as an operation. */
static const struct loader {
    const char *class_name;
    const char *operation;
} loaders[IMAGE_FORMAT_COUNT] = {
    [IMAGE_JPEG] = {"VipsForeignLoadJpegBuffer", "jpegload_buffer"},
    [IMAGE_PNG] = {"VipsForeignLoadPngBuffer", "pngload_buffer"},
    [IMAGE_WEBP] = {"VipsForeignLoadWebpBuffer", "webpload_buffer"},
    [IMAGE_AVIF] = {"VipsForeignLoadHeifBuffer", "heifload_buffer"},
    [IMAGE_GIF] = {"VipsForeignLoadNsgifBuffer", "gifload_buffer"},
    [IMAGE_TIFF] = {"VipsForeignLoadTiffBuffer", "tiffload_buffer"},
    [IMAGE_SVG] = {"VipsForeignLoadSvgBuffer", "svgload_buffer"},
};

/* Other operations of a conversion, whose classes are made before converters are forked. */
static const char *const warm_operations[] = {
    "thumbnail_image",
    "resize",
    "reduceh",
    "reducev",
    "shrinkh",
    "shrinkv",
    "colourspace",
    "icc_transform",
    "premultiply",
    "cast",
    "unpremultiply",
    "flatten",
    "embed",
    "extract_area",
    "autorot",
    "rot",
    "rotate",
    "similarity",
    "affine",
    "flip",
    "gaussblur",
    "sharpen",
    "smartcrop",
    "find_trim",
    "arrayjoin",
    "sequential",
    "jpegsave_buffer",
    "linecache",
    "copy",
    "pngsave_buffer",
    "webpsave_buffer",
    "heifsave_buffer",
    "gifsave_buffer",
    "tiffsave_buffer",
};

/* libvips warns about oddities in images; they are no events of ours. */
static void ignore_log(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer arg)
{
    (void)domain;
    (void)level;
    (void)message;
    (void)arg;
}

static void warm(const char *operation)
{
    GType type = vips_type_find("VipsOperation", operation);
    /* The reference is kept: the class shall live as long as the process. */
    if (type)
        g_type_class_ref(type);
}

/* Libraries open files and map code the first time they are used for some things. That time is now: converters can do neither. Building an
 * operation compiles its loops where libvips does so, and computes nothing. */
static int warm_libraries(void)
{
    VipsImage *image = NULL;
    VipsImage *small = NULL;
    tzset();
    int failed = vips_black(&image, 64, 64, "bands", 3, NULL) || vips_resize(image, &small, 0.3, NULL);
    if (small)
        g_object_unref(small);
    if (image)
        g_object_unref(image);
    return failed ? ERR_INTERNAL : 0;
}

/* An SVG can make its renderer look in files for readers of pictures. Drawn in this thread. */
static int warm_svg(void)
{
    static const char document[] =
        "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><image width='4' height='4' "
        "href='"
        "data:image/"
        "png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
        "'/></svg>";
    VipsBlob *blob = vips_blob_new(NULL, document, sizeof(document) - 1);
    VipsImage *image = NULL;
    VipsRect all = {0, 0, 8, 8};
    int failed = vips_call("svgload_buffer", blob, &image, NULL);
    VipsRegion *region = failed ? NULL : vips_region_new(image);
    failed = failed || vips_region_prepare(region, &all);
    if (region)
        g_object_unref(region);
    if (image)
        g_object_unref(image);
    vips_area_unref(VIPS_AREA(blob));
    return failed ? ERR_INTERNAL : 0;
}

int convert_open(bool svg)
{
    g_log_set_default_handler(ignore_log, NULL);
    if (VIPS_INIT("cavage-worker"))
        return ERR_INTERNAL;
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    for (size_t i = 1; i < IMAGE_FORMAT_COUNT; i++) {
        if (i == IMAGE_SVG && !svg)
            continue;
        vips_operation_block_set(loaders[i].class_name, FALSE);
        warm(loaders[i].operation);
    }
    for (size_t i = 0; i < sizeof(warm_operations) / sizeof(warm_operations[0]); i++)
        warm(warm_operations[i]);
    int err = warm_libraries();
    return err || !svg ? err : warm_svg();
}

/* The settings of a load. shrink is 1, 2, 4 or 8 and for JPEG only, scale for WebP, up to 1.0, and SVG only. */
struct loading {
    int shrink;
    double scale;
};

static bool has_pages(enum image_format format)
{
    return format == IMAGE_GIF || format == IMAGE_WEBP || format == IMAGE_TIFF;
}

/* Open with the format's loader; nothing is decoded yet. */
static int load_afresh(struct steps *s, struct loading how)
{
    VipsBlob *blob = vips_blob_new(NULL, s->data, s->len);
    VipsOperation *op = vips_operation_new(loaders[s->format].operation);
    VipsImage *image = NULL;
    g_object_set(op, "buffer", blob, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    if (how.shrink > 1)
        g_object_set(op, "shrink", how.shrink, NULL);
    if (how.scale != 1.0)
        g_object_set(op, "scale", how.scale, NULL);
    if (s->page > 0 || s->all_pages)
        g_object_set(op, "page", (int)s->page, "n", s->all_pages ? -1 : 1, NULL);
    int failed = vips_cache_operation_buildp(&op);
    if (!failed)
        g_object_get(op, "out", &image, NULL);
    vips_object_unref_outputs(VIPS_OBJECT(op));
    g_object_unref(op);
    vips_area_unref(VIPS_AREA(blob));
    return steps_take(s, failed, image);
}

/* What a renderer is not to see. */
static int prepare_svg(struct steps *s, const struct limits *limits)
{
    uint64_t pixels = 0;
    s->prepared = g_try_malloc(s->len);
    int err = s->prepared ? svg_prepare(s->data, s->len, s->prepared, &pixels) : ERR_NOMEM;
    s->data = s->prepared;
    if (err == ERR_DENIED || (!err && pixels > limits->of[LIMIT_PIXELS_IN][IMAGE_SVG]))
        return steps_fail(s, OUTCOME_UNDECODABLE, DETAIL_EMBEDDED);
    return err ? steps_fail(s, OUTCOME_UNDECODABLE, DETAIL_SVG) : 0;
}

/* Open for the header: again, or as another output found it. */
static int load(struct steps *s)
{
    if (s->source && source_find_opened(s))
        return 0;
    int err = load_afresh(s, (struct loading){1, 1.0});
    /* What is drawn is drawn for each output. */
    if (!err && s->source && s->format != IMAGE_SVG)
        source_keep_opened(s);
    return err;
}

/* What the loader itself read of one page, or of all. */
static int check_pixels(struct steps *s, const struct limits *limits)
{
    uint64_t pixels = (uint64_t)vips_image_get_width(s->at) * (uint64_t)vips_image_get_height(s->at);
    enum limit limit = s->all_pages ? LIMIT_TOTAL_PIXELS_IN : LIMIT_PIXELS_IN;
    uint64_t most = limits->of[limit][s->format];
    return pixels > most ? steps_fail_too_large(s, (enum convert_detail)(DETAIL_LIMITS + limit), most, pixels) : 0;
}

/* Open, and judge by what the loader itself read. */
static int open_checked(struct steps *s, const struct limits *limits)
{
    s->format = image_sniff(s->data, s->len);
    if (s->format == IMAGE_UNKNOWN)
        return steps_fail(s, OUTCOME_NOT_AN_IMAGE, DETAIL_NONE);
    if (!limits_know(limits, s->format))
        return steps_fail(s, OUTCOME_NOT_AN_IMAGE, DETAIL_SVG_OFF);
    int err = s->format == IMAGE_SVG ? prepare_svg(s, limits) : 0;
    if (err || (err = load(s)) || (err = check_pixels(s, limits)))
        return err;
    const char *codec;
    if (s->format == IMAGE_AVIF && !vips_image_get_string(s->at, "heif-compression", &codec) &&
        strcmp(codec, "av1") != 0)
        return steps_fail(s, OUTCOME_UNDECODABLE, DETAIL_UNSUPPORTED);
    return 0;
}

/* The pixels that outputs share, decoded for the first of them. */
static int load_shared(struct steps *s)
{
    if (source_find_decoded(s))
        return 0;
    int err = load_afresh(s, (struct loading){(int)s->source->coarse, 1.0});
    return err ? err : source_keep_decoded(s);
}

static bool is_shared(const struct steps *s)
{
    return s->source && s->source->shared && s->format != IMAGE_SVG;
}

/* Whether it will be turned by a quarter to be upright. */
static bool is_sideways(const struct steps *s)
{
    return vips_image_get_orientation_swap(s->at) && !s->all_pages;
}

/* How many pixels of the image go into one of the target. */
static double shrink_to(struct steps *s, uint32_t to_width, uint32_t to_height)
{
    bool sideways = is_sideways(s);
    double width = vips_image_get_width(s->at);
    double height = steps_frame_height(s);
    double shrink_h = width / (sideways ? to_height : to_width);
    double shrink_v = height / (sideways ? to_width : to_height);
    return VIPS_MIN(shrink_h, shrink_v);
}

/* How far a decoder may shrink: no less than twice the target is left for the kernel. */
static uint32_t decoder_shrink(const struct steps *s, double shrink)
{
    if (s->format != IMAGE_JPEG || shrink < 4)
        return 1;
    return shrink >= 16 ? 8 : shrink >= 8 ? 4 : 2;
}

/* A pixel more is an error of libvips. */
enum { SVG_DRAWN_SIDE_MAX = 32767 };

/* SVG is drawn at its size. */
static int draw(struct steps *s, double shrink)
{
    int side = VIPS_MAX(vips_image_get_width(s->at), vips_image_get_height(s->at));
    return load_afresh(s, (struct loading){1, VIPS_MIN(1.0 / shrink, (double)SVG_DRAWN_SIDE_MAX / side)});
}

/* Let the decoder scale where it can, as far as quality allows: to no less than twice the target, and SVG to it or up to it. */
static int load_shrunk(struct steps *s, const struct source_size *to)
{
    double shrink = shrink_to(s, to->width, to->height);
    if (to->shrink > 1)
        return load_afresh(s, (struct loading){(int)to->shrink, 1.0});
    if (s->format == IMAGE_WEBP && shrink > 2)
        return load_afresh(s, (struct loading){1, 2.0 / shrink});
    if (s->format == IMAGE_SVG)
        return draw(s, shrink);
    /* What another output opened was for its header. */
    return s->source ? load_afresh(s, (struct loading){1, 1.0}) : 0;
}

/* All of the pixels, as they are. */
static int load_whole(struct steps *s)
{
    if (is_shared(s))
        return load_shared(s);
    return s->source ? load_afresh(s, (struct loading){1, 1.0}) : 0;
}

/* ---- A resize ---- */

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
    uint32_t pages = (uint32_t)(has_pages(s->format) ? vips_image_get_n_pages(s->at) : 1);
    if (p->page > pages)
        return steps_fail_with(s, OUTCOME_BAD_REQUEST, DETAIL_PAGE, pages - 1, p->page - 1);
    enum image_format wanted = p->format != IMAGE_UNKNOWN ? p->format : s->format;
    s->page = p->page > 0 ? p->page - 1 : 0;
    s->all_pages =
        p->page == 0 && pages > 1 && encode_has_frames(s->format) && (p->format_auto || encode_has_frames(wanted));
    if (s->page == 0 && !s->all_pages)
        return 0;
    int err = load(s);
    return err ? err : check_pixels(s, plan->limits);
}

/* Whether the result can have transparency. What format=auto falls back to has it only where the image has. */
static bool may_have_alpha(const struct steps *s, const struct params *p)
{
    if (p->format_auto)
        return p->auto_formats != 0 || vips_image_hasalpha(s->at);
    return encode_has_alpha(p->format != IMAGE_UNKNOWN ? p->format : s->format) || s->format == IMAGE_SVG;
}

/* A turn by any angle comes before the resize, as in sharp: the box around it is what is resized. */
static int turn_askew(struct steps *s, const struct plan *plan)
{
    static const uint8_t clear[4] = {0, 0, 0, 0};
    static const uint8_t black[4] = {0, 0, 0, 255};
    const struct params *p = plan->params;
    uint32_t width, height;
    geometry_turn(p, (uint32_t)vips_image_get_width(s->at), steps_frame_height(s), &width, &height);
    uint64_t most = ASKEW_FACTOR * plan->limits->of[LIMIT_TOTAL_PIXELS_IN][s->format];
    uint64_t pixels = (uint64_t)width * height;
    if (pixels > most / steps_frames(s))
        return steps_fail_too_large(s, DETAIL_TURNED, most, pixels * steps_frames(s));
    bool alpha = may_have_alpha(s, p);
    uint8_t rgba[4];
    memcpy(rgba, p->has_background ? p->background : alpha ? clear : black, sizeof(rgba));
    if (!alpha)
        rgba[3] = 255;
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
        size.shrink = decoder_shrink(s, shrink_to(s, size.width, size.height));
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
    int err = is_shared(s) && !plan->cut ? scale_shared(s, plan, &size) : scale_alone(s, plan, &size);
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
    int err = open_checked(s, plan->limits);
    if (!err)
        err = open_pages(s, plan);
    if (err)
        return err;
    s->source->width = (uint32_t)vips_image_get_width(s->at);
    s->source->height = steps_frame_height(s);
    s->source->sideways = is_sideways(s);
    /* What is cut has to be decoded to know its size. */
    if (is_cut(plan->params) || (err = make_plan(s, plan)))
        return err;
    *size = scaled_size(s, plan);
    return 0;
}

int convert_make(struct steps *s, struct plan *plan)
{
    static const uint8_t black[4] = {0, 0, 0, 255};
    const uint8_t *background = plan->params->has_background ? plan->params->background : black;
    int err = open_checked(s, plan->limits);
    if (err || (err = open_pages(s, plan)) || (err = cut(s, plan)) || (err = make_plan(s, plan)) ||
        (err = scale(s, plan)) || (err = steps_eight_bits(s)))
        return err;
    bool alpha = encode_has_alpha(plan->format);
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
    if (open_checked(&s, limits) == 0) {
        answer->info.orientation = (uint32_t)vips_image_get_orientation(s.at);
        answer->info.space = space_of(s.at);
        answer->info.alpha = vips_image_hasalpha(s.at) ? 1 : 0;
        answer->info.profile = vips_image_get_typeof(s.at, VIPS_META_ICC_NAME) ? 1 : 0;
    }
    convert_finish(&s);
}

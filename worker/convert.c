/* SPDX-License-Identifier: MIT */
/* Conversion by libvips: one loader chosen by magic bytes, bounds before decoding, one scaling step, one encoder. */
#include "convert.h"

#include "cavage/err.h"
#include "encode.h"
#include "geometry.h"

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

int convert_open(void)
{
    g_log_set_default_handler(ignore_log, NULL);
    if (VIPS_INIT("cavage-worker"))
        return ERR_INTERNAL;
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    for (size_t i = 1; i < IMAGE_FORMAT_COUNT; i++) {
        vips_operation_block_set(loaders[i].class_name, FALSE);
        warm(loaders[i].operation);
    }
    for (size_t i = 0; i < sizeof(warm_operations) / sizeof(warm_operations[0]); i++)
        warm(warm_operations[i]);
    return warm_libraries();
}

/* An image on its way. `at` is the last step; all steps are kept until the end, since libvips works them off lazily. */
struct pipeline {
    const uint8_t *data;
    size_t len;
    enum image_format format;
    VipsImage *at;
    struct convert_answer *answer;
};

static int fail(struct pipeline *p, enum outcome outcome, enum convert_detail detail)
{
    p->answer->outcome = outcome;
    p->answer->detail = detail;
    return ERR_CORRUPT;
}

static int fail_too_large(struct pipeline *p, enum convert_detail detail, uint64_t limit, uint64_t actual)
{
    p->answer->limit_value = limit;
    p->answer->actual_value = actual;
    return fail(p, OUTCOME_TOO_LARGE, detail);
}

/* Put the next step in the place of the last. libvips holds references to what it still needs. */
static int step(struct pipeline *p, int failed, VipsImage *next)
{
    if (failed)
        return fail(p, OUTCOME_UNDECODABLE, DETAIL_DAMAGED);
    if (p->at)
        g_object_unref(p->at);
    p->at = next;
    return 0;
}

/* Open with the format's loader; nothing is decoded yet. shrink is 1, 2, 4 or 8 and for JPEG only, scale up to 1.0 and for WebP only. */
static int load(struct pipeline *p, int shrink, double scale)
{
    const char *operation = loaders[p->format].operation;
    VipsBlob *blob = vips_blob_new(NULL, p->data, p->len);
    VipsImage *image = NULL;
    int failed;
    if (shrink > 1)
        failed = vips_call(operation, blob, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR,
                           "shrink", shrink, NULL);
    else if (scale < 1.0)
        failed = vips_call(operation, blob, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR,
                           "scale", scale, NULL);
    else
        failed =
            vips_call(operation, blob, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    vips_area_unref(VIPS_AREA(blob));
    return step(p, failed, image);
}

/* Open, and judge by what the loader itself read. */
static int open_checked(struct pipeline *p, const struct convert_limits *limits)
{
    p->format = image_sniff(p->data, p->len);
    if (p->format == IMAGE_UNKNOWN)
        return fail(p, OUTCOME_NOT_AN_IMAGE, DETAIL_NONE);
    int err = load(p, 1, 1.0);
    if (err)
        return err;
    uint64_t pixels = (uint64_t)vips_image_get_width(p->at) * (uint64_t)vips_image_get_height(p->at);
    if (pixels > limits->max_pixels)
        return fail_too_large(p, DETAIL_PIXELS, limits->max_pixels, pixels);
    const char *codec;
    if (p->format == IMAGE_AVIF && !vips_image_get_string(p->at, "heif-compression", &codec) &&
        strcmp(codec, "av1") != 0)
        return fail(p, OUTCOME_UNDECODABLE, DETAIL_UNSUPPORTED);
    return 0;
}

/* Let the decoder scale where it can, as far as quality allows: JPEG to no less than twice the target, WebP to the target. */
static int load_shrunk(struct pipeline *p, bool sideways, const struct geometry *g)
{
    double width = vips_image_get_width(p->at);
    double height = vips_image_get_height(p->at);
    double shrink_h = width / (sideways ? g->height : g->width);
    double shrink_v = height / (sideways ? g->width : g->height);
    double shrink = VIPS_MIN(shrink_h, shrink_v);
    if (p->format == IMAGE_JPEG && shrink >= 4)
        return load(p, shrink >= 16 ? 8 : shrink >= 8 ? 4 : 2, 1.0);
    if (p->format == IMAGE_WEBP && shrink > 1)
        return load(p, 1, 1.0 / shrink);
    return 0;
}

/* Scale, bring to sRGB and turn upright. `profile` stands in for an embedded profile that is broken; NULL follows no profile. */
static VipsImage *scale_with(VipsImage *image, const struct geometry *g, const char *profile)
{
    VipsImage *next = NULL;
    int width = (int)g->width;
    int height = (int)g->height;
    int failed = profile ? vips_thumbnail_image(image, &next, width, "height", height, "size", VIPS_SIZE_FORCE,
                                                "import_profile", profile, "export_profile", "srgb", NULL)
                         : vips_thumbnail_image(image, &next, width, "height", height, "size", VIPS_SIZE_FORCE, NULL);
    return failed ? NULL : next;
}

static int scale(struct pipeline *p, const struct geometry *g)
{
    VipsImage *next = NULL;
    if (vips_image_get_typeof(p->at, VIPS_META_ICC_NAME))
        next = scale_with(p->at, g, vips_image_get_interpretation(p->at) == VIPS_INTERPRETATION_CMYK ? "cmyk" : "srgb");
    /* A profile that fits neither the image nor its stand-in is passed over, as viewers do. */
    if (!next)
        next = scale_with(p->at, g, NULL);
    return step(p, next == NULL, next);
}

static int to_space(struct pipeline *p, VipsInterpretation space)
{
    VipsImage *next = NULL;
    int failed = vips_colourspace(p->at, &next, space, NULL);
    return step(p, failed, next);
}

/* Eight bits, grey or sRGB, whatever came out of scaling. */
static int to_eight_bits(struct pipeline *p)
{
    VipsInterpretation space = vips_image_get_interpretation(p->at);
    VipsInterpretation wanted = vips_image_get_bands(p->at) < 3 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
    int err = space == wanted ? 0 : to_space(p, wanted);
    if (err || vips_image_get_format(p->at) == VIPS_FORMAT_UCHAR)
        return err;
    VipsImage *next = NULL;
    int failed = vips_cast_uchar(p->at, &next, NULL);
    return step(p, failed, next);
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

static bool is_grey(const uint8_t rgba[4])
{
    return rgba[0] == rgba[1] && rgba[1] == rgba[2];
}

/* Make room for the background's colour and transparency in an image that has none. */
static int widen_for(struct pipeline *p, const uint8_t rgba[4], bool alpha)
{
    int err = 0;
    if (vips_image_get_bands(p->at) < 3 && !is_grey(rgba))
        err = to_space(p, VIPS_INTERPRETATION_sRGB);
    if (err || !alpha || rgba[3] == 255 || vips_image_hasalpha(p->at))
        return err;
    VipsImage *next = NULL;
    int failed = vips_addalpha(p->at, &next, NULL);
    return step(p, failed, next);
}

/* Fill what is transparent with the background, for a format without transparency. */
static int flatten(struct pipeline *p, const uint8_t rgba[4])
{
    if (!vips_image_hasalpha(p->at))
        return 0;
    uint8_t opaque[4] = {rgba[0], rgba[1], rgba[2], 255};
    int err = widen_for(p, opaque, false);
    if (err)
        return err;
    double value[3] = {rgba[0], rgba[1], rgba[2]};
    VipsArrayDouble *colour = vips_array_double_new(value, vips_image_get_bands(p->at) - 1 < 3 ? 1 : 3);
    VipsImage *next = NULL;
    int failed = vips_flatten(p->at, &next, "background", colour, NULL);
    vips_area_unref(VIPS_AREA(colour));
    return step(p, failed, next);
}

/* Cut the middle out, or put it on a larger canvas. */
static int to_canvas(struct pipeline *p, const struct geometry *g, const uint8_t rgba[4], bool alpha)
{
    int width = vips_image_get_width(p->at);
    int height = vips_image_get_height(p->at);
    int canvas_width = (int)g->canvas_width;
    int canvas_height = (int)g->canvas_height;
    VipsImage *next = NULL;
    if (width == canvas_width && height == canvas_height)
        return 0;
    if (width >= canvas_width && height >= canvas_height) {
        int failed = vips_extract_area(p->at, &next, (width - canvas_width) / 2, (height - canvas_height) / 2,
                                       canvas_width, canvas_height, NULL);
        return step(p, failed, next);
    }
    int err = widen_for(p, rgba, alpha);
    if (err)
        return err;
    VipsArrayDouble *colour = colour_of(p->at, rgba);
    int failed = vips_embed(p->at, &next, (canvas_width - width) / 2, (canvas_height - height) / 2, canvas_width,
                            canvas_height, "extend", VIPS_EXTEND_BACKGROUND, "background", colour, NULL);
    vips_area_unref(VIPS_AREA(colour));
    return step(p, failed, next);
}

/* Refuse a result that is over a bound before any work on it. */
static int check_result(struct pipeline *p, const struct geometry *g, enum image_format format,
                        const struct convert_limits *limits)
{
    uint64_t scaled = (uint64_t)g->width * g->height;
    uint64_t canvas = (uint64_t)g->canvas_width * g->canvas_height;
    uint64_t pixels = VIPS_MAX(scaled, canvas);
    uint64_t most = VIPS_MIN(limits->max_pixels, encode_pixels_max(format));
    if (pixels > most)
        return fail_too_large(p, DETAIL_OUTPUT_PIXELS, most, pixels);
    uint32_t side = VIPS_MAX(g->canvas_width, g->canvas_height);
    if (side > encode_side_max(format))
        return fail_too_large(p, DETAIL_OUTPUT_SIDE, encode_side_max(format), side);
    return 0;
}

static int write_result(struct pipeline *p, enum image_format format, int quality, uint8_t *out, size_t size)
{
    void *data;
    size_t len;
    if (encode(p->at, format, quality, &data, &len))
        return fail(p, OUTCOME_UNDECODABLE, DETAIL_DAMAGED);
    int err = 0;
    if (len > size) {
        err = fail_too_large(p, DETAIL_OUTPUT_BYTES, size, len);
    } else {
        memcpy(out, data, len);
        p->answer->len = len;
    }
    g_free(data);
    return err;
}

static int resize(struct pipeline *p, const struct params *params, const struct convert_limits *limits, uint8_t *out,
                  size_t size)
{
    static const uint8_t black[4] = {0, 0, 0, 255};
    const uint8_t *background = params->has_background ? params->background : black;
    int err = open_checked(p, limits);
    if (err)
        return err;
    enum image_format format = params->format != IMAGE_UNKNOWN ? params->format : p->format;
    bool alpha = encode_has_alpha(format);
    bool sideways = vips_image_get_orientation_swap(p->at);
    uint32_t width = (uint32_t)(sideways ? vips_image_get_height(p->at) : vips_image_get_width(p->at));
    uint32_t height = (uint32_t)(sideways ? vips_image_get_width(p->at) : vips_image_get_height(p->at));
    struct geometry g;
    if (geometry_plan(params, width, height, p->format == IMAGE_JPEG, &g))
        return fail_too_large(p, DETAIL_OUTPUT_SIDE, encode_side_max(format), UINT32_MAX);
    if ((err = check_result(p, &g, format, limits)) || (err = load_shrunk(p, sideways, &g)) || (err = scale(p, &g)) ||
        (err = to_eight_bits(p)) || (!alpha && (err = flatten(p, background))) ||
        (err = to_canvas(p, &g, background, alpha)))
        return err;
    return write_result(p, format, params->quality, out, size);
}

static void finish(struct pipeline *p)
{
    if (p->at)
        g_object_unref(p->at);
    vips_error_clear();
}

void convert_resize(const struct params *params, const uint8_t *data, size_t len, const struct convert_limits *limits,
                    uint8_t *out, size_t size, struct convert_answer *answer)
{
    struct pipeline p = {.data = data, .len = len, .answer = answer};
    *answer = (struct convert_answer){.outcome = OUTCOME_OK};
    (void)resize(&p, params, limits, out, size);
    finish(&p);
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

void convert_info(const uint8_t *data, size_t len, const struct convert_limits *limits, struct convert_answer *answer)
{
    struct pipeline p = {.data = data, .len = len, .answer = answer};
    *answer = (struct convert_answer){.outcome = OUTCOME_OK};
    if (open_checked(&p, limits) == 0) {
        answer->info.orientation = (uint32_t)vips_image_get_orientation(p.at);
        answer->info.space = space_of(p.at);
        answer->info.alpha = vips_image_hasalpha(p.at) ? 1 : 0;
        answer->info.profile = vips_image_get_typeof(p.at, VIPS_META_ICC_NAME) ? 1 : 0;
    }
    finish(&p);
}

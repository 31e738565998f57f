/* SPDX-License-Identifier: MIT */
/* The start of libvips, and loading: one loader chosen by magic bytes, bounds before decoding. */
#include "load.h"

#include "cavage/err.h"
#include "cavage/svg.h"

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

bool load_has_pages(enum image_format format)
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
int load_header(struct steps *s)
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
int load_check_pixels(struct steps *s, const struct limits *limits)
{
    uint64_t pixels = (uint64_t)vips_image_get_width(s->at) * (uint64_t)vips_image_get_height(s->at);
    enum limit limit = s->all_pages ? LIMIT_TOTAL_PIXELS_IN : LIMIT_PIXELS_IN;
    uint64_t most = limits->of[limit][s->format];
    return pixels > most ? steps_fail_too_large(s, (enum convert_detail)(DETAIL_LIMITS + limit), most, pixels) : 0;
}

/* Open, and judge by what the loader itself read. */
int load_checked(struct steps *s, const struct limits *limits)
{
    s->format = image_sniff(s->data, s->len);
    if (s->format == IMAGE_UNKNOWN)
        return steps_fail(s, OUTCOME_NOT_AN_IMAGE, DETAIL_NONE);
    if (!limits_know(limits, s->format))
        return steps_fail(s, OUTCOME_NOT_AN_IMAGE, DETAIL_SVG_OFF);
    int err = s->format == IMAGE_SVG ? prepare_svg(s, limits) : 0;
    if (err || (err = load_header(s)) || (err = load_check_pixels(s, limits)))
        return err;
    const char *codec;
    if (s->format == IMAGE_AVIF && !vips_image_get_string(s->at, "heif-compression", &codec) &&
        strcmp(codec, "av1") != 0)
        return steps_fail(s, OUTCOME_UNDECODABLE, DETAIL_UNSUPPORTED);
    return 0;
}

/* The pixels that outputs share, decoded for the first of them. */
int load_shared(struct steps *s)
{
    if (source_find_decoded(s))
        return 0;
    int err = load_afresh(s, (struct loading){(int)s->source->coarse, 1.0});
    return err ? err : source_keep_decoded(s);
}

bool load_is_shared(const struct steps *s)
{
    return s->source && s->source->shared && s->format != IMAGE_SVG;
}

/* Whether it will be turned by a quarter to be upright. */
bool load_is_sideways(const struct steps *s)
{
    return vips_image_get_orientation_swap(s->at) && !s->all_pages;
}

/* How many pixels of the image go into one of the target. */
static double shrink_to(struct steps *s, uint32_t to_width, uint32_t to_height)
{
    bool sideways = load_is_sideways(s);
    double width = vips_image_get_width(s->at);
    double height = steps_frame_height(s);
    double shrink_h = width / (sideways ? to_height : to_width);
    double shrink_v = height / (sideways ? to_width : to_height);
    return VIPS_MIN(shrink_h, shrink_v);
}

/* How far a decoder may shrink: no less than twice the target is left for the kernel. */
uint32_t load_shrink(struct steps *s, uint32_t to_width, uint32_t to_height)
{
    double shrink = shrink_to(s, to_width, to_height);
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
int load_shrunk(struct steps *s, const struct source_size *to)
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
int load_whole(struct steps *s)
{
    if (load_is_shared(s))
        return load_shared(s);
    return s->source ? load_afresh(s, (struct loading){1, 1.0}) : 0;
}

/* SPDX-License-Identifier: MIT */
/* The encoders and their settings. */
#include "encode.h"

#include "cavage/err.h"

/* 8.15 replaced "strip" by "keep". */
#if VIPS_MAJOR_VERSION > 8 || VIPS_MINOR_VERSION >= 15
#define NO_METADATA "keep", VIPS_FOREIGN_KEEP_NONE
#else
#define NO_METADATA "strip", TRUE
#endif

/* AVIF: many times as fast as the default of 4, for files a tenth larger. GIF: twice as fast as the default of 7, likewise. */
enum { AVIF_EFFORT = 2, GIF_EFFORT = 5 };

/* AVIF's encoder takes some 25 bytes for each pixel, and most of a request's time for as many as this; with more it fails for want of memory. */
enum { AVIF_PIXELS_MAX = 40 * 1000 * 1000, PIXELS_MAX = INT32_MAX };

static int encode_jpeg(VipsImage *image, int quality, void **data, size_t *len)
{
    return vips_jpegsave_buffer(image, data, len, "Q", quality, NO_METADATA, NULL);
}

static int encode_png(VipsImage *image, int quality, void **data, size_t *len)
{
    (void)quality;
    return vips_pngsave_buffer(image, data, len, NO_METADATA, NULL);
}

static int encode_webp(VipsImage *image, int quality, void **data, size_t *len)
{
    return vips_webpsave_buffer(image, data, len, "Q", quality, NO_METADATA, NULL);
}

static int encode_avif(VipsImage *image, int quality, void **data, size_t *len)
{
    return vips_heifsave_buffer(image, data, len, "Q", quality, "compression", VIPS_FOREIGN_HEIF_COMPRESSION_AV1,
                                "effort", AVIF_EFFORT, "bitdepth", 8, NO_METADATA, NULL);
}

static int encode_gif(VipsImage *image, int quality, void **data, size_t *len)
{
    (void)quality;
    return vips_gifsave_buffer(image, data, len, "effort", GIF_EFFORT, NO_METADATA, NULL);
}

static int encode_tiff(VipsImage *image, int quality, void **data, size_t *len)
{
    (void)quality;
    return vips_tiffsave_buffer(image, data, len, "compression", VIPS_FOREIGN_TIFF_COMPRESSION_DEFLATE, "predictor",
                                VIPS_FOREIGN_TIFF_PREDICTOR_HORIZONTAL, NO_METADATA, NULL);
}

static const struct encoder {
    int quality; /* the default */
    bool alpha;
    uint32_t side_max;
    uint32_t pixels_max;
    int (*save)(VipsImage *image, int quality, void **data, size_t *len);
} encoders[IMAGE_FORMAT_COUNT] = {
    [IMAGE_JPEG] = {80, false, 65535, PIXELS_MAX, encode_jpeg},
    [IMAGE_PNG] = {0, true, 1000000, PIXELS_MAX, encode_png},
    [IMAGE_WEBP] = {80, true, 16383, PIXELS_MAX, encode_webp},
    [IMAGE_AVIF] = {50, true, 16384, AVIF_PIXELS_MAX, encode_avif},
    [IMAGE_GIF] = {0, true, 65535, PIXELS_MAX, encode_gif},
    [IMAGE_TIFF] = {0, true, 1000000, PIXELS_MAX, encode_tiff},
};

int encode(VipsImage *image, enum image_format format, int quality, void **data, size_t *len)
{
    const struct encoder *e = &encoders[format];
    *data = NULL;
    return e->save(image, quality > 0 ? quality : e->quality, data, len) ? ERR_CORRUPT : 0;
}

uint32_t encode_side_max(enum image_format format)
{
    return encoders[format].side_max;
}

uint64_t encode_pixels_max(enum image_format format)
{
    return encoders[format].pixels_max;
}

bool encode_has_alpha(enum image_format format)
{
    return encoders[format].alpha;
}

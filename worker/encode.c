/* SPDX-License-Identifier: MIT */
/* The encoders and their settings. */
#include "encode.h"

#include "cavage/err.h"
#include "metadata.h"
#include "quality.h"

/* 8.15 replaced "strip" by "keep". What is to be kept is picked before, so that it is all or nothing here. */
#if VIPS_MAJOR_VERSION > 8 || VIPS_MINOR_VERSION >= 15
#define KEEP(all) "keep", (all) ? VIPS_FOREIGN_KEEP_ALL : VIPS_FOREIGN_KEEP_NONE
enum { STRIPS_WELL = true };
#else
#define KEEP(all) "strip", !(all)
/* 8.14 leaves EXIF in a WebP. */
enum { STRIPS_WELL = false };
#endif

/* What one encoder needs to know. */
struct settings {
    int quality;
    int effort;
    bool lossless, progressive, keep;
    VipsForeignSubsample chroma;
};

static int encode_jpeg(VipsImage *image, const struct settings *s, void **data, size_t *len)
{
    return vips_jpegsave_buffer(image, data, len, "Q", s->quality, "interlace", s->progressive, "subsample_mode",
                                s->chroma, KEEP(s->keep), NULL);
}

static int encode_png(VipsImage *image, const struct settings *s, void **data, size_t *len)
{
    return vips_pngsave_buffer(image, data, len, "compression", s->effort, "interlace", s->progressive, KEEP(s->keep),
                               NULL);
}

static int encode_webp(VipsImage *image, const struct settings *s, void **data, size_t *len)
{
    return vips_webpsave_buffer(image, data, len, "Q", s->quality, "lossless", s->lossless, "effort", s->effort,
                                KEEP(s->keep), NULL);
}

static int encode_avif(VipsImage *image, const struct settings *s, void **data, size_t *len)
{
    return vips_heifsave_buffer(image, data, len, "Q", s->quality, "compression", VIPS_FOREIGN_HEIF_COMPRESSION_AV1,
                                "lossless", s->lossless, "effort", s->effort, "bitdepth", 8, "subsample_mode",
                                s->chroma, KEEP(s->keep), NULL);
}

static int encode_gif(VipsImage *image, const struct settings *s, void **data, size_t *len)
{
    return vips_gifsave_buffer(image, data, len, "effort", s->effort, KEEP(s->keep), NULL);
}

static int encode_tiff(VipsImage *image, const struct settings *s, void **data, size_t *len)
{
    return vips_tiffsave_buffer(image, data, len, "compression", VIPS_FOREIGN_TIFF_COMPRESSION_DEFLATE, "predictor",
                                VIPS_FOREIGN_TIFF_PREDICTOR_HORIZONTAL, KEEP(s->keep), NULL);
}

/* AVIF at effort 2 is many times as fast as at libvips's 4, for files a tenth larger. GIF at 5 is twice as fast as at its 7, likewise. */
static const struct encoder {
    int quality; /* the default */
    int effort;  /* likewise */
    bool alpha, frames;
    uint32_t side_max;
    int (*save)(VipsImage *image, const struct settings *s, void **data, size_t *len);
} encoders[IMAGE_FORMAT_COUNT] = {
    [IMAGE_JPEG] = {80, 0, false, false, 65535, encode_jpeg}, [IMAGE_PNG] = {0, 6, true, false, 1000000, encode_png},
    [IMAGE_WEBP] = {80, 4, true, true, 16383, encode_webp},   [IMAGE_AVIF] = {50, 2, true, false, 16384, encode_avif},
    [IMAGE_GIF] = {0, 5, true, true, 65535, encode_gif},      [IMAGE_TIFF] = {0, 0, true, false, 1000000, encode_tiff},
};

/* ---- Encoding ---- */

static int save(VipsImage *image, enum image_format format, const struct params *p, int quality, void **data,
                size_t *len)
{
    const struct encoder *e = &encoders[format];
    struct settings s = {
        .quality = quality,
        .effort = p->effort > 0 ? (int)p->effort - 1 : e->effort,
        .lossless = p->lossless,
        .progressive = p->progressive,
        .keep = p->metadata != METADATA_NONE,
        .chroma = p->chroma == 420                  ? VIPS_FOREIGN_SUBSAMPLE_ON
                  : p->chroma == 444 || p->lossless ? VIPS_FOREIGN_SUBSAMPLE_OFF
                                                    : VIPS_FOREIGN_SUBSAMPLE_AUTO,
    };
    VipsImage *picked = NULL;
    *data = NULL;
    if (!s.keep && STRIPS_WELL)
        return e->save(image, &s, data, len) ? ERR_CORRUPT : 0;
    int err = metadata_pick(image, p->metadata, format, &picked);
    if (!err && e->save(picked, &s, data, len))
        err = ERR_CORRUPT;
    if (picked)
        g_object_unref(picked);
    return err;
}

int encode(VipsImage *image, enum image_format format, const struct params *params, void **data, size_t *len)
{
    int quality = params->quality > 0 ? (int)params->quality : encoders[format].quality;
    return save(image, format, params, quality, data, len);
}

static bool has_quality(enum image_format format, const struct params *p)
{
    return image_format_has_quality(format) && !p->lossless;
}

/* Encode with one quality. *data becomes the result when it fits, in the place of one with less. */
static int try(VipsImage *image, enum image_format format, const struct params *p, struct quality *q, int quality,
               void **data, size_t *len)
{
    void *made;
    size_t made_len;
    /* What has no quality has settings all the same. */
    int err = save(image, format, p, has_quality(format, p) ? quality : encoders[format].quality, &made, &made_len);
    if (err)
        return err;
    if (!quality_take(q, quality, made_len)) {
        g_free(made);
        return 0;
    }
    g_free(*data);
    *data = made;
    *len = made_len;
    return 0;
}

int encode_within(VipsImage *image, enum image_format format, const struct params *params, void **data, size_t *len)
{
    int most = !has_quality(format, params) ? 1 : params->quality > 0 ? (int)params->quality : 100;
    struct quality q;
    int err = 0;
    *data = NULL;
    quality_begin(&q, has_quality(format, params) ? encoders[format].quality : 1, most, params->max_bytes);
    for (int next; !err && (next = quality_next(&q)) != 0;)
        err = try(image, format, params, &q, next, data, len);
    if (err) {
        g_free(*data);
        *data = NULL;
        return err;
    }
    if (*data)
        return 0;
    *len = q.high_bytes;
    return ERR_RANGE;
}

uint32_t encode_side_max(enum image_format format)
{
    return encoders[format].side_max;
}

bool encode_has_alpha(enum image_format format)
{
    return encoders[format].alpha;
}

bool encode_has_frames(enum image_format format)
{
    return encoders[format].frames;
}

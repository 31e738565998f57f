/* SPDX-License-Identifier: MIT */
/* The encoders and their settings. */
#include "encode.h"

#include "cavage/err.h"
#include "metadata.h"

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

/* Take a result that fits in the place of one with less quality. */
static bool take(void **best, size_t *best_len, void *data, size_t len, size_t max)
{
    if (len > max) {
        g_free(data);
        return false;
    }
    g_free(*best);
    *best = data;
    *best_len = len;
    return true;
}

/* Between low, which fits, and high, which does not, halve until they are neighbours. */
static int search(VipsImage *image, enum image_format format, const struct params *p, int high, void **best,
                  size_t *best_len)
{
    int low = 1;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        void *data;
        size_t len;
        int err = save(image, format, p, middle, &data, &len);
        if (err)
            return err;
        if (take(best, best_len, data, len, p->max_bytes))
            low = middle;
        else
            high = middle;
    }
    return 0;
}

int encode_within(VipsImage *image, enum image_format format, const struct params *params, void **data, size_t *len)
{
    bool has_quality = image_format_has_quality(format) && !params->lossless;
    int high = has_quality ? (params->quality > 0 ? (int)params->quality : 100) : encoders[format].quality;
    void *best = NULL;
    void *made;
    size_t made_len;
    *data = NULL;
    int err = save(image, format, params, high, &made, &made_len);
    if (err)
        return err;
    if (take(data, len, made, made_len, params->max_bytes))
        return 0;
    *len = made_len;
    if (!has_quality || high == 1)
        return ERR_RANGE;
    err = save(image, format, params, 1, &made, &made_len);
    if (err)
        return err;
    if (!take(&best, len, made, made_len, params->max_bytes)) {
        *len = made_len < *len ? made_len : *len;
        return ERR_RANGE;
    }
    err = search(image, format, params, high, &best, len);
    if (err)
        g_free(best);
    else
        *data = best;
    return err;
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

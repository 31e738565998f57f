/* SPDX-License-Identifier: MIT */
/* The table of decoding costs; the resampling and encoding of an average thumbnail is the fixed part. */
#include "cost.h"

enum { FIXED_US = 1000, PIXELS_MAX = 1000000000 };

/* Picoseconds a pixel, and a typical number of pixels in a kilobyte. JPEG is decoded at a fraction of its size. */
static const struct {
    uint64_t pixel_ps;
    uint64_t pixels_per_kb;
} table[IMAGE_FORMAT_COUNT] = {
    [IMAGE_UNKNOWN] = {10000, 4000}, [IMAGE_JPEG] = {3000, 6000},   [IMAGE_PNG] = {12000, 1000},
    [IMAGE_WEBP] = {10000, 10000},   [IMAGE_AVIF] = {25000, 15000}, [IMAGE_GIF] = {15000, 3000},
    [IMAGE_TIFF] = {8000, 500},      [IMAGE_SVG] = {30000, 10000},
};

int64_t cost_estimate_us(enum image_format format, uint64_t pixels, size_t bytes)
{
    if ((unsigned)format >= IMAGE_FORMAT_COUNT)
        format = IMAGE_UNKNOWN;
    if (pixels == 0)
        pixels = (uint64_t)bytes / 1024 * table[format].pixels_per_kb;
    if (pixels > PIXELS_MAX)
        pixels = PIXELS_MAX;
    return FIXED_US + (int64_t)(pixels * table[format].pixel_ps / 1000000);
}

/* SPDX-License-Identifier: MIT */
/* Writing an image in one of our formats. */
#ifndef CAVAGE_WORKER_ENCODE_H
#define CAVAGE_WORKER_ENCODE_H

#include "cavage/image_header.h"

#include <vips/vips.h>

/* Encode into memory of glib, freed by g_free. quality 0 is the format's default. ERR_CORRUPT: libvips failed, which for a lazy image is
 * most often its decoder. */
int encode(VipsImage *image, enum image_format format, int quality, void **data, size_t *len);

/* Most pixels on a side. */
uint32_t encode_side_max(enum image_format format);
/* Most pixels together. */
uint64_t encode_pixels_max(enum image_format format);
bool encode_has_alpha(enum image_format format);

#endif

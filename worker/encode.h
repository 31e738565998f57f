/* SPDX-License-Identifier: MIT */
/* Writing an image in one of our formats. */
#ifndef CAVAGE_WORKER_ENCODE_H
#define CAVAGE_WORKER_ENCODE_H

#include "cavage/image_header.h"
#include "cavage/params.h"

#include <vips/vips.h>

/* Encode into memory of glib, freed by g_free, with the params' quality, lossless, effort, progressive, chroma and metadata. ERR_CORRUPT: libvips
 * failed, which for a lazy image is most often its decoder. */
int encode(VipsImage *image, enum image_format format, const struct params *params, void **data, size_t *len);

/* The same with the best quality, up to the params', whose result has at most params->max_bytes. ERR_RANGE: there is none; *len is then the
 * smallest size that was reached, *data NULL. */
int encode_within(VipsImage *image, enum image_format format, const struct params *params, void **data, size_t *len);

/* Most pixels on a side. */
uint32_t encode_side_max(enum image_format format);
bool encode_has_alpha(enum image_format format);
bool encode_has_frames(enum image_format format);

#endif

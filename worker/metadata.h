/* SPDX-License-Identifier: MIT */
/* What is kept of an image's metadata. */
#ifndef CAVAGE_WORKER_METADATA_H
#define CAVAGE_WORKER_METADATA_H

#include "cavage/image_header.h"
#include "cavage/params.h"

#include <vips/vips.h>

/* Copy an image, which is to be written in `format`, with the metadata that are wanted alone. *out is the caller's, also on ERR_CORRUPT, when it is not NULL. */
int metadata_pick(VipsImage *image, enum params_metadata wanted, enum image_format format, VipsImage **out);

#endif

/* SPDX-License-Identifier: MIT */
/* What an image will roughly cost: the unit in which the queue is fair. Pure. */
#ifndef CAVAGE_API_COST_H
#define CAVAGE_API_COST_H

#include "cavage/image_header.h"

#include <stddef.h>
#include <stdint.h>

/* Estimated CPU of a conversion, > 0. pixels: of all pages, 0 when the header did not tell; then the bytes stand in for them. */
int64_t cost_estimate_us(enum image_format format, uint64_t pixels, size_t bytes);

#endif

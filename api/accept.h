/* SPDX-License-Identifier: MIT */
/* The Accept header, as far as format=auto goes by it. Pure. */
#ifndef CAVAGE_API_ACCEPT_H
#define CAVAGE_API_ACCEPT_H

#include <stdint.h>

/* AUTO_AVIF and AUTO_WEBP, where the value names them with a quality above 0; AVIF not where WebP is preferred to it. Wildcards name neither. The
 * value is hostile. */
uint32_t accept_formats(const char *value);

#endif

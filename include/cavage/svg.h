/* SPDX-License-Identifier: MIT */
/* What is read of an SVG before a renderer sees it: whether it is one, its size, and whether it holds anything that is not taken. Pure, bounded.
 *
 * The document is walked as tokens of XML, in encodings that keep ASCII as it is, and whatever is not well formed is refused: so a renderer, which
 * refuses that too, can see no tag or attribute that was not seen here. Lengths follow librsvg at 72 dots per inch, as libvips asks it. */
#ifndef CAVAGE_SVG_H
#define CAVAGE_SVG_H

#include "cavage/image_header.h"

enum {
    SVG_PROLOG_MAX = 4096, /* bytes before the root's name; what comes later is no SVG */
    SVG_DEPTH_MAX = 256,   /* elements within each other */
    SVG_SIDE_MAX = 1000000000
};

/* Whether the root is <svg>, behind a BOM, an XML declaration, comments and a DOCTYPE, as there are. */
bool svg_sniff(const uint8_t *data, size_t len);

/* The size by width, height and viewBox of the root, whole pixels. ERR_CORRUPT: the root is cut off or malformed, there is no size, or the
 * document is one that svg_prepare refuses for its prolog. */
int svg_read(const uint8_t *data, size_t len, struct image_header *out);

/* Walk the whole document, and copy it to `copy`, of len bytes, with every <text> made a <desc>, which is not drawn: there are no fonts where it is drawn, and
 * looking for them needs files and threads. ERR_CORRUPT: it is not well formed, too deep, has a DOCTYPE with declarations of its own, or an encoding that is not
 * taken. ERR_DENIED: it embeds something by a data: URL that is not a whole header of a PNG or JPEG in base64. Work is O(len). ERR_NOMEM. *pixels gets those of all
 * embedded pictures together. */
int svg_prepare(const uint8_t *data, size_t len, uint8_t *copy, uint64_t *pixels);

#endif

/* SPDX-License-Identifier: MIT */
/* XMP packets: notices out of them and into them, and what no longer holds after a conversion. The only part that knows expat. Input is hostile. */
#ifndef CAVAGE_WORKER_XMP_H
#define CAVAGE_WORKER_XMP_H

#include "notices.h"

enum {
    XMP_READ_MAX = 1024 * 1024, /* longer packets are not read */
    XMP_OUT_MAX = 56 * 1024     /* more than all notices need, every character escaped; fits a segment of a JPEG */
};

/* Add dc:rights and dc:creator, whatever their form and prefix. What is malformed, or declares anything, ends the reading. */
void xmp_read(const char *data, size_t len, struct notices *n);

/* A packet with the notices. Returns its length; 0 when there are none. */
size_t xmp_write(const struct notices *n, char out[XMP_OUT_MAX]);

/* Make the orientation upright, and blank out thumbnails, in place: by the usual names, as text. */
void xmp_renew(char *data, size_t len);

#endif

/* SPDX-License-Identifier: MIT */
/* IPTC's records (IIM 4.2), as TIFF holds them, and within Photoshop's blocks, as JPEG does. Pure; input is hostile. */
#ifndef CAVAGE_WORKER_IPTC_H
#define CAVAGE_WORKER_IPTC_H

#include "notices.h"

enum { IPTC_OUT_MAX = 48 * 1024 }; /* fits a segment of a JPEG */

/* Add the by-lines and the copyright notice of records in either form. What is malformed ends the reading. */
void iptc_read(const uint8_t *data, size_t len, struct notices *n);

/* Write anew the records: those two and their character set, or all; for a JPEG, or raw for a TIFF. Nothing else of Photoshop's is kept. Returns the length; 0 when there
 * are none, or they do not fit. */
size_t iptc_write(const uint8_t *data, size_t len, bool all, bool for_jpeg, uint8_t out[IPTC_OUT_MAX]);

#endif

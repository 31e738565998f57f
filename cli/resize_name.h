/* SPDX-License-Identifier: MIT */
/* Names of result files, and the query of a resize. Pure. */
#ifndef RESIZE_NAME_H
#define RESIZE_NAME_H

#include "cavage/image_header.h"

#include <stddef.h>

/* "photo-320x213.jpg" for "dir/photo.png", below `dir`, or beside the input when dir is NULL; by what the result's header says. From the
 * second on, `number` > 1 makes it "photo-320x213-2.jpg". ERR_RANGE if it does not fit size. */
int resize_name(const char *dir, const char *input, const struct image_header *header, unsigned number, char *out,
                size_t size);

/* Append "name=value", percent-encoded, with "?" or "&" before it. ERR_RANGE if it does not fit size. */
int resize_query_add(char *url, size_t size, const char *name, const char *value);

#endif

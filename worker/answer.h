/* SPDX-License-Identifier: MIT */
/* The words of answers: sentences for what went wrong, JSON for what an image is. All text is ours, whatever a converter says. */
#ifndef CAVAGE_WORKER_ANSWER_H
#define CAVAGE_WORKER_ANSWER_H

#include "convert.h"

#include "cavage/image_header.h"

enum { ANSWER_INFO_SIZE = 256 };

/* One sentence for the client; empty for OUTCOME_OK. */
const char *answer_text(enum outcome outcome, enum convert_detail detail);

/* The parameter that is at fault. */
enum wire_parameter answer_parameter(enum convert_detail detail);

/* The JSON of OPERATION_INFO; returns its length. */
size_t answer_info(const struct image_header *header, const struct convert_info *info, char out[ANSWER_INFO_SIZE]);

#endif

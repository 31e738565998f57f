/* SPDX-License-Identifier: MIT */
/* Tables of sentences and words. */
#include "answer.h"

#include <stdio.h>

static const char *const by_detail[DETAIL_COUNT] = {
    [DETAIL_DAMAGED] = "the image is damaged or cut off, or coded in a way that is not supported",
    [DETAIL_UNSUPPORTED] = "the image uses a codec that is not supported in this format",
    [DETAIL_OUTPUT_SIDE] = "a side of the result would be longer than its format can hold",
    [DETAIL_REQUEST] = "the parameters were not understood",
    [DETAIL_MAX_BYTES] = "no quality makes the result as small as max_bytes; the smallest that was reached is told",
    [DETAIL_CROP] =
        "crop must lie within the upright image; limit is the side that it leaves, actual how far it reaches",
    [DETAIL_TURNED] = "the turned picture, before it is resized, would have more pixels than are taken",
    [DETAIL_SVG_OFF] = LIMITS_NO_SVG,
    [DETAIL_SVG] = "the SVG is malformed, nested too deep, declares entities, or has no size",
    [DETAIL_EMBEDDED] = "the SVG embeds what is no plain PNG or JPEG, or pictures with too many pixels",
    [DETAIL_SUM_BYTES] = "the outputs together have more bytes than an answer may have",
    [DETAIL_PAGE] = "the image has no such page; limit is the last, counted from 0",
};

static const char *const by_outcome[] = {
    [OUTCOME_OK] = "",
    [OUTCOME_NOT_STARTED] = "the worker takes no jobs",
    [OUTCOME_NOT_AN_IMAGE] = "the data are not a JPEG, PNG, WebP, AVIF, GIF or TIFF image",
    [OUTCOME_UNDECODABLE] = "the image cannot be decoded",
    [OUTCOME_TOO_LARGE] = "the image is too large",
    [OUTCOME_BAD_REQUEST] = "the parameters do not fit this image",
    [OUTCOME_CRASHED] = "the image made its decoder fail",
    [OUTCOME_DEADLINE] = "the conversion took too long",
    [OUTCOME_LOST] = "the converter was lost",
    [OUTCOME_INTERNAL] = "the conversion failed through no fault of the image",
};
enum { OUTCOMES = sizeof(by_outcome) / sizeof(by_outcome[0]) };

static const char *const spaces[SPACE_COUNT] = {
    [SPACE_OTHER] = "other", [SPACE_SRGB] = "srgb",     [SPACE_GREY] = "grey", [SPACE_CMYK] = "cmyk",
    [SPACE_RGB16] = "rgb16", [SPACE_GREY16] = "grey16", [SPACE_LAB] = "lab",
};

const char *answer_text(enum outcome outcome, enum convert_detail detail)
{
    if (outcome != OUTCOME_OK && (unsigned)detail < DETAIL_COUNT && by_detail[detail])
        return by_detail[detail];
    return (unsigned)outcome < OUTCOMES ? by_outcome[outcome] : "";
}

enum wire_parameter answer_parameter(enum convert_detail detail)
{
    static const enum wire_parameter parameters[DETAIL_COUNT] = {
        [DETAIL_CROP] = WIRE_PARAMETER_CROP,
        [DETAIL_PAGE] = WIRE_PARAMETER_PAGE,
        [DETAIL_TURNED] = WIRE_PARAMETER_ROTATE,
        [DETAIL_MAX_BYTES] = WIRE_PARAMETER_MAX_BYTES,
    };
    return (unsigned)detail < DETAIL_COUNT ? parameters[detail] : WIRE_PARAMETER_NONE;
}

size_t answer_info(const struct image_header *header, const struct convert_info *info, char out[ANSWER_INFO_SIZE])
{
    int n = snprintf(
        out, ANSWER_INFO_SIZE,
        "{\"format\":\"%s\",\"width\":%u,\"height\":%u,\"pages\":%u,\"orientation\":%u,\"space\":\"%s\",\"alpha\":%s,"
        "\"profile\":%s}",
        image_format_name(header->format), header->width, header->height, header->pages,
        info->orientation > 0 ? info->orientation : 1, spaces[info->space < SPACE_COUNT ? info->space : SPACE_OTHER],
        info->alpha ? "true" : "false", info->profile ? "true" : "false");
    return n > 0 && n < ANSWER_INFO_SIZE ? (size_t)n : 0;
}

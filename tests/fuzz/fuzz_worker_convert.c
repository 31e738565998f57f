/* SPDX-License-Identifier: MIT */
/* Fuzz: sniffing, header limits and conversion keep their promises on any image. The last byte chooses the request, so that mutations reach every
 * output. Input that starts with "hex:" is read as hex digits, blanks between them passed over, so that the corpus is text. */
#include "convert.h"

#include "cavage/err.h"
#include "cavage/image_header.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_PIXELS = 1 << 18, OUT_BYTES = 1 << 20 };

/* Every output format, fit and turn of the pipeline, small enough for thousands of images a second. */
static const char *const requests[] = {
    "w=16&h=12",
    "w=24&h=24&fit=cover&format=jpeg",
    "w=20&h=30&fit=contain&format=png&background=80ff0080",
    "w=33&h=7&fit=fill&format=webp",
    "w=9&fit=outside&format=gif",
    "format=tiff",
    "w=8&h=8&format=avif",
    "h=40&enlarge=1&format=png",
    "w=300&h=2&fit=contain&background=fff&format=jpeg&quality=1",
    "w=1&h=1&format=webp&quality=100",
    "flip=1&rotate=33.3&w=30&format=png&background=80ff0080",
};
/* Some of the same for several outputs at a time. */
static const char *const sets[] = {
    "output=a:w=16&output=b:w=9,format=webp&output=c:w=4,h=4,fit=cover,format=png",
    "output=a:format=gif&output=b:format=jpeg&output=c:page=1,format=png&output=d:w=5",
    "output=a:w=40,enlarge=1,format=jpeg&output=b:crop=0,0,3,3,format=png&output=c:trim=9,w=7&output=d:w=30,rotate=45",
};
enum { SINGLE = sizeof(requests) / sizeof(requests[0]), REQUESTS = SINGLE + sizeof(sets) / sizeof(sets[0]) };

static uint8_t out[OUT_BYTES];

/* The codecs are not instrumented: what they made tells libFuzzer that an input is new. Otherwise it would keep those that no codec can read. */
enum { SHADES = 32 };
static uint8_t seen[IMAGE_FORMAT_COUNT][REQUESTS][SHADES] __attribute__((section("__libfuzzer_extra_counters")));

static void mark_seen(enum image_format input, size_t request, const uint8_t *data, size_t len)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * 16777619U;
    seen[input][request][(hash >> 16) % SHADES] = 1;
}

static void require(int held)
{
    if (!held)
        abort();
}

/* What the supervisor demands of any answer. */
static void check_answer(const struct convert_answer *a)
{
    require(a->outcome == OUTCOME_OK || (a->outcome >= OUTCOME_NOT_AN_IMAGE && a->outcome <= OUTCOME_BAD_REQUEST));
    require((unsigned)a->detail < DETAIL_COUNT && a->len <= sizeof(out));
    require(a->outcome == OUTCOME_OK || a->len == 0);
    require(a->info.space < SPACE_COUNT && a->info.orientation <= 8);
}

/* All outputs are pictures, apart from each other; or none is there, and at most one is blamed. */
static void check_set(const struct convert_answer *a, const struct renditions *set, enum image_format input)
{
    enum image_format usual = input == IMAGE_SVG ? IMAGE_PNG : input;
    size_t sum = 0;
    check_answer(a);
    require(a->output_count == (a->outcome == OUTCOME_OK ? set->count : 0));
    require(a->failed_output <= (a->outcome == OUTCOME_OK ? 0 : set->count));
    for (size_t i = 0; i < a->output_count; i++) {
        const struct convert_output *o = &a->outputs[i];
        struct image_header made;
        require(o->offset <= a->len && o->len <= a->len - o->offset);
        require(image_header_read(out + o->offset, o->len, &made) == 0);
        enum image_format wanted = set->outputs[i].params.format;
        require(made.format == (wanted != IMAGE_UNKNOWN ? wanted : usual));
        sum += o->len;
    }
    require(sum == a->len);
}

/* A result is a picture of the format asked for, and no larger than allowed. */
static void check_result(const struct convert_answer *a, const struct params *params, enum image_format input)
{
    struct image_header made;
    check_answer(a);
    if (a->outcome != OUTCOME_OK)
        return;
    require(image_header_read(out, a->len, &made) == 0);
    enum image_format usual = input == IMAGE_SVG ? IMAGE_PNG : input;
    require(made.format == (params->format != IMAGE_UNKNOWN ? params->format : usual));
    require(image_header_pixels(&made) <= MAX_PIXELS);
    if (params->fit == FIT_COVER || params->fit == FIT_CONTAIN || params->fit == FIT_FILL)
        require(made.width <= params->width && made.height <= params->height);
}

static void set_limits(struct limits *limits)
{
    static const uint64_t of[LIMIT_COUNT] = {MAX_PIXELS, IMAGE_PAGES_MAX, MAX_PIXELS,
                                             MAX_PIXELS, OUT_BYTES,       MAX_PIXELS};
    for (size_t limit = 0; limit < LIMIT_COUNT; limit++)
        for (size_t format = 0; format < IMAGE_FORMAT_COUNT; format++)
            limits->of[limit][format] = of[limit];
    limits->svg = true;
}

static struct convert_answer convert_one(const char *request, const uint8_t *data, size_t size,
                                         const struct limits *limits, enum image_format input)
{
    struct convert_answer a;
    struct params params;
    struct params_problem problem;
    require(params_parse(request, strlen(request), &params, &problem) == 0);
    convert_resize(&params, data, size, limits, out, sizeof(out), &a);
    check_result(&a, &params, input);
    return a;
}

static struct convert_answer convert_set(const char *request, const uint8_t *data, size_t size,
                                         const struct limits *limits, enum image_format input)
{
    struct convert_answer a;
    struct renditions set;
    struct renditions_problem problem;
    require(renditions_parse(request, strlen(request), &set, &problem) == 0);
    convert_renditions(&set, data, size, limits, out, sizeof(out), &a);
    check_set(&a, &set, input);
    return a;
}

static void check(const uint8_t *data, size_t size)
{
    struct limits limits;
    struct limits_breach over;
    struct convert_answer a;
    struct image_header header;
    size_t chosen = size > 0 ? data[size - 1] % REQUESTS : 0;
    /* A converter sees only what the supervisor let through by its own reading of the header. */
    set_limits(&limits);
    if (image_header_read(data, size, &header) || !limits_take(&limits, &header, &over))
        return;
    convert_info(data, size, &limits, &a);
    check_answer(&a);
    a = chosen < SINGLE ? convert_one(requests[chosen], data, size, &limits, header.format)
                        : convert_set(sets[chosen - SINGLE], data, size, &limits, header.format);
    if (a.outcome == OUTCOME_OK)
        mark_seen(header.format, chosen, out, a.len);
}

static void check_hex(const uint8_t *text, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    size_t nibbles = 0;
    uint8_t *bytes = calloc(1, len / 2 + 1);
    for (size_t i = 0; bytes && i < len; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            continue;
        bytes[nibbles / 2] = (uint8_t)(bytes[nibbles / 2] << 4 | (digit - digits));
        nibbles++;
    }
    /* Of exactly its size, so that a sanitizer sees a read past its end. */
    uint8_t *exact = bytes ? realloc(bytes, nibbles / 2 > 0 ? nibbles / 2 : 1) : NULL;
    if (exact)
        check(exact, nibbles / 2);
    free(exact ? exact : bytes);
}

static uint32_t crc32_of(const uint8_t *data, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    }
    return ~crc;
}

/* With right checksums, so that a change gets further than the first of them. */
static void mend_png(uint8_t *data, size_t size)
{
    for (size_t at = 8; at + 12 <= size;) {
        size_t len = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
        if (len > size - at - 12)
            return;
        uint32_t crc = crc32_of(data + at + 4, len + 4);
        for (size_t i = 0; i < 4; i++)
            data[at + 8 + len + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + len;
    }
}

/* libFuzzer's; the replay has none, and calls no mutator. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 4 != 0 && image_sniff(data, size) == IMAGE_PNG)
        mend_png(data, size);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int opened;
    if (!opened)
        require(convert_open(true) == 0);
    opened = 1;
    if (size >= 4 && memcmp(data, "hex:", 4) == 0)
        check_hex(data + 4, size - 4);
    else
        check(data, size);
    return 0;
}

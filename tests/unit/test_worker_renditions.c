/* SPDX-License-Identifier: MIT */
/* Several outputs from one image: each is what it would have been alone, and all are made or none. */
#include "convert.h"

#include "cavage/err.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vips/vips.h>

enum { OUT_BYTES = 16 * 1024 * 1024, WIDTH = 900, HEIGHT = 700 };

static struct limits wide;
static uint8_t *out, *alone;

struct blob {
    uint8_t *data;
    size_t len;
};

/* Shades with some grain and an edge, as a photo has them; frames differ. */
static VipsImage *scene(int width, int height, int frames)
{
    uint32_t noise = 1;
    size_t size = (size_t)width * (size_t)height * (size_t)frames * 3;
    uint8_t *pixels = malloc(size);
    assert_non_null(pixels);
    for (int y = 0; y < height * frames; y++) {
        for (int x = 0; x < width; x++) {
            uint8_t *p = pixels + ((size_t)y * (size_t)width + (size_t)x) * 3;
            noise = noise * 1664525 + 1013904223;
            int frame = y / height;
            double u = (double)x / width, v = (double)(y % height) / height;
            double edge = hypot(u - 0.4, v - 0.5) < 0.25 ? 60 : 0;
            p[0] = (uint8_t)(110 + 60 * sin(5 * u + frame) + edge + (noise >> 30));
            p[1] = (uint8_t)(100 + 50 * cos(4 * v) + edge + (noise >> 29 & 3));
            p[2] = (uint8_t)(90 + 60 * sin(6 * u * v) + (noise >> 28 & 3));
        }
    }
    VipsImage *raw = vips_image_new_from_memory_copy(pixels, size, width, height * frames, 3, VIPS_FORMAT_UCHAR);
    VipsImage *image = NULL;
    free(pixels);
    assert_non_null(raw);
    assert_int_equal(vips_copy(raw, &image, "interpretation", VIPS_INTERPRETATION_sRGB, NULL), 0);
    g_object_unref(raw);
    if (frames > 1)
        vips_image_set_int(image, VIPS_META_PAGE_HEIGHT, height);
    return image;
}

static struct blob make(const char *suffix, int width, int height, int frames, int orientation)
{
    VipsImage *image = scene(width, height, frames);
    struct blob b = {NULL, 0};
    void *data = NULL;
    if (orientation > 1)
        vips_image_set_int(image, VIPS_META_ORIENTATION, orientation);
    assert_int_equal(vips_image_write_to_buffer(image, suffix, &data, &b.len, NULL), 0);
    g_object_unref(image);
    /* Plain malloc, so that the sanitizer sees reads past the end. */
    b.data = malloc(b.len);
    assert_non_null(b.data);
    memcpy(b.data, data, b.len);
    g_free(data);
    return b;
}

static struct renditions parsed(const char *query)
{
    struct renditions r;
    struct renditions_problem problem;
    if (renditions_parse(query, strlen(query), &r, &problem))
        fail_msg("%s: %s", query, problem.why.message);
    return r;
}

static struct convert_answer run(const struct blob *in, const char *query, size_t size)
{
    struct renditions r = parsed(query);
    struct convert_answer a;
    convert_renditions(&r, in->data, in->len, &wide, out, size, &a);
    return a;
}

static VipsImage *decoded(const uint8_t *data, size_t len)
{
    static const char *const loaders[IMAGE_FORMAT_COUNT] = {
        [IMAGE_JPEG] = "jpegload_buffer", [IMAGE_PNG] = "pngload_buffer", [IMAGE_WEBP] = "webpload_buffer",
        [IMAGE_AVIF] = "heifload_buffer", [IMAGE_GIF] = "gifload_buffer", [IMAGE_TIFF] = "tiffload_buffer",
    };
    struct image_header h;
    VipsImage *image = NULL, *plain = NULL;
    assert_int_equal(image_header_read(data, len, &h), 0);
    VipsBlob *blob = vips_blob_new(NULL, data, len);
    bool moving = h.pages > 1;
    assert_int_equal(moving ? vips_call(loaders[h.format], blob, &image, "n", -1, NULL)
                            : vips_call(loaders[h.format], blob, &image, NULL),
                     0);
    vips_area_unref(VIPS_AREA(blob));
    assert_int_equal(vips_colourspace(image, &plain, VIPS_INTERPRETATION_sRGB, NULL), 0);
    g_object_unref(image);
    return plain;
}

/* In dB; the dimensions have to be the same. */
static double psnr(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    VipsImage *x = decoded(a, a_len), *y = decoded(b, b_len), *difference = NULL, *square = NULL;
    double mean = 0;
    assert_int_equal(vips_image_get_width(x), vips_image_get_width(y));
    assert_int_equal(vips_image_get_height(x), vips_image_get_height(y));
    assert_int_equal(vips_image_get_bands(x), vips_image_get_bands(y));
    assert_int_equal(vips_subtract(x, y, &difference, NULL), 0);
    assert_int_equal(vips_multiply(difference, difference, &square, NULL), 0);
    assert_int_equal(vips_avg(square, &mean, NULL), 0);
    g_object_unref(x);
    g_object_unref(y);
    g_object_unref(difference);
    g_object_unref(square);
    return mean == 0 ? 99 : 10 * log10(255.0 * 255.0 / mean);
}

/* Each output against the same asked for alone. */
static void check_alike(const struct blob *in, const char *query)
{
    struct renditions r = parsed(query);
    struct convert_answer a = run(in, query, OUT_BYTES), one;
    if (a.outcome != OUTCOME_OK)
        fail_msg("%s: outcome %d, detail %d, output %u", query, a.outcome, a.detail, a.failed_output);
    assert_int_equal(a.output_count, r.count);
    for (size_t i = 0; i < r.count; i++) {
        const struct convert_output *o = &a.outputs[i];
        assert_true(o->len > 0 && o->offset + o->len <= a.len);
        convert_resize(&r.outputs[i].params, in->data, in->len, &wide, alone, OUT_BYTES, &one);
        assert_int_equal(one.outcome, OUTCOME_OK);
        assert_int_equal(image_sniff(out + o->offset, o->len), image_sniff(alone, one.len));
        double db = psnr(out + o->offset, o->len, alone, one.len);
        if (db < 35)
            fail_msg("%d %s: output %s has %.1f dB against the same alone", (int)image_sniff(in->data, in->len), query,
                     r.outputs[i].name, db);
    }
}

static void test_outputs_are_as_if_alone(void **state)
{
    static const char *const suffixes[] = {".jpg[Q=90]", ".jpg[Q=90,subsample_mode=off]", ".png", ".webp[Q=90]", ".tif",
                                           ".gif"};
    (void)state;
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        struct blob in = make(suffixes[i], WIDTH, HEIGHT, 1, 1);
        check_alike(&in, "output=a:width=50,format=jpeg&output=b:width=101,format=jpeg&output=c:width=220,format=jpeg&"
                         "output=d:width=449,format=jpeg&output=e:width=900,format=jpeg&output=f:width=1200,enlarge=1");
        check_alike(&in, "output=a:width=50,format=png&output=b:width=30,height=60,fit=cover,position=north&"
                         "output=c:width=40,height=40,fit=fill,kernel=cubic&output=d:height=40,rotate=90,flip=1");
        check_alike(&in,
                    "output=a:crop=10,20,300,400,width=40&output=b:trim=1,width=80&output=c:width=80,kernel=nearest&"
                    "output=d:width=60,grayscale=1,blur=1,format=webp&output=e:width=80,max_bytes=20000,format=jpeg");
        free(in.data);
    }
}

static void test_dimensions_are_as_if_alone_at_every_size(void **state)
{
    char query[256];
    (void)state;
    for (int orientation = 1; orientation <= 8; orientation += 5) {
        struct blob in = make(".jpg[Q=85]", 341, 257, 1, orientation);
        for (int width = 1; width <= 341; width += 17) {
            snprintf(query, sizeof(query),
                     "output=a:width=%d,format=png&output=b:height=%d,format=png&"
                     "output=c:width=%d,height=9,fit=outside,format=png",
                     width, 1 + width / 3, 1 + width / 7);
            check_alike(&in, query);
        }
        free(in.data);
    }
}

static void test_pages_are_chosen_by_each_output(void **state)
{
    static const char *const suffixes[] = {".gif", ".webp[Q=90]", ".tif"};
    (void)state;
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        struct blob in = make(suffixes[i], 120, 90, 4, 1);
        check_alike(&in, "output=a:width=60&output=b:width=60,format=png&output=c:page=2,width=60,format=png&"
                         "output=d:width=30,format=webp&output=e:page=2,width=20&output=f:page=3,format=jpeg");
        free(in.data);
    }
}

static void test_outputs_lie_apart(void **state)
{
    struct blob in = make(".gif", 120, 90, 3, 1);
    struct convert_answer a = run(&in, "output=a:width=60&output=b:page=1,format=png&output=c:width=30", OUT_BYTES);
    size_t sum = 0;
    (void)state;
    for (size_t i = 0; i < a.output_count; i++) {
        sum += a.outputs[i].len;
        for (size_t k = 0; k < i; k++)
            assert_true(a.outputs[i].offset >= a.outputs[k].offset + a.outputs[k].len ||
                        a.outputs[k].offset >= a.outputs[i].offset + a.outputs[i].len);
    }
    assert_int_equal(sum, a.len);
    free(in.data);
}

static void check_failure(const struct convert_answer *a, enum outcome outcome, enum convert_detail detail,
                          uint32_t output)
{
    assert_int_equal(a->outcome, outcome);
    assert_int_equal(a->detail, detail);
    assert_int_equal(a->failed_output, output);
    assert_int_equal(a->output_count, 0);
    assert_int_equal(a->len, 0);
}

static void test_output_that_cannot_be_made_is_named(void **state)
{
    struct blob in = make(".jpg", 300, 200, 1, 1);
    struct convert_answer a;
    (void)state;
    a = run(&in, "output=a:width=50&output=b:crop=299,0,2,1&output=c:width=40", OUT_BYTES);
    check_failure(&a, OUTCOME_BAD_REQUEST, DETAIL_CROP, 2);
    a = run(&in, "output=a:width=50&output=b:width=60&output=c:page=1", OUT_BYTES);
    check_failure(&a, OUTCOME_BAD_REQUEST, DETAIL_PAGE, 3);
    a = run(&in, "output=a:width=50&output=b:width=60,max_bytes=100", OUT_BYTES);
    check_failure(&a, OUTCOME_TOO_LARGE, DETAIL_MAX_BYTES, 2);
    a = run(&in, "output=a:width=16000,height=16000,fit=fill&output=b:width=6", OUT_BYTES);
    check_failure(&a, OUTCOME_TOO_LARGE, DETAIL_OUTPUT_PIXELS, 1);
    free(in.data);
}

static void test_image_that_cannot_be_read_is_no_output_s_fault(void **state)
{
    struct blob in = make(".png", 300, 200, 1, 1);
    struct blob cut = {in.data, in.len / 2}, none = {in.data + 1, 100};
    struct convert_answer a;
    (void)state;
    a = run(&cut, "output=a:width=50&output=b:width=60", OUT_BYTES);
    check_failure(&a, OUTCOME_UNDECODABLE, DETAIL_DAMAGED, 0);
    a = run(&none, "output=a:width=50&output=b:width=60", OUT_BYTES);
    check_failure(&a, OUTCOME_NOT_AN_IMAGE, DETAIL_NONE, 0);
    free(in.data);
}

static void test_sum_over_the_buffer_is_refused_and_wiped(void **state)
{
    static const char query[] = "output=a:width=210,format=png&output=b:width=200,format=png";
    struct blob in = make(".jpg", 300, 200, 1, 1);
    struct convert_answer a = run(&in, query, OUT_BYTES);
    (void)state;
    assert_int_equal(a.outcome, OUTCOME_OK);
    size_t sum = a.len;
    a = run(&in, query, sum);
    assert_int_equal(a.outcome, OUTCOME_OK);
    memset(out, 0, sum);
    a = run(&in, query, sum - 1);
    check_failure(&a, OUTCOME_TOO_LARGE, DETAIL_SUM_BYTES, 2);
    assert_int_equal(a.limit_value, sum - 1);
    assert_int_equal(a.actual_value, sum);
    for (size_t i = 0; i < sum; i++)
        assert_int_equal(out[i], 0);
    free(in.data);
}

static int group_open(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < LIMIT_COUNT; limit++)
        for (size_t format = 0; format < IMAGE_FORMAT_COUNT; format++)
            wide.of[limit][format] = 100 * 1000 * 1000;
    out = malloc(OUT_BYTES);
    alone = malloc(OUT_BYTES);
    return !out || !alone || convert_open(false);
}

static int group_close(void **state)
{
    (void)state;
    free(out);
    free(alone);
    vips_shutdown();
    return 0;
}

/* An image of 16 bits with transparency: 8 bytes a pixel. */
static struct blob make_deep(int width, int height)
{
    VipsImage *image = scene(width, height, 1);
    VipsImage *deep = NULL, *clear = NULL;
    struct blob b = {NULL, 0};
    void *data = NULL;
    assert_int_equal(vips_colourspace(image, &deep, VIPS_INTERPRETATION_RGB16, NULL), 0);
    assert_int_equal(vips_addalpha(deep, &clear, NULL), 0);
    assert_int_equal(vips_image_write_to_buffer(clear, ".png", &data, &b.len, NULL), 0);
    g_object_unref(image);
    g_object_unref(deep);
    g_object_unref(clear);
    b.data = malloc(b.len);
    assert_non_null(b.data);
    memcpy(b.data, data, b.len);
    g_free(data);
    return b;
}

/* What libvips has at most is told for the whole process, so this comes before other tests. */
static void test_what_takes_too_much_memory_is_not_kept(void **state)
{
    static const char query[] = "output=a:width=30,format=jpeg&output=b:width=20,format=jpeg";
    /* Narrow and high, since lines are held in any case. */
    enum { NARROW = 300, TALL = 9000, DECODED = NARROW * TALL * 8 };
    struct blob in = make_deep(NARROW, TALL);
    struct renditions r = parsed(query);
    struct limits tight = wide;
    struct convert_answer a;
    (void)state;
    tight.of[LIMIT_TOTAL_PIXELS_IN][IMAGE_PNG] = NARROW * TALL;
    convert_renditions(&r, in.data, in.len, &tight, out, OUT_BYTES, &a);
    assert_int_equal(a.outcome, OUTCOME_OK);
    assert_true(vips_tracked_get_mem_highwater() < DECODED);
    a = run(&in, query, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_OK);
    assert_true(vips_tracked_get_mem_highwater() >= DECODED);
    free(in.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_takes_too_much_memory_is_not_kept),
        cmocka_unit_test(test_outputs_are_as_if_alone),
        cmocka_unit_test(test_dimensions_are_as_if_alone_at_every_size),
        cmocka_unit_test(test_pages_are_chosen_by_each_output),
        cmocka_unit_test(test_outputs_lie_apart),
        cmocka_unit_test(test_output_that_cannot_be_made_is_named),
        cmocka_unit_test(test_image_that_cannot_be_read_is_no_output_s_fault),
        cmocka_unit_test(test_sum_over_the_buffer_is_refused_and_wiped),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}

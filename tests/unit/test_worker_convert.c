/* SPDX-License-Identifier: MIT */
/* Tests of the conversion by libvips, on images made here, from one format to the next. */
#include "convert.h"
#include "encode.h"

#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vips/vips.h>

enum { OUT_BYTES = 8 * 1024 * 1024 };

static struct limits wide;

/* The same bounds for every format. */
static struct limits bounds(uint64_t in, uint64_t result, uint64_t bytes)
{
    struct limits l = wide;
    for (size_t f = 0; f < IMAGE_FORMAT_COUNT; f++) {
        l.of[LIMIT_PIXELS_IN][f] = in;
        l.of[LIMIT_PIXELS_OUT][f] = result;
        l.of[LIMIT_BYTES_OUT][f] = bytes;
    }
    return l;
}

struct blob {
    uint8_t *data;
    size_t len;
};

/* Red above, blue below; with alpha, the left half is clear. */
static struct blob make(enum image_format format, int width, int height, bool alpha, int orientation)
{
    int bands = alpha ? 4 : 3;
    size_t size = (size_t)width * (size_t)height * (size_t)bands;
    uint8_t *pixels = calloc(1, size);
    assert_non_null(pixels);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            uint8_t *p = pixels + ((size_t)y * (size_t)width + (size_t)x) * (size_t)bands;
            p[y < height / 2 ? 0 : 2] = 255;
            if (alpha)
                p[3] = x < width / 2 ? 0 : 255;
        }
    }
    VipsImage *raw = vips_image_new_from_memory_copy(pixels, size, width, height, bands, VIPS_FORMAT_UCHAR);
    VipsImage *image = NULL;
    struct blob b = {NULL, 0};
    void *data = NULL;
    free(pixels);
    assert_non_null(raw);
    assert_int_equal(vips_copy(raw, &image, "interpretation", VIPS_INTERPRETATION_sRGB, NULL), 0);
    if (orientation > 1) {
        vips_image_set_int(image, VIPS_META_ORIENTATION, orientation);
        assert_int_equal(vips_jpegsave_buffer(image, &data, &b.len, NULL), 0);
    } else {
        assert_int_equal(encode(image, format, &(struct params){.quality = 95}, &data, &b.len), 0);
    }
    /* Plain malloc, so that the sanitizer sees reads past the end. */
    b.data = malloc(b.len);
    assert_non_null(b.data);
    memcpy(b.data, data, b.len);
    g_free(data);
    g_object_unref(image);
    g_object_unref(raw);
    return b;
}

static uint8_t *out;

static struct convert_answer run(const struct blob *in, const char *query, const struct limits *limits,
                                 size_t out_bytes)
{
    struct params p;
    struct params_problem problem;
    struct convert_answer a;
    assert_int_equal(params_parse(query, strlen(query), &p, &problem), 0);
    convert_resize(&p, in->data, in->len, limits, out, out_bytes, &a);
    return a;
}

static void check_made(const struct convert_answer *a, enum image_format format, uint32_t width, uint32_t height)
{
    struct image_header h;
    assert_int_equal(a->outcome, OUTCOME_OK);
    assert_int_equal(image_header_read(out, a->len, &h), 0);
    assert_int_equal(h.format, format);
    assert_int_equal(h.width, width);
    assert_int_equal(h.height, height);
}

/* A pixel of the PNG in out, as RGBA. */
static void pixel(const struct convert_answer *a, int x, int y, double rgba[4])
{
    VipsBlob *blob = vips_blob_new(NULL, out, a->len);
    VipsImage *image = NULL;
    double *values = NULL;
    int n = 0;
    assert_int_equal(vips_call("pngload_buffer", blob, &image, NULL), 0);
    assert_int_equal(vips_getpoint(image, &values, &n, x, y, NULL), 0);
    rgba[3] = 255;
    for (int i = 0; i < n && i < 4; i++)
        rgba[i] = values[i];
    g_free(values);
    g_object_unref(image);
    vips_area_unref(VIPS_AREA(blob));
}

static void check_pixel(const struct convert_answer *a, int x, int y, int red, int green, int blue, int alpha)
{
    double p[4] = {0};
    pixel(a, x, y, p);
    int wanted[4] = {red, green, blue, alpha};
    for (int i = 0; i < 4; i++)
        if (p[i] < wanted[i] - 40 || p[i] > wanted[i] + 40)
            fail_msg("pixel %d,%d is %g %g %g %g", x, y, p[0], p[1], p[2], p[3]);
}

static void test_every_format_to_every_format(void **state)
{
    (void)state;
    for (int from = IMAGE_JPEG; from < IMAGE_SVG; from++) {
        struct blob in = make((enum image_format)from, 96, 64, false, 1);
        for (int to = IMAGE_JPEG; to < IMAGE_SVG; to++) {
            char query[64];
            snprintf(query, sizeof(query), "w=30&format=%s", image_format_name((enum image_format)to));
            struct convert_answer a = run(&in, query, &wide, OUT_BYTES);
            check_made(&a, (enum image_format)to, 30, 20);
        }
        struct convert_answer same = run(&in, "", &wide, OUT_BYTES);
        check_made(&same, (enum image_format)from, 96, 64);
        free(in.data);
    }
}

static void test_fits_give_their_size(void **state)
{
    struct blob in = make(IMAGE_PNG, 90, 60, false, 1);
    struct convert_answer a;
    (void)state;
    a = run(&in, "w=32&h=20", &wide, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 30, 20);
    a = run(&in, "w=32&h=20&fit=cover", &wide, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 32, 20);
    a = run(&in, "w=32&h=20&fit=fill", &wide, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 32, 20);
    a = run(&in, "w=32&h=20&fit=outside", &wide, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 32, 21);
    a = run(&in, "w=40&h=20&fit=contain&background=00ff00", &wide, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 40, 20);
    check_pixel(&a, 1, 10, 0, 255, 0, 255);
    check_pixel(&a, 20, 3, 255, 0, 0, 255);
    check_pixel(&a, 20, 16, 0, 0, 255, 255);
    a = run(&in, "w=40&h=20&fit=contain&background=transparent", &wide, OUT_BYTES);
    check_pixel(&a, 1, 10, 0, 0, 0, 0);
    check_pixel(&a, 20, 3, 255, 0, 0, 255);
    free(in.data);
}

static void test_orientation_is_applied(void **state)
{
    struct blob in = make(IMAGE_JPEG, 96, 64, false, 6);
    struct convert_answer a;
    (void)state;
    a = run(&in, "w=32&format=png", &wide, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 32, 48);
    /* Turned clockwise, what was above is at the right. */
    check_pixel(&a, 28, 24, 255, 0, 0, 255);
    check_pixel(&a, 4, 24, 0, 0, 255, 255);
    a = run(&in, "w=16&h=48&fit=cover&format=png", &wide, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 16, 48);
    free(in.data);
}

static void test_alpha_is_kept_or_flattened(void **state)
{
    struct blob in = make(IMAGE_PNG, 80, 40, true, 1);
    struct convert_answer a;
    (void)state;
    a = run(&in, "w=40&format=png", &wide, OUT_BYTES);
    check_pixel(&a, 5, 5, 0, 0, 0, 0);
    check_pixel(&a, 35, 5, 255, 0, 0, 255);
    a = run(&in, "w=40&format=jpeg&background=00ff00", &wide, OUT_BYTES);
    struct blob flat = {malloc(a.len), a.len};
    assert_non_null(flat.data);
    memcpy(flat.data, out, a.len);
    a = run(&flat, "format=png", &wide, OUT_BYTES);
    check_pixel(&a, 5, 5, 0, 255, 0, 255);
    check_pixel(&a, 35, 5, 255, 0, 0, 255);
    free(flat.data);
    free(in.data);
}

static void test_bounds_are_kept(void **state)
{
    struct blob in = make(IMAGE_PNG, 100, 50, false, 1);
    struct limits small = bounds(4999, 5000, OUT_BYTES);
    struct convert_answer a;
    (void)state;
    a = run(&in, "w=10", &small, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_TOO_LARGE);
    assert_int_equal(a.detail, DETAIL_PIXELS);
    assert_int_equal(a.limit_value, 4999);
    assert_int_equal(a.actual_value, 5000);
    small = bounds(5000, 5000, OUT_BYTES);
    a = run(&in, "w=100", &small, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 100, 50);
    a = run(&in, "w=101&enlarge=1", &small, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_TOO_LARGE);
    assert_int_equal(a.detail, DETAIL_OUTPUT_PIXELS);
    a = run(&in, "w=16383&h=16383&fit=fill&format=png", &wide, OUT_BYTES);
    assert_int_equal(a.detail, DETAIL_OUTPUT_PIXELS);
    a = run(&in, "w=50", &wide, 20);
    assert_int_equal(a.outcome, OUTCOME_TOO_LARGE);
    assert_int_equal(a.detail, DETAIL_OUTPUT_BYTES);
    assert_int_equal(a.len, 0);
    a = run(&in, "w=50", &wide, OUT_BYTES);
    size_t len = a.len;
    small = bounds(5000, 5000, len);
    a = run(&in, "w=50", &small, OUT_BYTES);
    assert_int_equal(a.len, len);
    small = bounds(5000, 5000, len - 1);
    a = run(&in, "w=50", &small, OUT_BYTES);
    assert_int_equal(a.detail, DETAIL_OUTPUT_BYTES);
    assert_int_equal(a.limit_value, len - 1);
    assert_int_equal(a.actual_value, len);
    free(in.data);
}

static void test_side_over_the_format_s_is_refused(void **state)
{
    struct blob in = make(IMAGE_PNG, 20000, 2, false, 1);
    struct convert_answer a;
    (void)state;
    a = run(&in, "format=webp", &wide, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_TOO_LARGE);
    assert_int_equal(a.detail, DETAIL_OUTPUT_SIDE);
    assert_int_equal(a.limit_value, 16383);
    assert_int_equal(a.actual_value, 20000);
    free(in.data);
}

static void test_a_format_may_have_a_smaller_bound(void **state)
{
    struct blob in = make(IMAGE_PNG, 100, 50, false, 1);
    struct convert_answer a;
    (void)state;
    a = run(&in, "w=7000&h=6000&fit=fill&format=avif", &wide, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_TOO_LARGE);
    assert_int_equal(a.detail, DETAIL_OUTPUT_PIXELS);
    assert_int_equal(a.limit_value, 40000000);
    assert_int_equal(a.actual_value, 42000000);
    struct limits small = wide;
    small.of[LIMIT_PIXELS_OUT][IMAGE_AVIF] = 50;
    a = run(&in, "w=10&format=avif", &small, OUT_BYTES);
    check_made(&a, IMAGE_AVIF, 10, 5);
    small.of[LIMIT_PIXELS_OUT][IMAGE_AVIF] = 49;
    a = run(&in, "w=10&format=avif", &small, OUT_BYTES);
    assert_int_equal(a.detail, DETAIL_OUTPUT_PIXELS);
    a = run(&in, "w=10&format=png", &small, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 10, 5);
    free(in.data);
}

static void test_auto_keeps_to_its_bound(void **state)
{
    struct blob in = make(IMAGE_PNG, 100, 50, false, 1);
    struct limits l = wide;
    (void)state;
    l.of[LIMIT_AUTO_PIXELS_OUT][IMAGE_AVIF] = 50;
    l.of[LIMIT_AUTO_PIXELS_OUT][IMAGE_WEBP] = 200;
    struct convert_answer a = run(&in, "w=10&format=auto:avif,webp", &l, OUT_BYTES);
    check_made(&a, IMAGE_AVIF, 10, 5);
    a = run(&in, "w=20&format=auto:avif,webp", &l, OUT_BYTES);
    check_made(&a, IMAGE_WEBP, 20, 10);
    a = run(&in, "w=22&format=auto:avif,webp", &l, OUT_BYTES);
    check_made(&a, IMAGE_JPEG, 22, 11);
    free(in.data);
}

static void test_cut_images_are_undecodable(void **state)
{
    (void)state;
    for (int f = IMAGE_JPEG; f < IMAGE_SVG; f++) {
        struct blob in = make((enum image_format)f, 96, 64, false, 1);
        struct blob cut = {malloc(in.len / 2), in.len / 2};
        assert_non_null(cut.data);
        memcpy(cut.data, in.data, cut.len);
        struct convert_answer a = run(&cut, "w=30&format=png", &wide, OUT_BYTES);
        /* A GIF's rows that are missing are clear; everything else fails. */
        if (f != IMAGE_GIF)
            assert_int_equal(a.outcome, OUTCOME_UNDECODABLE);
        a = run(&in, "w=30&format=png", &wide, OUT_BYTES);
        assert_int_equal(a.outcome, OUTCOME_OK);
        free(cut.data);
        free(in.data);
    }
}

static void test_options_work_in_every_format(void **state)
{
    static const struct {
        const char *query;
        uint32_t width, height;
    } cases[] = {
        {"crop=10,10,40,20", 40, 20},
        {"crop=10,10,40,20&rotate=90&w=10", 10, 20},
        {"rotate=270&flip=1&flop=1", 64, 96},
        {"rotate=45&flip=1&background=tomato", 113, 113},
        {"crop=10,10,40,20&rotate=-30", 45, 37},
        {"w=20&h=20&fit=cover&position=entropy", 20, 20},
        {"w=20&h=20&fit=cover&position=attention", 20, 20},
        {"w=20&h=20&fit=cover&position=0.9,0.1", 20, 20},
        {"w=20&h=20&fit=contain&position=north&background=tomato", 20, 20},
        {"w=30&kernel=nearest", 30, 20},
        {"w=30&kernel=mitchell&grayscale=1", 30, 20},
        {"w=30&dpr=2&blur=1.5&sharpen=0.8", 60, 40},
        {"w=30&metadata=all", 30, 20},
        {"w=30&metadata=copyright&max_bytes=100000", 30, 20},
        {"page=0&w=30", 30, 20},
    };
    (void)state;
    for (int alpha = 0; alpha < 2; alpha++) {
        for (int f = IMAGE_JPEG; f < IMAGE_SVG; f++) {
            struct blob in = make((enum image_format)f, 96, 64, alpha == 1 && f != IMAGE_JPEG, 1);
            for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct convert_answer a = run(&in, cases[i].query, &wide, OUT_BYTES);
                check_made(&a, (enum image_format)f, cases[i].width, cases[i].height);
            }
            free(in.data);
        }
    }
}

static void test_trim_cuts_what_is_clear(void **state)
{
    struct blob in = make(IMAGE_PNG, 80, 40, true, 1);
    (void)state;
    /* Of the upper half alone: below, even clear pixels have another colour than the first. */
    struct convert_answer a = run(&in, "crop=0,0,80,10&trim=10", &wide, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 40, 10);
    free(in.data);
}

static void test_max_bytes_tells_the_smallest_size(void **state)
{
    struct blob in = make(IMAGE_PNG, 96, 64, false, 1);
    struct convert_answer least, a;
    (void)state;
    least = run(&in, "format=jpeg&q=1", &wide, OUT_BYTES);
    a = run(&in, "format=jpeg&max_bytes=100", &wide, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_TOO_LARGE);
    assert_int_equal(a.detail, DETAIL_MAX_BYTES);
    assert_int_equal(a.limit_value, 100);
    assert_int_equal(a.actual_value, least.len);
    free(in.data);
}

static void test_what_the_image_has_not_is_refused(void **state)
{
    struct blob in = make(IMAGE_GIF, 96, 64, false, 1);
    struct convert_answer a;
    (void)state;
    a = run(&in, "crop=90,0,7,1", &wide, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_BAD_REQUEST);
    assert_int_equal(a.detail, DETAIL_CROP);
    assert_int_equal(a.limit_value, 96);
    assert_int_equal(a.actual_value, 97);
    a = run(&in, "crop=0,60,7,5", &wide, OUT_BYTES);
    assert_int_equal(a.limit_value, 64);
    assert_int_equal(a.actual_value, 65);
    a = run(&in, "page=1", &wide, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_BAD_REQUEST);
    assert_int_equal(a.detail, DETAIL_PAGE);
    assert_int_equal(a.limit_value, 0);
    assert_int_equal(a.actual_value, 1);
    free(in.data);
}

static void test_a_box_that_is_far_larger_than_the_picture_is_refused(void **state)
{
    struct blob even = make(IMAGE_PNG, 100, 50, false, 1);
    struct blob thin = make(IMAGE_PNG, 200, 25, false, 1);
    struct limits l = wide;
    struct convert_answer a;
    (void)state;
    l.of[LIMIT_TOTAL_PIXELS_IN][IMAGE_PNG] = 5000;
    a = run(&even, "rotate=45", &l, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 106, 106);
    a = run(&thin, "rotate=90", &l, OUT_BYTES);
    check_made(&a, IMAGE_PNG, 25, 200);
    a = run(&thin, "rotate=45&w=10", &l, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_TOO_LARGE);
    assert_int_equal(a.detail, DETAIL_TURNED);
    assert_int_equal(a.limit_value, 15000);
    assert_int_equal(a.actual_value, 159 * 159);
    free(even.data);
    free(thin.data);
}

static void test_other_data_are_not_an_image(void **state)
{
    static const char svg[] = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>";
    struct blob in = {(uint8_t *)strdup(svg), sizeof(svg)};
    (void)state;
    assert_non_null(in.data);
    struct convert_answer a = run(&in, "w=5", &wide, OUT_BYTES);
    assert_int_equal(a.outcome, OUTCOME_NOT_AN_IMAGE);
    free(in.data);
}

static void test_info_tells_of_the_image(void **state)
{
    struct blob png = make(IMAGE_PNG, 32, 20, true, 1);
    struct blob jpeg = make(IMAGE_JPEG, 32, 20, false, 6);
    struct convert_answer a;
    (void)state;
    convert_info(png.data, png.len, &wide, &a);
    assert_int_equal(a.outcome, OUTCOME_OK);
    assert_int_equal(a.info.orientation, 1);
    assert_int_equal(a.info.space, SPACE_SRGB);
    assert_int_equal(a.info.alpha, 1);
    assert_int_equal(a.info.profile, 0);
    convert_info(jpeg.data, jpeg.len, &wide, &a);
    assert_int_equal(a.info.orientation, 6);
    assert_int_equal(a.info.alpha, 0);
    free(png.data);
    free(jpeg.data);
}

static int group_open(void **state)
{
    struct conf *conf;
    (void)state;
    if (conf_new(&conf))
        return 1;
    limits_read(conf, &wide);
    conf_free(conf);
    out = malloc(OUT_BYTES);
    return !out || convert_open(true);
}

static int group_close(void **state)
{
    (void)state;
    free(out);
    vips_shutdown();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_format_to_every_format),
        cmocka_unit_test(test_fits_give_their_size),
        cmocka_unit_test(test_orientation_is_applied),
        cmocka_unit_test(test_alpha_is_kept_or_flattened),
        cmocka_unit_test(test_bounds_are_kept),
        cmocka_unit_test(test_side_over_the_format_s_is_refused),
        cmocka_unit_test(test_a_format_may_have_a_smaller_bound),
        cmocka_unit_test(test_auto_keeps_to_its_bound),
        cmocka_unit_test(test_cut_images_are_undecodable),
        cmocka_unit_test(test_options_work_in_every_format),
        cmocka_unit_test(test_trim_cuts_what_is_clear),
        cmocka_unit_test(test_max_bytes_tells_the_smallest_size),
        cmocka_unit_test(test_what_the_image_has_not_is_refused),
        cmocka_unit_test(test_a_box_that_is_far_larger_than_the_picture_is_refused),
        cmocka_unit_test(test_other_data_are_not_an_image),
        cmocka_unit_test(test_info_tells_of_the_image),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}

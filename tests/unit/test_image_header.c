/* SPDX-License-Identifier: MIT */
/* Tests of the image header reader, on headers built by hand. */
#include "cavage/err.h"
#include "cavage/image_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Bytes put together; a test never needs more. */
struct bytes {
    uint8_t data[4096];
    size_t len;
};

static void put(struct bytes *b, const void *data, size_t len)
{
    assert_true(b->len + len <= sizeof(b->data));
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

#define PUT(b, literal) put(b, literal, sizeof(literal) - 1)

static void put_be(struct bytes *b, uint32_t n, unsigned size)
{
    for (unsigned i = size; i-- > 0;)
        put(b, &(uint8_t){(uint8_t)(n >> (8 * i))}, 1);
}

static void put_le(struct bytes *b, uint32_t n, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        put(b, &(uint8_t){(uint8_t)(n >> (8 * i))}, 1);
}

/* Read from memory of exactly the length, so that a sanitizer sees a byte too far. */
static int read_exactly(const struct bytes *b, size_t len, struct image_header *h)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, b->data, len);
    int err = image_header_read(copy, len, h);
    free(copy);
    return err;
}

static void check(const struct bytes *b, enum image_format format, uint32_t width, uint32_t height, uint32_t pages)
{
    struct image_header h;
    assert_int_equal(read_exactly(b, b->len, &h), 0);
    assert_int_equal(h.format, format);
    assert_int_equal(h.width, width);
    assert_int_equal(h.height, height);
    assert_int_equal(h.pages, pages);
}

static void check_corrupt(const struct bytes *b, enum image_format format)
{
    struct image_header h;
    assert_int_equal(read_exactly(b, b->len, &h), ERR_CORRUPT);
    assert_int_equal(h.format, format);
    assert_int_equal(h.width, 0);
}

static bool front_tells(const struct bytes *b, size_t len)
{
    struct image_header front, whole;
    if (image_header_read_front(b->data, len, &front))
        return false;
    assert_int_equal(image_header_read(b->data, b->len, &whole), 0);
    assert_memory_equal(&front, &whole, sizeof(front));
    return true;
}

/* Every shorter piece is survived, and says nothing or what the whole says. */
static void check_cuts(const struct bytes *b)
{
    struct image_header h;
    for (size_t len = 0; len < b->len; len++) {
        read_exactly(b, len, &h);
        front_tells(b, len);
    }
}

static void make_jpeg(struct bytes *b, uint32_t width, uint32_t height)
{
    PUT(b, "\xff\xd8\xff\xe0\0\x04"
           "ab");
    /* An embedded preview's SOF, inside a segment, is not the image's. */
    PUT(b, "\xff\xe1\0\x0c\xff\xc0\0\x08\x08\0\x01\0\x01\x01");
    PUT(b, "\xff\xff\xc2\0\x0b\x08");
    put_be(b, height, 2);
    put_be(b, width, 2);
    PUT(b, "\x01\x01\x11\0\xff\xda\0\x02");
}

static void test_jpeg_size_is_that_of_its_frame(void **state)
{
    struct bytes b = {.len = 0};
    (void)state;
    make_jpeg(&b, 1500, 1225);
    check(&b, IMAGE_JPEG, 1500, 1225, 1);
    check_cuts(&b);
}

static void test_jpeg_without_frame_is_corrupt(void **state)
{
    struct bytes scan = {.len = 0};
    struct bytes empty = {.len = 0};
    struct bytes flat = {.len = 0};
    (void)state;
    PUT(&scan, "\xff\xd8\xff\xe0\0\x02\xff\xda\0\x02");
    check_corrupt(&scan, IMAGE_JPEG);
    PUT(&empty, "\xff\xd8\xff\xd9");
    check_corrupt(&empty, IMAGE_JPEG);
    make_jpeg(&flat, 10, 0);
    check_corrupt(&flat, IMAGE_JPEG);
}

static void make_png(struct bytes *b, uint32_t width, uint32_t height)
{
    PUT(b, "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR");
    put_be(b, width, 4);
    put_be(b, height, 4);
    PUT(b, "\x08\x02\0\0\0crc!");
}

static void test_png_size(void **state)
{
    struct bytes b = {.len = 0};
    (void)state;
    make_png(&b, 14000, 13000);
    check(&b, IMAGE_PNG, 14000, 13000, 1);
    check_cuts(&b);
}

static void test_png_of_absurd_size_is_corrupt(void **state)
{
    struct bytes b = {.len = 0};
    (void)state;
    make_png(&b, 0x80000000U, 1);
    check_corrupt(&b, IMAGE_PNG);
}

static void make_webp(struct bytes *b, const char *chunk, size_t len)
{
    PUT(b, "RIFF\xff\xff\0\0WEBP");
    put(b, chunk, 4);
    put_le(b, (uint32_t)len, 4);
}

static void test_webp_lossy_lossless_and_extended(void **state)
{
    struct bytes lossy = {.len = 0};
    struct bytes lossless = {.len = 0};
    struct bytes extended = {.len = 0};
    (void)state;
    make_webp(&lossy, "VP8 ", 10);
    PUT(&lossy, "\0\0\0\x9d\x01\x2a");
    put_le(&lossy, 1024 | 0x4000, 2);
    put_le(&lossy, 772, 2);
    check(&lossy, IMAGE_WEBP, 1024, 772, 1);
    check_cuts(&lossy);
    make_webp(&lossless, "VP8L", 10);
    PUT(&lossless, "\x2f");
    put_le(&lossless, (300 - 1) | (200 - 1) << 14, 4);
    PUT(&lossless, "\0\0\0\0\0");
    check(&lossless, IMAGE_WEBP, 300, 200, 1);
    make_webp(&extended, "VP8X", 10);
    PUT(&extended, "\x02\0\0\0");
    put_le(&extended, 370 - 1, 3);
    put_le(&extended, 285 - 1, 3);
    for (int i = 0; i < 3; i++)
        PUT(&extended, "ANMF\x03\0\0\0abc\0");
    check(&extended, IMAGE_WEBP, 370, 285, 3);
    check_cuts(&extended);
}

static void make_gif(struct bytes *b, uint32_t width, uint32_t height)
{
    PUT(b, "GIF89a");
    put_le(b, width, 2);
    put_le(b, height, 2);
    PUT(b, "\x80\0\0\0\0\0\xff\xff\xff");
}

static void put_gif_frame(struct bytes *b, uint32_t left, uint32_t top, uint32_t width, uint32_t height)
{
    PUT(b, "\x21\xf9\x04\0\0\0\0\0,");
    put_le(b, left, 2);
    put_le(b, top, 2);
    put_le(b, width, 2);
    put_le(b, height, 2);
    PUT(b, "\0\x02\x02\x4c\x01\0");
}

static void test_gif_frames_are_counted(void **state)
{
    struct bytes b = {.len = 0};
    (void)state;
    make_gif(&b, 80, 60);
    for (int i = 0; i < 30; i++)
        put_gif_frame(&b, 0, 0, 80, 60);
    PUT(&b, ";");
    check(&b, IMAGE_GIF, 80, 60, 30);
    check_cuts(&b);
}

static void test_gif_canvas_holds_its_largest_frame(void **state)
{
    struct bytes b = {.len = 0};
    (void)state;
    make_gif(&b, 8, 6);
    put_gif_frame(&b, 100, 5, 65435, 20);
    check(&b, IMAGE_GIF, 65535, 25, 1);
}

static void test_gif_without_frame_is_corrupt(void **state)
{
    struct bytes b = {.len = 0};
    (void)state;
    make_gif(&b, 8, 6);
    PUT(&b, ";");
    check_corrupt(&b, IMAGE_GIF);
}

static void put_tiff_ifd(struct bytes *b, bool big, uint32_t width, uint32_t height, uint32_t next)
{
    void (*n)(struct bytes *, uint32_t, unsigned) = big ? put_be : put_le;
    n(b, 2, 2);
    n(b, 256, 2);
    n(b, 4, 2);
    n(b, 1, 4);
    n(b, width, 4);
    n(b, 257, 2);
    n(b, 3, 2);
    n(b, 1, 4);
    n(b, height, 2);
    n(b, 0, 2);
    n(b, next, 4);
}

static void test_tiff_pages_in_both_byte_orders(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++) {
        struct bytes b = {.len = 0};
        if (big)
            PUT(&b, "MM\0*\0\0\0\x08");
        else
            PUT(&b, "II*\0\x08\0\0\0");
        put_tiff_ifd(&b, big, 450, 600, 8 + 30);
        put_tiff_ifd(&b, big, 45, 60, 0);
        check(&b, IMAGE_TIFF, 450, 600, 2);
        check_cuts(&b);
    }
}

static void test_tiff_that_bites_its_tail_is_corrupt(void **state)
{
    struct bytes b = {.len = 0};
    (void)state;
    PUT(&b, "II*\0\x08\0\0\0");
    put_tiff_ifd(&b, false, 450, 600, 8);
    check_corrupt(&b, IMAGE_TIFF);
}

static void put_box(struct bytes *b, const char *type, const struct bytes *body)
{
    put_be(b, (uint32_t)body->len + 8, 4);
    put(b, type, 4);
    put(b, body->data, body->len);
}

static void put_ispe(struct bytes *b, uint32_t width, uint32_t height)
{
    struct bytes body = {.len = 0};
    PUT(&body, "\0\0\0\0");
    put_be(&body, width, 4);
    put_be(&body, height, 4);
    put_box(b, "ispe", &body);
}

/* Two items: a thumbnail (1) of 160x120, and the primary (2) of 2048x858, which is named by pitm when `primary`. */
static void make_avif(struct bytes *b, const char *brands, size_t brands_len, bool primary)
{
    struct bytes ftyp = {.len = 0};
    struct bytes pitm = {.len = 0};
    struct bytes ipco = {.len = 0};
    struct bytes ipma = {.len = 0};
    struct bytes iprp = {.len = 0};
    struct bytes meta = {.len = 0};
    struct bytes other = {.len = 0};
    put(&ftyp, brands, brands_len);
    put_box(b, "ftyp", &ftyp);
    PUT(&pitm, "\0\0\0\0\0\x02");
    put_ispe(&ipco, 160, 120);
    put_box(&ipco, "pixi", &other);
    put_ispe(&ipco, 2048, 858);
    put_ispe(&ipco, 4096, 4096);
    PUT(&ipma, "\0\0\0\0\0\0\0\x02\0\x01\x01\x01\0\x02\x02\x82\x03");
    put_box(&iprp, "ipco", &ipco);
    put_box(&iprp, "ipma", &ipma);
    PUT(&meta, "\0\0\0\0");
    if (primary)
        put_box(&meta, "pitm", &pitm);
    put_box(&meta, "iprp", &iprp);
    put_box(b, "meta", &meta);
}

static void test_avif_size_is_the_primary_item_s(void **state)
{
    struct bytes b = {.len = 0};
    struct bytes generic = {.len = 0};
    (void)state;
    make_avif(&b, "avif\0\0\0\0mif1miaf", 16, true);
    check(&b, IMAGE_AVIF, 2048, 858, 1);
    check_cuts(&b);
    make_avif(&generic, "mif1\0\0\0\0miafavif", 16, true);
    check(&generic, IMAGE_AVIF, 2048, 858, 1);
}

static void test_avif_without_primary_counts_its_largest(void **state)
{
    struct bytes b = {.len = 0};
    (void)state;
    make_avif(&b, "avis\0\0\0\0", 8, false);
    check(&b, IMAGE_AVIF, 4096, 4096, 1);
}

static void test_a_front_tells_where_nothing_can_follow(void **state)
{
    (void)state;
    struct bytes jpeg = {.len = 0}, png = {.len = 0}, gif = {.len = 0};
    make_jpeg(&jpeg, 1500, 1225);
    make_png(&png, 30, 20);
    make_gif(&gif, 30, 20);
    put_gif_frame(&gif, 0, 0, 30, 20);
    size_t one = gif.len;
    put_gif_frame(&gif, 0, 0, 30, 20);
    assert_true(front_tells(&jpeg, jpeg.len - 4)); /* without its scan */
    assert_false(front_tells(&jpeg, 12));
    assert_true(front_tells(&png, 33));
    assert_false(front_tells(&png, 32));
    assert_false(front_tells(&gif, one)); /* it reads, as a file of one frame */
}

static void test_other_formats_are_not_taken(void **state)
{
    static const char *const others[] = {
        "BM\0\0", "II+\0", "<svgx ", "%PDF-1.4", "RIFF\0\0\0\0WAVE", "GIF88a", "\0\0\0\x0cjP  \r\n\x87\n"};
    struct bytes heic = {.len = 0};
    struct image_header h;
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct bytes b = {.len = 0};
        put(&b, others[i], strlen(others[i]) > 4 ? strlen(others[i]) : 4);
        assert_int_equal(read_exactly(&b, b.len, &h), ERR_NOTFOUND);
    }
    make_avif(&heic, "heic\0\0\0\0mif1heic", 16, true);
    assert_int_equal(read_exactly(&heic, heic.len, &h), ERR_NOTFOUND);
    assert_int_equal(read_exactly(&heic, 0, &h), ERR_NOTFOUND);
}

static void test_pixels_do_not_wrap(void **state)
{
    struct image_header bomb = {IMAGE_GIF, 65535, 65535, 100000};
    struct image_header absurd = {IMAGE_TIFF, INT32_MAX, INT32_MAX, 10000};
    (void)state;
    assert_true(image_header_pixels(&bomb) == (uint64_t)65535 * 65535 * 100000);
    assert_true(image_header_pixels(&absurd) == UINT64_MAX);
}

static void test_names_and_media_types(void **state)
{
    (void)state;
    for (int f = IMAGE_JPEG; f < IMAGE_FORMAT_COUNT; f++)
        assert_int_equal(image_format_by_name(image_format_name((enum image_format)f)), f);
    assert_int_equal(image_format_by_name("jpg"), IMAGE_JPEG);
    assert_int_equal(image_format_by_name("tif"), IMAGE_TIFF);
    assert_int_equal(image_format_by_name("unknown"), IMAGE_UNKNOWN);
    assert_string_equal(image_format_media_type(IMAGE_AVIF), "image/avif");
    assert_string_equal(image_format_media_type((enum image_format)99), "application/octet-stream");
    assert_true(image_format_has_quality(IMAGE_WEBP));
    assert_false(image_format_has_quality(IMAGE_PNG));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jpeg_size_is_that_of_its_frame),
        cmocka_unit_test(test_jpeg_without_frame_is_corrupt),
        cmocka_unit_test(test_png_size),
        cmocka_unit_test(test_png_of_absurd_size_is_corrupt),
        cmocka_unit_test(test_webp_lossy_lossless_and_extended),
        cmocka_unit_test(test_gif_frames_are_counted),
        cmocka_unit_test(test_gif_canvas_holds_its_largest_frame),
        cmocka_unit_test(test_gif_without_frame_is_corrupt),
        cmocka_unit_test(test_tiff_pages_in_both_byte_orders),
        cmocka_unit_test(test_tiff_that_bites_its_tail_is_corrupt),
        cmocka_unit_test(test_avif_size_is_the_primary_item_s),
        cmocka_unit_test(test_avif_without_primary_counts_its_largest),
        cmocka_unit_test(test_a_front_tells_where_nothing_can_follow),
        cmocka_unit_test(test_other_formats_are_not_taken),
        cmocka_unit_test(test_pixels_do_not_wrap),
        cmocka_unit_test(test_names_and_media_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The search for a quality, with sizes as codecs make them. */
#include "quality.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MOST = 100, FIRST = 80 };

/* As JPEG's: steep at both ends. */
static uint64_t steep_ends(int quality)
{
    return (uint64_t)(3000 + 400 * quality + 250000.0 / (104 - quality) + 6000 * log(quality));
}

/* As AVIF's: grows by a part with each. */
static uint64_t even_growth(int quality)
{
    return (uint64_t)(18000 * exp(quality * 0.03) + (quality > 90 ? (quality - 90) * 120000 : 0));
}

static uint64_t hardly_grows(int quality)
{
    return 1000 + (uint64_t)quality;
}

/* A step, and the same size on both sides of it. */
static uint64_t step(int quality)
{
    return quality < 63 ? 1000 : 90000;
}

static uint64_t (*const curves[])(int) = {steep_ends, even_growth, hardly_grows, step};
enum { CURVES = sizeof(curves) / sizeof(curves[0]) };

/* The quality that was found; *tries is how many encodings it took. */
static int search(uint64_t (*size)(int), int first, int most, uint64_t max_bytes, int *tries)
{
    struct quality q;
    int found = 0;
    *tries = 0;
    quality_begin(&q, first, most, max_bytes);
    for (int next; (next = quality_next(&q)) != 0; ++*tries) {
        assert_in_range(next, 1, most);
        assert_true(*tries < MOST);
        if (quality_take(&q, next, size(next)))
            found = next;
    }
    assert_int_equal(found, q.low);
    return found;
}

static int best(uint64_t (*size)(int), int most, uint64_t max_bytes)
{
    int quality = most;
    while (quality > 0 && size(quality) > max_bytes)
        quality--;
    return quality;
}

static void test_the_best_is_found(void **state)
{
    static const int mosts[] = {1, 2, 3, 30, 80, MOST};
    int tries;
    (void)state;
    for (size_t c = 0; c < CURVES; c++)
        for (size_t m = 0; m < sizeof(mosts) / sizeof(mosts[0]); m++)
            for (int q = 1; q <= MOST; q++)
                for (int more = -1; more <= 1; more++) {
                    uint64_t max_bytes = curves[c](q) + (uint64_t)more;
                    assert_int_equal(search(curves[c], FIRST, mosts[m], max_bytes, &tries),
                                     best(curves[c], mosts[m], max_bytes));
                }
}

/* Halving takes eight or nine, of which the first is the dearest. */
static void test_few_encodings_are_made(void **state)
{
    (void)state;
    for (size_t c = 0; c < 2; c++) {
        int sum = 0, most = 0;
        for (int q = 1; q <= MOST; q++) {
            int tries;
            search(curves[c], FIRST, MOST, curves[c](q) + 1, &tries);
            sum += tries;
            most = tries > most ? tries : most;
        }
        assert_true(2 * sum <= 13 * MOST);
        assert_true(most <= 9);
    }
}

static void test_what_fits_at_once_takes_two(void **state)
{
    int tries;
    (void)state;
    assert_int_equal(search(steep_ends, FIRST, MOST, 10 * steep_ends(MOST), &tries), MOST);
    assert_int_equal(tries, 2);
    assert_int_equal(search(steep_ends, FIRST, 30, 10 * steep_ends(MOST), &tries), 30);
    assert_int_equal(tries, 1);
}

static void test_the_smallest_is_tried_when_nothing_fits(void **state)
{
    struct quality q;
    (void)state;
    quality_begin(&q, FIRST, MOST, 100);
    assert_false(quality_take(&q, quality_next(&q), 90000));
    assert_int_equal(quality_next(&q), 1);
    assert_false(quality_take(&q, 1, 101));
    assert_int_equal(quality_next(&q), 0);
    assert_int_equal(q.high_bytes, 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_best_is_found),
        cmocka_unit_test(test_few_encodings_are_made),
        cmocka_unit_test(test_what_fits_at_once_takes_two),
        cmocka_unit_test(test_the_smallest_is_tried_when_nothing_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The estimate of costs: its start, what it learns, and what it does not let itself be told. */
#include "cavage/cost.h"
#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct cost_subject photo = {.input = IMAGE_JPEG,
                                          .bytes = 256 * 1024,
                                          .input_pixels = 1500 * 1225,
                                          .output = IMAGE_JPEG,
                                          .output_pixels = 320 * 261};

static struct cost *model(void)
{
    struct cost *c = NULL;
    assert_int_equal(cost_new(&c), ERR_OK);
    return c;
}

static void learn(struct cost *c, const struct cost_subject *s, int64_t cpu_us, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        cost_learn(c, s, cpu_us);
}

static void test_begins_with_measured_figures(void **state)
{
    (void)state;
    struct cost *c = model();
    struct cost_subject larger = photo;
    larger.output_pixels = 800 * 653;
    assert_in_range(cost_estimate_us(c, &photo), 8500, 9500);
    assert_in_range(cost_estimate_us(c, &larger), 16000, 18000);
    cost_free(c);
}

static void test_bytes_stand_in_for_pixels(void **state)
{
    (void)state;
    struct cost *c = model();
    struct cost_subject blind = photo;
    blind.input_pixels = 0;
    assert_in_range(cost_estimate_us(c, &blind), 8500, 9500);
    blind.input = IMAGE_UNKNOWN;
    assert_in_range(cost_estimate_us(c, &blind), 4500, 18000);
    cost_free(c);
}

static void test_larger_images_cost_more(void **state)
{
    (void)state;
    struct cost *c = model();
    for (unsigned f = 0; f < IMAGE_FORMAT_COUNT; f++) {
        int64_t last_us = 0;
        for (uint64_t pixels = 1024; pixels < UINT64_C(1) << 32; pixels *= 2) {
            struct cost_subject s = {
                .input = (enum image_format)f, .input_pixels = pixels, .output = IMAGE_WEBP, .output_pixels = 1000};
            int64_t us = cost_estimate_us(c, &s);
            assert_true(us >= last_us);
            last_us = us;
        }
    }
    cost_free(c);
}

static void test_looking_is_cheap_and_apart(void **state)
{
    (void)state;
    struct cost *c = model();
    struct cost_subject look = photo;
    look.output = IMAGE_UNKNOWN;
    look.output_pixels = 0;
    assert_in_range(cost_estimate_us(c, &look), COST_LEAST_US, 1000);
    learn(c, &photo, 90000, 100);
    assert_in_range(cost_estimate_us(c, &look), COST_LEAST_US, 15000);
    learn(c, &look, 200, 100);
    assert_in_range(cost_estimate_us(c, &look), 190, 210);
    assert_in_range(cost_estimate_us(c, &photo), 89000, 90000);
    cost_free(c);
}

static void test_learns_what_conversions_take(void **state)
{
    (void)state;
    struct cost *c = model();
    learn(c, &photo, 3000, 60);
    assert_in_range(cost_estimate_us(c, &photo), 2990, 3050);
    learn(c, &photo, 30000, 100);
    assert_in_range(cost_estimate_us(c, &photo), 29500, 30000);
    cost_free(c);
}

static void test_follows_the_mean(void **state)
{
    (void)state;
    struct cost *c = model();
    for (unsigned i = 0; i < 400; i++)
        cost_learn(c, &photo, i % 2 ? 6000 : 12000);
    assert_in_range(cost_estimate_us(c, &photo), 8500, 9500);
    cost_free(c);
}

/* What was learned of a format holds for its classes that were not met; what was learned of one class does not move another that was. */
static void test_classes_begin_with_what_their_format_learned(void **state)
{
    (void)state;
    struct cost *c = model();
    struct cost_subject other = photo;
    other.input_pixels *= 16;
    int64_t before_us = cost_estimate_us(c, &other);
    struct cost_subject png = {
        .input = IMAGE_PNG, .input_pixels = 1000000, .output = IMAGE_PNG, .output_pixels = 100000};
    int64_t png_us = cost_estimate_us(c, &png);

    learn(c, &photo, 18000, 200);
    assert_in_range(cost_estimate_us(c, &other), before_us * 19 / 10, before_us * 21 / 10);
    assert_int_equal(cost_estimate_us(c, &png), png_us);
    cost_learn(c, &other, before_us * 2);
    assert_in_range(cost_estimate_us(c, &other), before_us * 19 / 10, before_us * 21 / 10);
    learn(c, &other, before_us, 200);
    assert_in_range(cost_estimate_us(c, &other), before_us * 98 / 100, before_us * 102 / 100);
    assert_in_range(cost_estimate_us(c, &photo), 17800, 18200);
    assert_in_range(cost_ratio_permille(c, IMAGE_JPEG), 900, 1100);
    cost_free(c);
}

static void test_one_outlier_moves_little(void **state)
{
    (void)state;
    struct cost *c = model();
    learn(c, &photo, 9000, 50);
    int64_t before_us = cost_estimate_us(c, &photo);
    cost_learn(c, &photo, INT64_MAX);
    assert_in_range(cost_estimate_us(c, &photo), before_us, before_us * 120 / 100);
    learn(c, &photo, 9000, 100);
    before_us = cost_estimate_us(c, &photo);
    cost_learn(c, &photo, 0);
    assert_in_range(cost_estimate_us(c, &photo), before_us * 95 / 100, before_us);
    cost_learn(c, &photo, -5);
    assert_in_range(cost_estimate_us(c, &photo), before_us * 95 / 100, before_us);
    cost_free(c);
}

/* Converters that only sleep use next to no CPU: the estimate must come down to it, and stay positive. */
static void test_estimates_are_bounded(void **state)
{
    (void)state;
    struct cost *c = model();
    learn(c, &photo, 0, 1000);
    assert_int_equal(cost_estimate_us(c, &photo), COST_LEAST_US);
    learn(c, &photo, INT64_MAX, 1000);
    assert_int_equal(cost_estimate_us(c, &photo), COST_MOST_US);
    learn(c, &photo, 9000, 1000);
    assert_in_range(cost_estimate_us(c, &photo), 8900, 9100);
    cost_free(c);
}

static void test_hostile_subjects_are_bounded(void **state)
{
    (void)state;
    struct cost *c = model();
    struct cost_subject s = {.input = (enum image_format)99,
                             .bytes = SIZE_MAX,
                             .input_pixels = UINT64_MAX,
                             .output = (enum image_format) - 1,
                             .output_pixels = UINT64_MAX};
    assert_in_range(cost_estimate_us(c, &s), COST_LEAST_US, COST_MOST_US);
    cost_learn(c, &s, 1000);
    s.input_pixels = 0;
    assert_in_range(cost_estimate_us(c, &s), COST_LEAST_US, COST_MOST_US);
    assert_int_equal(cost_ratio_permille(c, (enum image_format)99), cost_ratio_permille(c, IMAGE_UNKNOWN));
    cost_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_with_measured_figures),
        cmocka_unit_test(test_bytes_stand_in_for_pixels),
        cmocka_unit_test(test_larger_images_cost_more),
        cmocka_unit_test(test_looking_is_cheap_and_apart),
        cmocka_unit_test(test_learns_what_conversions_take),
        cmocka_unit_test(test_follows_the_mean),
        cmocka_unit_test(test_classes_begin_with_what_their_format_learned),
        cmocka_unit_test(test_one_outlier_moves_little),
        cmocka_unit_test(test_estimates_are_bounded),
        cmocka_unit_test(test_hostile_subjects_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

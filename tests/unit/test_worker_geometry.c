/* SPDX-License-Identifier: MIT */
/* Tests of the fits. */
#include "geometry.h"

#include "cavage/err.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct geometry plan(const char *query, uint32_t w, uint32_t h, struct params *p)
{
    struct params_problem problem;
    struct geometry g;
    assert_int_equal(params_parse(query, strlen(query), p, &problem), 0);
    assert_int_equal(geometry_plan(p, w, h, false, &g), 0);
    return g;
}

static void check(const char *query, uint32_t w, uint32_t h, uint32_t width, uint32_t height, uint32_t canvas_width,
                  uint32_t canvas_height)
{
    struct params p;
    struct geometry g = plan(query, w, h, &p);
    if (g.width != width || g.height != height || g.canvas_width != canvas_width || g.canvas_height != canvas_height)
        fail_msg("%s of %ux%u: %ux%u on %ux%u", query, w, h, g.width, g.height, g.canvas_width, g.canvas_height);
}

static void check_same(const char *query, uint32_t w, uint32_t h, uint32_t width, uint32_t height)
{
    check(query, w, h, width, height, width, height);
}

static void test_inside_keeps_aspect_and_never_enlarges(void **state)
{
    (void)state;
    check_same("w=320", 1500, 1225, 320, 261);
    check_same("h=100", 640, 480, 133, 100);
    check_same("w=100&h=10", 640, 480, 13, 10);
    check_same("w=2000", 640, 480, 640, 480);
    check_same("w=2000&h=100", 640, 480, 133, 100);
    check_same("w=1280&enlarge=1", 640, 480, 1280, 960);
    check_same("", 640, 480, 640, 480);
}

static void test_sides_are_at_least_one_pixel(void **state)
{
    (void)state;
    check_same("w=10", 10000, 2, 10, 1);
    check_same("h=10", 2, 10000, 1, 10);
}

static void test_cover_fills_and_cuts(void **state)
{
    (void)state;
    check("w=200&h=200&fit=cover", 1500, 1225, 245, 200, 200, 200);
    check("w=200&h=50&fit=cover", 100, 100, 200, 200, 200, 50);
    check_same("w=200&fit=cover", 100, 50, 200, 100);
}

static void test_contain_fits_and_pads(void **state)
{
    (void)state;
    check("w=200&h=200&fit=contain", 400, 100, 200, 50, 200, 200);
    check("w=200&h=200&fit=contain", 10, 20, 100, 200, 200, 200);
    check_same("h=20&fit=contain", 100, 10, 200, 20);
}

static void test_fill_ignores_aspect(void **state)
{
    (void)state;
    check_same("w=200&h=7&fit=fill", 400, 100, 200, 7);
    check_same("w=200&fit=fill", 400, 100, 200, 100);
}

static void test_outside_reaches_both_sides(void **state)
{
    (void)state;
    check_same("w=320&h=200&fit=outside", 900, 600, 320, 213);
    check_same("w=32&h=400&fit=outside", 100, 100, 400, 400);
}

static void test_nothing_is_enlarged_when_told_so(void **state)
{
    (void)state;
    check("w=200&h=50&fit=cover&enlarge=0", 100, 100, 100, 100, 100, 50);
    check("w=200&h=200&fit=contain&enlarge=0", 10, 20, 10, 20, 200, 200);
    check_same("w=200&h=7&fit=fill&enlarge=0", 100, 100, 100, 7);
}

static void check_place(const char *query, uint32_t w, uint32_t h, uint32_t x, uint32_t y)
{
    struct params p;
    struct geometry g = plan(query, w, h, &p);
    uint32_t left, top;
    geometry_place(&p, &g, &left, &top);
    if (left != x || top != y)
        fail_msg("%s of %ux%u: at %u,%u", query, w, h, left, top);
}

static void test_positions_are_within_the_room(void **state)
{
    (void)state;
    /* 101 x 50 to 50 x 50: 51 columns to choose from; the middle is rounded up. */
    check_place("w=50&h=50&fit=cover", 101, 50, 26, 0);
    check_place("w=50&h=50&fit=cover&position=west", 101, 50, 0, 0);
    check_place("w=50&h=50&fit=cover&position=southeast", 101, 50, 51, 0);
    check_place("w=50&h=50&fit=cover&position=north", 50, 101, 0, 0);
    check_place("w=50&h=50&fit=cover&position=southwest", 50, 101, 0, 51);
    /* Padding: the middle is rounded down. */
    check_place("w=51&h=50&fit=contain", 50, 100, 13, 0);
    check_place("w=51&h=50&fit=contain&position=east", 50, 100, 26, 0);
    check_place("w=50&h=50&fit=contain&position=south", 100, 50, 0, 25);
}

static void test_focus_is_as_near_to_the_middle_as_can_be(void **state)
{
    (void)state;
    check_place("w=50&h=50&fit=cover&position=0,0", 200, 50, 0, 0);
    check_place("w=50&h=50&fit=cover&position=1,1", 200, 50, 150, 0);
    check_place("w=50&h=50&fit=cover&position=0.5,0.5", 200, 50, 75, 0);
    check_place("w=50&h=50&fit=cover&position=0.25,0.5", 200, 50, 25, 0);
    check_place("w=50&h=50&fit=cover&position=0.1,0.5", 200, 50, 0, 0);
}

static void test_dpr_gives_more_pixels(void **state)
{
    (void)state;
    check_same("w=100&dpr=2", 640, 480, 200, 150);
    check("w=100&h=100&fit=cover&dpr=1.5", 600, 300, 300, 150, 150, 150);
}

/* What sharp made of each case: tests/data/record_sharp_dimensions.mjs and record_sharp_rotations.mjs. */
struct recorded {
    const char *format, *fit;
    unsigned width, height, orientation, to_width, to_height, enlarge, result_width, result_height;
    unsigned rotate; /* hundredths of a degree */
};

static void check_recorded(const struct recorded *r)
{
    bool sideways = r->orientation >= 5;
    struct geometry g;
    uint32_t width = sideways ? r->height : r->width;
    uint32_t height = sideways ? r->width : r->height;
    struct params p = {.width = r->to_width, .height = r->to_height, .enlarge = r->enlarge == 1, .rotate = r->rotate};
    while (strcmp(params_fit_name(p.fit), r->fit) != 0)
        p.fit++;
    geometry_turn(&p, width, height, &width, &height);
    assert_int_equal(geometry_plan(&p, width, height, strcmp(r->format, "jpeg") == 0 && r->rotate == 0, &g), 0);
    if (g.canvas_width != r->result_width || g.canvas_height != r->result_height)
        fail_msg("%s %ux%u (orientation %u) turned by %u/100 %s to %ux%u enlarge=%u: %ux%u, not %ux%u", r->format,
                 r->width, r->height, r->orientation, r->rotate, r->fit, r->to_width, r->to_height, r->enlarge,
                 g.canvas_width, g.canvas_height, r->result_width, r->result_height);
}

/* A line of the table; its fields are in the struct's order, but fit, which is the fifth. */
static struct recorded record_read(char *line)
{
    char *rest;
    struct recorded r = {.format = strtok_r(line, ",", &rest)};
    unsigned *const numbers[] = {&r.width,   &r.height,       &r.orientation,  NULL, &r.to_width, &r.to_height,
                                 &r.enlarge, &r.result_width, &r.result_height};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const char *field = strtok_r(NULL, ",", &rest);
        assert_non_null(field);
        if (numbers[i])
            *numbers[i] = (unsigned)strtoul(field, NULL, 10);
        else
            r.fit = field;
    }
    const char *angle = strtok_r(NULL, ",", &rest);
    if (angle)
        r.rotate = (unsigned)(lround(strtod(angle, NULL) * 100) + 36000) % 36000;
    return r;
}

static void check_table(const char *path)
{
    FILE *f = fopen(path, "re");
    char line[128];
    int cases = 0;
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    while (fgets(line, sizeof(line), f)) {
        struct recorded r = record_read(line);
        check_recorded(&r);
        cases++;
    }
    fclose(f);
    assert_true(cases >= 500);
}

static void test_dimensions_are_those_of_sharp(void **state)
{
    (void)state;
    check_table("tests/data/sharp_dimensions.csv");
}

static void test_turned_dimensions_are_those_of_sharp(void **state)
{
    (void)state;
    check_table("tests/data/sharp_rotations.csv");
}

static void test_absurd_aspect_is_refused(void **state)
{
    struct params p = {.width = 16383, .fit = FIT_OUTSIDE, .enlarge = true};
    struct geometry g;
    (void)state;
    assert_int_equal(geometry_plan(&p, 1, 1000000, false, &g), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inside_keeps_aspect_and_never_enlarges),
        cmocka_unit_test(test_sides_are_at_least_one_pixel),
        cmocka_unit_test(test_cover_fills_and_cuts),
        cmocka_unit_test(test_contain_fits_and_pads),
        cmocka_unit_test(test_fill_ignores_aspect),
        cmocka_unit_test(test_outside_reaches_both_sides),
        cmocka_unit_test(test_nothing_is_enlarged_when_told_so),
        cmocka_unit_test(test_dimensions_are_those_of_sharp),
        cmocka_unit_test(test_turned_dimensions_are_those_of_sharp),
        cmocka_unit_test(test_positions_are_within_the_room),
        cmocka_unit_test(test_focus_is_as_near_to_the_middle_as_can_be),
        cmocka_unit_test(test_dpr_gives_more_pixels),
        cmocka_unit_test(test_absurd_aspect_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

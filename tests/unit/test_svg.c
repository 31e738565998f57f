/* SPDX-License-Identifier: MIT */
/* Tests of what is read of an SVG: what one is, its size, and what is not let through. */
#include "cavage/svg.h"

#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Plain malloc of the exact size, so that the sanitizer sees reads past the end. */
static uint8_t *exact(const char *text, size_t len)
{
    uint8_t *data = malloc(len > 0 ? len : 1);
    assert_non_null(data);
    memcpy(data, text, len);
    return data;
}

static bool sniff(const char *text)
{
    uint8_t *data = exact(text, strlen(text));
    bool is = svg_sniff(data, strlen(text));
    free(data);
    return is;
}

static void test_the_root_decides(void **state)
{
    static const char *const svgs[] = {
        "<svg>",
        "<svg xmlns='http://www.w3.org/2000/svg'/>",
        " \r\n\t<svg/>",
        "\xef\xbb\xbf<svg/>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone='no' ?>\n<!-- by hand -->\n<svg/>",
        "<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd\"><svg/>",
        "<s:svg xmlns:s='http://www.w3.org/2000/svg'/>",
        "<?xml-stylesheet href='x.css'?><svg/>",
        /* These are told to be SVG, and refused. */
        "<!DOCTYPE svg [<!ENTITY a 'b'>]><svg/>",
        "<?xml version='1.0' encoding='UTF-16'?><svg/>",
    };
    static const char *const others[] = {
        "",
        "<",
        "<sv",
        "<svgx/>",
        "<html><svg/></html>",
        "<!DOCTYPE html><html/>",
        "<!DOCTYPE html [<!ENTITY a 'b'>]><html/>",
        "svg",
        "x<svg/>",
        "<!-- <svg/>",
        "<?xml version='1.0'",
        "<?xml <svg/>",
        "\xff\xfe<\0s\0v\0g\0",
        "<! svg><svg/>",
        "<SVG/>",
        "<svg:x/>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(svgs) / sizeof(svgs[0]); i++)
        if (!sniff(svgs[i]))
            fail_msg("no SVG: %s", svgs[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (sniff(others[i]))
            fail_msg("an SVG: %s", others[i]);
}

static void test_the_root_is_near_the_beginning(void **state)
{
    char text[2 * SVG_PROLOG_MAX];
    (void)state;
    for (int over = 0; over < 2; over++) {
        int pad = SVG_PROLOG_MAX - (int)strlen("<svg/>") + over * 3;
        snprintf(text, sizeof(text), "%*s<svg/>", pad, "");
        assert_int_equal(sniff(text), over == 0);
    }
}

static int size_of(const char *text, struct image_header *h)
{
    uint8_t *data = exact(text, strlen(text));
    *h = (struct image_header){IMAGE_SVG, 0, 0, 1};
    int err = svg_read(data, strlen(text), h);
    free(data);
    return err;
}

static void check_size(const char *attributes, uint32_t width, uint32_t height)
{
    char text[512];
    struct image_header h;
    snprintf(text, sizeof(text), "<svg id='a>b' %s><g/></svg>", attributes);
    int err = size_of(text, &h);
    if ((width == 0) != (err == ERR_CORRUPT) || h.width != width || h.height != height)
        fail_msg("%s: %d, %ux%u", attributes, err, h.width, h.height);
}

/* What vipsheader tells of the same documents, with librsvg 2.54 and 2.61. */
static void test_sizes_are_those_of_librsvg(void **state)
{
    (void)state;
    check_size("width='10.4' height=\"10.5\"", 10, 11);
    check_size("width='10.6px' height='2.5px'", 11, 3);
    check_size("width='1in' height='2.54cm'", 72, 72);
    check_size("width='10mm' height='10pt'", 28, 10);
    check_size("width='10pc' height='3em'", 120, 36);
    check_size("width='3ex' height='10'", 18, 10);
    check_size("width='1e2' height=' 10 '", 100, 10);
    check_size("width='+10' height='.5e1'", 10, 5);
    check_size("width='100e-1' height='10IN'", 10, 720);
    check_size("width='50%' height='50%' viewBox='0 0 40 20'", 40, 20);
    check_size("width='100%' height='20' viewBox='0 0 40 20'", 40, 20);
    check_size("width='80' viewBox='0 0 40 20'", 80, 40);
    check_size("height='80' viewBox='5 5 40 20'", 160, 80);
    check_size("viewBox='0 0 40.4 20.6'", 40, 21);
    check_size("viewBox='0,0,40,20'", 40, 20);
    check_size("viewBox='-1.5,-2 , 40\n20'", 40, 20);
    check_size("width='10vw' height='10' viewBox='0 0 40 20'", 20, 10);
    check_size("width='auto' height='auto' viewBox='0 0 40 20'", 40, 20);
    check_size("width='-5' height='10' viewBox='0 0 40 20'", 20, 10);
    check_size("width='1e400' height='99999999999'", SVG_SIDE_MAX, SVG_SIDE_MAX);
}

static void test_what_has_no_size_is_refused(void **state)
{
    static const char *const attributes[] = {
        "",
        "width='30'",
        "width='50%' height='50%'",
        "width='abc' height='10'",
        "width='10.' height='10'",
        "width='10 px' height='10'",
        "width='nan' height='inf'",
        "width='0x10' height='10'",
        "viewBox='0 0 0 5'",
        "viewBox='0 0 -4 5'",
        "viewBox='0 0 4'",
        "viewBox='a b c d'",
        "data-width='9' height='9'",
        "x:width='9' height='9'",
        "width='9' height='9",
        "width=9 height=9",
        "width='9'height='9'",
        "width='9' height='9' <",
        "width='9' height='<'",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        check_size(attributes[i], 0, 0);
}

static void test_a_hostile_prolog_is_refused(void **state)
{
    static const char *const prologs[] = {
        "<!DOCTYPE svg [<!ENTITY a 'b'>]>",
        "<!DOCTYPE svg SYSTEM 'x' [ <!ENTITY a SYSTEM 'file:///etc/passwd'> ]>",
        "<!DOCTYPE svg><!DOCTYPE svg>",
        "<?xml version='1.0' encoding='UTF-16'?>",
        "<?xml version='1.0' encoding='UTF-7'?>",
        "<?xml version='1.0' encoding='IBM037' ?>",
        "<?xml version='1.0'encoding='UTF-8'?>",
        "<?xml version=1.0?>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(prologs) / sizeof(prologs[0]); i++) {
        char text[256];
        struct image_header h;
        snprintf(text, sizeof(text), "%s<svg width='9' height='9'/>", prologs[i]);
        if (size_of(text, &h) != ERR_CORRUPT)
            fail_msg("taken: %s", text);
    }
}

static int prepare(const char *text, size_t len, char *copy, uint64_t *pixels)
{
    uint8_t *data = exact(text, len);
    uint8_t *made = exact(text, len);
    int err = svg_prepare(data, len, made, pixels);
    if (copy) {
        memcpy(copy, made, len);
        copy[len] = '\0';
    }
    free(data);
    free(made);
    return err;
}

static void check_inside(const char *inside, int wanted)
{
    char text[1024];
    uint64_t pixels;
    snprintf(text, sizeof(text), "<svg width='9' height='9'>%s</svg>\n", inside);
    int err = prepare(text, strlen(text), NULL, &pixels);
    if (err != wanted)
        fail_msg("%s: %d", inside, err);
}

static void test_what_is_well_formed_passes(void **state)
{
    static const char *const good[] = {
        "",
        "<g><rect x='1'/><path d=\"M0 0\" /></g >",
        "<!-- < <b --><![CDATA[ <b ]] ]]>",
        "<?php echo '<' ?>",
        "<style>a > b { fill: url(#x) }</style>",
        "<use xlink:href='#x'/><use href=' #x'/><a href='http://x/?a=1&amp;b=2'/>",
        "<image href='file:///etc/passwd'/><image href='http://x/y.png'/><image href='dat'/><image href=''/>",
        "<t>a &lt; b > c</t>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        check_inside(good[i], 0);
}

static void test_what_is_malformed_is_refused(void **state)
{
    static const char *const bad[] = {
        "<g>",   "</g>",     "<",           "< g/>",           "<g",
        "<g a>", "<g a=b/>", "<g a='<'/>",  "<g a='1'b='2'/>", "<g / >",
        "</g",   "<!-- x",   "<![CDATA[ x", "<!ENTITY a 'b'>", "<!DOCTYPE svg>",
        "<?x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_inside(bad[i], ERR_CORRUPT);
    uint64_t pixels;
    assert_int_equal(prepare("<svg>\0</svg>", 12, NULL, &pixels), ERR_CORRUPT);
}

/* A PNG of 8 x 5 pixels, as much of it as a header is, and a GIF of one. */
#define PNG_HEAD "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAFCAAAAACyOJm3"
#define GIF "R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="

static void test_embedded_pictures_are_counted(void **state)
{
    char text[1024];
    uint64_t pixels = 0;
    (void)state;
    snprintf(text, sizeof(text),
             "<svg><image href='data:image/png;base64,%s'/><x:image y:href=\" DATA:image/PNG;base64,%s\"/></svg>",
             PNG_HEAD, PNG_HEAD);
    assert_int_equal(prepare(text, strlen(text), NULL, &pixels), 0);
    assert_int_equal(pixels, 80);
    check_inside("<image href='data:image/png;base64,iVBORw0K GgoAAAANSUhE\nUgAAAAgAAAAFCAAAAACyOJm3'/>", 0);
}

static void test_anything_else_embedded_is_refused(void **state)
{
    static const char *const bad[] = {
        "<image href='data:image/gif;base64," GIF "'/>",
        "<image href='data:image/png;base64," GIF "'/>",
        "<image href='data:image/png;base64,'/>",
        "<image href='data:image/png;base64,iVBORw0KGgo='/>",
        "<image href='data:image/png," PNG_HEAD "'/>",
        "<image href='data:;base64," PNG_HEAD "'/>",
        "<image href='data:image/svg+xml,%3Csvg/%3E'/>",
        "<image href='&#100;ata:image/png;base64," PNG_HEAD "'/>",
        "<image href='d&#x61;ta:image/png;base64," PNG_HEAD "'/>",
        "<image href='&#32;data:image/png;base64," PNG_HEAD "'/>",
        "<image href='data:image/png;base64," PNG_HEAD "&#65;'/>",
        "<image href='data:image/png;base64,%69VBORw0KGgo'/>",
        "<xi:include href='data:text/xml,x'/>",
        "<feImage xlink:href='data:text/plain,x'/>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_inside(bad[i], ERR_DENIED);
}

static void test_depth_is_bounded(void **state)
{
    static char text[11 * (SVG_DEPTH_MAX + 1)];
    uint64_t pixels;
    (void)state;
    for (int over = 0; over < 2; over++) {
        size_t n = 0;
        for (int i = 0; i < SVG_DEPTH_MAX + over; i++, n += 5)
            memcpy(text + n, i ? "<g   " : "<svg ", 5), text[n + 4] = '>';
        for (int i = SVG_DEPTH_MAX + over; i-- > 0; n += 6)
            memcpy(text + n, i ? "</g  >" : "</svg>", 6);
        assert_int_equal(prepare(text, n, NULL, &pixels), over ? ERR_CORRUPT : 0);
    }
}

static void test_text_is_hidden(void **state)
{
    char copy[256];
    uint64_t pixels;
    static const char text[] = "<svg><text x='text'>a <tspan>text</tspan></text ><s:text/><textx/><!--<text>--></svg>";
    static const char made[] = "<svg><desc x='text'>a <tspan>text</tspan></desc ><s:desc/><textx/><!--<text>--></svg>";
    (void)state;
    assert_int_equal(prepare(text, sizeof(text) - 1, copy, &pixels), 0);
    assert_string_equal(copy, made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_root_decides),
        cmocka_unit_test(test_the_root_is_near_the_beginning),
        cmocka_unit_test(test_sizes_are_those_of_librsvg),
        cmocka_unit_test(test_what_has_no_size_is_refused),
        cmocka_unit_test(test_a_hostile_prolog_is_refused),
        cmocka_unit_test(test_what_is_well_formed_passes),
        cmocka_unit_test(test_what_is_malformed_is_refused),
        cmocka_unit_test(test_embedded_pictures_are_counted),
        cmocka_unit_test(test_anything_else_embedded_is_refused),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_text_is_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

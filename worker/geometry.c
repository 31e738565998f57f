/* SPDX-License-Identifier: MIT */
/* The five fits, in the arithmetic of sharp: results have its dimensions to the pixel. */
#include "geometry.h"

#include "cavage/err.h"

#include <math.h>

/* How many pixels of the image go into one of the result, across and down. */
struct shrink {
    double across, down;
};

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

static struct shrink shrink_to(const struct params *p, double width, double height)
{
    uint32_t to_width, to_height;
    params_box(p, &to_width, &to_height);
    struct shrink s = {to_width > 0 ? width / to_width : 1, to_height > 0 ? height / to_height : 1};
    if (p->fit == FIT_FILL) {
        /* Each side by itself. */
    } else if (to_width == 0 || to_height == 0) {
        s.across = s.down = to_width > 0 ? s.across : s.down;
    } else {
        bool whole = p->fit == FIT_INSIDE || p->fit == FIT_CONTAIN;
        s.across = s.down = whole ? most(s.across, s.down) : least(s.across, s.down);
    }
    if (!p->enlarge) {
        s.across = most(s.across, 1);
        s.down = most(s.down, 1);
    }
    /* No side falls under a pixel. */
    s.across = least(s.across, width);
    s.down = least(s.down, height);
    return s;
}

/* The shrink that sharp leaves to the JPEG decoder. The decoder drops what remains of a division, and the aspect with it: that decides the last
 * pixel of a result. How far our own decoding shrinks is another matter. */
static uint32_t jpeg_shrink(const struct shrink *s)
{
    double shrink = least(s->across, s->down);
    uint32_t whole = shrink >= 8 ? 8 : shrink >= 4 ? 4 : shrink >= 2 ? 2 : 1;
    return whole > 1 && (uint32_t)shrink == whole ? whole / 2 : whole;
}

bool geometry_is_sideways(const struct params *params)
{
    return params->rotate == PARAMS_QUARTER || params->rotate == 3 * PARAMS_QUARTER;
}

bool geometry_is_askew(const struct params *params)
{
    return params->rotate % PARAMS_QUARTER != 0;
}

static uint32_t rounded(double side)
{
    return side + 0.5 >= UINT32_MAX ? UINT32_MAX : (uint32_t)(side + 0.5);
}

void geometry_turn(const struct params *params, uint32_t width, uint32_t height, uint32_t *turned_width,
                   uint32_t *turned_height)
{
    double angle = params->rotate * M_PI / (2 * PARAMS_QUARTER);
    double along = fabs(cos(angle));
    double aside = fabs(sin(angle));
    *turned_width = rounded(width * along + height * aside);
    *turned_height = rounded(width * aside + height * along);
}

static int scaled(double side, double shrink, uint32_t *out)
{
    double n = side * (1.0 / shrink) + 0.5;
    if (n >= INT32_MAX)
        return ERR_RANGE;
    *out = n < 1 ? 1 : (uint32_t)n;
    return 0;
}

/* The canvas is the box, but no smaller than what is padded and no larger than what is cut. */
static uint32_t canvas(bool cut, bool pad, uint32_t side, uint32_t box)
{
    return (cut && box < side) || (pad && box > side) ? box : side;
}

int geometry_plan(const struct params *params, uint32_t width, uint32_t height, bool jpeg, struct geometry *out)
{
    struct shrink s = shrink_to(params, width, height);
    if (jpeg) {
        uint32_t by = jpeg_shrink(&s);
        width /= by;
        height /= by;
        s = shrink_to(params, width, height);
    }
    int err = scaled(width, s.across, &out->width);
    if (!err)
        err = scaled(height, s.down, &out->height);
    if (err)
        return err;
    uint32_t box_width, box_height;
    params_box(params, &box_width, &box_height);
    box_width = box_width > 0 ? box_width : out->width;
    box_height = box_height > 0 ? box_height : out->height;
    bool cut = params->fit == FIT_COVER;
    bool pad = params->fit == FIT_CONTAIN;
    out->canvas_width = canvas(cut, pad, out->width, box_width);
    out->canvas_height = canvas(cut, pad, out->height, box_height);
    return 0;
}

/* Where each compass point lies: before the middle, in it, behind it. */
static const struct {
    int8_t x, y;
} compass[] = {
    [POSITION_CENTRE] = {0, 0},     [POSITION_NORTH] = {0, -1},    [POSITION_NORTHEAST] = {1, -1},
    [POSITION_EAST] = {1, 0},       [POSITION_SOUTHEAST] = {1, 1}, [POSITION_SOUTH] = {0, 1},
    [POSITION_SOUTHWEST] = {-1, 1}, [POSITION_WEST] = {-1, 0},     [POSITION_NORTHWEST] = {-1, -1},
};

static uint32_t part(uint32_t room, int8_t to, bool up)
{
    return to < 0 ? 0 : to > 0 ? room : (room + (up ? 1 : 0)) / 2;
}

/* The window's begin, so that its middle is as near to the point as it can be. */
static uint32_t around(uint32_t focus, uint32_t side, uint32_t window)
{
    int64_t begin = ((int64_t)focus * side * 2 / PARAMS_FOCUS_ONE - window) / 2;
    return begin < 0 ? 0 : begin > side - window ? side - window : (uint32_t)begin;
}

void geometry_place(const struct params *params, const struct geometry *g, uint32_t *x, uint32_t *y)
{
    bool cut = g->canvas_width <= g->width && g->canvas_height <= g->height;
    uint32_t across = cut ? g->width - g->canvas_width : g->canvas_width - g->width;
    uint32_t down = cut ? g->height - g->canvas_height : g->canvas_height - g->height;
    if (params->position == POSITION_FOCUS) {
        *x = around(params->focus_x, g->width, g->canvas_width);
        *y = around(params->focus_y, g->height, g->canvas_height);
        return;
    }
    enum params_position at = params->position <= POSITION_NORTHWEST ? params->position : POSITION_CENTRE;
    *x = part(across, compass[at].x, cut);
    *y = part(down, compass[at].y, cut);
}

/* SPDX-License-Identifier: MIT */
/* The five fits, in whole numbers. */
#include "geometry.h"

#include "cavage/err.h"

/* side x to / from, rounded to the nearest, at least 1. */
static uint64_t scaled(uint32_t side, uint32_t to, uint32_t from)
{
    uint64_t n = (2 * (uint64_t)side * to + from) / (2 * (uint64_t)from);
    return n > 0 ? n : 1;
}

static int keep_aspect(bool by_width, const struct params *p, uint32_t width, uint32_t height, struct geometry *out)
{
    uint64_t other = by_width ? scaled(height, p->width, width) : scaled(width, p->height, height);
    if (other > INT32_MAX)
        return ERR_RANGE;
    out->width = by_width ? p->width : (uint32_t)other;
    out->height = by_width ? (uint32_t)other : p->height;
    return 0;
}

/* Whether the width binds: it asks for the smaller scale (inside, contain) or the larger one (cover, outside). */
static bool width_binds(const struct params *p, uint32_t width, uint32_t height)
{
    if (p->width == 0 || p->height == 0)
        return p->width > 0;
    uint64_t by_width = (uint64_t)p->width * height;
    uint64_t by_height = (uint64_t)p->height * width;
    return p->fit == FIT_INSIDE || p->fit == FIT_CONTAIN ? by_width <= by_height : by_width >= by_height;
}

int geometry_plan(const struct params *params, uint32_t width, uint32_t height, struct geometry *out)
{
    bool both = params->width > 0 && params->height > 0;
    int err = 0;
    if (params->width == 0 && params->height == 0) {
        out->width = width;
        out->height = height;
    } else if (params->fit == FIT_FILL) {
        out->width = params->width > 0 ? params->width : width;
        out->height = params->height > 0 ? params->height : height;
    } else {
        bool by_width = width_binds(params, width, height);
        bool larger = by_width ? params->width > width : params->height > height;
        if (params->fit == FIT_INSIDE && larger && !params->enlarge) {
            out->width = width;
            out->height = height;
        } else {
            err = keep_aspect(by_width, params, width, height, out);
        }
    }
    if (err)
        return err;
    bool own_canvas = both && (params->fit == FIT_COVER || params->fit == FIT_CONTAIN);
    out->canvas_width = own_canvas ? params->width : out->width;
    out->canvas_height = own_canvas ? params->height : out->height;
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Steps that scale and bring to sRGB. */
#include "steps.h"

/* With the profile that is embedded, or one that stands in for it. NULL: without. */
static VipsImage *thumbnail(VipsImage *image, int width, int height, const char *profile)
{
    VipsImage *next = NULL;
    int failed =
        profile ? vips_thumbnail_image(image, &next, width, "height", height, "size", VIPS_SIZE_FORCE, "import_profile",
                                       profile, "export_profile", "srgb", "intent", VIPS_INTENT_PERCEPTUAL, NULL)
                : vips_thumbnail_image(image, &next, width, "height", height, "size", VIPS_SIZE_FORCE, "intent",
                                       VIPS_INTENT_PERCEPTUAL, NULL);
    return failed ? NULL : next;
}

static bool is_cmyk(VipsImage *image)
{
    return vips_image_get_interpretation(image) == VIPS_INTERPRETATION_CMYK;
}

static const char *stand_in(VipsImage *image)
{
    return is_cmyk(image) ? "cmyk" : "srgb";
}

static int to_space(struct steps *s, VipsInterpretation space)
{
    VipsImage *next = NULL;
    int failed = vips_colourspace(s->at, &next, space, NULL);
    return steps_take(s, failed, next);
}

/* To sRGB by the profile, where there is one; grey without a profile stays grey. */
static int to_srgb(struct steps *s)
{
    VipsImage *next = NULL;
    bool cmyk = is_cmyk(s->at);
    if ((!cmyk && !vips_image_get_typeof(s->at, VIPS_META_ICC_NAME)) ||
        vips_icc_transform(s->at, &next, "srgb", "embedded", TRUE, "input_profile", stand_in(s->at), "intent",
                           VIPS_INTENT_PERCEPTUAL, NULL))
        return cmyk ? to_space(s, VIPS_INTERPRETATION_sRGB) : steps_eight_bits(s);
    int err = steps_take(s, 0, next);
    /* It has done its work, and shall not be applied again. */
    if (!err)
        vips_image_remove(s->at, VIPS_META_ICC_NAME);
    return err;
}

int steps_plain(struct steps *s)
{
    int err = to_srgb(s);
    return err ? err : steps_eight_bits(s);
}

static int resize_by(VipsImage *in, VipsImage **out, int width, int height, VipsKernel kernel)
{
    double across = (double)width / vips_image_get_width(in);
    double down = (double)height / vips_image_get_height(in);
    return vips_resize(in, out, across, "vscale", down, "kernel", kernel, NULL);
}

static int resize_with_alpha(VipsImage *in, VipsImage **out, int width, int height, VipsKernel kernel)
{
    VipsImage *step[3] = {NULL, NULL, NULL};
    int failed = vips_premultiply(in, &step[0], NULL) || resize_by(step[0], &step[1], width, height, kernel) ||
                 vips_unpremultiply(step[1], &step[2], NULL) || vips_cast_uchar(step[2], out, NULL);
    for (int i = 0; i < 3; i++)
        if (step[i])
            g_object_unref(step[i]);
    return failed;
}

/* As vips_thumbnail_image does, but with a kernel of choice. */
static int scale_by_kernel(struct steps *s, int width, int height, enum params_kernel kernel)
{
    static const VipsKernel kernels[] = {
        [KERNEL_LANCZOS3] = VIPS_KERNEL_LANCZOS3, [KERNEL_LANCZOS2] = VIPS_KERNEL_LANCZOS2,
        [KERNEL_MITCHELL] = VIPS_KERNEL_MITCHELL, [KERNEL_CUBIC] = VIPS_KERNEL_CUBIC,
        [KERNEL_LINEAR] = VIPS_KERNEL_LINEAR,     [KERNEL_NEAREST] = VIPS_KERNEL_NEAREST,
    };
    int frames = (int)steps_frames(s);
    VipsImage *next = NULL;
    int err = to_srgb(s);
    if (!err)
        err = steps_to_memory(s);
    if (!err)
        err = steps_upright(s);
    if (err)
        return err;
    VipsKernel k = kernels[kernel];
    int failed = vips_image_hasalpha(s->at) ? resize_with_alpha(s->at, &next, width, height * frames, k)
                                            : resize_by(s->at, &next, width, height * frames, k);
    err = steps_take(s, failed, next);
    if (!err && frames > 1)
        vips_image_set_int(s->at, VIPS_META_PAGE_HEIGHT, height);
    return err;
}

int steps_scale(struct steps *s, uint32_t width, uint32_t height, enum params_kernel kernel)
{
    VipsImage *next = NULL;
    if (kernel != KERNEL_LANCZOS3)
        return scale_by_kernel(s, (int)width, (int)height, kernel);
    /* libvips 8.14's thumbnail is off by some delta E with inks. */
    int err = is_cmyk(s->at) ? to_srgb(s) : 0;
    if (err)
        return err;
    if (vips_image_get_typeof(s->at, VIPS_META_ICC_NAME))
        next = thumbnail(s->at, (int)width, (int)height, stand_in(s->at));
    /* A profile that fits neither the image nor its stand-in is passed over, as viewers do. */
    if (!next)
        next = thumbnail(s->at, (int)width, (int)height, NULL);
    return steps_take(s, next == NULL, next);
}

int steps_eight_bits(struct steps *s)
{
    VipsInterpretation space = vips_image_get_interpretation(s->at);
    VipsInterpretation wanted = vips_image_get_bands(s->at) < 3 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
    int err = space == wanted ? 0 : to_space(s, wanted);
    if (err || vips_image_get_format(s->at) == VIPS_FORMAT_UCHAR)
        return err;
    VipsImage *next = NULL;
    int failed = vips_cast_uchar(s->at, &next, NULL);
    return steps_take(s, failed, next);
}

int steps_grayscale(struct steps *s)
{
    return to_space(s, VIPS_INTERPRETATION_B_W);
}

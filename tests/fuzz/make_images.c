/* SPDX-License-Identifier: MIT */
/* Writes small images of every format and variant: where mutations of the conversion begin.  make_images FOLDER */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vips/vips.h>

enum { WIDTH = 32, HEIGHT = 24, REQUESTS = 10 };

enum look {
    LOOK_RGB,
    LOOK_RGBA,
    LOOK_GREY,
    LOOK_GREY_ALPHA,
    LOOK_CMYK,
    LOOK_RGB16,
    LOOK_GREY16,
    LOOK_LAB,
    LOOK_FLOAT,
    LOOK_PAGES,
    LOOK_TURNED,
    LOOK_COUNT
};

/* Suffix with options, as vips_image_write_to_buffer takes it. What this libvips cannot write is left out. */
static const struct variant {
    const char *name;
    enum look look;
    const char *how;
} variants[] = {
    {"jpeg", LOOK_RGB, ".jpg"},
    {"jpeg-progressive", LOOK_RGB, ".jpg[interlace]"},
    {"jpeg-444", LOOK_RGB, ".jpg[subsample_mode=off,Q=97]"},
    {"jpeg-grey", LOOK_GREY, ".jpg"},
    {"jpeg-cmyk", LOOK_CMYK, ".jpg"},
    {"jpeg-restart", LOOK_RGB, ".jpg[restart_interval=2]"},
    {"jpeg-icc", LOOK_RGB, ".jpg[profile=srgb]"},
    {"jpeg-turned", LOOK_TURNED, ".jpg"},
    {"png", LOOK_RGB, ".png"},
    {"png-rgba", LOOK_RGBA, ".png"},
    {"png-grey", LOOK_GREY, ".png"},
    {"png-grey-alpha", LOOK_GREY_ALPHA, ".png[interlace]"},
    {"png-16", LOOK_RGB16, ".png"},
    {"png-grey16", LOOK_GREY16, ".png[interlace]"},
    {"png-interlaced", LOOK_RGB, ".png[interlace]"},
    {"png-palette", LOOK_RGBA, ".png[palette]"},
    {"png-palette-1", LOOK_RGB, ".png[palette,bitdepth=1]"},
    {"png-palette-4", LOOK_RGB, ".png[palette,bitdepth=4,interlace]"},
    {"png-icc", LOOK_RGB, ".png[profile=srgb]"},
    {"png-filters", LOOK_RGB, ".png[filter=all]"},
    {"webp", LOOK_RGB, ".webp"},
    {"webp-alpha", LOOK_RGBA, ".webp"},
    {"webp-lossless", LOOK_RGBA, ".webp[lossless]"},
    {"webp-near-lossless", LOOK_RGB, ".webp[near_lossless,Q=40]"},
    {"webp-animated", LOOK_PAGES, ".webp"},
    {"webp-icc", LOOK_RGB, ".webp[profile=srgb]"},
    {"avif", LOOK_RGB, ".avif"},
    {"avif-alpha", LOOK_RGBA, ".avif[effort=0]"},
    {"avif-lossless", LOOK_RGB, ".avif[lossless,effort=0]"},
    {"avif-10", LOOK_RGB16, ".avif[bitdepth=10,effort=0]"},
    {"avif-12", LOOK_RGB16, ".avif[bitdepth=12,effort=0]"},
    {"avif-grey", LOOK_GREY, ".avif[effort=0]"},
    {"avif-444", LOOK_RGB, ".avif[subsample_mode=off,effort=0]"},
    {"avif-turned", LOOK_TURNED, ".avif[effort=0]"},
    {"gif", LOOK_RGB, ".gif"},
    {"gif-alpha", LOOK_RGBA, ".gif[interlace]"},
    {"gif-animated", LOOK_PAGES, ".gif"},
    {"gif-2", LOOK_GREY, ".gif[bitdepth=1]"},
    {"tiff", LOOK_RGB, ".tif"},
    {"tiff-lzw", LOOK_RGB, ".tif[compression=lzw]"},
    {"tiff-deflate", LOOK_RGBA, ".tif[compression=deflate,predictor=horizontal]"},
    {"tiff-packbits", LOOK_RGB, ".tif[compression=packbits]"},
    {"tiff-jpeg", LOOK_RGB, ".tif[compression=jpeg]"},
    {"tiff-webp", LOOK_RGB, ".tif[compression=webp]"},
    {"tiff-fax", LOOK_GREY, ".tif[compression=ccittfax4,bitdepth=1]"},
    {"tiff-tiled", LOOK_RGB, ".tif[tile,tile_width=16,tile_height=16,compression=lzw]"},
    {"tiff-pyramid", LOOK_RGB, ".tif[tile,pyramid,tile_width=16,tile_height=16]"},
    {"tiff-cmyk", LOOK_CMYK, ".tif[compression=lzw]"},
    {"tiff-16", LOOK_RGB16, ".tif[compression=deflate]"},
    {"tiff-float", LOOK_FLOAT, ".tif[compression=deflate,predictor=float]"},
    {"tiff-lab", LOOK_LAB, ".tif"},
    {"tiff-pages", LOOK_PAGES, ".tif[compression=lzw]"},
    {"tiff-1", LOOK_GREY, ".tif[bitdepth=1,miniswhite]"},
    {"tiff-4", LOOK_GREY, ".tif[bitdepth=4]"},
    {"tiff-turned", LOOK_TURNED, ".tif"},
};

/* Shades, an edge and a clear corner. */
static VipsImage *scene(int bands)
{
    uint8_t *pixels = calloc(WIDTH * HEIGHT, (size_t)bands);
    VipsImage *image = NULL;
    if (!pixels)
        return NULL;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int b = 0; b < bands; b++)
                pixels[(y * WIDTH + x) * bands + b] =
                    (uint8_t)(b == 3 ? (x + y < 12 ? 0 : 255) : x * 7 + y * 3 * b + (x > 16 ? 90 : 0));
    image = vips_image_new_from_memory_copy(pixels, (size_t)WIDTH * HEIGHT * (size_t)bands, WIDTH, HEIGHT, bands,
                                            VIPS_FORMAT_UCHAR);
    free(pixels);
    return image;
}

/* Pages one below the other, as libvips holds an animation. */
static int make_pages(VipsImage *image, VipsImage **out)
{
    static int delay[] = {100, 50, 200};
    VipsImage *turned = NULL;
    VipsImage *joined = NULL;
    int failed = vips_flip(image, &turned, VIPS_DIRECTION_HORIZONTAL, NULL);
    VipsImage *pages[] = {image, turned, image};
    failed = failed || vips_arrayjoin(pages, &joined, 3, "across", 1, NULL) || vips_copy(joined, out, NULL);
    if (!failed) {
        vips_image_set_int(*out, VIPS_META_PAGE_HEIGHT, HEIGHT);
        vips_image_set_array_int(*out, "delay", delay, 3);
    }
    g_clear_object(&turned);
    g_clear_object(&joined);
    return failed;
}

static int make_look(VipsImage *rgba, enum look look, VipsImage **out)
{
    static const VipsInterpretation spaces[LOOK_COUNT] = {
        [LOOK_GREY] = VIPS_INTERPRETATION_B_W,      [LOOK_CMYK] = VIPS_INTERPRETATION_CMYK,
        [LOOK_RGB16] = VIPS_INTERPRETATION_RGB16,   [LOOK_GREY16] = VIPS_INTERPRETATION_GREY16,
        [LOOK_LAB] = VIPS_INTERPRETATION_LAB,       [LOOK_FLOAT] = VIPS_INTERPRETATION_scRGB,
        [LOOK_GREY_ALPHA] = VIPS_INTERPRETATION_B_W};
    VipsImage *base = NULL;
    bool alpha = look == LOOK_RGBA || look == LOOK_GREY_ALPHA;
    int failed = alpha ? vips_copy(rgba, &base, "interpretation", VIPS_INTERPRETATION_sRGB, NULL)
                       : vips_extract_band(rgba, &base, 0, "n", 3, NULL);
    if (failed)
        return failed;
    base->Type = VIPS_INTERPRETATION_sRGB;
    if (look == LOOK_PAGES)
        failed = make_pages(base, out);
    else if (look < LOOK_COUNT && spaces[look])
        failed = vips_colourspace(base, out, spaces[look], NULL);
    else
        failed = vips_copy(base, out, NULL);
    /* The profile of CMYK is a thousand times the picture. */
    if (!failed)
        vips_image_remove(*out, VIPS_META_ICC_NAME);
    if (!failed && look == LOOK_TURNED)
        vips_image_set_int(*out, VIPS_META_ORIENTATION, 6);
    g_object_unref(base);
    return failed;
}

static int write_file(const char *folder, const char *name, unsigned request, const void *data, size_t len)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file)
        return 1;
    /* A byte behind the image chooses the request; no loader minds it. */
    int failed = fwrite(data, 1, len, file) != len || fputc((int)request, file) == EOF;
    return fclose(file) || failed;
}

static int make_variant(const char *folder, VipsImage *rgba, unsigned i)
{
    const struct variant *v = &variants[i];
    VipsImage *image = NULL;
    void *data = NULL;
    size_t len = 0;
    int failed = make_look(rgba, v->look, &image) || vips_image_write_to_buffer(image, v->how, &data, &len, NULL);
    if (failed)
        fprintf(stderr, "%s: not written: %s", v->name, vips_error_buffer());
    else
        failed = write_file(folder, v->name, i % REQUESTS, data, len);
    vips_error_clear();
    g_free(data);
    g_clear_object(&image);
    return failed;
}

/* Each in a process of its own, since encoders abort: the libaom of Debian 12 does at 10 bits. */
static int make_apart(const char *program, const char *folder, unsigned i)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        VipsImage *rgba = VIPS_INIT(program) ? NULL : scene(4);
        _exit(rgba ? make_variant(folder, rgba, i) : 1);
    }
    return pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
}

int main(int argc, char **argv)
{
    unsigned written = 0;
    if (argc != 2)
        return 2;
    for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
        written += make_apart(argv[0], argv[1], i) == 0;
    printf("%u images in %s\n", written, argv[1]);
    return written == 0;
}

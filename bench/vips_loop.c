/* SPDX-License-Identifier: MIT */
/* The yardstick: a bare loop of vips_thumbnail_buffer and a JPEG of quality 80, with the system's malloc as it comes.
 *
 *   vips_loop FILE WIDTH IMAGES      prints the CPU time of one image in microseconds */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <vips/vips.h>

static int64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int convert(void *data, size_t len, int width)
{
    VipsImage *image = NULL;
    void *out = NULL;
    size_t out_len;
    int failed = vips_thumbnail_buffer(data, len, &image, width, "height", VIPS_MAX_COORD, NULL) ||
                 vips_jpegsave_buffer(image, &out, &out_len, "Q", 80, NULL);
    if (image)
        g_object_unref(image);
    g_free(out);
    return failed;
}

int main(int argc, char **argv)
{
    char *data;
    gsize len;
    if (argc != 4) {
        fprintf(stderr, "usage: vips_loop FILE WIDTH IMAGES\n");
        return 2;
    }
    int width = (int)strtol(argv[2], NULL, 10);
    int images = (int)strtol(argv[3], NULL, 10);
    if (VIPS_INIT(argv[0]) || width < 1 || images < 1 || !g_file_get_contents(argv[1], &data, &len, NULL))
        return 1;
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    /* The first ones warm up. */
    for (int i = 0; i < 10; i++)
        if (convert(data, len, width))
            return 1;
    int64_t begin = cpu_us();
    for (int i = 0; i < images; i++)
        if (convert(data, len, width))
            return 1;
    printf("%.0f\n", (double)(cpu_us() - begin) / images);
    g_free(data);
    vips_shutdown();
    return 0;
}

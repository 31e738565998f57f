/* SPDX-License-Identifier: MIT */
/* Feeds files to a fuzz target, so that what libFuzzer found is tested without it. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT_BYTES = 64 << 20 };

/* Reads a whole file into memory of exactly its size, so that a sanitizer sees a read past its end. The caller frees it. */
static uint8_t *read_input(const char *path, size_t *size)
{
    uint8_t *data = NULL;
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) != 0)
        goto out;
    long length = ftell(file);
    if (length < 0 || length > MAX_INPUT_BYTES || fseek(file, 0, SEEK_SET) != 0)
        goto out;
    *size = (size_t)length;
    data = malloc(*size ? *size : 1);
    if (data && fread(data, 1, *size, file) != *size) {
        free(data);
        data = NULL;
    }
out:
    fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t size = 0;
        uint8_t *data = read_input(argv[i], &size);
        if (!data) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return 1;
        }
        /* Named first: should the target crash, this is the last line. */
        fprintf(stderr, "%s: %zu bytes\n", argv[i], size);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    return 0;
}

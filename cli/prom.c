/* SPDX-License-Identifier: MIT */
/* Finds series by name and label, line by line. */
#include "prom.h"

#include <stdlib.h>
#include <string.h>

/* The labels between the braces hold `label` as a whole: after "{" or "," and before "," or "}". */
static bool has_label(const char *labels, size_t len, const char *label)
{
    size_t label_len = strlen(label);
    for (size_t i = 0; i + label_len <= len; i++) {
        bool begins = i == 0 || labels[i - 1] == ',';
        bool ends = i + label_len == len || labels[i + label_len] == ',';
        if (begins && ends && memcmp(labels + i, label, label_len) == 0)
            return true;
    }
    return false;
}

/* One line; adds its value when it is a series that is asked for. */
static bool take_line(const char *line, size_t len, const char *name, const char *label, double *value)
{
    size_t name_len = strlen(name);
    if (len <= name_len || memcmp(line, name, name_len) != 0)
        return false;
    const char *rest = line + name_len, *end = line + len;
    if (*rest == '{') {
        const char *close = memrchr(rest, '}', len - name_len);
        if (!close || (label && !has_label(rest + 1, (size_t)(close - rest - 1), label)))
            return false;
        rest = close + 1;
    } else if (label) {
        return false;
    }
    if (rest >= end || *rest != ' ')
        return false;
    char *stop;
    double number = strtod(rest, &stop);
    if (stop == rest || stop > end)
        return false;
    *value += number;
    return true;
}

bool prom_value(const char *text, const char *name, const char *label, double *value)
{
    bool found = false;
    *value = 0;
    while (*text) {
        size_t len = strcspn(text, "\n");
        found |= take_line(text, len, name, label, value);
        text += len + (text[len] == '\n');
    }
    return found;
}

/* SPDX-License-Identifier: MIT */
/* Readers and writers of numbers and colours. */
#include "params_parts.h"

#include <stdio.h>
#include <string.h>

int value_read_number(const char *text, uint32_t min, uint32_t max, uint32_t *out)
{
    return value_read_decimal(text, 0, min, max, out);
}

/* Digits added to *n, as many as there are; how many is returned. */
static size_t add_digits(const char *text, uint64_t *n)
{
    size_t len = strspn(text, "0123456789");
    for (size_t i = 0; i < len && i < 10; i++)
        *n = *n * 10 + (uint64_t)(text[i] - '0');
    return len;
}

int value_read_decimal(const char *text, unsigned digits, uint32_t min, uint32_t max, uint32_t *out)
{
    uint64_t n = 0;
    size_t whole = add_digits(text, &n);
    size_t decimals = 0;
    if (whole == 0 || whole > 10 || (whole > 1 && text[0] == '0'))
        return ERR_INVALID;
    text += whole;
    if (text[0] == '.') {
        decimals = add_digits(text + 1, &n);
        if (decimals == 0 || decimals > digits)
            return ERR_INVALID;
        text += 1 + decimals;
    }
    if (text[0] != '\0')
        return ERR_INVALID;
    for (; decimals < digits; decimals++)
        n *= 10;
    if (n < min || n > max)
        return ERR_RANGE;
    *out = (uint32_t)n;
    return 0;
}

void value_write_decimal(uint32_t n, unsigned digits, char text[PARAMS_VALUE_SIZE])
{
    uint32_t one = 1;
    for (unsigned i = 0; i < digits; i++)
        one *= 10;
    while (digits > 0 && n % 10 == 0) {
        n /= 10;
        one /= 10;
        digits--;
    }
    if (digits > 0)
        snprintf(text, PARAMS_VALUE_SIZE, "%u.%0*u", n / one, (int)digits, n % one);
    else
        snprintf(text, PARAMS_VALUE_SIZE, "%u", n);
}

int value_read_colour(const char *text, uint8_t rgba[4])
{
    if (css_colour_find(text, rgba) == 0)
        return 0;
    if (text[0] == '#')
        text++;
    size_t len = strlen(text);
    if (len != 3 && len != 4 && len != 6 && len != 8)
        return ERR_INVALID;
    size_t digits = len <= 4 ? 1 : 2;
    uint8_t value[4] = {0, 0, 0, 255};
    for (size_t i = 0; i < len / digits; i++) {
        int high = hex_digit(text[i * digits]);
        int low = hex_digit(text[i * digits + digits - 1]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        value[i] = (uint8_t)(high * 16 + low);
    }
    memcpy(rgba, value, 4);
    return 0;
}

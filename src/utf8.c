/* SPDX-License-Identifier: MIT */
/* Strict decoding of UTF-8. */
#include "cavage/utf8.h"

/* By length: the bits of the lead byte that are fixed, their value, and the least code point that needs such a length. */
static const struct {
    unsigned char mask;
    unsigned char lead;
    uint32_t least;
} forms[] = {{0, 0, 0}, {0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

size_t utf8_next(const unsigned char *text, uint32_t *code)
{
    size_t len = 1;
    while (len <= 4 && (text[0] & forms[len].mask) != forms[len].lead)
        len++;
    if (len > 4)
        return 0;
    uint32_t value = text[0] & (unsigned char)~forms[len].mask;
    for (size_t i = 1; i < len; i++) {
        /* A NUL is no continuation byte, so this stops there. */
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (text[i] & 0x3fu);
    }
    if (value < forms[len].least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code = value;
    return len;
}

bool utf8_valid(const char *text)
{
    const unsigned char *next = (const unsigned char *)text;
    while (*next != '\0') {
        uint32_t code;
        size_t len = utf8_next(next, &code);
        if (len == 0)
            return false;
        next += len;
    }
    return true;
}

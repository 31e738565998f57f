/* SPDX-License-Identifier: MIT */
/* Strict decoding of UTF-8, one character at a time. */
#ifndef CAVAGE_UTF8_H
#define CAVAGE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length in bytes (1..4) of the character at `text`, with its code point in *code; 0 if the bytes there are not UTF-8 (overlong forms,
 * surrogates and code points above U+10FFFF are not). text is NUL-terminated; nothing beyond the NUL is read. */
size_t utf8_next(const unsigned char *text, uint32_t *code);

/* True when all of the NUL-terminated text is UTF-8. */
bool utf8_valid(const char *text);

#endif

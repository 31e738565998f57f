/* SPDX-License-Identifier: MIT */
/* The shapes of request ids, idempotency keys and trace contexts. */
#include "token.h"

#include "cavage/id.h"

#include <string.h>

static bool is_id_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
           c == '-';
}

static bool is_visible(unsigned char c)
{
    return c > 0x20 && c < 0x7F;
}

static bool copy(const char *text, bool (*allowed)(unsigned char), char out[USAGE_TOKEN_SIZE])
{
    size_t len = text ? strnlen(text, USAGE_TOKEN_SIZE) : 0;
    bool good = len > 0 && len < USAGE_TOKEN_SIZE;
    for (size_t i = 0; good && i < len; i++)
        good = allowed((unsigned char)text[i]);
    if (good)
        memcpy(out, text, len);
    out[good ? len : 0] = '\0';
    return good;
}

void token_request_id(const char *text, char out[USAGE_TOKEN_SIZE])
{
    if (copy(text, is_id_char, out))
        return;
    struct id id;
    id_random(&id);
    id_to_hex(&id, out);
}

bool token_idempotency_key(const char *text, char out[USAGE_TOKEN_SIZE])
{
    return copy(text, is_visible, out);
}

/* "00-" 32 hex "-" 16 hex "-" 2 hex, in lower case; neither id all zero. */
void token_traceparent(const char *text, char out[WIRE_TRACE_SIZE])
{
    static const char shape[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    size_t len = sizeof(shape) - 1;
    _Static_assert(sizeof(shape) <= WIRE_TRACE_SIZE, "a traceparent fits");
    bool good = text && strnlen(text, len + 1) == len;
    for (size_t i = 0; good && i < len; i++)
        good = shape[i] == 'x' ? strchr("0123456789abcdef", text[i]) != NULL : text[i] == shape[i];
    good = good && strspn(text + 3, "0") < 32 && strspn(text + 36, "0") < 16;
    if (good)
        memcpy(out, text, len);
    out[good ? len : 0] = '\0';
}

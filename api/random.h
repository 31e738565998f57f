/* SPDX-License-Identifier: MIT */
/* Random numbers for jitter; nothing rests on their secrecy. */
#ifndef CAVAGE_API_RANDOM_H
#define CAVAGE_API_RANDOM_H

#include "cavage/id.h"

#include <stdint.h>
#include <string.h>

static inline uint32_t random_u32(void)
{
    struct id id;
    uint32_t n;
    id_random(&id);
    memcpy(&n, id.bytes, sizeof(n));
    return n;
}

#endif

/* SPDX-License-Identifier: MIT */
/* Answers to APIs that do not know this worker's boot yet: a bounded table of short-lived connections.
 *
 * A HELLO over tcp that names no receiver may be a replay from before our start, so it changes nothing here. It is sent back, with our boot put
 * in, sealed for the boot it came from; who answers by naming ours is there now. */
#ifndef CAVAGE_WORKER_GREETINGS_H
#define CAVAGE_WORKER_GREETINGS_H

#include "cavage/wire.h"

#include <stdint.h>

struct seal;
struct greetings;

enum { GREETINGS_MAX = 64 };

int greetings_new(const struct id *boot, struct seal *seal, struct greetings **out);
void greetings_free(struct greetings *g);

/* Answer a HELLO that names nobody. When the table is full the oldest answer makes room. ERR_… of bus_push_open. */
int greetings_add(struct greetings *g, int64_t now_us, const struct wire_hello *m);
/* Send what can be sent, and close what has been sent or is too old. */
void greetings_tick(struct greetings *g, int64_t now_us);
/* When greetings_tick is wanted next; INT64_MAX: not at all. */
int64_t greetings_next_us(const struct greetings *g, int64_t now_us);

#endif

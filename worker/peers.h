/* SPDX-License-Identifier: MIT */
/* The way back to the APIs: a PUSH for each, and what did not fit through it yet. */
#ifndef CAVAGE_WORKER_PEERS_H
#define CAVAGE_WORKER_PEERS_H

#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seal;
struct peers;

/* Indices are 0 .. count - 1. At most backlog_max messages wait for all of them together. seal, for tcp, is borrowed, and may be NULL. */
int peers_new(size_t count, size_t backlog_max, struct seal *seal, struct peers **out);
void peers_free(struct peers *peers);

/* Connect index to the result address of a boot; what was there is closed. What fails is logged, and tried again by peers_retry, until peers_close:
 * after 100 ms, then 200 ms … up to 5 s. ERR_… of bus_push_open. */
int peers_open(struct peers *peers, size_t index, int64_t now_us, const char *address, const struct id *boot);
void peers_retry(struct peers *peers, int64_t now_us);
/* When peers_retry is wanted next; INT64_MAX: not at all. */
int64_t peers_next_us(const struct peers *peers);
void peers_close(struct peers *peers, size_t index);

/* Send a message of bus_alloc(len) in its turn, now or when there is room; it is taken in any case. On any error it was dropped: ERR_FULL,
 * ERR_CLOSED, and those of bus_send but ERR_AGAIN. */
int peers_send(struct peers *peers, size_t index, uint8_t *data, size_t len);
/* Send what waits, as far as it goes. Returns how many messages could not be sent for another reason than that there is no room, and were dropped. */
size_t peers_flush(struct peers *peers);
/* Messages that wait for this peer, so that one sent now would overtake nothing. */
bool peers_waits(const struct peers *peers, size_t index);
/* Messages that wait for peers whose connection stands. */
size_t peers_backlog(const struct peers *peers);
/* Whether something waits that may go any moment: its connection stands, or was begun of late. */
bool peers_may_send(const struct peers *peers, int64_t now_us);

#endif

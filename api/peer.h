/* SPDX-License-Identifier: MIT */
/* The way to one worker: a PUSH socket, and what waits to be written to it. */
#ifndef CAVAGE_API_PEER_H
#define CAVAGE_API_PEER_H

#include "cavage/dispatch.h"
#include "cavage/id.h"
#include "cavage/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seal;
struct peer;

/* Build the frame of an action as of now, in memory of bus_alloc; NULL: it is of no use any more, leave it out. */
typedef uint8_t *(*peer_build_fn)(void *arg, const struct dispatch_action *action, size_t *len);

/* The frame that was built for an action was not sent. It may be built again. */
typedef void (*peer_unsent_fn)(void *arg, const struct dispatch_action *action);

/* Connect to a worker's address; seal, for tcp, is borrowed, and may be NULL. Over tcp all but HELLO is sealed for the boot that the action names;
 * HELLO for the boot that was met, or told its boot, of late, else for nobody, which a worker answers with its boot. */
int peer_open(struct loop *loop, const char *address, struct seal *seal, peer_build_fn build, peer_unsent_fn unsent,
              void *arg, struct peer **out);
void peer_close(struct peer *peer);

/* Whether the connection stands now, and whether that is a change since the last call. */
bool peer_poll(struct peer *peer, bool *changed);
/* Send, or keep for when the socket takes more: a message larger than the kernel's buffer keeps it busy for a moment. Order is kept.
 * ERR_CLOSED: not connected, or NULL. ERR_FULL: too much waits. Others: it cannot be sent. */
int peer_send(struct peer *peer, const struct dispatch_action *action);
/* A worker told its boot: say HELLO to it again, by name. The one that answers that is met. While it is heard, no other is believed: a HELLO for nobody,
 * kept by somebody and sent to other workers, makes those tell their boots too. */
void peer_meet(struct peer *peer, int64_t now_us, const struct id *boot);
/* A message of this boot came, for this link. */
void peer_hear(struct peer *peer, int64_t now_us, const struct id *boot);
/* Forget what waits, and who was met. */
void peer_clear(struct peer *peer);

#endif

/* SPDX-License-Identifier: MIT */
/* nanomsg PUSH and PULL sockets as the pipeline uses them: PULL binds, PUSH connects to one peer. Over tcp every message is sealed (seal.h).
 *
 * Sockets may be shared between threads. Open none before fork in a process whose children use any. A process has at most 512. */
#ifndef CAVAGE_BUS_H
#define CAVAGE_BUS_H

#include "cavage/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seal;
struct bus_pull;
struct bus_push;

/* Bind a PULL to "ipc://PATH" or "tcp://HOST:PORT". Messages over max_bytes (at most INT_MAX) break their connection. The folder of an ipc
 * path exists, is ours and of mode 0700 (ERR_NOTFOUND, ERR_DENIED); a stale socket file is replaced. ERR_RANGE for a path of 100 bytes or
 * more (nanomsg aborts on them), ERR_INVALID for another kind of address, ERR_EXISTS when somebody listens there, ERR_FULL, ERR_IO. What comes
 * over tcp is opened with `seal`, which is borrowed: without one a tcp address is ERR_DENIED. */
int bus_pull_open(const char *address, size_t max_bytes, struct seal *seal, struct bus_pull **out);
void bus_pull_close(struct bus_pull *pull);
/* Descriptor to watch level-triggered for EPOLLIN; then receive until ERR_AGAIN. Never read it, never close it. */
int bus_pull_fd(const struct bus_pull *pull);
/* Whose a message is. */
struct bus_from {
    bool sealed;    /* it came over tcp, and: */
    bool addressed; /* it names our boot, so it is no replay from before our start */
    struct id boot; /* of the sender, authentic */
};
/* Whether an answer may go to this address, which the message names: to tcp when it came sealed, and to ipc when it came that way. Nothing else can be
 * reached, or is to be: who speaks from another host has no say about sockets of this one. */
bool bus_may_answer(const struct bus_from *from, const char *address);
/* Take one message without waiting; free it with bus_free. Those that do not open are dropped; seal_count tells of them. *from may be NULL.
 * ERR_AGAIN when there is none, or after 64 that were dropped. */
int bus_recv(struct bus_pull *pull, uint8_t **data, size_t *len, struct bus_from *from);

/* Connect a PUSH to one address; it reconnects by itself (every 10 ms, up to 100 ms). It need not listen yet. Errors and `seal` as for
 * bus_pull_open. */
int bus_push_open(const char *address, struct seal *seal, struct bus_push **out);
/* What was sent and has not left is lost. */
void bus_push_close(struct bus_push *push);
/* Seal from now on for this boot; at first, and with a zero one, for whoever reads it. */
void bus_push_to(struct bus_push *push, const struct id *boot);
/* Send the len bytes of a message that bus_alloc(len) made, without waiting. On success the message belongs to nanomsg, and is lost if the connection breaks. On ERR_AGAIN
 * (no connection, or the message before has not wholly left: one that is larger than the kernel's buffer, of 4 MiB or
 * net.core.wmem_max, keeps the socket busy until its peer has read most of it) and any other error it still belongs to the caller. */
int bus_send(struct bus_push *push, uint8_t *data, size_t len);
/* Whether bus_send would take a message now. Cheaper than building one to be refused. */
bool bus_push_ready(const struct bus_push *push);
/* Descriptor that polls readable while bus_push_ready; so watch it (EPOLLIN, level-triggered) only after a refusal, and stop when it tells.
 * Never read it, never close it. */
int bus_push_fd(const struct bus_push *push);
/* True while the connection stands; known within a millisecond of the peer's end. */
bool bus_push_connected(const struct bus_push *push);

/* Memory for a message of `size` bytes, with hidden room for its seal. NULL when there is none. */
void *bus_alloc(size_t size);
void bus_free(void *data);

#endif

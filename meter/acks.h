/* SPDX-License-Identifier: MIT */
/* Acknowledgements on their way to producers: a bounded table of connections, the least used of which makes room. */
#ifndef CAVAGE_METER_ACKS_H
#define CAVAGE_METER_ACKS_H

#include "cavage/wire.h"

#include <stdbool.h>
#include <stdint.h>

enum { ACKS_PEERS_MAX = 64, ACKS_PENDING_MAX = 8 };

struct seal;
struct acks;

/* seal, for tcp, is borrowed, and may be NULL. */
int acks_new(struct seal *seal, struct acks **out);
void acks_free(struct acks *acks);

/* Where a producer wants its acknowledgements, and the boot of its process, as far as it came over tcp. */
struct acks_to {
    char address[WIRE_ADDRESS_SIZE];
    struct id boot;
};

/* Have an acknowledgement sent to a producer; it replaces one for the same process and epoch that still waits. Whatever cannot be kept is
 * forgotten: the producer sends its batch again, and is told again. */
void acks_add(struct acks *acks, const struct acks_to *to, const struct wire_ack *ack, int64_t now_us);

/* Send what can be sent now. True when something still waits: call again soon. */
bool acks_send(struct acks *acks, int64_t now_us);

#endif

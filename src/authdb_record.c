/* SPDX-License-Identifier: MIT */
/* Maps records and the head of the auth cache to protobuf and back, without allocation, and bounds every field. */
#include "authdb_record.h"

#include "cavage/err.h"

#include <stdalign.h>
#include <string.h>

#include "wire.pb-c.h"

/* Memory of one unpacking: given out, never taken back. A value too big for it, fields unknown here included, counts as damaged. */
struct arena {
    size_t used;
    alignas(max_align_t) uint8_t bytes[2048];
};

static void *arena_alloc(void *data, size_t size)
{
    struct arena *arena = data;
    size_t room = sizeof(arena->bytes) - arena->used;

    if (size > room)
        return NULL;
    void *out = arena->bytes + arena->used;
    size_t step = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    arena->used += step < room ? step : room;
    return out;
}

static void arena_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

static ProtobufCAllocator arena_allocator(struct arena *arena)
{
    arena->used = 0;
    return (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
}

int customer_id_check(const char *id)
{
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-.");

    if (id[len] != '\0' || len == 0 || len >= CUSTOMER_ID_SIZE || id[0] == '-' || id[0] == '.')
        return ERR_INVALID;
    return 0;
}

static bool state_known(uint32_t state)
{
    return state == AUTH_ACTIVE || state == AUTH_SUSPENDED;
}

int authdb_record_pack(const struct auth_record *record, uint8_t out[AUTHDB_VALUE_MAX], size_t *len)
{
    struct auth_record copy = *record; /* protobuf-c has no const in its messages */
    Cavage__AuthRecord m;

    if (!memchr(copy.customer, '\0', sizeof(copy.customer)) || customer_id_check(copy.customer) != 0 ||
        !state_known((uint32_t)copy.state) || copy.expires_us < 0)
        return ERR_INVALID;
    cavage__auth_record__init(&m);
    m.customer = copy.customer;
    m.secret_hash = (ProtobufCBinaryData){.len = sizeof(copy.secret_hash), .data = copy.secret_hash};
    m.state = (uint32_t)copy.state;
    m.rate_per_s = copy.rate_per_s;
    m.burst = copy.burst;
    m.expires_us = copy.expires_us;
    *len = cavage__auth_record__pack(&m, out);
    return 0;
}

int authdb_record_unpack(const char *key_id, const uint8_t *data, size_t len, struct auth_record *out)
{
    struct arena arena;
    ProtobufCAllocator allocator = arena_allocator(&arena);

    if (len > AUTHDB_VALUE_MAX)
        return ERR_CORRUPT;
    const Cavage__AuthRecord *m = cavage__auth_record__unpack(&allocator, len, data);
    if (!m || customer_id_check(m->customer) != 0 || m->secret_hash.len != KEY_HASH_BYTES || !state_known(m->state) ||
        m->expires_us < 0)
        return ERR_CORRUPT;
    memset(out, 0, sizeof(*out));
    memcpy(out->key_id, key_id, KEY_ID_SIZE - 1);
    memcpy(out->customer, m->customer, strlen(m->customer));
    memcpy(out->secret_hash, m->secret_hash.data, KEY_HASH_BYTES);
    out->state = (enum auth_state)m->state;
    out->rate_per_s = m->rate_per_s;
    out->burst = m->burst;
    out->expires_us = m->expires_us;
    return 0;
}

void authdb_head_pack(const struct auth_head *head, uint8_t out[AUTHDB_VALUE_MAX], size_t *len)
{
    struct auth_head copy = *head;
    Cavage__AuthHead m;

    cavage__auth_head__init(&m);
    m.revision = copy.revision;
    m.complete = copy.complete;
    m.synced_us = copy.synced_us;
    m.lineage = (ProtobufCBinaryData){.len = ID_BYTES, .data = copy.lineage.bytes};
    *len = cavage__auth_head__pack(&m, out);
}

int authdb_head_unpack(const uint8_t *data, size_t len, struct auth_head *out)
{
    struct arena arena;
    ProtobufCAllocator allocator = arena_allocator(&arena);

    if (len > AUTHDB_VALUE_MAX)
        return ERR_CORRUPT;
    const Cavage__AuthHead *m = cavage__auth_head__unpack(&allocator, len, data);
    if (!m || m->lineage.len != ID_BYTES || m->synced_us < 0)
        return ERR_CORRUPT;
    *out = (struct auth_head){.revision = m->revision, .complete = m->complete, .synced_us = m->synced_us};
    memcpy(out->lineage.bytes, m->lineage.data, ID_BYTES);
    return 0;
}

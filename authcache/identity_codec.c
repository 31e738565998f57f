/* SPDX-License-Identifier: MIT */
/* Maps customers and keys to protobuf and back, and bounds every field. */
#include "identity_codec.h"

#include "cavage/err.h"

#include <string.h>

#include "identity.pb-c.h"

_Static_assert(CUSTOMER_NAME_SIZE + CUSTOMER_ID_SIZE + KEY_LABEL_SIZE + KEY_HASH_BYTES + 128 < IDENTITY_VALUE_MAX,
               "the longest value fits");

/* `out` was zeroed, so the last byte stays NUL. */
static bool take_text(char *out, size_t size, const void *text, size_t len)
{
    if (len >= size || memchr(text, '\0', len))
        return false;
    memcpy(out, text, len);
    return true;
}

size_t identity_customer_pack(const struct customer *customer, uint8_t out[IDENTITY_VALUE_MAX])
{
    struct customer copy = *customer;
    Cavage__IdentityCustomer m;

    cavage__identity_customer__init(&m);
    m.name = copy.name;
    m.state = (uint32_t)copy.state;
    m.rate_per_s = copy.rate_per_s;
    m.burst = copy.burst;
    m.created_us = copy.created_us;
    return cavage__identity_customer__pack(&m, out);
}

size_t identity_key_pack(const struct customer_key *key, uint8_t out[IDENTITY_VALUE_MAX])
{
    struct customer_key copy = *key;
    Cavage__IdentityKey m;

    cavage__identity_key__init(&m);
    m.customer = copy.customer;
    m.label = copy.label;
    m.secret_hash = (ProtobufCBinaryData){.len = sizeof(copy.secret_hash), .data = copy.secret_hash};
    m.created_us = copy.created_us;
    m.expires_us = copy.expires_us;
    return cavage__identity_key__pack(&m, out);
}

int identity_customer_unpack(const void *id, size_t id_len, const void *data, size_t len, struct customer *out)
{
    memset(out, 0, sizeof(*out));
    Cavage__IdentityCustomer *m = cavage__identity_customer__unpack(NULL, len, data);
    bool good = m && take_text(out->id, sizeof(out->id), id, id_len) && customer_id_check(out->id) == 0 &&
                take_text(out->name, sizeof(out->name), m->name, strlen(m->name)) &&
                (m->state == AUTH_ACTIVE || m->state == AUTH_SUSPENDED);
    if (good) {
        out->state = (enum auth_state)m->state;
        out->rate_per_s = m->rate_per_s;
        out->burst = m->burst;
        out->created_us = m->created_us;
    }
    if (m)
        cavage__identity_customer__free_unpacked(m, NULL);
    return good ? 0 : ERR_CORRUPT;
}

int identity_key_unpack(const void *id, size_t id_len, const void *data, size_t len, struct customer_key *out)
{
    memset(out, 0, sizeof(*out));
    Cavage__IdentityKey *m = cavage__identity_key__unpack(NULL, len, data);
    bool good = m && key_id_valid(id, id_len) && take_text(out->key_id, sizeof(out->key_id), id, id_len) &&
                take_text(out->customer, sizeof(out->customer), m->customer, strlen(m->customer)) &&
                customer_id_check(out->customer) == 0 &&
                take_text(out->label, sizeof(out->label), m->label, strlen(m->label)) &&
                m->secret_hash.len == KEY_HASH_BYTES && m->expires_us >= 0;
    if (good) {
        memcpy(out->secret_hash, m->secret_hash.data, KEY_HASH_BYTES);
        out->created_us = m->created_us;
        out->expires_us = m->expires_us;
    }
    if (m)
        cavage__identity_key__free_unpacked(m, NULL);
    return good ? 0 : ERR_CORRUPT;
}

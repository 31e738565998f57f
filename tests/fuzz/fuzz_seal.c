/* SPDX-License-Identifier: MIT */
/* Hostile messages to an end of a sealed link, among good ones that are delivered late, twice, changed, cut or back to their sender.
 *
 * An input is a row of steps, each of a byte for what is done and one for its argument. A model of flags knows what must open: what was sealed
 * with a key that is there, is whole, and was not opened before. */
#include "cavage/err.h"
#include "cavage/seal.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 8, FRAME = 40, ROOM = FRAME + SEAL_BYTES, PEERS = 8, STEPS_MAX = 512, MAX_INPUT = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct slot {
    uint8_t message[ROOM];
    bool filled, opened;
    uint32_t key_id;
};

struct world {
    struct seal *a, *b;
    struct seal_keys keys;
    struct slot slots[SLOTS];
};

static const struct id id_a = {{'a'}}, id_b = {{'b'}}, nobody;

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool opens(struct seal *at, const uint8_t *message, size_t len)
{
    uint8_t copy[MAX_INPUT];
    struct id sender;
    bool addressed;
    memcpy(copy, message, len);
    size_t frame_len = len;
    if (seal_unwrap(at, copy, &frame_len, &sender, &addressed) != SEAL_OPENED)
        return false;
    must(frame_len + SEAL_BYTES == len);
    return true;
}

static void step_wrap(struct world *w, struct slot *slot, uint8_t argument)
{
    memset(slot->message, argument, FRAME);
    must(seal_wrap(w->a, argument & 0x80 ? &nobody : &id_b, slot->message, FRAME) == ERR_OK);
    slot->filled = true;
    slot->opened = false;
    slot->key_id = w->keys.of[0].id;
}

static bool key_is_there(const struct world *w, uint32_t id)
{
    for (size_t i = 0; i < w->keys.count; i++)
        if (w->keys.of[i].id == id)
            return true;
    return false;
}

static void step_deliver(struct world *w, struct slot *slot)
{
    bool opened = opens(w->b, slot->message, ROOM);
    must(opened == (!slot->opened && key_is_there(w, slot->key_id)));
    slot->opened |= opened;
}

static void step_change(struct world *w, const struct slot *slot, uint8_t argument)
{
    uint8_t changed[ROOM];
    memcpy(changed, slot->message, ROOM);
    changed[argument % ROOM] ^= (uint8_t)(1 << (argument % 7));
    must(!opens(w->b, changed, ROOM));
}

static void step_cut(struct world *w, const struct slot *slot, uint8_t argument)
{
    must(!opens(w->b, slot->message + argument % ROOM, ROOM - argument % ROOM) || argument % ROOM == 0);
    must(!opens(w->b, slot->message, argument % ROOM));
}

/* Keys 1 to 3, of which the argument picks the first and how many. */
static void step_rotate(struct world *w, uint8_t argument)
{
    memset(&w->keys, 0, sizeof(w->keys));
    w->keys.count = 1 + (argument >> 4) % 3;
    for (size_t i = 0; i < w->keys.count; i++) {
        w->keys.of[i].id = 1 + (uint32_t)(argument + i) % 3;
        memset(w->keys.of[i].bytes, (int)w->keys.of[i].id, SEAL_KEY_BYTES);
    }
    seal_set_keys(w->a, &w->keys);
    seal_set_keys(w->b, &w->keys);
}

/* The rest of the input as it is, and with an end that could be ours. */
static void step_raw(struct world *w, const uint8_t *data, size_t size)
{
    uint8_t message[MAX_INPUT];
    must(!opens(w->b, data, size));
    if (size < SEAL_BYTES)
        return;
    memcpy(message, data, size);
    memcpy(&message[size - 4], "CVS1", 4);
    memset(&message[size - 7], 0, 3);
    must(!opens(w->b, message, size));
}

static void step(struct world *w, const uint8_t *data, size_t size)
{
    uint8_t argument = data[1];
    struct slot *slot = &w->slots[argument % SLOTS];
    switch (data[0] % 7) {
    case 0:
        step_wrap(w, slot, argument);
        break;
    case 1:
        if (slot->filled)
            step_deliver(w, slot);
        break;
    case 2:
        if (slot->filled)
            step_change(w, slot, argument);
        break;
    case 3:
        if (slot->filled && argument % ROOM > 0)
            step_cut(w, slot, argument);
        break;
    case 4:
        must(!slot->filled || !opens(w->a, slot->message, ROOM));
        break;
    case 5:
        step_rotate(w, argument);
        break;
    default:
        step_raw(w, data + 2, size - 2);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.keys = {.count = 1, .of = {{.id = 1, .bytes = {1}}}}};
    if (size > MAX_INPUT)
        return 0;
    must(seal_new(&id_a, &w.keys, PEERS, &w.a) == ERR_OK && seal_new(&id_b, &w.keys, PEERS, &w.b) == ERR_OK);
    step_rotate(&w, 0);
    for (size_t i = 0; i < STEPS_MAX && size >= 2; i++, data += 2, size -= 2)
        step(&w, data, size);
    seal_free(w.a);
    seal_free(w.b);
    return 0;
}

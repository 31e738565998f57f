/* SPDX-License-Identifier: MIT */
/* Sealed messages: the bytes behind a frame, the counters of each direction, and what is remembered of other boots. */
#include "cavage/seal.h"

#include "cavage/err.h"
#include "seal_aead.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* Behind the frame. All but the tag is authenticated as it stands. */
    AT_TAG = 0,
    AT_COUNTER = 16,
    AT_SENDER = 24,
    AT_RECEIVER = 40,
    AT_KEY_ID = 56,
    AT_CIPHER = 60,
    AT_ZERO = 61,
    AT_MAGIC = 64,
    BUCKETS = 256, /* a power of two */
    WORD_BITS = 64,
    /* One word more than the window has, so that there is always one that is wholly behind it to be cleared. */
    WINDOW_WORDS = SEAL_WINDOW / WORD_BITS + 1
};

_Static_assert(AT_MAGIC + 4 == SEAL_BYTES, "the parts make the whole");
_Static_assert((int)SEAL_KEY_BYTES == (int)AEAD_KEY_BYTES, "one length of keys");

static const uint8_t magic[4] = {'C', 'V', 'S', '1'};
static const struct id nobody;

/* Counters that came, as RFC 6479 keeps them: a ring of words, in which the bit of a counter never moves. */
struct window {
    uint64_t highest;
    uint64_t came[WINDOW_WORDS];
};

struct peer {
    struct peer *next; /* of its bucket */
    struct id boot;    /* zero: the receiver of frames that name nobody */
    uint64_t used;     /* when, by seal.uses */
    uint64_t sent;     /* highest counter used towards it */
    struct aead out;
    struct {
        struct window window;
        struct aead aead; /* of the last frame */
    } in[2];              /* frames that name nobody, frames that name us */
};

struct seal {
    struct id boot;
    struct seal_keys keys;
    enum aead_cipher cipher;
    size_t peer_count, peers_max;
    uint64_t uses;
    /* Highest counter ever used. A peer begins above it, so that one that was forgotten and comes back never sees a nonce twice. */
    uint64_t sent;
    struct peer *buckets[BUCKETS];
    uint64_t counts[SEAL_VERDICTS];
};

static uint64_t get_le(const uint8_t *p, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static void put_le(uint8_t *p, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

/* ---- Replays ---- */

static bool window_takes(const struct window *w, uint64_t counter)
{
    if (counter == 0)
        return false;
    if (counter > w->highest)
        return true;
    if (w->highest - counter >= SEAL_WINDOW)
        return false;
    return (w->came[counter / WORD_BITS % WINDOW_WORDS] >> (counter % WORD_BITS) & 1) == 0;
}

static void window_take(struct window *w, uint64_t counter)
{
    uint64_t old_word = w->highest / WORD_BITS, word = counter / WORD_BITS;
    if (counter > w->highest) {
        uint64_t fresh = word - old_word < WINDOW_WORDS ? word - old_word : WINDOW_WORDS;
        for (uint64_t i = 0; i < fresh; i++)
            w->came[(word - i) % WINDOW_WORDS] = 0;
        w->highest = counter;
    }
    w->came[word % WINDOW_WORDS] |= (uint64_t)1 << (counter % WORD_BITS);
}

/* ---- Peers ---- */

/* Boots are random, so any of their bytes will do. */
static struct peer **bucket_of(struct seal *s, const struct id *boot)
{
    return &s->buckets[boot->bytes[0] % BUCKETS];
}

static struct peer *peer_find(struct seal *s, const struct id *boot)
{
    struct peer *p = *bucket_of(s, boot);
    while (p && !id_equal(&p->boot, boot))
        p = p->next;
    return p;
}

static void peer_free(struct peer *p)
{
    aead_close(&p->out);
    aead_close(&p->in[0].aead);
    aead_close(&p->in[1].aead);
    free(p);
}

/* Frames for nobody can be had from boots of the past, as many as there ever were; who named us in a frame that opened lives beside us. */
static bool goes_before(const struct peer *a, const struct peer *b)
{
    bool a_named_us = a->in[1].window.highest > 0, b_named_us = b->in[1].window.highest > 0;
    return a_named_us != b_named_us ? b_named_us : a->used < b->used;
}

static void forget_one(struct seal *s)
{
    struct peer **first = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct peer **at = &s->buckets[i]; *at; at = &(*at)->next)
            if (!first || goes_before(*at, *first))
                first = at;
    if (!first)
        return;
    struct peer *p = *first;
    *first = p->next;
    peer_free(p);
    s->peer_count--;
}

static struct peer *peer_make(struct seal *s, const struct id *boot)
{
    struct peer *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    if (s->peer_count == s->peers_max)
        forget_one(s);
    struct peer **bucket = bucket_of(s, boot);
    p->boot = *boot;
    p->sent = s->sent;
    p->next = *bucket;
    *bucket = p;
    s->peer_count++;
    return p;
}

static const uint8_t *key_bytes(const struct seal *s, uint32_t id)
{
    for (size_t i = 0; i < s->keys.count; i++)
        if (s->keys.of[i].id == id)
            return s->keys.of[i].bytes;
    return NULL;
}

/* ---- Life ---- */

int seal_new(const struct id *boot, const struct seal_keys *keys, size_t peers_max, struct seal **out)
{
    int err = aead_init();
    if (err)
        return err;
    if (id_is_zero(boot) || keys->count == 0 || peers_max < 2)
        return ERR_INVALID;
    struct seal *s = calloc(1, sizeof(*s));
    if (!s)
        return ERR_NOMEM;
    s->boot = *boot;
    s->keys = *keys;
    s->cipher = aead_best();
    s->peers_max = peers_max;
    *out = s;
    return ERR_OK;
}

static void forget_all(struct seal *s)
{
    while (s->peer_count > 0)
        forget_one(s);
}

void seal_free(struct seal *s)
{
    if (!s)
        return;
    forget_all(s);
    seal_keys_wipe(&s->keys);
    free(s);
}

/* What was derived from a key that is gone, or has other bytes under the same id, may not be used again; windows and counters stay. */
void seal_set_keys(struct seal *s, const struct seal_keys *keys)
{
    seal_keys_wipe(&s->keys);
    s->keys = *keys;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct peer *p = s->buckets[i]; p; p = p->next) {
            aead_close(&p->out);
            aead_close(&p->in[0].aead);
            aead_close(&p->in[1].aead);
        }
    }
}

/* ---- Messages ---- */

static int prepare_out(struct seal *s, struct peer *p)
{
    struct aead_scope scope = {.key_id = s->keys.of[0].id, .sender = s->boot, .receiver = p->boot};
    if (p->out.cipher != AEAD_NONE)
        return ERR_OK;
    int err = aead_open(&p->out, s->cipher, s->keys.of[0].bytes, &scope);
    if (err)
        aead_close(&p->out);
    return err;
}

int seal_wrap(struct seal *s, const struct id *receiver, uint8_t *data, size_t len)
{
    struct peer *p = peer_find(s, receiver);
    if (!p)
        p = peer_make(s, receiver);
    if (!p)
        return ERR_NOMEM;
    int err = prepare_out(s, p);
    if (err)
        return err;
    p->used = ++s->uses;
    uint64_t counter = ++p->sent;
    if (s->sent < counter)
        s->sent = counter;

    uint8_t *seal = data + len;
    put_le(seal + AT_COUNTER, counter, 8);
    memcpy(seal + AT_SENDER, s->boot.bytes, ID_BYTES);
    memcpy(seal + AT_RECEIVER, receiver->bytes, ID_BYTES);
    put_le(seal + AT_KEY_ID, p->out.key_id, 4);
    seal[AT_CIPHER] = (uint8_t)p->out.cipher;
    put_le(seal + AT_ZERO, 0, 3);
    memcpy(seal + AT_MAGIC, magic, sizeof(magic));
    return aead_encrypt(&p->out, counter, seal + AT_COUNTER, SEAL_BYTES - AT_COUNTER, data, len, seal + AT_TAG);
}

struct parsed {
    uint64_t counter;
    struct id sender, receiver;
    uint32_t key_id;
    enum aead_cipher cipher;
    bool addressed;
};

static enum seal_verdict parse(const struct seal *s, const uint8_t *seal, struct parsed *out)
{
    if (memcmp(seal + AT_MAGIC, magic, sizeof(magic)) != 0 || get_le(seal + AT_ZERO, 3) != 0)
        return SEAL_MALFORMED;
    if (seal[AT_CIPHER] != AEAD_XCHACHA20 && seal[AT_CIPHER] != AEAD_AES256GCM)
        return SEAL_MALFORMED;
    out->counter = get_le(seal + AT_COUNTER, 8);
    memcpy(out->sender.bytes, seal + AT_SENDER, ID_BYTES);
    memcpy(out->receiver.bytes, seal + AT_RECEIVER, ID_BYTES);
    out->key_id = (uint32_t)get_le(seal + AT_KEY_ID, 4);
    out->cipher = (enum aead_cipher)seal[AT_CIPHER];
    out->addressed = !id_is_zero(&out->receiver);
    if (id_is_zero(&out->sender))
        return SEAL_MALFORMED;
    if (id_equal(&out->sender, &s->boot))
        return SEAL_REFLECTED;
    return out->addressed && !id_equal(&out->receiver, &s->boot) ? SEAL_NOT_FOR_US : SEAL_OPENED;
}

/* Take note of an authentic message; no other is a use of its sender, or strangers would choose who is forgotten. The key that opened it is
 * kept for the next one. */
static enum seal_verdict admit(struct seal *s, struct peer *p, const struct parsed *m, struct aead *fresh)
{
    if (!p)
        p = peer_make(s, &m->sender);
    if (!p)
        return SEAL_FORGED; /* no memory: not to be told from a replay later, so not taken */
    p->used = ++s->uses;
    window_take(&p->in[m->addressed].window, m->counter);
    if (fresh->cipher != AEAD_NONE) {
        aead_close(&p->in[m->addressed].aead);
        p->in[m->addressed].aead = *fresh;
        *fresh = (struct aead){0};
    }
    return SEAL_OPENED;
}

static enum seal_verdict decrypt(struct seal *s, const struct parsed *m, uint8_t *data, size_t len)
{
    const uint8_t *key = key_bytes(s, m->key_id);
    struct peer *p = peer_find(s, &m->sender);
    struct aead fresh = {0};
    struct aead *aead = p ? &p->in[m->addressed].aead : &fresh;

    if (!key)
        return SEAL_UNKNOWN_KEY;
    if (m->counter == 0 || (p && !window_takes(&p->in[m->addressed].window, m->counter)))
        return SEAL_REPLAYED;
    if (aead->cipher != m->cipher || aead->key_id != m->key_id) {
        struct aead_scope scope = {.key_id = m->key_id, .sender = m->sender, .receiver = m->receiver};
        aead = &fresh;
        if (aead_open(&fresh, m->cipher, key, &scope)) {
            aead_close(&fresh);
            return SEAL_FORGED;
        }
    }
    const uint8_t *seal = data + len;
    enum seal_verdict verdict = SEAL_FORGED;
    if (aead_decrypt(aead, m->counter, seal + AT_COUNTER, SEAL_BYTES - AT_COUNTER, data, len, seal + AT_TAG))
        verdict = admit(s, p, m, &fresh);
    aead_close(&fresh);
    return verdict;
}

enum seal_verdict seal_unwrap(struct seal *s, uint8_t *data, size_t *len, struct id *sender, bool *addressed)
{
    struct parsed m = {.sender = nobody};
    enum seal_verdict verdict = SEAL_MALFORMED;
    if (*len >= SEAL_BYTES)
        verdict = parse(s, data + *len - SEAL_BYTES, &m);
    if (verdict == SEAL_OPENED)
        verdict = decrypt(s, &m, data, *len - SEAL_BYTES);
    s->counts[verdict]++;
    if (verdict != SEAL_OPENED)
        return verdict;
    *len -= SEAL_BYTES;
    *sender = m.sender;
    *addressed = m.addressed;
    return SEAL_OPENED;
}

uint64_t seal_count(const struct seal *s, enum seal_verdict verdict)
{
    return s->counts[verdict];
}

/* SPDX-License-Identifier: MIT */
/* Sealing of frames that cross a network: AEAD under keys of both ends' boots and the direction, a counter as nonce, a window against
 * replays. Pure: no socket, no clock, no thread of its own; used by one thread at a time.
 *
 * A sealed message is the frame, encrypted in place, and SEAL_BYTES behind it (docs/protocol.md, "Sealing"). A frame whose receiver's boot is
 * not known yet names nobody. Such a frame can be replayed to a receiver that started later, so it may do no more than ask for an answer. */
#ifndef CAVAGE_SEAL_H
#define CAVAGE_SEAL_H

#include "cavage/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEAL_BYTES = 68, /* added to a frame */
    SEAL_KEY_BYTES = 32,
    SEAL_KEYS_MAX = 8,
    SEAL_WINDOW = 1024, /* counters back from the highest that are still taken, each once; as in RFC 6479 */
    SEAL_KEY_FILE_MAX = 16 * 1024,
    SEAL_KEYS_TEXT_SIZE = SEAL_KEYS_MAX * 76 + 1 /* a line of 10 digits, a blank and 64 digits each; and NUL */
};

/* The cluster's keys: the first seals, all open. */
struct seal_keys {
    size_t count;
    struct {
        uint32_t id;
        uint8_t bytes[SEAL_KEY_BYTES];
    } of[SEAL_KEYS_MAX];
};

/* Read "ID KEY" lines: a decimal number from 1 to 2^32 - 1, and 64 hex digits. '#' begins a comment. *line gets the line at fault. ERR_INVALID;
 * ERR_EXISTS: an id comes twice; ERR_FULL: too many; ERR_NOTFOUND: none. On success the caller wipes *out; otherwise it holds none. */
int seal_keys_parse(const char *text, struct seal_keys *out, unsigned *line);
/* The same from a file, which must be ours and closed to others: ERR_DENIED. *line is 0 when it could not be read. */
int seal_keys_load(const char *path, struct seal_keys *out, unsigned *line);
/* As seal_keys_parse reads them. The caller wipes the text. */
void seal_keys_text(const struct seal_keys *keys, char out[SEAL_KEYS_TEXT_SIZE]);
/* Write the file anew: aside, with mode 0600, and renamed. ERR_INVALID, ERR_EXISTS, ERR_NOTFOUND for keys that could not be read again; ERR_… of
 * fs_write_atomic. */
int seal_keys_save(const char *path, const struct seal_keys *keys);
/* Add a key of random bits as the last, so that it opens and, unless it is alone, does not seal. Its id is one above the highest. ERR_FULL. */
int seal_keys_add(struct seal_keys *keys, uint32_t *id);
/* Make a key the first, which seals; the others keep their order. ERR_NOTFOUND. */
int seal_keys_use(struct seal_keys *keys, uint32_t id);
/* Remove a key. ERR_NOTFOUND; ERR_DENIED for the one that seals. */
int seal_keys_drop(struct seal_keys *keys, uint32_t id);
void seal_keys_wipe(struct seal_keys *keys);

enum seal_verdict {
    SEAL_OPENED,
    SEAL_MALFORMED,  /* too short, or another magic, version or cipher */
    SEAL_NOT_FOR_US, /* for another boot, as when this process has been restarted */
    SEAL_REFLECTED,  /* our own */
    SEAL_UNKNOWN_KEY,
    SEAL_FORGED,   /* changed, cut, or sealed with another key of the same id */
    SEAL_REPLAYED, /* had before, or older than the window */
    SEAL_VERDICTS
};

struct seal;

/* boot is this end's; keys are copied. At most peers_max boots of others are remembered. Those make room first of which no frame that named us
 * was opened, and then the ones unused longest: from then on their frames could be replayed, but a boot that is gone so long is one that was
 * replaced. ERR_NOMEM, ERR_INTERNAL. */
int seal_new(const struct id *boot, const struct seal_keys *keys, size_t peers_max, struct seal **out);
/* Wipes all keys. */
void seal_free(struct seal *s);
/* Other keys from now on. */
void seal_set_keys(struct seal *s, const struct seal_keys *keys);

/* Seal the len bytes of data in place, for a boot or, if it is zero, for whoever reads it; data has room for SEAL_BYTES more, which are filled.
 * ERR_NOMEM, ERR_INTERNAL: data is of no use any more. */
int seal_wrap(struct seal *s, const struct id *receiver, uint8_t *data, size_t len);

/* Open a message in place: *len becomes the frame's, *sender its boot, *addressed whether it names us. What is not opened is counted by its
 * verdict, and data may be changed. */
enum seal_verdict seal_unwrap(struct seal *s, uint8_t *data, size_t *len, struct id *sender, bool *addressed);

/* Messages that had this verdict. */
uint64_t seal_count(const struct seal *s, enum seal_verdict verdict);

#endif

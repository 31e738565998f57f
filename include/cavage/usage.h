/* SPDX-License-Identifier: MIT */
/* Usage records: what one answered request used, as a struct, as protobuf and as a line of JSON. */
#ifndef CAVAGE_USAGE_H
#define CAVAGE_USAGE_H

#include "cavage/authdb.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    USAGE_TOKEN_SIZE = 129,           /* request id, idempotency key, source, instance, worker */
    USAGE_RECORD_MAX = 8192,          /* bytes of one packed record; every record fits */
    USAGE_JSON_MAX = 24 * 1024,       /* of one line, escapes included; every record fits */
    USAGE_BODY_MAX = 4 * 1024 * 1024, /* of one batch */
    USAGE_LENGTH_MAX = 5              /* of the varint before a record */
};

struct usage_record {
    char request_id[USAGE_TOKEN_SIZE];
    char idempotency_key[USAGE_TOKEN_SIZE];
    char customer[CUSTOMER_ID_SIZE];
    char key_id[KEY_ID_SIZE];
    char source[64];
    int64_t time_us; /* wall clock when the answer was ready; decides the hour */
    char instance[USAGE_TOKEN_SIZE];
    char operation[16];
    char request[WIRE_REQUEST_SIZE];
    uint32_t status;
    char outcome[32];
    uint64_t input_bytes, output_bytes, input_pixels, output_pixels; /* of all frames and all outputs */
    char input_format[8], output_format[8];
    uint64_t cpu_us, queue_us, convert_us, total_us;
    char worker[USAGE_TOKEN_SIZE];
    bool confirmed;
    bool has_body_digest;
    uint8_t body_digest[WIRE_DIGEST_BYTES];
    uint32_t count;   /* requests it stands for, at least 1 */
    uint32_t outputs; /* pictures that were made: 0 unless the answer has some */
};

/* Pack into out; *len bytes. Control characters in text become '?', so that every record can be packed. ERR_RANGE if it does not fit size. */
int usage_pack(const struct usage_record *record, uint8_t *out, size_t size, size_t *len);
/* Every field bounded, no control characters in text, the time from 1970 to 9999. Unknown fields are skipped. ERR_INVALID, ERR_RANGE. */
int usage_unpack(const uint8_t *data, size_t len, struct usage_record *out);
/* One line of JSON with the newline; its length, or ERR_RANGE. */
int usage_json(const struct usage_record *record, char *out, size_t size);

/* Hours since the epoch of a wall clock time. */
int64_t usage_hour(int64_t time_us);

/* Walk the records of a batch body (each with its length as varint before it). *pos starts at 0; ERR_NOTFOUND at the end, ERR_CORRUPT. */
int usage_next(const uint8_t *body, size_t len, size_t *pos, const uint8_t **record, size_t *record_len);

/* Add a packed record to a batch body of `size` bytes at *pos, with `confirmed` set when it is. ERR_RANGE if it does not fit. */
int usage_add(uint8_t *body, size_t size, size_t *pos, const uint8_t *record, size_t record_len, bool confirmed);

#endif

/* SPDX-License-Identifier: MIT */
/* A spool in a folder of its own, and the meter that takes its batches, which the test plays. */
#ifndef SPOOL_FIXTURE_H
#define SPOOL_FIXTURE_H

#include "cavage/spool.h"
#include "cavage/wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WAIT_MS = 10000, RECORDS_MAX = 64 };

extern const int64_t hour_us;
/* The one under test; what it is opened with, which a test may change before; and where it hears of acknowledgements. */
extern struct spool *spool;
extern struct spool_config config;
extern char ack_address[96];

int spool_setup(void **state);
int spool_teardown(void **state);
#define SPOOL_TEST(name) cmocka_unit_test_setup_teardown(name, spool_setup, spool_teardown)

/* ---- The spool ---- */

void open_spool(void);
void close_spool(void);
void reopen_spool(void);
/* With a meter. */
void begin(void);
/* Append request-NUMBER, in one and the same hour unless it is given. */
struct spool_ref append_at(int number, int64_t hour);
struct spool_ref append(int number);
void append_confirmed(int number);
/* Everything is acknowledged. */
void flush(void);
struct spool_stats stats(void);
/* The path of a file of the spool; good until another is asked for. */
const char *in_spool(const char *name);
/* How many segments there are, and the name of the last. */
size_t segment_files(char name[256]);

/* ---- The meter ---- */

struct batch {
    struct wire_usage m;
    int numbers[RECORDS_MAX]; /* of its requests */
    bool confirmed[RECORDS_MAX];
    size_t count;
};

void meter_up(void);
void meter_down(void);
bool receive(struct batch *batch, int timeout_ms);
void must_receive(struct batch *batch);
void answer(const struct batch *batch, uint64_t sequence, bool expected);
void meter_sends(uint8_t *data, size_t len);
/* Receive and acknowledge the next that was not taken yet: where this process stood still for long, one comes again. */
void take(struct batch *batch);

#endif

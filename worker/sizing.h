/* SPDX-License-Identifier: MIT */
/* How much a worker does and uses: what the configuration says, or follows from it, and how busy its host is. */
#ifndef CAVAGE_WORKER_SIZING_H
#define CAVAGE_WORKER_SIZING_H

#include "cavage/conf.h"
#include "cavage/limits.h"

#include <stdint.h>

/* Converters, 1 .. CREDIT_SLOTS_MAX. */
unsigned sizing_converters(const struct conf *conf);
/* Private memory that one converter may use. */
uint64_t sizing_memory_bytes(const struct conf *conf, const struct limits *limits);
/* Images after which a converter is replaced. */
unsigned sizing_jobs(const struct conf *conf);
/* Runnable tasks of this host for each of its cores, in thousandths, by an open /proc/loadavg; 0 when that cannot be told. */
unsigned sizing_load_permille(int loadavg_fd);

#endif

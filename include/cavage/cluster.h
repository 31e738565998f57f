/* SPDX-License-Identifier: MIT */
/* The cluster's keys as a daemon has them from its configuration. */
#ifndef CAVAGE_CLUSTER_H
#define CAVAGE_CLUSTER_H

#include "cavage/conf.h"
#include "cavage/id.h"
#include "cavage/metrics.h"
#include "cavage/seal.h"

/* What seals for this boot, when one of the `count` keys of endpoints in `conf` names tcp://; *out is NULL when none does. Errors were logged:
 * without its keys nothing starts that is to speak over tcp. */
int cluster_open(const struct conf *conf, const enum conf_id *endpoints, size_t count, const struct id *boot,
                 struct seal **out);
/* Read the keys, for seal_set_keys. Errors were logged. The caller wipes them. */
int cluster_read(const struct conf *conf, struct seal_keys *keys);
/* Read the keys again. What cannot be read leaves them as they are. seal may be NULL. */
void cluster_reload(const struct conf *conf, struct seal *seal);

/* The series that tell of messages over tcp, for a daemon's table from `first` on, in the order of enum seal_verdict. */
#define CLUSTER_SERIES(name, what)                                                                         \
    {                                                                                                      \
        name, "Messages that came over tcp, by whether they could be opened, or why not.", METRIC_COUNTER, \
            "result=\"" what "\"", NULL, 0                                                                 \
    }
#define CLUSTER_METRICS(first, name)                                               \
    [(first) + SEAL_OPENED] = CLUSTER_SERIES(name, "opened"),                      \
               [(first) + SEAL_MALFORMED] = CLUSTER_SERIES(name, "malformed"),     \
               [(first) + SEAL_NOT_FOR_US] = CLUSTER_SERIES(name, "not_for_us"),   \
               [(first) + SEAL_REFLECTED] = CLUSTER_SERIES(name, "reflected"),     \
               [(first) + SEAL_UNKNOWN_KEY] = CLUSTER_SERIES(name, "unknown_key"), \
               [(first) + SEAL_FORGED] = CLUSTER_SERIES(name, "forged"),           \
               [(first) + SEAL_REPLAYED] = CLUSTER_SERIES(name, "replayed")
/* Bring them up to date; the thread that uses the seal only. seal may be NULL. */
void cluster_count(struct metrics *metrics, size_t first, const struct seal *seal);

#endif

/* SPDX-License-Identifier: MIT */
/* cavage-worker: converts images for API servers. */
#include "supervisor.h"
#include "worker_metrics.h"
#include "zygote.h"

#include "cavage/daemon.h"

#include <string.h>

static const struct daemon_spec spec = {
    .program = "cavage-worker",
    .summary = "Converts images for API servers, one in each converter process at a time.",
    .metrics = worker_metrics,
    .metric_count = WORKER_METRIC_COUNT,
    .ops_listen = CONF_WORKER_OPS_LISTEN,
    .start = supervisor_start,
    .drain = supervisor_drain,
    .reload = supervisor_reload,
    .stop = supervisor_stop,
    .describe = supervisor_describe,
};

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], ZYGOTE_OPTION) == 0)
        return zygote_main(argc == 3 && strcmp(argv[2], ZYGOTE_SVG) == 0);
    return daemon_main(&spec, argc, argv);
}

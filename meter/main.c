/* SPDX-License-Identifier: MIT */
/* cavage-meter: takes usage batches, makes them durable, acknowledges them, and writes usage files. */
#include "closer.h"
#include "ingest.h"
#include "meter.h"

#include "cavage/clock.h"
#include "cavage/cluster.h"
#include "cavage/daemon.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "cavage/usage.h"
#include "cavage/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { ACK_RETRY_US = 5000, DRAIN_QUIET_US = 200000, DRAIN_MAX_US = 5000000, TEST_CLOSE_DELAY_MS = 20 };

struct meter {
    struct daemon *daemon;
    struct seal *seal; /* NULL: meter.listen is not tcp */
    struct bus_pull *pull;
    struct usage_sequence *sequence;
    struct ledger *ledger;
    struct acks *acks;
    struct closer *closer;
    struct ingest *ingest;
    struct loop_watch *watch;
    struct loop_timer *ack_timer, *drain_timer;
    size_t seen; /* messages, since the drain looked last */
    int64_t drain_end_us;
};

static void send_acks(void *arg)
{
    struct meter *meter = arg;
    if (acks_send(meter->acks, clock_monotonic_us()))
        loop_timer_at(meter->ack_timer, clock_monotonic_us() + ACK_RETRY_US);
}

static void on_usage(void *arg, int fd, uint32_t events)
{
    struct meter *meter = arg;
    size_t taken;
    (void)fd;
    (void)events;
    if (ingest_group(meter->ingest, &taken) != ERR_OK) {
        /* After a failed sync nobody knows what is on disk. Nothing of the group was acknowledged. */
        log_error("meter_sync_failed", "usage could not be made durable; the ledger has to be read again");
        exit(EXIT_FAILURE);
    }
    meter->seen += taken;
    cluster_count(meter->daemon->metrics, METER_SEALED, meter->seal);
    send_acks(meter);
}

/* Drained when nothing has come for a while: producers that drain too have been served, and answers have left the socket. Those that do not drain
 * may never pause; they keep what is not acknowledged. */
static void on_drain(void *arg)
{
    struct meter *meter = arg;
    size_t seen = meter->seen;
    on_usage(meter, 0, 0);
    if ((seen > 0 || meter->seen > 0) && clock_monotonic_us() < meter->drain_end_us) {
        meter->seen = 0;
        loop_timer_at(meter->drain_timer, clock_monotonic_us() + DRAIN_QUIET_US);
        return;
    }
    daemon_drained(meter->daemon);
}

static void meter_drain(struct daemon *daemon)
{
    struct meter *meter = daemon->state;
    meter->seen = 1; /* one quiet stretch at least */
    meter->drain_end_us = clock_monotonic_us() + DRAIN_MAX_US;
    on_drain(meter);
}

/* ---- Start and stop ---- */

static int open_ledger(struct meter *meter, const char *dir)
{
    int err = usage_sequence_new(&meter->sequence);
    if (!err)
        err = ledger_open(dir, meter->sequence, &meter->ledger);
    if (err) {
        log_error("ledger_open_failed", "the ledger cannot be opened", LOG_S("dir", dir),
                  LOG_S("error", err_text(err)));
        return err;
    }
    metrics_set(meter->daemon->metrics, METER_DAMAGED, (int64_t)ledger_damaged(meter->ledger));
    return ERR_OK;
}

static int start_closer(struct meter *meter, const char *ledger_dir, const char *usage_dir)
{
    const struct daemon *daemon = meter->daemon;
    struct closer_config config = {.ledger_dir = ledger_dir,
                                   .usage_dir = usage_dir,
                                   .delay_ms = conf_int(daemon->conf, CONF_METER_CLOSE_DELAY_MS),
                                   .metrics = daemon->metrics};
    if (daemon->test_mode && getenv("CAVAGE_TEST_CLOSE_OPEN_HOURS")) {
        config.close_open = true;
        config.delay_ms = TEST_CLOSE_DELAY_MS;
    }
    int err = closer_start(&config, &meter->closer);
    if (err)
        log_error("closer_start_failed", "usage files cannot be made", LOG_S("dir", usage_dir),
                  LOG_S("error", err_text(err)));
    return err;
}

static int open_socket(struct meter *meter)
{
    const struct conf *conf = meter->daemon->conf;
    char address[WIRE_ADDRESS_SIZE];
    static const enum conf_id endpoints[] = {CONF_METER_LISTEN};
    struct id boot;
    id_random(&boot);
    int err = cluster_open(conf, endpoints, 1, &boot, &meter->seal);
    if (!err)
        err = conf_endpoint(conf, CONF_METER_LISTEN, 0, address, sizeof address);
    if (!err)
        err =
            bus_pull_open(address, FRAME_PREAMBLE_BYTES + FRAME_HEADER_MAX + USAGE_BODY_MAX, meter->seal, &meter->pull);
    if (err)
        log_error("listen_failed", "usage cannot be taken", LOG_S("address", conf_str(conf, CONF_METER_LISTEN)),
                  LOG_S("error", err_text(err)));
    return err;
}

static int start_ingest(struct meter *meter)
{
    struct loop *loop = meter->daemon->loop;
    int err = acks_new(meter->seal, &meter->acks);
    struct ingest_config config = {.pull = meter->pull,
                                   .ledger = meter->ledger,
                                   .sequence = meter->sequence,
                                   .acks = meter->acks,
                                   .closer = meter->closer,
                                   .metrics = meter->daemon->metrics};
    if (!err)
        err = ingest_new(&config, &meter->ingest);
    if (!err)
        err = loop_timer_new(loop, send_acks, meter, &meter->ack_timer);
    if (!err)
        err = loop_timer_new(loop, on_drain, meter, &meter->drain_timer);
    if (!err)
        err = loop_watch(loop, bus_pull_fd(meter->pull), EPOLLIN, on_usage, meter, &meter->watch);
    if (err)
        log_error("start_failed", "the meter cannot start", LOG_S("error", err_text(err)));
    return err;
}

static int meter_start(struct daemon *daemon)
{
    char ledger_dir[FS_PATH_SIZE], usage_dir[FS_PATH_SIZE];
    struct meter *meter = calloc(1, sizeof *meter);
    if (!meter)
        return ERR_NOMEM;
    daemon->state = meter;
    meter->daemon = daemon;
    int err = digest_init();
    if (!err)
        err = conf_path(daemon->conf, CONF_METER_LEDGER_DIR, ledger_dir, sizeof ledger_dir);
    if (!err)
        err = conf_path(daemon->conf, CONF_METER_USAGE_DIR, usage_dir, sizeof usage_dir);
    if (!err)
        err = open_ledger(meter, ledger_dir);
    if (!err)
        err = start_closer(meter, ledger_dir, usage_dir);
    if (!err)
        err = open_socket(meter);
    if (!err)
        err = start_ingest(meter);
    if (!err)
        daemon_ready(daemon);
    return err;
}

static void meter_stop(struct daemon *daemon)
{
    struct meter *meter = daemon->state;
    if (!meter)
        return;
    loop_unwatch(meter->watch);
    loop_timer_free(meter->ack_timer);
    loop_timer_free(meter->drain_timer);
    bus_pull_close(meter->pull);
    acks_free(meter->acks);
    seal_free(meter->seal);
    closer_stop(meter->closer);
    ingest_free(meter->ingest);
    ledger_close(meter->ledger);
    usage_sequence_free(meter->sequence);
    free(meter);
    daemon->state = NULL;
}

static void meter_reload(struct daemon *daemon)
{
    const struct meter *meter = daemon->state;
    cluster_reload(daemon->conf, meter->seal);
}

int main(int argc, char **argv)
{
    static const struct daemon_spec spec = {.program = "cavage-meter",
                                            .summary = "Makes usage durable and writes usage files.",
                                            .metrics = meter_metrics,
                                            .metric_count = METER_METRIC_COUNT,
                                            .ops_listen = CONF_METER_OPS_LISTEN,
                                            .start = meter_start,
                                            .drain = meter_drain,
                                            .reload = meter_reload,
                                            .stop = meter_stop};
    return daemon_main(&spec, argc, argv);
}

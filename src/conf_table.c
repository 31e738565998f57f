/* SPDX-License-Identifier: MIT */
/* The table of configuration keys: the only place that names them, their ranges, defaults and help. */
#include "cavage/conf.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)

enum { PATH_BYTES = 1024, SOCKETS_MAX = 256 };

#define PIXELS_MAX INT64_C(10000000000)
#define WRITTEN "jpeg|png|webp|avif|gif|tiff"
#define READ WRITTEN "|svg"

/* clang-format off */
#define INT(s, n, lo, hi, d, r, h)      { s, n, CONF_INT, "", lo, hi, d, NULL, r, h }
#define SIZE(s, n, lo, hi, d, r, h)     { s, n, CONF_SIZE, "bytes", lo, hi, d, NULL, r, h }
#define DURATION(s, n, lo, hi, d, r, h) { s, n, CONF_DURATION, "ms", lo, hi, d, NULL, r, h }
#define BOOL(s, n, d, r, h)             { s, n, CONF_BOOL, "", 0, 1, d, NULL, r, h }
#define PATH(s, n, d, h)                { s, n, CONF_STRING, "", 1, PATH_BYTES, d, NULL, false, h }
#define ENUM(s, n, words, d, r, h)      { s, n, CONF_ENUM, "", 0, 0, d, words, r, h }
#define FORMATS(n, unit, lo, hi, d, of, h) { "limits", n, CONF_FORMATS, unit, lo, hi, d, of, false, h }
#define LISTEN(s, n, d, h)              { s, n, CONF_LISTEN, "", 0, 0, d, NULL, false, h }
#define ENDPOINT(s, n, most, tcp, d, h) { s, n, CONF_ADDRESS, "", 1, most, d, tcp, false, h }

#define OPS_HELP "Where /metrics, /healthz and /readyz are served. Port 0 takes a free one, and so does a listener whose default address is taken."

static const struct conf_key table[CONF_COUNT] = {
    [CONF_COMMON_DATA_DIR] = PATH("common", "data_dir", "./var",
        "Folder of everything that is kept. Other paths that do not start with a slash are below it."),
    [CONF_COMMON_RUN_DIR] = PATH("common", "run_dir", "run",
        "Folder of sockets and of one file for each running daemon. Made with mode 0700; keep its path short, since sockets in it must stay under 100 bytes."),
    [CONF_COMMON_LOG_LEVEL] = ENUM("common", "log_level", "error|warn|info|debug", "info", true,
        "The least severe level that is written to stderr."),
    [CONF_COMMON_HASH_KEY_FILE] = PATH("common", "hash_key_file", "secret/hash.key",
        "File of the key with which the secrets of customers' keys are hashed. Only the owner may read it."),
    [CONF_COMMON_CLUSTER_KEY_FILE] = PATH("common", "cluster_key_file", "secret/cluster.key",
        "File of the keys that seal what goes over tcp://: lines of a number, a space and 64 hex digits. The first key seals, all open. Only the owner may read it. SIGHUP reads it again."),

    [CONF_API_LISTEN] = LISTEN("api", "listen", "127.0.0.1:8080",
        "Where customers are served. Port 0 takes a free one. An address that is not loopback needs allow_public_plaintext."),
    [CONF_API_ALLOW_PUBLIC_PLAINTEXT] = BOOL("api", "allow_public_plaintext", "no", false,
        "Whether listen may be an address that is not loopback. Keys and images then cross the network unencrypted, unless a proxy before it speaks TLS."),
    [CONF_API_OPS_LISTEN] = LISTEN("api", "ops_listen", "127.0.0.1:9180", OPS_HELP),
    [CONF_API_THREADS] = INT("api", "threads", 0, 64, "0", false,
        "Threads that serve connections; 0 is one for every two cores, at most 4: more sleep more, and cost more to wake."),
    [CONF_API_WORKERS] = ENDPOINT("api", "workers", SOCKETS_MAX, CONF_NAMES, "ipc://jobs.sock",
        "Where the workers take jobs, separated by spaces: their worker.listen. They and api.results are all of ipc:// or all of tcp://. Behind a DNS name all addresses are workers."),
    [CONF_API_RESOLVE_MS] = DURATION("api", "resolve_ms", 100, HOUR, "10s", false,
        "How often the names in workers are looked up. While a look-up fails, the workers that are known stay."),
    [CONF_API_RESULTS] = ENDPOINT("api", "results", 2, CONF_NUMERIC, "ipc://results.sock",
        "Where this API server takes results. Each API server needs its own. A second endpoint is what workers are told to send to, where it is not the same."),
    [CONF_API_SHARE_STAGING] = BOOL("api", "share_staging", "yes", false,
        "Whether workers of this host read images where they are staged, if results is ipc://. Else each image is sent to its worker, which costs both of them CPU."),
    [CONF_API_MAX_CONNECTIONS] = INT("api", "max_connections", 1, 65536, "1024", false,
        "Most connections at once. When there are as many, the ones that are idle longest are closed first."),
    [CONF_API_KEEPALIVE_MS] = DURATION("api", "keepalive_ms", 1, HOUR, "60s", false,
        "How long a connection may be idle between requests."),
    [CONF_API_REQUEST_DEADLINE_MS] = DURATION("api", "request_deadline_ms", 100, 10 * 60 * SECOND, "10s", false,
        "Time from the first byte of a request to the start of its answer."),
    [CONF_API_SEND_DEADLINE_MS] = DURATION("api", "send_deadline_ms", 100, HOUR, "30s", false,
        "Time a client has to take its whole answer."),
    [CONF_API_MAX_BODY_BYTES] = SIZE("api", "max_body_bytes", 1 * KIB, 1 * GIB, "32M", false,
        "Longest request body; at a worker, the longest image that it takes."),
    [CONF_API_DISCARD_BYTES] = SIZE("api", "discard_bytes", 0, 1 * GIB, "1M", false,
        "How much of a refused body is read and thrown away, so that the client sees the refusal and keeps its connection."),
    [CONF_API_DISCARD_MS] = DURATION("api", "discard_ms", 0, 60 * SECOND, "1s", false,
        "How long a refused body is read at most."),
    [CONF_API_DRAIN_MS] = DURATION("api", "drain_ms", 0, HOUR, "30s", false,
        "How long a stopping API server waits for the requests it has taken."),
    [CONF_API_DRAIN_DELAY_MS] = DURATION("api", "drain_delay_ms", 0, 10 * 60 * SECOND, "0", false,
        "How long a stopping API server says that it is not ready and still accepts, so that balancers notice."),
    [CONF_API_POISON_ENTRIES] = INT("api", "poison_entries", 0, 16384, "1024", false,
        "Most images that are remembered, by a digest, because each ended two converters. 0 remembers none."),
    [CONF_API_POISON_MS] = DURATION("api", "poison_ms", 0, 24 * HOUR, "10m", false,
        "How long such an image is refused with 422 at once when its customer sends it again. 0 never."),

    [CONF_STAGING_BUDGET_BYTES] = SIZE("staging", "budget_bytes", 1 * MIB, 1024 * GIB, "512M", false,
        "Memory for request bodies that wait for or are in conversion. At the bound requests are refused with 503."),
    [CONF_STAGING_EXTENT_BYTES] = SIZE("staging", "extent_bytes", 4 * KIB, 16 * MIB, "64K", false,
        "Size of the pieces in which that memory is given out. A power of two, at most budget_bytes."),
    [CONF_STAGING_CUSTOMER_PERCENT] = INT("staging", "customer_percent", 1, 100, "25", false,
        "Most of that memory, and of the connections, that one customer may hold, in percent."),

    [CONF_QUEUE_DISCIPLINE] = ENUM("queue", "discipline", "drr|fifo", "drr", false,
        "Order of waiting jobs: drr is fair across customers and first in, first out within one; fifo is strict order of arrival."),
    [CONF_QUEUE_MAX_JOBS] = INT("queue", "max_jobs", 1, 1000000, "1024", false,
        "Most jobs that wait at once. Beyond it requests are refused with 503."),
    [CONF_QUEUE_CUSTOMER_MAX_JOBS] = INT("queue", "customer_max_jobs", 1, 1000000, "256", false,
        "Most jobs of one customer that wait at once. Beyond it its requests are refused with 429."),
    [CONF_QUEUE_TARGET_MS] = DURATION("queue", "target_ms", 10, 10 * 60 * SECOND, "300ms", false,
        "Longest time that a request for an image under 1 MB may be expected to wait and be converted. Beyond it requests are refused with 503, those of the customers with most waiting first."),
    [CONF_QUEUE_LARGE_TARGET_MS] = DURATION("queue", "large_target_ms", 10, 10 * 60 * SECOND, "2s", false,
        "The same for images of 1 MB and more, which wait in a lane of their own."),
    [CONF_QUEUE_LARGE_PERCENT] = INT("queue", "large_percent", 0, 99, "25", false,
        "Part of the converters' time that images of 1 MB and more get while smaller ones wait too, in percent. 0: only what those leave."),
    [CONF_QUEUE_RETRY_PERCENT] = INT("queue", "retry_percent", 0, 100, "10", false,
        "Jobs that may be sent again because their worker was lost, in percent of all jobs; as many as one worker can hold are always allowed."),
    [CONF_QUEUE_HEDGE_PERCENT] = INT("queue", "hedge_percent", 0, 100, "2", false,
        "Jobs that may be sent to a second worker because theirs seems to stand still, in percent of all jobs; the first answer counts. 0: none."),

    [CONF_LIMITS_PIXELS_IN] = FORMATS("pixels_in", "", 1, PIXELS_MAX, "100000000", READ,
        "Most pixels of an image, or of one frame or page of it. Like all limits on what comes in, it is judged from the header, before anything is decoded."),
    [CONF_LIMITS_FRAMES_IN] = FORMATS("frames_in", "", 1, IMAGE_PAGES_MAX, "1000 tiff:10000", READ,
        "Most frames of an animation, and most pages of a TIFF."),
    [CONF_LIMITS_TOTAL_PIXELS_IN] = FORMATS("total_pixels_in", "", 1, PIXELS_MAX, "100000000", READ,
        "Most pixels of an image, all its frames or pages together."),
    [CONF_LIMITS_PIXELS_OUT] = FORMATS("pixels_out", "", 1, PIXELS_MAX, "100000000 avif:40000000", WRITTEN,
        "Most pixels of a result, all its frames together. The encoder of AVIF takes many times as long as the others, and some 25 bytes of memory for a pixel."),
    [CONF_LIMITS_AUTO_PIXELS_OUT] = FORMATS("auto_pixels_out", "", 0, PIXELS_MAX, "100000000 avif:2000000", "avif|webp",
        "Most pixels of a result for which format=auto chooses AVIF or WebP. 0 keeps it from choosing the format."),
    [CONF_LIMITS_BYTES_OUT] = FORMATS("bytes_out", "bytes", 1 * KIB, 1 * GIB, "64M", WRITTEN,
        "Longest result of a conversion."),
    [CONF_LIMITS_SVG] = BOOL("limits", "svg", "no", false,
        "Whether SVG is taken. It is drawn without its text, since converters have no fonts, and without anything that is not in the document itself."),

    [CONF_WORKER_LISTEN] = ENDPOINT("worker", "listen", 1, CONF_NUMERIC, "ipc://jobs.sock",
        "Where this worker takes jobs. Each worker needs its own."),
    [CONF_WORKER_OPS_LISTEN] = LISTEN("worker", "ops_listen", "127.0.0.1:9181", OPS_HELP),
    [CONF_WORKER_CONVERTERS] = INT("worker", "converters", 0, 256, "0", false,
        "Converter processes, each with one image at a time; 0 is one for each core."),
    [CONF_WORKER_CONVERTER] = { "worker", "converter", CONF_STRING, "", 1, 64, "vips", NULL, false,
        "What converters do: vips converts. sleep:TIME, such as sleep:100ms, is a stub for load tests, which sleeps and answers a picture of one pixel; "
        "sleep:exp:TIME sleeps for exponentially distributed times of that mean. Stubs are refused unless the daemons run with --test." },
    [CONF_WORKER_CONVERT_DEADLINE_MS] = DURATION("worker", "convert_deadline_ms", 10, 10 * 60 * SECOND, "10s", false,
        "Longest conversion. A converter that takes longer is killed and replaced."),
    [CONF_WORKER_MEMORY_BYTES] = SIZE("worker", "memory_bytes", 0, 1024 * GIB, "0", false,
        "Memory that one converter may use. One that uses more is killed. 0 is 1G and 8 bytes for each pixel that [limits] allows."),
    [CONF_WORKER_ISOLATION] = ENUM("worker", "isolation", "process|image", "process", false,
        "What a converter is kept for: process converts many images, one after the other; image is forked for each image, for some milliseconds of CPU more."),
    [CONF_WORKER_RECYCLE_JOBS] = INT("worker", "recycle_jobs", 1, 1000000000, "10000", false,
        "Images after which a converter is replaced by a fresh one."),
    [CONF_WORKER_RECYCLE_MS] = DURATION("worker", "recycle_ms", 1, 24 * HOUR, "1h", false,
        "Age at which a converter is replaced, after the image that it holds."),
    [CONF_WORKER_RECYCLE_BYTES] = SIZE("worker", "recycle_bytes", 1 * MIB, 1024 * GIB, "256M", false,
        "Private memory above which a converter is replaced, after the image that it holds."),
    [CONF_WORKER_DRAIN_MS] = DURATION("worker", "drain_ms", 0, HOUR, "30s", false,
        "How long a stopping worker waits for the jobs it holds."),

    [CONF_AUTHCACHE_CACHE_DIR] = PATH("authcache", "cache_dir", "auth",
        "Folder of this host's cache of customers and keys, which API servers read."),
    [CONF_AUTHCACHE_IDENTITY_DIR] = PATH("authcache", "identity_dir", "identity",
        "Folder of the embedded identity store: the authority on customers and keys."),
    [CONF_AUTHCACHE_ADMIN_SOCKET] = PATH("authcache", "admin_socket", "run/admin.sock",
        "Unix socket of the management API."),
    [CONF_AUTHCACHE_OPS_LISTEN] = LISTEN("authcache", "ops_listen", "127.0.0.1:9182", OPS_HELP),
    [CONF_AUTHCACHE_MAP_BYTES] = SIZE("authcache", "map_bytes", 1 * MIB, 1024 * GIB, "1G", false,
        "Address space of the cache and of the identity store, each; an upper bound of their size. It is not taken from memory or disk before it is used."),
    [CONF_AUTHCACHE_HEARTBEAT_MS] = DURATION("authcache", "heartbeat_ms", 10, 10 * SECOND, "250ms", false,
        "How often the cache is marked as current, so that API servers can tell how far behind it is."),

    [CONF_USAGE_SPOOL_DIR] = PATH("usage", "spool_dir", "spool",
        "Folder in which an API server keeps usage until the meter has it. Each API server needs its own."),
    [CONF_USAGE_SPOOL_MAX_BYTES] = SIZE("usage", "spool_max_bytes", 1 * MIB, 1024 * GIB, "1G", false,
        "Most usage that waits for the meter. When it is full, requests are refused with 503: nothing is served unmetered."),
    [CONF_USAGE_BATCH_BYTES] = SIZE("usage", "batch_bytes", 4 * KIB, 2 * MIB, "256K", false,
        "A batch goes to the meter when it has this size."),
    [CONF_USAGE_BATCH_MS] = DURATION("usage", "batch_ms", 1, 60 * SECOND, "250ms", false,
        "A batch goes to the meter when its first record is this old."),
    [CONF_USAGE_ACKS] = ENDPOINT("usage", "acks", 2, CONF_NUMERIC, "ipc://acks.sock",
        "Where an API server takes the meter's acknowledgements. Each API server needs its own. A second endpoint is what the meter is told to send to, where it is not the same."),

    [CONF_METER_LISTEN] = ENDPOINT("meter", "listen", 1, CONF_NUMERIC, "ipc://usage.sock",
        "Where the meter takes usage, and where API servers send it. Of tcp:// when usage.acks is."),
    [CONF_METER_OPS_LISTEN] = LISTEN("meter", "ops_listen", "127.0.0.1:9183", OPS_HELP),
    [CONF_METER_LEDGER_DIR] = PATH("meter", "ledger_dir", "ledger",
        "Folder of the ledger: every batch as it came, and what is known of each producer."),
    [CONF_METER_USAGE_DIR] = PATH("meter", "usage_dir", "usage",
        "Folder of the usage files that billing reads."),
    [CONF_METER_CLOSE_DELAY_MS] = DURATION("meter", "close_delay_ms", 0, 24 * HOUR, "60s", false,
        "How long after its end an hour's files are written. Records that come later make a new version of them."),
};
/* clang-format on */

const struct conf_key *conf_key(enum conf_id id)
{
    return &table[id];
}

/* SPDX-License-Identifier: MIT */
/* Fuzz: the reader of HTTP answers finds the same answer however its input is cut, and never reads past its end. */
#include "http_answer.h"

#include "cavage/err.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUT = 1 << 16 };

static void require(int held)
{
    if (!held)
        abort();
}

/* Feed pieces of `piece` bytes; *at gets how much was used. */
static int run(struct http_answer *a, const char *data, size_t len, size_t piece, size_t *at)
{
    int err = ERR_AGAIN;
    http_answer_start(a);
    for (*at = 0; *at < len && err == ERR_AGAIN;) {
        size_t n = len - *at < piece ? len - *at : piece, used;
        err = http_answer_feed(a, data + *at, n, &used);
        require(used <= n && (used == n || err != ERR_AGAIN));
        *at += used;
    }
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_answer whole, cut;
    size_t whole_at, cut_at;
    if (size == 0 || size > MAX_INPUT)
        return 0;
    int err = run(&whole, (const char *)data, size, size, &whole_at);
    for (size_t piece = 1; piece <= 4; piece++) {
        require(run(&cut, (const char *)data, size, piece, &cut_at) == err && cut_at == whole_at);
        require(err != ERR_OK ||
                (cut.status == whole.status && cut.body_bytes == whole.body_bytes && cut.close == whole.close &&
                 cut.kept_len == whole.kept_len && memcmp(cut.timing_us, whole.timing_us, sizeof(cut.timing_us)) == 0));
    }
    require(http_answer_closed(&cut) == http_answer_closed(&whole));
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Runs transfers on libcurl's multi interface. */
#include "transfer.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/id.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 100,
    CONNECT_TIMEOUT_S = 10,
    STALL_S = 60,
    WAIT_MAX_MS = 30000,
    FIRST_WAIT_MS = 200,
    HEADER_SIZE = 256
};

/* One of the transfers under way. */
struct slot {
    bool busy;
    size_t index;
    uint8_t *body;
    size_t body_len;
    CURL *curl; /* NULL while it waits for its next try */
    struct curl_slist *headers;
    int tries;
    int64_t next_us; /* monotonic time of the next try */
    uint8_t *answer;
    size_t answer_len;
    char error[CURL_ERROR_SIZE];
    char idempotency[ID_UUID_SIZE];
};

struct transfers {
    const struct transfer_spec *spec;
    CURLM *multi;
    struct slot slots[TRANSFER_PARALLEL_MAX];
    size_t next; /* not loaded yet */
    size_t active;
};

static size_t take(char *data, size_t size, size_t count, void *arg)
{
    struct slot *slot = arg;
    size_t len = size * count;
    if (len > TRANSFER_ANSWER_MAX - slot->answer_len)
        return 0;
    uint8_t *grown = realloc(slot->answer, slot->answer_len + len + 1);
    if (!grown)
        return 0;
    memcpy(grown + slot->answer_len, data, len);
    slot->answer = grown;
    slot->answer_len += len;
    return len;
}

/* Ends one try; the body stays for the next. */
static void end_try(struct transfers *transfers, struct slot *slot)
{
    if (slot->curl) {
        curl_multi_remove_handle(transfers->multi, slot->curl);
        curl_easy_cleanup(slot->curl);
    }
    for (struct curl_slist *header = slot->headers; header; header = header->next)
        explicit_bzero(header->data, strlen(header->data)); /* the key */
    curl_slist_free_all(slot->headers);
    free(slot->answer);
    slot->curl = NULL;
    slot->headers = NULL;
    slot->answer = NULL;
    slot->answer_len = 0;
}

static void end_slot(struct transfers *transfers, struct slot *slot)
{
    end_try(transfers, slot);
    free(slot->body);
    slot->body = NULL;
    slot->busy = false;
    transfers->active--;
}

static int add_header(struct slot *slot, const char *name, const char *value)
{
    char line[HEADER_SIZE];
    int len = snprintf(line, sizeof(line), "%s: %s", name, value);
    struct curl_slist *grown = len > 0 && (size_t)len < sizeof(line) ? curl_slist_append(slot->headers, line) : NULL;
    explicit_bzero(line, sizeof(line));
    if (!grown)
        return ERR_NOMEM;
    slot->headers = grown;
    return ERR_OK;
}

static int begin_try(struct transfers *transfers, struct slot *slot)
{
    const struct transfer_spec *spec = transfers->spec;
    char bearer[HEADER_SIZE];
    slot->curl = curl_easy_init();
    if (!slot->curl || add_header(slot, "Content-Type", "application/octet-stream") != ERR_OK ||
        add_header(slot, "Accept", spec->accept) != ERR_OK ||
        add_header(slot, "Idempotency-Key", slot->idempotency) != ERR_OK)
        return ERR_NOMEM;
    if (spec->key) {
        snprintf(bearer, sizeof(bearer), "Bearer %s", spec->key);
        int err = add_header(slot, "Authorization", bearer);
        explicit_bzero(bearer, sizeof(bearer));
        if (err != ERR_OK)
            return err;
    }
    CURL *curl = slot->curl;
    slot->error[0] = '\0';
    slot->tries++;
    curl_easy_setopt(curl, CURLOPT_URL, spec->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, slot->headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)slot->body_len);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)slot->body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, slot->error);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, slot);
    return curl_multi_add_handle(transfers->multi, curl) == CURLM_OK ? ERR_OK : ERR_INTERNAL;
}

/* Fill free slots with new bodies, and begin the tries that are due. */
static int begin_due(struct transfers *transfers)
{
    const struct transfer_spec *spec = transfers->spec;
    int64_t now_us = clock_monotonic_us();
    for (unsigned i = 0; i < spec->parallel; i++) {
        struct slot *slot = &transfers->slots[i];
        while (!slot->busy && transfers->next < spec->count) {
            struct id id;
            *slot = (struct slot){.index = transfers->next++};
            slot->body = spec->load(spec->arg, slot->index, &slot->body_len);
            if (!slot->body)
                continue;
            id_random_uuid(&id);
            id_to_uuid(&id, slot->idempotency);
            slot->busy = true;
            transfers->active++;
        }
        if (slot->busy && !slot->curl && slot->next_us <= now_us) {
            int err = begin_try(transfers, slot);
            if (err != ERR_OK)
                return err;
        }
    }
    return ERR_OK;
}

static bool worth_another_try(const struct slot *slot, CURLcode code, long status)
{
    if (slot->tries >= TRANSFER_TRIES)
        return false;
    return code == CURLE_OK ? status == 503 || status == 429
                            : code == CURLE_COULDNT_CONNECT || code == CURLE_GOT_NOTHING || code == CURLE_SEND_ERROR ||
                                  code == CURLE_RECV_ERROR || code == CURLE_PARTIAL_FILE;
}

static void finish(struct transfers *transfers, struct slot *slot, CURLcode code)
{
    const struct transfer_spec *spec = transfers->spec;
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(slot->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(slot->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    if (worth_another_try(slot, code, status)) {
        int64_t wait_ms = retry_after_s > 0 && retry_after_s < WAIT_MAX_MS / 1000 ? retry_after_s * 1000
                                                                                  : FIRST_WAIT_MS << slot->tries;
        end_try(transfers, slot);
        slot->next_us = clock_monotonic_us() + 1000 * (wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS);
        return;
    }
    struct transfer_answer answer = {.body = slot->answer, .len = slot->answer_len};
    if (code == CURLE_OK)
        answer.status = status;
    else
        answer.error = slot->error[0] ? slot->error : curl_easy_strerror(code);
    spec->answered(spec->arg, slot->index, &answer);
    end_slot(transfers, slot);
}

/* How many tries have ended. */
static int finish_all(struct transfers *transfers)
{
    int left, count = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(transfers->multi, &left)); count++) {
        char *private = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        finish(transfers, (struct slot *)(void *)private, code);
    }
    return count;
}

int transfer_run(const struct transfer_spec *spec)
{
    struct transfers *transfers = calloc(1, sizeof(*transfers));
    int err = ERR_NOMEM;
    if (!transfers)
        return err;
    transfers->spec = spec;
    transfers->multi = curl_multi_init();
    if (!transfers->multi)
        goto out;
    for (;;) {
        int running;
        err = begin_due(transfers);
        if (err != ERR_OK || transfers->active == 0)
            break;
        err = ERR_INTERNAL;
        if (curl_multi_perform(transfers->multi, &running) != CURLM_OK)
            break;
        int finished = finish_all(transfers);
        err = ERR_CLOSED;
        if (!spec->tick(spec->arg))
            break;
        /* What has ended makes room for the next at once. */
        if (finished == 0 && curl_multi_poll(transfers->multi, NULL, 0, TICK_MS, NULL) != CURLM_OK) {
            err = ERR_INTERNAL;
            break;
        }
    }
    for (size_t i = 0; i < TRANSFER_PARALLEL_MAX; i++)
        if (transfers->slots[i].busy)
            end_slot(transfers, &transfers->slots[i]);
out:
    curl_multi_cleanup(transfers->multi);
    free(transfers);
    return err;
}

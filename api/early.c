/* SPDX-License-Identifier: MIT */
/* Raw answers, written with one send: they are shorter than any socket's buffer. */
#include "early.h"

#include "answer.h"
#include "api.h"
#include "metering.h"
#include "metrics.h"
#include "random.h"
#include "token.h"

#include <sys/socket.h>

static bool send_all(int fd, const char *text, size_t len)
{
    return send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

bool early_answer_locked(struct request *r, const struct problem *problem, int64_t now_us)
{
    if (!request_move_locked(r, REQUEST_EXPIRED))
        return false;
    /* The HTTP thread may be at work on the problem of its own that lost to this one: what is sent and recorded comes from the argument. */
    struct answer answer;
    char text[ANSWER_RAW_SIZE];
    r->answered_us = r->sent_us = now_us;
    if (!r->id[0])
        token_request_id(NULL, r->id);
    metering_record(r->api->metering, r, problem->type);
    answer_early(r, problem, random_u32(), &answer);
    size_t len = answer_raw(&answer, text);
    bool sent = send_all(r->conn->fd, text, len);
    metering_resolve(r->api->metering, r, sent);
    metrics_answered(r, problem->type, now_us);
    conn_close(r->api->conns, r->conn, now_us + EARLY_LINGER_US);
    return true;
}

bool early_answer(struct request *r, int64_t now_us)
{
    pthread_mutex_lock(&r->conn->lock);
    bool answered = early_answer_locked(r, &r->problem, now_us);
    pthread_mutex_unlock(&r->conn->lock);
    return answered;
}

void early_timeout_locked(struct api *api, struct conn *conn, int64_t now_us)
{
    char text[ANSWER_RAW_SIZE];
    struct problem problem;
    problem_set(&problem, PROBLEM_REQUEST_TIMEOUT, "No whole request line came within %lld ms.",
                (long long)(api->settings.request_deadline_us / 1000));
    size_t len = answer_raw_problem(&problem, random_u32(), text);
    send_all(conn->fd, text, len);
    conn_close(api->conns, conn, now_us + EARLY_LINGER_US);
}

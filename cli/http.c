/* SPDX-License-Identifier: MIT */
/* Asks the daemons of this machine over HTTP, by libcurl. */
#include "http.h"

#include "cavage/err.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The answer as it grows. */
struct sink {
    struct http_reply *reply;
    bool too_long;
};

static size_t take(char *data, size_t size, size_t count, void *arg)
{
    struct sink *sink = arg;
    size_t len = size * count;
    if (len > HTTP_BODY_MAX - sink->reply->len) {
        sink->too_long = true;
        return 0;
    }
    char *grown = realloc(sink->reply->body, sink->reply->len + len + 1);
    if (!grown)
        return 0;
    memcpy(grown + sink->reply->len, data, len);
    sink->reply->body = grown;
    sink->reply->len += len;
    grown[sink->reply->len] = '\0';
    return len;
}

static int err_from_curl(CURLcode code, const struct sink *sink, long os_errno)
{
    switch (code) {
    case CURLE_OK:
        return ERR_OK;
    case CURLE_COULDNT_CONNECT:
        return os_errno == EACCES || os_errno == EPERM ? ERR_DENIED : ERR_CLOSED;
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return ERR_CLOSED;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return ERR_NOMEM;
    case CURLE_WRITE_ERROR:
        return sink->too_long ? ERR_RANGE : ERR_NOMEM;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return ERR_INVALID;
    default:
        return ERR_IO;
    }
}

int http_call(const struct http_request *request, struct http_reply *reply)
{
    *reply = (struct http_reply){.body = calloc(1, 1)};
    struct sink sink = {.reply = reply};
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURL *curl = curl_easy_init();
    int err = ERR_NOMEM;
    if (!reply->body || !headers || !curl)
        goto out;
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    if (request->unix_socket)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, request->unix_socket);
    if (request->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    }
    CURLcode code = curl_easy_perform(curl);
    long os_errno = 0;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    err = err_from_curl(code, &sink, os_errno);
out:
    if (curl)
        curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    if (err != ERR_OK)
        http_reply_free(reply);
    return err;
}

void http_reply_free(struct http_reply *reply)
{
    /* An answer may hold a new key. */
    if (reply->body)
        explicit_bzero(reply->body, reply->len);
    free(reply->body);
    *reply = (struct http_reply){0};
}

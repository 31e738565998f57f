/* SPDX-License-Identifier: MIT */
/* Client-sent tokens that are kept or passed on: each is taken only when it is well formed. Pure but for new request ids. */
#ifndef CAVAGE_API_TOKEN_H
#define CAVAGE_API_TOKEN_H

#include "cavage/usage.h"
#include "cavage/wire.h"

#include <stdbool.h>

/* The client's request id when it is 1 to 128 of A-Z a-z 0-9 . _ -, else a new one of 32 hex digits. text may be NULL. */
void token_request_id(const char *text, char out[USAGE_TOKEN_SIZE]);
/* Copy 1 to 128 visible ASCII characters; false for anything else. */
bool token_idempotency_key(const char *text, char out[USAGE_TOKEN_SIZE]);
/* Copy a traceparent of W3C Trace Context, version 00; else out becomes empty. text may be NULL. */
void token_traceparent(const char *text, char out[WIRE_TRACE_SIZE]);

#endif

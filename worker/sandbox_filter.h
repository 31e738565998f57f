/* SPDX-License-Identifier: MIT */
/* The filter of system calls. The only part that knows libseccomp. */
#ifndef CAVAGE_WORKER_SANDBOX_FILTER_H
#define CAVAGE_WORKER_SANDBOX_FILTER_H

#include <stddef.h>

/* Compile the filter and try it on a child. *out is the caller's. ERR_DENIED: this kernel takes none; ERR_NOMEM. */
int sandbox_filter_new(void **out, size_t *len);
/* Put this process under it for good. ERR_DENIED. */
int sandbox_filter_load(const void *filter, size_t len);

#endif

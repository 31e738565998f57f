/* SPDX-License-Identifier: MIT */
/* Whether this is a build for a sanitizer, which needs threads, memory and stderr that a converter otherwise gives up. */
#ifndef CAVAGE_WORKER_SANITIZER_H
#define CAVAGE_WORKER_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif

#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

#endif

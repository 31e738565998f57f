/* SPDX-License-Identifier: MIT */
/* Staging: raw bodies and the file of multipart ones, bounded as they arrive. */
#include "body.h"

#include "admission.h"
#include "api.h"
#include "metrics.h"
#include "multipart.h"
#include "outputs.h"
#include "poisoned.h"

#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool refuse_memory(struct request *r)
{
    problem_set(&r->problem, PROBLEM_INTERNAL, "Memory is short.");
    return false;
}

bool body_begin(struct request *r, const char *content_type)
{
    r->staged.customer = r->customer;
    if (r->idempotency_key[0]) {
        r->digest = aligned_alloc(_Alignof(struct digest), sizeof(struct digest));
        if (!r->digest)
            return refuse_memory(r);
        digest_start(r->digest);
    }
    struct multipart *m = malloc(sizeof(*m));
    if (!m)
        return refuse_memory(r);
    int err = multipart_begin(m, content_type);
    if (err == 0) {
        r->multipart = m;
        return true;
    }
    free(m);
    if (err == ERR_NOTFOUND)
        return true;
    problem_set(&r->problem, PROBLEM_BAD_BODY, "The boundary in Content-Type is missing or malformed.");
    return false;
}

/* Stage bytes of the image itself; as a callback of the multipart parser. */
static int stage(void *arg, const void *data, size_t len)
{
    struct request *r = arg;
    int err = staged_append(r->api->extents, &r->staged, data, len);
    if (err == ERR_RANGE)
        admission_no_share(r);
    else if (err)
        admission_no_memory(r);
    else if (r->digest)
        digest_add(r->digest, data, len);
    return err;
}

bool body_add(struct request *r, const void *data, size_t len)
{
    uint64_t max = atomic_load_explicit(&r->api->longest, memory_order_relaxed);
    uint64_t received = atomic_fetch_add_explicit(&r->received, len, memory_order_relaxed) + len;
    if (received > max) {
        problem_set(&r->problem, PROBLEM_BODY_TOO_LARGE, "At most %" PRIu64 " bytes are taken.", max);
        problem_set_limit(&r->problem, max, 0);
        return false;
    }
    if (!r->multipart)
        return stage(r, data, len) == 0;
    const char *why = "";
    int err = multipart_feed(r->multipart, data, len, stage, r, &why);
    if (err && r->problem.type == PROBLEM_NONE)
        problem_set(&r->problem, PROBLEM_BAD_BODY, "%s", why);
    return err == 0;
}

/* With --test, what the worker's tests send instead of an image. */
static bool is_test_order(const struct request *r, const void *head, size_t len)
{
    static const char order[] = "CVGTEST ";
    return r->api->daemon->test_mode && len >= sizeof(order) - 1 && memcmp(head, order, sizeof(order) - 1) == 0;
}

/* The format by magic bytes, and the pixels when the header is within the first piece. A header that is cut off is left to the worker,
 * which has the whole image: only what is certain is refused here. */
static bool judge_image(struct request *r)
{
    size_t len = 0;
    const void *head = staged_head(r->api->extents, &r->staged, &len);
    r->conversion.input_format = image_sniff(head, len);
    if (r->conversion.input_format == IMAGE_UNKNOWN && !is_test_order(r, head, len)) {
        problem_set(&r->problem, PROBLEM_NOT_AN_IMAGE,
                    r->api->settings.limits.svg ? "Taken are JPEG, PNG, WebP, AVIF, GIF, TIFF and SVG."
                                                : "Taken are JPEG, PNG, WebP, AVIF, GIF and TIFF.");
        return false;
    }
    if (r->conversion.input_format == IMAGE_SVG && !r->api->settings.limits.svg) {
        problem_set(&r->problem, PROBLEM_NOT_AN_IMAGE, LIMITS_NO_SVG);
        return false;
    }
    uint64_t pixels = image_header_read(head, len, &r->header) == 0 ? image_header_pixels(&r->header) : 0;
    r->conversion.input_pixels = pixels;
    struct limits_breach over;
    if (pixels > 0 && !limits_take(&r->api->settings.limits, &r->header, &over)) {
        char text[LIMITS_TEXT_SIZE];
        problem_set(&r->problem, PROBLEM_IMAGE_TOO_LARGE, "%s", limits_tell(&over, text));
        problem_set_limit(&r->problem, over.allowed, over.actual);
        return false;
    }
    return true;
}

static bool refuse_poison(struct request *r)
{
    if (!poisoned_has(r->api->poisoned, clock_monotonic_us(), r))
        return true;
    metrics_add(r->api->daemon->metrics, API_POISON_REFUSED, 1);
    problem_set(&r->problem, PROBLEM_POISON, "Two conversions of this image ended abnormally a while ago.");
    return false;
}

bool body_end(struct request *r)
{
    const char *why = "";
    if (r->multipart && multipart_end(r->multipart, &why)) {
        problem_set(&r->problem, PROBLEM_BAD_BODY, "%s", why);
        return false;
    }
    if (r->digest)
        digest_end(r->digest, r->body_digest);
    if (r->staged.bytes == 0) {
        problem_set(&r->problem, PROBLEM_EMPTY_BODY,
                    "Send the image as the body, or as the one file of a multipart/form-data body.");
        return false;
    }
    return judge_image(r) && refuse_poison(r);
}

void body_drop(struct request *r)
{
    staged_release(r->api->extents, &r->staged);
    free(r->multipart);
    r->multipart = NULL;
    free(r->digest);
    r->digest = NULL;
}

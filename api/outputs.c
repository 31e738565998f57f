/* SPDX-License-Identifier: MIT */
/* From the query's outputs to the archive's files. */
#include "outputs.h"

#include "overload.h"

#include "api.h"

#include "cavage/bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* By name, or by number where the name is what is wrong. */
static void name_output(struct problem *p, size_t number, const char *name)
{
    if (name[0])
        snprintf(p->output, sizeof(p->output), "%s", name);
    else
        snprintf(p->output, sizeof(p->output), "%zu", number);
}

static bool refuse(struct request *r, const struct renditions_problem *why)
{
    if (why->output == 0)
        problem_set(&r->problem, PROBLEM_BAD_PARAMETER, "%s", why->why.message);
    else
        problem_set(&r->problem, PROBLEM_BAD_PARAMETER, "Output %zu%s%s: %s", why->output, why->name[0] ? ", " : "",
                    why->name, why->why.message);
    problem_set_parameter(&r->problem, why->why.name);
    if (why->output > 0)
        name_output(&r->problem, why->output, why->name);
    return false;
}

/* An output that would be too large for any image. */
static bool check_size(struct request *r, const struct renditions *all)
{
    struct limits_breach over;
    char text[LIMITS_TEXT_SIZE];
    size_t i = 0;
    while (i < all->count && limits_admit(&r->api->settings.limits, &all->outputs[i].params, &over))
        i++;
    if (i == all->count)
        return true;
    problem_set(&r->problem, PROBLEM_BAD_PARAMETER, "Output %zu, %s: %s", i + 1, all->outputs[i].name,
                limits_tell(&over, text));
    problem_set_parameter(&r->problem, "width");
    problem_set_limit(&r->problem, over.allowed, over.actual);
    name_output(&r->problem, i + 1, all->outputs[i].name);
    return false;
}

bool outputs_admit(struct request *r, const struct head *head)
{
    struct renditions all;
    struct renditions_problem why;
    enum archive_form form;
    r->operation = OPERATION_RENDITIONS;
    r->varies = true;
    if (renditions_parse(r->parsed.query, r->parsed.query_len, &all, &why))
        return refuse(r, &why);
    if (!check_size(r, &all))
        return false;
    if (!accept_archive_choose(&head->archive, &form)) {
        problem_set(&r->problem, PROBLEM_NOT_ACCEPTABLE, "There are %s, %s and %s.",
                    archive_media_type(ARCHIVE_MULTIPART), archive_media_type(ARCHIVE_TAR),
                    archive_media_type(ARCHIVE_ZIP));
        return false;
    }
    _Static_assert((int)WIRE_REQUEST_SIZE >= (int)RENDITIONS_CANONICAL_SIZE, "canonical outputs fit a JOB");
    renditions_format(&all, r->canonical);
    r->outputs = calloc(1, sizeof(*r->outputs));
    if (!r->outputs) {
        problem_set(&r->problem, PROBLEM_INTERNAL, "Memory is short.");
        return false;
    }
    r->outputs->form = form;
    r->outputs->count = all.count;
    for (size_t i = 0; i < all.count; i++) {
        memcpy(r->outputs->names[i], all.outputs[i].name, RENDITION_NAME_SIZE);
        overload_expect(r, &all.outputs[i].params);
    }
    return true;
}

int64_t outputs_cost_us(const struct request *r, int64_t one_us)
{
    /* The image is decoded once: five pictures cost somewhat more than half of five requests. */
    return r->outputs ? one_us * ((int64_t)r->outputs->count + 1) / 2 : one_us;
}

static bool take_one(struct outputs *o, size_t i, const struct wire_output *m)
{
    if (m->format == IMAGE_UNKNOWN || m->format >= IMAGE_FORMAT_COUNT || m->bytes == 0 || m->bytes > SIZE_MAX)
        return false;
    o->formats[i] = (enum image_format)m->format;
    o->bytes[i] = (size_t)m->bytes;
    return true;
}

bool outputs_take(struct request *r, const struct wire_result *m, size_t body_len)
{
    struct outputs *o = r->outputs;
    size_t left = body_len;
    uint64_t sum = 0;
    if (m->output_count != o->count)
        return false;
    for (size_t i = 0; i < o->count; i++) {
        const struct wire_output *out = &m->outputs[i];
        if (!take_one(o, i, out) || o->bytes[i] > left)
            return false;
        left -= o->bytes[i];
        struct image_header header = {.width = out->width, .height = out->height, .pages = out->pages ? out->pages : 1};
        if (__builtin_add_overflow(sum, image_header_pixels(&header), &sum))
            sum = UINT64_MAX;
    }
    r->conversion.output_pixels = sum;
    r->conversion.outputs = (uint32_t)o->count;
    r->conversion.output_format = o->formats[0];
    for (size_t i = 1; i < o->count; i++)
        if (o->formats[i] != o->formats[0])
            r->conversion.output_format = IMAGE_UNKNOWN; /* more than one */
    return left == 0;
}

void outputs_blame(struct request *r, const struct wire_result *m)
{
    const struct outputs *o = r->outputs;
    if (!o || m->failed_output == 0 || m->failed_output > o->count)
        return;
    const char *name = o->names[m->failed_output - 1];
    char detail[PROBLEM_DETAIL_SIZE];
    snprintf(detail, sizeof(detail), "Output %u, %s: %.200s", (unsigned)m->failed_output, name, r->problem.detail);
    memcpy(r->problem.detail, detail, sizeof(detail));
    name_output(&r->problem, m->failed_output, name);
}

bool outputs_pack(struct request *r, int64_t wall_us)
{
    struct outputs *o = r->outputs;
    struct archive_file files[RENDITIONS_MAX];
    struct id boundary;
    const uint8_t *at = r->result;
    for (size_t i = 0; i < o->count; at += o->bytes[i++])
        files[i] = (struct archive_file){.name = o->names[i], .format = o->formats[i], .data = at, .len = o->bytes[i]};
    id_random(&boundary);
    if (archive_make(o->form, files, o->count, &boundary, wall_us, &o->archive)) {
        problem_set(&r->problem, PROBLEM_IMAGE_TOO_LARGE, "The outputs together are too large for %s.",
                    archive_media_type(o->form));
        return false;
    }
    r->media_type = o->archive.media_type;
    return true;
}

void outputs_free(void *outputs)
{
    struct outputs *o = outputs;
    if (o && o->message)
        bus_free(o->message);
    free(o);
}

/* SPDX-License-Identifier: MIT */
/* The tables from outcomes and failures to problems. */
#include "outcome.h"

#include "api.h"
#include "outputs.h"

static const enum problem_type outcomes[] = {
    [OUTCOME_OK] = PROBLEM_NONE,
    [OUTCOME_NOT_STARTED] = PROBLEM_LOST,
    [OUTCOME_NOT_AN_IMAGE] = PROBLEM_NOT_AN_IMAGE,
    [OUTCOME_UNDECODABLE] = PROBLEM_UNDECODABLE,
    [OUTCOME_TOO_LARGE] = PROBLEM_IMAGE_TOO_LARGE,
    [OUTCOME_BAD_REQUEST] = PROBLEM_BAD_PARAMETER,
    [OUTCOME_CRASHED] = PROBLEM_POISON,
    [OUTCOME_DEADLINE] = PROBLEM_DEADLINE,
    [OUTCOME_LOST] = PROBLEM_LOST,
    [OUTCOME_INTERNAL] = PROBLEM_INTERNAL,
};

static uint64_t pixels(uint32_t width, uint32_t height, uint32_t pages)
{
    struct image_header header = {.width = width, .height = height, .pages = pages ? pages : 1};
    return image_header_pixels(&header);
}

static enum image_format format(uint32_t number)
{
    return number < IMAGE_FORMAT_COUNT ? (enum image_format)number : IMAGE_UNKNOWN;
}

static void take_conversion(struct conversion *c, const struct wire_result *m)
{
    if (m->input_format) {
        c->input_format = format(m->input_format);
        c->input_pixels = pixels(m->input_width, m->input_height, m->input_pages);
    }
    c->cpu_us = m->cpu_us;
    c->wait_us = m->wait_us;
    c->convert_us = m->convert_us;
    id_to_hex(&m->status.worker_boot, c->worker);
    if (m->outcome != OUTCOME_OK)
        return;
    c->output_format = format(m->output_format);
    if (m->output_width && m->output_height) {
        c->output_pixels = pixels(m->output_width, m->output_height, m->output_pages);
        c->outputs = 1;
    }
}

void outcome_result(struct request *r, const struct wire_result *m, size_t body_len)
{
    take_conversion(&r->conversion, m);
    enum problem_type type =
        (size_t)m->outcome < sizeof(outcomes) / sizeof(outcomes[0]) ? outcomes[m->outcome] : PROBLEM_INTERNAL;
    bool is_image = r->operation == OPERATION_RESIZE;
    if (type == PROBLEM_NONE && (body_len == 0 || (is_image && r->conversion.output_format == IMAGE_UNKNOWN)))
        type = PROBLEM_INTERNAL;
    if (type == PROBLEM_NONE && r->outputs && !outputs_take(r, m, body_len))
        type = PROBLEM_INTERNAL;
    if (type == PROBLEM_NONE) {
        r->media_type = is_image ? image_format_media_type(r->conversion.output_format) : "application/json";
        return;
    }
    problem_set(&r->problem, type, "%s", m->detail);
    outputs_blame(r, m);
    problem_set_parameter(&r->problem, wire_parameter_text(m->parameter));
    bool of_image = m->outcome == OUTCOME_TOO_LARGE || m->outcome == OUTCOME_BAD_REQUEST;
    if (of_image && (m->limit_value > 0 || m->actual_value > 0))
        problem_set_limit(&r->problem, m->limit_value, m->actual_value);
}

void outcome_failure(struct request *r, enum dispatch_failure failure)
{
    switch (failure) {
    case DISPATCH_DEADLINE:
        problem_set(&r->problem, PROBLEM_DEADLINE, "The limit is %lld ms from the request's first line.",
                    (long long)(r->api->settings.request_deadline_us / 1000));
        return;
    case DISPATCH_POISON:
        problem_set(&r->problem, PROBLEM_POISON, "Two conversions of this image ended abnormally.");
        return;
    case DISPATCH_RETRIES:
        r->problem.type = PROBLEM_LOST;
        return;
    }
}

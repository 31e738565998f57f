/* SPDX-License-Identifier: MIT */
/* When a request counts as sent to a worker. */
#include "pipeline_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_second_copy_is_no_end_of_waiting(void **state)
{
    (void)state;
    static struct request r;
    const struct dispatch_action first = {.type = DISPATCH_SEND, .peer = 1, .sequence = 7};
    const struct dispatch_action copy = {.type = DISPATCH_SEND, .peer = 2, .sequence = 9, .hedge = true};
    pipeline_note_send(&r, &first, 1000);
    pipeline_note_send(&r, &first, 1100); /* the socket took it only now */
    pipeline_note_send(&r, &copy, 51000);
    assert_int_equal(r.dispatched_us, 1100);
    /* What is built next is the copy. */
    assert_int_equal(r.peer, 2);
    assert_int_equal(r.sequence, 9);
}

static void test_lost_job_waits_until_it_is_sent_again(void **state)
{
    (void)state;
    static struct request r;
    const struct dispatch_action first = {.type = DISPATCH_SEND, .peer = 1, .sequence = 7};
    const struct dispatch_action again = {.type = DISPATCH_SEND, .peer = 2, .sequence = 9};
    pipeline_note_send(&r, &first, 1000);
    pipeline_note_send(&r, &again, 51000);
    assert_int_equal(r.dispatched_us, 51000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_copy_is_no_end_of_waiting),
        cmocka_unit_test(test_lost_job_waits_until_it_is_sent_again),
    };
    return cmocka_run_group_tests_name("api_pipeline", tests, NULL, NULL);
}

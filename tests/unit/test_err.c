/* SPDX-License-Identifier: MIT */
/* Error codes: each has its text, and errno values find their code. */
#include "cavage/err.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_each_code_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (int a = ERR_INTERNAL; a <= ERR_OK; a++) {
        assert_string_not_equal(err_text(a), "unknown error");
        for (int b = ERR_INTERNAL; b < a; b++)
            assert_string_not_equal(err_text(a), err_text(b));
    }
}

static void test_codes_outside_the_enum_are_unknown(void **state)
{
    (void)state;
    const int codes[] = {1, 1000, INT_MAX, ERR_INTERNAL - 1, -1000, INT_MIN};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        assert_string_equal(err_text(codes[i]), "unknown error");
}

static void test_errno_finds_its_code(void **state)
{
    (void)state;
    assert_int_equal(err_from_errno(0), ERR_OK);
    assert_int_equal(err_from_errno(ENOENT), ERR_NOTFOUND);
    assert_int_equal(err_from_errno(EAGAIN), ERR_AGAIN);
    assert_int_equal(err_from_errno(EADDRINUSE), ERR_EXISTS);
    assert_int_equal(err_from_errno(EACCES), ERR_DENIED);
    assert_int_equal(err_from_errno(ENOSPC), ERR_FULL);
    assert_int_equal(err_from_errno(EPIPE), ERR_CLOSED);
    assert_int_equal(err_from_errno(EIO), ERR_IO);
    assert_int_equal(err_from_errno(-5), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_code_has_a_text_of_its_own),
        cmocka_unit_test(test_codes_outside_the_enum_are_unknown),
        cmocka_unit_test(test_errno_finds_its_code),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* What `cavage customer` and `cavage key` share: a call of the management API whose answer is printed. */
#ifndef MANAGE_H
#define MANAGE_H

#include "cli.h"
#include "record.h"

#include <stdbool.h>
#include <stdint.h>

/* The options that both have, at the same places. */
enum { MANAGE_DATA, MANAGE_CONFIG, MANAGE_JSON, MANAGE_OPTIONS };

/* clang-format off */
#define MANAGE_COMMON_OPTIONS [MANAGE_DATA] = CLI_OPT_DATA, [MANAGE_CONFIG] = CLI_OPT_CONFIG, [MANAGE_JSON] = CLI_OPT_JSON
/* clang-format on */

/* An option that becomes a member of the request's body. */
struct manage_field {
    int option;
    const char *name;
    bool number; /* a decimal number up to max; else text */
    int64_t max;
};

/* One call. Strings are borrowed. */
struct manage_call {
    const char *method;
    const char *prefix; /* "/v1/customers" */
    const char *id;     /* goes behind the prefix; NULL: none */
    const char *suffix; /* "/keys"; "" */
    const char *list;   /* the member that holds a paged list; NULL: an object, or nothing, is answered */
    const struct manage_field *fields;   /* of the body, ended by a NULL name; NULL: no body */
    const char *operand_field;           /* member that takes the first operand; NULL */
    const struct record_column *columns; /* how to print the answer */
    const char *done;                    /* printed with the id when nothing is answered: "removed" */
};

/* Make the call and print its answer, as --json asks. */
enum cli_status manage_run(const struct cli_args *args, const struct manage_call *call);

#endif

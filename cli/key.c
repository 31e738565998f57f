/* SPDX-License-Identifier: MIT */
/* `cavage key`: add, list and revoke API keys. */
#include "cli.h"
#include "manage.h"

enum { OPT_LABEL = MANAGE_OPTIONS, OPT_EXPIRES };

static const struct record_column columns[] = {
    {"key_id", "KEY ID", false},   {"customer", "CUSTOMER", false}, {"label", "LABEL", false},
    {"created", "CREATED", false}, {"expires", "EXPIRES", false},   {0},
};

static const struct record_column new_columns[] = {
    {"key", "key", false},
    {"key_id", "key id", false},
    {"customer", "customer", false},
    {0},
};

static const struct manage_field fields[] = {{OPT_LABEL, "label", false, 0}, {OPT_EXPIRES, "expires", false, 0}, {0}};

static const struct cli_option common_options[] = {MANAGE_COMMON_OPTIONS, {0}};

static const struct cli_option add_options[] = {
    MANAGE_COMMON_OPTIONS,
    [OPT_LABEL] = {"label", 0, "TEXT", "what the key is for"},
    [OPT_EXPIRES] = {"expires", 0, "TIME", "when it ends, as 2030-01-31T00:00:00Z (default: never)"},
    {0},
};

static enum cli_status add(const struct cli_args *args)
{
    return manage_run(args, &(struct manage_call){.method = "POST",
                                                  .prefix = "/v1/customers",
                                                  .id = args->operand[0],
                                                  .suffix = "/keys",
                                                  .fields = fields,
                                                  .columns = new_columns});
}

static enum cli_status list(const struct cli_args *args)
{
    return manage_run(
        args,
        &(struct manage_call){
            .prefix = "/v1/customers", .id = args->operand[0], .suffix = "/keys", .list = "keys", .columns = columns});
}

static enum cli_status revoke(const struct cli_args *args)
{
    return manage_run(args, &(struct manage_call){.method = "DELETE",
                                                  .prefix = "/v1/keys",
                                                  .id = args->operand[0],
                                                  .suffix = "",
                                                  .columns = columns,
                                                  .done = "revoked"});
}

static const struct cli_command commands[] = {
    {"add", "CUSTOMER", "Make a key for a customer and show it, this once", NULL, 1, 1, add_options, add, NULL, NULL},
    {"list", "CUSTOMER", "List a customer's keys, without their secrets", NULL, 1, 1, common_options, list, NULL, NULL},
    {"revoke", "KEY-ID", "Revoke a key; it is refused within a second",
     "KEY-ID is the part of a key between the first and the second \"_\".\n", 1, 1, common_options, revoke, NULL, NULL},
    {0},
};

const struct cli_command cli_key = {.name = "key", .summary = "Add, list and revoke API keys", .group = commands};

/* SPDX-License-Identifier: MIT */
/* `cavage customer`: add, list, show, change and remove customers. */
#include "cli.h"
#include "manage.h"

#include <stdint.h>

enum { OPT_NAME = MANAGE_OPTIONS, OPT_RATE, OPT_BURST, OPT_STATE };

static const struct record_column columns[] = {
    {"id", "CUSTOMER", false},
    {"name", "NAME", false},
    {"state", "STATE", false},
    {"rate_per_s", "RATE/S", true},
    {"burst", "BURST", true},
    {"created", "CREATED", false},
    {0},
};

static const struct manage_field fields[] = {
    {OPT_NAME, "name", false, 0},
    {OPT_RATE, "rate_per_s", true, 1000000},
    {OPT_BURST, "burst", true, 1000000},
    {OPT_STATE, "state", false, 0},
    {0},
};

static const struct cli_option common_options[] = {MANAGE_COMMON_OPTIONS, {0}};

/* clang-format off */
#define FIELD_OPTIONS \
    [OPT_NAME] = {"name", 0, "TEXT", "what people call the customer"}, \
    [OPT_RATE] = {"rate", 0, "N", "requests a second; 0: no limit"}, \
    [OPT_BURST] = {"burst", 0, "N", "requests at once above the rate"}
/* clang-format on */

static const struct cli_option add_options[] = {MANAGE_COMMON_OPTIONS, FIELD_OPTIONS, {0}};

static const struct cli_option set_options[] = {
    MANAGE_COMMON_OPTIONS,
    FIELD_OPTIONS,
    [OPT_STATE] = {"state", 0, "active|suspended", "whether the customer's keys are accepted"},
    {0},
};

static enum cli_status add(const struct cli_args *args)
{
    return manage_run(
        args,
        &(struct manage_call){
            .method = "POST", .prefix = "/v1/customers", .fields = fields, .operand_field = "id", .columns = columns});
}

static enum cli_status list(const struct cli_args *args)
{
    return manage_run(args, &(struct manage_call){.prefix = "/v1/customers", .list = "customers", .columns = columns});
}

static enum cli_status show(const struct cli_args *args)
{
    return manage_run(
        args,
        &(struct manage_call){
            .method = "GET", .prefix = "/v1/customers", .id = args->operand[0], .suffix = "", .columns = columns});
}

static enum cli_status set(const struct cli_args *args)
{
    if (!args->option[OPT_NAME] && !args->option[OPT_RATE] && !args->option[OPT_BURST] && !args->option[OPT_STATE]) {
        cli_error(args, "nothing to change: give --name, --rate, --burst or --state");
        return CLI_USAGE;
    }
    return manage_run(args, &(struct manage_call){.method = "PATCH",
                                                  .prefix = "/v1/customers",
                                                  .id = args->operand[0],
                                                  .suffix = "",
                                                  .fields = fields,
                                                  .columns = columns});
}

static enum cli_status remove_customer(const struct cli_args *args)
{
    return manage_run(args, &(struct manage_call){.method = "DELETE",
                                                  .prefix = "/v1/customers",
                                                  .id = args->operand[0],
                                                  .suffix = "",
                                                  .columns = columns,
                                                  .done = "removed, with all its keys"});
}

static const struct cli_command commands[] = {
    {"add", "CUSTOMER", "Add a customer",
     "CUSTOMER is its id: up to 64 of a-z 0-9 - . and begins with a letter or digit.\n", 1, 1, add_options, add, NULL,
     NULL},
    {"list", "", "List the customers", NULL, 0, 0, common_options, list, NULL, NULL},
    {"show", "CUSTOMER", "Show one customer", NULL, 1, 1, common_options, show, NULL, NULL},
    {"set", "CUSTOMER", "Change a customer's name, limits or state", NULL, 1, 1, set_options, set, NULL, NULL},
    {"remove", "CUSTOMER", "Remove a customer and all its keys", NULL, 1, 1, common_options, remove_customer, NULL,
     NULL},
    {0},
};

const struct cli_command cli_customer = {
    .name = "customer", .summary = "Add, list, show, change and remove customers", .group = commands};

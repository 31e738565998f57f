/* SPDX-License-Identifier: MIT */
/* Runs one call of the management API for a command. */
#include "manage.h"

#include "admin.h"
#include "cavage/err.h"

#include <inttypes.h>
#include <stdio.h>

static enum cli_status add_field(const struct cli_args *args, const struct manage_field *field, struct record *body)
{
    const char *value = args->option[field->option];
    int64_t number;
    if (!value)
        return CLI_OK;
    if (!field->number) {
        if (record_set_str(body, field->name, value) == ERR_OK)
            return CLI_OK;
        cli_error(args, "%s: the text is not UTF-8", field->name);
        return CLI_USAGE;
    }
    if (cli_number(value, 0, field->max, &number) != ERR_OK) {
        cli_error(args, "%s: '%s' is not a number from 0 to %" PRId64, field->name, value, field->max);
        return CLI_USAGE;
    }
    return record_set_int(body, field->name, number) == ERR_OK ? CLI_OK : CLI_FAILED;
}

static enum cli_status make_body(const struct cli_args *args, const struct manage_call *call, struct record **out)
{
    struct record *body = record_new_object();
    enum cli_status status = body ? CLI_OK : CLI_FAILED;
    if (status == CLI_OK && call->operand_field &&
        record_set_str(body, call->operand_field, args->operand[0]) != ERR_OK)
        status = CLI_USAGE;
    for (const struct manage_field *field = call->fields; status == CLI_OK && field->name; field++)
        status = add_field(args, field, body);
    if (status != CLI_OK) {
        record_free(body);
        body = NULL;
    }
    *out = body;
    return status;
}

static void print_answer(const struct cli_args *args, const struct manage_call *call, struct record *answer)
{
    if (args->option[MANAGE_JSON] && answer)
        record_print_json(answer, stdout);
    else if (!answer && !args->option[MANAGE_JSON])
        printf("%s %s\n", call->id ? call->id : "", call->done ? call->done : "done");
    else if (answer && call->list)
        record_print_table(answer, call->columns, stdout);
    else if (answer)
        record_print(answer, call->columns, stdout);
}

enum cli_status manage_run(const struct cli_args *args, const struct manage_call *call)
{
    char path[ADMIN_PATH_SIZE], why[CLI_WHY_SIZE] = "";
    struct conf *conf = NULL;
    struct record *body = NULL, *answer = NULL;
    int err = ERR_OK;
    if (call->id)
        err = admin_path(call->prefix, call->id, call->suffix, path, sizeof(path));
    else
        snprintf(path, sizeof(path), "%s", call->prefix);
    if (err != ERR_OK) {
        cli_error(args, "'%s' is not an id", call->id);
        return CLI_USAGE;
    }
    enum cli_status status = call->fields ? make_body(args, call, &body) : CLI_OK;
    if (status == CLI_OK)
        status = cli_conf_open(args, args->option[MANAGE_CONFIG], args->option[MANAGE_DATA], &conf);
    if (status == CLI_OK) {
        if (call->list)
            err = admin_list(conf, path, call->list, &answer, why, sizeof(why));
        else
            err = admin_call(conf, call->method, path, body, &answer, why, sizeof(why));
        if (err == ERR_OK) {
            print_answer(args, call, answer);
        } else {
            cli_error(args, "%s", why[0] ? why : err_text(err));
            status = CLI_FAILED;
        }
    }
    record_free(answer);
    record_free(body);
    conf_free(conf);
    return status;
}

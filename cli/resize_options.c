/* SPDX-License-Identifier: MIT */
/* Makes options of parameters, and a query of options. */
#include "resize_options.h"

#include "cavage/err.h"
#include "resize_name.h"

#include <ctype.h>
#include <string.h>

/* A short name that people know is the letter, but for -h, which asks for help. */
static char letter_of(const struct params_option *parameter)
{
    if (strcmp(parameter->name, "format") == 0)
        return 'f';
    return parameter->alias && parameter->alias[0] != 'h' && !parameter->alias[1] ? parameter->alias[0] : '\0';
}

bool resize_option_at(size_t index, struct cli_option *out)
{
    struct params_option parameter;
    if (!params_option_at(index, &parameter))
        return false;
    *out =
        (struct cli_option){parameter.name, letter_of(&parameter), parameter.flag ? "[=0|1]" : "VALUE", parameter.what};
    return true;
}

const char *resize_option_allowed(size_t index)
{
    struct params_option parameter;
    return params_option_at(index, &parameter) && !parameter.flag ? parameter.allowed : NULL;
}

int resize_query(const char *const *values, char *out, size_t size, struct params_problem *problem)
{
    struct params_option parameter;
    struct params params;
    out[0] = '\0';
    for (size_t i = 0; params_option_at(i, &parameter); i++) {
        if (!values[i])
            continue;
        bool alone = values[i][0] == '\0' && parameter.flag;
        int err = resize_query_add(out, size, parameter.name, alone ? "1" : values[i]);
        if (err)
            return err;
    }
    const char *query = out[0] ? out + 1 : out;
    return params_parse(query, strlen(query), &params, problem);
}

static void print_option(const struct cli_option *option, const char *allowed, FILE *out)
{
    fputs(".It ", out);
    if (option->letter)
        fprintf(out, "Fl %c Ar %s , ", option->letter, option->value);
    fputs("Fl -", out);
    for (const char *at = option->name; *at; at++)
        fputc(*at == '_' ? '-' : *at, out);
    fprintf(out, option->value[0] == '[' ? " Ns %s\n" : " Ar %s\n", option->value);
    fprintf(out, "%c%s%s%s.\n", toupper((unsigned char)option->help[0]), option->help + 1, allowed ? ": " : "",
            allowed ? allowed : "");
}

void resize_options_print(FILE *out)
{
    struct cli_option option;
    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; resize_option_at(i, &option); i++)
        print_option(&option, resize_option_allowed(i), out);
    fputs(".El\n", out);
}

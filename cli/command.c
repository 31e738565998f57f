/* SPDX-License-Identifier: MIT */
/* Finds the command that a command line names, parses its options by its table, and prints --help from the same table. */
#include "cli.h"

#include "cavage/err.h"
#include "cavage/version.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 64, HELP_VALUE = 256, HELP_INDENT = 29, HELP_COLUMNS = 110 };

void cli_error(const struct cli_args *args, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%s: ", args->name);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
}

int cli_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
    size_t digits = strspn(text + (text[0] == '-'), "0123456789");
    if (digits == 0 || text[digits + (text[0] == '-')] != '\0')
        return ERR_INVALID;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno != 0 || value < min || value > max)
        return ERR_RANGE;
    *out = value;
    return ERR_OK;
}

/* The option at an index of struct cli_args; false behind the last one. */
static bool option_at(const struct cli_command *command, size_t index, struct cli_option *out)
{
    size_t own = 0;
    while (command->options && command->options[own].name)
        own++;
    if (index >= CLI_OPTION_MAX)
        return false;
    if (index >= own)
        return command->more && command->more->at(index - own, out);
    *out = command->options[index];
    return true;
}

static bool may_omit(const struct cli_option *option)
{
    return option->value && option->value[0] == '[';
}

/* The name as it is typed. */
static void spell(const char *name, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s", name);
    for (char *at = out; (at = strchr(at, '_'));)
        *at = '-';
}

/* Text in a column that begins at HELP_INDENT, where the line stands already. */
static void print_wrapped(const char *text)
{
    size_t column = HELP_INDENT;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (column > HELP_INDENT && column + 1 + len > HELP_COLUMNS)
            column = (size_t)printf("\n%*s", HELP_INDENT, "") - 1;
        else if (column > HELP_INDENT)
            column += (size_t)printf(" ");
        column += (size_t)printf("%.*s", (int)len, text);
        text += len + (text[len] == ' ');
    }
    puts("");
}

static void print_option(const struct cli_option *option, const char *allowed)
{
    char left[2 * NAME_SIZE], name[NAME_SIZE], text[CLI_WHY_SIZE];
    spell(option->name, name);
    snprintf(left, sizeof(left), "%c%c%c --%s%s%s", option->letter ? '-' : ' ', option->letter ? option->letter : ' ',
             option->letter ? ',' : ' ', name, option->value && !may_omit(option) ? " " : "",
             option->value ? option->value : "");
    snprintf(text, sizeof(text), "%s%s%s", option->help, allowed ? ": " : "", allowed ? allowed : "");
    printf("  %-26s ", left);
    print_wrapped(text);
}

static void print_help(const struct cli_command *command, const char *name)
{
    static const struct cli_option help = {"help", 'h', NULL, "show this help"};
    struct cli_option option;
    size_t own = 0;
    printf("usage: %s%s%s%s\n\n%s.\n\n", name, option_at(command, 0, &option) ? " [OPTION…]" : "",
           command->operands[0] ? " " : "", command->operands, command->summary);
    if (command->notes)
        printf("%s\n", command->notes);
    for (; command->options && command->options[own].name; own++)
        print_option(&command->options[own], NULL);
    print_option(&help, NULL);
    if (command->more)
        printf("\n%s\n\n", command->more->title);
    for (size_t i = 0; option_at(command, own + i, &option); i++)
        print_option(&option, command->more->allowed(i));
}

static void print_group_help(const struct cli_command *group, const char *name)
{
    printf("usage: %s COMMAND …\n\n%s.\n\n", name, group->summary);
    for (const struct cli_command *command = group->group; command->name; command++)
        printf("  %-10s %s\n", command->name, command->summary);
    printf("\n'%s COMMAND --help' tells more.\n", name);
}

static void print_program_help(const struct cli_command *const *commands)
{
    puts("usage: cavage COMMAND …\n\nCavage resizes images over HTTP and meters what was used.\n");
    for (size_t i = 0; commands[i]; i++)
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    puts("\n  -h, --help     show this help\n  -V, --version  show the version\n\n'cavage COMMAND --help' tells more.");
}

enum cli_status cli_parse(const struct cli_command *command, const char *name, int argc, char **argv,
                          struct cli_args *args, bool *help)
{
    struct option longs[CLI_OPTION_MAX + 2] = {0};
    char names[CLI_OPTION_MAX][NAME_SIZE], letters[CLI_OPTION_MAX], shorts[2 * CLI_OPTION_MAX + 2] = "h";
    struct cli_option option;
    size_t count = 0, short_len = 1;
    for (; option_at(command, count, &option); count++) {
        spell(option.name, names[count]);
        letters[count] = option.letter;
        longs[count] = (struct option){names[count],
                                       may_omit(&option) ? optional_argument
                                       : option.value    ? required_argument
                                                         : no_argument,
                                       NULL, HELP_VALUE + 1 + (int)count};
        if (option.letter) {
            shorts[short_len++] = option.letter;
            if (option.value)
                shorts[short_len++] = ':';
        }
    }
    longs[count] = (struct option){"help", no_argument, NULL, 'h'};
    shorts[short_len] = '\0';

    char title[NAME_SIZE];
    snprintf(title, sizeof(title), "%s", name);
    argv[0] = title; /* getopt names it in its messages */
    optind = 0;
    *help = false;
    enum cli_status status = CLI_OK;
    for (int c; status == CLI_OK && (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        size_t index = 0;
        if (c > HELP_VALUE)
            index = (size_t)(c - HELP_VALUE - 1);
        else
            while (index < count && letters[index] != c)
                index++;
        if (c == 'h') {
            *help = true;
            break;
        }
        if (c == '?' || index >= count)
            status = CLI_USAGE;
        else
            args->option[index] = optarg ? optarg : "";
    }
    argv[0] = NULL;
    args->operand = argv + optind;
    args->operand_count = argc - optind;
    if (status == CLI_OK && !*help &&
        (args->operand_count < command->operand_min || args->operand_count > command->operand_max)) {
        cli_error(args, "%s",
                  args->operand_count < command->operand_min ? "an argument is missing" : "too many arguments");
        status = CLI_USAGE;
    }
    return status;
}

static enum cli_status run_command(const struct cli *cli, const struct cli_command *command, const char *name, int argc,
                                   char **argv)
{
    struct cli_args args = {.cli = cli, .name = name};
    bool help;
    enum cli_status status = cli_parse(command, name, argc, argv, &args, &help);
    if (status == CLI_USAGE) {
        fprintf(stderr, "Try '%s --help'.\n", name);
        return status;
    }
    if (help) {
        print_help(command, name);
        return CLI_OK;
    }
    return command->run(&args);
}

static bool is_option(const char *text, const char *letter, const char *name)
{
    return strcmp(text, letter) == 0 || strcmp(text, name) == 0;
}

static enum cli_status run_group(const struct cli *cli, const struct cli_command *group, int argc, char **argv)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "cavage %s", group->name);
    if (argc > 1 && is_option(argv[1], "-h", "--help")) {
        print_group_help(group, name);
        return CLI_OK;
    }
    for (const struct cli_command *command = group->group; argc > 1 && command->name; command++) {
        if (strcmp(argv[1], command->name) == 0) {
            snprintf(name, sizeof(name), "cavage %s %s", group->name, command->name);
            return run_command(cli, command, name, argc - 1, argv + 1);
        }
    }
    if (argc > 1)
        fprintf(stderr, "%s: there is no command '%s'\n", name, argv[1]);
    fprintf(stderr, "Try '%s --help'.\n", name);
    return CLI_USAGE;
}

enum cli_status cli_dispatch(const struct cli *cli, const struct cli_command *const *commands, int argc, char **argv)
{
    if (argc > 1 && is_option(argv[1], "-h", "--help")) {
        print_program_help(commands);
        return CLI_OK;
    }
    if (argc > 1 && is_option(argv[1], "-V", "--version")) {
        puts("cavage " CAVAGE_VERSION);
        return CLI_OK;
    }
    for (size_t i = 0; argc > 1 && commands[i]; i++) {
        if (strcmp(argv[1], commands[i]->name) != 0)
            continue;
        if (commands[i]->group)
            return run_group(cli, commands[i], argc - 1, argv + 1);
        char name[NAME_SIZE];
        snprintf(name, sizeof(name), "cavage %s", commands[i]->name);
        return run_command(cli, commands[i], name, argc - 1, argv + 1);
    }
    if (argc > 1)
        fprintf(stderr, "cavage: there is no command '%s'\n", argv[1]);
    fputs("Try 'cavage --help'.\n", stderr);
    return CLI_USAGE;
}

/* SPDX-License-Identifier: MIT */
/* What the commands of `cavage` share: their table, their options, their messages and exit statuses. */
#ifndef CLI_H
#define CLI_H

#include "cavage/conf.h"

#include <stdbool.h>
#include <stddef.h>

enum cli_status { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

enum { CLI_OPTION_MAX = 64, CLI_WHY_SIZE = 1024 };

/* One option of a command. A table ends with a NULL name; the index in the table names the option in struct cli_args. */
struct cli_option {
    const char *name;  /* long name, without dashes before it; "_" in it is "-" on the command line */
    char letter;       /* short name, or 0 */
    const char *value; /* what its value is called in --help; "[=X]": it may be left out; NULL for a flag */
    const char *help;  /* one line */
};

/* clang-format off */
#define CLI_OPT_DATA   { "data", 0, "DIR", "the system's data folder (default: common.data_dir, ./var)" }
#define CLI_OPT_CONFIG { "config", 0, "FILE", "the configuration file" }
#define CLI_OPT_JSON   { "json", 0, NULL, "write JSON" }
/* clang-format on */

/* What the program was started with, for all commands. */
struct cli {
    const char *key; /* CAVAGE_KEY, which main takes out of the environment; NULL when it was not set */
};

/* A parsed command line. Borrowed from argv. */
struct cli_args {
    const struct cli *cli;
    const char *name;                   /* "cavage key add", for messages */
    const char *option[CLI_OPTION_MAX]; /* by index in the command's table: NULL not given, "" without value, else it */
    char **operand;
    int operand_count;
};

/* Options that another table tells, after those of a command. */
struct cli_more {
    const char *title; /* in --help */
    /* False: there is none at `index`. */
    bool (*at)(size_t index, struct cli_option *out);
    /* Which values the one at `index` takes; NULL: its help says it. */
    const char *(*allowed)(size_t index);
};

/* One command, or a group of commands when `group` is set. Tables end with a NULL name. */
struct cli_command {
    const char *name;
    const char *operands; /* "FILE…", as --help shows it; "" for none */
    const char *summary;  /* one line */
    const char *notes;    /* further lines for --help; may be NULL */
    int operand_min;
    int operand_max;
    const struct cli_option *options;
    enum cli_status (*run)(const struct cli_args *args);
    const struct cli_command *group;
    const struct cli_more *more; /* NULL: there are none */
};

/* The commands, each in the file of its name. */
extern const struct cli_command cli_up;
extern const struct cli_command cli_customer;
extern const struct cli_command cli_key;
extern const struct cli_command cli_resize;
extern const struct cli_command cli_bench;
extern const struct cli_command cli_usage;
extern const struct cli_command cli_status;
extern const struct cli_command cli_config;
extern const struct cli_command cli_cluster;

/* Find the command that argv names among `commands`, parse its options and run it. Unknown names and options say so and give CLI_USAGE. */
enum cli_status cli_dispatch(const struct cli *cli, const struct cli_command *const *commands, int argc, char **argv);

/* Parse argv (argv[0] is replaced by name) into args by the command's table. CLI_OK and *help when --help was asked for. */
enum cli_status cli_parse(const struct cli_command *command, const char *name, int argc, char **argv,
                          struct cli_args *args, bool *help);

/* One line on stderr: "cavage key add: …". */
void cli_error(const struct cli_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A decimal number within min..max, and nothing else. ERR_INVALID, ERR_RANGE. */
int cli_number(const char *text, int64_t min, int64_t max, int64_t *out);

/* The configuration as the daemons of a system see it: the file `config` (or CAVAGE_CONFIG; NULL for none), the environment, then `data`. What
 * DATA/run.path tells about the run folder is taken over. Prints why it failed; free with conf_free. */
enum cli_status cli_conf_open(const struct cli_args *args, const char *config, const char *data, struct conf **out);

#endif

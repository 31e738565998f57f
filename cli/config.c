/* SPDX-License-Identifier: MIT */
/* `cavage config`: check and show the configuration, print the sample file and the manual. */
#include "cli.h"

#include "cavage/err.h"
#include "cavage/version.h"
#include "resize_options.h"

#include <inttypes.h>
#include <stdio.h>

enum { OPT_CONFIG, OPT_DATA };

/* Valid, but perhaps not what was meant. */
static void note_body_limit(const struct conf *conf)
{
    int64_t limit = conf_body_limit(conf);
    if (limit < conf_int(conf, CONF_API_MAX_BODY_BYTES))
        printf("Note: a customer's share of staging.budget_bytes bounds a body at %" PRId64
               " bytes, less than api.max_body_bytes.\n",
               limit);
}

static enum cli_status check(const struct cli_args *args)
{
    struct conf *conf = NULL;
    enum cli_status status = cli_conf_open(args, args->option[OPT_CONFIG], args->option[OPT_DATA], &conf);
    char why[CLI_WHY_SIZE] = "";
    if (status == CLI_OK && conf_check(conf, why, sizeof(why)) != ERR_OK) {
        cli_error(args, "%s", why);
        status = CLI_FAILED;
    }
    if (status == CLI_OK) {
        puts("The configuration is valid.");
        note_body_limit(conf);
    }
    conf_free(conf);
    /* A configuration that is refused is what this command is there to find; the command line was right. */
    return status == CLI_OK ? CLI_OK : CLI_FAILED;
}

static enum cli_status show(const struct cli_args *args)
{
    struct conf *conf = NULL;
    enum cli_status status = cli_conf_open(args, args->option[OPT_CONFIG], args->option[OPT_DATA], &conf);
    if (status == CLI_OK)
        conf_print(conf, stdout);
    conf_free(conf);
    return status;
}

static enum cli_status sample(const struct cli_args *args)
{
    (void)args;
    conf_print_sample(stdout);
    return CLI_OK;
}

static const char manual_head[] = ".Dd January 1, 2026\n"
                                  ".Dt CAVAGE.CONF 5\n"
                                  ".Os Cavage " CAVAGE_VERSION "\n"
                                  ".Sh NAME\n"
                                  ".Nm cavage.conf\n"
                                  ".Nd configuration of the Cavage daemons\n"
                                  ".Sh DESCRIPTION\n"
                                  "One file configures all daemons and the\n"
                                  ".Xr cavage 1\n"
                                  "program.\n"
                                  "It is given with\n"
                                  ".Fl -config\n"
                                  "or the environment variable\n"
                                  ".Ev CAVAGE_CONFIG ;\n"
                                  "without one, every key has its default.\n"
                                  ".Pp\n"
                                  "The file holds sections in brackets, and lines of the form\n"
                                  ".Ql key = value .\n"
                                  "Lines that begin with\n"
                                  ".Ql #\n"
                                  "or\n"
                                  ".Ql \\&;\n"
                                  "are comments.\n"
                                  "An unknown key, a key given twice, or a value that is not allowed stops the start; "
                                  "the message names file, line and key.\n"
                                  "Sizes take the suffixes K, M and G (powers of 1024), durations us, ms, s, m and h; "
                                  "a bare number is bytes or milliseconds.\n"
                                  "Paths that are not absolute lie below\n"
                                  ".Cm data_dir\n"
                                  "of the section common.\n"
                                  ".Pp\n"
                                  "The environment variable\n"
                                  ".Ev CAVAGE_ Ns Ar SECTION Ns _ Ns Ar KEY ,\n"
                                  "in capitals, overrides the file, and options override both.\n"
                                  ".Pp\n"
                                  ".Nm cavage Cm config show\n"
                                  "tells every key's value and where it came from;\n"
                                  ".Nm cavage Cm config sample\n"
                                  "prints a file to begin with.\n"
                                  ".Sh KEYS\n";

static const char manual_tail[] = ".Sh FILES\n"
                                  ".Bl -tag -width Ds\n"
                                  ".It Pa PREFIX/share/cavage/cavage.conf\n"
                                  "The sample file.\n"
                                  ".El\n"
                                  ".Sh SEE ALSO\n"
                                  ".Xr cavage 1 ,\n"
                                  ".Xr cavage-api 8 ,\n"
                                  ".Xr cavage-authcache 8 ,\n"
                                  ".Xr cavage-meter 8 ,\n"
                                  ".Xr cavage-worker 8\n";

static enum cli_status manual(const struct cli_args *args)
{
    (void)args;
    fputs(manual_head, stdout);
    conf_print_manual(stdout);
    fputs(manual_tail, stdout);
    return CLI_OK;
}

static enum cli_status parameters(const struct cli_args *args)
{
    (void)args;
    resize_options_print(stdout);
    return CLI_OK;
}

static const struct cli_option options[] = {[OPT_CONFIG] = CLI_OPT_CONFIG, [OPT_DATA] = CLI_OPT_DATA, {0}};
static const struct cli_option no_options[] = {{0}};

static const char parameters_help[] = "Print the options of a resize as a list for the manual page cavage(1)";

static const struct cli_command commands[] = {
    {"check", "", "Say whether the file and the environment are valid", NULL, 0, 0, options, check, NULL, NULL},
    {"show", "", "Show every key, its value and where that came from", NULL, 0, 0, options, show, NULL, NULL},
    {"sample", "", "Print the sample file: every key at its default, explained", NULL, 0, 0, no_options, sample, NULL,
     NULL},
    {"manual", "", "Print the manual page cavage.conf(5)", NULL, 0, 0, no_options, manual, NULL, NULL},
    {"parameters", "", parameters_help, NULL, 0, 0, no_options, parameters, NULL, NULL},
    {0},
};

const struct cli_command cli_config = {
    .name = "config", .summary = "Check and show the configuration", .group = commands};

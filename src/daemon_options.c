/* SPDX-License-Identifier: MIT */
/* Parses the daemons' command line and loads the configuration. */
#include "daemon_options.h"

#include "cavage/err.h"
#include "cavage/version.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option known[] = {
    {"config", required_argument, NULL, 'c'},
    {"data", required_argument, NULL, 'd'},
    {"instance", required_argument, NULL, 'i'},
    {"test", no_argument, NULL, 't'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static const char help_options[] =
    "  --config FILE    read this configuration file; else the one CAVAGE_CONFIG names, if any\n"
    "  --data DIR       keep everything below DIR, instead of common.data_dir\n"
    "  --instance NAME  the name of the run file, when several of a kind share a data folder\n"
    "  --test           obey the CAVAGE_TEST_* variables that tests use\n"
    "  --help           print this and exit\n"
    "  --version        print the version and exit\n";

static void print_help(const struct daemon_spec *spec)
{
    printf("Usage: %s [--config FILE] [--data DIR] [--instance NAME]\n%s\n\n%s\nSee %s(8) and cavage.conf(5).\n",
           spec->program, spec->summary, help_options, spec->program);
}

static const char *default_instance(const char *program)
{
    const char *dash = strchr(program, '-');
    return dash == NULL ? program : dash + 1;
}

static bool instance_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    return len > 0 && name[len] == '\0' && name[0] != '-' && len < sizeof(((struct daemon *)0)->instance);
}

static int usage_error(const struct daemon_spec *spec, const char *what, const char *which)
{
    fprintf(stderr, "%s: %s%s; see %s --help\n", spec->program, what, which, spec->program);
    return ERR_INVALID;
}

int daemon_options_parse(const struct daemon_spec *spec, int argc, char **argv, struct daemon_options *options)
{
    int option;
    *options = (struct daemon_options){.config = getenv("CAVAGE_CONFIG"), .instance = default_instance(spec->program)};
    if (options->config != NULL && options->config[0] == '\0')
        options->config = NULL;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->config = optarg;
            break;
        case 'd':
            options->data = optarg;
            break;
        case 'i':
            options->instance = optarg;
            break;
        case 't':
            options->test = true;
            break;
        case 'h':
            print_help(spec);
            return 1;
        case 'V':
            printf("%s %s\n", spec->program, CAVAGE_VERSION);
            return 1;
        default: /* getopt_long has told what is wrong */
            return ERR_INVALID;
        }
    }
    if (optind < argc)
        return usage_error(spec, "unexpected argument ", argv[optind]);
    if (!instance_valid(options->instance))
        return usage_error(spec, "--instance takes up to 63 of a-z, 0-9, - and _, not beginning with -", "");
    return ERR_OK;
}

int daemon_options_load(const struct daemon_options *options, struct conf **out, char *why, size_t size)
{
    struct conf *conf = NULL;
    int err = conf_new(&conf);
    if (err != ERR_OK) {
        snprintf(why, size, "%s", err_text(err));
        return err;
    }
    if (options->config != NULL)
        err = conf_read_file(conf, options->config, why, size);
    if (err == ERR_OK)
        err = conf_read_env(conf, environ, why, size);
    if (err == ERR_OK && options->data != NULL)
        err = conf_set(conf, CONF_COMMON_DATA_DIR, options->data, "--data", why, size);
    if (err == ERR_OK)
        err = conf_check(conf, why, size);
    if (err == ERR_OK && !options->test)
        err = conf_check_untested(conf, why, size);
    if (err != ERR_OK) {
        conf_free(conf);
        return err;
    }
    *out = conf;
    return ERR_OK;
}

/* The first variable that only tests may use, without its value, in name. False when there is none, or when it does not fit. */
static bool find_test_variable(char *name, size_t size)
{
    static const char prefix[] = "CAVAGE_TEST_";
    for (char **next = environ; *next != NULL; next++) {
        size_t len = strcspn(*next, "=");
        if (strncmp(*next, prefix, sizeof(prefix) - 1) != 0 || len >= size)
            continue;
        memcpy(name, *next, len);
        name[len] = '\0';
        return true;
    }
    return false;
}

void daemon_options_drop_test(void)
{
    char name[256];
    while (find_test_variable(name, sizeof(name)) && unsetenv(name) == 0)
        continue;
}

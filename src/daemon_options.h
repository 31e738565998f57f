/* SPDX-License-Identifier: MIT */
/* The command line that all daemons share, and the configuration that it leads to. */
#ifndef CAVAGE_DAEMON_OPTIONS_H
#define CAVAGE_DAEMON_OPTIONS_H

#include "cavage/conf.h"
#include "cavage/daemon.h"

struct daemon_options {
    const char *config; /* NULL: no file */
    const char *data;   /* NULL: as configured */
    const char *instance;
    bool test;
};

/* Parse argv. 0 to go on, 1 when --help or --version was answered, ERR_INVALID after telling on stderr what is wrong. */
int daemon_options_parse(const struct daemon_spec *spec, int argc, char **argv, struct daemon_options *options);

/* Defaults, file, environment, options, in this order. Free *out with conf_free. Failures are explained in why. */
int daemon_options_load(const struct daemon_options *options, struct conf **out, char *why, size_t size);

/* Take CAVAGE_TEST_* out of the environment, so that nothing but a test can be led by it. */
void daemon_options_drop_test(void);

#endif

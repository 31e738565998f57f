/* SPDX-License-Identifier: MIT */
/* The program `cavage`: runs a system on one machine, manages it, uses it. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_command *const commands[] = {&cli_up,    &cli_customer, &cli_key,    &cli_resize,  &cli_bench,
                                                     &cli_usage, &cli_status,   &cli_config, &cli_cluster, NULL};

int main(int argc, char **argv)
{
    /* The key is for this program alone: daemons would refuse a variable that is no configuration key. */
    const char *value = getenv("CAVAGE_KEY");
    char *key = value ? strdup(value) : NULL;
    struct cli cli = {.key = key};
    unsetenv("CAVAGE_KEY");
    signal(SIGPIPE, SIG_IGN);

    enum cli_status status = cli_dispatch(&cli, commands, argc, argv);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        /* Of a write that failed earlier, only that is known. */
        if (errno != EPIPE)
            fprintf(stderr, "cavage: cannot write the output%s%s\n", errno ? ": " : "", errno ? strerror(errno) : "");
        if (status == CLI_OK)
            status = CLI_FAILED;
    }
    if (key)
        explicit_bzero(key, strlen(key));
    free(key);
    return (int)status;
}

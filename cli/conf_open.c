/* SPDX-License-Identifier: MIT */
/* Reads the configuration as the daemons do, for the commands that talk to them or start them. */
#include "cli.h"

#include "cavage/err.h"
#include "run_dir.h"

#include <stdlib.h>
#include <unistd.h>

enum cli_status cli_conf_open(const struct cli_args *args, const char *config, const char *data, struct conf **out)
{
    char why[CLI_WHY_SIZE] = "";
    struct conf *conf = NULL;
    enum cli_status status = CLI_FAILED;
    int err = conf_new(&conf);
    if (err != ERR_OK)
        goto out;
    if (!config)
        config = getenv("CAVAGE_CONFIG");
    if (config && config[0] && (err = conf_read_file(conf, config, why, sizeof(why))) != ERR_OK)
        goto out;
    if ((err = conf_read_env(conf, environ, why, sizeof(why))) != ERR_OK)
        goto out;
    if (data && (err = conf_set(conf, CONF_COMMON_DATA_DIR, data, "--data", why, sizeof(why))) != ERR_OK)
        goto out;
    if ((err = run_dir_adopt(conf, why, sizeof(why))) != ERR_OK)
        goto out;
    *out = conf;
    conf = NULL;
    status = CLI_OK;
out:
    if (status != CLI_OK) {
        cli_error(args, "%s", why[0] ? why : err_text(err));
        if (err == ERR_INVALID || err == ERR_RANGE)
            status = CLI_USAGE;
    }
    conf_free(conf);
    return status;
}

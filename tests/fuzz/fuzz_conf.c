/* SPDX-License-Identifier: MIT */
/* Fuzzes the configuration: a file's text, then each of its lines as an environment variable. */
#include "cavage/conf.h"
#include "cavage/err.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Whatever came in, every value is one that its key allows. */
static void check_values(const struct conf *conf)
{
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        int64_t number = conf_int(conf, (enum conf_id)i);
        bool bounded =
            key->type == CONF_INT || key->type == CONF_SIZE || key->type == CONF_DURATION || key->type == CONF_ADDRESS;
        if (bounded && (number < key->min || number > key->max))
            abort();
        if (strlen(conf_str(conf, (enum conf_id)i)) > CONF_VALUE_MAX)
            abort();
    }
}

static void check_why(int err, const char *why, size_t size)
{
    size_t len = strnlen(why, size);
    if (len == size || (err != ERR_OK && len == 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *conf = NULL;
    char why[256] = "";
    char *text = malloc(size + 1);
    if (text == NULL || conf_new(&conf) != ERR_OK)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    check_why(conf_read_text(conf, "fuzz.conf", text, why, sizeof(why)), why, sizeof(why));
    check_values(conf);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *const env[] = {line, NULL};
        why[0] = '\0';
        check_why(conf_read_env(conf, env, why, sizeof(why)), why, sizeof(why));
    }
    check_values(conf);
    conf_free(conf);
    free(text);
    return 0;
}

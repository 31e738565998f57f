/* SPDX-License-Identifier: MIT */
/* Finds the API that a command talks to, and the key it uses. */
#ifndef TARGET_H
#define TARGET_H

#include "cli.h"

enum { TARGET_URL_SIZE = 4096, TARGET_KEY_SIZE = 256 };

/* What the command's options say; each may be NULL. */
struct target_options {
    const char *url;
    const char *key;
    const char *key_file;
    const char *data;
    const char *config;
};

/* Zeroed at first. Wipe the key after use. */
struct target {
    char url[TARGET_URL_SIZE]; /* "http://HOST:PORT", or as --url gave it */
    char key[TARGET_KEY_SIZE]; /* empty: none */
};

/* The key given for this call: by option, by file, by the environment. CLI_OK with an empty key when there is none. Says what is wrong. */
enum cli_status target_find_key(const struct cli_args *args, const struct target_options *options,
                                struct target *target);

/* The URL given; else the API that runs on the data folder, and the folder's demo key when there is no key so far. The demo key never goes to an
 * address that was given. Without a key it fails, unless `keyless`. Says what is wrong. */
enum cli_status target_find_url(const struct cli_args *args, const struct target_options *options, bool keyless,
                                struct target *target);

/* Take a key over. False when it is empty, too long, or has blanks. */
bool target_set_key(struct target *target, const char *key);

#endif

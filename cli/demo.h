/* SPDX-License-Identifier: MIT */
/* The demo customer and its key, which DATA/demo.key keeps for the owner of the data folder. */
#ifndef DEMO_H
#define DEMO_H

#include "cavage/conf.h"
#include "cavage/key.h"

#include <stddef.h>

/* The path of DATA/demo.key. */
int demo_key_path(const struct conf *conf, char *out, size_t size);

/* Read the key that is kept. ERR_NOTFOUND, ERR_DENIED, ERR_CORRUPT. Wipe it after use. */
int demo_key_read(const struct conf *conf, char key[KEY_TEXT_SIZE]);

/* The same, when the management API still knows that key; else make a key, and the customer when it is missing, and keep it. */
int demo_key_ensure(const struct conf *conf, char key[KEY_TEXT_SIZE], char *why, size_t size);

#endif

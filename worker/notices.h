/* SPDX-License-Identifier: MIT */
/* Who made a picture and whose it is, as its metadata tell, bounded. Pure. */
#ifndef CAVAGE_WORKER_NOTICES_H
#define CAVAGE_WORKER_NOTICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum notice_kind { NOTICE_RIGHTS, NOTICE_CREATOR };

enum {
    NOTICES_MAX = 8,          /* what comes later is left out */
    NOTICE_TEXT_SIZE = 1024,  /* with NUL; longer ones are cut at a character */
    NOTICE_LANGUAGE_SIZE = 24 /* likewise, or left out */
};

struct notice {
    enum notice_kind kind;
    char language[NOTICE_LANGUAGE_SIZE]; /* as xml:lang has it; empty: not told */
    char text[NOTICE_TEXT_SIZE];         /* UTF-8 without control characters, not empty */
};

/* All zero is empty. */
struct notices {
    size_t count;
    struct notice at[NOTICES_MAX];
};

/* Add a text of any bytes: those that are not UTF-8 are read as Latin-1, controls become blanks, blanks at both ends go. Blank texts are left out. */
void notices_add(struct notices *n, enum notice_kind kind, const char *language, const char *text, size_t len);
bool notices_have(const struct notices *n, enum notice_kind kind);

#endif

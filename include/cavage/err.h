/* SPDX-License-Identifier: MIT */
/* The one set of error codes; functions return 0 or a negative enum err. */
#ifndef CAVAGE_ERR_H
#define CAVAGE_ERR_H

enum err {
    ERR_OK = 0,
    ERR_NOMEM = -1,    /* memory, or a bounded table, is exhausted */
    ERR_INVALID = -2,  /* an argument or input is malformed */
    ERR_RANGE = -3,    /* well formed, but outside what is allowed */
    ERR_NOTFOUND = -4, /* no such thing */
    ERR_EXISTS = -5,   /* it is there already */
    ERR_AGAIN = -6,    /* would block; try again after the next event */
    ERR_IO = -7,       /* the operating system refused; errno tells more */
    ERR_CORRUPT = -8,  /* stored data fails its checks */
    ERR_CLOSED = -9,   /* the peer or the resource is gone */
    ERR_TIMEOUT = -10, /* not done in the time allowed */
    ERR_DENIED = -11,  /* not permitted, or the credentials are wrong */
    ERR_FULL = -12,    /* a limit or budget is used up */
    ERR_VERSION = -13, /* a format or protocol version that is not spoken here */
    ERR_INTERNAL = -14 /* a library failed in a way it should not */
};

/* A short lower-case English phrase for the code; never NULL. */
const char *err_text(int err);

/* The enum err that fits best to an errno value. */
int err_from_errno(int errnum);

#endif

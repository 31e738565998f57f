/* SPDX-License-Identifier: MIT */
/* The version of all programs. */
#ifndef CAVAGE_VERSION_H
#define CAVAGE_VERSION_H

#define CAVAGE_VERSION "0.1.0"

#endif

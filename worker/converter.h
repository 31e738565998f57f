/* SPDX-License-Identifier: MIT */
/* A converter process: one image at a time, from its input memory to its output memory. */
#ifndef CAVAGE_WORKER_CONVERTER_H
#define CAVAGE_WORKER_CONVERTER_H

#include "control.h"
#include "sandbox.h"

/* The exit status of a converter whose own alarm ended it. */
enum { CONVERTER_EXIT_ALARM = 3 };

/* The whole life of a converter, in a process just forked from the zygote. Gives up all rights and descriptors but those it is handed:
 * its channel, its input and its output. Ends when the supervisor closes the channel. Returns the exit status. */
int converter_main(const struct control_spawn *spawn, const struct sandbox *sandbox, int channel, int input_fd,
                   int output_fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Staying attached: says what is attached, then waits for the user to have done with it. Owns the
 * line that `create` and `attach` print; knows nothing of how the segment came to be.
 */
#ifndef SHMDCTL_HOLD_H
#define SHMDCTL_HOLD_H

#include "shmdctl/command.h"

/* Prints the segment's name and semaphore, at once. Returns 0, or -1 when it has said why not. */
int hold_announce(struct context *context, const struct shmd_segment *segment);

/* Announces, then waits until standard input ends or a signal asks for the end. Returns as above. */
int hold_segment(struct context *context, const struct shmd_segment *segment);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A reader and a writer who take turns on 64 bytes. What keeps them apart is the only thing in which
 * the examples differ: each brings its own guard_enter() and guard_leave().
 */
#ifndef EXAMPLES_TURNS_H
#define EXAMPLES_TURNS_H

#include <shmd.h>

/* Both return 0, or a negative errno. guard_enter() may return SHMD_OWNER_DIED: we have entered, and
 * somebody was killed between these two. turns.c kills nobody; killed.c does. */
int guard_enter(struct shmd_segment *segment);
int guard_leave(struct shmd_segment *segment);

#endif

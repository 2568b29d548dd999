/* SPDX-License-Identifier: MIT */
/*
 * The process's one connection to the daemon. It is made when it is first needed, and is libshmd's from
 * then on, which makes a forked child's own, and goes on with the next daemon after a restart.
 */
#ifndef PRELOAD_BROKER_H
#define PRELOAD_BROKER_H

#include <sys/types.h>

struct shmd;

/* The daemon is not to be asked: the native function is to be called instead. */
#define BROKER_NONE 1

/* Returns 0 with the connection; BROKER_NONE; or the negative errno that the call fails with:
 * -ECONNREFUSED, where no daemon is an error, or what the process itself is short of. */
int broker_get(struct shmd **ret);

/* What the result of a request means for the call: it itself, or, where nobody answered it, as above. */
int broker_judge(int r);

/* What this process made is kept for that one; for nobody where there is no connection of its own, or it is in use.
 * May be called from a signal handler. */
void broker_hand_over(pid_t heir);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * How a connection goes on after its daemon has ended: with the next daemon, which is told by whom and what
 * was attached, or, where that one knows nothing of us, with nothing but the calls that only ask. Which
 * thread does it, and that the others wait, is call.c's.
 */
#ifndef LIBSHMD_RESUME_H
#define LIBSHMD_RESUME_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "wire/protocol.h"

struct line;
struct shmd;

/* Part of a connection. What follows `fresh`, which others only shut down, is of the thread that mends. */
struct resume {
	unsigned session; /* the how-many-th: counts on when a daemon knows nothing of us */
	int fresh;        /* the socket to the next daemon, until it is the connection's; or -1 */
	bool is_greeted;  /* that daemon was said hello to, and has not answered yet */
	struct wire_resume who; /* we are to daemons; a token of 0: nobody can tell us again */
	unsigned n_futile;      /* times in a row that it broke with nothing answered */
	struct timespec since;  /* when it was mended last; CLOCK_MONOTONIC */
};

/* The connection is one of this process's from now on. */
void resume_init(struct resume *resume);

/* The daemon's welcome to a connection that is new. */
void resume_take_welcome(struct resume *resume, const struct wire_welcome *welcome);

/*
 * With the mutex held, which is opened meanwhile, as the only thread that reads or mends: exchanges the
 * socket for one to the next daemon, which knows then what this one knew. Calls that are done by that have
 * been finished; of the others, none is sent. Returns 0, or a negative errno with the message set: -ECONNRESET:
 * that daemon has ended, too; -EAGAIN: the patience is over.
 */
int resume_once(struct shmd *connection, int patience_ms);

/* Whether another daemon is worth a try: not if the last ones ended without having answered anything. */
bool resume_is_futile(const struct resume *resume);

/* So that a daemon learns of our end which has not seen us yet, with little patience. As above, but the
 * mutex is not held. */
void resume_to_end(struct shmd *connection);

/* Of a request by a handle, with the mutex held: 0, or -ESTALE with the message set. */
int resume_check_session(const struct resume *resume, unsigned session);

#endif

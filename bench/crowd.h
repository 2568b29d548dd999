/* SPDX-License-Identifier: MIT */
/*
 * Many clients at once, each a process with a connection of its own that attaches the same segment
 * and detaches it, over and over, while the crowd runs. Between two runs they sleep.
 */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include <stdint.h>
#include <sys/types.h>

#include "scene.h"

enum crowd_side {
	CROWD_OURS,
	CROWD_BARE,
};

struct board; /* what the processes share */

struct crowd {
	enum crowd_side side;
	unsigned n;
	pid_t *clients;
	struct board *board;
	struct bare_server server; /* with CROWD_BARE */
};

/* Starts n clients; the scene's kept segment is theirs. All end the program on failure. */
void crowd_start(struct crowd *crowd, enum crowd_side side, unsigned n, const struct scene *scene);

/* Lets them run for so long, after a start that does not count, and returns the pairs of attach and
 * detach in a second. */
double crowd_run(struct crowd *crowd, double seconds);

void crowd_stop(struct crowd *crowd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Frames from a writer to a reader, each a process of its own, as many as they can: published one after
 * another; through a socket; or copied into one segment that both lock. The writer has each frame in
 * memory of its own, and the reader sums it up, on all sides alike. Every frame is read, and the reader
 * ends the program where one is missing or damaged.
 *
 * For that, a writer who publishes waits until the reader has the frame before, and not until that has
 * been read: meanwhile it fills the next, which is what publishing is for. The others go on as early as
 * they can, too: through the socket when the kernel has room for more, in the segment when it has been
 * read. A reader who may skip frames would make the numbers larger, and mean less.
 *
 * Segments are made and attached with SHMD_PREFAULT, which is a tenth faster here. Most of what a frame
 * costs when it is published is new memory for it, cleared by the kernel, and freed again: the references
 * have theirs from the start.
 */
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <sys/types.h>

#include "scene.h"

enum frames_side {
	FRAMES_PUBLISHED,
	FRAMES_SOCKET,
	FRAMES_LOCKED,
};

struct studio; /* what the processes share */

struct frames {
	enum frames_side side;
	int sockets[2]; /* the writer's, the reader's */
	pid_t writer, reader;
	struct studio *studio;
};

/* Starts both. All end the program on failure. */
void frames_start(struct frames *frames, enum frames_side side);

/* Lets them run for so long, after a start that does not count, and returns the frames that were read in
 * a second. */
double frames_run(struct frames *frames, double seconds);

void frames_stop(struct frames *frames);

#endif

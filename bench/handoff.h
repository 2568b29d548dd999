/* SPDX-License-Identifier: MIT */
/*
 * How long it takes from a writer, who has filled a segment, to a reader in another process, who has
 * slept until there is one, and maps it: shmd_publish() and shmd_wait(), or one message to the bare
 * server and one from it. This process is the writer. Each sample has a segment of its own. Outside of
 * the timed part it is made and filled, and let go of on both sides; with the daemon it loses its name
 * there, too, unless the next is to supersede it. Owns the table of the ways to do it.
 */
#ifndef BENCH_HANDOFF_H
#define BENCH_HANDOFF_H

#include <stdbool.h>
#include <sys/types.h>

#include "scene.h"

struct handoff_kind {
	const char *key;
	const char *what;
	const char *beside;
	double aim;
	unsigned flags;    /* of shmd_publish() */
	bool supersedes;   /* the one before it */
	bool seals_beside; /* who uses the bare server seals, too */
};

/* Ends where key is NULL. */
extern const struct handoff_kind handoff_kinds[];

enum handoff_side {
	HANDOFF_OURS,
	HANDOFF_BARE,
};

struct meeting; /* what the two processes share */

struct handoff {
	const struct handoff_kind *kind;
	enum handoff_side side;
	struct scene *scene;
	pid_t reader;
	struct meeting *meeting;
};

/* Starts the reader, on the processor and with the rank of this process. All end the program on
 * failure. */
void handoff_start(struct handoff *handoff, const struct handoff_kind *kind, enum handoff_side side,
		   struct scene *scene);

/* Does it once, and returns the microseconds that it took. */
double handoff_sample(struct handoff *handoff);

void handoff_stop(struct handoff *handoff);

#endif

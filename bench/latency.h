/* SPDX-License-Identifier: MIT */
/*
 * How long one call takes a client that has the daemon to itself. Both sides of a comparison open
 * something and close it again; which part of that is timed is the comparison's, and the rest is done
 * for the next turn. Owns the table of comparisons.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

#include "scene.h"

enum part {
	PART_OPEN,
	PART_CLOSE,
	PART_BOTH,
};

struct subject {
	void (*open)(struct scene *scene, const struct subject *subject);
	void (*close)(struct scene *scene, const struct subject *subject); /* NULL: nothing to do */
	const char *name;           /* of the segment; for the daemon and shm_open */
	unsigned flags;             /* of shmd_create() */
	enum bare_op opens, closes; /* for the bare server */
};

struct comparison {
	const char *key;
	const char *what;
	const char *beside; /* what the reference is */
	double aim;         /* the ratio is to be no more than this; 0: no aim */
	enum part part;
	unsigned repeats; /* how often the two sides do it themselves in one open */
	struct subject ours;
	struct subject reference;
};

/* Ends where key is NULL. */
extern const struct comparison comparisons[];

/* Does it once and returns the microseconds that the timed part took. */
double latency_sample(struct scene *scene, const struct comparison *comparison,
		      const struct subject *subject);

#endif

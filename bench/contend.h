/* SPDX-License-Identifier: MIT */
/*
 * Processes that want the same permit, each on a processor of its own: they take it, hold it for a
 * while, give it back and do something else for a while, over and over, through shmd_acquire() and
 * shmd_release(), or through sem_wait(3) and sem_post(3) on a semaphore that sem_open(3) made. And one
 * that finds it taken and has to wait. Between two runs they sleep.
 */
#ifndef BENCH_CONTEND_H
#define BENCH_CONTEND_H

#include <semaphore.h>
#include <sys/types.h>

#include "scene.h"

#define CONTENDERS_MAX 2

/* Nanoseconds: how long a permit is held, and how long it takes on the average until it is wanted
 * again, half less to half more: with a time that is always the same, two who have met once go on
 * side by side and never meet again. Which times come one after another is the same on both sides. */
#define CONTEND_HOLD  100
#define CONTEND_THINK 300
#define CONTEND_TIMES "100 ns held, 150 to 450 ns between"

enum contend_side {
	CONTEND_OURS,
	CONTEND_DIRECT,
};

struct arena; /* what the processes share */

/* One who takes permits, the one way or the other. */
struct contender {
	struct shmd_segment *segment; /* NULL: the semaphore's */
	sem_t *semaphore;
};

struct contend {
	unsigned n;
	pid_t processes[CONTENDERS_MAX];
	struct arena *arena;
	struct contender self; /* this process */
};

/* Starts n of them, each on its processor. With CONTEND_OURS the permit is that of the scene's kept
 * segment. All end the program on failure. */
void contend_start(struct contend *contend, enum contend_side side, unsigned n, const int cpus[],
		   const struct scene *scene);

/* Lets them run for so long. Returns the microseconds from one permit of a process to its next, with
 * hold and think time: the median over parts of the run. */
double contend_run(struct contend *contend, double seconds);

/* Has the first of them wait for the permit from one call to the other. Returns the microseconds of
 * processor time that this took it, with falling asleep and waking up. */
void contend_wait_begin(struct contend *contend);
double contend_wait_end(struct contend *contend);

void contend_stop(struct contend *contend);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A crowd of processes that take and give permits of one segment until they are killed, and what they
 * write into memory of the test's, shared by all, to notice what must never be: too many at once,
 * somebody who was not told of a death, a permit that nobody has.
 *
 * A holder writes a token of its own into a place after it has acquired, and takes it away before it
 * releases. So a token of a living process stands for a permit that is held, and there is a place for
 * each permit. What this cannot see: two holders of one permit of whom one has left before the other
 * has written its token. It has no false alarms.
 */
#ifndef TESTS_SYSTEM_CROWD_H
#define TESTS_SYSTEM_CROWD_H

#include <shmd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CROWD_UNITS   10
#define CROWD_THREADS 3
#define CROWD_PERMITS 4

enum crowd_state {
	CROWD_IDLE,
	CROWD_OPEN, /* has the semaphore open by name */
	CROWD_TAKES,
	CROWD_HOLDS, /* for certain; the two beside it: perhaps */
	CROWD_GIVES,
	CROWD_STATES
};

/* One place in the crowd, for one process after the other. */
struct crowd_unit {
	pid_t pid; /* set by the process itself, and taken away before it is killed */
	bool is_raw;
	uint32_t states[CROWD_THREADS];
};

/* In shared memory. All members are read and written atomically. */
struct crowd {
	unsigned permits;
	bool is_lull; /* nobody is to take a permit, and nobody to have the semaphore open by name */
	bool is_over;
	uint64_t places[CROWD_PERMITS];
	uint64_t entries;
	uint64_t told;
	uint64_t longest_wait_us;
	uint64_t raw_away_until_us;
	bool has_failed;
	char failure[256];
	struct crowd_unit units[CROWD_UNITS];

	/* Of the process that kills, alone. */
	unsigned killed;
	unsigned died[CROWD_STATES]; /* threads, by what they were at */
	unsigned raw_held;           /* of those who held, programs that opened it by name */
	unsigned lulls;
	double longest_lull_ms;
};

/* The state of a generator of random numbers; not 0. */
unsigned chance(uint64_t *state, unsigned n);
uint64_t chance_seed(uint64_t seed);

/* A number from the environment. */
uint64_t read_number(const char *variable, uint64_t standard);

struct crowd *crowd_new(unsigned permits);
void crowd_free(struct crowd *crowd);

/* Notes the first failure; the others follow from it. */
void crowd_fail(struct crowd *crowd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- in the crowd ------------------------------------------------------------------------------ */

/* One thread of one process. */
struct crowd_member {
	struct crowd *crowd;
	unsigned unit, thread;
	uint64_t chance;
	struct shmd_segment *segment;
	const char *semaphore;                      /* raw: its name */
	void (*on_hold)(struct crowd_member *self); /* called while the permit is held; or NULL */
	void *context;
};

/* Must be called first in a new process of that unit. */
void crowd_join(struct crowd *crowd, unsigned unit, bool is_raw);

/* Takes and gives until the crowd is over: by the library; by sem_open(3). */
void crowd_work(struct crowd_member *self);
void crowd_work_raw(struct crowd_member *self);

/* The same in so many threads. */
void crowd_work_threads(struct crowd_member *first, unsigned n);

/* --- who kills them ---------------------------------------------------------------------------- */

/* Kills that process of the unit, a child of ours, at some moment of its work, and waits for its end. */
void crowd_kill(struct crowd *crowd, unsigned unit, pid_t pid, uint64_t *state);

/* Nobody holds a permit when this returns, and nobody takes one until crowd_go_on(). Fails if
 * somebody does not come to an end within 10 s. */
void crowd_lull(struct crowd *crowd);
void crowd_go_on(struct crowd *crowd);

void crowd_print(const struct crowd *crowd, const char *what);

#endif

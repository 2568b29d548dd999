/* SPDX-License-Identifier: MIT */
/*
 * Numbers that were measured, and where: series of values with their quartiles, the processors
 * that a process may use, and who goes first on them. Knows nothing of what is measured.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <sched.h>
#include <stddef.h>
#include <sys/types.h>

/* Values in the order in which they came; room for a number of them that is known beforehand. */
struct series {
	double *values;
	size_t n;
	size_t room;
};

/* Ends the program where there is no memory. */
void series_init(struct series *series, size_t room);
void series_fini(struct series *series);
void series_add(struct series *series, double value);
void series_clear(struct series *series);

/* What is left of a series in a report. All zero where nothing was measured. */
struct summary {
	double low; /* the first quartile */
	double median;
	double high; /* the third quartile */
};

/* Sorts the series. */
struct summary series_summary(struct series *series);

void pause_for(double seconds);

/* The processors that this process may use, and the last one of them: interrupts like the first. */
cpu_set_t cpus_allowed(void);
int cpus_last(const cpu_set_t *allowed);

/* The last one besides that; -1 where there is no other. */
int cpus_other(const cpu_set_t *allowed, int cpu);

/* Binds a process (0: this one) to one processor, or to many. Returns 0 or -errno. */
int cpus_pin(pid_t pid, int cpu);
int cpus_free(pid_t pid, const cpu_set_t *allowed);

/*
 * Who of a client and its server goes first where both could run. A server that is asked again while
 * it still closes what it sent with its answer finishes that first, and the next call is charged for
 * it, or not: with both in the fair class that changes from one run to the next. So the server is
 * made to go first until it sleeps, and each call pays for all that is done for it.
 */
enum ranks {
	RANKS_FIFO, /* both real-time, the server above; other programs do not disturb. Needs a right */
	RANKS_BATCH, /* the client never takes the processor from the server */
	RANKS_FAIR,  /* as programs run usually */
	RANKS_N,
};

extern const char *const ranks_names[RANKS_N];

/* For this process as the client. Returns 0 or -errno. */
int ranks_set(enum ranks ranks, pid_t server);

#endif

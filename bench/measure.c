/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

void series_init(struct series *series, size_t room)
{
	*series = (struct series){.values = calloc(room, sizeof(double)), .room = room};
	if (!series->values)
		errx(1, "out of memory");
}

void series_fini(struct series *series)
{
	free(series->values);
	series->values = NULL;
}

void series_add(struct series *series, double value)
{
	if (series->n < series->room)
		series->values[series->n++] = value;
}

void series_clear(struct series *series)
{
	series->n = 0;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

/* The value that a part of the sorted series lies below, between two neighbours where need be. */
static double quantile(const struct series *series, double part)
{
	double place = part * (double)(series->n - 1);
	size_t below = (size_t)place;
	double rest = place - (double)below;

	if (below + 1 >= series->n)
		return series->values[series->n - 1];
	return series->values[below] * (1 - rest) + series->values[below + 1] * rest;
}

struct summary series_summary(struct series *series)
{
	if (series->n == 0)
		return (struct summary){0};
	qsort(series->values, series->n, sizeof(double), compare);
	return (struct summary){.low = quantile(series, 0.25),
				.median = quantile(series, 0.5),
				.high = quantile(series, 0.75)};
}

void pause_for(double seconds)
{
	struct timespec t = {.tv_sec = (time_t)seconds,
			     .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&t, NULL);
}

cpu_set_t cpus_allowed(void)
{
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		err(1, "sched_getaffinity");
	return allowed;
}

int cpus_last(const cpu_set_t *allowed)
{
	int cpu = CPU_SETSIZE - 1;

	while (cpu > 0 && !CPU_ISSET(cpu, allowed))
		cpu--;
	return cpu;
}

int cpus_other(const cpu_set_t *allowed, int cpu)
{
	cpu_set_t others = *allowed;

	CPU_CLR(cpu, &others);
	return CPU_COUNT(&others) > 0 ? cpus_last(&others) : -1;
}

int cpus_free(pid_t pid, const cpu_set_t *allowed)
{
	return sched_setaffinity(pid, sizeof(*allowed), allowed) < 0 ? -errno : 0;
}

int cpus_pin(pid_t pid, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return cpus_free(pid, &one);
}

const char *const ranks_names[RANKS_N] = {
	[RANKS_FIFO] = "fifo",
	[RANKS_BATCH] = "batch",
	[RANKS_FAIR] = "fair",
};

static int set_policy(pid_t pid, int policy, int priority)
{
	struct sched_param parameter = {.sched_priority = priority};

	return sched_setscheduler(pid, policy, &parameter) < 0 ? -errno : 0;
}

int ranks_set(enum ranks ranks, pid_t server)
{
	int r = set_policy(server, ranks == RANKS_FIFO ? SCHED_FIFO : SCHED_OTHER,
			   ranks == RANKS_FIFO ? 2 : 0);

	if (r < 0)
		return r;
	switch (ranks) {
	case RANKS_FIFO:
		return set_policy(0, SCHED_FIFO, 1);
	case RANKS_BATCH:
		return set_policy(0, SCHED_BATCH, 0);
	case RANKS_FAIR:
	case RANKS_N:
		break;
	}
	return set_policy(0, SCHED_OTHER, 0);
}

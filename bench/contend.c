/* SPDX-License-Identifier: MIT */
#include "contend.h"

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "measure.h"
#include "stage.h"

#define BATCH       32                  /* permits from one look at the clock to the next */
#define SLICES      40                  /* parts of a run */
#define START_AFTER (2 * NSEC_PER_MSEC) /* time for all to wake up in */
#define CALIBRATION 1000000             /* steps of a busy loop */

/* Pages of its own each, so that counting costs nobody else anything. */
struct tally {
	_Alignas(4096) uint64_t done[SLICES];
	uint32_t seed;
};

/* Written by the parent while the others sleep, but for the tallies and what was used. */
struct arena {
	sem_t ready, go;
	bool is_wait; /* what to do next */
	uint64_t start, slice_ns;
	uint64_t used_ns; /* by the one who waited */
	struct tally tallies[CONTENDERS_MAX];
};

/* --- busy time -------------------------------------------------------------------------------- */

static unsigned hold_steps, think_steps;

/* One piece of code for all: how fast a loop is may depend on where it lies. */
static __attribute__((noinline)) void be_busy(unsigned steps)
{
	for (unsigned i = 0; i < steps; i++)
		__asm__ volatile("" ::: "memory");
}

static uint64_t time_steps(void)
{
	uint64_t start = clock_monotonic_ns();

	be_busy(CALIBRATION);
	return clock_monotonic_ns() - start;
}

/* Once in a run: both sides are to do the same work, not to take the same time for it. */
static void calibrate(void)
{
	uint64_t least = UINT64_MAX;

	if (hold_steps > 0)
		return;
	for (int i = 0; i < 20; i++) {
		uint64_t ns = time_steps();
		if (ns < least)
			least = ns;
	}
	hold_steps = (unsigned)(CONTEND_HOLD * (uint64_t)CALIBRATION / least);
	think_steps = (unsigned)(CONTEND_THINK * (uint64_t)CALIBRATION / least);
}

/* --- the processes ---------------------------------------------------------------------------- */

static inline void take(const struct contender *contender)
{
	if (contender->segment)
		need(shmd_acquire(contender->segment, -1), "acquire");
	else if (sem_wait(contender->semaphore) < 0)
		err(1, "sem_wait");
}

static inline void give(const struct contender *contender)
{
	if (contender->segment)
		need(shmd_release(contender->segment), "release");
	else if (sem_post(contender->semaphore) < 0)
		err(1, "sem_post");
}

/* From half of think_steps to one and a half, and on to the next. */
static inline unsigned next_think(uint32_t *random)
{
	*random = *random * 1664525 + 1013904223;
	return think_steps / 2 + (unsigned)(((uint64_t)*random * think_steps) >> 32);
}

static void take_batch(const struct contender *contender, uint32_t *random)
{
	for (int i = 0; i < BATCH; i++) {
		take(contender);
		be_busy(hold_steps);
		give(contender);
		be_busy(next_think(random));
	}
}

/* All begin and end by the clock, so that nobody runs without the others. */
static void take_many(const struct contender *contender, struct arena *arena, struct tally *tally)
{
	uint32_t random = tally->seed;

	while (clock_monotonic_ns() < arena->start)
		continue;
	for (;;) {
		take_batch(contender, &random);
		uint64_t slice = (clock_monotonic_ns() - arena->start) / arena->slice_ns;
		if (slice >= SLICES)
			return;
		tally->done[slice] += BATCH;
	}
}

static uint64_t processor_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void take_one(const struct contender *contender, struct arena *arena)
{
	uint64_t before = processor_ns();

	take(contender);
	arena->used_ns = processor_ns() - before;
	give(contender);
}

static _Noreturn void run_contender(const struct contender *contender, struct arena *arena,
				    unsigned i)
{
	/* The first time maps what is needed. */
	take(contender);
	give(contender);
	for (;;) {
		sem_post(&arena->ready);
		while (sem_wait(&arena->go) < 0)
			continue;
		if (arena->is_wait)
			take_one(contender, arena);
		else
			take_many(contender, arena, &arena->tallies[i]);
	}
}

/* Permits are not inherited, nor is a connection: with the daemon everybody has one of their own. */
static _Noreturn void begin_contender(const struct contend *contend, unsigned i, int cpu)
{
	struct contender contender = contend->self;
	struct shmd *connection;

	if (cpus_pin(0, cpu) < 0)
		errx(1, "cannot use processor %d", cpu);
	if (contender.segment) {
		need(shmd_connect(&connection, NULL), "connect");
		need(shmd_attach(connection, SCENE_WITH, 0, &contender.segment), "attach");
	}
	run_contender(&contender, contend->arena, i);
}

/* --- their parent ----------------------------------------------------------------------------- */

static struct arena *arena_new(void)
{
	struct arena *arena = mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (arena == MAP_FAILED)
		err(1, "mmap");
	sem_init(&arena->ready, 1, 0);
	sem_init(&arena->go, 1, 0);
	return arena;
}

/* Opened by name, like the daemon's; the name is not needed any more, and children inherit it. */
static sem_t *new_semaphore(const struct scene *scene)
{
	char name[64];

	snprintf(name, sizeof(name), "/%s-contended", scene->prefix);
	sem_t *semaphore = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
	if (semaphore == SEM_FAILED)
		err(1, "sem_open %s", name);
	sem_unlink(name);
	return semaphore;
}

void contend_start(struct contend *contend, enum contend_side side, unsigned n, const int cpus[],
		   const struct scene *scene)
{
	pid_t self = getpid();

	calibrate();
	*contend = (struct contend){.n = n, .arena = arena_new()};
	if (side == CONTEND_OURS)
		contend->self.segment = scene->with;
	else
		contend->self.semaphore = new_semaphore(scene);
	for (unsigned i = 0; i < n; i++) {
		contend->processes[i] = fork();
		if (contend->processes[i] < 0)
			err(1, "fork");
		if (contend->processes[i] == 0) {
			stage_end_with(self, SIGKILL);
			begin_contender(contend, i, cpus[i]);
		}
		stage_await(&contend->arena->ready, 1);
	}
}

/* One slice's; 0 where nobody got anything done, as in one that another program had. */
static double slice_us(const struct contend *contend, unsigned slice)
{
	const struct arena *arena = contend->arena;
	uint64_t done = 0;

	for (unsigned i = 0; i < contend->n; i++)
		done += arena->tallies[i].done[slice];
	return done == 0 ? 0 : (double)arena->slice_ns * contend->n / (double)done / NSEC_PER_USEC;
}

static double median_of_slices(const struct contend *contend)
{
	struct series series;

	series_init(&series, SLICES);
	for (unsigned slice = 0; slice < SLICES; slice++) {
		double us = slice_us(contend, slice);
		if (us > 0)
			series_add(&series, us);
	}
	double median = series_summary(&series).median;
	series_fini(&series);
	return median;
}

double contend_run(struct contend *contend, double seconds)
{
	struct arena *arena = contend->arena;

	for (unsigned i = 0; i < contend->n; i++)
		arena->tallies[i] = (struct tally){.seed = i};
	arena->is_wait = false;
	arena->slice_ns = (uint64_t)(seconds * (double)NSEC_PER_SEC / SLICES);
	arena->start = clock_monotonic_ns() + START_AFTER;
	for (unsigned i = 0; i < contend->n; i++)
		sem_post(&arena->go);
	stage_await(&arena->ready, contend->n);
	return median_of_slices(contend);
}

void contend_wait_begin(struct contend *contend)
{
	take(&contend->self);
	contend->arena->is_wait = true;
	sem_post(&contend->arena->go);
}

double contend_wait_end(struct contend *contend)
{
	give(&contend->self);
	stage_await(&contend->arena->ready, 1);
	return (double)contend->arena->used_ns / NSEC_PER_USEC;
}

void contend_stop(struct contend *contend)
{
	for (unsigned i = 0; i < contend->n; i++)
		kill(contend->processes[i], SIGKILL);
	for (unsigned i = 0; i < contend->n; i++)
		waitpid(contend->processes[i], NULL, 0);
	if (contend->self.semaphore)
		sem_close(contend->self.semaphore);
	munmap(contend->arena, sizeof(*contend->arena));
}

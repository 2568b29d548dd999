/* SPDX-License-Identifier: MIT */
/* Memory that goes away under an access, and signals that come without that. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/guard.h"

static int fd;
static volatile uint64_t *memory;
static volatile int steps;

static void set_up(void)
{
	fd = memfd_create("unit", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne((void *)memory, MAP_FAILED);
	ck_assert_int_eq(guard_init(), 0);
	steps = 0;
}

static void tear_down(void)
{
	munmap((void *)memory, 4096);
	close_fd(fd);
}

static void touch(void *context)
{
	steps++;
	*memory += *(uint64_t *)context;
	steps++;
}

static int run(void)
{
	uint64_t by = 5;

	return guard_run(touch, &by);
}

START_TEST(what_is_there_is_reached)
{
	ck_assert_int_eq(run(), 0);
	ck_assert_int_eq(run(), 0);
	ck_assert_uint_eq(*memory, 10);
	ck_assert_int_eq(steps, 4);
}
END_TEST

/* Again and again: nothing is left blocked or pending by the first one. */
START_TEST(what_is_gone_cuts_it_short)
{
	sigset_t mask;

	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(ftruncate(fd, 0), 0);
		ck_assert_int_eq(run(), -EFAULT);
		ck_assert_int_eq(steps, 1);
		ck_assert_int_eq(ftruncate(fd, 4096), 0);
		ck_assert_int_eq(run(), 0);
		ck_assert_int_eq(steps, 3);
		steps = 0;
	}
	ck_assert_uint_eq(*memory, 5);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
	ck_assert_int_eq(sigismember(&mask, SIGBUS), 0);
}
END_TEST

/* Returns how a child ends that does this. */
static int status_of(void (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		act();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void expect_fatal(void (*act)(void))
{
	int status = status_of(act);

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "status 0x%x", status);
}

static void touch_unguarded(void)
{
	if (ftruncate(fd, 0) == 0)
		++*memory;
}

static void touch_after_a_guard(void)
{
	run();
	touch_unguarded();
}

static void touch_after_a_cut(void)
{
	if (ftruncate(fd, 0) < 0 || run() != -EFAULT)
		_exit(1);
	++*memory;
}

START_TEST(without_a_guard_it_is_fatal)
{
	expect_fatal(touch_unguarded);
	expect_fatal(touch_after_a_guard);
	expect_fatal(touch_after_a_cut);
}
END_TEST

static void send_to_oneself(void *context)
{
	(void)context;
	kill(getpid(), SIGBUS);
}

static void be_sent_it_under_guard(void)
{
	guard_run(send_to_oneself, NULL);
}

static void be_sent_it(void)
{
	send_to_oneself(NULL);
}

/* Whoever may send it may end the process: with a guard, too. */
START_TEST(one_that_was_sent_is_fatal)
{
	expect_fatal(be_sent_it);
	expect_fatal(be_sent_it_under_guard);
}
END_TEST

static void *touch_in_a_thread(void *context)
{
	(void)context;
	++*memory;
	return NULL;
}

static void let_another_thread_touch(void *context)
{
	pthread_t thread;

	(void)context;
	if (pthread_create(&thread, NULL, touch_in_a_thread, NULL) == 0)
		pthread_join(thread, NULL);
}

static void touch_beside_a_guard(void)
{
	if (ftruncate(fd, 0) == 0)
		guard_run(let_another_thread_touch, NULL);
}

START_TEST(a_guard_is_its_threads_own)
{
	expect_fatal(touch_beside_a_guard);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, what_is_there_is_reached);
	tcase_add_test(tests, what_is_gone_cuts_it_short);
	tcase_add_test(tests, without_a_guard_it_is_fatal);
	tcase_add_test(tests, one_that_was_sent_is_fatal);
	tcase_add_test(tests, a_guard_is_its_threads_own);
}

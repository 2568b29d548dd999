/* SPDX-License-Identifier: MIT */
/* Semaphores between processes, and those whose holder is killed (SHMD_PRELOAD_RECOVER=1). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "preload_client.h"

/* Long, as other things run on the machine; what is measured against it takes a second at most. */
#define LONG_MS 10000

static sem_t *open_or_fail(const char *word, unsigned value)
{
	sem_t *sem = sem_open(name_of(word), O_CREAT, 0600, value);

	must(sem != SEM_FAILED);
	return sem;
}

static int value_of(sem_t *sem)
{
	int value;

	must(sem_getvalue(sem, &value) == 0);
	return value;
}

static struct timespec in_ms(clockid_t clock, long ms)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

static int wait_long(sem_t *sem)
{
	struct timespec end = in_ms(CLOCK_REALTIME, LONG_MS);

	return sem_timedwait(sem, &end);
}

/* --- as POSIX says ---------------------------------------------------------------------------- */

#define ROUNDS 1000

static void answer_pings(void)
{
	/* By name, as a stranger. */
	sem_t *ping = open_or_fail("ping", 0), *pong = open_or_fail("pong", 0);

	for (int i = 0; i < ROUNDS; i++)
		must(wait_long(ping) == 0 && sem_post(pong) == 0);
}

static void ping_pong(void)
{
	sem_t *ping = open_or_fail("ping", 0), *pong = open_or_fail("pong", 0);
	pid_t pid = spawn(answer_pings);

	for (int i = 0; i < ROUNDS; i++)
		must(sem_post(ping) == 0 && wait_long(pong) == 0);
	finish(pid);
	must(value_of(ping) == 0 && value_of(pong) == 0);
}

static void open_twice(void)
{
	const char *name = name_of("twice");
	sem_t *first = sem_open(name, O_CREAT | O_EXCL, 0600, 4);
	sem_t *second = sem_open(name, 0);

	must(first != SEM_FAILED && first == second);
	must(sem_close(first) == 0 && value_of(second) == 4);
	must(sem_unlink(name) == 0);
	sem_t *third = sem_open(name, O_CREAT | O_EXCL, 0600, 9);
	must(third != SEM_FAILED && third != second);
	must(value_of(third) == 9 && value_of(second) == 4);
	must(sem_close(second) == 0 && value_of(third) == 9 && sem_close(third) == 0);
}

/* More than there are buckets, so that places are used again. */
static void open_many(void)
{
	enum { MANY = 600 };
	static sem_t *sems[MANY];
	char word[32];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < MANY; i++) {
			snprintf(word, sizeof(word), "many-%d", i);
			sems[i] = open_or_fail(word, (unsigned)i);
		}
		for (int i = 0; i < MANY; i++) {
			snprintf(word, sizeof(word), "many-%d", i);
			must(open_or_fail(word, 1000) == sems[i]);
			must(value_of(sems[i]) == i && sem_close(sems[i]) == 0);
		}
		for (int i = 0; i < MANY; i++) {
			snprintf(word, sizeof(word), "many-%d", i);
			must(sem_close(sems[i]) == 0 && sem_unlink(name_of(word)) == 0);
		}
	}
}

/* Names that begin so are the C library's, also to close and to unlink. */
static void native_ones(void)
{
	char name[64], path[80];

	snprintf(name, sizeof(name), "/shmd-preload-test-%d", (int)getpid());
	snprintf(path, sizeof(path), "/dev/shm/sem.%s", name + 1);
	sem_t *sem = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
	must(sem != SEM_FAILED);
	must(access(path, F_OK) == 0);
	must(sem_wait(sem) == 0 && sem_trywait(sem) < 0 && errno == EAGAIN);
	must(sem_post(sem) == 0);
	must(sem_unlink(name) == 0 && access(path, F_OK) < 0);
	must(sem_close(sem) == 0);
}

/* Until told to go on; those whom nobody has open any more go. */
static void hold_semaphore(void)
{
	open_or_fail("held", 1);
	tell();
	await();
}

const struct act acts_semaphores[] = {
	{"ping-pong", ping_pong},           {"open-twice", open_twice},
	{"open-many", open_many},           {"native-semaphores", native_ones},
	{"hold-semaphore", hold_semaphore}, {NULL}};

/* --- holders that die ------------------------------------------------------------------------- */

static sem_t *shared, *signal_like;
static struct steps steps;

/* A child that took it, and says so, and waits to be killed. */
static void take_and_wait(void)
{
	must(sem_wait(shared) == 0);
	steps_say(steps.back);
	steps_hear(steps.there);
}

static pid_t start_holder(void)
{
	pid_t pid = spawn(take_and_wait);

	steps_hear(steps.back);
	return pid;
}

static void make_shared(void)
{
	steps_init(&steps);
	shared = open_or_fail("shared", 1);
}

static void killed_holder(void)
{
	make_shared();
	for (int i = 0; i < 5; i++) {
		pid_t pid = start_holder();
		must(sem_trywait(shared) < 0 && errno == EAGAIN);
		kill_and_reap(pid);
		double before = now_ms();
		must(wait_long(shared) == 0);
		must(now_ms() - before < LONG_MS / 2);
		must(value_of(shared) == 0);
		must(sem_post(shared) == 0 && value_of(shared) == 1);
	}
}

/* Who waits already when the holder is killed; and who came by name, in another program. */
static void wait_by_name(void)
{
	sem_t *sem = sem_open(name_of("shared"), 0);

	must(sem != SEM_FAILED);
	must(sem_trywait(sem) < 0 && errno == EAGAIN);
	steps_say(steps.back);
	must(sem_wait(sem) == 0 && sem_post(sem) == 0);
}

static void killed_under_waiter(void)
{
	make_shared();
	pid_t holder = start_holder(), waiter = spawn(wait_by_name);
	steps_hear(steps.back);
	kill_and_reap(holder);
	double before = now_ms();
	finish(waiter);
	must(now_ms() - before < LONG_MS);
	must(value_of(shared) == 1);
}

static void post_once(void)
{
	must(sem_post(shared) == 0);
}

/* The holder is not the one who posts: that adds a permit, as everywhere. */
static void foreign_post(void)
{
	make_shared();
	must(sem_wait(shared) == 0);
	finish(spawn(post_once));
	must(value_of(shared) == 1);
	must(sem_trywait(shared) == 0 && sem_trywait(shared) < 0);
	finish(spawn(post_once));
	finish(spawn(post_once));
	must(value_of(shared) == 2);
	must(sem_wait(shared) == 0 && sem_wait(shared) == 0 && sem_trywait(shared) < 0);
}

/* Of a parent that holds it, the child has nothing to give back, and can wait for it. */
static void take_and_give(void)
{
	must(sem_trywait(shared) < 0 && errno == EAGAIN);
	steps_say(steps.back);
	must(wait_long(shared) == 0);
	must(sem_post(shared) == 0);
}

static void inherited(void)
{
	make_shared();
	must(sem_wait(shared) == 0);
	pid_t pid = spawn(take_and_give);
	steps_hear(steps.back);
	must(sem_post(shared) == 0);
	finish(pid);
	must(value_of(shared) == 1);
}

static void take_both(void)
{
	must(wait_long(signal_like) == 0);
	take_and_wait();
}

/* One that began with 0 has no holder, and nothing of it is given back. That the other one was given back
 * says that the death has been seen to. */
static void used_as_signal(void)
{
	make_shared();
	signal_like = open_or_fail("signal", 0);
	must(sem_post(signal_like) == 0);
	pid_t pid = spawn(take_both);
	steps_hear(steps.back);
	kill_and_reap(pid);
	must(wait_long(shared) == 0);
	must(value_of(signal_like) == 0 && sem_trywait(signal_like) < 0 && errno == EAGAIN);
}

static void times(void)
{
	make_shared();
	pid_t pid = start_holder();
	for (long ms = 0; ms <= 1500; ms += 500) {
		double before = now_ms();
		struct timespec end = in_ms(CLOCK_REALTIME, ms);
		must(sem_timedwait(shared, &end) < 0 && errno == ETIMEDOUT);
		must(now_ms() - before >= (double)ms - 1 && now_ms() - before < (double)ms + 5000);
		before = now_ms();
		end = in_ms(CLOCK_MONOTONIC, ms);
		must(sem_clockwait(shared, CLOCK_MONOTONIC, &end) < 0 && errno == ETIMEDOUT);
		must(now_ms() - before >= (double)ms && now_ms() - before < (double)ms + 5000);
	}
	kill_and_reap(pid);
	must(wait_long(shared) == 0);
}

static void *wait_for_shared(void *unused)
{
	(void)unused;
	steps_say(steps.back);
	sem_wait(shared);
	return NULL;
}

static void cancelled(void)
{
	pthread_t thread;
	void *result;

	make_shared();
	must(sem_wait(shared) == 0);
	must(pthread_create(&thread, NULL, wait_for_shared, NULL) == 0);
	steps_hear(steps.back);
	double before = now_ms();
	must(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
	must(result == PTHREAD_CANCELED);
	must(now_ms() - before < 5000);
	must(value_of(shared) == 0);
	must(sem_post(shared) == 0 && sem_wait(shared) == 0);
}

static volatile sig_atomic_t is_posting;

static void on_alarm(int number)
{
	(void)number;
	if (is_posting)
		sem_post(shared);
}

static void ring(int flags)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
	struct itimerval soon = {.it_value.tv_usec = 100000};

	must(sigaction(SIGALRM, &action, NULL) == 0);
	must(setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

/* The handler gives back what this process holds, which the waiting thread then gets. */
static void handlers(void)
{
	make_shared();
	must(sem_wait(shared) == 0);
	is_posting = true;
	ring(SA_RESTART);
	must(sem_wait(shared) == 0);
	ring(0);
	int r = sem_wait(shared);
	must(r == 0 || (errno == EINTR && sem_wait(shared) == 0));
	is_posting = false;
	ring(0);
	must(sem_wait(shared) < 0 && errno == EINTR);
	ring(0);
	must(wait_long(shared) < 0 && errno == EINTR);
	must(value_of(shared) == 0);
}

#define COUNTERS 4
#define COUNTS   2000

static volatile unsigned *counter;

static void count(void)
{
	sem_t *sem = sem_open(name_of("shared"), 0);

	must(sem != SEM_FAILED);
	for (int i = 0; i < COUNTS; i++) {
		must(sem_wait(sem) == 0);
		unsigned seen = *counter;
		if (i % 64 == 0)
			usleep(1);
		*counter = seen + 1;
		must(sem_post(sem) == 0);
	}
}

/* It excludes, also while holders are killed. */
static void exclusion(void)
{
	pid_t pids[COUNTERS];

	make_shared();
	counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(counter != MAP_FAILED);
	for (int i = 0; i < COUNTERS; i++)
		pids[i] = spawn(count);
	for (int i = 0; i < 20; i++)
		kill_and_reap(start_holder());
	for (int i = 0; i < COUNTERS; i++)
		finish(pids[i]);
	must(*counter == COUNTERS * COUNTS);
	must(wait_long(shared) == 0 && sem_trywait(shared) < 0 && sem_post(shared) == 0);
}

const struct act acts_recovery[] = {
	{"killed-holder", killed_holder},   {"killed-under-waiter", killed_under_waiter},
	{"foreign-post", foreign_post},     {"inherited", inherited},
	{"used-as-signal", used_as_signal}, {"times", times},
	{"cancelled", cancelled},           {"handlers", handlers},
	{"exclusion", exclusion},           {NULL}};

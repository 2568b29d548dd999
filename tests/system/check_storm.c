/* SPDX-License-Identifier: MIT */
/*
 * Many clients that do anything at any time and are killed in the middle of it, and a daemon that is
 * killed under them: what is left behind must be nothing.
 *
 * SHMD_TEST_CLIENTS says how many clients die, SHMD_TEST_SEED repeats their choices, as far as the
 * kernel's scheduling lets anything be repeated.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE     8
#define NAMES       12
#define SLOTS       4
#define LIFE_MAX_MS 20
#define RESTARTS    5

/* --- chance ----------------------------------------------------------------------------------- */

static uint64_t chance_state;

static unsigned chance(unsigned n)
{
	chance_state ^= chance_state << 13;
	chance_state ^= chance_state >> 7;
	chance_state ^= chance_state << 17;
	return (unsigned)(chance_state >> 32) % n;
}

static uint64_t read_number(const char *variable, uint64_t standard)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : standard;
}

/* --- what all clients tell -------------------------------------------------------------------- */

/* In memory that the clients share with the test. */
static struct told {
	unsigned calls, failed, forks;
	/* The first answer that no documentation promises: what was called, and its result. */
	int unexpected;
	char call[16];
} * told;

static bool daemon_dies;
static bool is_child; /* of a client */

static bool is_lost(int r)
{
	return r == -ECONNRESET || r == -ECONNREFUSED || r == -EPIPE;
}

/* Counts a result; `expected` ends with 0. Returns r. */
static int note(const char *call, int r, const int *expected)
{
	int none = 0;

	__atomic_add_fetch(&told->calls, 1, __ATOMIC_RELAXED);
	if (r >= 0)
		return r;
	__atomic_add_fetch(&told->failed, 1, __ATOMIC_RELAXED);
	while (*expected && *expected != r)
		expected++;
	if (*expected || (daemon_dies && (is_lost(r) || r == -ENOENT)))
		return r;
	if (__atomic_compare_exchange_n(&told->unexpected, &none, r, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST))
		snprintf(told->call, sizeof(told->call), "%s", call);
	return r;
}

#define NOTE(call, r, ...) note(call, r, (const int[]){__VA_ARGS__, 0})

/* --- a client --------------------------------------------------------------------------------- */

static struct shmd *connection;
static struct shmd_segment *slots[SLOTS];

static const char *any_name(void)
{
	static char name[32];

	snprintf(name, sizeof(name), "storm-%u", chance(NAMES));
	return name;
}

static void leave(void)
{
	connection = shmd_disconnect(connection);
	for (int i = 0; i < SLOTS; i++)
		slots[i] = shmd_detach(slots[i]);
}

static void check_lost(int r)
{
	if (is_lost(r))
		leave();
}

static void create(struct shmd_segment **slot)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	options.lifetime = chance(2) ? SHMD_LIFETIME_CLIENTS : SHMD_LIFETIME_OWNER;
	options.linger_ms = chance(4) ? 0 : 1 + chance(20);
	options.flags = chance(2) ? SHMD_OPEN_EXISTING : 0;
	options.flags |= chance(8) ? 0 : SHMD_NO_SEMAPHORE;
	*slot = shmd_detach(*slot);
	int r = NOTE("create",
		     shmd_create(connection, chance(8) ? any_name() : NULL, 1 + chance(65536),
				 &options, slot),
		     -EEXIST, -EINVAL);
	if (r == 0)
		memset(shmd_segment_data(*slot), 1, shmd_segment_size(*slot));
	check_lost(r);
}

static void attach(struct shmd_segment **slot)
{
	*slot = shmd_detach(*slot);
	check_lost(NOTE("attach",
			shmd_attach(connection, any_name(), chance(4) ? 0 : SHMD_READ_ONLY, slot),
			-ENOENT));
}

static int count(const struct shmd_segment_info *info, void *context)
{
	(void)info;
	++*(unsigned *)context;
	return 0;
}

static void list(void)
{
	unsigned n = 0;

	check_lost(NOTE("list", shmd_list(connection, NULL, count, &n), 0));
}

static void lock(struct shmd_segment *segment)
{
	if (segment)
		NOTE("acquire", shmd_acquire(segment, (int)chance(3)), -ETIMEDOUT, -EAGAIN, -EPERM,
		     -ENOTSUP, is_child ? -ENOENT : 0);
}

static void unlock(struct shmd_segment *segment)
{
	if (segment)
		NOTE("release", shmd_release(segment), -EPERM, -ENOTSUP);
}

static void act(void);

/* The child has what its parent had, and outlives it for a while. */
static void fork_child(void)
{
	if (is_child || chance(4))
		return;
	pid_t pid = fork();
	if (pid != 0) {
		__atomic_add_fetch(&told->forks, 1, __ATOMIC_RELAXED);
		return;
	}
	is_child = true;
	prctl(PR_SET_PDEATHSIG, 0);
	chance_state += (uint64_t)getpid();
	for (unsigned n = chance(10); n > 0; n--)
		act();
	_exit(0);
}

static void act(void)
{
	struct shmd_segment **slot = &slots[chance(SLOTS)];

	if (!connection) {
		if (NOTE("connect", shmd_connect(&connection, NULL), 0) < 0) {
			connection = NULL;
			sched_yield();
		}
		return;
	}
	switch (chance(16)) {
	case 0:
	case 1:
	case 2:
	case 3:
		create(slot);
		break;
	case 4:
	case 5:
	case 6:
		attach(slot);
		break;
	case 7:
	case 8:
		*slot = shmd_detach(*slot);
		break;
	case 9:
		check_lost(NOTE("unlink", shmd_unlink(connection, any_name()), -ENOENT));
		break;
	case 10:
	case 11:
		lock(*slot);
		break;
	case 12:
		unlock(*slot);
		break;
	case 13:
		list();
		break;
	case 14:
		fork_child();
		break;
	case 15:
		leave();
		break;
	}
}

static void run_client(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	for (;;)
		act();
}

/* --- the storm -------------------------------------------------------------------------------- */

static struct storm {
	pid_t pids[AT_ONCE];
	double deaths[AT_ONCE]; /* when each is killed, by now_ms() */
	unsigned killed;
	int all_gone[2]; /* a pipe that every client and every child of one has open */
} storm;

static void start_client(int i)
{
	uint64_t seed = chance_state;

	chance(1);
	storm.deaths[i] = now_ms() + chance(1000 * LIFE_MAX_MS) / 1000.0;
	storm.pids[i] = fork();
	ck_assert_int_ge(storm.pids[i], 0);
	if (storm.pids[i] == 0) {
		chance_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
		run_client();
	}
}

static void kill_client(int i)
{
	int status;

	ck_assert_int_eq(kill(storm.pids[i], SIGKILL), 0);
	ck_assert_int_eq(waitpid(storm.pids[i], &status, 0), storm.pids[i]);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		      "a client ended by itself, with status 0x%x", status);
	storm.killed++;
}

static void storm_start(void)
{
	uint64_t seed = read_number("SHMD_TEST_SEED", (uint64_t)time(NULL));

	printf("# SHMD_TEST_SEED=%ju\n", (uintmax_t)seed);
	fflush(stdout);
	chance_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(told, MAP_FAILED);
	storm = (struct storm){0};
	ck_assert_int_eq(pipe2(storm.all_gone, O_CLOEXEC), 0);
	for (int i = 0; i < AT_ONCE; i++)
		start_client(i);
}

/* Kills that many, each at its time, and starts another in its place. */
static void storm_go_on(unsigned n)
{
	while (n-- > 0) {
		int next = 0;
		for (int i = 1; i < AT_ONCE; i++)
			if (storm.deaths[i] < storm.deaths[next])
				next = i;
		double pause = storm.deaths[next] - now_ms();
		if (pause > 0)
			usleep((useconds_t)(pause * 1000));
		kill_client(next);
		start_client(next);
	}
}

/* Returns when no client, and no child of one, is left. */
static void storm_end(void)
{
	char byte;

	for (int i = 0; i < AT_ONCE; i++)
		kill_client(i);
	close(storm.all_gone[1]);
	ck_assert_int_eq(read(storm.all_gone[0], &byte, 1), 0);
	close(storm.all_gone[0]);
	printf("# %u clients killed; %u calls, of which %u were refused or failed; %u forks\n",
	       storm.killed, told->calls, told->failed, told->forks);
	fflush(stdout);
	ck_assert_msg(told->unexpected == 0, "%s: %s", told->call, strerror(-told->unexpected));
	munmap(told, sizeof(*told));
}

/* --- what is left ----------------------------------------------------------------------------- */

static struct test_daemon daemon_;

static struct shmd_status *ask_status(struct shmd *observer)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(observer, &status), 0);
	return status;
}

/* Whether the limits are used by the observer's connection alone. */
static bool only_observer(struct shmd *observer)
{
	struct shmd_status *status = ask_status(observer);
	bool is_so = status->clients == 1 && status->segments == 0 && status->bytes == 0;

	for (size_t i = 0; i < status->n_limits; i++) {
		uint64_t own = strncmp(status->limits[i]->name, "clients", 7) == 0;
		is_so = is_so && status->limits[i]->use == own;
	}
	shmd_status_free(status);
	return is_so;
}

static uint64_t counter(const struct shmd_status *status, const char *name)
{
	for (size_t i = 0; i < status->n_counters; i++)
		if (strcmp(status->counters[i]->name, name) == 0)
			return status->counters[i]->value;
	ck_abort_msg("no counter %s", name);
}

/* Each segment lost its name once. */
static void check_counters(struct shmd *observer)
{
	struct shmd_status *status = ask_status(observer);

	printf("# daemon:");
	for (size_t i = 0; i < status->n_counters; i++)
		printf(" %s %ju", status->counters[i]->name, (uintmax_t)status->counters[i]->value);
	printf("\n");
	fflush(stdout);
	ck_assert_uint_eq(counter(status, "created"),
			  counter(status, "unlinked") + counter(status, "reaped"));
	ck_assert_uint_eq(counter(status, "malformed"), 0);
	shmd_status_free(status);
}

static void check_nothing_left(struct shmd *observer, unsigned descriptors)
{
	double before = now_ms();
	unsigned n = 0;

	AWAIT(only_observer(observer));
	ck_assert_int_eq(shmd_list(observer, NULL, count, &n), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_eq(daemon_files(&daemon_, "sem.shmd-"), 0);
	AWAIT(count_descriptors(daemon_.pid) == descriptors);
	printf("# nothing left %.1f ms after the last client; %u descriptors\n", now_ms() - before,
	       descriptors);
	check_counters(observer);
}

START_TEST(clients_are_killed)
{
	daemon_start(&daemon_, NULL);
	struct shmd *observer = connect_or_fail();
	AWAIT(only_observer(observer));
	unsigned descriptors = count_descriptors(daemon_.pid);

	storm_start();
	storm_go_on((unsigned)read_number("SHMD_TEST_CLIENTS", 200));
	storm_end();
	check_nothing_left(observer, descriptors);
	shmd_disconnect(observer);
	daemon_stop(&daemon_);
}
END_TEST

/* --- a daemon that dies, and one beside it ---------------------------------------------------- */

static struct test_daemon beside;
static struct shmd *neighbour;
static struct shmd_segment *untouched;

static void start_beside(void)
{
	daemon_start(&beside, NULL);
	neighbour = connect_or_fail();
	untouched = create_or_fail(neighbour, "untouched", 4096, SHMD_LIFETIME_CLIENTS);
	strcpy(shmd_segment_data(untouched), "the neighbour's");
}

static void check_beside(void)
{
	ck_assert_uint_eq(daemon_files(&beside, "sem.shmd-"), 1);
	ck_assert_uint_eq(status_segments(neighbour), 1);
	ck_assert_uint_eq(clients_of(neighbour, "untouched"), 1);
	ck_assert_str_eq(shmd_segment_data(untouched), "the neighbour's");
	ck_assert_int_eq(shmd_acquire(untouched, 0), 0);
	ck_assert_int_eq(shmd_release(untouched), 0);
	sem_t *semaphore = sem_open(shmd_segment_semaphore(untouched), 0);
	ck_assert_ptr_ne(semaphore, SEM_FAILED);
	sem_close(semaphore);
}

static void stop_beside(void)
{
	shmd_detach(untouched);
	shmd_disconnect(neighbour);
	daemon_stop(&beside);
}

START_TEST(clients_and_daemon_are_killed)
{
	unsigned share = (unsigned)read_number("SHMD_TEST_CLIENTS", 200) / (2 * RESTARTS + 1) + 1;
	struct test_daemon dead[RESTARTS];

	start_beside();
	daemon_start(&daemon_, NULL);
	struct shmd *observer = connect_or_fail();
	AWAIT(only_observer(observer));
	unsigned descriptors = count_descriptors(daemon_.pid);
	struct shmd_segment *living = create_or_fail(observer, "living", 4096,
						     SHMD_LIFETIME_CLIENTS);
	strcpy(shmd_segment_data(living), "of the first daemon");

	daemon_dies = true;
	storm_start();
	for (int i = 0; i < RESTARTS; i++) {
		storm_go_on(share);
		daemon_kill(&daemon_);
		dead[i] = daemon_;
		storm_go_on(share);
		daemon_start_again(&daemon_);
		ck_assert_str_ne(daemon_.instance, dead[i].instance);
		check_beside();
		ck_assert_str_eq(shmd_segment_data(living), "of the first daemon");
	}
	storm_go_on(share);
	storm_end();
	strcpy(shmd_segment_data(living), "and writable");
	ck_assert_int_eq(shmd_acquire(living, 0), 0);
	ck_assert_int_eq(shmd_release(living), 0);
	shmd_detach(living);
	shmd_disconnect(observer);

	observer = connect_or_fail();
	check_nothing_left(observer, descriptors);
	for (int i = 0; i < RESTARTS; i++) {
		ck_assert_uint_eq(daemon_files(&dead[i], "sem.shmd-"), 0);
		ck_assert_uint_eq(daemon_files(&dead[i], "shmd-"), 0);
	}
	check_beside();
	shmd_disconnect(observer);
	daemon_stop(&daemon_);
	stop_beside();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("storm");
	TCase *tests = tcase_create("storm");

	tcase_set_timeout(tests, 300);
	tcase_add_test(tests, clients_are_killed);
	tcase_add_test(tests, clients_and_daemon_are_killed);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

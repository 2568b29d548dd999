/* SPDX-License-Identifier: MIT */
/*
 * Many clients that do anything at any time and are killed in the middle of it, and a daemon that is
 * killed under them, beside another one that lives: what is left behind must be nothing.
 *
 * SHMD_TEST_CLIENTS says how many clients die, and SHMD_TEST_RESTARTS how many daemons.
 * SHMD_TEST_SEED repeats the clients' choices, as far as the kernel's scheduling lets anything be
 * repeated.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE      8
#define NAMES        12
#define SLOTS        4
#define LIFE_MAX_MS  20
#define RESTARTS_MAX 100

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
	unsigned calls, failed, forks, passed, by_name, reconnected, published, waited, heard;
	/* The first answer that no documentation promises: what was called, and its result. */
	int unexpected;
	char call[16];
} * told;

static struct test_daemon daemon_, beside;
static bool daemon_dies;  /* the first one; the one beside it never does */
static bool is_child;     /* of a client */
static bool at_neighbour; /* the connection is to the daemon beside */

static bool may_be_lost(void)
{
	return daemon_dies && !at_neighbour;
}

static bool is_lost(int r)
{
	return r == -ECONNRESET || r == -ECONNREFUSED || r == -EPIPE;
}

static void tell(unsigned *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

/* Counts a result; `expected` ends with 0. Returns r. */
static int note(const char *call, int r, const int *expected)
{
	int none = 0;

	tell(&told->calls);
	if (r >= 0)
		return r;
	tell(&told->failed);
	while (*expected && *expected != r)
		expected++;
	if (*expected || (may_be_lost() && (is_lost(r) || r == -ENOENT)))
		return r;
	if (__atomic_compare_exchange_n(&told->unexpected, &none, r, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST))
		snprintf(told->call, sizeof(told->call), "%s", call);
	return r;
}

/* One of the library's: a failure comes with a sentence. */
static int note_library(const char *call, int r, const int *expected)
{
	if (r < 0 && !shmd_error_message()[0])
		return note("no sentence", r, (const int[]){0});
	return note(call, r, expected);
}

#define NOTE(call, r, ...) note_library(call, r, (const int[]){__VA_ARGS__, 0})

/* --- a client --------------------------------------------------------------------------------- */

static struct shmd *connection;
static struct slot {
	struct shmd_segment *segment;
	bool is_read_only;
} slots[SLOTS];
static bool was_lost;  /* the connection, by the daemon's death */
static int mailbox[2]; /* where clients pass descriptors to whoever comes */

static const char *any_name(void)
{
	static char name[32];

	snprintf(name, sizeof(name), "storm-%u", chance(NAMES));
	return name;
}

static void clear(struct slot *slot)
{
	slot->segment = shmd_detach(slot->segment);
}

static void leave(void)
{
	connection = shmd_disconnect(connection);
	for (int i = 0; i < SLOTS; i++)
		clear(&slots[i]);
}

/* A client to which that is fatal ends by itself, and the test fails. */
static void touch(const struct slot *slot)
{
	if (!slot->segment)
		return;
	volatile unsigned char *data = shmd_segment_data(slot->segment);
	size_t last = shmd_segment_size(slot->segment) - 1;
	unsigned char byte = data[last];
	if (!slot->is_read_only)
		data[last] = (unsigned char)(byte + 1);
}

static void check_lost(int r)
{
	if (!is_lost(r))
		return;
	was_lost = true;
	for (int i = 0; i < SLOTS; i++)
		touch(&slots[i]);
	leave();
}

static void enter(void)
{
	at_neighbour = daemon_dies && chance(4) == 0;
	if (NOTE("connect", shmd_connect(&connection, at_neighbour ? beside.socket : NULL), 0) <
	    0) {
		connection = NULL;
		sched_yield();
	} else if (was_lost) {
		was_lost = false;
		tell(&told->reconnected);
	}
}

static void create(struct slot *slot)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	options.lifetime = chance(2) ? SHMD_LIFETIME_CLIENTS : SHMD_LIFETIME_OWNER;
	options.linger_ms = chance(4) ? 0 : 1 + chance(20);
	options.flags = chance(2) ? SHMD_OPEN_EXISTING : 0;
	options.flags |= chance(8) ? 0 : SHMD_NO_SEMAPHORE;
	clear(slot);
	int r = NOTE("create",
		     shmd_create(connection, chance(4) ? any_name() : NULL, 1 + chance(65536),
				 &options, &slot->segment),
		     -EEXIST, -EINVAL, -EACCES);
	slot->is_read_only = false;
	if (r == 0)
		memset(shmd_segment_data(slot->segment), 1, shmd_segment_size(slot->segment));
	check_lost(r);
}

static void attach(struct slot *slot)
{
	clear(slot);
	slot->is_read_only = chance(4) != 0;
	check_lost(NOTE("attach",
			shmd_attach(connection, any_name(), slot->is_read_only ? SHMD_READ_ONLY : 0,
				    &slot->segment),
			-ENOENT, -EACCES));
}

/* Those that have a name, or were published before, are refused. Somebody may have been passed it, or
 * have inherited it, and then it stays writable; or a child has published it. */
static void publish(struct slot *slot)
{
	if (!slot->segment)
		return;
	bool can_be = !shmd_segment_name(slot->segment) && !slot->is_read_only;
	unsigned flags = chance(4) ? 0 : SHMD_WRITABLE;
	int r = NOTE("publish", shmd_publish(slot->segment, any_name(), flags), -EBUSY, -EINVAL,
		     is_child ? -ENOENT : 0);
	if (can_be && r != -EBUSY && !flags)
		slot->is_read_only = true;
	if (r == 0)
		tell(&told->published);
	check_lost(r);
}

static void wait_for(struct slot *slot)
{
	clear(slot);
	slot->is_read_only = chance(2) != 0;
	int r = NOTE("wait",
		     shmd_wait(connection, any_name(), chance(2) ? 0 : UINT64_MAX, (int)chance(4),
			       slot->is_read_only ? SHMD_READ_ONLY : 0, &slot->segment),
		     -ETIMEDOUT, -EACCES);
	if (r == 0)
		tell(&told->waited);
	check_lost(r);
}

static void on_event(const struct shmd_event *event, void *context)
{
	(void)event, (void)context;
	tell(&told->heard);
}

static void on_waited(int r, struct shmd_segment *segment, void *context)
{
	(void)context;
	NOTE("wait", r, -EACCES);
	shmd_detach(segment);
}

static void ask_for_later(void)
{
	int r = chance(2) ? shmd_subscribe(connection, chance(2) ? NULL : "storm-[1-3]*", on_event,
					   NULL)
			  : shmd_wait_start(connection, any_name(), chance(2) ? 0 : UINT64_MAX,
					    SHMD_READ_ONLY, on_waited, NULL);

	NOTE("ask", r, -EDQUOT);
	if (r > 0 && chance(4) == 0)
		NOTE("cancel", shmd_cancel(connection, r), -ENOENT);
	check_lost(r);
}

static void dispatch(void)
{
	check_lost(NOTE("dispatch", shmd_dispatch(connection), 0));
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

/* A holder that is killed keeps the permit, so nobody waits for ever. */
static void lock(const struct slot *slot)
{
	if (slot->segment)
		NOTE("acquire", shmd_acquire(slot->segment, (int)chance(3)), -ETIMEDOUT, -EAGAIN,
		     -EPERM, -ENOTSUP, is_child ? -ENOENT : 0);
}

static void unlock(const struct slot *slot)
{
	if (slot->segment)
		NOTE("release", shmd_release(slot->segment), -EPERM, -ENOTSUP);
}

static void take_and_give(sem_t *semaphore)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_nsec += chance(2000000);
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
	if (sem_clockwait(semaphore, CLOCK_MONOTONIC, &deadline) == 0)
		sem_post(semaphore);
}

/* As a program does that does not know the library. Nobody but its creator can end an anonymous
 * segment, so its semaphore is there, whatever another daemon sweeps. */
static void lock_by_name(const struct slot *slot)
{
	const char *name = slot->segment ? shmd_segment_semaphore(slot->segment) : NULL;

	if (!name)
		return;
	bool must_exist = !is_child && !shmd_segment_name(slot->segment);
	sem_t *semaphore = sem_open(name, 0);
	int r = semaphore == SEM_FAILED ? -errno : 0;
	note("sem_open", r, (const int[]){must_exist ? 0 : -ENOENT, 0});
	if (r < 0)
		return;
	tell(&told->by_name);
	take_and_give(semaphore);
	sem_close(semaphore);
}

union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

static void pass(const struct slot *slot)
{
	char byte = 0;
	union control control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
					    .cmsg_level = SOL_SOCKET,
					    .cmsg_type = SCM_RIGHTS}};
	struct iovec iovec = {&byte, 1};
	struct msghdr message = {.msg_iov = &iovec,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	if (!slot->segment)
		return;
	int fd = shmd_segment_fd(slot->segment);
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(mailbox[0], &message, MSG_DONTWAIT) == 1)
		tell(&told->passed);
}

/* Keeps what was passed to it, sometimes only mapped, until the next one comes. */
static void take_passed(void)
{
	static int fd = -1;
	static void *data = MAP_FAILED;
	static struct stat st;
	char byte;
	union control control;
	struct iovec iovec = {&byte, 1};
	struct msghdr message = {.msg_iov = &iovec,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	if (recvmsg(mailbox[1], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return;
	if (fd >= 0)
		close(fd);
	if (data != MAP_FAILED)
		munmap(data, (size_t)st.st_size);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	data = MAP_FAILED;
	if (fstat(fd, &st) == 0)
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data != MAP_FAILED && chance(2)) {
		close(fd);
		fd = -1;
	}
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
	struct slot *slot = &slots[chance(SLOTS)];

	if (!connection) {
		enter();
		return;
	}
	switch (chance(26)) {
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
		clear(slot);
		break;
	case 9:
		check_lost(NOTE("unlink", shmd_unlink(connection, any_name()), -ENOENT));
		break;
	case 10:
	case 11:
		lock(slot);
		break;
	case 12:
		unlock(slot);
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
	case 16:
		lock_by_name(slot);
		break;
	case 17:
		pass(slot);
		break;
	case 18:
		take_passed();
		break;
	case 19:
		touch(slot);
		break;
	case 20:
	case 21:
		publish(slot);
		break;
	case 22:
		wait_for(slot);
		break;
	case 23:
		ask_for_later();
		break;
	case 24:
	case 25:
		dispatch();
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
	/* Every second one dies young, in the middle of connecting. */
	storm.deaths[i] = now_ms() + chance(chance(2) ? 1000 : 1000 * LIFE_MAX_MS) / 1000.0;
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
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, mailbox), 0);
	for (int i = 0; i < AT_ONCE; i++)
		start_client(i);
}

/* Kills that many, each at its time, and starts another in its place. */
/* What clients do at random, and has to have happened, takes more of them where they get little time. */
static bool has_shown_all(void)
{
	return told->passed > 0 && told->by_name > 0 && told->published > 0 && told->waited > 0 &&
	       told->heard > 0;
}

static void storm_go_on(unsigned n)
{
	unsigned most = storm.killed + 10 * n;

	for (; n > 0 || (!has_shown_all() && storm.killed < most); n -= n > 0) {
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
	/* With what was passed, and never taken. */
	close(mailbox[0]);
	close(mailbox[1]);
	printf("# %u clients killed; %u calls, of which %u were refused or failed; %u forks, "
	       "%u descriptors passed, %u semaphores opened by name, %u reconnected; %u published, "
	       "%u waits answered, %u events heard\n",
	       storm.killed, told->calls, told->failed, told->forks, told->passed, told->by_name,
	       told->reconnected, told->published, told->waited, told->heard);
	fflush(stdout);
	ck_assert_msg(told->unexpected == 0, "%s: %s", told->call, strerror(-told->unexpected));
	ck_assert_uint_gt(told->passed, 0);
	ck_assert_uint_gt(told->by_name, 0);
	ck_assert(told->published > 0 && told->waited > 0 && told->heard > 0);
	ck_assert(!daemon_dies || told->reconnected > 0);
	munmap(told, sizeof(*told));
}

/* --- what is left ----------------------------------------------------------------------------- */

#define LIMITS_MAX 16

/*
 * What a daemon uses while nothing happens. Its heap is compared after a stretch, both times: tables
 * and arrays that only grow are then as large as the storm can make them. What can still differ is a
 * hash table's number of buckets, doubled where luck has filled one of them (1 KiB), and what
 * libevent keeps for each number that a socket has had (32 bytes). A leak of the least that malloc
 * gives, 32 bytes, in each of 200 clients is more than the tolerance.
 */
struct rest {
	uint64_t clients, segments, bytes, descriptors, heap;
	uint64_t told_descriptors; /* by the daemon itself; 0: unknown */
	size_t n_limits;
	uint64_t uses[LIMITS_MAX];
};

#define HEAP_TOLERANCE 4096

/* Connections at once, of a stretch: more than those of all clients and their children. */
#define WIDTH 200

static struct rest look(const struct test_daemon *of, struct shmd *observer)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(observer, &status), 0);
	struct rest rest = {.clients = status->clients,
			    .segments = status->segments,
			    .bytes = status->bytes,
			    .descriptors = count_descriptors(of->pid),
			    .heap = status->heap_bytes,
			    .told_descriptors = status->descriptors,
			    .n_limits = status->n_limits};
	ck_assert_uint_le(status->n_limits, LIMITS_MAX);
	for (size_t i = 0; i < status->n_limits; i++)
		rest.uses[i] = status->limits[i]->use;
	shmd_status_free(status);
	return rest;
}

static bool is_back(const struct rest *before, const struct test_daemon *of, struct shmd *observer)
{
	struct rest now = look(of, observer);

	return now.clients == before->clients && now.segments == before->segments &&
	       now.bytes == before->bytes && now.descriptors == before->descriptors &&
	       memcmp(now.uses, before->uses, sizeof(now.uses)) == 0;
}

/* Makes the daemon's tables and arrays large: many connections, and then segments that linger all at
 * once. Returns when all is gone. */
static void stretch(const struct rest *before, const struct test_daemon *of, struct shmd *observer)
{
	struct shmd *wide[WIDTH];
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	char name[32];

	options.linger_ms = 300;
	for (int i = 0; i < WIDTH; i++)
		ck_assert_int_eq(shmd_connect(&wide[i], of->socket), 0);
	for (int i = 0; i < WIDTH; i++) {
		snprintf(name, sizeof(name), "wide-%d", i);
		ck_assert_int_eq(shmd_create(wide[i], name, 1, &options, &segment), 0);
		shmd_detach(segment);
	}
	for (int i = 0; i < WIDTH; i++) {
		shmd_disconnect(wide[i]);
		/* One at a time: the kernel's events are fetched into an array that grows, too. */
		status_segments(observer);
	}
	AWAIT(is_back(before, of, observer));
}

/* To be called before the storm, with nobody but the observer there. */
static struct rest note_rest(const struct test_daemon *of, struct shmd *observer)
{
	struct rest rest = look(of, observer);

	/* A client that came before was not served yet. */
	ck_assert_uint_eq(rest.clients, 1);
	stretch(&rest, of, observer);
	rest.heap = look(of, observer).heap;
	ck_assert(!rest.told_descriptors || rest.told_descriptors == rest.descriptors);
	return rest;
}

static uint64_t counter(const struct shmd_status *status, const char *name)
{
	for (size_t i = 0; i < status->n_counters; i++)
		if (strcmp(status->counters[i]->name, name) == 0)
			return status->counters[i]->value;
	ck_abort_msg("no counter %s", name);
}

/* Each segment lost its name once. */
static void check_counters(const struct rest *before, struct shmd *observer)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(observer, &status), 0);
	printf("# daemon:");
	for (size_t i = 0; i < status->n_counters; i++)
		printf(" %s %ju", status->counters[i]->name, (uintmax_t)status->counters[i]->value);
	printf("\n");
	fflush(stdout);
	ck_assert_uint_eq(counter(status, "created"),
			  counter(status, "unlinked") + counter(status, "superseded") +
				  counter(status, "reaped") + before->segments);
	ck_assert_uint_eq(counter(status, "malformed"), 0);
	shmd_status_free(status);
}

static void check_heap(const struct rest *before, const struct test_daemon *of,
		       struct shmd *observer)
{
	stretch(before, of, observer);
	uint64_t heap = look(of, observer).heap;
	printf("# heap: %ju bytes before, %ju after\n", (uintmax_t)before->heap, (uintmax_t)heap);
	fflush(stdout);
	ck_assert_uint_le(heap, before->heap + HEAP_TOLERANCE);
}

static void check_back(const struct rest *before, const struct test_daemon *of,
		       struct shmd *observer)
{
	double start = now_ms();
	unsigned n = 0;

	AWAIT(is_back(before, of, observer));
	ck_assert_int_eq(shmd_list(observer, NULL, count, &n), 0);
	ck_assert_uint_eq(n, before->segments);
	ck_assert_uint_eq(daemon_files(of, "sem.shmd-"), before->segments);
	printf("# as before %.1f ms after the last client; %ju descriptors\n", now_ms() - start,
	       (uintmax_t)before->descriptors);
	check_counters(before, observer);
	check_heap(before, of, observer);
}

static unsigned n_clients(void)
{
	return (unsigned)read_number("SHMD_TEST_CLIENTS", 200);
}

START_TEST(clients_are_killed)
{
	daemon_start(&daemon_, NULL);
	struct shmd *observer = connect_or_fail();
	struct rest before = note_rest(&daemon_, observer);

	storm_start();
	storm_go_on(n_clients());
	storm_end();
	check_back(&before, &daemon_, observer);
	shmd_disconnect(observer);
	daemon_stop(&daemon_);
}
END_TEST

/* --- a daemon that lives beside one that dies ------------------------------------------------- */

#define PERMITS 3

static struct shmd *neighbour;
static struct shmd_segment *untouched;
static ino_t untouched_file;

static ino_t file_of(const char *semaphore)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "/dev/shm/sem.%s", semaphore);
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_ino;
}

static void start_beside(void)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	options.permits = PERMITS;
	daemon_start(&beside, NULL);
	neighbour = connect_or_fail();
	ck_assert_int_eq(shmd_create(neighbour, "untouched", 4096, &options, &untouched), 0);
	strcpy(shmd_segment_data(untouched), "the neighbour's");
	ck_assert_int_eq(shmd_acquire(untouched, 0), 0);
	untouched_file = file_of(shmd_segment_semaphore(untouched));
}

static void check_beside(void)
{
	int value;

	ck_assert_uint_eq(clients_of(neighbour, "untouched"), 1);
	ck_assert_str_eq(shmd_segment_data(untouched), "the neighbour's");
	ck_assert(file_of(shmd_segment_semaphore(untouched)) == untouched_file);
	sem_t *semaphore = sem_open(shmd_segment_semaphore(untouched), 0);
	ck_assert_ptr_ne(semaphore, SEM_FAILED);
	ck_assert_int_eq(sem_getvalue(semaphore, &value), 0);
	ck_assert_int_eq(value, PERMITS - 1);
	ck_assert_int_eq(shmd_acquire(untouched, 0), 0);
	ck_assert_int_eq(sem_getvalue(semaphore, &value), 0);
	ck_assert_int_eq(value, PERMITS - 2);
	ck_assert_int_eq(shmd_release(untouched), 0);
	sem_close(semaphore);
}

static void stop_beside(void)
{
	ck_assert_int_eq(shmd_release(untouched), 0);
	shmd_detach(untouched);
	shmd_disconnect(neighbour);
	daemon_stop(&beside);
}

/* --- what was made under a daemon that is dead ------------------------------------------------ */

/* Two processes have it, and count in it by turns. */
static struct survivor {
	struct shmd *connection;
	struct shmd_segment *segment;
	struct actor other;
	unsigned turns;
} survivors[RESTARTS_MAX];

static void take_turn(struct shmd_segment *segment, unsigned expected)
{
	unsigned *turns = shmd_segment_data(segment);

	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_uint_eq(*turns, expected);
	++*turns;
	ck_assert_int_eq(shmd_release(segment), 0);
}

static void survive(struct actor *self, void *context)
{
	const char *name = context;
	struct shmd *own = connect_or_fail();
	struct shmd_segment *segment = attach_or_fail(own, name, 0);

	actor_tell(self);
	for (unsigned turns = 1;; turns += 2) {
		actor_await(self);
		take_turn(segment, turns);
		actor_tell(self);
	}
}

static void start_survivor(struct survivor *survivor, int number)
{
	char name[32];

	snprintf(name, sizeof(name), "living-%d", number);
	survivor->connection = connect_or_fail();
	survivor->segment = create_or_fail(survivor->connection, name, 4096, SHMD_LIFETIME_CLIENTS);
	survivor->turns = 0;
	actor_start(&survivor->other, survive, name);
	actor_await(&survivor->other);
}

static void check_survivor(struct survivor *survivor)
{
	take_turn(survivor->segment, survivor->turns);
	actor_tell(&survivor->other);
	actor_await(&survivor->other);
	survivor->turns += 2;
}

static void end_survivor(struct survivor *survivor)
{
	check_survivor(survivor);
	actor_kill(&survivor->other);
	shmd_detach(survivor->segment);
	shmd_disconnect(survivor->connection);
}

/* --- a daemon that dies ----------------------------------------------------------------------- */

static void check_swept(const struct test_daemon *dead)
{
	ck_assert_str_ne(daemon_.instance, dead->instance);
	ck_assert_uint_eq(daemon_files(dead, "sem.shmd-"), 0);
	ck_assert_uint_eq(daemon_files(dead, "shmd-"), 0);
}

static void storm_over_restarts(int restarts)
{
	static struct test_daemon dead[RESTARTS_MAX];
	unsigned share = n_clients() / (2 * (unsigned)restarts + 1) + 1;

	for (int i = 0; i < restarts; i++) {
		start_survivor(&survivors[i], i);
		storm_go_on(share);
		daemon_kill(&daemon_);
		dead[i] = daemon_;
		storm_go_on(share);
		daemon_start_again(&daemon_);
		check_beside();
		for (int j = 0; j <= i; j++) {
			check_swept(&dead[j]);
			check_survivor(&survivors[j]);
		}
	}
	storm_go_on(share);
}

START_TEST(clients_and_daemon_are_killed)
{
	int restarts = (int)read_number("SHMD_TEST_RESTARTS", 5);

	ck_assert_int_le(restarts, RESTARTS_MAX);
	start_beside();
	struct rest before_beside = note_rest(&beside, neighbour);
	daemon_start(&daemon_, NULL);
	struct shmd *observer = connect_or_fail();
	struct rest before = note_rest(&daemon_, observer);
	shmd_disconnect(observer);

	daemon_dies = true;
	storm_start();
	storm_over_restarts(restarts);
	/* They have the storm's pipe open. */
	for (int i = 0; i < restarts; i++)
		end_survivor(&survivors[i]);
	storm_end();

	/* The last one is as the first one was. */
	observer = connect_or_fail();
	check_back(&before, &daemon_, observer);
	check_beside();
	check_back(&before_beside, &beside, neighbour);
	shmd_disconnect(observer);
	daemon_stop(&daemon_);
	stop_beside();
}
END_TEST

int main(void)
{
	/* What a thread keeps for its next malloc counts as in use, and blurs what is compared. */
	setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 0);
	Suite *suite = suite_create("storm");
	TCase *tests = tcase_create("storm");

	tcase_set_timeout(tests, 300);
	tcase_add_test(tests, clients_are_killed);
	tcase_add_test(tests, clients_and_daemon_are_killed);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

/* SPDX-License-Identifier: MIT */
/*
 * What can be done with processes: children that hold what their parent had, deaths at every point,
 * numbers that come again, processes that are stopped, holders of locks that are killed.
 */
#include "hostile.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile_raw.h"

/* Also those that were left to us by their parents. */
static void reap_all(int flags)
{
	while (waitpid(-1, NULL, flags) > 0)
		;
}

/* --- children that hold the socket -------------------------------------------------------------- */

#define HEIRS 4

static void outlive(void)
{
	usleep(20000);
	_exit(0);
}

/* Its children have the socket, the segment and the mapping, and it dies at once. */
static void leave_heirs(const struct hostile *self)
{
	struct shmd_segment *segment;
	struct shmd *connection;
	char name[32];

	snprintf(name, sizeof(name), "heirs-%u", self->index);
	if (!got_result(shmd_connect(&connection, NULL)))
		_exit(0);
	struct shmd_options options = SHMD_OPTIONS_INIT;
	options.lifetime = getpid() % 2 ? SHMD_LIFETIME_OWNER : SHMD_LIFETIME_CLIENTS;
	options.flags = SHMD_OPEN_EXISTING;
	got_result(shmd_create(connection, name, 65536, &options, &segment));
	for (int i = 0; i < HEIRS; i++)
		if (hostile_fork() == 0)
			outlive();
	_exit(0);
}

static void fork_in_storms(const struct hostile *self)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t pid = hostile_fork();
	if (pid == 0)
		leave_heirs(self);
	waitpid(pid, NULL, 0);
	reap_all(WNOHANG);
}

/* The connection is ended in order, and children still have the memory mapped. */
static void leave_mappings(const struct hostile *self)
{
	struct shmd_segment *segment;
	struct shmd *connection;

	(void)self;
	if (!got_result(shmd_connect(&connection, NULL)))
		return;
	if (got_result(shmd_create(connection, NULL, 65536, NULL, &segment))) {
		if (hostile_fork() == 0)
			outlive();
		shmd_disconnect(connection);
		shmd_detach(segment);
	}
	reap_all(WNOHANG);
}

/* --- deaths at every point ----------------------------------------------------------------------- */

static uint64_t made_id;

static void step_connect(void)
{
	raw_fd = raw_connect();
	if (raw_fd < 0)
		_exit(0);
}

static void send_one(unsigned op, const void *body, size_t size)
{
	raw_begin();
	raw_add(op, body, size);
	raw_send_now(raw_fd);
}

static void step_greet(void)
{
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 64};

	send_one(WIRE_HELLO, &hello, sizeof(hello));
}

static void step_receive(void)
{
	raw_receive(raw_fd);
}

static void step_create(void)
{
	struct wire_create create = raw_creation("");

	create.flags = WIRE_WANT_SEMAPHORE;
	create.permits = 3;
	send_one(WIRE_CREATE, &create, sizeof(create));
}

static void step_see_created(void)
{
	ssize_t size = raw_receive(raw_fd);
	const struct wire_segment *segment = size > 0 ? raw_body(size, 0) : NULL;

	made_id = segment ? segment->id : 1;
}

static void step_attach(void)
{
	struct wire_attach attach = {.id = made_id, .flags = WIRE_WANT_SEMAPHORE};

	send_one(WIRE_ATTACH, &attach, sizeof(attach));
}

static void step_subscribe(void)
{
	struct wire_subscribe subscribe = {0};

	send_one(WIRE_SUBSCRIBE, &subscribe, sizeof(subscribe));
}

static void step_wait(void)
{
	struct wire_wait wait = {.name = "never"};

	send_one(WIRE_WAIT, &wait, sizeof(wait));
}

static void step_publish(void)
{
	struct wire_publish publish = {.id = made_id, .flags = WIRE_WRITABLE, .name = "died"};

	send_one(WIRE_PUBLISH, &publish, sizeof(publish));
}

static void step_detach(void)
{
	struct wire_detach detach = {.id = made_id};

	send_one(WIRE_DETACH, &detach, sizeof(detach));
}

static void (*const steps[])(void) = {
	step_connect, step_greet,   step_receive,   step_create,  step_see_created,
	step_attach,  step_receive, step_subscribe, step_receive, step_publish,
	step_receive, step_wait,    step_detach,
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

static void die_at_each_point(const struct hostile *self)
{
	static unsigned n;
	unsigned last = n++ % (STEPS + 1);
	pid_t pid = hostile_fork();

	(void)self;
	if (pid == 0) {
		for (unsigned i = 0; i < last; i++)
			steps[i]();
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
}

/* --- numbers that come again --------------------------------------------------------------------- */

/* Linux 5.5. Needs privilege over the PID namespace, which no user has; but all the numbers of the
 * machine can be used up by anybody, and then they come again. */
static pid_t fork_with_number(pid_t number)
{
	struct clone_args arguments = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)&number,
		.set_tid_size = 1,
	};

	pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid == 0)
		alarm(60);
	return pid;
}

static void be_owner(int ready)
{
	struct shmd_segment *segment;
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd *connection;

	become(HOSTILE_UID);
	if (!got_result(shmd_connect(&connection, NULL)))
		_exit(0);
	options.lifetime = SHMD_LIFETIME_OWNER;
	options.mode = 0666;
	got_result(shmd_create(connection, "64600.number", 4096, &options, &segment));
	shmd_acquire(segment, 0);
	/* The socket stays open when it dies. */
	if (hostile_fork() == 0) {
		usleep(5000);
		_exit(0);
	}
	if (write(ready, "x", 1) < 0)
		_exit(1);
	hold();
}

/* The segment has ended with its owner, whoever has the number now. */
static void be_successor(void)
{
	struct shmd_segment *segment;
	struct shmd *connection;

	become(HOSTILE_UID + 1);
	if (shmd_connect(&connection, NULL) < 0)
		_exit(0);
	if (shmd_unlink(connection, "64600.number") == 0)
		breach("another user with the same number may drop the segment");
	int r = shmd_attach(connection, "64600.number", 0, &segment);
	if (got_result(r) && shmd_release(segment) == 0)
		breach("another user with the same number gave the permit back");
	_exit(0);
}

static void use_a_number_again(const struct hostile *self)
{
	int ready[2];
	char byte;

	(void)self;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (pipe(ready) < 0)
		return;
	pid_t owner = hostile_fork();
	if (owner == 0)
		be_owner(ready[1]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1) {
		kill(owner, SIGKILL);
		waitpid(owner, NULL, 0);
		pid_t successor = fork_with_number(owner);
		if (successor == 0)
			be_successor();
		if (successor < 0)
			got_refused(strerror(errno));
	}
	close(ready[0]);
	reap_all(0);
}

/* --- stopped in every state ---------------------------------------------------------------------- */

static void stop(void)
{
	raise(SIGSTOP);
}

static void stop_before_hello(void)
{
	step_connect();
	stop();
}

static void stop_with_unread_replies(void)
{
	struct wire_page page = {0};

	raw_ready();
	raw_begin();
	raw_add(WIRE_LIST, &page, sizeof(page));
	while (raw_send_now(raw_fd))
		;
	stop();
}

static struct shmd_segment *segment_for(struct shmd **ret, const char *name)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment = NULL;
	char full[32];

	options.flags = name ? SHMD_OPEN_EXISTING : 0;
	snprintf(full, sizeof(full), "%s-%u", name ? name : "", getuid());
	if (!got_result(shmd_connect(ret, NULL)) ||
	    !got_result(shmd_create(*ret, name ? full : NULL, 4096, &options, &segment)))
		_exit(0);
	return segment;
}

static void stop_with_a_lock(void)
{
	struct shmd *connection;
	struct shmd_segment *segment = segment_for(&connection, NULL);

	got_result(shmd_acquire(segment, 0));
	stop();
}

static void stop_while_waiting(void)
{
	struct wire_wait wait = {.name = HONEST_NAME};

	raw_ready();
	raw_begin();
	raw_add(WIRE_WAIT, &wait, sizeof(wait));
	raw_send(raw_fd);
	stop();
}

static void stop_subscribed(void)
{
	struct wire_subscribe subscribe = {.prefix = "died"};

	raw_ask(WIRE_SUBSCRIBE, &subscribe, sizeof(subscribe));
	stop();
}

/* Between the two steps of it. */
static void stop_while_publishing(void)
{
	raw_ready();
	step_create();
	step_see_created();
	step_publish();
	stop();
}

static void stop_in_a_batch(void)
{
	struct wire_create create = raw_creation("");

	raw_ready();
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++)
		raw_add(WIRE_CREATE, &create, sizeof(create));
	raw_send(raw_fd);
	stop();
}

static void (*const states[])(void) = {
	stop_before_hello, stop_with_unread_replies, stop_with_a_lock, stop_while_waiting,
	stop_subscribed,   stop_while_publishing,    stop_in_a_batch,
};
#define STATES (sizeof(states) / sizeof(states[0]))

static void stop_in_every_state(const struct hostile *self)
{
	static unsigned n;

	(void)self;
	if (n == scaled(100))
		hold();
	if (hostile_fork() == 0) {
		states[n % STATES]();
		hold();
	}
	n++;
}

/* --- locks ------------------------------------------------------------------------------------ */

static void hold_a_lock(void)
{
	struct shmd *connection;
	struct shmd_segment *segment = segment_for(&connection, "storm");

	for (;;)
		if (shmd_acquire(segment, 1) >= 0)
			shmd_release(segment);
}

/* Holders and those who wait, killed at any moment. */
static void kill_holders(const struct hostile *self)
{
	static uint64_t state;
	pid_t pid[4];

	if (state == 0)
		state = 88172645463325252 + self->index;
	for (int i = 0; i < 4; i++) {
		pid[i] = hostile_fork();
		if (pid[i] == 0)
			hold_a_lock();
	}
	state = state * 6364136223846793005 + 1442695040888963407;
	usleep((unsigned)(state >> 33) % 3000);
	for (int i = 0; i < 4; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}

static const struct behaviour rows[] = {
	{.name = "forks that hold the socket of the dead",
	 .act = fork_in_storms,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "forks that hold a mapping",
	 .act = leave_mappings,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "deaths at each point",
	 .act = die_at_each_point,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "numbers of processes used again",
	 .act = use_a_number_again,
	 .as_root = true,
	 .users = 2,
	 .must = ACCEPTED | REFUSED},
	{.name = "stopped in every state",
	 .act = stop_in_every_state,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED},
	{.name = "holders of locks killed",
	 .act = kill_holders,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED},
};

const struct behaviours hostile_processes = BEHAVIOURS(rows);

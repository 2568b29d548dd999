/* SPDX-License-Identifier: MIT */
/* What ends a segment, and what does not, shown by killing processes. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_daemon daemon_;
static struct shmd *connection;

static void set_up(void)
{
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
}

static void tear_down(void)
{
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

/* --- actors ----------------------------------------------------------------------------------- */

/* Creates a segment of that lifetime and waits to be killed. */
static void creator(struct actor *self, enum shmd_lifetime lifetime)
{
	struct shmd_segment *segment = create_or_fail(connect_or_fail(), "seg", 4096, lifetime);

	strcpy(shmd_segment_data(segment), "written by the creator");
	actor_tell(self);
	actor_await(self);
}

static void owner(struct actor *self, void *context)
{
	(void)context;
	creator(self, SHMD_LIFETIME_OWNER);
}

static void sharer(struct actor *self, void *context)
{
	(void)context;
	creator(self, SHMD_LIFETIME_CLIENTS);
}

static void attacher(struct actor *self, void *context)
{
	(void)context;
	attach_or_fail(connect_or_fail(), "seg", 0);
	actor_tell(self);
	actor_await(self);
}

/* Its child inherits the mapping and knows nothing of the daemon. */
static void forker(struct actor *self, void *context)
{
	struct shmd_segment *segment = create_or_fail(connect_or_fail(), "seg", 4096,
						      SHMD_LIFETIME_CLIENTS);
	struct actor *heir = context;
	(void)segment;
	pid_t pid = fork();

	if (pid == 0) {
		actor_tell(heir);
		actor_await(heir);
		_exit(0);
	}
	actor_tell(self);
	actor_await(self);
}

/* Gives the descriptor to somebody who never spoke to the daemon, through a socket of their own. */
static void giver(struct actor *self, void *context)
{
	int socket = *(int *)context;
	struct shmd_segment *segment = create_or_fail(connect_or_fail(), "seg", 4096,
						      SHMD_LIFETIME_CLIENTS);
	int fd = shmd_segment_fd(segment);
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char byte = 'x';
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(socket, &message, 0), 1);
	actor_tell(self);
	actor_await(self);
}

static void taker(struct actor *self, void *context)
{
	int socket = *(int *)context;
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};

	ck_assert_int_eq(recvmsg(socket, &message, 0), 1);
	ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&message));
	actor_tell(self);
	actor_await(self);
}

/* --- owner ------------------------------------------------------------------------------------ */

START_TEST(owner_killed_while_another_is_attached)
{
	struct actor creating;

	actor_start(&creating, owner, NULL);
	actor_await(&creating);
	struct shmd_segment *segment = attach_or_fail(connection, "seg", 0);
	char *data = shmd_segment_data(segment);
	double before = now_ms();
	actor_kill(&creating);
	await_gone(connection, "seg");
	printf("# owner killed: name and semaphore gone after %.2f ms\n", now_ms() - before);

	ck_assert_ptr_eq(sem_open(shmd_segment_semaphore(segment), 0), SEM_FAILED);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_str_eq(data, "written by the creator");
	strcpy(data, "and still writable");
	/* Nameless, charged and listed until its memory is gone. */
	ck_assert_uint_eq(status_segments(connection), 1);
	ck_assert_uint_eq(status_bytes(connection), 4096);
	shmd_detach(segment);
	await_segments(connection, 0);
	ck_assert_uint_eq(status_bytes(connection), 0);
}
END_TEST

START_TEST(owner_lets_go)
{
	struct shmd_segment *mine = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_OWNER);
	struct shmd *other = connect_or_fail();
	struct shmd_segment *theirs = attach_or_fail(other, "seg", 0);

	shmd_detach(mine);
	ck_assert(!segment_exists(connection, "seg"));
	shmd_detach(theirs);
	shmd_disconnect(other);
}
END_TEST

START_TEST(owner_keeps_it_while_others_come_and_go)
{
	struct shmd_segment *mine = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_OWNER);
	struct actor attaching;

	actor_start(&attaching, attacher, NULL);
	actor_await(&attaching);
	actor_kill(&attaching);
	/* The death was served when nobody but us is attached. */
	AWAIT(clients_of(connection, "seg") == 1);
	ck_assert(segment_exists(connection, "seg"));
	shmd_detach(mine);
}
END_TEST

/* --- clients ---------------------------------------------------------------------------------- */

START_TEST(clients_other_client_keeps_it)
{
	struct actor creating, attaching;

	actor_start(&creating, sharer, NULL);
	actor_await(&creating);
	actor_start(&attaching, attacher, NULL);
	actor_await(&attaching);
	actor_kill(&creating);
	AWAIT(clients_of(connection, "seg") == 1);
	double before = now_ms();
	actor_kill(&attaching);
	await_gone(connection, "seg");
	printf("# last client killed: gone after %.2f ms\n", now_ms() - before);
	await_segments(connection, 0);
}
END_TEST

/* The daemon has no clients of the segment any more, but the kernel says that somebody has it. */
static void check_kept_without_clients(void)
{
	AWAIT(clients_of(connection, "seg") == 0);
	for (int i = 0; i < 50; i++)
		ck_assert(segment_exists(connection, "seg"));
}

static void make_pipes(struct actor *here, struct actor *there)
{
	int to[2], from[2];

	ck_assert_int_eq(pipe(to), 0);
	ck_assert_int_eq(pipe(from), 0);
	*here = (struct actor){.to = to[1], .from = from[0]};
	*there = (struct actor){.to = from[1], .from = to[0]};
}

START_TEST(clients_inheriting_child_keeps_it)
{
	struct actor creating, heir, heirs_side;

	make_pipes(&heir, &heirs_side);
	actor_start(&creating, forker, &heirs_side);
	actor_await(&creating);
	actor_await(&heir);
	actor_kill(&creating);
	check_kept_without_clients();
	double before = now_ms();
	/* Let go on, it ends, and its mapping with it. */
	actor_tell(&heir);
	await_gone(connection, "seg");
	printf("# inheriting child ended: gone after %.2f ms\n", now_ms() - before);
	await_segments(connection, 0);
}
END_TEST

START_TEST(clients_receiver_of_the_descriptor_keeps_it)
{
	struct actor giving, taking;
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	actor_start(&giving, giver, &sockets[0]);
	actor_start(&taking, taker, &sockets[1]);
	actor_await(&giving);
	actor_await(&taking);
	close(sockets[0]);
	close(sockets[1]);
	actor_kill(&giving);
	check_kept_without_clients();
	double before = now_ms();
	actor_kill(&taking);
	await_gone(connection, "seg");
	printf("# holder of a passed descriptor killed: gone after %.2f ms\n", now_ms() - before);
	await_segments(connection, 0);
}
END_TEST

START_TEST(clients_descriptor_in_flight_keeps_it)
{
	struct actor giving;
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	actor_start(&giving, giver, &sockets[0]);
	actor_await(&giving);
	actor_kill(&giving);
	close(sockets[0]);
	check_kept_without_clients();
	close(sockets[1]);
	await_gone(connection, "seg");
}
END_TEST

static long context_switches(pid_t pid)
{
	char path[64], line[256];
	long n, sum = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
			sum += n;
	fclose(file);
	return sum;
}

/* Wake-ups in a second; the fewest of some, because a daemon hears of every file that is closed in
 * /dev/shm, and other tests run at the same time. */
static long wakeups_of_idle_daemon(void)
{
	long fewest = LONG_MAX;

	for (int i = 0; i < 20 && fewest > 3; i++) {
		long before = context_switches(daemon_.pid);
		usleep(1000 * 1000);
		long n = context_switches(daemon_.pid) - before;
		if (n < fewest)
			fewest = n;
	}
	return fewest;
}

/* Nothing periodic runs, not even while a segment waits for somebody unknown to let go. A pause that
 * doubles from 0.5 ms to 32 s makes two wake-ups in the second that is looked at, and then ends. */
START_TEST(idle_daemon_sleeps)
{
	struct actor creating, heir, heirs_side;

	make_pipes(&heir, &heirs_side);
	actor_start(&creating, forker, &heirs_side);
	actor_await(&creating);
	actor_await(&heir);
	actor_kill(&creating);
	check_kept_without_clients();
	long n = wakeups_of_idle_daemon();
	printf("# wake-ups of an idle daemon in one second: %ld\n", n);
	ck_assert_int_le(n, 3);
	actor_tell(&heir);
	await_gone(connection, "seg");
}
END_TEST

/* A process that becomes a daemon after connecting is dead, though its child holds the socket. */
static void daemonizer(struct actor *self, void *context)
{
	(void)context;
	create_or_fail(connect_or_fail(), "seg", 4096, SHMD_LIFETIME_OWNER);
	pid_t pid = fork();
	if (pid > 0)
		_exit(0);
	actor_tell(self);
	actor_await(self);
}

START_TEST(end_of_file_is_not_death)
{
	struct actor parent;

	actor_start(&parent, daemonizer, NULL);
	actor_await(&parent);
	/* The child lives and holds the socket; the creator is gone all the same. */
	await_gone(connection, "seg");
	ck_assert_uint_eq(status_segments(connection), 1);
	actor_tell(&parent);
	actor_finish(&parent);
	await_segments(connection, 0);
}
END_TEST

/* A parent that lets go tells so, though its child still holds the socket. */
START_TEST(disconnect_ends_a_shared_socket)
{
	struct shmd *mine = connect_or_fail();
	struct actor child;

	struct shmd_segment *segment = create_or_fail(mine, "seg", 1, SHMD_LIFETIME_OWNER);
	int to[2];
	ck_assert_int_eq(pipe(to), 0);
	child.pid = fork();
	if (child.pid == 0) {
		char byte;
		close(to[1]);
		_exit(read(to[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(to[0]);
	shmd_disconnect(mine);
	await_gone(connection, "seg");
	close(to[1]);
	ck_assert_int_eq(waitpid(child.pid, NULL, 0), child.pid);
	shmd_detach(segment);
}
END_TEST

/* --- persistent, linger ----------------------------------------------------------------------- */

static void leaver(struct actor *self, void *context)
{
	(void)self;
	struct shmd_segment *segment = create_or_fail(connect_or_fail(), "seg", 4096,
						      *(enum shmd_lifetime *)context);
	strcpy(shmd_segment_data(segment), "left behind");
}

START_TEST(persistent_stays_until_unlinked)
{
	enum shmd_lifetime lifetime = SHMD_LIFETIME_PERSISTENT;
	struct actor leaving;

	actor_start(&leaving, leaver, &lifetime);
	actor_finish(&leaving);
	struct shmd_segment *segment = attach_or_fail(connection, "seg", SHMD_READ_ONLY);
	ck_assert_str_eq(shmd_segment_data(segment), "left behind");
	shmd_detach(segment);
	ck_assert(segment_exists(connection, "seg"));
	ck_assert_int_eq(shmd_unlink(connection, "seg"), 0);
	ck_assert(!segment_exists(connection, "seg"));
	await_segments(connection, 0);
}
END_TEST

START_TEST(exit_without_unlink_leaves_nothing)
{
	enum shmd_lifetime lifetime = SHMD_LIFETIME_CLIENTS;
	struct actor leaving;

	actor_start(&leaving, leaver, &lifetime);
	actor_finish(&leaving);
	printf("# after exit: gone after %.2f ms\n", await_gone(connection, "seg"));
}
END_TEST

static struct shmd_segment *create_lingering(struct shmd *with, enum shmd_lifetime lifetime,
					     unsigned linger_ms)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.lifetime = lifetime;
	options.linger_ms = linger_ms;
	ck_assert_int_eq(shmd_create(with, "seg", 4096, &options, &segment), 0);
	return segment;
}

START_TEST(lingers_and_goes)
{
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *segment = create_lingering(mine, SHMD_LIFETIME_CLIENTS, 200);
	double before = now_ms();

	shmd_detach(segment);
	shmd_disconnect(mine);
	ck_assert(segment_exists(connection, "seg"));
	await_gone(connection, "seg");
	double after = now_ms() - before;
	ck_assert_double_ge(after, 200);
	printf("# a linger of 200 ms took %.1f ms\n", after);
	await_segments(connection, 0);
}
END_TEST

START_TEST(lingering_segment_is_picked_up_by_an_owner)
{
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *first = create_lingering(mine, SHMD_LIFETIME_OWNER, 60000), *ignored;

	strcpy(shmd_segment_data(first), "kept");
	shmd_disconnect(mine);
	shmd_detach(first);
	AWAIT(({
		struct shmd_details *details;
		ck_assert_int_eq(shmd_show(connection, "seg", &details), 0);
		int lingering = details->segment->lingering;
		shmd_details_free(details);
		lingering;
	}));
	/* A restarted program that creates is told that it exists. */
	ck_assert_int_eq(shmd_create(connection, "seg", 4096, NULL, &ignored), -EEXIST);
	struct shmd *again = connect_or_fail();
	struct shmd_segment *segment = attach_or_fail(again, "seg", 0);
	ck_assert_str_eq(shmd_segment_data(segment), "kept");
	/* It is the owner now: its letting go lingers once more, its presence does not end. */
	shmd_detach(segment);
	shmd_disconnect(again);
	ck_assert(segment_exists(connection, "seg"));
	ck_assert_int_eq(shmd_unlink(connection, "seg"), 0);
}
END_TEST

/* An owner with many other segments, which are all to be decided about at its death. */
static void rich_owner(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();
	char name[32];

	(void)context;
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "other-%d", i);
		create_or_fail(mine, name, 1, SHMD_LIFETIME_OWNER);
	}
	create_lingering(mine, SHMD_LIFETIME_OWNER, 100);
	actor_tell(self);
	actor_await(self);
}

/* Who has seen the owner die, as a supervisor does, is answered as after its death. */
START_TEST(successor_right_after_the_death)
{
	struct shmd_segment *ignored;
	struct actor owning;

	for (int i = 0; i < 10; i++) {
		actor_start(&owning, rich_owner, NULL);
		actor_await(&owning);
		actor_kill(&owning);
		ck_assert_int_eq(shmd_attach(connection, "other-199", 0, &ignored), -ENOENT);
		struct shmd_segment *segment = attach_or_fail(connection, "seg", 0);
		/* It is ours, so it does not end when the linger would have. */
		await_segments(connection, 1);
		double begin = now_ms();
		AWAIT(now_ms() - begin > 150);
		ck_assert(segment_exists(connection, "seg"));
		ck_assert_int_eq(shmd_unlink(connection, "seg"), 0);
		shmd_detach(segment);
		await_segments(connection, 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lifetimes");
	TCase *rules = tcase_create("rules");

	tcase_add_checked_fixture(rules, set_up, tear_down);
	tcase_set_timeout(rules, 60);
	tcase_add_test(rules, owner_killed_while_another_is_attached);
	tcase_add_test(rules, owner_lets_go);
	tcase_add_test(rules, owner_keeps_it_while_others_come_and_go);
	tcase_add_test(rules, clients_other_client_keeps_it);
	tcase_add_test(rules, clients_inheriting_child_keeps_it);
	tcase_add_test(rules, clients_receiver_of_the_descriptor_keeps_it);
	tcase_add_test(rules, clients_descriptor_in_flight_keeps_it);
	tcase_add_test(rules, idle_daemon_sleeps);
	tcase_add_test(rules, end_of_file_is_not_death);
	tcase_add_test(rules, disconnect_ends_a_shared_socket);
	tcase_add_test(rules, persistent_stays_until_unlinked);
	tcase_add_test(rules, exit_without_unlink_leaves_nothing);
	tcase_add_test(rules, lingers_and_goes);
	tcase_add_test(rules, lingering_segment_is_picked_up_by_an_owner);
	tcase_add_test(rules, successor_right_after_the_death);
	suite_add_tcase(suite, rules);
	return run_suite(suite);
}

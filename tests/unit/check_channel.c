/* SPDX-License-Identifier: MIT */
/* Packets with and without descriptors, over a pair of sockets. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "wire/channel.h"

static int ends[2];
static char buffer[WIRE_PACKET_MAX];
static int fds[WIRE_DESCRIPTORS_MAX];
static size_t n_fds;
static int truncated;
static unsigned descriptors;

static void set_up(void)
{
	int flags = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;

	ck_assert_int_eq(socketpair(AF_UNIX, flags, 0, ends), 0);
	descriptors = unit_descriptors();
}

static void tear_down(void)
{
	ck_assert_uint_eq(unit_descriptors(), descriptors);
	close_fd(ends[0]);
	close_fd(ends[1]);
}

static void send_fds(size_t n)
{
	int sent[256];
	int pipes[2];

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	for (size_t i = 0; i < n; i++)
		sent[i] = pipes[1];
	ck_assert_int_eq(channel_send(ends[0], "hello", 5, sent, n), 0);
	close_fd(pipes[0]);
	close_fd(pipes[1]);
}

static ssize_t receive(void)
{
	return channel_receive(ends[1], buffer, sizeof(buffer), fds, &n_fds, &truncated);
}

static void close_received(void)
{
	for (size_t i = 0; i < n_fds; i++)
		close_fd(fds[i]);
}

START_TEST(packets_keep_their_bounds)
{
	ck_assert_int_eq(channel_send(ends[0], "one", 3, NULL, 0), 0);
	ck_assert_int_eq(channel_send(ends[0], "three", 5, NULL, 0), 0);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), 3);
	ck_assert_mem_eq(buffer, "one", 3);
	ck_assert_int_eq(receive(), 5);
	ck_assert_mem_eq(buffer, "three", 5);
	ck_assert_uint_eq(n_fds, 0);
	ck_assert_int_eq(truncated, 0);
}
END_TEST

START_TEST(descriptors_arrive_in_order)
{
	int sent[2], pipes[2];
	char byte = 0;

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	sent[0] = pipes[0];
	sent[1] = pipes[1];
	ck_assert_int_eq(channel_send(ends[0], "x", 1, sent, 2), 0);
	/* They stay the sender's. */
	ck_assert_int_ge(fcntl(pipes[0], F_GETFD), 0);
	close_fd(pipes[0]);
	close_fd(pipes[1]);

	ck_assert_int_eq(receive(), 1);
	ck_assert_uint_eq(n_fds, 2);
	ck_assert_int_eq(truncated, 0);
	ck_assert_int_eq(write(fds[1], "w", 1), 1);
	ck_assert_int_eq(read(fds[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'w');
	close_received();
}
END_TEST

START_TEST(as_many_descriptors_as_a_packet_has)
{
	send_fds(WIRE_DESCRIPTORS_MAX);
	ck_assert_int_eq(receive(), 5);
	ck_assert_uint_eq(n_fds, WIRE_DESCRIPTORS_MAX);
	ck_assert_int_eq(truncated, 0);
	for (size_t i = 0; i < n_fds; i++)
		ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
	close_received();
	ck_assert_int_eq(channel_send(ends[0], "x", 1, fds, WIRE_DESCRIPTORS_MAX + 1), -EINVAL);
	ck_assert_int_eq(receive(), -EAGAIN);
}
END_TEST

/* Nobody asked for them, so none is ever held, and the connection is as good as over. */
START_TEST(plain_takes_no_descriptors)
{
	send_fds(1);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), -EPROTO);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
	send_fds(WIRE_DESCRIPTORS_MAX);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), -EPROTO);
}
END_TEST

/* What was refused is gone: its other end says so. */
START_TEST(plain_leaves_none_in_flight)
{
	int pipes[2];
	struct pollfd other = {.events = POLLIN};

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	ck_assert_int_eq(channel_send(ends[0], "x", 1, &pipes[1], 1), 0);
	close_fd(pipes[1]);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), -EPROTO);
	other.fd = pipes[0];
	ck_assert_int_eq(poll(&other, 1, 10000), 1);
	ck_assert(other.revents & POLLHUP);
	close_fd(pipes[0]);
}
END_TEST

START_TEST(a_packet_may_be_too_long)
{
	ck_assert_int_eq(channel_send(ends[0], "12345678", 8, NULL, 0), 0);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, 7), -EMSGSIZE);
	ck_assert_int_eq(channel_send(ends[0], "12345678", 8, NULL, 0), 0);
	ck_assert_int_eq(channel_receive(ends[1], buffer, 7, fds, &n_fds, &truncated), -EMSGSIZE);
	/* Its rest does not come as another one. */
	ck_assert_int_eq(receive(), -EAGAIN);
	/* Exactly the room is not too long. */
	ck_assert_int_eq(channel_send(ends[0], "12345678", 8, NULL, 0), 0);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, 8), 8);
}
END_TEST

START_TEST(a_long_packets_descriptors_are_the_callers)
{
	send_fds(2);
	ck_assert_int_eq(channel_receive(ends[1], buffer, 2, fds, &n_fds, &truncated), -EMSGSIZE);
	ck_assert_uint_eq(n_fds, 2);
	close_received();
}
END_TEST

START_TEST(the_longest_packet_passes)
{
	static char out[WIRE_PACKET_MAX];

	memset(out, 'l', sizeof(out));
	ck_assert_int_eq(channel_send(ends[0], out, sizeof(out), NULL, 0), 0);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), sizeof(out));
	ck_assert_mem_eq(buffer, out, sizeof(out));
}
END_TEST

/* Whether the kernel has heard of it: valgrind keeps such a limit to itself. */
static bool is_limit(rlim_t limit)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/limits", "re");
	unsigned long soft = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "Max open files %lu", &soft) == 1)
			return soft == limit;
	return false;
}

/* Leaves room for so many more descriptors. Returns whether that works here. */
static bool limit_descriptors(int room)
{
	int next = fcntl(ends[0], F_DUPFD, 0);
	struct rlimit limit;

	close_fd(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)(next + room);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return is_limit(limit.rlim_cur);
}

START_TEST(a_full_table_is_told)
{
	struct rlimit before;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	send_fds(3);
	send_fds(3);
	if (!limit_descriptors(2))
		return;
	ck_assert_int_eq(receive(), 5);
	ck_assert_mem_eq(buffer, "hello", 5);
	ck_assert_int_ne(truncated, 0);
	ck_assert_uint_eq(n_fds, 2);
	/* Now nothing fits, and still the packet arrives. */
	int held[2] = {fds[0], fds[1]};
	ck_assert_int_eq(receive(), 5);
	ck_assert_int_ne(truncated, 0);
	ck_assert_uint_eq(n_fds, 0);
	close_fd(held[0]);
	close_fd(held[1]);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}
END_TEST

START_TEST(the_end_is_told)
{
	ends[0] = close_fd(ends[0]);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), 0);
	ck_assert_int_eq(receive(), 0);
	/* And raises no SIGPIPE. */
	ck_assert_int_eq(channel_send(ends[1], "x", 1, NULL, 0), -EPIPE);
	descriptors--;
}
END_TEST

START_TEST(an_empty_packet_is_as_good_as_the_end)
{
	ck_assert_int_eq(channel_send(ends[0], "", 0, NULL, 0), 0);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), 0);
}
END_TEST

START_TEST(nothing_there_or_no_room)
{
	ck_assert_int_eq(receive(), -EAGAIN);
	ck_assert_uint_eq(n_fds, 0);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), -EAGAIN);
	int r = 0;
	for (int i = 0; i < 100000 && r == 0; i++)
		r = channel_send(ends[0], buffer, 1024, NULL, 0);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_eq(channel_send(-1, "x", 1, NULL, 0), -EBADF);
}
END_TEST

START_TEST(now_does_not_wait)
{
	int waiting = fcntl(ends[1], F_GETFL) & ~O_NONBLOCK;

	ck_assert_int_eq(fcntl(ends[1], F_SETFL, waiting), 0);
	ck_assert_int_eq(channel_receive_now(ends[1], buffer, sizeof(buffer), fds, &n_fds,
					     &truncated),
			 -EAGAIN);
	ck_assert_uint_eq(n_fds, 0);
	send_fds(2);
	ck_assert_int_eq(
		channel_receive_now(ends[1], buffer, sizeof(buffer), fds, &n_fds, &truncated), 5);
	ck_assert_uint_eq(n_fds, 2);
	close_received();
}
END_TEST

/* Looking takes nothing and drops nothing. */
START_TEST(descriptors_can_be_seen_from_outside)
{
	int pipes[2];

	ck_assert_int_eq(channel_look(ends[1]), -EAGAIN);
	ck_assert_int_eq(channel_send(ends[0], "plain", 5, NULL, 0), 0);
	ck_assert_int_eq(channel_look(ends[1]), 0);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), 5);
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(channel_send(ends[0], "gift", 4, &pipes[1], 1), 0);
	close_fd(pipes[1]);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(channel_look(ends[1]), -EPROTO);
	/* Somebody has its other end. */
	ck_assert_int_eq(read(pipes[0], buffer, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(channel_receive_plain(ends[1], buffer, sizeof(buffer)), -EPROTO);
	ck_assert_int_eq(read(pipes[0], buffer, 1), 0);
	close_fd(pipes[0]);
	shutdown(ends[0], SHUT_RDWR);
	ck_assert_int_eq(channel_look(ends[1]), 0);
}
END_TEST

/* Empty ones, of which the kernel says that nothing is there, stand before all. */
START_TEST(what_brings_none_can_be_dropped)
{
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(channel_send(ends[0], "plain", i, NULL, 0), 0);
	ck_assert(channel_empty(ends[1]));
	ck_assert_int_eq(channel_send(ends[0], "late", 4, NULL, 0), -EPIPE);
	ck_assert(channel_empty(ends[1]));
}
END_TEST

START_TEST(what_brings_some_cannot_be_dropped)
{
	int sent = ends[0];

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(channel_send(ends[0], "", 0, NULL, 0), 0);
	ck_assert_int_eq(channel_send(ends[0], "", 0, &sent, 1), 0);
	ck_assert(!channel_empty(ends[1]));
	ck_assert_int_eq(receive(), 0);
	ck_assert_uint_eq(n_fds, 1);
	close_received();
	ck_assert(channel_empty(ends[1]));
}
END_TEST

/* That the other end was closed with something unread is told before what lies there. */
START_TEST(an_error_does_not_hide_what_is_there)
{
	send_fds(1);
	ck_assert_int_eq(channel_send(ends[1], "unread", 6, NULL, 0), 0);
	ends[0] = close_fd(ends[0]);
	descriptors--;
	ck_assert(!channel_empty(ends[1]));
}
END_TEST

START_TEST(many_are_left_to_others)
{
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(channel_send(ends[0], "", 0, NULL, 0), 0);
	ck_assert(!channel_empty(ends[1]));
}
END_TEST

START_TEST(descriptors_can_be_refused)
{
	int sent = ends[0], r = channel_refuse_descriptors(ends[1]);

	ck_assert(r == 0 || r == -ENOPROTOOPT);
	ck_assert_int_eq(channel_may_bring_descriptors(ends[1]), r != 0);
	ck_assert(channel_may_bring_descriptors(ends[0]) || r != 0);
	ck_assert_int_eq(channel_send(ends[0], "x", 1, &sent, 1), r == 0 ? -EPERM : 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, packets_keep_their_bounds);
	tcase_add_test(tests, descriptors_arrive_in_order);
	tcase_add_test(tests, as_many_descriptors_as_a_packet_has);
	tcase_add_test(tests, plain_takes_no_descriptors);
	tcase_add_test(tests, plain_leaves_none_in_flight);
	tcase_add_test(tests, a_packet_may_be_too_long);
	tcase_add_test(tests, a_long_packets_descriptors_are_the_callers);
	tcase_add_test(tests, the_longest_packet_passes);
	tcase_add_test(tests, a_full_table_is_told);
	tcase_add_test(tests, the_end_is_told);
	tcase_add_test(tests, an_empty_packet_is_as_good_as_the_end);
	tcase_add_test(tests, nothing_there_or_no_room);
	tcase_add_test(tests, now_does_not_wait);
	tcase_add_test(tests, descriptors_can_be_seen_from_outside);
	tcase_add_test(tests, what_brings_none_can_be_dropped);
	tcase_add_test(tests, what_brings_some_cannot_be_dropped);
	tcase_add_test(tests, an_error_does_not_hide_what_is_there);
	tcase_add_test(tests, many_are_left_to_others);
	tcase_add_test(tests, descriptors_can_be_refused);
}

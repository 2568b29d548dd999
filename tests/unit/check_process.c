/* SPDX-License-Identifier: MIT */
/* Processes at the other end of a socket, and their deaths. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/ledger.h"
#include "shmd/process.h"

static struct process_table table;
static struct estate *emptied;
static int listener;
static struct sockaddr_un address;
static unsigned descriptors;

static void set_up(void)
{
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/socket", unit_folder);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 16), 0);
	descriptors = unit_descriptors();
	ck_assert_int_eq(process_table_init(&table, &emptied), 0);
}

static void tear_down(void)
{
	ck_assert_ptr_null(table.by_pid);
	process_table_fini(&table);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
	close_fd(listener);
	unlink(address.sun_path);
}

static void connect_times(void *context)
{
	for (int i = 0; i < *(int *)context; i++) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			_exit(1);
	}
}

static struct unit_child connected_child(int times)
{
	return unit_fork(connect_times, &times);
}

static int accept_one(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static struct process *get(int fd, pid_t pid)
{
	struct process *process = NULL;

	ck_assert_int_eq(process_get(&table, fd, pid, &process), 0);
	ck_assert_ptr_nonnull(process);
	return process;
}

START_TEST(a_child_is_found_and_dies)
{
	struct unit_child child = connected_child(1);
	int fd = accept_one();
	struct process *process = get(fd, child.pid);
	struct pollfd word = {.fd = table.epoll, .events = POLLIN};

	ck_assert_int_eq(process->pid, child.pid);
	ck_assert_int_eq(fcntl(process->pidfd, F_GETFD), FD_CLOEXEC);
	ck_assert(!process_is_dead(process));
	ck_assert_ptr_null(process_table_next_dead(&table));
	ck_assert_int_eq(poll(&word, 1, 0), 0);

	ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
	unit_wait(table.epoll);
	ck_assert(process_is_dead(process));
	ck_assert_ptr_eq(process_table_next_dead(&table), process);
	/* Named again, until it is put. */
	ck_assert_ptr_eq(process_table_next_dead(&table), process);
	process_put(process);
	ck_assert_ptr_null(process_table_next_dead(&table));
	unit_join(&child);
	close_fd(fd);
}
END_TEST

START_TEST(two_connections_share_their_process)
{
	struct unit_child child = connected_child(2);
	int fds[2] = {accept_one(), accept_one()};
	struct process *process = get(fds[0], child.pid);
	unsigned before = unit_descriptors();

	ck_assert_ptr_eq(get(fds[1], child.pid), process);
	ck_assert_uint_eq(unit_descriptors(), before);
	/* While it has a client, putting it does nothing. */
	process->clients = (struct client *)&child;
	process_put(process);
	ck_assert_ptr_eq(get(fds[1], child.pid), process);
	process->clients = NULL;
	process_put(process);
	unit_join(&child);
	close_fd(fds[0]);
	close_fd(fds[1]);
}
END_TEST

/* End-of-file is not death, and death is not end-of-file: a grandchild holds the socket. */
START_TEST(an_open_socket_is_no_life)
{
	int ends[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			_exit(1);
		close(ends[0]);
		if (fork() != 0)
			pause();
		if (write(ends[1], "r", 1) == 1)
			while (read(ends[1], &byte, 1) > 0)
				;
		_exit(0);
	}
	close_fd(ends[1]);
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	int fd = accept_one();
	struct process *process = get(fd, pid);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	unit_wait(table.epoll);
	struct pollfd open_still = {.fd = fd, .events = POLLIN};
	ck_assert_int_eq(poll(&open_still, 1, 0), 0);
	ck_assert_ptr_eq(process_table_next_dead(&table), process);
	process_put(process);
	/* The grandchild ends, and with it the socket. */
	close_fd(ends[0]);
	unit_wait(fd);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close_fd(fd);
}
END_TEST

START_TEST(closing_the_socket_is_no_death)
{
	struct unit_child child = connected_child(1);
	int fd = accept_one();
	struct process *process = get(fd, child.pid);

	close_fd(fd);
	ck_assert(!process_is_dead(process));
	process_put(process);
	unit_join(&child);
}
END_TEST

START_TEST(each_of_many_deaths_is_named)
{
	struct unit_child children[5];
	int fds[5];

	for (int i = 0; i < 5; i++) {
		children[i] = connected_child(1);
		fds[i] = accept_one();
		get(fds[i], children[i].pid);
	}
	for (int i = 0; i < 5; i++)
		unit_join(&children[i]);
	for (int i = 0; i < 5; i++) {
		struct process *process = process_table_next_dead(&table);
		ck_assert_ptr_nonnull(process);
		process_put(process);
		close_fd(fds[i]);
	}
	ck_assert_ptr_null(process_table_next_dead(&table));
}
END_TEST

/* Its number may be another's by now: either it is refused, or what we get is dead. */
START_TEST(the_dead_are_not_taken_for_others)
{
	struct unit_child child = connected_child(1);
	int fd = accept_one();
	struct process *process = NULL;

	unit_join(&child);
	int r = process_get(&table, fd, child.pid, &process);
	ck_assert(r == -ESRCH || (r == 0 && process_is_dead(process)));
	process_put(process);
	close_fd(fd);
}
END_TEST

/* The same number again, before the first one's end was served. */
START_TEST(a_number_may_come_again)
{
	struct unit_child first = connected_child(1), second = connected_child(1);
	int fds[2] = {accept_one(), accept_one()};
	struct process *older = get(fds[0], first.pid);

	unit_join(&first);
	struct process *newer = get(fds[1], first.pid);
	ck_assert_ptr_ne(newer, older);
	ck_assert(!process_is_dead(newer));
	ck_assert_ptr_eq(process_table_next_dead(&table), older);
	process_put(older);
	ck_assert_ptr_eq(get(fds[1], first.pid), newer);
	process_put(newer);
	unit_join(&second);
	close_fd(fds[0]);
	close_fd(fds[1]);
}
END_TEST

START_TEST(our_own_pair_of_sockets)
{
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	struct process *process = get(ends[0], getpid());
	ck_assert(!process_is_dead(process));
	process_put(process);
	process_put(NULL);
	close_fd(ends[0]);
	close_fd(ends[1]);
}
END_TEST

/* SO_PEERCRED with pid 0: out of our sight, so nothing is shared by number. */
START_TEST(without_a_number_nothing_is_shared)
{
	struct unit_child child = connected_child(2);
	int fds[2] = {accept_one(), accept_one()};
	struct process *one = NULL, *two = NULL;

	ck_assert_int_eq(process_get(&table, fds[0], 0, &one), 0);
	ck_assert_int_eq(process_get(&table, fds[1], 0, &two), 0);
	ck_assert(!one || one != two);
	ck_assert_ptr_null(table.by_pid);
	process_put(one);
	process_put(two);
	unit_join(&child);
	close_fd(fds[0]);
	close_fd(fds[1]);
}
END_TEST

/* --- what outlives the connections ------------------------------------------------------------ */

static struct ledger ledger;

static struct locker *give_number(struct process *process)
{
	struct locker *locker;

	ck_assert_int_eq(locker_new(&ledger, &process->estate, 1, process->pid, 0, &locker), 0);
	return locker;
}

/* Its numbers are its own until it dies, however many connections it has then. */
START_TEST(an_estate_keeps_the_entry)
{
	struct unit_child child = connected_child(2);
	int fds[2] = {accept_one(), accept_one()};
	struct process *process = get(fds[0], child.pid);

	ledger_init(&ledger, 1);
	struct locker *locker = give_number(process);
	process_put(process);
	close_fd(fds[0]);
	ck_assert_ptr_eq(get(fds[1], child.pid), process);
	ck_assert_ptr_eq(process_of(&process->estate), process);
	process_put(process);
	/* Its death is told all the same. */
	ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
	unit_wait(table.epoll);
	ck_assert_ptr_eq(process_table_next_dead(&table), process);
	process_retire(process);
	process_put(process);
	ck_assert_ptr_eq(table.all, process);
	locker_free(locker);
	ck_assert_ptr_eq(emptied, &process->estate);
	process_put(process);
	ck_assert_ptr_null(table.all);
	ck_assert_ptr_null(emptied);
	unit_join(&child);
	close_fd(fds[1]);
	ledger_fini(&ledger);
}
END_TEST

/* Nobody else is taken for it, and its descriptor is not kept for as long as its permits are. */
START_TEST(the_retired_are_not_named_again)
{
	struct unit_child child = connected_child(1);
	int fd = accept_one();
	struct process *process = get(fd, child.pid);

	ledger_init(&ledger, 1);
	give_number(process);
	unit_join(&child);
	ck_assert_ptr_eq(process_table_next_dead(&table), process);
	unsigned before = unit_descriptors();
	process_retire(process);
	ck_assert_uint_eq(unit_descriptors(), before - 1);
	ck_assert_ptr_null(process_table_next_dead(&table));
	ck_assert_ptr_null(table.by_pid);
	/* Twice does no harm. */
	process_retire(process);
	ck_assert_uint_eq(unit_descriptors(), before - 1);
	ledger_clear(&ledger);
	process_put(process);
	ck_assert_ptr_null(table.all);
	close_fd(fd);
	ledger_fini(&ledger);
}
END_TEST

/* Its number came again, while what it held is still to be given back. */
START_TEST(a_retired_one_makes_room_for_its_number)
{
	struct unit_child first = connected_child(1), second = connected_child(1);
	int fds[2] = {accept_one(), accept_one()};
	struct process *older = get(fds[0], first.pid);

	ledger_init(&ledger, 1);
	struct locker *locker = give_number(older);
	unit_join(&first);
	process_retire(older);
	struct process *newer = get(fds[1], first.pid);
	ck_assert_ptr_ne(newer, older);
	ck_assert_ptr_null(newer->estate.lockers);
	locker_free(locker);
	process_put(older);
	ck_assert_ptr_eq(get(fds[1], first.pid), newer);
	process_put(newer);
	unit_join(&second);
	close_fd(fds[0]);
	close_fd(fds[1]);
	ledger_fini(&ledger);
}
END_TEST

/* At the daemon's end nobody has died, and everything goes. */
START_TEST(the_end_takes_the_estates_along)
{
	struct unit_child child = connected_child(1);
	int fd = accept_one();
	struct process *process = get(fd, child.pid);

	ledger_init(&ledger, 1);
	give_number(process);
	process_put(process);
	process_table_fini(&table);
	ck_assert_ptr_null(ledger.lockers);
	ck_assert_ptr_null(emptied);
	unit_join(&child);
	close_fd(fd);
	ledger_fini(&ledger);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_child_is_found_and_dies);
	tcase_add_test(tests, two_connections_share_their_process);
	tcase_add_test(tests, an_open_socket_is_no_life);
	tcase_add_test(tests, closing_the_socket_is_no_death);
	tcase_add_test(tests, each_of_many_deaths_is_named);
	tcase_add_test(tests, the_dead_are_not_taken_for_others);
	tcase_add_test(tests, a_number_may_come_again);
	tcase_add_test(tests, our_own_pair_of_sockets);
	tcase_add_test(tests, without_a_number_nothing_is_shared);
	tcase_add_test(tests, an_estate_keeps_the_entry);
	tcase_add_test(tests, the_retired_are_not_named_again);
	tcase_add_test(tests, a_retired_one_makes_room_for_its_number);
	tcase_add_test(tests, the_end_takes_the_estates_along);
}

/* SPDX-License-Identifier: MIT */
/* The daemon under a service manager: what it takes, and what it tells. */
#include "manager.h"

#include <stdio.h>

#ifdef HAVE_LIBSYSTEMD
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct manager *manager;

static struct manager_heard heard(void)
{
	struct manager_heard heard;

	manager_heard(manager, &heard);
	return heard;
}

static void set_up(void)
{
	manager = manager_new(NULL);
}

static void tear_down(void)
{
	ck_assert_uint_eq(heard().nonsense, 0);
	ck_assert_uint_eq(heard().strangers, 0);
	manager = manager_free(manager);
}

static pid_t pid(void)
{
	return manager_daemon(manager)->pid;
}

static void write_config(const char *text)
{
	FILE *file = fopen(manager_daemon(manager)->config, "we");

	fputs(text, file);
	fclose(file);
}

/* --- starts ----------------------------------------------------------------------------------- */

START_TEST(starts_on_the_socket_that_it_is_given)
{
	manager_start(manager);
	struct shmd *connection = connect_or_fail();
	ck_assert_uint_eq(status_segments(connection), 0);
	shmd_disconnect(connection);
	ck_assert_uint_eq(heard().ready, 1);
	manager_end(manager);
	ck_assert_uint_eq(heard().stopping, 1);
}
END_TEST

static void connects(struct actor *self, void *context)
{
	(void)context;
	actor_tell(self);
	shmd_disconnect(connect_or_fail());
}

/* Who connects while there is no daemon waits for the next one, as with a socket unit. */
START_TEST(clients_in_between_wait)
{
	struct actor actor;

	manager_start(manager);
	manager_kill(manager);
	actor_start(&actor, connects, NULL);
	actor_await(&actor);
	manager_start(manager);
	actor_finish(&actor);
}
END_TEST

/* Whatever it can make of it. */
START_TEST(starts_with_what_is_in_the_store)
{
	int fd = memfd_create("planted", MFD_CLOEXEC);

	manager_plant(manager, fd, "planted");
	close(fd);
	manager_start(manager);
	struct shmd *connection = connect_or_fail();
	ck_assert_uint_eq(status_segments(connection), 0);
	shmd_disconnect(connection);
}
END_TEST

START_TEST(does_not_start_on_two_sockets)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), status;

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	manager_plant(manager, fd, "another.socket");
	close(fd);
	ck_assert(!manager_try_start(manager, &status));
	ck_assert_int_eq(status >> 8, 1);
	ck_assert(daemon_logged(manager_daemon(manager), "systemd handed over something else"));
}
END_TEST

/* --- what it tells ---------------------------------------------------------------------------- */

START_TEST(tells_how_it_is)
{
	manager_start(manager);
	manager_await_status(manager, "0 segments, 0 B, 0 clients");
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *segment = create_or_fail(connection, "a", 3565158,
						      SHMD_LIFETIME_CLIENTS);
	manager_await_status(manager, "1 segment, 3.4 MiB, 1 client");
	ck_assert_str_eq(heard().status, "1 segment, 3.4 MiB, 1 client");
	shmd_detach(segment);
	shmd_disconnect(connection);
	manager_await_status(manager, "0 segments, 0 B, 0 clients");
}
END_TEST

/* However much happens. */
START_TEST(tells_it_once_a_second_at_most)
{
	double begin = now_ms();

	manager_start(manager);
	struct shmd *connection = connect_or_fail();
	while (now_ms() < begin + 2500)
		shmd_detach(create_or_fail(connection, "a", 4096, SHMD_LIFETIME_CLIENTS));
	shmd_disconnect(connection);
	ck_assert_uint_le(heard().states, 2 + (unsigned)((now_ms() - begin) / 1000));
}
END_TEST

START_TEST(a_reload_has_a_beginning_and_an_end)
{
	manager_start(manager);
	kill(pid(), SIGHUP);
	AWAIT(heard().ready == 2);
	ck_assert_uint_eq(heard().reloading, 1);
	ck_assert_str_eq(heard().status, "0 segments, 0 B, 0 clients; configuration read again");
	shmd_disconnect(connect_or_fail());
	write_config("[limits]\nsegments = few\n");
	kill(pid(), SIGHUP);
	AWAIT(heard().ready == 3);
	ck_assert_uint_eq(heard().reloading, 2);
	manager_await_status(manager, "0 clients; configuration not read: /");
	/* That stays, whatever happens. */
	struct shmd *connection = connect_or_fail();
	manager_await_status(manager, "1 client; configuration not read: /");
	shmd_disconnect(connection);
	write_config("");
	kill(pid(), SIGHUP);
	AWAIT(heard().ready == 4);
	ck_assert_ptr_nonnull(strstr(heard().status, "; configuration read again"));
}
END_TEST

START_TEST(tells_that_it_is_alive)
{
	manager_set_watchdog(manager, 100000);
	manager_start(manager);
	double begin = now_ms();
	AWAIT(heard().pings >= 10);
	/* Twice in each period. */
	ck_assert_double_ge(now_ms() - begin, 400);
	manager_set_watchdog(manager, 0);
	manager_restart(manager);
	unsigned pings = heard().pings;
	kill(pid(), SIGHUP);
	AWAIT(heard().ready == 3);
	ck_assert_uint_eq(heard().pings, pings);
}
END_TEST

/* And not if its loop does not run. */
START_TEST(is_not_alive_when_it_is_stopped)
{
	manager_set_watchdog(manager, 20000);
	manager_start(manager);
	AWAIT(heard().pings >= 2);
	ck_assert_int_eq(kill(pid(), SIGSTOP), 0);
	manager_drain(manager);
	unsigned pings = heard().pings;
	/* One may have been on its way. */
	usleep(200000);
	ck_assert_uint_le(heard().pings, pings + 1);
	ck_assert_int_eq(kill(pid(), SIGCONT), 0);
	AWAIT(heard().pings >= pings + 3);
}
END_TEST

/* PID 1 has other things to do, and its queue is full: clients notice nothing. */
START_TEST(a_deaf_manager_stalls_nobody)
{
	double worst = 0, first;
	char name[32];

	manager_set_watchdog(manager, 200);
	manager_start(manager);
	manager_hold(manager, true);
	struct shmd *connection = connect_or_fail();
	/* Who makes a segment hears of it when it is stored, and nobody waits for that for long. */
	first = now_ms();
	for (int i = 0;
	     !daemon_logged(manager_daemon(manager), "does not take what is to be stored"); i++) {
		snprintf(name, sizeof(name), "segment%d", i);
		shmd_detach(create_or_fail(connection, name, 4096, SHMD_LIFETIME_PERSISTENT));
	}
	first = now_ms() - first;
	double end = now_ms() + 1500;
	while (now_ms() < end) {
		double begin = now_ms();
		shmd_detach(create_or_fail(connection, NULL, 4096, SHMD_LIFETIME_CLIENTS));
		worst = now_ms() - begin > worst ? now_ms() - begin : worst;
	}
	kill(pid(), SIGHUP);
	AWAIT(daemon_logged(manager_daemon(manager), "configuration read again"));
	shmd_detach(create_or_fail(connection, "a", 4096, SHMD_LIFETIME_CLIENTS));
	ck_assert_uint_eq(heard().ready, 1);
	printf("# noticed after %.1f ms, worst call then %.1f ms\n", first, worst);
	ck_assert_double_le(worst, 500);
	/* What was due is told. */
	unsigned pings = heard().pings;
	manager_hold(manager, false);
	AWAIT(heard().ready == 2);
	ck_assert_uint_eq(heard().reloading, 1);
	AWAIT(heard().pings > pings + 20);
	shmd_disconnect(connection);
}
END_TEST

/* A daemon to which nothing happens sleeps. */
START_TEST(tells_nothing_if_nothing_happens)
{
	manager_start(manager);
	struct shmd *connection = connect_or_fail();
	manager_await_status(manager, "1 client");
	unsigned messages = heard().messages;
	usleep(1500000);
	ck_assert_uint_eq(heard().messages, messages);
	shmd_disconnect(connection);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service");
	TCase *tests = tcase_create("service");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, starts_on_the_socket_that_it_is_given);
	tcase_add_test(tests, clients_in_between_wait);
	tcase_add_test(tests, starts_with_what_is_in_the_store);
	tcase_add_test(tests, does_not_start_on_two_sockets);
	tcase_add_test(tests, tells_how_it_is);
	tcase_add_test(tests, tells_it_once_a_second_at_most);
	tcase_add_test(tests, a_reload_has_a_beginning_and_an_end);
	tcase_add_test(tests, tells_that_it_is_alive);
	tcase_add_test(tests, is_not_alive_when_it_is_stopped);
	tcase_add_test(tests, a_deaf_manager_stalls_nobody);
	tcase_add_test(tests, tells_nothing_if_nothing_happens);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
#else
int main(void)
{
	puts("1..0 # SKIP built without libsystemd: the daemon takes no sockets from systemd");
	return 0;
}
#endif

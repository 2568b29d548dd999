/* SPDX-License-Identifier: MIT */
/* What still works, and what is said, on kernels that refuse something. */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct test_daemon daemon_;
static struct shmd *connection;

/* Starts the daemon where the kernel seems to lack these. */
static void start_without(const char *features)
{
	const char *before = getenv("SHMD_WRAPPER");
	char wrapper[1024];

	snprintf(wrapper, sizeof(wrapper), "%s/tests/system/deny %s -- %s", getenv("top_builddir"),
		 features, before ? before : "");
	setenv("SHMD_WRAPPER", wrapper, 1);
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
}

static void stop(void)
{
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static void check_degraded(const char *says)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	ck_assert_msg(strstr(status->degraded, says) != NULL, "it says: %s", status->degraded);
	shmd_status_free(status);
	ck_assert(daemon_logged(&daemon_, says));
}

/* --- actors ----------------------------------------------------------------------------------- */

static void owner(struct actor *self, void *context)
{
	(void)context;
	create_or_fail(connect_or_fail(), "seg", 4096, SHMD_LIFETIME_OWNER);
	actor_tell(self);
	actor_await(self);
}

/* Its child holds the socket, and outlives it. */
static void daemonizer(struct actor *self, void *context)
{
	(void)context;
	create_or_fail(connect_or_fail(), "seg", 4096, SHMD_LIFETIME_OWNER);
	if (fork() > 0)
		_exit(0);
	actor_tell(self);
	actor_await(self);
}

/* Its child inherits the mapping alone, and the socket is ended. */
static void forker(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();

	(void)context;
	create_or_fail(mine, "seg", 4096, SHMD_LIFETIME_CLIENTS);
	if (fork() > 0) {
		shmd_disconnect(mine);
		_exit(0);
	}
	actor_tell(self);
	actor_await(self);
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(without_peerpidfd)
{
	struct actor actor;

	/* valgrind does not know pidfd_open(2). */
	if (getenv("SHMD_WRAPPER"))
		return;
	start_without("peerpidfd");
	actor_start(&actor, owner, NULL);
	actor_await(&actor);
	actor_kill(&actor);
	await_gone(connection, "seg");
	/* Still the process's death that counts, and not its socket's end. */
	actor_start(&actor, daemonizer, NULL);
	actor_await(&actor);
	await_gone(connection, "seg");
	actor_tell(&actor);
	actor_finish(&actor);
	await_segments(connection, 0);
	stop();
}
END_TEST

START_TEST(without_any_pidfd)
{
	struct actor actor;

	start_without("peerpidfd pidfd");
	actor_start(&actor, owner, NULL);
	actor_await(&actor);
	actor_kill(&actor);
	await_gone(connection, "seg");
	/* End-of-file is all there is: it comes with the last holder of the socket. */
	actor_start(&actor, daemonizer, NULL);
	actor_await(&actor);
	ck_assert(segment_exists(connection, "seg"));
	actor_tell(&actor);
	actor_finish(&actor);
	await_gone(connection, "seg");
	stop();
}
END_TEST

START_TEST(without_leases)
{
	struct actor actor;

	start_without("lease");
	check_degraded("no leases");
	/* The heir has the mapping still, but only the books are asked. */
	actor_start(&actor, forker, NULL);
	actor_await(&actor);
	await_gone(connection, "seg");
	await_segments(connection, 0);
	actor_tell(&actor);
	actor_finish(&actor);
	stop();
}
END_TEST

START_TEST(without_inotify)
{
	struct actor actor;

	start_without("inotify");
	check_degraded("no inotify");
	actor_start(&actor, forker, NULL);
	actor_await(&actor);
	AWAIT(clients_of(connection, "seg") == 0);
	for (int i = 0; i < 50; i++)
		ck_assert(segment_exists(connection, "seg"));
	actor_tell(&actor);
	printf("# without inotify: gone after %.1f ms\n", await_gone(connection, "seg"));
	actor_finish(&actor);
	stop();
}
END_TEST

START_TEST(without_access_control_lists)
{
	start_without("acl");
	check_degraded("no access control lists");
	/* By descriptor it is to be had all the same. */
	struct shmd_segment *segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	shmd_detach(segment);
	stop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kernels");
	TCase *tests = tcase_create("kernels");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, without_peerpidfd);
	tcase_add_test(tests, without_any_pidfd);
	tcase_add_test(tests, without_leases);
	tcase_add_test(tests, without_inotify);
	tcase_add_test(tests, without_access_control_lists);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

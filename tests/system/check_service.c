/* SPDX-License-Identifier: MIT */
/* The daemon under a service manager, and that the one that the tests play (manager.h) is like systemd. */
#include "manager.h"

static struct manager *manager;

static struct manager_heard heard(void)
{
	struct manager_heard heard;

	manager_heard(manager, &heard);
	return heard;
}

START_TEST(starts_on_the_socket_that_it_is_given)
{
	manager = manager_new(NULL);
	manager_start(manager);
	struct shmd *connection = connect_or_fail();
	ck_assert_uint_eq(status_segments(connection), 0);
	shmd_disconnect(connection);
	ck_assert_uint_eq(heard().ready, 1);
	ck_assert_uint_eq(heard().nonsense, 0);
	manager_end(manager);
	ck_assert_uint_eq(heard().stopping, 1);
	manager_free(manager);
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

	manager = manager_new(NULL);
	manager_start(manager);
	manager_kill(manager);
	actor_start(&actor, connects, NULL);
	actor_await(&actor);
	manager_start(manager);
	actor_finish(&actor);
	manager_free(manager);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service");
	TCase *starts = tcase_create("starts");

	tcase_add_test(starts, starts_on_the_socket_that_it_is_given);
	tcase_add_test(starts, clients_in_between_wait);
	suite_add_tcase(suite, starts);
	return run_suite(suite);
}

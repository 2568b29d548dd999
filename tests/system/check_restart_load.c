/* SPDX-License-Identifier: MIT */
/*
 * Restarts and crashes under load lose nothing and fail nobody. SHMD_TEST_RESTARTS says how many there are,
 * SHMD_TEST_SEED repeats the clients' choices as far as scheduling lets anything be repeated. With real
 * numbers, and a real systemd, the same load runs in tests/systemd.
 */
#include <stdio.h>

#include "load.h"
#include "manager.h"

#ifdef HAVE_LIBSYSTEMD
#include <stdlib.h>
#include <time.h>

static uint64_t read_number(const char *variable, uint64_t standard)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : standard;
}

static void restart(bool is_crash, void *context)
{
	if (is_crash)
		manager_crash(context);
	else
		manager_restart(context);
}

static void run(struct load_plan plan)
{
	struct manager *manager = manager_new(NULL);
	struct manager_heard heard;

	daemon_log_level = "notice";
	plan.restart = restart;
	plan.context = manager;
	plan.seed = read_number("SHMD_TEST_SEED", (uint64_t)time(NULL));
	manager_start(manager);
	ck_assert(load_run(&plan));
	manager_end(manager);
	manager_heard(manager, &heard);
	ck_assert_uint_eq(heard.refused, 0);
	ck_assert_uint_eq(heard.polled, 0);
	ck_assert_uint_eq(heard.nonsense, 0);
	manager_free(manager);
}

/* That it is the restarts that are shown below. */
START_TEST(without_restarts)
{
	run((struct load_plan){
		.clients = 10, .segments = 100, .holders = 5, .pause_us = 500, .moments_ms = 500});
}
END_TEST

START_TEST(restarts_lose_nothing)
{
	run((struct load_plan){.clients = 20,
			       .segments = 200,
			       .holders = 8,
			       .waiters = 6,
			       .restarts = (unsigned)read_number("SHMD_TEST_RESTARTS", 6),
			       .pause_us = 1000,
			       .moments_ms = 100});
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("restart_load");
	TCase *tests = tcase_create("restart_load");

	tcase_set_timeout(tests, 300);
	tcase_add_test(tests, without_restarts);
	tcase_add_test(tests, restarts_lose_nothing);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
#else
int main(void)
{
	puts("1..0 # SKIP built without libsystemd: nothing survives a restart");
	return 0;
}
#endif

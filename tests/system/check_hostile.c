/* SPDX-License-Identifier: MIT */
/*
 * Hostile behaviours, each by processes of other users, against a daemon that serves an honest client
 * meanwhile. Needs root, to become them.
 *
 * SHMD_TEST_HOSTILE_MS says for how long each is watched, and SHMD_TEST_HOSTILE_ROW plays only the
 * rows whose names contain it. Each row prints one line; `grep '^# |'` makes a table of them.
 */
#include "hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct behaviours *const groups[] = {
	&hostile_floods, &hostile_questions, &hostile_sockets,   &hostile_processes,
	&hostile_memory, &hostile_files,     &hostile_shortages,
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static const struct behaviour *nth(unsigned n)
{
	for (size_t i = 0; i < GROUPS; n -= groups[i++]->n)
		if (n < groups[i]->n)
			return &groups[i]->rows[n];
	return NULL;
}

START_TEST(nobody_is_harmed)
{
	const struct behaviour *behaviour = nth((unsigned)_i);
	const char *chosen = getenv("SHMD_TEST_HOSTILE_ROW");

	if (!chosen || strstr(behaviour->name, chosen))
		stage_play(behaviour);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("hostile");
	TCase *tests = tcase_create("hostile");
	int n = 0;

	if (geteuid() != 0) {
		puts("1..0 # SKIP only root can become other users");
		return 0;
	}
	while (nth((unsigned)n))
		n++;
	stage_print_head();
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, nobody_is_harmed, 0, n);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

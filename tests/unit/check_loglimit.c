/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "unit.h"

#include "base/loglimit.h"

#define NOTICE 2
#define INFO   3

static struct loglimit limit;
static uint64_t now;

static void set_up(void)
{
	memset(&limit, 0, sizeof(limit));
	now = 5;
}

/* How many of so many lines are written. */
static unsigned write_lines(uid_t uid, unsigned level, unsigned n)
{
	unsigned written = 0;

	for (unsigned i = 0; i < n; i++)
		written += loglimit_admit(&limit, uid, level, now);
	return written;
}

static void expect_taken(uid_t uid, unsigned level, uint64_t left_out)
{
	struct loglimit_entry entry;

	ck_assert(loglimit_take(&limit, now, &entry));
	ck_assert_uint_eq(entry.uid, uid);
	ck_assert_uint_eq(entry.level, level);
	ck_assert_uint_eq(entry.left_out, left_out);
}

static void expect_none_taken(void)
{
	struct loglimit_entry entry;

	ck_assert(!loglimit_take(&limit, now, &entry));
}

START_TEST(so_many_lines_in_a_window)
{
	ck_assert_uint_eq(write_lines(1001, NOTICE, LOGLIMIT_LINES), LOGLIMIT_LINES);
	ck_assert_uint_eq(limit.deadline, 0);
	ck_assert_uint_eq(write_lines(1001, NOTICE, 3), 0);
	ck_assert_uint_eq(limit.deadline, 5 + LOGLIMIT_WINDOW);
	now += LOGLIMIT_WINDOW - 1;
	ck_assert_uint_eq(write_lines(1001, NOTICE, 1), 0);
	expect_none_taken();
	now++;
	expect_taken(1001, NOTICE, 4);
	expect_none_taken();
	ck_assert_uint_eq(limit.deadline, 0);
	/* The next window begins with its first line. */
	now += 1000;
	ck_assert_uint_eq(write_lines(1001, NOTICE, 100), LOGLIMIT_LINES);
	ck_assert_uint_eq(limit.deadline, now + LOGLIMIT_WINDOW);
}
END_TEST

START_TEST(each_user_and_level_has_its_own)
{
	ck_assert_uint_eq(write_lines(1001, INFO, 1000), LOGLIMIT_LINES);
	ck_assert_uint_eq(write_lines(1001, NOTICE, 1), 1);
	ck_assert_uint_eq(write_lines(1002, INFO, 1), 1);
	ck_assert_uint_eq(write_lines(0, INFO, 25), LOGLIMIT_LINES);
	now += LOGLIMIT_WINDOW;
	uint64_t left_out = 0;
	for (struct loglimit_entry entry; loglimit_take(&limit, now, &entry);)
		left_out += entry.left_out;
	ck_assert_uint_eq(left_out, 1000 - LOGLIMIT_LINES + 25 - LOGLIMIT_LINES);
}
END_TEST

START_TEST(the_deadline_is_that_of_the_first)
{
	write_lines(1001, NOTICE, 100);
	now += 7;
	write_lines(1002, NOTICE, 100);
	ck_assert_uint_eq(limit.deadline, 5 + LOGLIMIT_WINDOW);
	now = limit.deadline;
	expect_taken(1001, NOTICE, 80);
	expect_none_taken();
	ck_assert_uint_eq(limit.deadline, 12 + LOGLIMIT_WINDOW);
	/* What nobody took out in time is not lost with the next window. */
	now = limit.deadline + 3;
	ck_assert_uint_eq(write_lines(1002, NOTICE, 30), LOGLIMIT_LINES);
	now += LOGLIMIT_WINDOW;
	expect_taken(1002, NOTICE, 90);
}
END_TEST

/* Who comes under ever other numbers, of a namespace for instance, does not get ever more lines. */
START_TEST(many_users_do_not_make_many_lines)
{
	const unsigned users = 20000;
	uint64_t written = 0, left_out = 0, of_others = 0;

	for (uid_t uid = 0; uid < users; uid++)
		written += write_lines(uid, uid % 2 ? INFO : NOTICE, 30);
	ck_assert_uint_le(written, (LOGLIMIT_ENTRIES + 1) * LOGLIMIT_LINES);
	ck_assert_uint_gt(written, LOGLIMIT_ENTRIES / 2 * LOGLIMIT_LINES);
	/* What is to be told does not make room for others. */
	now += LOGLIMIT_WINDOW;
	for (uid_t uid = users; uid < users + 1000; uid++)
		written += write_lines(uid, NOTICE, 30);
	now += LOGLIMIT_WINDOW;
	for (struct loglimit_entry entry; loglimit_take(&limit, now, &entry);) {
		left_out += entry.left_out;
		if (entry.uid == LOGLIMIT_OTHERS) {
			ck_assert_uint_eq(entry.level, NOTICE);
			of_others = entry.left_out;
		}
	}
	ck_assert_uint_eq(written + left_out, 30 * (users + 1000));
	ck_assert_uint_gt(of_others, left_out / 2);
	/* Then all of the table is free again. */
	ck_assert_uint_eq(write_lines(70000, INFO, 30), LOGLIMIT_LINES);
	ck_assert_uint_eq(write_lines(70001, INFO, 30), LOGLIMIT_LINES);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, so_many_lines_in_a_window);
	tcase_add_test(tests, each_user_and_level_has_its_own);
	tcase_add_test(tests, the_deadline_is_that_of_the_first);
	tcase_add_test(tests, many_users_do_not_make_many_lines);
}

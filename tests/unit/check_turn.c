/* SPDX-License-Identifier: MIT */
/* Who gets how much time, and how soon; with a clock of our own, so that nothing here takes any. */
#include "unit.h"

#include <string.h>

#include "base/clock.h"
#include "shmd/turn.h"

#define MANY 20

static uint64_t now;
static struct turns turns;

/* In place of base/clock.c. */
uint64_t clock_monotonic_ns(void)
{
	return now;
}

uint64_t clock_boottime_ns(void)
{
	return now;
}

uint64_t clock_realtime_ns(void)
{
	return now;
}

/* What has units to do, of so long each. */
struct worker {
	struct turn turn; /* first: the turn is the worker */
	uint64_t unit_ns;
	unsigned units;
	unsigned done;
	uint64_t first_at; /* when the first one began */
	struct worker *ends;
};
static struct worker workers[MANY + 1];
static char order[64];

static bool serve(struct turn *turn)
{
	struct worker *worker = (struct worker *)turn;
	size_t length = strlen(order);

	if (worker->units == 0)
		return false;
	if (worker->done++ == 0)
		worker->first_at = now;
	if (length + 1 < sizeof(order))
		order[length] = (char)('a' + (worker - workers));
	now += worker->unit_ns;
	worker->units--;
	if (worker->ends)
		turn_fini(&worker->ends->turn);
	return worker->units > 0;
}

static void set_up(void)
{
	now = 1000;
	turns = (struct turns){0};
	memset(workers, 0, sizeof(workers));
	memset(order, 0, sizeof(order));
	for (size_t i = 0; i <= MANY; i++)
		turn_init(&workers[i].turn, &turns, serve);
}

static struct worker *ask(size_t which, unsigned units, uint64_t unit_us)
{
	struct worker *worker = &workers[which];

	worker->units = units;
	worker->unit_ns = unit_us * NSEC_PER_USEC;
	turn_ask(&worker->turn);
	return worker;
}

static void run_until(uint64_t us)
{
	while (turns_are_due(&turns) && now < 1000 + us * NSEC_PER_USEC)
		turns_serve(&turns);
}

static void run(void)
{
	run_until(1000000);
	ck_assert(!turns_are_due(&turns));
}

START_TEST(nothing_is_due_at_first)
{
	ck_assert(!turns_are_due(&turns));
	turns_serve(&turns);
	ck_assert_str_eq(order, "");
}
END_TEST

START_TEST(who_asks_is_served_once_for_each_unit)
{
	ask(0, 3, 10);
	turn_ask(&workers[0].turn);
	ck_assert(turns_are_due(&turns));
	run();
	ck_assert_str_eq(order, "aaa");
	ask(0, 1, 10);
	run();
	ck_assert_str_eq(order, "aaaa");
}
END_TEST

START_TEST(a_slice_ends_though_there_is_more)
{
	ask(0, 1000, 10);
	turns_serve(&turns);
	ck_assert_uint_ge(workers[0].done, 1);
	ck_assert_uint_le(workers[0].done, 10);
	ck_assert(turns_are_due(&turns));
}
END_TEST

START_TEST(two_share_the_time_and_not_the_units)
{
	struct worker *dear = ask(0, 1000, 30), *cheap = ask(1, 3000, 10);

	run_until(3000);
	ck_assert_uint_ge(dear->done, 45);
	ck_assert_uint_le(dear->done, 55);
	ck_assert_uint_ge(cheap->done, 140);
	ck_assert_uint_le(cheap->done, 160);
}
END_TEST

/* Whoever has just come waits for the unit that is being done, and for a slice to end. */
START_TEST(who_asks_for_little_hardly_waits)
{
	struct worker *modest = &workers[MANY];

	for (size_t i = 0; i < MANY; i++)
		ask(i, 1000, 20);
	for (uint64_t us = 1000; us < 20000; us += 1000) {
		run_until(us);
		uint64_t asked_at = now;
		modest->done = 0;
		ask(MANY, 1, 10);
		while (modest->done == 0)
			turns_serve(&turns);
		ck_assert_uint_le(modest->first_at - asked_at, 20 * NSEC_PER_USEC);
	}
}
END_TEST

/* Also one who lets go of the turn each time, as somebody with one request at a time does. */
START_TEST(who_asks_again_and_again_gets_a_share)
{
	struct worker *busy = ask(0, 10000, 20), *again = ask(1, 1, 20);

	while (now < 1000 + 10000 * NSEC_PER_USEC) {
		turns_serve(&turns);
		if (again->units == 0)
			ask(1, 1, 20);
	}
	ck_assert_uint_ge(busy->done, 200);
	ck_assert_uint_ge(again->done, 200);
}
END_TEST

/* Time that somebody did not use is not saved up for later. */
START_TEST(who_was_idle_has_nothing_to_claim)
{
	struct worker *busy = ask(0, 100000, 20), *late = &workers[1];

	run_until(50000);
	unsigned before = busy->done;
	uint64_t start = now;
	ask(1, 100000, 20);
	while (now < start + 10000 * NSEC_PER_USEC)
		turns_serve(&turns);
	ck_assert_uint_ge(busy->done - before, 240);
	ck_assert_uint_ge(late->done, 240);
}
END_TEST

START_TEST(those_who_come_together_are_served_as_they_came)
{
	for (size_t i = 0; i < 5; i++)
		ask(i, 1, 10);
	run();
	ck_assert_str_eq(order, "abcde");
}
END_TEST

START_TEST(a_turn_may_end_while_it_is_due)
{
	ask(0, 5, 10);
	ask(1, 5, 10);
	turn_fini(&workers[0].turn);
	turn_fini(&workers[0].turn);
	run();
	ck_assert_str_eq(order, "bbbbb");
}
END_TEST

START_TEST(a_turn_may_end_itself_and_others)
{
	struct worker *itself = ask(0, 5, 10), *other = ask(1, 5, 10);

	itself->ends = itself;
	run();
	ck_assert_str_eq(order, "abbbbb");
	other->ends = &workers[2];
	ask(1, 2, 10);
	ask(2, 2, 10);
	run();
	ck_assert_str_eq(order, "abbbbbbb");
}
END_TEST

/* It has been served, finds nothing, and is told of something on the way: that is not lost. */
static bool asks_while_served(struct turn *turn)
{
	struct worker *worker = (struct worker *)turn;

	if (worker->done++ == 0)
		turn_ask(turn);
	return false;
}

START_TEST(to_ask_while_being_served_counts)
{
	turn_init(&workers[0].turn, &turns, asks_while_served);
	turn_ask(&workers[0].turn);
	run();
	ck_assert_uint_eq(workers[0].done, 2);
}
END_TEST

/* As a user does whose last connection closes, and who connects again a little later. */
START_TEST(to_end_and_come_again_pays_no_debt)
{
	struct worker *busy = ask(0, 100000, 20), *evader = &workers[1];
	unsigned seen = 0;

	evader->ends = evader;
	while (now < 1000 + 100000 * NSEC_PER_USEC) {
		turns_serve(&turns);
		if (evader->turn.is_due || busy->done == seen)
			continue;
		seen = busy->done;
		turn_init(&evader->turn, &turns, serve);
		ask(1, 1, 3000);
	}
	ck_assert_uint_ge(busy->done, 2000);
	ck_assert_uint_le(evader->done, 20);
}
END_TEST

START_TEST(one_that_was_never_begun_can_end)
{
	struct turn turn = {0};

	turn_fini(&turn);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, nothing_is_due_at_first);
	tcase_add_test(tests, who_asks_is_served_once_for_each_unit);
	tcase_add_test(tests, a_slice_ends_though_there_is_more);
	tcase_add_test(tests, two_share_the_time_and_not_the_units);
	tcase_add_test(tests, who_asks_for_little_hardly_waits);
	tcase_add_test(tests, who_asks_again_and_again_gets_a_share);
	tcase_add_test(tests, who_was_idle_has_nothing_to_claim);
	tcase_add_test(tests, those_who_come_together_are_served_as_they_came);
	tcase_add_test(tests, a_turn_may_end_while_it_is_due);
	tcase_add_test(tests, a_turn_may_end_itself_and_others);
	tcase_add_test(tests, to_ask_while_being_served_counts);
	tcase_add_test(tests, to_end_and_come_again_pays_no_debt);
	tcase_add_test(tests, one_that_was_never_begun_can_end);
}

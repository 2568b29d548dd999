/* SPDX-License-Identifier: MIT */
/* Numbers, whose they are, and what a process leaves behind. */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "unit.h"

#include "core/ledger.h"
#include "core/locker.h"

#define SEGMENT UINT64_C(77)

static struct ledger ledger;
static struct estate *emptied;
static struct estate one, two;

static void set_up(void)
{
	emptied = NULL;
	ck_assert_int_eq(ledger_init(&ledger, 1), 0);
	ck_assert_int_eq(ledger.fd, -1);
	estate_init(&one, &emptied);
	estate_init(&two, &emptied);
}

static void tear_down(void)
{
	estate_fini(&one);
	estate_fini(&two);
	ck_assert_ptr_null(ledger.lockers);
	ledger_fini(&ledger);
	ck_assert_ptr_null(emptied);
}

static struct locker *make(struct estate *estate)
{
	struct locker *locker = NULL;

	ck_assert_int_eq(locker_new(&ledger, estate, SEGMENT, 10, 20, &locker), 0);
	return locker;
}

START_TEST(a_locker_knows_whose_it_is)
{
	struct locker *locker = make(&one);

	ck_assert_uint_eq(locker->number, 1);
	ck_assert_uint_eq(locker->segment_id, SEGMENT);
	ck_assert_int_eq(locker->pid, 10);
	ck_assert_uint_eq(locker->uid, 20);
	ck_assert_ptr_eq(locker->ledger, &ledger);
	ck_assert_ptr_eq(locker->estate, &one);
	ck_assert(!locker->is_dead && !locker->until_exit && !locker->was_left);
	ck_assert_ptr_eq(ledger.lockers, locker);
	ck_assert_ptr_eq(one.lockers, locker);
	ck_assert_ptr_null(two.lockers);
}
END_TEST

/* The lowest that is free, never 0, and 4,095 of them. */
START_TEST(numbers_are_given_once)
{
	static struct locker *lockers[WORD_NUMBER_MAX + 1];
	struct locker *none = NULL;

	for (unsigned n = 1; n <= WORD_NUMBER_MAX; n++) {
		lockers[n] = make(n % 2 ? &one : &two);
		ck_assert_uint_eq(lockers[n]->number, n);
	}
	ck_assert_int_eq(locker_new(&ledger, &one, SEGMENT, 1, 1, &none), -EDQUOT);
	ck_assert_ptr_null(none);
	for (unsigned n = WORD_NUMBER_MAX; n > 0; n /= 2) {
		locker_free(lockers[n]);
		ck_assert_uint_eq(make(&one)->number, n);
		ck_assert_int_eq(locker_new(&ledger, &one, SEGMENT, 1, 1, &none), -EDQUOT);
	}
}
END_TEST

START_TEST(a_free_number_is_forgotten)
{
	struct locker *locker = make(&one);

	ledger_keep_until_exit(locker);
	ledger_keep_until_exit(locker);
	ck_assert_uint_eq(ledger.n_kept, 1);
	/* The dead keep nothing. */
	ledger_note_death(locker);
	ledger_note_death(locker);
	ledger_keep_until_exit(locker);
	ck_assert_uint_eq(ledger.n_dead, 1);
	ck_assert_uint_eq(ledger.n_kept, 0);
	make(&one);
	ck_assert_ptr_null(locker_free(locker));
	ck_assert_ptr_null(locker_free(NULL));
	ck_assert_uint_eq(ledger.n_dead, 0);
	ck_assert_uint_eq(ledger.n_kept, 0);
	locker = make(&one);
	ck_assert_uint_eq(locker->number, 1);
	ck_assert(!locker->is_dead && !locker->until_exit);
}
END_TEST

START_TEST(an_empty_estate_is_listed_once)
{
	struct locker *first = make(&one), *second = make(&one), *other = make(&two);

	locker_free(first);
	ck_assert_ptr_null(emptied);
	locker_free(second);
	ck_assert_ptr_eq(emptied, &one);
	ck_assert(one.is_listed);
	locker_free(other);
	ck_assert_ptr_eq(emptied, &one);
	ck_assert_ptr_eq(one.next, &two);
	/* Whoever has something again is off the list. */
	first = make(&one);
	ck_assert_ptr_eq(emptied, &two);
	ck_assert(!one.is_listed);
	estate_unlist(&two);
	estate_unlist(&two);
	ck_assert_ptr_null(emptied);
	locker_free(first);
	ck_assert_ptr_eq(emptied, &one);
}
END_TEST

START_TEST(an_estate_takes_all_it_has_along)
{
	struct ledger another;

	ck_assert_int_eq(ledger_init(&another, 1), 0);
	struct locker *elsewhere = NULL;
	make(&one);
	ck_assert_int_eq(locker_new(&another, &one, SEGMENT + 1, 1, 1, &elsewhere), 0);
	ck_assert_uint_eq(elsewhere->number, 1);
	struct charge none = {0};
	locker_leave(elsewhere, &none);
	struct locker *stays = make(&two);
	estate_fini(&one);
	ck_assert_ptr_eq(ledger.lockers, stays);
	ck_assert_ptr_null(another.lockers);
	ck_assert_ptr_null(one.lockers);
	ck_assert_ptr_null(one.left);
	ck_assert(!one.is_listed);
	ledger_fini(&another);
}
END_TEST

START_TEST(a_ledger_takes_all_it_has_along)
{
	make(&one);
	make(&two);
	ledger_clear(&ledger);
	ck_assert_ptr_null(ledger.lockers);
	ck_assert(one.is_listed && two.is_listed);
	ck_assert_uint_eq(make(&one)->number, 1);
}
END_TEST

START_TEST(what_was_left_is_taken_up)
{
	struct charge none = {0};
	struct locker *locker = make(&one);

	ck_assert_ptr_null(locker_take_up(&one, SEGMENT));
	locker_leave(locker, &none);
	ck_assert(locker->was_left);
	ck_assert_ptr_null(locker_take_up(&one, SEGMENT + 1));
	ck_assert_ptr_null(locker_take_up(&two, SEGMENT));
	ck_assert_ptr_eq(locker_take_up(&one, SEGMENT), locker);
	/* Once; and it may still be locked by through the old handle. */
	ck_assert_ptr_null(locker_take_up(&one, SEGMENT));
	ck_assert(locker->was_left);
	locker_leave(locker, &none);
	locker_free(locker);
	ck_assert_ptr_null(locker_take_up(&one, SEGMENT));
}
END_TEST

/* Two connections of one process had it, and both were lost. */
START_TEST(two_that_were_left_are_both_found)
{
	struct charge none = {0};
	struct locker *first = make(&one), *second = make(&one);

	locker_leave(first, &none);
	locker_leave(second, &none);
	struct locker *found = locker_take_up(&one, SEGMENT);
	ck_assert(found == first || found == second);
	ck_assert_ptr_eq(locker_take_up(&one, SEGMENT), found == first ? second : first);
	ck_assert_ptr_null(locker_take_up(&one, SEGMENT));
}
END_TEST

static struct quota quota;

static struct charge charged(void)
{
	static const struct quota_limits limits = {.total = {[QUOTA_ATTACHMENTS] = 9},
						   .per_user = {[QUOTA_ATTACHMENTS] = 9}};
	struct charge charge;
	struct refusal why;

	quota_init(&quota, &limits);
	ck_assert_int_eq(quota_charge(&quota, &(struct credentials){.uid = 20}, QUOTA_ATTACHMENTS,
				      1, &charge, &why),
			 0);
	return charge;
}

static uint64_t in_use(void)
{
	return quota_used_by(&quota, 20, QUOTA_ATTACHMENTS);
}

/* The attachment's charge stays for as long as what it left does. */
START_TEST(what_was_left_is_charged)
{
	struct charge charge = charged();
	struct locker *locker = make(&one);

	locker_leave(locker, &charge);
	ck_assert_ptr_null(charge.user);
	charge_release(&charge);
	ck_assert_uint_eq(in_use(), 1);
	if (_i == 0)
		locker_take_up(&one, SEGMENT);
	else if (_i == 1)
		locker_free(locker);
	else
		estate_fini(&one);
	ck_assert_uint_eq(in_use(), 0);
	ck_assert_ptr_null(quota.users);
	quota_fini(&quota);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_locker_knows_whose_it_is);
	tcase_add_test(tests, numbers_are_given_once);
	tcase_add_test(tests, a_free_number_is_forgotten);
	tcase_add_test(tests, an_empty_estate_is_listed_once);
	tcase_add_test(tests, an_estate_takes_all_it_has_along);
	tcase_add_test(tests, a_ledger_takes_all_it_has_along);
	tcase_add_test(tests, what_was_left_is_taken_up);
	tcase_add_test(tests, two_that_were_left_are_both_found);
	tcase_add_loop_test(tests, what_was_left_is_charged, 0, 3);
}

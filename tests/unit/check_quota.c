/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "base/log.h"
#include "core/quota.h"

static struct quota quota;
static struct refusal why;

static void set_up(void)
{
	struct quota_limits limits = {.total = {[QUOTA_CLIENTS] = 3, [QUOTA_BYTES] = 1000},
				      .per_user = {[QUOTA_CLIENTS] = 2, [QUOTA_BYTES] = 600}};

	quota_init(&quota, &limits);
}

static void tear_down(void)
{
	quota_fini(&quota);
}

/* Somebody without groups of note. */
static const struct credentials *as(uid_t uid)
{
	static struct credentials who;

	credentials_init(&who, uid, 100, NULL, 0);
	return &who;
}

static struct charge charge(uid_t uid, enum quota_resource resource, uint64_t amount)
{
	struct charge charge = {0};

	ck_assert_int_eq(quota_charge(&quota, as(uid), resource, amount, &charge, &why), 0);
	return charge;
}

static void expect_limit(uid_t uid, enum quota_resource resource, uint64_t amount, const char *text)
{
	struct charge none = {0};
	uint64_t before = quota.used[resource];

	ck_assert_int_eq(quota_charge(&quota, as(uid), resource, amount, &none, &why),
			 REFUSAL_LIMIT);
	ck_assert_int_eq(why.code, REFUSAL_LIMIT);
	ck_assert_str_eq(why.text, text);
	ck_assert_ptr_null(none.user);
	ck_assert_uint_eq(quota.used[resource], before);
	charge_release(&none);
}

START_TEST(a_user_has_a_limit)
{
	struct charge one = charge(1001, QUOTA_BYTES, 500);

	expect_limit(1001, QUOTA_BYTES, 101,
		     "the limit bytes_per_user=600 is reached: 500 in use, 101 more asked for");
	struct charge rest = charge(1001, QUOTA_BYTES, 100);
	expect_limit(1001, QUOTA_BYTES, 1,
		     "the limit bytes_per_user=600 is reached: 600 in use, 1 more asked for");
	charge_release(&one);
	ck_assert_uint_eq(quota_used_by(&quota, 1001, QUOTA_BYTES), 100);
	charge_release(&rest);
}
END_TEST

START_TEST(all_together_have_a_limit)
{
	struct charge charges[] = {charge(1001, QUOTA_CLIENTS, 1), charge(1001, QUOTA_CLIENTS, 1),
				   charge(1002, QUOTA_CLIENTS, 1)};

	expect_limit(1003, QUOTA_CLIENTS, 1,
		     "the limit clients=3 is reached: 3 in use, 1 more asked for");
	charge_release(&charges[0]);
	charges[0] = charge(1003, QUOTA_CLIENTS, 1);
	for (int i = 0; i < 3; i++)
		charge_release(&charges[i]);
}
END_TEST

START_TEST(resources_do_not_mix)
{
	struct charge bytes = charge(1001, QUOTA_BYTES, 600);
	struct charge client = charge(1001, QUOTA_CLIENTS, 1);

	ck_assert_uint_eq(quota_used_by(&quota, 1001, QUOTA_BYTES), 600);
	ck_assert_uint_eq(quota_used_by(&quota, 1001, QUOTA_CLIENTS), 1);
	ck_assert_uint_eq(quota_used_by(&quota, 1002, QUOTA_BYTES), 0);
	charge_release(&bytes);
	charge_release(&client);
}
END_TEST

START_TEST(a_user_without_charges_is_forgotten)
{
	struct charge one = charge(1001, QUOTA_BYTES, 1);
	struct charge two = charge(1001, QUOTA_CLIENTS, 1);

	ck_assert_uint_eq(HASH_COUNT(quota.users), 1);
	charge_release(&one);
	ck_assert_uint_eq(HASH_COUNT(quota.users), 1);
	charge_release(&two);
	ck_assert_ptr_null(quota.users);
	/* Given back once is enough. */
	charge_release(&two);
	ck_assert_uint_eq(quota.used[QUOTA_CLIENTS], 0);
}
END_TEST

START_TEST(a_refusal_makes_no_user)
{
	expect_limit(1001, QUOTA_BYTES, 601,
		     "the limit bytes_per_user=600 is reached: 0 in use, 601 more asked for");
	ck_assert_ptr_null(quota.users);
}
END_TEST

START_TEST(sums_do_not_overflow)
{
	struct charge one = charge(1001, QUOTA_BYTES, 600);
	struct charge none;

	ck_assert_int_eq(quota_charge(&quota, as(1001), QUOTA_BYTES, UINT64_MAX, &none, &why),
			 REFUSAL_LIMIT);
	ck_assert_int_eq(quota_charge(&quota, as(1002), QUOTA_BYTES, UINT64_MAX - 599, &none, &why),
			 REFUSAL_LIMIT);
	quota.limits.per_user[QUOTA_BYTES] = quota.limits.total[QUOTA_BYTES] = UINT64_MAX;
	ck_assert_int_eq(quota_charge(&quota, as(1002), QUOTA_BYTES, UINT64_MAX - 599, &none, &why),
			 REFUSAL_LIMIT);
	charge_release(&one);
}
END_TEST

/* After a reload: what is there stays, and nothing is added. */
START_TEST(a_limit_may_fall_below_its_use)
{
	struct charge one = charge(1001, QUOTA_CLIENTS, 2);

	quota.limits.total[QUOTA_CLIENTS] = 1;
	expect_limit(1002, QUOTA_CLIENTS, 1,
		     "the limit clients=1 is reached: 2 in use, 1 more asked for");
	charge_release(&one);
}
END_TEST

/* --- the reserve ------------------------------------------------------------------------------ */

static void set_total(uint64_t total, uint64_t per_user)
{
	quota.limits.total[QUOTA_WAITS] = total;
	quota.limits.per_user[QUOTA_WAITS] = per_user;
}

START_TEST(the_reserve_begins_at_a_sixteenth)
{
	set_total(320, 320);
	/* 20 are left, which is a sixteenth; one more, and it would be less. */
	struct charge much = charge(1001, QUOTA_WAITS, 300);
	expect_limit(1001, QUOTA_WAITS, 1,
		     "the limit waits=320 is nearly reached: 300 in use, 1 more asked for; the "
		     "rest is kept for users who use less");
	/* A user gets so much of it that it is an eighth of what is left: 3 where 17 are. */
	expect_limit(1002, QUOTA_WAITS, 4,
		     "the limit waits=320 is nearly reached: 300 in use, 4 more asked for; the "
		     "rest is kept for users who use less");
	struct charge three = charge(1002, QUOTA_WAITS, 3);
	expect_limit(1002, QUOTA_WAITS, 1,
		     "the limit waits=320 is nearly reached: 303 in use, 1 more asked for; the "
		     "rest is kept for users who use less");
	struct charge one = charge(1003, QUOTA_WAITS, 1);
	/* What comes back is everybody's again. */
	charge_release(&three);
	charge_release(&one);
	charge_release(&much);
	much = charge(1002, QUOTA_WAITS, 300);
	charge_release(&much);
}
END_TEST

/* There is one for each, but the last one is nobody's. */
START_TEST(the_reserve_goes_to_many)
{
	struct charge much, charges[64] = {0};
	uid_t uid = 2000;

	set_total(320, 320);
	much = charge(1001, QUOTA_WAITS, 300);
	while (quota_charge(&quota, as(uid), QUOTA_WAITS, 1, &charges[uid - 2000], &why) == 0)
		uid++;
	ck_assert_uint_eq(uid - 2000, 19);
	ck_assert_uint_eq(quota.used[QUOTA_WAITS], 319);
	for (int i = 0; i < 64; i++)
		charge_release(&charges[i]);
	charge_release(&much);
}
END_TEST

/* A total of less than 16 has no reserve; of 16, it is the last one. */
START_TEST(small_totals_have_no_reserve)
{
	for (uint64_t total = 1; total <= 16; total++) {
		set_total(total, total);
		struct charge most = charge(1001, QUOTA_WAITS, total - total / 16);
		ck_assert_uint_eq(quota.used[QUOTA_WAITS], total < 16 ? total : 15);
		if (total == 16)
			expect_limit(1002, QUOTA_WAITS, 1,
				     "the limit waits=16 is nearly reached: 15 in use, 1 more "
				     "asked for; the rest is kept for users who use less");
		charge_release(&most);
	}
}
END_TEST

START_TEST(the_largest_total_is_none)
{
	set_total(UINT64_MAX, UINT64_MAX);
	struct charge all = charge(1001, QUOTA_WAITS, UINT64_MAX);
	charge_release(&all);
	set_total(UINT64_MAX - 1, UINT64_MAX);
	ck_assert_int_eq(quota_charge(&quota, as(1001), QUOTA_WAITS, UINT64_MAX - 1, &all, &why),
			 REFUSAL_LIMIT);
}
END_TEST

/* 20 users that take what they can get, one by one or by hundreds, and the 21st. */
START_TEST(the_greedy_leave_something)
{
	static struct charge charges[21 * 4096];
	size_t n = 0, before, had;
	bool goes_on = true;

	set_total(4096, 2048);
	while (goes_on) {
		goes_on = false;
		for (uid_t uid = 1; uid <= 20; uid++)
			for (uint64_t amount = 1000; amount > 0; amount = _i ? amount / 10 : 0) {
				uint64_t wish = _i ? amount : 1;
				if (quota_charge(&quota, as(uid), QUOTA_WAITS, wish, &charges[n],
						 &why) == 0)
					n++, goes_on = true;
			}
	}
	before = n;
	while (quota_charge(&quota, as(21), QUOTA_WAITS, 1, &charges[n], &why) == 0)
		n++;
	had = n - before;
	/* Those who came late to hundreds had shares of the reserve before. */
	ck_assert_uint_ge(had, _i ? 10 : 29);
	/* Also behind that one there is something. */
	while (quota_charge(&quota, as(22), QUOTA_WAITS, 1, &charges[n], &why) == 0)
		n++;
	ck_assert_uint_ge(n - before - had, _i ? 9 : 25);
	while (n > 0)
		charge_release(&charges[--n]);
}
END_TEST

/* --- what the log is told --------------------------------------------------------------------- */

static int log_end;

/* Standard error of this test's own process becomes a pipe. */
static void catch_log(void)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	log_end = ends[0];
	log_open("unit");
	log_set_level(LOG_LEVEL_INFO);
}

static void expect_logged(const char *expected)
{
	char text[4096];
	ssize_t n = read(log_end, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	ck_assert_str_eq(text, expected);
}

/* Refused, and the log is told or not. */
static void expect_refused(uid_t uid, uint64_t amount, const char *logged)
{
	struct charge none = {0};

	ck_assert_int_eq(quota_charge(&quota, as(uid), QUOTA_WAITS, amount, &none, &why),
			 REFUSAL_LIMIT);
	expect_logged(logged);
}

START_TEST(a_breach_is_told_once_until_it_ends)
{
	struct charge most, few, one;

	catch_log();
	set_total(1000, 16);
	most = charge(1001, QUOTA_WAITS, 14);
	few = charge(1001, QUOTA_WAITS, 1);
	one = charge(1001, QUOTA_WAITS, 1);
	expect_refused(1001, 1,
		       "unit: notice: uid 1001 was refused more: the limit waits_per_user=16 is "
		       "reached: 16 in use, 1 more asked for\n");
	expect_refused(1001, 1, "");
	/* One below the limit is no end of it, and seven eighths are. */
	charge_release(&one);
	expect_refused(1001, 2, "");
	charge_release(&few);
	few = charge(1001, QUOTA_WAITS, 2);
	expect_refused(1001, 1,
		       "unit: notice: uid 1001 was refused more: the limit waits_per_user=16 is "
		       "reached: 16 in use, 1 more asked for\n");
	/* Another user's is another one. */
	struct charge other = charge(1002, QUOTA_WAITS, 1);
	expect_refused(1002, 16,
		       "unit: notice: uid 1002 was refused more: the limit waits_per_user=16 is "
		       "reached: 1 in use, 16 more asked for\n");
	charge_release(&other);
	charge_release(&few);
	charge_release(&most);
}
END_TEST

START_TEST(who_just_touches_the_limit_ends_nothing)
{
	struct charge most, one;

	catch_log();
	set_total(1000, 9);
	most = charge(1001, QUOTA_WAITS, 8);
	one = charge(1001, QUOTA_WAITS, 1);
	expect_refused(1001, 1,
		       "unit: notice: uid 1001 was refused more: the limit waits_per_user=9 is "
		       "reached: 9 in use, 1 more asked for\n");
	for (int i = 0; i < 10; i++) {
		charge_release(&one);
		one = charge(1001, QUOTA_WAITS, 1);
		expect_refused(1001, 1, "");
	}
	/* Another limit is another breach. */
	set_total(1000, 8);
	expect_refused(1001, 1,
		       "unit: notice: uid 1001 was refused more: the limit waits_per_user=8 is "
		       "reached: 9 in use, 1 more asked for\n");
	charge_release(&one);
	charge_release(&most);
}
END_TEST

/* Without any charge there is nothing that could end: what remains is log_about()'s own limit. */
START_TEST(who_is_forgotten_breaches_anew)
{
	struct charge one;
	char line[] = "unit: notice: uid 1001 was refused more: the limit waits_per_user=4 is "
		      "reached: 0 in use, 5 more asked for\n";

	catch_log();
	set_total(1000, 4);
	expect_refused(1001, 5, line);
	expect_refused(1001, 5, line);
	one = charge(1001, QUOTA_CLIENTS, 1);
	expect_refused(1001, 5, line);
	expect_refused(1001, 5, "");
	charge_release(&one);
	expect_refused(1001, 5, line);
}
END_TEST

START_TEST(a_total_s_breach_is_everybody_s)
{
	struct charge much, more, little;

	catch_log();
	set_total(160, 160);
	much = charge(1001, QUOTA_WAITS, 130);
	more = charge(1001, QUOTA_WAITS, 20);
	expect_refused(1002, 50,
		       "unit: warning: uid 1002 was refused more: the limit waits=160 is reached: "
		       "150 in use, 50 more asked for\n");
	expect_refused(1002, 50, "");
	expect_refused(1003, 11, "");
	/* 140 are seven eighths. */
	little = charge(1002, QUOTA_WAITS, 1);
	charge_release(&more);
	more = charge(1001, QUOTA_WAITS, 10);
	charge_release(&little);
	little = charge(1002, QUOTA_WAITS, 1);
	expect_refused(1002, 20,
		       "unit: warning: uid 1002 was refused more: the limit waits=160 is reached: "
		       "141 in use, 20 more asked for\n");
	charge_release(&little);
	charge_release(&more);
	charge_release(&much);
}
END_TEST

/* Others are served: it is the user's own. */
START_TEST(a_breach_of_the_reserve_is_the_user_s)
{
	struct charge much, more;

	catch_log();
	set_total(160, 160);
	much = charge(1001, QUOTA_WAITS, 130);
	more = charge(1001, QUOTA_WAITS, 20);
	expect_refused(1001, 1,
		       "unit: notice: uid 1001 was refused more: the limit waits=160 is nearly "
		       "reached: 150 in use, 1 more asked for; the rest is kept for users who use "
		       "less\n");
	expect_refused(1001, 2, "");
	/* 131 are seven eighths of the 150 that it had. */
	charge_release(&more);
	more = charge(1001, QUOTA_WAITS, 20);
	expect_refused(1001, 1,
		       "unit: notice: uid 1001 was refused more: the limit waits=160 is nearly "
		       "reached: 150 in use, 1 more asked for; the rest is kept for users who use "
		       "less\n");
	charge_release(&more);
	charge_release(&much);
}
END_TEST

/* --- limits of some --------------------------------------------------------------------------- */

#define GROUP 500

static struct users one(bool is_group, id_t id)
{
	return (struct users){.n = 1, .entries = {{is_group, id}}};
}

/* Whose limits are other ones: of 1002, then of a group. */
static void set_allowances(uint64_t of_1002, uint64_t of_group)
{
	struct quota_allowances allowances = {calloc(2, sizeof(struct quota_allowance)), 2};

	ck_assert_ptr_nonnull(allowances.list);
	allowances.list[0] = (struct quota_allowance){
		"first", one(false, 1002), {[0 ... QUOTA_RESOURCES - 1] = QUOTA_GENERAL}};
	allowances.list[1] = (struct quota_allowance){
		"second", one(true, GROUP), {[0 ... QUOTA_RESOURCES - 1] = QUOTA_GENERAL}};
	allowances.list[0].per_user[QUOTA_BYTES] = of_1002;
	allowances.list[1].per_user[QUOTA_BYTES] = of_group;
	allowances.list[1].per_user[QUOTA_CLIENTS] = 0;
	quota_set_allowances(&quota, &allowances);
	ck_assert_ptr_null(allowances.list);
}

START_TEST(the_first_allowance_for_a_user_decides)
{
	static gid_t group = GROUP;
	struct credentials member, both;

	credentials_init(&member, 1003, 100, &group, 1);
	credentials_init(&both, 1002, GROUP, NULL, 0);
	set_allowances(700, 10);
	ck_assert_uint_eq(quota_per_user_limit(&quota, as(1001), QUOTA_BYTES), 600);
	ck_assert_uint_eq(quota_per_user_limit(&quota, as(1002), QUOTA_BYTES), 700);
	ck_assert_uint_eq(quota_per_user_limit(&quota, &member, QUOTA_BYTES), 10);
	ck_assert_uint_eq(quota_per_user_limit(&quota, &member, QUOTA_CLIENTS), 0);
	/* What the first one does not say is as everybody has it, whatever the second one says. */
	ck_assert_uint_eq(quota_per_user_limit(&quota, &both, QUOTA_BYTES), 700);
	ck_assert_uint_eq(quota_per_user_limit(&quota, &both, QUOTA_CLIENTS), 2);
	/* One that says nothing ends the search, too. */
	set_allowances(QUOTA_GENERAL, 10);
	ck_assert_uint_eq(quota_per_user_limit(&quota, &both, QUOTA_BYTES), 600);
}
END_TEST

START_TEST(an_allowance_is_named_in_refusals)
{
	set_allowances(5, 0);
	struct charge one = charge(1002, QUOTA_BYTES, 5);
	expect_limit(1002, QUOTA_BYTES, 1,
		     "the limit bytes_per_user=5 of [limits first] is reached: 5 in use, 1 more "
		     "asked for");
	expect_limit(1001, QUOTA_BYTES, 601,
		     "the limit bytes_per_user=600 is reached: 0 in use, 601 more asked for");
	charge_release(&one);
}
END_TEST

/* All processes of a user share what is in use, whatever their groups let them add to it. */
START_TEST(use_is_the_user_s_in_every_group)
{
	static gid_t group = GROUP;
	struct credentials member;
	struct charge none = {0};

	credentials_init(&member, 1001, 100, &group, 1);
	set_allowances(0, 10);
	struct charge plain = charge(1001, QUOTA_BYTES, 10);
	ck_assert_int_eq(quota_charge(&quota, &member, QUOTA_BYTES, 1, &none, &why), REFUSAL_LIMIT);
	unit_assert_has(why.text, "of [limits second] is reached: 10 in use");
	charge_release(&plain);
	ck_assert_int_eq(quota_charge(&quota, &member, QUOTA_BYTES, 1, &none, &why), 0);
	charge_release(&none);
}
END_TEST

START_TEST(other_allowances_take_nothing_away)
{
	struct charge one = charge(1002, QUOTA_BYTES, 600);

	set_allowances(5, 0);
	ck_assert_uint_eq(quota_used_by(&quota, 1002, QUOTA_BYTES), 600);
	expect_limit(1002, QUOTA_BYTES, 1,
		     "the limit bytes_per_user=5 of [limits first] is reached: 600 in use, 1 more "
		     "asked for");
	quota_set_allowances(&quota, &(struct quota_allowances){0});
	expect_limit(1002, QUOTA_BYTES, 1,
		     "the limit bytes_per_user=600 is reached: 600 in use, 1 more asked for");
	charge_release(&one);
}
END_TEST

START_TEST(what_is_left_goes_at_the_end)
{
	charge(1001, QUOTA_CLIENTS, 1);
	charge(1002, QUOTA_CLIENTS, 1);
	quota_fini(&quota);
	ck_assert_ptr_null(quota.users);
}
END_TEST

START_TEST(limits_have_names)
{
	ck_assert_str_eq(quota_total_name(QUOTA_SEGMENTS), "segments");
	ck_assert_str_eq(quota_per_user_name(QUOTA_ATTACHMENTS), "attachments_per_user");
	for (int i = 0; i < QUOTA_RESOURCES; i++) {
		ck_assert_ptr_nonnull(quota_total_name(i));
		ck_assert_ptr_nonnull(quota_per_user_name(i));
	}
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_user_has_a_limit);
	tcase_add_test(tests, all_together_have_a_limit);
	tcase_add_test(tests, resources_do_not_mix);
	tcase_add_test(tests, a_user_without_charges_is_forgotten);
	tcase_add_test(tests, a_refusal_makes_no_user);
	tcase_add_test(tests, sums_do_not_overflow);
	tcase_add_test(tests, a_limit_may_fall_below_its_use);
	tcase_add_test(tests, the_reserve_begins_at_a_sixteenth);
	tcase_add_test(tests, the_reserve_goes_to_many);
	tcase_add_test(tests, small_totals_have_no_reserve);
	tcase_add_test(tests, the_largest_total_is_none);
	tcase_add_loop_test(tests, the_greedy_leave_something, 0, 2);
	tcase_add_test(tests, a_breach_is_told_once_until_it_ends);
	tcase_add_test(tests, who_just_touches_the_limit_ends_nothing);
	tcase_add_test(tests, who_is_forgotten_breaches_anew);
	tcase_add_test(tests, a_total_s_breach_is_everybody_s);
	tcase_add_test(tests, a_breach_of_the_reserve_is_the_user_s);
	tcase_add_test(tests, the_first_allowance_for_a_user_decides);
	tcase_add_test(tests, an_allowance_is_named_in_refusals);
	tcase_add_test(tests, use_is_the_user_s_in_every_group);
	tcase_add_test(tests, other_allowances_take_nothing_away);
	tcase_add_test(tests, what_is_left_goes_at_the_end);
	tcase_add_test(tests, limits_have_names);
}

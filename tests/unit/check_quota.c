/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "unit.h"

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

static struct charge charge(uid_t uid, enum quota_resource resource, uint64_t amount)
{
	struct charge charge = {0};

	ck_assert_int_eq(quota_charge(&quota, uid, resource, amount, &charge, &why), 0);
	return charge;
}

static void expect_limit(uid_t uid, enum quota_resource resource, uint64_t amount, const char *text)
{
	struct charge none = {0};
	uint64_t before = quota.used[resource];

	ck_assert_int_eq(quota_charge(&quota, uid, resource, amount, &none, &why), REFUSAL_LIMIT);
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

	ck_assert_int_eq(quota_charge(&quota, 1001, QUOTA_BYTES, UINT64_MAX, &none, &why),
			 REFUSAL_LIMIT);
	ck_assert_int_eq(quota_charge(&quota, 1002, QUOTA_BYTES, UINT64_MAX - 599, &none, &why),
			 REFUSAL_LIMIT);
	quota.limits.per_user[QUOTA_BYTES] = quota.limits.total[QUOTA_BYTES] = UINT64_MAX;
	ck_assert_int_eq(quota_charge(&quota, 1002, QUOTA_BYTES, UINT64_MAX - 599, &none, &why),
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
	tcase_add_test(tests, what_is_left_goes_at_the_end);
	tcase_add_test(tests, limits_have_names);
}

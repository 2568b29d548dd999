/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "libshmd/holdings.h"

static struct holdings holdings;

static struct wire_confirm only(void)
{
	struct wire_confirm confirm;

	ck_assert_uint_eq(holdings_count(&holdings), 1);
	holdings_list(&holdings, &confirm);
	return confirm;
}

START_TEST(counts_by_access)
{
	ck_assert_int_eq(holdings_add(&holdings, 7, false), 0);
	ck_assert_int_eq(holdings_add(&holdings, 7, true), 0);
	ck_assert_int_eq(holdings_add(&holdings, 7, true), 0);
	ck_assert_uint_eq(only().id, 7);
	ck_assert_uint_eq(only().writing, 1);
	ck_assert_uint_eq(only().reading, 2);
	holdings_remove(&holdings, 7, true);
	ck_assert_uint_eq(only().reading, 1);
	holdings_remove(&holdings, 7, false);
	holdings_remove(&holdings, 7, false);
	ck_assert_uint_eq(only().writing, 0);
	holdings_remove(&holdings, 7, true);
	ck_assert_uint_eq(holdings_count(&holdings), 0);
	holdings_remove(&holdings, 7, true);
	ck_assert_ptr_null(holdings.table);
}
END_TEST

START_TEST(drops)
{
	ck_assert_int_eq(holdings_add(&holdings, 7, false), 0);
	ck_assert_int_eq(holdings_add(&holdings, 8, true), 0);
	holdings_drop(&holdings, 7);
	holdings_drop(&holdings, 9);
	ck_assert_uint_eq(only().id, 8);
	holdings_fini(&holdings);
	ck_assert_uint_eq(holdings_count(&holdings), 0);
}
END_TEST

START_TEST(keeps_many)
{
	static struct wire_confirm list[1000];

	for (uint64_t id = 1; id <= 1000; id++)
		ck_assert_int_eq(holdings_add(&holdings, id, id % 2), 0);
	ck_assert_uint_eq(holdings_count(&holdings), 1000);
	holdings_list(&holdings, list);
	for (uint64_t i = 0; i < 1000; i++) {
		ck_assert_uint_eq(list[i].id, i + 1);
		ck_assert_uint_eq(list[i].reading, (i + 1) % 2);
	}
	holdings_fini_inherited(&holdings);
	ck_assert_uint_eq(holdings_count(&holdings), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, counts_by_access);
	tcase_add_test(tests, drops);
	tcase_add_test(tests, keeps_many);
}

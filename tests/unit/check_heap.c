/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "unit.h"

#include "base/heap.h"

#define N 500

static struct heap heap;
static struct heap_item items[N];

static void set_up(void)
{
	heap_init(&heap);
}

static void tear_down(void)
{
	heap_fini(&heap);
	heap_fini(&heap);
	ck_assert_ptr_null(heap_first(&heap));
}

/* The slow way to the same answer. */
static uint64_t earliest(void)
{
	uint64_t least = 0;

	for (int i = 0; i < N; i++)
		if (items[i].deadline && (!least || items[i].deadline < least))
			least = items[i].deadline;
	return least;
}

static uint64_t first(void)
{
	struct heap_item *item = heap_first(&heap);

	return item ? item->deadline : 0;
}

static void set(int i, uint64_t deadline)
{
	ck_assert_int_eq(heap_set(&heap, &items[i], deadline), 0);
	ck_assert_uint_eq(items[i].deadline, deadline);
}

START_TEST(the_earliest_comes_first)
{
	ck_assert_ptr_null(heap_first(&heap));
	set(0, 30);
	set(1, 10);
	set(2, 20);
	ck_assert_ptr_eq(heap_first(&heap), &items[1]);
	heap_remove(&heap, &items[1]);
	ck_assert_uint_eq(items[1].deadline, 0);
	ck_assert_ptr_eq(heap_first(&heap), &items[2]);
	heap_remove(&heap, &items[1]);
	ck_assert_uint_eq(heap.n, 2);
}
END_TEST

START_TEST(an_item_moves_both_ways)
{
	set(0, 10);
	set(1, 20);
	set(2, 30);
	set(2, 5);
	ck_assert_ptr_eq(heap_first(&heap), &items[2]);
	set(2, 40);
	ck_assert_ptr_eq(heap_first(&heap), &items[0]);
	ck_assert_uint_eq(heap.n, 3);
}
END_TEST

START_TEST(equal_deadlines_all_come)
{
	for (int i = 0; i < N; i++)
		set(i, 7);
	for (int i = 0; i < N; i++)
		heap_remove(&heap, heap_first(&heap));
	ck_assert_ptr_null(heap_first(&heap));
	for (int i = 0; i < N; i++)
		ck_assert_uint_eq(items[i].deadline, 0);
}
END_TEST

START_TEST(any_order_of_acts_keeps_the_order)
{
	unsigned seed = 1;

	for (int step = 0; step < 20000; step++) {
		int i = rand_r(&seed) % N;
		if (rand_r(&seed) % 3 == 0)
			heap_remove(&heap, &items[i]);
		else
			set(i, 1 + (uint64_t)rand_r(&seed) % 1000);
		if (step % 50 == 0)
			ck_assert_uint_eq(first(), earliest());
	}
	for (uint64_t last = 0; heap_first(&heap);) {
		ck_assert_uint_ge(first(), last);
		last = first();
		heap_remove(&heap, heap_first(&heap));
	}
	ck_assert_uint_eq(earliest(), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, the_earliest_comes_first);
	tcase_add_test(tests, an_item_moves_both_ways);
	tcase_add_test(tests, equal_deadlines_all_come);
	tcase_add_test(tests, any_order_of_acts_keeps_the_order);
}

/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "base/hash.h"

START_TEST(equal_bytes_hash_alike)
{
	char one[] = "xsegment", two[] = "segment";

	/* Also where they lie unaligned. */
	ck_assert_uint_eq(hash_bytes(one + 1, 7), hash_bytes(two, 7));
}
END_TEST

START_TEST(every_bit_and_the_length_count)
{
	unsigned char bytes[32] = {0};

	for (size_t size = 0; size <= sizeof(bytes); size++) {
		uint64_t before = hash_bytes(bytes, size);
		if (size > 0)
			ck_assert_uint_ne(hash_bytes(bytes, size - 1), before);
		for (size_t bit = 0; bit < 8 * size; bit++) {
			bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
			ck_assert_uint_ne(hash_bytes(bytes, size), before);
			bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		}
	}
}
END_TEST

START_TEST(buckets_fill_evenly)
{
	unsigned counts[256] = {0};

	for (uint64_t id = 0; id < 256 * 100; id++)
		counts[hash_bytes(&id, sizeof(id)) % 256]++;
	for (int i = 0; i < 256; i++) {
		ck_assert_uint_gt(counts[i], 40);
		ck_assert_uint_lt(counts[i], 180);
	}
}
END_TEST

/* Each in a process of its own, where no key was drawn yet. */
static uint64_t hash_in_a_child(void)
{
	uint64_t hash = 0;
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		hash = hash_bytes("name", 4);
		_exit(write(ends[1], &hash, sizeof(hash)) != (ssize_t)sizeof(hash));
	}
	ck_assert_int_eq(read(ends[0], &hash, sizeof(hash)), (int)sizeof(hash));
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close(ends[0]);
	close(ends[1]);
	return hash;
}

/* Names chosen against one daemon say nothing about the next. */
START_TEST(each_process_has_its_key)
{
	ck_assert_uint_ne(hash_in_a_child(), hash_in_a_child());
}
END_TEST

struct item {
	char name[32];
	UT_hash_handle hh;
};

START_TEST(tables_find_what_was_added)
{
	struct item items[200], *table = NULL, *found;

	for (int i = 0; i < 200; i++) {
		snprintf(items[i].name, sizeof(items[i].name), "name-%d", i);
		HASH_ADD_KEYPTR(hh, table, items[i].name, strlen(items[i].name), &items[i]);
		ck_assert(HASH_ADDED(hh, &items[i]));
	}
	for (int i = 0; i < 200; i++) {
		HASH_FIND(hh, table, items[i].name, strlen(items[i].name), found);
		ck_assert_ptr_eq(found, &items[i]);
	}
	HASH_FIND(hh, table, "name-", 5, found);
	ck_assert_ptr_null(found);
	HASH_CLEAR(hh, table);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, equal_bytes_hash_alike);
	tcase_add_test(tests, every_bit_and_the_length_count);
	tcase_add_test(tests, buckets_fill_evenly);
	tcase_add_test(tests, each_process_has_its_key);
	tcase_add_test(tests, tables_find_what_was_added);
}

/* SPDX-License-Identifier: MIT */
/* Keys, and when a record is one to be read. What stands in it: check_image.c and check_restore.c. */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unit.h"

#include "core/record.h"

static struct record record;
static unsigned descriptors;

static void set_up(void)
{
	descriptors = unit_descriptors();
	record_init(&record);
}

static void tear_down(void)
{
	record_fini(&record);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}

static struct record_head read_head(enum record_table which)
{
	struct record_head head;

	ck_assert_int_eq(pread(record.tables[which].fd, &head, sizeof(head), 0), sizeof(head));
	return head;
}

START_TEST(a_key_is_taken_once)
{
	ck_assert_int_eq(record_take_key(&record, 0), 0);
	ck_assert_int_eq(record_take_key(&record, 1000), 0);
	ck_assert_int_eq(record_take_key(&record, 0), -EEXIST);
	ck_assert_int_eq(record_take_key(&record, 1000), -EEXIST);
	ck_assert_int_eq(record_take_key(&record, 999), 0);
	record_return_key(&record, 1000);
	ck_assert_int_eq(record_take_key(&record, 1000), 0);
	/* Never taken, and beyond all that were. */
	record_return_key(&record, 1u << 30);
}
END_TEST

START_TEST(one_that_was_not_begun_is_not_kept)
{
	ck_assert(!record_is_kept(&record));
	record_next_id(&record, 1);
	record_next_client(&record, 1);
	record_complete(&record);
	record_flush(&record);
}
END_TEST

START_TEST(it_is_read_when_it_is_complete)
{
	ck_assert_int_eq(record_begin(&record, 7, "0123abcd"), 0);
	ck_assert(record_is_kept(&record));
	record_next_id(&record, 11);
	record_next_client(&record, 12);
	for (uint32_t i = 0; i < RECORD_TABLES; i++) {
		struct record_head head = read_head(i);
		ck_assert_str_eq(head.magic, RECORD_MAGIC);
		ck_assert_uint_eq(head.version, RECORD_VERSION);
		ck_assert_uint_eq(head.table, i);
		ck_assert_uint_eq(head.row_size, record_row_sizes[i]);
		ck_assert_uint_eq(head.epoch, 7);
		ck_assert_str_eq(head.instance, "0123abcd");
		ck_assert_uint_eq(head.is_complete, 0);
		ck_assert_uint_eq(head.next_id, i == RECORD_SEGMENTS ? 11 : 0);
		ck_assert_uint_eq(head.next_client, i == RECORD_CLIENTS ? 12 : 0);
	}
	record_complete(&record);
	ck_assert_uint_eq(read_head(RECORD_SEGMENTS).is_complete, 1);
}
END_TEST

/* Room for so many descriptors, and for no table more. */
START_TEST(without_all_tables_there_is_none)
{
	struct rlimit before, limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	int lowest = dup(STDERR_FILENO);
	close(lowest);
	limit = (struct rlimit){(rlim_t)(lowest + _i), before.rlim_max};
	setrlimit(RLIMIT_NOFILE, &limit);
	int r = record_begin(&record, 1, "0123abcd");
	setrlimit(RLIMIT_NOFILE, &before);
	ck_assert_int_eq(r, -EMFILE);
	ck_assert(!record_is_kept(&record));
	ck_assert_uint_eq(unit_descriptors(), descriptors);
	ck_assert_int_eq(record_begin(&record, 1, "0123abcd"), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_key_is_taken_once);
	tcase_add_test(tests, one_that_was_not_begun_is_not_kept);
	tcase_add_test(tests, it_is_read_when_it_is_complete);
	tcase_add_loop_test(tests, without_all_tables_there_is_none, 0, RECORD_TABLES);
}

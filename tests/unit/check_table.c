/* SPDX-License-Identifier: MIT */
/* Rows that are there or not there, whatever happens to who writes them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/table.h"

struct content {
	struct row_head head;
	uint64_t words[8];
};

#define ROW  sizeof(struct content)
#define ROOM 64u /* of a table that was begun */

static struct table table;
static unsigned descriptors;
static bool is_short; /* of memory */

/* The linker leads the table's calls here. */
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_realloc(void *p, size_t size)
{
	return is_short ? NULL : __real_realloc(p, size);
}

/* How much of the table is mapped, as the kernel says. */
static size_t mapped(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/maps", "re");
	size_t start, end, sum = 0;
	char line[512];

	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (strstr(line, "memfd:unit-table") && sscanf(line, "%zx-%zx", &start, &end) == 2)
			sum += end - start;
	return sum;
}

static void set_up(void)
{
	descriptors = unit_descriptors();
	ck_assert_int_eq(table_begin(&table, "unit-table", ROW), 0);
}

static void tear_down(void)
{
	table_fini(&table);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
	ck_assert_uint_eq(mapped(), 0);
}

static struct row write_row(uint64_t says)
{
	struct content content = {.words = {says, says + 1, [7] = ~says}};
	struct row row = {0};

	ck_assert_int_eq(row_write(&row, &table, &content), 0);
	return row;
}

static size_t file_size(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(table.fd, &st), 0);
	return (size_t)st.st_size;
}

/* As the next one would read it. */
static struct content read_at(uint32_t index)
{
	struct content content;
	off_t at = (off_t)(TABLE_HEAD_SIZE + index * ROW);

	ck_assert_int_eq(pread(table.fd, &content, ROW, at), (ssize_t)ROW);
	return content;
}

static unsigned count_rows(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < table.rows; i++) {
		struct content content = read_at(i);
		ck_assert(content.head.seal == 0 || row_is_whole(&content, ROW));
		n += content.head.seal != 0;
	}
	return n;
}

/* --- rows ------------------------------------------------------------------------------------- */

START_TEST(a_row_is_found_in_the_file)
{
	struct row row = write_row(17);
	struct content content = read_at(row.index);

	ck_assert(row_is_whole(&content, ROW));
	ck_assert_uint_eq(content.words[0], 17);
	ck_assert_uint_eq(content.words[7], ~UINT64_C(17));
	ck_assert_uint_eq(count_rows(), 1);
}
END_TEST

START_TEST(a_row_is_written_anew_elsewhere)
{
	struct content content = {.words = {2}};
	struct row row = write_row(1);
	uint32_t before = row.index;

	ck_assert_int_eq(row_write(&row, &table, &content), 0);
	ck_assert_uint_ne(row.index, before);
	ck_assert_uint_eq(read_at(before).head.seal, 0);
	ck_assert_uint_eq(read_at(row.index).words[0], 2);
	ck_assert_uint_eq(count_rows(), 1);
}
END_TEST

START_TEST(later_rows_have_greater_numbers)
{
	struct row first = write_row(1), second = write_row(1);

	ck_assert_uint_gt(read_at(second.index).head.sequence, read_at(first.index).head.sequence);
}
END_TEST

START_TEST(a_cleared_row_is_none)
{
	struct row row = write_row(1), none = {0};

	row_clear(&row);
	ck_assert_ptr_null(row.table);
	ck_assert_uint_eq(count_rows(), 0);
	row_clear(&row);
	row_clear(&none);
	ck_assert_uint_eq(table.n_free, ROOM);
}
END_TEST

START_TEST(places_are_used_again)
{
	struct row row = {0};

	for (unsigned i = 0; i < 10 * ROOM; i++) {
		struct content content = {.words = {i}};
		ck_assert_int_eq(row_write(&row, &table, &content), 0);
	}
	ck_assert_uint_eq(table.rows, ROOM);
	ck_assert_uint_eq(file_size(), TABLE_HEAD_SIZE + ROOM * ROW);
	ck_assert_uint_eq(count_rows(), 1);
}
END_TEST

START_TEST(one_that_was_not_begun_keeps_nothing)
{
	struct content content = {.words = {1}};
	struct table none;
	struct row row = {0};

	table_init(&none);
	ck_assert_int_eq(row_write(&row, &none, &content), 0);
	ck_assert_ptr_null(row.table);
	row_clear(&row);
	table_fini(&none);
}
END_TEST

/* As at the end, when what stands in a table is freed after it. */
START_TEST(a_row_outlives_its_table)
{
	struct row row = write_row(1);

	table_fini(&table);
	row_clear(&row);
	ck_assert_ptr_null(row.table);
}
END_TEST

/* --- seals ------------------------------------------------------------------------------------ */

START_TEST(no_byte_can_be_another)
{
	struct content content = read_at(write_row(1).index);
	unsigned char *bytes = (unsigned char *)&content;

	for (size_t i = 0; i < ROW; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[i] ^= (unsigned char)(1u << bit);
			ck_assert_msg(!row_is_whole(&content, ROW), "byte %zu", i);
			bytes[i] ^= (unsigned char)(1u << bit);
		}
	ck_assert(row_is_whole(&content, ROW));
}
END_TEST

START_TEST(a_row_has_one_size)
{
	struct content content = read_at(write_row(1).index);

	for (size_t size = sizeof(struct row_head); size < ROW; size += sizeof(uint64_t))
		ck_assert(!row_is_whole(&content, size));
}
END_TEST

START_TEST(a_seal_of_zero_is_none)
{
	static const struct content nothing;

	ck_assert(!row_is_whole(&nothing, ROW));
}
END_TEST

/* --- growth ----------------------------------------------------------------------------------- */

START_TEST(it_grows)
{
	struct row rows[5 * ROOM];

	for (unsigned i = 0; i < 5 * ROOM; i++)
		rows[i] = write_row(i);
	ck_assert_uint_eq(count_rows(), 5 * ROOM);
	for (unsigned i = 0; i < 5 * ROOM; i++)
		ck_assert_uint_eq(read_at(rows[i].index).words[0], i);
	ck_assert_uint_eq(file_size(), TABLE_HEAD_SIZE + table.rows * ROW);
	for (unsigned i = 0; i < 5 * ROOM; i++)
		row_clear(&rows[i]);
	ck_assert_uint_eq(table.n_free, table.rows);
}
END_TEST

/* Fills it, but for none: the next row has to grow it. */
static struct row fill(void)
{
	for (unsigned i = 1; i < ROOM; i++)
		write_row(i);
	return write_row(0);
}

static int write_4711(struct row *row)
{
	struct content content = {.words = {4711}};

	return row_write(row, &table, &content);
}

static void assert_as_it_was(const struct row *row, uint32_t index)
{
	ck_assert_ptr_eq(row->table, &table);
	ck_assert_uint_eq(row->index, index);
	ck_assert_uint_eq(read_at(index).words[0], 0);
	ck_assert_uint_eq(count_rows(), ROOM);
}

static void assert_grows(struct row *row)
{
	ck_assert_int_eq(write_4711(row), 0);
	ck_assert_uint_eq(read_at(row->index).words[0], 4711);
	ck_assert_uint_eq(table.rows, 2 * ROOM);
	ck_assert_uint_eq(count_rows(), ROOM);
}

/* What Check itself writes, and allocates, is held back as well: it asserts nothing meanwhile. */
START_TEST(without_a_longer_file_it_is_as_it_was)
{
	struct row row = fill();
	uint32_t index = row.index;
	struct rlimit before, limit;

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){file_size(), before.rlim_max};
	setrlimit(RLIMIT_FSIZE, &limit);
	int r = write_4711(&row);
	setrlimit(RLIMIT_FSIZE, &before);
	ck_assert_int_eq(r, -ENOMEM);
	assert_as_it_was(&row, index);
	assert_grows(&row);
}
END_TEST

START_TEST(without_memory_it_is_as_it_was)
{
	struct row row = fill();
	uint32_t index = row.index;

	is_short = true;
	int first = write_4711(&row), second = write_4711(&row);
	is_short = false;
	ck_assert_int_eq(first, -ENOMEM);
	ck_assert_int_eq(second, -ENOMEM);
	assert_as_it_was(&row, index);
	assert_grows(&row);
}
END_TEST

START_TEST(without_memory_none_is_begun)
{
	struct table other;

	is_short = true;
	int r = table_begin(&other, "unit-table", ROW);
	is_short = false;
	ck_assert_int_eq(r, -ENOMEM);
	ck_assert_int_eq(other.fd, -1);
	ck_assert_uint_eq(unit_descriptors(), descriptors + 1);
	table_fini(&table);
	ck_assert_uint_eq(mapped(), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_row_is_found_in_the_file);
	tcase_add_test(tests, a_row_is_written_anew_elsewhere);
	tcase_add_test(tests, later_rows_have_greater_numbers);
	tcase_add_test(tests, a_cleared_row_is_none);
	tcase_add_test(tests, places_are_used_again);
	tcase_add_test(tests, one_that_was_not_begun_keeps_nothing);
	tcase_add_test(tests, a_row_outlives_its_table);
	tcase_add_test(tests, no_byte_can_be_another);
	tcase_add_test(tests, a_row_has_one_size);
	tcase_add_test(tests, a_seal_of_zero_is_none);
	tcase_add_test(tests, it_grows);
	tcase_add_test(tests, without_a_longer_file_it_is_as_it_was);
	tcase_add_test(tests, without_memory_it_is_as_it_was);
	tcase_add_test(tests, without_memory_none_is_begun);
}

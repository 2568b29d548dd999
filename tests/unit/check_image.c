/* SPDX-License-Identifier: MIT */
/*
 * What is believed of that which a former daemon left: one segment with all that there can be of it, and
 * then something about it is otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "core/image.h"
#include "core/segment.h"
#include "wire/word.h"

#define INSTANCE  "0123abcd"
#define SEMAPHORE "shmd-" INSTANCE "-0123456789abcdef"
#define EPOCH     UINT64_C(5)
#define ID        UINT64_C(1000)
#define CLIENT    UINT64_C(7)
#define NUMBER    3
#define SIZE      8192
#define KEY       70
#define SEALS     (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct table tables[RECORD_TABLES];
static struct record_segment segment;
static struct record_client client;
static struct record_attachment attachment;
static struct record_locker locker;
static int memory, semaphore, ledger, lock;
static uint32_t key;

static struct image_descriptor given[64];
static size_t n_given;
static struct image image;
static unsigned descriptors;

/* --- what was left ---------------------------------------------------------------------------- */

static int make_file(size_t size, int seals)
{
	int fd = memfd_create("unit-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchmod(fd, 0600), 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static struct record_file file_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (struct record_file){st.st_dev, st.st_ino};
}

static struct record_head *head_of(struct table *of)
{
	return (struct record_head *)of->head;
}

static void begin_tables(struct table of[RECORD_TABLES], uint64_t epoch)
{
	for (int i = 0; i < RECORD_TABLES; i++) {
		ck_assert_int_eq(table_begin(&of[i], "unit-image", record_row_sizes[i]), 0);
		struct record_head *head = head_of(&of[i]);
		*head = (struct record_head){.magic = RECORD_MAGIC,
					     .version = RECORD_VERSION,
					     .table = (uint32_t)i,
					     .row_size = record_row_sizes[i],
					     .is_complete = i == RECORD_SEGMENTS,
					     .epoch = epoch,
					     .next_id = i == RECORD_SEGMENTS ? ID + 10 : 0,
					     .next_client = i == RECORD_CLIENTS ? CLIENT + 1 : 0,
					     .instance = INSTANCE};
	}
}

static void end_tables(struct table of[RECORD_TABLES])
{
	for (int i = 0; i < RECORD_TABLES; i++)
		table_fini(&of[i]);
}

static void set_up_rows(void)
{
	segment = (struct record_segment){
		.id = ID,
		.generation = ID + 1,
		.size = SIZE,
		.created_at = 11,
		.linger_ns = 12,
		.owner = CLIENT,
		.publisher = CLIENT,
		.memory = file_of(memory),
		.semaphore = file_of(semaphore),
		.ledger = file_of(ledger),
		.key = KEY,
		.uid = 13,
		.gid = 14,
		.mode = 0640,
		.payer = 15,
		.permits = 4,
		.lifetime = LIFETIME_OWNER,
		.state = SEGMENT_LIVE,
		.flags = RECORD_READERS_LOCK,
		.name = "name",
		.semaphore_name = SEMAPHORE,
		.rule = "rule",
	};
	client = (struct record_client){.id = CLIENT,
					.token = 21,
					.process_start = 22,
					.connected_at = 23,
					.pid = 24,
					.uid = 25,
					.gid = 26,
					.flags = RECORD_CAN_LOCK,
					.last = {27, DEED_CREATED, ID, ID}};
	attachment = (struct record_attachment){
		.client = CLIENT, .segment = ID, .writing = 2, .reading = 1, .number = NUMBER};
	locker = (struct record_locker){.segment = ID,
					.process_start = 22,
					.number = NUMBER,
					.pid = 24,
					.uid = 25,
					.flags = RECORD_UNTIL_EXIT};
}

static void set_up(void)
{
	descriptors = unit_descriptors();
	image = (struct image){.is_empty = true, .lock_fd = -1};
	memory = make_file(SIZE, SEALS);
	semaphore = make_file(32, 0);
	ledger = make_file(4096, 0);
	lock = make_file(0, 0);
	key = KEY;
	begin_tables(tables, EPOCH);
	set_up_rows();
}

/* A duplicate, as the descriptors are that a daemon gets. */
static void give_as(const char *name, uint32_t as, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	ck_assert_int_ge(copy, 0);
	given[n_given++] = (struct image_descriptor){copy, name, as};
}

static void give(const char *name, int fd)
{
	give_as(name, 0, fd);
}

static void give_tables(struct table of[RECORD_TABLES])
{
	for (int i = 0; i < RECORD_TABLES; i++)
		if (of[i].fd >= 0)
			give(image_record_name(head_of(&tables[0])->epoch), of[i].fd);
}

static void give_segment(void)
{
	give_as(NULL, key, memory);
	give_as(NULL, key, semaphore);
	give_as(NULL, key, ledger);
}

static void tear_down(void)
{
	image_fini(&image);
	while (n_given > 0)
		close_fd(given[--n_given].fd);
	close_fd(memory);
	close_fd(semaphore);
	close_fd(ledger);
	close_fd(lock);
	end_tables(tables);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}

static struct row put(enum record_table which, void *content)
{
	struct row row = {0};

	ck_assert_int_eq(row_write(&row, &tables[which], content), 0);
	return row;
}

static void put_rows(void)
{
	put(RECORD_SEGMENTS, &segment);
	put(RECORD_CLIENTS, &client);
	put(RECORD_ATTACHMENTS, &attachment);
	put(RECORD_LOCKERS, &locker);
}

/* --- what was read of it ---------------------------------------------------------------------- */

static void read_given(void)
{
	ck_assert_int_eq(image_read(&image, given, n_given), 0);
}

/* All of it, as set_up_rows() and the test have made it. */
static void read_all(void)
{
	put_rows();
	give_tables(tables);
	give_segment();
	give(IMAGE_LOCK_NAME, lock);
	read_given();
}

static void assert_nothing_taken(void)
{
	for (size_t i = 0; i < n_given; i++)
		ck_assert_int_ge(given[i].fd, 0);
	ck_assert(image.is_empty);
	ck_assert_int_eq(image.lock_fd, -1);
	ck_assert_uint_eq(image.n_segments, 0);
}

static void assert_refused(const char *why)
{
	ck_assert_uint_eq(image.n_refused, 1);
	unit_assert_has(image.why, why);
}

static void assert_is(int fd, int file)
{
	struct record_file a = file_of(fd), b = file_of(file);

	ck_assert_int_ne(fd, file);
	ck_assert_mem_eq(&a, &b, sizeof(a));
}

/* Behind the head, which the table fills. */
#define ASSERT_SAME_ROW(read, written)                                      \
	ck_assert_mem_eq((const char *)(read) + sizeof(struct row_head),    \
			 (const char *)(written) + sizeof(struct row_head), \
			 sizeof(*(written)) - sizeof(struct row_head))

START_TEST(everything_is_read)
{
	read_all();
	ck_assert_msg(image.n_refused == 0, "%s", image.why);
	ck_assert(!image.is_empty);
	ck_assert_uint_eq(image.epoch, EPOCH);
	ck_assert_uint_eq(image.next_id, ID + 10);
	ck_assert_uint_eq(image.next_client, CLIENT + 1);
	ck_assert_str_eq(image.instance, INSTANCE);
	ck_assert(image.has_lock);
	assert_is(image.lock_fd, lock);
	ck_assert_uint_eq(image.n_segments, 1);
	ASSERT_SAME_ROW(&image.segments[0].row, &segment);
	assert_is(image.segments[0].fd, memory);
	assert_is(image.segments[0].semaphore_fd, semaphore);
	assert_is(image.segments[0].ledger_fd, ledger);
	ck_assert_uint_eq(image.n_clients, 1);
	ASSERT_SAME_ROW(&image.clients[0], &client);
	ck_assert_uint_eq(image.n_attachments, 1);
	ASSERT_SAME_ROW(&image.attachments[0], &attachment);
	ck_assert_uint_eq(image.n_lockers, 1);
	ASSERT_SAME_ROW(&image.lockers[0], &locker);
}
END_TEST

/* What was taken is gone from where it was, and nothing else. */
START_TEST(tables_stay_the_callers)
{
	unsigned left = 0;

	read_all();
	for (size_t i = 0; i < n_given; i++)
		left += given[i].fd >= 0;
	ck_assert_uint_eq(left, RECORD_TABLES);
}
END_TEST

START_TEST(nothing_is_empty)
{
	read_given();
	ck_assert(image.is_empty);
	ck_assert_uint_eq(image.n_refused, 0);
}
END_TEST

/* --- the record ------------------------------------------------------------------------------- */

START_TEST(descriptors_without_a_record_are_not_taken)
{
	give_segment();
	give(IMAGE_LOCK_NAME, lock);
	read_given();
	assert_nothing_taken();
	assert_refused("no record that is complete");
}
END_TEST

START_TEST(an_incomplete_record_is_none)
{
	head_of(&tables[RECORD_SEGMENTS])->is_complete = 0;
	read_all();
	assert_nothing_taken();
	assert_refused("no record that is complete");
}
END_TEST

START_TEST(a_newer_version_is_left_alone)
{
	head_of(&tables[_i])->version = RECORD_VERSION + 1;
	put_rows();
	give_tables(tables);
	give_segment();
	give(IMAGE_LOCK_NAME, lock);
	ck_assert_int_eq(image_read(&image, given, n_given), -EPROTONOSUPPORT);
	assert_nothing_taken();
}
END_TEST

static const struct {
	const char *name;
	size_t at;
	uint64_t value;
	size_t size;
} strange_heads[] = {
	{"magic", offsetof(struct record_head, magic), 'S', 1},
	{"magic's end", offsetof(struct record_head, magic) + 14, 'x', 1},
	{"table", offsetof(struct record_head, table), RECORD_TABLES, 4},
	{"no row", offsetof(struct record_head, row_size), 0, 4},
	{"half a head", offsetof(struct record_head, row_size), 8, 4},
	{"no whole words", offsetof(struct record_head, row_size), 28, 4},
	{"greater rows", offsetof(struct record_head, row_size), 1 << 20, 4},
	{"instance", offsetof(struct record_head, instance), '/', 1},
	{"instance's length", offsetof(struct record_head, instance) + 7, 0, 1},
	{"instance without an end", offsetof(struct record_head, instance) + 8, UINT64_MAX, 8},
};

START_TEST(a_strange_head_is_no_records)
{
	const char *value = (const char *)&strange_heads[_i].value;

	memcpy(tables[RECORD_SEGMENTS].head + strange_heads[_i].at, value, strange_heads[_i].size);
	read_all();
	ck_assert_msg(image.is_empty, "%s", strange_heads[_i].name);
	assert_nothing_taken();
	ck_assert_uint_gt(image.n_refused, 0);
}
END_TEST

/* Another table than the segments' costs what stood in it. */
START_TEST(a_table_that_is_missing_costs_what_it_had)
{
	table_fini(&tables[_i]);
	if (_i != RECORD_CLIENTS)
		put(RECORD_CLIENTS, &client);
	if (_i != RECORD_ATTACHMENTS)
		put(RECORD_ATTACHMENTS, &attachment);
	if (_i != RECORD_LOCKERS)
		put(RECORD_LOCKERS, &locker);
	put(RECORD_SEGMENTS, &segment);
	give_tables(tables);
	give_segment();
	read_given();
	assert_refused("a table of the record is missing");
	ck_assert_uint_eq(image.n_segments, 1);
	ck_assert_uint_eq(image.n_clients, _i != RECORD_CLIENTS);
	ck_assert_uint_eq(image.n_attachments, _i == RECORD_LOCKERS);
	ck_assert_uint_eq(image.n_lockers, _i != RECORD_LOCKERS);
}
END_TEST

START_TEST(a_table_of_another_epoch_is_missing)
{
	head_of(&tables[_i])->epoch++;
	read_all();
	assert_refused("a table of the record is missing");
	ck_assert_uint_eq(image.n_segments, 1);
}
END_TEST

START_TEST(without_the_segments_table_there_is_no_record)
{
	put_rows();
	for (int i = RECORD_SEGMENTS + 1; i < RECORD_TABLES; i++)
		give(image_record_name(EPOCH), tables[i].fd);
	give_segment();
	read_given();
	assert_nothing_taken();
}
END_TEST

/* A table that is none: shorter than its head, and no file at all. */
START_TEST(what_is_no_file_is_no_table)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	give(image_record_name(EPOCH), ends[0]);
	give(image_record_name(EPOCH), lock);
	read_all();
	close_fd(ends[0]);
	close_fd(ends[1]);
	ck_assert_uint_eq(image.n_refused, 2);
	unit_assert_has(image.why, "a table of the record is none");
	ck_assert_uint_eq(image.n_segments, 1);
	ck_assert_uint_eq(image.n_lockers, 1);
}
END_TEST

/* Nothing could be given a number after it. */
START_TEST(numbers_have_an_end)
{
	head_of(&tables[RECORD_SEGMENTS])->next_id = UINT64_MAX;
	head_of(&tables[RECORD_CLIENTS])->next_client = UINT64_MAX;
	read_all();
	ck_assert_uint_eq(image.next_id, 0);
	ck_assert_uint_eq(image.next_client, 0);
	ck_assert_uint_eq(image.n_clients, 0);
	ck_assert_uint_eq(image.n_segments, 1);
}
END_TEST

/* --- two records ------------------------------------------------------------------------------ */

/* Another daemon's, with nothing in it, under the other name. */
static void read_beside(uint64_t epoch, bool is_complete)
{
	struct table others[RECORD_TABLES];

	begin_tables(others, epoch);
	head_of(&others[RECORD_SEGMENTS])->is_complete = is_complete;
	for (int i = 0; i < RECORD_TABLES; i++)
		give(image_record_name(EPOCH + 1), others[i].fd);
	read_all();
	end_tables(others);
}

START_TEST(the_newer_record_is_read)
{
	read_beside(EPOCH + 1, true);
	ck_assert_uint_eq(image.epoch, EPOCH + 1);
	ck_assert_uint_eq(image.n_segments, 0);
}
END_TEST

START_TEST(one_that_was_not_given_up_is_not_read)
{
	read_beside(EPOCH - 1, true);
	ck_assert_uint_eq(image.epoch, EPOCH);
	ck_assert_uint_eq(image.n_segments, 1);
}
END_TEST

START_TEST(a_newer_one_that_was_not_finished_is_not_read)
{
	read_beside(EPOCH + 1, false);
	ck_assert_uint_eq(image.epoch, EPOCH);
	ck_assert_uint_eq(image.n_segments, 1);
	ck_assert_uint_eq(image.n_refused, 0);
}
END_TEST

/* --- rows ------------------------------------------------------------------------------------- */

START_TEST(shorter_rows_end_in_zeroes)
{
	size_t size = offsetof(struct record_client, last);
	struct table older;

	ck_assert_int_eq(table_begin(&older, "unit-image", (uint32_t)size), 0);
	memcpy(older.head, tables[RECORD_CLIENTS].head, sizeof(struct record_head));
	head_of(&older)->row_size = (uint32_t)size;
	table_fini(&tables[RECORD_CLIENTS]);
	tables[RECORD_CLIENTS] = older;
	read_all();
	ck_assert_uint_eq(image.n_refused, 0);
	ck_assert_uint_eq(image.n_clients, 1);
	client.last = (struct deed){0};
	ASSERT_SAME_ROW(&image.clients[0], &client);
}
END_TEST

/* Death came before the former row was cleared. */
START_TEST(of_two_rows_the_newer_one_is_read)
{
	struct record_segment newer = segment;
	struct record_attachment more = attachment;
	struct record_locker again = locker;
	struct record_client later = client;

	newer.mode = 0600;
	more.writing = 9;
	again.flags = RECORD_WAS_LEFT;
	later.last.number = 28;
	put_rows();
	put(RECORD_SEGMENTS, &newer);
	put(RECORD_ATTACHMENTS, &more);
	put(RECORD_LOCKERS, &again);
	put(RECORD_CLIENTS, &later);
	give_tables(tables);
	give_segment();
	read_given();
	ck_assert_uint_eq(image.n_refused, 0);
	ck_assert_uint_eq(image.n_segments, 1);
	ASSERT_SAME_ROW(&image.segments[0].row, &newer);
	ck_assert_uint_eq(image.n_attachments, 1);
	ASSERT_SAME_ROW(&image.attachments[0], &more);
	ck_assert_uint_eq(image.n_lockers, 1);
	ASSERT_SAME_ROW(&image.lockers[0], &again);
	ck_assert_uint_eq(image.n_clients, 1);
	ASSERT_SAME_ROW(&image.clients[0], &later);
}
END_TEST

/* The attachments of one client, and the numbers of one segment, are several. */
START_TEST(what_is_about_others_is_kept)
{
	struct record_attachment other_client = attachment;
	struct record_locker other_number = locker;
	struct record_client other = client;

	other.id = other_client.client = CLIENT - 1;
	other.last = (struct deed){0};
	other_client.number = other_number.number = NUMBER + 1;
	put(RECORD_CLIENTS, &other);
	put(RECORD_ATTACHMENTS, &other_client);
	put(RECORD_LOCKERS, &other_number);
	read_all();
	ck_assert_uint_eq(image.n_clients, 2);
	ck_assert_uint_eq(image.n_attachments, 2);
	ck_assert_uint_eq(image.n_lockers, 2);
	ck_assert_uint_eq(image.clients[0].id, CLIENT - 1);
	ck_assert_uint_eq(image.attachments[0].client, CLIENT - 1);
}
END_TEST

START_TEST(a_row_that_is_not_whole_is_left_out)
{
	struct row row = put(RECORD_SEGMENTS, &segment);
	char *at = tables[RECORD_SEGMENTS].head + TABLE_HEAD_SIZE + row.index * sizeof(segment);

	at[sizeof(segment) - 1] ^= 1;
	give_tables(tables);
	give_segment();
	read_given();
	assert_refused("not whole");
	ck_assert_uint_eq(image.n_segments, 0);
}
END_TEST

START_TEST(a_table_may_end_within_a_row)
{
	struct row row = put(RECORD_CLIENTS, &client);
	off_t at = (off_t)(TABLE_HEAD_SIZE + row.index * sizeof(client));

	/* The first one that is given has the greatest index. */
	ck_assert_uint_gt(row.index, 0);
	ck_assert_int_eq(ftruncate(tables[RECORD_CLIENTS].fd, at + (off_t)sizeof(client) - 1), 0);
	put(RECORD_SEGMENTS, &segment);
	give_tables(tables);
	give_segment();
	read_given();
	ck_assert_uint_eq(image.n_clients, 0);
	ck_assert_uint_eq(image.n_segments, 1);
}
END_TEST

START_TEST(a_huge_table_is_read_in_time)
{
	put(RECORD_LOCKERS, &locker);
	ck_assert_int_eq(ftruncate(tables[RECORD_LOCKERS].fd, INT64_C(1) << 50), 0);
	put(RECORD_SEGMENTS, &segment);
	give_tables(tables);
	give_segment();
	read_given();
	assert_refused("more than");
	ck_assert_uint_eq(image.n_lockers, 1);
}
END_TEST

/* --- segments --------------------------------------------------------------------------------- */

static void no_id(void)
{
	segment.id = 0;
}

static void former_generation(void)
{
	segment.generation = ID - 1;
}

static void last_id(void)
{
	segment.generation = UINT64_MAX;
}

static void no_size(void)
{
	segment.size = 0;
}

static void negative_size(void)
{
	segment.size = UINT64_MAX;
}

static void strange_flag(void)
{
	segment.flags = 1u << 31;
}

static void strange_mode(void)
{
	segment.mode = 04600;
}

static void many_permits(void)
{
	segment.permits = UINT32_MAX;
}

static void strange_lifetime(void)
{
	segment.lifetime = LIFETIME_PERSISTENT + 1;
}

static void unused(void)
{
	segment.state = SEGMENT_UNUSED;
}

static void lingers_for_ever(void)
{
	segment.state = SEGMENT_LINGERING;
}

static void deadline_without_linger(void)
{
	segment.deadline = 1;
}

static void huge_key(void)
{
	segment.key = UINT32_MAX;
	key = segment.key;
}

static void endless_name(void)
{
	memset(segment.name, 'n', sizeof(segment.name));
}

static void long_name(void)
{
	memset(segment.name, 'n', NAME_LENGTH_MAX + 1);
}

static void folder_name(void)
{
	strcpy(segment.name, "a/b");
}

static void posix_name(void)
{
	strcpy(segment.name, "/name");
}

static void anonymous_name(void)
{
	segment.flags |= RECORD_ANONYMOUS;
	segment.rule[0] = '\0';
}

static void dropped_name(void)
{
	segment.state = SEGMENT_DROPPED;
}

static void lost_and_live(void)
{
	segment.flags |= RECORD_SUPERSEDED;
}

static void lost_no_name(void)
{
	segment.flags |= RECORD_SUPERSEDED;
	segment.state = SEGMENT_DROPPED;
	segment.name[0] = '\0';
}

static void endless_rule(void)
{
	memset(segment.rule, 'r', sizeof(segment.rule));
}

/* Publishing would put it into another. */
static void anonymous_rule(void)
{
	segment.flags |= RECORD_ANONYMOUS;
	segment.name[0] = '\0';
}

static void endless_semaphore(void)
{
	memset(segment.semaphore_name + strlen(SEMAPHORE), 'f',
	       sizeof(segment.semaphore_name) - strlen(SEMAPHORE));
}

static void others_semaphore(void)
{
	strcpy(segment.semaphore_name, "shmd-0123abce-0123456789abcdef");
}

static void upper_folder(void)
{
	strcpy(segment.semaphore_name, "shmd-" INSTANCE "-/../../etc/passw");
}

static void short_semaphore(void)
{
	segment.semaphore_name[strlen(SEMAPHORE) - 1] = '\0';
}

static void other_size(void)
{
	segment.size = SIZE - 1;
}

static void other_device(void)
{
	segment.memory.device++;
}

static void other_file(void)
{
	segment.memory = segment.semaphore;
}

static void no_file(void)
{
	segment.memory = (struct record_file){0};
}

static void other_key(void)
{
	segment.key++;
}

static void other_mode(void)
{
	ck_assert_int_eq(fchmod(memory, 0640), 0);
}

static void no_seals(void)
{
	close_fd(memory);
	memory = make_file(SIZE, F_SEAL_GROW);
	segment.memory = file_of(memory);
}

static void on_disk(void)
{
	static const char zeroes[SIZE];

	close_fd(memory);
	memory = open(unit_write("memory", zeroes, SIZE), O_RDWR | O_CLOEXEC);
	segment.memory = file_of(memory);
}

static void no_regular_file(void)
{
	close_fd(memory);
	memory = open("/dev/null", O_RDWR | O_CLOEXEC);
	segment.memory = file_of(memory);
}

static const struct {
	const char *why;
	void (*make)(void);
} strange_segments[] = {
	{"numbers", no_id},
	{"numbers", former_generation},
	{"numbers", last_id},
	{"numbers", no_size},
	{"numbers", negative_size},
	{"mode, permits or flags", strange_flag},
	{"mode, permits or flags", strange_mode},
	{"mode, permits or flags", many_permits},
	{"lifetime or state", strange_lifetime},
	{"lifetime or state", unused},
	{"lingers without an end", lingers_for_ever},
	{"lingers without an end", deadline_without_linger},
	{"numbers", huge_key},
	{"name has no end", endless_name},
	{"name is none", long_name},
	{"name is none", folder_name},
	{"name is none", posix_name},
	{"is to have none", anonymous_name},
	{"is to have none", dropped_name},
	{"lost a name", lost_and_live},
	{"lost a name", lost_no_name},
	{"rule's name", endless_rule},
	{"counts in a rule", anonymous_rule},
	{"semaphore's name", endless_semaphore},
	{"semaphore's name", others_semaphore},
	{"semaphore's name", upper_folder},
	{"semaphore's name", short_semaphore},
	{"another size or mode", other_size},
	{"not kept", other_device},
	{"not sealed", other_file},
	{"not kept", no_file},
	{"not kept", other_key},
	{"another size or mode", other_mode},
	{"not sealed", no_seals},
	{"not sealed", on_disk},
	{"not kept", no_regular_file},
};

/* Nor is anything believed that refers to it. The clients are. */
START_TEST(a_strange_segment_is_left_out)
{
	strange_segments[_i].make();
	read_all();
	unit_assert_has(image.why, strange_segments[_i].why);
	ck_assert_uint_eq(image.n_segments, 0);
	ck_assert_uint_eq(image.n_clients, 1);
	ck_assert_uint_eq(image.clients[0].last.kind, DEED_NONE);
	ck_assert_uint_eq(image.n_attachments, 0);
	ck_assert_uint_eq(image.n_lockers, 0);
}
END_TEST

START_TEST(another_users_file_is_not_ours)
{
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(fchown(memory, 12345, (gid_t)-1), 0);
	read_all();
	assert_refused("not kept");
	ck_assert_uint_eq(image.n_segments, 0);
}
END_TEST

START_TEST(a_segment_is_kept_without_its_semaphore)
{
	put_rows();
	give_tables(tables);
	give_as(NULL, key, memory);
	give_as(NULL, key, ledger);
	read_given();
	ck_assert_uint_eq(image.n_segments, 1);
	ck_assert_int_eq(image.segments[0].semaphore_fd, -1);
	ck_assert_int_ge(image.segments[0].ledger_fd, 0);
}
END_TEST

/* One descriptor is one thing, and belongs to one segment. */
START_TEST(a_descriptor_is_taken_once)
{
	segment.semaphore = segment.ledger = segment.memory;
	read_all();
	ck_assert_uint_eq(image.n_segments, 1);
	ck_assert_int_ge(image.segments[0].fd, 0);
	ck_assert_int_eq(image.segments[0].semaphore_fd, -1);
	ck_assert_int_eq(image.segments[0].ledger_fd, -1);
}
END_TEST

START_TEST(two_segments_do_not_share_memory)
{
	struct record_segment second = segment;

	second.id = second.generation = ID + 2;
	strcpy(second.name, "second");
	put(RECORD_SEGMENTS, &second);
	read_all();
	assert_refused("not kept");
	ck_assert_uint_eq(image.n_segments, 1);
	ck_assert_uint_eq(image.segments[0].row.id, ID);
}
END_TEST

static void none(void)
{
}

static void lingering(void)
{
	segment.state = SEGMENT_LINGERING;
	segment.deadline = 99;
}

static void superseded(void)
{
	segment.state = SEGMENT_DROPPED;
	segment.flags = RECORD_SUPERSEDED;
	segment.former_uid = 31;
	segment.semaphore_name[0] = '\0';
}

static void dropped(void)
{
	segment.state = SEGMENT_DROPPED;
	segment.name[0] = segment.semaphore_name[0] = '\0';
}

static void anonymous(void)
{
	segment.flags = RECORD_ANONYMOUS | RECORD_ORIGINAL;
	segment.name[0] = segment.rule[0] = '\0';
}

static void longest_names(void)
{
	memset(segment.name, 'n', NAME_LENGTH_MAX);
	memset(segment.rule, 'r', TALLY_NAME_MAX);
}

static void (*const segments[])(void) = {none,    lingering, superseded,
					 dropped, anonymous, longest_names};

START_TEST(an_ordinary_segment_is_read)
{
	segments[_i]();
	read_all();
	ck_assert_msg(image.n_refused == 0, "%s", image.why);
	ck_assert_uint_eq(image.n_segments, 1);
	ASSERT_SAME_ROW(&image.segments[0].row, &segment);
}
END_TEST

/* --- who had them ----------------------------------------------------------------------------- */

START_TEST(a_client_has_a_number_that_was_given)
{
	static const uint64_t never[] = {0, CLIENT + 1, UINT64_MAX};

	client.id = attachment.client = never[_i];
	read_all();
	assert_refused("its number was not given");
	ck_assert_uint_eq(image.n_clients, 0);
	ck_assert_uint_eq(image.n_attachments, 0);
	ck_assert_uint_eq(image.n_lockers, 1);
}
END_TEST

START_TEST(an_attachment_is_of_a_client_and_a_segment)
{
	if (_i == 0)
		attachment.client--;
	if (_i == 1)
		attachment.segment++;
	if (_i == 2)
		attachment.writing = attachment.reading = 0;
	read_all();
	ck_assert_uint_eq(image.n_attachments, 0);
	ck_assert_uint_eq(image.n_segments, 1);
}
END_TEST

static void number_0(void)
{
	locker.number = 0;
}

static void great_number(void)
{
	locker.number = WORD_NUMBER_MAX + 1;
}

static void pid_0(void)
{
	locker.pid = 0;
}

static void negative_pid(void)
{
	locker.pid = (uint32_t)-5;
}

static void locker_flag(void)
{
	locker.flags = RECORD_LOCKER_FLAGS + 1;
}

static void nothing_to_lock(void)
{
	segment.permits = 0;
}

static void (*const strange_lockers[])(void) = {number_0,     great_number, pid_0,
						negative_pid, locker_flag,  nothing_to_lock};

START_TEST(a_number_is_one_to_lock_by)
{
	strange_lockers[_i]();
	read_all();
	assert_refused("it is none");
	ck_assert_uint_eq(image.n_lockers, 0);
	ck_assert_uint_eq(image.n_segments, 1);
}
END_TEST

START_TEST(a_number_of_no_segment_is_no_news)
{
	locker.segment++;
	read_all();
	ck_assert_uint_eq(image.n_lockers, 0);
	ck_assert_uint_eq(image.n_refused, 0);
}
END_TEST

/* --- deeds ------------------------------------------------------------------------------------ */

static const struct {
	struct deed deed;
	bool is_dropped;
	bool is_done;
} deeds[] = {
	{{1, DEED_CREATED, ID, ID}, false, true},
	{{1, DEED_CREATED, ID + 1, ID + 1}, false, false},
	{{1, DEED_PUBLISHED, ID, ID + 1}, false, true},
	{{1, DEED_PUBLISHED, ID, ID + 2}, false, false},
	{{1, DEED_PUBLISHED, ID + 1, ID + 1}, false, false},
	{{1, DEED_UNLINKED, ID, 0}, false, false},
	{{1, DEED_UNLINKED, ID, 0}, true, true},
	{{1, DEED_UNLINKED, ID + 1, 0}, false, true},
	{{1, 77, ID, ID}, false, false},
};

START_TEST(a_deed_is_done_when_its_segment_says_so)
{
	client.last = deeds[_i].deed;
	if (deeds[_i].is_dropped)
		dropped();
	read_all();
	if (!deeds[_i].is_done)
		client.last = (struct deed){0};
	ASSERT_SAME_ROW(&image.clients[0], &client);
}
END_TEST

/* --- names ------------------------------------------------------------------------------------ */

START_TEST(pouches_have_names)
{
	static const char *const others[] = {"",   "p",   "p01",         "p-1",     "p 1",
					     "q1", "p1x", "p4294967296", "record0", "lock"};
	char name[IMAGE_POUCH_NAME_SIZE];
	unsigned number;

	for (unsigned i = 0; i < 40; i++) {
		image_pouch_name(UINT_MAX >> i % 32, name);
		ck_assert_int_eq(image_parse_pouch(name, &number), 0);
		ck_assert_uint_eq(number, UINT_MAX >> i % 32);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		ck_assert_int_eq(image_parse_pouch(others[i], &number), -EINVAL);
}
END_TEST

START_TEST(records_take_turns)
{
	ck_assert_str_ne(image_record_name(4), image_record_name(5));
	ck_assert_str_eq(image_record_name(4), image_record_name(6));
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

static void add_record_tests(TCase *tests)
{
	tcase_add_test(tests, descriptors_without_a_record_are_not_taken);
	tcase_add_test(tests, an_incomplete_record_is_none);
	tcase_add_loop_test(tests, a_newer_version_is_left_alone, 0, RECORD_TABLES);
	tcase_add_loop_test(tests, a_strange_head_is_no_records, 0, N(strange_heads));
	tcase_add_loop_test(tests, a_table_that_is_missing_costs_what_it_had, 1, RECORD_TABLES);
	tcase_add_loop_test(tests, a_table_of_another_epoch_is_missing, 1, RECORD_TABLES);
	tcase_add_test(tests, without_the_segments_table_there_is_no_record);
	tcase_add_test(tests, what_is_no_file_is_no_table);
	tcase_add_test(tests, numbers_have_an_end);
	tcase_add_test(tests, the_newer_record_is_read);
	tcase_add_test(tests, one_that_was_not_given_up_is_not_read);
	tcase_add_test(tests, a_newer_one_that_was_not_finished_is_not_read);
}

static void add_row_tests(TCase *tests)
{
	tcase_add_test(tests, shorter_rows_end_in_zeroes);
	tcase_add_test(tests, of_two_rows_the_newer_one_is_read);
	tcase_add_test(tests, what_is_about_others_is_kept);
	tcase_add_test(tests, a_row_that_is_not_whole_is_left_out);
	tcase_add_test(tests, a_table_may_end_within_a_row);
	tcase_add_test(tests, a_huge_table_is_read_in_time);
}

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, everything_is_read);
	tcase_add_test(tests, tables_stay_the_callers);
	tcase_add_test(tests, nothing_is_empty);
	add_record_tests(tests);
	add_row_tests(tests);
	tcase_add_loop_test(tests, a_strange_segment_is_left_out, 0, N(strange_segments));
	tcase_add_test(tests, another_users_file_is_not_ours);
	tcase_add_test(tests, a_segment_is_kept_without_its_semaphore);
	tcase_add_test(tests, a_descriptor_is_taken_once);
	tcase_add_test(tests, two_segments_do_not_share_memory);
	tcase_add_loop_test(tests, an_ordinary_segment_is_read, 0, N(segments));
	tcase_add_loop_test(tests, a_client_has_a_number_that_was_given, 0, 3);
	tcase_add_loop_test(tests, an_attachment_is_of_a_client_and_a_segment, 0, 3);
	tcase_add_loop_test(tests, a_number_is_one_to_lock_by, 0, N(strange_lockers));
	tcase_add_test(tests, a_number_of_no_segment_is_no_news);
	tcase_add_loop_test(tests, a_deed_is_done_when_its_segment_says_so, 0, N(deeds));
	tcase_add_test(tests, pouches_have_names);
	tcase_add_test(tests, records_take_turns);
}

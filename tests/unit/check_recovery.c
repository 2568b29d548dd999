/* SPDX-License-Identifier: MIT */
/* When permits are given back: what makes a segment due, and the pauses between attempts. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "core/locker.h"
#include "core/memory.h"
#include "core/recovery.h"

static struct quota quota;
static struct instance instance;
static struct watch watch;
static struct statistics statistics;
static struct journal journal;
static struct recovery recovery;
static struct estate *emptied;
static struct estate estate;
static struct segment *segment;
static struct locker *locker;
static uint64_t *word;
static uint64_t now;

static struct segment *make(uint64_t id, unsigned permits)
{
	struct creation what = {.name = "a", .size = 1, .mode = 0600, .permits = permits};
	struct segment *made = NULL;
	struct ownership of = {geteuid(), getegid(), 0600};
	struct credentials who;
	struct refusal why;

	credentials_init(&who, geteuid(), getegid(), NULL, 0);
	ck_assert_int_eq(segment_new(&quota, &instance, id, &who, &of, &what, now, &made, &why), 0);
	ck_assert_int_eq(recovery_add(&recovery, made), 0);
	return made;
}

static void set_up(void)
{
	static const struct quota_limits limits = {{9, 9, 9, 99, 9}, {9, 9, 9, 99, 9}};

	ck_assert_int_eq(guard_init(), 0);
	close_fd(memory_reopen(STDERR_FILENO, true)); /* keeps a descriptor of the folder */
	quota_init(&quota, &limits);
	ck_assert_int_eq(instance_init(&instance, unit_folder), 0);
	ck_assert_int_eq(watch_init(&watch), 0);
	statistics = (struct statistics){0};
	recovery_init(&recovery, &watch, &statistics, &journal);
	emptied = NULL;
	estate_init(&estate, &emptied);
	now = 1000 * NSEC_PER_SEC;
	segment = make(1, 3);
	ck_assert_int_eq(locker_new(&segment->ledger, &estate, 1, 10, 20, &locker), 0);
	word = mmap(NULL, sizeof(*word), PROT_READ | PROT_WRITE, MAP_SHARED, segment->semaphore.fd,
		    0);
	ck_assert_ptr_ne(word, MAP_FAILED);
	ck_assert_uint_eq(*word, 3);
}

static void tear_down(void)
{
	munmap(word, sizeof(*word));
	recovery_remove(&recovery, segment);
	ck_assert_ptr_null(segment->ledger.lockers);
	segment_free(segment, &instance);
	estate_fini(&estate);
	ck_assert_uint_eq(recovery.timers.n, 0);
	ck_assert_ptr_null(recovery.by_semaphore);
	recovery_fini(&recovery);
	watch_fini(&watch);
	instance_fini(&instance);
	quota_fini(&quota);
}

static void settle(void)
{
	recovery_settle(&recovery, segment, now);
}

static uint64_t pause_now(void)
{
	uint64_t deadline = segment->lock_timer.deadline;

	ck_assert((heap_first(&recovery.timers) != NULL) == (deadline != 0));
	return deadline ? deadline - now : 0;
}

/* Goes on to the timer's end. */
static void wait_and_settle(void)
{
	now = segment->lock_timer.deadline - 1;
	ck_assert_ptr_null(recovery_take_expired(&recovery, now));
	now++;
	ck_assert_ptr_eq(recovery_take_expired(&recovery, now), segment);
	ck_assert_ptr_null(recovery_take_expired(&recovery, now));
	ck_assert_uint_eq(segment->lock_timer.deadline, 0);
	settle();
}

static int open_by_name(void)
{
	char path[UNIT_FOLDER_SIZE + 64];

	snprintf(path, sizeof(path), "%s/sem.%s", unit_folder, segment->semaphore.name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void die_behind(unsigned other)
{
	uint64_t slot = 1;

	/* Its slot, and an operation of somebody else's that is under way. */
	ck_assert_int_eq(pwrite(segment->ledger.fd, &slot, sizeof(slot),
				(off_t)(locker->number * sizeof(slot))),
			 sizeof(slot));
	*word = 2 | word_of_owner(other);
	ledger_note_death(locker);
	settle();
}

START_TEST(what_is_not_due_is_not_touched)
{
	*word = 0;
	settle();
	ck_assert_uint_eq(*word, 0);
	ck_assert_uint_eq(pause_now(), 0);
}
END_TEST

START_TEST(a_death_is_settled_and_counted)
{
	die_behind(0);
	ck_assert(*word == (3 | WORD_DIED));
	ck_assert_uint_eq(statistics.counts[STATISTIC_LOCKS_RECOVERED], 1);
	ck_assert_uint_eq(pause_now(), 0);
	ck_assert_ptr_null(segment->ledger.lockers);
}
END_TEST

START_TEST(a_kept_one_is_not_counted)
{
	ledger_keep_until_exit(locker);
	die_behind(0);
	ck_assert_uint_eq(*word, 3);
	ck_assert_uint_eq(statistics.counts[STATISTIC_LOCKS_RECOVERED], 0);
}
END_TEST

/* No word comes when a process that is stopped goes on, so this ends never. */
START_TEST(the_dead_are_tried_again_and_again)
{
	uint64_t pause = NSEC_PER_MSEC / 2;
	struct locker *stopped;

	ck_assert_int_eq(locker_new(&segment->ledger, &estate, 1, 11, 20, &stopped), 0);
	die_behind(stopped->number);
	for (int i = 0; i < 100; i++) {
		ck_assert_uint_eq(pause_now(), pause);
		pause = 2 * pause < NSEC_PER_SEC ? 2 * pause : NSEC_PER_SEC;
		wait_and_settle();
	}
	*word &= ~WORD_OPERATION;
	wait_and_settle();
	ck_assert(*word == (3 | WORD_DIED));
	ck_assert_uint_eq(pause_now(), 0);
	ck_assert_uint_eq(segment->lock_retry_ns, 0);
}
END_TEST

/* The next close brings the next attempt, so the pauses come to an end. */
START_TEST(missing_ones_are_tried_for_a_while)
{
	int fd = open_by_name();
	uint64_t pause = NSEC_PER_MSEC / 2;
	int tries = 0;

	*word = 2;
	recovery_note_close(segment);
	settle();
	for (; pause_now() > 0; tries++) {
		ck_assert_uint_eq(pause_now(), pause);
		pause *= 2;
		wait_and_settle();
	}
	ck_assert_int_ge(tries, 10);
	ck_assert_int_le(tries, 20);
	ck_assert_uint_eq(*word, 2);
	/* From the start, with the shortest. */
	recovery_note_close(segment);
	settle();
	ck_assert_uint_eq(pause_now(), NSEC_PER_MSEC / 2);
	close_fd(fd);
	wait_and_settle();
	ck_assert(*word == (3 | WORD_DIED));
	ck_assert_uint_eq(statistics.counts[STATISTIC_LOCKS_RECOVERED], 1);
	ck_assert_uint_eq(pause_now(), 0);
	ck_assert(!segment->is_audit_due);
}
END_TEST

START_TEST(a_damaged_one_is_given_up)
{
	ck_assert_int_eq(ftruncate(segment->semaphore.fd, 0), 0);
	ledger_note_death(locker);
	recovery_note_close(segment);
	settle();
	ck_assert(segment->is_damaged);
	ck_assert_ptr_null(segment->ledger.lockers);
	ck_assert_uint_eq(pause_now(), 0);
	ck_assert_uint_eq(statistics.counts[STATISTIC_LOCKS_RECOVERED], 0);
	ck_assert_int_eq(ftruncate(segment->semaphore.fd, 4096), 0);
}
END_TEST

START_TEST(a_file_leads_to_its_segment)
{
	char file[64];

	snprintf(file, sizeof(file), "sem.%s", segment->semaphore.name);
	ck_assert_ptr_eq(recovery_find(&recovery, file), segment);
	ck_assert_ptr_null(recovery_find(&recovery, segment->semaphore.name));
	ck_assert_ptr_null(recovery_find(&recovery, "sem."));
	ck_assert_ptr_null(recovery_find(&recovery, "sem"));
	ck_assert_ptr_null(recovery_find(&recovery, ""));
	file[strlen(file) - 1]++;
	ck_assert_ptr_null(recovery_find(&recovery, file));
}
END_TEST

START_TEST(without_a_semaphore_nothing_is_due)
{
	struct segment *plain = make(2, 0);

	recovery_note_close(plain);
	ck_assert(!plain->is_audit_due);
	recovery_settle(&recovery, plain, now);
	recovery_drop_name(&recovery, plain, NULL);
	recovery_remove(&recovery, plain);
	segment_free(plain, &instance);
}
END_TEST

static unsigned n_closed;

static void on_close(struct watch_item *item, void *context)
{
	ck_assert_ptr_eq(item, &segment->raw_watch);
	ck_assert_ptr_null(context);
	n_closed++;
}

static void on_file(const char *name, void *context)
{
	(void)name, (void)context;
}

/* Whoever has it open as the name goes is watched on; who has it not costs no watch. */
/* As long as somebody could be told that a permit came back. */
START_TEST(a_dropped_name_is_watched_if_need_be)
{
	char file[64];
	int fd = open_by_name();

	if (_i == 0)
		ledger_clear(&segment->ledger);
	snprintf(file, sizeof(file), "sem.%s", segment->semaphore.name);
	recovery_drop_name(&recovery, segment, on_close);
	semaphore_unlink(&segment->semaphore, &instance);
	ck_assert_ptr_null(recovery_find(&recovery, file));
	ck_assert_int_eq(segment->raw_watch.wd != 0, _i);
	close_fd(fd);
	if (_i == 0)
		return;
	unit_wait(watch.fd);
	watch_read(&watch, on_file, NULL);
	ck_assert_uint_ge(n_closed, 1);
}
END_TEST

START_TEST(removing_forgets_all)
{
	int fd = open_by_name();

	*word = 2;
	recovery_note_close(segment);
	settle();
	ck_assert_uint_ne(pause_now(), 0);
	recovery_drop_name(&recovery, segment, on_close);
	ck_assert_int_ne(segment->raw_watch.wd, 0);
	recovery_remove(&recovery, segment);
	ck_assert_uint_eq(pause_now(), 0);
	ck_assert_int_eq(segment->raw_watch.wd, 0);
	ck_assert_ptr_null(segment->ledger.lockers);
	ck_assert_ptr_eq(emptied, &estate);
	close_fd(fd);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, what_is_not_due_is_not_touched);
	tcase_add_test(tests, a_death_is_settled_and_counted);
	tcase_add_test(tests, a_kept_one_is_not_counted);
	tcase_add_test(tests, the_dead_are_tried_again_and_again);
	tcase_add_test(tests, missing_ones_are_tried_for_a_while);
	tcase_add_test(tests, a_damaged_one_is_given_up);
	tcase_add_test(tests, a_file_leads_to_its_segment);
	tcase_add_test(tests, without_a_semaphore_nothing_is_due);
	tcase_add_loop_test(tests, a_dropped_name_is_watched_if_need_be, 0, 2);
	tcase_add_test(tests, removing_forgets_all);
}

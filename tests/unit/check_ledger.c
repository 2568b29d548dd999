/* SPDX-License-Identifier: MIT */
/*
 * What the dead held, given back: from every state that a death can leave, in the word and the slots
 * as they would stand then, and from states that only an enemy leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/guard.h"
#include "core/ledger.h"
#include "core/locker.h"
#include "core/memory.h"
#include "core/semaphore.h"

/* The dead, and somebody who lives. */
#define DEAD  1u
#define OTHER 2u

#define OF(n)    ((uint64_t)(n) << WORD_OWNER_SHIFT)
#define COUNT(n) ((uint64_t)(n) << SLOT_COUNT_SHIFT)

static struct semaphore semaphore;
static struct ledger ledger;
static struct estate *emptied;
static struct estate estate;
static struct locker *dead, *other;
static uint64_t *word, *slots;

/* What ledger_bury() told. */
static unsigned n_told;
static uint32_t told;
static unsigned told_number;

static void make_semaphore(void)
{
	uint64_t zeroes[4] = {0};
	const char *path = unit_write("sem.unit", zeroes, sizeof(zeroes));

	semaphore_init(&semaphore);
	semaphore.fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(semaphore.fd, 0);
	word = mmap(NULL, sizeof(*word), PROT_READ | PROT_WRITE, MAP_SHARED, semaphore.fd, 0);
	ck_assert_ptr_ne(word, MAP_FAILED);
}

static void begin(unsigned permits)
{
	ck_assert_int_eq(ledger_init(&ledger, permits), 0);
	ck_assert((ledger.fd >= 0) == (permits > 1));
	slots = permits > 1
			? mmap(NULL, LEDGER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ledger.fd, 0)
			: NULL;
	ck_assert_ptr_ne(slots, MAP_FAILED);
	ck_assert_int_eq(locker_new(&ledger, &estate, 7, 10, 20, &dead), 0);
	ck_assert_int_eq(locker_new(&ledger, &estate, 7, 11, 21, &other), 0);
	ck_assert_uint_eq(dead->number, DEAD);
	ck_assert_uint_eq(other->number, OTHER);
}

static void end(void)
{
	if (slots)
		munmap(slots, LEDGER_SIZE);
	slots = NULL;
	ledger_fini(&ledger);
}

static void set_up(void)
{
	ck_assert_int_eq(guard_init(), 0);
	close_fd(memory_reopen(STDERR_FILENO, true)); /* keeps a descriptor of the folder */
	emptied = NULL;
	estate_init(&estate, &emptied);
	make_semaphore();
}

static void tear_down(void)
{
	end();
	munmap(word, sizeof(*word));
	close_fd(semaphore.fd);
	estate_fini(&estate);
}

static void on_buried(const struct locker *locker, uint32_t permits, void *context)
{
	ck_assert_ptr_eq(context, &ledger);
	n_told++;
	told += permits;
	told_number = locker->number;
}

static enum ledger_answer bury(void)
{
	n_told = 0;
	told = 0;
	return ledger_bury(&ledger, &semaphore, on_buried, &ledger);
}

static enum ledger_answer die(void)
{
	ledger_note_death(dead);
	return bury();
}

#define expect_word(value) \
	ck_assert_msg(*word == (value), "word %#jx instead of %#jx", *word, (uintmax_t)(value))

/* --- burying, one permit ---------------------------------------------------------------------- */

START_TEST(one_permit_is_given_back)
{
	begin(1);
	*word = OF(DEAD) | WORD_SLEEPS | (UINT64_C(3) << 32);
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(1 | WORD_DIED | WORD_SLEEPS | (UINT64_C(3) << 32));
	ck_assert_uint_eq(told, 1);
	ck_assert_uint_eq(told_number, DEAD);
	/* The number is free again, and no second burial gives anything. */
	ck_assert_ptr_eq(ledger.lockers, other);
	ck_assert_uint_eq(ledger.n_dead, 0);
	ck_assert_int_eq(bury(), LEDGER_DONE);
	expect_word(1 | WORD_DIED | WORD_SLEEPS | (UINT64_C(3) << 32));
}
END_TEST

START_TEST(who_holds_nothing_leaves_nothing)
{
	static const uint64_t words[] = {1, 0, OF(OTHER), OF(OTHER) | WORD_DIED, 1 | WORD_SLEEPS};

	begin(1);
	*word = words[_i];
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(words[_i]);
	ck_assert_uint_eq(n_told, 0);
	ck_assert_ptr_eq(ledger.lockers, other);
}
END_TEST

START_TEST(until_exit_tells_no_death)
{
	begin(_i ? 3 : 1);
	ledger_keep_until_exit(dead);
	if (_i)
		slots[DEAD] = 2;
	*word = _i ? 1 : OF(DEAD);
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(_i ? UINT64_C(3) : UINT64_C(1));
	ck_assert_uint_eq(told, _i ? 2 : 1);
	ck_assert_uint_eq(ledger.n_kept, 0);
}
END_TEST

/* Nor is a death that was not told yet forgotten by it. */
START_TEST(until_exit_hides_no_death)
{
	begin(1);
	ledger_keep_until_exit(dead);
	*word = OF(DEAD) | WORD_DIED;
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(1 | WORD_DIED);
}
END_TEST

/* --- burying, several permits ----------------------------------------------------------------- */

#define PERMITS 5u
/* What somebody else holds meanwhile: so one permit too many would show. */
#define OTHERS 2u
#define GIVING (OF(DEAD) | WORD_GIVE)

/* How word and slot stand where a process died, of 5 permits that nobody else has; for a count that
 * begins even. */
static const struct instant {
	const char *name;
	uint64_t word, slot;
	uint32_t given, is_free; /* afterwards */
} instants[] = {
	{"with nothing", 5, COUNT(4), 0, 5},
	{"with one", 4, COUNT(4) | 1, 1, 5},
	{"with four", 1, COUNT(4) | 4, 4, 5},
	{"taking: before the slot", 4 | OF(DEAD), COUNT(4), 1, 5},
	{"taking: before the end", 4 | OF(DEAD), COUNT(5) | 1, 1, 5},
	{"taking a second: before the slot", 3 | OF(DEAD), COUNT(4) | 1, 2, 5},
	{"taking a second: before the end", 3 | OF(DEAD), COUNT(5) | 2, 2, 5},
	{"giving: before the slot", 5 | GIVING, COUNT(4) | 1, 0, 5},
	{"giving: before the end", 5 | GIVING, COUNT(5), 0, 5},
	{"giving one of two: before the slot", 4 | GIVING, COUNT(4) | 2, 1, 5},
	{"giving one of two: before the end", 4 | GIVING, COUNT(5) | 1, 1, 5},
	{"buried: before it gave", 3, COUNT(4) | SLOT_ALL | 2, 2, 5},
	{"buried: before the slot", 5 | GIVING | WORD_DIED, COUNT(4) | SLOT_ALL | 2, 0, 5},
	{"buried: before the end", 5 | GIVING | WORD_DIED, COUNT(5), 0, 5},
};
#define N_INSTANTS ((int)(sizeof(instants) / sizeof(instants[0])))

static void expect_buried(const struct instant *at)
{
	ck_assert_msg(word_value(*word) == at->is_free, "%s: %u are free", at->name,
		      word_value(*word));
	ck_assert_msg((*word & WORD_OPERATION) == 0, "%s: the word is %#jx", at->name, *word);
	ck_assert_msg(slot_held(slots[DEAD]) == 0 && !(slots[DEAD] & SLOT_ALL),
		      "%s: the slot is %#jx", at->name, slots[DEAD]);
	ck_assert_msg(told == at->given, "%s: %u were given back", at->name, told);
	ck_assert_uint_eq(n_told, at->given ? 1 : 0);
	bool is_told = at->given > 0 || at->word & WORD_DIED;
	ck_assert_msg(!(*word & WORD_DIED) == !is_told, "%s: the word is %#jx", at->name, *word);
	ck_assert_ptr_eq(ledger.lockers, other);
}

/* The count's parity is no matter. */
START_TEST(every_instant_of_a_death)
{
	const struct instant *at = &instants[_i / 2];
	bool is_odd = _i % 2;

	begin(PERMITS + OTHERS);
	slots[DEAD] = at->slot + (is_odd ? SLOT_COUNT_ONE : 0);
	slots[OTHER] = COUNT(9) | OTHERS;
	*word = at->word;
	if (is_odd && at->word & WORD_OWNER)
		*word |= WORD_PARITY;
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_buried(at);
	ck_assert_uint_eq(slots[OTHER], COUNT(9) | OTHERS);
}
END_TEST

START_TEST(the_count_wraps)
{
	begin(PERMITS);
	slots[DEAD] = COUNT(UINT32_MAX);
	*word = 4 | OF(DEAD) | WORD_PARITY;
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_buried(&instants[3]);
}
END_TEST

/* Somebody else is in the middle of an operation, or stopped there. */
START_TEST(nobody_is_waited_for)
{
	begin(PERMITS);
	slots[DEAD] = COUNT(4) | 2;
	*word = 2 | OF(OTHER);
	ck_assert_int_eq(die(), LEDGER_LATER);
	expect_word(2 | OF(OTHER));
	ck_assert_uint_eq(n_told, 0);
	ck_assert_ptr_eq(ledger.lockers, dead);
	ck_assert_uint_eq(ledger.n_dead, 1);
	ck_assert_int_eq(bury(), LEDGER_LATER);
	slots[OTHER] = slot_next(slots[OTHER], 1);
	*word &= ~WORD_OPERATION;
	ck_assert_int_eq(bury(), LEDGER_DONE);
	expect_word(4 | WORD_DIED);
	ck_assert_uint_eq(told, 2);
	ck_assert_uint_eq(slots[OTHER], COUNT(1) | 1);
}
END_TEST

/* Who holds nothing is gone all the same. */
START_TEST(nothing_is_given_back_at_once)
{
	begin(PERMITS);
	*word = 4 | OF(OTHER);
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(4 | OF(OTHER));
	ck_assert_ptr_eq(ledger.lockers, other);
}
END_TEST

START_TEST(all_the_dead_are_buried)
{
	begin(PERMITS);
	slots[DEAD] = 2;
	slots[OTHER] = 2;
	*word = 1;
	ledger_note_death(other);
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(5 | WORD_DIED);
	ck_assert_uint_eq(n_told, 2);
	ck_assert_uint_eq(told, 4);
	ck_assert_ptr_null(ledger.lockers);
	ck_assert_ptr_eq(emptied, &estate);
}
END_TEST

/* --- enemies ---------------------------------------------------------------------------------- */

/* Free permits never get more than there are, unless they were. */
static void expect_no_more(uint64_t before)
{
	uint32_t was = word_value(before);

	ck_assert_msg(word_value(*word) <= (was > ledger.permits ? was : ledger.permits),
		      "%u are free of %u, and %u were", word_value(*word), ledger.permits, was);
}

static void bury_in(uint64_t garbage, uint64_t slot)
{
	*word = garbage;
	if (slots)
		slots[DEAD] = slot;
	enum ledger_answer answer = die();
	ck_assert_int_ne(answer, LEDGER_DAMAGED);
	expect_no_more(garbage);
	if (answer == LEDGER_DONE)
		ck_assert_int_eq(locker_new(&ledger, &estate, 7, 10, 20, &dead), 0);
	dead->is_dead = false;
	ledger.n_dead = 0;
}

START_TEST(garbage_is_survived)
{
	static const uint64_t words[] = {
		UINT64_MAX,
		0,
		INT32_MAX,
		UINT32_MAX,
		OF(DEAD) | UINT32_MAX,
		OF(DEAD) | WORD_PARITY | WORD_GIVE | INT32_MAX,
		OF(WORD_NUMBER_MAX),
		OF(OTHER) | 3,
		WORD_OPERATION,
		~WORD_VALUE,
	};
	static const uint64_t slot_words[] = {
		0, UINT64_MAX, SLOT_HELD, SLOT_HELD | SLOT_ALL, SLOT_ALL, COUNT(UINT32_MAX) | 1, 1};
	static const unsigned permits[] = {1, 2, 5, INT32_MAX};

	begin(permits[_i]);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (size_t k = 0; k < sizeof(slot_words) / sizeof(slot_words[0]); k++)
			bury_in(words[i], slot_words[k]);
}
END_TEST

START_TEST(no_more_is_given_than_there_are)
{
	begin(PERMITS);
	slots[DEAD] = SLOT_HELD;
	*word = 3;
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(5 | WORD_DIED);
	ck_assert_uint_eq(told, 2);
	end();
	/* One of a name's users has posted it before. */
	begin(1);
	*word = 1 | OF(DEAD);
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(1 | WORD_DIED);
	ck_assert_uint_eq(n_told, 0);
	end();
	/* What others posted stays. */
	begin(PERMITS);
	slots[DEAD] = SLOT_HELD;
	*word = 1000000;
	ck_assert_int_eq(die(), LEDGER_DONE);
	ck_assert_uint_eq(word_value(*word), 1000000);
	ck_assert_uint_eq(n_told, 0);
}
END_TEST

START_TEST(the_most_that_there_can_be)
{
	begin(INT32_MAX);
	slots[DEAD] = SLOT_HELD;
	*word = 0;
	ck_assert_int_eq(die(), LEDGER_DONE);
	ck_assert_uint_eq(word_value(*word), INT32_MAX);
	ck_assert_uint_eq(told, INT32_MAX);
}
END_TEST

/* In the last page the rest reads as zeroes; without a page there is nothing to give back to. */ /* On a loaded machine the lease's process may be late, and killed for it: that is asked again, as the
 * daemon does. What others have stays theirs, however often it is asked. */
static enum ledger_answer settle_raw(uint32_t *ret_given)
{
	enum ledger_answer answer = LEDGER_LATER;

	for (int i = 0; i < 20 && answer == LEDGER_LATER; i++)
		answer = ledger_settle_raw(&ledger, &semaphore, ret_given);
	return answer;
}

START_TEST(a_shorter_file_is_damaged)
{
	uint32_t given;

	begin(_i ? PERMITS : 1);
	*word = _i ? 4 : OF(DEAD);
	if (_i)
		slots[DEAD] = 1;
	ck_assert_int_eq(ftruncate(semaphore.fd, 0), 0);
	ck_assert_uint_eq(ledger_held(&ledger, &semaphore, dead), _i);
	ck_assert_int_eq(die(), LEDGER_DAMAGED);
	ck_assert_uint_eq(n_told, 0);
	ck_assert_ptr_eq(ledger.lockers, other);
	ck_assert_int_eq(settle_raw(&given), LEDGER_DAMAGED);
	ck_assert_uint_eq(given, 0);
	/* The lease that it took before it saw is given back. */
	ck_assert_int_eq(fcntl(semaphore.fd, F_GETLEASE), F_UNLCK);
	ck_assert_int_eq(ftruncate(semaphore.fd, 16), 0);
	ck_assert_int_eq(settle_raw(&given), LEDGER_DONE);
	ck_assert_uint_eq(given, _i ? PERMITS : 1);
	expect_word((_i ? PERMITS : 1) | WORD_DIED);
}
END_TEST

/* Nobody can make the ledger's memory shorter; zeroes are what can be made of it. */
START_TEST(the_ledger_is_sealed)
{
	begin(PERMITS);
	ck_assert_int_eq(ftruncate(ledger.fd, 0), -1);
	ck_assert_int_eq(ftruncate(ledger.fd, 1 << 20), -1);
	ck_assert_int_eq(fcntl(ledger.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ck_assert_int_eq(fcntl(ledger.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	slots[DEAD] = 1;
	*word = 4;
	ck_assert_int_eq(fallocate(ledger.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				   LEDGER_SIZE),
			 0);
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(UINT64_C(4));
}
END_TEST

/* --- waking ----------------------------------------------------------------------------------- */

static void sleep_on_word(void *context)
{
	(void)context;
	if (fork() == 0) {
		syscall(SYS_futex, word_low(word), FUTEX_WAIT, word_value(*word), NULL, NULL, 0);
		_exit(0);
	}
}

/* The kernel says where it sleeps only while it does. */
static void await_sleeper(const struct unit_child *child)
{
	char path[64], text[16];
	int call = -1;
	pid_t pid = -1;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", child->pid, child->pid);
	while (pid < 0) {
		FILE *file = fopen(path, "re");
		ck_assert_ptr_nonnull(file);
		if (fscanf(file, "%d", &pid) != 1)
			pid = -1;
		fclose(file);
	}
	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	while (call != SYS_futex) {
		FILE *file = fopen(path, "re");
		ck_assert_ptr_nonnull(file);
		if (fgets(text, sizeof(text), file))
			call = sscanf(text, "%d", &call) == 1 ? call : -1;
		fclose(file);
	}
}

/* Whoever died may have given a permit back and not woken anybody. */
START_TEST(a_burial_wakes_who_sleeps)
{
	uint32_t given;

	begin(_i % 2 ? PERMITS : 1);
	*word = 0;
	struct unit_child child = unit_fork(sleep_on_word, NULL);
	await_sleeper(&child);
	if (_i < 2)
		die();
	else
		settle_raw(&given);
	ck_assert_int_eq(word_wake(word, 1), 0);
	unit_join(&child);
}
END_TEST

/* --- programs that opened it by name ----------------------------------------------------------- */

static int open_by_name(void)
{
	char path[UNIT_FOLDER_SIZE + 16];

	snprintf(path, sizeof(path), "%s/sem.unit", unit_folder);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static enum ledger_answer settle(uint32_t expected)
{
	uint32_t given = UINT32_MAX;
	enum ledger_answer answer = settle_raw(&given);

	ck_assert_uint_eq(given, expected);
	ck_assert_int_eq(fcntl(semaphore.fd, F_GETLEASE), F_UNLCK);
	return answer;
}

#define ONE_WAITER (UINT64_C(1) << 32)

START_TEST(what_is_missing_is_given_back)
{
	begin(1);
	*word = ONE_WAITER | WORD_SLEEPS;
	ck_assert_int_eq(settle(1), LEDGER_DONE);
	expect_word(1 | WORD_DIED | WORD_SLEEPS);
	ck_assert_int_eq(settle(0), LEDGER_DONE);
	expect_word(1 | WORD_DIED | WORD_SLEEPS);
	end();
	begin(PERMITS);
	*word = 1 | ONE_WAITER;
	slots[DEAD] = COUNT(3) | 1;
	slots[OTHER] = COUNT(8) | 1;
	ck_assert_int_eq(settle(2), LEDGER_DONE);
	expect_word(3 | WORD_DIED);
	ck_assert_uint_eq(slots[DEAD], COUNT(3) | 1);
}
END_TEST

START_TEST(what_is_held_is_not_missing)
{
	begin(1);
	*word = OF(OTHER) | ONE_WAITER;
	ck_assert_int_eq(settle(0), LEDGER_DONE);
	expect_word(OF(OTHER));
	end();
	begin(PERMITS);
	*word = 2 | ONE_WAITER;
	slots[OTHER] = 3;
	ck_assert_int_eq(settle(0), LEDGER_DONE);
	expect_word(UINT64_C(2));
}
END_TEST

/* As long as somebody has it open by name, that one may hold what is missing. */
START_TEST(as_long_as_it_is_open_by_name)
{
	begin(_i ? PERMITS : 1);
	int fd = open_by_name();
	*word = _i ? 3 | ONE_WAITER : ONE_WAITER;
	ck_assert_int_eq(settle(0), LEDGER_LATER);
	expect_word(_i ? 3 | ONE_WAITER : ONE_WAITER);
	/* Nothing is missing, and nobody is counted as asleep: nothing to come back for. */
	*word = ledger.permits | ONE_WAITER;
	ck_assert_int_eq(settle(0), LEDGER_LATER);
	*word = ledger.permits;
	ck_assert_int_eq(settle(0), LEDGER_DONE);
	expect_word((uint64_t)ledger.permits);
	*word = (ledger.permits - 1) | ONE_WAITER;
	close_fd(fd);
	ck_assert_int_eq(settle(1), LEDGER_DONE);
	expect_word(ledger.permits | WORD_DIED);
}
END_TEST

START_TEST(an_operation_under_way_is_waited_for)
{
	begin(PERMITS);
	*word = 3 | OF(OTHER);
	slots[OTHER] = COUNT(2) | 1;
	ck_assert_int_eq(settle(0), LEDGER_LATER);
	expect_word(3 | OF(OTHER));
	*word = 3;
	slots[OTHER] = COUNT(3) | 2;
	ck_assert_int_eq(settle(0), LEDGER_DONE);
	expect_word(UINT64_C(3));
}
END_TEST

/* An enemy wrote a number that nobody has: it would hold the permit, or stop the others, for ever. */
START_TEST(a_stranger_stops_no_burial)
{
	begin(PERMITS);
	*word = 4 | OF(1000) | WORD_GIVE | WORD_PARITY;
	slots[DEAD] = COUNT(2) | 1;
	ck_assert_int_eq(die(), LEDGER_DONE);
	expect_word(5 | WORD_DIED);
}
END_TEST

START_TEST(a_stranger_holds_nothing)
{
	begin(1);
	*word = OF(1000);
	ck_assert_int_eq(settle(1), LEDGER_DONE);
	expect_word(1 | WORD_DIED);
	end();
	begin(PERMITS);
	*word = 4 | OF(1000) | WORD_GIVE | WORD_PARITY;
	slots[1000] = SLOT_HELD;
	ck_assert_int_eq(settle(1), LEDGER_DONE);
	expect_word(5 | WORD_DIED);
}
END_TEST

START_TEST(what_was_posted_stays_posted)
{
	begin(_i ? PERMITS : 1);
	*word = 1000000 | ONE_WAITER;
	ck_assert_int_eq(settle(0), LEDGER_DONE);
	expect_word(UINT64_C(1000000));
	*word = UINT32_MAX;
	ck_assert_int_eq(settle(0), LEDGER_DONE);
	expect_word((uint64_t)UINT32_MAX);
}
END_TEST

START_TEST(the_sum_of_lies_is_no_permit)
{
	begin(INT32_MAX);
	*word = INT32_MAX - 1;
	slots[DEAD] = SLOT_HELD;
	slots[OTHER] = SLOT_HELD;
	ck_assert_int_eq(settle(0), LEDGER_DONE);
	expect_word((uint64_t)INT32_MAX - 1);
}
END_TEST

START_TEST(what_is_held_can_be_told)
{
	begin(1);
	*word = OF(OTHER);
	ck_assert_uint_eq(ledger_held(&ledger, &semaphore, other), 1);
	ck_assert_uint_eq(ledger_held(&ledger, &semaphore, dead), 0);
	end();
	begin(PERMITS);
	slots[OTHER] = COUNT(5) | SLOT_ALL | 4;
	ck_assert_uint_eq(ledger_held(&ledger, &semaphore, other), 4);
	ck_assert_uint_eq(ledger_held(&ledger, &semaphore, dead), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, one_permit_is_given_back);
	tcase_add_loop_test(tests, who_holds_nothing_leaves_nothing, 0, 5);
	tcase_add_loop_test(tests, until_exit_tells_no_death, 0, 2);
	tcase_add_test(tests, until_exit_hides_no_death);
	tcase_add_loop_test(tests, every_instant_of_a_death, 0, 2 * N_INSTANTS);
	tcase_add_test(tests, the_count_wraps);
	tcase_add_test(tests, nobody_is_waited_for);
	tcase_add_test(tests, nothing_is_given_back_at_once);
	tcase_add_test(tests, all_the_dead_are_buried);
	tcase_add_loop_test(tests, garbage_is_survived, 0, 4);
	tcase_add_test(tests, no_more_is_given_than_there_are);
	tcase_add_test(tests, the_most_that_there_can_be);
	tcase_add_loop_test(tests, a_shorter_file_is_damaged, 0, 2);
	tcase_add_test(tests, the_ledger_is_sealed);
	tcase_add_loop_test(tests, a_burial_wakes_who_sleeps, 0, 4);
	tcase_add_test(tests, what_is_missing_is_given_back);
	tcase_add_test(tests, what_is_held_is_not_missing);
	tcase_add_loop_test(tests, as_long_as_it_is_open_by_name, 0, 2);
	tcase_add_test(tests, an_operation_under_way_is_waited_for);
	tcase_add_test(tests, a_stranger_stops_no_burial);
	tcase_add_test(tests, a_stranger_holds_nothing);
	tcase_add_loop_test(tests, what_was_posted_stays_posted, 0, 2);
	tcase_add_test(tests, the_sum_of_lies_is_no_permit);
	tcase_add_test(tests, what_is_held_can_be_told);
}

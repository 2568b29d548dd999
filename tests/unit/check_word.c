/* SPDX-License-Identifier: MIT */
/* The bits of the word and of the slots, and that this C library lets them be. */
#include <errno.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unit.h"

#include "wire/word.h"

START_TEST(this_c_library_passes)
{
	ck_assert(word_test());
	/* And again: it leaves nothing behind. */
	ck_assert(word_test());
}
END_TEST

START_TEST(the_fields_share_no_bit)
{
	static const uint64_t fields[] = {WORD_VALUE,  WORD_WAITERS, WORD_OWNER, WORD_DIED,
					  WORD_PARITY, WORD_GIVE,    WORD_SLEEPS};
	uint64_t all = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		ck_assert_uint_eq(all & fields[i], 0);
		all |= fields[i];
	}
	ck_assert(all == UINT64_MAX);
	ck_assert_uint_eq(WORD_OPERATION, WORD_OWNER | WORD_PARITY | WORD_GIVE);
	ck_assert_uint_eq(SLOT_HELD & SLOT_ALL, 0);
	ck_assert((SLOT_HELD | SLOT_ALL | (UINT64_MAX << SLOT_COUNT_SHIFT)) == UINT64_MAX);
	ck_assert_uint_eq(SLOT_COUNT_ONE, UINT64_C(1) << SLOT_COUNT_SHIFT);
}
END_TEST

START_TEST(every_number_goes_in_and_out)
{
	for (unsigned n = 0; n <= WORD_NUMBER_MAX; n++) {
		ck_assert_uint_eq(word_of_owner(n) & ~WORD_OWNER, 0);
		ck_assert_uint_eq(word_owner(word_of_owner(n)), n);
		ck_assert_uint_eq(word_owner(word_of_owner(n) | ~WORD_OWNER), n);
		ck_assert_uint_lt(n * sizeof(uint64_t), LEDGER_SIZE);
	}
	ck_assert_uint_eq(word_value(UINT64_MAX), UINT32_MAX);
	ck_assert_uint_eq(word_value(~WORD_VALUE), 0);
}
END_TEST

START_TEST(the_next_slot_counts_on)
{
	uint64_t slot = slot_next(0, 7);

	ck_assert_uint_eq(slot_held(slot), 7);
	ck_assert_uint_eq(slot >> SLOT_COUNT_SHIFT, 1);
	ck_assert_uint_eq(slot_parity(0), 0);
	ck_assert(slot_parity(slot) == WORD_PARITY);
	/* An operation of the daemon's ends with it, and the count goes round. */
	slot = slot_next(UINT64_MAX, INT32_MAX);
	ck_assert_uint_eq(slot, INT32_MAX);
	ck_assert_uint_eq(slot_parity(slot), 0);
}
END_TEST

START_TEST(the_halves_are_where_they_are)
{
	uint64_t word = UINT64_C(0x1111111122222222);

	ck_assert_uint_eq(*word_low(&word), 0x22222222);
	ck_assert_uint_eq(*word_high(&word), 0x11111111);
}
END_TEST

/* glibc sees the value and the waiters, and nothing of ours. */
START_TEST(glibc_reads_the_value)
{
	union {
		sem_t semaphore;
		uint64_t word;
	} both;
	int value;

	memset(&both, 0, sizeof(both));
	ck_assert_int_eq(sem_init(&both.semaphore, 1, 3), 0);
	ck_assert_uint_eq(both.word, 3);
	both.word |= ~(WORD_VALUE | WORD_WAITERS);
	ck_assert_int_eq(sem_getvalue(&both.semaphore, &value), 0);
	ck_assert_int_eq(value, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sem_trywait(&both.semaphore), 0);
	ck_assert_int_eq(sem_trywait(&both.semaphore), -1);
	ck_assert_int_eq(sem_post(&both.semaphore), 0);
	ck_assert(both.word == (~(WORD_VALUE | WORD_WAITERS) | 1));
}
END_TEST

static uint64_t *shared;

static void sleep_on_low(void *context)
{
	(void)context;
	if (fork() == 0) {
		syscall(SYS_futex, word_low(shared), FUTEX_WAIT, 0, NULL, NULL, 0);
		_exit(0);
	}
}

START_TEST(waking_finds_who_sleeps)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	ck_assert_int_eq(word_wake(shared, 1), 0);
	struct unit_child child = unit_fork(sleep_on_low, NULL);
	int woken;
	do
		woken = word_wake(shared, 5);
	while (woken == 0);
	ck_assert_int_eq(woken, 1);
	unit_join(&child);
	munmap(shared, 4096);
	/* valgrind takes it for a mistake. */
	if (!getenv("SHMD_WRAPPER"))
		ck_assert_int_eq(word_wake(shared, 1), -EFAULT);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, this_c_library_passes);
	tcase_add_test(tests, the_fields_share_no_bit);
	tcase_add_test(tests, every_number_goes_in_and_out);
	tcase_add_test(tests, the_next_slot_counts_on);
	tcase_add_test(tests, the_halves_are_where_they_are);
	tcase_add_test(tests, glibc_reads_the_value);
	tcase_add_test(tests, waking_finds_who_sleeps);
}

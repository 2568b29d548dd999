/* SPDX-License-Identifier: MIT */
#include "wire/word.h"

#include <errno.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int word_wake(uint64_t *word, int most)
{
	long n = syscall(SYS_futex, word_low(word), FUTEX_WAKE, most, NULL, NULL, 0);

	return n < 0 ? -errno : (int)n;
}

/* Every bit that is ours, and one waiter, so that a post has somebody to wake. */
#define TEST_BITS (WORD_OPERATION | WORD_DIED | WORD_SLEEPS | (UINT64_C(1) << 32))

static uint64_t read_word(const sem_t *semaphore)
{
	uint64_t word;

	memcpy(&word, semaphore, sizeof(word));
	return word;
}

static bool keeps_our_bits(sem_t *semaphore)
{
	uint64_t word = TEST_BITS | 5;
	int value;

	memcpy(semaphore, &word, sizeof(word));
	return sem_trywait(semaphore) == 0 && read_word(semaphore) == (TEST_BITS | 4) &&
	       sem_post(semaphore) == 0 && read_word(semaphore) == (TEST_BITS | 5) &&
	       sem_getvalue(semaphore, &value) == 0 && value == 5;
}

bool word_test(void)
{
	sem_t semaphore;

	/* 32-bit sem_t has no room for our bits. */
	if (sizeof(void *) < sizeof(uint64_t) || sizeof(sem_t) < sizeof(uint64_t))
		return false;
	memset(&semaphore, 0, sizeof(semaphore));
	if (sem_init(&semaphore, 1, 5) < 0)
		return false;
	bool fits = read_word(&semaphore) == 5 && keeps_our_bits(&semaphore);
	/* Destroyed as it was made: with the waiter that never was, somebody might wait for it. */
	memset(&semaphore, 0, sizeof(semaphore));
	return fits;
}

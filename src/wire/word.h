/* SPDX-License-Identifier: MIT */
/*
 * The lock protocol's memory: the semaphore's word, which names who took its last permit, and the
 * slots of a segment with several permits. Library and daemon change them by the steps that
 * tests/model/lock.pml models; a step of the C is named in a comment as it is in the model.
 *
 * On 64-bit glibc a sem_t begins with one 64-bit word, the value in its low half and the count of
 * sleeping waiters in its high half, of which glibc asks only whether it is zero. The waiters of one
 * semaphore are never more than 65,535, so the bits above are ours. word_test() tries that.
 *
 * Whoever may lock can write anything here: what is read is never trusted with a bound or an index.
 */
#ifndef WIRE_WORD_H
#define WIRE_WORD_H

#include <stdbool.h>
#include <stdint.h>

#define WORD_VALUE   UINT64_C(0x00000000ffffffff) /* permits that are free */
#define WORD_WAITERS UINT64_C(0x0000ffff00000000) /* of sem_wait(3); the library never changes it */
#define WORD_OWNER \
	UINT64_C(0x0fff000000000000)    /* one permit: its holder's number; several: whose
						   * operation is under way; 0: nobody's */
#define WORD_DIED   (UINT64_C(1) << 60) /* a holder died; the next acquirer is to be told */
#define WORD_PARITY (UINT64_C(1) << 61) /* of the owner's count as its operation began */
#define WORD_GIVE   (UINT64_C(1) << 62) /* the owner's operation is a release */
#define WORD_SLEEPS (UINT64_C(1) << 63) /* a waiter of the library may be asleep */

#define WORD_OWNER_SHIFT 48
#define WORD_OPERATION   (WORD_OWNER | WORD_PARITY | WORD_GIVE)

/* Numbers are 1 to this. */
#define WORD_NUMBER_MAX 4095u

/* One slot for each number, in the ledger's memory: how many permits it holds, and a count of its
 * operations. Only who stands as owner in the word writes there. */
#define SLOT_HELD        UINT64_C(0x000000007fffffff)
#define SLOT_ALL         UINT64_C(0x0000000080000000) /* the daemon is giving back all that is held */
#define SLOT_COUNT_ONE   (UINT64_C(1) << 32)
#define SLOT_COUNT_SHIFT 32

#define LEDGER_SIZE ((WORD_NUMBER_MAX + 1) * sizeof(uint64_t))

static inline uint32_t word_value(uint64_t word)
{
	return (uint32_t)(word & WORD_VALUE);
}

static inline unsigned word_owner(uint64_t word)
{
	return (unsigned)((word & WORD_OWNER) >> WORD_OWNER_SHIFT);
}

static inline uint64_t word_of_owner(unsigned number)
{
	return (uint64_t)number << WORD_OWNER_SHIFT;
}

static inline uint32_t slot_held(uint64_t slot)
{
	return (uint32_t)(slot & SLOT_HELD);
}

/* The slot after one more operation, which leaves `held` permits. */
static inline uint64_t slot_next(uint64_t slot, uint32_t held)
{
	return ((slot & ~(SLOT_HELD | SLOT_ALL)) + SLOT_COUNT_ONE) | held;
}

/* WORD_PARITY as it has to stand while an operation on that slot is under way. */
static inline uint64_t slot_parity(uint64_t slot)
{
	return slot & SLOT_COUNT_ONE ? WORD_PARITY : 0;
}

/* The half that futexes of glibc sleep on; the other one. */
static inline uint32_t *word_low(uint64_t *word)
{
	return (uint32_t *)word + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

static inline uint32_t *word_high(uint64_t *word)
{
	return (uint32_t *)word + (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
}

/* Wakes at most `most` who sleep on the word, in any process. Returns how many, or -errno. */
int word_wake(uint64_t *word, int most);

/* Tries on a semaphore of our own whether this C library lays it out so, and leaves our bits alone. */
bool word_test(void);

#endif

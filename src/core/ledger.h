/* SPDX-License-Identifier: MIT */
/*
 * The permits of one segment, from the daemon's side: who has a number, who holds, and how the
 * permits of the dead are given back (the steps BURY_ and RAW_ of the protocol in wire/word.h).
 *
 * Everything in the semaphore's file and in the slots may be a hostile sharer's: every loop here is
 * bounded, every index is a number that we gave, and the file may be truncated under us.
 */
#ifndef CORE_LEDGER_H
#define CORE_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/word.h"

struct locker;
struct semaphore;

struct ledger {
	unsigned permits;       /* 0: there is no semaphore */
	int fd;                 /* the slots' memory; -1 with one permit, which needs none */
	uint64_t *taken;        /* a bit for each number that is given; NULL: none was yet */
	struct locker *lockers; /* those who have them */
	unsigned n_dead;        /* of them, to be buried */
	unsigned n_kept;        /* of them, whose permits are kept until their process's exit */
};

/* What became of an attempt to settle something. */
enum ledger_answer {
	LEDGER_DONE,
	LEDGER_LATER,   /* not now: others are at work in there, or have the file open */
	LEDGER_DAMAGED, /* somebody has made the file shorter: there is nothing to give back to */
};

/* Returns 0 or -errno. */
int ledger_init(struct ledger *ledger, unsigned permits);
void ledger_fini(struct ledger *ledger);

/* Frees all lockers: the segment has ended, or nobody has its memory any more. */
void ledger_clear(struct ledger *ledger);

/* A number that nobody has, or -EDQUOT, or -ENOMEM; and its return. For locker.c. */
int ledger_take_number(struct ledger *ledger);
int ledger_take_this_number(struct ledger *ledger, unsigned number);
void ledger_return_number(struct ledger *ledger, const struct locker *locker);

/* Notes that a locker's process has died; ledger_bury() follows. */
void ledger_note_death(struct locker *locker);

/* Notes that the process's end is to count as a release. */
void ledger_keep_until_exit(struct locker *locker);

/* What a locker holds now, told without touching the mapping; 0 also if it cannot be told. */
uint32_t ledger_held(const struct ledger *ledger, const struct semaphore *semaphore,
		     const struct locker *locker);

/* Called for each locker whose permits were given back, before it is freed. */
typedef void ledger_buried_fn(const struct locker *locker, uint32_t permits, void *context);

/* Gives back what the dead hold, wakes who waits, and frees their numbers. */
enum ledger_answer ledger_bury(struct ledger *ledger, const struct semaphore *semaphore,
			       ledger_buried_fn *fn, void *context);

/* Wakes somebody who sleeps beside a free permit: a program that was killed may have swallowed the
 * wake-up. */
void ledger_wake_sleepers(const struct ledger *ledger, const struct semaphore *semaphore);

/* Gives back what programs took that had opened the semaphore by name, if none has it open now:
 * *ret_given permits. LEDGER_LATER only as long as some are missing, or the word counts sleepers of
 * sem_wait(3). */
enum ledger_answer ledger_settle_raw(struct ledger *ledger, const struct semaphore *semaphore,
				     uint32_t *ret_given);

#endif

/* SPDX-License-Identifier: MIT */
#include "core/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "core/lease.h"
#include "core/locker.h"
#include "core/memory.h"
#include "core/semaphore.h"

/* An operation of somebody else may come between two of ours. Who makes that happen more often than
 * this, on purpose, is served later. */
#define TRIES 64

/* Sleepers woken at once. They are the clients', who may have put any number to sleep, and each takes
 * some 3 us. The others are woken by those who release, and those of the library look by themselves. */
#define WAKES     1024
#define FEW_WAKES 16

/* Looks at all slots before an audit is given up for later. */
#define SCANS 8

#define NUMBERS   (WORD_NUMBER_MAX + 1)
#define WORD_BITS 64

/* --- numbers ---------------------------------------------------------------------------------- */

static bool is_given(const struct ledger *ledger, unsigned number)
{
	return ledger->taken &&
	       ledger->taken[number / WORD_BITS] >> (number % WORD_BITS) & UINT64_C(1);
}

static int make_numbers(struct ledger *ledger)
{
	ledger->taken = calloc(NUMBERS / WORD_BITS, sizeof(*ledger->taken));
	if (!ledger->taken)
		return -ENOMEM;
	/* 0 stands for nobody. */
	ledger->taken[0] = 1;
	return 0;
}

int ledger_take_number(struct ledger *ledger)
{
	int r = ledger->taken ? 0 : make_numbers(ledger);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < NUMBERS / WORD_BITS; i++) {
		if (ledger->taken[i] == UINT64_MAX)
			continue;
		int bit = __builtin_ctzll(~ledger->taken[i]);
		ledger->taken[i] |= UINT64_C(1) << bit;
		return (int)(i * WORD_BITS) + bit;
	}
	return -EDQUOT;
}

int ledger_take_this_number(struct ledger *ledger, unsigned number)
{
	int r = ledger->taken ? 0 : make_numbers(ledger);

	if (r < 0)
		return r;
	if (is_given(ledger, number))
		return -EINVAL;
	ledger->taken[number / WORD_BITS] |= UINT64_C(1) << number % WORD_BITS;
	return (int)number;
}

void ledger_return_number(struct ledger *ledger, const struct locker *locker)
{
	ledger->n_dead -= locker->is_dead;
	ledger->n_kept -= locker->until_exit && !locker->is_dead;
	ledger->taken[locker->number / WORD_BITS] &= ~(UINT64_C(1) << locker->number % WORD_BITS);
}

void ledger_note_death(struct locker *locker)
{
	if (locker->is_dead)
		return;
	locker->is_dead = true;
	locker->ledger->n_dead++;
	/* Whatever becomes of its permits, it is a user of the segment no more. */
	locker->ledger->n_kept -= locker->until_exit;
}

void ledger_keep_until_exit(struct locker *locker)
{
	if (locker->until_exit || locker->is_dead)
		return;
	locker->until_exit = true;
	locker->ledger->n_kept++;
}

/* --- life ------------------------------------------------------------------------------------- */

int ledger_init(struct ledger *ledger, unsigned permits)
{
	struct refusal ignored;

	*ledger = (struct ledger){.permits = permits, .fd = -1};
	if (permits <= 1)
		return 0;
	return memory_new("shmd:ledger", LEDGER_SIZE, 0, &ledger->fd, &ignored);
}

void ledger_clear(struct ledger *ledger)
{
	struct locker *locker, *next;

	DL_FOREACH_SAFE (ledger->lockers, locker, next)
		locker_free(locker);
}

void ledger_fini(struct ledger *ledger)
{
	ledger_clear(ledger);
	free(ledger->taken);
	ledger->taken = NULL;
	ledger->fd = close_fd(ledger->fd);
}

/* --- looking ---------------------------------------------------------------------------------- */

static uint64_t read_at(int fd, off_t offset)
{
	uint64_t value;

	return pread(fd, &value, sizeof(value), offset) == (ssize_t)sizeof(value) ? value : 0;
}

uint32_t ledger_held(const struct ledger *ledger, const struct semaphore *semaphore,
		     const struct locker *locker)
{
	if (ledger->fd < 0)
		return word_owner(read_at(semaphore->fd, 0)) == locker->number;
	return slot_held(read_at(ledger->fd, (off_t)(locker->number * sizeof(uint64_t))));
}

/* --- the memory, mapped for as long as something is done to it --------------------------------- */

struct shared {
	uint64_t *word;
	uint64_t *slots; /* NULL with one permit */
};

static void *map(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap_shared(struct shared *shared)
{
	if (shared->word)
		munmap(shared->word, sizeof(*shared->word));
	if (shared->slots)
		munmap(shared->slots, LEDGER_SIZE);
}

static int map_shared(const struct ledger *ledger, const struct semaphore *semaphore,
		      struct shared *ret)
{
	*ret = (struct shared){.word = map(semaphore->fd, sizeof(*ret->word))};
	if (ret->word && ledger->fd >= 0)
		ret->slots = map(ledger->fd, LEDGER_SIZE);
	if (ret->word && (ret->slots || ledger->fd < 0))
		return 0;
	unmap_shared(ret);
	return -ENOMEM;
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *p, uint64_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static bool exchange(uint64_t *p, uint64_t expected, uint64_t value)
{
	return __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

/* BURY_UNOWN, BURY_CLEAR */
static void end_operation(uint64_t *word)
{
	__atomic_fetch_and(word, ~WORD_OPERATION, __ATOMIC_ACQ_REL);
}

/* The word with so many more permits free, but never more than there are: what others have posted
 * without taking it is not made worse. */
static uint64_t give(const struct ledger *ledger, uint64_t word, uint32_t permits)
{
	uint32_t free_now = word_value(word);
	uint32_t room = free_now < ledger->permits ? ledger->permits - free_now : 0;

	return word + (permits < room ? permits : room);
}

/* --- burying ---------------------------------------------------------------------------------- */

/* One burial: the process behind the number is dead. Daemons may die here too, and the next one
 * begins anew: no step is repeated that has been done. */
struct burial {
	const struct ledger *ledger;
	const struct shared *shared;
	const struct locker *locker;
	uint32_t given;
	enum ledger_answer answer;
};

static uint64_t death_mark(const struct burial *burial)
{
	return burial->locker->until_exit ? 0 : WORD_DIED;
}

static void bury_one_permit(struct burial *burial)
{
	uint64_t *word = burial->shared->word;

	for (int i = 0; i < TRIES; i++) {
		uint64_t d = load(word);
		if (word_owner(d) != burial->locker->number) {
			burial->answer = LEDGER_DONE;
			return;
		}
		/* BURY_GIVE */
		uint64_t after = give(burial->ledger, d & ~WORD_OWNER, 1) | death_mark(burial);
		if (exchange(word, d, after))
			burial->given += word_value(after) - word_value(d);
	}
}

/* What the slot comes to hold by the operation that its owner, or a daemon before us, died in. */
static uint32_t held_after(uint64_t word, uint64_t slot)
{
	uint32_t held = slot_held(slot);

	if (slot & SLOT_ALL)
		return 0;
	if (word & WORD_GIVE)
		return held > 0 ? held - 1 : 0;
	return held < SLOT_HELD ? held + 1 : held;
}

/* BURY_FINISH: the word was changed; whether the slot was too, its count says. */
static void finish_operation(struct burial *burial, uint64_t word)
{
	uint64_t *slot = &burial->shared->slots[burial->locker->number];
	uint64_t s = load(slot);

	if ((word & WORD_PARITY) == slot_parity(s))
		store(slot, slot_next(s, held_after(word, s)));
	end_operation(burial->shared->word);
}

/* Gives back all that is held, as the last operation of the number's. Returns whether it did. */
static bool give_all(struct burial *burial, uint64_t d)
{
	uint64_t *slot = &burial->shared->slots[burial->locker->number];
	/* BURY_MARK */
	uint64_t s = load(slot) | SLOT_ALL;
	store(slot, s);
	/* BURY_GIVE */
	uint64_t after = give(burial->ledger, d, slot_held(s)) |
			 word_of_owner(burial->locker->number) | slot_parity(s) | WORD_GIVE |
			 death_mark(burial);
	if (!exchange(burial->shared->word, d, after))
		return false;
	burial->given = word_value(after) - word_value(d);
	/* BURY_COUNT */
	store(slot, slot_next(s, 0));
	end_operation(burial->shared->word);
	return true;
}

static void bury_several(struct burial *burial)
{
	const uint64_t *slot = &burial->shared->slots[burial->locker->number];

	for (int i = 0; i < TRIES; i++) {
		uint64_t d = load(burial->shared->word);
		if (word_owner(d) == burial->locker->number) {
			finish_operation(burial, d);
			continue;
		}
		/* A sharer wrote a number there that nobody has. */
		if (word_owner(d) != 0 && !is_given(burial->ledger, word_owner(d))) {
			end_operation(burial->shared->word);
			continue;
		}
		bool is_done = slot_held(load(slot)) == 0;
		/* Somebody else's operation is under way: it takes a dozen instructions, or as long as
		 * its process is stopped, and nobody waits for that here. */
		if (!is_done && word_owner(d) != 0)
			return;
		if (is_done || give_all(burial, d)) {
			burial->answer = LEDGER_DONE;
			return;
		}
	}
}

static void bury_one(void *context)
{
	struct burial *burial = context;

	if (burial->shared->slots)
		bury_several(burial);
	else
		bury_one_permit(burial);
}

static enum ledger_answer bury(const struct ledger *ledger, const struct shared *shared,
			       const struct locker *locker, uint32_t *ret_given)
{
	struct burial burial = {ledger, shared, locker, 0, LEDGER_LATER};
	int r = guard_run(bury_one, &burial);

	*ret_given = burial.given;
	return r < 0 ? LEDGER_DAMAGED : burial.answer;
}

static enum ledger_answer bury_dead(struct ledger *ledger, const struct shared *shared,
				    ledger_buried_fn *fn, void *context)
{
	enum ledger_answer answer = LEDGER_DONE;
	struct locker *locker, *next;
	uint32_t given;

	DL_FOREACH_SAFE (ledger->lockers, locker, next) {
		if (!locker->is_dead)
			continue;
		enum ledger_answer one = bury(ledger, shared, locker, &given);
		if (given > 0)
			fn(locker, given, context);
		if (one > answer)
			answer = one;
		if (one != LEDGER_LATER)
			locker_free(locker);
	}
	return answer;
}

enum ledger_answer ledger_bury(struct ledger *ledger, const struct semaphore *semaphore,
			       ledger_buried_fn *fn, void *context)
{
	struct shared shared;

	if (ledger->n_dead == 0)
		return LEDGER_DONE;
	if (map_shared(ledger, semaphore, &shared) < 0)
		return LEDGER_LATER;
	enum ledger_answer answer = bury_dead(ledger, &shared, fn, context);
	/* BURY_WAKE: they may have died between their release and its wake-up, or just woken. */
	word_wake(shared.word, WAKES);
	unmap_shared(&shared);
	return answer;
}

/* --- programs that opened the semaphore by name ------------------------------------------------ */

/* What is missing: neither free nor held by a number. */
struct audit {
	const struct ledger *ledger;
	const struct shared *shared;
	bool is_exact; /* false: operations were under way */
	uint32_t missing;
	uint64_t word; /* as it stood */
	uint32_t given;
	bool is_done;
};

/* An owner whose number nobody has: a sharer wrote it there. */
static uint64_t without_stranger(const struct audit *audit, uint64_t word)
{
	return word_owner(word) != 0 && !is_given(audit->ledger, word_owner(word))
		       ? word & ~WORD_OPERATION
		       : word;
}

static void count_missing(struct audit *audit, uint64_t held)
{
	uint64_t known = word_value(audit->word) + held;

	audit->missing = known < audit->ledger->permits ? (uint32_t)(audit->ledger->permits - known)
							: 0;
}

/* The sum of what is held, and a sum over the slots that differs after any operation. */
static uint64_t scan(const struct audit *audit, uint64_t *ret_check)
{
	const struct locker *locker;
	uint64_t held = 0;

	*ret_check = 0;
	DL_FOREACH (audit->ledger->lockers, locker) {
		uint64_t slot = load(&audit->shared->slots[locker->number]);
		held += slot_held(slot);
		*ret_check += slot >> SLOT_COUNT_SHIFT;
	}
	return held;
}

/* RAW_SCAN. Two scans that find the same counts mean that every slot stood as found in the moment
 * between them, in which the word was read. */
static void look_for_missing(void *context)
{
	struct audit *audit = context;
	uint64_t before, after;

	for (int i = 0; i < SCANS && !audit->is_exact; i++) {
		uint64_t held = audit->shared->slots ? scan(audit, &before) : 0;
		audit->word = load(audit->shared->word);
		uint64_t word = without_stranger(audit, audit->word);
		if (!audit->shared->slots) {
			audit->is_exact = true;
			held = word_owner(word) != 0;
		} else {
			scan(audit, &after);
			audit->is_exact = word_owner(word) == 0 && before == after;
		}
		count_missing(audit, held);
	}
}

/* RAW_GIVE. With several permits the missing ones stay missing whatever the others do meanwhile; with
 * one, only for as long as the word stands as it was read. */
static void give_missing(void *context)
{
	struct audit *audit = context;

	for (int i = 0; i < TRIES; i++) {
		uint64_t d = audit->shared->slots ? load(audit->shared->word) : audit->word;
		uint64_t after = without_stranger(audit, d) & ~WORD_WAITERS;
		if (audit->missing > 0)
			after = give(audit->ledger, after, audit->missing) | WORD_DIED;
		audit->is_done = exchange(audit->shared->word, d, after);
		if (audit->is_done)
			audit->given = word_value(after) - word_value(d);
		if (audit->is_done || !audit->shared->slots)
			return;
	}
}

static enum ledger_answer settle_under_lease(struct audit *audit)
{
	audit->is_exact = false;
	if (guard_run(look_for_missing, audit) < 0)
		return LEDGER_DAMAGED;
	if (!audit->is_exact)
		return LEDGER_LATER;
	if (guard_run(give_missing, audit) < 0)
		return LEDGER_DAMAGED;
	return audit->is_done ? LEDGER_DONE : LEDGER_LATER;
}

/* Whether something may have to be done: a permit is missing, or the word counts sleepers of
 * sem_wait(3). The count of those who were killed asleep would make every release wake nobody. */
static bool is_suspicious(const struct audit *audit)
{
	return audit->missing > 0 || !audit->is_exact || audit->word & WORD_WAITERS;
}

static enum ledger_answer settle_raw(struct audit *audit, const struct semaphore *semaphore)
{
	if (guard_run(look_for_missing, audit) < 0)
		return LEDGER_DAMAGED;
	if (!is_suspicious(audit))
		return LEDGER_DONE;
	/* RAW_LEASE */
	if (lease_take(semaphore->fd) != LEASE_SOLE_USER)
		return LEDGER_LATER;
	enum ledger_answer answer = settle_under_lease(audit);
	/* RAW_UNLEASE */
	lease_give(semaphore->fd);
	return answer;
}

/* Whether somebody may be asleep although a permit is free. */
static bool is_slept_on(uint64_t word)
{
	return word_value(word) > 0 && word & (WORD_WAITERS | WORD_SLEEPS);
}

static void look_at_word(void *context)
{
	struct audit *audit = context;

	audit->word = load(audit->shared->word);
}

void ledger_wake_sleepers(const struct ledger *ledger, const struct semaphore *semaphore)
{
	struct shared shared;
	struct audit audit = {.ledger = ledger, .shared = &shared};

	if (map_shared(ledger, semaphore, &shared) < 0)
		return;
	if (guard_run(look_at_word, &audit) == 0 && is_slept_on(audit.word))
		word_wake(shared.word, FEW_WAKES);
	unmap_shared(&shared);
}

enum ledger_answer ledger_settle_raw(struct ledger *ledger, const struct semaphore *semaphore,
				     uint32_t *ret_given)
{
	struct shared shared;
	struct audit audit = {.ledger = ledger, .shared = &shared};

	*ret_given = 0;
	if (map_shared(ledger, semaphore, &shared) < 0)
		return LEDGER_LATER;
	enum ledger_answer answer = settle_raw(&audit, semaphore);
	*ret_given = audit.given;
	/* RAW_WAKE, whatever came of it: one that was killed may have swallowed somebody's wake-up. */
	if (audit.given > 0 || is_slept_on(audit.word))
		word_wake(shared.word, WAKES);
	unmap_shared(&shared);
	return answer;
}

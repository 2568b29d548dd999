/* SPDX-License-Identifier: MIT */
/*
 * Giving back in whatever an enemy may have written: any word and slots, a file of any length, living
 * and dead numbers, and changes while it is done. It returns, it never makes more permits free than
 * there are (unless they were), it touches no slot of the living, and it frees the numbers of those that
 * it is done with.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "core/ledger.h"
#include "core/locker.h"
#include "core/semaphore.h"

#define LOCKERS 8
#define ROUNDS  16

static struct ledger ledger;
static struct semaphore semaphore;
static struct estate *emptied;
static struct estate estate;
static uint64_t *slots; /* of our own mapping; NULL with one permit */
static bool is_full;    /* somebody has all other numbers */

/* --- the memory -------------------------------------------------------------------------------- */

static uint64_t read_word(void)
{
	uint64_t word = 0;

	return pread(semaphore.fd, &word, sizeof(word), 0) > 0 ? word : 0;
}

static void write_word(uint64_t word)
{
	HOLDS(pwrite(semaphore.fd, &word, sizeof(word), 0) == sizeof(word));
}

static uint64_t take_word(struct input *input)
{
	unsigned form = take(input);
	uint64_t word;

	if (form % 4 == 0) {
		take_bytes(input, &word, sizeof(word));
		return word;
	}
	/* Few permits, one of our numbers, and any of the flags. */
	word = take(input) | (uint64_t)(take(input) % 16) << WORD_OWNER_SHIFT;
	return word | (uint64_t)(form / 4) << 58;
}

static uint64_t take_slot(struct input *input)
{
	unsigned form = take(input);
	uint64_t slot;

	if (form % 4 == 0) {
		take_bytes(input, &slot, sizeof(slot));
		return slot;
	}
	return form / 4 % 8 | (form & 128 ? SLOT_ALL : 0) |
	       (uint64_t)take(input) << SLOT_COUNT_SHIFT;
}

static void write_slots(struct input *input)
{
	for (unsigned i = 0; slots && i <= LOCKERS; i++)
		slots[i] = take_slot(input);
}

static void set_length(unsigned how)
{
	static const off_t lengths[] = {32, 32, 32, 0, 4, 8, 16, 4096};

	HOLDS(ftruncate(semaphore.fd, lengths[how % 8]) == 0);
}

/* --- checking ---------------------------------------------------------------------------------- */

static void check_free(uint64_t before)
{
	uint32_t was = word_value(before), is = word_value(read_word());
	uint32_t most = was > ledger.permits ? was : ledger.permits;

	HOLDS(is <= most);
}

static void check_books(void)
{
	struct locker *locker;
	unsigned n_dead = 0, n_kept = 0;

	DL_FOREACH (ledger.lockers, locker) {
		n_dead += locker->is_dead;
		n_kept += locker->until_exit && !locker->is_dead;
		HOLDS(ledger.taken[0] >> locker->number & 1);
	}
	HOLDS(n_dead == ledger.n_dead && n_kept == ledger.n_kept);
	HOLDS(fcntl(semaphore.fd, F_GETLEASE) == F_UNLCK);
}

static void on_buried(const struct locker *locker, uint32_t permits, void *context)
{
	uint64_t *total = context;

	HOLDS(locker->is_dead && permits > 0 && permits <= ledger.permits);
	*total += permits;
}

/* What the living hold is not the daemon's to write. */
static void remember_living(uint64_t ret[LOCKERS + 1])
{
	struct locker *locker;

	memset(ret, 0, (LOCKERS + 1) * sizeof(*ret));
	DL_FOREACH (ledger.lockers, locker)
		if (slots && !locker->is_dead)
			ret[locker->number] = slots[locker->number];
}

static void check_living(const uint64_t before[LOCKERS + 1])
{
	struct locker *locker;

	DL_FOREACH (ledger.lockers, locker)
		HOLDS(!slots || locker->is_dead || slots[locker->number] == before[locker->number]);
}

/* --- steps ------------------------------------------------------------------------------------- */

static void step_bury(void)
{
	uint64_t before = read_word(), living[LOCKERS + 1], total = 0;

	remember_living(living);
	enum ledger_answer answer = ledger_bury(&ledger, &semaphore, on_buried, &total);
	if (answer != LEDGER_LATER)
		HOLDS(ledger.n_dead == 0);
	HOLDS(total <= ledger.permits);
	if (total > 0)
		HOLDS(word_value(before) + total == word_value(read_word()));
	check_free(before);
	check_living(living);
}

static void step_settle(void)
{
	uint64_t before = read_word(), living[LOCKERS + 1];
	uint32_t given = UINT32_MAX;

	remember_living(living);
	enum ledger_answer answer = ledger_settle_raw(&ledger, &semaphore, &given);
	HOLDS(given == 0 || answer == LEDGER_DONE);
	HOLDS(word_value(read_word()) == word_value(before) + given);
	check_free(before);
	check_living(living);
}

static struct locker *locker_at(unsigned place)
{
	struct locker *locker;

	DL_FOREACH (ledger.lockers, locker)
		if (place-- == 0)
			return locker;
	return NULL;
}

static unsigned count_lockers(void)
{
	struct locker *locker;
	unsigned n = 0;

	DL_COUNT(ledger.lockers, locker, n);
	return n;
}

static void step_locker(unsigned how)
{
	struct locker *locker = locker_at(how / 4 % LOCKERS);

	if (how % 4 == 0 && count_lockers() < LOCKERS) {
		HOLDS(locker_new(&ledger, &estate, 1, 2, 3, &locker) == 0);
		HOLDS(locker->number <= LOCKERS);
	} else if (how % 4 == 0 && is_full) {
		HOLDS(locker_new(&ledger, &estate, 1, 2, 3, &locker) == -EDQUOT);
	} else if (how % 4 == 1 && locker) {
		ledger_note_death(locker);
	} else if (how % 4 == 2 && locker) {
		ledger_keep_until_exit(locker);
	} else if (locker) {
		HOLDS(ledger_held(&ledger, &semaphore, locker) <= INT32_MAX);
	}
}

static void step(struct input *input)
{
	unsigned what = take(input);

	switch (what % 8) {
	case 0:
		write_word(take_word(input));
		break;
	case 1:
		write_slots(input);
		break;
	case 2:
		set_length(what / 8);
		break;
	case 3:
	case 4:
		step_locker(what / 8);
		break;
	case 5:
	case 6:
		step_bury();
		break;
	case 7:
		if (what & 128)
			ledger_wake_sleepers(&ledger, &semaphore);
		else
			step_settle();
		break;
	}
	check_books();
}

/* --- beginning and end ------------------------------------------------------------------------- */

/* All numbers are given, but for those that our own lockers are to have. */
static void fill(void)
{
	for (unsigned i = 1; i <= WORD_NUMBER_MAX; i++)
		HOLDS(ledger_take_number(&ledger) == (int)i);
	HOLDS(ledger_take_number(&ledger) == -EDQUOT);
	ledger.taken[0] &= ~(((UINT64_C(1) << LOCKERS) - 1) << 1);
}

static void begin(struct input *input)
{
	static const unsigned permits[] = {1, 2, 3, 255, INT32_MAX};
	unsigned how = take(input);

	HOLDS(ledger_init(&ledger, permits[how % 5]) == 0);
	HOLDS((ledger.fd >= 0) == (ledger.permits > 1));
	emptied = NULL;
	estate_init(&estate, &emptied);
	set_length(0);
	write_word(ledger.permits);
	if (ledger.fd >= 0) {
		slots = mmap(NULL, LEDGER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ledger.fd, 0);
		HOLDS(slots != MAP_FAILED);
	}
	is_full = how & 64;
	if (is_full)
		fill();
	for (unsigned i = 0; i < how / 8 % LOCKERS; i++)
		step_locker(0);
}

static void end(void)
{
	if (slots)
		munmap(slots, LEDGER_SIZE);
	slots = NULL;
	ledger_fini(&ledger);
	HOLDS(!estate.lockers && !estate.left);
	estate_fini(&estate);
	HOLDS(!emptied);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char path[] = "/tmp/fuzz-ledger-XXXXXX";

	(void)argc, (void)argv;
	signal(SIGIO, SIG_IGN);
	HOLDS(guard_init() == 0);
	semaphore_init(&semaphore);
	semaphore.fd = mkstemp(path);
	HOLDS(semaphore.fd >= 0 && unlink(path) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};

	begin(&input);
	for (int i = 0; input.left > 0 && i < ROUNDS * LOCKERS; i++)
		step(&input);
	end();
	return 0;
}

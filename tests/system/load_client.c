/* SPDX-License-Identifier: MIT */
#include "load_client.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TIMEOUT_MS 30000
#define WAIT_TIMEOUT_MS 120000

struct self {
	const struct load_plan *plan;
	struct load_board *board;
	unsigned number;
	struct shmd *connection;
	uint64_t chance;
	unsigned scratch;   /* the number of the next segment that does not stay */
	uint64_t published; /* the number of what was published last */
	uint64_t *seen;     /* [clients]: the last generation that each was seen to publish */
	struct shmd_segment *held;
	unsigned held_since; /* the round */
	struct kept {
		struct shmd_segment *segment; /* NULL: it is persistent, and attached by nobody */
		uint64_t generation;
	} * kept;
	unsigned n_kept;
};

/* --- the board -------------------------------------------------------------------------------- */

static size_t board_size(const struct load_plan *plan)
{
	return sizeof(struct load_board) + plan->holders * sizeof(unsigned) + sizeof(uint64_t) +
	       (size_t)(plan->restarts + 1) * plan->clients * sizeof(uint64_t);
}

struct load_board *load_board_new(const struct load_plan *plan)
{
	char *bytes = mmap(NULL, board_size(plan), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct load_board *board = (struct load_board *)bytes;

	if (bytes == MAP_FAILED)
		abort();
	board->gaps = (uint64_t *)(board + 1);
	board->held = (unsigned *)(board->gaps + (size_t)(plan->restarts + 1) * plan->clients);
	return board;
}

void load_board_free(struct load_board *board, const struct load_plan *plan)
{
	munmap(board, board_size(plan));
}

void load_fail(struct load_board *board, const char *format, ...)
{
	va_list ap;

	if (__atomic_fetch_add(&board->failed, 1, __ATOMIC_SEQ_CST) > 0)
		return;
	va_start(ap, format);
	vsnprintf(board->first, sizeof(board->first), format, ap);
	va_end(ap);
}

static unsigned look(const unsigned *at)
{
	return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static bool change(unsigned *at, unsigned from, unsigned to)
{
	return __atomic_compare_exchange_n(at, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

static void raise_to(uint64_t *at, uint64_t value)
{
	uint64_t before = __atomic_load_n(at, __ATOMIC_RELAXED);

	while (before < value && !__atomic_compare_exchange_n(at, &before, value, false,
							      __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

uint64_t load_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* --- contents --------------------------------------------------------------------------------- */

void load_name(char ret[static LOAD_NAME_SIZE], const char *kind, unsigned number)
{
	snprintf(ret, LOAD_NAME_SIZE, "load-%s-%u", kind, number);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* From one byte to 64 KiB, and some of 1 MiB. */
size_t load_size(unsigned number)
{
	return number % 64 == 63 ? (size_t)1 << 20 : 1 + mix(number) % 65536;
}

enum shmd_lifetime load_lifetime(unsigned number)
{
	static const enum shmd_lifetime lifetimes[] = {SHMD_LIFETIME_CLIENTS,
						       SHMD_LIFETIME_PERSISTENT,
						       SHMD_LIFETIME_OWNER};

	return lifetimes[number % 3];
}

static uint64_t word_at(uint64_t number, size_t at)
{
	return mix(number * 1000003 + at);
}

void load_fill(struct shmd_segment *segment, uint64_t number)
{
	char *bytes = shmd_segment_data(segment);
	size_t size = shmd_segment_size(segment);

	for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
		uint64_t word = word_at(number, at);
		memcpy(bytes + at, &word, size - at < sizeof(word) ? size - at : sizeof(word));
	}
}

bool load_is_filled(const struct shmd_segment *segment, uint64_t number)
{
	const char *bytes = shmd_segment_data(segment);
	size_t size = shmd_segment_size(segment);

	for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
		uint64_t word = word_at(number, at);
		if (memcmp(bytes + at, &word,
			   size - at < sizeof(word) ? size - at : sizeof(word)) != 0)
			return false;
	}
	return true;
}

/* --- calls ------------------------------------------------------------------------------------ */

static unsigned chance(struct self *self, unsigned n)
{
	self->chance = self->chance * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(self->chance >> 33) % n;
}

struct call {
	uint64_t begin;
	unsigned round;
	bool was_restarting;
};

static struct call begin(struct self *self)
{
	return (struct call){.begin = load_now_ns(),
			     .round = look(&self->board->round),
			     .was_restarting = look(&self->board->is_restarting)};
}

/* How long it took is a gap if there was a restart meanwhile. */
static void end(struct self *self, const struct call *call)
{
	struct load_board *board = self->board;
	uint64_t took = load_now_ns() - call->begin;
	bool is_restarting = look(&board->is_restarting);
	unsigned round = look(&board->round);

	__atomic_add_fetch(&board->calls, 1, __ATOMIC_RELAXED);
	if (!call->was_restarting && !is_restarting && round == call->round)
		raise_to(&board->quiet_worst_ns, took);
	else
		raise_to(&board->gaps[(size_t)round * self->plan->clients + self->number], took);
}

/* Ends the process's work if the result is neither good nor the one that may be. Returns the result. */
static int expect(struct self *self, const char *what, const char *name, int r, int may_be)
{
	if (r == 0 || r == may_be)
		return r;
	if (!name)
		name = "without a name";
	load_fail(self->board, "client %u, %s %s: %d %s, after %u restarts%s", self->number, what,
		  name, r, r < 0 ? shmd_error_message() : "", look(&self->board->round),
		  look(&self->board->is_restarting) ? ", within one" : "");
	exit(1);
}

#define CALL(self, what, name, may_be, expression)    \
	({                                            \
		struct call call_ = begin(self);      \
		int r_ = (expression);                \
		end(self, &call_);                    \
		expect(self, what, name, r_, may_be); \
	})

static void detach(struct self *self, struct shmd_segment *segment)
{
	struct call call = begin(self);

	shmd_detach(segment);
	end(self, &call);
}

static struct shmd_segment *create(struct self *self, const char *name, size_t size,
				   enum shmd_lifetime lifetime)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment = NULL;

	options.lifetime = lifetime;
	CALL(self, "create", name, 0,
	     shmd_create(self->connection, name, size, &options, &segment));
	return segment;
}

/* NULL: there is none, and that may be. */
static struct shmd_segment *attach(struct self *self, const char *name, int flags, int may_be)
{
	struct shmd_segment *segment = NULL;

	CALL(self, "attach", name, may_be, shmd_attach(self->connection, name, flags, &segment));
	return segment;
}

static void check(struct self *self, bool is_good, const char *what, const char *name)
{
	if (is_good)
		return;
	load_fail(self->board, "client %u: %s: %s, after %u restarts", self->number, name, what,
		  look(&self->board->round));
	exit(1);
}

/* --- what a client does ----------------------------------------------------------------------- */

/* A segment of its own comes and goes. */
static void make_one(struct self *self)
{
	char kind[16], name[LOAD_NAME_SIZE];
	unsigned number = self->scratch++;
	bool is_persistent = number % 2;

	snprintf(kind, sizeof(kind), "own%u", self->number);
	load_name(name, kind, number);
	struct shmd_segment *segment = create(self, name, 100 + number % 20000,
					      is_persistent ? SHMD_LIFETIME_PERSISTENT
							    : SHMD_LIFETIME_CLIENTS);
	load_fill(segment, number);
	struct shmd_segment *again = attach(self, name, 0, 0);
	check(self, shmd_segment_generation(segment) == shmd_segment_generation(again),
	      "is another one at once", name);
	check(self, load_is_filled(again, number), "has another content at once", name);
	detach(self, again);
	if (is_persistent || number % 4 == 0) {
		CALL(self, "unlink", name, 0, shmd_unlink(self->connection, name));
		check(self, !attach(self, name, 0, -ENOENT), "is there when unlinked", name);
	}
	detach(self, segment);
}

/* One that stays, of anybody's. */
static void read_one(struct self *self)
{
	unsigned number = chance(self, self->plan->segments);
	char name[LOAD_NAME_SIZE];

	load_name(name, "keep", number);
	struct shmd_segment *segment = attach(self, name, chance(self, 2) ? SHMD_READ_ONLY : 0, 0);
	check(self, load_is_filled(segment, number), "its content is another one", name);
	detach(self, segment);
}

/* A number that says whose and which it is. */
static uint64_t published_number(unsigned client, uint64_t n)
{
	return ((uint64_t)client << 32) + n;
}

static void publish_one(struct self *self)
{
	char name[LOAD_NAME_SIZE];
	uint64_t number = published_number(self->number, ++self->published);
	struct shmd_segment *segment = create(self, NULL, 1000, SHMD_LIFETIME_CLIENTS);

	load_name(name, "pub", self->number);
	load_fill(segment, number);
	memcpy(shmd_segment_data(segment), &number, sizeof(number));
	CALL(self, "publish", name, 0, shmd_publish(segment, name, 0));
	uint64_t generation = shmd_segment_generation(segment);
	detach(self, segment);
	segment = attach(self, name, SHMD_READ_ONLY, 0);
	check(self, shmd_segment_generation(segment) == generation,
	      "is not what was published last", name);
	check(self, memcmp(shmd_segment_data(segment), &number, sizeof(number)) == 0,
	      "has not the content that was published last", name);
	check(self, generation > self->seen[self->number], "its generation went back", name);
	self->seen[self->number] = generation;
	detach(self, segment);
}

static void read_published(struct self *self)
{
	unsigned whose = chance(self, self->plan->clients);
	char name[LOAD_NAME_SIZE];
	uint64_t number;

	load_name(name, "pub", whose);
	struct shmd_segment *segment = attach(self, name, SHMD_READ_ONLY,
					      self->seen[whose] ? 0 : -ENOENT);
	if (!segment)
		return;
	memcpy(&number, shmd_segment_data(segment), sizeof(number));
	check(self, number >> 32 == whose, "is another client's", name);
	check(self, shmd_segment_generation(segment) >= self->seen[whose],
	      "its generation went back", name);
	self->seen[whose] = shmd_segment_generation(segment);
	detach(self, segment);
}

/* Nobody else is inside, and no time inside is lost: the counter in the segment is a plain one. */
static void lock_one(struct self *self)
{
	unsigned which = chance(self, LOAD_SHARED_LOCKS);
	struct load_board *board = self->board;
	char name[LOAD_NAME_SIZE];

	load_name(name, "lock", which);
	struct shmd_segment *segment = attach(self, name, 0, 0);
	volatile uint64_t *counter = shmd_segment_data(segment);
	expect(self, "acquire", name, shmd_acquire(segment, LOCK_TIMEOUT_MS), 0);
	check(self, change(&board->inside[which], 0, self->number + 1), "was doubled", name);
	uint64_t before = *counter;
	if (chance(self, 4) == 0)
		sched_yield();
	*counter = before + 1;
	__atomic_add_fetch(&board->taken[which], 1, __ATOMIC_SEQ_CST);
	check(self, change(&board->inside[which], self->number + 1, 0), "was doubled", name);
	expect(self, "release", name, shmd_release(segment), 0);
	detach(self, segment);
}

/* A lock that is held all the while is not to be had; or is, if its holder says that it is not held. */
static void try_held(struct self *self)
{
	unsigned whose = self->plan->holders ? chance(self, self->plan->holders) : 0;
	unsigned *held = &self->board->held[whose];
	char name[LOAD_NAME_SIZE];

	if (whose == self->number || !self->plan->holders)
		return;
	load_name(name, "held", whose);
	struct shmd_segment *segment = attach(self, name, 0, 0);
	if (expect(self, "try", name, shmd_acquire(segment, 0), -EAGAIN) == 0) {
		check(self, change(held, HELD_BY_NOBODY, HELD_BY_ANOTHER), "was doubled", name);
		check(self, change(held, HELD_BY_ANOTHER, HELD_BY_NOBODY), "was doubled", name);
		expect(self, "release", name, shmd_release(segment), 0);
	}
	detach(self, segment);
}

static void show_one(struct self *self)
{
	unsigned number = chance(self, self->plan->segments);
	struct shmd_details *details = NULL;
	char name[LOAD_NAME_SIZE];

	load_name(name, "keep", number);
	CALL(self, "show", name, 0, shmd_show(self->connection, name, &details));
	check(self, details->segment->size == load_size(number), "its size is another one", name);
	shmd_details_free(details);
}

static void unlink_none(struct self *self)
{
	check(self,
	      CALL(self, "unlink", "load-none", -ENOENT,
		   shmd_unlink(self->connection, "load-none")) != 0,
	      "could be unlinked", "load-none");
}

/* --- the holder's lock ------------------------------------------------------------------------ */

static void take_held(struct self *self)
{
	expect(self, "acquire", shmd_segment_name(self->held),
	       shmd_acquire(self->held, LOCK_TIMEOUT_MS), 0);
	check(self, change(&self->board->held[self->number], HELD_BY_NOBODY, HELD_BY_HOLDER),
	      "was doubled", shmd_segment_name(self->held));
	self->held_since = look(&self->board->round);
}

static void give_held(struct self *self)
{
	unsigned through = look(&self->board->round) - self->held_since;

	check(self, change(&self->board->held[self->number], HELD_BY_HOLDER, HELD_BY_NOBODY),
	      "was doubled", shmd_segment_name(self->held));
	expect(self, "release", shmd_segment_name(self->held), shmd_release(self->held), 0);
	__atomic_add_fetch(&self->board->held_through, through, __ATOMIC_RELAXED);
}

/* It is let go of only for a moment, and when it has been held through a restart, which is over. */
static void renew_held(struct self *self)
{
	if (!self->held || look(&self->board->round) == self->held_since ||
	    look(&self->board->is_restarting) || chance(self, 20) > 0)
		return;
	give_held(self);
	take_held(self);
}

/* --- a client --------------------------------------------------------------------------------- */

typedef void deed_fn(struct self *self);

static deed_fn *const deeds[] = {make_one, make_one, read_one, publish_one, read_published,
				 lock_one, lock_one, try_held, show_one,    unlink_none};

static void rest(struct self *self)
{
	if (self->plan->pause_us)
		usleep(chance(self, 2 * self->plan->pause_us));
}

/* Until the driver lets all go on together. */
static void arrive(struct self *self, enum load_phase phase)
{
	__atomic_add_fetch(&self->board->arrived[phase], 1, __ATOMIC_SEQ_CST);
	while (look(&self->board->phase) == phase)
		usleep(1000);
}

static void make_kept(struct self *self, unsigned number)
{
	struct kept *kept = &self->kept[self->n_kept++];
	char name[LOAD_NAME_SIZE];

	load_name(name, "keep", number);
	kept->segment = create(self, name, load_size(number), load_lifetime(number));
	kept->generation = shmd_segment_generation(kept->segment);
	load_fill(kept->segment, number);
	if (load_lifetime(number) == SHMD_LIFETIME_PERSISTENT) {
		detach(self, kept->segment);
		kept->segment = NULL;
	}
}

static void make(struct self *self)
{
	char name[LOAD_NAME_SIZE];

	for (unsigned i = self->number; i < self->plan->segments; i += self->plan->clients)
		make_kept(self, i);
	if (self->number >= self->plan->holders)
		return;
	load_name(name, "held", self->number);
	self->held = create(self, name, 8, SHMD_LIFETIME_OWNER);
	take_held(self);
}

/* What it had from the beginning is what it was, here and to be found by its name. */
static void check_kept(struct self *self, unsigned number, const struct kept *kept)
{
	char name[LOAD_NAME_SIZE];

	load_name(name, "keep", number);
	struct shmd_segment *found = attach(self, name, 0, 0);
	check(self, shmd_segment_generation(found) == kept->generation, "is another one", name);
	check(self, shmd_segment_size(found) == load_size(number), "has another size", name);
	check(self, load_is_filled(found, number), "has another content", name);
	if (kept->segment) {
		check(self, load_is_filled(kept->segment, number), "has another content here",
		      name);
		/* They are one. */
		*(char *)shmd_segment_data(kept->segment) ^= 1;
		check(self, !load_is_filled(found, number), "is two", name);
	}
	detach(self, found);
}

static void check_all_kept(struct self *self)
{
	for (unsigned i = 0; i < self->n_kept; i++)
		check_kept(self, self->number + i * self->plan->clients, &self->kept[i]);
}

static void leave(struct self *self)
{
	char name[LOAD_NAME_SIZE];

	for (unsigned i = 0; i < self->n_kept; i++) {
		load_name(name, "keep", self->number + i * self->plan->clients);
		if (self->kept[i].segment)
			detach(self, self->kept[i].segment);
		else
			CALL(self, "unlink", name, 0, shmd_unlink(self->connection, name));
	}
	load_name(name, "pub", self->number);
	if (self->published)
		CALL(self, "unlink", name, 0, shmd_unlink(self->connection, name));
	if (self->held)
		detach(self, self->held);
	shmd_disconnect(self->connection);
	free(self->kept);
	free(self->seen);
}

static void join(struct self *self)
{
	self->chance = mix(self->plan->seed + self->number);
	self->kept = calloc(self->plan->segments / self->plan->clients + 1, sizeof(*self->kept));
	self->seen = calloc(self->plan->clients, sizeof(*self->seen));
	CALL(self, "connect", "", 0, shmd_connect(&self->connection, NULL));
}

bool load_client(const struct load_plan *plan, struct load_board *board, unsigned number)
{
	struct self self = {.plan = plan, .board = board, .number = number};

	join(&self);
	make(&self);
	arrive(&self, PHASE_MAKING);
	while (look(&board->phase) == PHASE_WORK) {
		deeds[chance(&self, sizeof(deeds) / sizeof(deeds[0]))](&self);
		renew_held(&self);
		rest(&self);
	}
	if (self.held)
		give_held(&self);
	/* Before anybody's own is changed. */
	__atomic_add_fetch(&board->arrived[PHASE_WORK], 1, __ATOMIC_SEQ_CST);
	while (look(&board->arrived[PHASE_WORK]) < plan->clients && !look(&board->failed))
		usleep(1000);
	check_all_kept(&self);
	arrive(&self, PHASE_REST);
	leave(&self);
	return true;
}

/* --- a waiter --------------------------------------------------------------------------------- */

bool load_waiter(const struct load_plan *plan, struct load_board *board, unsigned number)
{
	struct self self = {.plan = plan, .board = board, .number = number};
	char kind[16], name[LOAD_NAME_SIZE];

	expect(&self, "connect", "", shmd_connect(&self.connection, NULL), 0);
	snprintf(kind, sizeof(kind), "wait%u", number);
	for (unsigned round = 1; round <= plan->restarts; round++) {
		struct shmd_segment *segment = NULL;
		load_name(name, kind, round);
		expect(&self, "wait", name,
		       shmd_wait(self.connection, name, 0, WAIT_TIMEOUT_MS, SHMD_READ_ONLY,
				 &segment),
		       0);
		check(&self, load_is_filled(segment, round), "has another content", name);
		shmd_detach(segment);
		__atomic_add_fetch(&board->waited, 1, __ATOMIC_SEQ_CST);
	}
	shmd_disconnect(self.connection);
	return true;
}

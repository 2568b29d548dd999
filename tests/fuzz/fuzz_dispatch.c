/* SPDX-License-Identifier: MIT */
/*
 * Requests of several clients of several users, against all of the daemon but its sockets and its
 * loop: what the loop does is done by the input, in any order, and time passes as the input says.
 * A policy with administrators is in force, and another one by and by; limits are small; memory and
 * descriptors run out; users have their waits held, as those have that do not read. Processes die, with whatever the input wrote to semaphores and ledgers, and
 * what they held may live on. Each answer must be one that its request may have (answers.h), after
 * each step the books must agree (books.h), and at the end they must be empty (world.h).
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "answers.h"
#include "asking.h"
#include "books.h"
#include "law.h"
#include "limits.h"
#include "shortage.h"
#include "waiting.h"
#include "wire/word.h"
#include "world.h"

#define STEPS_MAX 400

/* --- clients that come, ask and go -------------------------------------------------------------- */

static void step_connect(struct input *input, unsigned place)
{
	unsigned how = take(input);

	world_connect(place, &people[how % PEOPLE],
		      how / PEOPLE % 8 == 7 ? how / 64 * 2 : WIRE_VERSION,
		      how / PEOPLE % 8 == 6 ? 32 : 8 * sizeof(void *), how / PEOPLE % 8 != 5);
}

static void step_request(struct input *input, unsigned place, unsigned op)
{
	unsigned keep = take(input) % HELD;

	if (clients[place])
		world_serve(clients[place], asking_one(input, op), keep);
}

static void step_batch(struct input *input, unsigned place)
{
	unsigned keep = take(input) % HELD;

	if (clients[place])
		world_serve(clients[place], asking_batch(input), keep);
}

static void step_bytes(struct input *input, unsigned place)
{
	size_t size = take(input);

	take_bytes(input, server.in, size);
	if (clients[place])
		world_serve(clients[place], size, 0);
}

/* --- who has something, and does what it likes -------------------------------------------------- */

/* A word, or a slot, that means something in most cases. */
static uint64_t take_word(struct input *input)
{
	unsigned form = take(input);
	uint64_t word;

	if (form % 4 == 0) {
		take_bytes(input, &word, sizeof(word));
		return word;
	}
	word = take(input) | (uint64_t)(take(input) % 8) << WORD_OWNER_SHIFT;
	return word | (uint64_t)(form / 4) << 58;
}

static struct segment *take_lockable(struct input *input)
{
	struct segment *segment = world_segment(asking_id(input));

	return segment && segment->semaphore.fd >= 0 ? segment : NULL;
}

static void step_memory(struct input *input)
{
	static const off_t sizes[] = {0, 4, 16, 32, 4096, 1 << 20};
	struct segment *segment = take_lockable(input);
	unsigned where = take(input);
	uint64_t word = take_word(input);

	if (!segment)
		return;
	if (where % 8 == 7)
		HOLDS(ftruncate(segment->semaphore.fd, sizes[where / 8 % 6]) == 0);
	else if (where % 8 > 3 && segment->ledger.fd >= 0)
		HOLDS(pwrite(segment->ledger.fd, &word, sizeof(word), where / 8 * 8) == 8);
	else
		HOLDS(pwrite(segment->semaphore.fd, &word, sizeof(word), 0) == 8);
}

/* A program opens the semaphore by name, and closes another that it had. */
static void step_by_name(struct input *input, unsigned place)
{
	struct segment *segment = take_lockable(input);
	char file[64];
	int fd;

	place += take(input) % HELD;
	world_drop(place);
	if (!segment || !segment->semaphore.name[0])
		return;
	snprintf(file, sizeof(file), "sem.%s", segment->semaphore.name);
	fd = openat(server.registry->instance.folder, file, O_RDWR | O_CLOEXEC);
	HOLDS(fd >= 0);
	world_hold(clients[place % CLIENTS], place, fd);
}

/* Seals and sizes, by what somebody holds or, where the segment may be sealed, has mapped. */
static void step_seal(struct input *input)
{
	static const int seals[] = {F_SEAL_WRITE, F_SEAL_SEAL, F_SEAL_FUTURE_WRITE, F_SEAL_GROW};
	unsigned which = take(input);
	struct segment *segment = world_segment(asking_id(input));
	int fd = which & 128 ? world_held(which) : segment ? segment->fd : -1;

	if (fd < 0)
		return;
	fcntl(fd, F_ADD_SEALS, seals[which / 16 % 4]);
	/* Whether that may be, the books see. */
	if (which & 64 && ftruncate(fd, which % 16) < 0)
		HOLDS(errno == EPERM || errno == EINVAL);
}

/* --- the loop, and times of want --------------------------------------------------------------- */

static void step_time(unsigned how)
{
	now += UINT64_C(1) << how % 52;
	if (how & 64)
		registry_run_timers(server.registry, now);
}

static void step_registry(unsigned how)
{
	shortage_begin();
	if (how % 4 == 0)
		registry_run_timers(server.registry, now);
	else if (how % 4 == 1)
		registry_settle_some(server.registry, how / 4 % 8, now);
	else
		registry_read_watch(server.registry, now);
	shortage_end();
}

static void step_waits(unsigned how)
{
	if ((how & 32) == 0)
		world_wake(how & 64 ? WAKE_BEHIND : WAKE_ANSWER);
	else if (how & 64)
		world_wake(WAKE_HELD);
	else
		waiting_release(&people[how / 4 % PEOPLE]);
}

static void step_loop(unsigned how)
{
	if (how % 4 < 3)
		step_registry(how);
	else if (how & 128)
		step_waits(how);
	else if (how & 64)
		world_notify(how & 32);
	else if ((how & 32) == 0)
		world_close_some(how / 4);
	else if (how & 16)
		world_lose_events();
	else
		world_put_processes();
}

/* For the next thing that is done. */
static void step_shortage(unsigned how)
{
	unsigned left = how / 2 % 64;

	if (how & 1)
		shortage_plan(left % 8, SHORTAGE_NONE);
	else
		shortage_plan(SHORTAGE_NONE, left);
}

/* --- all steps --------------------------------------------------------------------------------- */

static void step_resume(unsigned place)
{
	if (clients[place])
		world_resume(clients[place]);
}

static void step_other(struct input *input, unsigned what, unsigned place)
{
	switch (what) {
	case 0:
		step_connect(input, place);
		break;
	case 1:
		world_disconnect(place);
		break;
	case 2:
		step_time(take(input));
		break;
	case 3:
	case 4:
		step_loop(take(input));
		break;
	case 5:
		world_drop(take(input));
		break;
	case 6:
		step_resume(place);
		break;
	case 7:
		world_die(place / 2, place & 1);
		break;
	case 8:
		limits_take(input, &server.registry->quota);
		break;
	case 9:
		law_take(input, server.registry);
		break;
	case 10:
		step_bytes(input, place);
		break;
	case 11:
		step_seal(input);
		break;
	case 12:
		step_memory(input);
		break;
	case 13:
		step_by_name(input, place);
		break;
	case 14:
		world_inherit(place, take(input));
		break;
	case 15:
		step_shortage(take(input));
		break;
	}
}

static void step(struct input *input)
{
	unsigned what = take(input), place = what / 32 % CLIENTS;

	what %= 32;
	now++;
	if (what < 16)
		step_other(input, what, place);
	else if (what == 16)
		step_batch(input, place);
	else
		step_request(input, place, WIRE_CREATE + what - 17);
	books_check();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	world_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	unsigned how = take(&input);
	bool is_orderly = take(&input) % 16 < 15;

	world_begin(how);
	for (int i = 0; input.left > 0 && i < STEPS_MAX; i++)
		step(&input);
	world_end(is_orderly);
	return 0;
}

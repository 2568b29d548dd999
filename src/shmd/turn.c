/* SPDX-License-Identifier: MIT */
#include "shmd/turn.h"

#include <stddef.h>
#include <utlist.h>

#include "base/clock.h"

/* How long nobody looks whether others have come: that costs about one microsecond. */
#define SLICE_NS (20 * NSEC_PER_USEC)

void turn_init(struct turn *turn, struct turns *turns, turn_fn *serve)
{
	*turn = (struct turn){.turns = turns, .serve = serve};
}

void turn_fini(struct turn *turn)
{
	struct turns *turns = turn->turns;

	if (!turns)
		return;
	if (turn->is_due)
		DL_DELETE(turns->due, turn);
	turn->is_due = false;
	if (turns->current == turn)
		turns->current = NULL;
}

/* Of those that start together, the one that came, before those that have been at it. */
static int by_start(const struct turn *a, const struct turn *b)
{
	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->is_new || !b->is_new ? -1 : 1;
}

static void make_due(struct turns *turns, struct turn *turn, bool is_new)
{
	turn->is_due = true;
	turn->is_new = is_new;
	/* Whoever has just been served mostly belongs behind all others. */
	if (!turns->due || by_start(turns->due->prev, turn) < 0)
		DL_APPEND(turns->due, turn);
	else
		DL_INSERT_INORDER(turns->due, turn, by_start);
}

void turn_ask(struct turn *turn)
{
	if (turn->turns->current == turn)
		turn->turns->asks_again = true;
	if (turn->is_due || turn->turns->current == turn)
		return;
	/* Time that was not used before is nobody's to claim now. */
	if (turn->start < turn->turns->now)
		turn->start = turn->turns->now;
	make_due(turn->turns, turn, true);
}

/* Returns what it took. */
static uint64_t serve_first(struct turns *turns, uint64_t began)
{
	struct turn *turn = turns->due;

	DL_DELETE(turns->due, turn);
	turn->is_due = false;
	if (turns->now < turn->start)
		turns->now = turn->start;
	turns->current = turn;
	turns->asks_again = false;
	bool has_more = turn->serve(turn);
	uint64_t took = clock_monotonic_ns() - began;
	if (!turns->current) {
		/* It has ended with its debt, and may come again as another one. */
		turns->now += took;
		return took;
	}
	turns->current = NULL;
	turn->start += took;
	if (turn->start > turns->latest)
		turns->latest = turn->start;
	if (has_more || turns->asks_again)
		make_due(turns, turn, false);
	return took;
}

void turns_serve(struct turns *turns)
{
	uint64_t began = clock_monotonic_ns();
	uint64_t used = 0;

	while (turns->due && used < SLICE_NS)
		used += serve_first(turns, began + used);
	/* Nobody was kept waiting: all begin anew. */
	if (!turns->due && turns->now < turns->latest)
		turns->now = turns->latest;
}

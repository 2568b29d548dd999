/* SPDX-License-Identifier: MIT */
/*
 * Who gets the daemon's time. Whatever can be made to take long (a user's requests, new connections,
 * reaping, answering waits, telling events) is done in small units by a turn, and those that have
 * something to do share the time evenly: a turn that has used much waits until the others have used as
 * much, and one that asks for little hardly waits at all. Time is what passes while a turn is served,
 * be it that the processor was another process's.
 *
 * Knows neither what is done nor for whom. This is start-time fair queueing, with that time in the place
 * of a line's: P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996.
 */
#ifndef SHMD_TURN_H
#define SHMD_TURN_H

#include <stdbool.h>
#include <stdint.h>

struct turn;

/* Does one unit, of some tens of microseconds at most; nothing, if there is nothing to do. Returns
 * whether there is more. It may end its own turn, and any other. */
typedef bool turn_fn(struct turn *turn);

struct turns {
	struct turn *due;     /* by their starts */
	struct turn *current; /* being served; NULL: it has ended */
	bool asks_again;      /* the current one, meanwhile */
	uint64_t now;         /* the start of the one that was served last */
	uint64_t latest;      /* the greatest start of all, due or not */
};

/* Embedded in what it does something for. */
struct turn {
	struct turns *turns;
	turn_fn *serve;
	uint64_t start; /* in nanoseconds of time used by each of those that share it */
	bool is_due;
	bool is_new;              /* it has not been served since it asked */
	struct turn *prev, *next; /* in turns->due */
};

void turn_init(struct turn *turn, struct turns *turns, turn_fn *serve);

/* Takes one that was never begun, too. */
void turn_fini(struct turn *turn);

/* There is something to do. */
void turn_ask(struct turn *turn);

/* Whether anything is to be done. */
static inline bool turns_are_due(const struct turns *turns)
{
	return turns->due;
}

/* Lets turns do their work for a slice of time. Then the caller looks whether others have come. */
void turns_serve(struct turns *turns);

#endif

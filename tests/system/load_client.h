/* SPDX-License-Identifier: MIT */
/* The processes of a load (load.h), and the memory by which they and its driver know of each other. That is
 * no shmd segment: what is to be shown would be its own witness. */
#ifndef TESTS_SYSTEM_LOAD_CLIENT_H
#define TESTS_SYSTEM_LOAD_CLIENT_H

#include <shmd.h>
#include <stddef.h>

#include "load.h"

#define LOAD_SHARED_LOCKS 8

/* What a run comes to, one behind the other. */
enum load_phase { PHASE_MAKING, PHASE_WORK, PHASE_REST, PHASE_LEAVING };

/* What clients may do with a lock that is held all the while. */
enum { HELD_BY_NOBODY, HELD_BY_HOLDER, HELD_BY_ANOTHER };

/* All but `first` are only changed by atomic operations. */
struct load_board {
	unsigned phase;
	unsigned arrived[PHASE_LEAVING + 1]; /* how many clients are done with it */
	unsigned failed;                     /* processes */
	char first[512];                     /* what was wrong first */
	unsigned round;                      /* of restarts: so many have begun */
	unsigned is_restarting;
	uint64_t calls, quiet_worst_ns;
	unsigned waited;                    /* answers to waits */
	unsigned inside[LOAD_SHARED_LOCKS]; /* who is inside of a shared lock, by client and one */
	uint64_t taken[LOAD_SHARED_LOCKS];  /* how often it was */
	uint64_t held_through;              /* restarts, by holders */
	/* [holders], by the enumeration; [restarts + 1][clients], ns: the longest call of a client that
	 * overlapped a restart, and how long its acquiring took. */
	unsigned *held;
	uint64_t *gaps;
};

struct load_board *load_board_new(const struct load_plan *plan);
void load_board_free(struct load_board *board, const struct load_plan *plan);

/* Notes what was wrong, if it is the first, and counts it. */
void load_fail(struct load_board *board, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What the daemon knows these segments by. */
#define LOAD_NAME_SIZE 48
void load_name(char ret[static LOAD_NAME_SIZE], const char *kind, unsigned number);

/* The content of a segment is made of a number, and checked against it. */
size_t load_size(unsigned number);
void load_fill(struct shmd_segment *segment, uint64_t number);
bool load_is_filled(const struct shmd_segment *segment, uint64_t number);

/* The lifetime of a segment that stays. */
enum shmd_lifetime load_lifetime(unsigned number);

/* What the processes do. Return whether all was well. */
bool load_client(const struct load_plan *plan, struct load_board *board, unsigned number);
bool load_waiter(const struct load_plan *plan, struct load_board *board, unsigned number);

uint64_t load_now_ns(void);

#endif

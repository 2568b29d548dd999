/* SPDX-License-Identifier: MIT */
/*
 * The library's own books of what it has attached by a connection, for the day on which the daemon has to
 * be told. An attachment stands here from the moment that its grant is taken off the socket until its
 * detaching is about to be sent. Knows no handle; whoever calls holds the connection's mutex.
 */
#ifndef LIBSHMD_HOLDINGS_H
#define LIBSHMD_HOLDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/protocol.h"

struct holding;

struct holdings {
	struct holding *table; /* by the segment's id */
};

/* Once more, with that access. Returns 0 or -ENOMEM. */
int holdings_add(struct holdings *holdings, uint64_t id, bool read_only);

/* Once less, if it is there. */
void holdings_remove(struct holdings *holdings, uint64_t id, bool read_only);

/* Of that segment nothing any more. */
void holdings_drop(struct holdings *holdings, uint64_t id);

/* Of how many segments there is something, and all of it; `ret` has room for so many. */
size_t holdings_count(const struct holdings *holdings);
void holdings_list(const struct holdings *holdings, struct wire_confirm *ret);

void holdings_fini(struct holdings *holdings);

/* Forgets what a fork has copied. A parent with several threads may have been in the middle of a change:
 * then the memory is given up. */
void holdings_fini_inherited(struct holdings *holdings);

#endif

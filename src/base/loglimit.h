/* SPDX-License-Identifier: MIT */
/*
 * How many lines of a log may be about one user. Counts them in windows of time that begin with a line;
 * what is too much in a window is counted, to be told when it is over. The memory is one fixed table:
 * users who find no room in it share the last entry. Knows neither the log nor a clock.
 *
 * Each level has lines of its own, so that many unimportant ones leave room for an important one.
 */
#ifndef BASE_LOGLIMIT_H
#define BASE_LOGLIMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"

#define LOGLIMIT_LINES   20
#define LOGLIMIT_WINDOW  (10 * NSEC_PER_SEC)
#define LOGLIMIT_ENTRIES 256
#define LOGLIMIT_OTHERS  ((uid_t)-1) /* all for whom the table had no room */

struct loglimit_entry {
	uid_t uid;
	unsigned level;
	uint64_t ends; /* of the window; 0: never used */
	unsigned lines;
	uint64_t left_out;
};

struct loglimit {
	struct loglimit_entry entries[LOGLIMIT_ENTRIES + 1]; /* the last one: of all others */
	uint64_t deadline; /* when something is to be told; 0: never */
};

/* Whether one more line may be written; one that may not is counted. `now` never goes back. */
bool loglimit_admit(struct loglimit *limit, uid_t uid, unsigned level, uint64_t now);

/* Takes out what was left out in one window that is over. Returns false: there is none, and the deadline
 * is that of the next one. */
bool loglimit_take(struct loglimit *limit, uint64_t now, struct loglimit_entry *ret);

#endif

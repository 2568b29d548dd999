/* SPDX-License-Identifier: MIT */
/*
 * What the segments of each rule of the policy come to, by the rule's name: so a rule that is read
 * again goes on with what it had, wherever it stands then. An entry lives as long as segments do that
 * were counted in it, also when its rule has gone.
 */
#ifndef CORE_TALLY_H
#define CORE_TALLY_H

#include <stdint.h>

#include "base/hash.h"

#define TALLY_NAME_MAX 40

struct tally {
	char name[TALLY_NAME_MAX + 1];
	uint64_t segments;
	uint64_t bytes;
	struct tally **table;
	UT_hash_handle hh;
};

/* One segment's part, embedded in it. */
struct tally_share {
	struct tally *tally; /* NULL: not counted */
	uint64_t bytes;
};

/* The entry of that name, or NULL: nothing is counted. */
const struct tally *tally_find(struct tally *table, const char *name);

/* Counts one segment more of so many bytes. Returns 0 or -ENOMEM. */
int tally_add(struct tally **table, const char *name, uint64_t bytes, struct tally_share *ret);

/* Takes it back; nothing happens if it was not counted. */
void tally_release(struct tally_share *share);

#endif

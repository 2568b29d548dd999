/* SPDX-License-Identifier: MIT */
/*
 * The generations of a user's name that have lost it to a newer one, and whose memory somebody still
 * has: how many there are, and their bytes. Owns an entry for each name that has such.
 */
#ifndef CORE_LINEAGE_H
#define CORE_LINEAGE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"
#include "core/name.h"

/* The name may have been somebody else's before. Padded with zeroes. */
struct lineage_key {
	uid_t uid;
	char name[NAME_LENGTH_MAX + 1];
};

struct lineage {
	struct lineage_key key;
	uint64_t generations;
	uint64_t bytes;
	struct lineage **table;
	UT_hash_handle hh;
};

/* The entry of that name, or NULL: it has no old generations. */
const struct lineage *lineage_find(struct lineage *table, uid_t uid, const char *name);

/* One more generation of `name` is old. NULL: no memory, and it is not counted. */
struct lineage *lineage_add(struct lineage **table, uid_t uid, const char *name, uint64_t bytes);

/* Its memory is gone. Takes NULL; returns NULL. */
struct lineage *lineage_remove(struct lineage *lineage, uint64_t bytes);

#endif

/* SPDX-License-Identifier: MIT */
/* An attached segment: the mapping, its descriptors, and what it takes to lock it. */
#ifndef LIBSHMD_SEGMENT_H
#define LIBSHMD_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "libshmd/connection.h"
#include "libshmd/fork.h"
#include "libshmd/lock.h"
#include "wire/protocol.h"

struct shmd_segment {
	_Atomic unsigned generation; /* of the process whose attachment this is; see fork.h */
	struct lock lock;
	struct shmd *connection; /* a reference */
	uint64_t id;
	size_t size;
	void *data;
	int fd;
	bool is_read_only;
	bool is_new;
	uid_t uid;
	char name[WIRE_NAME_SIZE];
	char semaphore_name[WIRE_SEMAPHORE_SIZE];
};

/* Whether the attachment is the parent's, and not (yet) this process's own. */
static inline bool segment_is_inherited(const struct shmd_segment *segment)
{
	return atomic_load_explicit(&segment->generation, memory_order_acquire) !=
	       fork_generation();
}

/* The same the other way round, and without a call: a child that has not asked yet does not know. */
static inline bool segment_is_known_own(const struct shmd_segment *segment)
{
	return atomic_load_explicit(&segment->generation, memory_order_acquire) ==
	       atomic_load_explicit(&fork_page->generation, memory_order_acquire);
}

/* Makes an inherited attachment this process's own: a connection, a descriptor of the same number,
 * a mapping at the same address. Returns 0 or a negative errno, with the message set. */
int segment_enter(struct shmd_segment *segment);

#endif

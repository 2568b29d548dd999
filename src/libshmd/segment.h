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
	_Atomic unsigned process; /* the generation of whose attachment this is; see fork.h */
	struct lock lock;
	struct shmd *connection; /* a reference */
	unsigned session;        /* in which it was attached; see resume.h */
	uint64_t id;             /* what requests say; it never changes */
	uint64_t generation;     /* what the program is told; publishing gives another */
	size_t size;
	void *data;
	int fd;
	int reader_fd;     /* of what can be published: it can only read; -1: none */
	bool is_read_only; /* attached so, in the daemon's books */
	bool is_sealed;    /* by shmd_publish(): the mapping can only be read */
	bool is_new;
	atomic_bool is_late; /* of the semaphore, nothing was asked for yet */
	bool is_posix;       /* a semaphore of POSIX's (posix.h) */
	uid_t uid;
	char name[WIRE_NAME_SIZE];
	char semaphore_name[WIRE_SEMAPHORE_SIZE];
};

/* Whether the attachment is the parent's, and not (yet) this process's own. */
static inline bool segment_is_inherited(const struct shmd_segment *segment)
{
	return atomic_load_explicit(&segment->process, memory_order_acquire) != fork_generation();
}

/* The same the other way round, and without a call: a child that has not asked yet does not know. */
static inline bool segment_is_known_own(const struct shmd_segment *segment)
{
	return atomic_load_explicit(&segment->process, memory_order_acquire) ==
	       atomic_load_explicit(&fork_page->generation, memory_order_acquire);
}

/* Makes an inherited attachment this process's own: a connection, a descriptor of the same number,
 * a mapping at the same address. Returns 0 or a negative errno, with the message set. */
int segment_enter(struct shmd_segment *segment);

/* Gets what there is of the semaphore, if that was put off. Returns as above. */
int segment_fetch_lock(struct shmd_segment *segment);

/* Maps the segment's memory again at its address, in one step, as the handle now says. Returns as
 * above. */
int segment_map_over(struct shmd_segment *segment);

/* Attaches a semaphore of POSIX's by its id. Returns 0 or a negative errno, with the message set. */
int segment_attach_semaphore(struct shmd *connection, uint64_t id, struct shmd_segment **ret);

/* Fills the request of a wait. Returns 0 or a negative errno, with the message set. */
int segment_fill_wait(struct wire_wait *ret, const char *name, uint64_t newer_than, int flags);

/* What became of a wait whose call is done: a handle, or a negative errno with the message set. Or what
 * it was granted is given back. */
int segment_finish_wait(struct shmd *connection, struct notice *wait, struct shmd_segment **ret);
void segment_decline_wait(struct shmd *connection, struct notice *wait);

/* Tells the daemon that an attachment of that session and access is let go of. */
void segment_tell_detached(struct shmd *connection, unsigned session, uint64_t id, bool read_only);

#endif

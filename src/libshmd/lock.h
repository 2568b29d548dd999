/* SPDX-License-Identifier: MIT */
/*
 * One handle's part of a segment's lock: the mapped word and slots, and the number that this client
 * writes there. Owns its descriptors and mappings.
 */
#ifndef LIBSHMD_LOCK_H
#define LIBSHMD_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/protocol.h"

struct gate;

struct lock {
	_Atomic(uint64_t *)
		quick; /* with one permit, the word: it goes from `1` to `mine` and back */
	uint64_t mine; /* the number as the word's owner */
	_Atomic(uint64_t *) word; /* mapped at the first use */
	uint64_t *slots;          /* with it; NULL with one permit */
	unsigned number;
	enum wire_lock right;
	struct gate *gate;    /* what threads of this process go through; NULL with one permit */
	atomic_bool is_stale; /* SLEEPS seems to be set for nobody */
	int semaphore_fd;     /* -1: none, or no right to lock */
	int ledger_fd;
};

/* Takes over what the daemon granted: a descriptor that did not come is -1. Returns 0 or -ENOMEM, and
 * then the descriptors are still the caller's. */
int lock_init(struct lock *lock, const struct wire_segment *granted, int semaphore_fd,
	      int ledger_fd);
void lock_fini(struct lock *lock);

/* Makes a handle ready for this process to lock by, which its first use does else. Returns 0, or what
 * shmd_acquire() is refused with. */
struct shmd_segment;
int lock_prepare(struct shmd_segment *segment);

/* In a forked child, with fork_lock() held: goes on by the child's own grant for the same segment. The
 * descriptors stay the caller's. Returns 0 or a negative errno. */
int lock_renew(struct lock *lock, const struct wire_segment *granted, int semaphore_fd,
	       int ledger_fd);

#endif

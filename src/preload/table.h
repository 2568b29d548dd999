/* SPDX-License-Identifier: MIT */
/*
 * The brokered semaphores that this process has open: which semaphore an address is. Whoever opens one that
 * is open already gets the same address, and it is counted. Forked children inherit all of it.
 */
#ifndef PRELOAD_TABLE_H
#define PRELOAD_TABLE_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct shmd_segment;

/* What tells one semaphore from all others: the daemon's number, which the next daemon may give again, and
 * the file, which nobody else can be as long as it is mapped. */
struct table_identity {
	uint64_t id;
	dev_t device;
	ino_t inode;
};

/* One more user of the semaphore. NULL: it is not open. */
sem_t *table_open(const struct table_identity *identity);

/*
 * Adds one that was not open, with the handle to take its permit by, or NULL: `address` and `lock` are the
 * table's from now on. Returns the address; or another one, if another thread has added it meanwhile, and
 * then both stay the caller's; or NULL: no memory.
 */
sem_t *table_add(const struct table_identity *identity, sem_t *address, struct shmd_segment *lock);

/* One user less. Returns false if it is none of ours; *ret_last: it was the last one, and what was added is
 * the caller's again. */
bool table_close(sem_t *address, bool *ret_last, struct shmd_segment **ret_lock);

/* --- internal --------------------------------------------------------------------------------- */

extern atomic_bool table_has_locks;

struct shmd_segment *table_find_lock(const sem_t *address);

/* ---------------------------------------------------------------------------------------------- */

/* The handle to take its permit by, or NULL. Takes no lock, and may be called from a signal handler. */
static inline struct shmd_segment *table_lock(const sem_t *address)
{
	if (__builtin_expect(!atomic_load_explicit(&table_has_locks, memory_order_relaxed), 1))
		return NULL;
	return table_find_lock(address);
}

#endif

/* SPDX-License-Identifier: MIT */
#include "preload/table.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"

/*
 * Who looks for an address takes no lock, as sem_post(3) may be called from a signal handler: entries are
 * never freed, and stay in the bucket that they were made for. One whose address is NULL is free, and is
 * taken for another semaphore of the same bucket.
 */
struct entry {
	sem_t *_Atomic address;
	struct shmd_segment *_Atomic lock;
	struct entry *next; /* of the bucket; it never changes */
	/* With the mutex held. */
	struct table_identity identity;
	size_t users;
	struct entry *next_open; /* of those in the same bucket of `open` */
};

#define BUCKETS 256

static struct entry *_Atomic buckets[BUCKETS]; /* by address */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct entry *open_ones[BUCKETS]; /* by inode */

atomic_bool table_has_locks;

/* --- forked children -------------------------------------------------------------------------- */

/* The table is whole in a child, and the mutex free. Nobody holds it while waiting for anything. */
static void before_fork(void)
{
	pthread_mutex_lock(&mutex);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&mutex);
}

/* Before the program's own: those that run while we hold the mutex are then the earlier ones of others'. */
__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}

/* --- by address ------------------------------------------------------------------------------- */

/* They are mapped, each on a page of its own. */
static struct entry *_Atomic *bucket_of(const sem_t *address)
{
	return &buckets[(uintptr_t)address >> 12 & (BUCKETS - 1)];
}

static struct entry *find(const sem_t *address)
{
	struct entry *entry = atomic_load_explicit(bucket_of(address), memory_order_acquire);

	while (entry && atomic_load_explicit(&entry->address, memory_order_acquire) != address)
		entry = entry->next;
	return entry;
}

struct shmd_segment *table_find_lock(const sem_t *address)
{
	struct entry *entry = find(address);

	return entry ? atomic_load_explicit(&entry->lock, memory_order_relaxed) : NULL;
}

/* A free one of the address's bucket, or a new one, which nobody finds yet. With the mutex held. */
static struct entry *take_entry(const sem_t *address)
{
	struct entry *_Atomic *bucket = bucket_of(address);
	struct entry *entry = atomic_load(bucket);

	while (entry && atomic_load(&entry->address))
		entry = entry->next;
	if (entry)
		return entry;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->next = atomic_load(bucket);
	atomic_store_explicit(bucket, entry, memory_order_release);
	return entry;
}

/* --- by identity, with the mutex held --------------------------------------------------------- */

static struct entry **open_bucket_of(const struct table_identity *identity)
{
	return &open_ones[identity->inode & (BUCKETS - 1)];
}

static bool is_same(const struct table_identity *a, const struct table_identity *b)
{
	return a->id == b->id && a->device == b->device && a->inode == b->inode;
}

static sem_t *open_again(const struct table_identity *identity)
{
	struct entry *entry = *open_bucket_of(identity);

	while (entry && !is_same(&entry->identity, identity))
		entry = entry->next_open;
	if (!entry)
		return NULL;
	entry->users++;
	return atomic_load(&entry->address);
}

static void link_open(struct entry *entry)
{
	struct entry **bucket = open_bucket_of(&entry->identity);

	entry->next_open = *bucket;
	*bucket = entry;
}

static void unlink_open(struct entry *entry)
{
	struct entry **place = open_bucket_of(&entry->identity);

	while (*place != entry)
		place = &(*place)->next_open;
	*place = entry->next_open;
}

/* --- all of it -------------------------------------------------------------------------------- */

sem_t *table_open(const struct table_identity *identity)
{
	pthread_mutex_lock(&mutex);
	sem_t *address = open_again(identity);
	pthread_mutex_unlock(&mutex);
	return address;
}

static sem_t *add(const struct table_identity *identity, sem_t *address, struct shmd_segment *lock)
{
	struct entry *entry = take_entry(address);

	if (!entry)
		return NULL;
	entry->identity = *identity;
	entry->users = 1;
	link_open(entry);
	atomic_store_explicit(&entry->lock, lock, memory_order_relaxed);
	atomic_store_explicit(&entry->address, address, memory_order_release);
	if (lock)
		atomic_store(&table_has_locks, true);
	return address;
}

sem_t *table_add(const struct table_identity *identity, sem_t *address, struct shmd_segment *lock)
{
	pthread_mutex_lock(&mutex);
	sem_t *found = open_again(identity);
	if (!found)
		found = add(identity, address, lock);
	pthread_mutex_unlock(&mutex);
	return found;
}

bool table_close(sem_t *address, bool *ret_last, struct shmd_segment **ret_lock)
{
	pthread_mutex_lock(&mutex);
	struct entry *entry = find(address);
	*ret_last = entry && --entry->users == 0;
	if (*ret_last) {
		unlink_open(entry);
		*ret_lock = atomic_load(&entry->lock);
		atomic_store(&entry->address, NULL);
	}
	pthread_mutex_unlock(&mutex);
	return entry;
}

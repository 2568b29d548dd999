/* SPDX-License-Identifier: MIT */
/*
 * What outlives us: the descriptors of segments, in pouches (pouch.h), and those with the record
 * (core/record.h) in the service manager's store (FDSTORE=1 of sd_notify(3)), which hands them to the next
 * daemon. Puts descriptors in as segments come, and takes them out as they go; what it has to do it reads
 * off the record. Nothing waits for the service manager, which is told when another pouch is needed: there
 * is one ahead.
 *
 * Nobody tells us of what finds no place in its store: so how much there is has to be known before.
 */
#ifndef SHMD_STORE_H
#define SHMD_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/record.h"

struct event_base;
struct pouch;
struct store;

/* Places in the store that are the record's, with the instance's lock; for a moment there are two records. */
#define STORE_OWN (2 * RECORD_TABLES + 1)

/* Places that so many segments need, and how many segments there may be by RLIMIT_NOFILE. */
uint64_t store_places(uint64_t segments);
unsigned store_segments_max(void);

/*
 * A store with room for `max` descriptors. Returns 0; -ENOENT: there is no service manager, or it stores
 * nothing; or -errno.
 */
int store_new(struct store **ret, struct event_base *loop, struct record *record, unsigned max);

/* Leaves what is stored where it is. Takes NULL; returns NULL. */
struct store *store_free(struct store *store);

/* Takes over a pouch that was found stored at the start. */
void store_add_found(struct store *store, struct pouch *pouch);

/* Stores the record under its name, and takes out the one under the other. The instance's lock goes with it;
 * -1: that is there already, and would not be stored twice. May wait, some seconds; for before anybody is
 * served. Returns 0 or -errno. */
int store_record(struct store *store, int lock_fd);

/* Takes a name out of the service manager's store that was found, and that nobody has a use for. May wait. */
void store_remove(struct store *store, const char *name);

/* Does what is to be done. Takes NULL. */
void store_push(struct store *store);

/* Takes a segment out now, where something is still open that is closed elsewhere: who closes last frees the
 * memory. Takes NULL. */
void store_take_out(struct store *store, struct segment *segment);

/* Whether a new segment is not stored yet, and will be soon: who made or attached it is told then, so that nobody
 * has what a violent end would lose. Takes NULL. */
bool store_is_late(const struct store *store, const struct segment *segment);

/* The service manager does not hear, and nobody is to wait for that any longer. */
void store_note_deaf(struct store *store);

/* As store_push(), and waits, some seconds at most, until all is stored. */
void store_drain(struct store *store);

/* Takes everything out: there is nothing for a next daemon. */
void store_give_up(struct store *store);

/* What a restart would lose, as a sentence, or "". */
const char *store_trouble(const struct store *store);

#endif

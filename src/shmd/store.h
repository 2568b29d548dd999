/* SPDX-License-Identifier: MIT */
/*
 * The service manager's store of descriptors (FDSTORE=1 of sd_notify(3)): what is in it outlives us, and is
 * handed to the next daemon. Puts there the descriptors of segments and of the record (core/record.h) as
 * those come, and takes them out as they go, by messages that wait for nobody: what finds no room is sent
 * when there is some. What it has to send it reads off the record.
 *
 * systemd hands the names over in one variable, which the kernel bounds; so there is a limit of our own, and
 * names are short. Nobody tells us of what finds no place there: so the number has to be known before.
 */
#ifndef SHMD_STORE_H
#define SHMD_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/record.h"

struct event_base;
struct store;

/* Places in the store that are the record's, with the instance's lock; for a moment there are two records. */
#define STORE_OWN (2 * RECORD_TABLES + 1)

/*
 * A store with room for `max` descriptors, of which `used` are taken already by the segments of the record,
 * under names of so many bytes. Begins to keep the record. Returns 0; -ENOENT: there is no service manager,
 * or it stores nothing; or -errno.
 */
int store_new(struct store **ret, struct event_base *loop, struct record *record, unsigned max);

/* Leaves what is stored where it is. Takes NULL; returns NULL. */
struct store *store_free(struct store *store);

/* What was found stored at the start, and is so still: of the record's segments, so many. */
void store_note_found(struct store *store, uint32_t key, unsigned descriptors);

/* Stores the record under its name, and takes out the one under the other. The instance's lock goes with it;
 * -1: that is there already, and would not be stored twice.
 * May wait, for a second; for before anybody is served, and at the end. Returns 0 or -errno. */
int store_record(struct store *store, int lock_fd);

/* Takes a name out that was found, and that nobody has a use for. */
void store_remove(struct store *store, const char *name);

/* Sends what is to be sent, as far as there is room. Takes NULL. */
void store_push(struct store *store);

/* Whether a new segment is not stored yet, and will be soon: who made it is told of it then, so that nobody
 * has what a violent end would lose. Takes NULL. */
bool store_is_late(const struct store *store, const struct segment *segment);

/* The service manager does not hear, and nobody is to wait for that any longer. */
void store_note_deaf(struct store *store);

/* As store_push(), and waits, some seconds at most, until all is sent. */
void store_drain(struct store *store);

/* Takes the record out: there is nothing for a next daemon. */
void store_give_up(struct store *store);

/* What a restart would lose, as a sentence, or "". */
const char *store_trouble(const struct store *store);

/* The key is out of the store, by what follows. */
void store_note_removed(struct store *store, uint32_t key, unsigned descriptors);

/* Takes a key's descriptors out and waits, some seconds at most, until they are closed there. For a thread
 * that may wait: who closes last frees the memory, and that is not to be the service manager. */
void store_remove_and_wait(uint32_t key);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a daemon before us has left, as it was handed to us: descriptors under names, and the record that
 * says what they are (core/record.h). Reads and checks it, and believes nothing: a row that is not whole,
 * that breaks a rule, or whose file is not there, not ours or not of that size, is left out. Copies what it
 * reads, so that nothing changes afterwards. Makes nothing of it; that is core/restore.h.
 */
#ifndef CORE_IMAGE_H
#define CORE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/record.h"

/* The record's own descriptors are kept under one of these, by turns. */
#define IMAGE_RECORD_NAMES 2
extern const char *const image_record_names[IMAGE_RECORD_NAMES];

/* The instance's lock is kept under this one: the same descriptor from daemon to daemon. */
#define IMAGE_LOCK_NAME "lock"

/* Under which name a record of that epoch is kept. */
const char *image_record_name(uint64_t epoch);

/* And a pouch of that number, in which descriptors lie that have keys and no names. */
#define IMAGE_POUCH_NAME_SIZE 12
void image_pouch_name(unsigned number, char ret[static IMAGE_POUCH_NAME_SIZE]);

/* Returns 0 or -EINVAL: no pouch has that name. */
int image_parse_pouch(const char *name, unsigned *ret);

/* A descriptor that was handed to us, by name or by key. */
struct image_descriptor {
	int fd;           /* owned, until somebody takes it: -1 then */
	const char *name; /* NULL: it has a key */
	uint32_t key;
};

/* A segment's row and its descriptors, which belong to the image until they are taken. */
struct image_segment {
	struct record_segment row;
	int fd;
	int semaphore_fd; /* -1: none, also where the row names one that did not come */
	int ledger_fd;
};

struct image {
	bool is_empty; /* nothing was left */
	uint64_t epoch;
	uint64_t next_id;
	uint64_t next_client;
	char instance[INSTANCE_NAME_SIZE];
	bool has_lock;                  /* it came, and is kept */
	int lock_fd;                    /* of the instance; -1: it did not come */
	struct image_segment *segments; /* by id */
	size_t n_segments;
	struct record_client *clients; /* by id */
	size_t n_clients;
	struct record_attachment *attachments; /* of those two, by client */
	size_t n_attachments;
	struct record_locker *lockers; /* of those segments */
	size_t n_lockers;
	size_t n_refused; /* rows that were left out */
	char why[160];    /* the first one of those, or the record */
};

/*
 * Reads what lies in `given`, and takes the descriptors that it makes sense of; the others stay the
 * caller's. Returns 0; -EPROTONOSUPPORT: it was written by a newer daemon than this, and nothing is taken;
 * or -ENOMEM. What cannot be read is refused, which ret->n_refused and ret->why tell.
 */
int image_read(struct image *ret, struct image_descriptor *given, size_t n);

/* What a table of a record says is to be believed by nobody any more. Returns 0 or -errno. */
int image_revoke(int fd);

/* Closes what was not taken. */
void image_fini(struct image *image);

#endif

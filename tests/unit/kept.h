/* SPDX-License-Identifier: MIT */
/*
 * What a service manager's store would hold of a registry: duplicates of its descriptors, under their names,
 * for a next registry to be made of.
 */
#ifndef UNIT_KEPT_H
#define UNIT_KEPT_H

#include "core/image.h"
#include "core/registry.h"

#define KEPT_MAX 256

struct kept {
	struct image_descriptor given[KEPT_MAX];
	char names[KEPT_MAX][16];
	size_t n;
};

/* Adds a duplicate, by a name or by a key. */
void kept_put(struct kept *kept, const char *name, int fd);
void kept_put_key(struct kept *kept, uint32_t key, int fd);

/* Some pouch, which nobody looks into. */
extern struct pouch *const kept_pouch;

/* The tables and the instance's lock; `epoch` is the record's. */
void kept_put_record(struct kept *kept, const struct registry *registry);

/* Those of all segments, which are stored then. */
void kept_put_segments(struct kept *kept, struct registry *registry);

/* What was read of it. */
struct image kept_read(struct kept *kept);

/* Closes what was not taken, and is empty then. */
void kept_close(struct kept *kept);

#endif

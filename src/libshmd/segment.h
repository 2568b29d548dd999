/* SPDX-License-Identifier: MIT */
/* An attached segment: the mapping, its descriptors, and the permits held through it. */
#ifndef LIBSHMD_SEGMENT_H
#define LIBSHMD_SEGMENT_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "libshmd/connection.h"
#include "wire/protocol.h"

struct shmd_segment {
	struct shmd *connection;     /* a reference */
	_Atomic unsigned generation; /* of the process whose attachment this is; see fork.h */
	uint64_t id;
	size_t size;
	void *data;
	int fd;
	bool is_read_only;
	bool is_new;
	uid_t uid;
	char name[WIRE_NAME_SIZE];
	char semaphore_name[WIRE_SEMAPHORE_SIZE];
	int semaphore_fd;           /* -1: none, or no right to lock */
	_Atomic(sem_t *) semaphore; /* mapped at the first use */
	atomic_uint held;           /* permits taken through this handle, and not given back */
};

/* Whether the attachment is the parent's, and not (yet) this process's own. */
bool segment_is_inherited(const struct shmd_segment *segment);

/* Makes an inherited attachment this process's own: a connection, a descriptor of the same number,
 * a mapping at the same address. Returns 0 or a negative errno, with the message set. */
int segment_enter(struct shmd_segment *segment);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A registry that goes on where a former daemon's ended: out of an image (core/image.h), segment by
 * segment, and then what sessions had of them. Its owner makes the sessions and the processes' estates, and
 * calls these in the order in which they stand here.
 */
#ifndef CORE_RESTORE_H
#define CORE_RESTORE_H

#include "core/image.h"
#include "core/registry.h"

/*
 * As registry_new(), as the same instance, with the segments of the image, whose descriptors it takes.
 * What cannot be taken over is logged. `first_id` counts where the image knows of no greater one.
 */
int restore_registry(struct registry **ret, const struct quota_limits *limits,
		     const char *shm_folder, uint64_t first_id, struct image *image);

/* A number to lock by, of a process that still has it, or that is dead and is to be buried. Returns 0,
 * -EINVAL: the segment is not there, or the number is given; or -ENOMEM. */
int restore_locker(struct registry *registry, const struct record_locker *row,
		   struct estate *estate);

/* An attachment, which its client is to confirm. Returns as above. */
int restore_attachment(struct registry *registry, const struct record_attachment *row,
		       struct session *session);

/* The segment's owner and publisher were those; NULL: nobody, or somebody who has gone. */
void restore_bonds(struct registry *registry, uint64_t id, struct session *owner,
		   struct session *publisher);

/* That was all: from now on everything takes its course. */
void restore_finish(struct registry *registry);

/* A session that has not come back lets go of what no process has open any more: looks at so many of its
 * attachments, behind that of segment *after (0: from the first one on). Returns whether there are more. */
bool restore_let_go(struct registry *registry, struct session *session, unsigned most,
		    uint64_t *after);

/* All that a session had is another's now, which has nothing yet, under the former one's number; that one is
 * left without anything. */
void restore_session(struct session *from, struct session *to);

/* The segment is kept for that process (heir.h). */
void restore_heir(struct registry *registry, uint64_t id, struct estate *heir, pid_t next);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * That a client has a segment: one for each pair, however often the client attached it. It stands in
 * the table of its session and in the list of its segment, and is freed when its counts are zero.
 */
#ifndef CORE_ATTACHMENT_H
#define CORE_ATTACHMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "core/quota.h"
#include "core/table.h"

struct locker;
struct segment;
struct session;

struct attachment {
	struct segment *segment;
	struct session *session;
	uint64_t segment_id; /* the key in the session's table */
	uint64_t counts[2];  /* attached so often for writing, and read-only */
	bool is_doubtful; /* noted by the daemon before us, and not confirmed by its client yet */
	struct locker *locker; /* NULL: it may not lock, or did not ask for it */
	struct charge charge;
	struct row row;
	struct attachment *prev, *next; /* in segment->attachments */
	UT_hash_handle hh;              /* in session->attachments */
};

/* The pair's attachment, or NULL. */
struct attachment *attachment_find(const struct session *session, uint64_t segment_id);

/* Makes the pair's attachment, with counts of zero, charged to the session's user. Returns 0, a
 * refusal, or -ENOMEM. */
int attachment_new(struct quota *quota, struct session *session, struct segment *segment,
		   struct attachment **ret, struct refusal *why);

/* The same for one that a former daemon had, which is charged whatever the limits are. -EINVAL: there is one. */
int attachment_restore(struct quota *quota, struct session *session, struct segment *segment,
		       struct attachment **ret);

/* Takes it out of both and gives the charge back, which a locker may have taken over. Returns NULL. */
struct attachment *attachment_free(struct attachment *attachment);

bool attachment_is_read_only(const struct attachment *attachment);

#endif

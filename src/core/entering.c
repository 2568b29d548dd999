/* SPDX-License-Identifier: MIT */
#include "core/entering.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/ending.h"
#include "core/memory.h"

int entering_add(struct registry *registry, struct segment *segment)
{
	HASH_ADD(by_id, registry->by_id, id, sizeof(segment->id), segment);
	if (!HASH_ADDED(by_id, segment))
		return -ENOMEM;
	if (segment->name[0])
		HASH_ADD(by_name, registry->by_name, name[0], strlen(segment->name), segment);
	if ((!segment->name[0] || HASH_ADDED(by_name, segment)) &&
	    recovery_add(&registry->recovery, segment) == 0)
		return 0;
	if (segment->name[0] && HASH_ADDED(by_name, segment))
		HASH_DELETE(by_name, registry->by_name, segment);
	HASH_DELETE(by_id, registry->by_id, segment);
	return -ENOMEM;
}

void entering_revive(struct registry *registry, struct segment *segment, struct session *session,
		     bool read_only)
{
	if (segment->state != SEGMENT_LINGERING)
		return;
	if (segment->lifetime == LIFETIME_OWNER) {
		if (read_only || !access_is_owner(&session->who, &segment->ownership))
			return;
		segment->owner = session;
	}
	heap_remove(&registry->timers, &segment->timer);
	segment->state = SEGMENT_LIVE;
	record_note(&registry->record, segment);
}

int entering_attach(struct registry *registry, struct session *session, struct segment *segment,
		    bool read_only, struct grant *ret, struct refusal *why)
{
	struct attachment *attachment = attachment_find(session, segment->id);
	_cleanup_close_ int fd = memory_reopen(segment->fd, read_only);
	if (fd < 0)
		return refuse_errno(why, fd, "open the segment's memory once more");
	if (!attachment) {
		int r = attachment_new(&registry->quota, session, segment, &attachment, why);
		if (r != 0)
			return r;
	}
	attachment->counts[read_only]++;
	record_attachment(&registry->record, attachment);
	if (segment->state != SEGMENT_LINGERING)
		ending_stop_tests(registry, segment);
	entering_revive(registry, segment, session, read_only);
	*ret = (struct grant){.segment = segment,
			      .fd = steal_fd(&fd),
			      .semaphore_fd = -1,
			      .ledger_fd = -1,
			      .reader_fd = -1};
	if (session->can_lock && segment_may_lock(segment, read_only))
		ret->semaphore_fd = segment->semaphore.fd;
	return 0;
}

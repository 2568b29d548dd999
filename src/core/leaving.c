/* SPDX-License-Identifier: MIT */
#include "core/leaving.h"

#include <limits.h>

#include "core/ending.h"

struct segment *leaving_let_go(struct registry *registry, struct attachment *attachment)
{
	struct segment *segment = attachment->segment;

	if (segment->owner == attachment->session && segment->publisher != segment->owner)
		segment->owner = NULL;
	if (attachment->locker) {
		locker_leave(attachment->locker, &attachment->charge);
		record_locker(&registry->record, attachment->locker);
	}
	attachment_free(attachment);
	/* Without the folder's watch no word comes of programs that had the semaphore by name. */
	if (segment->n_attachments == 0 && !registry->watch.folder)
		recovery_note_close(segment);
	return segment;
}

static void end_attachment(struct registry *registry, struct attachment *attachment, uint64_t now)
{
	journal_tell(&registry->journal, EVENT_DETACHED, attachment->segment, attachment->session,
		     attachment_is_read_only(attachment), now);
	ending_enqueue(registry, leaving_let_go(registry, attachment));
}

static void end_binding(struct registry *registry, struct segment *segment)
{
	const struct session *publisher = segment->publisher;

	ending_release_binding(segment);
	if (segment->owner == publisher)
		segment->owner = NULL;
	ending_enqueue(registry, segment);
}

bool leaving_settle(struct registry *registry, struct segment *segment, unsigned most, uint64_t now)
{
	struct attachment *attachment, *next;

	if (registry->n_leaving == 0)
		return false;
	if (segment->publisher && segment->publisher->is_leaving)
		end_binding(registry, segment);
	for (attachment = segment->attachments; attachment; attachment = next) {
		next = attachment->next;
		if (!attachment->session->is_leaving)
			continue;
		if (most-- == 0)
			return true;
		end_attachment(registry, attachment, now);
	}
	return false;
}

void registry_begin_to_leave(struct registry *registry, struct session *session)
{
	registry->n_leaving += !session->is_leaving;
	session->is_leaving = true;
}

/* What it waits for or listens to comes first: nothing is to be answered any more. */
static bool end_one(struct registry *registry, struct session *session, uint64_t now)
{
	if (session->subscriptions)
		subscription_free(&registry->journal, session->subscriptions);
	else if (session->waits)
		wait_free(&registry->waits, session->waits);
	else if (session->published)
		end_binding(registry, session->published);
	else if (session->attachments)
		end_attachment(registry, session->attachments, now);
	else
		return false;
	return true;
}

static bool has_any(const struct session *session)
{
	return session->subscriptions || session->waits || session->published ||
	       session->attachments;
}

bool registry_leave_some(struct registry *registry, struct session *session, unsigned most,
			 uint64_t now)
{
	registry_begin_to_leave(registry, session);
	while (most-- > 0 && end_one(registry, session, now))
		;
	if (has_any(session))
		return true;
	session->is_leaving = false;
	registry->n_leaving--;
	return false;
}

void registry_leave(struct registry *registry, struct session *session, uint64_t now)
{
	while (registry_leave_some(registry, session, UINT_MAX, now))
		;
}

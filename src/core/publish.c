/* SPDX-License-Identifier: MIT */
/* Publishing, and waiting for what is published. */
#include "core/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "base/text.h"
#include "core/ending.h"
#include "core/memory.h"

static int check_publishable(const struct session *session, const struct attachment *attachment,
			     uint64_t id, struct refusal *why)
{
	if (!attachment || attachment->counts[false] == 0)
		return refuse(why, REFUSAL_NOT_FOUND,
			      "segment %" PRIu64 " is not attached for writing by this client", id);
	if (!access_is_owner(&session->who, &attachment->segment->ownership))
		return refuse(why, REFUSAL_DENIED, "segment %" PRIu64 " was made by another user",
			      id);
	if (!attachment->segment->is_anonymous)
		return refuse(why, REFUSAL_INVALID,
			      "only a segment that was created without a name can be published");
	if (attachment->segment->state != SEGMENT_LIVE ||
	    (attachment->segment->lifetime == LIFETIME_OWNER && !attachment->segment->owner))
		return refuse(why, REFUSAL_NOT_FOUND,
			      "segment %" PRIu64 " has ended: its owner is gone, or dropped it",
			      id);
	return 0;
}

/* Who replaces what a name leads to takes the name from it, as unlink does. */
static int check_replaceable(const struct session *session, const struct segment *existing,
			     struct refusal *why)
{
	char text[SEGMENT_DESCRIPTION_MAX];

	if (!existing || access_is_owner(&session->who, &existing->ownership) ||
	    access_may_administer(&session->who))
		return 0;
	return refuse(why, REFUSAL_DENIED,
		      "segment %s belongs to another user; uid %u may not replace it",
		      segment_describe_to(existing, &session->who, text), session->who.uid);
}

/* The maker seals, and may have added seals of other kinds: that does harm to nobody else. */
static int end_sealing(struct segment *segment, bool writable, struct refusal *why)
{
	if (!writable && !memory_is_sealed(segment->fd))
		return refuse(why, REFUSAL_INVALID,
			      "segment %" PRIu64 " is not sealed against writing (F_SEAL_WRITE)",
			      segment->id);
	int r = memory_end_sealing(segment->fd);
	if (r < 0)
		return refuse_errno(why, r, "end the sealing of the segment's memory");
	segment->is_sealed = memory_is_sealed(segment->fd);
	return 0;
}

static void replace(struct registry *registry, struct segment *existing)
{
	if (!existing)
		return;
	statistics_count(&registry->statistics, STATISTIC_SUPERSEDED);
	existing->lineage = lineage_add(&registry->lineages, existing->ownership.uid,
					existing->name, existing->size);
	ending_drop_name(registry, existing);
	/* With the queue's turn: who waits for the new one does not wait for the end of the old. */
	ending_enqueue(registry, existing);
}

static int check_publish(struct registry *registry, struct session *session, uint64_t id,
			 const char **name, uint64_t now, struct segment **ret,
			 struct segment **ret_existing, struct refusal *why)
{
	const struct attachment *attachment = attachment_find(session, id);
	int r = check_publishable(session, attachment, id, why);

	if (r == 0)
		r = name_parse(*name, name, why);
	if (r != 0)
		return r;
	*ret = attachment->segment;
	*ret_existing = ending_settle_name(registry, *name, now);
	return check_replaceable(session, *ret_existing, why);
}

/* The name leads to it from now on, and no more to what it led to. */
static void bind(struct registry *registry, struct session *session, struct segment *segment,
		 struct segment *existing)
{
	record_note(&registry->record, segment);
	replace(registry, existing);
	segment->is_anonymous = false;
	segment->generation = registry->next_id;
	record_next_id(&registry->record, ++registry->next_id);
	segment->publisher = session;
	if (segment->lifetime == LIFETIME_OWNER)
		segment->owner = session;
	DL_APPEND2(session->published, segment, published_prev, published_next);
}

static void tell_published(struct registry *registry, const struct session *session,
			   const struct segment *segment, uint64_t now)
{
	statistics_count(&registry->statistics, STATISTIC_PUBLISHED);
	journal_tell(&registry->journal, EVENT_PUBLISHED, segment, session, false, now);
	waits_wake(&registry->waits, segment->name, segment->generation);
}

/* In the table of names both may stand for a moment. What can fail comes before what cannot be undone. */
static int enter_name(struct registry *registry, struct segment *segment, const char *name,
		      bool writable, struct refusal *why)
{
	text_copy(segment->name, sizeof(segment->name), name);
	HASH_ADD(by_name, registry->by_name, name[0], strlen(segment->name), segment);
	int r = HASH_ADDED(by_name, segment) ? end_sealing(segment, writable, why) : -ENOMEM;
	if (r == 0)
		return 0;
	if (HASH_ADDED(by_name, segment))
		HASH_DELETE(by_name, registry->by_name, segment);
	segment->name[0] = '\0';
	return r;
}

/* As if it were created under the name now. */
static int admit(struct registry *registry, const struct session *session,
		 const struct segment *segment, const char *name, struct ownership *ret,
		 struct tally_share *ret_share, struct refusal *why)
{
	const struct creation what = {
		.name = name,
		.size = segment->size,
		.mode = segment->ownership.mode,
		.lifetime = segment->lifetime,
		.linger_ns = segment->linger_ns,
	};

	return policy_admit(&registry->policy, &registry->tallies, &session->who, &what, ret,
			    ret_share, why);
}

/* Gives it its name and owner in one step: on failure it has what it had. */
static int enter_as(struct registry *registry, struct segment *segment, const char *name,
		    bool writable, const struct ownership *of, struct refusal *why)
{
	struct ownership before = segment->ownership;
	int r = segment_hand_over(segment, of);

	if (r < 0)
		return refuse_errno(why, r, "hand the segment over to its new owner");
	r = enter_name(registry, segment, name, writable, why);
	if (r != 0)
		segment_hand_over(segment, &before);
	return r;
}

int registry_publish(struct registry *registry, struct session *session, uint64_t id,
		     const char *name, bool writable, uint64_t now, uint64_t *ret_generation,
		     struct refusal *why)
{
	struct segment *segment, *existing;
	struct tally_share share = {0};
	struct ownership of;
	int r = check_publish(registry, session, id, &name, now, &segment, &existing, why);

	if (r == 0)
		r = admit(registry, session, segment, name, &of, &share, why);
	if (r == 0)
		r = enter_as(registry, segment, name, writable, &of, why);
	if (r != 0) {
		tally_release(&share);
		return r;
	}
	segment->rule_share = share;
	bind(registry, session, segment, existing);
	tell_published(registry, session, segment, now);
	*ret_generation = segment->generation;
	return 0;
}

bool registry_is_newer(struct registry *registry, const char *name, uint64_t newer_than,
		       uint64_t now)
{
	const struct segment *segment = ending_settle_name(registry, name, now);

	return segment && segment->generation > newer_than;
}

int registry_wait(struct registry *registry, struct session *session, uint32_t number,
		  const char *name, uint64_t newer_than, uint32_t flags, uint64_t now,
		  struct wait **ret, struct refusal *why)
{
	int r = name_parse(name, &name, why);

	if (r != 0)
		return r;
	*ret = NULL;
	/* Who may not read it is told so now: when it becomes newer is not theirs to know. */
	const struct segment *segment = ending_settle_name(registry, name, now);
	if (segment && (segment->generation > newer_than ||
			!access_allowed(&session->who, &segment->ownership, ACCESS_READ)))
		return 0;
	return wait_new(&registry->waits, &registry->quota, session, number, name, newer_than,
			flags, ret, why);
}

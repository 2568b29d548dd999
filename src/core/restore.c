/* SPDX-License-Identifier: MIT */
#include "core/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "core/ending.h"
#include "core/entering.h"
#include "core/heir.h"
#include "core/leaving.h"
#include "core/memory.h"

/* --- segments --------------------------------------------------------------------------------- */

static enum segment_kind kind_of(const struct record_segment *row)
{
	if (row->flags & RECORD_POSIX_MEMORY)
		return SEGMENT_POSIX_MEMORY;
	return row->flags & RECORD_POSIX_SEMAPHORE ? SEGMENT_POSIX_SEMAPHORE : SEGMENT_BROKERED;
}

static int charge(struct quota *quota, const struct record_segment *row, struct segment *segment)
{
	int r = quota_restore(quota, row->payer, QUOTA_SEGMENTS, 1, &segment->segment_charge);

	if (r == 0 && row->permits > 0 && kind_of(row) == SEGMENT_BROKERED)
		r = quota_restore(quota, row->payer, QUOTA_SEMAPHORES, 1,
				  &segment->semaphore_charge);
	if (r == 0)
		r = quota_restore(quota, row->payer, QUOTA_BYTES, row->size,
				  &segment->bytes_charge);
	return r;
}

static struct segment *allocate(const struct record_segment *row)
{
	struct segment *segment = calloc(1, sizeof(*segment));

	if (!segment)
		return NULL;
	segment->id = row->id;
	segment->generation = row->generation;
	segment->state = (enum segment_state)row->state;
	segment->kind = kind_of(row);
	segment->size = row->size;
	segment->ownership = (struct ownership){row->uid, row->gid, row->mode};
	segment->lifetime = (enum lifetime)row->lifetime;
	segment->linger_ns = row->linger_ns;
	segment->is_anonymous = row->flags & RECORD_ANONYMOUS;
	segment->readers_lock = row->flags & RECORD_READERS_LOCK;
	segment->huge = row->flags & RECORD_HUGE;
	segment->created_at = row->created_at;
	if (!(row->flags & RECORD_SUPERSEDED))
		text_copy(segment->name, sizeof(segment->name), row->name);
	segment->fd = -1;
	semaphore_init(&segment->semaphore);
	ledger_init(&segment->ledger, 0);
	return segment;
}

/* Without its file, or with several permits and no ledger, a semaphore serves nobody any more. A name that
 * leads elsewhere by now is not ours. */
static void take_semaphore(struct registry *registry, struct segment *segment,
			   struct image_segment *from)
{
	struct semaphore *semaphore = &segment->semaphore;
	char text[SEGMENT_DESCRIPTION_MAX];

	if (segment->kind == SEGMENT_POSIX_SEMAPHORE)
		segment_is_its_semaphore(segment, from->row.permits);
	if (segment_is_posix(segment) || from->row.permits == 0)
		return;
	if (from->semaphore_fd < 0 || (from->row.permits > 1 && from->ledger_fd < 0)) {
		log_warning("segment %s has lost its semaphore: it was not kept",
			    segment_describe(segment, text));
		return;
	}
	semaphore->fd = steal_fd(&from->semaphore_fd);
	segment->ledger.permits = from->row.permits;
	segment->ledger.fd = steal_fd(&from->ledger_fd);
	text_copy(semaphore->name, sizeof(semaphore->name), from->row.semaphore_name);
	if (semaphore->name[0] && !semaphore_is_named(semaphore, &registry->instance))
		semaphore_leave(semaphore);
}

/* Of two that have the name, the one with the greater generation has superseded the other, and its daemon
 * died before it wrote that down. */
static void make_name_free(struct registry *registry, struct segment *segment)
{
	struct segment *other = registry_by_name(registry, segment->name);

	if (!other)
		return;
	struct segment *older = other->generation < segment->generation ? other : segment;
	older->lineage = lineage_add(&registry->lineages, older->ownership.uid, older->name,
				     older->size);
	if (older == other) {
		ending_drop_name(registry, other);
		return;
	}
	older->name[0] = '\0';
	semaphore_unlink(&older->semaphore, &registry->instance);
	older->state = SEGMENT_DROPPED;
}

static void take_rest(struct registry *registry, struct segment *segment,
		      const struct record_segment *row)
{
	if (row->rule[0])
		tally_add(&registry->tallies, row->rule, segment->size, &segment->rule_share);
	if (row->flags & RECORD_SUPERSEDED)
		segment->lineage = lineage_add(&registry->lineages, row->former_uid, row->name,
					       segment->size);
	/* Without memory it is settled at once, and begins to linger anew. */
	if (segment->state == SEGMENT_LINGERING &&
	    heap_set(&registry->timers, &segment->timer, row->deadline) < 0)
		segment->state = SEGMENT_LIVE;
}

static int restore_segment(struct registry *registry, struct image_segment *from)
{
	const struct record_segment *row = &from->row;
	struct segment *segment = allocate(row);

	if (!segment)
		return -ENOMEM;
	int r = charge(&registry->quota, row, segment);
	if (r == 0)
		r = record_take_key(&registry->record, row->key);
	if (r < 0) {
		segment_free(segment, &registry->instance);
		return r;
	}
	segment->fd = steal_fd(&from->fd);
	take_semaphore(registry, segment, from);
	segment->fd_is_original = row->flags & RECORD_ORIGINAL;
	segment->is_sealed = memory_is_sealed(segment->fd);
	segment->keeping = (struct segment_keeping){
		.key = row->key,
		.has_key = true,
		.stored_original = segment->fd_is_original,
		.memory = row->memory,
		.semaphore = row->semaphore,
		.ledger = row->ledger,
	};
	if (segment->name[0])
		make_name_free(registry, segment);
	r = entering_add(registry, segment);
	if (r < 0) {
		record_return_key(&registry->record, row->key);
		semaphore_leave(&segment->semaphore);
		segment_free(segment, &registry->instance);
		return r;
	}
	take_rest(registry, segment, row);
	return 0;
}

static bool is_known(const char *semaphore, void *context)
{
	struct registry *registry = context;
	const struct segment *segment;

	HASH_FIND(by_semaphore, registry->recovery.by_semaphore, semaphore, strlen(semaphore),
		  segment);
	return segment != NULL;
}

static void restore_segments(struct registry *registry, struct image *image)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		int r = restore_segment(registry, &image->segments[i]);
		if (r < 0)
			log_error("cannot take segment %" PRIu64 " over: %s",
				  image->segments[i].row.id, strerror(-r));
	}
	instance_sweep_own(&registry->instance, is_known, registry);
}

int restore_registry(struct registry **ret, const struct quota_limits *limits,
		     const char *shm_folder, uint64_t first_id, struct image *image)
{
	struct instance instance;

	if (image->is_empty)
		return registry_new(ret, limits, shm_folder, first_id);
	int r = instance_take_over(&instance, shm_folder, image->instance,
				   steal_fd(&image->lock_fd));
	if (r < 0)
		return r;
	if (first_id < image->next_id)
		first_id = image->next_id;
	for (size_t i = 0; i < image->n_segments; i++)
		if (first_id <= image->segments[i].row.generation)
			first_id = image->segments[i].row.generation + 1;
	r = registry_make(ret, limits, &instance, first_id);
	if (r < 0) {
		instance_leave(&instance);
		return r;
	}
	restore_segments(*ret, image);
	return 0;
}

/* --- what others had of them ------------------------------------------------------------------ */

int restore_locker(struct registry *registry, const struct record_locker *row,
		   struct estate *estate)
{
	struct segment *segment = registry_by_id(registry, row->segment);
	struct locker *locker;

	if (!segment || segment->semaphore.fd < 0)
		return -EINVAL;
	int r = locker_restore(&segment->ledger, estate, segment->id, (pid_t)row->pid, row->uid,
			       row->number, &locker);
	if (r < 0)
		return r;
	locker->process_start = row->process_start;
	if (row->flags & RECORD_UNTIL_EXIT)
		ledger_keep_until_exit(locker);
	if (row->flags & RECORD_WAS_LEFT) {
		struct charge charge = {0};
		quota_restore(&registry->quota, row->uid, QUOTA_ATTACHMENTS, 1, &charge);
		locker_leave(locker, &charge);
	}
	record_locker(&registry->record, locker);
	return 0;
}

static bool is_attachments(const struct segment *segment, const struct locker *locker)
{
	const struct attachment *attachment;

	DL_FOREACH (segment->attachments, attachment)
		if (attachment->locker == locker)
			return true;
	return false;
}

/* One that was left may have been taken up again since; to lock by it is its process's, and no two
 * attachments'. */
static struct locker *take_up(const struct segment *segment, const struct session *session,
			      unsigned number)
{
	struct locker *locker;

	DL_FOREACH (segment->ledger.lockers, locker)
		if (locker->number == number)
			break;
	if (!locker || locker->estate != session->estate || is_attachments(segment, locker))
		return NULL;
	locker_take_up_this(locker);
	return locker;
}

int restore_attachment(struct registry *registry, const struct record_attachment *row,
		       struct session *session)
{
	struct segment *segment = registry_by_id(registry, row->segment);
	struct attachment *attachment;

	if (!segment)
		return -EINVAL;
	int r = attachment_restore(&registry->quota, session, segment, &attachment);
	if (r < 0)
		return r;
	attachment->counts[false] = row->writing;
	attachment->counts[true] = row->reading;
	attachment->is_doubtful = true;
	if (row->number > 0 && session->estate)
		attachment->locker = take_up(segment, session, row->number);
	record_attachment(&registry->record, attachment);
	return 0;
}

void restore_bonds(struct registry *registry, uint64_t id, struct session *owner,
		   struct session *publisher)
{
	struct segment *segment = registry_by_id(registry, id);

	if (!segment || !segment->name[0])
		publisher = NULL;
	if (!segment || segment->state != SEGMENT_LIVE)
		return;
	/* Who has let go of it, or has lost the binding, is none any more, whatever the row says. */
	if (owner && owner != publisher && !attachment_find(owner, id))
		owner = NULL;
	segment->owner = owner;
	segment->publisher = publisher;
	if (publisher)
		DL_APPEND2(publisher->published, segment, published_prev, published_next);
}

void restore_heir(struct registry *registry, uint64_t id, struct estate *heir, pid_t next)
{
	struct segment *segment = registry_by_id(registry, id);

	if (segment && segment->name[0])
		heir_begin(segment, heir, next);
}

void restore_finish(struct registry *registry)
{
	struct segment *segment;

	for (segment = registry->by_id; segment; segment = segment->by_id.next) {
		/* Programs that had the semaphore by name may have died. */
		recovery_note_close(segment);
		ending_enqueue(registry, segment);
		record_note(&registry->record, segment);
	}
	record_flush(&registry->record);
}

bool restore_let_go(struct registry *registry, struct session *session, unsigned most,
		    uint64_t *after)
{
	struct attachment *attachment = attachment_find(session, *after), *next;

	if (!registry->has_leases)
		return false;
	attachment = attachment ? attachment->hh.next : session->attachments;
	for (; attachment && most-- > 0; attachment = next) {
		next = attachment->hh.next;
		if (segment_ask_use(attachment->segment) == LEASE_SOLE_USER)
			ending_enqueue(registry, leaving_let_go(registry, attachment));
		else
			*after = attachment->segment_id;
	}
	return attachment != NULL;
}

/* --- clients that come back ------------------------------------------------------------------- */

void restore_session(struct session *from, struct session *to)
{
	struct attachment *attachment;
	struct segment *segment;

	to->attachments = steal_ptr(from->attachments);
	for (attachment = to->attachments; attachment; attachment = attachment->hh.next) {
		attachment->session = to;
		if (attachment->segment->owner == from)
			attachment->segment->owner = to;
	}
	to->published = steal_ptr(from->published);
	DL_FOREACH2 (to->published, segment, published_next) {
		segment->publisher = to;
		if (segment->owner == from)
			segment->owner = to;
	}
	to->bytes = from->bytes;
	from->bytes = 0;
	to->id = from->id;
	to->token = from->token;
	to->last = from->last;
	row_clear(&to->row);
	to->row = from->row;
	from->row = (struct row){0};
}

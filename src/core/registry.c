/* SPDX-License-Identifier: MIT */
#include "core/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/ending.h"
#include "core/entering.h"
#include "core/heir.h"
#include "core/lease.h"
#include "core/leaving.h"
#include "core/memory.h"

/* --- what this kernel lets us know ------------------------------------------------------------ */

static void degrade(struct registry *registry, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void degrade(struct registry *registry, const char *format, ...)
{
	size_t length = strlen(registry->degraded);
	va_list ap;

	if (length > 0)
		length += (size_t)snprintf(registry->degraded + length,
					   sizeof(registry->degraded) - length, "; ");
	if (length >= sizeof(registry->degraded))
		return;
	va_start(ap, format);
	vsnprintf(registry->degraded + length, sizeof(registry->degraded) - length, format, ap);
	va_end(ap);
	log_warning("%s", registry->degraded + length);
}

static void test_kernel(struct registry *registry)
{
	int r = lease_self_test();

	registry->has_leases = r == 0;
	if (r < 0)
		degrade(registry,
			"no leases (%s): a segment ends when its clients are gone, also while a "
			"process has it that only inherited it",
			strerror(-r));
	r = semaphore_self_test(&registry->instance);
	if (r < 0)
		degrade(registry,
			"no access control lists (%s): users other than the daemon's can have a "
			"semaphore by descriptor only",
			strerror(-r));
	registry->has_words = word_test();
	if (!registry->has_words)
		degrade(registry,
			"this C library lays semaphores out otherwise: permits cannot be "
			"taken through libshmd, and those of the dead are not given back");
	r = watch_init(&registry->watch);
	if (r == 0)
		r = watch_add_folder(&registry->watch, registry->instance.folder);
	if (r < 0 && registry->has_leases)
		degrade(registry,
			"no inotify instance (%s): the end of a segment's last use is found by "
			"looking, up to a second late, and a permit of a program that opened the "
			"semaphore by name is given back when the last client has gone",
			strerror(-r));
}

/* --- life of the registry --------------------------------------------------------------------- */

int registry_make(struct registry **ret, const struct quota_limits *limits,
		  const struct instance *instance, uint64_t first_id)
{
	struct registry *registry = calloc(1, sizeof(*registry));

	if (!registry)
		return -ENOMEM;
	registry->instance = *instance;
	int r = instance_sweep(&registry->instance);
	if (r < 0) {
		free(registry);
		return r;
	}
	record_init(&registry->record);
	quota_init(&registry->quota, limits);
	heap_init(&registry->timers);
	recovery_init(&registry->recovery, &registry->watch, &registry->statistics,
		      &registry->journal);
	registry->next_id = first_id;
	registry->waits.newest = first_id - 1;
	test_kernel(registry);
	*ret = registry;
	return 0;
}

int registry_new(struct registry **ret, const struct quota_limits *limits, const char *shm_folder,
		 uint64_t first_id)
{
	struct instance instance;
	int r = instance_init(&instance, shm_folder);

	if (r < 0)
		return r;
	r = registry_make(ret, limits, &instance, first_id);
	if (r < 0)
		instance_fini(&instance);
	return r;
}

void registry_leave_behind(struct registry *registry)
{
	record_flush(&registry->record);
	record_fini(&registry->record);
	registry->is_left = true;
}

struct registry *registry_free(struct registry *registry)
{
	struct segment *segment, *next;

	if (!registry)
		return NULL;
	HASH_CLEAR(by_name, registry->by_name);
	HASH_ITER (by_id, registry->by_id, segment, next) {
		HASH_DELETE(by_id, registry->by_id, segment);
		watch_remove(&registry->watch, &segment->watch);
		recovery_remove(&registry->recovery, segment);
		lineage_remove(segment->lineage, segment->size);
		if (registry->is_left)
			semaphore_leave(&segment->semaphore);
		segment_free(segment, &registry->instance);
	}
	policy_fini(&registry->policy);
	waits_fini(&registry->waits);
	reaped_fini(&registry->reaped);
	recovery_fini(&registry->recovery);
	heap_fini(&registry->timers);
	watch_fini(&registry->watch);
	quota_fini(&registry->quota);
	if (registry->is_left)
		instance_leave(&registry->instance);
	else
		instance_fini(&registry->instance);
	record_fini(&registry->record);
	free(registry);
	return NULL;
}

void registry_set_policy(struct registry *registry, struct policy *policy)
{
	policy_fini(&registry->policy);
	registry->policy = *policy;
	*policy = (struct policy){0};
}

/* --- finding ---------------------------------------------------------------------------------- */

struct segment *registry_by_id(const struct registry *registry, uint64_t id)
{
	struct segment *segment;

	HASH_FIND(by_id, registry->by_id, &id, sizeof(id), segment);
	return segment && segment->state != SEGMENT_UNUSED ? segment : NULL;
}

struct segment *registry_by_name(const struct registry *registry, const char *name)
{
	struct segment *segment;

	HASH_FIND(by_name, registry->by_name, name, strlen(name), segment);
	return segment;
}

static int look_up(const struct registry *registry, const struct credentials *who, uint64_t id,
		   const char *name, struct segment **ret, struct refusal *why)
{
	struct segment *segment;

	if (id) {
		segment = registry_by_id(registry, id);
		if (!segment || segment_is_hidden(segment, who))
			return refuse(why, REFUSAL_NOT_FOUND, "no segment has the id %" PRIu64, id);
	} else {
		int r = name_parse(name, &name, why);
		if (r != 0)
			return r;
		segment = registry_by_name(registry, name);
		if (!segment)
			return refuse(why, REFUSAL_NOT_FOUND, "there is no segment '%s'", name);
	}
	*ret = segment;
	return 0;
}

static int check_access(const struct segment *segment, const struct credentials *who,
			unsigned wanted, struct refusal *why)
{
	char text[SEGMENT_DESCRIPTION_MAX];

	if (access_allowed(who, &segment->ownership, wanted))
		return 0;
	return refuse(why, REFUSAL_DENIED, "its mode does not let uid %u %s segment %s", who->uid,
		      wanted & ACCESS_WRITE ? "read and write" : "read",
		      segment_describe_to(segment, who, text));
}

int registry_find(const struct registry *registry, const struct credentials *who, uint64_t id,
		  const char *name, struct segment **ret, struct refusal *why)
{
	struct segment *segment;
	int r = look_up(registry, who, id, name, &segment, why);

	if (r != 0)
		return r;
	if (!segment_is_visible(segment, who))
		return check_access(segment, who, ACCESS_READ, why);
	*ret = segment;
	return 0;
}

struct segment *registry_next(const struct registry *registry, uint64_t after_id)
{
	struct segment *segment;

	/* Ids only grow, so the table's order of insertion is theirs. */
	HASH_FIND(by_id, registry->by_id, &after_id, sizeof(after_id), segment);
	if (segment)
		segment = segment->by_id.next;
	else
		for (segment = registry->by_id; segment && segment->id <= after_id;)
			segment = segment->by_id.next;
	while (segment && segment->state == SEGMENT_UNUSED)
		segment = segment->by_id.next;
	return segment;
}

/* --- attaching -------------------------------------------------------------------------------- */

static void settle_named(struct registry *registry, const char *text, uint64_t now)
{
	struct refusal ignored;
	const char *name;

	if (name_parse(text, &name, &ignored) == 0)
		ending_settle_name(registry, name, now);
}

static int check_sealed(const struct segment *segment, bool read_only, struct refusal *why)
{
	char text[SEGMENT_DESCRIPTION_MAX];

	if (!segment->is_sealed || read_only)
		return 0;
	return refuse(why, REFUSAL_DENIED,
		      "segment %s is sealed: nobody can write to it, and it can be attached "
		      "read-only",
		      segment_describe(segment, text));
}

int registry_check_attach(const struct segment *segment, const struct credentials *who,
			  bool read_only, struct refusal *why)
{
	char text[SEGMENT_DESCRIPTION_MAX];
	int r = check_access(segment, who, read_only ? ACCESS_READ : ACCESS_READ | ACCESS_WRITE,
			     why);

	if (r == 0 && segment_is_posix(segment))
		return refuse(
			why, REFUSAL_DENIED,
			"segment %s was made by %s(3) under the preload shim, where its users "
			"may change its size: it can be opened in that way, and not attached",
			segment_describe(segment, text),
			segment->kind == SEGMENT_POSIX_SEMAPHORE ? "sem_open" : "shm_open");
	return r != 0 ? r : check_sealed(segment, read_only, why);
}

/* The new segment's first attachment, its creator's. */
static int grant_new(struct registry *registry, struct session *session, struct segment *segment,
		     const struct creation *what, struct grant *ret, struct refusal *why)
{
	_cleanup_close_ int reader = what->reader ? memory_reopen(segment->fd, true) : -1;

	if (what->reader && reader < 0)
		return refuse_errno(why, reader, "open the segment's memory for reading");
	int r = entering_attach(registry, session, segment, false, ret, why);
	if (r != 0)
		return r;
	ret->reader_fd = steal_fd(&reader);
	ret->is_new = true;
	if (segment->lifetime == LIFETIME_OWNER)
		segment->owner = session;
	if (what->heir && segment->name[0] && session->estate)
		heir_begin(segment, session->estate, what->heir);
	record_note(&registry->record, segment);
	return 0;
}

static int create_new(struct registry *registry, struct session *session,
		      const struct creation *what, uint64_t now, struct grant *ret,
		      struct refusal *why)
{
	struct tally_share share = {0};
	struct ownership of = {session->who.uid, session->who.gid, what->mode};
	struct segment *segment;
	int r = what->name && what->name[0] ? policy_admit(&registry->policy, &registry->tallies,
							   &session->who, what, &of, &share, why)
					    : 0;

	if (r == 0)
		r = segment_new(&registry->quota, &registry->instance, registry->next_id,
				&session->who, &of, what, now, &segment, why);
	if (r != 0) {
		tally_release(&share);
		return r;
	}
	segment->rule_share = share;
	r = entering_add(registry, segment);
	if (r < 0) {
		segment_free(segment, &registry->instance);
		return r;
	}
	record_next_id(&registry->record, ++registry->next_id);
	r = grant_new(registry, session, segment, what, ret, why);
	if (r != 0) {
		ending_drop_name(registry, segment);
		registry_forget(registry, segment);
		return r;
	}
	if (segment->name[0])
		waits_wake(&registry->waits, segment->name, segment->generation);
	statistics_count(&registry->statistics, STATISTIC_CREATED);
	journal_tell(&registry->journal, EVENT_CREATED, segment, session, false, now);
	return 0;
}

static void note_attached(struct registry *registry, const struct session *session,
			  const struct segment *segment, bool read_only, uint64_t now)
{
	statistics_count(&registry->statistics, STATISTIC_ATTACHED);
	journal_tell(&registry->journal, EVENT_ATTACHED, segment, session, read_only, now);
}

static int open_existing(struct registry *registry, struct session *session,
			 struct segment *segment, const struct creation *what, uint64_t now,
			 struct grant *ret, struct refusal *why)
{
	int r = registry_check_attach(segment, &session->who, false, why);

	if (r != 0)
		return r;
	if (segment->size < what->size)
		return refuse(why, REFUSAL_INVALID,
			      "segment '%s' exists with %" PRIu64 " bytes; %" PRIu64
			      " were asked for",
			      segment->name, segment->size, what->size);
	r = entering_attach(registry, session, segment, false, ret, why);
	if (r == 0)
		note_attached(registry, session, segment, false, now);
	return r;
}

int registry_create(struct registry *registry, struct session *session, const struct creation *what,
		    uint64_t now, struct grant *ret, struct refusal *why)
{
	struct creation parsed = *what;
	struct segment *existing;

	/* What is kept for the next daemon is kept once, with all its descriptors. */
	parsed.late_semaphore &= !record_is_kept(&registry->record);

	if (!what->name || !what->name[0])
		return create_new(registry, session, &parsed, now, ret, why);
	int r = name_parse(what->name, &parsed.name, why);
	if (r != 0)
		return r;
	existing = ending_settle_name(registry, parsed.name, now);
	if (!existing)
		return create_new(registry, session, &parsed, now, ret, why);
	if (!what->open_existing)
		return refuse(why, REFUSAL_EXISTS, "a segment '%s' exists", parsed.name);
	return open_existing(registry, session, existing, what, now, ret, why);
}

int registry_attach(struct registry *registry, struct session *session, uint64_t id,
		    const char *name, bool read_only, uint64_t now, struct grant *ret,
		    struct refusal *why)
{
	struct segment *segment;

	if (!id)
		settle_named(registry, name, now);
	int r = look_up(registry, &session->who, id, name, &segment, why);

	if (r == 0)
		r = registry_check_attach(segment, &session->who, read_only, why);
	if (r == 0)
		r = entering_attach(registry, session, segment, read_only, ret, why);
	if (r == 0)
		note_attached(registry, session, segment, read_only, now);
	return r;
}

/* --- semaphores that were put off ------------------------------------------------------------- */

static int make_late_semaphore(struct registry *registry, struct segment *segment,
			       struct refusal *why)
{
	int r = segment_make_late_semaphore(segment, &registry->instance, why);

	if (r != 0)
		return r;
	/* Who has it by descriptor alone is all that is left. */
	if (segment->state == SEGMENT_DROPPED)
		semaphore_unlink(&segment->semaphore, &registry->instance);
	else if (recovery_add(&registry->recovery, segment) < 0)
		log_warning("out of memory: who dies with a permit that it took by name is not "
			    "found out");
	return 0;
}

int registry_grant_semaphore(struct registry *registry, const struct session *session,
			     bool read_only, struct grant *grant, struct refusal *why)
{
	struct segment *segment = grant->segment;
	int r = segment->late_permits ? make_late_semaphore(registry, segment, why) : 0;

	if (r == 0 && session->can_lock && segment_may_lock(segment, read_only))
		grant->semaphore_fd = segment->semaphore.fd;
	return r;
}

/* --- permits ---------------------------------------------------------------------------------- */

static enum lock_right lock_right(const struct registry *registry, const struct session *session,
				  const struct segment *segment, bool read_only)
{
	if (segment->semaphore.fd < 0)
		return LOCK_NO_SEMAPHORE;
	if (!segment_may_lock(segment, read_only))
		return LOCK_READ_ONLY;
	if (!registry->has_words || !session->can_lock)
		return LOCK_LAYOUT;
	/* The next daemon would not find its process again: its number would be given to another one, who
	 * locks beside it. */
	if (record_is_kept(&registry->record) && session->pid == 0)
		return LOCK_UNWATCHED;
	return session->estate ? LOCK_GRANTED : LOCK_UNWATCHED;
}

/* The same process goes on with what it left behind: it may hold permits by it. */
static struct locker *give_number(struct registry *registry, struct session *session,
				  struct segment *segment)
{
	struct locker *locker = locker_take_up(session->estate, segment->id);

	if (!locker && locker_new(&segment->ledger, session->estate, segment->id, session->pid,
				  session->who.uid, &locker) < 0)
		return NULL;
	locker->process_start = session->process_start;
	record_locker(&registry->record, locker);
	return locker;
}

void registry_grant_lock(struct registry *registry, struct session *session, bool read_only,
			 struct grant *grant)
{
	struct segment *segment = grant->segment;
	struct attachment *attachment = attachment_find(session, segment->id);

	grant->lock = lock_right(registry, session, segment, read_only);
	if (grant->lock != LOCK_GRANTED)
		return;
	if (!attachment->locker)
		attachment->locker = give_number(registry, session, segment);
	if (!attachment->locker) {
		grant->lock = LOCK_NO_NUMBER;
		return;
	}
	record_attachment(&registry->record, attachment);
	grant->number = attachment->locker->number;
	grant->ledger_fd = segment->ledger.fd;
}

int registry_keep(struct registry *registry, struct session *session, uint64_t id,
		  struct refusal *why)
{
	const struct attachment *attachment = attachment_find(session, id);

	if (!attachment || !attachment->locker)
		return refuse(why, REFUSAL_NOT_FOUND,
			      "this client has no number to take permits of segment %" PRIu64 " by",
			      id);
	ledger_keep_until_exit(attachment->locker);
	record_locker(&registry->record, attachment->locker);
	return 0;
}

/* --- letting go ------------------------------------------------------------------------------- */

/* Who says that it lets go will not take a permit any more; one that it holds all the same stays held
 * for as long as its process lives. */
static void give_number_back(struct attachment *attachment)
{
	const struct segment *segment = attachment->segment;
	struct locker *locker = attachment->locker;

	if (locker && !locker->was_left &&
	    ledger_held(&segment->ledger, &segment->semaphore, locker) == 0)
		attachment->locker = locker_free(locker);
}

int registry_detach(struct registry *registry, struct session *session, uint64_t id, bool read_only,
		    uint64_t now, struct refusal *why)
{
	struct attachment *attachment = attachment_find(session, id);

	if (!attachment || attachment->counts[read_only] == 0)
		return refuse(why, REFUSAL_NOT_FOUND,
			      "segment %" PRIu64 " is not attached %s by this client", id,
			      read_only ? "read-only" : "for writing");
	statistics_count(&registry->statistics, STATISTIC_DETACHED);
	journal_tell(&registry->journal, EVENT_DETACHED, attachment->segment, session, read_only,
		     now);
	if (--attachment->counts[read_only] > 0 || attachment->counts[!read_only] > 0) {
		record_attachment(&registry->record, attachment);
		return 0;
	}
	give_number_back(attachment);
	struct segment *segment = leaving_let_go(registry, attachment);
	/* Now, and not with the queue's turn: who has the reply sees what follows from it. That a client
	 * lets go of what it is done with is the ordinary end. */
	ending_settle_as(registry, segment, LOG_LEVEL_DEBUG, now);
	return 0;
}

/* --- after a restart -------------------------------------------------------------------------- */

/* What follows comes with the queue's turn: it may be much. */
static void let_go(struct registry *registry, struct attachment *attachment)
{
	give_number_back(attachment);
	ending_enqueue(registry, leaving_let_go(registry, attachment));
}

int registry_confirm(struct registry *registry, struct session *session, uint64_t id,
		     uint64_t for_writing, uint64_t read_only, struct refusal *why)
{
	struct attachment *attachment = attachment_find(session, id);
	const uint64_t said[] = {for_writing, read_only};

	if (!attachment)
		return refuse(why, REFUSAL_NOT_FOUND,
			      "segment %" PRIu64 " is not attached by this client", id);
	attachment->is_doubtful = false;
	for (int i = 0; i < 2; i++)
		if (attachment->counts[i] > said[i])
			attachment->counts[i] = said[i];
	if (attachment->counts[0] == 0 && attachment->counts[1] == 0)
		let_go(registry, attachment);
	else
		record_attachment(&registry->record, attachment);
	return 0;
}

void registry_settle_session(struct registry *registry, struct session *session)
{
	struct attachment *attachment, *next;

	HASH_ITER (hh, session->attachments, attachment, next)
		if (attachment->is_doubtful)
			let_go(registry, attachment);
}

/* --- ends ------------------------------------------------------------------------------------- */

static struct segment *segment_of_ledger(const struct ledger *ledger)
{
	return (struct segment *)((char *)ledger - offsetof(struct segment, ledger));
}

void registry_bury(struct registry *registry, struct estate *estate)
{
	struct locker *locker;

	heir_release(registry, estate);
	DL_FOREACH2 (estate->lockers, locker, estate_next) {
		ledger_note_death(locker);
		ending_enqueue(registry, segment_of_ledger(locker->ledger));
	}
}

struct estate *registry_take_emptied(struct registry *registry)
{
	struct estate *estate = registry->emptied;

	if (estate)
		estate_unlist(estate);
	return estate;
}

/* A program that has closed what it unlinks then, as POSIX lets it, has not to know that we were faster. */
static bool was_reaped(struct registry *registry, const struct session *session, const char *text)
{
	struct refusal ignored;
	const char *name;

	return session->who.is_mapped && session->who.uid == geteuid() &&
	       name_parse(text, &name, &ignored) == 0 && reaped_take(&registry->reaped, name);
}

int registry_unlink(struct registry *registry, const struct session *session, uint64_t id,
		    const char *name, uint64_t now, uint64_t *ret_id, struct refusal *why)
{
	struct segment *segment;
	char text[SEGMENT_DESCRIPTION_MAX];

	if (!id)
		settle_named(registry, name, now);
	int r = look_up(registry, &session->who, id, name, &segment, why);

	if (r == REFUSAL_NOT_FOUND && !id && was_reaped(registry, session, name)) {
		*ret_id = 0;
		return 0;
	}
	if (r != 0)
		return r;
	if (!access_is_owner(&session->who, &segment->ownership) &&
	    !access_may_administer(&session->who))
		return refuse(why, REFUSAL_DENIED,
			      "segment %s belongs to another user; uid %u may not unlink it",
			      segment_describe_to(segment, &session->who, text), session->who.uid);
	*ret_id = segment->id;
	if (segment->state == SEGMENT_DROPPED)
		return 0;
	statistics_count(&registry->statistics, STATISTIC_UNLINKED);
	journal_tell(&registry->journal, EVENT_UNLINKED, segment, session, false, now);
	log_debug("unlinked segment %s by uid %u", segment_describe(segment, text),
		  session->who.uid);
	ending_drop_name(registry, segment);
	ending_settle(registry, segment, now);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "core/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/lease.h"
#include "core/memory.h"

/* The word of a close comes just before the kernel drops the count, so the test is repeated after
 * these pauses, each twice the one before. */
#define RETEST_FIRST (NSEC_PER_MSEC / 2)
#define RETEST_LAST  (32 * NSEC_PER_SEC)
/* Without a watch there is no word at all, and the test goes on. */
#define POLL_LAST NSEC_PER_SEC

#define SEGMENT_OF(item, member) \
	((struct segment *)((char *)(item)-offsetof(struct segment, member)))

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

int registry_new(struct registry **ret, const struct quota_limits *limits, const char *shm_folder,
		 uint64_t first_id)
{
	struct registry *registry = calloc(1, sizeof(*registry));

	if (!registry)
		return -ENOMEM;
	int r = instance_init(&registry->instance, shm_folder);
	if (r >= 0)
		r = instance_sweep(&registry->instance);
	if (r < 0) {
		instance_fini(&registry->instance);
		free(registry);
		return r;
	}
	quota_init(&registry->quota, limits);
	heap_init(&registry->timers);
	recovery_init(&registry->recovery, &registry->watch, &registry->statistics);
	registry->next_id = first_id;
	test_kernel(registry);
	*ret = registry;
	return 0;
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
		segment_free(segment, &registry->instance);
	}
	recovery_fini(&registry->recovery);
	heap_fini(&registry->timers);
	watch_fini(&registry->watch);
	quota_fini(&registry->quota);
	instance_fini(&registry->instance);
	free(registry);
	return NULL;
}

/* --- finding ---------------------------------------------------------------------------------- */

static struct segment *by_id(const struct registry *registry, uint64_t id)
{
	struct segment *segment;

	HASH_FIND(by_id, registry->by_id, &id, sizeof(id), segment);
	return segment && segment->state != SEGMENT_UNUSED ? segment : NULL;
}

static struct segment *by_name(const struct registry *registry, const char *name)
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
		segment = by_id(registry, id);
		if (!segment || segment_is_hidden(segment, who))
			return refuse(why, REFUSAL_NOT_FOUND, "no segment has the id %" PRIu64, id);
	} else {
		int r = name_parse(name, &name, why);
		if (r != 0)
			return r;
		segment = by_name(registry, name);
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

/* --- the end of a segment --------------------------------------------------------------------- */

static void enqueue(struct registry *registry, struct segment *segment)
{
	if (segment->queued || segment->state == SEGMENT_UNUSED)
		return;
	segment->queued = true;
	DL_APPEND(registry->queue, segment);
}

static void dequeue(struct registry *registry, struct segment *segment)
{
	if (!segment->queued)
		return;
	segment->queued = false;
	DL_DELETE(registry->queue, segment);
}

/* A timer that cannot be had for want of memory is made good for by settling at once, and again. */
static void set_timer(struct registry *registry, struct segment *segment, uint64_t deadline)
{
	if (heap_set(&registry->timers, &segment->timer, deadline) < 0)
		enqueue(registry, segment);
}

/* The pauses start anew, each time. */
static void start_tests(struct registry *registry, struct segment *segment, uint64_t now)
{
	segment->retest_ns = RETEST_FIRST;
	set_timer(registry, segment, now + RETEST_FIRST);
}

/* What a watch's word is about. */
struct word {
	struct registry *registry;
	uint64_t now;
};

static void on_close(struct watch_item *item, void *context)
{
	struct word *word = context;

	start_tests(word->registry, SEGMENT_OF(item, watch), word->now);
}

static void stop_testing(struct registry *registry, struct segment *segment)
{
	watch_remove(&registry->watch, &segment->watch);
	heap_remove(&registry->timers, &segment->timer);
	segment->retest_ns = 0;
}

static void on_semaphore_closed(struct watch_item *item, void *context)
{
	struct word *word = context;
	struct segment *segment = SEGMENT_OF(item, raw_watch);

	recovery_note_close(segment);
	enqueue(word->registry, segment);
}

static void drop_name(struct registry *registry, struct segment *segment)
{
	if (segment->name[0]) {
		HASH_DELETE(by_name, registry->by_name, segment);
		segment->name[0] = '\0';
	}
	recovery_drop_name(&registry->recovery, segment, on_semaphore_closed);
	semaphore_unlink(&segment->semaphore, &registry->instance);
	stop_testing(registry, segment);
	segment->state = SEGMENT_DROPPED;
	if (segment->is_audit_due)
		enqueue(registry, segment);
}

static void put_unused(struct registry *registry, struct segment *segment)
{
	stop_testing(registry, segment);
	recovery_remove(&registry->recovery, segment);
	dequeue(registry, segment);
	segment->state = SEGMENT_UNUSED;
	DL_APPEND(registry->unused, segment);
}

/* Starts to watch a segment that is still in use. Returns whether word of its closing will come. */
static bool watch_use(struct registry *registry, struct segment *segment)
{
	if (segment->watch.wd)
		return true;
	int r = watch_add(&registry->watch, &segment->watch, segment->fd, on_close);
	if (r < 0 && registry->watch.fd >= 0 && !registry->was_told) {
		registry->was_told = true;
		log_warning("no inotify watch to be had (%s): looking up to a second late instead",
			    strerror(-r));
	}
	return r == 0;
}

static void schedule_test(struct registry *registry, struct segment *segment, bool is_watched,
			  uint64_t now)
{
	uint64_t last = is_watched ? RETEST_LAST : POLL_LAST;

	if (segment->retest_ns == 0 && is_watched)
		return;
	segment->retest_ns = segment->retest_ns ? 2 * segment->retest_ns : RETEST_FIRST;
	if (segment->retest_ns > last && is_watched) {
		segment->retest_ns = 0;
		return;
	}
	if (segment->retest_ns > last)
		segment->retest_ns = last;
	set_timer(registry, segment, now + segment->retest_ns);
}

/* What follows when somebody has the memory: word of its closing, or a test now and then. */
static bool wait_for_closing(struct registry *registry, struct segment *segment, uint64_t now)
{
	bool was_watched = segment->watch.wd != 0;
	bool is_watched = watch_use(registry, segment);

	if (!is_watched || was_watched) {
		schedule_test(registry, segment, is_watched, now);
		return false;
	}
	/* Who let go between the test and the watch is seen by a second test. And who had sent word
	 * before the watch stood, and lets go after that test, by the ones that follow. */
	if (segment_ask_use(segment) == LEASE_SOLE_USER)
		return true;
	start_tests(registry, segment, now);
	return false;
}

/* Whether nobody has the memory any more. If somebody has, the test comes back by itself. */
static bool test_unused(struct registry *registry, struct segment *segment, uint64_t now)
{
	if (segment->n_attachments > 0 || segment->ledger.n_kept > 0)
		return false;
	if (!registry->has_leases)
		return true;
	switch (segment_ask_use(segment)) {
	case LEASE_SOLE_USER:
		return true;
	case LEASE_SHARED:
		return wait_for_closing(registry, segment, now);
	case LEASE_UNKNOWN:
		/* Nobody may have it, and then no word would ever come. */
		watch_remove(&registry->watch, &segment->watch);
		schedule_test(registry, segment, false, now);
		return false;
	}
	return false;
}

/* An anonymous segment can be picked up by nobody, so it does not outlive its users. */
static enum lifetime effective_lifetime(const struct segment *segment)
{
	return segment->lifetime == LIFETIME_PERSISTENT && !segment->name[0] ? LIFETIME_CLIENTS
									     : segment->lifetime;
}

/* *ret_is_unused: the test for that has found that nobody has the memory either. */
static bool has_ended(struct registry *registry, struct segment *segment, uint64_t now,
		      bool *ret_is_unused)
{
	*ret_is_unused = false;
	switch (effective_lifetime(segment)) {
	case LIFETIME_CLIENTS:
		*ret_is_unused = test_unused(registry, segment, now);
		return *ret_is_unused;
	case LIFETIME_OWNER:
		return segment->owner == NULL;
	case LIFETIME_PERSISTENT:
		return false;
	}
	return false;
}

static const char *reason(const struct segment *segment)
{
	if (segment->state == SEGMENT_LINGERING)
		return "nobody picked it up";
	return effective_lifetime(segment) == LIFETIME_OWNER ? "its owner is gone"
							     : "nobody has it any more";
}

static void reap(struct registry *registry, struct segment *segment, enum log_level level)
{
	char text[SEGMENT_DESCRIPTION_MAX];

	log_line(level, "reaped segment %s of uid %u, %" PRIu64 " bytes: %s",
		 segment_describe(segment, text), segment->ownership.uid, segment->size,
		 reason(segment));
	statistics_count(&registry->statistics, STATISTIC_REAPED);
	drop_name(registry, segment);
}

static void start_linger(struct registry *registry, struct segment *segment, uint64_t now)
{
	stop_testing(registry, segment);
	segment->state = SEGMENT_LINGERING;
	set_timer(registry, segment, now + segment->linger_ns);
}

/* Brings a segment to the state that follows from who has it now. `level`: how remarkable its end is. */
static void settle_as(struct registry *registry, struct segment *segment, enum log_level level,
		      uint64_t now)
{
	bool is_unused = false;

	recovery_settle(&registry->recovery, segment, now);
	if (segment->state == SEGMENT_LIVE && has_ended(registry, segment, now, &is_unused)) {
		if (segment->linger_ns && segment->name[0])
			start_linger(registry, segment, now);
		else
			reap(registry, segment, level);
	}
	if (segment->state == SEGMENT_LINGERING && segment->timer.deadline <= now)
		reap(registry, segment, level);
	if (segment->state == SEGMENT_DROPPED && (is_unused || test_unused(registry, segment, now)))
		put_unused(registry, segment);
}

static void settle(struct registry *registry, struct segment *segment, uint64_t now)
{
	settle_as(registry, segment, LOG_LEVEL_INFO, now);
}

bool registry_settle_some(struct registry *registry, unsigned most, uint64_t now)
{
	while (most-- > 0 && registry->queue) {
		struct segment *segment = registry->queue;
		dequeue(registry, segment);
		settle(registry, segment, now);
	}
	return registry->queue != NULL;
}

uint64_t registry_next_deadline(const struct registry *registry)
{
	const struct heap_item *first = heap_first(&registry->timers);
	const struct heap_item *other = heap_first(&registry->recovery.timers);

	if (!first || (other && other->deadline < first->deadline))
		first = other;
	return first ? first->deadline : 0;
}

void registry_run_timers(struct registry *registry, uint64_t now)
{
	for (struct heap_item *item;
	     (item = heap_first(&registry->timers)) && item->deadline <= now;) {
		heap_remove(&registry->timers, item);
		enqueue(registry, SEGMENT_OF(item, timer));
	}
	for (struct segment *segment; (segment = recovery_take_expired(&registry->recovery, now));)
		enqueue(registry, segment);
}

static void on_file_closed(const char *name, void *context)
{
	struct registry *registry = ((struct word *)context)->registry;
	struct segment *segment = name ? recovery_find(&registry->recovery, name) : registry->by_id;

	for (; segment; segment = name ? NULL : segment->by_id.next) {
		recovery_note_close(segment);
		enqueue(registry, segment);
	}
}

void registry_read_watch(struct registry *registry, uint64_t now)
{
	struct word word = {registry, now};

	watch_read(&registry->watch, on_file_closed, &word);
}

struct segment *registry_take_unused(struct registry *registry, int ret_fds[static 2])
{
	struct segment *segment = registry->unused;

	if (!segment)
		return NULL;
	DL_DELETE(registry->unused, segment);
	ret_fds[0] = steal_fd(&segment->fd);
	ret_fds[1] = steal_fd(&segment->semaphore.fd);
	return segment;
}

void registry_forget(struct registry *registry, struct segment *segment)
{
	HASH_DELETE(by_id, registry->by_id, segment);
	segment_free(segment, &registry->instance);
}

/* Brings what a name leads to up to date before anybody is answered about it: its users may have gone,
 * and its turn in the queue not come. */
static struct segment *settled_by_name(struct registry *registry, const char *name, uint64_t now)
{
	struct segment *segment = by_name(registry, name);

	if (!segment || !segment->queued)
		return segment;
	dequeue(registry, segment);
	settle(registry, segment, now);
	return by_name(registry, name);
}

static void settle_named(struct registry *registry, const char *text, uint64_t now)
{
	struct refusal ignored;
	const char *name;

	if (name_parse(text, &name, &ignored) == 0)
		settled_by_name(registry, name, now);
}

/* --- attaching -------------------------------------------------------------------------------- */

/* Whoever comes back for a segment that lingers revives it; an owner's one only for an owner. */
static void revive(struct registry *registry, struct segment *segment, struct session *session,
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
}

/* Enters the attachment into the books and opens the memory for it. */
static int grant_access(struct registry *registry, struct session *session, struct segment *segment,
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
	if (segment->state != SEGMENT_LINGERING)
		stop_testing(registry, segment);
	revive(registry, segment, session, read_only);
	*ret = (struct grant){
		.segment = segment, .fd = steal_fd(&fd), .semaphore_fd = -1, .ledger_fd = -1};
	if (session->can_lock && segment_may_lock(segment, read_only))
		ret->semaphore_fd = segment->semaphore.fd;
	return 0;
}

static int add_to_tables(struct registry *registry, struct segment *segment)
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

static int create_new(struct registry *registry, struct session *session,
		      const struct creation *what, uint64_t now, struct grant *ret,
		      struct refusal *why)
{
	struct segment *segment;
	int r = segment_new(&registry->quota, &registry->instance, registry->next_id, &session->who,
			    what, now, &segment, why);

	if (r != 0)
		return r;
	r = add_to_tables(registry, segment);
	if (r < 0) {
		segment_free(segment, &registry->instance);
		return r;
	}
	registry->next_id++;
	r = grant_access(registry, session, segment, false, ret, why);
	if (r != 0) {
		drop_name(registry, segment);
		registry_forget(registry, segment);
		return r;
	}
	if (segment->lifetime == LIFETIME_OWNER)
		segment->owner = session;
	ret->is_new = true;
	statistics_count(&registry->statistics, STATISTIC_CREATED);
	return 0;
}

static int open_existing(struct registry *registry, struct session *session,
			 struct segment *segment, const struct creation *what, struct grant *ret,
			 struct refusal *why)
{
	int r = check_access(segment, &session->who, ACCESS_READ | ACCESS_WRITE, why);

	if (r != 0)
		return r;
	if (segment->size < what->size)
		return refuse(why, REFUSAL_INVALID,
			      "segment '%s' exists with %" PRIu64 " bytes; %" PRIu64
			      " were asked for",
			      segment->name, segment->size, what->size);
	r = grant_access(registry, session, segment, false, ret, why);
	if (r == 0)
		statistics_count(&registry->statistics, STATISTIC_ATTACHED);
	return r;
}

int registry_create(struct registry *registry, struct session *session, const struct creation *what,
		    uint64_t now, struct grant *ret, struct refusal *why)
{
	struct creation parsed = *what;
	struct segment *existing;

	if (!what->name || !what->name[0])
		return create_new(registry, session, what, now, ret, why);
	int r = name_parse(what->name, &parsed.name, why);
	if (r != 0)
		return r;
	existing = settled_by_name(registry, parsed.name, now);
	if (!existing)
		return create_new(registry, session, &parsed, now, ret, why);
	if (!what->open_existing)
		return refuse(why, REFUSAL_EXISTS, "a segment '%s' exists", parsed.name);
	return open_existing(registry, session, existing, what, ret, why);
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
		r = check_access(segment, &session->who,
				 read_only ? ACCESS_READ : ACCESS_READ | ACCESS_WRITE, why);
	if (r == 0)
		r = grant_access(registry, session, segment, read_only, ret, why);
	if (r == 0)
		statistics_count(&registry->statistics, STATISTIC_ATTACHED);
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
	return session->estate ? LOCK_GRANTED : LOCK_UNWATCHED;
}

/* The same process goes on with what it left behind: it may hold permits by it. */
static struct locker *give_number(struct session *session, struct segment *segment)
{
	struct locker *locker = locker_take_up(session->estate, segment->id);

	if (locker)
		return locker;
	int r = locker_new(&segment->ledger, session->estate, segment->id, session->pid,
			   session->who.uid, &locker);
	return r < 0 ? NULL : locker;
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
		attachment->locker = give_number(session, segment);
	if (!attachment->locker) {
		grant->lock = LOCK_NO_NUMBER;
		return;
	}
	grant->number = attachment->locker->number;
	grant->ledger_fd = segment->ledger.fd;
}

int registry_keep(struct registry *registry, struct session *session, uint64_t id,
		  struct refusal *why)
{
	const struct attachment *attachment = attachment_find(session, id);

	(void)registry;
	if (!attachment || !attachment->locker)
		return refuse(why, REFUSAL_NOT_FOUND,
			      "this client has no number to take permits of segment %" PRIu64 " by",
			      id);
	ledger_keep_until_exit(attachment->locker);
	return 0;
}

/* --- letting go ------------------------------------------------------------------------------- */

/* Takes an attachment out of the books, and with its owner's the segment's owner. */
static struct segment *let_go(struct registry *registry, struct attachment *attachment)
{
	struct segment *segment = attachment->segment;

	if (segment->owner == attachment->session)
		segment->owner = NULL;
	if (attachment->locker)
		locker_leave(attachment->locker, &attachment->charge);
	attachment_free(attachment);
	/* Without the folder's watch no word comes of programs that had the semaphore by name. */
	if (segment->n_attachments == 0 && !registry->watch.folder)
		recovery_note_close(segment);
	return segment;
}

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
	if (--attachment->counts[read_only] > 0 || attachment->counts[!read_only] > 0)
		return 0;
	give_number_back(attachment);
	struct segment *segment = let_go(registry, attachment);
	/* Now, and not with the queue's turn: who has the reply sees what follows from it. That a client
	 * lets go of what it is done with is the ordinary end. */
	settle_as(registry, segment, LOG_LEVEL_DEBUG, now);
	return 0;
}

void registry_leave(struct registry *registry, struct session *session)
{
	struct attachment *attachment, *next;

	HASH_ITER (hh, session->attachments, attachment, next)
		enqueue(registry, let_go(registry, attachment));
}

void registry_bury(struct registry *registry, struct estate *estate)
{
	struct locker *locker;

	DL_FOREACH2 (estate->lockers, locker, estate_next) {
		ledger_note_death(locker);
		enqueue(registry, SEGMENT_OF(locker->ledger, ledger));
	}
}

struct estate *registry_take_emptied(struct registry *registry)
{
	struct estate *estate = registry->emptied;

	if (estate)
		estate_unlist(estate);
	return estate;
}

int registry_unlink(struct registry *registry, const struct session *session, uint64_t id,
		    const char *name, uint64_t now, struct refusal *why)
{
	struct segment *segment;
	char text[SEGMENT_DESCRIPTION_MAX];

	if (!id)
		settle_named(registry, name, now);
	int r = look_up(registry, &session->who, id, name, &segment, why);

	if (r != 0)
		return r;
	if (!access_is_owner(&session->who, &segment->ownership) &&
	    !access_is_privileged(&session->who))
		return refuse(why, REFUSAL_DENIED,
			      "segment %s belongs to another user; uid %u may not unlink it",
			      segment_describe_to(segment, &session->who, text), session->who.uid);
	if (segment->state == SEGMENT_DROPPED)
		return 0;
	statistics_count(&registry->statistics, STATISTIC_UNLINKED);
	log_debug("unlinked segment %s by uid %u", segment_describe(segment, text),
		  session->who.uid);
	drop_name(registry, segment);
	settle(registry, segment, now);
	return 0;
}

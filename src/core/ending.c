/* SPDX-License-Identifier: MIT */
#include "core/ending.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/heir.h"
#include "core/lease.h"
#include "core/leaving.h"

/* The word of a close comes just before the kernel drops the count, so the test is repeated after
 * these pauses, each twice the one before. */
#define RETEST_FIRST (NSEC_PER_MSEC / 2)
#define RETEST_LAST  (32 * NSEC_PER_SEC)
/* Without a watch there is no word at all, and the test goes on. */
#define POLL_LAST NSEC_PER_SEC

/* Sessions whose attachment of one segment ends before others get their turn. */
#define LEAVING_AT_ONCE 8

#define SEGMENT_OF(item, member) \
	((struct segment *)((char *)(item)-offsetof(struct segment, member)))

void ending_enqueue(struct registry *registry, struct segment *segment)
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
		ending_enqueue(registry, segment);
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

void ending_stop_tests(struct registry *registry, struct segment *segment)
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
	ending_enqueue(word->registry, segment);
}

/* The binding is a user no more. */
void ending_release_binding(struct segment *segment)
{
	if (!segment->publisher)
		return;
	DL_DELETE2(segment->publisher->published, segment, published_prev, published_next);
	segment->publisher = NULL;
}

void ending_drop_name(struct registry *registry, struct segment *segment)
{
	record_note(&registry->record, segment);
	ending_release_binding(segment);
	heir_drop(registry, segment);
	segment->owner = NULL;
	if (segment->name[0]) {
		HASH_DELETE(by_name, registry->by_name, segment);
		segment->name[0] = '\0';
	}
	recovery_drop_name(&registry->recovery, segment, on_semaphore_closed);
	semaphore_unlink(&segment->semaphore, &registry->instance);
	ending_stop_tests(registry, segment);
	segment->state = SEGMENT_DROPPED;
	if (segment->is_audit_due)
		ending_enqueue(registry, segment);
}

static void put_unused(struct registry *registry, struct segment *segment)
{
	ending_stop_tests(registry, segment);
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
static bool ask_unused(struct registry *registry, struct segment *segment, uint64_t now)
{
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

/* The same, and nobody is going to have it by its name. */
static bool test_unused(struct registry *registry, struct segment *segment, uint64_t now)
{
	if (segment->n_attachments > 0 || segment->ledger.n_kept > 0 ||
	    (segment->heir && !segment->next_heir))
		return false;
	return ask_unused(registry, segment, now) && !heir_keeps(registry, segment);
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
		*ret_is_unused = !segment->publisher && test_unused(registry, segment, now);
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

static void reap(struct registry *registry, struct segment *segment, enum log_level level,
		 uint64_t now)
{
	char text[SEGMENT_DESCRIPTION_MAX];

	log_about(level, segment_payer(segment),
		  "reaped segment %s of uid %u, %" PRIu64 " bytes: %s",
		  segment_describe(segment, text), segment->ownership.uid, segment_size(segment),
		  reason(segment));
	statistics_count(&registry->statistics, STATISTIC_REAPED);
	if (segment_is_posix(segment))
		reaped_note(&registry->reaped, segment->name);
	journal_tell(&registry->journal, EVENT_REAPED, segment, NULL, false, now);
	ending_drop_name(registry, segment);
}

/* Without memory for its timer nothing would tell when its time is over: it begins to linger when it is
 * settled the next time, and keeps its name until then. */
static void start_linger(struct registry *registry, struct segment *segment, uint64_t now)
{
	ending_stop_tests(registry, segment);
	if (heap_set(&registry->timers, &segment->timer, now + segment->linger_ns) < 0)
		ending_enqueue(registry, segment);
	else
		segment->state = SEGMENT_LINGERING;
}

/* Brings a segment to the state that follows from who has it now. `level`: how remarkable its end is. */
void ending_settle_as(struct registry *registry, struct segment *segment, enum log_level level,
		      uint64_t now)
{
	bool is_unused = false;

	/* First what the dead have attached, and then what they hold: their numbers end with that. */
	leaving_settle(registry, segment, UINT_MAX, now);
	dequeue(registry, segment);
	recovery_settle(&registry->recovery, segment, now);
	if (segment->state == SEGMENT_LIVE && has_ended(registry, segment, now, &is_unused)) {
		if (segment->linger_ns && segment->name[0])
			start_linger(registry, segment, now);
		else
			reap(registry, segment, level, now);
	}
	if (segment->state == SEGMENT_LINGERING && segment->timer.deadline <= now)
		reap(registry, segment, level, now);
	if (segment->state == SEGMENT_DROPPED && (is_unused || test_unused(registry, segment, now)))
		put_unused(registry, segment);
	else
		record_note(&registry->record, segment);
}

void ending_settle(struct registry *registry, struct segment *segment, uint64_t now)
{
	ending_settle_as(registry, segment, LOG_LEVEL_INFO, now);
}

bool registry_settle_some(struct registry *registry, unsigned most, uint64_t now)
{
	while (most-- > 0 && registry->queue) {
		struct segment *segment = registry->queue;
		dequeue(registry, segment);
		/* Of thousands who are leaving, some at a time; and it is settled when all are gone. */
		if (leaving_settle(registry, segment, LEAVING_AT_ONCE, now)) {
			ending_enqueue(registry, segment);
			continue;
		}
		ending_settle(registry, segment, now);
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
		ending_enqueue(registry, SEGMENT_OF(item, timer));
	}
	for (struct segment *segment; (segment = recovery_take_expired(&registry->recovery, now));)
		ending_enqueue(registry, segment);
}

static void on_file_closed(const char *name, void *context)
{
	struct registry *registry = ((struct word *)context)->registry;
	struct segment *segment = name ? recovery_find(&registry->recovery, name) : registry->by_id;

	for (; segment; segment = name ? NULL : segment->by_id.next) {
		recovery_note_close(segment);
		ending_enqueue(registry, segment);
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
	segment_give_descriptors(segment, ret_fds);
	return segment;
}

void registry_forget(struct registry *registry, struct segment *segment)
{
	HASH_DELETE(by_id, registry->by_id, segment);
	record_forget(&registry->record, segment);
	lineage_remove(segment->lineage, segment->size);
	segment_free(segment, &registry->instance);
}

/* Brings what a name leads to up to date before anybody is answered about it: its users may have gone,
 * and its turn in the queue not come. */
struct segment *ending_settle_name(struct registry *registry, const char *name, uint64_t now)
{
	struct segment *segment = registry_by_name(registry, name);

	if (!segment)
		return NULL;
	leaving_settle(registry, segment, UINT_MAX, now);
	if (!segment->queued)
		return segment;
	dequeue(registry, segment);
	ending_settle(registry, segment, now);
	return registry_by_name(registry, name);
}

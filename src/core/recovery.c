/* SPDX-License-Identifier: MIT */
#include "core/recovery.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/locker.h"

/* The word of a close comes just before the kernel drops the count, as in the registry. */
#define RETRY_FIRST (NSEC_PER_MSEC / 2)
/* The next close brings the next attempt. */
#define RETRY_LAST (32 * NSEC_PER_SEC)
/* No word comes when a sharer that is stopped in the middle of an operation goes on. */
#define RETRY_DEAD NSEC_PER_SEC

/* Between two audits of one segment: they cost a process. */
#define AUDIT_PAUSE_FIRST (NSEC_PER_MSEC / 4)
#define AUDIT_PAUSE_LAST  (100 * NSEC_PER_MSEC)

#define FILE_PREFIX "sem."

void recovery_init(struct recovery *recovery, struct watch *watch, struct statistics *statistics,
		   struct journal *journal)
{
	*recovery = (struct recovery){.watch = watch, .statistics = statistics, .journal = journal};
	heap_init(&recovery->timers);
}

void recovery_fini(struct recovery *recovery)
{
	HASH_CLEAR(by_semaphore, recovery->by_semaphore);
	heap_fini(&recovery->timers);
}

int recovery_add(struct recovery *recovery, struct segment *segment)
{
	char *name = segment->semaphore.name;

	if (!name[0])
		return 0;
	HASH_ADD_KEYPTR(by_semaphore, recovery->by_semaphore, name, strlen(name), segment);
	return HASH_ADDED(by_semaphore, segment) ? 0 : -ENOMEM;
}

static void forget_name(struct recovery *recovery, struct segment *segment)
{
	if (!HASH_ADDED(by_semaphore, segment))
		return;
	HASH_DELETE(by_semaphore, recovery->by_semaphore, segment);
	segment->by_semaphore.tbl = NULL;
}

/* The folder's watch tells of files that have a name. Who has it open now can still die with a permit. */
void recovery_drop_name(struct recovery *recovery, struct segment *segment, watch_fn *on_close)
{
	forget_name(recovery, segment);
	if (!segment->ledger.lockers || segment_is_posix(segment))
		return;
	watch_add(recovery->watch, &segment->raw_watch, segment->semaphore.fd, on_close);
	/* Word of a close may be under way by the name that it loses. */
	recovery_note_close(segment);
}

void recovery_remove(struct recovery *recovery, struct segment *segment)
{
	forget_name(recovery, segment);
	watch_remove(recovery->watch, &segment->raw_watch);
	heap_remove(&recovery->timers, &segment->lock_timer);
	ledger_clear(&segment->ledger);
}

struct segment *recovery_find(const struct recovery *recovery, const char *file)
{
	struct segment *segment;

	if (strncmp(file, FILE_PREFIX, strlen(FILE_PREFIX)) != 0)
		return NULL;
	file += strlen(FILE_PREFIX);
	HASH_FIND(by_semaphore, recovery->by_semaphore, file, strlen(file), segment);
	return segment;
}

void recovery_note_close(struct segment *segment)
{
	/* Of POSIX's, those who take by a number have it open, too: the kernel can say nothing of the others. */
	segment->is_audit_due = segment->semaphore.fd >= 0 && !segment_is_posix(segment);
	segment->lock_retry_ns = 0;
}

/* --- giving back ------------------------------------------------------------------------------ */

struct word {
	struct recovery *recovery;
	const struct segment *segment;
	uint64_t now;
};

static void tell_recovered(const struct word *word, uint32_t permits, uid_t uid, const char *who)
{
	char text[SEGMENT_DESCRIPTION_MAX];

	word->recovery->statistics->counts[STATISTIC_LOCKS_RECOVERED] += permits;
	journal_tell_recovered(word->recovery->journal, word->segment, permits, word->now);
	log_about(LOG_LEVEL_NOTICE, uid, "gave back %u %s of segment %s: %s", permits,
		  permits == 1 ? "permit" : "permits", segment_describe(word->segment, text), who);
}

static void on_buried(const struct locker *locker, uint32_t permits, void *context)
{
	char who[96];

	if (locker->until_exit)
		return;
	snprintf(who, sizeof(who), "pid %d of uid %u died with %s", (int)locker->pid, locker->uid,
		 permits == 1 ? "it" : "them");
	tell_recovered(context, permits, locker->uid, who);
}

/* A sharer who opens and closes it all the time has it audited now and then only. */
static void pause_audits(struct segment *segment, uint64_t now)
{
	uint64_t pause = 2 * segment->audit_pause_ns;

	if (now - segment->audited_at > 2 * pause || pause < AUDIT_PAUSE_FIRST)
		pause = AUDIT_PAUSE_FIRST;
	segment->audit_pause_ns = pause < AUDIT_PAUSE_LAST ? pause : AUDIT_PAUSE_LAST;
	segment->audited_at = now;
}

static bool is_too_early(const struct segment *segment, uint64_t now)
{
	return segment->audited_at != 0 && now - segment->audited_at < segment->audit_pause_ns;
}

/* Asked for once, when somebody has died or closed it. */
static enum ledger_answer audit(const struct word *word, struct segment *segment, uint64_t now)
{
	uint32_t given;

	if (!segment->is_audit_due)
		return LEDGER_DONE;
	if (is_too_early(segment, now)) {
		ledger_wake_sleepers(&segment->ledger, &segment->semaphore);
		return LEDGER_LATER;
	}
	pause_audits(segment, now);
	enum ledger_answer answer = ledger_settle_raw(&segment->ledger, &segment->semaphore,
						      &given);
	if (given > 0)
		tell_recovered(word, given, segment_payer(segment),
			       "a program that had opened the semaphore by name kept "
			       "it at its end");
	segment->is_audit_due = answer == LEDGER_LATER;
	return answer;
}

static void tell_damaged(struct segment *segment)
{
	char text[SEGMENT_DESCRIPTION_MAX];

	if (segment->is_damaged)
		return;
	segment->is_damaged = true;
	log_about(LOG_LEVEL_WARNING, segment_payer(segment),
		  "the semaphore of segment %s was damaged by somebody who may lock it: its file "
		  "was made too short, and its permits cannot be given back",
		  segment_describe(segment, text));
}

/* Returns the pause before the next attempt; 0: none. */
static uint64_t next_pause(const struct segment *segment)
{
	uint64_t pause = segment->lock_retry_ns ? 2 * segment->lock_retry_ns : RETRY_FIRST;

	if (segment->ledger.n_dead > 0)
		return pause < RETRY_DEAD ? pause : RETRY_DEAD;
	return pause <= RETRY_LAST ? pause : 0;
}

static void try_again(struct recovery *recovery, struct segment *segment, bool is_needed,
		      uint64_t now)
{
	segment->lock_retry_ns = is_needed ? next_pause(segment) : 0;
	if (segment->lock_retry_ns == 0)
		heap_remove(&recovery->timers, &segment->lock_timer);
	else if (heap_set(&recovery->timers, &segment->lock_timer, now + segment->lock_retry_ns) <
		 0)
		log_warning("out of memory: permits are given back with the next event only");
}

void recovery_settle(struct recovery *recovery, struct segment *segment, uint64_t now)
{
	struct word word = {recovery, segment, now};

	if (segment->ledger.n_dead == 0 && !segment->is_audit_due)
		return;
	enum ledger_answer buried = ledger_bury(&segment->ledger, &segment->semaphore, on_buried,
						&word);
	enum ledger_answer audited = audit(&word, segment, now);
	if (buried == LEDGER_DAMAGED || audited == LEDGER_DAMAGED)
		tell_damaged(segment);
	try_again(recovery, segment, buried == LEDGER_LATER || audited == LEDGER_LATER, now);
}

struct segment *recovery_take_expired(struct recovery *recovery, uint64_t now)
{
	struct heap_item *item = heap_first(&recovery->timers);

	if (!item || item->deadline > now)
		return NULL;
	heap_remove(&recovery->timers, item);
	return (struct segment *)((char *)item - offsetof(struct segment, lock_timer));
}

/* SPDX-License-Identifier: MIT */
#include "books.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <utlist.h>

#include "answers.h"
#include "core/memory.h"
#include "fuzz.h"
#include "law.h"
#include "limits.h"
#include "shortage.h"
#include "waiting.h"
#include "world.h"

/* --- segments --------------------------------------------------------------------------------- */

static void check_attachments(const struct segment *segment)
{
	unsigned n = 0;

	for (const struct attachment *a = segment->attachments; a; a = a->next, n++) {
		HOLDS(a->segment == segment && a->segment_id == segment->id);
		HOLDS(a->counts[0] + a->counts[1] > 0);
		HOLDS(attachment_find(a->session, segment->id) == a);
	}
	HOLDS(n == segment->n_attachments);
}

static bool will_be_looked_at(const struct segment *segment)
{
	return segment->queued || segment->watch.wd || segment->timer.deadline;
}

/* Somebody has it, or wants it to be there until the end of a process. */
static bool is_kept(const struct segment *segment)
{
	return segment->n_attachments > 0 || segment->ledger.n_kept > 0;
}

static bool is_attached_by(const struct segment *segment, const struct session *session)
{
	const struct attachment *a = segment->attachments;

	while (a && a->session != session)
		a = a->next;
	return a != NULL;
}

/* What binds a segment to its name is the connection that published it. */
static void check_binding(const struct segment *segment)
{
	const struct segment *published;

	if (!segment->publisher)
		return;
	published = segment->publisher->published;
	while (published && published != segment)
		published = published->published_next;
	HOLDS(published && segment->name[0] && !segment->is_anonymous);
}

static bool is_in_estate(const struct locker *locker)
{
	const struct locker *l = locker->estate->lockers;

	while (l && l != locker)
		l = l->estate_next;
	return l != NULL;
}

static unsigned count_given(const struct ledger *ledger)
{
	unsigned n = 0;

	for (unsigned i = 0; ledger->taken && i < (WORD_NUMBER_MAX + 1) / 64; i++)
		n += (unsigned)__builtin_popcountll(ledger->taken[i]);
	/* Nobody's number stands as given. */
	return ledger->taken ? n - 1 : 0;
}

/* Returns how many of its lockers are charged for. */
static unsigned check_lockers(const struct segment *segment)
{
	const struct ledger *ledger = &segment->ledger;
	unsigned n = 0, n_dead = 0, n_kept = 0, n_charged = 0;

	for (const struct locker *l = ledger->lockers; l; l = l->next, n++) {
		HOLDS(l->ledger == ledger && l->segment_id == segment->id);
		HOLDS(l->number > 0 && l->number <= WORD_NUMBER_MAX);
		HOLDS(ledger->taken[l->number / 64] >> l->number % 64 & 1);
		HOLDS(is_in_estate(l) && !l->estate->is_listed);
		HOLDS(!l->hh.tbl || l->was_left);
		n_dead += l->is_dead;
		n_kept += l->until_exit && !l->is_dead;
		n_charged += l->charge.user != NULL;
	}
	HOLDS(n == count_given(ledger) && n_dead == ledger->n_dead && n_kept == ledger->n_kept);
	/* The dead are not forgotten, unless there was no memory to remember them. */
	HOLDS(n_dead == 0 || segment->queued || segment->lock_timer.deadline ||
	      shortage_was_ever());
	for (const struct attachment *a = segment->attachments; a; a = a->next)
		HOLDS(!a->locker || (a->locker->ledger == ledger && !a->locker->charge.user));
	return n_charged;
}

/* Whether the segment is in the state that it may be in, and, where it is to end, not forgotten. */
static void check_state(const struct registry *registry, const struct segment *segment)
{
	struct segment *named = NULL;

	HASH_FIND(by_name, registry->by_name, segment->name, strlen(segment->name), named);
	HOLDS(segment->name[0] ? named == segment : !named);
	HOLDS(!segment->owner || segment->owner == segment->publisher ||
	      is_attached_by(segment, segment->owner));
	check_binding(segment);
	HOLDS(!segment->is_sealed || memory_is_sealed(segment->fd) ||
	      segment->state == SEGMENT_UNUSED);
	/* Nothing is tested while somebody is known to have it. */
	if (segment->n_attachments > 0 && segment->state != SEGMENT_LINGERING)
		HOLDS(!segment->watch.wd && !segment->timer.deadline);
	switch (segment->state) {
	case SEGMENT_LIVE:
		HOLDS(segment->is_anonymous == !segment->name[0]);
		if (segment->lifetime == LIFETIME_OWNER)
			HOLDS(segment->owner || segment->queued);
		else if (segment->lifetime == LIFETIME_CLIENTS || segment->is_anonymous)
			HOLDS(is_kept(segment) || will_be_looked_at(segment) || segment->publisher);
		break;
	case SEGMENT_LINGERING:
		HOLDS(segment->name[0] && (segment->timer.deadline || segment->queued));
		break;
	case SEGMENT_DROPPED:
		HOLDS(!segment->name[0] && !segment->semaphore.name[0]);
		HOLDS(is_kept(segment) || will_be_looked_at(segment));
		break;
	case SEGMENT_UNUSED:
		HOLDS(!segment->name[0] && !is_kept(segment) && !segment->ledger.lockers);
		HOLDS(!segment->raw_watch.wd && !segment->lock_timer.deadline);
		HOLDS(!will_be_looked_at(segment));
		break;
	}
}

/* Nobody who has it can change that, and nobody else can open it. */
static void check_memory(const struct segment *segment)
{
	struct stat st;
	int seals, must = F_SEAL_SHRINK | F_SEAL_GROW | (segment->is_anonymous ? 0 : F_SEAL_SEAL);

	if (segment->fd < 0) {
		HOLDS(segment->state == SEGMENT_UNUSED);
		return;
	}
	HOLDS(segment->ledger.fd < 0 ||
	      (fstat(segment->ledger.fd, &st) == 0 && st.st_size == LEDGER_SIZE));
	HOLDS(fstat(segment->fd, &st) == 0 && (uint64_t)st.st_size == segment->size);
	HOLDS((st.st_mode & 0777) == 0600);
	seals = fcntl(segment->fd, F_GET_SEALS);
	HOLDS(seals >= 0 && (seals & must) == must);
	/* What is to be closed, nobody else has, where the kernel tells that. */
	HOLDS(segment->state != SEGMENT_UNUSED || !server.registry->has_leases ||
	      !world_is_held(&st));
}

/* How a segment stood after the step before. */
static struct seen {
	bool had_name;
	uint64_t lingers_since; /* 0: it does not */
} seen[KNOWN_MAX];
static size_t n_seen; /* of which something may be known */

/* It lost its name, and nobody took it: only what ends by itself may, when its time is over. */
static void check_reaped(const struct segment *segment, const struct seen *before)
{
	HOLDS(segment->lifetime != LIFETIME_PERSISTENT);
	HOLDS(segment->linger_ns == 0 ||
	      (before->lingers_since && now >= before->lingers_since + segment->linger_ns));
}

static void check_history(const struct segment *segment, bool was_taken)
{
	struct seen *before = &seen[segment->id - FIRST_ID];
	bool lingers = segment->state == SEGMENT_LINGERING;

	if (segment->id - FIRST_ID >= n_seen)
		n_seen = segment->id - FIRST_ID + 1;
	if (before->had_name && !segment->name[0] && !was_taken)
		check_reaped(segment, before);
	before->had_name = segment->name[0];
	if (!lingers)
		before->lingers_since = 0;
	else if (before->lingers_since == 0)
		before->lingers_since = now;
	/* Who lets go of it ends it: its maker, or a user to whom it belongs. */
	if (segment->owner) {
		uid_t uid = segment->owner->who.uid;
		HOLDS(uid == answers_known(segment->id)->maker || uid == segment->ownership.uid);
	}
}

/* It is whose it was made, or published, for. */
static void check_known(const struct segment *segment)
{
	const struct known *known = answers_known(segment->id);

	HOLDS(known->size == segment->size && known->maker == segment->segment_charge.user->uid);
	HOLDS(known->of.uid == segment->ownership.uid && known->of.gid == segment->ownership.gid);
	HOLDS(known->of.mode == segment->ownership.mode);
	HOLDS(known->is_anonymous == segment->is_anonymous);
}

static void check_lineages(const struct registry *registry)
{
	uint64_t old = 0, bytes = 0;

	for (struct segment *segment = registry->by_id; segment; segment = segment->by_id.next) {
		HOLDS(!segment->lineage || !segment->name[0]);
		old += segment->lineage != NULL;
		bytes += segment->lineage ? segment->size : 0;
	}
	for (struct lineage *lineage = registry->lineages; lineage; lineage = lineage->hh.next) {
		HOLDS(lineage->generations > 0 && lineage->generations <= old);
		HOLDS(lineage->bytes <= bytes);
		old -= lineage->generations;
		bytes -= lineage->bytes;
	}
	HOLDS(old == 0 && bytes == 0);
}

/* What rules have counted is what segments say that they were counted for. */
static void check_tallies(const struct registry *registry)
{
	for (struct tally *tally = registry->tallies; tally; tally = tally->hh.next) {
		uint64_t n = 0, bytes = 0;
		for (struct segment *s = registry->by_id; s; s = s->by_id.next) {
			n += s->rule_share.tally == tally;
			bytes += s->rule_share.tally == tally ? s->rule_share.bytes : 0;
			HOLDS(!s->rule_share.tally || s->rule_share.bytes == s->size);
		}
		HOLDS(n > 0 && n == tally->segments && bytes == tally->bytes);
	}
}

/* And that is what they were made, or published, by; it grows up to the rule's limits only. */
static void check_rules(const struct registry *registry)
{
	static struct tally before[LAW_RULES_MAX];

	for (int i = 0; i < LAW_RULES_MAX; i++) {
		const struct tally *tally = tally_find(registry->tallies, law_rule_name(i));
		struct tally use = tally ? *tally : (struct tally){0};
		uint64_t segments, bytes;
		answers_use_of_rule(i, &segments, &bytes);
		HOLDS(use.segments == segments && use.bytes == bytes);
		HOLDS(segments <= before[i].segments || segments <= law_segments_max(i));
		HOLDS(bytes <= before[i].bytes || bytes <= law_bytes_max(i));
		before[i] = use;
	}
}

/* --- waits and events ------------------------------------------------------------------------- */

/* Nobody who could be answered is left waiting. */
static void check_wait(const struct wait *wait)
{
	const struct segment *segment = registry_by_name(server.registry, wait->name->name);

	HOLDS(wait->is_ready || wait->is_parked || !segment ||
	      segment->generation <= wait->newer_than);
}

static unsigned check_waits(const struct session *session)
{
	const struct wait *wait;
	unsigned n = 0;

	DL_FOREACH2 (session->waits, wait, session_next) {
		HOLDS(wait->session == session && wait->name->refs > 0);
		check_wait(wait);
		n++;
	}
	return n;
}

/* Who subscribes hears of what they may see. Each step has a time of its own. */
static void check_new_events(const struct subscription *subscription)
{
	const struct person *who = person_of(subscription->session->who.uid);

	for (unsigned i = subscription->n; i > 0; i--) {
		const struct journal_entry *entry = subscription_entry(subscription, i - 1);
		if (entry->time != now)
			return;
		HOLDS(strncmp(entry->text, subscription->prefix, strlen(subscription->prefix)) ==
		      0);
		HOLDS(person_sees(who, &entry->ownership, entry->id && entry->text[0]));
	}
}

static unsigned check_subscriptions(const struct session *session)
{
	const struct subscription *subscription;
	unsigned n = 0;

	DL_FOREACH2 (session->subscriptions, subscription, session_next) {
		HOLDS(subscription->session == session && subscription->n <= JOURNAL_QUEUE);
		HOLDS(subscription->is_due || subscription->is_parked || subscription->n == 0);
		HOLDS(!subscription->is_due || !subscription->is_parked);
		for (unsigned i = 0; i < subscription->n; i++)
			HOLDS(subscription_entry(subscription, i)->refs > 0);
		check_new_events(subscription);
		n++;
	}
	return n;
}

/* --- all together ----------------------------------------------------------------------------- */

static void check_segments(const struct registry *registry)
{
	uint64_t n = 0, n_named = 0, n_queued = 0, n_timers = 0, bytes = 0, attachments = 0;
	uint64_t n_semaphores = 0, n_lock_timers = 0;
	uint64_t last = FIRST_ID - 1;
	bool was_taken = answers_took_name();

	for (struct segment *segment = registry->by_id; segment; segment = segment->by_id.next) {
		HOLDS(segment->id > last && segment->id < registry->next_id);
		HOLDS(segment->generation >= segment->id &&
		      segment->generation < registry->next_id);
		last = segment->id;
		check_attachments(segment);
		check_state(registry, segment);
		check_memory(segment);
		check_known(segment);
		check_history(segment, was_taken);
		n++;
		n_named += segment->name[0] != '\0';
		n_queued += segment->queued;
		n_timers += segment->timer.deadline != 0;
		bytes += segment->size;
		/* What was left behind costs what the attachment did. */
		attachments += segment->n_attachments + check_lockers(segment);
		n_semaphores += segment->semaphore.name[0] != '\0';
		n_lock_timers += segment->lock_timer.deadline != 0;
	}
	HOLDS(n == HASH_CNT(by_id, registry->by_id));
	HOLDS(n_named == HASH_CNT(by_name, registry->by_name));
	HOLDS(n_timers == registry->timers.n);
	HOLDS(n_semaphores == HASH_CNT(by_semaphore, registry->recovery.by_semaphore));
	HOLDS(n_lock_timers == registry->recovery.timers.n);
	HOLDS(n == registry->quota.used[QUOTA_SEGMENTS]);
	HOLDS(bytes == registry->quota.used[QUOTA_BYTES]);
	HOLDS(attachments == registry->quota.used[QUOTA_ATTACHMENTS]);
	for (struct segment *segment = registry->queue; segment; segment = segment->next) {
		HOLDS(segment->queued && segment->state != SEGMENT_UNUSED && n_queued > 0);
		HOLDS(!segment->next || segment->next->prev == segment);
		n_queued--;
	}
	HOLDS(n_queued == 0);
	for (struct segment *segment = registry->unused; segment; segment = segment->next)
		HOLDS(segment->state == SEGMENT_UNUSED && !segment->queued);
}

static void check_timers(const struct heap *heap)
{
	for (size_t i = 0; i < heap->n; i++) {
		HOLDS(heap->items[i]->place == i && heap->items[i]->deadline);
		HOLDS(i == 0 || heap->items[(i - 1) / 2]->deadline <= heap->items[i]->deadline);
	}
}

static void check_session(const struct session *session)
{
	uint64_t bytes = 0;

	for (const struct attachment *a = session->attachments; a; a = a->hh.next) {
		HOLDS(a->session == session);
		bytes += a->segment->size;
	}
	HOLDS(bytes == session->bytes);
}

/* --- what users have -------------------------------------------------------------------------- */

static unsigned count_left_behind(const struct segment *segment, uid_t uid)
{
	unsigned n = 0;

	for (const struct locker *l = segment->ledger.lockers; l; l = l->next)
		n += l->charge.user && l->charge.user->uid == uid;
	return n;
}

static void count_segments(const struct registry *registry, uid_t uid, uint64_t *ret)
{
	for (struct segment *segment = registry->by_id; segment; segment = segment->by_id.next) {
		ret[QUOTA_ATTACHMENTS] += count_left_behind(segment, uid);
		/* Its maker's, whosever it is. */
		HOLDS(segment->segment_charge.user && segment->bytes_charge.user);
		HOLDS(!segment->semaphore_charge.user ||
		      segment->semaphore_charge.user == segment->segment_charge.user);
		if (segment->segment_charge.user->uid == uid) {
			ret[QUOTA_SEGMENTS]++;
			ret[QUOTA_SEMAPHORES] += answers_known(segment->id)->has_semaphore;
			ret[QUOTA_BYTES] += segment->size;
		}
	}
}

static void count_clients(uid_t uid, uint64_t *ret)
{
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i] && clients[i]->session.who.uid == uid) {
			ret[QUOTA_CLIENTS]++;
			ret[QUOTA_ATTACHMENTS] += session_segments(&clients[i]->session);
			ret[QUOTA_WAITS] += check_waits(&clients[i]->session);
			ret[QUOTA_SUBSCRIPTIONS] += check_subscriptions(&clients[i]->session);
		}
	/* Those that are watched on for what they left behind cost what a client does. */
	for (struct process *p = server.processes.all; p; p = p->next) {
		HOLDS(!p->clients == (p->charge.user != NULL));
		ret[QUOTA_CLIENTS] += p->charge.user && p->charge.user->uid == uid;
	}
}

/* What users have, all together in the last row, and what they had after the step before. */
static uint64_t used[PEOPLE + 1][QUOTA_RESOURCES], used_before[PEOPLE + 1][QUOTA_RESOURCES];

static void count_use(const struct registry *registry)
{
	memcpy(used_before, used, sizeof(used));
	memset(used, 0, sizeof(used));
	for (int i = 0; i < PEOPLE; i++) {
		count_segments(registry, people[i].uid, used[i]);
		count_clients(people[i].uid, used[i]);
		for (int k = 0; k < QUOTA_RESOURCES; k++)
			used[PEOPLE][k] += used[i][k];
	}
}

static bool has_any(const uint64_t use[QUOTA_RESOURCES])
{
	bool has = false;

	for (int k = 0; k < QUOTA_RESOURCES; k++)
		has = has || use[k];
	return has;
}

static void check_user(const struct quota *quota, int i)
{
	/* Looking them up takes its time. */
	if (!has_any(used[i]) && !has_any(used_before[i]))
		return;
	for (int k = 0; k < QUOTA_RESOURCES; k++) {
		HOLDS(quota_used_by(quota, people[i].uid, k) == used[i][k]);
		/* Not the last of it was too much. */
		HOLDS(used[i][k] <= used_before[i][k] || !limits_forbid(quota, &people[i], k, 0));
	}
}

/* What is charged is what there is, and it grows up to the limits only, which may have been lowered. */
static void check_users(const struct registry *registry)
{
	const struct quota *quota = &registry->quota;
	unsigned n = 0;

	count_use(registry);
	for (int i = 0; i < PEOPLE; i++) {
		check_user(quota, i);
		n += has_any(used[i]);
	}
	for (int k = 0; k < QUOTA_RESOURCES; k++)
		HOLDS(quota->used[k] == used[PEOPLE][k]);
	HOLDS(HASH_COUNT(quota->users) == n);
}

void books_begin(void)
{
	memset(used, 0, sizeof(used));
	memset(seen, 0, sizeof(seen[0]) * n_seen);
	n_seen = 0;
}

void books_check(void)
{
	check_segments(server.registry);
	check_lineages(server.registry);
	check_tallies(server.registry);
	check_rules(server.registry);
	check_timers(&server.registry->timers);
	check_timers(&server.registry->recovery.timers);
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i])
			check_session(&clients[i]->session);
	waiting_check();
	check_users(server.registry);
}

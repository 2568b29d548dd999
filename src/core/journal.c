/* SPDX-License-Identifier: MIT */
#include "core/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/text.h"
#include "core/segment.h"
#include "core/session.h"

/* --- entries ---------------------------------------------------------------------------------- */

/* The text stands behind it. Nobody has it yet. */
static struct journal_entry *entry_new(const struct journal_entry *draft)
{
	size_t size = strlen(draft->text) + 1;
	struct journal_entry *entry = malloc(sizeof(*entry) + size);

	if (!entry)
		return NULL;
	*entry = *draft;
	entry->refs = 0;
	entry->text = memcpy(entry + 1, draft->text, size);
	return entry;
}

static void entry_unref(struct journal_entry *entry)
{
	if (--entry->refs == 0)
		free(entry);
}

/* --- subscriptions ---------------------------------------------------------------------------- */

int subscription_new(struct journal *journal, struct quota *quota, struct session *session,
		     uint32_t number, const char *prefix, struct refusal *why)
{
	struct charge charge = {0};

	if (strlen(prefix) > NAME_LENGTH_MAX)
		return refuse(why, REFUSAL_TOO_LONG,
			      "the beginning of names has %zu bytes; at most %d are allowed",
			      strlen(prefix), NAME_LENGTH_MAX);
	int r = quota_charge(quota, &session->who, QUOTA_SUBSCRIPTIONS, 1, &charge, why);
	if (r != 0)
		return r;
	struct subscription *subscription = calloc(1, sizeof(*subscription));
	if (!subscription) {
		charge_release(&charge);
		return -ENOMEM;
	}
	subscription->session = session;
	subscription->number = number;
	subscription->charge = charge;
	text_copy(subscription->prefix, sizeof(subscription->prefix), prefix);
	DL_APPEND(journal->subscriptions, subscription);
	DL_APPEND2(session->subscriptions, subscription, session_prev, session_next);
	return 0;
}

static void take_off_due(struct journal *journal, struct subscription *subscription)
{
	if (subscription->is_due)
		DL_DELETE2(journal->due, subscription, due_prev, due_next);
	subscription->is_due = false;
}

static void drop_first(struct subscription *subscription)
{
	entry_unref(subscription->queue[subscription->first]);
	subscription->first = (subscription->first + 1) % JOURNAL_QUEUE;
	subscription->n--;
}

struct subscription *subscription_free(struct journal *journal, struct subscription *subscription)
{
	if (!subscription)
		return NULL;
	take_off_due(journal, subscription);
	DL_DELETE(journal->subscriptions, subscription);
	DL_DELETE2(subscription->session->subscriptions, subscription, session_prev, session_next);
	while (subscription->n > 0)
		drop_first(subscription);
	charge_release(&subscription->charge);
	free(subscription);
	return NULL;
}

struct subscription *subscription_find(const struct session *session, uint32_t number)
{
	struct subscription *subscription;

	DL_FOREACH2 (session->subscriptions, subscription, session_next)
		if (subscription->number == number)
			return subscription;
	return NULL;
}

/* --- telling ---------------------------------------------------------------------------------- */

/* As in listings: what has no name is its owner's alone. */
static bool may_see(const struct credentials *who, const struct journal_entry *entry)
{
	if (access_may_administer(who) || access_is_owner(who, &entry->ownership))
		return true;
	return entry->id && entry->text[0] && access_allowed(who, &entry->ownership, ACCESS_READ);
}

/* The prefix is looked at first: it costs less. */
static bool concerns(const struct subscription *subscription, const struct journal_entry *entry)
{
	const char *prefix = subscription->prefix;

	if (prefix[0] && (!entry->id || strncmp(entry->text, prefix, strlen(prefix)) != 0))
		return false;
	return may_see(&subscription->session->who, entry);
}

static void become_due(struct journal *journal, struct subscription *subscription)
{
	if (subscription->is_parked || subscription->is_due)
		return;
	subscription->is_due = true;
	DL_APPEND2(journal->due, subscription, due_prev, due_next);
	if (journal->on_news)
		journal->on_news(journal->context);
}

/* NULL: there was no memory for it. */
static void enqueue(struct subscription *subscription, struct journal_entry *entry)
{
	if (!entry || subscription->n == JOURNAL_QUEUE)
		subscription->lost++;
	if (!entry)
		return;
	if (subscription->n == JOURNAL_QUEUE)
		drop_first(subscription);
	entry->refs++;
	subscription->queue[(subscription->first + subscription->n++) % JOURNAL_QUEUE] = entry;
}

static void tell(struct journal *journal, const struct journal_entry *draft)
{
	struct journal_entry *entry = NULL;
	struct subscription *subscription;

	DL_FOREACH (journal->subscriptions, subscription) {
		if (!concerns(subscription, draft))
			continue;
		if (!entry)
			entry = entry_new(draft);
		enqueue(subscription, entry);
		become_due(journal, subscription);
	}
}

static struct journal_entry draft_about(enum event_kind kind, const struct segment *segment,
					uint64_t now)
{
	return (struct journal_entry){
		.time = now,
		.kind = kind,
		.id = segment->generation,
		.size = segment_size(segment),
		.uid = segment->ownership.uid,
		.ownership = segment->ownership,
		.text = segment->name,
	};
}

void journal_tell(struct journal *journal, enum event_kind kind, const struct segment *segment,
		  const struct session *by, bool read_only, uint64_t now)
{
	if (!journal->subscriptions)
		return;
	struct journal_entry draft = draft_about(kind, segment, now);
	draft.read_only = read_only;
	if (by) {
		draft.pid = by->pid;
		draft.uid = by->who.uid;
	}
	tell(journal, &draft);
}

void journal_tell_recovered(struct journal *journal, const struct segment *segment,
			    uint64_t permits, uint64_t now)
{
	struct journal_entry draft = draft_about(EVENT_RECOVERED, segment, now);

	draft.count = permits;
	tell(journal, &draft);
}

void journal_tell_refused(struct journal *journal, const struct session *session, const char *text,
			  uint64_t now)
{
	struct journal_entry draft = {
		.time = now,
		.kind = EVENT_REFUSED,
		.pid = session->pid,
		.uid = session->who.uid,
		.ownership = {.uid = session->who.uid, .gid = session->who.gid},
		.text = text,
	};

	tell(journal, &draft);
}

/* --- delivering ------------------------------------------------------------------------------- */

struct subscription *journal_take_due(struct journal *journal)
{
	struct subscription *subscription = journal->due;

	if (subscription)
		take_off_due(journal, subscription);
	return subscription;
}

const struct journal_entry *subscription_entry(const struct subscription *subscription, unsigned i)
{
	return subscription->queue[(subscription->first + i) % JOURNAL_QUEUE];
}

void subscription_sent(struct journal *journal, struct subscription *subscription, unsigned n)
{
	subscription->lost = 0;
	while (n-- > 0)
		drop_first(subscription);
	if (subscription->n > 0)
		become_due(journal, subscription);
}

void subscription_park(struct subscription *subscription)
{
	subscription->is_parked = true;
}

void subscription_resume(struct journal *journal, struct subscription *subscription)
{
	subscription->is_parked = false;
	if (subscription->n > 0 || subscription->lost > 0)
		become_due(journal, subscription);
}

bool subscription_may_know_actor(const struct subscription *subscription,
				 const struct journal_entry *entry)
{
	const struct credentials *who = &subscription->session->who;

	return access_may_administer(who) || access_is_owner(who, &entry->ownership) ||
	       (who->is_mapped && who->uid == entry->uid);
}

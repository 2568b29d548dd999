/* SPDX-License-Identifier: MIT */
/*
 * What has happened, for those who have subscribed to it. An event stands in memory once, and in the
 * queue of each subscription that it concerns. A subscriber that does not keep up loses the oldest
 * ones, and is told how many: nobody waits for it, nothing grows without end, and no other subscriber's
 * events cost it any.
 */
#ifndef CORE_JOURNAL_H
#define CORE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/access.h"
#include "core/name.h"
#include "core/quota.h"

struct segment;
struct session;

#define JOURNAL_QUEUE 4096 /* events that wait for one subscriber */

enum event_kind {
	EVENT_CREATED,
	EVENT_ATTACHED,
	EVENT_DETACHED,
	EVENT_UNLINKED,
	EVENT_PUBLISHED,
	EVENT_REAPED,
	EVENT_RECOVERED,
	EVENT_REFUSED,
};

struct journal_entry {
	unsigned refs; /* the queues that it stands in */
	uint64_t time; /* CLOCK_BOOTTIME */
	enum event_kind kind;
	uint64_t id; /* the segment's generation; 0: not about a segment */
	uint64_t size;
	uint64_t count;
	bool read_only;
	pid_t pid; /* who did it; 0: the daemon, or not to be known */
	uid_t uid;
	struct ownership ownership; /* decides who may see it */
	const char *text;           /* the segment's name, or the refusal */
};

struct subscription {
	struct session *session;
	uint32_t number;                  /* of the request */
	char prefix[NAME_LENGTH_MAX + 1]; /* of names; "": everything */
	struct journal_entry *queue[JOURNAL_QUEUE];
	unsigned first, n;
	uint64_t lost;  /* before the first one of the queue, and not told yet */
	bool is_parked; /* its client does not read */
	bool is_due;
	struct charge charge;
	struct subscription *prev, *next;                 /* in journal->subscriptions */
	struct subscription *due_prev, *due_next;         /* in journal->due */
	struct subscription *session_prev, *session_next; /* in session->subscriptions */
};

struct journal {
	struct subscription *subscriptions;
	struct subscription *due; /* that have something to be sent, in turn */
	/* Called when one has become due; NULL: nobody delivers. */
	void (*on_news)(void *context);
	void *context;
};

/* A subscription from now on, charged to the session's user. 0, a refusal, or -ENOMEM. */
int subscription_new(struct journal *journal, struct quota *quota, struct session *session,
		     uint32_t number, const char *prefix, struct refusal *why);

/* Ends it. Takes NULL; returns NULL. */
struct subscription *subscription_free(struct journal *journal, struct subscription *subscription);

/* The session's subscription of that number, or NULL. */
struct subscription *subscription_find(const struct session *session, uint32_t number);

/* --- telling: costs nothing while nobody listens ------------------------------------------------ */

/* Something happened to a segment. `by`: whose act it was; NULL: the daemon's. */
void journal_tell(struct journal *journal, enum event_kind kind, const struct segment *segment,
		  const struct session *by, bool read_only, uint64_t now);

/* So many permits of somebody who died were given back. */
void journal_tell_recovered(struct journal *journal, const struct segment *segment,
			    uint64_t permits, uint64_t now);

/* A request was refused with that sentence. */
void journal_tell_refused(struct journal *journal, const struct session *session, const char *text,
			  uint64_t now);

/* --- delivering --------------------------------------------------------------------------------- */

/* The next one that has something to be sent, which is due no more; NULL: none is. */
struct subscription *journal_take_due(struct journal *journal);

/* The i-th of its queue. */
const struct journal_entry *subscription_entry(const struct subscription *subscription, unsigned i);

/* What was lost, and the first n of its queue, have been sent. If more is there, it is due again. */
void subscription_sent(struct journal *journal, struct subscription *subscription, unsigned n);

/* Its client does not read, or does again. */
void subscription_park(struct subscription *subscription);
void subscription_resume(struct journal *journal, struct subscription *subscription);

/* Whether the subscriber may know who did it. */
bool subscription_may_know_actor(const struct subscription *subscription,
				 const struct journal_entry *entry);

#endif

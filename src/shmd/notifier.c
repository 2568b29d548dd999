/* SPDX-License-Identifier: MIT */
#include "shmd/notifier.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/text.h"
#include "shmd/client.h"
#include "shmd/reply.h"
#include "shmd/server.h"
#include "shmd/turn.h"

#define PACKET_EVENTS 112

_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_entries) +
			       (PACKET_EVENTS + 1) * sizeof(struct wire_event) <=
		       WIRE_PACKET_MAX,
	       "a packet of events, and one that tells of lost ones, fits");

struct notifier {
	struct server *server;
	struct turn turn;
	uint64_t clock_offset; /* from CLOCK_BOOTTIME to CLOCK_REALTIME, in this turn */
};

/* --- events on the wire ----------------------------------------------------------------------- */

static uint32_t kind_on_wire(enum event_kind kind)
{
	switch (kind) {
	case EVENT_CREATED:
		return WIRE_EVENT_CREATED;
	case EVENT_ATTACHED:
		return WIRE_EVENT_ATTACHED;
	case EVENT_DETACHED:
		return WIRE_EVENT_DETACHED;
	case EVENT_UNLINKED:
		return WIRE_EVENT_UNLINKED;
	case EVENT_PUBLISHED:
		return WIRE_EVENT_PUBLISHED;
	case EVENT_REAPED:
		return WIRE_EVENT_REAPED;
	case EVENT_RECOVERED:
		return WIRE_EVENT_RECOVERED;
	case EVENT_REFUSED:
		return WIRE_EVENT_REFUSED;
	}
	return WIRE_EVENT_REFUSED;
}

static void put_event(const struct notifier *notifier, const struct subscription *subscription,
		      const struct journal_entry *entry, struct wire_event *ret)
{
	bool may_know = subscription_may_know_actor(subscription, entry);

	ret->time_ns = entry->time + notifier->clock_offset;
	ret->id = entry->id;
	ret->size = entry->size;
	ret->count = entry->count;
	ret->kind = kind_on_wire(entry->kind);
	ret->flags = entry->read_only ? WIRE_READ_ONLY : 0;
	ret->pid = may_know ? (uint32_t)entry->pid : 0;
	ret->uid = may_know ? entry->uid : (uint32_t)-1;
	text_copy(ret->text, sizeof(ret->text), entry->text);
}

static void put_lost(const struct notifier *notifier, uint64_t lost, struct wire_event *ret)
{
	ret->kind = WIRE_EVENT_LOST;
	ret->count = lost;
	ret->time_ns = clock_boottime_ns() + notifier->clock_offset;
	ret->uid = (uint32_t)-1;
}

/* Returns how many of the queue are in it. */
static unsigned put_events(const struct notifier *notifier, const struct subscription *subscription,
			   struct reply *reply)
{
	unsigned n = subscription->n < PACKET_EVENTS ? subscription->n : PACKET_EVENTS;

	packet_begin(&reply->writer, WIRE_EVENTS, subscription->number);
	struct wire_entries *entries = packet_append(&reply->writer, sizeof(*entries));
	entries->entries = n + (subscription->lost > 0);
	if (subscription->lost > 0)
		put_lost(notifier, subscription->lost,
			 packet_append(&reply->writer, sizeof(struct wire_event)));
	for (unsigned i = 0; i < n; i++)
		put_event(notifier, subscription, subscription_entry(subscription, i),
			  packet_append(&reply->writer, sizeof(struct wire_event)));
	packet_end(&reply->writer, WIRE_OK, 0);
	return n;
}

/* --- delivering ------------------------------------------------------------------------------- */

/* Nothing is kept for a client that does not read, and one that has ended is found by its own events. */
static void deliver(struct notifier *notifier, struct subscription *subscription)
{
	struct reply reply;

	reply_init(&reply, notifier->server->out);
	unsigned n = put_events(notifier, subscription, &reply);
	if (client_offer(client_of(subscription->session), &reply) < 0)
		subscription_park(subscription);
	else
		subscription_sent(&notifier->server->registry->journal, subscription, n);
	reply_fini(&reply);
}

/* A packet of events: up to some 50 us. */
static bool serve(struct turn *turn)
{
	struct notifier *notifier = (struct notifier *)((char *)turn -
							offsetof(struct notifier, turn));
	struct journal *journal = &notifier->server->registry->journal;

	notifier->clock_offset = clock_realtime_ns() - clock_boottime_ns();
	if (journal->due)
		deliver(notifier, journal_take_due(journal));
	return journal->due != NULL;
}

static void on_news(void *context)
{
	struct notifier *notifier = context;

	turn_ask(&notifier->turn);
}

void notifier_resume(struct client *client)
{
	struct subscription *subscription;

	DL_FOREACH2 (client->session.subscriptions, subscription, session_next)
		subscription_resume(&client->server->registry->journal, subscription);
}

/* --- life ------------------------------------------------------------------------------------- */

int notifier_new(struct notifier **ret, struct server *server)
{
	struct notifier *notifier = calloc(1, sizeof(*notifier));

	if (!notifier)
		return -ENOMEM;
	notifier->server = server;
	turn_init(&notifier->turn, &server->turns, serve);
	server->registry->journal.on_news = on_news;
	server->registry->journal.context = notifier;
	*ret = notifier;
	return 0;
}

struct notifier *notifier_free(struct notifier *notifier)
{
	if (!notifier)
		return NULL;
	notifier->server->registry->journal.on_news = NULL;
	turn_fini(&notifier->turn);
	free(notifier);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
#include "libshmd/notice.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <time.h>
#include <utlist.h>

/* Of one packet. */
#define PACKET_EVENTS_MAX (WIRE_PACKET_MAX / sizeof(struct wire_event))

/* --- the list --------------------------------------------------------------------------------- */

void notices_add(struct notices *notices, struct notice *notice, uint32_t number)
{
	notice->number = number;
	DL_APPEND(notices->all, notice);
}

struct notice *notices_find(const struct notices *notices, uint32_t number)
{
	struct notice *notice;

	DL_SEARCH_SCALAR(notices->all, notice, number, number);
	return notice;
}

/* Takes an item out of the queue. Those with events are on the heap, an answer is in its notice. */
static void drop_item(struct notices *notices, struct notice_item *item)
{
	DL_DELETE(notices->queue, item);
	if (!item->events)
		return;
	notices->n_events -= item->n - item->next_event;
	free(item);
}

void notices_remove(struct notices *notices, struct notice *notice)
{
	struct notice_item *item, *next;

	DL_DELETE(notices->all, notice);
	DL_FOREACH_SAFE (notices->queue, item, next)
		if (item->notice == notice)
			drop_item(notices, item);
}

struct notice *notice_free(struct notice *notice)
{
	if (notice) {
		call_close(&notice->call);
		free(notice);
	}
	return NULL;
}

void notices_fini(struct notices *notices)
{
	struct notice *notice, *next;

	DL_FOREACH_SAFE (notices->all, notice, next) {
		notices_remove(notices, notice);
		notice_free(notice);
	}
}

/* A parent with several threads may have been in the middle of a change, so that nothing here can be
 * trusted: then the memory is given up. */
void notices_fini_inherited(struct notices *notices)
{
	if (__libc_single_threaded)
		notices_fini(notices);
	*notices = (struct notices){0};
}

/* --- what arrives ----------------------------------------------------------------------------- */

void notices_take_answer(struct notices *notices, struct notice *notice)
{
	/* The reply to a subscription has somebody who waits for it, and so has a cancelled wait. */
	if (!notice->wait_fn || notice->is_cancelled)
		return;
	notice->item = (struct notice_item){.notice = notice, .n = 1};
	DL_APPEND(notices->queue, &notice->item);
}

/* The daemon knows of a pattern only how the names begin. A text may come without an end. */
static bool is_wanted(const struct notice *notice, const struct wire_event *event)
{
	if (!notice->glob[0] || event->kind == WIRE_EVENT_LOST)
		return true;
	return event->kind != WIRE_EVENT_REFUSED && event->text[0] &&
	       memchr(event->text, '\0', sizeof(event->text)) &&
	       fnmatch(notice->glob, event->text, 0) == 0;
}

/* The daemon may have lost some itself: those count as many as it says, and 0 is nobody knows how many. */
static void count_lost(struct notice *notice, const struct wire_event *event)
{
	notice->has_lost = true;
	notice->lost.kind = WIRE_EVENT_LOST;
	notice->lost.time_ns = event->time_ns;
	notice->lost.uid = UINT32_MAX;
	if (event->kind == WIRE_EVENT_LOST && event->count == 0)
		notice->has_lost_uncounted = true;
	notice->lost.count += event->kind == WIRE_EVENT_LOST ? event->count : 1;
}

/* What was lost and nobody was told of, to be told now. */
static struct wire_event take_lost(struct notice *notice)
{
	struct wire_event lost = notice->lost;

	if (notice->has_lost_uncounted)
		lost.count = 0;
	notice->lost = (struct wire_event){0};
	notice->has_lost = notice->has_lost_uncounted = false;
	return lost;
}

void notices_lose(struct notice *notice)
{
	struct wire_event event = {.kind = WIRE_EVENT_LOST};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	event.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	count_lost(notice, &event);
}

bool notices_have_room(const struct notices *notices)
{
	/* With one more for what was lost before. */
	return notices->n_events + 1 + PACKET_EVENTS_MAX <= NOTICE_EVENTS_MAX;
}

static struct notice_item *item_new(struct notices *notices, struct notice *notice, size_t n)
{
	struct notice_item *item;

	if (notices->n_events + n > NOTICE_EVENTS_MAX)
		return NULL;
	item = malloc(sizeof(*item) + n * sizeof(*item->events));
	if (!item)
		return NULL;
	*item = (struct notice_item){.notice = notice,
				     .events = (struct wire_event *)(item + 1),
				     .n = n};
	return item;
}

/* Queues events of one packet, and before them what was lost since the last. */
static void queue_events(struct notices *notices, struct notice *notice,
			 const struct wire_event *const *events, size_t n)
{
	size_t before = notice->has_lost && events[0]->kind != WIRE_EVENT_LOST ? 1 : 0;
	struct notice_item *item = item_new(notices, notice, before + n);

	if (!item) {
		for (size_t i = 0; i < n; i++)
			count_lost(notice, events[i]);
		return;
	}
	for (size_t i = 0; i < n; i++)
		item->events[before + i] = *events[i];
	if (events[0]->kind == WIRE_EVENT_LOST)
		count_lost(notice, events[0]);
	if (notice->has_lost)
		item->events[0] = take_lost(notice);
	notices->n_events += item->n;
	DL_APPEND(notices->queue, item);
}

static void take_events(struct notices *notices, struct notice *notice,
			const struct wire_event *events, size_t n)
{
	const struct wire_event *wanted[PACKET_EVENTS_MAX];
	size_t n_wanted = 0;

	for (size_t i = 0; i < n; i++)
		if (is_wanted(notice, &events[i]))
			wanted[n_wanted++] = &events[i];
	if (n_wanted > 0)
		queue_events(notices, notice, wanted, n_wanted);
}

_Static_assert(sizeof(struct notice_item) % _Alignof(struct wire_event) == 0,
	       "events can stand behind their item");

int notices_take_events(struct notices *notices, uint32_t number, const void *body, size_t size)
{
	const struct wire_event *events = (const void *)((const char *)body +
							 sizeof(struct wire_entries));
	struct wire_entries entries;

	if (size < sizeof(entries))
		return -EBADMSG;
	memcpy(&entries, body, sizeof(entries));
	size -= sizeof(entries);
	if (size % sizeof(*events) != 0 || size / sizeof(*events) != entries.entries ||
	    entries.entries > PACKET_EVENTS_MAX)
		return -EBADMSG;
	struct notice *notice = notices_find(notices, number);
	if (notice && notice->event_fn)
		take_events(notices, notice, events, entries.entries);
	return 0;
}

/* --- what is called back ---------------------------------------------------------------------- */

size_t notices_count(const struct notices *notices)
{
	const struct notice_item *item;
	const struct notice *notice;
	size_t n = 0;

	DL_FOREACH (notices->queue, item)
		n += item->n - item->next_event;
	DL_FOREACH (notices->all, notice)
		n += notice->has_lost;
	return n;
}

bool notices_are_queued(const struct notices *notices)
{
	const struct notice *notice;

	if (notices->queue)
		return true;
	DL_FOREACH (notices->all, notice)
		if (notice->has_lost)
			return true;
	return false;
}

static void tell_event(struct notices *notices, struct notice_item *item,
		       struct notice_delivery *ret)
{
	*ret = (struct notice_delivery){.event_fn = item->notice->event_fn,
					.context = item->notice->context,
					.event = item->events[item->next_event++]};
	ret->event.text[sizeof(ret->event.text) - 1] = '\0';
	notices->n_events--;
	if (item->next_event == item->n)
		drop_item(notices, item);
}

/* What was lost at the end of everything. */
static bool tell_lost(struct notices *notices, struct notice_delivery *ret)
{
	struct notice *notice;

	DL_FOREACH (notices->all, notice) {
		if (!notice->has_lost)
			continue;
		*ret = (struct notice_delivery){.event_fn = notice->event_fn,
						.context = notice->context,
						.event = take_lost(notice)};
		return true;
	}
	return false;
}

bool notices_next(struct notices *notices, struct notice_delivery *ret)
{
	struct notice_item *item = notices->queue;

	if (!item)
		return tell_lost(notices, ret);
	if (item->events) {
		tell_event(notices, item, ret);
		return true;
	}
	*ret = (struct notice_delivery){.wait = item->notice};
	notices_remove(notices, item->notice);
	return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a program asked for without waiting: subscriptions, and waits that were started. Owns them and
 * the queue of what has arrived for them, until shmd_dispatch() calls back. Knows no socket; whoever
 * calls holds the connection's mutex.
 */
#ifndef LIBSHMD_NOTICE_H
#define LIBSHMD_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libshmd/call.h"
#include "libshmd/shmd.h"
#include "wire/protocol.h"

/* Events of a connection that are kept for shmd_dispatch(). Those beyond are counted, as lost. */
#define NOTICE_EVENTS_MAX 4096u

/* Something to be called back for: one answer, or the events of one packet. */
struct notice_item {
	struct notice *notice;
	struct wire_event *events; /* NULL: the answer to a wait */
	size_t n;                  /* events, or 1 */
	size_t next_event;
	struct notice_item *prev, *next;
};

/* A subscription or a wait. */
struct notice {
	uint32_t number;           /* of its request */
	shmd_event_fn *event_fn;   /* NULL: it is a wait */
	shmd_wait_fn *wait_fn;     /* NULL: it is a subscription */
	void *context;             /* of either */
	char glob[WIRE_NAME_SIZE]; /* of a subscription; "": to everything */
	struct wire_event lost;    /* `count` of them: since the last event in the queue */
	bool has_lost;             /* some, if not all of them were counted */
	bool has_lost_uncounted;   /* as the connection was broken */
	bool is_renewed;           /* a subscription: it was asked for anew */
	union {
		struct wire_wait wait;
		struct wire_subscribe subscribe;
	} request;
	struct call call;        /* with that request, also when it is asked for anew */
	struct notice_item item; /* of a wait, and what follows too: its answer */
	struct wire_segment granted;
	bool read_only;
	bool wants_pages;
	bool is_cancelled; /* whoever cancels owns it */
	struct notice *prev, *next;
};

struct notices {
	struct notice *all;
	struct notice_item *queue; /* in the order of arrival */
	size_t n_events;           /* in the queue */
};

/* One call back. */
struct notice_delivery {
	struct notice *wait; /* the caller's, from now on; NULL: an event */
	shmd_event_fn *event_fn;
	void *context;
	struct wire_event event;
};

/* Takes over a notice, by the number of its request. */
void notices_add(struct notices *notices, struct notice *notice, uint32_t number);

/* NULL: there is none, or it has ended. */
struct notice *notices_find(const struct notices *notices, uint32_t number);

/* Hands a notice back to the caller: it is not found any more, and nothing of it is queued. */
void notices_remove(struct notices *notices, struct notice *notice);

/* The request of the notice has its reply, in its call. */
void notices_take_answer(struct notices *notices, struct notice *notice);

/* Takes the events that the notice of that number wants, if it is still there. Returns 0; -EBADMSG:
 * the body is malformed. */
int notices_take_events(struct notices *notices, uint32_t number, const void *body, size_t size);

/* Of a subscription that is asked for anew: nobody knows what it has missed. */
void notices_lose(struct notice *notice);

/* Whether the events of one more packet, however many, would find room in the queue. */
bool notices_have_room(const struct notices *notices);

/* How many times there is something to call back for, and whether there is. */
size_t notices_count(const struct notices *notices);
bool notices_are_queued(const struct notices *notices);

/* The next thing to call back for. Returns whether there was one. */
bool notices_next(struct notices *notices, struct notice_delivery *ret);

/* Closes what the reply brought and frees it; it must be in no list. Takes NULL and returns NULL. */
struct notice *notice_free(struct notice *notice);

/* Frees all of them; of what a fork has copied, only what is sure to be whole. */
void notices_fini(struct notices *notices);
void notices_fini_inherited(struct notices *notices);

#endif

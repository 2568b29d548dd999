/* SPDX-License-Identifier: MIT */
#include "shmd/waker.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <utlist.h>

#include "shmd/client.h"
#include "shmd/dispatch.h"
#include "shmd/loop.h"
#include "shmd/reply.h"
#include "shmd/server.h"

/* Waits answered before others get their turn: some 15 us each. */
#define SLICE 32

struct waker {
	struct server *server;
	struct event *on_slice;
};

/* Whether it was answered, or has to go on waiting, makes no difference here. */
static void answer(struct waker *waker, struct wait *wait)
{
	struct client *client = client_of(wait->session);
	struct reply reply;

	if (client_is_behind(client)) {
		wait->is_parked = true;
		return;
	}
	reply_init(&reply, waker->server->out);
	dispatch_wait(client, wait, &reply);
	client_answer(client, &reply);
	reply_fini(&reply);
}

static void kick(struct waker *waker)
{
	static const struct timeval at_once;

	if (!event_pending(waker->on_slice, EV_TIMEOUT, NULL))
		event_add(waker->on_slice, &at_once);
}

static void on_ready(void *context)
{
	kick(context);
}

static void on_slice(evutil_socket_t fd, short what, void *context)
{
	struct waker *waker = context;
	struct wait *wait;

	(void)fd, (void)what;
	for (int i = 0; i < SLICE; i++) {
		wait = waits_take_ready(&waker->server->registry->waits);
		if (!wait)
			break;
		answer(waker, wait);
	}
	if (waker->server->registry->waits.ready)
		kick(waker);
}

void waker_resume(struct client *client)
{
	struct waits *waits = &client->server->registry->waits;
	struct wait *wait;

	DL_FOREACH2 (client->session.waits, wait, session_next)
		if (wait->is_parked)
			wait_make_ready(waits, wait);
}

int waker_new(struct waker **ret, struct server *server)
{
	struct waker *waker = calloc(1, sizeof(*waker));

	if (!waker)
		return -ENOMEM;
	waker->server = server;
	waker->on_slice = evtimer_new(server->loop, on_slice, waker);
	if (!waker->on_slice) {
		free(waker);
		return -ENOMEM;
	}
	server->registry->waits.on_ready = on_ready;
	server->registry->waits.context = waker;
	*ret = waker;
	return 0;
}

struct waker *waker_free(struct waker *waker)
{
	if (!waker)
		return NULL;
	waker->server->registry->waits.on_ready = NULL;
	loop_event_free(waker->on_slice);
	free(waker);
	return NULL;
}

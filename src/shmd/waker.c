/* SPDX-License-Identifier: MIT */
#include "shmd/waker.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "shmd/client.h"
#include "shmd/dispatch.h"
#include "shmd/reply.h"
#include "shmd/server.h"
#include "shmd/turn.h"
#include "shmd/unread.h"
#include "shmd/user.h"

/* Waits answered before others get their turn: some 15 us each. */
#define UNIT 2

struct waker {
	struct server *server;
	struct turn turn;
};

/* Whether it was answered, or has to go on waiting, makes no difference here. */
static void answer(struct waker *waker, struct wait *wait)
{
	struct client *client = client_of(wait->session);
	struct reply reply;
	struct refusal why;

	if (client_is_behind(client)) {
		wait->is_parked = true;
		return;
	}
	if (user_reserve(client, dispatch_descriptors(WIRE_WAIT), &why) != 0) {
		wait_hold(&waker->server->registry->waits, wait);
		user_note_waits(client->user);
		return;
	}
	reply_init(&reply, waker->server->out);
	dispatch_wait(client, wait, &reply);
	unread_return(client->unread, dispatch_descriptors(WIRE_WAIT) - reply.n_fds);
	client_answer(client, &reply);
	reply_fini(&reply);
}

static bool serve(struct turn *turn)
{
	struct waker *waker = (struct waker *)((char *)turn - offsetof(struct waker, turn));
	struct waits *waits = &waker->server->registry->waits;
	struct wait *wait;

	for (int i = 0; i < UNIT && (wait = waits_take_ready(waits)); i++)
		answer(waker, wait);
	return waits->ready != NULL;
}

static void on_ready(void *context)
{
	struct waker *waker = context;

	turn_ask(&waker->turn);
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
	turn_init(&waker->turn, &server->turns, serve);
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
	turn_fini(&waker->turn);
	free(waker);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
#include "shmd/user.h"

#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "shmd/batch.h"
#include "shmd/client.h"
#include "shmd/loop.h"
#include "shmd/reaper.h"
#include "shmd/server.h"

/* Clients of a user whose requests are kept until others have read; those of more are refused. */
#define HELD_MAX 64

/* Sockets that are looked at where a reply does not fit, of its own user and of some others: some 0.2 us
 * each. And later, with time. */
#define LOOK_AT_ONCE 16
#define LOOK_USERS   4
#define LOOK_LATER   64

/* How soon and how late to look again. */
#define PAUSE_LEAST     (2 * NSEC_PER_MSEC)
#define PAUSE_MOST      (1000 * NSEC_PER_MSEC)
#define PAUSE_MOST_HELD (200 * NSEC_PER_MSEC)

/* --- the clients that have sent something ----------------------------------------------------- */

static void move_to(struct client *client, struct client **list)
{
	struct user *user = client->user;

	if (client->list)
		DL_DELETE2(*client->list, client, user_prev, user_next);
	user->n_held += (list == &user->held) - (client->list == &user->held);
	client->list = list;
	if (list)
		DL_APPEND2(*list, client, user_prev, user_next);
}

/* One whose packet is being answered stays where it is. */
void user_add_ready(struct client *client)
{
	struct user *user = client->user;

	if (client->list != &user->ready)
		move_to(client, &user->ready);
	turn_ask(&user->turn);
}

void user_remove(struct client *client)
{
	move_to(client, NULL);
}

static void look_soon(struct user *user);

static void hold(struct client *client)
{
	move_to(client, &client->user->held);
	look_soon(client->user);
}

/* The first client's packet is answered before the next one's: a packet in the making takes memory. */
static bool serve(struct turn *turn)
{
	struct user *user = (struct user *)((char *)turn - offsetof(struct user, turn));
	struct server *server = user->server;
	struct client *client = user->ready;

	if (!client)
		return false;
	user->n_clients++;
	if (client_serve(client) == BATCH_HELD)
		hold(client);
	bool has_more = user->ready != NULL;
	user_put(user);
	reaper_kick(server->reaper);
	return has_more;
}

/* --- what is left unread ---------------------------------------------------------------------- */

/* Packets that are held are tried again when there may be room, or when it is time to refuse them. */
static void resume_clients(struct user *user, bool may_have_room)
{
	uint64_t now = clock_monotonic_ns();

	while (user->held && (may_have_room || batch_is_overdue(user->held->batch, now)))
		user_add_ready(user->held);
}

/* Of waits the first one is tried, which costs next to nothing. */
static void resume_waits(struct user *user)
{
	if (user->has_waits)
		waits_release(&user->server->registry->waits, user->uid);
	user->has_waits = false;
}

static bool is_over(const struct user *user)
{
	return user->n_clients == 0 && user->unread.n_left == 0;
}

static bool is_waiting(const struct user *user)
{
	return user->held || user->has_waits;
}

static void set_timer(struct user *user)
{
	struct timeval pause = {.tv_sec = (time_t)(user->look_pause / NSEC_PER_SEC),
				.tv_usec = (suseconds_t)(user->look_pause % NSEC_PER_SEC /
							 NSEC_PER_USEC)};
	event_add(user->on_look, &pause);
}

/* Whether anything was given back since something was held last: by reading it, or by going. */
static bool is_less_used(const struct user *user)
{
	const struct quota *quota = &user->server->registry->quota;

	return quota_used_by(quota, user->uid, QUOTA_UNREAD) < user->used ||
	       quota->used[QUOTA_UNREAD] < user->used_by_all;
}

static void look_soon(struct user *user)
{
	const struct quota *quota = &user->server->registry->quota;
	uint64_t used = quota_used_by(quota, user->uid, QUOTA_UNREAD);
	bool is_due = user->look_pause > 0;

	/* What was held before may have met with more. */
	if (!is_due || user->used < used)
		user->used = used;
	if (!is_due || user->used_by_all < quota->used[QUOTA_UNREAD])
		user->used_by_all = quota->used[QUOTA_UNREAD];
	if (is_due && (!is_waiting(user) || user->look_pause <= PAUSE_MOST_HELD))
		return;
	user->look_pause = PAUSE_LEAST;
	set_timer(user);
}

/* At those of some users, one after the other: a total is theirs together. */
bool user_look_at_some(struct server *server)
{
	bool is_news = false;

	for (int i = 0; i < LOOK_USERS && server->users; i++) {
		struct user *user = server->looked_at ? server->looked_at->hh.next : NULL;
		server->looked_at = user ? user : server->users;
		is_news |= unread_look(&server->looked_at->unread, LOOK_AT_ONCE);
	}
	return is_news;
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
	struct user *user = context;

	(void)fd, (void)what;
	unread_look(&user->unread, LOOK_LATER);
	user_look_at_some(user->server);
	bool is_news = is_less_used(user);
	uint64_t most = is_waiting(user)          ? PAUSE_MOST_HELD
			: user->unread.n_left > 0 ? PAUSE_MOST
						  : 0;
	resume_clients(user, is_news);
	resume_waits(user);
	if (is_over(user)) {
		user_free(user);
		return;
	}
	if (is_news)
		user->used = user->used_by_all = 0;
	user->look_pause = is_news ? PAUSE_LEAST : 2 * user->look_pause;
	if (user->look_pause > most)
		user->look_pause = most;
	if (most > 0)
		set_timer(user);
}

int user_reserve(struct client *client, unsigned n, struct refusal *why)
{
	const struct credentials *who = &client->session.who;
	int r = unread_reserve(client->unread, who, n, why);

	if (r == 0)
		return r;
	bool is_news = unread_look(&client->user->unread, LOOK_AT_ONCE);
	is_news |= user_look_at_some(client->server);
	return is_news ? unread_reserve(client->unread, who, n, why) : r;
}

bool user_may_hold(const struct client *client)
{
	return client->user->n_held < HELD_MAX && unread_others(client->unread);
}

void user_note_waits(struct user *user)
{
	user->has_waits = true;
	look_soon(user);
}

void user_note_left(struct user *user)
{
	if (user->unread.n_left > 0)
		look_soon(user);
}

/* --- life ------------------------------------------------------------------------------------- */

static struct user *add(struct server *server, uid_t uid)
{
	struct user *user = calloc(1, sizeof(*user));

	if (!user)
		return NULL;
	user->uid = uid;
	user->server = server;
	user->unread.closer = server->closer;
	turn_init(&user->turn, &server->turns, serve);
	user->on_look = evtimer_new(server->loop, on_look, user);
	if (user->on_look)
		HASH_ADD(hh, server->users, uid, sizeof(user->uid), user);
	if (user->on_look && HASH_ADDED(hh, user))
		return user;
	loop_event_free(user->on_look);
	free(user);
	return NULL;
}

struct user *user_get(struct server *server, uid_t uid)
{
	struct user *user;

	HASH_FIND(hh, server->users, &uid, sizeof(uid), user);
	if (!user)
		user = add(server, uid);
	if (user)
		user->n_clients++;
	return user;
}

void user_put(struct user *user)
{
	user->n_clients--;
	if (is_over(user))
		user_free(user);
}

void user_free(struct user *user)
{
	unread_list_fini(&user->unread);
	turn_fini(&user->turn);
	loop_event_free(user->on_look);
	if (user->server->looked_at == user)
		user->server->looked_at = NULL;
	HASH_DELETE(hh, user->server->users, user);
	free(user);
}

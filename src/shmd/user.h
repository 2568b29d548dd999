/* SPDX-License-Identifier: MIT */
/*
 * One user of the daemon: the turn that all of this user's clients share, those of them that have sent
 * something, and what they leave unread. Whoever has a thousand connections has one turn, and keeps
 * descriptors from nobody but the user's own processes by not reading.
 */
#ifndef SHMD_USER_H
#define SHMD_USER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"
#include "shmd/turn.h"
#include "shmd/unread.h"

struct client;
struct event;
struct refusal;
struct server;

struct user {
	uid_t uid;
	struct server *server;
	unsigned n_clients;
	struct turn turn;
	struct client *ready; /* have sent something; the first one's packet is being answered */
	struct client *held;  /* wait for others to read */
	unsigned n_held;
	bool has_waits; /* that do, too */
	struct unread_list unread;
	struct event *on_look;
	uint64_t look_pause;        /* ns until the next look; 0: none is due */
	uint64_t used, used_by_all; /* what was unread, at most, when something was held last */
	UT_hash_handle hh;          /* in server->users */
};

/* Finds or makes the entry, for one client more. Returns NULL where there is no memory. */
struct user *user_get(struct server *server, uid_t uid);

/* One client less. The entry ends with the last one, and when nothing is left unread. */
void user_put(struct user *user);

/* Looks at what some users have unread, others each time. Returns whether anything was read. */
bool user_look_at_some(struct server *server);

/* Ends it with what is left unread. */
void user_free(struct user *user);

/* The client has something to be served, or does not any more. */
void user_add_ready(struct client *client);
void user_remove(struct client *client);

/* Reserves descriptors that a reply to the client may carry. 0 or REFUSAL_LIMIT. */
int user_reserve(struct client *client, unsigned n, struct refusal *why);

/* Whether a request that was refused so can be held until others have read, which may be soon. */
bool user_may_hold(const struct client *client);

/* Waits are held because replies to others were not read. */
void user_note_waits(struct user *user);

/* A client has gone, and has left something unread. */
void user_note_left(struct user *user);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * One connection: its socket, the process behind it, and a reply that could not be sent yet. Takes
 * packets off the socket when it is its user's turn, has them checked and dispatched, and sends the
 * replies. While a reply waits, nothing more is read and no wait is answered, so that one reply a client
 * is kept here, and no event ever. What lies unread in its socket is the kernel's, up to the socket's
 * buffer.
 */
#ifndef SHMD_CLIENT_H
#define SHMD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "core/quota.h"
#include "core/session.h"
#include "shmd/batch.h"

struct event;
struct process;
struct reply;
struct server;
struct unread;
struct user;

struct client {
	struct session session;
	struct server *server;
	int socket; /* owned by the next one, once there is one; -1: it is absent */
	struct unread *unread;
	bool was_greeted;
	bool may_bring; /* descriptors that nobody asks for: it connected before those were refused */
	uint64_t connected_at;
	struct charge charge;
	bool is_guest; /* let in beyond the limit, for an absent one's sake, and not that one yet */

	struct user *user;
	struct client **list; /* of its user's, where it is; NULL: in none */
	struct client *user_prev, *user_next;
	struct batch *batch; /* a packet that is not answered yet; NULL: there is none */
	bool is_leaving;
	bool is_set_aside; /* the loop does not look at its socket: it is on the list already */

	struct process *process; /* NULL: only end-of-file tells of its end */
	struct client *process_prev, *process_next;

	uint64_t
		awaited; /* the newest segment that it is not to hear of before it is stored; 0: none */
	struct reply *unsent;
	uint64_t unsent_since;
	struct event *on_readable;
	struct event *on_writable; /* these two while there is an unsent reply, or events are */
	struct event *on_pause;

	UT_hash_handle hh; /* in server->clients, by session.id */
};

/* The client that a session is embedded in. */
static inline struct client *client_of(const struct session *session)
{
	return (struct client *)((char *)session - offsetof(struct client, session));
}

/* Of a connection that ended with the daemon before us: what it had is kept until it comes back
 * (restart.h). */
static inline bool client_is_absent(const struct client *client)
{
	return client->socket < 0;
}

/* Makes an absent client. `process`: its process's entry, or NULL: nobody watches it. 0 or -errno. */
int client_restore(struct server *server, const struct record_client *row, struct process *process,
		   struct client **ret);

/* The new connection goes on as the absent one, which ends. */
void client_take_over(struct client *client, struct client *absent);

/* Takes over a socket that was just accepted. Refuses and closes it where it cannot be served. */
void client_accept(struct server *server, int socket);

/* Does a unit of work for a client that has sent something; it may end by that. Tells whether its packet is
 * answered. */
enum batch_state client_serve(struct client *client);

/* Ends it in its user's turns: the session lets go of everything, some at a time. What it has left counts
 * for nobody any more, and it is neither answered nor told anything. */
void client_end(struct client *client);

/* Closes the connection: the session lets go of everything. Returns NULL. */
struct client *client_free(struct client *client);

/* Sends what is answered later than its request was made; the client may end by that. */
void client_answer(struct client *client, struct reply *reply);

/* Sends what the client can do without, or may be told later. Returns 0, or a negative errno: it was not
 * sent, and is not kept. When the client reads again, waker_resume() and notifier_resume() hear of it. */
int client_offer(struct client *client, const struct reply *reply);

/* Whether replies wait for the client to read, or it is to get none any more. */
static inline bool client_is_behind(const struct client *client)
{
	return client->unsent != NULL || client->is_leaving || client_is_absent(client);
}

/* Tells a peer why it is not served, as far as that goes without waiting. */
void client_refuse(int socket, unsigned code, const char *text);

#endif

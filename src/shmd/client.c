/* SPDX-License-Identifier: MIT */
#include "shmd/client.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/restore.h"
#include "shmd/closer.h"
#include "shmd/dispatch.h"
#include "shmd/loop.h"
#include "shmd/notifier.h"
#include "shmd/peer.h"
#include "shmd/process.h"
#include "shmd/reply.h"
#include "shmd/server.h"
#include "shmd/store.h"
#include "shmd/unread.h"
#include "shmd/user.h"
#include "shmd/waker.h"
#include "wire/channel.h"

/* When the kernel has too many descriptors in flight: how long until the next try. */
#define IN_FLIGHT_PAUSE (20 * NSEC_PER_MSEC)

/* How long a new segment's maker waits for the service manager, and how soon to look again. */
#define STORE_PATIENCE NSEC_PER_SEC
#define STORE_PAUSE    (2 * NSEC_PER_MSEC)

/* Of what a client has that ends, so much is let go of before others get their turn: some microseconds
 * each, and more where many hear of it. */
#define LEAVE_UNIT 4

static void log_end(const struct client *client, const char *why)
{
	uid_t uid = client->session.who.uid;

	log_about(LOG_LEVEL_NOTICE, uid, "client %" PRIu64 " (pid %d, uid %u) disconnected: %s",
		  client->session.id, (int)client->session.pid, uid, why);
}

/* --- sending ---------------------------------------------------------------------------------- */

static int send_reply(const struct client *client, const struct reply *reply)
{
	int r = channel_send(client->socket, reply->writer.bytes, reply->writer.size, reply->fds,
			     reply->n_fds);

	if (r == 0)
		unread_sent(client->unread, reply->n_fds);
	return r;
}

static int add_event(struct event *event, uint64_t timeout_ns)
{
	struct timeval timeout = {
		.tv_sec = (time_t)(timeout_ns / NSEC_PER_SEC),
		.tv_usec = (suseconds_t)(timeout_ns % NSEC_PER_SEC / NSEC_PER_USEC),
	};

	return event_add(event, &timeout) < 0 ? -ENOMEM : 0;
}

/* Nothing is read from the client until the reply is out, or until the time for that is over. */
static int wait_to_send(struct client *client, int why)
{
	uint64_t timeout = client->server->config.unread_timeout_ms * NSEC_PER_MSEC;
	uint64_t waited = clock_monotonic_ns() - client->unsent_since;

	if (waited >= timeout)
		return -ETIMEDOUT;
	event_del(client->on_readable);
	/* -ETOOMANYREFS: clients that do not read have filled the kernel's table of descriptors in
	 * flight. No socket becomes writable when that is over. */
	if (why == -ETOOMANYREFS)
		return add_event(client->on_pause, IN_FLIGHT_PAUSE);
	return add_event(client->on_writable, timeout - waited);
}

static bool may_be_sent_later(int r)
{
	return r == -EAGAIN || r == -ETOOMANYREFS;
}

/* Whether the reply is to wait for a segment that it grants. */
static bool is_early(struct client *client)
{
	const struct server *server = client->server;

	if (client->awaited == 0)
		return false;
	const struct segment *segment = registry_by_id(server->registry, client->awaited);
	if (segment && store_is_late(server->store, segment))
		return true;
	client->awaited = 0;
	return false;
}

/* Nobody tells when that is over: it is asked again. */
static int wait_for_store(struct client *client)
{
	if (clock_monotonic_ns() - client->unsent_since >= STORE_PATIENCE)
		store_note_deaf(client->server->store);
	event_del(client->on_readable);
	return add_event(client->on_pause, STORE_PAUSE);
}

/* Sends a reply, or keeps it. Returns 0, or -errno when the connection is of no use any more. */
static int send_or_keep(struct client *client, struct reply *reply)
{
	if (reply_is_empty(reply))
		return 0;
	bool is_too_early = is_early(client);
	int r = is_too_early ? -EAGAIN : send_reply(client, reply);

	if (!may_be_sent_later(r))
		return r;
	int kept = reply_keep(reply, reply->writer.size, &client->unsent);
	if (kept < 0)
		return kept;
	client->unsent_since = clock_monotonic_ns();
	return is_too_early ? wait_for_store(client) : wait_to_send(client, r);
}

/* Sends what is kept, and then goes on with reading, and with waits and events. */
static int send_kept(struct client *client)
{
	if (client->unsent && is_early(client))
		return wait_for_store(client);
	int r = client->unsent ? send_reply(client, client->unsent) : 0;

	if (may_be_sent_later(r))
		return wait_to_send(client, r);
	if (r < 0)
		return r;
	client->unsent = reply_kept_free(client->unsent);
	waker_resume(client);
	notifier_resume(client);
	if (client->batch)
		user_add_ready(client);
	client->is_set_aside = false;
	return event_add(client->on_readable, NULL) < 0 ? -ENOMEM : 0;
}

/* The client ends here, unless r is 0. */
static void end_if(struct client *client, int r)
{
	if (r == 0)
		return;
	log_end(client, r == -ETIMEDOUT ? "it leaves its replies unread" : strerror(-r));
	client_end(client);
}

static void on_sendable(evutil_socket_t fd, short what, void *context)
{
	struct client *client = context;

	(void)fd, (void)what;
	if (!client->is_leaving)
		end_if(client, send_kept(client));
}

void client_answer(struct client *client, struct reply *reply)
{
	end_if(client, send_or_keep(client, reply));
}

int client_offer(struct client *client, const struct reply *reply)
{
	if (client_is_behind(client))
		return -EAGAIN;
	int r = send_reply(client, reply);
	/* However long it takes: nothing of ours is waiting. For want of memory no socket becomes writable. */
	if (r == -EAGAIN)
		event_add(client->on_writable, NULL);
	else if (r < 0)
		add_event(client->on_pause, IN_FLIGHT_PAUSE);
	return r;
}

void client_refuse(int socket, unsigned code, const char *text)
{
	struct {
		struct wire_header header;
		struct wire_error error;
	} packet;
	struct packet_writer writer;

	packet_writer_init(&writer, &packet, sizeof(packet));
	packet_put_error(&writer, 0, 0, code, text);
	channel_send(socket, &packet, writer.size, NULL, 0);
}

/* --- receiving -------------------------------------------------------------------------------- */

/* Says once what was wrong, to the log and to the client. Returns -EBADMSG. */
static int malformed(const struct client *client, const char *why)
{
	char text[WIRE_TEXT_SIZE];

	statistics_count(&client->server->registry->statistics, STATISTIC_MALFORMED);
	snprintf(text, sizeof(text), "malformed message: %s", why);
	log_end(client, text);
	client_refuse(client->socket, WIRE_INVALID, text);
	return -EBADMSG;
}

/* The daemon's own buffers are enough for a packet that is answered at once; they are the next one's when
 * this returns. */
static int begin(struct client *client, struct batch *batch, size_t size)
{
	enum batch_state state = batch_go_on(batch, client, true);

	if (state != BATCH_DONE)
		client->batch = batch_keep(batch, size);
	if (client->batch)
		return (int)state;
	if (state != BATCH_DONE)
		batch_go_on(batch, client, false);
	return send_or_keep(client, batch->reply);
}

static int serve_packet(struct client *client, const void *packet, size_t size)
{
	struct batch batch;
	struct reply reply;
	const char *why;

	reply_init(&reply, client->server->out);
	if (batch_begin(&batch, packet, size, &reply, &why) < 0)
		return malformed(client, why);
	bool is_hello = batch.requests[0].header.op == WIRE_HELLO;
	if (is_hello == client->was_greeted)
		return malformed(client, is_hello ? "a second hello" : "a request before hello");
	int r = begin(client, &batch, size);
	reply_fini(&reply);
	return r;
}

/* A packet that was begun in an earlier turn. */
static int go_on(struct client *client)
{
	struct batch *batch = client->batch;
	enum batch_state state = batch_go_on(batch, client, true);

	if (state != BATCH_DONE && reply_own(batch->reply) == 0)
		return (int)state;
	if (state != BATCH_DONE)
		batch_go_on(batch, client, false);
	client->batch = NULL;
	int r = send_or_keep(client, batch->reply);
	batch_free(batch);
	return r;
}

/* Takes one packet: for the next one the client has to wait until it is its turn again. Returns an enum
 * batch_state, or a negative errno when the connection is to end. */
static int receive(struct client *client)
{
	ssize_t n = client->may_bring ? channel_look(client->socket) : 0;

	if (n == 0)
		n = channel_receive_plain(client->socket, client->server->in, WIRE_PACKET_MAX);
	if (n > 0)
		return serve_packet(client, client->server->in, (size_t)n);
	switch (n) {
	case -EAGAIN:
		return BATCH_DONE;
	case -EMSGSIZE:
		return malformed(client, "a packet is longer than 65536 bytes");
	case -EPROTO:
		return malformed(client, "it came with descriptors that nobody asked for");
	default:
		return n == 0 ? -ENOTCONN : (int)n;
	}
}

/* The client has ended the connection itself, or malformed() has said why it ends. */
static bool is_no_news(int r)
{
	return r == -ENOTCONN || r == -ECONNRESET || r == -EPIPE || r == -EBADMSG;
}

/* The loop is level-triggered: what stands on the list already is not to wake it again. */
static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct client *client = context;

	(void)fd, (void)what;
	if (client->list) {
		event_del(client->on_readable);
		client->is_set_aside = true;
		return;
	}
	user_add_ready(client);
}

/* Looks for the next packet. */
static int listen_again(struct client *client)
{
	user_remove(client);
	if (!client->is_set_aside || client->unsent)
		return 0;
	client->is_set_aside = false;
	return event_add(client->on_readable, NULL) < 0 ? -ENOMEM : 0;
}

void client_end(struct client *client)
{
	registry_begin_to_leave(client->server->registry, &client->session);
	client->is_leaving = true;
	user_add_ready(client);
}

/* Returns whether it has gone. */
static bool leave(struct client *client)
{
	if (registry_leave_some(client->server->registry, &client->session, LEAVE_UNIT,
				clock_boottime_ns()))
		return false;
	client_free(client);
	return true;
}

enum batch_state client_serve(struct client *client)
{
	int r = BATCH_DONE;

	if (client->is_leaving)
		return leave(client) ? BATCH_DONE : BATCH_MORE;
	/* With a reply unsent it comes back when that is out. */
	if (!client->unsent)
		r = client->batch ? go_on(client) : receive(client);
	if (r == BATCH_DONE)
		r = listen_again(client);
	if (r >= 0)
		return (enum batch_state)r;
	if (!is_no_news(r))
		log_end(client, strerror(-r));
	client_end(client);
	return leave(client) ? BATCH_DONE : BATCH_MORE;
}

/* --- life ------------------------------------------------------------------------------------- */

static int make_events(struct client *client)
{
	struct event_base *loop = client->server->loop;

	client->on_readable = event_new(loop, client->socket, EV_READ | EV_PERSIST, on_readable,
					client);
	client->on_writable = event_new(loop, client->socket, EV_WRITE, on_sendable, client);
	client->on_pause = evtimer_new(loop, on_sendable, client);
	if (!client->on_readable || !client->on_writable || !client->on_pause ||
	    event_add(client->on_readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static int read_session(struct client *client)
{
	struct credentials who;
	pid_t pid;
	int r = peer_read(client->socket, &pid, &who);

	if (r < 0)
		return r;
	session_init(&client->session, client->server->next_client++, pid, &who);
	record_next_client(&client->server->registry->record, client->server->next_client);
	return 0;
}

static void join_process(struct client *client, struct process *process)
{
	client->process = process;
	DL_APPEND2(process->clients, client, process_prev, process_next);
	charge_release(&process->charge);
	client->session.estate = &process->estate;
}

static int find_process(struct client *client)
{
	struct process *process;
	int r = process_get(&client->server->processes, client->socket, client->session.pid,
			    &process);

	if (r == 0 && process)
		join_process(client, process);
	return r;
}

static int add_to_table(struct client *client)
{
	struct server *server = client->server;

	HASH_ADD(hh, server->clients, session.id, sizeof(client->session.id), client);
	return HASH_ADDED(hh, client) ? 0 : -ENOMEM;
}

/* A reply as large as any has to fit, and not much more: what is not read is the kernel's memory. */
static void limit_buffer(int socket)
{
	int half = (WIRE_PACKET_MAX + 1024) / 2; /* of what the kernel makes of it, socket(7) */

	setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &half, sizeof(half));
}

static int find_user(struct client *client, struct refusal *why)
{
	struct server *server = client->server;
	const struct credentials *who = &client->session.who;

	client->user = user_get(server, who->uid);
	if (!client->user)
		return -ENOMEM;
	limit_buffer(client->socket);
	return unread_new(&client->unread, client->socket, &client->user->unread,
			  &server->registry->quota, who, why);
}

/* Whether its process has a connection of the former daemon's that no other one may be about to resume. */
static bool may_come_back(const struct client *client)
{
	const struct process *process = process_find(&client->server->processes,
						     client->session.pid);
	const struct client *other;
	int awaited = 0;

	if (process)
		DL_FOREACH2 (process->clients, other, process_next)
			awaited += client_is_absent(other) - other->is_guest;
	return awaited > 0;
}

/* An absent client counts until it is back, and would stand in its own way at the limit. */
static int charge_connection(struct client *client, struct refusal *why)
{
	struct quota *quota = &client->server->registry->quota;
	const struct credentials *who = &client->session.who;
	int r = quota_charge(quota, who, QUOTA_CLIENTS, 1, &client->charge, why);

	if (r != REFUSAL_LIMIT || !may_come_back(client))
		return r;
	client->is_guest = true;
	return quota_restore(quota, who->uid, QUOTA_CLIENTS, 1, &client->charge);
}

/* Returns 0, a refusal, or -errno; what was set up so far is client_free()'s. */
static int set_up(struct client *client, struct refusal *why)
{
	int r = read_session(client);

	if (r == 0)
		r = charge_connection(client, why);
	if (r == 0)
		r = find_user(client, why);
	if (r == 0)
		r = find_process(client);
	if (r == 0)
		r = make_events(client);
	if (r == 0)
		r = add_to_table(client);
	return r;
}

void client_accept(struct server *server, int socket)
{
	struct client *client = calloc(1, sizeof(*client));
	struct refusal why;

	if (!client) {
		client_refuse(socket, WIRE_NO_MEMORY,
			      "the daemon has no memory for one more client");
		closer_close(server->closer, socket, NULL, NULL);
		return;
	}
	client->server = server;
	client->socket = socket;
	client->may_bring = channel_may_bring_descriptors(socket);
	client->connected_at = clock_boottime_ns();
	int r = set_up(client, &why);
	if (r == 0) {
		log_debug("client %" PRIu64 " connected: pid %d, uid %u", client->session.id,
			  (int)client->session.pid, client->session.who.uid);
		return;
	}
	if (r < 0)
		refuse_errno(&why, r, "serve one more client");
	/* A client that died on the way is no news. */
	if (r != -ESRCH) {
		statistics_count(&server->registry->statistics, STATISTIC_REFUSED);
		/* Of a limit, the quota has told once. */
		log_about(why.code == REFUSAL_LIMIT ? LOG_LEVEL_DEBUG : LOG_LEVEL_NOTICE,
			  client->session.who.uid, "a client of uid %u was refused: %s",
			  client->session.who.uid, why.text);
		client_refuse(socket, dispatch_code(why.code), why.text);
	}
	client_free(client);
}

/* A process that leaves numbers behind is watched on, at the price of a client. What is kept for it is paid for by
 * whoever made that, without asking the process. */
static void leave_process(struct client *client)
{
	struct process *process = client->process;

	DL_DELETE2(process->clients, client, process_prev, process_next);
	if (!process->clients && process->estate.lockers) {
		process->charge = client->charge;
		client->charge = (struct charge){0};
	}
	process_put(process);
}

static void close_socket(struct client *client)
{
	struct user *user = client->user;

	if (client->unread)
		unread_leave(client->unread, &client->charge);
	else if (!client_is_absent(client))
		closer_close(client->server->closer, client->socket, &client->charge, NULL);
	if (!user)
		return;
	user_remove(client);
	user_note_left(user);
	user_put(user);
}

struct client *client_free(struct client *client)
{
	if (!client)
		return NULL;
	registry_leave(client->server->registry, &client->session, clock_boottime_ns());
	loop_event_free(client->on_readable);
	loop_event_free(client->on_writable);
	loop_event_free(client->on_pause);
	reply_kept_free(client->unsent);
	batch_free(client->batch);
	if (client->hh.tbl)
		HASH_DELETE(hh, client->server->clients, client);
	if (client->process)
		leave_process(client);
	close_socket(client);
	charge_release(&client->charge);
	session_fini(&client->session);
	free(client);
	return NULL;
}

/* --- after a restart -------------------------------------------------------------------------- */

/* What a client had in the former daemon's books, whatever the limits are by now. */
static int set_up_absent(struct client *client, struct process *process)
{
	struct server *server = client->server;
	uid_t uid = client->session.who.uid;
	int r = quota_restore(&server->registry->quota, uid, QUOTA_CLIENTS, 1, &client->charge);

	if (r < 0)
		return r;
	client->user = user_get(server, uid);
	if (!client->user)
		return -ENOMEM;
	if (process)
		join_process(client, process);
	return add_to_table(client);
}

int client_restore(struct server *server, const struct record_client *row, struct process *process,
		   struct client **ret)
{
	struct client *client = calloc(1, sizeof(*client));
	struct credentials who;

	if (!client)
		return -ENOMEM;
	credentials_init(&who, row->uid, row->gid, NULL, 0);
	session_init(&client->session, row->id, (pid_t)row->pid, &who);
	client->server = server;
	client->socket = -1;
	client->was_greeted = true;
	client->connected_at = row->connected_at;
	client->session.token = row->token;
	client->session.process_start = row->process_start;
	client->session.can_lock = row->flags & RECORD_CAN_LOCK;
	client->session.last = row->last;
	int r = set_up_absent(client, process);
	if (r < 0) {
		client_free(client);
		return r;
	}
	record_client(&server->registry->record, &client->session, client->connected_at);
	*ret = client;
	return 0;
}

static int by_number(const struct client *a, const struct client *b)
{
	return a->session.id < b->session.id ? -1 : a->session.id > b->session.id;
}

void client_take_over(struct client *client, struct client *absent)
{
	struct server *server = client->server;

	HASH_DELETE(hh, server->clients, client);
	HASH_DELETE(hh, server->clients, absent);
	absent->hh.tbl = client->hh.tbl = NULL;
	restore_session(&absent->session, &client->session);
	client->connected_at = absent->connected_at;
	client->is_guest = false;
	/* Listings go from one number to the next. */
	HASH_ADD_INORDER(hh, server->clients, session.id, sizeof(client->session.id), client,
			 by_number);
	record_client(&server->registry->record, &client->session, client->connected_at);
	client_free(absent);
}

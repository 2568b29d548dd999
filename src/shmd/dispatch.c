/* SPDX-License-Identifier: MIT */
#include "shmd/dispatch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <semaphore.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "shmd/client.h"
#include "shmd/peer.h"
#include "shmd/process.h"
#include "shmd/query.h"
#include "shmd/reply.h"
#include "shmd/restart.h"
#include "shmd/server.h"
#include "shmd/store.h"

enum wire_code dispatch_code(enum refusal_code code)
{
	switch (code) {
	case REFUSAL_INVALID:
		return WIRE_INVALID;
	case REFUSAL_TOO_LONG:
		return WIRE_TOO_LONG;
	case REFUSAL_EXISTS:
		return WIRE_EXISTS;
	case REFUSAL_NOT_FOUND:
		return WIRE_NOT_FOUND;
	case REFUSAL_DENIED:
		return WIRE_DENIED;
	case REFUSAL_LIMIT:
		return WIRE_LIMIT;
	case REFUSAL_NO_MEMORY:
		return WIRE_NO_MEMORY;
	case REFUSAL_NO_SPACE:
		return WIRE_NO_SPACE;
	case REFUSAL_NO_DESCRIPTORS:
		return WIRE_NO_DESCRIPTORS;
	case REFUSAL_UNSUPPORTED:
		return WIRE_UNSUPPORTED;
	case REFUSAL_VERSION:
		return WIRE_VERSION_REFUSED;
	case REFUSAL_INTERNAL:
		return WIRE_INTERNAL;
	}
	return WIRE_INTERNAL;
}

static enum lifetime lifetime_of(uint32_t on_wire)
{
	switch ((enum wire_lifetime)on_wire) {
	case WIRE_LIFETIME_OWNER:
		return LIFETIME_OWNER;
	case WIRE_LIFETIME_PERSISTENT:
		return LIFETIME_PERSISTENT;
	case WIRE_LIFETIME_CLIENTS:
	case WIRE_LIFETIMES:
		break;
	}
	return LIFETIME_CLIENTS;
}

/* Before the segment's row is written, which makes it so. */
static void note_deed(struct client *client, const struct reply *reply, enum deed_kind kind,
		      uint64_t id, uint64_t generation)
{
	struct record *record = &client->server->registry->record;

	if (!record_is_kept(record))
		return;
	client->session.last = (struct deed){packet_number(&reply->writer), kind, id, generation};
	record_client(record, &client->session, client->connected_at);
}

/* --- handlers: 0, a refusal, or -errno; the reply's message is open ---------------------------- */

/* Or this: the request is to be answered later. */
#define ANSWERED_LATER (REFUSAL_INTERNAL + 1)

typedef int handler_fn(struct client *client, const void *body, struct reply *reply,
		       struct refusal *why);

/* From here on a next daemon would know the client. Without a token, it cannot come back. */
static void note_session(struct client *client)
{
	struct record *record = &client->server->registry->record;
	struct session *session = &client->session;

	if (!record_is_kept(record) || getrandom(&session->token, sizeof(session->token), 0) !=
					       (ssize_t)sizeof(session->token))
		return;
	session->process_start = process_start(client->process);
	if (session->estate)
		session->estate->start = session->process_start;
	record_client(record, session, client->connected_at);
}

static int on_hello(struct client *client, const void *body, struct reply *reply,
		    struct refusal *why)
{
	const struct wire_hello *hello = body;

	if (hello->version < WIRE_VERSION_OLDEST || hello->version > WIRE_VERSION)
		return refuse(why, REFUSAL_VERSION,
			      "protocol version %u is not served; versions %u to %u are",
			      hello->version, WIRE_VERSION_OLDEST, WIRE_VERSION);
	client->was_greeted = true;
	client->session.can_lock = hello->word_bits == 8 * sizeof(void *);
	note_session(client);
	struct wire_welcome *welcome = packet_append(&reply->writer, sizeof(*welcome));
	welcome->version = hello->version;
	welcome->word_bits = 8 * sizeof(void *);
	welcome->client = client->session.id;
	welcome->token = client->session.token;
	text_copy(welcome->daemon, sizeof(welcome->daemon), PACKAGE_VERSION);
	return 0;
}

static uint16_t lock_on_wire(enum lock_right right)
{
	switch (right) {
	case LOCK_NO_SEMAPHORE:
		return WIRE_LOCK_NONE;
	case LOCK_GRANTED:
		return WIRE_LOCK_GRANTED;
	case LOCK_READ_ONLY:
		return WIRE_LOCK_READ_ONLY;
	case LOCK_LAYOUT:
		return WIRE_LOCK_LAYOUT;
	case LOCK_UNWATCHED:
		return WIRE_LOCK_UNWATCHED;
	case LOCK_NO_NUMBER:
		return WIRE_LOCK_NO_NUMBER;
	}
	return WIRE_LOCK_NONE;
}

/* What it takes to lock by oneself. */
static void put_lock(struct client *client, bool read_only, struct grant *grant,
		     struct wire_segment *segment, struct reply *reply)
{
	registry_grant_lock(client->server->registry, &client->session, read_only, grant);
	segment->lock = lock_on_wire(grant->lock);
	segment->number = (uint16_t)grant->number;
	if (grant->semaphore_fd >= 0)
		reply_add_descriptor(reply, grant->semaphore_fd, false);
	if (grant->ledger_fd >= 0)
		reply_add_descriptor(reply, grant->ledger_fd, false);
}

/* They are stored by their ids: with the last one all are. */
static void await_storing(struct client *client, const struct segment *segment)
{
	if (store_is_late(client->server->store, segment) && client->awaited < segment->id)
		client->awaited = segment->id;
}

/* What cannot be had is not attached either. */
static int add_semaphore(struct client *client, struct grant *grant, uint32_t flags,
			 struct refusal *why)
{
	struct registry *registry = client->server->registry;
	bool read_only = flags & WIRE_READ_ONLY;
	struct refusal ignored;

	if (!(flags & WIRE_WANT_SEMAPHORE))
		return 0;
	int r = registry_grant_semaphore(registry, &client->session, read_only, grant, why);
	if (r == 0)
		return 0;
	grant->fd = close_fd(grant->fd);
	registry_detach(registry, &client->session, grant->segment->id, read_only,
			clock_boottime_ns(), &ignored);
	return r;
}

static void put_grant(struct client *client, struct grant *grant, uint32_t flags,
		      struct reply *reply)
{
	struct wire_segment *segment = packet_append(&reply->writer, sizeof(*segment));

	await_storing(client, grant->segment);
	query_put_segment(grant->segment, segment);
	if (grant->is_new)
		segment->flags |= WIRE_SEGMENT_NEW;
	/* Another layout of sem_t, another semaphore: it would do harm. */
	if (!client->session.can_lock)
		text_copy(segment->semaphore, sizeof(segment->semaphore), "");
	reply_add_descriptor(reply, grant->fd, true);
	if (flags & WIRE_WANT_SEMAPHORE)
		put_lock(client, flags & WIRE_READ_ONLY, grant, segment, reply);
	if (grant->reader_fd >= 0) {
		segment->flags |= WIRE_SEGMENT_READER;
		reply_add_descriptor(reply, grant->reader_fd, true);
	}
}

static int on_create(struct client *client, const void *body, struct reply *reply,
		     struct refusal *why)
{
	const struct wire_create *create = body;
	bool no_semaphore = create->flags & WIRE_NO_SEMAPHORE;
	struct creation what = {
		.name = create->name,
		.size = create->size,
		.mode = create->mode,
		.lifetime = lifetime_of(create->lifetime),
		.linger_ns = create->linger_ms * NSEC_PER_MSEC,
		.permits = create->permits,
		.late_semaphore = create->flags & WIRE_LATE_SEMAPHORE &&
				  !(create->flags & WIRE_WANT_SEMAPHORE),
		.readers_lock = create->flags & WIRE_READERS_LOCK,
		.huge = create->flags & WIRE_HUGE_PAGES,
		.open_existing = create->flags & WIRE_OPEN_EXISTING,
		.heir = (pid_t)create->heir,
		.reader = create->flags & WIRE_WANT_READER,
	};
	struct grant grant;

	if (no_semaphore != (create->permits == 0))
		return refuse(why, REFUSAL_INVALID,
			      no_semaphore ? "%u permits are asked for, and no semaphore"
					   : "%u permits are too few; a semaphore has at least 1",
			      create->permits);
	if (what.reader && create->name[0])
		return refuse(why, REFUSAL_INVALID,
			      "a read-only descriptor comes with a segment without a name only");
	int r = registry_create(client->server->registry, &client->session, &what,
				clock_boottime_ns(), &grant, why);
	if (r == 0)
		r = add_semaphore(client, &grant, create->flags & WIRE_WANT_SEMAPHORE, why);
	if (r != 0)
		return r;
	if (grant.is_new && create->name[0])
		note_deed(client, reply, DEED_CREATED, grant.segment->id,
			  grant.segment->generation);
	put_grant(client, &grant, create->flags & WIRE_WANT_SEMAPHORE, reply);
	return 0;
}

static int open_flags(uint32_t on_wire)
{
	static const int accesses[] = {[WIRE_OPEN_READ] = O_RDONLY,
				       [WIRE_OPEN_WRITE] = O_WRONLY,
				       [WIRE_OPEN_BOTH] = O_RDWR};

	return accesses[on_wire & WIRE_OPEN_ACCESS] | (on_wire & WIRE_OPEN_CREATE ? O_CREAT : 0) |
	       (on_wire & WIRE_OPEN_EXCLUSIVE ? O_EXCL : 0) |
	       (on_wire & WIRE_OPEN_TRUNCATE ? O_TRUNC : 0);
}

static int on_open(struct client *client, const void *body, struct reply *reply,
		   struct refusal *why)
{
	const struct wire_open *open = body;
	bool semaphore = open->flags & WIRE_OPEN_SEMAPHORE;
	struct opening what = {
		.flags = open_flags(open->flags),
		.gid = open->gid,
		.of = {.name = open->name,
		       .kind = semaphore ? SEGMENT_POSIX_SEMAPHORE : SEGMENT_POSIX_MEMORY,
		       .size = semaphore ? sizeof(sem_t) : 0,
		       .value = open->value,
		       .mode = open->mode,
		       .heir = (pid_t)open->heir,
		       .lifetime = lifetime_of(open->lifetime),
		       .linger_ns = open->linger_ms * NSEC_PER_MSEC},
	};
	struct opened opened;
	int r = registry_open(client->server->registry, &client->session, &what,
			      clock_boottime_ns(), &opened, why);

	if (r != 0)
		return r;
	await_storing(client, opened.segment);
	struct wire_opened *answer = packet_append(&reply->writer, sizeof(*answer));
	answer->id = opened.segment->id;
	answer->flags = query_segment_flags(opened.segment) |
			(opened.is_new ? WIRE_SEGMENT_NEW : 0);
	reply_add_descriptor(reply, opened.fd, true);
	return 0;
}

static int on_bequeath(struct client *client, const void *body, struct reply *reply,
		       struct refusal *why)
{
	const struct wire_bequeath *bequeath = body;
	struct server *server = client->server;
	struct process *heir = NULL;
	int r = -ESRCH;

	(void)reply;
	if (client->session.estate &&
	    peer_numbers_as_we_do(process_of(client->session.estate)->pid))
		r = process_get_by_pid(&server->processes, (pid_t)bequeath->pid,
				       client->session.who.uid, &heir);
	if (r == -ESRCH || r == -EINVAL)
		return refuse(why, REFUSAL_NOT_FOUND, "there is no process %u of that user's",
			      bequeath->pid);
	if (r < 0)
		return refuse_errno(why, r, "watch the process that inherits");
	heir->estate.start = process_start(heir);
	registry_bequeath(server->registry, &client->session, &heir->estate);
	process_put(heir);
	return 0;
}

static int attach(struct client *client, const struct wire_attach *what, struct grant *ret,
		  struct refusal *why)
{
	struct registry *registry = client->server->registry;

	if (what->flags & WIRE_POSIX)
		return registry_attach_semaphore(registry, &client->session, what->id,
						 clock_boottime_ns(), ret, why);
	return registry_attach(registry, &client->session, what->id, what->name,
			       what->flags & WIRE_READ_ONLY, clock_boottime_ns(), ret, why);
}

static int on_attach(struct client *client, const void *body, struct reply *reply,
		     struct refusal *why)
{
	const struct wire_attach *request = body;
	struct grant grant;
	int r = attach(client, request, &grant, why);

	if (r == 0)
		r = add_semaphore(client, &grant, request->flags, why);
	if (r == 0)
		put_grant(client, &grant, request->flags, reply);
	return r;
}

static int on_detach(struct client *client, const void *body, struct reply *reply,
		     struct refusal *why)
{
	const struct wire_detach *detach = body;

	(void)reply;
	return registry_detach(client->server->registry, &client->session, detach->id,
			       detach->flags & WIRE_READ_ONLY, clock_boottime_ns(), why);
}

static int on_unlink(struct client *client, const void *body, struct reply *reply,
		     struct refusal *why)
{
	const struct wire_unlink *request = body;
	uint64_t id;
	int r = registry_unlink(client->server->registry, &client->session, request->id,
				request->name, clock_boottime_ns(), &id, why);

	if (r == 0)
		note_deed(client, reply, DEED_UNLINKED, id, 0);
	return r;
}

static int on_keep(struct client *client, const void *body, struct reply *reply,
		   struct refusal *why)
{
	const struct wire_keep *keep = body;

	(void)reply;
	return registry_keep(client->server->registry, &client->session, keep->id, why);
}

static int on_publish(struct client *client, const void *body, struct reply *reply,
		      struct refusal *why)
{
	const struct wire_publish *publish = body;
	uint64_t generation;
	int r = registry_publish(client->server->registry, &client->session, publish->id,
				 publish->name, publish->flags & WIRE_WRITABLE, clock_boottime_ns(),
				 &generation, why);

	if (r != 0)
		return r;
	struct wire_published *published = packet_append(&reply->writer, sizeof(*published));
	published->generation = generation;
	note_deed(client, reply, DEED_PUBLISHED, publish->id, generation);
	return 0;
}

static int attach_waited(struct client *client, const char *name, uint32_t flags,
			 struct reply *reply, struct refusal *why)
{
	struct grant grant;
	int r = registry_attach(client->server->registry, &client->session, 0, name,
				flags & WIRE_READ_ONLY, clock_boottime_ns(), &grant, why);

	if (r == 0)
		r = add_semaphore(client, &grant, flags, why);
	if (r == 0)
		put_grant(client, &grant, flags, reply);
	return r;
}

static int on_wait(struct client *client, const void *body, struct reply *reply,
		   struct refusal *why)
{
	const struct wire_wait *wait = body;
	struct wait *waiting;
	int r = registry_wait(client->server->registry, &client->session,
			      packet_number(&reply->writer), wait->name, wait->newer_than,
			      wait->flags, clock_boottime_ns(), &waiting, why);

	if (r != 0)
		return r;
	return waiting ? ANSWERED_LATER
		       : attach_waited(client, wait->name, wait->flags, reply, why);
}

static int on_subscribe(struct client *client, const void *body, struct reply *reply,
			struct refusal *why)
{
	const struct wire_subscribe *subscribe = body;
	struct registry *registry = client->server->registry;

	return subscription_new(&registry->journal, &registry->quota, &client->session,
				packet_number(&reply->writer), subscribe->prefix, why);
}

static int on_cancel(struct client *client, const void *body, struct reply *reply,
		     struct refusal *why)
{
	const struct wire_cancel *cancel = body;
	struct registry *registry = client->server->registry;
	struct wait *wait = wait_find(&client->session, cancel->number);
	struct subscription *subscription = subscription_find(&client->session, cancel->number);

	(void)reply;
	if (!wait && !subscription)
		return refuse(why, REFUSAL_NOT_FOUND,
			      "no wait or subscription of number %u is under way", cancel->number);
	wait_free(&registry->waits, wait);
	subscription_free(&registry->journal, subscription);
	return 0;
}

static int on_resume(struct client *client, const void *body, struct reply *reply,
		     struct refusal *why)
{
	struct wire_resumed resumed;
	int r = restart_resume(client, body, &resumed, why);

	if (r == 0)
		memcpy(packet_append(&reply->writer, sizeof(resumed)), &resumed, sizeof(resumed));
	return r;
}

static int on_confirm(struct client *client, const void *body, struct reply *reply,
		      struct refusal *why)
{
	const struct wire_confirm *confirm = body;

	(void)reply;
	return registry_confirm(client->server->registry, &client->session, confirm->id,
				confirm->writing, confirm->reading, why);
}

static int on_settle(struct client *client, const void *body, struct reply *reply,
		     struct refusal *why)
{
	(void)body, (void)reply, (void)why;
	registry_settle_session(client->server->registry, &client->session);
	return 0;
}

static handler_fn *const handlers[WIRE_OPS] = {
	[WIRE_HELLO] = on_hello,        [WIRE_CREATE] = on_create, [WIRE_ATTACH] = on_attach,
	[WIRE_DETACH] = on_detach,      [WIRE_UNLINK] = on_unlink, [WIRE_STATUS] = query_status,
	[WIRE_LIST] = query_list,       [WIRE_SHOW] = query_show,  [WIRE_CLIENTS] = query_clients,
	[WIRE_HOLDERS] = query_holders, [WIRE_KEEP] = on_keep,     [WIRE_PUBLISH] = on_publish,
	[WIRE_WAIT] = on_wait,          [WIRE_CANCEL] = on_cancel, [WIRE_SUBSCRIBE] = on_subscribe,
	[WIRE_EXPLAIN] = query_explain, [WIRE_RESUME] = on_resume, [WIRE_CONFIRM] = on_confirm,
	[WIRE_SETTLE] = on_settle,      [WIRE_OPEN] = on_open,     [WIRE_BEQUEATH] = on_bequeath,
};

/* Of a segment: its own, the semaphore's, the ledger's; and one for reading of a new one. */
unsigned dispatch_descriptors(unsigned op)
{
	switch (op) {
	case WIRE_CREATE:
		return 4;
	case WIRE_ATTACH:
	case WIRE_WAIT:
		return 3;
	case WIRE_OPEN:
		return 1;
	default:
		return 0;
	}
}

/* --- one request ------------------------------------------------------------------------------ */

static void put_refusal(struct client *client, unsigned op, const struct refusal *why,
			struct reply *reply)
{
	statistics_count(&client->server->registry->statistics, STATISTIC_REFUSED);
	journal_tell_refused(&client->server->registry->journal, &client->session, why->text,
			     clock_boottime_ns());
	log_debug("client %" PRIu64 " was refused %s: %s", client->session.id, packet_op_name(op),
		  why->text);
	packet_rewind(&reply->writer);
	struct wire_error *error = packet_append(&reply->writer, sizeof(*error));
	text_copy(error->text, sizeof(error->text), why->text);
	packet_end(&reply->writer, dispatch_code(why->code), 0);
}

/* Ends the open message of an operation that has come to `r`: 0, a refusal, or -errno. */
static void finish(struct client *client, int r, struct refusal *why, unsigned descriptors,
		   struct reply *reply)
{
	unsigned op = packet_op(&reply->writer);

	if (r < 0)
		refuse_errno(why, r, packet_op_name(op));
	if (r != 0)
		put_refusal(client, op, why, reply);
	else
		packet_end(&reply->writer, WIRE_OK, descriptors);
}

static void serve(struct client *client, const struct packet_message *request, struct reply *reply)
{
	unsigned op = request->header.op;
	unsigned before = reply->n_fds;
	struct refusal why;

	packet_begin(&reply->writer, op, request->header.number);
	int r = handlers[op](client, request->body, reply, &why);
	if (r == ANSWERED_LATER)
		packet_drop(&reply->writer);
	else
		finish(client, r, &why, reply->n_fds - before, reply);
	server_note_changes(client->server);
}

void dispatch_refuse(struct client *client, const struct packet_message *request,
		     struct refusal *why, struct reply *reply)
{
	packet_begin(&reply->writer, request->header.op, request->header.number);
	put_refusal(client, request->header.op, why, reply);
}

void dispatch_wait(struct client *client, struct wait *wait, struct reply *reply)
{
	struct registry *registry = client->server->registry;
	struct refusal why;

	if (!registry_is_newer(registry, wait->name->name, wait->newer_than, clock_boottime_ns()))
		return;
	packet_begin(&reply->writer, WIRE_WAIT, wait->number);
	int r = attach_waited(client, wait->name->name, wait->flags, reply, &why);
	finish(client, r, &why, reply->n_fds, reply);
	wait_free(&registry->waits, wait);
	server_note_changes(client->server);
}

void dispatch(struct client *client, const struct packet_message *requests, unsigned n,
	      struct reply *reply)
{
	for (unsigned i = 0; i < n; i++)
		serve(client, &requests[i], reply);
}

/* SPDX-License-Identifier: MIT */
/*
 * What a daemon leaves to the next one, by a service manager that the test plays: everything that clients
 * can see of it, after an orderly end and after kill -9, and what happens to those who do not come back.
 * Speaks the protocol itself, to see what the daemon keeps and not what the library makes of it.
 */
#include "manager.h"

#include <stdio.h>

#ifdef HAVE_LIBSYSTEMD
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/channel.h"
#include "wire/packet.h"
#include "wire/word.h"

static struct manager *manager;

/* --- a client --------------------------------------------------------------------------------- */

struct peer {
	int fd;
	uint32_t number;
	uint64_t client;
	uint64_t token;
	unsigned code; /* of the last reply */
	char text[WIRE_TEXT_SIZE];
	int fds[4]; /* that it brought */
	size_t n_fds;
};

static _Alignas(8) char packet[WIRE_PACKET_MAX];

static void close_fds(struct peer *peer)
{
	while (peer->n_fds > 0)
		close(peer->fds[--peer->n_fds]);
}

/* Sends one request. */
static void send_request(struct peer *peer, unsigned op, const void *body, size_t size)
{
	struct packet_writer writer;

	packet_writer_init(&writer, packet, sizeof(packet));
	packet_begin(&writer, op, ++peer->number);
	if (size > 0)
		memcpy(packet_append(&writer, size), body, size);
	packet_end(&writer, 0, 0);
	ck_assert_int_eq(channel_send(peer->fd, packet, writer.size, NULL, 0), 0);
}

/* Returns whether it was granted, with the body in `reply`. */
static bool receive_reply(struct peer *peer, void *reply, size_t room)
{
	struct packet_message message;
	size_t offset = 0, n_fds;
	int fds[WIRE_DESCRIPTORS_MAX], truncated;
	ssize_t n = channel_receive(peer->fd, packet, sizeof(packet), fds, &n_fds, &truncated);

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(packet_next_reply(packet, (size_t)n, &offset, &message), 1);
	ck_assert_uint_eq(message.header.number, peer->number);
	close_fds(peer);
	ck_assert_uint_le(n_fds, 4);
	memcpy(peer->fds, fds, n_fds * sizeof(int));
	peer->n_fds = n_fds;
	peer->code = message.header.code;
	if (peer->code != WIRE_OK) {
		memcpy(peer->text, message.body, sizeof(peer->text));
		return false;
	}
	ck_assert_uint_eq(message.body_size, room);
	if (room > 0)
		memcpy(reply, message.body, room);
	return true;
}

static bool ask(struct peer *peer, unsigned op, const void *body, size_t size, void *reply,
		size_t room)
{
	send_request(peer, op, body, size);
	return receive_reply(peer, reply, room);
}

static void connect_peer(struct peer *peer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 64};
	struct wire_welcome welcome;

	*peer = (struct peer){.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
	strcpy(address.sun_path, manager_daemon(manager)->socket);
	ck_assert_int_eq(connect(peer->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert(ask(peer, WIRE_HELLO, &hello, sizeof(hello), &welcome, sizeof(welcome)));
	peer->client = welcome.client;
	peer->token = welcome.token;
}

static void end_peer(struct peer *peer)
{
	close_fds(peer);
	close(peer->fd);
}

/* Comes back, on a new connection. */
static bool try_resume(struct peer *peer, uint64_t client, uint64_t token, struct wire_resumed *ret)
{
	struct wire_resume resume = {.client = client, .token = token};

	return ask(peer, WIRE_RESUME, &resume, sizeof(resume), ret, sizeof(*ret));
}

static struct wire_resumed resume(struct peer *peer)
{
	struct peer former = *peer;
	struct wire_resumed resumed;

	connect_peer(peer);
	ck_assert_uint_ne(former.token, 0);
	ck_assert_msg(try_resume(peer, former.client, former.token, &resumed), "%s", peer->text);
	peer->client = former.client;
	peer->token = former.token;
	end_peer(&former);
	return resumed;
}

static bool confirm(struct peer *peer, uint64_t id, uint32_t writing, uint32_t reading)
{
	struct wire_confirm confirm = {.id = id, .writing = writing, .reading = reading};

	return ask(peer, WIRE_CONFIRM, &confirm, sizeof(confirm), NULL, 0);
}

static void settle(struct peer *peer)
{
	ck_assert(ask(peer, WIRE_SETTLE, NULL, 0, NULL, 0));
}

static struct wire_create creation(const char *name, unsigned lifetime)
{
	struct wire_create create = {.size = 8192,
				     .mode = 0640,
				     .lifetime = lifetime,
				     .permits = 1,
				     .flags = WIRE_WANT_SEMAPHORE};

	strcpy(create.name, name);
	return create;
}

static struct wire_segment make(struct peer *peer, const struct wire_create *create)
{
	struct wire_segment segment;

	ck_assert_msg(ask(peer, WIRE_CREATE, create, sizeof(*create), &segment, sizeof(segment)),
		      "%s", peer->text);
	return segment;
}

static struct wire_segment create(struct peer *peer, const char *name, unsigned lifetime)
{
	struct wire_create what = creation(name, lifetime);

	return make(peer, &what);
}

static bool attach(struct peer *peer, const char *name, uint64_t id, struct wire_segment *ret)
{
	struct wire_attach attach = {.id = id, .flags = WIRE_WANT_SEMAPHORE};

	strcpy(attach.name, name);
	return ask(peer, WIRE_ATTACH, &attach, sizeof(attach), ret, sizeof(*ret));
}

static bool unlink_name(struct peer *peer, const char *name)
{
	struct wire_unlink request = {0};

	strcpy(request.name, name);
	return ask(peer, WIRE_UNLINK, &request, sizeof(request), NULL, 0);
}

static bool show(struct peer *peer, const char *name, struct wire_shown *ret)
{
	struct wire_show request = {0};
	_Alignas(8) char body[4096];
	struct packet_message message;
	size_t offset = 0, n_fds;
	int fds[WIRE_DESCRIPTORS_MAX], truncated;

	strcpy(request.name, name);
	send_request(peer, WIRE_SHOW, &request, sizeof(request));
	ssize_t n = channel_receive(peer->fd, body, sizeof(body), fds, &n_fds, &truncated);
	ck_assert_int_eq(packet_next_reply(body, (size_t)n, &offset, &message), 1);
	if (message.header.code != WIRE_OK)
		return false;
	memcpy(ret, message.body, sizeof(*ret));
	return true;
}

static bool exists(struct peer *peer, const char *name)
{
	struct wire_shown shown;

	return show(peer, name, &shown);
}

static void write_text(int fd, const char *text)
{
	ck_assert_int_eq(pwrite(fd, text, strlen(text) + 1, 0), (int)strlen(text) + 1);
}

static void expect_text(int fd, const char *text)
{
	char found[64] = "";

	ck_assert_int_gt(pread(fd, found, sizeof(found) - 1, 0), 0);
	ck_assert_str_eq(found, text);
}

/* --- the two ways to end ---------------------------------------------------------------------- */

typedef void end_fn(struct manager *manager);

static end_fn *const ends[] = {manager_restart, manager_crash};
#define WAYS 2

static void set_up(void)
{
	manager = manager_new("[daemon]\ngrace = 100ms\n");
	manager_start(manager);
}

static void tear_down(void)
{
	struct manager_heard heard;

	manager_heard(manager, &heard);
	ck_assert_uint_eq(heard.nonsense, 0);
	ck_assert_uint_eq(heard.strangers, 0);
	ck_assert_uint_eq(heard.polled, 0);
	ck_assert_uint_eq(heard.doubled, 0);
	manager = manager_free(manager);
}

/* --- what comes back -------------------------------------------------------------------------- */

START_TEST(segments_are_as_they_were)
{
	static const unsigned lifetimes[] = {WIRE_LIFETIME_CLIENTS, WIRE_LIFETIME_OWNER,
					     WIRE_LIFETIME_PERSISTENT};
	static const char *const names[] = {"ofclients", "ofowner", "persistent"};
	struct wire_shown before[3], after;
	struct wire_segment again;
	struct peer peer;

	connect_peer(&peer);
	for (int i = 0; i < 3; i++) {
		struct wire_create what = creation(names[i], lifetimes[i]);
		what.linger_ms = i < 2 ? 1234 : 0;
		what.permits = (uint32_t)i + 1;
		make(&peer, &what);
		write_text(peer.fds[0], names[i]);
		ck_assert(show(&peer, names[i], &before[i]));
	}
	ends[_i](manager);
	resume(&peer);
	for (int i = 0; i < 3; i++) {
		ck_assert(show(&peer, names[i], &after));
		after.entry.age_ms = before[i].entry.age_ms;
		ck_assert_mem_eq(&after, &before[i], sizeof(after));
		ck_assert(attach(&peer, names[i], 0, &again));
		expect_text(peer.fds[0], names[i]);
	}
	end_peer(&peer);
}
END_TEST

START_TEST(ids_go_on)
{
	struct wire_segment first, second;
	struct peer peer;

	connect_peer(&peer);
	create(&peer, "keeper", WIRE_LIFETIME_PERSISTENT);
	first = create(&peer, "gone", WIRE_LIFETIME_PERSISTENT);
	ck_assert(unlink_name(&peer, "gone"));
	ends[_i](manager);
	connect_peer(&peer);
	second = create(&peer, "gone", WIRE_LIFETIME_PERSISTENT);
	ck_assert_uint_gt(second.id, first.id);
	end_peer(&peer);
}
END_TEST

static uint64_t used(struct peer *peer, const char *limit)
{
	static _Alignas(8) char body[WIRE_PACKET_MAX];
	struct packet_message message;
	size_t offset = 0, n_fds;
	int fds[WIRE_DESCRIPTORS_MAX], truncated;

	send_request(peer, WIRE_STATUS, NULL, 0);
	ssize_t n = channel_receive(peer->fd, body, sizeof(body), fds, &n_fds, &truncated);
	ck_assert_int_eq(packet_next_reply(body, (size_t)n, &offset, &message), 1);
	const struct wire_status *status = message.body;
	const struct wire_limit *limits = (const void *)((const struct wire_counter *)(status + 1) +
							 status->counters);
	for (uint32_t i = 0; i < status->limits; i++)
		if (strcmp(limits[i].name, limit) == 0)
			return limits[i].use;
	ck_abort_msg("no limit %s", limit);
}

START_TEST(charges_are_as_they_were)
{
	static const char *const limits[] = {"segments", "semaphores", "bytes", "attachments"};
	uint64_t before[4];
	struct peer peer;

	connect_peer(&peer);
	create(&peer, "a", WIRE_LIFETIME_PERSISTENT);
	create(&peer, "b", WIRE_LIFETIME_CLIENTS);
	for (int i = 0; i < 4; i++)
		before[i] = used(&peer, limits[i]);
	ends[_i](manager);
	resume(&peer);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(used(&peer, limits[i]), before[i]);
	ck_assert_uint_eq(used(&peer, "clients"), 1);
	end_peer(&peer);
	connect_peer(&peer);
	ck_assert(unlink_name(&peer, "a"));
	AWAIT(used(&peer, "segments") == 0);
	AWAIT(used(&peer, "attachments") == 0);
	end_peer(&peer);
}
END_TEST

/* --- clients that come back ------------------------------------------------------------------- */

START_TEST(who_comes_back_has_what_it_had)
{
	struct wire_segment mine, other;
	struct wire_shown shown;
	struct peer peer;

	connect_peer(&peer);
	mine = create(&peer, "mine", WIRE_LIFETIME_OWNER);
	ck_assert(attach(&peer, "mine", 0, &other));
	ends[_i](manager);
	uint64_t client = peer.client;
	resume(&peer);
	ck_assert(confirm(&peer, mine.id, 1, 0));
	settle(&peer);
	ck_assert(show(&peer, "mine", &shown));
	ck_assert_uint_eq(shown.entry.clients, 1);
	ck_assert_uint_eq(peer.client, client);
	/* Once, and not twice. */
	struct wire_detach detach = {.id = mine.id};
	ck_assert(ask(&peer, WIRE_DETACH, &detach, sizeof(detach), NULL, 0));
	ck_assert(!exists(&peer, "mine"));
	end_peer(&peer);
}
END_TEST

START_TEST(what_is_not_confirmed_is_let_go_of)
{
	struct wire_segment kept, dropped;
	struct peer peer;

	connect_peer(&peer);
	kept = create(&peer, "kept", WIRE_LIFETIME_OWNER);
	close_fds(&peer);
	dropped = create(&peer, "dropped", WIRE_LIFETIME_OWNER);
	close_fds(&peer);
	ends[_i](manager);
	resume(&peer);
	ck_assert(confirm(&peer, kept.id, 1, 0));
	ck_assert(exists(&peer, "dropped"));
	settle(&peer);
	ck_assert(exists(&peer, "kept"));
	AWAIT(!exists(&peer, "dropped"));
	ck_assert(!confirm(&peer, dropped.id, 1, 0));
	ck_assert_uint_eq(peer.code, WIRE_NOT_FOUND);
	end_peer(&peer);
}
END_TEST

static void tries_to_resume(struct actor *self, void *context)
{
	const struct peer *victim = context;
	struct wire_resumed resumed;
	struct peer peer;

	(void)self;
	connect_peer(&peer);
	ck_assert(!try_resume(&peer, victim->client, victim->token, &resumed));
	ck_assert_uint_eq(peer.code, WIRE_NOT_FOUND);
}

START_TEST(nobody_else_comes_back_as_a_client)
{
	struct wire_resumed resumed;
	struct peer peer, other;
	struct actor actor;

	connect_peer(&peer);
	create(&peer, "mine", WIRE_LIFETIME_OWNER);
	ends[_i](manager);
	connect_peer(&other);
	ck_assert(!try_resume(&other, peer.client, peer.token + 1, &resumed));
	ck_assert(!try_resume(&other, peer.client, 0, &resumed));
	ck_assert(!try_resume(&other, other.client, other.token, &resumed));
	ck_assert(!try_resume(&other, peer.client + 7, peer.token, &resumed));
	/* Another process, with the right token. */
	actor_start(&actor, tries_to_resume, &peer);
	actor_finish(&actor);
	resume(&peer);
	ck_assert(!try_resume(&other, peer.client, peer.token, &resumed));
	ck_assert(exists(&peer, "mine"));
	end_peer(&peer);
	end_peer(&other);
}
END_TEST

START_TEST(a_client_comes_back_again_and_again)
{
	struct wire_segment mine;
	struct peer peer;

	connect_peer(&peer);
	mine = create(&peer, "mine", WIRE_LIFETIME_OWNER);
	write_text(peer.fds[0], "mine");
	for (int i = 0; i < 10; i++) {
		ends[(i + _i) % WAYS](manager);
		resume(&peer);
		ck_assert(confirm(&peer, mine.id, 1, 0));
		settle(&peer);
	}
	struct wire_segment again;
	ck_assert(attach(&peer, "", mine.id, &again));
	expect_text(peer.fds[0], "mine");
	ck_assert_uint_eq(used(&peer, "clients"), 1);
	end_peer(&peer);
	connect_peer(&peer);
	AWAIT(!exists(&peer, "mine"));
	end_peer(&peer);
}
END_TEST

/* --- what was under way ----------------------------------------------------------------------- */

/* The daemon does a request, and dies before the client has read its answer. */
START_TEST(what_was_done_last_is_told)
{
	struct wire_resumed resumed;
	struct wire_segment made, frame;
	struct wire_create anonymous = creation("", WIRE_LIFETIME_PERSISTENT);
	struct wire_published published;
	struct peer peer;

	connect_peer(&peer);
	resumed = (struct wire_resumed){0};
	made = create(&peer, "made", WIRE_LIFETIME_PERSISTENT);
	ends[_i](manager);
	uint32_t number = peer.number;
	resumed = resume(&peer);
	ck_assert_uint_eq(resumed.number, number);
	ck_assert_uint_eq(resumed.op, WIRE_CREATE);
	ck_assert_uint_eq(resumed.id, made.id);

	frame = make(&peer, &anonymous);
	struct wire_publish publish = {.id = frame.id, .flags = WIRE_WRITABLE, .name = "frame"};
	ck_assert(
		ask(&peer, WIRE_PUBLISH, &publish, sizeof(publish), &published, sizeof(published)));
	number = peer.number;
	ck_assert(!unlink_name(&peer, "nothing"));
	ends[_i](manager);
	resumed = resume(&peer);
	ck_assert_uint_eq(resumed.number, number);
	ck_assert_uint_eq(resumed.op, WIRE_PUBLISH);
	ck_assert_uint_eq(resumed.id, frame.id);
	ck_assert_uint_eq(resumed.generation, published.generation);

	ck_assert(unlink_name(&peer, "made"));
	number = peer.number;
	ends[_i](manager);
	resumed = resume(&peer);
	ck_assert_uint_eq(resumed.number, number);
	ck_assert_uint_eq(resumed.op, WIRE_UNLINK);
	ck_assert_uint_eq(resumed.id, made.id);
	ck_assert(!exists(&peer, "made"));
	end_peer(&peer);
}
END_TEST

START_TEST(a_published_name_leads_to_the_newest)
{
	struct wire_create anonymous = creation("", WIRE_LIFETIME_PERSISTENT);
	struct wire_published published;
	struct wire_segment old, frame, found;
	struct wire_shown shown;
	struct peer peer;

	connect_peer(&peer);
	for (int i = 0; i < 3; i++) {
		frame = make(&peer, &anonymous);
		write_text(peer.fds[0], i == 2 ? "new" : "old");
		struct wire_publish publish = {.id = frame.id,
					       .flags = WIRE_WRITABLE,
					       .name = "frame"};
		ck_assert(ask(&peer, WIRE_PUBLISH, &publish, sizeof(publish), &published,
			      sizeof(published)));
		old = i == 0 ? frame : old;
	}
	ends[_i](manager);
	resume(&peer);
	ck_assert(attach(&peer, "frame", 0, &found));
	expect_text(peer.fds[0], "new");
	ck_assert_uint_eq(found.generation, published.generation);
	ck_assert(show(&peer, "frame", &shown));
	ck_assert_uint_eq(shown.old_generations, 2);
	ck_assert(attach(&peer, "", old.id, &found));
	expect_text(peer.fds[0], "old");
	end_peer(&peer);
}
END_TEST

/* --- permits ---------------------------------------------------------------------------------- */

struct lock_job {
	const char *name;
	unsigned permits;
};

/* Takes a permit through the library, and keeps it. */
static void takes_permit(struct actor *self, void *context)
{
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *segment = attach_or_fail(connection, context, 0);

	ck_assert_int_ge(shmd_acquire(segment, 0), 0);
	actor_tell(self);
	actor_await(self);
	ck_assert_int_eq(shmd_release(segment), 0);
}

START_TEST(permits_stay_held)
{
	struct shmd *connection = connect_or_fail();
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct actor holder;

	options.lifetime = SHMD_LIFETIME_PERSISTENT;
	options.permits = _i / WAYS ? 2 : 1;
	ck_assert_int_eq(shmd_create(connection, "locked", 4096, &options, &segment), 0);
	if (options.permits == 2)
		ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	actor_start(&holder, takes_permit, (void *)"locked");
	actor_await(&holder);
	ends[_i % WAYS](manager);
	ck_assert_int_eq(shmd_acquire(segment, 300), -ETIMEDOUT);
	actor_tell(&holder);
	actor_finish(&holder);
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EAGAIN);
}
END_TEST

/* `_i`: how the daemon ends, and whether the holder dies before, in between, or after. */
START_TEST(permits_of_the_dead_come_back)
{
	struct shmd *connection = connect_or_fail();
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct actor holder;
	bool in_between = _i / WAYS % 2 == 1;

	options.lifetime = SHMD_LIFETIME_PERSISTENT;
	options.permits = _i / WAYS / 2 ? 2 : 1;
	ck_assert_int_eq(shmd_create(connection, "locked", 4096, &options, &segment), 0);
	if (options.permits == 2)
		ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	actor_start(&holder, takes_permit, (void *)"locked");
	actor_await(&holder);
	if (in_between) {
		if (_i % WAYS)
			manager_kill(manager);
		else
			manager_end(manager);
		actor_kill(&holder);
		manager_start(manager);
	} else {
		ends[_i % WAYS](manager);
		actor_kill(&holder);
	}
	ck_assert_int_eq(shmd_acquire(segment, 5000), SHMD_OWNER_DIED);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EAGAIN);
}
END_TEST

/* --- those who do not come back --------------------------------------------------------------- */

/* Has all of it open, whatever becomes of the connection. */
static void owns(struct actor *self, void *context)
{
	struct peer peer;

	(void)context;
	connect_peer(&peer);
	create(&peer, "owned", WIRE_LIFETIME_OWNER);
	ck_assert_int_ge(dup(peer.fds[0]), 0);
	create(&peer, "used", WIRE_LIFETIME_CLIENTS);
	ck_assert_int_ge(dup(peer.fds[0]), 0);
	create(&peer, "persistent", WIRE_LIFETIME_PERSISTENT);
	actor_tell(self);
	actor_await(self);
}

START_TEST(who_dies_in_between_is_reaped)
{
	struct actor actor;
	struct peer peer;

	actor_start(&actor, owns, NULL);
	actor_await(&actor);
	if (_i)
		manager_kill(manager);
	else
		manager_end(manager);
	actor_kill(&actor);
	manager_start(manager);
	connect_peer(&peer);
	AWAIT(!exists(&peer, "owned") && !exists(&peer, "used"));
	ck_assert(exists(&peer, "persistent"));
	AWAIT(used(&peer, "attachments") == 0);
	end_peer(&peer);
}
END_TEST

/* It has the memory open, and nothing to say to the daemon for longer than the grace. */
START_TEST(who_is_only_silent_is_not)
{
	struct actor actor;
	struct peer peer;

	actor_start(&actor, owns, NULL);
	actor_await(&actor);
	ends[_i](manager);
	connect_peer(&peer);
	usleep(300000);
	ck_assert(exists(&peer, "owned"));
	ck_assert(exists(&peer, "used"));
	actor_kill(&actor);
	AWAIT(!exists(&peer, "owned") && !exists(&peer, "used"));
	end_peer(&peer);
}
END_TEST

/* Connected still, as far as it knows, but with nothing open. */
static void lets_go(struct actor *self, void *context)
{
	struct peer peer;

	(void)context;
	connect_peer(&peer);
	create(&peer, "owned", WIRE_LIFETIME_OWNER);
	create(&peer, "used", WIRE_LIFETIME_CLIENTS);
	create(&peer, "held", WIRE_LIFETIME_OWNER);
	actor_tell(self);
	actor_await(self);
}

START_TEST(what_nobody_has_open_is_let_go_of)
{
	struct actor actor;
	struct peer peer;

	actor_start(&actor, lets_go, NULL);
	actor_await(&actor);
	ends[_i](manager);
	connect_peer(&peer);
	AWAIT(!exists(&peer, "owned") && !exists(&peer, "used"));
	ck_assert(exists(&peer, "held"));
	ck_assert_uint_eq(used(&peer, "clients"), 2);
	actor_kill(&actor);
	AWAIT(used(&peer, "clients") == 1);
	ck_assert(!exists(&peer, "held"));
	end_peer(&peer);
}
END_TEST

static void gives_away(struct actor *self, void *context)
{
	struct peer peer;
	struct actor child;

	(void)context;
	connect_peer(&peer);
	create(&peer, "inherited", WIRE_LIFETIME_CLIENTS);
	void *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, peer.fds[0], 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	(void)child;
	pid_t pid = fork();
	if (pid == 0) {
		end_peer(&peer);
		pause();
	}
	close(self->to);
	self->to = -1;
	ck_assert_int_eq(write(*(int *)context, &pid, sizeof(pid)), sizeof(pid));
	pause();
}

/* Only a mapping, in a child that was forked. */
START_TEST(what_a_child_has_mapped_is_kept)
{
	int ends_of_pipe[2];
	struct actor actor;
	struct peer peer;
	pid_t child;

	ck_assert_int_eq(pipe(ends_of_pipe), 0);
	actor_start(&actor, gives_away, &ends_of_pipe[1]);
	ck_assert_int_eq(read(ends_of_pipe[0], &child, sizeof(child)), sizeof(child));
	if (_i)
		manager_kill(manager);
	else
		manager_end(manager);
	actor_kill(&actor);
	manager_start(manager);
	connect_peer(&peer);
	usleep(300000);
	ck_assert(exists(&peer, "inherited"));
	kill(child, SIGKILL);
	AWAIT(!exists(&peer, "inherited"));
	end_peer(&peer);
}
END_TEST

START_TEST(what_lingers_goes_on_to_linger)
{
	struct wire_create what = creation("lingers", WIRE_LIFETIME_OWNER);
	struct peer peer, other;

	what.linger_ms = 600;
	connect_peer(&peer);
	connect_peer(&other);
	make(&peer, &what);
	end_peer(&peer);
	struct wire_shown shown;
	AWAIT(show(&other, "lingers", &shown) && shown.entry.segment.flags & WIRE_SEGMENT_LINGERS);
	double start = now_ms();
	ends[_i](manager);
	connect_peer(&other);
	ck_assert(exists(&other, "lingers") || now_ms() - start > 550);
	AWAIT(!exists(&other, "lingers"));
	ck_assert(now_ms() - start < 5000);
	end_peer(&other);
}
END_TEST

/* --- the store -------------------------------------------------------------------------------- */

/* Messages that lie in the first pouch. */
static unsigned kept(void)
{
	int queued, fd;
	unsigned n = 0;

	manager_drain(manager);
	for (unsigned i = 0; i < 2; i++) {
		fd = i ? manager_take(manager, "p0") : manager_take_first(manager, "p0");
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(ioctl(fd, SIOCINQ, &queued), 0);
		n += (unsigned)queued / sizeof(uint32_t);
		close(fd);
	}
	return n;
}

START_TEST(what_goes_is_taken_out)
{
	struct wire_create several = creation("b", WIRE_LIFETIME_PERSISTENT);
	char name[32];
	struct peer peer;

	several.permits = 3;
	several.size = 64 << 20;
	connect_peer(&peer);
	manager_drain(manager);
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "a%d", i);
		create(&peer, name, WIRE_LIFETIME_PERSISTENT);
	}
	make(&peer, &several);
	create(&peer, "c", WIRE_LIFETIME_PERSISTENT);
	close_fds(&peer);
	unsigned before = manager_stored(manager);
	ck_assert_uint_eq(kept(), 7);
	if (_i)
		manager_crash(manager);
	if (_i)
		resume(&peer);
	settle(&peer);
	ck_assert(unlink_name(&peer, "a3"));
	ck_assert(unlink_name(&peer, "b"));
	end_peer(&peer);
	connect_peer(&peer);
	AWAIT(used(&peer, "segments") == 5);
	AWAIT(kept() == 5);
	ck_assert_uint_eq(manager_stored(manager), before);
	/* The others are whole. */
	manager_crash(manager);
	resume(&peer);
	ck_assert_uint_eq(used(&peer, "segments"), 5);
	ck_assert_uint_eq(kept(), 5);
	ck_assert(exists(&peer, "a0") && exists(&peer, "a4") && exists(&peer, "c"));
	end_peer(&peer);
}
END_TEST

/* However many come and go, the service manager hears of few. */
START_TEST(the_manager_is_left_alone)
{
	struct manager_heard before, after;
	struct wire_detach detach = {0};
	struct peer peer;

	connect_peer(&peer);
	manager_drain(manager);
	manager_heard(manager, &before);
	for (int i = 0; i < 1000; i++) {
		detach.id = create(&peer, "a", WIRE_LIFETIME_CLIENTS).id;
		close_fds(&peer);
		ck_assert(ask(&peer, WIRE_DETACH, &detach, sizeof(detach), NULL, 0));
	}
	manager_drain(manager);
	manager_heard(manager, &after);
	ck_assert_uint_le(after.stored - before.stored, 4);
	ck_assert_uint_eq(after.removed, before.removed);
	end_peer(&peer);
}
END_TEST

/* The service manager is busy: nobody waits for it, and nothing is lost in the end. */
START_TEST(a_busy_manager_keeps_nobody_waiting)
{
	char name[32];
	struct peer peer;

	connect_peer(&peer);
	manager_hold(manager, true);
	double start = now_ms();
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "segment%d", i);
		create(&peer, name, WIRE_LIFETIME_PERSISTENT);
	}
	ck_assert(getenv("SHMD_WRAPPER") || now_ms() - start < 3000);
	manager_hold(manager, false);
	AWAIT(manager_stored(manager) >= 5 + 2 * 300 / 16);
	manager_crash(manager);
	connect_peer(&peer);
	ck_assert_uint_eq(used(&peer, "segments"), 300);
	end_peer(&peer);
}
END_TEST

START_TEST(a_full_store_is_told)
{
	char name[32];
	struct peer peer;

	manager_end(manager);
	manager_set_max(manager, 9 + 4);
	manager_start(manager);
	connect_peer(&peer);
	for (int i = 0; i < 33; i++) {
		snprintf(name, sizeof(name), "segment%d", i);
		create(&peer, name, WIRE_LIFETIME_PERSISTENT);
	}
	ck_assert(daemon_logged(manager_daemon(manager), "FileDescriptorStoreMax=13"));
	manager_await_status(manager, "a restart would lose new segments");
	/* Room for it comes when another goes. */
	close_fds(&peer);
	ck_assert(unlink_name(&peer, "segment2"));
	settle(&peer);
	end_peer(&peer);
	connect_peer(&peer);
	AWAIT(used(&peer, "segments") == 32);
	AWAIT(daemon_logged(manager_daemon(manager), "in the service manager's store again"));
	manager_crash(manager);
	connect_peer(&peer);
	ck_assert_uint_eq(used(&peer, "segments"), 32);
	ck_assert(exists(&peer, "segment32"));
	end_peer(&peer);
}
END_TEST

/* Without anything to keep, nothing is left. */
START_TEST(an_empty_daemon_leaves_nothing)
{
	struct peer peer;

	connect_peer(&peer);
	end_peer(&peer);
	manager_end(manager);
	manager_drain(manager);
	ck_assert_uint_eq(manager_stored(manager), 0);
	ck_assert_uint_eq(daemon_files(manager_daemon(manager), "shmd-"), 0);
}
END_TEST

START_TEST(an_emptied_store_is_a_new_beginning)
{
	struct wire_resumed resumed;
	struct peer peer, again;
	int fd;

	connect_peer(&peer);
	create(&peer, "lost", WIRE_LIFETIME_PERSISTENT);
	fd = dup(peer.fds[0]);
	write_text(fd, "mine still");
	manager_end(manager);
	manager_empty(manager);
	manager_start(manager);
	connect_peer(&again);
	ck_assert(!exists(&again, "lost"));
	ck_assert(!try_resume(&again, peer.client, peer.token, &resumed));
	ck_assert_uint_eq(again.code, WIRE_NOT_FOUND);
	expect_text(fd, "mine still");
	create(&again, "lost", WIRE_LIFETIME_PERSISTENT);
	close(fd);
	end_peer(&peer);
	end_peer(&again);
}
END_TEST

/* --- a start that fails ----------------------------------------------------------------------- */

static rlim_t few_descriptors;

static void limit_descriptors(void)
{
	struct rlimit limit = {few_descriptors, few_descriptors};

	if (few_descriptors > 0)
		setrlimit(RLIMIT_NOFILE, &limit);
}

/* With any number of descriptors too few it gets no further, and leaves all to one that has enough. */
START_TEST(a_start_that_fails_loses_nothing)
{
	struct shmd *connection = connect_or_fail();
	struct wire_segment made, again;
	struct actor holder;
	struct peer peer;
	int status, failed = 0;
	bool is_started = false;

	connect_peer(&peer);
	made = create(&peer, "mine", WIRE_LIFETIME_OWNER);
	struct shmd_segment *locked = create_or_fail(connection, "locked", 4096,
						     SHMD_LIFETIME_PERSISTENT);
	actor_start(&holder, takes_permit, (void *)"locked");
	actor_await(&holder);
	manager_end(manager);
	daemon_prepare = limit_descriptors;
	for (few_descriptors = 14; !is_started && few_descriptors < 100; few_descriptors++) {
		is_started = manager_try_start(manager, &status);
		failed += !is_started;
	}
	daemon_prepare = NULL;
	ck_assert_int_gt(failed, 3);
	if (is_started)
		manager_end(manager);
	manager_start(manager);
	resume(&peer);
	ck_assert(attach(&peer, "mine", 0, &again));
	ck_assert_uint_eq(again.id, made.id);
	ck_assert_str_eq(again.semaphore, made.semaphore);
	ck_assert_str_ne(again.semaphore, "");
	ck_assert_int_eq(shmd_acquire(locked, 100), -ETIMEDOUT);
	actor_tell(&holder);
	actor_finish(&holder);
	ck_assert_int_eq(shmd_acquire(locked, 1000), 0);
	end_peer(&peer);
	shmd_disconnect(connection);
}
END_TEST

/* --- at the limits ---------------------------------------------------------------------------- */

START_TEST(clients_at_their_limit_come_back)
{
	struct peer peers[3], late;

	manager = manager_free(manager);
	manager = manager_new("[daemon]\ngrace = 100ms\n[limits]\nclients_per_user = 3\n");
	manager_start(manager);
	for (int i = 0; i < 3; i++) {
		char name[] = {'a', (char)('0' + i), '\0'};
		connect_peer(&peers[i]);
		create(&peers[i], name, WIRE_LIFETIME_OWNER);
	}
	ends[_i](manager);
	usleep(200000);
	for (int i = 0; i < 3; i++)
		resume(&peers[i]);
	ck_assert_uint_eq(used(&peers[0], "clients"), 3);
	end_peer(&peers[0]);
	connect_peer(&late);
	for (int i = 1; i < 3; i++)
		end_peer(&peers[i]);
	end_peer(&late);
}
END_TEST

/* --- a deaf manager ---------------------------------------------------------------------------- */

/* Others have what its maker has not been told of yet. */
START_TEST(what_is_not_stored_is_nobodys)
{
	struct pollfd early = {.events = POLLIN};
	struct wire_segment made, again;
	struct wire_create what;
	struct peer maker, other;

	connect_peer(&maker);
	connect_peer(&other);
	manager_hold(manager, true);
	early.fd = maker.fd;
	/* Until the queue is full, and the last one is not answered yet. */
	for (int i = 0;; i++) {
		what = creation("", WIRE_LIFETIME_PERSISTENT);
		snprintf(what.name, sizeof(what.name), "segment%d", i);
		send_request(&maker, WIRE_CREATE, &what, sizeof(what));
		if (poll(&early, 1, 100) == 0)
			break;
		ck_assert(receive_reply(&maker, &made, sizeof(made)));
	}
	struct wire_attach request = {.flags = WIRE_WANT_SEMAPHORE};
	strcpy(request.name, what.name);
	send_request(&other, WIRE_ATTACH, &request, sizeof(request));
	early.fd = other.fd;
	ck_assert_int_eq(poll(&early, 1, 100), 0);
	manager_hold(manager, false);
	ck_assert(receive_reply(&other, &made, sizeof(made)));
	manager_crash(manager);
	resume(&other);
	ck_assert_msg(attach(&other, "", made.id, &again), "%s", other.text);
	end_peer(&maker);
	end_peer(&other);
}
END_TEST

/* A daemon without a store leaves nothing; and so the next one finds nothing, and nothing older. */
START_TEST(what_ended_without_a_store_stays_so)
{
	struct peer peer;

	connect_peer(&peer);
	create(&peer, "old", WIRE_LIFETIME_PERSISTENT);
	close_fds(&peer);
	manager_end(manager);
	manager_set_max(manager, 0);
	manager_start(manager);
	resume(&peer);
	settle(&peer);
	ck_assert(unlink_name(&peer, "old"));
	ck_assert(!exists(&peer, "old"));
	ends[_i](manager);
	manager_set_max(manager, 16384);
	ends[_i](manager);
	end_peer(&peer);
	connect_peer(&peer);
	ck_assert(!exists(&peer, "old"));
	end_peer(&peer);
}
END_TEST

/* --- processes that the daemon cannot see ------------------------------------------------------ */

static void start_in_namespace(void)
{
	int fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(setns(fd, CLONE_NEWPID), 0);
	ck_assert_int_eq(unshare(CLONE_NEWPID), 0);
	manager_start(manager);
	ck_assert_int_eq(setns(fd, CLONE_NEWPID), 0);
	close(fd);
}

/* It could not be found again: so it has a time to come back, and nothing that is lost otherwise. */
START_TEST(who_is_not_seen_has_time_to_come_back)
{
	struct wire_segment mine;
	struct peer peer, other;

	if (geteuid() != 0)
		return;
	manager_end(manager);
	start_in_namespace();
	connect_peer(&peer);
	mine = create(&peer, "mine", WIRE_LIFETIME_OWNER);
	ck_assert_uint_eq(mine.lock, WIRE_LOCK_UNWATCHED);
	ck_assert_uint_eq(mine.number, 0);
	if (_i)
		manager_kill(manager);
	else
		manager_end(manager);
	start_in_namespace();
	resume(&peer);
	ck_assert(confirm(&peer, mine.id, 1, 0));
	settle(&peer);
	usleep(300000);
	connect_peer(&other);
	ck_assert(exists(&other, "mine"));
	end_peer(&peer);
	AWAIT(!exists(&other, "mine"));
	end_peer(&other);
}
END_TEST

static Suite *restart_suite(void)
{
	Suite *suite = suite_create("restart");
	TCase *tcase = tcase_create("restart");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, segments_are_as_they_were, 0, WAYS);
	tcase_add_loop_test(tcase, ids_go_on, 0, WAYS);
	tcase_add_loop_test(tcase, charges_are_as_they_were, 0, WAYS);
	tcase_add_loop_test(tcase, who_comes_back_has_what_it_had, 0, WAYS);
	tcase_add_loop_test(tcase, what_is_not_confirmed_is_let_go_of, 0, WAYS);
	tcase_add_loop_test(tcase, nobody_else_comes_back_as_a_client, 0, WAYS);
	tcase_add_loop_test(tcase, a_client_comes_back_again_and_again, 0, WAYS);
	tcase_add_loop_test(tcase, what_was_done_last_is_told, 0, WAYS);
	tcase_add_loop_test(tcase, a_published_name_leads_to_the_newest, 0, WAYS);
	tcase_add_loop_test(tcase, permits_stay_held, 0, 2 * WAYS);
	tcase_add_loop_test(tcase, permits_of_the_dead_come_back, 0, 4 * WAYS);
	tcase_add_loop_test(tcase, who_dies_in_between_is_reaped, 0, WAYS);
	tcase_add_loop_test(tcase, who_is_only_silent_is_not, 0, WAYS);
	tcase_add_loop_test(tcase, what_nobody_has_open_is_let_go_of, 0, WAYS);
	tcase_add_loop_test(tcase, what_a_child_has_mapped_is_kept, 0, WAYS);
	tcase_add_loop_test(tcase, what_lingers_goes_on_to_linger, 0, WAYS);
	tcase_add_loop_test(tcase, what_goes_is_taken_out, 0, 2);
	tcase_add_test(tcase, the_manager_is_left_alone);
	tcase_add_test(tcase, a_busy_manager_keeps_nobody_waiting);
	tcase_add_test(tcase, a_full_store_is_told);
	tcase_add_test(tcase, an_empty_daemon_leaves_nothing);
	tcase_add_test(tcase, an_emptied_store_is_a_new_beginning);
	tcase_add_test(tcase, a_start_that_fails_loses_nothing);
	tcase_add_loop_test(tcase, clients_at_their_limit_come_back, 0, WAYS);
	tcase_add_test(tcase, what_is_not_stored_is_nobodys);
	tcase_add_loop_test(tcase, what_ended_without_a_store_stays_so, 0, WAYS);
	tcase_add_loop_test(tcase, who_is_not_seen_has_time_to_come_back, 0, WAYS);
	suite_add_tcase(suite, tcase);
	return suite;
}

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	return run_suite(restart_suite());
}
#else
int main(void)
{
	puts("1..0 # SKIP built without libsystemd");
	return 0;
}
#endif

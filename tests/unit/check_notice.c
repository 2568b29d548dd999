/* SPDX-License-Identifier: MIT */
/*
 * What the library does with what nobody waits for, and how it publishes. The daemon is a process of
 * the test's, which does what the name in a request to unlink says.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "libshmd/connection.h"
#include "libshmd/notice.h"
#include "libshmd/segment.h"
#include "libshmd/shmd.h"
#include "wire/channel.h"
#include "wire/packet.h"

#define PACKET_EVENTS 100u
#define SEGMENT_SIZE  4096u
#define OLD_ID        7u
#define NEW_ID        70u
#define WAIT_ID       8u

/* --- the daemon's side ------------------------------------------------------------------------ */

#define CONNECTIONS 8
#define WAITS       64

/* What the test sees of the daemon. */
struct book {
	atomic_uint cancels;
	atomic_uint waits;
	atomic_uint grants; /* to waits */
	atomic_uint detaches;
	_Atomic uint64_t detached_id;
	atomic_uint detached_flags;
	atomic_bool was_sealed;
	atomic_bool answers_late; /* a wait, only when it is cancelled */
	char prefix[WIRE_NAME_SIZE];
};

static struct book *book;
static pid_t daemon_pid;

struct peer {
	int socket;
	uint32_t subscription;
	uint32_t waits[WAITS];
	unsigned n_waits;
	unsigned n_answers;  /* to waits that have not come yet */
	unsigned n_refusals; /* of those, too, and before the answers */
	uint64_t n_events;
};

static int segment_fd = -1; /* of what was created last */

static void send_body(struct peer *peer, unsigned op, uint32_t number, const void *body,
		      size_t size, const int *fds, unsigned n_fds)
{
	alignas(8) char packet[2048];
	struct packet_writer writer;

	packet_writer_init(&writer, packet, sizeof(packet));
	packet_begin(&writer, op, number);
	if (size > 0)
		memcpy(packet_append(&writer, size), body, size);
	packet_end(&writer, 0, n_fds);
	channel_send(peer->socket, packet, writer.size, fds, n_fds);
}

static void send_error(struct peer *peer, unsigned op, uint32_t number, unsigned code)
{
	alignas(8) char packet[2048];
	struct packet_writer writer;

	packet_writer_init(&writer, packet, sizeof(packet));
	packet_put_error(&writer, op, number, code, "no");
	channel_send(peer->socket, packet, writer.size, NULL, 0);
}

static int make_memory(void)
{
	int fd = memfd_create("unit", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (ftruncate(fd, SEGMENT_SIZE) < 0)
		_exit(1);
	return fd;
}

static int open_reader(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void grant(struct peer *peer, unsigned op, uint32_t number, uint64_t id, int fd, int reader)
{
	struct wire_segment segment = {.id = id,
				       .generation = id,
				       .size = SEGMENT_SIZE,
				       .flags = reader >= 0 ? WIRE_SEGMENT_READER : 0};
	int fds[] = {fd, reader};

	send_body(peer, op, number, &segment, sizeof(segment), fds, reader >= 0 ? 2 : 1);
}

static void answer_wait(struct peer *peer)
{
	int fd = make_memory();

	atomic_fetch_add(&book->grants, 1);
	grant(peer, WIRE_WAIT, peer->waits[0], WAIT_ID, fd, -1);
	peer->n_waits--;
	memmove(peer->waits, peer->waits + 1, peer->n_waits * sizeof(*peer->waits));
	close_fd(fd);
}

/* With numbered names where `text` is NULL. */
static void send_texts(struct peer *peer, unsigned n, unsigned kind, const char *text)
{
	static alignas(8) char packet[WIRE_PACKET_MAX];
	struct packet_writer writer;

	packet_writer_init(&writer, packet, sizeof(packet));
	packet_begin(&writer, WIRE_EVENTS, peer->subscription);
	struct wire_entries *entries = packet_append(&writer, sizeof(*entries));
	entries->entries = n;
	for (unsigned i = 0; i < n; i++) {
		struct wire_event *event = packet_append(&writer, sizeof(*event));
		event->kind = kind;
		event->id = ++peer->n_events;
		event->count = kind == WIRE_EVENT_LOST ? 5 : 0;
		if (text)
			text_copy(event->text, sizeof(event->text), text);
		else
			snprintf(event->text, sizeof(event->text), "text%u", i);
	}
	packet_end(&writer, 0, 0);
	channel_send(peer->socket, packet, writer.size, NULL, 0);
}

static void send_events(struct peer *peer, unsigned n, unsigned kind)
{
	send_texts(peer, n, kind, NULL);
}

static void send_all_kinds(struct peer *peer)
{
	send_texts(peer, 1, WIRE_EVENT_CREATED, "");
	send_texts(peer, 1, WIRE_EVENT_REFUSED, "text9");
	send_texts(peer, 1, WIRE_EVENT_CREATED, "tex");
	send_texts(peer, 1, WIRE_EVENT_CREATED, "textile");
	send_texts(peer, 1, WIRE_EVENT_LOST, "");
}

static void send_many_events(struct peer *peer, unsigned n)
{
	for (; n > PACKET_EVENTS; n -= PACKET_EVENTS)
		send_events(peer, PACKET_EVENTS, WIRE_EVENT_CREATED);
	send_events(peer, n, WIRE_EVENT_CREATED);
}

/* "events N", "refuse N", "kinds", "malformed", "lost", "answer", "close". Returns whether the connection goes on. */
static bool obey(struct peer *peer, const char *order)
{
	unsigned n = 0;

	if (sscanf(order, "events %u", &n) == 1)
		send_many_events(peer, n);
	else if (sscanf(order, "refuse %u", &n) == 1)
		peer->n_refusals = n;
	else if (strcmp(order, "malformed") == 0)
		send_body(peer, WIRE_EVENTS, peer->subscription,
			  &(struct wire_entries){.entries = UINT32_MAX},
			  sizeof(struct wire_entries), NULL, 0);
	else if (strcmp(order, "kinds") == 0)
		send_all_kinds(peer);
	else if (strcmp(order, "lost") == 0)
		send_events(peer, 1, WIRE_EVENT_LOST);
	else if (strcmp(order, "answer") == 0 && peer->n_waits > 0)
		answer_wait(peer);
	else if (strcmp(order, "answer") == 0)
		peer->n_answers++;
	return strcmp(order, "close") != 0;
}

static void take_wait(struct peer *peer, uint32_t number)
{
	atomic_fetch_add(&book->waits, 1);
	if (peer->n_refusals > 0) {
		peer->n_refusals--;
		return send_error(peer, WIRE_WAIT, number, WIRE_DENIED);
	}
	if (peer->n_waits == WAITS)
		_exit(1);
	peer->waits[peer->n_waits++] = number;
	if (peer->n_answers > 0) {
		peer->n_answers--;
		answer_wait(peer);
	}
}

static void take_cancel(struct peer *peer, const struct wire_cancel *cancel, uint32_t number)
{
	atomic_fetch_add(&book->cancels, 1);
	if (cancel->number == peer->subscription) {
		peer->subscription = 0;
	} else if (atomic_load(&book->answers_late) && peer->n_waits > 0) {
		answer_wait(peer);
		return send_error(peer, WIRE_CANCEL, number, WIRE_NOT_FOUND);
	}
	for (unsigned i = 0; i < peer->n_waits; i++)
		if (peer->waits[i] == cancel->number)
			peer->waits[i] = peer->waits[--peer->n_waits];
	send_body(peer, WIRE_CANCEL, number, NULL, 0, NULL, 0);
}

static void take_create(struct peer *peer, const struct wire_create *create, uint32_t number)
{
	close_fd(segment_fd);
	segment_fd = make_memory();
	_cleanup_close_ int reader = create->flags & WIRE_WANT_READER ? open_reader(segment_fd)
								      : -1;
	grant(peer, WIRE_CREATE, number, OLD_ID, segment_fd, reader);
}

static void take_publish(struct peer *peer, const struct wire_publish *publish, uint32_t number)
{
	struct wire_published published = {.generation = NEW_ID};

	atomic_store(&book->was_sealed,
		     (fcntl(segment_fd, F_GET_SEALS) & F_SEAL_WRITE) != 0 && publish->id == OLD_ID);
	/* As the daemon does before it looks at the name. */
	fcntl(segment_fd, F_ADD_SEALS, F_SEAL_SEAL);
	if (strcmp(publish->name, "taken") == 0)
		send_error(peer, WIRE_PUBLISH, number, WIRE_DENIED);
	else
		send_body(peer, WIRE_PUBLISH, number, &published, sizeof(published), NULL, 0);
}

static void take_attach(struct peer *peer, const struct wire_attach *attach, uint32_t number)
{
	if (attach->id != OLD_ID)
		return send_error(peer, WIRE_ATTACH, number, WIRE_NOT_FOUND);
	_cleanup_close_ int reader = open_reader(segment_fd);

	grant(peer, WIRE_ATTACH, number, attach->id,
	      attach->flags & WIRE_READ_ONLY ? reader : segment_fd, -1);
}

static void take_detach(const struct wire_detach *detach)
{
	atomic_fetch_add(&book->detaches, 1);
	atomic_store(&book->detached_id, detach->id);
	atomic_store(&book->detached_flags, detach->flags);
}

/* "later N" is answered first. */
static bool take_order(struct peer *peer, const struct wire_unlink *request, uint32_t number)
{
	unsigned n = 0;
	bool is_later = sscanf(request->name, "later %u", &n) == 1;

	if (!is_later && !obey(peer, request->name))
		return false;
	send_body(peer, WIRE_UNLINK, number, NULL, 0, NULL, 0);
	if (is_later)
		send_many_events(peer, n);
	return true;
}

static bool answer(struct peer *peer, const struct packet_message *message)
{
	struct wire_welcome welcome = {.version = WIRE_VERSION, .word_bits = 8 * sizeof(void *)};
	uint32_t number = message->header.number;
	unsigned op = message->header.op;

	switch (op) {
	case WIRE_HELLO:
		send_body(peer, op, number, &welcome, sizeof(welcome), NULL, 0);
		return true;
	case WIRE_CREATE:
		take_create(peer, message->body, number);
		return true;
	case WIRE_ATTACH:
		take_attach(peer, message->body, number);
		return true;
	case WIRE_PUBLISH:
		take_publish(peer, message->body, number);
		return true;
	case WIRE_WAIT:
		take_wait(peer, number);
		return true;
	case WIRE_CANCEL:
		take_cancel(peer, message->body, number);
		return true;
	case WIRE_SUBSCRIBE:
		peer->subscription = number;
		memcpy(book->prefix, message->body, sizeof(book->prefix));
		/* In theory it could. */
		send_events(peer, 1, WIRE_EVENT_ATTACHED);
		break;
	case WIRE_DETACH:
		take_detach(message->body);
		break;
	case WIRE_UNLINK:
		return take_order(peer, message->body, number);
	}
	send_body(peer, op, number, NULL, 0, NULL, 0);
	return true;
}

static bool serve(struct peer *peer)
{
	alignas(8) char packet[2048];
	struct packet_message message;
	size_t offset = 0;
	ssize_t n = channel_receive_plain(peer->socket, packet, sizeof(packet));

	return n > 0 && packet_next_reply(packet, (size_t)n, &offset, &message) == 1 &&
	       answer(peer, &message);
}

static _Noreturn void run_daemon(int listener)
{
	static struct peer peers[CONNECTIONS];
	struct pollfd fds[CONNECTIONS + 1] = {{.fd = listener, .events = POLLIN}};
	unsigned n = 0;

	for (;;) {
		poll(fds, n + 1, -1);
		for (unsigned i = 0; i < n; i++)
			if (fds[i + 1].revents && !serve(&peers[i]))
				fds[i + 1].fd = peers[i].socket = close_fd(peers[i].socket);
		if (!fds[0].revents || n == CONNECTIONS)
			continue;
		peers[n].socket = accept(listener, NULL, NULL);
		fds[++n] = (struct pollfd){.fd = peers[n - 1].socket, .events = POLLIN};
	}
}

static void start_daemon(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	book = mmap(NULL, sizeof(*book), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(book, MAP_FAILED);
	ck_assert_int_lt(snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", unit_folder),
			 (int)sizeof(address.sun_path));
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 8), 0);
	daemon_pid = fork();
	ck_assert_int_ge(daemon_pid, 0);
	if (daemon_pid == 0)
		run_daemon(listener);
}

static void stop_daemon(void)
{
	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	munmap(book, sizeof(*book));
}

/* --- the program's side ----------------------------------------------------------------------- */

static struct shmd *connection;

struct log {
	unsigned events;
	unsigned lost; /* times */
	uint64_t last_id;
	uint64_t lost_count;
	unsigned place; /* of the last loss: events before it */
	bool is_disordered;
};

static struct log seen;

static void note_event(const struct shmd_event *event, void *context)
{
	struct log *log = context;

	if (event->kind == SHMD_EVENT_LOST) {
		log->lost++;
		log->lost_count += event->count;
		log->place = log->events;
		return;
	}
	log->events++;
	log->is_disordered |= event->id <= log->last_id;
	log->last_id = event->id;
}

struct result {
	unsigned calls;
	int result;
	struct shmd_segment *segment;
};

static void note_result(int result, struct shmd_segment *segment, void *context)
{
	struct result *noted = context;

	noted->calls++;
	noted->result = result;
	noted->segment = segment;
}

static void order(const char *what)
{
	ck_assert_msg(shmd_unlink(connection, what) == 0, "%s: %s", what, shmd_error_message());
}

static int loop_fd; /* asked for once, as programs do */

static bool is_readable(void)
{
	struct pollfd fd = {.fd = loop_fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void set_up(void)
{
	char path[UNIT_FOLDER_SIZE + 8];

	start_daemon();
	snprintf(path, sizeof(path), "%s/s", unit_folder);
	ck_assert_msg(shmd_connect(&connection, path) == 0, "%s", shmd_error_message());
	loop_fd = shmd_get_fd(connection);
	ck_assert_int_ge(loop_fd, 0);
	seen = (struct log){0};
}

static void tear_down(void)
{
	connection = shmd_disconnect(connection);
	stop_daemon();
}

static int subscribe_all(void)
{
	int number = shmd_subscribe(connection, NULL, note_event, &seen);

	ck_assert_int_gt(number, 0);
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert_uint_eq(seen.events, 1);
	seen.events = 0;
	return number;
}

static int start_wait(struct result *result)
{
	int number = shmd_wait_start(connection, "seg", 0, SHMD_READ_ONLY, note_result, result);

	ck_assert_int_gt(number, 0);
	return number;
}

static void *order_in_thread(void *what)
{
	order(what);
	return NULL;
}

static void order_elsewhere(const char *what)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, order_in_thread, (void *)what), 0);
	pthread_join(thread, NULL);
}

START_TEST(call_of_another_thread_wakes_the_loop)
{
	subscribe_all();
	ck_assert(!is_readable());
	order_elsewhere("events 3");
	ck_assert(is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), 3);
	ck_assert_uint_eq(seen.events, 3);
	ck_assert(!is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), 0);
}
END_TEST

START_TEST(what_came_first_is_readable)
{
	char path[UNIT_FOLDER_SIZE + 8];

	shmd_disconnect(connection);
	snprintf(path, sizeof(path), "%s/s", unit_folder);
	ck_assert_int_eq(shmd_connect(&connection, path), 0);
	ck_assert_int_gt(shmd_subscribe(connection, NULL, note_event, &seen), 0);
	order("events 1");
	loop_fd = shmd_get_fd(connection);
	ck_assert(is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), 2);
	ck_assert(!is_readable());
}
END_TEST

START_TEST(what_arrives_by_itself_is_readable)
{
	struct result result = {0};

	ck_assert_int_gt(
		shmd_wait_start(connection, "seg", 0, SHMD_READ_ONLY, note_result, &result), 0);
	ck_assert_int_eq(shmd_dispatch(connection), 0);
	kill(daemon_pid, SIGKILL);
	unit_wait(loop_fd);
	ck_assert_int_eq(shmd_dispatch(connection), -ECONNRESET);
	ck_assert_uint_eq(result.calls, 1);
}
END_TEST

START_TEST(queue_is_bounded)
{
	subscribe_all();
	order("events 5000");
	ck_assert_int_eq(shmd_dispatch(connection), 4001);
	ck_assert_uint_eq(seen.events, 4000);
	ck_assert_uint_eq(seen.lost, 1);
	ck_assert_uint_eq(seen.lost_count, 1000);
	ck_assert_uint_eq(seen.place, 4000);
	ck_assert(!seen.is_disordered);
	ck_assert(!is_readable());
	order("events 1");
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert_uint_eq(seen.lost, 1);
}
END_TEST

START_TEST(reader_in_time_loses_nothing)
{
	struct pollfd fd = {.fd = loop_fd, .events = POLLIN};

	subscribe_all();
	order("later 30000");
	while (seen.events < 30000) {
		ck_assert_int_eq(poll(&fd, 1, 20000), 1);
		ck_assert_int_ge(shmd_dispatch(connection), 0);
	}
	ck_assert_uint_eq(seen.lost, 0);
	ck_assert(!seen.is_disordered);
}
END_TEST

START_TEST(numbers_come_round)
{
	struct result result = {0};

	order("nothing");
	int number = subscribe_all();
	connection->last_number = INT32_MAX - 1;
	ck_assert_int_eq(start_wait(&result), INT32_MAX);
	/* As if it had come round to just before the subscription. */
	connection->last_number = (uint32_t)number - 1;
	ck_assert_int_eq(start_wait(&result), number + 1);
	connection->last_number = INT32_MAX;
	ck_assert_int_eq(start_wait(&result), 1);
}
END_TEST

START_TEST(losses_of_both_sides_are_one)
{
	subscribe_all();
	order("events 4100");
	order("lost");
	ck_assert_int_eq(shmd_dispatch(connection), 4001);
	ck_assert_uint_eq(seen.lost, 1);
	ck_assert_uint_eq(seen.lost_count, 105);
	order("lost");
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert_uint_eq(seen.lost_count, 110);
}
END_TEST

static void order_one_more(const struct shmd_event *event, void *context)
{
	if (event->kind != SHMD_EVENT_LOST && seen.events == 0)
		order("events 1");
	note_event(event, context);
}

START_TEST(loss_is_told_in_its_place)
{
	ck_assert_int_gt(shmd_subscribe(connection, NULL, order_one_more, &seen), 0);
	seen.events = 1;
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	seen = (struct log){0};
	order("events 5000");
	/* The first one that is told makes room for one more. */
	ck_assert_int_eq(shmd_dispatch(connection), 4001);
	ck_assert_uint_eq(seen.lost, 1);
	ck_assert_uint_eq(seen.place, 4000);
	ck_assert(is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert_uint_eq(seen.lost, 1);
	ck_assert_uint_eq(seen.events, 4001);
	ck_assert(!seen.is_disordered);
}
END_TEST

START_TEST(cancelled_subscription_is_silent)
{
	int number = subscribe_all();

	order("events 250");
	ck_assert_int_eq(shmd_cancel(connection, number), 0);
	ck_assert(!is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), 0);
	ck_assert_uint_eq(seen.events, 0);
	ck_assert_int_eq(shmd_cancel(connection, number), -ENOENT);
	ck_assert_int_eq(shmd_cancel(connection, 0), -ENOENT);
	ck_assert_int_eq(shmd_cancel(connection, -1), -ENOENT);
	ck_assert_uint_eq(atomic_load(&book->cancels), 1);
}
END_TEST

static int self;

static void cancel_self(const struct shmd_event *event, void *context)
{
	note_event(event, context);
	if (self)
		ck_assert_int_eq(shmd_cancel(connection, self), 0);
}

START_TEST(cancels_itself)
{
	self = 0;
	int number = shmd_subscribe(connection, "t*", cancel_self, &seen);
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	self = number;
	order("events 5");
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert_uint_eq(seen.events, 2);
}
END_TEST

START_TEST(empty_pattern_is_refused)
{
	ck_assert_int_eq(shmd_subscribe(connection, "", note_event, &seen), -EINVAL);
}
END_TEST

static const struct {
	const char *glob, *prefix;
	unsigned matches; /* of text0 to text249 */
	unsigned kinds;   /* of those of "kinds", without what was lost */
} patterns[] = {
	{NULL, "", 250, 4},
	{"*", "", 250, 2},
	{"?ext1", "", 3, 0},
	{"[s-u]ext1", "", 3, 0},
	{"text4?", "text4", 30, 0},
	{"te[x]t1", "te", 3, 0},
	{"te\\xt1", "te", 3, 0},
	{"text*", "text", 250, 1},
	{"text7", "text7", 3, 0},
	{"text", "text", 0, 0},
	{"nothing*", "nothing", 0, 0},
};

START_TEST(pattern_chooses)
{
	const char *glob = patterns[_i].glob;
	unsigned kinds = patterns[_i].kinds, matches = patterns[_i].matches;
	int number = shmd_subscribe(connection, glob, note_event, &seen);

	ck_assert_int_gt(number, 0);
	ck_assert_str_eq(book->prefix, patterns[_i].prefix);
	ck_assert_int_ge(shmd_dispatch(connection), 0);
	seen = (struct log){0};
	order("events 250");
	ck_assert_int_eq(shmd_dispatch(connection), (int)matches);
	ck_assert(!is_readable());
	order("kinds");
	ck_assert_int_eq(shmd_dispatch(connection), (int)kinds + 1);
	ck_assert_uint_eq(seen.events, matches + kinds);
	ck_assert_uint_eq(seen.lost_count, 5);
	ck_assert_uint_eq(seen.place, matches + kinds);
	ck_assert(!seen.is_disordered);
}
END_TEST

/* What is not wanted takes no room, and is not lost. */
START_TEST(unwanted_events_are_not_lost)
{
	ck_assert_int_gt(shmd_subscribe(connection, "text7", note_event, &seen), 0);
	order("events 5000");
	ck_assert_int_eq(shmd_dispatch(connection), 50);
	ck_assert_uint_eq(seen.events, 50);
	ck_assert_uint_eq(seen.lost, 0);
}
END_TEST

/* --- waits ------------------------------------------------------------------------------------ */

START_TEST(wait_is_answered)
{
	struct result result = {0};
	int number = start_wait(&result);

	ck_assert_int_eq(shmd_dispatch(connection), 0);
	order("answer");
	ck_assert(is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert_uint_eq(result.calls, 1);
	ck_assert_int_eq(result.result, 0);
	ck_assert_uint_eq(shmd_segment_generation(result.segment), WAIT_ID);
	ck_assert_int_eq(((const char *)shmd_segment_data(result.segment))[0], 0);
	ck_assert_int_eq(shmd_cancel(connection, number), -ENOENT);
	ck_assert_uint_eq(atomic_load(&book->detaches), 0);
	shmd_detach(result.segment);
	ck_assert_uint_eq(atomic_load(&book->detached_id), WAIT_ID);
}
END_TEST

static void check_given_back(unsigned cancels, unsigned descriptors)
{
	ck_assert_uint_eq(atomic_load(&book->cancels), cancels);
	ck_assert_uint_eq(atomic_load(&book->detaches), 1);
	ck_assert_uint_eq(atomic_load(&book->detached_id), WAIT_ID);
	ck_assert_uint_eq(atomic_load(&book->detached_flags), WIRE_READ_ONLY);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
	ck_assert_int_eq(shmd_dispatch(connection), 0);
}

START_TEST(answered_wait_is_cancelled)
{
	struct result result = {0};
	int number = start_wait(&result);
	unsigned descriptors = unit_descriptors();

	order("answer");
	ck_assert_int_eq(shmd_cancel(connection, number), 0);
	check_given_back(0, descriptors);
	ck_assert_uint_eq(result.calls, 0);
}
END_TEST

START_TEST(wait_is_answered_while_it_is_cancelled)
{
	struct result result = {0};
	int number = start_wait(&result);
	unsigned descriptors = unit_descriptors();

	atomic_store(&book->answers_late, true);
	ck_assert_int_eq(shmd_cancel(connection, number), 0);
	check_given_back(1, descriptors);
	ck_assert_uint_eq(result.calls, 0);
}
END_TEST

START_TEST(wait_is_cancelled)
{
	struct result result = {0};
	int number = start_wait(&result);

	ck_assert_int_eq(shmd_cancel(connection, number), 0);
	ck_assert_int_eq(shmd_cancel(connection, number), -ENOENT);
	ck_assert_uint_eq(atomic_load(&book->cancels), 1);
	ck_assert_uint_eq(atomic_load(&book->detaches), 0);
	ck_assert_uint_eq(result.calls, 0);
}
END_TEST

/* tear_down() disconnects with an answer in the queue and a wait under way. */
START_TEST(disconnecting_frees_all)
{
	static struct result result;

	start_wait(&result);
	start_wait(&result);
	subscribe_all();
	order("answer");
	order("events 10");
}
END_TEST

static void wait_again(int result, struct shmd_segment *segment, void *context)
{
	note_result(result, shmd_detach(segment), context);
	if (((struct result *)context)->calls == 1)
		ck_assert_int_gt(shmd_wait_start(connection, "seg", 1, 0, wait_again, context), 0);
}

START_TEST(wait_begins_another)
{
	struct result result = {0};

	ck_assert_int_gt(shmd_wait_start(connection, "seg", 0, 0, wait_again, &result), 0);
	order("answer");
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	order("answer");
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert_int_eq(shmd_dispatch(connection), 0);
	ck_assert_uint_eq(result.calls, 2);
}
END_TEST

START_TEST(malformed_events_end_it)
{
	struct result result = {0};

	subscribe_all();
	start_wait(&result);
	ck_assert_int_eq(shmd_unlink(connection, "malformed"), -EPROTO);
	ck_assert(is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), -ECONNRESET);
	ck_assert_int_eq(result.result, -EPROTO);
}
END_TEST

START_TEST(daemon_goes_away)
{
	struct result result = {0};

	subscribe_all();
	start_wait(&result);
	start_wait(&result);
	order("events 2");
	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	ck_assert_int_eq(shmd_unlink(connection, "nothing"), -ECONNRESET);
	unit_assert_has(shmd_error_message(), "cannot connect to");
	ck_assert(is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), -ECONNRESET);
	ck_assert_uint_eq(seen.events, 2);
	ck_assert_uint_eq(result.calls, 2);
	ck_assert_int_eq(result.result, -ECONNRESET);
	ck_assert_ptr_null(result.segment);
	ck_assert_int_eq(shmd_dispatch(connection), -ECONNRESET);
	ck_assert_uint_eq(result.calls, 2);
	ck_assert_int_eq(shmd_wait_start(connection, "x", 0, 0, note_result, &result), -ECONNRESET);
	ck_assert_int_eq(shmd_subscribe(connection, NULL, note_event, &seen), -ECONNRESET);
	ck_assert(is_readable());
}
END_TEST

/* --- forked children -------------------------------------------------------------------------- */

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static bool leaks(void)
{
	return __lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check();
}

/* The status says where it went wrong. */
static int use_inherited(void)
{
	if (shmd_dispatch(connection) != 0 || seen.events != 0)
		return 2;
	if (shmd_get_fd(connection) != loop_fd || is_readable())
		return 3;
	if (shmd_subscribe(connection, NULL, note_event, &seen) <= 0)
		return 4;
	order_elsewhere("events 3");
	if (!is_readable() || shmd_dispatch(connection) != 4 || is_readable())
		return 5;
	connection = shmd_disconnect(connection);
	return 0;
}

static int status_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

START_TEST(nothing_is_inherited)
{
	struct result result = {0};
	subscribe_all();
	start_wait(&result);
	start_wait(&result);
	order("answer");
	order("events 3");
	ck_assert(is_readable());
	pid_t pid = fork();
	if (pid == 0) {
		int r = use_inherited();
		_exit(r ? r : leaks() ? 1 : result.calls ? 9 : 0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert(is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), 4);
	ck_assert(!is_readable());
	ck_assert_uint_eq(seen.events, 3);
	ck_assert_uint_eq(result.calls, 1);
	shmd_detach(result.segment);
	order_elsewhere("events 1");
	ck_assert(is_readable());
}
END_TEST

START_TEST(child_destroys_what_it_inherited)
{
	subscribe_all();
	order("events 3");
	pid_t pid = fork();
	if (pid == 0) {
		connection = shmd_disconnect(connection);
		_exit(leaks());
	}
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert(is_readable());
	ck_assert_int_eq(shmd_dispatch(connection), 3);
}
END_TEST

static void fork_once(const struct shmd_event *event, void *context)
{
	pid_t *child = context;

	note_event(event, &seen);
	if (seen.events == 2)
		*child = fork();
}

START_TEST(forks_while_it_is_called_back)
{
	pid_t child = -1;

	ck_assert_int_gt(shmd_subscribe(connection, NULL, fork_once, &child), 0);
	order("events 5");
	int n = shmd_dispatch(connection);
	if (child == 0)
		_exit(n == 2 && seen.events == 2 ? 0 : 1);
	ck_assert_int_eq(n, 6);
	ck_assert_int_eq(status_of(child), 0);
}
END_TEST

static void *wait_for_segment(void *context)
{
	struct shmd_segment *segment = NULL;

	*(int *)context = shmd_wait(connection, "seg", 0, -1, 0, &segment);
	shmd_detach(segment);
	return NULL;
}

START_TEST(parent_is_waiting)
{
	pthread_t thread;
	int result = 1;

	subscribe_all();
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_segment, &result), 0);
	order("events 3");
	pid_t pid = fork();
	if (pid == 0) {
		alarm(30);
		if (shmd_dispatch(connection) != 0 || shmd_get_fd(connection) != loop_fd)
			_exit(1);
		_exit(shmd_subscribe(connection, NULL, note_event, &seen) > 0 ? 0 : 2);
	}
	ck_assert_int_eq(status_of(pid), 0);
	order("answer");
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(shmd_dispatch(connection), 3);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

#define ROUNDS 200

static void *storm(void *context)
{
	struct result result = {0};

	for (int i = 0; i < ROUNDS; i++) {
		int number = shmd_wait_start(connection, "seg", 0, 0, note_result, &result);
		if (number <= 0 || shmd_unlink(connection, "events 2") < 0 ||
		    shmd_cancel(connection, number) < 0)
			*(atomic_bool *)context = true;
	}
	return NULL;
}

START_TEST(threads_ask_while_one_dispatches)
{
	pthread_t threads[3];
	atomic_bool has_failed = false;
	struct pollfd fd = {.fd = loop_fd, .events = POLLIN};

	subscribe_all();
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, storm, &has_failed), 0);
	while (seen.events < 3 * ROUNDS * 2) {
		ck_assert_int_eq(poll(&fd, 1, 20000), 1);
		ck_assert_int_ge(shmd_dispatch(connection), 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ck_assert(!atomic_load(&has_failed));
	ck_assert_uint_eq(seen.lost, 0);
	ck_assert(!seen.is_disordered);
}
END_TEST

static void drop_segment(int result, struct shmd_segment *segment, void *context)
{
	if (result < 0)
		*(atomic_bool *)context = true;
	shmd_detach(segment);
}

/* The answer may be another thread's, and may come before, while or after it is cancelled. */
static void *storm_of_waits(void *context)
{
	for (int i = 0; i < ROUNDS; i++) {
		int number = shmd_wait_start(connection, "seg", 0, 0, drop_segment, context);
		int r = shmd_unlink(connection, "answer");
		int cancelled = shmd_cancel(connection, number);
		if (number <= 0 || r < 0 || (cancelled < 0 && cancelled != -ENOENT))
			*(atomic_bool *)context = true;
	}
	return NULL;
}

START_TEST(every_grant_is_used_or_given_back)
{
	unsigned descriptors = unit_descriptors();
	atomic_bool has_failed = false;
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, storm_of_waits, &has_failed), 0);
	for (int i = 0; i < 3; i++)
		while (pthread_tryjoin_np(threads[i], NULL) == EBUSY)
			ck_assert_int_ge(shmd_dispatch(connection), 0);
	ck_assert_int_ge(shmd_dispatch(connection), 0);
	ck_assert(!atomic_load(&has_failed));
	ck_assert_uint_gt(atomic_load(&book->grants), 0);
	ck_assert_uint_eq(atomic_load(&book->grants), atomic_load(&book->detaches));
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}
END_TEST

/* --- sending ---------------------------------------------------------------------------------- */

/* More than both sockets have room for. The daemon reads nothing while it cannot send. */
#define MANY 2000u

static void count_refusal(int result, struct shmd_segment *segment, void *context)
{
	ck_assert_ptr_null(segment);
	if (result == -EACCES)
		atomic_fetch_add((atomic_uint *)context, 1);
}

static void count_call(int result, struct shmd_segment *segment, void *context)
{
	ck_assert_ptr_null(segment);
	ck_assert_int_lt(result, 0);
	atomic_fetch_add((atomic_uint *)context, 1);
}

static bool start_many(unsigned n, atomic_uint *refusals)
{
	while (n-- > 0)
		if (shmd_wait_start(connection, "seg", 0, 0, count_refusal, refusals) <= 0)
			return false;
	return true;
}

START_TEST(sends_while_nobody_dispatches)
{
	atomic_uint refusals = 0;

	order("refuse 2000");
	ck_assert(start_many(MANY, &refusals));
	ck_assert(is_readable());
	order("nothing");
	while (refusals < MANY)
		ck_assert_int_gt(shmd_dispatch(connection), 0);
	ck_assert_uint_eq(refusals, MANY);
	ck_assert(!is_readable());
}
END_TEST

/* Events are taken in where there is no room for them, and counted. */
START_TEST(sends_against_events)
{
	atomic_uint refusals = 0;

	subscribe_all();
	order("refuse 2000");
	order("later 30000");
	ck_assert(start_many(MANY, &refusals));
	order("nothing");
	ck_assert_int_gt(shmd_dispatch(connection), 0);
	ck_assert_uint_eq(refusals, MANY);
	ck_assert_uint_gt(seen.lost_count, 0);
	ck_assert_uint_eq(seen.events + seen.lost_count, 30000);
	ck_assert(!seen.is_disordered);
}
END_TEST

struct sender {
	atomic_uint refusals;
	atomic_bool has_failed;
};

static void *send_many(void *context)
{
	struct sender *sender = context;

	for (unsigned i = 0; i < 20; i++)
		if (!start_many(MANY / 20, &sender->refusals) ||
		    shmd_unlink(connection, "nothing") < 0)
			sender->has_failed = true;
	return NULL;
}

/* With _i, one of them receives for all, in a wait that is answered in the end. */
START_TEST(threads_send_while_nobody_dispatches)
{
	pthread_t threads[3], waiting;
	struct sender sender = {0};
	int result = 1;

	if (_i) {
		ck_assert_int_eq(pthread_create(&waiting, NULL, wait_for_segment, &result), 0);
		while (!atomic_load(&book->waits))
			sched_yield();
	}
	order("refuse 6000");
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, send_many, &sender), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	if (_i) {
		order("answer");
		pthread_join(waiting, NULL);
		ck_assert_int_eq(result, 0);
	}
	ck_assert(!sender.has_failed);
	while (sender.refusals < 3 * MANY)
		ck_assert_int_gt(shmd_dispatch(connection), 0);
}
END_TEST

START_TEST(what_cannot_be_sent_is_not_called_back)
{
	struct result result = {0};

	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	ck_assert_int_eq(shmd_wait_start(connection, "seg", 0, 0, note_result, &result),
			 -ECONNRESET);
	ck_assert_int_eq(shmd_dispatch(connection), -ECONNRESET);
	ck_assert_uint_eq(result.calls, 0);
}
END_TEST

static void *kill_daemon(void *context)
{
	while (atomic_load(&book->waits) < 10)
		sched_yield();
	kill(daemon_pid, SIGSTOP);
	poll(NULL, 0, 100);
	kill(daemon_pid, SIGKILL);
	return context;
}

/* Each wait that was begun is called back once, and no other. */
START_TEST(daemon_dies_while_one_sends)
{
	atomic_uint calls = 0;
	unsigned started = 0;
	pthread_t thread;

	order("refuse 1000000");
	ck_assert_int_eq(pthread_create(&thread, NULL, kill_daemon, NULL), 0);
	while (shmd_wait_start(connection, "seg", 0, 0, count_call, &calls) > 0)
		started++;
	pthread_join(thread, NULL);
	while (shmd_dispatch(connection) >= 0)
		;
	ck_assert_uint_eq(calls, started);
}
END_TEST

/* --- publishing ------------------------------------------------------------------------------- */

static struct shmd_segment *make_anonymous(void)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment = NULL;

	options.flags = SHMD_NO_SEMAPHORE;
	ck_assert_int_eq(shmd_create(connection, NULL, SEGMENT_SIZE, &options, &segment), 0);
	strcpy(shmd_segment_data(segment), "hello");
	return segment;
}

static void check_published(struct shmd_segment *segment, const void *data, int fd)
{
	ck_assert(atomic_load(&book->was_sealed));
	ck_assert_uint_eq(shmd_segment_generation(segment), NEW_ID);
	ck_assert_ptr_eq(shmd_segment_data(segment), data);
	ck_assert_str_eq(data, "hello");
	ck_assert_int_eq(shmd_segment_fd(segment), fd);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	ck_assert_int_eq(mprotect((void *)data, SEGMENT_SIZE, PROT_READ | PROT_WRITE), -1);
}

START_TEST(publishes)
{
	unsigned descriptors = unit_descriptors();
	struct shmd_segment *segment = make_anonymous();
	void *data = shmd_segment_data(segment);
	int fd = shmd_segment_fd(segment);

	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ck_assert_int_eq(shmd_publish(segment, "", 0), -EINVAL);
	ck_assert_msg(shmd_publish(segment, "/seg", 0) == 0, "%s", shmd_error_message());
	ck_assert_str_eq(shmd_segment_name(segment), "seg");
	check_published(segment, data, fd);
	ck_assert_int_eq(shmd_publish(segment, "other", 0), -EINVAL);
	shmd_detach(segment);
	ck_assert_uint_eq(atomic_load(&book->detached_id), OLD_ID);
	ck_assert_uint_eq(atomic_load(&book->detached_flags), 0);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}
END_TEST

START_TEST(publishes_only_what_nobody_can_write)
{
	struct shmd_segment *segment = make_anonymous();
	char *data = shmd_segment_data(segment);
	int fd = shmd_segment_fd(segment);
	void *other = mmap(NULL, SEGMENT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ck_assert_int_eq(shmd_publish(segment, "seg", 0), -EBUSY);
	data[0] = 'H';
	data[0] = 'h';
	ck_assert_ptr_null(shmd_segment_name(segment));
	munmap(other, SEGMENT_SIZE);
	ck_assert_int_eq(shmd_publish(segment, "seg", 0), 0);
	check_published(segment, data, fd);
	shmd_detach(segment);
}
END_TEST

START_TEST(refused_name_can_be_another)
{
	struct shmd_segment *segment = make_anonymous();
	void *data = shmd_segment_data(segment);
	int fd = shmd_segment_fd(segment);

	ck_assert_int_eq(shmd_publish(segment, "taken", 0), -EACCES);
	ck_assert_str_eq(shmd_error_message(), "no");
	ck_assert_str_eq(data, "hello");
	ck_assert_ptr_null(shmd_segment_name(segment));
	ck_assert_int_eq(shmd_publish(segment, "seg", SHMD_WRITABLE), -EINVAL);
	ck_assert_int_eq(shmd_publish(segment, "seg", 0), 0);
	check_published(segment, data, fd);
	shmd_detach(segment);
}
END_TEST

/* As by a child, or by the parent of this process: this handle does not know. */
START_TEST(sealed_by_somebody_else)
{
	struct shmd_segment *segment = make_anonymous();
	void *data = shmd_segment_data(segment);
	int fd = shmd_segment_fd(segment);

	ck_assert_int_eq(shmd_publish(segment, "taken", 0), -EACCES);
	segment->is_sealed = false;
	ck_assert_int_eq(shmd_publish(segment, "seg", 0), 0);
	check_published(segment, data, fd);
	shmd_detach(segment);
}
END_TEST

START_TEST(others_have_published_it_to_be_written)
{
	struct shmd_segment *segment = make_anonymous();
	char *data = shmd_segment_data(segment);

	ck_assert_int_eq(fcntl(shmd_segment_fd(segment), F_ADD_SEALS, F_SEAL_SEAL), 0);
	ck_assert_int_eq(shmd_publish(segment, "seg", 0), -EINVAL);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "another process"));
	data[0] = 'H';
	shmd_detach(segment);
}
END_TEST

START_TEST(publishes_for_writing)
{
	struct shmd_segment *segment = make_anonymous();
	char *data = shmd_segment_data(segment);

	ck_assert_int_eq(shmd_publish(segment, "seg", SHMD_WRITABLE), 0);
	ck_assert(!atomic_load(&book->was_sealed));
	ck_assert_uint_eq(shmd_segment_generation(segment), NEW_ID);
	data[0] = 'H';
	shmd_detach(segment);
}
END_TEST

/* What a child makes of a segment that its parent has refused, published, or not touched. */
static int publish_inherited(struct shmd_segment *segment)
{
	int r = shmd_publish(segment, "mine", 0);

	connection = shmd_disconnect(connection);
	shmd_detach(segment);
	return -r;
}

static int status_of_publisher(struct shmd_segment *segment)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(publish_inherited(segment));
	return status_of(pid);
}

START_TEST(child_publishes)
{
	struct shmd_segment *segment = make_anonymous();
	char *data = shmd_segment_data(segment);

	ck_assert_int_eq(status_of_publisher(segment), EBUSY);
	data[0] = 'h';
	ck_assert_int_eq(shmd_publish(segment, "taken", 0), -EACCES);
	ck_assert_int_eq(status_of_publisher(segment), 0);
	ck_assert_int_eq(shmd_publish(segment, "seg", 0), 0);
	ck_assert_int_eq(status_of_publisher(segment), EINVAL);
	ck_assert_str_eq(data, "hello");
	shmd_detach(segment);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, call_of_another_thread_wakes_the_loop);
	tcase_add_test(tests, what_came_first_is_readable);
	tcase_add_test(tests, what_arrives_by_itself_is_readable);
	tcase_add_test(tests, queue_is_bounded);
	tcase_add_test(tests, reader_in_time_loses_nothing);
	tcase_add_test(tests, numbers_come_round);
	tcase_add_test(tests, losses_of_both_sides_are_one);
	tcase_add_test(tests, loss_is_told_in_its_place);
	tcase_add_test(tests, cancelled_subscription_is_silent);
	tcase_add_test(tests, cancels_itself);
	tcase_add_test(tests, empty_pattern_is_refused);
	tcase_add_loop_test(tests, pattern_chooses, 0, sizeof(patterns) / sizeof(*patterns));
	tcase_add_test(tests, unwanted_events_are_not_lost);
	tcase_add_test(tests, wait_is_answered);
	tcase_add_test(tests, answered_wait_is_cancelled);
	tcase_add_test(tests, wait_is_answered_while_it_is_cancelled);
	tcase_add_test(tests, wait_is_cancelled);
	tcase_add_test(tests, disconnecting_frees_all);
	tcase_add_test(tests, wait_begins_another);
	tcase_add_test(tests, malformed_events_end_it);
	tcase_add_test(tests, daemon_goes_away);
	tcase_add_test(tests, nothing_is_inherited);
	tcase_add_test(tests, child_destroys_what_it_inherited);
	tcase_add_test(tests, forks_while_it_is_called_back);
	tcase_add_test(tests, parent_is_waiting);
	tcase_add_test(tests, threads_ask_while_one_dispatches);
	tcase_add_test(tests, every_grant_is_used_or_given_back);
	tcase_add_test(tests, sends_while_nobody_dispatches);
	tcase_add_test(tests, sends_against_events);
	tcase_add_loop_test(tests, threads_send_while_nobody_dispatches, 0, 2);
	tcase_add_test(tests, what_cannot_be_sent_is_not_called_back);
	tcase_add_test(tests, daemon_dies_while_one_sends);
	tcase_add_test(tests, publishes);
	tcase_add_test(tests, publishes_only_what_nobody_can_write);
	tcase_add_test(tests, refused_name_can_be_another);
	tcase_add_test(tests, sealed_by_somebody_else);
	tcase_add_test(tests, others_have_published_it_to_be_written);
	tcase_add_test(tests, publishes_for_writing);
	tcase_add_test(tests, child_publishes);
}

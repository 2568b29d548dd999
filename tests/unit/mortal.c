/* SPDX-License-Identifier: MIT */
#include "mortal.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "wire/channel.h"
#include "wire/packet.h"

#define SEGMENTS 256u
#define PEERS    32u
#define WAITS    64u
#define PLANS    8u

struct segment {
	uint64_t id; /* 0: none */
	uint64_t generation;
	char name[WIRE_NAME_SIZE];
	bool is_forbidden; /* to attach for anybody */
	int fd;
};

struct waiting {
	uint32_t number;
	struct wire_wait wait;
};

/* A session, which outlives its socket where the daemon remembers. */
struct peer {
	uint64_t client; /* 0: the place is free */
	uint64_t token;
	int socket; /* -1: it awaits being resumed */
	uint32_t counts[SEGMENTS][2];
	bool is_doubtful[SEGMENTS];
	bool is_settling; /* resumed, and not settled */
	bool is_unfit;    /* has attached something, and cannot resume any more */
	struct wire_resumed done;
	struct waiting waits[WAITS];
	unsigned n_waits;
	uint32_t subscription;
};

struct plan {
	unsigned op;
	enum moment moment;
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_t thread;
	char path[UNIT_FOLDER_SIZE + 8];
	int listener;
	int wake;
	bool is_to_stop, is_to_die, is_to_forget, is_stalled, refuses;
	bool acknowledged;
	unsigned every;     /* n-th request */
	unsigned n_babbled; /* to come */
	bool is_empty;      /* what is babbled */
	unsigned random;
	unsigned in_a_row; /* deaths, without an answer that was asked for */
	struct plan plans[PLANS];
	unsigned n_plans;
	struct segment segments[SEGMENTS];
	struct peer peers[PEERS];
	uint64_t last_id, last_client;
	unsigned deaths;
	unsigned counts[WIRE_OPS];
	const char *complaint;
	/* Of the request being served. */
	alignas(8) char packet[WIRE_PACKET_MAX];
	alignas(8) char reply[WIRE_PACKET_MAX];
	struct packet_writer writer;
	int fds[2];
	unsigned n_fds;
} m;

/* --- segments --------------------------------------------------------------------------------- */

static void complain(const char *why)
{
	if (!m.complaint)
		m.complaint = why;
}

static struct segment *by_name(const char *name)
{
	for (unsigned i = 0; i < SEGMENTS; i++)
		if (m.segments[i].id && m.segments[i].name[0] &&
		    strcmp(m.segments[i].name, name) == 0)
			return &m.segments[i];
	return NULL;
}

static struct segment *by_id(uint64_t id)
{
	for (unsigned i = 0; i < SEGMENTS; i++)
		if (id && m.segments[i].id == id)
			return &m.segments[i];
	return NULL;
}

static unsigned place_of(const struct segment *segment)
{
	return (unsigned)(segment - m.segments);
}

static struct segment *make(const char *name)
{
	for (unsigned i = 0; i < SEGMENTS; i++) {
		struct segment *segment = &m.segments[i];
		if (segment->id)
			continue;
		segment->id = segment->generation = ++m.last_id;
		text_copy(segment->name, sizeof(segment->name), name);
		segment->fd = memfd_create("unit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (segment->fd < 0 || ftruncate(segment->fd, MORTAL_SIZE) < 0)
			abort();
		return segment;
	}
	abort();
}

/* One without a name that nobody has is gone. */
static void reap(void)
{
	for (unsigned i = 0; i < SEGMENTS; i++) {
		bool is_used = m.segments[i].name[0];
		for (unsigned p = 0; p < PEERS; p++)
			is_used |= m.peers[p].client &&
				   (m.peers[p].counts[i][0] || m.peers[p].counts[i][1]);
		if (!m.segments[i].id || is_used)
			continue;
		close_fd(m.segments[i].fd);
		m.segments[i] = (struct segment){.fd = -1};
	}
}

/* --- replies ---------------------------------------------------------------------------------- */

static int open_reader(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Adds the reply to the packet that is being written. The number of a segment's reply is that of the request. */
static void put(unsigned op, uint32_t number, const void *body, size_t size)
{
	packet_begin(&m.writer, op, number);
	if (size > 0)
		memcpy(packet_append(&m.writer, size), body, size);
	packet_end(&m.writer, 0, m.n_fds);
}

static void refuse(unsigned op, uint32_t number, unsigned code)
{
	packet_put_error(&m.writer, op, number, code, "no");
}

static void begin_packet(void)
{
	packet_writer_init(&m.writer, m.reply, sizeof(m.reply));
	m.n_fds = 0;
}

static void babble(struct peer *peer)
{
	static char packet[WIRE_PACKET_MAX + 8];
	int fds[] = {m.wake, m.wake};

	m.n_babbled--;
	channel_send(peer->socket, packet, m.is_empty ? 0 : sizeof(packet), fds, 2);
}

static void send_packet(struct peer *peer)
{
	if (m.n_babbled > 0 && peer->socket >= 0)
		babble(peer);
	else if (m.writer.size > 0 && peer->socket >= 0)
		channel_send(peer->socket, m.reply, m.writer.size, m.fds, m.n_fds);
	for (unsigned i = 0; i < m.n_fds; i++)
		close_fd(m.fds[i]);
	m.n_fds = 0;
}

static void grant(struct peer *peer, unsigned op, uint32_t number, struct segment *segment,
		  bool read_only, bool is_new, bool wants_reader)
{
	struct wire_segment granted = {
		.id = segment->id,
		.generation = segment->generation,
		.size = MORTAL_SIZE,
		.flags = (is_new ? WIRE_SEGMENT_NEW : 0) | (wants_reader ? WIRE_SEGMENT_READER : 0),
	};

	text_copy(granted.name, sizeof(granted.name), segment->name);
	peer->counts[place_of(segment)][read_only]++;
	peer->is_unfit = true;
	m.fds[m.n_fds++] = read_only ? open_reader(segment->fd) : dup(segment->fd);
	if (wants_reader)
		m.fds[m.n_fds++] = open_reader(segment->fd);
	put(op, number, &granted, sizeof(granted));
}

/* --- requests --------------------------------------------------------------------------------- */

static void note_done(struct peer *peer, const struct packet_message *message,
		      const struct segment *segment)
{
	peer->done = (struct wire_resumed){message->header.number, message->header.op, segment->id,
					   segment->generation};
}

static void tell_created(const struct segment *segment)
{
	for (unsigned i = 0; i < PEERS; i++) {
		struct peer *peer = &m.peers[i];
		if (peer->socket < 0 || !peer->subscription)
			continue;
		struct wire_event event = {.kind = WIRE_EVENT_CREATED, .id = segment->id};
		text_copy(event.text, sizeof(event.text), segment->name);
		struct {
			struct wire_entries entries;
			struct wire_event event;
		} body = {{.entries = 1}, event};
		begin_packet();
		put(WIRE_EVENTS, peer->subscription, &body, sizeof(body));
		send_packet(peer);
	}
}

static void answer_wait(struct peer *peer, unsigned i, struct segment *segment)
{
	begin_packet();
	grant(peer, WIRE_WAIT, peer->waits[i].number, segment,
	      peer->waits[i].wait.flags & WIRE_READ_ONLY, false, false);
	send_packet(peer);
	peer->waits[i] = peer->waits[--peer->n_waits];
}

static void answer_waits(void)
{
	for (unsigned p = 0; p < PEERS; p++)
		for (unsigned i = m.peers[p].n_waits; m.peers[p].socket >= 0 && i-- > 0;) {
			struct segment *segment = by_name(m.peers[p].waits[i].wait.name);
			if (segment)
				answer_wait(&m.peers[p], i, segment);
		}
}

static void take_create(struct peer *peer, const struct packet_message *message)
{
	const struct wire_create *create = message->body;
	struct segment *segment = create->name[0] ? by_name(create->name) : NULL;
	unsigned op = message->header.op;
	bool is_new = !segment;

	if (segment && !(create->flags & WIRE_OPEN_EXISTING))
		return refuse(op, message->header.number, WIRE_EXISTS);
	if (!segment)
		segment = make(create->name);
	segment->is_forbidden |= is_new && create->mode == 0;
	grant(peer, op, message->header.number, segment, false, is_new,
	      create->flags & WIRE_WANT_READER);
	if (is_new)
		note_done(peer, message, segment);
}

static void take_attach(struct peer *peer, const struct packet_message *message)
{
	const struct wire_attach *attach = message->body;
	struct segment *segment = attach->id ? by_id(attach->id) : by_name(attach->name);

	if (segment && segment->is_forbidden)
		refuse(message->header.op, message->header.number, WIRE_DENIED);
	else if (segment)
		grant(peer, message->header.op, message->header.number, segment,
		      attach->flags & WIRE_READ_ONLY, false, false);
	else
		refuse(message->header.op, message->header.number, WIRE_NOT_FOUND);
}

static void take_detach(struct peer *peer, const struct packet_message *message)
{
	const struct wire_detach *detach = message->body;
	struct segment *segment = by_id(detach->id);
	uint32_t *count =
		segment ? &peer->counts[place_of(segment)][!!(detach->flags & WIRE_READ_ONLY)]
			: NULL;

	if (!count || *count == 0) {
		complain("it lets go of what it has not attached");
		return refuse(message->header.op, message->header.number, WIRE_NOT_FOUND);
	}
	--*count;
	put(message->header.op, message->header.number, NULL, 0);
}

static void take_unlink(struct peer *peer, const struct packet_message *message)
{
	const struct wire_unlink *request = message->body;
	struct segment *segment = request->id ? by_id(request->id) : by_name(request->name);

	if (!segment)
		return refuse(message->header.op, message->header.number, WIRE_NOT_FOUND);
	note_done(peer, message, segment);
	segment->name[0] = '\0';
	put(message->header.op, message->header.number, NULL, 0);
}

static void take_publish(struct peer *peer, const struct packet_message *message)
{
	const struct wire_publish *publish = message->body;
	struct segment *segment = by_id(publish->id);

	if (!segment || segment->name[0])
		return refuse(message->header.op, message->header.number, WIRE_INVALID);
	segment->generation = ++m.last_id;
	text_copy(segment->name, sizeof(segment->name), publish->name);
	note_done(peer, message, segment);
	struct wire_published published = {segment->generation};
	put(message->header.op, message->header.number, &published, sizeof(published));
}

static void take_keep(struct peer *peer, const struct packet_message *message)
{
	const struct wire_keep *keep = message->body;
	struct segment *segment = by_id(keep->id);

	if (segment && peer->counts[place_of(segment)][0])
		put(message->header.op, message->header.number, NULL, 0);
	else
		refuse(message->header.op, message->header.number, WIRE_NOT_FOUND);
}

static void take_wait(struct peer *peer, const struct packet_message *message)
{
	if (peer->n_waits == WAITS)
		abort();
	struct waiting *waiting = &peer->waits[peer->n_waits++];
	waiting->number = message->header.number;
	waiting->wait = *(const struct wire_wait *)message->body;
}

static void take_cancel(struct peer *peer, const struct packet_message *message)
{
	const struct wire_cancel *cancel = message->body;

	if (cancel->number == peer->subscription) {
		peer->subscription = 0;
		return put(message->header.op, message->header.number, NULL, 0);
	}
	for (unsigned i = 0; i < peer->n_waits; i++)
		if (peer->waits[i].number == cancel->number) {
			peer->waits[i] = peer->waits[--peer->n_waits];
			return put(message->header.op, message->header.number, NULL, 0);
		}
	refuse(message->header.op, message->header.number, WIRE_NOT_FOUND);
}

static void take_hello(struct peer *peer, const struct packet_message *message)
{
	struct wire_welcome welcome = {.version = WIRE_VERSION,
				       .word_bits = 64,
				       .client = peer->client,
				       .token = peer->token};

	put(message->header.op, message->header.number, &welcome, sizeof(welcome));
}

static void take_resume(struct peer *peer, const struct packet_message *message)
{
	const struct wire_resume *resume = message->body;

	if (peer->is_unfit || peer->is_settling)
		complain("it resumes late");
	for (unsigned i = 0; i < PEERS; i++) {
		struct peer *former = &m.peers[i];
		if (former->client != resume->client || former->token != resume->token ||
		    former->socket >= 0)
			continue;
		memcpy(peer->counts, former->counts, sizeof(peer->counts));
		for (unsigned s = 0; s < SEGMENTS; s++)
			peer->is_doubtful[s] = peer->counts[s][0] || peer->counts[s][1];
		peer->done = former->done;
		peer->is_settling = true;
		/* It is the former one from now on, also to its successors. */
		peer->client = former->client;
		peer->token = former->token;
		former->client = 0;
		return put(message->header.op, message->header.number, &peer->done,
			   sizeof(peer->done));
	}
	refuse(message->header.op, message->header.number, WIRE_NOT_FOUND);
}

static void take_confirm(struct peer *peer, const struct packet_message *message)
{
	const struct wire_confirm *confirm = message->body;
	struct segment *segment = by_id(confirm->id);
	uint32_t *counts = segment ? peer->counts[place_of(segment)] : NULL;

	if (!peer->is_settling)
		complain("it confirms without having resumed");
	if (!counts || counts[0] < confirm->writing || counts[1] < confirm->reading) {
		complain("it claims more than it had");
		return refuse(message->header.op, message->header.number, WIRE_NOT_FOUND);
	}
	counts[0] = confirm->writing;
	counts[1] = confirm->reading;
	peer->is_doubtful[place_of(segment)] = false;
	put(message->header.op, message->header.number, NULL, 0);
}

static void take_settle(struct peer *peer, const struct packet_message *message)
{
	if (!peer->is_settling)
		complain("it settles without having resumed");
	peer->is_settling = false;
	for (unsigned s = 0; s < SEGMENTS; s++)
		if (peer->is_doubtful[s]) {
			peer->counts[s][0] = peer->counts[s][1] = 0;
			peer->is_doubtful[s] = false;
		}
	put(message->header.op, message->header.number, NULL, 0);
}

static void take_status(struct peer *peer, const struct packet_message *message)
{
	struct wire_status status = {.pid = 1};

	(void)peer;
	put(message->header.op, message->header.number, &status, sizeof(status));
}

static void take_subscribe(struct peer *peer, const struct packet_message *message)
{
	peer->subscription = message->header.number;
	put(message->header.op, message->header.number, NULL, 0);
}

static void (*const operations[WIRE_OPS])(struct peer *, const struct packet_message *) = {
	[WIRE_HELLO] = take_hello,     [WIRE_CREATE] = take_create,
	[WIRE_ATTACH] = take_attach,   [WIRE_DETACH] = take_detach,
	[WIRE_UNLINK] = take_unlink,   [WIRE_STATUS] = take_status,
	[WIRE_KEEP] = take_keep,       [WIRE_PUBLISH] = take_publish,
	[WIRE_WAIT] = take_wait,       [WIRE_SUBSCRIBE] = take_subscribe,
	[WIRE_CANCEL] = take_cancel,   [WIRE_RESUME] = take_resume,
	[WIRE_CONFIRM] = take_confirm, [WIRE_SETTLE] = take_settle,
};

static bool is_of_resuming(unsigned op)
{
	return op == WIRE_HELLO || op == WIRE_RESUME || op == WIRE_CONFIRM || op == WIRE_SETTLE;
}

/* --- life and death --------------------------------------------------------------------------- */

static void forget_all(void)
{
	for (unsigned i = 0; i < PEERS; i++)
		m.peers[i].client = 0;
	for (unsigned i = 0; i < SEGMENTS; i++)
		m.segments[i].name[0] = '\0';
	reap();
	m.is_to_forget = false;
}

static void die(void)
{
	for (unsigned i = 0; i < PEERS; i++) {
		struct peer *peer = &m.peers[i];
		if (peer->socket < 0)
			continue;
		peer->socket = close_fd(peer->socket);
		peer->n_waits = peer->subscription = 0;
		peer->is_settling = false;
	}
	m.deaths++;
	m.in_a_row++;
	if (m.is_to_forget)
		forget_all();
}

/* A client that ended by itself. */
static void let_go(struct peer *peer)
{
	peer->socket = close_fd(peer->socket);
	peer->client = 0;
	reap();
}

static unsigned draw(unsigned n)
{
	m.random = m.random * 1103515245u + 12345u;
	return (m.random >> 16) % n;
}

static enum moment moment_of(unsigned op)
{
	enum moment moment = NEVER;

	/* The library gives up after four in a row. */
	if (m.every && m.in_a_row < 2 && draw(m.every) == 0)
		return UNREAD + draw(MOMENTS - UNREAD);
	if (m.n_plans == 0 || m.plans[0].op != op)
		return NEVER;
	moment = m.plans[0].moment;
	memmove(m.plans, m.plans + 1, --m.n_plans * sizeof(*m.plans));
	return moment;
}

static void serve_messages(struct peer *peer, size_t size)
{
	struct packet_message message;
	size_t offset = 0;

	begin_packet();
	while (packet_next_reply(m.packet, size, &offset, &message) == 1) {
		unsigned op = message.header.op;
		if (op >= WIRE_OPS || !operations[op])
			abort();
		m.counts[op]++;
		if (!is_of_resuming(op) && peer->is_settling && op != WIRE_ATTACH &&
		    op != WIRE_UNLINK)
			complain("it asks before it has settled");
		operations[op](peer, &message);
	}
}

static void serve(struct peer *peer)
{
	struct wire_header header;
	ssize_t n = recv(peer->socket, &header, sizeof(header), MSG_PEEK);

	if (n < (ssize_t)sizeof(header))
		return let_go(peer);
	enum moment moment = moment_of(header.op);
	if (moment == UNREAD)
		return die();
	n = channel_receive_plain(peer->socket, m.packet, sizeof(m.packet));
	if (moment == READ)
		return die();
	serve_messages(peer, (size_t)n);
	if (moment == DONE)
		m.writer.size = 0;
	send_packet(peer);
	reap();
	if (moment == NEVER || moment == ANSWERED)
		answer_waits();
	if (moment != NEVER)
		die();
	else if (!is_of_resuming(header.op))
		m.in_a_row = 0;
}

static bool has_any(const struct peer *peer)
{
	for (unsigned s = 0; s < SEGMENTS; s++)
		if (peer->counts[s][0] || peer->counts[s][1])
			return true;
	return false;
}

/* A place that is free; or of a session of long ago that nobody resumes, as its client was told of another. */
static struct peer *find_place(void)
{
	struct peer *found = NULL;

	for (unsigned i = 0; i < PEERS; i++) {
		struct peer *peer = &m.peers[i];
		if (!peer->client)
			return peer;
		if (peer->socket < 0 && !has_any(peer) && (!found || peer->client < found->client))
			found = peer;
	}
	return found ? found : (abort(), NULL);
}

static void take_client(void)
{
	int fd = accept4(m.listener, NULL, NULL, SOCK_CLOEXEC);
	struct peer *peer = find_place();

	*peer = (struct peer){.client = ++m.last_client, .token = m.last_client * 7, .socket = fd};
	if (!m.refuses)
		return;
	begin_packet();
	refuse(0, 0, WIRE_LIMIT);
	send_packet(peer);
	let_go(peer);
}

static void obey(void)
{
	uint64_t count;

	if (read(m.wake, &count, sizeof(count)) < 0)
		abort();
	if (m.is_to_die)
		die();
	m.is_to_die = false;
	m.acknowledged = true;
	pthread_cond_broadcast(&m.changed);
}

static void *run(void *unused)
{
	struct pollfd fds[PEERS + 2];

	pthread_mutex_lock(&m.mutex);
	while (!m.is_to_stop) {
		fds[PEERS] = (struct pollfd){.fd = m.is_stalled ? -1 : m.listener,
					     .events = POLLIN};
		fds[PEERS + 1] = (struct pollfd){.fd = m.wake, .events = POLLIN};
		for (unsigned i = 0; i < PEERS; i++)
			fds[i] = (struct pollfd){.fd = m.peers[i].client ? m.peers[i].socket : -1,
						 .events = POLLIN};
		pthread_mutex_unlock(&m.mutex);
		poll(fds, PEERS + 2, -1);
		pthread_mutex_lock(&m.mutex);
		if (fds[PEERS + 1].revents) {
			obey();
			continue;
		}
		for (unsigned i = 0; i < PEERS; i++)
			if (fds[i].revents && m.peers[i].socket == fds[i].fd)
				serve(&m.peers[i]);
		if (fds[PEERS].revents && fds[PEERS].fd == m.listener)
			take_client();
	}
	pthread_mutex_unlock(&m.mutex);
	return unused;
}

static void listen_again(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	m.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	text_copy(address.sun_path, sizeof(address.sun_path), m.path);
	unlink(m.path);
	ck_assert_int_eq(bind(m.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(m.listener, 32), 0);
}

const char *mortal_start(void)
{
	memset(&m, 0, sizeof(m));
	pthread_mutex_init(&m.mutex, NULL);
	pthread_cond_init(&m.changed, NULL);
	for (unsigned i = 0; i < PEERS; i++)
		m.peers[i].socket = -1;
	snprintf(m.path, sizeof(m.path), "%s/s", unit_folder);
	m.wake = eventfd(0, EFD_CLOEXEC);
	listen_again();
	ck_assert_int_eq(pthread_create(&m.thread, NULL, run, NULL), 0);
	return m.path;
}

static void wake_locked(bool waits)
{
	uint64_t one = 1;

	m.acknowledged = false;
	if (write(m.wake, &one, sizeof(one)) < 0)
		abort();
	while (waits && !m.acknowledged)
		pthread_cond_wait(&m.changed, &m.mutex);
}

void mortal_stop(void)
{
	pthread_mutex_lock(&m.mutex);
	m.is_to_stop = true;
	wake_locked(false);
	pthread_mutex_unlock(&m.mutex);
	pthread_join(m.thread, NULL);
	forget_all();
	for (unsigned i = 0; i < PEERS; i++)
		close_fd(m.peers[i].socket);
	close_fd(m.listener);
	close_fd(m.wake);
	unlink(m.path);
}

/* --- what tests ask and order ----------------------------------------------------------------- */

#define WITH_MUTEX(statement)                   \
	do {                                    \
		pthread_mutex_lock(&m.mutex);   \
		statement;                      \
		pthread_mutex_unlock(&m.mutex); \
	} while (0)

void mortal_plan(unsigned op, enum moment moment)
{
	WITH_MUTEX((m.plans[m.n_plans++] = (struct plan){op, moment}));
}

bool mortal_has_plans(void)
{
	bool has;

	WITH_MUTEX(has = m.n_plans > 0);
	return has;
}

void mortal_forget(void)
{
	WITH_MUTEX(m.is_to_forget = true);
}

void mortal_die_often(unsigned n)
{
	WITH_MUTEX(m.every = n);
}

void mortal_refuse(bool refuses)
{
	WITH_MUTEX(m.refuses = refuses);
}

void mortal_babble(unsigned n, bool is_empty)
{
	WITH_MUTEX((m.n_babbled = n, m.is_empty = is_empty));
}

void mortal_stall(bool is_stalled)
{
	WITH_MUTEX((m.is_stalled = is_stalled, wake_locked(true)));
}

void mortal_kill(void)
{
	WITH_MUTEX((m.is_to_die = true, wake_locked(true)));
}

void mortal_leave(void)
{
	pthread_mutex_lock(&m.mutex);
	int listener = m.listener;
	m.listener = -1;
	m.is_to_die = true;
	wake_locked(true);
	close_fd(listener);
	pthread_mutex_unlock(&m.mutex);
}

void mortal_return(void)
{
	WITH_MUTEX((listen_again(), wake_locked(true)));
}

uint64_t mortal_make(const char *name)
{
	uint64_t id;

	pthread_mutex_lock(&m.mutex);
	struct segment *segment = make(name);
	id = segment->id;
	tell_created(segment);
	answer_waits();
	pthread_mutex_unlock(&m.mutex);
	return id;
}

unsigned mortal_deaths(void)
{
	unsigned n;

	WITH_MUTEX(n = m.deaths);
	return n;
}

unsigned mortal_connections(void)
{
	unsigned n = 0;

	pthread_mutex_lock(&m.mutex);
	for (unsigned i = 0; i < PEERS; i++)
		n += m.peers[i].client && m.peers[i].socket >= 0;
	pthread_mutex_unlock(&m.mutex);
	return n;
}

unsigned mortal_count(unsigned op)
{
	unsigned n;

	WITH_MUTEX(n = m.counts[op]);
	return n;
}

static unsigned sum(unsigned first, unsigned last, unsigned accesses)
{
	unsigned n = 0;

	for (unsigned p = 0; p < PEERS; p++)
		for (unsigned s = first; m.peers[p].client && s <= last; s++)
			n += (accesses & 1 ? m.peers[p].counts[s][0] : 0) +
			     (accesses & 2 ? m.peers[p].counts[s][1] : 0);
	return n;
}

unsigned mortal_attached(void)
{
	unsigned n;

	WITH_MUTEX(n = sum(0, SEGMENTS - 1, 3));
	return n;
}

unsigned mortal_attached_to(uint64_t id, bool read_only)
{
	unsigned n;

	pthread_mutex_lock(&m.mutex);
	struct segment *segment = by_id(id);
	n = segment ? sum(place_of(segment), place_of(segment), read_only ? 2 : 1) : 0;
	pthread_mutex_unlock(&m.mutex);
	return n;
}

unsigned mortal_doubtful(void)
{
	unsigned n = 0;

	pthread_mutex_lock(&m.mutex);
	for (unsigned p = 0; p < PEERS; p++)
		for (unsigned s = 0; m.peers[p].client && s < SEGMENTS; s++)
			n += m.peers[p].is_doubtful[s];
	pthread_mutex_unlock(&m.mutex);
	return n;
}

bool mortal_has_name(const char *name)
{
	bool has;

	WITH_MUTEX(has = by_name(name) != NULL);
	return has;
}

uint64_t mortal_generation(const char *name)
{
	uint64_t generation;

	pthread_mutex_lock(&m.mutex);
	struct segment *segment = by_name(name);
	generation = segment ? segment->generation : 0;
	pthread_mutex_unlock(&m.mutex);
	return generation;
}

const char *mortal_complaint(void)
{
	const char *complaint;

	WITH_MUTEX(complaint = m.complaint);
	return complaint;
}

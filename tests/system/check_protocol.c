/* SPDX-License-Identifier: MIT */
/*
 * The daemon at its socket: what is malformed, what is refused, what is half-made, and who does not
 * read. A bystander has a segment all the while, and nothing may happen to it; what the daemon keeps
 * is afterwards what it was before.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/channel.h"
#include "wire/packet.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct test_daemon daemon_;

/* --- the bystander, and the daemon's books ------------------------------------------------------ */

static const char bystanders_data[] = "nobody else touches this";
static struct shmd *connection;
static struct shmd_segment *kept;

/* What the daemon keeps, with the bystander alone. */
struct books {
	uint64_t clients, segments, bytes, attachments, descriptors, semaphores;
};
static struct books at_first;

static struct books read_books(void)
{
	struct shmd_status *status;
	struct books books = {.semaphores = daemon_files(&daemon_, "sem.")};

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	books.clients = status->clients;
	books.segments = status->segments;
	books.bytes = status->bytes;
	for (size_t i = 0; i < status->n_limits; i++)
		if (strcmp(status->limits[i]->name, "attachments") == 0)
			books.attachments = status->limits[i]->use;
	/* Who is not root may not look into the daemon, and has its word alone. Root looks after the
	 * reply: what was asked for before is then over and done with. */
	books.descriptors = geteuid() == 0 ? count_descriptors(daemon_.pid) : status->descriptors;
	shmd_status_free(status);
	return books;
}

static bool books_are_as_at_first(void)
{
	struct books books = read_books();

	return memcmp(&books, &at_first, sizeof(books)) == 0;
}

static uint64_t counter(const char *name)
{
	struct shmd_status *status;
	uint64_t value = UINT64_MAX;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	for (size_t i = 0; i < status->n_counters; i++)
		if (strcmp(status->counters[i]->name, name) == 0)
			value = status->counters[i]->value;
	shmd_status_free(status);
	return value;
}

static void set_up_with(const char *config)
{
	daemon_start(&daemon_, config);
	connection = connect_or_fail();
	kept = create_or_fail(connection, "kept", 4096, SHMD_LIFETIME_CLIENTS);
	strcpy(shmd_segment_data(kept), bystanders_data);
	at_first = read_books();
	ck_assert_uint_eq(at_first.segments, 1);
	ck_assert_uint_eq(at_first.attachments, 1);
}

static void set_up(void)
{
	set_up_with("[daemon]\nunread_timeout = 300ms\n");
}

static void set_up_without_limits(void)
{
	set_up_with("[limits]\nbytes = 18446744073709551615\n"
		    "bytes_per_user = 18446744073709551615\n");
}

static void tear_down(void)
{
	ck_assert_int_eq(waitpid(daemon_.pid, NULL, WNOHANG), 0);
	ck_assert_str_eq(shmd_segment_data(kept), bystanders_data);
	ck_assert_int_eq(shmd_acquire(kept, 0), 0);
	ck_assert_int_eq(shmd_release(kept), 0);
	struct shmd_segment *again = attach_or_fail(connection, "kept", 0);
	ck_assert_str_eq(shmd_segment_data(again), bystanders_data);
	shmd_detach(again);
	AWAIT(books_are_as_at_first());
	shmd_detach(kept);
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

/* --- a client without the library ------------------------------------------------------------- */

static _Alignas(8) char packet[WIRE_PACKET_MAX + 4096];
static struct packet_writer writer;

static int raw_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, daemon_.socket);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void *add_request(unsigned op, uint32_t number, const void *body, size_t size)
{
	packet_begin(&writer, op, number);
	void *p = packet_append(&writer, size);
	memcpy(p, body, size);
	packet_end(&writer, 0, 0);
	return p;
}

static void begin_packet(void)
{
	packet_writer_init(&writer, packet, sizeof(packet));
}

static void send_packet(int fd)
{
	ck_assert_int_eq(channel_send(fd, packet, writer.size, NULL, 0), 0);
}

/* Receives one packet of replies and closes its descriptors. Returns its size. */
static ssize_t receive_reply(int fd, size_t *ret_n_fds)
{
	int fds[WIRE_DESCRIPTORS_MAX], truncated;
	ssize_t n = channel_receive(fd, packet, sizeof(packet), fds, ret_n_fds, &truncated);

	for (size_t i = 0; i < *ret_n_fds; i++)
		close(fds[i]);
	return n;
}

static unsigned first_code(void)
{
	return ((struct wire_header *)packet)->code;
}

static void say_hello(int fd)
{
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 64};
	size_t n_fds;

	begin_packet();
	add_request(WIRE_HELLO, 7, &hello, sizeof(hello));
	send_packet(fd);
	ck_assert_int_eq(receive_reply(fd, &n_fds),
			 sizeof(struct wire_header) + sizeof(struct wire_welcome));
	ck_assert_uint_eq(first_code(), WIRE_OK);
	ck_assert_uint_eq(((struct wire_header *)packet)->number, 7);
}

static int raw_client(void)
{
	int fd = raw_connect();

	say_hello(fd);
	return fd;
}

static struct wire_create creation(const char *name)
{
	struct wire_create create = {.size = 4096, .mode = 0600, .permits = 1};

	strcpy(create.name, name);
	return create;
}

/* How many lines of the log say that a client's message was malformed. */
static unsigned count_ends(void)
{
	FILE *log = fopen(daemon_.log, "re");
	char line[2048];
	unsigned n = 0;

	ck_assert_ptr_nonnull(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, "disconnected: malformed message: ") != NULL;
	fclose(log);
	return n;
}

/* A connection that the daemon ended while requests were unread says so once. */
static ssize_t receive_last(int fd)
{
	size_t n_fds;
	ssize_t n = receive_reply(fd, &n_fds);

	if (n == -ECONNRESET)
		n = receive_reply(fd, &n_fds);
	ck_assert_uint_eq(n_fds, 0);
	return n;
}

/* The daemon says why, under number 0, and ends the connection; the log says it once. */
static void expect_end(int fd, const char *says)
{
	static unsigned ends;
	const struct wire_header *header = (void *)packet;
	const struct wire_error *error = (void *)(packet + sizeof(*header));

	ck_assert_int_eq(receive_last(fd), sizeof(*header) + sizeof(*error));
	ck_assert_uint_eq(header->number, 0);
	ck_assert_uint_eq(header->op, 0);
	ck_assert_uint_eq(header->code, WIRE_INVALID);
	ck_assert_msg(strncmp(error->text, "malformed message: ", 19) == 0 &&
			      strstr(error->text, says) != NULL,
		      "it says: %s", error->text);
	ck_assert(daemon_logged(&daemon_, error->text));
	ck_assert_uint_eq(count_ends(), ++ends);
	ck_assert_uint_eq(counter("malformed"), ends);
	ck_assert_int_eq(receive_last(fd), 0);
	ck_assert_int_eq(send(fd, packet, 16, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	close(fd);
	AWAIT(books_are_as_at_first());
}

/* --- malformed packets ------------------------------------------------------------------------ */

/* Requests with bodies of zeroes, which are well-formed, and what is done to the packet then. */
struct malformed {
	const char *says;
	enum wire_op op;
	size_t body;
	unsigned more; /* of the same behind it */
	bool list;     /* a LIST behind them */
	bool before_hello;
	int gifts;       /* descriptors that come with it */
	int delta;       /* bytes that the packet is longer, and its header does not say so */
	size_t at, size; /* a field... */
	uint64_t value;  /* ...and what it is set to, or each byte of a string */
};

#define REQUEST(op_, type) .op = WIRE_##op_, .body = sizeof(struct wire_##type)
#define SET(type, field, to)                                                    \
	.at = sizeof(struct wire_header) + offsetof(struct wire_##type, field), \
	.size = sizeof(((struct wire_##type *)0)->field), .value = (to)
#define SET_HEADER(field, to)                      \
	.at = offsetof(struct wire_header, field), \
	.size = sizeof(((struct wire_header *)0)->field), .value = (to)
#define FULL(type) (sizeof(struct wire_header) + sizeof(struct wire_##type))

static const struct malformed malformed[] = {
	/* too short, too long, of the wrong size */
	{"shorter than its header", REQUEST(CREATE, create), .delta = 8 - (int)FULL(create)},
	{"shorter than its header", REQUEST(CREATE, create), .delta = 8},
	{"does not fit its packet", REQUEST(CREATE, create), .delta = -8},
	{"does not fit its packet", REQUEST(CREATE, create), .delta = 16},
	{"does not fit its packet", REQUEST(CREATE, create), SET_HEADER(size, 0)},
	{"does not fit its packet", REQUEST(CREATE, create), SET_HEADER(size, 8)},
	{"does not fit its packet", REQUEST(CREATE, create), SET_HEADER(size, UINT32_MAX - 7)},
	{"not a multiple of 8", REQUEST(CREATE, create), SET_HEADER(size, FULL(create) - 4)},
	{"longer than 65536", REQUEST(CREATE, create), .delta = WIRE_PACKET_MAX},
	{"operation's size", REQUEST(CREATE, create), SET_HEADER(size, FULL(create) - 8),
	 .delta = -8},
	{"operation's size", REQUEST(CREATE, create), SET_HEADER(size, FULL(create) + 8),
	 .delta = 8},
	/* operations that there are not */
	{"unknown operation", REQUEST(CREATE, create), SET_HEADER(op, 0)},
	{"unknown operation", REQUEST(CREATE, create), SET_HEADER(op, WIRE_OPS)},
	{"unknown operation", REQUEST(CREATE, create), SET_HEADER(op, UINT16_MAX)},
	/* strings */
	{"not terminated", REQUEST(CREATE, create), SET(create, name, 'x')},
	{"not terminated", REQUEST(ATTACH, attach), SET(attach, name, 'x')},
	{"not terminated", REQUEST(UNLINK, unlink), SET(unlink, name, 'x')},
	{"not terminated", REQUEST(SHOW, show), SET(show, name, 'x')},
	{"terminated and padded", REQUEST(CREATE, create), SET(create, name[200], 'x')},
	{"terminated and padded", REQUEST(SHOW, show), SET(show, name[WIRE_NAME_SIZE - 1], 'x')},
	/* what is reserved */
	{"reserved field", REQUEST(CREATE, create), SET_HEADER(code, 1)},
	{"reserved field", REQUEST(CREATE, create), SET_HEADER(descriptors, 1)},
	{"reserved field", REQUEST(HELLO, hello), SET(hello, reserved, 1), .before_hello = true},
	{"no such number", REQUEST(CREATE, create), SET(create, heir, UINT32_MAX)},
	{"reserved field", REQUEST(ATTACH, attach), SET(attach, reserved, 1u << 31)},
	{"reserved field", REQUEST(DETACH, detach), SET(detach, reserved, 1)},
	{"unknown flag", REQUEST(HELLO, hello), SET(hello, features, 1), .before_hello = true},
	{"unknown flag", REQUEST(CREATE, create), SET(create, flags, 1u << 31)},
	{"unknown flag", REQUEST(CREATE, create), SET(create, flags, WIRE_READ_ONLY)},
	{"unknown flag", REQUEST(ATTACH, attach), SET(attach, flags, WIRE_OPEN_EXISTING)},
	{"unknown flag", REQUEST(DETACH, detach), SET(detach, flags, WIRE_WANT_SEMAPHORE)},
	{"unknown lifetime", REQUEST(CREATE, create), SET(create, lifetime, WIRE_LIFETIMES)},
	{"permission bits", REQUEST(CREATE, create), SET(create, mode, 04755)},
	/* descriptors that nobody asked for */
	{"descriptors that nobody asked for", REQUEST(CREATE, create), .gifts = 1},
	{"descriptors that nobody asked for", REQUEST(CREATE, create), .gifts = 128},
	{"descriptors that nobody asked for", REQUEST(HELLO, hello), .gifts = 3,
	 .before_hello = true},
	/* batches */
	{"stands alone", REQUEST(CREATE, create), .list = true},
	{"stands alone", REQUEST(LIST, page), .more = 1},
	{"stands alone", REQUEST(HELLO, hello), .more = 1, .before_hello = true},
	{"more than 64", REQUEST(DETACH, detach), .more = WIRE_BATCH_MAX},
	/* the order of things */
	{"a second hello", REQUEST(HELLO, hello)},
	{"a request before hello", REQUEST(CREATE, create), .before_hello = true},
	{"a request before hello", REQUEST(STATUS, page), SET_HEADER(size, 16), .delta = -8,
	 .before_hello = true},
};

static void set_field(void *field, size_t size, uint64_t value)
{
	switch (size) {
	case 0:
		break;
	case sizeof(uint16_t):
		*(uint16_t *)field = (uint16_t)value;
		break;
	case sizeof(uint32_t):
		*(uint32_t *)field = (uint32_t)value;
		break;
	default:
		memset(field, (int)value, size);
	}
}

static void make_malformed(const struct malformed *how)
{
	static const char zeroes[256];

	memset(packet, 0, sizeof(packet));
	begin_packet();
	for (unsigned i = 0; i <= how->more; i++)
		add_request(how->op, 1 + i, zeroes, how->body);
	if (how->list)
		add_request(WIRE_LIST, 2, zeroes, sizeof(struct wire_page));
	writer.size = (size_t)((ptrdiff_t)writer.size + how->delta);
	set_field(packet + how->at, how->size, how->value);
}

/* Returns false where the kernel refuses them, from Linux 6.16 on: the daemon then hears nothing of it. */
static bool send_with_gifts(int fd, int n)
{
	int gifts[WIRE_DESCRIPTORS_MAX] = {0};

	for (int i = 0; i < n; i++)
		gifts[i] = fd;
	int r = channel_send(fd, packet, writer.size, gifts, (size_t)n);
	ck_assert(r == 0 || (r == -EPERM && n > 0));
	return r == 0;
}

START_TEST(malformed_packet_ends_its_connection)
{
	const struct malformed *how = &malformed[_i];
	int fd = how->before_hello ? raw_connect() : raw_client();

	make_malformed(how);
	if (send_with_gifts(fd, how->gifts))
		expect_end(fd, how->says);
	else
		close(fd);
}
END_TEST

/* Every operation, with a body that is 8 bytes too short and one that is 8 too long. */
START_TEST(every_operation_has_its_size)
{
	static const size_t bodies[WIRE_OPS] = {
		[WIRE_HELLO] = sizeof(struct wire_hello),
		[WIRE_CREATE] = sizeof(struct wire_create),
		[WIRE_ATTACH] = sizeof(struct wire_attach),
		[WIRE_DETACH] = sizeof(struct wire_detach),
		[WIRE_UNLINK] = sizeof(struct wire_unlink),
		[WIRE_LIST] = sizeof(struct wire_page),
		[WIRE_SHOW] = sizeof(struct wire_show),
		[WIRE_CLIENTS] = sizeof(struct wire_page),
		[WIRE_HOLDERS] = sizeof(struct wire_show),
		[WIRE_KEEP] = sizeof(struct wire_keep),
		[WIRE_PUBLISH] = sizeof(struct wire_publish),
		[WIRE_WAIT] = sizeof(struct wire_wait),
		[WIRE_SUBSCRIBE] = sizeof(struct wire_subscribe),
		[WIRE_CANCEL] = sizeof(struct wire_cancel),
		[WIRE_EXPLAIN] = sizeof(struct wire_explain),
		[WIRE_RESUME] = sizeof(struct wire_resume),
		[WIRE_CONFIRM] = sizeof(struct wire_confirm),
		[WIRE_OPEN] = sizeof(struct wire_open),
		[WIRE_BEQUEATH] = sizeof(struct wire_bequeath),
	};

	for (int op = WIRE_HELLO; op < WIRE_OPS; op++)
		for (int delta = bodies[op] ? -8 : 8; delta <= 8; delta += 16) {
			struct malformed how = {.op = (enum wire_op)op,
						.body = bodies[op] + (size_t)delta};
			int fd = raw_client();
			make_malformed(&how);
			send_packet(fd);
			expect_end(fd, "operation's size");
		}
}
END_TEST

START_TEST(every_shorter_packet_is_malformed)
{
	for (int size = 1; size < (int)FULL(attach); size++) {
		struct malformed how = {REQUEST(ATTACH, attach), .delta = size - (int)FULL(attach)};
		int fd = raw_client();
		make_malformed(&how);
		send_packet(fd);
		expect_end(fd, size < 16 ? "shorter than its header" : "does not fit its packet");
	}
}
END_TEST

START_TEST(an_empty_packet_is_the_end)
{
	int fd = raw_client();

	ck_assert_int_eq(send(fd, packet, 0, MSG_NOSIGNAL), 0);
	ck_assert_int_eq(receive_last(fd), 0);
	close(fd);
	ck_assert_uint_eq(count_ends(), 0);
	AWAIT(books_are_as_at_first());
}
END_TEST

/* What was sent before is served, what was sent behind is not. */
START_TEST(a_malformed_packet_among_others)
{
	int fd = raw_client();
	struct wire_create create = creation("before");
	struct malformed how = {REQUEST(CREATE, create), SET(create, heir, UINT32_MAX)};
	size_t n_fds;

	ck_assert_int_eq(kill(daemon_.pid, SIGSTOP), 0);
	create.lifetime = WIRE_LIFETIME_PERSISTENT;
	begin_packet();
	add_request(WIRE_CREATE, 1, &create, sizeof(create));
	send_packet(fd);
	make_malformed(&how);
	send_packet(fd);
	strcpy(create.name, "behind");
	begin_packet();
	add_request(WIRE_CREATE, 3, &create, sizeof(create));
	send_packet(fd);
	ck_assert_int_eq(kill(daemon_.pid, SIGCONT), 0);

	ssize_t n = receive_reply(fd, &n_fds);
	if (n == -ECONNRESET)
		n = receive_reply(fd, &n_fds);
	ck_assert_int_eq(n, FULL(segment));
	ck_assert_uint_eq(first_code(), WIRE_OK);
	ck_assert_uint_eq(n_fds, 1);
	ck_assert(segment_exists(connection, "before"));
	ck_assert(!segment_exists(connection, "behind"));
	ck_assert_int_eq(shmd_unlink(connection, "before"), 0);
	expect_end(fd, "no such number");
}
END_TEST

/* No descriptor of theirs stays, however many come. */
START_TEST(descriptors_that_nobody_asked_for)
{
	for (int i = 0; i < 20; i++) {
		int fd = raw_client();
		struct wire_create create = creation("seg");
		size_t n_fds;
		begin_packet();
		add_request(WIRE_CREATE, 1, &create, sizeof(create));
		if (send_with_gifts(fd, 3)) {
			expect_end(fd, "descriptors that nobody asked for");
			continue;
		}
		/* Nothing has happened to the connection. */
		send_packet(fd);
		ck_assert_int_gt(receive_reply(fd, &n_fds), 0);
		ck_assert_uint_eq(first_code(), WIRE_OK);
		close(fd);
		AWAIT(books_are_as_at_first());
	}
}
END_TEST

/* --- refused requests ------------------------------------------------------------------------- */

/* Sends one request, which is refused with that code and sentence; the connection lives. */
static void expect_refusal(int fd, enum wire_op op, const void *request, size_t size,
			   enum wire_code code, const char *says)
{
	static uint32_t number = 100;
	const struct wire_header *header = (void *)packet;
	const struct wire_error *error = (void *)(packet + sizeof(*header));
	uint64_t refused = counter("refused");
	size_t n_fds;

	begin_packet();
	add_request(op, ++number, request, size);
	send_packet(fd);
	ck_assert_int_eq(receive_reply(fd, &n_fds), FULL(error));
	ck_assert_uint_eq(n_fds, 0);
	ck_assert_uint_eq(header->op, op);
	ck_assert_uint_eq(header->number, number);
	ck_assert_msg(header->code == code, "code %u: %s", header->code, error->text);
	ck_assert_msg(strstr(error->text, says) != NULL, "it says: %s", error->text);
	ck_assert_uint_eq(counter("refused"), refused + 1);
	ck_assert(daemon_logged(&daemon_, error->text));
}

/* Hello again, and everything, through the same connection. */
static void expect_service(int fd)
{
	struct wire_create create = creation("good");
	size_t n_fds;

	begin_packet();
	add_request(WIRE_CREATE, 1, &create, sizeof(create));
	send_packet(fd);
	ck_assert_int_eq(receive_reply(fd, &n_fds), FULL(segment));
	ck_assert_uint_eq(first_code(), WIRE_OK);
	close(fd);
	AWAIT(books_are_as_at_first());
	ck_assert_uint_eq(count_ends(), 0);
}

START_TEST(another_version_is_refused_and_may_try_again)
{
	static const struct {
		uint32_t version;
		const char *says;
	} versions[] = {
		{0, "protocol version 0 is not served; versions 1 to 1 are"},
		{WIRE_VERSION + 1, "protocol version 2 is not served"},
		{UINT32_MAX, "protocol version 4294967295 is not served"},
	};
	int fd = raw_connect();

	for (size_t i = 0; i < N(versions); i++) {
		struct wire_hello hello = {.version = versions[i].version, .word_bits = 64};
		expect_refusal(fd, WIRE_HELLO, &hello, sizeof(hello), WIRE_VERSION_REFUSED,
			       versions[i].says);
	}
	say_hello(fd);
	expect_service(fd);
	/* Who was refused has not said hello. */
	struct wire_hello hello = {.version = WIRE_VERSION + 1, .word_bits = 64};
	struct wire_page page = {0};
	fd = raw_connect();
	expect_refusal(fd, WIRE_HELLO, &hello, sizeof(hello), WIRE_VERSION_REFUSED, "");
	begin_packet();
	add_request(WIRE_LIST, 2, &page, sizeof(page));
	send_packet(fd);
	expect_end(fd, "a request before hello");
}
END_TEST

#define A_50  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A_200 A_50 A_50 A_50 A_50

START_TEST(bad_names_are_refused)
{
	static const struct {
		const char *name;
		enum wire_code code;
		const char *says;
	} names[] = {
		{"", WIRE_INVALID, "the name is empty"},
		{"/", WIRE_INVALID, "the name is empty"},
		{".", WIRE_INVALID, "'.' cannot be a name"},
		{"..", WIRE_INVALID, "'..' cannot be a name"},
		{"/..", WIRE_INVALID, "'..' cannot be a name"},
		{"a/b", WIRE_INVALID, "'a/b' has a '/' inside"},
		{"//a", WIRE_INVALID, "has a '/' inside"},
		{"a/", WIRE_INVALID, "has a '/' inside"},
		{"../../etc/passwd", WIRE_INVALID, "has a '/' inside"},
		{"a\n", WIRE_INVALID, "control character at byte 2"},
		{"\x1b[2J", WIRE_INVALID, "control character at byte 1"},
		{"a\x7f", WIRE_INVALID, "control character at byte 2"},
		{"a\xc2\x9b", WIRE_INVALID, "control character at byte 2"},
		{"a\xff", WIRE_INVALID, "not UTF-8 at byte 2"},
		{"\xc0\xaf", WIRE_INVALID, "not UTF-8 at byte 1"},
		{"\xed\xa0\x80", WIRE_INVALID, "not UTF-8 at byte 1"},
		{"abc\xe2\x82", WIRE_INVALID, "not UTF-8 at byte 4"},
		{A_200 "b", WIRE_TOO_LONG, "the name has 201 bytes; at most 200 are allowed"},
		{"/" A_200 "b", WIRE_TOO_LONG, "the name has 201 bytes"},
		{A_200 "bbbbbbb", WIRE_TOO_LONG, "the name has 207 bytes"},
	};
	int fd = raw_client();

	for (size_t i = 0; i < N(names); i++) {
		struct wire_create create = {.size = 4096, .mode = 0600, .permits = 1};
		struct wire_attach attach = {0};
		struct wire_unlink unlink = {0};
		struct wire_show show = {0};
		enum wire_code code = names[i].code;
		strcpy(create.name, names[i].name);
		strcpy(attach.name, names[i].name);
		strcpy(unlink.name, names[i].name);
		strcpy(show.name, names[i].name);
		/* Without a name, a segment is anonymous. */
		if (names[i].name[0])
			expect_refusal(fd, WIRE_CREATE, &create, sizeof(create), code,
				       names[i].says);
		expect_refusal(fd, WIRE_ATTACH, &attach, sizeof(attach), code, names[i].says);
		expect_refusal(fd, WIRE_UNLINK, &unlink, sizeof(unlink), code, names[i].says);
		expect_refusal(fd, WIRE_SHOW, &show, sizeof(show), code, names[i].says);
	}
	expect_service(fd);
}
END_TEST

#define SIZE_LARGEST ((uint64_t)INT64_MAX - 4096)

START_TEST(bad_creations_are_refused)
{
	static const struct {
		struct wire_create create;
		enum wire_code code;
		const char *says;
	} creations[] = {
		{{.size = 0, .permits = 1}, WIRE_INVALID, "the size is 0"},
		{{.size = 0, .permits = 1, .flags = WIRE_OPEN_EXISTING}, WIRE_INVALID, "size is 0"},
		{{.size = SIZE_LARGEST + 1, .permits = 1},
		 WIRE_INVALID,
		 "the size 9223372036854771712 is more than 9223372036854771711"},
		{{.size = INT64_MAX, .permits = 1},
		 WIRE_INVALID,
		 "is more than 922337203685477171"},
		{{.size = (uint64_t)INT64_MAX + 1, .permits = 1}, WIRE_INVALID, "is more than"},
		{{.size = UINT64_MAX - 4095, .permits = 1}, WIRE_INVALID, "is more than"},
		{{.size = UINT64_MAX, .permits = 1},
		 WIRE_INVALID,
		 "the size 18446744073709551615 is more than"},
		{{.size = SIZE_LARGEST, .permits = 1},
		 WIRE_LIMIT,
		 "4096 in use, 9223372036854771711 more asked for"},
		{{.size = UINT64_C(1) << 62, .permits = 1}, WIRE_LIMIT, "bytes_per_user="},
		{{.size = 1}, WIRE_INVALID, "0 permits are too few"},
		{{.size = 1, .permits = 1u << 31},
		 WIRE_INVALID,
		 "2147483648 permits are more than 2147483647"},
		{{.size = 1, .permits = 3, .flags = WIRE_NO_SEMAPHORE},
		 WIRE_INVALID,
		 "3 permits are asked for, and no semaphore"},
		{{.size = 1, .permits = 1, .linger_ms = 1, .lifetime = WIRE_LIFETIME_PERSISTENT},
		 WIRE_INVALID,
		 "linger is for segments that end"},
		{{.size = 1, .permits = 1, .name = "kept"}, WIRE_EXISTS, "'kept' exists"},
		{{.size = 4097, .permits = 1, .flags = WIRE_OPEN_EXISTING, .name = "kept"},
		 WIRE_INVALID,
		 "4097"},
	};
	int fd = raw_client();

	for (size_t i = 0; i < N(creations); i++)
		expect_refusal(fd, WIRE_CREATE, &creations[i].create, sizeof(struct wire_create),
			       creations[i].code, creations[i].says);
	expect_service(fd);
}
END_TEST

START_TEST(unknown_ids_are_refused)
{
	static const uint64_t ids[] = {1, INT64_MAX, UINT64_MAX};
	struct wire_detach not_attached = {.id = shmd_segment_generation(kept)};
	int fd = raw_client();
	char says[64];

	for (size_t i = 0; i < N(ids); i++) {
		struct wire_attach attach = {.id = ids[i]};
		struct wire_unlink unlink = {.id = ids[i]};
		struct wire_detach detach = {.id = ids[i]};
		snprintf(says, sizeof(says), "no segment has the id %" PRIu64, ids[i]);
		expect_refusal(fd, WIRE_ATTACH, &attach, sizeof(attach), WIRE_NOT_FOUND, says);
		expect_refusal(fd, WIRE_UNLINK, &unlink, sizeof(unlink), WIRE_NOT_FOUND, says);
		snprintf(says, sizeof(says), "%" PRIu64, ids[i]);
		expect_refusal(fd, WIRE_DETACH, &detach, sizeof(detach), WIRE_NOT_FOUND, says);
	}
	/* What another one has attached is not the client's to let go of. */
	expect_refusal(fd, WIRE_DETACH, &not_attached, sizeof(not_attached), WIRE_NOT_FOUND,
		       "not attached");
	expect_service(fd);
}
END_TEST

/* Three of the largest are more than 64 bits can count. */
START_TEST(sizes_that_overflow_are_refused)
{
	int fd = raw_client();
	struct wire_create create = {.size = SIZE_LARGEST, .mode = 0600, .permits = 1};
	size_t n_fds;

	for (int i = 0; i < 2; i++) {
		/* The bystander's bytes are counted, too. */
		create.size = SIZE_LARGEST - 4096;
		begin_packet();
		add_request(WIRE_CREATE, 1, &create, sizeof(create));
		send_packet(fd);
		ck_assert_int_eq(receive_reply(fd, &n_fds), FULL(segment));
		ck_assert_uint_eq(first_code(), WIRE_OK);
	}
	uint64_t in_use = 4096 + 2 * create.size;
	ck_assert_uint_eq(status_bytes(connection), in_use);
	expect_refusal(fd, WIRE_CREATE, &create, sizeof(create), WIRE_LIMIT,
		       "the limit bytes_per_user=18446744073709551615 is reached");
	create.size = UINT64_MAX - in_use + 1;
	expect_refusal(fd, WIRE_CREATE, &create, sizeof(create), WIRE_LIMIT, "more asked for");
	ck_assert_uint_eq(status_bytes(connection), in_use);
	ck_assert_uint_eq(status_segments(connection), 3);
	expect_service(fd);
}
END_TEST

/* A cursor is a number like any other. */
START_TEST(cursors_that_nobody_gave_out)
{
	static const uint64_t cursors[] = {1, INT64_MAX, UINT64_MAX};
	int fd = raw_client();
	size_t n_fds;

	for (size_t i = 0; i < N(cursors); i++) {
		struct wire_page page = {.after = cursors[i]};
		struct wire_show show = {.after = cursors[i], .name = "kept"};
		for (int op = WIRE_LIST; op <= WIRE_CLIENTS; op++) {
			begin_packet();
			if (op == WIRE_SHOW)
				add_request(WIRE_SHOW, 1, &show, sizeof(show));
			else
				add_request((unsigned)op, 1, &page, sizeof(page));
			send_packet(fd);
			ck_assert_int_gt(receive_reply(fd, &n_fds), 0);
			ck_assert_uint_eq(first_code(), WIRE_OK);
		}
	}
	expect_service(fd);
}
END_TEST

/* A client whose sem_t is laid out otherwise gets memory, and no semaphore. */
START_TEST(another_word_size_gets_no_semaphore)
{
	int fd = raw_connect();
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 32};
	struct wire_create create = creation("seg");
	size_t n_fds;

	begin_packet();
	add_request(WIRE_HELLO, 1, &hello, sizeof(hello));
	send_packet(fd);
	ck_assert_int_gt(receive_reply(fd, &n_fds), 0);
	begin_packet();
	create.flags = WIRE_WANT_SEMAPHORE;
	add_request(WIRE_CREATE, 2, &create, sizeof(create));
	send_packet(fd);
	ck_assert_int_gt(receive_reply(fd, &n_fds), 0);
	ck_assert_uint_eq(first_code(), WIRE_OK);
	ck_assert_uint_eq(n_fds, 1);
	struct wire_segment *segment = (void *)(packet + sizeof(struct wire_header));
	ck_assert_str_eq(segment->semaphore, "");
	close(fd);
	AWAIT(books_are_as_at_first());
}
END_TEST

/* --- batches ---------------------------------------------------------------------------------- */

START_TEST(a_batch_is_answered_in_one_packet)
{
	int fd = raw_client();
	size_t n_fds, offset = 0;
	struct packet_message message;
	char name[16];

	begin_packet();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		snprintf(name, sizeof(name), "b%u", i / 2);
		struct wire_create create = creation(name);
		create.flags = WIRE_WANT_SEMAPHORE;
		add_request(WIRE_CREATE, 100 + i, &create, sizeof(create));
	}
	send_packet(fd);
	ssize_t size = receive_reply(fd, &n_fds);
	ck_assert_int_gt(size, 0);
	/* Each second one finds its name taken, which is no reason to stop. */
	ck_assert_uint_eq(n_fds, WIRE_BATCH_MAX);
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		ck_assert_int_eq(packet_next_reply(packet, (size_t)size, &offset, &message), 1);
		ck_assert_uint_eq(message.header.number, 100 + i);
		ck_assert_uint_eq(message.header.code, i % 2 ? WIRE_EXISTS : WIRE_OK);
		ck_assert_uint_eq(message.header.descriptors, i % 2 ? 0 : 2);
	}
	ck_assert_int_eq(packet_next_reply(packet, (size_t)size, &offset, &message), 0);
	ck_assert_uint_eq(status_segments(connection), 1 + WIRE_BATCH_MAX / 2);
	close(fd);
	AWAIT(books_are_as_at_first());
}
END_TEST

/* Nothing of a packet is acted on when a later message of it is malformed. */
START_TEST(a_malformed_batch_does_nothing)
{
	int fd = raw_client();
	struct wire_create create = creation("seg");

	create.lifetime = WIRE_LIFETIME_PERSISTENT;
	begin_packet();
	add_request(WIRE_CREATE, 1, &create, sizeof(create));
	struct wire_create *second = add_request(WIRE_CREATE, 2, &create, sizeof(create));
	second->heir = UINT32_MAX;
	send_packet(fd);
	expect_end(fd, "no such number");
	ck_assert(!segment_exists(connection, "seg"));
}
END_TEST

/* --- half-made requests, and clients that do not read ------------------------------------------ */

static void ask_and_wait(struct actor *self, void *context)
{
	int fd = raw_client();
	struct wire_create create = creation("seg");

	(void)context;
	begin_packet();
	add_request(WIRE_CREATE, 1, &create, sizeof(create));
	send_packet(fd);
	actor_tell(self);
	actor_await(self);
}

START_TEST(killed_before_it_reads_the_reply)
{
	struct actor client;

	for (int i = 0; i < 20; i++) {
		actor_start(&client, ask_and_wait, NULL);
		actor_await(&client);
		actor_kill(&client);
		AWAIT(books_are_as_at_first());
	}
}
END_TEST

static void dribble(struct actor *self, void *context)
{
	int fd = raw_connect();

	(void)fd, (void)context;
	actor_tell(self);
	actor_await(self);
}

START_TEST(killed_before_it_speaks)
{
	struct actor clients[10];

	for (int i = 0; i < 10; i++)
		actor_start(&clients[i], dribble, NULL);
	for (int i = 0; i < 10; i++)
		actor_await(&clients[i]);
	for (int i = 0; i < 10; i++)
		actor_kill(&clients[i]);
	AWAIT(books_are_as_at_first());
}
END_TEST

/* Sends until the socket is full, and never reads. */
static unsigned send_many(int fd)
{
	unsigned n = 0;

	for (struct pollfd room = {.fd = fd, .events = POLLOUT}; poll(&room, 1, 50) == 1; n++) {
		struct wire_create create = creation("");
		begin_packet();
		add_request(WIRE_CREATE, 1 + n, &create, sizeof(create));
		if (channel_send(fd, packet, writer.size, NULL, 0) < 0)
			break;
	}
	return n;
}

START_TEST(who_pipelines_gets_every_reply)
{
	int fd = raw_client();
	unsigned n = 0;
	size_t n_fds;

	for (; n < 150; n++) {
		struct wire_create create = creation("");
		begin_packet();
		add_request(WIRE_CREATE, 1 + n, &create, sizeof(create));
		send_packet(fd);
	}
	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_gt(receive_reply(fd, &n_fds), 0);
		ck_assert_uint_eq(((struct wire_header *)packet)->number, 1 + i);
		ck_assert_uint_eq(first_code(), WIRE_OK);
	}
	close(fd);
	AWAIT(books_are_as_at_first());
}
END_TEST

START_TEST(who_does_not_read_is_dropped_and_stalls_nobody)
{
	int fd = raw_client();
	uint64_t before = read_books().descriptors;
	unsigned n = send_many(fd);

	ck_assert_uint_gt(n, 10);
	/* Others are served meanwhile. */
	ck_assert_uint_ge(status_segments(connection), 10);
	AWAIT(daemon_logged(&daemon_, "leaves its replies unread"));
	AWAIT(read_books().descriptors < before + 2 * n);
	/* What lies in its socket is still its own, and still charged to it. */
	ck_assert_uint_gt(status_segments(connection), 1);
	close(fd);
	AWAIT(books_are_as_at_first());
}
END_TEST

/* Lets the daemon open one more descriptor: its table ends before the second free place. */
static void leave_one_descriptor(struct rlimit *ret_before)
{
	char path[64];
	struct rlimit few;
	unsigned n = 0;

	for (unsigned free_places = 0; free_places < 2; n++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)daemon_.pid, n);
		free_places += faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
	}
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, NULL, ret_before), 0);
	few = (struct rlimit){n - 1, ret_before->rlim_max};
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, &few, NULL), 0);
}

/* A process of its own: what it may lock by is charged until it ends. */
static void attach_without_reading(struct actor *self, void *context)
{
	struct wire_attach attach = {.name = "kept", .flags = WIRE_WANT_SEMAPHORE};
	int fd = raw_client();
	ssize_t n;

	(void)context;
	actor_tell(self);
	actor_await(self);
	begin_packet();
	add_request(WIRE_ATTACH, 1, &attach, sizeof(attach));
	do
		n = send(fd, packet, writer.size, MSG_NOSIGNAL);
	while (n > 0);
	ck_assert_int_eq(n, -1);
	ck_assert(errno == EPIPE || errno == ECONNRESET);
	close(fd);
}

/* To keep a reply with a semaphore takes a descriptor of the daemon's; where there is none, the connection
 * ends, and the log says so. */
START_TEST(who_does_not_read_when_descriptors_are_out)
{
	struct actor attacher;
	struct rlimit before;

	/* Only root may look into the daemon. */
	if (geteuid() != 0)
		return;
	actor_start(&attacher, attach_without_reading, NULL);
	actor_await(&attacher);
	leave_one_descriptor(&before);
	actor_tell(&attacher);
	actor_finish(&attacher);
	ck_assert(daemon_logged(&daemon_, "disconnected: Too many open files"));
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, &before, NULL), 0);
}
END_TEST

/* --- noise ------------------------------------------------------------------------------------ */

#define NOISY 8
#define QUIET 300

/* 64 refusals a packet, as fast as they are answered. */
static void make_noise(struct actor *self, void *context)
{
	struct wire_detach detach = {.id = 1};
	char reply[WIRE_PACKET_MAX];
	int fd = raw_client();

	(void)context;
	begin_packet();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++)
		add_request(WIRE_DETACH, 1 + i, &detach, sizeof(detach));
	actor_tell(self);
	while (send(fd, packet, writer.size, MSG_NOSIGNAL) > 0 &&
	       recv(fd, reply, sizeof(reply), 0) > 0)
		;
}

struct tale {
	unsigned created;
	uint64_t lost;
};

static void hear(const struct shmd_event *event, void *context)
{
	struct tale *tale = context;

	tale->created += event->kind == SHMD_EVENT_CREATED;
	tale->lost += event->kind == SHMD_EVENT_LOST;
}

/* Whatever others do, and however much of it, costs a subscriber none of its own events. */
START_TEST(noise_drowns_nobodys_events)
{
	struct shmd *ear = connect_or_fail();
	struct actor noisy[NOISY];
	struct tale tale = {0};
	char name[32];

	ck_assert_int_gt(shmd_subscribe(ear, "quiet-*", hear, &tale), 0);
	for (int i = 0; i < NOISY; i++) {
		actor_start(&noisy[i], make_noise, NULL);
		actor_await(&noisy[i]);
	}
	for (int i = 0; i < QUIET; i++) {
		snprintf(name, sizeof(name), "quiet-%d", i);
		shmd_detach(create_or_fail(connection, name, 64, SHMD_LIFETIME_CLIENTS));
		ck_assert_int_ge(shmd_dispatch(ear), 0);
	}
	for (int i = 0; i < NOISY; i++)
		actor_kill(&noisy[i]);
	AWAIT(shmd_dispatch(ear) >= 0 && tale.created == QUIET);
	ck_assert_uint_eq(tale.lost, 0);
	shmd_disconnect(ear);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("protocol");
	TCase *tests = tcase_create("protocol");
	TCase *unlimited = tcase_create("without limits");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, malformed_packet_ends_its_connection, 0, (int)N(malformed));
	tcase_add_test(tests, every_operation_has_its_size);
	tcase_add_test(tests, every_shorter_packet_is_malformed);
	tcase_add_test(tests, an_empty_packet_is_the_end);
	tcase_add_test(tests, a_malformed_packet_among_others);
	tcase_add_test(tests, descriptors_that_nobody_asked_for);
	tcase_add_test(tests, another_version_is_refused_and_may_try_again);
	tcase_add_test(tests, bad_names_are_refused);
	tcase_add_test(tests, bad_creations_are_refused);
	tcase_add_test(tests, unknown_ids_are_refused);
	tcase_add_test(tests, cursors_that_nobody_gave_out);
	tcase_add_test(tests, another_word_size_gets_no_semaphore);
	tcase_add_test(tests, a_batch_is_answered_in_one_packet);
	tcase_add_test(tests, a_malformed_batch_does_nothing);
	tcase_add_test(tests, killed_before_it_reads_the_reply);
	tcase_add_test(tests, killed_before_it_speaks);
	tcase_add_test(tests, who_pipelines_gets_every_reply);
	tcase_add_test(tests, who_does_not_read_is_dropped_and_stalls_nobody);
	tcase_add_test(tests, who_does_not_read_when_descriptors_are_out);
	tcase_add_test(tests, noise_drowns_nobodys_events);
	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(unlimited, set_up_without_limits, tear_down);
	tcase_set_timeout(unlimited, 120);
	tcase_add_test(unlimited, sizes_that_overflow_are_refused);
	suite_add_tcase(suite, unlimited);
	return run_suite(suite);
}

/* SPDX-License-Identifier: MIT */
/* The daemon at its socket: what is malformed, what is half-made, and who does not read. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/channel.h"
#include "wire/packet.h"

static struct test_daemon daemon_;
static struct shmd *connection;

static void set_up(void)
{
	daemon_start(&daemon_, "[daemon]\nunread_timeout = 300ms\n");
	connection = connect_or_fail();
}

static void tear_down(void)
{
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

/* The daemon says why, under number 0, and ends the connection. */
static void expect_end(int fd, const char *says)
{
	size_t n_fds;
	ssize_t n;

	do
		n = receive_reply(fd, &n_fds);
	while (n == -ECONNRESET);
	ck_assert_int_eq(n, sizeof(struct wire_header) + sizeof(struct wire_error));
	ck_assert_uint_eq(((struct wire_header *)packet)->number, 0);
	const struct wire_error *error = (void *)(packet + sizeof(struct wire_header));
	ck_assert_msg(strstr(error->text, says) != NULL, "it says: %s", error->text);
	ck_assert(daemon_logged(&daemon_, says));
	do
		n = receive_reply(fd, &n_fds);
	while (n == -ECONNRESET);
	ck_assert_int_eq(n, 0);
	close(fd);
	/* Everybody else is served as before. */
	ck_assert_uint_eq(status_segments(connection), 0);
}

/* --- malformed messages ----------------------------------------------------------------------- */

static void make_short(void)
{
	writer.size = 8;
}

static void make_cut(void)
{
	writer.size -= 8;
}

static void make_odd(void)
{
	writer.size -= 4;
	((struct wire_header *)packet)->size -= 4;
}

static void make_long(void)
{
	writer.size = WIRE_PACKET_MAX + 8;
}

static void make_unknown(void)
{
	((struct wire_header *)packet)->op = 999;
}

static void make_op_zero(void)
{
	((struct wire_header *)packet)->op = 0;
}

static void make_wrong_size(void)
{
	((struct wire_header *)packet)->size += 8;
	writer.size += 8;
}

static struct wire_create *body(void)
{
	return (void *)(packet + sizeof(struct wire_header));
}

static void make_unterminated(void)
{
	memset(body()->name, 'x', sizeof(body()->name));
}

static void make_trailing(void)
{
	body()->name[sizeof(body()->name) - 2] = 'x';
}

static void make_unknown_flag(void)
{
	body()->flags = 1u << 31;
}

static void make_reserved(void)
{
	body()->reserved = 1;
}

static void make_header_reserved(void)
{
	((struct wire_header *)packet)->code = 1;
}

static void make_lifetime(void)
{
	body()->lifetime = 77;
}

static void make_mode(void)
{
	body()->mode = 04755;
}

static void make_mixed_batch(void)
{
	struct wire_page page = {0};

	add_request(WIRE_LIST, 2, &page, sizeof(page));
}

static void make_large_batch(void)
{
	struct wire_detach detach = {0};

	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++)
		add_request(WIRE_DETACH, i, &detach, sizeof(detach));
}

static void make_second_hello(void)
{
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 64};

	begin_packet();
	add_request(WIRE_HELLO, 1, &hello, sizeof(hello));
}

static const struct {
	void (*make)(void);
	const char *says;
} malformed[] = {
	{make_short, "shorter than its header"},
	{make_cut, "does not fit its packet"},
	{make_odd, "not a multiple of 8"},
	{make_long, "longer than 65536"},
	{make_unknown, "unknown operation"},
	{make_op_zero, "unknown operation"},
	{make_wrong_size, "operation's size"},
	{make_unterminated, "not terminated"},
	{make_trailing, "not terminated and padded"},
	{make_unknown_flag, "unknown flag"},
	{make_reserved, "reserved field"},
	{make_header_reserved, "reserved field"},
	{make_lifetime, "unknown lifetime"},
	{make_mode, "permission bits"},
	{make_mixed_batch, "stands alone"},
	{make_large_batch, "more than 64"},
	{make_second_hello, "second hello"},
};

START_TEST(malformed_message_ends_its_connection)
{
	int fd = raw_client();
	struct wire_create create = creation("seg");

	begin_packet();
	add_request(WIRE_CREATE, 1, &create, sizeof(create));
	malformed[_i].make();
	send_packet(fd);
	expect_end(fd, malformed[_i].says);
}
END_TEST

START_TEST(a_request_before_hello)
{
	int fd = raw_connect();
	struct wire_create create = creation("seg");

	begin_packet();
	add_request(WIRE_CREATE, 1, &create, sizeof(create));
	send_packet(fd);
	expect_end(fd, "before hello");
}
END_TEST

START_TEST(descriptors_that_nobody_asked_for)
{
	unsigned before = count_descriptors(daemon_.pid);

	for (int i = 0; i < 20; i++) {
		int fd = raw_client();
		int gifts[3] = {fd, fd, fd};
		struct wire_create create = creation("seg");
		begin_packet();
		add_request(WIRE_CREATE, 1, &create, sizeof(create));
		ck_assert_int_eq(channel_send(fd, packet, writer.size, gifts, 3), 0);
		expect_end(fd, "descriptors that nobody asked for");
	}
	AWAIT(count_descriptors(daemon_.pid) == before);
}
END_TEST

START_TEST(another_version_is_refused_and_may_try_again)
{
	int fd = raw_connect();
	struct wire_hello hello = {.version = WIRE_VERSION + 1, .word_bits = 64};
	size_t n_fds;

	begin_packet();
	add_request(WIRE_HELLO, 1, &hello, sizeof(hello));
	send_packet(fd);
	ck_assert_int_gt(receive_reply(fd, &n_fds), 0);
	ck_assert_uint_eq(first_code(), WIRE_VERSION_REFUSED);
	say_hello(fd);
	close(fd);
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
	await_segments(connection, 0);
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
	ck_assert_uint_eq(status_segments(connection), WIRE_BATCH_MAX / 2);
	close(fd);
	await_segments(connection, 0);
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
	second->reserved = 1;
	send_packet(fd);
	expect_end(fd, "reserved field");
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
		await_segments(connection, 0);
	}
	ck_assert_uint_eq(daemon_files(&daemon_, "sem."), 0);
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
	unsigned before = count_descriptors(daemon_.pid);
	struct actor clients[10];

	for (int i = 0; i < 10; i++)
		actor_start(&clients[i], dribble, NULL);
	for (int i = 0; i < 10; i++)
		actor_await(&clients[i]);
	for (int i = 0; i < 10; i++)
		actor_kill(&clients[i]);
	AWAIT(count_descriptors(daemon_.pid) == before);
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
	await_segments(connection, 0);
}
END_TEST

START_TEST(who_does_not_read_is_dropped_and_stalls_nobody)
{
	int fd = raw_client();
	unsigned before = count_descriptors(daemon_.pid);
	unsigned n = send_many(fd);

	ck_assert_uint_gt(n, 10);
	/* Others are served meanwhile. */
	ck_assert_uint_ge(status_segments(connection), 10);
	AWAIT(daemon_logged(&daemon_, "leaves its replies unread"));
	AWAIT(count_descriptors(daemon_.pid) < before + 2 * n);
	/* What lies in its socket is still its own, and still charged to it. */
	ck_assert_uint_gt(status_segments(connection), 0);
	close(fd);
	await_segments(connection, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("protocol");
	TCase *tests = tcase_create("protocol");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, malformed_message_ends_its_connection, 0,
			    (int)(sizeof(malformed) / sizeof(malformed[0])));
	tcase_add_test(tests, a_request_before_hello);
	tcase_add_test(tests, descriptors_that_nobody_asked_for);
	tcase_add_test(tests, another_version_is_refused_and_may_try_again);
	tcase_add_test(tests, another_word_size_gets_no_semaphore);
	tcase_add_test(tests, a_batch_is_answered_in_one_packet);
	tcase_add_test(tests, a_malformed_batch_does_nothing);
	tcase_add_test(tests, killed_before_it_reads_the_reply);
	tcase_add_test(tests, killed_before_it_speaks);
	tcase_add_test(tests, who_pipelines_gets_every_reply);
	tcase_add_test(tests, who_does_not_read_is_dropped_and_stalls_nobody);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

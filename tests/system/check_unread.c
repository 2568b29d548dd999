/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that clients do not read: what a user may leave so, what becomes of requests that ask for
 * more, and that other users notice nothing. Needs root, to be several users.
 */
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/channel.h"
#include "wire/packet.h"

#define ALICE 64541
#define BOB   64542

/* What a user may leave unread, and how many attaches get through for that: for each, three are
 * reserved and one is sent. */
#define PER_USER 8
#define ATTACHES 6

static struct test_daemon daemon_;
static struct shmd *connection;
static struct shmd_segment *segment;
static _Alignas(8) char packet[WIRE_PACKET_MAX];
static struct packet_writer writer;

/* --- clients ---------------------------------------------------------------------------------- */

static void add(unsigned op, uint32_t number, const void *body, size_t size)
{
	packet_begin(&writer, op, number);
	memcpy(packet_append(&writer, size), body, size);
	packet_end(&writer, 0, 0);
}

static void begin(void)
{
	packet_writer_init(&writer, packet, sizeof(packet));
}

static void send_packet(int fd)
{
	ck_assert_int_eq(channel_send(fd, packet, writer.size, NULL, 0), 0);
}

/* Reads one packet, and returns its size; 0: the connection has ended. */
static ssize_t receive(int fd)
{
	int fds[WIRE_DESCRIPTORS_MAX], truncated;
	size_t n_fds;
	ssize_t n = channel_receive(fd, packet, sizeof(packet), fds, &n_fds, &truncated);

	while (n_fds > 0)
		close(fds[--n_fds]);
	return n;
}

static unsigned code(void)
{
	return ((const struct wire_header *)packet)->code;
}

static const char *sentence(void)
{
	return ((const struct wire_error *)(packet + sizeof(struct wire_header)))->text;
}

/* The kernel tells the daemon the user that connected. */
static int connect_as(uid_t uid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 64};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, daemon_.socket);
	ck_assert_int_eq(seteuid(uid), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(seteuid(0), 0);
	begin();
	add(WIRE_HELLO, 1, &hello, sizeof(hello));
	send_packet(fd);
	ck_assert_int_gt(receive(fd), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	return fd;
}

static void ask_to_attach(int fd)
{
	struct wire_attach attach = {.name = "shown", .flags = WIRE_READ_ONLY};

	begin();
	add(WIRE_ATTACH, 2, &attach, sizeof(attach));
	send_packet(fd);
}

static bool is_answered(int fd, int within_ms)
{
	struct pollfd answered = {.fd = fd, .events = POLLIN};

	return poll(&answered, 1, within_ms) == 1;
}

static uint64_t unread(void)
{
	struct shmd_status *status;
	uint64_t use = UINT64_MAX;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	for (size_t i = 0; i < status->n_limits; i++)
		if (strcmp(status->limits[i]->name, "unread_descriptors") == 0)
			use = status->limits[i]->use;
	shmd_status_free(status);
	return use;
}

/* A client that has been sent all that it may leave unread. */
static int come_and_leave_unread(uid_t uid)
{
	int fd = connect_as(uid);

	for (int i = 0; i < ATTACHES; i++)
		ask_to_attach(fd);
	AWAIT(unread() == ATTACHES);
	return fd;
}

static void read_all(int fd)
{
	for (int i = 0; i < ATTACHES; i++) {
		ck_assert_int_gt(receive(fd), 0);
		ck_assert_uint_eq(code(), WIRE_OK);
	}
}

static int wait_for(const char *name)
{
	struct wire_wait wait = {.flags = WIRE_READ_ONLY};
	int fd = connect_as(ALICE);

	strcpy(wait.name, name);
	begin();
	add(WIRE_WAIT, 3, &wait, sizeof(wait));
	send_packet(fd);
	ck_assert(!is_answered(fd, 0));
	return fd;
}

static struct shmd_segment *create_for_all(const char *name)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *made;

	options.mode = 0644;
	ck_assert_int_eq(shmd_create(connection, name, 4096, &options, &made), 0);
	return made;
}

/* Which is less than what is used already. */
static void lower_the_limit(void)
{
	FILE *file = fopen(daemon_.config, "w");

	ck_assert_ptr_nonnull(file);
	fputs("[limits]\nunread_descriptors_per_user = 3\n", file);
	fclose(file);
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
	AWAIT(daemon_logged(&daemon_, "configuration read again"));
}

static void set_up(void)
{
	char config[128];

	snprintf(config, sizeof(config),
		 "[daemon]\nunread_timeout = 300ms\n[limits]\nunread_descriptors_per_user = %d\n",
		 PER_USER);
	daemon_start(&daemon_, config);
	connection = connect_or_fail();
	segment = create_for_all("shown");
}

static void tear_down(void)
{
	AWAIT(unread() == 0);
	shmd_detach(segment);
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(a_user_may_leave_so_many_and_no_more)
{
	int deaf = come_and_leave_unread(ALICE), alice = connect_as(ALICE), bob = connect_as(BOB);

	ask_to_attach(alice);
	ask_to_attach(bob);
	ck_assert_int_gt(receive(bob), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	ck_assert_int_gt(receive(alice), 0);
	ck_assert_uint_eq(code(), WIRE_LIMIT);
	ck_assert_str_eq(sentence(),
			 "the limit unread_descriptors_per_user=8 is reached: 6 in use, "
			 "3 more asked for");
	/* What needs no descriptor is served. */
	begin();
	packet_begin(&writer, WIRE_STATUS, 3);
	packet_end(&writer, 0, 0);
	send_packet(alice);
	ck_assert_int_gt(receive(alice), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	close(deaf), close(alice), close(bob);
}
END_TEST

START_TEST(who_is_held_goes_on_when_others_have_read)
{
	int slow = come_and_leave_unread(ALICE), alice = connect_as(ALICE);

	ask_to_attach(alice);
	ck_assert(!is_answered(alice, 50));
	read_all(slow);
	ck_assert_int_gt(receive(alice), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	close(slow), close(alice);
}
END_TEST

START_TEST(who_is_held_can_go)
{
	int deaf = come_and_leave_unread(ALICE), alice = connect_as(ALICE);

	ask_to_attach(alice);
	ck_assert(!is_answered(alice, 50));
	close(alice);
	close(deaf);
}
END_TEST

enum { MANY = 70, HELD_MOST = 64 };

static int count_answered(const int fds[static MANY])
{
	int n = 0;

	for (int i = 0; i < MANY; i++)
		n += is_answered(fds[i], 0);
	return n;
}

/* As many as the daemon holds for a user, and more: these are refused at once. */
START_TEST(only_some_are_held)
{
	int deaf = come_and_leave_unread(ALICE), alice[MANY];

	double start = now_ms();
	for (int i = 0; i < MANY; i++)
		ask_to_attach(alice[i] = connect_as(ALICE));
	AWAIT(count_answered(alice) >= MANY - HELD_MOST);
	/* Those that are held are, for a second. */
	ck_assert(now_ms() - start > 900 || count_answered(alice) < MANY);
	AWAIT(unread() == ATTACHES);
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_gt(receive(alice[i]), 0);
		ck_assert_uint_eq(code(), WIRE_LIMIT);
		close(alice[i]);
	}
	close(deaf);
}
END_TEST

/* Its own replies are not sent before the packet is done: nobody else can make room for it. */
START_TEST(a_batch_does_not_wait_for_itself)
{
	struct wire_attach attach = {.name = "shown", .flags = WIRE_READ_ONLY};
	int alice = connect_as(ALICE);
	struct packet_message reply;
	unsigned n = 0, n_granted = 0;
	size_t offset = 0;

	begin();
	for (uint32_t i = 0; i < WIRE_BATCH_MAX; i++)
		add(WIRE_ATTACH, i, &attach, sizeof(attach));
	double start = now_ms();
	send_packet(alice);
	ssize_t size = receive(alice);
	ck_assert(getenv("SHMD_WRAPPER") || now_ms() - start < 900);
	while (packet_next_reply(packet, (size_t)size, &offset, &reply) == 1) {
		ck_assert_uint_eq(reply.header.number, n++);
		n_granted += reply.header.code == WIRE_OK;
		ck_assert(reply.header.code == WIRE_OK || reply.header.code == WIRE_LIMIT);
	}
	ck_assert_uint_eq(n, WIRE_BATCH_MAX);
	ck_assert_uint_eq(n_granted, ATTACHES);
	close(alice);
}
END_TEST

START_TEST(a_wait_is_answered_when_there_is_room)
{
	struct shmd_segment *coming;
	int alice = wait_for("coming"), slow = come_and_leave_unread(ALICE);

	coming = create_for_all("coming");
	/* Longer than a request would be held. */
	ck_assert(!is_answered(alice, 1200));
	read_all(slow);
	ck_assert_int_gt(receive(alice), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	shmd_detach(coming);
	close(slow), close(alice);
}
END_TEST

START_TEST(a_wait_is_answered_when_others_have_gone)
{
	struct shmd_segment *coming;
	int alice = wait_for("coming"), again = wait_for("coming");
	int deaf = come_and_leave_unread(ALICE), bob = connect_as(BOB);
	struct wire_wait wait = {.name = "coming", .flags = WIRE_READ_ONLY};

	coming = create_for_all("coming");
	ck_assert(!is_answered(alice, 50));
	ck_assert(!is_answered(again, 50));
	begin();
	add(WIRE_WAIT, 3, &wait, sizeof(wait));
	send_packet(bob);
	ck_assert_int_gt(receive(bob), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	close(deaf);
	ck_assert_int_gt(receive(alice), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	ck_assert_int_gt(receive(again), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	shmd_detach(coming);
	close(alice), close(again), close(bob);
}
END_TEST

static uint64_t wake_ups(void)
{
	char path[64], line[128];
	uintmax_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)daemon_.pid);
	FILE *status = fopen(path, "r");
	ck_assert_ptr_nonnull(status);
	while (fgets(line, sizeof(line), status))
		sscanf(line, "voluntary_ctxt_switches: %ju", &n);
	fclose(status);
	return n;
}

/* The daemon looks less and less often whether somebody reads: each 200 ms at last, where each 2 ms would be
 * 250 times in a window. libevent goes by a coarse clock, which stands still for some milliseconds where the
 * machine is another's just then, and wakes for each of them: so one window must be quiet, not each. */
START_TEST(who_does_not_read_keeps_nobody_awake)
{
	int alice = wait_for("coming"), deaf = come_and_leave_unread(ALICE);
	struct shmd_segment *coming = create_for_all("coming");
	uint64_t least = UINT64_MAX;

	ck_assert(!is_answered(alice, 300));
	for (int i = 0; i < 10 && least >= 50; i++) {
		uint64_t before = wake_ups();
		ck_assert(!is_answered(alice, 500));
		uint64_t woken = wake_ups() - before;
		least = woken < least ? woken : least;
	}
	ck_assert_uint_lt(least, 50);
	close(deaf);
	ck_assert_int_gt(receive(alice), 0);
	shmd_detach(coming);
	close(alice);
}
END_TEST

/* The client fills its socket, is dropped, and keeps its end open: the kernel still counts what lies there,
 * and so does the daemon, until that end closes. */
START_TEST(what_the_dropped_left_unread_counts)
{
	int deaf = come_and_leave_unread(ALICE), alice = connect_as(ALICE);
	ssize_t n;

	begin();
	packet_begin(&writer, WIRE_STATUS, 3);
	packet_end(&writer, 0, 0);
	do
		n = send(deaf, packet, writer.size, MSG_NOSIGNAL);
	while (n > 0);
	ck_assert(daemon_logged(&daemon_, "leaves its replies unread"));
	ck_assert_uint_eq(unread(), ATTACHES);
	ask_to_attach(alice);
	ck_assert_int_gt(receive(alice), 0);
	ck_assert_uint_eq(code(), WIRE_LIMIT);
	read_all(deaf);
	close(deaf);
	AWAIT(unread() == 0);
	ask_to_attach(alice);
	ck_assert_int_gt(receive(alice), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	close(alice);
}
END_TEST

/* To connect takes nothing of it. */
START_TEST(a_limit_below_the_use_keeps_nobody_out)
{
	int slow = come_and_leave_unread(ALICE);

	lower_the_limit();
	int alice = connect_as(ALICE);
	read_all(slow);
	ask_to_attach(alice);
	ck_assert_int_gt(receive(alice), 0);
	ck_assert_uint_eq(code(), WIRE_OK);
	close(slow), close(alice);
}
END_TEST

START_TEST(a_daemon_may_end_with_all_of_it)
{
	int deaf = come_and_leave_unread(ALICE), held = connect_as(ALICE), wait = connect_as(ALICE);
	struct wire_wait request = {.name = "shown", .flags = WIRE_READ_ONLY};

	ask_to_attach(held);
	begin();
	add(WIRE_WAIT, 3, &request, sizeof(request));
	send_packet(wait);
	ck_assert(!is_answered(held, 20));
	shmd_detach(segment);
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
	close(deaf), close(held), close(wait);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("unread");
	TCase *tests = tcase_create("unread");
	TCase *end = tcase_create("end");

	if (geteuid() != 0) {
		puts("1..0 # SKIP only root can be several users");
		return 0;
	}
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_user_may_leave_so_many_and_no_more);
	tcase_add_test(tests, who_is_held_goes_on_when_others_have_read);
	tcase_add_test(tests, who_is_held_can_go);
	tcase_add_test(tests, only_some_are_held);
	tcase_add_test(tests, a_batch_does_not_wait_for_itself);
	tcase_add_test(tests, a_wait_is_answered_when_there_is_room);
	tcase_add_test(tests, a_wait_is_answered_when_others_have_gone);
	tcase_add_test(tests, who_does_not_read_keeps_nobody_awake);
	tcase_add_test(tests, a_limit_below_the_use_keeps_nobody_out);
	tcase_add_test(tests, what_the_dropped_left_unread_counts);
	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(end, set_up, NULL);
	tcase_set_timeout(end, 60);
	tcase_add_test(end, a_daemon_may_end_with_all_of_it);
	suite_add_tcase(suite, end);
	return run_suite(suite);
}

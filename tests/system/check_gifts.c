/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that clients send, and that nobody asked for: a TCP socket with data that nobody reads, which
 * its sender has told to linger for seconds, and has no copy of. Whoever closes it last waits for that; it
 * must not be whom another user waits for. On this kernel, and on one that cannot refuse them for us. Needs
 * root, to be several users.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/channel.h"
#include "wire/packet.h"

#define EVE 64541
#define BOB 64542

#define LINGER_S 3
#define AT_ONCE  1500.0 /* ms: what nobody has waited for a lingering socket in */
#define PER_USER 4

/* With these, a daemon has to do without what Linux 6.16 has. */
static const char *const kernels[] = {"", "passrights"};

static struct test_daemon daemon_;
static struct shmd *connection;
static struct shmd_segment *segment;
static char path[96]; /* where the daemon listens */
static int bob;
static bool is_slow; /* everything is, for instance under valgrind */
static uint64_t clients_at_first;
static unsigned descriptors_at_first;
static bool is_refused; /* the kernel refuses what nobody asks for */
static _Alignas(8) char packet[WIRE_PACKET_MAX];
static struct packet_writer writer;

/* --- clients ---------------------------------------------------------------------------------- */

static void write_request(unsigned op, const void *body, size_t size)
{
	packet_writer_init(&writer, packet, sizeof(packet));
	packet_begin(&writer, op, 1);
	void *p = packet_append(&writer, size);
	if (size > 0)
		memcpy(p, body, size);
	packet_end(&writer, 0, 0);
}

static void write_hello(void)
{
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 64};

	write_request(WIRE_HELLO, &hello, sizeof(hello));
}

static void write_attach(void)
{
	struct wire_attach attach = {.name = "shown", .flags = WIRE_READ_ONLY};

	write_request(WIRE_ATTACH, &attach, sizeof(attach));
}

static void send_packet(int fd)
{
	ck_assert_int_eq(channel_send(fd, packet, writer.size, NULL, 0), 0);
}

static ssize_t receive(int fd)
{
	int fds[WIRE_DESCRIPTORS_MAX], truncated;
	size_t n_fds;
	ssize_t n = channel_receive(fd, packet, sizeof(packet), fds, &n_fds, &truncated);

	while (n_fds > 0)
		close(fds[--n_fds]);
	return n;
}

/* A connection that was closed with something unread says so once, before its last word. */
static ssize_t receive_last(int fd)
{
	ssize_t n = receive(fd);

	return n == -ECONNRESET ? receive(fd) : n;
}

static void expect_ok(int fd)
{
	ck_assert_int_gt(receive(fd), 0);
	ck_assert_uint_eq(((const struct wire_header *)packet)->code, WIRE_OK);
}

/* The kernel tells the daemon the user that connected. */
static int connect_as(uid_t uid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	ck_assert_int_eq(seteuid(uid), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(seteuid(0), 0);
	return fd;
}

static int client_of(uid_t uid)
{
	int fd = connect_as(uid);

	write_hello();
	send_packet(fd);
	expect_ok(fd);
	return fd;
}

/* How long another user waits now. */
static double bob_waits(void)
{
	double before = now_ms();

	write_request(WIRE_STATUS, NULL, 0);
	send_packet(bob);
	expect_ok(bob);
	return now_ms() - before;
}

static uint64_t clients(void)
{
	struct shmd_status *status;
	uint64_t n = UINT64_MAX;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	for (size_t i = 0; i < status->n_limits; i++)
		if (strcmp(status->limits[i]->name, "clients") == 0)
			n = status->limits[i]->use;
	shmd_status_free(status);
	return n;
}

/* All is given back, and long before what was sent would have gone by itself. */
static void expect_all_given_back(double since)
{
	AWAIT(clients() == clients_at_first);
	AWAIT(count_descriptors(daemon_.pid) == descriptors_at_first);
	printf("# given back after %.1f ms\n", now_ms() - since);
	fflush(stdout);
	ck_assert(is_slow || now_ms() - since < AT_ONCE);
}

/* --- gifts ------------------------------------------------------------------------------------ */

/* Keeps the other ends, which read nothing. */
static int listen_on_loopback(struct sockaddr_in *ret)
{
	socklen_t size = sizeof(*ret);
	int small = 4096, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){.sin_family = AF_INET};
	ret->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)ret, size), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret, &size), 0);
	return fd;
}

static int lingering_socket(void)
{
	struct linger linger = {.l_onoff = 1, .l_linger = LINGER_S};
	struct sockaddr_in address;
	static const char bytes[65536];
	int listening = listen_on_loopback(&address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_ge(accept4(listening, NULL, NULL, SOCK_CLOEXEC), 0);
	close(listening);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	return fd;
}

/* What was written goes with the last reference, or it is refused, as it has to be. */
static void send_gift(int fd, size_t size)
{
	int gift = lingering_socket();
	int r = channel_send(fd, packet, size, &gift, 1);

	ck_assert_int_eq(r, is_refused ? -EPERM : 0);
	if (is_refused) {
		struct linger none = {.l_onoff = 0};
		setsockopt(gift, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	}
	close(gift);
}

/* While it is stopped, the daemon takes and closes nothing. */
static void signal_daemon(int signal)
{
	ck_assert_int_eq(kill(daemon_.pid, signal), 0);
}

/* The daemon sees it when it has the only one. */
static void give(int fd)
{
	signal_daemon(SIGSTOP);
	send_gift(fd, writer.size);
	signal_daemon(SIGCONT);
}

/* --- the daemon -------------------------------------------------------------------------------- */

static bool kernel_refuses(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int r = channel_refuse_descriptors(fd);

	close(fd);
	return r == 0;
}

static void use_kernel(int which)
{
	const char *before = getenv("SHMD_WRAPPER");
	char wrapper[1024];

	is_slow = before != NULL;
	is_refused = which == 0 && kernel_refuses();
	if (which == 0)
		return;
	snprintf(wrapper, sizeof(wrapper), "%s/tests/system/deny %s -- %s", getenv("top_builddir"),
		 kernels[which], before ? before : "");
	setenv("SHMD_WRAPPER", wrapper, 1);
}

static void meet(void)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	setenv("SHMD_SOCKET", path, 1);
	connection = connect_or_fail();
	options.mode = 0644;
	ck_assert_int_eq(shmd_create(connection, "shown", 4096, &options, &segment), 0);
	bob = client_of(BOB);
	bob_waits();
	clients_at_first = clients();
	descriptors_at_first = count_descriptors(daemon_.pid);
}

static void start(int which)
{
	char config[128];

	use_kernel(which);
	snprintf(config, sizeof(config),
		 "[daemon]\nunread_timeout = 300ms\n[limits]\nclients_per_user = %d\n", PER_USER);
	daemon_start(&daemon_, config);
	strcpy(path, daemon_.socket);
	meet();
}

static void stop(void)
{
	double before = now_ms();

	shmd_detach(segment);
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
	printf("# ended after %.1f ms\n", now_ms() - before);
	ck_assert(is_slow || now_ms() - before < AT_ONCE);
}

static void expect_bob_is_served(void)
{
	double waited = bob_waits();

	printf("# another user waited %.1f ms\n", waited);
	ck_assert_msg(waited < AT_ONCE, "another user waited %.1f ms", waited);
}

/* --- tests ------------------------------------------------------------------------------------ */

/* At each place where a packet is taken: before hello, and later. */
START_TEST(with_a_packet)
{
	start(_i);
	for (int greeted = 0; greeted < 2; greeted++) {
		int eve = greeted ? client_of(EVE) : connect_as(EVE);
		double before = now_ms();
		if (greeted)
			write_attach();
		else
			write_hello();
		give(eve);
		expect_bob_is_served();
		if (!is_refused) {
			ck_assert_int_gt(receive_last(eve), 0);
			ck_assert_int_eq(receive_last(eve), 0);
			ck_assert(daemon_logged(&daemon_, "descriptors that nobody asked for"));
		}
		close(eve);
		expect_all_given_back(before);
	}
	stop();
}
END_TEST

/* The kernel says of an empty packet that nothing is there, and of none what stands behind others. */
START_TEST(left_behind_by_one_that_goes)
{
	start(_i);
	for (unsigned before_it = 0; before_it < 3; before_it++) {
		int eve = client_of(EVE);
		double before = now_ms();
		signal_daemon(SIGSTOP);
		for (unsigned i = 0; i < before_it; i++)
			ck_assert_int_eq(channel_send(eve, packet, 0, NULL, 0), 0);
		send_gift(eve, 0);
		close(eve);
		signal_daemon(SIGCONT);
		expect_bob_is_served();
		expect_all_given_back(before);
	}
	stop();
}
END_TEST

/* It does not read, the daemon therefore takes nothing more, and drops it in the end. Its end is closed before
 * or after that. */
START_TEST(left_behind_by_one_that_is_dropped)
{
	double longest = 0;

	start(_i);
	int eve = client_of(EVE);
	write_request(WIRE_STATUS, NULL, 0);
	for (int i = 0; i < 150; i++)
		send_packet(eve);
	for (int i = 0; i < 3; i++)
		give(eve);
	double before = now_ms();
	while (!daemon_logged(&daemon_, "leaves its replies unread")) {
		double waited = bob_waits();
		longest = waited > longest ? waited : longest;
		ck_assert(now_ms() - before < 10000);
	}
	double dropped = now_ms();
	expect_bob_is_served();
	ck_assert(longest < AT_ONCE);
	close(eve);
	expect_all_given_back(dropped);
	stop();
}
END_TEST

/* More than the limit lets in, all of which have something with them before they are looked at. */
START_TEST(brought_by_those_who_are_refused)
{
	enum { MANY = 100 };
	int eve[MANY];

	start(_i);
	int many = is_slow ? MANY / 10 : MANY;
	signal_daemon(SIGSTOP);
	for (int i = 0; i < many; i++) {
		eve[i] = connect_as(EVE);
		write_hello();
		send_gift(eve[i], writer.size);
	}
	signal_daemon(SIGCONT);
	double before = now_ms();
	int another = client_of(BOB);
	ck_assert_msg(now_ms() - before < AT_ONCE, "another user waited %.1f ms",
		      now_ms() - before);
	close(another);
	expect_bob_is_served();
	for (int i = 0; i < many; i++)
		close(eve[i]);
	expect_all_given_back(before);
	stop();
}
END_TEST

/* In clients' sockets, in those that nobody has accepted, and on its way out. */
START_TEST(while_the_daemon_ends)
{
	siginfo_t end;

	start(_i);
	int eve = client_of(EVE), left = client_of(EVE);
	write_attach();
	signal_daemon(SIGSTOP);
	send_gift(eve, writer.size);
	send_gift(left, writer.size);
	close(left);
	int late = connect_as(EVE);
	send_gift(late, writer.size);
	double before = now_ms();
	signal_daemon(SIGTERM);
	signal_daemon(SIGCONT);
	ck_assert_int_eq(waitid(P_PID, (id_t)daemon_.pid, &end, WEXITED | WNOWAIT), 0);
	ck_assert_msg(now_ms() - before < AT_ONCE, "it ended after %.1f ms", now_ms() - before);
	stop();
	close(eve), close(late);
}
END_TEST

/* --- a socket that somebody else has made ------------------------------------------------------ */

#ifdef HAVE_LIBSYSTEMD
static int handed_over;

static void hand_over(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	/* The pipe that tells when it is ready may be there. */
	if (dup2(handed_over, 3) < 0)
		_exit(125);
}

static void listen_on(const char *where)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, where);
	handed_over = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(handed_over, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(where, 0666), 0);
	ck_assert_int_eq(listen(handed_over, 10), 0);
}

/* Who connects before the daemon has told the kernel is not refused on any kernel. */
START_TEST(brought_before_the_daemon_was_there)
{
	char folder[] = "/tmp/shmd-gifts-XXXXXX";
	bool is_refused_later;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chmod(folder, 0755), 0);
	snprintf(path, sizeof(path), "%s/s", folder);
	int spare = open("/dev/null", O_RDONLY | O_CLOEXEC); /* 3 or so, for what is put there */
	listen_on(path);
	int early = connect_as(EVE), later = connect_as(EVE);
	use_kernel(_i);
	is_refused_later = is_refused;
	is_refused = false;
	write_hello();
	send_gift(early, writer.size);
	daemon_prepare = hand_over;
	daemon_start(&daemon_, NULL);
	double before = now_ms();
	meet();
	ck_assert_msg(now_ms() - before < AT_ONCE, "others waited %.1f ms", now_ms() - before);
	write_hello();
	give(later);
	expect_bob_is_served();
	is_refused = is_refused_later;
	int last = connect_as(EVE);
	give(last);
	expect_bob_is_served();
	stop();
	close(early), close(later), close(last), close(spare);
	unlink(path);
	rmdir(folder);
}
END_TEST
#endif

int main(void)
{
	Suite *suite = suite_create("gifts");
	TCase *tests = tcase_create("gifts");
	int last = sizeof(kernels) / sizeof(kernels[0]);

	if (geteuid() != 0) {
		puts("1..0 # SKIP only root can be several users");
		return 0;
	}
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, with_a_packet, 0, last);
	tcase_add_loop_test(tests, left_behind_by_one_that_goes, 0, last);
	tcase_add_loop_test(tests, left_behind_by_one_that_is_dropped, 0, last);
	tcase_add_loop_test(tests, brought_by_those_who_are_refused, 0, last);
	tcase_add_loop_test(tests, while_the_daemon_ends, 0, last);
#ifdef HAVE_LIBSYSTEMD
	tcase_add_loop_test(tests, brought_before_the_daemon_was_there, 0, last);
#endif
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

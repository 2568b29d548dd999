/* SPDX-License-Identifier: MIT */
/*
 * What can be done with a socket: descriptors that nobody asked for, replies that nobody reads, halves
 * that are closed, a connection in another user's hands, and packets that break the rules.
 */
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile_raw.h"
#include "wire/channel.h"

/* --- descriptors that come along --------------------------------------------------------------- */

#define GIFTS 253 /* the kernel takes no more at a time */

/* Sends the packet that was written. Returns whether it was taken. */
static bool send_gifts(int fd, const int *gifts, unsigned n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(GIFTS * sizeof(int))] = {0};
	struct iovec bytes = {raw_packet, raw_writer.size};
	struct msghdr message = {.msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *first = CMSG_FIRSTHDR(&message);

	first->cmsg_level = SOL_SOCKET;
	first->cmsg_type = SCM_RIGHTS;
	first->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(first), gifts, n * sizeof(int));
	return sendmsg(fd, &message, MSG_NOSIGNAL) > 0;
}

/* The same to the daemon, for which the kernel refuses them from Linux 6.16 on. */
static bool bring(int fd, const int *gifts, unsigned n)
{
	if (send_gifts(fd, gifts, n))
		return true;
	if (errno == EPERM)
		got_refused("EPERM: descriptors that nobody asked for");
	return false;
}

static void write_hello(void)
{
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 64};

	raw_begin();
	raw_add(WIRE_HELLO, &hello, sizeof(hello));
}

static void close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

/* A memfd with pages to free, the ends of a pipe with data in it, a file's place alone, a socket that
 * lingers. */
static unsigned make_gifts(int ret[static 8])
{
	struct linger linger = {.l_onoff = 1, .l_linger = 60};
	unsigned n = 0;

	ret[n] = memfd_create("gift", MFD_CLOEXEC);
	if (fallocate(ret[n++], 0, 0, 4 << 20) < 0 || pipe(&ret[n]) < 0)
		_exit(1);
	n += 2;
	if (write(ret[n - 1], raw_packet, 4096) < 0)
		_exit(1);
	ret[n++] = open("/dev/shm", O_PATH | O_CLOEXEC);
	ret[n] = socket(AF_INET, SOCK_STREAM, 0);
	if (ret[n] >= 0)
		setsockopt(ret[n++], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	return n;
}

/* 253 of them, with the first word. The last descriptors of each are in the packet alone. */
static void bring_gifts(const struct hostile *self)
{
	int kinds[8], gifts[GIFTS];
	unsigned n = make_gifts(kinds);
	int fd = raw_connect();

	(void)self;
	for (unsigned i = 0; i < GIFTS; i++)
		gifts[i] = kinds[i % n];
	write_hello();
	if (fd >= 0 && bring(fd, gifts, GIFTS)) {
		close_all(kinds, n);
		while (raw_receive(fd) > 0)
			;
	} else {
		close_all(kinds, n);
	}
	close(fd);
}

/* Sockets in whose queues lie sockets in whose queues lie sockets... down to the connection itself. */
static void bring_nested_gifts(const struct hostile *self)
{
	int fd = raw_connect(), inner = dup(fd), pair[2];

	(void)self;
	write_hello();
	for (int i = 0; i < 4; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
			break;
		for (int j = 0; j < 8; j++)
			send_gifts(pair[0], &inner, 1);
		close(inner);
		close(pair[0]);
		inner = pair[1];
	}
	if (bring(fd, &inner, 1))
		while (raw_receive(fd) > 0)
			;
	close(inner);
	close(fd);
}

/* Control data that holds nothing, or who we are. */
static void bring_credentials(const struct hostile *self)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))] = {0};
	struct ucred who = {getpid(), getuid(), getgid()};
	struct wire_page page = {0};
	static unsigned n;

	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	raw_add(WIRE_LIST, &page, sizeof(page));
	struct iovec bytes = {raw_packet, raw_writer.size};
	struct msghdr message = {.msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *first = CMSG_FIRSTHDR(&message);
	bool forges = n % 3 == 2;
	first->cmsg_level = SOL_SOCKET;
	first->cmsg_type = n++ % 3 ? SCM_CREDENTIALS : SCM_RIGHTS;
	first->cmsg_len = CMSG_LEN(first->cmsg_type == SCM_RIGHTS ? 0 : sizeof(who));
	who.uid = forges ? 0 : who.uid;
	memcpy(CMSG_DATA(first), &who, first->cmsg_len - CMSG_LEN(0));
	if (sendmsg(raw_fd, &message, MSG_NOSIGNAL) > 0) {
		if (forges)
			breach("forged credentials were sent");
		if (raw_receive(raw_fd) == 0)
			raw_end();
	} else if (!forges) {
		raw_end();
	}
}

/* --- replies that nobody reads ----------------------------------------------------------------- */

#define DESCRIPTORS_FEW 256

static void few_descriptors(void)
{
	struct rlimit few = {DESCRIPTORS_FEW, DESCRIPTORS_FEW};

	if (setrlimit(RLIMIT_NOFILE, &few) < 0)
		_exit(125);
}

static void add_attaches(uint64_t id)
{
	struct wire_attach attach = {.id = id, .flags = WIRE_WANT_SEMAPHORE};

	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++)
		raw_add(WIRE_ATTACH, &attach, sizeof(attach));
}

/* A segment of its own; 0 if it got none. */
static uint64_t own_segment(int fd)
{
	struct wire_create create = raw_creation("");
	const struct wire_segment *segment;

	create.permits = 3;
	raw_begin();
	raw_add(WIRE_CREATE, &create, sizeof(create));
	if (!raw_send(fd))
		return 0;
	ssize_t size = raw_receive(fd);
	segment = size > 0 ? raw_body(size, 0) : NULL;
	return segment ? segment->id : 0;
}

/* Each packet asks for 192 descriptors. */
static void fill_with_descriptors(int fd)
{
	uint64_t id = own_segment(fd);

	if (id == 0)
		return;
	add_attaches(id);
	while (!is_over() && raw_send_now(fd))
		;
}

static bool has_hung_up(int fd)
{
	struct pollfd end = {.fd = fd};

	return poll(&end, 1, 0) == 1;
}

/* Asks, does not read, and is there until it is sent away. Then it comes again. */
static void never_read(const struct hostile *self)
{
	int fd = raw_client();

	(void)self;
	if (fd < 0)
		return;
	fill_with_descriptors(fd);
	while (!has_hung_up(fd) && !is_over())
		usleep(1000);
	got(GOT_ENDED);
	close(fd);
}

/* The same on many connections, none of which it waits for. */
static void never_read_on_many(const struct hostile *self)
{
	static int fds[40];
	static unsigned n;
	int *fd = &fds[n++ % 40];

	(void)self;
	if (*fd > 0 && !has_hung_up(*fd)) {
		usleep(200);
		return;
	}
	if (*fd > 0) {
		got(GOT_ENDED);
		close(*fd);
	}
	*fd = raw_client();
	if (*fd >= 0)
		fill_with_descriptors(*fd);
}

/* Fills its socket, and then takes one packet at a time, with pauses. */
static void read_slowly(const struct hostile *self)
{
	static uint64_t id;

	(void)self;
	if (!raw_ready())
		return;
	if (id == 0)
		id = own_segment(raw_fd);
	for (bool sent = true; sent && !is_over();) {
		add_attaches(id);
		sent = raw_send_now(raw_fd);
	}
	/* A second is long for a test. */
	usleep(getenv("SHMD_TEST_LARGE") ? 500000 : 20000);
	if (raw_receive(raw_fd) == 0) {
		raw_end();
		id = 0;
	}
}

/* What is only looked at stays in the queue, and gives its descriptors each time. */
static void peek(const struct hostile *self)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(WIRE_DESCRIPTORS_MAX * sizeof(int))];
	static uint64_t id;

	(void)self;
	if (!raw_ready())
		return;
	if (id == 0)
		id = own_segment(raw_fd);
	add_attaches(id);
	raw_send_now(raw_fd);
	for (int i = 0; i < 8; i++) {
		struct iovec bytes = {raw_packet, sizeof(raw_packet)};
		struct msghdr message = {.msg_iov = &bytes,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof(control)};
		if (recvmsg(raw_fd, &message, MSG_PEEK | MSG_CMSG_CLOEXEC) <= 0)
			break;
		struct cmsghdr *first = CMSG_FIRSTHDR(&message);
		if (first && first->cmsg_type == SCM_RIGHTS)
			close_all((int *)(void *)CMSG_DATA(first),
				  (unsigned)((first->cmsg_len - CMSG_LEN(0)) / sizeof(int)));
	}
	if (raw_receive(raw_fd) == 0) {
		raw_end();
		id = 0;
	}
}

/* --- halves ----------------------------------------------------------------------------------- */

static void shut_halves(const struct hostile *self)
{
	static const int halves[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
	struct wire_create create = raw_creation("");
	static unsigned n;
	int fd = raw_client();

	(void)self;
	if (fd < 0)
		return;
	raw_begin();
	for (unsigned i = 0; i < 8; i++)
		raw_add(WIRE_CREATE, &create, sizeof(create));
	/* Before what is asked for, or behind it. */
	if (n % 2)
		shutdown(fd, halves[n / 2 % 3]);
	raw_send(fd);
	shutdown(fd, halves[n / 2 % 3]);
	n++;
	while (raw_receive(fd) > 0)
		;
	close(fd);
}

/* --- a connection in another user's hands ------------------------------------------------------ */

static int mail[2];

static void open_mail(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, mail), 0);
}

/* Those of even index connect, and those of odd index, of the next uid, speak. */
static void hand_over(void)
{
	int fd = raw_client();

	if (fd >= 0) {
		write_hello();
		send_gifts(mail[0], &fd, 1);
	}
	close(fd);
}

static int receive_connection(void)
{
	int fds[WIRE_DESCRIPTORS_MAX], truncated;
	size_t n = 0;

	if (channel_receive(mail[1], raw_packet, sizeof(raw_packet), fds, &n, &truncated) <= 0)
		return -1;
	return n == 1 ? fds[0] : -1;
}

static const struct wire_segment *create_by(int fd, uid_t uid)
{
	char name[32];

	snprintf(name, sizeof(name), "%u.handed-over", uid);
	struct wire_create create = raw_creation(name);
	create.flags = WIRE_OPEN_EXISTING;
	raw_begin();
	raw_add(WIRE_CREATE, &create, sizeof(create));
	if (!raw_send(fd))
		return NULL;
	ssize_t size = raw_receive(fd);
	return size > 0 ? raw_body(size, 0) : NULL;
}

/* What is asked through it counts as its connector's, in rights and in limits. */
static void speak_for_another(const struct hostile *self)
{
	if (self->index % 2 == 0) {
		hand_over();
		return;
	}
	int fd = receive_connection();
	if (fd < 0)
		return;
	if (create_by(fd, self->uid))
		breach("uid %u made a name of its own on another's connection", self->uid);
	const struct wire_segment *segment = create_by(fd, self->uid - 1);
	if (segment && segment->uid != self->uid - 1)
		breach("a segment of uid %u's connection has uid %u", self->uid - 1, segment->uid);
	close(fd);
}

/* --- packets that break the rules --------------------------------------------------------------- */

/* Makes a good packet a bad one. */
typedef void spoil_fn(void);

static struct wire_header *header_of_packet(void)
{
	return (struct wire_header *)raw_packet;
}

static struct wire_create *creation_of_packet(void)
{
	return (struct wire_create *)(raw_packet + sizeof(struct wire_header));
}

static void cut_in_header(void)
{
	raw_writer.size = 8;
}

static void cut_in_body(void)
{
	raw_writer.size -= 8;
}

static void add_bytes(void)
{
	raw_writer.size += 16;
}

static void make_too_long(void)
{
	memset(raw_packet + raw_writer.size, 0, WIRE_PACKET_MAX + 1 - raw_writer.size);
	raw_writer.size = WIRE_PACKET_MAX + 1;
}

static void make_empty(void)
{
	raw_writer.size = 0;
}

static void set_size_0(void)
{
	header_of_packet()->size = 0;
}

static void set_size_large(void)
{
	header_of_packet()->size = UINT32_MAX - 7;
}

static void set_odd_size(void)
{
	header_of_packet()->size -= 4;
}

static void set_operation_0(void)
{
	header_of_packet()->op = 0;
}

static void set_operation_unknown(void)
{
	header_of_packet()->op = WIRE_OPS;
}

static void set_code(void)
{
	header_of_packet()->code = WIRE_LIMIT;
}

static void set_descriptors(void)
{
	header_of_packet()->descriptors = 1;
}

static void set_heir(void)
{
	creation_of_packet()->heir = UINT32_MAX;
}

static void set_flags(void)
{
	creation_of_packet()->flags = UINT32_MAX;
}

static void set_mode(void)
{
	creation_of_packet()->mode = 06777;
}

static void set_lifetime(void)
{
	creation_of_packet()->lifetime = WIRE_LIFETIMES;
}

static void leave_name_open(void)
{
	memset(creation_of_packet()->name, 'x', WIRE_NAME_SIZE);
}

static void greet_again(void)
{
	write_hello();
}

static void ask_for_65(void)
{
	struct wire_detach detach = {.id = 1};

	raw_begin();
	for (unsigned i = 0; i <= WIRE_BATCH_MAX; i++)
		raw_add(WIRE_DETACH, &detach, sizeof(detach));
}

static void batch_a_list(void)
{
	struct wire_page page = {0};

	raw_add(WIRE_LIST, &page, sizeof(page));
}

static void make_noise(void)
{
	for (size_t i = 0; i < raw_writer.size; i++)
		raw_packet[i] = (char)random();
}

static spoil_fn *const spoils[] = {
	cut_in_header, cut_in_body,     add_bytes,    make_too_long,   make_empty,
	set_size_0,    set_size_large,  set_odd_size, set_operation_0, set_operation_unknown,
	set_code,      set_descriptors, set_heir,     set_flags,       set_mode,
	set_lifetime,  leave_name_open, greet_again,  ask_for_65,      batch_a_list,
	make_noise,
};

static void be_malformed(const struct hostile *self)
{
	struct wire_create create = raw_creation("malformed");
	static unsigned n;
	int fd = raw_client();

	(void)self;
	if (fd < 0)
		return;
	raw_begin();
	raw_add(WIRE_CREATE, &create, sizeof(create));
	spoils[n++ % (sizeof(spoils) / sizeof(spoils[0]))]();
	send(fd, raw_packet, raw_writer.size, MSG_NOSIGNAL);
	while (raw_receive(fd) > 0)
		;
	close(fd);
}

static const struct behaviour rows[] = {
	{.name = "253 descriptors with a packet",
	 .act = bring_gifts,
	 .processes = 4,
	 .users = 2,
	 .must = REFUSED,
	 .never = ACCEPTED,
	 .says = "descriptors that nobody asked for"},
	{.name = "sockets nested in sockets with a packet",
	 .act = bring_nested_gifts,
	 .processes = 4,
	 .users = 2,
	 .must = REFUSED,
	 .never = ACCEPTED,
	 .says = "descriptors that nobody asked for"},
	{.name = "control data and credentials",
	 .act = bring_credentials,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "never reading, few descriptors, one user",
	 .act = never_read,
	 .processes = 4,
	 .users = 1,
	 .prepare = few_descriptors,
	 .must = ACCEPTED},
	{.name = "never reading, few descriptors, 4 users",
	 .act = never_read,
	 .processes = 4,
	 .users = 4,
	 .prepare = few_descriptors,
	 .must = ACCEPTED},
	{.name = "never reading, and coming again",
	 .act = never_read,
	 .processes = 4,
	 .users = 4,
	 .config = "[daemon]\nunread_timeout = 20ms\n",
	 .prepare = few_descriptors,
	 .must = ACCEPTED | ENDED},
	{.name = "never reading on 160 connections",
	 .act = never_read_on_many,
	 .processes = 4,
	 .users = 4,
	 .config = "[daemon]\nunread_timeout = 100ms\n",
	 .must = ACCEPTED},
	{.name = "reading slowly",
	 .act = read_slowly,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED},
	{.name = "looking at replies and leaving them",
	 .act = peek,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "half of a connection shut",
	 .act = shut_halves,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED | ENDED},
	{.name = "a connection handed to another user",
	 .act = speak_for_another,
	 .processes = 4,
	 .users = 4,
	 .set_up = open_mail,
	 .must = ACCEPTED | REFUSED,
	 .says = "its number reserves it"},
	{.name = "malformed packets of every kind",
	 .act = be_malformed,
	 .processes = 4,
	 .users = 2,
	 .must = REFUSED | ENDED,
	 .never = ACCEPTED,
	 .says = "malformed message"},
};

const struct behaviours hostile_sockets = BEHAVIOURS(rows);

/* SPDX-License-Identifier: MIT */
/*
 * What a user learns of another user's segments who may not even read them, and what they can do to
 * them: through the socket, in /dev/shm, and in /proc. shmd(8) says what remains, under WHAT OTHERS
 * CAN SEE. Needs root, to become them; the daemon has a user of its own.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "wire/protocol.h"

/* Linux 5.6 and 5.10; the headers of Debian 11 do not have them. */
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

/* Users of nobody's, who need no entry in /etc/passwd. */
#define DAEMON_UID   64501
#define VICTIM_UID   64502
#define STRANGER_UID 64504

/* The stranger knows one name. Of all else it knows nothing, and is not to learn it. */
#define KNOWN     "known"
#define SECRET    "unguessable-7f3a"
#define PUBLISHED "unguessable-5c1e"
#define AWAITED   "unguessable-9b2d"
#define FLEETING  "unguessable-04d8"
#define COMMAND   "exposed-victim"
#define CONTENT   "the victim's own words"
#define SIZE      54321

static struct test_daemon daemon_;
static struct shmd *connection; /* root's */
static pid_t victim_pid;

static void set_up(void)
{
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	connection = connect_or_fail();
}

static void tear_down(void)
{
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static void become(uid_t uid)
{
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setresgid(uid, uid, uid), 0);
	ck_assert_int_eq(setresuid(uid, uid, uid), 0);
	/* As it is of a program that was executed by that user; and root's test is to end it. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	ck_assert_int_eq(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
}

/* --- the victim ------------------------------------------------------------------------------- */

static void must_not_come(int result, struct shmd_segment *segment, void *context)
{
	(void)segment, (void)context;
	ck_abort_msg("the wait was answered: %d", result);
}

static void ignore_event(const struct shmd_event *event, void *context)
{
	(void)event, (void)context;
}

static struct shmd_segment *make(struct shmd *mine, const char *name)
{
	struct shmd_segment *segment = create_or_fail(mine, name, SIZE, SHMD_LIFETIME_CLIENTS);

	strcpy(shmd_segment_data(segment), CONTENT);
	return segment;
}

/* What others could be told of while it happens. */
static void bustle(struct shmd *mine)
{
	struct shmd_segment *segment = make(mine, FLEETING);

	shmd_detach(attach_or_fail(mine, FLEETING, SHMD_READ_ONLY));
	ck_assert_int_eq(shmd_unlink(mine, FLEETING), 0);
	shmd_detach(segment);
	segment = make(mine, NULL);
	ck_assert_int_eq(shmd_publish(segment, PUBLISHED, 0), 0);
	shmd_detach(segment);
	shmd_detach(attach_or_fail(mine, KNOWN, 0));
}

static void victim(struct actor *self, void *context)
{
	struct shmd_segment *known, *secret, *anonymous, *published;

	(void)context;
	become(VICTIM_UID);
	ck_assert_int_eq(prctl(PR_SET_NAME, COMMAND), 0);
	struct shmd *mine = connect_or_fail();
	ck_assert_int_gt(shmd_subscribe(mine, NULL, ignore_event, NULL), 0);
	ck_assert_int_gt(shmd_wait_start(mine, AWAITED, 0, 0, must_not_come, NULL), 0);
	known = make(mine, KNOWN);
	secret = make(mine, SECRET);
	anonymous = make(mine, NULL);
	published = make(mine, NULL);
	ck_assert_int_eq(shmd_publish(published, PUBLISHED, 0), 0);
	ck_assert_int_eq(shmd_acquire(known, 0), 0);
	actor_tell(self);
	actor_await(self);
	bustle(mine);
	actor_tell(self);
	actor_await(self);
	ck_assert_int_ge(shmd_dispatch(mine), 0);
	ck_assert_str_eq(shmd_segment_data(known), CONTENT);
	ck_assert_str_eq(shmd_segment_data(secret), CONTENT);
	ck_assert_str_eq(shmd_segment_data(anonymous), CONTENT);
	ck_assert_str_eq(shmd_segment_data(published), CONTENT);
	ck_assert_int_eq(shmd_acquire(known, 0), -EAGAIN);
	ck_assert_int_eq(shmd_release(known), 0);
	shmd_disconnect(mine);
}

/* --- its segments, as root sees them ---------------------------------------------------------- */

#define TARGETS_MAX 8

struct target {
	uint64_t id;
	uint64_t size;
	mode_t mode;
	uid_t uid;
	unsigned clients;
	char semaphore[64];
	struct stat st; /* of the semaphore's file */
	char list[256]; /* its access control list, as it is stored */
	ssize_t list_size;
};

static struct target targets[TARGETS_MAX];
static int n_targets;

static const char *path_of(const char *semaphore)
{
	static char path[96];

	snprintf(path, sizeof(path), "/dev/shm/sem.%s", semaphore);
	return path;
}

static int take_target(const struct shmd_segment_info *info, void *context)
{
	struct target *target = &((struct target *)context)[n_targets++];
	char path[96];

	ck_assert_int_le(n_targets, TARGETS_MAX);
	memset(target, 0, sizeof(*target));
	target->id = info->id;
	target->size = info->size;
	target->mode = info->mode;
	target->uid = info->uid;
	target->clients = info->clients;
	snprintf(target->semaphore, sizeof(target->semaphore), "%s", info->semaphore);
	snprintf(path, sizeof(path), "%s", path_of(target->semaphore));
	ck_assert_int_eq(lstat(path, &target->st), 0);
	target->list_size = getxattr(path, "system.posix_acl_access", target->list,
				     sizeof(target->list));
	return 0;
}

static void look_at_all(struct target *ret)
{
	n_targets = 0;
	ck_assert_int_eq(shmd_list(connection, NULL, take_target, ret), 0);
}

static void check_unchanged(void)
{
	struct target now[TARGETS_MAX];
	int before = n_targets;

	look_at_all(now);
	ck_assert_int_eq(n_targets, before);
	for (int i = 0; i < n_targets; i++) {
		const struct target *a = &targets[i], *b = &now[i];
		ck_assert_uint_eq(a->id, b->id);
		ck_assert_uint_eq(a->size, b->size);
		ck_assert_uint_eq(a->mode, b->mode);
		ck_assert_uint_eq(a->uid, b->uid);
		ck_assert_uint_eq(a->clients, b->clients);
		ck_assert_str_eq(a->semaphore, b->semaphore);
		ck_assert_uint_eq(a->st.st_ino, b->st.st_ino);
		ck_assert_uint_eq(a->st.st_mode, b->st.st_mode);
		ck_assert_uint_eq(a->st.st_uid, b->st.st_uid);
		ck_assert_uint_eq(a->st.st_gid, b->st.st_gid);
		ck_assert_uint_eq(a->st.st_nlink, b->st.st_nlink);
		ck_assert_int_eq(a->st.st_size, b->st.st_size);
		ck_assert_int_eq(a->list_size, b->list_size);
		ck_assert_mem_eq(a->list, b->list, sizeof(a->list));
	}
}

/* --- what must not be told -------------------------------------------------------------------- */

static struct secret {
	char bytes[64];
	size_t size;
	bool of_process; /* the kernel shows it of every process */
	bool is_small;   /* a number that may stand in sums by chance */
} secrets[48];
static int n_secrets;
static int n_before; /* so many stand before those of the segments */

static struct secret *add_secret(const void *bytes, size_t size)
{
	struct secret *secret = &secrets[n_secrets++];

	ck_assert_uint_le((size_t)n_secrets, sizeof(secrets) / sizeof(secrets[0]));
	ck_assert_uint_le(size, sizeof(secret->bytes));
	*secret = (struct secret){.size = size};
	memcpy(secret->bytes, bytes, size);
	return secret;
}

static struct secret *add_text(const char *text)
{
	return add_secret(text, strlen(text));
}

static void collect_secrets(void)
{
	uint64_t size = SIZE;
	uint32_t uid = VICTIM_UID, pid = (uint32_t)victim_pid;
	char digits[32];

	n_secrets = 0;
	/* What the four names that it does not know have in common. */
	add_text("unguessable");
	add_text(CONTENT);
	add_text(COMMAND)->of_process = true;
	snprintf(digits, sizeof(digits), "%u", uid);
	add_text(digits)->of_process = true;
	add_secret(&uid, sizeof(uid))->of_process = true;
	struct secret *number = add_secret(&pid, sizeof(pid));
	number->of_process = number->is_small = true;
	add_secret(&size, sizeof(size))->is_small = true;
	n_before = n_secrets;
	for (int i = 0; i < n_targets; i++) {
		add_secret(&targets[i].id, sizeof(targets[i].id));
		add_text(targets[i].semaphore);
	}
}

enum where { IN_A_REPLY, IN_SUMS, IN_PROC };

static void check_tells_nothing(const void *bytes, size_t size, enum where where, const char *what)
{
	for (int i = 0; i < n_secrets; i++) {
		const struct secret *secret = &secrets[i];
		if ((where == IN_PROC && (secret->of_process || secret->is_small)) ||
		    (where == IN_SUMS && secret->is_small))
			continue;
		ck_assert_msg(memmem(bytes, size, secret->bytes, secret->size) == NULL,
			      "%s tells secret %d, %.*s", what, i, (int)secret->size,
			      secret->bytes);
	}
}

/* --- the socket ------------------------------------------------------------------------------- */

/* Where a request has what; -1: it has none. */
static const struct form {
	size_t size;
	int id, flags, name;
} forms[WIRE_OPS] = {
	[WIRE_HELLO] = {sizeof(struct wire_hello), -1, -1, -1},
	[WIRE_CREATE] = {sizeof(struct wire_create), -1, offsetof(struct wire_create, flags),
			 offsetof(struct wire_create, name)},
	[WIRE_ATTACH] = {sizeof(struct wire_attach), 0, offsetof(struct wire_attach, flags),
			 offsetof(struct wire_attach, name)},
	[WIRE_DETACH] = {sizeof(struct wire_detach), 0, offsetof(struct wire_detach, flags), -1},
	[WIRE_UNLINK] = {sizeof(struct wire_unlink), 0, -1, offsetof(struct wire_unlink, name)},
	[WIRE_STATUS] = {0, -1, -1, -1},
	[WIRE_LIST] = {sizeof(struct wire_page), -1, -1, -1},
	[WIRE_SHOW] = {sizeof(struct wire_show), -1, -1, offsetof(struct wire_show, name)},
	[WIRE_CLIENTS] = {sizeof(struct wire_page), -1, -1, -1},
	[WIRE_HOLDERS] = {sizeof(struct wire_show), -1, -1, offsetof(struct wire_show, name)},
	[WIRE_KEEP] = {sizeof(struct wire_keep), 0, -1, -1},
	[WIRE_PUBLISH] = {sizeof(struct wire_publish), 0, offsetof(struct wire_publish, flags),
			  offsetof(struct wire_publish, name)},
	[WIRE_WAIT] = {sizeof(struct wire_wait), -1, offsetof(struct wire_wait, flags),
		       offsetof(struct wire_wait, name)},
	[WIRE_SUBSCRIBE] = {sizeof(struct wire_subscribe), -1, -1, 0},
	[WIRE_CANCEL] = {sizeof(struct wire_cancel), -1, 0, -1},
	[WIRE_EXPLAIN] = {sizeof(struct wire_explain), -1, 0, offsetof(struct wire_explain, name)},
};

/* Above all numbers that the victim may have used. */
#define FIRST_NUMBER 1000000

struct line {
	int fd;
	uint32_t number;
	char packet[WIRE_PACKET_MAX];
	size_t size;
};

/* Whatever comes is looked through, descriptors are counted, and discarded. */
static const struct wire_header *receive(struct line *line, unsigned *ret_descriptors)
{
	char control[CMSG_SPACE(sizeof(int) * WIRE_DESCRIPTORS_MAX)];
	struct iovec bytes = {line->packet, sizeof(line->packet)};
	struct msghdr message = {.msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(line->fd, &message, MSG_CMSG_CLOEXEC);
	const struct wire_header *header = (const struct wire_header *)line->packet;
	const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	ck_assert_int_ge(n, (ssize_t)sizeof(*header));
	line->size = (size_t)n;
	*ret_descriptors = 0;
	for (; cmsg && (*ret_descriptors + 1) * sizeof(int) <= cmsg->cmsg_len - CMSG_LEN(0);
	     ++*ret_descriptors)
		close(((const int *)CMSG_DATA(cmsg))[*ret_descriptors]);
	check_tells_nothing(line->packet, line->size, header->op == WIRE_STATUS ? IN_SUMS : 0,
			    "a packet");
	return header;
}

static const void *body_of(const struct line *line)
{
	return line->packet + sizeof(struct wire_header);
}

/* Sends a request and returns the code of its reply, which stays in the line's packet. */
static unsigned exchange(struct line *line, enum wire_op op, const void *body)
{
	char packet[1024];
	struct wire_header header = {(uint32_t)(sizeof(header) + forms[op].size), (uint16_t)op, 0,
				     ++line->number, 0};
	const struct wire_header *reply;
	unsigned descriptors;

	memcpy(packet, &header, sizeof(header));
	memcpy(packet + sizeof(header), body, forms[op].size);
	ck_assert_int_eq(send(line->fd, packet, header.size, 0), header.size);
	do
		reply = receive(line, &descriptors);
	while (reply->number != line->number);
	if (reply->code != WIRE_OK)
		ck_assert_uint_eq(descriptors, 0);
	return reply->code;
}

static unsigned ask(struct line *line, enum wire_op op, uint64_t id, uint32_t flags,
		    const char *name)
{
	union {
		char bytes[512];
		struct wire_create create;
		struct wire_hello hello;
	} body = {0};
	const struct form *form = &forms[op];

	if (op == WIRE_HELLO)
		body.hello = (struct wire_hello){.version = WIRE_VERSION,
						 .word_bits = 8 * sizeof(void *)};
	if (op == WIRE_CREATE)
		body.create = (struct wire_create){.size = 1, .mode = 0600, .permits = 1};
	if (form->id >= 0)
		memcpy(body.bytes + form->id, &id, sizeof(id));
	if (form->flags >= 0)
		memcpy(body.bytes + form->flags, &flags, sizeof(flags));
	if (form->name >= 0 && name)
		strcpy(body.bytes + form->name, name);
	return exchange(line, op, body.bytes);
}

static void open_line(struct line *line)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*line = (struct line){.number = FIRST_NUMBER};
	line->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon_.socket);
	ck_assert_int_eq(connect(line->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_uint_eq(ask(line, WIRE_HELLO, 0, 0, NULL), WIRE_OK);
}

enum whose { NOBODYS, THE_VICTIMS, OUR_OWN };

/* Every operation, with all that could be tried of somebody else's. */
static const struct question {
	enum wire_op op;
	enum whose id;
	uint32_t flags;
	const char *name;
	enum wire_code code;
} questions[] = {
	{WIRE_CREATE, NOBODYS, 0, KNOWN, WIRE_EXISTS},
	{WIRE_CREATE, NOBODYS, WIRE_OPEN_EXISTING, KNOWN, WIRE_DENIED},
	{WIRE_ATTACH, NOBODYS, 0, KNOWN, WIRE_DENIED},
	{WIRE_ATTACH, NOBODYS, WIRE_READ_ONLY, KNOWN, WIRE_DENIED},
	{WIRE_ATTACH, NOBODYS, WIRE_WANT_SEMAPHORE, KNOWN, WIRE_DENIED},
	{WIRE_ATTACH, THE_VICTIMS, 0, NULL, WIRE_NOT_FOUND},
	{WIRE_ATTACH, THE_VICTIMS, WIRE_READ_ONLY, NULL, WIRE_NOT_FOUND},
	{WIRE_ATTACH, THE_VICTIMS, WIRE_WANT_SEMAPHORE, NULL, WIRE_NOT_FOUND},
	{WIRE_DETACH, THE_VICTIMS, 0, NULL, WIRE_NOT_FOUND},
	{WIRE_DETACH, THE_VICTIMS, WIRE_READ_ONLY, NULL, WIRE_NOT_FOUND},
	{WIRE_UNLINK, NOBODYS, 0, KNOWN, WIRE_DENIED},
	{WIRE_UNLINK, THE_VICTIMS, 0, NULL, WIRE_NOT_FOUND},
	{WIRE_STATUS, NOBODYS, 0, NULL, WIRE_OK},
	{WIRE_LIST, NOBODYS, 0, NULL, WIRE_OK},
	{WIRE_SHOW, NOBODYS, 0, KNOWN, WIRE_DENIED},
	{WIRE_CLIENTS, NOBODYS, 0, NULL, WIRE_OK},
	{WIRE_HOLDERS, NOBODYS, 0, KNOWN, WIRE_DENIED},
	{WIRE_KEEP, THE_VICTIMS, 0, NULL, WIRE_NOT_FOUND},
	{WIRE_PUBLISH, THE_VICTIMS, 0, "strangers", WIRE_NOT_FOUND},
	{WIRE_PUBLISH, THE_VICTIMS, WIRE_WRITABLE, KNOWN, WIRE_NOT_FOUND},
	{WIRE_PUBLISH, OUR_OWN, WIRE_WRITABLE, KNOWN, WIRE_DENIED},
	{WIRE_WAIT, NOBODYS, 0, KNOWN, WIRE_DENIED},
	{WIRE_WAIT, NOBODYS, WIRE_READ_ONLY, KNOWN, WIRE_DENIED},
	{WIRE_EXPLAIN, NOBODYS, DAEMON_UID, KNOWN, WIRE_DENIED},
	{WIRE_EXPLAIN, NOBODYS, 0, KNOWN, WIRE_DENIED},
	{WIRE_EXPLAIN, NOBODYS, WIRE_NO_ID, KNOWN, WIRE_OK},
};

static void expect(struct line *line, const struct question *question, uint64_t id)
{
	unsigned code = ask(line, question->op, id, question->flags, question->name);

	ck_assert_msg(code == question->code, "question %d about id %ju: code %u, not %u",
		      (int)(question - questions), (uintmax_t)id, code, question->code);
}

/* The sentence about an id that exists is the one about an id that was never given. */
static void expect_as_of_none(struct line *line, const struct question *question, uint64_t id)
{
	char text[WIRE_TEXT_SIZE], none[WIRE_TEXT_SIZE], digits[2][24];
	uint64_t never = UINT64_MAX - 1;

	int all = n_secrets;

	/* The id that was asked for is in it. */
	n_secrets = n_before;
	expect(line, question, id);
	memcpy(text, body_of(line), sizeof(text));
	expect(line, question, never);
	memcpy(none, body_of(line), sizeof(none));
	n_secrets = all;
	snprintf(digits[0], sizeof(digits[0]), "%ju", (uintmax_t)id);
	snprintf(digits[1], sizeof(digits[1]), "%ju", (uintmax_t)never);
	char *at = strstr(text, digits[0]), *there = strstr(none, digits[1]);
	ck_assert_int_eq(at != NULL, there != NULL);
	if (!at)
		return;
	ck_assert_mem_eq(text, none, (size_t)(at - text));
	ck_assert_str_eq(at + strlen(digits[0]), there + strlen(digits[1]));
}

static void ask_everything(struct line *line, uint64_t own_id)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		const struct question *question = &questions[i];
		/* What root is shown of a published one is its generation, the number after its id. */
		for (int j = 0; question->id == THE_VICTIMS && j < n_targets; j++) {
			expect_as_of_none(line, question, targets[j].id);
			expect_as_of_none(line, question, targets[j].id - 1);
		}
		if (question->id != THE_VICTIMS)
			expect(line, question, question->id == OUR_OWN ? own_id : 0);
	}
	/* The numbers of waits and subscriptions are each connection's own. */
	for (uint32_t number = 0; number < 64; number++)
		ck_assert_uint_eq(ask(line, WIRE_CANCEL, 0, number, NULL), WIRE_NOT_FOUND);
}

/* Listings have our own, and nothing of others; of what is told by user, our own. */
static void check_listings(struct line *line)
{
	const struct wire_entries *page = body_of(line);
	const struct wire_entry *entry = (const struct wire_entry *)(page + 1);

	ck_assert_uint_eq(ask(line, WIRE_LIST, 0, 0, NULL), WIRE_OK);
	ck_assert_uint_eq(page->entries, 1);
	ck_assert_uint_eq(page->next, 0);
	ck_assert_uint_eq(entry->segment.uid, STRANGER_UID);
	ck_assert_uint_eq(ask(line, WIRE_CLIENTS, 0, 0, NULL), WIRE_OK);
	ck_assert_uint_eq(page->entries, 1);
	ck_assert_uint_eq(((const struct wire_client *)(page + 1))->uid, STRANGER_UID);
	ck_assert_uint_eq(ask(line, WIRE_STATUS, 0, 0, NULL), WIRE_OK);
	const struct wire_status *status = body_of(line);
	const struct wire_counter *counters = (const struct wire_counter *)(status + 1);
	const struct wire_limit *limit = (const struct wire_limit *)(counters + status->counters);
	for (unsigned i = 0; i < status->limits; i++)
		if (strstr(limit[i].name, "_per_user"))
			ck_assert_uint_le(limit[i].use, 4);
}

static void subscribe(struct line *line)
{
	static const char *const prefixes[] = {"", "u", KNOWN};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		ck_assert_uint_eq(ask(line, WIRE_SUBSCRIBE, 0, 0, prefixes[i]), WIRE_OK);
}

static bool has_event_of(const struct line *line, const char *name)
{
	const struct wire_entries *page = body_of(line);
	const struct wire_event *event = (const struct wire_event *)(page + 1);
	bool has = false;

	for (unsigned i = 0; i < page->entries; i++) {
		ck_assert_uint_eq(event[i].uid, STRANGER_UID);
		has = has || (event[i].kind == WIRE_EVENT_CREATED && !strcmp(event[i].text, name));
	}
	return has;
}

/* Events come in the order of what happened: with that of our own, all before it have come. */
static void read_events(struct line *line)
{
	const struct wire_header *header;
	unsigned descriptors;

	ck_assert_uint_eq(ask(line, WIRE_CREATE, 0, 0, "strangers"), WIRE_OK);
	do
		header = receive(line, &descriptors);
	while (header->op != WIRE_EVENTS || !has_event_of(line, "strangers"));
}

static void stay(void)
{
}

static bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* As root in a user namespace of one's own, with all capabilities there. */
static void enter_user_namespace(void)
{
	char map[32];

	if (unshare(CLONE_NEWUSER) < 0) {
		printf("# SKIP no user namespace: %s\n", strerror(errno));
		return;
	}
	/* That had closed the files in our /proc, and taken the wish to end with the test. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	ck_assert_int_eq(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
	snprintf(map, sizeof(map), "0 %u 1\n", STRANGER_UID);
	ck_assert(write_to("/proc/self/setgroups", "deny"));
	ck_assert(write_to("/proc/self/uid_map", map));
	ck_assert(write_to("/proc/self/gid_map", map));
}

static void (*const places[])(void) = {stay, enter_user_namespace};
#define PLACES ((int)(sizeof(places) / sizeof(places[0])))

static void stranger_at_the_socket(struct actor *self, void *context)
{
	static struct line line;

	become(STRANGER_UID);
	places[*(int *)context]();
	open_line(&line);
	ck_assert_uint_eq(ask(&line, WIRE_CREATE, 0, 0, NULL), WIRE_OK);
	uint64_t own_id = ((const struct wire_segment *)body_of(&line))->id;
	check_listings(&line);
	ask_everything(&line, own_id);
	subscribe(&line);
	actor_tell(self);
	actor_await(self);
	read_events(&line);
	close(line.fd);
}

static void start_victim(struct actor *actor)
{
	actor_start(actor, victim, NULL);
	actor_await(actor);
	victim_pid = actor->pid;
	look_at_all(targets);
	ck_assert_int_eq(n_targets, 4);
	collect_secrets();
}

static void let_bustle(struct actor *actor)
{
	actor_tell(actor);
	actor_await(actor);
}

static void end_victim(struct actor *actor)
{
	actor_tell(actor);
	actor_finish(actor);
	await_segments(connection, 0);
}

START_TEST(through_the_socket)
{
	struct actor keeping, asking;
	int place = _i;

	start_victim(&keeping);
	actor_start(&asking, stranger_at_the_socket, &place);
	actor_await(&asking);
	await_segments(connection, 5);
	let_bustle(&keeping);
	actor_tell(&asking);
	actor_finish(&asking);
	end_victim(&keeping);
}
END_TEST

/* --- the files in /dev/shm -------------------------------------------------------------------- */

#define OURS "/dev/shm/shmd-check-exposure"

static long open_to_read(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC);
}

static long open_to_write(const char *path)
{
	return open(path, O_WRONLY | O_CLOEXEC);
}

static long open_to_empty(const char *path)
{
	return open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
}

static long open_or_create(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
}

static long open_exclusively(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

/* What only names the file opens nothing. */
static long open_again(const char *path)
{
	char again[64];

	snprintf(again, sizeof(again), "/proc/self/fd/%d", open(path, O_PATH | O_CLOEXEC));
	return open(again, O_RDWR | O_CLOEXEC);
}

static long open_by_handle(const char *path)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} file = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int mount, folder = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_eq(name_to_handle_at(AT_FDCWD, path, &file.handle, &mount, 0), 0);
	return open_by_handle_at(folder, &file.handle, O_RDWR | O_CLOEXEC);
}

static long empty(const char *path)
{
	return truncate(path, 0);
}

static long open_to_all(const char *path)
{
	return chmod(path, 0666);
}

static long give_to_us(const char *path)
{
	return chown(path, getuid(), getgid());
}

static long set_times(const char *path)
{
	return utimensat(AT_FDCWD, path, (struct timespec[2]){{1, 1}, {1, 1}}, 0);
}

static long touch(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, 0);
}

/* Version 2, and the three entries of mode 0666. */
static long set_list(const char *path)
{
	static const uint16_t list[] = {2, 0,      1,      6,  0xffff, 0xffff, 4,
					6, 0xffff, 0xffff, 32, 6,      0xffff, 0xffff};

	return setxattr(path, "system.posix_acl_access", list, sizeof(list), 0);
}

static long remove_list(const char *path)
{
	return removexattr(path, "system.posix_acl_access");
}

static long set_attribute(const char *path)
{
	return setxattr(path, "user.x", "x", 1, 0);
}

static long execute(const char *path)
{
	return execl(path, path, NULL);
}

static long unlink_it(const char *path)
{
	return unlink(path);
}

static long rename_it(const char *path)
{
	return rename(path, OURS);
}

static long make_ours(void)
{
	int fd = open(OURS, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	return fd < 0 ? -1 : close(fd);
}

static long rename_over_it(const char *path)
{
	ck_assert_int_eq(make_ours(), 0);
	return rename(OURS, path);
}

static long swap_with_ours(const char *path)
{
	ck_assert_int_eq(make_ours(), 0);
	return syscall(SYS_renameat2, AT_FDCWD, OURS, AT_FDCWD, path, 2 /* RENAME_EXCHANGE */);
}

static long link_it(const char *path)
{
	return link(path, OURS "-link");
}

static long link_over_it(const char *path)
{
	return symlink(OURS, path);
}

static long make_fifo(const char *path)
{
	return mkfifo(path, 0666);
}

static long bind_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

static long watch_it(const char *path)
{
	return inotify_add_watch(inotify_init1(IN_CLOEXEC), path, IN_ALL_EVENTS);
}

static long open_semaphore(const char *path)
{
	/* The lock file's name is that of none. */
	const char *name = strstr(path, "/sem.");

	if (name && sem_open(name + strlen("/sem."), 0) != SEM_FAILED)
		return 0;
	errno = name ? errno : EACCES;
	return -1;
}

static const struct act_on_file {
	const char *name;
	long (*fn)(const char *path);
	int error;
} acts_on_file[] = {
	{"open to read", open_to_read, EACCES},
	{"open to write", open_to_write, EACCES},
	{"open to empty", open_to_empty, EACCES},
	{"open or create", open_or_create, EACCES},
	{"create", open_exclusively, EEXIST},
	{"open again", open_again, EACCES},
	{"open by handle", open_by_handle, EPERM},
	{"sem_open", open_semaphore, EACCES},
	{"truncate", empty, EACCES},
	{"chmod", open_to_all, EPERM},
	{"chown", give_to_us, EPERM},
	{"set times", set_times, EPERM},
	{"touch", touch, EACCES},
	{"set a list", set_list, EPERM},
	{"remove the list", remove_list, EPERM},
	{"set an attribute", set_attribute, EACCES},
	{"execute", execute, EACCES},
	{"unlink", unlink_it, EPERM},
	{"rename", rename_it, EPERM},
	{"rename over it", rename_over_it, EPERM},
	{"swap with ours", swap_with_ours, EPERM},
	{"link", link_it, EPERM},
	{"link over it", link_over_it, EEXIST},
	{"make a FIFO", make_fifo, EEXIST},
	{"bind a socket", bind_socket, EADDRINUSE},
	{"watch", watch_it, EACCES},
};

/* Where the system lets users link what they may not open, they get another name of it, and no more. */
static bool may_link(void)
{
	FILE *file = fopen("/proc/sys/fs/protected_hardlinks", "re");
	int is_protected = 0;

	if (!file)
		return true;
	if (fscanf(file, "%d", &is_protected) != 1)
		is_protected = 0;
	fclose(file);
	return !is_protected;
}

static void try_on_file(const char *path)
{
	for (size_t i = 0; i < sizeof(acts_on_file) / sizeof(acts_on_file[0]); i++) {
		const struct act_on_file *act = &acts_on_file[i];
		if (act->fn == link_it && may_link())
			continue;
		errno = 0;
		long r = act->fn(path);
		ck_assert_msg(r == -1 && errno == act->error, "%s %s: %ld, %s", act->name, path, r,
			      strerror(errno));
	}
	unlink(OURS);
}

static void stranger_in_dev_shm(struct actor *self, void *context)
{
	char path[96];

	(void)self;
	become(STRANGER_UID);
	places[*(int *)context]();
	for (int i = 0; i < n_targets; i++) {
		snprintf(path, sizeof(path), "%s", path_of(targets[i].semaphore));
		try_on_file(path);
	}
	snprintf(path, sizeof(path), "/dev/shm/shmd-%s.lock", daemon_.instance);
	try_on_file(path);
}

START_TEST(in_dev_shm)
{
	struct actor keeping, trying;
	int place = _i;

	start_victim(&keeping);
	actor_start(&trying, stranger_in_dev_shm, &place);
	actor_finish(&trying);
	check_unchanged();
	let_bustle(&keeping);
	end_victim(&keeping);
}
END_TEST

/* --- processes -------------------------------------------------------------------------------- */

static char buffer[1 << 16];

static int pidfd_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static long trace(pid_t pid)
{
	return ptrace(PTRACE_ATTACH, pid, NULL, NULL);
}

static long seize(pid_t pid)
{
	return ptrace(PTRACE_SEIZE, pid, NULL, NULL);
}

/* Programs stand at the same address in processes that were forked from one. */
static long read_memory(pid_t pid)
{
	struct iovec here = {buffer, 16}, there = {secrets, 16};

	return process_vm_readv(pid, &here, 1, &there, 1, 0);
}

static long write_memory(pid_t pid)
{
	struct iovec here = {buffer, 16}, there = {secrets, 16};

	return process_vm_writev(pid, &here, 1, &there, 1, 0);
}

static long take_descriptors(pid_t pid)
{
	int pidfd = pidfd_of(pid);

	for (int fd = 0; pidfd >= 0 && fd < 256; fd++)
		if (syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0)
			return fd;
	return -1;
}

static long compare_files(pid_t pid)
{
	return syscall(SYS_kcmp, pid, getpid(), 2 /* KCMP_FILES */, 0, 0);
}

static long send_signal(pid_t pid)
{
	return kill(pid, SIGTERM);
}

static long send_to_thread(pid_t pid)
{
	return syscall(SYS_tgkill, pid, pid, SIGKILL);
}

static long send_by_pidfd(pid_t pid)
{
	int pidfd = pidfd_of(pid);

	return pidfd < 0 ? -1 : syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0);
}

static long read_limit(pid_t pid)
{
	struct rlimit limit;

	return prlimit(pid, RLIMIT_NOFILE, NULL, &limit);
}

static long set_limit(pid_t pid)
{
	return prlimit(pid, RLIMIT_NOFILE, &(struct rlimit){0, 0}, NULL);
}

static long slow_down(pid_t pid)
{
	return setpriority(PRIO_PROCESS, (id_t)pid, 19);
}

static long make_idle(pid_t pid)
{
	return sched_setscheduler(pid, SCHED_IDLE, &(struct sched_param){0});
}

static long bind_to_cpu(pid_t pid)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	return sched_setaffinity(pid, sizeof(set), &set);
}

static long slow_down_input(pid_t pid)
{
	return syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, pid, 3 << 13 /* idle */);
}

static long advise_memory(pid_t pid)
{
	struct iovec there = {secrets, 16};
	int pidfd = pidfd_of(pid);

	return pidfd < 0 ? -1 : syscall(SYS_process_madvise, pidfd, &there, 1, MADV_COLD, 0);
}

static long enter_namespaces(pid_t pid)
{
	int pidfd = pidfd_of(pid);

	return pidfd < 0 ? -1 : setns(pidfd, CLONE_NEWNS);
}

static long read_robust_list(pid_t pid)
{
	void *head;
	size_t size;

	return syscall(SYS_get_robust_list, pid, &head, &size);
}

static const struct act_on_process {
	const char *name;
	long (*fn)(pid_t pid);
} acts_on_process[] = {
	{"ptrace, attach", trace},
	{"ptrace, seize", seize},
	{"process_vm_readv", read_memory},
	{"process_vm_writev", write_memory},
	{"pidfd_getfd", take_descriptors},
	{"kcmp", compare_files},
	{"kill", send_signal},
	{"tgkill", send_to_thread},
	{"pidfd_send_signal", send_by_pidfd},
	{"prlimit, to read", read_limit},
	{"prlimit, to set", set_limit},
	{"setpriority", slow_down},
	{"sched_setscheduler", make_idle},
	{"sched_setaffinity", bind_to_cpu},
	{"ioprio_set", slow_down_input},
	{"process_madvise", advise_memory},
	{"setns", enter_namespaces},
	{"get_robust_list", read_robust_list},
};

static void try_on_process(pid_t pid)
{
	for (size_t i = 0; i < sizeof(acts_on_process) / sizeof(acts_on_process[0]); i++) {
		errno = 0;
		long r = acts_on_process[i].fn(pid);
		ck_assert_msg(r == -1 && (errno == EPERM || errno == EACCES || errno == ENOSYS),
			      "%s: %ld, %s", acts_on_process[i].name, r, strerror(errno));
	}
}

/* What would lead to the memory, or to who has which descriptor; "task" stands for its first thread. */
static const char *const closed[] = {"auxv",      "cwd",  "environ", "exe",        "fd",
				     "fdinfo",    "io",   "maps",    "map_files",  "mem",
				     "numa_maps", "root", "pagemap", "smaps",      "smaps_rollup",
				     "stack",     "ns",   "syscall", "clear_refs", "oom_score_adj"};

static ssize_t read_some(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buffer, sizeof(buffer));

	if (fd >= 0)
		close(fd);
	return n;
}

static void check_closed(const char *path)
{
	bool is_readable = strcmp(strrchr(path, '/'), "/oom_score_adj") == 0;
	/* Its entries have names that everybody knows, but lead nowhere. */
	bool is_listed = strcmp(strrchr(path, '/'), "/ns") == 0;
	DIR *folder = opendir(path);

	ck_assert_msg(is_listed || !folder, "%s can be listed", path);
	if (folder)
		closedir(folder);
	ck_assert_msg(is_readable || read_some(path) <= 0, "%s can be read", path);
	ck_assert_msg(readlink(path, buffer, sizeof(buffer)) < 0, "%s leads somewhere", path);
	ck_assert_msg(open(path, O_WRONLY | O_CLOEXEC) < 0, "%s can be written", path);
}

static void try_in_proc(pid_t pid)
{
	char path[96];

	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, closed[i]);
		check_closed(path);
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, pid, closed[i]);
		if (access(path, F_OK) == 0)
			check_closed(path);
	}
	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		ck_assert_int_lt(open(path, O_RDONLY | O_CLOEXEC), 0);
		ck_assert_int_lt(readlink(path, buffer, sizeof(buffer)), 0);
	}
	for (const char *const *name = (const char *const[]){"mnt", "user", "pid", NULL}; *name;
	     name++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, *name);
		ck_assert_int_lt(open(path, O_RDONLY | O_CLOEXEC), 0);
	}
}

/* Whatever can be read at all, also what a later kernel may add. */
static void read_folder(const char *path)
{
	char file[512];
	DIR *folder = opendir(path);

	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		ssize_t n = entry->d_type == DT_REG ? read_some(file) : -1;
		if (n > 0)
			check_tells_nothing(buffer, (size_t)n, IN_PROC, file);
	}
	if (folder)
		closedir(folder);
}

static void read_process(pid_t pid)
{
	static const char *const folders[] = {"", "/attr", "/net", "/task/self"};
	char path[64];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%d%s", pid, folders[i]);
		read_folder(path);
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, pid);
	read_folder(path);
}

static void stranger_in_proc(struct actor *self, void *context)
{
	static const char *const sums[] = {"locks", "meminfo", "vmstat",      "slabinfo",
					   "swaps", "mounts",  "sysvipc/shm", "sysvipc/sem"};
	const pid_t pids[] = {daemon_.pid, victim_pid};
	char path[64];

	(void)self;
	become(STRANGER_UID);
	places[*(int *)context]();
	for (size_t i = 0; i < sizeof(pids) / sizeof(pids[0]); i++) {
		try_on_process(pids[i]);
		try_in_proc(pids[i]);
		read_process(pids[i]);
	}
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%s", sums[i]);
		ssize_t n = read_some(path);
		if (n > 0)
			check_tells_nothing(buffer, (size_t)n, IN_PROC, path);
	}
}

START_TEST(in_proc)
{
	struct actor keeping, trying;
	int place = _i;

	start_victim(&keeping);
	actor_start(&trying, stranger_in_proc, &place);
	actor_finish(&trying);
	check_unchanged();
	let_bustle(&keeping);
	end_victim(&keeping);
}
END_TEST

/* --- what remains, as the manual page has it --------------------------------------------------- */

static unsigned count_in(const char *text, const char *part)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
		n++;
	return n;
}

/* The whole file, which comes in pieces. */
static const char *read_all(const char *path)
{
	static char text[1 << 20];
	FILE *file = fopen(path, "re");

	ck_assert_ptr_nonnull(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

/* That it is there, since when, and which user may open it. */
static void see_files(void)
{
	uint32_t uid = VICTIM_UID;
	char list[256];
	struct stat st;

	ck_assert_uint_eq(daemon_files(&daemon_, "sem.shmd-"), (unsigned)n_targets);
	for (int i = 0; i < n_targets; i++) {
		ck_assert_int_eq(lstat(path_of(targets[i].semaphore), &st), 0);
		ck_assert_uint_eq(st.st_uid, DAEMON_UID);
#ifdef HAVE_LIBACL
		ssize_t n = getxattr(path_of(targets[i].semaphore), "system.posix_acl_access", list,
				     sizeof(list));
		ck_assert_ptr_nonnull(memmem(list, (size_t)n, &uid, sizeof(uid)));
#endif
	}
	(void)list, (void)uid;
}

static int watch_folder(void)
{
	int events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	ck_assert_int_gt(inotify_add_watch(events, "/dev/shm", IN_CREATE | IN_DELETE | IN_OPEN), 0);
	return events;
}

static unsigned names_seen(int events)
{
	unsigned n = 0;

	for (ssize_t size; (size = read(events, buffer, sizeof(buffer))) > 0;)
		for (char *at = buffer; at < buffer + size;) {
			const struct inotify_event *event = (void *)at;
			n += event->mask & IN_CREATE && strstr(event->name, daemon_.instance);
			at += sizeof(*event) + event->len;
		}
	return n;
}

static void onlooker(struct actor *self, void *context)
{
	struct shmd_segment *segment;
	struct shmd_status *status;
	char text[32];

	(void)context;
	become(STRANGER_UID);
	struct shmd *mine = connect_or_fail();
	/* Whether a name is taken, of who knows it. */
	ck_assert_int_eq(shmd_attach(mine, KNOWN, SHMD_READ_ONLY, &segment), -EACCES);
	ck_assert_int_eq(shmd_attach(mine, "no-such-name", SHMD_READ_ONLY, &segment), -ENOENT);
	/* Sums. */
	ck_assert_int_eq(shmd_status(mine, &status), 0);
	ck_assert_uint_eq(status->segments, (uint64_t)n_targets);
	ck_assert_uint_eq(status->bytes, (uint64_t)n_targets * SIZE);
	ck_assert_uint_eq(status->clients, 3);
	shmd_status_free(status);
	see_files();
	/* Connections: the listener's, and each one's end at the daemon. */
	ck_assert_uint_eq(count_in(read_all("/proc/net/unix"), daemon_.socket), 4);
	/* Who locks the memory of some segment by its descriptor. */
	snprintf(text, sizeof(text), "WRITE %d ", daemon_.pid);
	ck_assert_uint_ge(count_in(read_all("/proc/locks"), text), 1);
	int events = watch_folder();
	actor_tell(self);
	actor_await(self);
	ck_assert_uint_eq(names_seen(events), 2);
	/* Numbers count what others make: here two, one of which was published, and then our own. */
	uint64_t before = targets[n_targets - 1].id;
	segment = create_or_fail(mine, NULL, 1, SHMD_LIFETIME_CLIENTS);
	ck_assert_uint_eq(shmd_segment_generation(segment) - before, 4);
}

START_TEST(what_remains)
{
	struct actor keeping, looking;

	start_victim(&keeping);
	actor_start(&looking, onlooker, NULL);
	actor_await(&looking);
	let_bustle(&keeping);
	actor_tell(&looking);
	actor_finish(&looking);
	end_victim(&keeping);
}
END_TEST

/* --- the daemon itself ------------------------------------------------------------------------ */

/* As a service manager's AmbientCapabilities= would start it, or somebody by mistake. */
static void raise_ambient(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		_exit(126);
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		data[i].inheritable = data[i].permitted;
	if (syscall(SYS_capset, &header, data) < 0 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) < 0)
		_exit(126);
}

static void check_line(const char *status, const char *line)
{
	ck_assert_msg(strstr(status, line) != NULL, "not so: %s", line + 1);
}

static void check_has_no_privilege(bool was_root)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", daemon_.pid);
	const char *status = read_all(path);
	check_line(status, "\nNoNewPrivs:\t1\n");
	check_line(status, "\nCapInh:\t0000000000000000\n");
	check_line(status, "\nCapPrm:\t0000000000000000\n");
	check_line(status, "\nCapEff:\t0000000000000000\n");
	check_line(status, "\nCapAmb:\t0000000000000000\n");
	/* Who could not empty it has nothing to gain from it either. */
	if (was_root)
		check_line(status, "\nCapBnd:\t0000000000000000\n");
}

static const struct start {
	uid_t uid;
	void (*prepare)(void);
} starts[] = {{DAEMON_UID, NULL}, {0, NULL}, {0, raise_ambient}};

START_TEST(it_has_no_privilege)
{
	daemon_prepare = starts[_i].prepare;
	daemon_start_as(&daemon_, NULL, starts[_i].uid);
	connection = connect_or_fail();
	check_has_no_privilege(starts[_i].uid == 0);
	struct shmd_segment *segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_OWNER);
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	shmd_detach(segment);
	tear_down();
}
END_TEST

/* Not even by root: no bit of the file's mode says that anybody may. */
START_TEST(memory_is_not_executed)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 4096, SHMD_LIFETIME_OWNER);
	char path[64], *arguments[] = {path, NULL};

	strcpy(shmd_segment_data(segment), "#!/bin/true\n");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", shmd_segment_fd(segment));
	ck_assert_int_eq(execve(path, arguments, NULL), -1);
	ck_assert_int_eq(errno, EACCES);
	shmd_detach(segment);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("exposure");
	TCase *tests = tcase_create("others");
	TCase *privilege = tcase_create("privilege");

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root, to become several users");
		return 0;
	}
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, through_the_socket, 0, PLACES);
	tcase_add_loop_test(tests, in_dev_shm, 0, PLACES);
	tcase_add_loop_test(tests, in_proc, 0, PLACES);
	tcase_add_test(tests, what_remains);
	tcase_add_test(tests, memory_is_not_executed);
	suite_add_tcase(suite, tests);
	tcase_set_timeout(privilege, 60);
	tcase_add_loop_test(privilege, it_has_no_privilege, 0,
			    (int)(sizeof(starts) / sizeof(starts[0])));
	suite_add_tcase(suite, privilege);
	return run_suite(suite);
}

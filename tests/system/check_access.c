/* SPDX-License-Identifier: MIT */
/*
 * Several users at one daemon: what owner, group and mode let them do, and what they try all the
 * same. Needs root, to become them; the daemon has a user of its own.
 */
#include "harness.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "wire/protocol.h"

/* Linux 5.6; the headers of Debian 11 do not have it. */
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* Users of nobody's, who need no entry in /etc/passwd. */
#define DAEMON_UID 64501
#define OWNER_UID  64502
#define MEMBER_UID 64503
#define OTHER_UID  64504
#define SHARED_GID 64510

static struct test_daemon daemon_;
static struct shmd *connection; /* root's */

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

static void become(uid_t uid, gid_t gid, gid_t extra)
{
	ck_assert_int_eq(setgroups(extra ? 1 : 0, &extra), 0);
	ck_assert_int_eq(setresgid(gid, gid, gid), 0);
	ck_assert_int_eq(setresuid(uid, uid, uid), 0);
}

struct making {
	mode_t mode;
	unsigned flags;
};

/* Creates "seg" as its owner and waits. */
static void owner(struct actor *self, void *context)
{
	const struct making *making = context;
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	become(OWNER_UID, SHARED_GID, 0);
	options.mode = making->mode;
	options.flags = making->flags;
	int r = shmd_create(connect_or_fail(), "seg", 4096, &options, &segment);
	ck_assert_msg(r == 0, "create: %d %s", r, shmd_error_message());
	strcpy(shmd_segment_data(segment), "the owner's");
	actor_tell(self);
	actor_await(self);
}

/* What a user can do with "seg", tried out. */
struct trial {
	uid_t uid;
	gid_t gid;
	gid_t extra;
	int read_only; /* result of attaching so */
	int read_write;
	int semaphore; /* result of sem_open() */
};

static char semaphore_name[64];

static void try_semaphore(int expected)
{
	sem_t *semaphore = sem_open(semaphore_name, 0);
	int r = semaphore == SEM_FAILED ? -errno : 0;

	ck_assert_msg(r == expected, "sem_open: %d, expected %d", r, expected);
	if (r == 0)
		sem_close(semaphore);
}

static void user(struct actor *self, void *context)
{
	const struct trial *trial = context;
	struct shmd_segment *segment;

	(void)self;
	become(trial->uid, trial->gid, trial->extra);
	struct shmd *mine = connect_or_fail();
	ck_assert_int_eq(shmd_attach(mine, "seg", SHMD_READ_ONLY, &segment), trial->read_only);
	if (trial->read_only == 0) {
		ck_assert_str_eq(shmd_segment_data(segment), "the owner's");
		shmd_detach(segment);
	}
	ck_assert_int_eq(shmd_attach(mine, "seg", 0, &segment), trial->read_write);
	if (trial->read_write == 0)
		shmd_detach(segment);
	try_semaphore(trial->semaphore);
	ck_assert_int_eq(shmd_unlink(mine, "seg"), trial->uid == OWNER_UID ? 0 : -EACCES);
}

static void make_seg(struct actor *creating, mode_t mode, unsigned flags)
{
	static struct making making;
	struct shmd_details *details;

	making = (struct making){mode, flags};
	actor_start(creating, owner, &making);
	actor_await(creating);
	ck_assert_int_eq(shmd_show(connection, "seg", &details), 0);
	strcpy(semaphore_name, details->segment->semaphore);
	shmd_details_free(details);
}

static void try_as(struct trial trial)
{
	struct actor trying;

	actor_start(&trying, user, &trial);
	actor_finish(&trying);
}

#ifdef HAVE_LIBACL
#define BY_NAME 0
#else
#define BY_NAME -EACCES
#endif

START_TEST(mode_decides)
{
	static const struct {
		mode_t mode;
		unsigned flags;
		struct trial member, other;
	} cases[] = {
		{0600,
		 0,
		 {.read_only = -EACCES, .read_write = -EACCES, .semaphore = -EACCES},
		 {.read_only = -EACCES, .read_write = -EACCES, .semaphore = -EACCES}},
		{0640,
		 0,
		 {.read_only = 0, .read_write = -EACCES, .semaphore = -EACCES},
		 {.read_only = -EACCES, .read_write = -EACCES, .semaphore = -EACCES}},
		{0660,
		 0,
		 {.read_only = 0, .read_write = 0, .semaphore = BY_NAME},
		 {.read_only = -EACCES, .read_write = -EACCES, .semaphore = -EACCES}},
		{0666,
		 0,
		 {.read_only = 0, .read_write = 0, .semaphore = BY_NAME},
		 {.read_only = 0, .read_write = 0, .semaphore = BY_NAME}},
		{0606,
		 0,
		 {.read_only = -EACCES, .read_write = -EACCES, .semaphore = -EACCES},
		 {.read_only = 0, .read_write = 0, .semaphore = BY_NAME}},
		{0644,
		 SHMD_READERS_LOCK,
		 {.read_only = 0, .read_write = -EACCES, .semaphore = BY_NAME},
		 {.read_only = 0, .read_write = -EACCES, .semaphore = BY_NAME}},
	};
	struct trial member = cases[_i].member, other = cases[_i].other;
	struct actor creating;

	make_seg(&creating, cases[_i].mode, cases[_i].flags);
	/* A member by a supplementary group, and by the first one. */
	member.uid = MEMBER_UID, member.gid = 64520, member.extra = SHARED_GID;
	try_as(member);
	member.gid = SHARED_GID, member.extra = 0;
	try_as(member);
	other.uid = OTHER_UID, other.gid = 64521;
	try_as(other);
	actor_kill(&creating);
	await_gone(connection, "seg");
}
END_TEST

START_TEST(owner_and_root_may_unlink)
{
	struct actor creating;

	make_seg(&creating, 0666, 0);
	try_as((struct trial){.uid = OWNER_UID, .gid = 64521, .semaphore = BY_NAME});
	ck_assert(!segment_exists(connection, "seg"));
	actor_kill(&creating);
	await_segments(connection, 0);
	make_seg(&creating, 0600, 0);
	ck_assert_int_eq(shmd_unlink(connection, "seg"), 0);
	actor_kill(&creating);
}
END_TEST

#define REFUSED(call, error)                                                                 \
	do {                                                                                 \
		errno = 0;                                                                   \
		ck_assert_msg((long)(call) == -1, #call " was not refused");                 \
		ck_assert_msg(errno == (error), #call ": %s, not " #error, strerror(errno)); \
	} while (0)

static void try_to_map_for_writing(void *data, int fd)
{
	REFUSED(mprotect(data, 4096, PROT_READ | PROT_WRITE), EACCES);
	REFUSED(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
	REFUSED(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, fd, 0), EACCES);
	void *again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(again, MAP_FAILED);
	REFUSED(mprotect(again, 4096, PROT_WRITE), EACCES);
	REFUSED(madvise(again, 4096, MADV_REMOVE), EACCES);
	munmap(again, 4096);
}

static void try_to_write(int fd)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	REFUSED(write(fd, "x", 1), EBADF);
	REFUSED(pwrite(fd, "x", 1, 0), EBADF);
	/* The access that a description has cannot be set later. */
	fcntl(fd, F_SETFL, O_RDWR);
	REFUSED(write(fd, "x", 1), EBADF);
	REFUSED(copy_file_range(fd, &(off_t){0}, fd, &(off_t){100}, 100, 0), EBADF);
	if (from >= 0)
		REFUSED(sendfile(fd, from, NULL, 100), EBADF);
	close(from);
	REFUSED(ftruncate(fd, 0), EINVAL);
	REFUSED(ftruncate(fd, 8192), EINVAL);
	REFUSED(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), EBADF);
	REFUSED(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096), EBADF);
}

static void try_to_change_the_file(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	REFUSED(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	REFUSED(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM);
	REFUSED(fchmod(fd, 0666), EPERM);
	REFUSED(fchown(fd, OTHER_UID, -1), EPERM);
	REFUSED(futimens(fd, (struct timespec[2]){{0}, {0}}), EPERM);
	ck_assert_int_eq(fsetxattr(fd, "user.x", "x", 1, 0), -1);
	REFUSED(fcntl(fd, F_SETLEASE, F_RDLCK), EACCES);
	REFUSED(fcntl(fd, F_OFD_SETLK, &lock), EBADF);
}

static void try_to_open_again(void *data, int fd)
{
	static const int accesses[] = {O_RDWR, O_WRONLY, O_RDWR | O_TRUNC, O_RDONLY};
	static const char *const ways[] = {"/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"};
	char path[96];

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		for (size_t j = 0; j < sizeof(accesses) / sizeof(accesses[0]); j++) {
			snprintf(path, sizeof(path), "%s/%d", ways[i], fd);
			REFUSED(open(path, accesses[j]), EACCES);
		}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	REFUSED(truncate(path, 0), EACCES);
	REFUSED(chmod(path, 0666), EPERM);
	ck_assert_int_eq(linkat(AT_FDCWD, path, AT_FDCWD, "/dev/shm/shmd-check-access-name",
				AT_SYMLINK_FOLLOW),
			 -1);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)data, (long)data + 4096);
	ck_assert_int_eq(open(path, O_RDWR), -1);
	/* What a debugger writes with, past the protection of the mapping. */
	int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (memory >= 0)
		ck_assert_int_lt(pwrite(memory, "x", 1, (off_t)(long)data), 0);
	close(memory);
}

/* Another process may have it open for writing. */
static void try_to_get_at(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	REFUSED(open(path, O_RDONLY | O_DIRECTORY), EACCES);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	REFUSED(open(path, O_RDWR), EACCES);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	int maps = open(path, O_RDONLY);
	if (maps >= 0)
		ck_assert_int_le(read(maps, path, sizeof(path)), 0);
	REFUSED(ptrace(PTRACE_ATTACH, pid, 0, 0), EPERM);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		REFUSED(open(path, O_RDWR), EACCES);
		if (pidfd >= 0)
			REFUSED(syscall(SYS_pidfd_getfd, pidfd, fd, 0), EPERM);
	}
}

/* The file of a semaphore that is not to be locked. */
static void try_to_change_semaphore(void)
{
	char path[128];

	snprintf(path, sizeof(path), "/dev/shm/sem.%s", semaphore_name);
	try_semaphore(-EACCES);
	REFUSED(open(path, O_RDONLY), EACCES);
	REFUSED(open(path, O_WRONLY), EACCES);
	REFUSED(open(path, O_RDWR), EACCES);
	REFUSED(truncate(path, 0), EACCES);
	REFUSED(chmod(path, 0666), EPERM);
	REFUSED(chown(path, OTHER_UID, -1), EPERM);
	REFUSED(removexattr(path, "system.posix_acl_access"), EPERM);
	REFUSED(rename(path, "/dev/shm/shmd-check-access-name"), EPERM);
	REFUSED(unlink(path), EPERM);
}

static pid_t writer_pid;

/* A reader of another user tries every way to write. */
static void reader(struct actor *self, void *context)
{
	struct shmd_segment *segment;

	(void)self, (void)context;
	become(OTHER_UID, 64521, 0);
	ck_assert_int_eq(shmd_attach(connect_or_fail(), "seg", SHMD_READ_ONLY, &segment), 0);
	int fd = shmd_segment_fd(segment);
	void *data = shmd_segment_data(segment);
	try_to_map_for_writing(data, fd);
	try_to_write(fd);
	try_to_change_the_file(fd);
	try_to_open_again(data, fd);
	try_to_get_at(daemon_.pid);
	try_to_get_at(writer_pid);
	ck_assert_int_eq(shmd_segment_semaphore_fd(segment), -1);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EPERM);
	try_to_change_semaphore();
	ck_assert_str_eq(data, "the owner's");
	/* Becoming another user had closed much of our own /proc to us. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	try_to_open_again(data, fd);
}

START_TEST(read_only_is_the_kernels_word)
{
	struct actor creating, reading;

	make_seg(&creating, 0644, 0);
	writer_pid = creating.pid;
	actor_start(&reading, reader, NULL);
	actor_finish(&reading);
	struct shmd_segment *segment = attach_or_fail(connection, "seg", 0);
	struct stat st;
	ck_assert_str_eq(shmd_segment_data(segment), "the owner's");
	ck_assert_int_eq(fstat(shmd_segment_fd(segment), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(st.st_uid, DAEMON_UID);
	ck_assert_int_eq(fcntl(shmd_segment_fd(segment), F_GET_SEALS) & F_SEAL_WRITE, 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	shmd_detach(segment);
	actor_kill(&creating);
}
END_TEST

static void readers_who_lock(struct actor *self, void *context)
{
	struct shmd_segment *segment;

	(void)self, (void)context;
	become(OTHER_UID, 64521, 0);
	ck_assert_int_eq(shmd_attach(connect_or_fail(), "seg", SHMD_READ_ONLY, &segment), 0);
	ck_assert_int_ge(shmd_segment_semaphore_fd(segment), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EAGAIN);
	ck_assert_int_eq(shmd_release(segment), 0);
	/* To lock is not to write. */
	try_to_map_for_writing(shmd_segment_data(segment), shmd_segment_fd(segment));
	try_to_write(shmd_segment_fd(segment));
	try_to_open_again(shmd_segment_data(segment), shmd_segment_fd(segment));
}

START_TEST(readers_lock_and_no_more)
{
	struct actor creating, reading;

	make_seg(&creating, 0644, SHMD_READERS_LOCK);
	actor_start(&reading, readers_who_lock, NULL);
	actor_finish(&reading);
	actor_kill(&creating);
}
END_TEST

/* Of its own user, too: it is not dumpable. */
static void spy(struct actor *self, void *context)
{
	uid_t uid = *(uid_t *)context;

	(void)self;
	become(uid, uid, 0);
	try_to_get_at(daemon_.pid);
}

START_TEST(daemon_is_not_to_be_looked_into)
{
	uid_t uid = _i ? OTHER_UID : DAEMON_UID;
	struct actor creating, spying;

	make_seg(&creating, 0600, 0);
	actor_start(&spying, spy, &uid);
	actor_finish(&spying);
	actor_kill(&creating);
}
END_TEST

static int count_segments(const struct shmd_segment_info *info, void *context)
{
	(void)info;
	++*(int *)context;
	return 0;
}

static int count_clients(const struct shmd_client_info *info, void *context)
{
	(void)info;
	++*(int *)context;
	return 0;
}

static void onlooker(struct actor *self, void *context)
{
	int expected = *(int *)context, segments = 0, clients = 0;
	struct shmd_details *details;

	(void)self;
	become(OTHER_UID, 64521, 0);
	struct shmd *mine = connect_or_fail();
	ck_assert_int_eq(shmd_list(mine, NULL, count_segments, &segments), 0);
	ck_assert_int_eq(segments, expected);
	ck_assert_int_eq(shmd_clients(mine, count_clients, &clients), 0);
	ck_assert_int_eq(clients, 1);
	int r = shmd_show(mine, "seg", &details);
	ck_assert_int_eq(r, expected ? 0 : -EACCES);
	if (r == 0) {
		ck_assert_uint_eq(details->n_attachments, 0);
		shmd_details_free(details);
	}
}

START_TEST(others_see_what_they_may_read)
{
	struct actor creating, looking;
	int expected = _i;

	make_seg(&creating, _i ? 0604 : 0600, 0);
	actor_start(&looking, onlooker, &expected);
	actor_finish(&looking);
	actor_kill(&creating);
}
END_TEST

/* --- a third user ----------------------------------------------------------------------------- */

/* What nobody is to learn who may not read "seg". */
#define SECRET_SIZE 54321
static char secrets[16][64];

static void add_secret(const char *before, uintmax_t value)
{
	size_t i = 0;

	while (secrets[i][0])
		i++;
	snprintf(secrets[i], sizeof(secrets[i]), "%s%ju", before, value);
}

static void check_keeps_secrets(const char *text)
{
	for (size_t i = 0; secrets[i][0]; i++)
		ck_assert_msg(strstr(text, secrets[i]) == NULL, "'%s' tells %s", text, secrets[i]);
}

static void expect_secretive(int r, int expected)
{
	ck_assert_msg(r == expected, "%d, not %d: %s", r, expected, shmd_error_message());
	check_keeps_secrets(shmd_error_message());
}

static void ask_by_name(struct shmd *mine)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct shmd_details *details;

	expect_secretive(shmd_attach(mine, "seg", SHMD_READ_ONLY, &segment), -EACCES);
	expect_secretive(shmd_attach(mine, "seg", 0, &segment), -EACCES);
	expect_secretive(shmd_show(mine, "seg", &details), -EACCES);
	expect_secretive(shmd_unlink(mine, "seg"), -EACCES);
	expect_secretive(shmd_create(mine, "seg", 1, NULL, &segment), -EEXIST);
	/* Whether it is large enough would tell how large it is. */
	options.flags = SHMD_OPEN_EXISTING;
	expect_secretive(shmd_create(mine, "seg", 1, &options, &segment), -EACCES);
	expect_secretive(shmd_create(mine, "seg", 1 << 20, &options, &segment), -EACCES);
}

static int tell_secrets(const struct shmd_segment_info *info, void *context)
{
	(void)context;
	ck_abort_msg("listed: %s", info->name ? info->name : "(without a name)");
	return 0;
}

static int only_ourselves(const struct shmd_client_info *info, void *context)
{
	ck_assert_int_eq(info->pid, getpid());
	++*(int *)context;
	return 0;
}

static void ask_for_all(struct shmd *mine)
{
	static const char *const globs[] = {NULL, "*", "seg", "s*", "[!a]??", "?*"};
	struct shmd_status *status;
	int clients = 0;

	for (size_t i = 0; i < sizeof(globs) / sizeof(globs[0]); i++)
		ck_assert_int_eq(shmd_list(mine, globs[i], tell_secrets, NULL), 0);
	ck_assert_int_eq(shmd_clients(mine, only_ourselves, &clients), 0);
	ck_assert_int_eq(clients, 1);
	/* Sums over all users are told to everybody; what is told by user is one's own. */
	ck_assert_int_eq(shmd_status(mine, &status), 0);
	for (size_t i = 0; i < status->n_limits; i++)
		if (strstr(status->limits[i]->name, "_per_user"))
			ck_assert_uint_eq(status->limits[i]->use,
					  strcmp(status->limits[i]->name, "clients_per_user") == 0);
	shmd_status_free(status);
}

/* Ids are easily guessed: they count. The library asks by them for forked children alone, so here
 * it is done without it. */
static int connect_raw(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct {
		struct wire_header header;
		struct wire_hello hello;
	} packet = {{sizeof(packet), WIRE_HELLO, 0, 1, 0},
		    {.version = WIRE_VERSION, .word_bits = 8 * sizeof(void *)}};
	char reply[1024];
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon_.socket);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(send(fd, &packet, sizeof(packet), 0), sizeof(packet));
	ck_assert_int_gt(recv(fd, reply, sizeof(reply), 0), 0);
	ck_assert_uint_eq(((struct wire_header *)reply)->code, WIRE_OK);
	return fd;
}

/* Returns the code, and the sentence. Descriptors that come with the reply are discarded. */
static unsigned ask_by_id(int fd, enum wire_op op, uint64_t id, unsigned flags,
			  char ret_text[static WIRE_TEXT_SIZE])
{
	struct wire_attach attach = {.id = id, .flags = flags};
	struct wire_detach detach = {.id = id, .flags = flags};
	struct wire_unlink drop = {.id = id};
	const void *body = op == WIRE_ATTACH   ? (void *)&attach
			   : op == WIRE_DETACH ? (void *)&detach
					       : (void *)&drop;
	size_t size = op == WIRE_ATTACH   ? sizeof(attach)
		      : op == WIRE_DETACH ? sizeof(detach)
					  : sizeof(drop);
	struct wire_header header = {(uint32_t)(sizeof(header) + size), (uint16_t)op, 0, 7, 0};
	char packet[1024];

	memcpy(packet, &header, sizeof(header));
	memcpy(packet + sizeof(header), body, size);
	ck_assert_int_eq(send(fd, packet, header.size, 0), header.size);
	ck_assert_int_gt(recv(fd, packet, sizeof(packet), 0), 0);
	memcpy(&header, packet, sizeof(header));
	ret_text[0] = '\0';
	if (header.code != WIRE_OK)
		memcpy(ret_text, packet + sizeof(header), WIRE_TEXT_SIZE);
	return header.code;
}

static void blot_out_digits(char *text)
{
	for (; *text; text++)
		if (isdigit((unsigned char)*text))
			*text = '#';
}

/* An id that exists is answered as one that never did. */
static void ask_by_ids(uint64_t id)
{
	static const struct {
		enum wire_op op;
		unsigned flags;
	} questions[] = {{WIRE_ATTACH, WIRE_READ_ONLY},
			 {WIRE_ATTACH, WIRE_WANT_SEMAPHORE},
			 {WIRE_DETACH, 0},
			 {WIRE_DETACH, WIRE_READ_ONLY},
			 {WIRE_UNLINK, 0}};
	char text[WIRE_TEXT_SIZE], elsewhere[WIRE_TEXT_SIZE];
	int fd = connect_raw();

	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		unsigned code = ask_by_id(fd, questions[i].op, id, questions[i].flags, text);
		ck_assert_msg(code == WIRE_NOT_FOUND, "operation %d by id: code %u, %s",
			      questions[i].op, code, text);
		code = ask_by_id(fd, questions[i].op, id + 1000000, questions[i].flags, elsewhere);
		ck_assert_uint_eq(code, WIRE_NOT_FOUND);
		blot_out_digits(text);
		blot_out_digits(elsewhere);
		ck_assert_str_eq(text, elsewhere);
	}
	close(fd);
}

static uint64_t secret_id;

static void third(struct actor *self, void *context)
{
	(void)context;
	become(OTHER_UID, 64521, 0);
	struct shmd *mine = connect_or_fail();
	ask_by_name(mine);
	ask_for_all(mine);
	ask_by_ids(secret_id);
	try_to_change_semaphore();
	/* Once more, when its name is gone, and it is still in use. */
	actor_tell(self);
	actor_await(self);
	struct shmd_segment *segment;
	ck_assert_int_eq(shmd_attach(mine, "seg", SHMD_READ_ONLY, &segment), -ENOENT);
	ask_for_all(mine);
	ask_by_ids(secret_id);
}

static void secretive_owner(struct actor *self, void *context)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	(void)context;
	become(OWNER_UID, SHARED_GID, 0);
	options.mode = 0640;
	int r = shmd_create(connect_or_fail(), "seg", SECRET_SIZE, &options, &segment);
	ck_assert_msg(r == 0, "create: %d %s", r, shmd_error_message());
	actor_tell(self);
	actor_await(self);
}

/* Who may read it may do so by its id, too, also when the name is gone. */
static void entitled(struct actor *self, void *context)
{
	char text[WIRE_TEXT_SIZE];

	(void)self, (void)context;
	become(MEMBER_UID, 64520, SHARED_GID);
	int fd = connect_raw();
	ck_assert_uint_eq(ask_by_id(fd, WIRE_ATTACH, secret_id, WIRE_READ_ONLY, text), WIRE_OK);
	ck_assert_uint_eq(ask_by_id(fd, WIRE_ATTACH, secret_id, 0, text), WIRE_DENIED);
	ck_assert_uint_eq(ask_by_id(fd, WIRE_UNLINK, secret_id, 0, text), WIRE_DENIED);
	ck_assert_uint_eq(ask_by_id(fd, WIRE_DETACH, secret_id, WIRE_READ_ONLY, text), WIRE_OK);
}

static void as_entitled(void)
{
	struct actor reading;

	actor_start(&reading, entitled, NULL);
	actor_finish(&reading);
}

START_TEST(a_third_user_learns_nothing)
{
	struct actor creating, asking;
	struct shmd_details *details;

	actor_start(&creating, secretive_owner, NULL);
	actor_await(&creating);
	ck_assert_int_eq(shmd_show(connection, "seg", &details), 0);
	strcpy(semaphore_name, details->segment->semaphore);
	secret_id = details->segment->id;
	shmd_details_free(details);
	snprintf(secrets[0], sizeof(secrets[0]), "%s", daemon_.instance);
	add_secret("", OWNER_UID);
	add_secret("", SHARED_GID);
	add_secret("", SECRET_SIZE);
	add_secret("", secret_id);
	add_secret(" ", (uintmax_t)creating.pid);

	actor_start(&asking, third, NULL);
	actor_await(&asking);
	as_entitled();
	ck_assert_int_eq(shmd_unlink(connection, "seg"), 0);
	ck_assert_uint_eq(status_segments(connection), 1);
	actor_tell(&asking);
	actor_finish(&asking);
	as_entitled();
	actor_kill(&creating);
	await_segments(connection, 0);
}
END_TEST

/* An anonymous segment is its maker's alone, whatever its mode. Others cannot ask by id with the
 * library; the unit tests of the registry show that. */
static void anonymous_maker(struct actor *self, void *context)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	(void)context;
	become(OWNER_UID, SHARED_GID, 0);
	options.mode = 0666;
	ck_assert_int_eq(shmd_create(connect_or_fail(), NULL, 4096, &options, &segment), 0);
	actor_tell(self);
	actor_await(self);
}

START_TEST(anonymous_segments_are_hidden)
{
	struct actor creating;
	int seen = 0;

	actor_start(&creating, anonymous_maker, NULL);
	actor_await(&creating);
	ck_assert_int_eq(shmd_list(connection, NULL, count_segments, &seen), 0);
	ck_assert_int_eq(seen, 1);
	pid_t pid = fork();
	if (pid == 0) {
		int segments = 0;
		become(OTHER_UID, 64521, 0);
		ck_assert_int_eq(shmd_list(connection, NULL, count_segments, &segments), 0);
		_exit(segments);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	actor_kill(&creating);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("access");
	TCase *tests = tcase_create("access");

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root, to become several users");
		return 0;
	}
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, mode_decides, 0, 6);
	tcase_add_test(tests, owner_and_root_may_unlink);
	tcase_add_test(tests, read_only_is_the_kernels_word);
	tcase_add_test(tests, readers_lock_and_no_more);
	tcase_add_loop_test(tests, daemon_is_not_to_be_looked_into, 0, 2);
	tcase_add_loop_test(tests, others_see_what_they_may_read, 0, 2);
	tcase_add_test(tests, a_third_user_learns_nothing);
	tcase_add_test(tests, anonymous_segments_are_hidden);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

/* SPDX-License-Identifier: MIT */
/* Several users at one daemon. Needs root, to become them; the daemon runs as a user of its own. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* A reader of another user tries every way to write. */
static void reader(struct actor *self, void *context)
{
	struct shmd_segment *segment;
	char path[64];

	(void)self, (void)context;
	become(OTHER_UID, 64521, 0);
	ck_assert_int_eq(shmd_attach(connect_or_fail(), "seg", SHMD_READ_ONLY, &segment), 0);
	int fd = shmd_segment_fd(segment);
	ck_assert_int_lt(mprotect(shmd_segment_data(segment), 4096, PROT_READ | PROT_WRITE), 0);
	ck_assert_ptr_eq(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	ck_assert_int_lt(write(fd, "x", 1), 0);
	ck_assert_int_lt(ftruncate(fd, 0), 0);
	ck_assert_int_lt(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
	ck_assert_int_lt(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_lt(fchmod(fd, 0666), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ck_assert_int_lt(open(path, O_RDWR), 0);
	ck_assert_int_eq(errno, EACCES);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)daemon_.pid);
	ck_assert_int_lt(open(path, O_RDONLY | O_DIRECTORY), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EPERM);
	ck_assert_str_eq(shmd_segment_data(segment), "the owner's");
}

START_TEST(read_only_is_the_kernels_word)
{
	struct actor creating, reading;

	make_seg(&creating, 0644, 0);
	actor_start(&reading, reader, NULL);
	actor_finish(&reading);
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
	tcase_add_loop_test(tests, others_see_what_they_may_read, 0, 2);
	tcase_add_test(tests, anonymous_segments_are_hidden);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

/* SPDX-License-Identifier: MIT */
/* What still works, and what is said, where the kernel refuses something or /dev/shm has no room. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A user of the tests who has nothing else to do with inotify, or with the daemon. */
#define SOMEBODY 64321

static struct test_daemon daemon_;
static struct shmd *connection;
static bool has_no_permits; /* the library refuses to take them here */

/* Starts the daemon where the kernel seems to lack these. */
static void start_without(const char *features)
{
	const char *before = getenv("SHMD_WRAPPER");
	char wrapper[1024];

	snprintf(wrapper, sizeof(wrapper), "%s/tests/system/deny %s -- %s", getenv("top_builddir"),
		 features, before ? before : "");
	setenv("SHMD_WRAPPER", wrapper, 1);
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
}

static void stop(void)
{
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static void check_degraded(const char *says)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	ck_assert_msg(strstr(status->degraded, says) != NULL, "it says: %s", status->degraded);
	shmd_status_free(status);
	ck_assert(daemon_logged(&daemon_, says));
}

/* --- actors ----------------------------------------------------------------------------------- */

static void owner(struct actor *self, void *context)
{
	(void)context;
	create_or_fail(connect_or_fail(), "seg", 4096, SHMD_LIFETIME_OWNER);
	actor_tell(self);
	actor_await(self);
}

/* Its child holds the socket, and outlives it. */
static void daemonizer(struct actor *self, void *context)
{
	(void)context;
	create_or_fail(connect_or_fail(), "seg", 4096, SHMD_LIFETIME_OWNER);
	if (fork() > 0)
		_exit(0);
	actor_tell(self);
	actor_await(self);
}

/* Its child inherits the mapping alone, and the socket is ended. */
static void forker(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();

	(void)context;
	create_or_fail(mine, "seg", 4096, SHMD_LIFETIME_CLIENTS);
	if (fork() > 0) {
		shmd_disconnect(mine);
		_exit(0);
	}
	actor_tell(self);
	actor_await(self);
}

/* It has one segment whose creator it is, and one that ends with its last client. */
static void holder(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = context ? SHMD_NO_SEMAPHORE : 0;
	options.lifetime = SHMD_LIFETIME_OWNER;
	ck_assert_int_eq(shmd_create(mine, "owned", 4096, &options, &segment), 0);
	options.lifetime = SHMD_LIFETIME_CLIENTS;
	ck_assert_int_eq(shmd_create(mine, "shared", 4096, &options, &segment), 0);
	actor_tell(self);
	actor_await(self);
}

/* --- what always works ------------------------------------------------------------------------ */

/* By name, where the library may not. */
static void check_plain_locking(const struct shmd_segment *segment)
{
	sem_t *semaphore = sem_open(shmd_segment_semaphore(segment), 0);

	ck_assert_ptr_ne(semaphore, SEM_FAILED);
	ck_assert_int_eq(sem_trywait(semaphore), 0);
	ck_assert_int_eq(sem_trywait(semaphore), -1);
	ck_assert_int_eq(sem_post(semaphore), 0);
	sem_close(semaphore);
}

static void check_locking(struct shmd_segment *segment)
{
	if (has_no_permits) {
		check_plain_locking(segment);
		return;
	}
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EAGAIN);
	ck_assert_int_eq(shmd_release(segment), 0);
}

static void check_sharing(unsigned flags)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd *other = connect_or_fail();
	struct shmd_segment *segment;

	options.flags = flags;
	int r = shmd_create(connection, "works", 4096, &options, &segment);
	ck_assert_msg(r == 0, "create: %d %s", r, shmd_error_message());
	strcpy(shmd_segment_data(segment), "seen by all");
	struct shmd_segment *writer = attach_or_fail(other, "works", 0);
	struct shmd_segment *reader = attach_or_fail(other, "works", SHMD_READ_ONLY);
	ck_assert_str_eq(shmd_segment_data(writer), "seen by all");
	ck_assert_str_eq(shmd_segment_data(reader), "seen by all");
	if (!(flags & SHMD_NO_SEMAPHORE))
		check_locking(writer);
	shmd_detach(reader);
	shmd_detach(writer);
	ck_assert_int_eq(shmd_unlink(connection, "works"), 0);
	shmd_detach(segment);
	shmd_disconnect(other);
}

/* Create, attach, lock, unlink, and what a dead client leaves behind is reaped. */
static void check_service(unsigned flags)
{
	uint64_t before = status_segments(connection);
	struct actor actor;

	check_sharing(flags);
	actor_start(&actor, holder, flags & SHMD_NO_SEMAPHORE ? &actor : NULL);
	actor_await(&actor);
	ck_assert(segment_exists(connection, "owned"));
	actor_kill(&actor);
	await_gone(connection, "owned");
	await_gone(connection, "shared");
	await_segments(connection, before);
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(without_peerpidfd)
{
	struct actor actor;

	/* valgrind does not know pidfd_open(2). */
	if (getenv("SHMD_WRAPPER"))
		return;
	start_without("peerpidfd");
	check_service(0);
	actor_start(&actor, owner, NULL);
	actor_await(&actor);
	actor_kill(&actor);
	await_gone(connection, "seg");
	/* Still the process's death that counts, and not its socket's end. */
	actor_start(&actor, daemonizer, NULL);
	actor_await(&actor);
	await_gone(connection, "seg");
	actor_tell(&actor);
	actor_finish(&actor);
	await_segments(connection, 0);
	stop();
}
END_TEST

START_TEST(without_any_pidfd)
{
	struct actor actor;

	start_without("peerpidfd pidfd");
	has_no_permits = true;
	check_service(0);
	actor_start(&actor, owner, NULL);
	actor_await(&actor);
	actor_kill(&actor);
	await_gone(connection, "seg");
	/* End-of-file is all there is: it comes with the last holder of the socket. */
	actor_start(&actor, daemonizer, NULL);
	actor_await(&actor);
	ck_assert(segment_exists(connection, "seg"));
	actor_tell(&actor);
	actor_finish(&actor);
	await_gone(connection, "seg");
	stop();
}
END_TEST

START_TEST(without_leases)
{
	struct actor actor;

	start_without("lease");
	check_degraded("no leases");
	check_service(0);
	/* The heir has the mapping still, but only the books are asked. */
	actor_start(&actor, forker, NULL);
	actor_await(&actor);
	await_gone(connection, "seg");
	await_segments(connection, 0);
	actor_tell(&actor);
	actor_finish(&actor);
	stop();
}
END_TEST

/* Who only inherited a segment keeps it, and its end is found by looking. */
static void check_looking(void)
{
	struct actor actor;

	actor_start(&actor, forker, NULL);
	actor_await(&actor);
	AWAIT(clients_of(connection, "seg") == 0);
	for (int i = 0; i < 50; i++)
		ck_assert(segment_exists(connection, "seg"));
	actor_tell(&actor);
	printf("# without inotify: gone after %.1f ms\n", await_gone(connection, "seg"));
	actor_finish(&actor);
	await_segments(connection, 0);
}

START_TEST(without_inotify)
{
	start_without("inotify");
	check_degraded("no inotify instance (Too many open files)");
	check_service(0);
	check_looking();
	stop();
}
END_TEST

static void take_all_instances(struct actor *self, void *context)
{
	(void)context;
	ck_assert_int_eq(setgid(SOMEBODY), 0);
	ck_assert_int_eq(setuid(SOMEBODY), 0);
	while (inotify_init1(IN_CLOEXEC) >= 0)
		;
	ck_assert_int_eq(errno, EMFILE);
	actor_tell(self);
	actor_await(self);
}

/* The same, with the kernel's own limit: another program of the daemon's user has them all. */
START_TEST(without_inotify_instances_left)
{
	struct actor taker;

	actor_start(&taker, take_all_instances, NULL);
	actor_await(&taker);
	daemon_start_as(&daemon_, NULL, SOMEBODY);
	connection = connect_or_fail();
	check_degraded("no inotify instance (Too many open files)");
	check_service(0);
	check_looking();
	actor_tell(&taker);
	actor_finish(&taker);
	stop();
}
END_TEST

START_TEST(without_inotify_watches_left)
{
	start_without("watches");
	check_service(0);
	check_looking();
	ck_assert(daemon_logged(&daemon_, "no inotify watch to be had (No space left on device)"));
	stop();
}
END_TEST

static mode_t semaphore_mode(const struct shmd_segment *segment)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "/dev/shm/sem.%s", shmd_segment_semaphore(segment));
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void lock_as_somebody(struct actor *self, void *context)
{
	(void)self, (void)context;
	ck_assert_int_eq(setgid(SOMEBODY), 0);
	ck_assert_int_eq(setuid(SOMEBODY), 0);
	struct shmd_segment *segment = attach_or_fail(connect_or_fail(), "open", 0);
	check_locking(segment);
	ck_assert_ptr_eq(sem_open(shmd_segment_semaphore(segment), 0), SEM_FAILED);
	ck_assert_int_eq(errno, EACCES);
}

START_TEST(without_access_control_lists)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct actor actor;

	start_without("acl");
	check_degraded("no access control lists");
	check_service(0);
	/* By descriptor it is to be had all the same; by name, by nobody whom the list would have
	 * kept out. */
	options.mode = 0666;
	ck_assert_int_eq(shmd_create(connection, "open", 1, &options, &segment), 0);
	ck_assert(daemon_logged(&daemon_, "can be had by descriptor only"));
	ck_assert_uint_eq(semaphore_mode(segment), 0600);
	check_locking(segment);
	if (geteuid() == 0) {
		actor_start(&actor, lock_as_somebody, NULL);
		actor_finish(&actor);
	}
	shmd_detach(segment);
	stop();
}
END_TEST

/* --- permits ---------------------------------------------------------------------------------- */

/* Nobody would tell of a holder's death; what remains is the semaphore itself. */
START_TEST(without_any_pidfd_no_permits)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	start_without("peerpidfd pidfd");
	options.permits = _i ? 3 : 1;
	ck_assert_int_eq(shmd_create(connection, "seg", 1, &options, &segment), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), -ENOTSUP);
	ck_assert_str_eq(shmd_error_message(),
			 "the daemon's kernel has no pidfds, so that it could not tell this "
			 "process's death; what remains is sem_open()");
	ck_assert_int_eq(shmd_release(segment), -ENOTSUP);
	ck_assert_int_eq(shmd_keep_until_exit(segment), -ENOTSUP);
	sem_t *raw = sem_open(shmd_segment_semaphore(segment), 0);
	ck_assert_ptr_ne(raw, SEM_FAILED);
	ck_assert_int_eq(sem_trywait(raw), 0);
	ck_assert_int_eq(sem_post(raw), 0);
	sem_close(raw);
	shmd_detach(segment);
	stop();
}
END_TEST

static const char *const no_waitv[] = {"futex_waitv", "futex_waitv-by-filter"};

/* Becomes a program that waits for the permit on such a kernel, and has it until its exit. */
static void lock_without_waitv(struct actor *self, void *context)
{
	char deny[1024];

	(void)self;
	snprintf(deny, sizeof(deny), "%s/tests/system/deny", getenv("top_builddir"));
	execl(deny, deny, (const char *)context, "--", getenv("SHMDCTL"), "lock", "--timeout=10",
	      "seg", "true", NULL);
	_exit(127);
}

/* The system calls that are blocked in: of a process's only child, which is the one that waits. */
static long call_of_child(pid_t pid)
{
	char path[64];
	long call = -1;
	int child = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	FILE *file = fopen(path, "re");
	if (!file || fscanf(file, "%d", &child) != 1)
		child = 0;
	if (file)
		fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/syscall", child);
	file = child ? fopen(path, "re") : NULL;
	if (!file)
		return -1;
	if (fscanf(file, "%ld", &call) != 1)
		call = -1;
	fclose(file);
	return call;
}

/* The client's kernel, not the daemon's. */
START_TEST(without_futex_waitv)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct actor actor;

	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
	options.permits = _i / 2 ? 3 : 1;
	ck_assert_int_eq(shmd_create(connection, "seg", 1, &options, &segment), 0);
	for (unsigned i = 0; i < options.permits; i++)
		ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	actor_start(&actor, lock_without_waitv, (void *)no_waitv[_i % 2]);
	AWAIT(call_of_child(actor.pid) == SYS_futex);
	/* It goes on sleeping, slice by slice. */
	AWAIT(call_of_child(actor.pid) != SYS_futex);
	AWAIT(call_of_child(actor.pid) == SYS_futex);
	double before = now_ms();
	ck_assert_int_eq(shmd_release(segment), 0);
	actor_finish(&actor);
	printf("# without futex_waitv: woken and done after %.1f ms\n", now_ms() - before);
	ck_assert_int_eq(shmd_acquire(segment, 10000), 0);
	shmd_detach(segment);
	stop();
}
END_TEST

/* --- /dev/shm --------------------------------------------------------------------------------- */

#define FILLER "/dev/shm/filler"

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return written;
}

/* A mount namespace, in a user namespace if that is how to get one. */
static bool enter_namespace(void)
{
	char users[64], groups[64];

	snprintf(users, sizeof(users), "%u %u 1", geteuid(), geteuid());
	snprintf(groups, sizeof(groups), "%u %u 1", getegid(), getegid());
	if (unshare(CLONE_NEWNS) < 0 &&
	    (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
	     !write_text("/proc/self/setgroups", "deny") ||
	     !write_text("/proc/self/uid_map", users) || !write_text("/proc/self/gid_map", groups)))
		return false;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool mount_on(const char *folder, unsigned long flags, const char *options)
{
	return mount("tmpfs", folder, "tmpfs", flags, options) == 0;
}

/* In a process of its own, because nothing leads back out of a namespace. */
static bool can_have_own_shm(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(!(enter_namespace() && mount_on("/dev/shm", 0, "size=64k")));
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* From here on, /dev/shm is the test's own, and goes with it. */
static void have_own_shm(const char *options)
{
	ck_assert(enter_namespace());
	ck_assert(mount_on("/dev/shm", 0, options));
}

static void fill_shm(void)
{
	static const char page[4096];
	int fd = open(FILLER, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	while (write(fd, page, sizeof(page)) > 0)
		;
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
}

static void expect_no_room(const char *name)
{
	static const char says[] = "could not make the segment's semaphore in /dev/shm: No space "
				   "left on device";
	unsigned files = daemon_files(&daemon_, "sem.");
	uint64_t segments = status_segments(connection);
	uint64_t bytes = status_bytes(connection);
	struct shmd_segment *segment;

	ck_assert_int_eq(shmd_create(connection, name, 4096, NULL, &segment), -ENOSPC);
	ck_assert_msg(strstr(shmd_error_message(), says) != NULL, "it says: %s",
		      shmd_error_message());
	ck_assert(daemon_logged(&daemon_, says));
	/* Nothing is left of it, and nothing is charged. */
	ck_assert(!segment_exists(connection, name));
	ck_assert_uint_eq(daemon_files(&daemon_, "sem."), files);
	ck_assert_uint_eq(status_segments(connection), segments);
	ck_assert_uint_eq(status_bytes(connection), bytes);
}

/* Degraded is what stays as it is. A user namespace may lack access control lists. */
static void expect_not_degraded_by_that(void)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	ck_assert_msg(strstr(status->degraded, "No space") == NULL, "it says: %s",
		      status->degraded);
	shmd_status_free(status);
}

START_TEST(shm_becomes_full)
{
	have_own_shm("size=256k");
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
	struct shmd *other = connect_or_fail();
	struct shmd_segment *old = create_or_fail(connection, "old", 1, SHMD_LIFETIME_CLIENTS);

	fill_shm();
	expect_no_room("new");
	/* What there is can be attached and locked; what needs no semaphore can be made. */
	struct shmd_segment *attached = attach_or_fail(other, "old", 0);
	check_locking(attached);
	check_service(SHMD_NO_SEMAPHORE);
	/* A page that is given back is one that can be had. */
	shmd_detach(attached);
	shmd_detach(old);
	await_segments(connection, 0);
	old = create_or_fail(connection, "new", 4096, SHMD_LIFETIME_CLIENTS);
	check_locking(old);
	expect_no_room("newer");
	ck_assert_int_eq(unlink(FILLER), 0);
	check_service(0);
	expect_not_degraded_by_that();
	shmd_detach(old);
	shmd_disconnect(other);
	stop();
}
END_TEST

START_TEST(shm_is_full_at_the_start)
{
	static const char says[] = "no semaphore can be made in /dev/shm now (No space left on "
				   "device)";

	have_own_shm("size=256k");
	fill_shm();
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
	ck_assert(daemon_logged(&daemon_, says));
	expect_not_degraded_by_that();
	expect_no_room("new");
	check_service(SHMD_NO_SEMAPHORE);
	ck_assert_int_eq(unlink(FILLER), 0);
	check_service(0);
	/* Who succeeds a daemon that was killed sweeps also where there is no room. */
	struct shmd_segment *left = create_or_fail(connection, "left", 1, SHMD_LIFETIME_OWNER);
	struct test_daemon dead = daemon_;
	fill_shm();
	daemon_kill(&daemon_);
	ck_assert_uint_eq(daemon_files(&dead, ""), 2);
	daemon_start_again(&daemon_);
	ck_assert_uint_eq(daemon_files(&dead, ""), 0);
	shmd_detach(left);
	shmd_disconnect(connection);
	connection = connect_or_fail();
	shmd_detach(create_or_fail(connection, "new", 1, SHMD_LIFETIME_CLIENTS));
	ck_assert_int_eq(unlink(FILLER), 0);
	check_service(0);
	stop();
}
END_TEST

static void be_absent(void)
{
	ck_assert(mount_on("/dev", 0, ""));
}

static void be_read_only(void)
{
	ck_assert(mount_on("/dev/shm", MS_RDONLY, ""));
}

/* One inode is the folder's own. */
static void have_no_inodes(void)
{
	ck_assert(mount_on("/dev/shm", 0, "nr_inodes=1"));
}

static const struct {
	void (*make)(void);
	const char *says;
} unusable[] = {
	{be_absent, "cannot use /dev/shm for semaphores: No such file or directory"},
	{be_read_only, "cannot use /dev/shm for semaphores: Read-only file system"},
	{have_no_inodes, "cannot use /dev/shm for semaphores: No space left on device"},
};

/* Without a file for its lock it does not start, and says why. */
START_TEST(shm_is_unusable_at_the_start)
{
	char folder[] = "/tmp/shmd-test-XXXXXX";
	char config[64], command[512], said[1024];

	ck_assert(enter_namespace());
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(config, sizeof(config), "%s/conf", folder);
	close(open(config, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	unusable[_i].make();
	snprintf(command, sizeof(command), "exec 2>&1; exec timeout 10 \"$SHMD\" -c %s -s %s/s",
		 config, folder);
	FILE *pipe = popen(command, "re");
	ck_assert_ptr_nonnull(pipe);
	said[fread(said, 1, sizeof(said) - 1, pipe)] = '\0';
	int status = pclose(pipe);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status 0x%x: %s", status,
		      said);
	ck_assert_msg(strstr(said, unusable[_i].says) != NULL, "it says: %s", said);
	/* Neither a socket nor a lock stays. */
	ck_assert_int_eq(unlink(config), 0);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("kernels");
	TCase *tests = tcase_create("kernels");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, without_peerpidfd);
	tcase_add_test(tests, without_any_pidfd);
	tcase_add_test(tests, without_leases);
	tcase_add_test(tests, without_inotify);
	tcase_add_test(tests, without_inotify_watches_left);
	tcase_add_test(tests, without_access_control_lists);
	tcase_add_loop_test(tests, without_any_pidfd_no_permits, 0, 2);
	tcase_add_loop_test(tests, without_futex_waitv, 0, 4);
	if (geteuid() == 0)
		tcase_add_test(tests, without_inotify_instances_left);
	else
		puts("# left out: without_inotify_instances_left, which needs root");
	if (can_have_own_shm()) {
		tcase_add_test(tests, shm_becomes_full);
		tcase_add_test(tests, shm_is_full_at_the_start);
		tcase_add_loop_test(tests, shm_is_unusable_at_the_start, 0,
				    sizeof(unusable) / sizeof(unusable[0]));
	} else {
		puts("# left out: the tests of /dev/shm, which need a mount namespace");
	}
	fflush(stdout);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

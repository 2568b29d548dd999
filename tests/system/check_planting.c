/* SPDX-License-Identifier: MIT */
/*
 * What other users plant where the daemon is going to make, lock or remove a file: in /dev/shm, and
 * where its socket is. Whatever it is, the daemon neither opens nor changes it, and works on or says
 * why it cannot. Some run a daemon whose random numbers can be foretold: guessable.c. Needs root, to
 * become several users; the daemon has one of its own.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Users of nobody's, who need no entry in /etc/passwd. */
#define DAEMON_UID 64501
#define OTHER_UID  64504

static struct test_daemon daemon_;
static struct shmd *connection; /* root's */

static void become(uid_t uid)
{
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setresgid(uid, uid, uid), 0);
	ck_assert_int_eq(setresuid(uid, uid, uid), 0);
}

/* --- planting --------------------------------------------------------------------------------- */

#define VICTIM  "/dev/shm/shmd-check-planting-victim"
#define NOWHERE "/dev/shm/shmd-check-planting-nowhere"
#define PUBLIC  "/dev/shm/shmd-check-planting-public" /* a folder in which everybody may write */
#define CONTENT "precious"

/* As many as fit the test; the kinds repeat. */
#define PLANTED_MAX 64

enum kind { A_FILE, A_LINK, A_DANGLING_LINK, A_HARD_LINK, A_FIFO, A_FOLDER, A_SOCKET, KINDS };

static struct planted {
	enum kind kind;
	char path[96];
	struct stat st;
} planted[PLANTED_MAX];
static int n_planted;
static struct stat victim;
static int events = -1; /* inotify's word of whatever is opened that was planted */

/* What the attacker made, and what is the victim by another name, also of tests that failed. */
static void clear_folder(const char *path, bool all)
{
	int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = at < 0 ? NULL : fdopendir(at);
	struct stat target = {0}, st;

	if (!folder)
		return;
	stat(VICTIM, &target);
	for (struct dirent *entry; (entry = readdir(folder));) {
		if (fstatat(at, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (entry->d_name[0] != '.' &&
		    (all || st.st_uid == OTHER_UID ||
		     (st.st_ino == target.st_ino && st.st_dev == target.st_dev)))
			unlinkat(at, entry->d_name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
	}
	closedir(folder);
}

static void clear_planted(void)
{
	clear_folder(PUBLIC, true);
	rmdir(PUBLIC);
	clear_folder("/dev/shm", false);
	unlink(NOWHERE);
}

static void watch(const char *path)
{
	ck_assert_int_gt(inotify_add_watch(events, path,
					   IN_OPEN | IN_ACCESS | IN_MODIFY | IN_CLOSE | IN_CREATE |
						   IN_DONT_FOLLOW | IN_MASK_ADD),
			 0);
}

/* The daemon's own user's, as its keys may be. */
static void make_victim(uid_t uid)
{
	clear_planted();
	int fd = open(VICTIM, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, CONTENT, strlen(CONTENT)), strlen(CONTENT));
	ck_assert_int_eq(fchmod(fd, 0640), 0);
	ck_assert_int_eq(fchown(fd, uid, uid), 0);
	close(fd);
	events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	ck_assert_int_ge(events, 0);
	watch(VICTIM);
	ck_assert_int_eq(lstat(VICTIM, &victim), 0);
}

static int make_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int r = bind(fd, (struct sockaddr *)&address, sizeof(address));
	close(fd);
	return r;
}

static int make_kind(enum kind kind, const char *path)
{
	int fd;

	switch (kind) {
	case A_FILE:
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
		if (fd < 0 || write(fd, CONTENT, strlen(CONTENT)) < 0 || fchmod(fd, 0666) < 0)
			return -1;
		return close(fd);
	case A_LINK:
		return symlink(VICTIM, path);
	case A_DANGLING_LINK:
		return symlink(NOWHERE, path);
	case A_HARD_LINK:
		return link(VICTIM, path);
	case A_FIFO:
		return mkfifo(path, 0666);
	case A_FOLDER:
		return mkdir(path, 0777);
	case A_SOCKET:
		return make_socket(path);
	case KINDS:
		break;
	}
	return -1;
}

static void attacker(struct actor *self, void *context)
{
	const struct planted *what = context;

	(void)self;
	become(OTHER_UID);
	ck_assert_msg(make_kind(what->kind, what->path) == 0, "cannot plant %s: %s", what->path,
		      strerror(errno));
}

/* A hard link is root's work here, as if fs.protected_hardlinks were 0. */
static void plant(enum kind kind, const char *path)
{
	struct planted *what = &planted[n_planted++];
	struct actor planting;

	ck_assert_int_le(n_planted, PLANTED_MAX);
	what->kind = kind;
	snprintf(what->path, sizeof(what->path), "%s", path);
	if (kind == A_HARD_LINK) {
		ck_assert_int_eq(make_kind(kind, path), 0);
	} else {
		actor_start(&planting, attacker, what);
		actor_finish(&planting);
		watch(path);
	}
	ck_assert_int_eq(lstat(path, &what->st), 0);
}

/* One of each kind, whose number stands in its name. */
static void plant_all(const char *before, const char *after)
{
	char path[96];

	for (unsigned kind = 0; kind < KINDS; kind++) {
		snprintf(path, sizeof(path), "/dev/shm/%s%u%s", before, kind, after);
		plant((enum kind)kind, path);
	}
}

static void plant_semaphores(const char *instance)
{
	char before[64];

	snprintf(before, sizeof(before), "sem.shmd-%s-000000000000000", instance);
	plant_all(before, "");
}

static void check_same(const char *path, const struct stat *before, const char *when)
{
	struct stat now;

	ck_assert_msg(lstat(path, &now) == 0, "%s: %s is gone", when, path);
	ck_assert_uint_eq(now.st_ino, before->st_ino);
	ck_assert_uint_eq(now.st_mode, before->st_mode);
	ck_assert_uint_eq(now.st_uid, before->st_uid);
	ck_assert_uint_eq(now.st_gid, before->st_gid);
	ck_assert_int_eq(now.st_size, before->st_size);
	ck_assert_int_eq(now.st_mtim.tv_sec, before->st_mtim.tv_sec);
	ck_assert_int_eq(now.st_mtim.tv_nsec, before->st_mtim.tv_nsec);
}

static void check_content(const char *path)
{
	char text[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(read(fd, text, sizeof(text) - 1), strlen(CONTENT));
	ck_assert_str_eq(text, CONTENT);
	close(fd);
}

/* A name that is a hard link to a file of the daemon's may go, in a sweep: the file may not. */
static void check_untouched(const char *when)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(events, buffer, sizeof(buffer));

	ck_assert_msg(n < 0, "%s: opened (event 0x%x)", when,
		      n < 0 ? 0 : ((struct inotify_event *)buffer)->mask);
	for (int i = 0; i < n_planted; i++)
		if (planted[i].kind != A_HARD_LINK)
			check_same(planted[i].path, &planted[i].st, when);
	check_same(VICTIM, &victim, when);
	ck_assert_int_eq(access(NOWHERE, F_OK), -1);
	check_content(VICTIM);
	for (int i = 0; i < n_planted; i++)
		if (planted[i].kind == A_FILE)
			check_content(planted[i].path);
	while (read(events, buffer, sizeof(buffer)) > 0)
		;
}

static void use_daemon(void)
{
	for (int i = 0; i < 20; i++) {
		struct shmd_segment *segment = create_or_fail(connection, "seg", 4096,
							      SHMD_LIFETIME_OWNER);
		sem_t *semaphore = sem_open(shmd_segment_semaphore(segment), 0);
		ck_assert_ptr_ne(semaphore, SEM_FAILED);
		sem_close(semaphore);
		ck_assert_int_eq(shmd_acquire(segment, 0), 0);
		ck_assert_int_eq(shmd_release(segment), 0);
		shmd_detach(segment);
	}
}

/* Whatever stands where a sweep looks, before the daemon starts, while it runs, when it was killed,
 * and when it ends. */
START_TEST(planted_in_dev_shm)
{
	uid_t uid = _i ? 0 : DAEMON_UID;
	struct test_daemon dead;
	char path[96];

	make_victim(uid);
	plant_all("shmd-0000000", ".lock");
	plant_semaphores("00000000");
	daemon_start_as(&daemon_, NULL, uid);
	connection = connect_or_fail();
	use_daemon();
	check_untouched("started and used");

	plant_semaphores(daemon_.instance);
	use_daemon();
	check_untouched("planted while it ran");

	create_or_fail(connection, "left", 4096, SHMD_LIFETIME_PERSISTENT);
	/* Files are removed on a thread of its own, after the reply. */
	AWAIT(daemon_files(&daemon_, "sem.shmd-") == KINDS + 1);
	daemon_kill(&daemon_);
	dead = daemon_;
	shmd_disconnect(connection);
	daemon_start_again(&daemon_);
	/* What was the dead one's own is swept, and of the others at most the hard link. */
	snprintf(path, sizeof(path), "/dev/shm/shmd-%s.lock", dead.instance);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_uint_eq(daemon_files(&dead, "sem.shmd-"), KINDS - 1);
	connection = connect_or_fail();
	use_daemon();
	check_untouched("swept after a kill");

	plant_semaphores(daemon_.instance);
	shmd_disconnect(connection);
	ck_assert_int_eq(kill(daemon_.pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(daemon_.pid, NULL, 0), daemon_.pid);
	check_untouched("ended");

	daemon_start_again(&daemon_);
	check_untouched("started again after a clean end");
	daemon_stop(&daemon_);
	check_untouched("ended at last");
	clear_planted();
}
END_TEST

/* Starts a second one there, as the daemon's user, and expects it to say why it cannot. Without a
 * socket, it is a user's own. */
static void expect_no_start(const char *socket, const char *says)
{
	char program[96], said[1024] = "";
	int status, ends[2];
	size_t size = 0;

	snprintf(program, sizeof(program), "%s/shmd", daemon_.folder);
	ck_assert_int_eq(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		become(DAEMON_UID);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		execl(program, "shmd", "-c", "/dev/null", socket ? "-s" : "--user", socket, NULL);
		_exit(127);
	}
	close(ends[1]);
	for (ssize_t n; (n = read(ends[0], said + size, sizeof(said) - 1 - size)) > 0;)
		size += (size_t)n;
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status 0x%x: %s", status,
		      said);
	ck_assert_msg(strstr(said, says) != NULL, "it says: %s", said);
}

/* A folder of that user in which all may write, and it may remove what is others'. */
static void make_public(uid_t uid)
{
	ck_assert_int_eq(mkdir(PUBLIC, 0700), 0);
	ck_assert_int_eq(chown(PUBLIC, uid, uid), 0);
	ck_assert_int_eq(chmod(PUBLIC, 01777), 0);
}

START_TEST(planted_beside_the_socket)
{
	uid_t uid = _i % 2 ? 0 : DAEMON_UID;

	make_victim(DAEMON_UID);
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	make_public(uid);
	plant((enum kind)(_i / 2), PUBLIC "/a.lock");
	plant((enum kind)(_i / 2), PUBLIC "/b");
	expect_no_start(PUBLIC "/a", PUBLIC "/a");
	expect_no_start(PUBLIC "/b", PUBLIC "/b");
	check_untouched("refused to start");
	daemon_stop(&daemon_);
	clear_planted();
}
END_TEST

/* The folder that --user makes, where $XDG_RUNTIME_DIR is not what it should be. */
START_TEST(planted_for_a_users_own)
{
	make_victim(DAEMON_UID);
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	make_public(0);
	setenv("XDG_RUNTIME_DIR", PUBLIC, 1);
	plant((enum kind)_i, PUBLIC "/shmd");
	expect_no_start(NULL, PUBLIC "/shmd");
	check_untouched("refused to start");
	daemon_stop(&daemon_);
	clear_planted();
}
END_TEST

/* One that leads to a folder of the daemon's, which another user could exchange. */
START_TEST(a_link_for_a_users_own)
{
	make_victim(DAEMON_UID);
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	make_public(0);
	setenv("XDG_RUNTIME_DIR", PUBLIC, 1);
	ck_assert_int_eq(symlink(daemon_.folder, PUBLIC "/shmd"), 0);
	expect_no_start(NULL, PUBLIC "/shmd");
	ck_assert_int_eq(access(PUBLIC "/shmd/shmd.sock", F_OK), -1);
	daemon_stop(&daemon_);
	clear_planted();
}
END_TEST

/* --- where the daemon is going to be ----------------------------------------------------------- */

/* Tries until a daemon gives up; see instance.c and semaphore.c. */
#define TRIES 16

/* Other tests, at the same time, have instances of other numbers. */
static unsigned first_instance(void)
{
	return (unsigned)getpid() << 10;
}

static void make_guessable(unsigned instance)
{
	char text[32];

	snprintf(text, sizeof(text), "%x", instance);
	setenv("SHMD_TEST_RANDOM", text, 1);
}

static void use_guessable(void)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/tests/system/guessable", getenv("top_builddir"));
	setenv("SHMD", path, 1);
	make_guessable(first_instance());
}

static const char *lock_of(unsigned instance)
{
	static char path[64];

	snprintf(path, sizeof(path), "/dev/shm/shmd-%08x.lock", instance);
	return path;
}

static const char *semaphore_of(unsigned instance, unsigned number)
{
	static char name[64];

	snprintf(name, sizeof(name), "shmd-%08x-%016x", instance, number);
	return name;
}

static void plant_semaphore(enum kind kind, unsigned instance, unsigned number)
{
	char path[96];

	snprintf(path, sizeof(path), "/dev/shm/sem.%s", semaphore_of(instance, number));
	plant(kind, path);
}

/* The name that the next semaphore is going to have, the one after it, and so on. */
static void plant_coming(unsigned instance, unsigned first)
{
	for (unsigned kind = 0; kind < KINDS; kind++)
		plant_semaphore((enum kind)kind, instance, first + kind);
}

static void expect_semaphore(unsigned instance, unsigned number)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_OWNER);
	const char *name = shmd_segment_semaphore(segment);

	ck_assert_str_eq(name, semaphore_of(instance, number));
	sem_t *semaphore = sem_open(name, 0);
	ck_assert_ptr_ne(semaphore, SEM_FAILED);
	sem_close(semaphore);
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	shmd_detach(segment);
}

static void stop(void)
{
	shmd_disconnect(connection);
	ck_assert_int_eq(kill(daemon_.pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(daemon_.pid, NULL, 0), daemon_.pid);
}

/* Its lock, the semaphore that it tries lists with, and a segment's: each finds one of each kind where
 * it was going to be, and is the next that is free. */
START_TEST(planted_where_it_is_going_to_be)
{
	uid_t uid = _i ? 0 : DAEMON_UID;
	unsigned first = first_instance(), instance = first + KINDS;

	make_victim(uid);
	use_guessable();
	for (unsigned kind = 0; kind < KINDS; kind++)
		plant((enum kind)kind, lock_of(first + kind));
	plant_coming(instance, 1);
	daemon_start_as(&daemon_, NULL, uid);
	connection = connect_or_fail();
	check_untouched("started");
	ck_assert_uint_eq(strtoul(daemon_.instance, NULL, 16), instance);

	expect_semaphore(instance, KINDS + 2);
	plant_coming(instance, KINDS + 3);
	expect_semaphore(instance, 2 * KINDS + 3);
	check_untouched("used");
	stop();
	check_untouched("ended");
	/* With numbers of its own, it has nothing in its way. */
	make_guessable(instance + 1);
	daemon_start_again(&daemon_);
	check_untouched("swept");
	daemon_stop(&daemon_);
	clear_planted();
}
END_TEST

/* So many that it gives up: it says so, and what needs no file goes on. */
START_TEST(planted_wherever_it_tries)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	unsigned instance = first_instance();
	struct shmd_segment *segment;
	char socket[128];

	make_victim(DAEMON_UID);
	use_guessable();
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	connection = connect_or_fail();
	for (unsigned i = 0; i < TRIES; i++)
		plant_semaphore((enum kind)(i % KINDS), instance, 2 + i);
	ck_assert_int_lt(shmd_create(connection, "seg", 1, NULL, &segment), 0);
	ck_assert_msg(strstr(shmd_error_message(), "/dev/shm") != NULL, "it says: %s",
		      shmd_error_message());
	options.flags = SHMD_NO_SEMAPHORE;
	ck_assert_int_eq(shmd_create(connection, "seg", 1, &options, &segment), 0);
	shmd_detach(segment);
	expect_semaphore(instance, 2 + TRIES);

	for (unsigned i = 0; i < TRIES; i++)
		plant((enum kind)(i % KINDS), lock_of(instance + 1 + i));
	make_guessable(instance + 1);
	snprintf(socket, sizeof(socket), "%s/another", daemon_.folder);
	expect_no_start(socket, "/dev/shm");
	check_untouched("given up");
	stop();
	check_untouched("ended");
	make_guessable(instance + 1 + TRIES);
	daemon_start_again(&daemon_);
	daemon_stop(&daemon_);
	clear_planted();
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("planting");
	TCase *tests = tcase_create("planted");

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root, to become several users");
		return 0;
	}
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, planted_in_dev_shm, 0, 2);
	tcase_add_loop_test(tests, planted_beside_the_socket, 0, 2 * KINDS);
	tcase_add_loop_test(tests, planted_for_a_users_own, 0, KINDS);
	tcase_add_test(tests, a_link_for_a_users_own);
	tcase_add_loop_test(tests, planted_where_it_is_going_to_be, 0, 2);
	tcase_add_test(tests, planted_wherever_it_tries);
	suite_add_tcase(suite, tests);
	int status = run_suite(suite);
	clear_planted();
	return status;
}

/* SPDX-License-Identifier: MIT */
/*
 * Files in /dev/shm under names that the daemon may use or look at, made by others, and what others try
 * with the daemon's own. The row has a /dev/shm of its own.
 */
#include "hostile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile_raw.h"

#define SHM "/dev/shm/"

/* Of the daemon's user, and what links and symbolic links lead to. */
#define PRECIOUS SHM "precious"

/* --- what is planted ---------------------------------------------------------------------------- */

typedef int plant_fn(const char *path);

static int plant_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0 || write(fd, "planted", 7) != 7)
		return -1;
	return close(fd);
}

static int plant_open_file(const char *path)
{
	return plant_file(path) < 0 ? -1 : chmod(path, 0666);
}

static int plant_symlink(const char *path)
{
	return symlink(PRECIOUS, path);
}

static int plant_dangling(const char *path)
{
	return symlink(SHM "made-by-mistake", path);
}

static int plant_fifo(const char *path)
{
	return mkfifo(path, 0666);
}

static int plant_folder(const char *path)
{
	return mkdir(path, 0777);
}

static const struct planted {
	const char *name; /* %s: the instance's */
	plant_fn *plant;
} planted[] = {
	/* Of instances that seem to be dead. */
	{"shmd-00000001.lock", plant_file},
	{"shmd-00000002.lock", plant_open_file},
	{"shmd-00000003.lock", plant_symlink},
	{"shmd-00000004.lock", plant_dangling},
	{"shmd-00000005.lock", plant_fifo},
	{"shmd-00000006.lock", plant_folder},
	{"sem.shmd-00000001-0123456789abcdef", plant_file},
	{"sem.shmd-00000003-0123456789abcdef", plant_symlink},
	{"sem.shmd-00000005-0123456789abcdef", plant_fifo},
	/* Of the one that lives, as soon as its name is known. */
	{"sem.shmd-%s-0000000000000000", plant_file},
	{"sem.shmd-%s-0000000000000001", plant_open_file},
	{"sem.shmd-%s-0000000000000002", plant_symlink},
	{"sem.shmd-%s-0000000000000003", plant_dangling},
	{"sem.shmd-%s-0000000000000004", plant_fifo},
	{"sem.shmd-%s-0000000000000005", plant_folder},
	{"sem.shmd-%s-", plant_file},
	{"shmd-%s.lock.new", plant_symlink},
};
#define PLANTED (sizeof(planted) / sizeof(planted[0]))

static struct stat before[PLANTED], precious_before;

static bool is_of_the_living(const struct planted *what)
{
	return strstr(what->name, "%s") != NULL;
}

static void path_of(const struct planted *what, char ret[static 128])
{
	int n = snprintf(ret, 128, SHM);
	const char *at = strstr(what->name, "%s");

	if (at)
		snprintf(ret + n, 128 - (size_t)n, "%.*s%s%s", (int)(at - what->name), what->name,
			 stage_daemon.instance, at + 2);
	else
		snprintf(ret + n, 128 - (size_t)n, "%s", what->name);
}

/* By another user. */
static void plant(bool of_the_living)
{
	char path[128];
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		become(HOSTILE_UID);
		umask(0);
		for (size_t i = 0; i < PLANTED; i++) {
			path_of(&planted[i], path);
			if (is_of_the_living(&planted[i]) == of_the_living &&
			    planted[i].plant(path) < 0)
				_exit(1);
		}
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

static void look_at_planted(bool of_the_living)
{
	char path[128];

	for (size_t i = 0; i < PLANTED; i++) {
		path_of(&planted[i], path);
		if (is_of_the_living(&planted[i]) == of_the_living)
			ck_assert_int_eq(lstat(path, &before[i]), 0);
	}
}

/* A file of the daemon's user, and a second name of it, which looks like a dead instance's lock. */
static void make_precious(void)
{
	ck_assert_int_eq(plant_file(PRECIOUS), 0);
	ck_assert_int_eq(chmod(PRECIOUS, 0600), 0);
	ck_assert_int_eq(chown(PRECIOUS, DAEMON_UID, DAEMON_UID), 0);
	ck_assert_int_eq(link(PRECIOUS, SHM "shmd-00000007.lock"), 0);
	ck_assert_int_eq(stat(PRECIOUS, &precious_before), 0);
}

static void plant_before_the_start(void)
{
	own_shm("mode=1777,size=64m");
	make_precious();
	plant(false);
	look_at_planted(false);
}

static void plant_for_the_living(void)
{
	plant(true);
	look_at_planted(true);
}

/* --- whether it was touched ----------------------------------------------------------------------- */

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void expect_untouched(const char *path, const struct stat *was)
{
	struct stat is;

	ck_assert_msg(lstat(path, &is) == 0, "%s is gone", path);
	ck_assert_msg(is.st_ino == was->st_ino && is.st_mode == was->st_mode &&
			      is.st_uid == was->st_uid && is.st_nlink == was->st_nlink,
		      "%s is another, or changed hands", path);
	ck_assert_msg(is.st_size == was->st_size && is_same_time(&is.st_mtim, &was->st_mtim) &&
			      is_same_time(&is.st_ctim, &was->st_ctim),
		      "%s was written to", path);
	/* Nothing has opened the file and read it, or followed the link. */
	ck_assert_msg(is_same_time(&is.st_atim, &was->st_atim), "%s was read", path);
}

/* What is left of guesses, as their makers were killed. */
static void remove_guesses(void)
{
	DIR *folder = opendir("/dev/shm");
	struct stat st;

	ck_assert_ptr_nonnull(folder);
	for (struct dirent *entry; (entry = readdir(folder));)
		if (fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISLNK(st.st_mode))
			unlinkat(dirfd(folder), entry->d_name, 0);
	closedir(folder);
}

/* Those of the living stand in the way of the harness's own look. */
static void expect_all_untouched(void)
{
	char path[128];

	expect_untouched(PRECIOUS, &precious_before);
	for (size_t i = 0; i < PLANTED; i++) {
		path_of(&planted[i], path);
		expect_untouched(path, &before[i]);
		ck_assert_int_eq(remove(path), 0);
	}
	ck_assert_int_ne(access(SHM "made-by-mistake", F_OK), 0);
	remove_guesses();
}

/* --- the daemon's own ----------------------------------------------------------------------------- */

static void try_file(const char *name)
{
	char path[300], other[320];

	snprintf(path, sizeof(path), SHM "%s", name);
	snprintf(other, sizeof(other), SHM "stolen-%d", (int)getpid());
	must_fail("opening the daemon's file", open(path, O_RDWR | O_CLOEXEC));
	must_fail("reading the daemon's file", open(path, O_RDONLY | O_CLOEXEC));
	must_fail("truncating the daemon's file", truncate(path, 0));
	must_fail("removing the daemon's file", unlink(path));
	must_fail("renaming the daemon's file", rename(path, other));
	must_fail("taking the place of the daemon's file",
		  renameat2(AT_FDCWD, SHM "shmd-00000001.lock", AT_FDCWD, path, RENAME_EXCHANGE));
	must_fail("changing the daemon's file", chmod(path, 0666));
}

static bool is_the_daemons(const char *name)
{
	struct stat st;
	char path[300];

	snprintf(path, sizeof(path), SHM "%s", name);
	return strstr(name, stage_daemon.instance) && lstat(path, &st) == 0 &&
	       st.st_uid == DAEMON_UID;
}

/* Names with numbers that somebody guessed. */
static void guess_names(void)
{
	char path[128];

	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), SHM "sem.shmd-%s-%08lx%08lx", stage_daemon.instance,
			 (unsigned long)random(), (unsigned long)random());
		if (symlink(PRECIOUS, path) == 0)
			unlink(path);
	}
}

static void look_around(const struct hostile *self)
{
	DIR *folder = opendir("/dev/shm");

	(void)self;
	if (!folder)
		return;
	for (struct dirent *entry; (entry = readdir(folder));)
		if (is_the_daemons(entry->d_name))
			try_file(entry->d_name);
	closedir(folder);
	guess_names();
	/* Something to do for the daemon; not with a semaphore, which would be ours to open. */
	struct wire_create create = raw_creation("");
	create.flags = WIRE_NO_SEMAPHORE;
	create.permits = 0;
	raw_ask(WIRE_CREATE, &create, sizeof(create));
	raw_end();
}

static const struct behaviour rows[] = {
	{.name = "files, links, FIFOs and folders planted",
	 .act = look_around,
	 .processes = 2,
	 .users = 2,
	 .before = plant_before_the_start,
	 .set_up = plant_for_the_living,
	 .check = expect_all_untouched,
	 .must = ACCEPTED | REFUSED},
};

const struct behaviours hostile_files = BEHAVIOURS(rows);

/* SPDX-License-Identifier: MIT */
/* What a sweep removes, and what it must leave. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/instance.h"

#define DEAD "0123abcd"

static struct instance instance;

static const char *in_folder(const char *name)
{
	static char path[sizeof(unit_folder) + 256];

	snprintf(path, sizeof(path), "%s/%s", unit_folder, name);
	return path;
}

static void touch(const char *name)
{
	unit_write(name, "x", 1);
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(in_folder(name), &st) == 0;
}

static void set_up(void)
{
	ck_assert_int_eq(instance_init(&instance, unit_folder), 0);
}

static void tear_down(void)
{
	instance_fini(&instance);
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
	instance_fini(&instance);
}

static void remove_all(const char *const *names)
{
	for (; *names; names++)
		ck_assert_int_eq(remove(in_folder(*names)), 0);
}

START_TEST(it_has_a_name_and_holds_its_lock)
{
	char lock[32];
	struct stat st;

	ck_assert_uint_eq(strlen(instance.name), 8);
	ck_assert_uint_eq(strspn(instance.name, "0123456789abcdef"), 8);
	snprintf(lock, sizeof(lock), "shmd-%s.lock", instance.name);
	ck_assert_int_eq(stat(in_folder(lock), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	_cleanup_close_ int other = open(in_folder(lock), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), -1);
	ck_assert_int_eq(errno, EWOULDBLOCK);
}
END_TEST

START_TEST(two_have_different_names)
{
	struct instance other;

	ck_assert_int_eq(instance_init(&other, unit_folder), 0);
	ck_assert_str_ne(instance.name, other.name);
	instance_fini(&other);
}
END_TEST

START_TEST(the_dead_are_swept)
{
	touch("shmd-" DEAD ".lock");
	touch("sem.shmd-" DEAD "-1");
	touch("sem.shmd-" DEAD "-0123456789abcdef");
	ck_assert_int_eq(instance_sweep(&instance), 2);
	ck_assert_uint_eq(unit_entries(unit_folder), 1);
	ck_assert_int_eq(instance_sweep(&instance), 0);
}
END_TEST

START_TEST(our_own_is_not_swept)
{
	char semaphore[64];

	snprintf(semaphore, sizeof(semaphore), "sem.shmd-%s-1", instance.name);
	touch(semaphore);
	ck_assert_int_eq(instance_sweep(&instance), 0);
	ck_assert_uint_eq(unit_entries(unit_folder), 2);
	ck_assert_int_eq(unlink(in_folder(semaphore)), 0);
}
END_TEST

static void hold_lock(void *context)
{
	int fd = open(in_folder(context), O_RDWR);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		_exit(1);
}

START_TEST(the_living_are_left_until_they_die)
{
	char lock[] = "shmd-" DEAD ".lock";

	touch(lock);
	touch("sem.shmd-" DEAD "-1");
	struct unit_child child = unit_fork(hold_lock, lock);
	ck_assert_int_eq(instance_sweep(&instance), 0);
	ck_assert(exists(lock));
	ck_assert(exists("sem.shmd-" DEAD "-1"));
	unit_join(&child);
	ck_assert_int_eq(instance_sweep(&instance), 1);
}
END_TEST

START_TEST(what_is_not_ours_by_name_is_left)
{
	static const char *const others[] = {"shmd-0123abc.lock",
					     "shmd-0123abcde.lock",
					     "shmd-0123ABCD.lock",
					     "shmd-0123abcd.lockx",
					     "xshmd-0123abcd.lock",
					     "sem.shmd-0123abce-1",
					     "sem.other",
					     "sem.shmd-0123abcd",
					     "xsem.shmd-0123abcd-1",
					     NULL};

	for (const char *const *name = others; *name; name++)
		touch(*name);
	touch("shmd-" DEAD ".lock");
	ck_assert_int_eq(instance_sweep(&instance), 0);
	ck_assert(!exists("shmd-" DEAD ".lock"));
	remove_all(others);
}
END_TEST

/* A FIFO would hold up who opens it, a link would lead elsewhere. */
START_TEST(what_was_planted_is_left)
{
	static const char *const planted[] = {"shmd-00000001.lock",
					      "shmd-00000002.lock",
					      "shmd-00000003.lock",
					      "shmd-00000004.lock",
					      "sem.shmd-00000001-1",
					      "sem.shmd-00000002-1",
					      "sem.shmd-00000003-1",
					      "sem.shmd-" DEAD "-2",
					      "sem.shmd-" DEAD "-3",
					      "sem.shmd-" DEAD "-4",
					      "target",
					      NULL};

	touch("target");
	ck_assert_int_eq(symlink("target", in_folder("shmd-00000001.lock")), 0);
	ck_assert_int_eq(mkfifo(in_folder("shmd-00000002.lock"), 0600), 0);
	ck_assert_int_eq(mkdir(in_folder("shmd-00000003.lock"), 0700), 0);
	ck_assert_int_eq(symlink("nowhere", in_folder("shmd-00000004.lock")), 0);
	touch("sem.shmd-00000001-1");
	touch("sem.shmd-00000002-1");
	touch("sem.shmd-00000003-1");
	touch("shmd-" DEAD ".lock");
	ck_assert_int_eq(symlink("target", in_folder("sem.shmd-" DEAD "-2")), 0);
	ck_assert_int_eq(mkfifo(in_folder("sem.shmd-" DEAD "-3"), 0600), 0);
	ck_assert_int_eq(mkdir(in_folder("sem.shmd-" DEAD "-4"), 0700), 0);

	ck_assert_int_eq(instance_sweep(&instance), 0);
	ck_assert(!exists("shmd-" DEAD ".lock"));
	remove_all(planted);
}
END_TEST

START_TEST(other_users_are_left)
{
	static const char *const theirs[] = {"shmd-" DEAD ".lock", "sem.shmd-" DEAD "-1",
					     "sem.shmd-00000005-1", NULL};

	/* Only root can give a file away. */
	if (geteuid() != 0)
		return;
	touch("shmd-" DEAD ".lock");
	touch("sem.shmd-" DEAD "-1");
	touch("shmd-00000005.lock");
	touch("sem.shmd-00000005-1");
	ck_assert_int_eq(chown(in_folder("shmd-" DEAD ".lock"), 1001, 1001), 0);
	ck_assert_int_eq(chown(in_folder("sem.shmd-00000005-1"), 1001, 1001), 0);
	ck_assert_int_eq(instance_sweep(&instance), 0);
	remove_all(theirs);
}
END_TEST

START_TEST(a_missing_folder_is_an_error)
{
	struct instance other;
	unsigned before = unit_descriptors();

	ck_assert_int_eq(instance_init(&other, "/proc/none"), -ENOENT);
	ck_assert_uint_eq(unit_descriptors(), before);
	instance_fini(&other);
}
END_TEST

START_TEST(descriptors_do_not_leak)
{
	unsigned before = unit_descriptors();

	touch("shmd-" DEAD ".lock");
	touch("sem.shmd-" DEAD "-1");
	ck_assert_int_eq(instance_sweep(&instance), 1);
	ck_assert_uint_eq(unit_descriptors(), before);
	ck_assert_int_eq(fcntl(instance.folder, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(instance.lock, F_GETFD), FD_CLOEXEC);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, it_has_a_name_and_holds_its_lock);
	tcase_add_test(tests, two_have_different_names);
	tcase_add_test(tests, the_dead_are_swept);
	tcase_add_test(tests, our_own_is_not_swept);
	tcase_add_test(tests, the_living_are_left_until_they_die);
	tcase_add_test(tests, what_is_not_ours_by_name_is_left);
	tcase_add_test(tests, what_was_planted_is_left);
	tcase_add_test(tests, other_users_are_left);
	tcase_add_test(tests, a_missing_folder_is_an_error);
	tcase_add_test(tests, descriptors_do_not_leak);
}

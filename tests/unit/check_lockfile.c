/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/lockfile.h"

#define NAME "the.lock"

static int folder;
static unsigned descriptors;

static void set_up(void)
{
	folder = open(unit_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(folder, 0);
	descriptors = unit_descriptors();
}

static void tear_down(void)
{
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
	folder = close_fd(folder);
}

START_TEST(it_is_made_private_and_removed)
{
	struct stat st;
	int fd = lockfile_take(folder, NAME);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstatat(folder, NAME, &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(lockfile_remove(folder, NAME, fd), -1);
}
END_TEST

START_TEST(it_is_held_once)
{
	int fd = lockfile_take(folder, NAME);

	ck_assert_int_eq(lockfile_take(folder, NAME), -EWOULDBLOCK);
	ck_assert_int_eq(lockfile_take_existing(folder, NAME), -EWOULDBLOCK);
	lockfile_remove(folder, NAME, fd);
	fd = lockfile_take(folder, NAME);
	ck_assert_int_ge(fd, 0);
	lockfile_remove(folder, NAME, fd);
}
END_TEST

static void take_it(void *context)
{
	(void)context;
	if (lockfile_take(folder, NAME) < 0)
		_exit(1);
}

START_TEST(it_goes_with_its_holder)
{
	struct unit_child child = unit_fork(take_it, NULL);

	ck_assert_int_eq(lockfile_take(folder, NAME), -EWOULDBLOCK);
	unit_join(&child);
	int fd = lockfile_take_existing(folder, NAME);
	ck_assert_int_ge(fd, 0);
	lockfile_remove(folder, NAME, fd);
}
END_TEST

START_TEST(an_existing_one_must_exist)
{
	ck_assert_int_eq(lockfile_take_existing(folder, NAME), -ENOENT);
}
END_TEST

static void expect_refused(void)
{
	ck_assert_int_eq(lockfile_take(folder, NAME), -EPERM);
	ck_assert_int_eq(lockfile_take_existing(folder, NAME), -EPERM);
}

/* Opening a FIFO would wait for its other end, and a link leads elsewhere. */
START_TEST(what_was_planted_is_refused)
{
	unit_write("target", "x", 1);
	ck_assert_int_eq(symlinkat("target", folder, NAME), 0);
	expect_refused();
	ck_assert_int_eq(unlinkat(folder, NAME, 0), 0);
	ck_assert_int_eq(symlinkat("nowhere", folder, NAME), 0);
	expect_refused();
	ck_assert_int_eq(faccessat(folder, "nowhere", F_OK, 0), -1);
	ck_assert_int_eq(unlinkat(folder, NAME, 0), 0);
	ck_assert_int_eq(mkfifoat(folder, NAME, 0600), 0);
	expect_refused();
	ck_assert_int_eq(unlinkat(folder, NAME, 0), 0);
	ck_assert_int_eq(mkdirat(folder, NAME, 0700), 0);
	expect_refused();
	ck_assert_int_eq(unlinkat(folder, NAME, AT_REMOVEDIR), 0);
	ck_assert_int_eq(linkat(folder, "target", folder, NAME, 0), 0);
	expect_refused();
	ck_assert_int_eq(unlinkat(folder, NAME, 0), 0);
	ck_assert_int_eq(unlinkat(folder, "target", 0), 0);
}
END_TEST

START_TEST(another_users_file_is_refused)
{
	/* Only root can give a file away. */
	if (geteuid() != 0)
		return;
	unit_write(NAME, "x", 1);
	ck_assert_int_eq(fchownat(folder, NAME, 1001, 1001, 0), 0);
	expect_refused();
	ck_assert_int_eq(unlinkat(folder, NAME, 0), 0);
}
END_TEST

START_TEST(no_descriptor_no_removal)
{
	unit_write(NAME, "x", 1);
	ck_assert_int_eq(lockfile_remove(folder, NAME, -1), -1);
	ck_assert_int_eq(unlinkat(folder, NAME, 0), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, it_is_made_private_and_removed);
	tcase_add_test(tests, it_is_held_once);
	tcase_add_test(tests, it_goes_with_its_holder);
	tcase_add_test(tests, an_existing_one_must_exist);
	tcase_add_test(tests, what_was_planted_is_refused);
	tcase_add_test(tests, another_users_file_is_refused);
	tcase_add_test(tests, no_descriptor_no_removal);
}

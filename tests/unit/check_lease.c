/* SPDX-License-Identifier: MIT */
/* "Does anybody else have it?", asked of the kernel in every way that somebody can have it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/lease.h"
#include "core/memory.h"

#define SIZE 4096

static int fd; /* as the daemon has it: opened again, the original closed */

static void set_up(void)
{
	struct refusal why;
	int original;

	ck_assert_int_eq(memory_new("unit", SIZE, 0, &original, &why), 0);
	/* The original is not counted as a writer: alone it says no, and beside one other description
	 * both say yes. So it is closed before anybody is asked. */
	ck_assert(lease_ask(original) == LEASE_SHARED);
	fd = memory_reopen(original, false);
	ck_assert_int_ge(fd, 0);
	close_fd(original);
	ck_assert(lease_ask(fd) == LEASE_SOLE_USER);
}

static void tear_down(void)
{
	ck_assert(lease_ask(fd) == LEASE_SOLE_USER);
	fd = close_fd(fd);
}

START_TEST(the_self_test_passes)
{
	unsigned before = unit_descriptors();

	ck_assert_int_eq(lease_self_test(), 0);
	ck_assert_uint_eq(unit_descriptors(), before);
}
END_TEST

START_TEST(asking_leaves_no_lease)
{
	ck_assert(lease_ask(fd) == LEASE_SOLE_USER);
	ck_assert_int_eq(fcntl(fd, F_GETLEASE), F_UNLCK);
}
END_TEST

START_TEST(another_description_says_no)
{
	int other = memory_reopen(fd, false);

	ck_assert(lease_ask(fd) == LEASE_SHARED);
	close_fd(other);
}
END_TEST

START_TEST(a_read_only_description_says_no)
{
	int other = memory_reopen(fd, true);

	ck_assert(lease_ask(fd) == LEASE_SHARED);
	close_fd(other);
}
END_TEST

static void expect_no_while_mapped(bool read_only)
{
	int other = memory_reopen(fd, read_only);
	int protection = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	char *p = mmap(NULL, SIZE, protection, MAP_SHARED, other, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	close_fd(other);
	ck_assert(lease_ask(fd) == LEASE_SHARED);
	munmap(p, SIZE);
}

START_TEST(a_mapping_alone_says_no)
{
	expect_no_while_mapped(false);
	expect_no_while_mapped(true);
}
END_TEST

START_TEST(a_descriptor_in_flight_says_no)
{
	int other = memory_reopen(fd, false);
	int ends[2];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (char[]){'x'}, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &other, sizeof(other));
	ck_assert_int_eq(sendmsg(ends[0], &message, 0), 1);
	close_fd(other);
	close_fd(ends[0]);
	ck_assert(lease_ask(fd) == LEASE_SHARED);
	close_fd(ends[1]);
}
END_TEST

START_TEST(a_forked_child_with_its_descriptor_says_no)
{
	int other = memory_reopen(fd, false);
	struct unit_child child = unit_fork(NULL, NULL);

	close_fd(other);
	ck_assert(lease_ask(fd) == LEASE_SHARED);
	unit_join(&child);
}
END_TEST

static void close_all(void *context)
{
	close_fd(*(int *)context);
	close_fd(fd);
}

START_TEST(a_forked_child_with_its_mapping_says_no)
{
	int other = memory_reopen(fd, false);
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
	struct unit_child child = unit_fork(close_all, &other);

	close_fd(other);
	munmap(p, SIZE);
	ck_assert(lease_ask(fd) == LEASE_SHARED);
	unit_join(&child);
}
END_TEST

/* A duplicate is the same description: as good as ours. */
START_TEST(a_duplicate_does_not_count)
{
	int again = dup(fd);

	ck_assert(lease_ask(fd) == LEASE_SOLE_USER);
	close_fd(again);
}
END_TEST

/* design.md, fact 3: such a one is not seen. */
START_TEST(an_o_path_descriptor_does_not_count)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int other = open(path, O_PATH | O_CLOEXEC);
	ck_assert_int_ge(other, 0);
	ck_assert(lease_ask(fd) == LEASE_SOLE_USER);
	close_fd(other);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, the_self_test_passes);
	tcase_add_test(tests, asking_leaves_no_lease);
	tcase_add_test(tests, another_description_says_no);
	tcase_add_test(tests, a_read_only_description_says_no);
	tcase_add_test(tests, a_mapping_alone_says_no);
	tcase_add_test(tests, a_descriptor_in_flight_says_no);
	tcase_add_test(tests, a_forked_child_with_its_descriptor_says_no);
	tcase_add_test(tests, a_forked_child_with_its_mapping_says_no);
	tcase_add_test(tests, a_duplicate_does_not_count);
	tcase_add_test(tests, an_o_path_descriptor_does_not_count);
}

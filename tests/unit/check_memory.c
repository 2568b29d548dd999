/* SPDX-License-Identifier: MIT */
/* What a client can and cannot do to the memory that it gets. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/memory.h"

#define SIZE 12345

static struct refusal why;
static int fd;

static void set_up(void)
{
	ck_assert_int_eq(memory_new("shmd:1:unit", SIZE, 0, &fd, &why), 0);
}

static void tear_down(void)
{
	fd = close_fd(fd);
}

START_TEST(it_is_as_asked_for)
{
	char link[64], path[64];
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, SIZE);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	ck_assert_int_gt(n, 0);
	link[n] = '\0';
	unit_assert_has(link, "memfd:shmd:1:unit");
}
END_TEST

START_TEST(it_is_sealed)
{
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	ck_assert_int_eq(fcntl(fd, F_GET_SEALS) & seals, seals);
	ck_assert_int_eq(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE, 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ck_assert_int_eq(errno, EPERM);
}
END_TEST

START_TEST(it_neither_shrinks_nor_grows)
{
	int other = memory_reopen(fd, false);

	ck_assert_int_eq(ftruncate(other, SIZE - 1), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(other, SIZE + 1), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(fallocate(other, 0, SIZE, 1), -1);
	close_fd(other);
}
END_TEST

START_TEST(it_is_zeroed_and_shared)
{
	static const char zeroes[SIZE];
	int other = memory_reopen(fd, false);
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *q = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_ptr_ne(q, MAP_FAILED);
	ck_assert_mem_eq(p, zeroes, SIZE);
	strcpy(p, "hello");
	ck_assert_str_eq(q, "hello");
	munmap(p, SIZE);
	munmap(q, SIZE);
	close_fd(other);
}
END_TEST

START_TEST(read_only_is_the_kernels_word)
{
	int reader = memory_reopen(fd, true);

	ck_assert_int_eq(fcntl(reader, F_GETFL) & O_ACCMODE, O_RDONLY);
	ck_assert_int_eq(fcntl(reader, F_GETFD), FD_CLOEXEC);
	ck_assert_ptr_eq(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0),
			 MAP_FAILED);
	ck_assert_int_eq(errno, EACCES);
	void *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, reader, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(mprotect(p, SIZE, PROT_READ | PROT_WRITE), -1);
	munmap(p, SIZE);
	ck_assert_int_eq(write(reader, "x", 1), -1);
	close_fd(reader);
}
END_TEST

static int ends[2];

/* The way back that a memfd of mode 0777 would leave to a reader of another user. */
static void try_to_reopen(void *context)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", *(int *)context);
	char answer = setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0 &&
				      open(path, O_RDWR) < 0 && errno == EACCES
			      ? 'n'
			      : 'y';
	if (write(ends[1], &answer, 1) != 1)
		_exit(1);
}

START_TEST(another_user_cannot_open_it_again)
{
	char answer = 0;

	/* Only root can become another user. */
	if (geteuid() != 0)
		return;
	int reader = memory_reopen(fd, true);
	ck_assert_int_eq(pipe(ends), 0);
	struct unit_child child = unit_fork(try_to_reopen, &reader);
	ck_assert_int_eq(read(ends[0], &answer, 1), 1);
	ck_assert_int_eq(answer, 'n');
	unit_join(&child);
	close_fd(reader);
	close_fd(ends[0]);
	close_fd(ends[1]);
}
END_TEST

START_TEST(allocated_counts_pages)
{
	ck_assert_uint_eq(memory_allocated(fd), 0);
	ck_assert_int_eq(pwrite(fd, "x", 1, 5000), 1);
	ck_assert_uint_ge(memory_allocated(fd), 4096);
	ck_assert_uint_eq(memory_allocated(-1), 0);
}
END_TEST

START_TEST(a_label_may_be_as_long_as_a_name)
{
	char label[232];
	int other = -1;

	memset(label, 'a', sizeof(label));
	label[sizeof(label) - 1] = '\0';
	ck_assert_int_eq(memory_new(label, 1, 0, &other, &why), 0);
	close_fd(other);
}
END_TEST

/* With or without free huge pages the answer is clear, and nothing is left of a no. */
START_TEST(huge_pages_or_a_reason)
{
	unsigned before = unit_descriptors();
	int huge = -1;
	int r = memory_new("unit", UINT64_C(1) << 34, MEMORY_HUGE, &huge, &why);

	/* A machine that has so many has nothing to refuse. */
	if (r == 0) {
		close_fd(huge);
		return;
	}
	ck_assert(r == REFUSAL_NO_MEMORY || r == REFUSAL_UNSUPPORTED);
	unit_assert_has(why.text, "huge pages");
	if (r == REFUSAL_NO_MEMORY) {
		ck_assert_int_eq(memory_new("unit", 4097, MEMORY_HUGE, &huge, &why),
				 REFUSAL_INVALID);
		unit_assert_has(why.text, "4097");
	}
	ck_assert_int_eq(huge, -1);
	ck_assert_uint_eq(unit_descriptors(), before);
}
END_TEST

/* The lowest free number is beyond the limit. */
static void use_descriptors_up(struct rlimit *ret_before)
{
	int next = dup(fd);
	struct rlimit none;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, ret_before), 0);
	none = (struct rlimit){(rlim_t)next, ret_before->rlim_max};
	close(next);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(memory_reopen(fd, false), -EMFILE);
}

/* Again and again: what is kept for it is kept anew. */
START_TEST(it_can_be_exchanged_without_a_descriptor_left)
{
	struct rlimit before;
	struct stat st, again;

	ck_assert_int_eq(fstat(fd, &st), 0);
	close_fd(memory_reopen(fd, false));
	unsigned n = unit_descriptors();
	use_descriptors_up(&before);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(memory_exchange(&fd), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_uint_eq(unit_descriptors(), n);
	ck_assert_int_eq(fstat(fd, &again), 0);
	ck_assert_uint_eq(again.st_ino, st.st_ino);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(what_cannot_be_opened_again_is_not_exchanged)
{
	int none = -1;

	ck_assert_int_lt(memory_exchange(&none), 0);
	ck_assert_int_eq(none, -1);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, it_is_as_asked_for);
	tcase_add_test(tests, it_is_sealed);
	tcase_add_test(tests, it_neither_shrinks_nor_grows);
	tcase_add_test(tests, it_is_zeroed_and_shared);
	tcase_add_test(tests, read_only_is_the_kernels_word);
	tcase_add_test(tests, another_user_cannot_open_it_again);
	tcase_add_test(tests, allocated_counts_pages);
	tcase_add_test(tests, a_label_may_be_as_long_as_a_name);
	tcase_add_test(tests, huge_pages_or_a_reason);
	tcase_add_test(tests, it_can_be_exchanged_without_a_descriptor_left);
	tcase_add_test(tests, what_cannot_be_opened_again_is_not_exchanged);
}

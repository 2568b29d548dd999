/* SPDX-License-Identifier: MIT */
/* What a service manager hands over, in whatever order, and what it should not. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shmd/handed.h"

#define FIRST 3 /* SD_LISTEN_FDS_START */

static struct handed handed;

START_TEST(nothing_is_handed_over)
{
	ck_assert_int_eq(handed_take(&handed), -ENOENT);
	ck_assert_int_eq(handed.socket, -1);
	handed_fini(&handed);
	/* To another process. */
	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "1", 1);
	ck_assert_int_eq(handed_take(&handed), -ENOENT);
}
END_TEST

#ifdef HAVE_LIBSYSTEMD
/* A socket that listens at an address of the kernel's choice. */
static int listening(int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	if (type != SOCK_DGRAM)
		ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static int memory(void)
{
	return memfd_create("check", 0);
}

/* Each test has a process of its own, and no use for what lies there. */
static void hand_over(const int *fds, int n, const char *names)
{
	char text[16];
	int high[8];

	for (int i = 0; i < n; i++)
		high[i] = fcntl(fds[i], F_DUPFD, 100);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(dup2(high[i], FIRST + i), FIRST + i);
	for (int i = 0; i < n; i++)
		close(high[i]);
	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%d", n);
	setenv("LISTEN_FDS", text, 1);
	setenv("LISTEN_FDNAMES", names, 1);
}

START_TEST(a_socket_and_what_was_stored)
{
	const int fds[] = {memory(), listening(SOCK_SEQPACKET), memory(), memory()};

	hand_over(fds, 4, "record:shmd.socket:7:7");
	ck_assert_int_eq(handed_take(&handed), 0);
	ck_assert_int_eq(handed.socket, FIRST + 1);
	ck_assert_uint_eq(handed.n, 3);
	ck_assert_int_eq(handed.stored[0].fd, FIRST);
	ck_assert_str_eq(handed.stored[0].name, "record");
	ck_assert_int_eq(handed.stored[2].fd, FIRST + 3);
	ck_assert_str_eq(handed.stored[2].name, "7");
	for (int fd = FIRST; fd < FIRST + 4; fd++)
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_ptr_null(getenv("LISTEN_FDS"));
	ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
	/* What is taken out stays open. */
	handed.stored[2].fd = handed.socket = -1;
	handed_fini(&handed);
	ck_assert_int_eq(fcntl(FIRST, F_GETFD), -1);
	ck_assert_int_eq(fcntl(FIRST + 1, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(FIRST + 2, F_GETFD), -1);
	ck_assert_int_eq(fcntl(FIRST + 3, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(what_was_stored_alone)
{
	const int fds[] = {memory()};

	hand_over(fds, 1, "7");
	ck_assert_int_eq(handed_take(&handed), 0);
	ck_assert_int_eq(handed.socket, -1);
	ck_assert_uint_eq(handed.n, 1);
	handed_fini(&handed);
}
END_TEST

static void refuse(const int *fds, int n)
{
	hand_over(fds, n, "a:b");
	ck_assert_int_eq(handed_take(&handed), -EINVAL);
	ck_assert_int_eq(handed.socket, -1);
	ck_assert_uint_eq(handed.n, 0);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(fcntl(FIRST + i, F_GETFD), -1);
}

START_TEST(sockets_that_are_not_for_us)
{
	refuse((int[]){listening(SOCK_SEQPACKET), listening(SOCK_SEQPACKET)}, 2);
	refuse((int[]){memory(), listening(SOCK_STREAM)}, 2);
	refuse((int[]){listening(SOCK_DGRAM), memory()}, 2);
	refuse((int[]){socket(AF_UNIX, SOCK_STREAM, 0), memory()}, 2);
}
END_TEST

START_TEST(a_descriptor_that_is_not_there)
{
	const int fds[] = {memory()};

	hand_over(fds, 1, "a");
	close(FIRST);
	ck_assert_int_eq(handed_take(&handed), -EBADF);
	ck_assert_uint_eq(handed.n, 0);
}
END_TEST
/* In which other descriptors lie. */
START_TEST(sockets_that_were_stored)
{
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	const int fds[] = {ends[0], listening(SOCK_SEQPACKET), ends[1]};
	hand_over(fds, 3, "p0:shmd.socket:p0");
	ck_assert_int_eq(handed_take(&handed), 0);
	ck_assert_int_eq(handed.socket, FIRST + 1);
	ck_assert_uint_eq(handed.n, 2);
	ck_assert_int_eq(handed.stored[0].fd, FIRST);
	ck_assert_int_eq(handed.stored[1].fd, FIRST + 2);
	ck_assert_str_eq(handed.stored[1].name, "p0");
	handed_fini(&handed);
}
END_TEST

#endif

START_TEST(how_much_is_stored)
{
	unsetenv("FDSTORE");
	unsetenv("SHMD_STORE_MAX");
	ck_assert_uint_eq(handed_store_max(), 0);
	setenv("SHMD_STORE_MAX", "many", 1);
	ck_assert_uint_eq(handed_store_max(), 0);
	setenv("SHMD_STORE_MAX", "16384", 1);
	ck_assert_uint_eq(handed_store_max(), 16384);
	/* Of the manager's own word and the unit's, which a drop-in may have forgotten. */
	setenv("FDSTORE", "100", 1);
	ck_assert_uint_eq(handed_store_max(), 100);
	setenv("FDSTORE", "99999999999", 1);
	ck_assert_uint_eq(handed_store_max(), UINT_MAX);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, nothing_is_handed_over);
#ifdef HAVE_LIBSYSTEMD
	tcase_add_test(tests, a_socket_and_what_was_stored);
	tcase_add_test(tests, what_was_stored_alone);
	tcase_add_test(tests, sockets_that_are_not_for_us);
	tcase_add_test(tests, sockets_that_were_stored);
	tcase_add_test(tests, a_descriptor_that_is_not_there);
#endif
	tcase_add_test(tests, how_much_is_stored);
}

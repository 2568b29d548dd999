/* SPDX-License-Identifier: MIT */
/* Messages to a service manager that is slow, gone, made anew, or none. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shmd/notify.h"
#include "wire/channel.h"

static struct notify notify;
static char path[UNIT_FOLDER_SIZE + 16];

/* The manager's socket, by a name as in $NOTIFY_SOCKET, which is set. */
static int manage(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, name);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	else
		unlink(name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static int manage_path(void)
{
	snprintf(path, sizeof(path), "%s/notify", unit_folder);
	return manage(path);
}

static void hear(int manager, const char *expected)
{
	char text[256] = "";

	ck_assert_int_gt(recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT), 0);
	ck_assert_str_eq(text, expected);
}

START_TEST(nobody_wants_to_hear)
{
	unsetenv("NOTIFY_SOCKET");
	ck_assert_int_eq(notify_open(&notify), -ENOENT);
	ck_assert_int_eq(notify_send(&notify, "READY=1", NULL, 0), -ENOTCONN);
	notify_close(&notify);
	setenv("NOTIFY_SOCKET", "", 1);
	ck_assert_int_eq(notify_open(&notify), -ENOENT);
}
END_TEST

START_TEST(addresses_that_are_none)
{
	char name[200] = "";

	setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
	ck_assert_int_eq(notify_open(&notify), -EAFNOSUPPORT);
	memset(name, 'x', sizeof(name) - 1);
	name[0] = '/';
	setenv("NOTIFY_SOCKET", name, 1);
	ck_assert_int_eq(notify_open(&notify), -ENAMETOOLONG);
	setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
	unsigned before = unit_descriptors();
	ck_assert_int_eq(notify_open(&notify), -ENOENT);
	ck_assert_uint_eq(unit_descriptors(), before);
}
END_TEST

START_TEST(a_path_and_an_abstract_name)
{
	char name[64];

	int manager = manage_path();
	ck_assert_int_eq(notify_open(&notify), 0);
	ck_assert_int_eq(notify_send(&notify, "READY=1\nSTATUS=well", NULL, 0), 0);
	hear(manager, "READY=1\nSTATUS=well");
	notify_close(&notify);
	close(manager);
	snprintf(name, sizeof(name), "@shmd-check-notify-%d", (int)getpid());
	manager = manage(name);
	ck_assert_int_eq(notify_open(&notify), 0);
	ck_assert_int_eq(notify_send(&notify, "STOPPING=1", NULL, 0), 0);
	hear(manager, "STOPPING=1");
	notify_close(&notify);
	close(manager);
}
END_TEST

START_TEST(descriptors_go_with_it)
{
	int manager = manage_path(), fds[WIRE_DESCRIPTORS_MAX], truncated;
	int memory = memfd_create("check", MFD_CLOEXEC);
	const int sent[] = {memory, STDERR_FILENO, memory};
	struct stat before, after;
	char text[64] = "";
	size_t n;

	ck_assert_int_eq(notify_open(&notify), 0);
	ck_assert_int_eq(notify_send(&notify, "FDSTORE=1\nFDNAME=7", sent, 3), 0);
	ck_assert_int_gt(channel_receive(manager, text, sizeof(text), fds, &n, &truncated), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(fstat(memory, &before), 0);
	ck_assert_int_eq(fstat(fds[2], &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	while (n)
		close(fds[--n]);
	close(memory);
	close(manager);
	notify_close(&notify);
}
END_TEST

/* Never waits, and its descriptor says when there is room again. */
START_TEST(a_manager_that_is_slow)
{
	int manager = manage_path(), sent = 0, r;
	struct pollfd polled = {.events = POLLOUT};
	char text[64];

	ck_assert_int_eq(notify_open(&notify), 0);
	while ((r = notify_send(&notify, "WATCHDOG=1", NULL, 0)) == 0)
		sent++;
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_gt(sent, 0);
	polled.fd = notify.fd;
	ck_assert_int_eq(poll(&polled, 1, 0), 0);
	for (int i = 0; i < sent; i++)
		ck_assert_int_gt(recv(manager, text, sizeof(text), MSG_DONTWAIT), 0);
	ck_assert_int_eq(poll(&polled, 1, 0), 1);
	ck_assert_int_eq(notify_send(&notify, "WATCHDOG=1", NULL, 0), 0);
	hear(manager, "WATCHDOG=1");
	close(manager);
	notify_close(&notify);
}
END_TEST

START_TEST(a_manager_that_makes_its_socket_anew)
{
	int manager = manage_path();

	ck_assert_int_eq(notify_open(&notify), 0);
	close(manager);
	ck_assert_int_eq(notify_send(&notify, "WATCHDOG=1", NULL, 0), -ECONNREFUSED);
	manager = manage_path();
	ck_assert_int_eq(notify_send(&notify, "READY=1", NULL, 0), 0);
	hear(manager, "READY=1");
	/* Also one that was not missed meanwhile. */
	close(manager);
	manager = manage_path();
	ck_assert_int_eq(notify_send(&notify, "STOPPING=1", NULL, 0), 0);
	hear(manager, "STOPPING=1");
	close(manager);
	notify_close(&notify);
	unlink(path);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, nobody_wants_to_hear);
	tcase_add_test(tests, addresses_that_are_none);
	tcase_add_test(tests, a_path_and_an_abstract_name);
	tcase_add_test(tests, descriptors_go_with_it);
	tcase_add_test(tests, a_manager_that_is_slow);
	tcase_add_test(tests, a_manager_that_makes_its_socket_anew);
}

/* SPDX-License-Identifier: MIT */
#include "libshmd/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

void loop_init(struct loop *loop)
{
	*loop = (struct loop){.epoll_fd = -1, .wake_fd = -1};
}

bool loop_is_open(const struct loop *loop)
{
	return loop->epoll_fd >= 0;
}

static int watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Moves a fresh descriptor into its place, where a parent's may still be. */
static int settle(int *place, int *fresh)
{
	if (*place < 0)
		*place = steal_fd(fresh);
	else if (dup3(*fresh, *place, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* An epoll that was inherited watches the parent's files, and an eventfd is the parent's, too. */
int loop_open(struct loop *loop, int socket)
{
	_cleanup_close_ int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake < 0)
		return -errno;
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		return -errno;
	int r = settle(&loop->wake_fd, &wake);
	loop->is_awake = false;
	if (r == 0)
		r = watch(epoll, loop->wake_fd);
	if (r == 0)
		r = watch(epoll, socket);
	return r < 0 ? r : settle(&loop->epoll_fd, &epoll);
}

/* A child may have the former file open, so that closing it here would not end the watch. What that
 * needed is free for the next one. */
int loop_exchange(struct loop *loop, int former, int socket)
{
	if (!loop_is_open(loop))
		return 0;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, former, NULL);
	return watch(loop->epoll_fd, socket);
}

void loop_wake(struct loop *loop, bool awake)
{
	uint64_t count = 1;
	ssize_t n;

	if (loop->wake_fd < 0 || awake == loop->is_awake)
		return;
	n = awake ? write(loop->wake_fd, &count, sizeof(count))
		  : read(loop->wake_fd, &count, sizeof(count));
	/* An eventfd that is ours alone, and was the other way round, does as it is told. */
	if (n == (ssize_t)sizeof(count))
		loop->is_awake = awake;
}

void loop_fini(struct loop *loop)
{
	close_fd(loop->epoll_fd);
	close_fd(loop->wake_fd);
	loop_init(loop);
}

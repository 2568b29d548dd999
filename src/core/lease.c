/* SPDX-License-Identifier: MIT */
#include "core/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "base/cleanup.h"
#include "core/memory.h"

static int take(int fd)
{
	return fcntl(fd, F_SETLEASE, F_WRLCK) < 0 ? -errno : 0;
}

void lease_give(int fd)
{
	fcntl(fd, F_SETLEASE, F_UNLCK);
}

static int try_lease(int fd)
{
	int r = take(fd);

	/* At once: while we hold it, an open() elsewhere waits. */
	if (r == 0)
		lease_give(fd);
	return r;
}

static enum lease_answer answer(int r)
{
	return r == 0 ? LEASE_SOLE_USER : r == -EAGAIN ? LEASE_SHARED : LEASE_UNKNOWN;
}

enum lease_answer lease_ask(int fd)
{
	return answer(try_lease(fd));
}

/* --- by a process that is not worth killing ---------------------------------------------------- */

/* On a loaded machine 0.15 to 0.65 ms were seen. One that a sharer has stopped is killed after this. */
#define TAKER_TIMEOUT_MS 5

struct taking {
	int fd;
	int result;
};

/* Shares our memory and descriptors, and is nobody's thread. errno is ours, too: while it runs, we do
 * nothing that could fail. */
__attribute__((no_sanitize("address", "undefined"))) static int taker(void *context)
{
	struct taking *taking = context;

	taking->result = take(taking->fd);
	return 0;
}

static void await_taker(pid_t pid, int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	if (poll(&ended, 1, TAKER_TIMEOUT_MS) != 1)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* No signal tells of its end: that is our business alone. */
static int take_by_taker(int fd)
{
	static alignas(16) char stack[16384];
	struct taking taking = {.fd = fd, .result = -EINTR};
	int pidfd = -1;
	pid_t pid = clone(taker, stack + sizeof(stack), CLONE_VM | CLONE_FILES | CLONE_PIDFD,
			  &taking, &pidfd);

	/* -EAGAIN would say that others have the file. */
	if (pid < 0)
		return errno == EAGAIN ? -ENOMEM : -errno;
	await_taker(pid, pidfd);
	close_fd(pidfd);
	return taking.result;
}

/* valgrind and TSan know no such processes, and where they run there are no such sharers. */
static bool is_observed(void)
{
#ifdef __SANITIZE_THREAD__
	return true;
#else
	return RUNNING_ON_VALGRIND;
#endif
}

enum lease_answer lease_take(int fd)
{
	enum lease_answer taken = answer(is_observed() ? take(fd) : take_by_taker(fd));

	/* One that was killed may have taken it. */
	if (taken == LEASE_UNKNOWN)
		lease_give(fd);
	return taken;
}

/* --- whether it tells anything here ------------------------------------------------------------ */

int lease_self_test(void)
{
	_cleanup_close_ int original = -1;
	struct refusal ignored;
	int r = memory_new("shmd:self-test", 1, 0, &original, &ignored);

	if (r < 0)
		return r;
	_cleanup_close_ int fd = memory_reopen(original, false);
	if (fd < 0)
		return fd;
	original = close_fd(original);

	r = try_lease(fd);
	if (r < 0)
		return r;
	_cleanup_close_ int reader = memory_reopen(fd, true);
	if (reader < 0)
		return reader;
	return try_lease(fd) == -EAGAIN ? 0 : -ENOTSUP;
}

/* SPDX-License-Identifier: MIT */
#include "core/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "core/memory.h"

static int try_lease(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return -errno;
	/* At once: while we hold it, an open() elsewhere waits. */
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return 0;
}

enum lease_answer lease_ask(int fd)
{
	int r = try_lease(fd);

	return r == 0 ? LEASE_SOLE_USER : r == -EAGAIN ? LEASE_SHARED : LEASE_UNKNOWN;
}

int lease_self_test(void)
{
	_cleanup_close_ int original = memfd_create("shmd:self-test", MFD_CLOEXEC);

	if (original < 0)
		return -errno;
	if (fchmod(original, 0600) < 0)
		return -errno;
	_cleanup_close_ int fd = memory_reopen(original, false);
	if (fd < 0)
		return fd;
	original = close_fd(original);

	int r = try_lease(fd);
	if (r < 0)
		return r;
	_cleanup_close_ int reader = memory_reopen(fd, true);
	if (reader < 0)
		return reader;
	return try_lease(fd) == -EAGAIN ? 0 : -ENOTSUP;
}

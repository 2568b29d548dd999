/* SPDX-License-Identifier: MIT */
#include "base/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static bool is_ours(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid() && st->st_nlink == 1;
}

/* Opening a planted FIFO or device could have effects of its own, so look before, and once more
 * after, at what was really opened. */
static int open_ours(int dirfd, const char *name)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!is_ours(&st))
		return -EPERM;
	_cleanup_close_ int fd = openat(dirfd, name,
					O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return -EPERM;
	return steal_fd(&fd);
}

static int create(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

/* Whether the name still means the file that we locked: its last holder may have removed it between
 * our opening and our locking. */
bool lockfile_is_named(int dirfd, const char *name, int fd)
{
	struct stat by_name, by_fd;

	return fstatat(dirfd, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &by_fd) == 0 &&
	       by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino;
}

static int take(int dirfd, const char *name, bool may_create)
{
	for (;;) {
		_cleanup_close_ int fd = open_ours(dirfd, name);
		if (fd == -ENOENT && may_create)
			fd = create(dirfd, name);
		if (fd == -EEXIST)
			continue;
		if (fd < 0)
			return fd;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return -errno;
		if (lockfile_is_named(dirfd, name, fd))
			return steal_fd(&fd);
	}
}

int lockfile_take(int dirfd, const char *name)
{
	return take(dirfd, name, true);
}

int lockfile_take_existing(int dirfd, const char *name)
{
	return take(dirfd, name, false);
}

int lockfile_remove(int dirfd, const char *name, int fd)
{
	if (fd >= 0 && lockfile_is_named(dirfd, name, fd))
		unlinkat(dirfd, name, 0);
	return close_fd(fd);
}

/* SPDX-License-Identifier: MIT */
#include "core/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Linux 6.3; the headers of Debian 12 do not have it. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC        0x0010U
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static int create_memfd(const char *label, unsigned flags)
{
	int fd = memfd_create(label, flags | MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(label, flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

static uint64_t huge_page_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_blksize : 0;
}

static int check_huge_size(int fd, uint64_t size, struct refusal *why)
{
	uint64_t page = huge_page_size(fd);

	if (page == 0 || size % page == 0)
		return 0;
	return refuse(why, REFUSAL_INVALID,
		      "the size %" PRIu64 " is not a multiple of the huge page size, %" PRIu64,
		      size, page);
}

/* A shared mapping of hugetlbfs reserves its pages in the file, and the reservation stays with the
 * file when the mapping goes. Nothing is allocated, and no client can meet SIGBUS later. */
static int reserve_huge_pages(int fd, uint64_t size, struct refusal *why)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED && errno == ENOMEM)
		return refuse(why, REFUSAL_NO_MEMORY,
			      "%" PRIu64 " huge pages of %" PRIu64
			      " bytes are not free (vm.nr_hugepages)",
			      size / huge_page_size(fd), huge_page_size(fd));
	if (p == MAP_FAILED)
		return -errno;
	munmap(p, size);
	return 0;
}

int memory_new(const char *label, uint64_t size, unsigned flags, int *ret_fd, struct refusal *why)
{
	bool huge = flags & MEMORY_HUGE;
	_cleanup_close_ int fd = create_memfd(label, huge ? MFD_HUGETLB : 0);
	int r;

	if (huge && (fd == -ENOSYS || fd == -EINVAL || fd == -ENOENT || fd == -ENODEV))
		return refuse(why, REFUSAL_UNSUPPORTED, "this kernel has no huge pages");
	if (fd < 0)
		return fd;
	if (huge) {
		r = check_huge_size(fd, size, why);
		if (r != 0)
			return r;
	}
	/* A memfd is born 0777, and whoever may read it could open it again for writing. */
	if (fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	if (huge) {
		r = reserve_huge_pages(fd, size, why);
		if (r != 0)
			return r;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS | (flags & MEMORY_SEALABLE ? 0 : F_SEAL_SEAL)) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* A mode with which it may be executed is its user's wish, and MFD_NOEXEC_SEAL would refuse it. */
static int create_posix_memfd(const char *label, unsigned flags)
{
	int fd = memfd_create(label, flags | MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(label, flags | MFD_CLOEXEC);
	/* vm.memfd_noexec forbids it. */
	if (fd < 0 && errno == EACCES)
		fd = memfd_create(label, flags | MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	return fd < 0 ? -errno : fd;
}

int memory_new_posix(const char *label, bool sealable, int *ret_fd)
{
	_cleanup_close_ int fd = create_posix_memfd(label, sealable ? MFD_ALLOW_SEALING : 0);

	if (fd < 0)
		return fd;
	int r = memory_exchange(&fd);
	if (r < 0)
		return r;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int memory_end_resizing(int fd)
{
	return fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0 ? -errno : 0;
}

bool memory_is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && seals & F_SEAL_WRITE;
}

int memory_end_sealing(int fd)
{
	/* -EPERM: there is that seal already. */
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) < 0 && errno != EPERM ? -errno : 0;
}

/* Kept for memory_exchange(); -1: in use, or there is none. */
static int spare = -1;

static int open_spare(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Opening relative to a kept descriptor of the folder saves a third of the path's walk. */
static int proc_folder(void)
{
	static int folder = -1;

	if (folder < 0) {
		if (spare < 0)
			spare = open_spare();
		folder = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return folder;
}

int memory_open(int fd, int flags)
{
	char number[16];
	int folder = proc_folder();

	if (folder < 0)
		return -errno;
	snprintf(number, sizeof(number), "%d", fd);
	int again = openat(folder, number, flags | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

int memory_reopen(int fd, bool read_only)
{
	return memory_open(fd, read_only ? O_RDONLY : O_RDWR);
}

int memory_exchange(int *fd)
{
	int again = memory_reopen(*fd, false);

	if (again == -EMFILE && spare >= 0) {
		spare = close_fd(spare);
		again = memory_reopen(*fd, false);
	}
	if (again >= 0) {
		close_fd(*fd);
		*fd = again;
	}
	/* There is room for it again: for the one above, or where the other one was. */
	if (spare < 0)
		spare = open_spare();
	return again < 0 ? again : 0;
}

int memory_set_access(int fd, gid_t gid, mode_t mode)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* A group that is none of ours is not ours to give: it is then the daemon's. */
	if (st.st_gid != gid && fchown(fd, (uid_t)-1, gid) < 0 && errno != EPERM)
		return -errno;
	/* What was born sealed against execution keeps the rest. */
	if (fchmod(fd, mode) < 0 && fchmod(fd, mode & ~0111u) < 0)
		return -errno;
	return 0;
}

uint64_t memory_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

mode_t memory_mode(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_mode & 0777 : 0;
}

uint64_t memory_allocated(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

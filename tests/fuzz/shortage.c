/* SPDX-License-Identifier: MIT */
/* The linker leads all allocations of ours here, and calls that may fail as these do (--wrap). */
#include "shortage.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuzz.h"

static unsigned descriptors_planned = SHORTAGE_NONE, allocations_planned = SHORTAGE_NONE;
static struct rlimit usual;
static bool is_short_of_descriptors, is_short_of_memory, was_now, was_ever;
static unsigned allocations_left;

/* --- memory ----------------------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static bool is_refused(void)
{
	if (!is_short_of_memory || allocations_left-- > 0)
		return false;
	allocations_left = 0;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return is_refused() ? NULL : __real_reallocarray(p, n, size);
}

/* --- what else the kernel may have no room for -------------------------------------------------- */

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_inotify_add_watch(int fd, const char *path, uint32_t mask);
ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset);

static int fail(int error)
{
	errno = error;
	return -1;
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (is_refused())
		return fail(ENOMEM), MAP_FAILED;
	return __real_mmap(at, size, protection, flags, fd, offset);
}

int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	return is_refused() ? fail(ENOSPC) : __real_inotify_add_watch(fd, path, mask);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	return is_refused() ? fail(ENOSPC) : __real_pwrite(fd, bytes, size, offset);
}

#ifdef HAVE_LIBACL
int __real_acl_set_fd(int fd, void *acl);
int __wrap_acl_set_fd(int fd, void *acl);

int __wrap_acl_set_fd(int fd, void *acl)
{
	return is_refused() ? fail(ENOSPC) : __real_acl_set_fd(fd, acl);
}
#endif

/* --- descriptors ------------------------------------------------------------------------------ */

static void limit_descriptors(unsigned left)
{
	int lowest = dup(STDERR_FILENO);
	struct rlimit limit = usual;

	HOLDS(lowest >= 0);
	close(lowest);
	limit.rlim_cur = (rlim_t)lowest + left;
	HOLDS(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* --- both ------------------------------------------------------------------------------------- */

void shortage_plan(unsigned descriptors, unsigned allocations)
{
	descriptors_planned = descriptors;
	allocations_planned = allocations;
}

void shortage_begin(void)
{
	is_short_of_descriptors = descriptors_planned != SHORTAGE_NONE;
	is_short_of_memory = allocations_planned != SHORTAGE_NONE;
	was_now = is_short_of_descriptors || is_short_of_memory;
	was_ever = was_ever || was_now;
	allocations_left = allocations_planned;
	if (!is_short_of_descriptors)
		return;
	HOLDS(getrlimit(RLIMIT_NOFILE, &usual) == 0);
	limit_descriptors(descriptors_planned);
}

void shortage_end(void)
{
	if (is_short_of_descriptors)
		HOLDS(setrlimit(RLIMIT_NOFILE, &usual) == 0);
	is_short_of_descriptors = is_short_of_memory = false;
	shortage_plan(SHORTAGE_NONE, SHORTAGE_NONE);
}

bool shortage_was_now(void)
{
	return was_now;
}

bool shortage_was_ever(void)
{
	return was_ever;
}

void shortage_forget(void)
{
	was_now = was_ever = false;
	shortage_plan(SHORTAGE_NONE, SHORTAGE_NONE);
}

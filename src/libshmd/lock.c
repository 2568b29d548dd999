/* SPDX-License-Identifier: MIT */
/* Permits: the segment's semaphore, taken and given by this process, and counted so that nobody gives
 * what they do not hold. */
#include <errno.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "libshmd/error.h"
#include "libshmd/segment.h"

/* Whoever may lock may also have made the file shorter, and touching what is gone would be fatal. */
static int check_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(-errno, "cannot look at the semaphore's descriptor");
	if (st.st_size < (off_t)sizeof(sem_t))
		return error_set(-EIO, "the semaphore's file was damaged: it has %jd bytes",
				 (intmax_t)st.st_size);
	return 0;
}

static int check_right(const struct shmd_segment *segment)
{
	if (segment->semaphore_fd >= 0)
		return 0;
	if (!segment->semaphore_name[0])
		return error_set(-ENOTSUP, "the segment has no semaphore");
	return error_set(-EPERM, "attached read-only, and made without SHMD_READERS_LOCK");
}

/* Maps the semaphore at the first use. When two threads come at once, one mapping wins. */
static int get_semaphore(struct shmd_segment *segment, sem_t **ret)
{
	sem_t *known = atomic_load_explicit(&segment->semaphore, memory_order_acquire);
	int r;

	if (known) {
		*ret = known;
		return 0;
	}
	r = check_right(segment);
	if (r == 0)
		r = check_file(segment->semaphore_fd);
	if (r < 0)
		return r;
	sem_t *mine = mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED,
			   segment->semaphore_fd, 0);
	if (mine == MAP_FAILED)
		return error_errno(-errno, "cannot map the semaphore");
	if (!atomic_compare_exchange_strong(&segment->semaphore, &known, mine)) {
		munmap(mine, sizeof(sem_t));
		mine = known;
	}
	*ret = mine;
	return 0;
}

static struct timespec deadline_after(int timeout_ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += timeout_ms / 1000;
	t.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

static int take(sem_t *semaphore, int timeout_ms)
{
	struct timespec deadline;
	int r;

	if (timeout_ms == 0) {
		r = sem_trywait(semaphore);
	} else if (timeout_ms < 0) {
		r = sem_wait(semaphore);
	} else {
		deadline = deadline_after(timeout_ms);
		r = sem_clockwait(semaphore, CLOCK_MONOTONIC, &deadline);
	}
	return r < 0 ? -errno : 0;
}

int shmd_acquire(struct shmd_segment *segment, int timeout_ms)
{
	sem_t *semaphore;
	int r = timeout_ms < -1 ? error_set(-EINVAL, "a time-out of %d ms", timeout_ms)
				: segment_enter(segment);

	if (r == 0)
		r = get_semaphore(segment, &semaphore);
	if (r < 0)
		return r;
	/* A thread that were cancelled with the permit in its hands would keep it for ever. */
	int before = cancellation_off();
	r = take(semaphore, timeout_ms);
	cancellation_restore(before);
	if (r < 0)
		return error_errno(r, "no permit taken");
	atomic_fetch_add(&segment->held, 1);
	return 0;
}

/* Counts one permit less, if there is one. */
static bool count_down(struct shmd_segment *segment)
{
	unsigned held = atomic_load(&segment->held);

	while (held > 0)
		if (atomic_compare_exchange_weak(&segment->held, &held, held - 1))
			return true;
	return false;
}

int shmd_release(struct shmd_segment *segment)
{
	sem_t *semaphore;

	if (!segment->semaphore_name[0] && segment->semaphore_fd < 0)
		return check_right(segment);
	if (segment_is_inherited(segment) || !count_down(segment))
		return error_set(-EPERM, "this process holds no permit through this handle");
	int r = get_semaphore(segment, &semaphore);
	if (r < 0)
		return r;
	return sem_post(semaphore) < 0 ? error_errno(-errno, "cannot give the permit back") : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * sem_wait(3) and its kin, and sem_post(3): of a semaphore with a lock (SHMD_PRELOAD_RECOVER), the permit is
 * taken by libshmd, so that it comes back when this process dies; all others are the C library's, and cost one
 * branch more.
 *
 * Where libshmd refuses for a reason of its own, the native function goes on: it is the same word, and what is
 * lost is that the daemon knows of the permit.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "libshmd/fork.h"
#include "libshmd/segment.h"
#include "preload/native.h"
#include "preload/table.h"

#define unlikely(x) __builtin_expect(!!(x), 0)
/* So that what passes on needs no stack. */
#define SELDOM __attribute__((noinline))

/* How long a thread that was cancelled may go on to wait. */
#define SLICE_MS 1000

#define NSEC_PER_SEC  1000000000L
#define NSEC_PER_MSEC 1000000L

static int fail(int error)
{
	errno = error;
	return -1;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* As shmd_acquire(), which is no cancellation point. */
static int acquire(struct shmd_segment *lock, int timeout_ms)
{
	pthread_testcancel();
	return shmd_acquire(lock, timeout_ms);
}

static SELDOM int wait_for_ever(struct shmd_segment *lock, sem_t *sem)
{
	int saved = errno;
	int r;

	do
		r = acquire(lock, SLICE_MS);
	while (r == -ETIMEDOUT);
	if (r == -EINTR)
		return fail(EINTR);
	errno = saved;
	return r < 0 ? native()->sem_wait(sem) : 0;
}

INTERPOSED int sem_wait(sem_t *sem)
{
	struct shmd_segment *lock = table_lock(sem);

	return unlikely(lock) ? wait_for_ever(lock, sem) : native()->sem_wait(sem);
}

static SELDOM int try_now(struct shmd_segment *lock, sem_t *sem)
{
	int saved = errno;
	int r = shmd_acquire(lock, 0);

	if (r == -EAGAIN)
		return fail(EAGAIN);
	errno = saved;
	return r < 0 ? native()->sem_trywait(sem) : 0;
}

INTERPOSED int sem_trywait(sem_t *sem)
{
	struct shmd_segment *lock = table_lock(sem);

	return unlikely(lock) ? try_now(lock, sem) : native()->sem_trywait(sem);
}

/* --- waiting with an end ---------------------------------------------------------------------- */

/* Until then, but not longer than a slice, and rounded up: who wakes too early would have to wait again. */
static int slice_until(clockid_t clock, const struct timespec *end)
{
	struct timespec now;

	clock_gettime(clock, &now);
	if (end->tv_sec < now.tv_sec)
		return 0;
	if (end->tv_sec - now.tv_sec > SLICE_MS / 1000)
		return SLICE_MS;
	long ns = (long)(end->tv_sec - now.tv_sec) * NSEC_PER_SEC + end->tv_nsec - now.tv_nsec;
	long ms = (ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	return ns <= 0 ? 0 : ms < SLICE_MS ? (int)ms : SLICE_MS;
}

/* As the C library, which asks for it also where a permit is free. */
static bool is_valid(clockid_t clock, const struct timespec *end)
{
	return (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC) && end->tv_nsec >= 0 &&
	       end->tv_nsec < NSEC_PER_SEC;
}

static int acquire_until(struct shmd_segment *lock, clockid_t clock, const struct timespec *end)
{
	int slice, r;

	do {
		slice = slice_until(clock, end);
		r = acquire(lock, slice);
	} while (r == -ETIMEDOUT && slice > 0);
	return r == -EAGAIN ? -ETIMEDOUT : r;
}

/* Returns 0 or -1; or 1: the native function is to be called. */
static SELDOM int wait_until(struct shmd_segment *lock, clockid_t clock, const struct timespec *end)
{
	int saved = errno;

	if (!is_valid(clock, end))
		return fail(EINVAL);
	int r = acquire_until(lock, clock, end);
	if (r == -ETIMEDOUT || r == -EINTR)
		return fail(-r);
	errno = saved;
	return r < 0 ? 1 : 0;
}

INTERPOSED int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict end)
{
	struct shmd_segment *lock = table_lock(sem);
	int r = unlikely(lock) ? wait_until(lock, CLOCK_REALTIME, end) : 1;

	return r == 1 ? native()->sem_timedwait(sem, end) : r;
}

INTERPOSED int sem_clockwait(sem_t *restrict sem, clockid_t clock,
			     const struct timespec *restrict end)
{
	struct shmd_segment *lock = table_lock(sem);
	int r = unlikely(lock) ? wait_until(lock, clock, end) : 1;

	return r == 1 ? native()->sem_clockwait(sem, clock, end) : r;
}

/* --- posting ---------------------------------------------------------------------------------- */

/* May run in a signal handler, where a child must not begin to make the handle its own. Such a child holds
 * nothing, and neither does who is refused: their post is one. */
static SELDOM int release(struct shmd_segment *lock, sem_t *sem)
{
	int saved = errno;
	int r = segment_is_known_own(lock) ? shmd_release(lock) : -EPERM;

	errno = saved;
	return r < 0 ? native()->sem_post(sem) : 0;
}

INTERPOSED int sem_post(sem_t *sem)
{
	struct shmd_segment *lock = table_lock(sem);

	return unlikely(lock) ? release(lock, sem) : native()->sem_post(sem);
}

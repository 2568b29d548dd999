/* SPDX-License-Identifier: MIT */
/*
 * Permits, taken and given by this process without the daemon: the steps ACQUIRE_ and RELEASE_ of the
 * protocol in wire/word.h, under the names that tests/model/lock.pml has for them.
 *
 * Why it is right on weakly ordered machines. With one permit there is one word, and every change of
 * it is one compare-and-swap: all see them in one order. ACQUIRE_TAKE is an acquire and RELEASE_GIVE
 * a release, so what a holder does stays between the two. With several, the slot is written while we
 * stand as owner in the word, and the daemon reads it only then, after our death, which the kernel
 * orders. What it must not find is a slot that is newer than the word: the store to the slot is a
 * release, so TAKE and GIVE are seen before it (an acquire alone would not keep the store half of TAKE
 * before it, on arm64), and CLEAR is a release, so the slot is seen before that. SLEEPS is set before
 * the kernel compares the word for the sleeper, under the same lock of its futex that a wake-up takes.
 * x86-64 orders every locked instruction with everything; there, all this costs nothing.
 *
 * Nothing in here is a cancellation point: futexes are called directly.
 */
#include "libshmd/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "libshmd/error.h"
#include "libshmd/gate.h"
#include "libshmd/segment.h"
#include "wire/word.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define SPINS 100

/* How long a waiter sleeps at most before it looks again: a program that took the wake-up by name and
 * was killed leaves nobody else to be woken by. */
#define SLICE_NS 1000000000L
/* The same where the kernel cannot sleep on both halves of the word (before Linux 5.16): whoever clears
 * SLEEPS is not seen. */
#define SLICE_ONE_HALF_NS 50000000L
/* While somebody else's operation is under way: it takes a dozen instructions, unless its process was
 * stopped or lost its processor. */
#define BUSY_NS 50000L

#define NSEC_PER_SEC 1000000000L

/* --- the mapping ------------------------------------------------------------------------------ */

/* Whoever may lock may also have made the file shorter, and touching what is gone would be fatal. */
static int check_size(int fd, size_t size, const char *what)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(-errno, "cannot look at the semaphore's descriptor");
	if (st.st_size < (off_t)size)
		return error_set(-EIO, "the semaphore was damaged: %s has %jd bytes", what,
				 (intmax_t)st.st_size);
	return 0;
}

static int check_right(const struct shmd_segment *segment)
{
	switch (segment->lock.right) {
	case WIRE_LOCK_GRANTED:
		/* The number of a program that talks to the wrong daemon, or to none of ours. */
		if (segment->lock.number == 0 || segment->lock.number > WORD_NUMBER_MAX)
			return error_set(-EPROTO, "the daemon gave a number that there is not");
		return word_test() ? 0
				   : error_set(-ENOTSUP,
					       "this C library lays semaphores out otherwise; "
					       "what remains is sem_open()");
	case WIRE_LOCK_READ_ONLY:
		return error_set(-EPERM, "attached read-only, and made without SHMD_READERS_LOCK");
	case WIRE_LOCK_LAYOUT:
		return error_set(-ENOTSUP, "the daemon's C library or ours lays semaphores out "
					   "otherwise; what remains is sem_open()");
	case WIRE_LOCK_UNWATCHED:
		return error_set(-ENOTSUP,
				 "the daemon's kernel has no pidfds, so that it could not "
				 "tell this process's death; what remains is sem_open()");
	case WIRE_LOCK_NO_NUMBER:
		return error_set(
			-EDQUOT,
			"%u clients can lock a segment, and as many do, or the daemon has no "
			"memory for one more",
			WORD_NUMBER_MAX);
	case WIRE_LOCK_NONE:
	case WIRE_LOCKS:
		break;
	}
	return error_set(-ENOTSUP, "the segment has no semaphore");
}

static void *map(int fd, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static int map_slots(struct lock *lock)
{
	if (!lock->gate || lock->slots)
		return 0;
	int r = check_size(lock->ledger_fd, LEDGER_SIZE, "its ledger");
	if (r < 0)
		return r;
	void *slots = map(lock->ledger_fd, LEDGER_SIZE);
	if (slots == MAP_FAILED)
		return error_errno(-errno, "cannot map the semaphore's ledger");
	lock->slots = slots;
	return 0;
}

/* With fork_lock() held: the first of several threads maps for all. */
static int map_word(struct lock *lock)
{
	if (atomic_load(&lock->word))
		return 0;
	int r = check_size(lock->semaphore_fd, sizeof(uint64_t), "its file");
	if (r == 0)
		r = map_slots(lock);
	if (r < 0)
		return r;
	void *word = map(lock->semaphore_fd, sizeof(uint64_t));
	if (word == MAP_FAILED)
		return error_errno(-errno, "cannot map the semaphore");
	atomic_store_explicit(&lock->word, word, memory_order_release);
	if (!lock->gate)
		atomic_store_explicit(&lock->quick, word, memory_order_release);
	return 0;
}

/* At its first use, and at a child's first. */
int lock_prepare(struct shmd_segment *segment)
{
	/* First whether it is ours: else another thread may be making it so. */
	if (!segment_is_inherited(segment) &&
	    !atomic_load_explicit(&segment->is_late, memory_order_acquire) &&
	    segment->lock.right == WIRE_LOCK_GRANTED && atomic_load(&segment->lock.word))
		return 0;
	int r = segment_fetch_lock(segment);
	if (r == 0)
		r = check_right(segment);
	if (r < 0)
		return r;
	fork_lock();
	r = map_word(&segment->lock);
	fork_unlock();
	return r;
}

/* --- life ------------------------------------------------------------------------------------- */

/* With fork_lock() held. */
static int take_grant(struct lock *lock, const struct wire_segment *granted)
{
	struct gate *gate = NULL;

	if (granted->lock == WIRE_LOCK_GRANTED && granted->permits > 1) {
		gate = gate_get(granted->id, granted->number);
		if (!gate)
			return error_errno(-ENOMEM, "cannot make the lock's part in this process");
	}
	gate_put(lock->gate);
	lock->gate = gate;
	lock->right = (enum wire_lock)granted->lock;
	lock->number = granted->number;
	lock->mine = word_of_owner(granted->number);
	/* A child that is granted nothing has inherited the mapping all the same. */
	lock->quick = lock->right == WIRE_LOCK_GRANTED && !gate ? atomic_load(&lock->word) : NULL;
	return 0;
}

int lock_init(struct lock *lock, const struct wire_segment *granted, int semaphore_fd,
	      int ledger_fd)
{
	*lock = (struct lock){.semaphore_fd = -1, .ledger_fd = -1};
	fork_lock();
	int r = take_grant(lock, granted);
	fork_unlock();
	if (r < 0)
		return r;
	lock->semaphore_fd = semaphore_fd;
	lock->ledger_fd = ledger_fd;
	return 0;
}

/* The number of a descriptor stays what it was: the program may know it. */
static int exchange_fd(int fd, int *place)
{
	if (fd < 0)
		return 0;
	int r = *place < 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : dup3(fd, *place, O_CLOEXEC);
	if (r < 0)
		return error_errno(-errno, "cannot exchange the semaphore's descriptor");
	*place = r;
	return 0;
}

int lock_renew(struct lock *lock, const struct wire_segment *granted, int semaphore_fd,
	       int ledger_fd)
{
	/* Word and slots are the same memory, whoever mapped them. */
	int r = exchange_fd(semaphore_fd, &lock->semaphore_fd);

	if (r == 0)
		r = exchange_fd(ledger_fd, &lock->ledger_fd);
	return r < 0 ? r : take_grant(lock, granted);
}

void lock_fini(struct lock *lock)
{
	uint64_t *word = atomic_load(&lock->word);

	if (word)
		munmap(word, sizeof(*word));
	if (lock->slots)
		munmap(lock->slots, LEDGER_SIZE);
	if (lock->gate) {
		fork_lock();
		lock->gate = gate_put(lock->gate);
		fork_unlock();
	}
	lock->semaphore_fd = close_fd(lock->semaphore_fd);
	lock->ledger_fd = close_fd(lock->ledger_fd);
}

/* --- time ------------------------------------------------------------------------------------- */

/* One wait for a permit, from the first look to the last. */
struct wait {
	int timeout_ms;
	bool has_begun;
	struct timespec deadline; /* once it has; CLOCK_MONOTONIC */
};

static struct timespec later(struct timespec t, int64_t ns)
{
	t.tv_sec += ns / NSEC_PER_SEC;
	t.tv_nsec += ns % NSEC_PER_SEC;
	if (t.tv_nsec >= NSEC_PER_SEC) {
		t.tv_sec++;
		t.tv_nsec -= NSEC_PER_SEC;
	}
	return t;
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

/* Returns -EAGAIN or -ETIMEDOUT when the time is over; else 0 and when to look again. */
static int next_look(struct wait *wait, int64_t slice_ns, struct timespec *ret)
{
	struct timespec now;

	if (wait->timeout_ms == 0)
		return -EAGAIN;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!wait->has_begun)
		wait->deadline = later(now, (int64_t)wait->timeout_ms * 1000000);
	wait->has_begun = true;
	*ret = later(now, slice_ns);
	if (wait->timeout_ms < 0)
		return 0;
	if (!is_before(&now, &wait->deadline))
		return -ETIMEDOUT;
	if (is_before(&wait->deadline, ret))
		*ret = wait->deadline;
	return 0;
}

/* --- sleeping --------------------------------------------------------------------------------- */

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* Until somebody wakes the low half, the word is no longer `seen`, or that time has come. */
static long sleep_on_both(uint64_t *word, uint64_t seen, const struct timespec *until)
{
	uint32_t halves[2] = {0, (uint32_t)(seen >> 32)};
	uint32_t *places[2] = {word_low(word), word_high(word)};
	struct futex_waitv on[2] = {{0}};

	for (int i = 0; i < 2; i++) {
		on[i].val = halves[i];
		on[i].uaddr = (uintptr_t)places[i];
		on[i].flags = FUTEX_32;
	}
	return syscall(SYS_futex_waitv, on, 2, 0, until, CLOCK_MONOTONIC);
}

static long sleep_on_low(uint64_t *word, const struct timespec *until)
{
	return syscall(SYS_futex, word_low(word), FUTEX_WAIT_BITSET, 0, until, NULL,
		       FUTEX_BITSET_MATCH_ANY);
}

/* ACQUIRE_SLEEP. Returns 0 to look again, -EINTR, or that the time is over. */
static int sleep_for_permit(uint64_t *word, uint64_t seen, struct wait *wait)
{
	static atomic_bool has_no_waitv;
	bool one_half = atomic_load_explicit(&has_no_waitv, memory_order_relaxed);
	struct timespec until;
	int r = next_look(wait, one_half ? SLICE_ONE_HALF_NS : SLICE_NS, &until);

	if (r < 0)
		return r;
	long n = one_half ? sleep_on_low(word, &until) : sleep_on_both(word, seen, &until);
	if (n >= 0)
		return 0;
	if (errno == EINTR)
		return -EINTR;
	/* What a filter of system calls forbids is as good as missing. */
	if (errno == ENOSYS || errno == EPERM)
		atomic_store(&has_no_waitv, true);
	return 0;
}

/* No permit is free. Returns 0 to look again, or why the wait is over. */
static int wait_for_permit(uint64_t *word, uint64_t d, struct wait *wait)
{
	struct timespec unused;

	if (wait->timeout_ms == 0)
		return -EAGAIN;
	for (int i = 0; i < SPINS && !wait->has_begun; i++) {
		relax();
		if (word_value(load(word)) > 0)
			return 0;
	}
	if (d & WORD_SLEEPS)
		return sleep_for_permit(word, d, wait);
	/* ACQUIRE_FLAG */
	int r = next_look(wait, 0, &unused);
	if (r == 0)
		__atomic_compare_exchange_n(word, &d, d | WORD_SLEEPS, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
	return r;
}

/* ACQUIRE_BUSY, RELEASE_BUSY: until the word changes, or a short while. */
static void let_others_finish(uint64_t *word, uint64_t d)
{
	static const struct timespec pause = {.tv_nsec = BUSY_NS};

	for (int i = 0; i < SPINS; i++) {
		relax();
		if (load(word) != d)
			return;
	}
	syscall(SYS_futex, word_high(word), FUTEX_WAIT, (uint32_t)(d >> 32), &pause, NULL, 0);
}

/* --- acquiring -------------------------------------------------------------------------------- */

/* The word after the permit was taken. Whoever drops SLEEPS wakes all, who set it again if they go on
 * sleeping: a flag that nobody needs would cost every release a system call. */
static inline uint64_t taken(struct lock *lock, uint64_t d, uint64_t operation)
{
	uint64_t after = ((d - 1) & ~(WORD_OPERATION | WORD_DIED)) | lock->mine | operation;

	if (unlikely(atomic_load_explicit(&lock->is_stale, memory_order_relaxed)))
		after &= ~WORD_SLEEPS;
	return after;
}

static inline bool take(struct lock *lock, uint64_t *word, uint64_t d, uint64_t after)
{
	uint64_t expected = d;

	/* ACQUIRE_TAKE */
	if (unlikely(!__atomic_compare_exchange_n(word, &expected, after, false, __ATOMIC_ACQUIRE,
						  __ATOMIC_RELAXED)))
		return false;
	/* ACQUIRE_WAKE */
	if (unlikely((d ^ after) & WORD_SLEEPS)) {
		atomic_store_explicit(&lock->is_stale, false, memory_order_relaxed);
		word_wake(word, INT_MAX);
	}
	return true;
}

static int acquire_one(struct lock *lock, uint64_t *word, int timeout_ms)
{
	struct wait wait = {.timeout_ms = timeout_ms};

	for (;;) {
		/* ACQUIRE_LOAD */
		uint64_t d = load(word);
		if (likely(word_value(d) > 0)) {
			if (likely(take(lock, word, d, taken(lock, d, 0))))
				return d & WORD_DIED ? SHMD_OWNER_DIED : 0;
			continue;
		}
		int r = wait_for_permit(word, d, &wait);
		if (r < 0)
			return r;
	}
}

/* Writes down in our slot what the word says already, and ends the operation; `d` is what the word was
 * when that began. Returns the word before it ended. */
static inline uint64_t end_operation(uint64_t *word, uint64_t d, uint64_t *slot, uint64_t s,
				     uint32_t held)
{
	/* ACQUIRE_COUNT, RELEASE_COUNT */
	__atomic_store_n(slot, slot_next(s, held), __ATOMIC_RELEASE);
	/* ACQUIRE_CLEAR, RELEASE_CLEAR: nobody has changed it in most cases. */
	while (unlikely(!__atomic_compare_exchange_n(word, &d, d & ~WORD_OPERATION, false,
						     __ATOMIC_RELEASE, __ATOMIC_RELAXED)))
		;
	return d;
}

/* What one attempt found. */
enum attempt { DONE, NOTHING_FREE, OTHERS_AT_WORK, LOST_RACE, NOTHING_HELD };

static inline enum attempt try_acquire(struct lock *lock, uint64_t *word, uint64_t *ret_seen)
{
	uint64_t *slot = &lock->slots[lock->number];
	/* ACQUIRE_LOAD */
	uint64_t d = load(word);
	uint64_t s = load(slot);

	*ret_seen = d;
	if (unlikely(word_value(d) == 0))
		return NOTHING_FREE;
	if (unlikely(word_owner(d) != 0))
		return OTHERS_AT_WORK;
	uint64_t after = taken(lock, d, slot_parity(s));
	if (unlikely(!take(lock, word, d, after)))
		return LOST_RACE;
	end_operation(word, after, slot, s, slot_held(s) + 1);
	return DONE;
}

static int acquire_several(struct lock *lock, uint64_t *word, int timeout_ms)
{
	struct wait wait = {.timeout_ms = timeout_ms};
	struct timespec unused;
	uint64_t d;

	for (int r = 0; r == 0;) {
		bool entered = gate_enter(lock->gate);
		enum attempt attempt = try_acquire(lock, word, &d);
		gate_leave(lock->gate, entered);
		switch (attempt) {
		case DONE:
			return d & WORD_DIED ? SHMD_OWNER_DIED : 0;
		case NOTHING_FREE:
			r = wait_for_permit(word, d, &wait);
			break;
		case OTHERS_AT_WORK:
			let_others_finish(word, d);
			r = timeout_ms < 0 ? 0 : next_look(&wait, 0, &unused);
			/* ACQUIRE_PASS: we may have been woken for the permit that we leave. */
			if (r < 0)
				word_wake(word, 1);
			break;
		case LOST_RACE:
		case NOTHING_HELD:
			break;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int say_why_not(int r, int timeout_ms)
{
	switch (r) {
	case -EAGAIN:
		return error_set(r, "no permit is free");
	case -ETIMEDOUT:
		return error_set(r, "no permit came free within %d ms", timeout_ms);
	case -EINTR:
		return error_set(r, "a signal handler ran, and no permit was taken");
	default:
		return error_errno(r, "no permit taken");
	}
}

/* Everything but the quick way, which so stays short. */
static __attribute__((noinline)) int acquire_slowly(struct shmd_segment *segment, int timeout_ms)
{
	int r = timeout_ms < -1 ? error_set(-EINVAL, "a time-out of %d ms", timeout_ms)
				: lock_prepare(segment);

	if (r < 0)
		return r;
	struct lock *lock = &segment->lock;
	uint64_t *word = atomic_load_explicit(&lock->word, memory_order_acquire);
	r = lock->gate ? acquire_several(lock, word, timeout_ms)
		       : acquire_one(lock, word, timeout_ms);
	return r < 0 ? say_why_not(r, timeout_ms) : r;
}

/* The word, for one attempt without the gate, where this process has one thread; else NULL. */
static inline uint64_t *word_if_alone(const struct lock *lock)
{
	return __libc_single_threaded ? atomic_load_explicit(&lock->word, memory_order_acquire)
				      : NULL;
}

/* With several permits, or the long way round. */
static __attribute__((noinline)) int acquire_otherwise(struct shmd_segment *segment, int timeout_ms)
{
	struct lock *lock = &segment->lock;
	uint64_t *word = word_if_alone(lock);
	uint64_t d;

	if (likely(word && lock->gate && timeout_ms >= -1 && !segment_is_inherited(segment)) &&
	    likely(try_acquire(lock, word, &d) == DONE))
		return d & WORD_DIED ? SHMD_OWNER_DIED : 0;
	return acquire_slowly(segment, timeout_ms);
}

/* The word, where one step can be all; else NULL. In a child that has not made the handle its own yet,
 * nothing else of the lock may be looked at: another thread may be changing it. */
static inline uint64_t *quick_word(const struct shmd_segment *segment)
{
	return likely(segment_is_known_own(segment))
		       ? atomic_load_explicit(&segment->lock.quick, memory_order_acquire)
		       : NULL;
}

/* Nothing in here needs the stack, nor more than one other line of the cache. */
int shmd_acquire(struct shmd_segment *segment, int timeout_ms)
{
	struct lock *lock = &segment->lock;
	uint64_t *word = quick_word(segment);
	uint64_t one = 1;

	/* ACQUIRE_TAKE of a word that says nothing but that one permit is free. */
	if (likely(word && timeout_ms >= -1) &&
	    likely(__atomic_compare_exchange_n(word, &one, lock->mine, false, __ATOMIC_ACQUIRE,
					       __ATOMIC_RELAXED)))
		return 0;
	return acquire_otherwise(segment, timeout_ms);
}

/* --- releasing -------------------------------------------------------------------------------- */

/* RELEASE_WAKE. SLEEPS is never dropped here: who comes between would be forgotten. */
static void wake_one(struct lock *lock, uint64_t *word, uint64_t d)
{
	if (word_wake(word, 1) == 0 && d & WORD_SLEEPS)
		atomic_store_explicit(&lock->is_stale, true, memory_order_relaxed);
}

static inline void wake_waiters(struct lock *lock, uint64_t *word, uint64_t d)
{
	if (unlikely(d & (WORD_SLEEPS | WORD_WAITERS)))
		wake_one(lock, word, d);
}

static inline bool give_one(struct lock *lock, uint64_t *word, uint64_t d)
{
	/* RELEASE_GIVE */
	if (!__atomic_compare_exchange_n(word, &d, (d + 1) & ~WORD_OWNER, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		return false;
	wake_waiters(lock, word, d);
	return true;
}

static int nothing_held(void)
{
	return error_set(-EPERM, "this client holds no permit of the segment");
}

static int release_one(struct lock *lock, uint64_t *word)
{
	for (;;) {
		/* RELEASE_LOAD */
		uint64_t d = load(word);
		if (word_owner(d) != lock->number)
			return nothing_held();
		if (give_one(lock, word, d))
			return 0;
	}
}

static inline enum attempt try_release(struct lock *lock, uint64_t *word, uint64_t *ret_seen)
{
	uint64_t *slot = &lock->slots[lock->number];
	/* RELEASE_LOAD */
	uint64_t d = load(word);
	uint64_t s = load(slot);

	*ret_seen = d;
	if (unlikely(slot_held(s) == 0))
		return NOTHING_HELD;
	if (unlikely(word_owner(d) != 0))
		return OTHERS_AT_WORK;
	uint64_t after = (d + 1) | lock->mine | slot_parity(s) | WORD_GIVE;
	/* RELEASE_GIVE */
	if (unlikely(!__atomic_compare_exchange_n(word, &d, after, false, __ATOMIC_RELEASE,
						  __ATOMIC_RELAXED)))
		return LOST_RACE;
	*ret_seen = end_operation(word, after, slot, s, slot_held(s) - 1);
	return DONE;
}

static int release_several(struct lock *lock, uint64_t *word)
{
	for (;;) {
		uint64_t d;
		bool entered = gate_enter(lock->gate);
		enum attempt attempt = try_release(lock, word, &d);
		gate_leave(lock->gate, entered);
		if (attempt == NOTHING_HELD)
			return nothing_held();
		if (attempt == OTHERS_AT_WORK)
			let_others_finish(word, d);
		if (attempt != DONE)
			continue;
		wake_waiters(lock, word, d);
		return 0;
	}
}

static __attribute__((noinline)) int release_slowly(struct shmd_segment *segment)
{
	struct lock *lock = &segment->lock;

	/* Permits are not inherited. */
	if (segment_is_inherited(segment))
		return nothing_held();
	if (lock->right != WIRE_LOCK_GRANTED &&
	    !atomic_load_explicit(&segment->is_late, memory_order_acquire))
		return check_right(segment);
	/* What was taken may have been taken through another handle. */
	int r = lock_prepare(segment);
	if (r < 0)
		return r;
	uint64_t *word = atomic_load_explicit(&lock->word, memory_order_acquire);
	return lock->gate ? release_several(lock, word) : release_one(lock, word);
}

static __attribute__((noinline)) int release_otherwise(struct shmd_segment *segment)
{
	struct lock *lock = &segment->lock;
	uint64_t *word = word_if_alone(lock);
	uint64_t d;

	if (likely(word && lock->gate && !segment_is_inherited(segment)) &&
	    likely(try_release(lock, word, &d) == DONE)) {
		wake_waiters(lock, word, d);
		return 0;
	}
	return release_slowly(segment);
}

int shmd_release(struct shmd_segment *segment)
{
	uint64_t *word = quick_word(segment);

	if (likely(word)) {
		uint64_t mine = segment->lock.mine;
		/* RELEASE_GIVE of a word that says nothing but that we hold the permit: nobody is to
		 * be woken. */
		if (likely(__atomic_compare_exchange_n(word, &mine, 1, false, __ATOMIC_RELEASE,
						       __ATOMIC_RELAXED)))
			return 0;
	}
	return release_otherwise(segment);
}

int shmd_keep_until_exit(struct shmd_segment *segment)
{
	struct wire_keep keep = {.id = segment->id};
	struct call call = {.op = WIRE_KEEP, .body = &keep, .body_size = sizeof(keep)};
	int r = lock_prepare(segment);

	/* A child has its own by now. */
	call.needs_session = segment->session;
	return r < 0 ? r : call_perform(segment->connection, &call);
}

/* SPDX-License-Identifier: MIT */
#include "crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

/* Nobody waits so long for a permit, if none is lost. */
#define STUCK_MS 20000

/* How long a raw client waits before it thinks that another one has died with the permit; then all of
 * them close the semaphore, and stay away for so long, so that the daemon can count. */
#define RAW_PATIENCE_US 20000
#define RAW_AWAY_US     40000

#define LOAD(p)     __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)

unsigned chance(uint64_t *state, unsigned n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (unsigned)(*state >> 32) % n;
}

uint64_t chance_seed(uint64_t seed)
{
	return (seed * UINT64_C(0x9e3779b97f4a7c15)) | 1;
}

uint64_t read_number(const char *variable, uint64_t standard)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : standard;
}

static uint64_t now_us(void)
{
	return (uint64_t)(now_ms() * 1000);
}

struct crowd *crowd_new(unsigned permits)
{
	struct crowd *crowd = mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(crowd, MAP_FAILED);
	ck_assert_uint_le(permits, CROWD_PERMITS);
	crowd->permits = permits;
	return crowd;
}

void crowd_free(struct crowd *crowd)
{
	munmap(crowd, sizeof(*crowd));
}

void crowd_fail(struct crowd *crowd, const char *format, ...)
{
	va_list args;

	if (__atomic_exchange_n(&crowd->has_failed, true, __ATOMIC_SEQ_CST))
		return;
	va_start(args, format);
	vsnprintf(crowd->failure, sizeof(crowd->failure), format, args);
	va_end(args);
}

/* --- tokens ----------------------------------------------------------------------------------- */

/* The pid, the unit, and a number that makes each of them the only one. */
#define TOKEN_UNIT_SHIFT 36
#define TOKEN_PID_SHIFT  40
#define TOKEN_ENTRY_MASK ((UINT64_C(1) << TOKEN_UNIT_SHIFT) - 1)

static uint64_t token_new(struct crowd *crowd, unsigned unit)
{
	uint64_t entry = __atomic_add_fetch(&crowd->entries, 1, __ATOMIC_RELAXED);

	return (uint64_t)getpid() << TOKEN_PID_SHIFT | (uint64_t)unit << TOKEN_UNIT_SHIFT |
	       (entry & TOKEN_ENTRY_MASK);
}

static pid_t token_pid(uint64_t token)
{
	return (pid_t)(token >> TOKEN_PID_SHIFT);
}

/* For valgrind, which knows no pidfds. */
static bool is_listed(pid_t pid)
{
	char path[64], state = 'X';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	int n = fscanf(file, "%*d (%*[^)]) %c", &state);
	fclose(file);
	return n == 1 && state != 'Z' && state != 'X';
}

static bool process_lives(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd dead = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return errno == ENOSYS ? is_listed(pid) : errno != ESRCH;
	bool is_dead = poll(&dead, 1, 0) == 1;
	close(fd);
	return !is_dead;
}

/* A client of the library is dead when its pidfd says so, neither for the daemon nor for us any earlier.
 * The end of a raw one the daemon takes from its descriptors, which the kernel closes a little before:
 * so for us it is dead when it is about to be killed. */
static bool token_lives(const struct crowd *crowd, uint64_t token)
{
	const struct crowd_unit *unit = &crowd->units[token >> TOKEN_UNIT_SHIFT & 15];

	if (token == 0)
		return false;
	if (unit->is_raw)
		return LOAD(&unit->pid) == token_pid(token);
	return process_lives(token_pid(token));
}

/* With one permit, who finds a token there finds a dead one, and has been told. */
static void enter_only_place(struct crowd *crowd, uint64_t token, int acquired, bool is_raw)
{
	uint64_t found = __atomic_exchange_n(&crowd->places[0], token, __ATOMIC_SEQ_CST);

	if (token_lives(crowd, found))
		crowd_fail(crowd, "exclusion broken: %d entered beside %d", getpid(),
			   token_pid(found));
	else if (found && !is_raw && acquired != SHMD_OWNER_DIED)
		crowd_fail(crowd, "%d was not told that %d has died", getpid(), token_pid(found));
}

/* Whether all places are taken by the living, at one and the same moment: then we are one too many. */
static bool is_full(struct crowd *crowd)
{
	uint64_t seen[CROWD_PERMITS];

	for (unsigned i = 0; i < crowd->permits; i++)
		seen[i] = LOAD(&crowd->places[i]);
	for (unsigned i = 0; i < crowd->permits; i++)
		if (seen[i] != LOAD(&crowd->places[i]))
			return false;
	for (unsigned i = 0; i < crowd->permits; i++)
		if (!token_lives(crowd, seen[i]))
			return false;
	return true;
}

/* One that is about to be killed may still come to leave its place. */
static bool take_place(struct crowd *crowd, uint64_t token, unsigned i)
{
	uint64_t found = LOAD(&crowd->places[i]);

	return (found == 0 || !process_lives(token_pid(found))) &&
	       __atomic_compare_exchange_n(&crowd->places[i], &found, token, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void enter_some_place(struct crowd *crowd, uint64_t token)
{
	while (!LOAD(&crowd->has_failed)) {
		for (unsigned i = 0; i < crowd->permits; i++)
			if (take_place(crowd, token, i))
				return;
		if (is_full(crowd))
			crowd_fail(crowd, "exclusion broken: %d is one too many", getpid());
	}
}

static uint64_t enter(struct crowd_member *self, int acquired)
{
	struct crowd *crowd = self->crowd;
	uint64_t token = token_new(crowd, self->unit);

	if (acquired == SHMD_OWNER_DIED)
		__atomic_add_fetch(&crowd->told, 1, __ATOMIC_RELAXED);
	if (crowd->permits == 1)
		enter_only_place(crowd, token, acquired, self->semaphore != NULL);
	else
		enter_some_place(crowd, token);
	return token;
}

static void leave(struct crowd *crowd, uint64_t token)
{
	for (unsigned i = 0; i < crowd->permits; i++) {
		uint64_t expected = token;
		if (__atomic_compare_exchange_n(&crowd->places[i], &expected, 0, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return;
	}
	crowd_fail(crowd, "exclusion broken: another one came into the place of %d", getpid());
}

/* --- working ---------------------------------------------------------------------------------- */

static void spin_us(unsigned us)
{
	for (uint64_t end = now_us() + us; now_us() < end;)
		;
}

/* Mostly nothing at all, so that what is done most is taking and giving. */
static void dawdle(struct crowd_member *self)
{
	switch (chance(&self->chance, 8)) {
	case 0:
		usleep(chance(&self->chance, 200));
		break;
	case 1:
	case 2:
		spin_us(chance(&self->chance, 20));
		break;
	case 3:
		sched_yield();
		break;
	}
}

static void set_state(struct crowd_member *self, enum crowd_state state)
{
	STORE(&self->crowd->units[self->unit].states[self->thread], (uint32_t)state);
}

static void hold(struct crowd_member *self, int acquired)
{
	uint64_t token = enter(self, acquired);

	set_state(self, CROWD_HOLDS);
	if (self->on_hold)
		self->on_hold(self);
	dawdle(self);
	leave(self->crowd, token);
	set_state(self, CROWD_GIVES);
}

static void note_wait(struct crowd *crowd, uint64_t us)
{
	uint64_t longest = LOAD(&crowd->longest_wait_us);

	while (us > longest &&
	       !__atomic_compare_exchange_n(&crowd->longest_wait_us, &longest, us, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

/* All three ways to wait. Returns as shmd_acquire(). */
static int acquire(struct crowd_member *self)
{
	static const int timeouts_ms[] = {STUCK_MS, STUCK_MS, -1, -1, 0, 1};
	int timeout_ms = timeouts_ms[chance(&self->chance, 6)];
	uint64_t before = now_us();
	int r = shmd_acquire(self->segment, timeout_ms);

	note_wait(self->crowd, now_us() - before);
	if (r < 0 && !(r == -EAGAIN && timeout_ms == 0) && !(r == -ETIMEDOUT && timeout_ms == 1))
		crowd_fail(self->crowd, "acquire: %s", shmd_error_message());
	return r;
}

static void take_and_give(struct crowd_member *self)
{
	int r = acquire(self);

	if (r < 0)
		return;
	hold(self, r);
	r = shmd_release(self->segment);
	if (r < 0)
		crowd_fail(self->crowd, "release: %s", shmd_error_message());
}

void crowd_join(struct crowd *crowd, unsigned unit, bool is_raw)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	crowd->units[unit].is_raw = is_raw;
	STORE(&crowd->units[unit].pid, getpid());
}

static bool is_at_work(struct crowd *crowd)
{
	return !LOAD(&crowd->is_over) && !LOAD(&crowd->has_failed);
}

void crowd_work(struct crowd_member *self)
{
	while (is_at_work(self->crowd)) {
		/* First said, then asked: who asks for a lull sees us, or we see it. */
		set_state(self, CROWD_TAKES);
		if (LOAD(&self->crowd->is_lull)) {
			set_state(self, CROWD_IDLE);
			usleep(200);
			continue;
		}
		take_and_give(self);
		set_state(self, CROWD_IDLE);
		dawdle(self);
	}
}

static void *run_thread(void *context)
{
	crowd_work(context);
	return NULL;
}

void crowd_work_threads(struct crowd_member *first, unsigned n)
{
	struct crowd_member members[CROWD_THREADS];
	pthread_t threads[CROWD_THREADS];

	for (unsigned i = 0; i < n; i++) {
		members[i] = *first;
		members[i].thread = i;
		members[i].chance = chance_seed(first->chance + i);
		if (pthread_create(&threads[i], NULL, run_thread, &members[i]) != 0)
			crowd_fail(first->crowd, "no thread");
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* --- raw clients ------------------------------------------------------------------------------ */

static bool wait_raw(sem_t *semaphore)
{
	struct timespec until;
	int r;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += RAW_PATIENCE_US * 1000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while ((r = sem_timedwait(semaphore, &until)) < 0 && errno == EINTR)
		;
	return r == 0;
}

static bool must_close(struct crowd *crowd)
{
	return !is_at_work(crowd) || LOAD(&crowd->is_lull) ||
	       now_us() < LOAD(&crowd->raw_away_until_us);
}

static void take_and_give_raw(struct crowd_member *self, sem_t *semaphore)
{
	set_state(self, CROWD_TAKES);
	if (!wait_raw(semaphore)) {
		STORE(&self->crowd->raw_away_until_us, now_us() + RAW_AWAY_US);
		return;
	}
	hold(self, 0);
	sem_post(semaphore);
	set_state(self, CROWD_OPEN);
}

static void work_while_open(struct crowd_member *self)
{
	sem_t *semaphore = sem_open(self->semaphore, 0);

	if (semaphore == SEM_FAILED) {
		crowd_fail(self->crowd, "sem_open: %s", strerror(errno));
		return;
	}
	for (unsigned n = chance(&self->chance, 300); n > 0 && !must_close(self->crowd); n--) {
		take_and_give_raw(self, semaphore);
		dawdle(self);
	}
	sem_close(semaphore);
}

void crowd_work_raw(struct crowd_member *self)
{
	while (is_at_work(self->crowd)) {
		set_state(self, CROWD_OPEN);
		if (!must_close(self->crowd))
			work_while_open(self);
		set_state(self, CROWD_IDLE);
		usleep(chance(&self->chance, 2000));
	}
}

/* --- killing ---------------------------------------------------------------------------------- */

/* Half of them die at any moment, the others as soon as they begin to take or to give. */
static void aim(struct crowd *crowd, unsigned unit, uint64_t *state)
{
	const uint32_t *at = &crowd->units[unit].states[0];
	unsigned wanted = chance(state, 2) ? CROWD_TAKES : CROWD_GIVES;

	if (chance(state, 2)) {
		spin_us(chance(state, 500));
		return;
	}
	for (uint64_t end = now_us() + 500; LOAD(at) == wanted && now_us() < end;)
		;
	for (uint64_t end = now_us() + 500; LOAD(at) != wanted && now_us() < end;)
		;
	for (volatile unsigned n = chance(state, 500); n > 0; n--)
		;
}

static void count_dead(struct crowd *crowd, unsigned unit)
{
	if (crowd->units[unit].is_raw)
		crowd->raw_held += LOAD(&crowd->units[unit].states[0]) == CROWD_HOLDS;
	for (unsigned i = 0; i < CROWD_THREADS; i++) {
		crowd->died[LOAD(&crowd->units[unit].states[i])]++;
		STORE(&crowd->units[unit].states[i], (uint32_t)CROWD_IDLE);
	}
}

/* A token of the dead in one of several places is of no use to anybody, and the pid may come again. */
static void clear_places(struct crowd *crowd, pid_t pid)
{
	for (unsigned i = 0; crowd->permits > 1 && i < crowd->permits; i++) {
		uint64_t found = LOAD(&crowd->places[i]);
		if (token_pid(found) == pid)
			__atomic_compare_exchange_n(&crowd->places[i], &found, 0, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
}

void crowd_kill(struct crowd *crowd, unsigned unit, pid_t pid, uint64_t *state)
{
	int status;

	aim(crowd, unit, state);
	STORE(&crowd->units[unit].pid, 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status))
		crowd_fail(crowd, "unit %u ended by itself, with status 0x%x", unit, status);
	count_dead(crowd, unit);
	clear_places(crowd, pid);
	crowd->killed++;
}

static const struct crowd_unit *first_at_work(const struct crowd *crowd)
{
	for (unsigned i = 0; i < CROWD_UNITS; i++)
		for (unsigned j = 0; j < CROWD_THREADS; j++)
			if (LOAD(&crowd->units[i].states[j]) != CROWD_IDLE)
				return &crowd->units[i];
	return NULL;
}

/* A moment, as far as it says something about the others: where the machine does not let us run, it does
 * not let them run either. */
static double pause_ms(void)
{
	double begun = now_ms();

	usleep(100);
	double took = now_ms() - begun;
	return took < 1 ? took : 1;
}

void crowd_lull(struct crowd *crowd)
{
	const struct crowd_unit *unit;
	double took = 0;

	STORE(&crowd->is_lull, true);
	while ((unit = first_at_work(crowd)) && !LOAD(&crowd->has_failed)) {
		if (took > STUCK_MS)
			crowd_fail(crowd, "unit %d is stuck", (int)(unit - crowd->units));
		took += pause_ms();
	}
	crowd->lulls++;
	if (took > crowd->longest_lull_ms)
		crowd->longest_lull_ms = took;
}

void crowd_go_on(struct crowd *crowd)
{
	STORE(&crowd->is_lull, false);
}

void crowd_print(const struct crowd *crowd, const char *what)
{
	const unsigned *died = crowd->died;

	printf("# %s, permits %u: %u killed, %u threads of them taking, %u holding (raw: %u), %u "
	       "giving; "
	       "%ju taken, %ju told; longest wait %.1f ms, %u lulls of at most %.1f ms\n",
	       what, crowd->permits, crowd->killed, died[CROWD_TAKES], died[CROWD_HOLDS],
	       crowd->raw_held, died[CROWD_GIVES], (uintmax_t)crowd->entries,
	       (uintmax_t)crowd->told, (double)crowd->longest_wait_us / 1000, crowd->lulls,
	       crowd->longest_lull_ms);
	fflush(stdout);
}

/* SPDX-License-Identifier: MIT */
/*
 * Daemons that die while they give back the permits of the dead, with somebody who keeps the memory for
 * the next: the test does, which plays a daemon that consists of the ledger alone. First at every
 * instruction, for processes that died at every step of the lock; then at any moment, in a storm of
 * processes that lock by the library's own code and are killed, too.
 *
 * SHMD_TEST_KILLS says how many die in the storms together, SHMD_TEST_SEED repeats their choices.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/guard.h"
#include "core/ledger.h"
#include "core/locker.h"
#include "core/semaphore.h"
#include "crowd.h"
#include "libshmd/fork.h"
#include "libshmd/segment.h"
#include "wire/word.h"

#define NUMBERS 6 /* that are given at most, from 1 */

/* --- what outlives daemons --------------------------------------------------------------------- */

static struct store {
	unsigned permits;
	struct instance instance;
	struct semaphore semaphore;
	int ledger; /* its memory; -1 with one permit */
	uint64_t *word, *slots;
} store;

static void *map_or_fail(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static void store_init(unsigned permits)
{
	struct ownership of = {.uid = geteuid(), .gid = getegid(), .mode = 0600};
	struct ledger ledger;
	bool by_descriptor_only;

	signal(SIGIO, SIG_IGN);
	ck_assert_int_eq(guard_init(), 0);
	ck_assert_int_eq(instance_init(&store.instance, "/dev/shm"), 0);
	semaphore_init(&store.semaphore);
	ck_assert_int_eq(semaphore_create(&store.semaphore, &store.instance, permits, &of, false,
					  &by_descriptor_only),
			 0);
	ck_assert_int_eq(ledger_init(&ledger, permits), 0);
	store.permits = permits;
	store.ledger = ledger.fd;
	store.word = map_or_fail(store.semaphore.fd, sizeof(*store.word));
	/* With one permit there are none, and nobody looks at these. */
	store.slots = ledger.fd >= 0 ? map_or_fail(ledger.fd, LEDGER_SIZE) : calloc(1, LEDGER_SIZE);
}

static void store_fini(void)
{
	munmap(store.word, sizeof(*store.word));
	if (store.ledger >= 0)
		munmap(store.slots, LEDGER_SIZE);
	else
		free(store.slots);
	semaphore_fini(&store.semaphore, &store.instance);
	instance_fini(&store.instance);
}

/* In processes that are killed: Check writes its own assertions to a file that all share. */
static void must(bool is_so)
{
	if (!is_so)
		abort();
}

/* A handle of the library's for that number, without a connection. */
static struct shmd_segment *handle_new(unsigned number)
{
	struct shmd_segment *segment = calloc(1, sizeof(*segment));
	struct wire_segment granted = {
		.id = 1,
		.lock = WIRE_LOCK_GRANTED,
		.number = number,
		.permits = store.permits,
	};

	must(segment && fork_init() == 0);
	segment->process = fork_generation();
	must(lock_init(&segment->lock, &granted, dup(store.semaphore.fd),
		       store.ledger < 0 ? -1 : dup(store.ledger)) == 0);
	return segment;
}

static void handle_free(struct shmd_segment *segment)
{
	lock_fini(&segment->lock);
	free(segment);
}

/* --- a daemon ---------------------------------------------------------------------------------- */

struct keeper {
	struct ledger ledger;
	struct estate estate, *emptied;
	unsigned numbers;                    /* that are given, from 1 */
	struct locker *lockers[NUMBERS + 1]; /* by them */
};

/* The lowest free number is given first, so that all get theirs again. */
static void restore_lockers(struct keeper *keeper)
{
	for (unsigned n = 1; n <= keeper->numbers; n++) {
		struct locker **locker = &keeper->lockers[n];
		if (!*locker)
			must(locker_new(&keeper->ledger, &keeper->estate, 1, (pid_t)n, 0, locker) ==
			     0);
		must((*locker)->number == n);
	}
}

static void keeper_init(struct keeper *keeper, unsigned numbers)
{
	*keeper = (struct keeper){
		.ledger = {.permits = store.permits, .fd = store.ledger},
		.numbers = numbers,
	};
	estate_init(&keeper->estate, &keeper->emptied);
	restore_lockers(keeper);
}

static void keeper_fini(struct keeper *keeper)
{
	/* The memory is the store's. */
	keeper->ledger.fd = -1;
	ledger_fini(&keeper->ledger);
}

static void count_given(const struct locker *locker, uint32_t permits, void *context)
{
	(void)locker;
	__atomic_add_fetch((uint64_t *)context, permits, __ATOMIC_SEQ_CST);
}

/* Those that were buried are not among the ledger's lockers any more. */
static void forget_buried(struct keeper *keeper)
{
	struct locker *locker;

	memset(keeper->lockers, 0, sizeof(keeper->lockers));
	for (locker = keeper->ledger.lockers; locker; locker = locker->next)
		keeper->lockers[locker->number] = locker;
}

/* ============================================================================================== */
/* Every instruction */

#define VICTIM 1u
#define OTHER  2u /* it lives */
#define SECOND 3u /* another victim */

/* What is in the shared memory, and what has become of the news. */
struct scene {
	uint64_t word;
	uint64_t victim, other, second;
	unsigned told; /* how often OTHER was told of a death */
};

/* Where it begins, and how it has to end. */
struct start {
	const char *name;
	struct scene scene;
	bool second_is_dead;
	bool until_exit;
	uint32_t value;
	unsigned deaths; /* with a permit, of which nobody was told before */
};

static void show(const struct scene *scene)
{
	__atomic_store_n(store.word, scene->word, __ATOMIC_SEQ_CST);
	store.slots[VICTIM] = scene->victim;
	store.slots[OTHER] = scene->other;
	store.slots[SECOND] = scene->second;
}

static struct scene look(unsigned told)
{
	return (struct scene){
		.word = __atomic_load_n(store.word, __ATOMIC_SEQ_CST),
		.victim = store.slots[VICTIM],
		.other = store.slots[OTHER],
		.second = store.slots[SECOND],
		.told = told,
	};
}

/* Counts of OTHER's operations say nothing. */
static bool is_same(const struct scene *a, const struct scene *b)
{
	return a->word == b->word && a->victim == b->victim && a->second == b->second &&
	       slot_held(a->other) == slot_held(b->other) && a->told == b->told;
}

/* As recovery_settle() does for a segment that is due. */
static void serve(struct keeper *keeper)
{
	uint64_t given = 0;
	uint32_t raw;
	enum ledger_answer buried = LEDGER_LATER, settled = LEDGER_LATER;

	for (int i = 0; i < 4 && (buried == LEDGER_LATER || settled == LEDGER_LATER); i++) {
		buried = ledger_bury(&keeper->ledger, &store.semaphore, count_given, &given);
		settled = ledger_settle_raw(&keeper->ledger, &store.semaphore, &raw);
	}
}

static void prepare(struct keeper *keeper, const struct start *start)
{
	keeper_init(keeper, SECOND);
	if (start->until_exit)
		ledger_keep_until_exit(keeper->lockers[VICTIM]);
	ledger_note_death(keeper->lockers[VICTIM]);
	if (start->second_is_dead)
		ledger_note_death(keeper->lockers[SECOND]);
}

/* A daemon that stops before it begins and behind its end. */
static pid_t start_daemon(const struct start *start)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct keeper keeper;
		prepare(&keeper, start);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		serve(&keeper);
		raise(SIGSTOP);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSTOPPED(status));
	return pid;
}

static unsigned instructions;

/* So that no daemon of these has to look for functions in shared libraries first. */
static void warm_up(void)
{
	static const struct start nothing;
	struct keeper keeper;

	show(&nothing.scene);
	prepare(&keeper, &nothing);
	serve(&keeper);
	keeper_fini(&keeper);
	raise(0);
}

/* Two processes that take turns at each instruction do so faster where they need not wake each other's
 * processor. */
static void stay_on_one_processor(void)
{
	cpu_set_t only;

	CPU_ZERO(&only);
	CPU_SET(sched_getcpu(), &only);
	sched_setaffinity(0, sizeof(only), &only);
}

/* Scenes that a dead daemon has left, each of them once. */
#define SCENES 256
static struct scene scenes[SCENES];
static unsigned n_scenes;

static void add_scene(const struct scene *scene)
{
	for (unsigned i = 0; i < n_scenes; i++)
		if (is_same(&scenes[i], scene))
			return;
	ck_assert_uint_lt(n_scenes, SCENES);
	scenes[n_scenes++] = *scene;
}

/* Before the next daemon comes, somebody else may take a permit and give it, if one is to be had. */
static void add_with_interlude(const struct scene *scene, struct shmd_segment *other)
{
	add_scene(scene);
	show(scene);
	/* It does not know that nobody sleeps here. */
	other->lock.is_stale = false;
	int r = shmd_acquire(other, 0);
	ck_assert_msg(r >= 0 || r == -EAGAIN, "%d", r);
	if (r >= 0)
		ck_assert_int_eq(shmd_release(other), 0);
	struct scene after = look(scene->told + (r == SHMD_OWNER_DIED));
	add_scene(&after);
	show(scene);
}

/* Lets a daemon run from that scene to its end, instruction by instruction, or kills it as soon as it has
 * changed the memory. Whatever it leaves there on its way is a scene that its death could have left: the
 * memory is all that a daemon leaves. Returns what is there at last. */
static struct scene run_daemon(const struct start *start, struct scene from, bool to_the_end,
			       struct shmd_segment *other)
{
	struct scene last = from;
	bool has_ended = false;
	int status;

	show(&from);
	pid_t pid = start_daemon(start);
	while (!has_ended && (to_the_end || is_same(&last, &from))) {
		ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFSTOPPED(status), "%s: status 0x%x", start->name, status);
		has_ended = WSTOPSIG(status) == SIGSTOP;
		instructions++;
		struct scene next = look(from.told);
		if (!is_same(&next, &last))
			add_with_interlude(&next, other);
		last = next;
	}
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return last;
}

static void check_end(const struct start *start, const struct scene *end)
{
	uint64_t initially = start->scene.word;
	unsigned told = end->told + !!(end->word & WORD_DIED);
	unsigned most = start->deaths + !!(initially & WORD_DIED);
	unsigned least = most > 0;

	ck_assert_msg(word_value(end->word) == start->value, "%s: %u permits instead of %u",
		      start->name, word_value(end->word), start->value);
	ck_assert_msg(slot_held(end->victim) == 0 && !(end->victim & SLOT_ALL), "%s: slot %jx",
		      start->name, (uintmax_t)end->victim);
	ck_assert_msg(!start->second_is_dead || slot_held(end->second) == 0, "%s: slot %jx",
		      start->name, (uintmax_t)end->second);
	ck_assert_uint_eq(slot_held(end->other), slot_held(start->scene.other));
	ck_assert_msg(told >= least && told <= most, "%s: told %u times", start->name, told);
	/* One permit: OTHER may be its holder. */
	uint64_t operation = store.permits > 1 ? WORD_OPERATION : WORD_PARITY | WORD_GIVE;
	ck_assert_msg((end->word & (operation | WORD_WAITERS)) == 0, "%s: word %jx", start->name,
		      (uintmax_t)end->word);
	ck_assert_msg(word_owner(end->word) != VICTIM, "%s: word %jx", start->name,
		      (uintmax_t)end->word);
	ck_assert_uint_eq(end->word & WORD_SLEEPS, initially & WORD_SLEEPS);
}

/* Kills daemons at every change from every scene that another has left, until no new one is found. */
static void check_start(const struct start *start, struct shmd_segment *other)
{
	n_scenes = 0;
	add_with_interlude(&start->scene, other);
	for (unsigned i = 0; i < n_scenes; i++) {
		struct scene end = run_daemon(start, scenes[i], false, other);
		if (!is_same(&end, &scenes[i]))
			end = run_daemon(start, scenes[i], true, other);
		check_end(start, &end);
	}
}

/* --- where the victims died -------------------------------------------------------------------- */

enum step { AT_REST, TAKEN, COUNTED_TAKEN, GIVEN, COUNTED_GIVEN, STEPS };

static const char *const step_names[STEPS] = {
	"at rest",
	"between TAKE and COUNT",
	"between COUNT and CLEAR of an acquire",
	"between GIVE and COUNT",
	"between COUNT and CLEAR of a release",
};

/* A slot of `held` permits in front of that step's operation, and behind the step; the word's bits. */
static uint64_t slot_at(enum step step, unsigned number, uint64_t slot, uint64_t *ret_bits)
{
	*ret_bits = step == AT_REST ? 0 : word_of_owner(number) | slot_parity(slot);
	if (step == GIVEN || step == COUNTED_GIVEN)
		*ret_bits |= WORD_GIVE;
	if (step == COUNTED_TAKEN)
		return slot_next(slot, slot_held(slot) + 1);
	if (step == COUNTED_GIVEN)
		return slot_next(slot, slot_held(slot) - 1);
	return slot;
}

/* What it holds once that step is done. */
static unsigned held_by(enum step step, unsigned held)
{
	if (step == TAKEN || step == COUNTED_TAKEN)
		return held + 1;
	return step == GIVEN || step == COUNTED_GIVEN ? held - 1 : held;
}

struct circumstances {
	uint32_t count; /* of the victim's operations */
	unsigned raw;   /* permits of programs that had it open by name, and died */
	uint64_t bits;  /* of the word */
	bool until_exit;
	unsigned second; /* permits that another victim holds, at rest */
	unsigned most;   /* that the victim held before its last step */
};

static const struct circumstances circumstances[] = {
	{6, 0, 0, false, 0, 2},
	{UINT32_MAX, 0, WORD_DIED, false, 0, 1},
	{0, 1, WORD_SLEEPS, false, 1, 1},
	{3, 1, UINT64_C(3) << 32, true, 0, 1},
};
#define N_CIRCUMSTANCES (sizeof(circumstances) / sizeof(circumstances[0]))

/* Several permits, of which OTHER holds one. Returns whether there is such a start. */
static bool several(enum step step, unsigned held, const struct circumstances *as,
		    struct start *ret)
{
	uint64_t slot = (uint64_t)as->count << SLOT_COUNT_SHIFT | held, bits;
	unsigned all_held = held + 1 + as->raw + as->second;

	if ((step == TAKEN || step == COUNTED_TAKEN) && all_held == store.permits)
		return false;
	if (((step == GIVEN || step == COUNTED_GIVEN) && held == 0) || all_held > store.permits)
		return false;
	*ret = (struct start){
		.name = step_names[step],
		.second_is_dead = as->second > 0,
		.until_exit = as->until_exit,
		.value = store.permits - 1,
	};
	ret->scene.victim = slot_at(step, VICTIM, slot, &bits);
	ret->scene.other = 1;
	ret->scene.second = as->second;
	ret->scene.word = (store.permits - 1 - as->raw - as->second - held_by(step, held)) | bits |
			  as->bits;
	ret->deaths = (held_by(step, held) > 0 && !as->until_exit) + as->second + as->raw;
	/* TAKE itself told the victim of a death. */
	if (step == TAKEN || step == COUNTED_TAKEN)
		ret->scene.word &= ~WORD_DIED;
	return true;
}

START_TEST(killed_at_each_instruction_with_several_permits)
{
	enum step step = (enum step)_i;
	unsigned n = 0;

	stay_on_one_processor();
	store_init(4);
	warm_up();
	struct shmd_segment *other = handle_new(OTHER);
	for (unsigned i = 0; i < N_CIRCUMSTANCES; i++) {
		for (unsigned held = 0; held <= circumstances[i].most; held++) {
			struct start start;
			if (!several(step, held, &circumstances[i], &start))
				continue;
			check_start(&start, other);
			n += n_scenes;
		}
	}
	printf("# %s: %u scenes, %u instructions\n", step_names[step], n, instructions);
	fflush(stdout);
	handle_free(other);
	store_fini();
}
END_TEST

/* One permit: the word says all. */
static const struct start with_one[] = {
	{"held", {.word = 1}, .value = 1},
	{"its", {.word = 0 | UINT64_C(1) << WORD_OWNER_SHIFT}, .value = 1, .deaths = 1},
	{"its, waiters",
	 {.word = WORD_SLEEPS | WORD_DIED | UINT64_C(1) << WORD_OWNER_SHIFT},
	 .value = 1,
	 .deaths = 1},
	{"its, until exit",
	 {.word = UINT64_C(1) << WORD_OWNER_SHIFT},
	 .until_exit = true,
	 .value = 1},
	{"another's", {.word = WORD_SLEEPS | UINT64_C(2) << WORD_OWNER_SHIFT}, .value = 0},
	{"a raw client's", {.word = UINT64_C(2) << 32 | WORD_SLEEPS}, .value = 1, .deaths = 1},
	{"raw waiters only", {.word = UINT64_C(2) << 32 | 1}, .value = 1},
};

START_TEST(killed_at_each_instruction_with_one_permit)
{
	stay_on_one_processor();
	store_init(1);
	warm_up();
	struct shmd_segment *other = handle_new(OTHER);
	for (unsigned i = 0; i < sizeof(with_one) / sizeof(with_one[0]); i++)
		check_start(&with_one[i], other);
	handle_free(other);
	store_fini();
}
END_TEST

/* ============================================================================================== */
/* Two threads of one process */

/* Shared by the test and the process of the two. */
static struct pair {
	bool may_second_begin, has_second_taken, is_over;
} * pair;

static void *take_as_second(void *segment)
{
	while (!__atomic_load_n(&pair->may_second_begin, __ATOMIC_SEQ_CST))
		usleep(10);
	if (shmd_acquire(segment, 5000) == 0)
		__atomic_store_n(&pair->has_second_taken, true, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&pair->is_over, __ATOMIC_SEQ_CST))
		usleep(100);
	return NULL;
}

/* The first thread is the test's to step, and the second is not. */
static void be_pair(bool releases)
{
	struct shmd_segment *segment = handle_new(VICTIM);
	pthread_t second;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_create(&second, NULL, take_as_second, segment);
	/* Everything is looked up and mapped at its first use. */
	if (shmd_acquire(segment, 0) < 0 || shmd_release(segment) < 0)
		_exit(1);
	if (releases && shmd_acquire(segment, 0) < 0)
		_exit(1);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	int r = releases ? shmd_release(segment) : shmd_acquire(segment, 5000);
	raise(SIGSTOP);
	_exit(r < 0);
}

static pid_t start_pair(bool releases)
{
	int status;

	*pair = (struct pair){false};
	show(&(struct scene){.word = store.permits - 1, .other = 1});
	pid_t pid = fork();
	if (pid == 0)
		be_pair(releases);
	ck_assert_int_ge(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSTOPPED(status));
	return pid;
}

/* Returns whether the first thread has come to its end before. */
static bool step_first(pid_t pid, unsigned n)
{
	int status;

	while (n-- > 0) {
		ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSTOP)
			return true;
	}
	return false;
}

/* So that the word is what it was, though the slot is not. Where the first thread keeps the second out,
 * that one comes later. */
static void change_slot(struct shmd_segment *other)
{
	double end = now_ms() + 5;

	__atomic_store_n(&pair->may_second_begin, true, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&pair->has_second_taken, __ATOMIC_SEQ_CST) && now_ms() < end)
		usleep(20);
	/* It waits for as long as the first thread's operation is under way. */
	if (word_owner(__atomic_load_n(store.word, __ATOMIC_SEQ_CST)) == 0)
		ck_assert_int_eq(shmd_release(other), 0);
}

static void finish_pair(pid_t pid, bool has_ended)
{
	int status;

	if (!has_ended) {
		ck_assert_int_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	}
	AWAIT(__atomic_load_n(&pair->has_second_taken, __ATOMIC_SEQ_CST));
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

/* The first thread takes or gives a permit, and stops after so many instructions, while the second one
 * takes another. Returns whether the first has come to its end. */
static bool check_pair(bool releases, unsigned n, struct shmd_segment *other)
{
	pid_t pid = start_pair(releases);
	bool has_ended = step_first(pid, n);

	change_slot(other);
	finish_pair(pid, has_ended);
	struct scene end = look(0);
	ck_assert_msg(slot_held(end.victim) == (releases ? 1 : 2), "%s, %u instructions: slot %jx",
		      releases ? "release" : "acquire", n, (uintmax_t)end.victim);
	ck_assert_uint_eq(word_value(end.word) + slot_held(end.victim) + slot_held(end.other),
			  store.permits);
	ck_assert_uint_eq(word_owner(end.word), 0);
	return has_ended;
}

START_TEST(threads_share_a_slot)
{
	unsigned n = 0;

	stay_on_one_processor();
	store_init(4);
	pair = mmap(NULL, sizeof(*pair), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(pair, MAP_FAILED);
	struct shmd_segment *other = handle_new(OTHER);
	while (!check_pair(_i, n, other))
		n++;
	printf("# %s: %u instructions\n", _i ? "release" : "acquire", n);
	fflush(stdout);
	handle_free(other);
	munmap(pair, sizeof(*pair));
	store_fini();
}
END_TEST

/* ============================================================================================== */
/* A storm */

#define WORKERS       6
#define KILLS_BETWEEN 20
#define LULL_MAX_MS   900

static struct crowd *crowd;
static uint64_t chance_state;

/* Shared by the test and its daemons. */
static struct duty {
	bool dead[NUMBERS + 1]; /* whose burial is to come; then the number may be given again */
	bool is_burying;
	uint64_t given; /* as far as a daemon came to count it */
} * duty;

static int bell; /* rung for the daemon */
static pid_t daemon_pid;
static unsigned daemons_killed, daemons_killed_burying;
static pid_t workers[WORKERS];

static bool note_deaths(struct keeper *keeper)
{
	for (unsigned n = 1; n <= NUMBERS; n++)
		if (__atomic_load_n(&duty->dead[n], __ATOMIC_SEQ_CST))
			ledger_note_death(keeper->lockers[n]);
	return keeper->ledger.n_dead > 0;
}

static void bury_noted(struct keeper *keeper)
{
	bool was_dead[NUMBERS + 1];

	for (unsigned n = 1; n <= NUMBERS; n++)
		was_dead[n] = keeper->lockers[n]->is_dead;
	__atomic_store_n(&duty->is_burying, true, __ATOMIC_SEQ_CST);
	ledger_bury(&keeper->ledger, &store.semaphore, count_given, &duty->given);
	__atomic_store_n(&duty->is_burying, false, __ATOMIC_SEQ_CST);
	forget_buried(keeper);
	for (unsigned n = 1; n <= NUMBERS; n++)
		if (was_dead[n] && !keeper->lockers[n])
			__atomic_store_n(&duty->dead[n], false, __ATOMIC_SEQ_CST);
	restore_lockers(keeper);
}

static void be_daemon(void)
{
	struct keeper keeper;
	uint64_t rung;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	keeper_init(&keeper, NUMBERS);
	word_wake(store.word, INT_MAX);
	for (;;) {
		while (note_deaths(&keeper))
			bury_noted(&keeper);
		if (read(bell, &rung, sizeof(rung)) < 0)
			_exit(1);
	}
}

static void start_storm_daemon(void)
{
	daemon_pid = fork();
	if (daemon_pid == 0)
		be_daemon();
	ck_assert_int_ge(daemon_pid, 0);
}

static void ring(void)
{
	uint64_t once = 1;

	ck_assert_int_eq(write(bell, &once, sizeof(once)), sizeof(once));
}

/* In the middle of its work, if it can be caught there. */
static void kill_storm_daemon(void)
{
	double end = now_ms() + 1;

	while (!__atomic_load_n(&duty->is_burying, __ATOMIC_SEQ_CST) && now_ms() < end)
		;
	for (volatile unsigned n = chance(&chance_state, 20000); n > 0; n--)
		;
	ck_assert_int_eq(kill(daemon_pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(daemon_pid, NULL, 0), daemon_pid);
	daemons_killed++;
	daemons_killed_burying += duty->is_burying;
	duty->is_burying = false;
	start_storm_daemon();
	ring();
}

static void be_worker(unsigned i)
{
	struct crowd_member self = {.crowd = crowd, .unit = i};

	self.chance = chance_seed(chance_state + i);
	crowd_join(crowd, i, false);
	self.segment = handle_new(i + 1);
	if (i < 2)
		crowd_work_threads(&self, 2 + i);
	else
		crowd_work(&self);
	_exit(0);
}

/* As soon as its number is free. */
static void start_workers(void)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		if (workers[i] != 0 || __atomic_load_n(&duty->dead[i + 1], __ATOMIC_SEQ_CST))
			continue;
		workers[i] = fork();
		if (workers[i] == 0)
			be_worker(i);
		ck_assert_int_ge(workers[i], 0);
	}
}

static void kill_worker(unsigned i)
{
	if (workers[i] == 0)
		return;
	crowd_kill(crowd, i, workers[i], &chance_state);
	workers[i] = 0;
	__atomic_store_n(&duty->dead[i + 1], true, __ATOMIC_SEQ_CST);
	ring();
}

static bool is_anyone_unburied(void)
{
	for (unsigned n = 1; n <= NUMBERS; n++)
		if (__atomic_load_n(&duty->dead[n], __ATOMIC_SEQ_CST))
			return true;
	return false;
}

static void check_permits(void)
{
	AWAIT(!is_anyone_unburied());
	uint64_t word = __atomic_load_n(store.word, __ATOMIC_SEQ_CST);
	if ((word & ~(WORD_DIED | WORD_SLEEPS)) != crowd->permits)
		crowd_fail(crowd, "at a lull, the word is %016jx", (uintmax_t)word);
	for (unsigned n = 1; n <= NUMBERS; n++)
		if (slot_held(store.slots[n]) != 0 || store.slots[n] & SLOT_ALL)
			crowd_fail(crowd, "at a lull, slot %u is %jx", n,
				   (uintmax_t)store.slots[n]);
}

static void storm_start(unsigned permits)
{
	uint64_t seed = read_number("SHMD_TEST_SEED", (uint64_t)time(NULL));

	printf("# SHMD_TEST_SEED=%ju\n", (uintmax_t)seed);
	fflush(stdout);
	chance_state = chance_seed(seed);
	store_init(permits);
	crowd = crowd_new(permits);
	duty = mmap(NULL, sizeof(*duty), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(duty, MAP_FAILED);
	bell = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_ge(bell, 0);
	start_storm_daemon();
}

static void storm_go_on(unsigned n)
{
	while (crowd->killed + daemons_killed < n && !crowd->has_failed) {
		for (unsigned i = 0; i < KILLS_BETWEEN && !crowd->has_failed; i++) {
			start_workers();
			kill_worker(chance(&chance_state, WORKERS));
			if (chance(&chance_state, 2))
				kill_storm_daemon();
		}
		crowd_lull(crowd);
		check_permits();
		crowd_go_on(crowd);
	}
}

static void storm_end(void)
{
	int status;

	__atomic_store_n(&crowd->is_over, true, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < WORKERS; i++)
		if (workers[i] && (waitpid(workers[i], &status, 0) != workers[i] || status != 0))
			crowd_fail(crowd, "worker %u ended with status 0x%x", i, status);
	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	crowd_print(crowd, "with daemons that die");
	printf("# %u daemons killed, %u of them giving back; %ju permits given back at least\n",
	       daemons_killed, daemons_killed_burying, (uintmax_t)duty->given);
	fflush(stdout);
	ck_assert_msg(!crowd->has_failed, "%s", crowd->failure);
	ck_assert_msg(crowd->longest_lull_ms < LULL_MAX_MS, "somebody slept beside a free permit");
	munmap(duty, sizeof(*duty));
	crowd_free(crowd);
	store_fini();
}

START_TEST(holders_and_daemons_are_killed)
{
	storm_start(_i ? 4 : 1);
	storm_go_on((unsigned)read_number("SHMD_TEST_KILLS", 3000) / 2);
	storm_end();
}
END_TEST

/* Elsewhere a step may never get through an atomic operation, which begins anew; and what sanitizers and
 * valgrind would find there, they find in the storm, in less than all day. */
static bool can_step(void)
{
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	const char *preloaded = getenv("LD_PRELOAD");

	return !preloaded || !strstr(preloaded, "vgpreload");
#else
	return false;
#endif
}

int main(void)
{
	Suite *suite = suite_create("lock_recovery");
	TCase *tests = tcase_create("lock_recovery");

	tcase_set_timeout(tests, 900);
	if (can_step()) {
		tcase_add_test(tests, killed_at_each_instruction_with_one_permit);
		tcase_add_loop_test(tests, killed_at_each_instruction_with_several_permits, 0,
				    STEPS);
		tcase_add_loop_test(tests, threads_share_a_slot, 0, 2);
	}
	tcase_add_loop_test(tests, holders_and_daemons_are_killed, 0, 2);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

/* SPDX-License-Identifier: MIT */
/*
 * A client that dies, or is stopped, between any two instructions of shmd_acquire() and
 * shmd_release(): a tracer single-steps a victim to each of them in turn, kills it there or leaves it
 * standing, and looks at what became of the permits.
 *
 * What the victim has done is known from the word, which the tracer has mapped itself: while it steps,
 * nobody else is at work. Who waits behind the victim sleeps without an end (the library's own waiters
 * look again each second), so that a lost wake-up is found out by waiting, not by measuring time.
 *
 * Long ways are sampled: each instruction near a change of the word or a sleep, and as many others,
 * evenly, as SHMD_TEST_POINTS says (15; 0: all of them, as also with SHMD_TEST_LARGE).
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wire/word.h"

/* What takes longer will never be. */
#define STUCK_MS 5000

#define STEPS_MAX  200000
#define STAGES_MAX 20
/* Around a change of the word, all instructions are taken. */
#define NEAR 6
/* And of ways that are no longer than this. */
#define SHORT 100
/* What others do, one after the other, to show that they are not held up, and for how long any of it
 * may wait. */
#define TURNS    200
#define TURNS_MS 2000

/* One way through the library. */
struct way {
	const char *name;
	bool releases; /* else it acquires */
	unsigned permits;
	bool has_raw; /* another program has the semaphore open by name, and of several permits one */
	bool is_contended; /* somebody waits for a permit; who acquires has to sleep */
	bool has_died;     /* a holder died before, which is still to be told */
	bool has_threads;  /* the victim has had several */
	bool is_stale;     /* the victim thinks that SLEEPS stands for nobody, and is wrong */
	bool is_cold;      /* nothing was mapped or bound yet */
};

static const struct way ways[] = {
	{.name = "acquire, free", .permits = 1},
	{.name = "acquire, free", .permits = 4},
	{.name = "acquire, free", .permits = 1, .has_raw = true},
	{.name = "acquire, free", .permits = 4, .has_raw = true},
	{.name = "acquire, contended", .permits = 1, .is_contended = true},
	{.name = "acquire, contended", .permits = 4, .is_contended = true},
	{.name = "acquire, contended", .permits = 1, .is_contended = true, .has_raw = true},
	{.name = "acquire, contended", .permits = 4, .is_contended = true, .has_raw = true},
	{.name = "acquire, free after a death", .permits = 1, .has_died = true},
	{.name = "acquire, free after a death",
	 .permits = 4,
	 .has_died = true,
	 .has_threads = true},
	{.name = "acquire, with a stale hint",
	 .permits = 1,
	 .is_contended = true,
	 .is_stale = true},
	{.name = "acquire, with a stale hint",
	 .permits = 4,
	 .is_contended = true,
	 .is_stale = true,
	 .has_raw = true},
	{.name = "acquire for the first time", .permits = 1, .is_cold = true},
	{.name = "acquire for the first time", .permits = 4, .is_cold = true},
	{.name = "release, free", .releases = true, .permits = 1},
	{.name = "release, free", .releases = true, .permits = 4},
	{.name = "release, free", .releases = true, .permits = 1, .has_raw = true},
	{.name = "release, free", .releases = true, .permits = 4, .has_raw = true},
	{.name = "release, threads", .releases = true, .permits = 4, .has_threads = true},
	{.name = "release, contended", .releases = true, .permits = 1, .is_contended = true},
	{.name = "release, contended", .releases = true, .permits = 4, .is_contended = true},
	{.name = "release, contended",
	 .releases = true,
	 .permits = 1,
	 .is_contended = true,
	 .has_raw = true},
	{.name = "release, contended",
	 .releases = true,
	 .permits = 4,
	 .is_contended = true,
	 .has_raw = true},
	{.name = "release, contended, threads",
	 .releases = true,
	 .permits = 4,
	 .is_contended = true,
	 .has_threads = true},
};

#define N_WAYS ((int)(sizeof(ways) / sizeof(ways[0])))

/* What victim and helper tell, in memory that they share with the tracer. */
static struct told {
	volatile int refused; /* why it cannot be traced */
	volatile int entered, left, finished, result;
	volatile int sleeps; /* the helper is about to */
} * told;

static struct test_daemon daemon_;
static struct shmd *connection;
/* The tracer's own attachments, and the semaphore of the first. */
static struct shmd_segment *mine, *elsewhere;
static uint64_t *word;
static const struct way *way;
static double begin_ms;

/* A step goes back and forth between tracer and victim: on one processor that is ten times as quick. */
static cpu_set_t all_processors;

static void stay_here(void)
{
	cpu_set_t here;

	sched_getaffinity(0, sizeof(all_processors), &all_processors);
	CPU_ZERO(&here);
	CPU_SET((unsigned)sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

static void set_up(void)
{
	sigset_t set;

	/* Awaited in step(). */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(told, MAP_FAILED);
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
	elsewhere = create_or_fail(connection, "elsewhere", 1, SHMD_LIFETIME_CLIENTS);
	stay_here();
}

static void tear_down(void)
{
	shmd_detach(elsewhere);
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
	munmap(told, sizeof(*told));
}

/* --- the word --------------------------------------------------------------------------------- */

static uint64_t load(void)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static uint64_t *map_word(const struct shmd_segment *segment)
{
	void *p = mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED,
		       shmd_segment_semaphore_fd(segment), 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static void begin_way(const struct way *chosen)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	way = chosen;
	begin_ms = now_ms();
	options.permits = way->permits;
	ck_assert_int_eq(shmd_create(connection, "seg", 1, &options, &mine), 0);
	word = map_word(mine);
}

static void end_way(void)
{
	munmap(word, sizeof(sem_t));
	mine = shmd_detach(mine);
	await_gone(connection, "seg");
}

/* --- the helper: who waits behind the victim ---------------------------------------------------- */

struct helper {
	struct actor actor;
	bool is_waiting;
	unsigned held;
};

/* As the library waits, but without an end. */
static int acquire_patiently(struct shmd_segment *segment)
{
	for (int r; (r = shmd_acquire(segment, 0)) != -EAGAIN;)
		return r;
	for (;;) {
		struct futex_waitv on[2] = {{.flags = FUTEX_32}, {.flags = FUTEX_32}};
		uint64_t d = load();
		if (word_value(d) > 0) {
			int r = shmd_acquire(segment, 0);
			if (r != -EAGAIN)
				return r;
			continue;
		}
		if (!(d & WORD_SLEEPS)) {
			__atomic_compare_exchange_n(word, &d, d | WORD_SLEEPS, false,
						    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
			continue;
		}
		on[0].uaddr = (uintptr_t)word_low(word);
		on[1].uaddr = (uintptr_t)word_high(word);
		on[1].val = (uint32_t)(d >> 32);
		told->sleeps = 1;
		long r = syscall(SYS_futex_waitv, on, 2, 0, NULL, 0);
		told->sleeps = 0;
		/* Before Linux 5.16 nobody can wait without an end. */
		if (r < 0 && (errno == ENOSYS || errno == EPERM)) {
			told->sleeps = 1;
			return shmd_acquire(segment, -1);
		}
	}
}

static int help(struct shmd_segment *segment, char command)
{
	switch (command) {
	case 'a':
		return acquire_patiently(segment);
	case 'l':
		told->sleeps = 1;
		return shmd_acquire(segment, -1);
	default:
		return shmd_release(segment);
	}
}

static int help_raw(sem_t *semaphore, char command)
{
	if (command == 'r')
		return sem_post(semaphore);
	told->sleeps = 1;
	int r = sem_wait(semaphore);
	told->sleeps = 0;
	return r;
}

static void helper_process(struct actor *self, void *context)
{
	struct shmd_segment *segment = NULL;
	sem_t *semaphore = NULL;
	char command;

	(void)context;
	sched_setaffinity(0, sizeof(all_processors), &all_processors);
	if (way->has_raw)
		semaphore = sem_open(shmd_segment_semaphore(mine), 0);
	else
		segment = attach_or_fail(connect_or_fail(), "seg", 0);
	ck_assert(segment || semaphore != SEM_FAILED);
	actor_tell(self);
	while (read(self->from, &command, 1) == 1) {
		int r = segment ? help(segment, command) : help_raw(semaphore, command);
		ck_assert_int_eq(write(self->to, &r, sizeof(r)), sizeof(r));
	}
}

/* Asks it for something; it answers when that is done. */
static void helper_ask(struct helper *helper, char command)
{
	ck_assert_int_eq(write(helper->actor.to, &command, 1), 1);
}

static bool helper_has_answered(struct helper *helper, int timeout_ms)
{
	struct pollfd on = {.fd = helper->actor.from, .events = POLLIN};

	return poll(&on, 1, timeout_ms) > 0;
}

static int helper_answer(struct helper *helper)
{
	int r;

	ck_assert_msg(helper_has_answered(helper, STUCK_MS),
		      "the helper is stuck; the word is %#jx", (uintmax_t)load());
	ck_assert_int_eq(read(helper->actor.from, &r, sizeof(r)), sizeof(r));
	ck_assert_int_ge(r, 0);
	return r;
}

static void helper_start(struct helper *helper)
{
	*helper = (struct helper){.held = 0};
	actor_start(&helper->actor, helper_process, NULL);
	actor_await(&helper->actor);
	if (!way->has_raw || way->permits == 1)
		return;
	helper_ask(helper, 'a');
	helper_answer(helper);
	helper->held = 1;
}

static void helper_end(struct helper *helper)
{
	if (helper->held > 0) {
		helper_ask(helper, 'r');
		helper_answer(helper);
	}
	/* End of file ends it. */
	close(helper->actor.to);
	helper->actor.to = open("/dev/null", O_WRONLY | O_CLOEXEC);
	actor_finish(&helper->actor);
}

static char process_state(pid_t pid)
{
	char path[64], line[512] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(read(fd, line, sizeof(line) - 1), 0);
	close(fd);
	const char *at = strrchr(line, ')');
	return at ? at[2] : '?';
}

static bool helper_sleeps(const struct helper *helper)
{
	return told->sleeps && (load() & (WORD_SLEEPS | WORD_WAITERS)) &&
	       process_state(helper->actor.pid) == 'S';
}

/* How it waits: 'a', without an end, or 'l', as the library does. */
static char waiting = 'a';

/* Has it wait for a permit, and returns when it is asleep. */
static void helper_wait(struct helper *helper)
{
	told->sleeps = 0;
	helper_ask(helper, waiting);
	helper->is_waiting = true;
	AWAIT(helper_sleeps(helper));
}

static int helper_come_through(struct helper *helper)
{
	int r = helper_answer(helper);

	helper->is_waiting = false;
	helper->held++;
	return r;
}

static void helper_release(struct helper *helper)
{
	helper_ask(helper, 'r');
	helper_answer(helper);
	helper->held--;
}

/* All but what a raw program keeps all the time. */
static void helper_give_back(struct helper *helper)
{
	unsigned kept = way->has_raw && way->permits > 1;

	while (helper->held > kept)
		helper_release(helper);
}

/* --- the victim ------------------------------------------------------------------------------- */

static void *nothing(void *context)
{
	return context;
}

/* After this, the C library does not take the process for one with a single thread any more. */
static void have_had_threads(void)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, nothing, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* Goes once through everything, so that all is mapped and bound. A release for a waiter that has given
 * up leaves the stale hint; to take the permit once more clears it. */
static void warm_up(struct shmd_segment *segment)
{
	unsigned n = 0;

	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	if (!way->is_contended && !way->has_died && !way->has_threads)
		return;
	while (shmd_acquire(segment, 0) == 0)
		n++;
	ck_assert_int_eq(shmd_acquire(segment, 1), -ETIMEDOUT);
	for (; n > 0; n--)
		ck_assert_int_eq(shmd_release(segment), 0);
	if (way->is_stale)
		return;
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
}

static void stop_for_tracer(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		told->refused = errno;
	raise(SIGSTOP);
}

static void victim_process(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct shmd_segment *segment = attach_or_fail(connect_or_fail(), "seg", 0);
	if (way->has_threads)
		have_had_threads();
	if (!way->is_cold)
		warm_up(segment);
	if (way->releases)
		ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	stop_for_tracer();
	told->entered = 1;
	told->result = way->releases ? shmd_release(segment) : shmd_acquire(segment, -1);
	told->left = 1;
	/* Who lets it go on wants it to go on for good. */
	raise(SIGSTOP);
	told->result = way->releases ? 0 : shmd_release(segment);
	told->finished = 1;
	for (;;)
		pause();
}

static pid_t victim_start(void)
{
	int status;

	told->entered = told->left = told->finished = 0;
	fflush(stdout);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		victim_process();
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert_msg(WIFSTOPPED(status), "the victim ended with status 0x%x", status);
	return pid;
}

/* --- stepping --------------------------------------------------------------------------------- */

/* One victim, from its start to its end. */
struct run {
	struct helper *helper;
	pid_t pid;
	unsigned held;    /* by the tracer */
	unsigned number;  /* the victim's, once the word has told it */
	bool has_changed; /* the victim has taken the permit, or given it */
	bool is_asleep;   /* in the step that was begun last */
	uint64_t before;  /* the word, as the last step began */
};

/* Begins one instruction. Returns whether it was finished; false: the victim is asleep in it. */
static bool finish_step(const struct run *run)
{
	static const struct timespec pause = {.tv_nsec = 1000000};
	sigset_t set;
	int status;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;) {
		/* Asked for in this order: what comes meanwhile is seen by the next look. */
		bool is_over = sigtimedwait(&set, NULL, &pause) < 0;
		pid_t pid = waitpid(run->pid, &status, WNOHANG);
		ck_assert_int_ge(pid, 0);
		if (pid == 0 && is_over && process_state(run->pid) == 'S')
			return false;
		if (pid == 0)
			continue;
		ck_assert_msg(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP,
			      "a step ended with status 0x%x", status);
		return true;
	}
}

/* While it is stepped, nobody but the victim changes the value, until it has taken or given. */
static void note_change(struct run *run)
{
	uint64_t d = load();

	if (run->has_changed || word_value(d) == word_value(run->before))
		return;
	ck_assert_int_eq((int)word_value(d) - (int)word_value(run->before), way->releases ? 1 : -1);
	run->has_changed = true;
	if (way->permits > 1 || !way->releases)
		run->number = word_owner(d);
}

static bool step(struct run *run)
{
	run->before = load();
	ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, run->pid, NULL, NULL), 0);
	run->is_asleep = !finish_step(run);
	if (!run->is_asleep)
		note_change(run);
	return !run->is_asleep;
}

static bool victim_holds(const struct run *run)
{
	return run->has_changed != way->releases;
}

/* It stands as owner in the word of several permits: the others cannot go on. */
static bool is_in_operation(const struct run *run)
{
	return way->permits > 1 && run->number != 0 && word_owner(load()) == run->number;
}

static void take_all(struct run *run)
{
	while (shmd_acquire(mine, 0) == 0)
		run->held++;
	ck_assert_uint_eq(word_value(load()), 0);
}

static void release_one(struct run *run)
{
	ck_assert_int_eq(shmd_release(mine), 0);
	run->held--;
}

/* A release whose wake-up is still to come: by the tracer with one permit, by the raw program else. */
static void post_without_waking(struct run *run)
{
	if (way->permits == 1) {
		__atomic_store_n(word, (load() + 1) & ~WORD_OWNER, __ATOMIC_RELEASE);
		run->held--;
	} else {
		__atomic_fetch_add(word, 1, __ATOMIC_RELEASE);
		run->helper->held--;
	}
}

static void set_the_scene(struct run *run)
{
	if (way->has_died)
		__atomic_fetch_or(word, WORD_DIED, __ATOMIC_RELAXED);
	if (!way->is_contended)
		return;
	take_all(run);
	if (way->releases || way->is_stale)
		helper_wait(run->helper);
	if (way->is_stale)
		post_without_waking(run);
}

/* Starts a victim that stands where it enters the library. */
static void run_start(struct run *run, struct helper *helper)
{
	*run = (struct run){.helper = helper};
	run->pid = victim_start();
	ck_assert_int_eq(told->refused, 0);
	ptrace(PTRACE_SETOPTIONS, run->pid, NULL, PTRACE_O_EXITKILL);
	set_the_scene(run);
	while (!told->entered)
		ck_assert(step(run));
}

/* The victim fell asleep: somebody else does too, and then the permit comes that the victim is woken
 * for. */
static void wake_victim(struct run *run)
{
	helper_wait(run->helper);
	release_one(run);
	run->is_asleep = !finish_step(run);
	ck_assert(!run->is_asleep);
	run->before = load();
}

/* --- points ----------------------------------------------------------------------------------- */

/*
 * Where the victim can be killed. Not each run takes as many instructions (the clock's loop, for one,
 * may go round again), so points are counted from the last thing that was seen to happen: the word
 * changed, or the victim fell asleep, or was woken.
 */
struct points {
	unsigned n_stages, steps;
	unsigned asleep; /* the stage that begins with the victim asleep; 0: none does */
	unsigned stages[STAGES_MAX]; /* the steps of each, of which one may be to be woken */
};

/* Lets the victim do one instruction, or wakes it. Returns whether something happened. */
static bool go_on(struct run *run)
{
	uint64_t before = load();

	if (run->is_asleep) {
		wake_victim(run);
		return true;
	}
	return !step(run) || load() != before;
}

/* The same at once: all that it does until then, it does before its permit comes. */
static void go_to_sleep(struct run *run)
{
	do {
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, run->pid, NULL, NULL), 0);
		ck_assert(finish_step(run));
	} while (step(run));
}

static void go_to(struct run *run, const struct points *points, unsigned stage, unsigned steps)
{
	unsigned i = 0;

	if (points->asleep > 0 && points->asleep <= stage) {
		go_to_sleep(run);
		i = points->asleep;
	}
	while (i < stage && !told->left)
		i += go_on(run);
	for (i = 0; i < steps && !told->left && !go_on(run); i++)
		;
}

/* Goes all the way once. */
static void measure(struct run *run, struct points *points)
{
	*points = (struct points){.n_stages = 1};
	while (!told->left) {
		points->steps += !run->is_asleep;
		points->stages[points->n_stages - 1]++;
		ck_assert_uint_lt(points->steps, STEPS_MAX);
		if (!go_on(run))
			continue;
		ck_assert_uint_lt(points->n_stages, STAGES_MAX);
		if (run->is_asleep)
			points->asleep = points->n_stages;
		points->n_stages++;
	}
}

static unsigned points_at_most(unsigned n)
{
	const char *text = getenv("SHMD_TEST_POINTS");
	unsigned most = text ? (unsigned)strtoul(text, NULL, 10) : 15;

	return most == 0 || getenv("SHMD_TEST_LARGE") ? n : most;
}

static bool is_wanted(const struct points *points, unsigned stage, unsigned steps)
{
	unsigned most = points_at_most(points->steps);
	unsigned stride = (points->steps + most - 1) / most;

	if (points->steps <= SHORT)
		return true;
	return steps < NEAR || steps + NEAR > points->stages[stage] || steps % stride == 0;
}

/* How often the victims of one way were found how. */
struct found {
	unsigned points, holding, operating, asleep;
};

static void note_found(struct found *found, const struct run *run)
{
	found->points++;
	found->holding += victim_holds(run);
	found->operating += is_in_operation(run);
	found->asleep += run->is_asleep;
}

/* Whoever sees only one side of a change has seen nothing. */
static void tell_found(const struct found *found, const struct points *points, const char *what)
{
	printf("# %s, %u permit%s%s: %u instructions, %s at %u: %u with the permit, %u in the "
	       "middle; %.1f s\n",
	       way->name, way->permits, way->permits == 1 ? "" : "s", way->has_raw ? ", raw" : "",
	       points->steps, what, found->points, found->holding, found->operating,
	       (now_ms() - begin_ms) / 1e3);
	fflush(stdout);
	ck_assert_uint_gt(found->holding, 0);
	ck_assert_uint_lt(found->holding, found->points);
	if (way->permits > 1)
		ck_assert_uint_ge(found->operating, 3);
	bool is_to_sleep = way->is_contended && !way->releases && !way->is_stale;
	ck_assert_int_eq(found->asleep > 0, is_to_sleep);
}

/* --- after a death ---------------------------------------------------------------------------- */

/* All who are left take what there is: each permit is there once. Returns how often a death was told,
 * which the first of them is told. */
static unsigned count_permits(struct run *run)
{
	unsigned told_deaths = 0, expected = way->permits - run->held - run->helper->held;
	double deadline = now_ms() + STUCK_MS;

	while (word_value(load()) < expected)
		ck_assert_msg(now_ms() < deadline, "%u permits are missing; the word is %#jx",
			      expected - word_value(load()), (uintmax_t)load());
	for (unsigned i = 0; i < expected; i++) {
		int r = shmd_acquire(mine, 0);
		ck_assert_int_ge(r, 0);
		ck_assert_int_ge(i == 0, r);
		told_deaths += (unsigned)r;
		run->held++;
	}
	ck_assert_int_eq(shmd_acquire(mine, 0), -EAGAIN);
	return told_deaths;
}

static void check_at_rest(const struct run *run)
{
	unsigned expected = way->permits - run->helper->held;
	int value;

	/* What the flag says may be too much. */
	__atomic_fetch_and(word, ~WORD_SLEEPS, __ATOMIC_RELAXED);
	ck_assert_msg(load() == expected, "the word is %#jx", (uintmax_t)load());
	ck_assert_int_eq(sem_getvalue((sem_t *)word, &value), 0);
	ck_assert_int_eq(value, (int)expected);
	/* What a raw program took last, the library's next acquirer is told of. */
}

/* Gives everything back but what the raw program keeps all the time. */
static void give_back(struct run *run)
{
	helper_give_back(run->helper);
	while (run->held > 0)
		release_one(run);
}

/* Kills the victim, and looks whether all is as it was without it, and that a death with the permit is
 * told exactly once. */
static void bury(struct run *run)
{
	bool is_due = (load() & WORD_DIED) || victim_holds(run);
	struct helper *helper = run->helper;
	unsigned told_deaths = 0;

	ck_assert_int_eq(kill(run->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(run->pid, NULL, 0), run->pid);
	if (helper->is_waiting) {
		int r = helper_come_through(helper);
		if (!way->has_raw)
			ck_assert_int_eq(r, is_due);
		told_deaths += (unsigned)r;
	}
	AWAIT(clients_of(connection, "seg") == (way->has_raw ? 1u : 2u));
	told_deaths += count_permits(run);
	give_back(run);
	int r = shmd_acquire(mine, 0);
	ck_assert_int_ge(r, 0);
	told_deaths += (unsigned)r;
	ck_assert_int_eq(shmd_release(mine), 0);
	ck_assert_uint_eq(told_deaths, is_due);
	check_at_rest(run);
}

/* With one permit, nobody else gets it while the victim has it. */
static void check_exclusion(const struct run *run)
{
	if (way->permits > 1 || !victim_holds(run))
		return;
	ck_assert_int_eq(shmd_acquire(mine, 0), -EAGAIN);
	if (!way->releases)
		ck_assert_uint_eq(word_owner(load()), run->number);
}

static void kill_there(struct run *run, struct found *found)
{
	struct helper *helper = run->helper;

	note_found(found, run);
	check_exclusion(run);
	/* The permit that the victim does not wait for any more is for the next. */
	if (way->is_contended && !helper->is_waiting && !way->releases) {
		ck_assert_int_eq(kill(run->pid, SIGKILL), 0);
		AWAIT(process_state(run->pid) == 'Z');
		helper_wait(helper);
		release_one(run);
	}
	bury(run);
}

/* --- beside one that is stopped ---------------------------------------------------------------- */

/* As SIGSTOP leaves it, with no tracer about. */
static void stop_victim(struct run *run)
{
	int status;

	if (run->is_asleep) {
		ck_assert_int_eq(kill(run->pid, SIGSTOP), 0);
		ck_assert_int_eq(waitpid(run->pid, &status, 0), run->pid);
		ck_assert(WIFSTOPPED(status));
	}
	ck_assert_int_eq(ptrace(PTRACE_DETACH, run->pid, NULL, SIGSTOP), 0);
	AWAIT(process_state(run->pid) == 'T');
}

static void take_turns(struct shmd_segment *segment)
{
	for (int i = 0; i < TURNS; i++) {
		ck_assert_int_ge(shmd_acquire(segment, TURNS_MS), 0);
		ck_assert_int_eq(shmd_release(segment), 0);
	}
}

/* Its wake-up may stand still with the victim: the next one who releases wakes it. */
static void let_helper_through(struct run *run)
{
	double deadline = now_ms() + STUCK_MS;

	while (!helper_has_answered(run->helper, 0) && now_ms() < deadline)
		if (shmd_acquire(mine, 0) >= 0)
			ck_assert_int_eq(shmd_release(mine), 0);
	helper_come_through(run->helper);
	helper_give_back(run->helper);
}

/* All take what there is, without what the victim has, and pass it on. */
static void hand_over(struct run *run)
{
	take_all(run);
	ck_assert_uint_eq(run->held + run->helper->held + victim_holds(run), way->permits);
	helper_wait(run->helper);
	release_one(run);
	helper_come_through(run->helper);
	give_back(run);
}

/* Nobody but those who share several permits, and they only while the victim is in the middle. */
static void check_nobody_is_delayed(struct run *run)
{
	status_segments(connection);
	take_turns(elsewhere);
	if (is_in_operation(run)) {
		ck_assert_int_eq(shmd_acquire(mine, 5), -ETIMEDOUT);
		return;
	}
	if (way->is_contended && !way->releases && !run->helper->is_waiting) {
		helper_wait(run->helper);
		release_one(run);
	}
	if (run->helper->is_waiting && !victim_holds(run))
		let_helper_through(run);
	if (word_value(load()) == 0)
		return;
	take_turns(mine);
	hand_over(run);
}

/* It goes on, and gives back what it has; who waits for that is woken by nobody else. */
static void let_victim_finish(struct run *run)
{
	/* What the victim waited for, the helper may have got, and keep. */
	if (!way->releases && !victim_holds(run) && run->held > 0)
		release_one(run);
	ck_assert_int_eq(kill(run->pid, SIGCONT), 0);
	AWAIT(told->left && process_state(run->pid) == 'T');
	ck_assert_int_ge(told->result, 0);
	ck_assert_int_eq(kill(run->pid, SIGCONT), 0);
	AWAIT(told->finished);
	ck_assert_int_eq(told->result, 0);
	run->has_changed = way->releases;
	if (run->helper->is_waiting)
		helper_come_through(run->helper);
}

static void stop_there(struct run *run, struct found *found)
{
	note_found(found, run);
	stop_victim(run);
	check_nobody_is_delayed(run);
	if (found->points % 2)
		let_victim_finish(run);
	bury(run);
}

/* --- the tests -------------------------------------------------------------------------------- */

typedef void point_fn(struct run *run, struct found *found);

static bool can_trace(void)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		stop_for_tracer();
	waitpid(pid, NULL, WUNTRACED);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (told->refused)
		printf("# skipped: ptrace is refused here: %s\n", strerror(told->refused));
#if defined(__aarch64__)
	/* A step clears the exclusive monitor, so that a store to it never succeeds. */
	if (!(getauxval(AT_HWCAP) & (1 << 8))) {
		printf("# skipped: without atomic instructions nothing can be stepped\n");
		return false;
	}
#endif
	return !told->refused;
}

static void try_stage(struct helper *helper, const struct points *points, unsigned stage,
		      point_fn *fn, struct found *found)
{
	struct run run;

	for (unsigned steps = 0; steps < points->stages[stage]; steps++) {
		if (!is_wanted(points, stage, steps))
			continue;
		run_start(&run, helper);
		go_to(&run, points, stage, steps);
		fn(&run, found);
	}
}

static void try_points(struct helper *helper, point_fn *fn, const char *what)
{
	struct points points;
	struct found found = {0};
	struct run run;

	run_start(&run, helper);
	measure(&run, &points);
	bury(&run);
	for (unsigned i = 0; i < points.n_stages; i++)
		try_stage(helper, &points, i, fn, &found);
	tell_found(&found, &points, what);
}

static void try_way(const struct way *chosen, point_fn *fn, const char *what)
{
	struct helper helper;

	begin_way(chosen);
	if (can_trace()) {
		helper_start(&helper);
		try_points(&helper, fn, what);
		helper_end(&helper);
	}
	end_way();
}

START_TEST(killed_after_any_instruction)
{
	try_way(&ways[_i], kill_there, "killed");
}
END_TEST

/* Ways that take long to step through, and where those who are not stopped do as in others. */
static bool is_left_out(const struct way *w)
{
	bool sleeps = w->is_contended && !w->releases && !w->is_stale;

	return !getenv("SHMD_TEST_LARGE") && (w->is_cold || (sleeps && w->has_raw));
}

START_TEST(stopped_after_any_instruction)
{
	if (!is_left_out(&ways[_i]))
		try_way(&ways[_i], stop_there, "stopped");
}
END_TEST

/* Runs a victim to the beginning of a stage, and stops it there. */
static void stop_at_stage(struct run *run, struct helper *helper, unsigned stage)
{
	static const struct points unknown;

	run_start(run, helper);
	go_to(run, &unknown, stage, 0);
	stop_victim(run);
}

/* A release that stands still before its wake-up, and a waiter that stands still after it: who else
 * sleeps looks by itself after a while, also if nobody comes by. */
static void wait_behind(const struct way *chosen, unsigned stage)
{
	struct helper helper;
	struct run run;

	begin_way(chosen);
	waiting = 'l';
	helper_start(&helper);
	stop_at_stage(&run, &helper, stage);
	double before = now_ms();
	ck_assert(!victim_holds(&run));
	helper_come_through(&helper);
	printf("# %s: a waiter behind one that is stopped went on after %.0f ms\n", way->name,
	       now_ms() - before);
	bury(&run);
	helper_end(&helper);
	end_way();
}

START_TEST(waiters_behind_one_that_is_stopped)
{
	static const struct way release = {
		.name = "release, contended", .releases = true, .permits = 1, .is_contended = true};
	static const struct way acquire = {.name = "acquire, contended",
					   .permits = 1,
					   .is_contended = true};

	if (!can_trace())
		return;
	/* It has given. It has set SLEEPS, slept, and was woken. */
	wait_behind(&release, 1);
	wait_behind(&acquire, 3);
}
END_TEST

/* The daemon does not wait for one that is stopped in the middle, and comes back. */
START_TEST(death_beside_one_that_is_stopped)
{
	static const struct way acquire = {.name = "acquire, free", .permits = 4};
	struct helper helper;
	struct run run;

	if (!can_trace())
		return;
	begin_way(&acquire);
	helper_start(&helper);
	helper_ask(&helper, 'a');
	helper_come_through(&helper);
	stop_at_stage(&run, &helper, 1);
	ck_assert(is_in_operation(&run));
	actor_kill(&helper.actor);
	check_nobody_is_delayed(&run);
	ck_assert_uint_eq(word_value(load()), 2);
	double before = now_ms();
	let_victim_finish(&run);
	AWAIT(word_value(load()) == 4);
	printf("# the permit of one that died beside it came back after %.0f ms\n",
	       now_ms() - before);
	ck_assert(load() & WORD_DIED);
	kill(run.pid, SIGKILL);
	waitpid(run.pid, NULL, 0);
	end_way();
}
END_TEST

/* What a sanitizer or valgrind makes of the code has ten times the instructions, and none that matter. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_INSTRUMENTED true
#else
#define IS_INSTRUMENTED (getenv("SHMD_WRAPPER") != NULL)
#endif

int main(void)
{
	if (IS_INSTRUMENTED) {
		puts("1..0 # SKIP the instructions are not the program's own");
		return 0;
	}
	Suite *suite = suite_create("lock_steps");
	TCase *steps = tcase_create("steps");

	tcase_add_checked_fixture(steps, set_up, tear_down);
	/* One who waits for ever is not always one who can tell. */
	tcase_set_timeout(steps, getenv("SHMD_TEST_LARGE") ? 3600 : 120);
	tcase_add_loop_test(steps, killed_after_any_instruction, 0, N_WAYS);
	tcase_add_loop_test(steps, stopped_after_any_instruction, 0, N_WAYS);
	tcase_add_test(steps, waiters_behind_one_that_is_stopped);
	tcase_add_test(steps, death_beside_one_that_is_stopped);
	suite_add_tcase(suite, steps);
	return run_suite(suite);
}

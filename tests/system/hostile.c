/* SPDX-License-Identifier: MIT */
#include "hostile.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 64
#define SAMPLES_MAX   (1u << 18)

/* No process of a row outlives this, whatever becomes of the test. */
#define LIFE_MAX_S 120

/* Tables that grew stay large; what leaks does so for each of thousands of requests. */
#define HEAP_SLACK (512 << 10)

enum phase { PHASE_BEFORE, PHASE_CONTROL, PHASE_ATTACK, PHASE_OVER, PHASES };

/* Times of one phase, in nanoseconds. */
struct samples {
	unsigned n;
	uint32_t ns[SAMPLES_MAX];
};

/* In memory that all share. */
static struct stage {
	int phase;
	unsigned ready;
	uint64_t got[GOTS];
	uint64_t said;
	char writing; /* somebody is, the refusal */
	char refusal[160];
	unsigned breaches;
	char breach[200];

	/* Of the honest client alone. */
	bool honest_is_done;
	unsigned honest_failures, honest_refusals;
	char failure[320];
	struct samples trips[PHASES], newcomers[PHASES];
} * stage;

#define GET(field)      __atomic_load_n(&stage->field, __ATOMIC_SEQ_CST)
#define SET(field, to)  __atomic_store_n(&stage->field, to, __ATOMIC_SEQ_CST)
#define COUNT_ON(field) __atomic_add_fetch(&stage->field, 1, __ATOMIC_SEQ_CST)

struct test_daemon stage_daemon;
struct shmd *stage_connection;
static const struct behaviour *row;
static struct shmd_segment *kept;
static const char kept_data[] = "nobody else touches this";

/* --- for hostile processes -------------------------------------------------------------------- */

void got(enum got what)
{
	COUNT_ON(got[what]);
}

/* One at a time, and who was killed in the middle of it was the last. */
static void keep_refusal(const char *text)
{
	if (__atomic_test_and_set(&stage->writing, __ATOMIC_ACQUIRE))
		return;
	snprintf(stage->refusal, sizeof(stage->refusal), "%s", text);
	__atomic_clear(&stage->writing, __ATOMIC_RELEASE);
}

void got_refused(const char *text)
{
	got(GOT_REFUSED);
	keep_refusal(text);
	if (row->says && strstr(text, row->says))
		COUNT_ON(said);
}

bool got_result(int r)
{
	if (r >= 0)
		got(GOT_ACCEPTED);
	else if (r == -ECONNRESET || r == -ECONNREFUSED)
		got(GOT_ENDED);
	else
		got_refused(shmd_error_message());
	return r >= 0;
}

void breach(const char *format, ...)
{
	va_list arguments;

	if (COUNT_ON(breaches) > 1)
		return;
	va_start(arguments, format);
	vsnprintf(stage->breach, sizeof(stage->breach), format, arguments);
	va_end(arguments);
}

void must_fail(const char *what, long result)
{
	char text[128];

	if (result >= 0) {
		breach("%s succeeded", what);
		return;
	}
	snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
	got_refused(text);
}

static void end_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(LIFE_MAX_S);
}

void become(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		_exit(126);
	/* That takes both away: the files in our /proc, and the wish to end with the test. */
	prctl(PR_SET_DUMPABLE, 1);
	end_with_parent();
}

pid_t hostile_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		alarm(LIFE_MAX_S);
	return pid;
}

bool is_over(void)
{
	return GET(phase) == PHASE_OVER;
}

void own_shm(const char *options)
{
	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount("", "/", "", MS_REC | MS_PRIVATE, NULL), 0);
	ck_assert_int_eq(mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_STRICTATIME,
			       options),
			 0);
}

void hold(void)
{
	for (;;)
		pause();
}

/* Under valgrind, or the like. */
static bool is_slow(void)
{
	return getenv("SHMD_WRAPPER") != NULL;
}

unsigned scaled(unsigned n)
{
	return is_slow() ? (n + 15) / 16 : n;
}

/* --- processors ------------------------------------------------------------------------------- */

static cpu_set_t all_cpus;

/* On the n-th that we have, or the last. */
static void pin(unsigned n)
{
	cpu_set_t one;
	int chosen = -1;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all_cpus) && (chosen < 0 || n > 0)) {
			n -= chosen >= 0;
			chosen = cpu;
		}
	CPU_ZERO(&one);
	CPU_SET(chosen, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
}

/* --- the honest client ------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void add_sample(struct samples *samples, uint64_t since)
{
	uint64_t took = now_ns() - since;

	if (samples->n < SAMPLES_MAX)
		samples->ns[samples->n++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
}

static bool may_be_refused(int r)
{
	for (const int *error = row->honestly; error && *error; error++)
		if (*error == r)
			return true;
	return false;
}

static void note_failure(const char *what, int r)
{
	if (stage->honest_failures++ > 0)
		return;
	snprintf(stage->failure, sizeof(stage->failure), "%s after %.0f ms of phase %d: %d %s",
		 what, now_ms(), GET(phase), r, shmd_error_message());
}

/* What needs nothing of the daemon's must succeed always. */
static bool is_well(const char *what, int r)
{
	if (r != 0)
		note_failure(what, r);
	return r == 0;
}

static bool is_well_or_refused(const char *what, int r)
{
	if (r < 0 && may_be_refused(r)) {
		stage->honest_refusals++;
		return false;
	}
	return is_well(what, r);
}

/* What is measured: one round trip that is answered with a descriptor, and one without. */
static void attach_and_detach(struct shmd *mine)
{
	struct samples *samples = &stage->trips[GET(phase)];
	struct shmd_segment *again;
	uint64_t before = now_ns();

	if (!is_well_or_refused("attach", shmd_attach(mine, HONEST_NAME, 0, &again)))
		return;
	shmd_detach(again);
	add_sample(samples, before);
}

static void lock(struct shmd_segment *segment)
{
	if (is_well_or_refused("acquire", shmd_acquire(segment, 10000)))
		is_well("release", shmd_release(segment));
}

/* With a name that an enemy may know, as it comes again and again. */
static void use_a_segment(struct shmd *mine)
{
	struct shmd_segment *segment;

	if (!is_well_or_refused("create", shmd_create(mine, HONEST_NAME, 4096, NULL, &segment)))
		return;
	attach_and_detach(mine);
	lock(segment);
	shmd_detach(segment);
}

static void come_anew(struct shmd *mine)
{
	struct samples *samples = &stage->newcomers[GET(phase)];
	struct shmd_status *status;
	uint64_t before = now_ns();
	struct shmd *another;

	if (is_well_or_refused("connect", shmd_connect(&another, NULL))) {
		shmd_disconnect(another);
		add_sample(samples, before);
	}
	if (is_well("status", shmd_status(mine, &status)))
		shmd_status_free(status);
}

/* Who was thrown out has failed, and comes again. */
static void return_if_lost(struct shmd **mine)
{
	struct shmd_status *status;

	if (stage->honest_failures == 0)
		return;
	if (shmd_status(*mine, &status) == 0) {
		shmd_status_free(status);
		return;
	}
	shmd_disconnect(*mine);
	*mine = NULL;
	while (!GET(honest_is_done) && shmd_connect(mine, NULL) < 0)
		usleep(1000);
}

static void live_honestly(struct actor *self, void *context)
{
	(void)context;
	become(HONEST_UID);
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *steady = create_or_fail(mine, NULL, 4096, SHMD_LIFETIME_CLIENTS);
	actor_tell(self);
	for (unsigned n = 0; mine && !GET(honest_is_done); n++) {
		use_a_segment(mine);
		lock(steady);
		if (n % 16 == 0)
			come_anew(mine);
		return_if_lost(&mine);
	}
	shmd_detach(steady);
	shmd_disconnect(mine);
	actor_tell(self);
}

/* --- hostile processes ------------------------------------------------------------------------- */

static pid_t pids[PROCESSES_MAX];

static void be_hostile(const struct hostile *self)
{
	pin(1);
	if (row->as_root)
		end_with_parent();
	else
		become(self->uid);
	COUNT_ON(ready);
	while (GET(phase) != PHASE_ATTACK)
		;
	while (!is_over())
		row->act(self);
	hold();
}

/* Where there are several, two have parts to play. */
static unsigned processes(void)
{
	unsigned n = row->processes ? row->processes : 1;

	return is_slow() && n > 2 ? 2 : n;
}

static void start_hostile(unsigned index)
{
	unsigned users = row->users ? row->users : 1;
	struct hostile self = {index, users, HOSTILE_UID + index % users};

	pids[index] = fork();
	ck_assert_int_ge(pids[index], 0);
	if (pids[index] == 0) {
		setpgid(0, 0);
		be_hostile(&self);
	}
	setpgid(pids[index], pids[index]);
}

static void start_all_hostile(void)
{
	/* What they start, and leave, comes to us. */
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	for (unsigned i = 0; i < processes(); i++)
		start_hostile(i);
	AWAIT(GET(ready) == processes());
}

static void expect_hostile_lives(pid_t pid)
{
	int status = 0;

	if (!row->may_die)
		ck_assert_msg(waitpid(pid, &status, WNOHANG) == 0,
			      "a hostile process has ended with status 0x%x", status);
}

/* With all that it has started. */
static void kill_all_hostile(void)
{
	for (unsigned i = 0; i < processes(); i++)
		expect_hostile_lives(pids[i]);
	for (unsigned i = 0; i < processes(); i++)
		kill(-pids[i], SIGKILL);
	for (unsigned i = 0; i < processes(); i++)
		while (waitpid(-pids[i], NULL, 0) > 0)
			;
}

/* --- the daemon's books ------------------------------------------------------------------------ */

/* What the daemon keeps, with root's connection alone. */
enum book {
	BOOK_CLIENTS,
	BOOK_SEGMENTS,
	BOOK_BYTES,
	BOOK_ATTACHMENTS,
	BOOK_WAITS,
	BOOK_SUBSCRIPTIONS,
	BOOK_DESCRIPTORS,
	BOOK_FILES,
	BOOKS,
};

/* Some are limits of the same name. */
static const char *const book_names[BOOKS] = {
	[BOOK_CLIENTS] = "clients",
	[BOOK_SEGMENTS] = "segments",
	[BOOK_BYTES] = "bytes",
	[BOOK_ATTACHMENTS] = "attachments",
	[BOOK_WAITS] = "waits",
	[BOOK_SUBSCRIPTIONS] = "subscriptions",
	[BOOK_DESCRIPTORS] = "descriptors",
	[BOOK_FILES] = "files in /dev/shm",
};

static uint64_t books_at_first[BOOKS];
static uint64_t heap_at_first;

static void read_books(uint64_t ret[BOOKS], uint64_t *ret_heap)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(stage_connection, &status), 0);
	for (int book = 0; book < BOOKS; book++)
		for (size_t i = 0; i < status->n_limits; i++)
			if (strcmp(status->limits[i]->name, book_names[book]) == 0)
				ret[book] = status->limits[i]->use;
	*ret_heap = status->heap_bytes;
	shmd_status_free(status);
	ret[BOOK_DESCRIPTORS] = count_descriptors(stage_daemon.pid);
	ret[BOOK_FILES] = daemon_files(&stage_daemon, "sem.shmd-") +
			  daemon_files(&stage_daemon, "shmd-");
}

static void expect_daemon_lives(void)
{
	int status = 0;

	ck_assert_msg(waitpid(stage_daemon.pid, &status, WNOHANG) == 0,
		      "the daemon has ended with status 0x%x; see %s", status, stage_daemon.log);
}

/* Everything is given back. */
static void await_books(void)
{
	double deadline = now_ms() + 10000;
	uint64_t now[BOOKS] = {0}, heap;

	do {
		expect_daemon_lives();
		read_books(now, &heap);
	} while (memcmp(now, books_at_first, sizeof(now)) != 0 && now_ms() < deadline);
	for (int book = 0; book < BOOKS; book++)
		ck_assert_msg(now[book] == books_at_first[book],
			      "%s: %ju are left, not %ju; see %s", book_names[book],
			      (uintmax_t)now[book], (uintmax_t)books_at_first[book],
			      stage_daemon.log);
	ck_assert_msg(heap <= heap_at_first + HEAP_SLACK, "the daemon's heap grew from %ju to %ju",
		      (uintmax_t)heap_at_first, (uintmax_t)heap);
}

/* --- what is told ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* In microseconds; per mille 1000: the slowest. */
static double quantile_us(struct samples *samples, unsigned per_mille)
{
	if (samples->n == 0)
		return 0;
	qsort(samples->ns, samples->n, sizeof(samples->ns[0]), compare);
	uint64_t at = (uint64_t)samples->n * per_mille / 1000;
	return samples->ns[at < samples->n ? at : samples->n - 1] / 1e3;
}

void stage_print_head(void)
{
	puts("# | behaviour | processes | users | accepted | refused | ended "
	     "| honest: operations, alone | attacked | failures | refusals "
	     "| median us, alone | attacked | p99 us, alone | attacked | ratio "
	     "| slowest us | connecting: median us, alone | attacked | last refusal |");
	puts("# |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
	fflush(stdout);
}

static void print_row(void)
{
	struct samples *alone = &stage->trips[PHASE_CONTROL],
		       *attacked = &stage->trips[PHASE_ATTACK];
	double p99 = quantile_us(alone, 990), p99_attacked = quantile_us(attacked, 990);

	printf("# | %s | %u | %u | %ju | %ju | %ju ", row->name, processes(),
	       row->users ? row->users : 1, (uintmax_t)GET(got[GOT_ACCEPTED]),
	       (uintmax_t)GET(got[GOT_REFUSED]), (uintmax_t)GET(got[GOT_ENDED]));
	printf("| %u | %u | %u | %u ", alone->n, attacked->n, stage->honest_failures,
	       stage->honest_refusals);
	printf("| %.0f | %.0f | %.0f | %.0f | %.1f | %.0f ", quantile_us(alone, 500),
	       quantile_us(attacked, 500), p99, p99_attacked, p99 > 0 ? p99_attacked / p99 : 0,
	       quantile_us(attacked, 1000));
	printf("| %.0f | %.0f | %s |\n", quantile_us(&stage->newcomers[PHASE_CONTROL], 500),
	       quantile_us(&stage->newcomers[PHASE_ATTACK], 500), stage->refusal);
	fflush(stdout);
}

static void expect_got(void)
{
	static const char *const names[GOTS] = {"accepted", "refused", "ended"};

	for (int what = 0; what < GOTS; what++) {
		ck_assert_msg(!(row->must & 1u << what) || GET(got[what]) > 0,
			      "nothing of theirs was %s", names[what]);
		ck_assert_msg(!(row->never & 1u << what) || GET(got[what]) == 0,
			      "something of theirs was %s", names[what]);
	}
	ck_assert_msg(!row->says || GET(said) > 0, "no refusal says '%s'; the last one: %s",
		      row->says, stage->refusal);
	ck_assert_msg(GET(breaches) == 0, "%u breaches; the first one: %s", GET(breaches),
		      stage->breach);
}

static void expect_honest_unharmed(void)
{
	ck_assert_msg(stage->honest_failures == 0, "the honest client failed %u times, first: %s",
		      stage->honest_failures, stage->failure);
	ck_assert_str_eq(shmd_segment_data(kept), kept_data);
	ck_assert_int_eq(shmd_acquire(kept, 0), 0);
	ck_assert_int_eq(shmd_release(kept), 0);
}

static bool has_got_its_share(void)
{
	for (int what = 0; what < GOTS; what++)
		if (row->must & 1u << what && GET(got[what]) == 0)
			return false;
	return !row->says || GET(said) > 0;
}

/* --- one row ----------------------------------------------------------------------------------- */

/* Of each of the two phases. */
static unsigned length_ms(void)
{
	const char *text = getenv("SHMD_TEST_HOSTILE_MS");

	if (text)
		return (unsigned)strtoul(text, NULL, 10);
	return is_slow() ? 50 : getenv("SHMD_TEST_LARGE") ? 1000 : 200;
}

static void go_through(enum phase phase)
{
	struct timespec length = {length_ms() / 1000, length_ms() % 1000 * 1000000L};

	SET(phase, phase);
	while (nanosleep(&length, &length) < 0)
		;
}

/* On a busy machine they may need longer for what they must get. */
static void await_attack(void)
{
	double deadline = now_ms() + 10000;

	go_through(PHASE_ATTACK);
	while (!has_got_its_share() && now_ms() < deadline)
		usleep(1000);
}

static void make_stage(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	ck_assert_ptr_ne(stage, MAP_FAILED);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(all_cpus), &all_cpus), 0);
	pin(0);
}

static void keep_a_segment(void)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	options.mode = 0644;
	ck_assert_int_eq(shmd_create(stage_connection, KEPT_NAME, 4096, &options, &kept), 0);
	strcpy(shmd_segment_data(kept), kept_data);
}

static void start_daemon(void)
{
	if (row->before)
		row->before();
	daemon_prepare = row->prepare;
	/* At "debug", it would write a line for each refusal. */
	daemon_log_level = "info";
	daemon_start_as(&stage_daemon, row->config, DAEMON_UID);
	stage_connection = connect_or_fail();
	keep_a_segment();
	read_books(books_at_first, &heap_at_first);
	ck_assert_uint_eq(books_at_first[BOOK_SEGMENTS], 1);
}

static void stop_daemon(void)
{
	kept = shmd_detach(kept);
	stage_connection = shmd_disconnect(stage_connection);
	daemon_stop(&stage_daemon);
	if (row->tear_down)
		row->tear_down();
}

static void play(void)
{
	struct actor honest;

	actor_start(&honest, live_honestly, NULL);
	actor_await(&honest);
	start_all_hostile();
	go_through(PHASE_CONTROL);
	await_attack();
	expect_daemon_lives();
	/* Their deaths are the last of it. */
	kill_all_hostile();
	SET(phase, PHASE_OVER);
	SET(honest_is_done, true);
	actor_await(&honest);
	actor_finish(&honest);
}

void stage_play(const struct behaviour *behaviour)
{
	row = behaviour;
	/* valgrind needs descriptors of its own. */
	if (row->prepare && is_slow()) {
		printf("# left out under a wrapper: %s\n", row->name);
		return;
	}
	make_stage();
	start_daemon();
	if (row->set_up)
		row->set_up();
	play();
	print_row();
	if (row->check)
		row->check();
	expect_honest_unharmed();
	expect_got();
	await_books();
	stop_daemon();
}

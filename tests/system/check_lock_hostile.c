/* SPDX-License-Identifier: MIT */
/*
 * A sharer that does to a segment's semaphore, ledger and descriptors whatever it can, while victims
 * die in what it leaves: the daemon lives and answers the others, who do not lose or gain anything.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/word.h"

/* No user of this machine's, and not one that stands for the unmapped. */
#define SOMEBODY 12345

static struct test_daemon daemon_;
static struct shmd *connection;

/* What the processes of a test tell each other. */
static struct shared {
	int stop_honest, stop_hostile;
	uint64_t rounds[2], pings, failures;
	double worst_ping_ms;
	char failure[128];
	uint64_t acts;
} * shared;

static struct actor honest[2];
static unsigned honest_permits;

#define GET(field)      __atomic_load_n(&shared->field, __ATOMIC_SEQ_CST)
#define SET(field, to)  __atomic_store_n(&shared->field, to, __ATOMIC_SEQ_CST)
#define COUNT_ON(field) __atomic_add_fetch(&shared->field, 1, __ATOMIC_SEQ_CST)

/* --- honest clients --------------------------------------------------------------------------- */

static void note_failure(const char *what, int r)
{
	if (COUNT_ON(failures) == 1)
		snprintf(shared->failure, sizeof(shared->failure), "%s: %d %s", what, r,
			 shmd_error_message());
}

static void ping(struct shmd *mine)
{
	struct shmd_status *status;
	double before = now_ms();
	int r = shmd_status(mine, &status);

	if (r < 0) {
		note_failure("ping", r);
		return;
	}
	shmd_status_free(status);
	double took = now_ms() - before;
	COUNT_ON(pings);
	if (took > shared->worst_ping_ms)
		shared->worst_ping_ms = took;
}

/* Inside, one after the other where there is one permit: a count that loses nothing says so. */
static void be_inside(struct shmd_segment *segment)
{
	volatile uint64_t *count = shmd_segment_data(segment);

	if (honest_permits == 1)
		++*count;
	else
		__atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
}

static void lock_and_ping(struct actor *self, void *context)
{
	uint64_t *rounds = context;
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *segment = attach_or_fail(mine, "honest", 0);

	actor_tell(self);
	while (!GET(stop_honest)) {
		int r = shmd_acquire(segment, 10000);
		if (r != 0)
			note_failure("acquire", r);
		be_inside(segment);
		r = shmd_release(segment);
		if (r != 0)
			note_failure("release", r);
		if (++*rounds % 64 == 0)
			ping(mine);
	}
}

static struct shmd_segment *make(const char *name, unsigned permits)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.permits = permits;
	options.mode = 0666;
	int r = shmd_create(connection, name, 4096, &options, &segment);
	ck_assert_msg(r == 0, "create: %d %s", r, shmd_error_message());
	return segment;
}

static int64_t available(const char *name)
{
	struct shmd_details *details;

	ck_assert_int_eq(shmd_show(connection, name, &details), 0);
	int64_t n = details->permits_available;
	shmd_details_free(details);
	return n;
}

static struct shmd_segment *honest_segment;

static void start_honest(unsigned permits)
{
	honest_permits = permits;
	honest_segment = make("honest", permits);
	for (int i = 0; i < 2; i++) {
		actor_start(&honest[i], lock_and_ping, &shared->rounds[i]);
		actor_await(&honest[i]);
	}
}

static uint64_t all_rounds(void)
{
	return GET(rounds[0]) + GET(rounds[1]);
}

/* They got on meanwhile, and their segment is exact. */
static void finish_honest(const char *what)
{
	uint64_t before = GET(pings);

	AWAIT(GET(pings) >= before + 20);
	SET(stop_honest, 1);
	for (int i = 0; i < 2; i++)
		actor_finish(&honest[i]);
	ck_assert_msg(GET(failures) == 0, "%s", shared->failure);
	ck_assert_uint_eq(*(uint64_t *)shmd_segment_data(honest_segment), all_rounds());
	ck_assert_int_eq(available("honest"), honest_permits);
	ck_assert(!daemon_logged(&daemon_, "of segment 'honest'"));
	printf("# %s: meanwhile %ju rounds and %ju pings of others, the slowest %.1f ms\n", what,
	       (uintmax_t)all_rounds(), (uintmax_t)GET(pings), shared->worst_ping_ms);
	honest_segment = shmd_detach(honest_segment);
}

/* --- the fixture ------------------------------------------------------------------------------ */

static void set_up(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
}

static void tear_down(void)
{
	connection = shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static void expect_daemon_lives(void)
{
	int status;
	pid_t pid = waitpid(daemon_.pid, &status, WNOHANG);

	ck_assert_msg(pid == 0, "the daemon has ended with status 0x%x", status);
}

/* --- what the enemy has ----------------------------------------------------------------------- */

static struct enemy {
	struct shmd_segment *segment;
	const char *name; /* of the semaphore's file */
	int semaphore, ledger;
	uint64_t *word, *slots;
} enemy;

/* The library shows no descriptor of the ledger, and hides none. */
static int find_ledger(void)
{
	char path[64], target[128];

	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (strstr(target, "shmd:ledger"))
			return fd;
	}
	return -1;
}

static void *map(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static void become_enemy(void)
{
	static char name[128];

	enemy.segment = attach_or_fail(connect_or_fail(), "target", 0);
	enemy.semaphore = shmd_segment_semaphore_fd(enemy.segment);
	snprintf(name, sizeof(name), "/dev/shm/sem.%s", shmd_segment_semaphore(enemy.segment));
	enemy.name = name;
	enemy.word = map(enemy.semaphore, sizeof(uint64_t));
	enemy.ledger = find_ledger();
	if (enemy.ledger >= 0)
		enemy.slots = map(enemy.ledger, LEDGER_SIZE);
}

static uint64_t random_word(void)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	/* Plausible in part, or hardly a number would be anybody's. */
	switch (state >> 61) {
	case 0:
		return state & ~(WORD_OWNER & ~word_of_owner(3));
	case 1:
		return state & (WORD_OPERATION | 7);
	case 2:
		return state & (SLOT_COUNT_ONE | SLOT_ALL | 7);
	default:
		return state;
	}
}

/* --- hostile acts ----------------------------------------------------------------------------- */

static void write_word(void)
{
	__atomic_store_n(enemy.word, random_word(), __ATOMIC_RELAXED);
}

static void write_slots(void)
{
	write_word();
	for (unsigned i = 0; i < WORD_NUMBER_MAX + 1; i++)
		__atomic_store_n(&enemy.slots[i], random_word(), __ATOMIC_RELAXED);
}

static void hold_all_there_is(void)
{
	for (unsigned i = 1; i < 64; i++)
		__atomic_store_n(&enemy.slots[i], SLOT_HELD, __ATOMIC_RELAXED);
}

static void set_a_strangers_number(void)
{
	__atomic_store_n(enemy.word, word_of_owner(4000), __ATOMIC_RELAXED);
}

static void close_by_name(void)
{
	int fd = open(enemy.name, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
}

static void set_a_strangers_number_and_close(void)
{
	set_a_strangers_number();
	close_by_name();
}

static void resize(off_t size)
{
	/* In a full /dev/shm there is nothing to be had. */
	if (ftruncate(enemy.semaphore, size) < 0)
		ck_assert_int_eq(errno, ENOSPC);
}

static void truncate_to_nothing(void)
{
	resize(0);
}

static void truncate_to_half(void)
{
	resize(16);
}

static void make_it_large(void)
{
	resize((off_t)1 << 40);
}

/* Under the daemon's hands, too. */
static void truncate_and_grow(void)
{
	resize(0);
	resize(32);
	write_word();
}

static void truncate_and_close(void)
{
	resize(0);
	close_by_name();
	resize(32);
}

static void post(void)
{
	sem_t *semaphore = (sem_t *)enemy.word;

	for (int i = 0; i < 1000000 && !GET(stop_hostile); i++)
		sem_post(semaphore);
}

static void punch_holes(void)
{
	int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	ck_assert_int_eq(fallocate(enemy.ledger, how, 0, LEDGER_SIZE), 0);
	ck_assert_int_eq(fallocate(enemy.semaphore, how, 0, 4096), 0);
	/* More than that the seals forbid. */
	ck_assert_int_eq(ftruncate(enemy.ledger, 0), -1);
	ck_assert_int_eq(fcntl(enemy.ledger, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

/* The daemon holds a lease in these moments, and who opens the file breaks it. */
static void open_by_name(void)
{
	sem_t *semaphore = sem_open(shmd_segment_semaphore(enemy.segment), 0);

	if (semaphore == SEM_FAILED)
		return;
	sem_trywait(semaphore);
	sem_close(semaphore);
}

/* Two files in turn, for the kernel to lose words of it. */
static void open_in_turn(void)
{
	static struct shmd_segment *other;
	static char name[128];

	if (!other) {
		ck_assert_int_eq(shmd_create(connect_or_fail(), "other", 1, NULL, &other), 0);
		snprintf(name, sizeof(name), "/dev/shm/sem.%s", shmd_segment_semaphore(other));
	}
	close_by_name();
	close(open(name, O_RDWR | O_CLOEXEC));
}

/* The description is the daemon's own. */
static void play_with_the_description(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	ck_assert_int_eq(fcntl(enemy.semaphore, F_SETFL, O_APPEND | O_NONBLOCK | O_ASYNC), 0);
	fcntl(enemy.semaphore, F_SETFL, O_APPEND | O_DIRECT);
	ck_assert_int_eq(lseek(enemy.semaphore, 1 << 20, SEEK_SET), 1 << 20);
	ck_assert_int_eq(flock(enemy.semaphore, LOCK_EX), 0);
	ck_assert_int_eq(fcntl(enemy.semaphore, F_OFD_SETLK, &lock), 0);
	/* With the daemon's own user it may; with a lease of its own it would wait for itself. */
	fcntl(enemy.semaphore, F_SETLEASE, F_WRLCK);
	fcntl(enemy.semaphore, F_SETLEASE, F_UNLCK);
	write_word();
	close_by_name();
}

static const struct act {
	const char *name;
	void (*act)(void);
	unsigned permits;
	const char *log; /* a line that must be there in the end; NULL: none must */
} acts[] = {
	{"random word", write_word, 1, NULL},
	{"random word, several permits", write_word, 3, NULL},
	{"random slots", write_slots, 3, NULL},
	{"random slots, many permits", write_slots, INT32_MAX, NULL},
	{"all held", hold_all_there_is, INT32_MAX, "died with "},
	{"stranger's number", set_a_strangers_number, 1, NULL},
	{"stranger's number, several permits", set_a_strangers_number, 3, NULL},
	{"stranger's number, and a close", set_a_strangers_number_and_close, 1,
	 "opened the semaphore by name"},
	{"truncated to 0", truncate_to_nothing, 1, "was damaged by somebody who may lock it"},
	{"truncated to 0, several permits", truncate_to_nothing, 3,
	 "was damaged by somebody who may lock it"},
	{"truncated to 16", truncate_to_half, 1, "died with "},
	{"truncated to 16, several permits", truncate_to_half, 3, "died with "},
	{"made large", make_it_large, 1, "died with "},
	{"truncated and grown", truncate_and_grow, 1, NULL},
	{"truncated and grown, several permits", truncate_and_grow, 3, NULL},
	{"truncated and closed", truncate_and_close, 3, NULL},
	{"posts", post, 1, NULL},
	{"posts, several permits", post, 3, NULL},
	{"holes", punch_holes, 3, NULL},
	{"opens", open_by_name, 1, NULL},
	{"opens, several permits", open_by_name, 3, NULL},
	{"opens in turn", open_in_turn, 3, NULL},
	{"description", play_with_the_description, 1, NULL},
	{"description, several permits", play_with_the_description, 3, NULL},
};
#define N_ACTS ((int)(sizeof(acts) / sizeof(acts[0])))

static void hostile(struct actor *self, void *context)
{
	const struct act *act = context;

	signal(SIGIO, SIG_IGN);
	become_enemy();
	actor_tell(self);
	actor_await(self);
	act->act();
	COUNT_ON(acts);
	actor_tell(self);
	while (!GET(stop_hostile)) {
		act->act();
		COUNT_ON(acts);
	}
	/* It dies, too, with whatever it wrote to its own number. */
	_exit(0);
}

/* --- victims ---------------------------------------------------------------------------------- */

#define VICTIMS 8

/* In the midst of it nobody can say what becomes of an attempt, and touching a file that is too short
 * ends it. */
static void victim(struct actor *self, void *context)
{
	struct shmd_segment *segment = attach_or_fail(connect_or_fail(), "target", 0);

	(void)context;
	signal(SIGBUS, SIG_DFL);
	actor_tell(self);
	for (;;)
		if (shmd_acquire(segment, 1) >= 0)
			shmd_release(segment);
}

/* It holds a permit when the enemy begins. */
static void first_victim(struct actor *self, void *context)
{
	struct shmd_segment *segment = attach_or_fail(connect_or_fail(), "target", 0);

	(void)context;
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	actor_tell(self);
	actor_await(self);
}

static void start_victim(struct actor *actor, actor_fn *fn)
{
	actor_start(actor, fn, NULL);
	actor_await(actor);
}

static void end_victim(struct actor *actor)
{
	kill(actor->pid, SIGKILL);
	ck_assert_int_eq(waitpid(actor->pid, NULL, 0), actor->pid);
	close(actor->to);
	close(actor->from);
}

/* Several die at once, in whatever the enemy writes at the time. */
static void let_victims_die(const struct act *act)
{
	struct actor actors[VICTIMS];

	for (int round = 0; round < (getenv("SHMD_TEST_LARGE") ? 20 : 2); round++) {
		uint64_t before = GET(acts);
		for (int i = 0; i < VICTIMS; i++)
			start_victim(&actors[i], victim);
		/* A million posts are one act. */
		AWAIT(act->act == post || GET(acts) > before + 1);
		for (int i = 0; i < VICTIMS; i++)
			end_victim(&actors[i]);
	}
}

/* All lets go of the target, which ends as any segment does. */
static void expect_target_ends(struct shmd_segment *target)
{
	AWAIT(clients_of(connection, "target") == 1);
	ck_assert_int_eq(shmd_unlink(connection, "target"), 0);
	shmd_detach(target);
	await_segments(connection, 0);
}

START_TEST(an_enemy_and_its_victims)
{
	const struct act *act = &acts[_i];
	struct shmd_segment *target = make("target", act->permits);
	struct actor first, enemy_;

	start_honest(_i % 2 ? 3 : 1);
	actor_start(&enemy_, hostile, (void *)act);
	actor_await(&enemy_);
	start_victim(&first, first_victim);
	actor_tell(&enemy_);
	if (act->act != post)
		actor_await(&enemy_);
	end_victim(&first);
	AWAIT(!act->log || daemon_logged(&daemon_, act->log));
	let_victims_die(act);
	SET(stop_hostile, 1);
	actor_finish(&enemy_);
	expect_daemon_lives();
	finish_honest(act->name);
	expect_target_ends(target);
	expect_daemon_lives();
}
END_TEST

/* --- after the enemy -------------------------------------------------------------------------- */

static void truncate_once(struct actor *self, void *context)
{
	become_enemy();
	resize(*(off_t *)context);
	actor_tell(self);
	actor_await(self);
}

/* Who comes now is told what is wrong, and not ended by it. */
START_TEST(a_damaged_semaphore_is_refused)
{
	static const off_t sizes[] = {0, 4};
	struct shmd_segment *target = make("target", _i / 2 ? 3 : 1);
	off_t size = sizes[_i % 2];
	struct actor actor;

	actor_start(&actor, truncate_once, &size);
	actor_await(&actor);
	ck_assert_int_eq(shmd_acquire(target, 0), -EIO);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "damaged"));
	ck_assert_int_eq(available("target"), -1);
	actor_kill(&actor);
	expect_target_ends(target);
}
END_TEST

/* A death in a segment that was ruined is the last of it; the daemon does not come back to it. */
START_TEST(it_is_said_once)
{
	struct shmd_segment *target = make("target", 1);
	struct actor actor, victims[5];
	off_t nothing = 0;
	char line[512];
	int n = 0;

	start_victim(&victims[0], first_victim);
	for (int i = 1; i < 5; i++)
		start_victim(&victims[i], victim);
	actor_start(&actor, truncate_once, &nothing);
	actor_await(&actor);
	for (int i = 0; i < 5; i++)
		end_victim(&victims[i]);
	actor_kill(&actor);
	expect_target_ends(target);
	FILE *log = fopen(daemon_.log, "re");
	ck_assert_ptr_nonnull(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, "was damaged") != NULL;
	fclose(log);
	ck_assert_int_eq(n, 1);
}
END_TEST

/* --- signals ---------------------------------------------------------------------------------- */

/* The daemon takes SIGBUS over for its own accesses only. */
START_TEST(sigbus_from_outside_ends_the_daemon)
{
	int status;

	ck_assert_int_eq(kill(daemon_.pid, SIGBUS), 0);
	ck_assert_int_eq(waitpid(daemon_.pid, &status, 0), daemon_.pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "status 0x%x", status);
	daemon_start_again(&daemon_);
}
END_TEST

/* A signal for the breaking of a lease is set on the description, which is the daemon's own. */
static void *choose_signal(void *context)
{
	while (!GET(stop_hostile))
		fcntl(enemy.semaphore, F_SETSIG, *(int *)context);
	return NULL;
}

static void *break_leases(void *context)
{
	(void)context;
	while (!GET(stop_hostile)) {
		close_by_name();
		COUNT_ON(acts);
	}
	return NULL;
}

static void shoot(struct actor *self, void *context)
{
	pthread_t threads[2];

	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setgid(SOMEBODY), 0);
	ck_assert_int_eq(setuid(SOMEBODY), 0);
	become_enemy();
	/* It may not send a signal itself. */
	ck_assert_int_eq(kill(daemon_.pid, 0), -1);
	actor_tell(self);
	ck_assert_int_eq(pthread_create(&threads[0], NULL, choose_signal, context), 0);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, break_leases, NULL), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

START_TEST(a_sharer_sends_no_signal)
{
	static int signals[] = {SIGKILL, SIGSTOP, SIGUSR1};
	struct actor actor;

	/* Only root can be somebody else. */
	if (geteuid() != 0)
		return;
	struct shmd_segment *target = make("target", 1);
	start_honest(1);
	actor_start(&actor, shoot, &signals[_i]);
	actor_await(&actor);
	for (uint64_t opens = 20000; GET(acts) < opens;)
		expect_daemon_lives();
	SET(stop_hostile, 1);
	actor_finish(&actor);
	finish_honest("signals");
	expect_target_ends(target);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("lock-hostile");
	TCase *tests = tcase_create("hostile");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, an_enemy_and_its_victims, 0, N_ACTS);
	tcase_add_loop_test(tests, a_damaged_semaphore_is_refused, 0, 4);
	tcase_add_test(tests, it_is_said_once);
	tcase_add_test(tests, sigbus_from_outside_ends_the_daemon);
	tcase_add_loop_test(tests, a_sharer_sends_no_signal, 0, 3);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

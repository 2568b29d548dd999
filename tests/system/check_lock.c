/* SPDX-License-Identifier: MIT */
/* Permits as libshmd promises them: who holds them, how waits end, and who gives back what the dead
 * held. What the protocol does at each of its steps is for others to show. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 10000

static struct test_daemon daemon_;
static struct shmd *connection;

/* One permit has a protocol of its own, so most tests run twice. */
static const unsigned permits_of[2] = {1, 3};

static void set_up(void)
{
	daemon_start(&daemon_, "[limits]\nclients = 6000\nclients_per_user = 6000\n"
			       "attachments = 6000\nattachments_per_user = 6000\n");
	connection = connect_or_fail();
}

static void tear_down(void)
{
	connection = shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct shmd_segment *make_flagged(unsigned permits, unsigned flags)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.permits = permits;
	options.flags = flags;
	int r = shmd_create(connection, "seg", 4096, &options, &segment);
	ck_assert_msg(r == 0, "create: %d %s", r, shmd_error_message());
	return segment;
}

static struct shmd_segment *make(unsigned permits)
{
	return make_flagged(permits, 0);
}

static struct shmd_segment *attach_anew(void)
{
	return attach_or_fail(connect_or_fail(), "seg", 0);
}

#define expect(call, wanted)                                                                    \
	do {                                                                                    \
		int r_ = (call);                                                                \
		ck_assert_msg(r_ == (wanted), "%s is %d: %s", #call, r_, shmd_error_message()); \
	} while (0)

static struct shmd_details *show(void)
{
	struct shmd_details *details;

	expect(shmd_show(connection, "seg", &details), 0);
	return details;
}

static int64_t available(void)
{
	struct shmd_details *details = show();
	int64_t n = details->permits_available;

	shmd_details_free(details);
	return n;
}

static size_t holders(void)
{
	struct shmd_details *details = show();
	size_t n = details->n_holders;

	shmd_details_free(details);
	return n;
}

/* What `show` says of one process; 0 permits if it is no holder. */
static struct shmd_holder_info holder_of(pid_t pid)
{
	struct shmd_details *details = show();
	struct shmd_holder_info found = {.pid = pid};

	for (size_t i = 0; i < details->n_holders; i++)
		if (details->holders[i]->pid == pid)
			found = *details->holders[i];
	found.command = NULL;
	shmd_details_free(details);
	return found;
}

static uint64_t recovered(void)
{
	struct shmd_status *status;
	uint64_t n = UINT64_MAX;

	expect(shmd_status(connection, &status), 0);
	for (size_t i = 0; i < status->n_counters; i++)
		if (strcmp(status->counters[i]->name, "locks_recovered") == 0)
			n = status->counters[i]->value;
	shmd_status_free(status);
	return n;
}

/* The word behind a handle, to see who sleeps there. */
static const uint64_t *map_word(const struct shmd_segment *segment)
{
	void *p = mmap(NULL, sizeof(uint64_t), PROT_READ, MAP_SHARED,
		       shmd_segment_semaphore_fd(segment), 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static bool somebody_sleeps(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED) >> 32;
}

/* --- taking and giving ------------------------------------------------------------------------ */

START_TEST(as_many_as_there_are)
{
	static const unsigned counts[] = {1, 2, 5};
	struct shmd_segment *segment = make(counts[_i]);

	for (unsigned i = 0; i < counts[_i]; i++) {
		ck_assert_int_eq(available(), counts[_i] - i);
		expect(shmd_acquire(segment, i % 2 ? 0 : -1), 0);
	}
	expect(shmd_acquire(segment, 0), -EAGAIN);
	ck_assert_str_eq(shmd_error_message(), "no permit is free");
	ck_assert_uint_eq(holder_of(getpid()).permits, counts[_i]);
	for (unsigned i = 0; i < counts[_i]; i++) {
		expect(shmd_release(segment), 0);
		ck_assert_int_eq(available(), i + 1);
	}
	ck_assert_uint_eq(holders(), 0);
	expect(shmd_release(segment), -EPERM);
	ck_assert_int_eq(available(), counts[_i]);
	shmd_detach(segment);
}
END_TEST

static void take_late(struct actor *self, void *context)
{
	struct shmd_segment *segment = context;

	expect(shmd_acquire(segment, 0), -EAGAIN);
	actor_tell(self);
	expect(shmd_acquire(segment, -1), 0);
	expect(shmd_release(segment), 0);
}

/* Handles that had nothing of the semaphore share it with those that had, also in a child. */
START_TEST(what_was_put_off_is_the_same_lock)
{
	struct shmd_segment *late = make_flagged(permits_of[_i], SHMD_LATE_LOCK);
	struct shmd_segment *inherited = attach_or_fail(connection, "seg", SHMD_LATE_LOCK);
	struct shmd_details *details = show();
	struct actor child;

	ck_assert_uint_eq(details->segment->permits, permits_of[_i]);
	ck_assert_ptr_null(details->segment->semaphore);
	ck_assert_int_eq(details->permits_available, permits_of[_i]);
	shmd_details_free(details);
	expect(shmd_release(late), -EPERM);
	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_acquire(late, 0), 0);
	struct shmd_segment *early = attach_anew();
	expect(shmd_acquire(early, 0), -EAGAIN);
	ck_assert_str_eq(shmd_segment_semaphore(late), shmd_segment_semaphore(early));
	actor_start(&child, take_late, inherited);
	actor_await(&child);
	/* By another handle of the same client, which was not asked for anything yet. */
	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_release(inherited), 0);
	actor_finish(&child);
	ck_assert_int_eq(available(), permits_of[_i]);
	ck_assert_str_eq(shmd_segment_semaphore(inherited), shmd_segment_semaphore(early));
	details = show();
	ck_assert_uint_eq(details->segment->clients, 2);
	shmd_details_free(details);
	shmd_detach(late);
	shmd_detach(inherited);
	shmd_detach(early);
}
END_TEST

/* What was published can be attached for reading alone, also to get its semaphore. */
START_TEST(what_was_put_off_and_published_is_for_reading)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_LATE_LOCK;
	expect(shmd_create(connection, NULL, 4096, &options, &segment), 0);
	expect(shmd_publish(segment, "seg", 0), 0);
	expect(shmd_acquire(segment, 0), -EPERM);
	shmd_detach(segment);
}
END_TEST

START_TEST(a_wait_ends_with_its_time)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct shmd_segment *other = attach_anew();

	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_acquire(other, 0), 0);
	/* Longer than one slice of sleep, too. */
	for (int ms = 20; ms <= 1300; ms += 640) {
		double before = now_ms();
		expect(shmd_acquire(segment, ms), -ETIMEDOUT);
		double took = now_ms() - before;
		ck_assert_double_ge(took, ms);
		ck_assert_double_le(took, ms + 1000);
		expect(shmd_release(segment), -EPERM);
	}
	expect(shmd_release(other), 0);
	expect(shmd_acquire(segment, 20), 0);
	expect(shmd_acquire(segment, -2), -EINVAL);
	shmd_detach(segment);
	shmd_detach(other);
}
END_TEST

static volatile sig_atomic_t n_alarms;

static void on_alarm(int signal)
{
	(void)signal;
	n_alarms++;
}

static void alarm_every(int ms, int flags)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
	struct itimerval timer = {.it_interval = {0, ms * 1000}, .it_value = {0, ms * 1000}};

	n_alarms = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

START_TEST(a_handler_ends_a_wait)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct shmd_segment *other = attach_anew();

	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_acquire(other, 0), 0);
	alarm_every(20, 0);
	expect(shmd_acquire(segment, -1), -EINTR);
	expect(shmd_acquire(segment, WAIT_MS), -EINTR);
	alarm_every(0, 0);
	expect(shmd_release(segment), -EPERM);
	ck_assert_int_eq(available(), 0);
	shmd_detach(segment);
	shmd_detach(other);
}
END_TEST

/* futex_waitv(2) came with Linux 5.16, and valgrind does not know it; what a wait on half the word does
 * instead is documented. */
static bool waits_for_the_whole_word(void)
{
	if (syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) == 0 || errno != ENOSYS)
		return true;
	printf("# skipped: no futex_waitv() here\n");
	return false;
}

START_TEST(a_handler_that_restarts_does_not)
{
	if (!waits_for_the_whole_word())
		return;
	struct shmd_segment *segment = make(permits_of[_i]);
	struct shmd_segment *other = attach_anew();

	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_acquire(other, 0), 0);
	alarm_every(20, SA_RESTART);
	expect(shmd_acquire(segment, 300), -ETIMEDOUT);
	ck_assert_int_ge(n_alarms, 5);
	alarm_every(0, SA_RESTART);
	shmd_detach(segment);
	shmd_detach(other);
}
END_TEST

/* --- whose permits ---------------------------------------------------------------------------- */

static struct shmd_segment *inherited;

static void release_the_parents(struct actor *self, void *context)
{
	(void)self, (void)context;
	expect(shmd_release(inherited), -EPERM);
	/* Also once it has a number of its own. */
	int r = shmd_acquire(inherited, 0);
	ck_assert_int_eq(r, permits_of[*(int *)context] == 1 ? -EAGAIN : 0);
	if (r == 0)
		expect(shmd_release(inherited), 0);
	expect(shmd_release(inherited), -EPERM);
}

START_TEST(who_holds_nothing_releases_nothing)
{
	struct shmd_segment *other = NULL;
	struct actor child;

	inherited = make(permits_of[_i]);
	expect(shmd_release(inherited), -EPERM);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "holds no permit"));
	expect(shmd_acquire(inherited, 0), 0);
	actor_start(&child, release_the_parents, &_i);
	actor_finish(&child);
	other = attach_anew();
	expect(shmd_release(other), -EPERM);
	ck_assert_int_eq(available(), permits_of[_i] - 1);
	expect(shmd_release(inherited), 0);
	expect(shmd_release(inherited), -EPERM);
	ck_assert_int_eq(available(), permits_of[_i]);
	shmd_detach(other);
	shmd_detach(inherited);
}
END_TEST

static void *take_one(void *segment)
{
	return (void *)(intptr_t)shmd_acquire(segment, 0);
}

static intptr_t in_a_thread(void *(*fn)(void *), void *context)
{
	pthread_t thread;
	void *result;

	ck_assert_int_eq(pthread_create(&thread, NULL, fn, context), 0);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	return (intptr_t)result;
}

/* Also through a handle that may only read, where readers may lock, and one that was never used. */
START_TEST(threads_and_handles_share_permits)
{
	struct shmd_segment *one = make_flagged(permits_of[_i], SHMD_READERS_LOCK);
	struct shmd_segment *two = attach_or_fail(connection, "seg", _i ? SHMD_READ_ONLY : 0);

	for (unsigned i = 0; i < permits_of[_i]; i++)
		ck_assert_int_eq(in_a_thread(take_one, one), 0);
	ck_assert_uint_eq(holders(), 1);
	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_release(two), 0);
	expect(shmd_release(one), -EPERM);
	/* The handle that took it may go first. */
	expect(shmd_acquire(one, 0), 0);
	shmd_detach(one);
	ck_assert_int_eq(available(), permits_of[_i] - 1);
	expect(shmd_release(two), 0);
	shmd_detach(two);
}
END_TEST

#define THREADS 6
#define ROUNDS  2000

static void *take_and_give(void *segment)
{
	volatile int *inside = shmd_segment_data(segment);

	for (int i = 0; i < ROUNDS; i++) {
		if (shmd_acquire(segment, -1) != 0)
			return (void *)"cannot acquire";
		if (__atomic_add_fetch(inside, 1, __ATOMIC_SEQ_CST) > 3)
			return (void *)"more inside than there are permits";
		__atomic_sub_fetch(inside, 1, __ATOMIC_SEQ_CST);
		if (shmd_release(segment) != 0)
			return (void *)"cannot release";
	}
	return NULL;
}

START_TEST(threads_are_kept_apart)
{
	struct shmd_segment *handles[2] = {make(3), attach_or_fail(connection, "seg", 0)};
	pthread_t threads[THREADS];
	void *complaint;

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, handles[i % 2]),
				 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &complaint), 0);
		ck_assert_msg(!complaint, "%s", (char *)complaint);
	}
	ck_assert_int_eq(available(), 3);
	ck_assert_uint_eq(holders(), 0);
	shmd_detach(handles[0]);
	shmd_detach(handles[1]);
}
END_TEST

static void hold_inherited(struct actor *self, void *context)
{
	(void)context;
	expect(shmd_acquire(inherited, 0), 0);
	actor_tell(self);
	actor_await(self);
	expect(shmd_release(inherited), 0);
	actor_tell(self);
	actor_await(self);
}

START_TEST(a_child_has_a_number_of_its_own)
{
	struct actor child;

	inherited = make(3);
	expect(shmd_acquire(inherited, 0), 0);
	expect(shmd_acquire(inherited, 0), 0);
	actor_start(&child, hold_inherited, NULL);
	actor_await(&child);
	ck_assert_uint_eq(holder_of(getpid()).permits, 2);
	ck_assert_uint_eq(holder_of(child.pid).permits, 1);
	actor_tell(&child);
	actor_await(&child);
	ck_assert_uint_eq(holder_of(getpid()).permits, 2);
	ck_assert_uint_eq(holder_of(child.pid).permits, 0);
	actor_tell(&child);
	actor_finish(&child);
	/* Its end was no death with a permit. */
	expect(shmd_acquire(inherited, 0), 0);
	ck_assert_uint_eq(recovered(), 0);
	shmd_detach(inherited);
}
END_TEST

/* --- deaths ----------------------------------------------------------------------------------- */

/* How an actor takes a permit, and what it does to its connection then. */
struct holding {
	unsigned permits;
	void (*then)(struct shmd *mine, struct shmd_segment *segment);
	int socket; /* the one that connecting opened */
};

static int newest_socket(void)
{
	struct stat st;
	int fd = -1;

	for (int i = 0; i < 64; i++)
		if (fstat(i, &st) == 0 && S_ISSOCK(st.st_mode))
			fd = i;
	return fd;
}

static void holder(struct actor *self, void *context)
{
	struct holding *holding = context;
	struct shmd *mine = connect_or_fail();

	holding->socket = newest_socket();
	struct shmd_segment *segment = attach_or_fail(mine, "seg", 0);
	for (unsigned i = 0; i < holding->permits; i++)
		expect(shmd_acquire(segment, 0), 0);
	if (holding->then)
		holding->then(mine, segment);
	actor_tell(self);
	actor_await(self);
}

static void start_holder(struct actor *actor, struct holding *holding)
{
	actor_start(actor, holder, holding);
	actor_await(actor);
}

static void expect_death_told(struct shmd_segment *segment)
{
	expect(shmd_acquire(segment, WAIT_MS), SHMD_OWNER_DIED);
	expect(shmd_release(segment), 0);
	expect(shmd_acquire(segment, 0), 0);
	expect(shmd_release(segment), 0);
}

START_TEST(a_death_is_told_once)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct holding holding = {.permits = permits_of[_i]};
	char line[128];
	struct actor actor;

	for (unsigned i = 1; i <= 3; i++) {
		start_holder(&actor, &holding);
		expect(shmd_acquire(segment, 0), -EAGAIN);
		pid_t pid = actor.pid;
		actor_kill(&actor);
		expect_death_told(segment);
		/* All of them came back. */
		ck_assert_int_eq(available(), permits_of[_i]);
		ck_assert_uint_eq(recovered(), i * permits_of[_i]);
		snprintf(line, sizeof(line), "gave back %u permit%s of segment 'seg' (id ",
			 permits_of[_i], permits_of[_i] == 1 ? "" : "s");
		ck_assert(daemon_logged(&daemon_, line));
		snprintf(line, sizeof(line), "pid %d of uid %u died with %s", (int)pid, getuid(),
			 permits_of[_i] == 1 ? "it" : "them");
		ck_assert_msg(daemon_logged(&daemon_, line), "not logged: %s", line);
	}
	shmd_detach(segment);
}
END_TEST

static void wait_for_permit(struct actor *self, void *context)
{
	struct shmd_segment *segment = attach_anew();

	(void)context;
	actor_tell(self);
	expect(shmd_acquire(segment, -1), SHMD_OWNER_DIED);
}

/* Who sleeps already is woken by it, without waiting for the end of a slice. */
START_TEST(a_death_wakes_who_waits)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	const uint64_t *word = map_word(segment);
	struct holding holding = {.permits = permits_of[_i]};
	struct actor dying, waiting;

	start_holder(&dying, &holding);
	actor_start(&waiting, wait_for_permit, NULL);
	actor_await(&waiting);
	AWAIT(somebody_sleeps(word));
	actor_kill(&dying);
	actor_finish(&waiting);
	shmd_detach(segment);
}
END_TEST

/* Who holds a permit by a handle that may only read dies like the others. */
START_TEST(readers_die_too)
{
	struct shmd_segment *segment = make_flagged(permits_of[_i], SHMD_READERS_LOCK);
	struct shmd_segment *reader;
	pid_t pid = fork();

	if (pid == 0) {
		reader = attach_or_fail(connect_or_fail(), "seg", SHMD_READ_ONLY);
		_exit(shmd_acquire(reader, 0) == 0 ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	AWAIT(recovered() == 1);
	expect_death_told(segment);
	shmd_detach(segment);
}
END_TEST

START_TEST(readers_may_not_lock)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct shmd_segment *reader = attach_or_fail(connect_or_fail(), "seg", SHMD_READ_ONLY);

	expect(shmd_acquire(reader, 0), -EPERM);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "SHMD_READERS_LOCK"));
	expect(shmd_release(reader), -EPERM);
	expect(shmd_keep_until_exit(reader), -EPERM);
	ck_assert_int_eq(shmd_segment_semaphore_fd(reader), -1);
	shmd_detach(reader);
	shmd_detach(segment);
}
END_TEST

/* The child has the parent's socket, mapping and descriptors, and a permit of its own. */
static void parent_of_a_child(struct actor *self, void *context)
{
	struct actor *heir = context;
	struct shmd_segment *segment = attach_anew();

	expect(shmd_acquire(segment, 0), 0);
	if (fork() == 0) {
		expect(shmd_acquire(segment, 0), 0);
		actor_tell(heir);
		actor_await(heir);
		expect(shmd_release(segment), 0);
		expect(shmd_release(segment), -EPERM);
		actor_tell(heir);
		_exit(0);
	}
	actor_tell(self);
	actor_await(self);
}

START_TEST(a_parent_dies_before_its_child)
{
	struct shmd_segment *segment = make(3);
	struct actor parent, heir, heirs_side;
	int to[2], from[2];

	ck_assert_int_eq(pipe(to), 0);
	ck_assert_int_eq(pipe(from), 0);
	heir = (struct actor){.to = to[1], .from = from[0]};
	heirs_side = (struct actor){.to = from[1], .from = to[0]};
	actor_start(&parent, parent_of_a_child, &heirs_side);
	actor_await(&parent);
	actor_await(&heir);
	ck_assert_int_eq(available(), 1);
	actor_kill(&parent);
	AWAIT(available() == 2);
	ck_assert_uint_eq(holders(), 1);
	ck_assert_uint_eq(recovered(), 1);
	actor_tell(&heir);
	actor_await(&heir);
	ck_assert_int_eq(available(), 3);
	ck_assert_uint_eq(recovered(), 1);
	shmd_detach(segment);
}
END_TEST

/* --- lost connections ------------------------------------------------------------------------- */

static void disconnect_it(struct shmd *mine, struct shmd_segment *segment)
{
	(void)segment;
	shmd_disconnect(mine);
}

static void detach_it(struct shmd *mine, struct shmd_segment *segment)
{
	(void)mine;
	shmd_detach(segment);
}

/* The daemon ends a connection that does not keep to the protocol. */
static void be_malformed(struct shmd *mine, struct shmd_segment *segment)
{
	char byte;

	(void)mine, (void)segment;
	int socket = newest_socket();
	ck_assert_int_eq(send(socket, "?", 1, MSG_NOSIGNAL), 1);
	while (recv(socket, &byte, 1, 0) > 0)
		;
}

static void (*const ways_to_let_go[])(struct shmd *mine, struct shmd_segment *segment) = {
	disconnect_it,
	detach_it,
	be_malformed,
};

#define N_WAYS 3

/* The process may be in the middle of what the permit is for. */
START_TEST(a_lost_connection_is_no_death)
{
	unsigned permits = permits_of[_i / N_WAYS];
	struct shmd_segment *segment = make(permits);
	struct holding holding = {.permits = permits, .then = ways_to_let_go[_i % N_WAYS]};
	struct actor actor;

	start_holder(&actor, &holding);
	AWAIT(clients_of(connection, "seg") == 1);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(available(), 0);
	ck_assert_uint_eq(holder_of(actor.pid).permits, permits);
	expect(shmd_acquire(segment, 50), -ETIMEDOUT);
	actor_kill(&actor);
	expect_death_told(segment);
	ck_assert_int_eq(available(), permits);
	ck_assert_uint_eq(recovered(), permits);
	shmd_detach(segment);
}
END_TEST

/* Whoever comes back goes on with what it left: with a new connection, or the old one. */
START_TEST(who_comes_back_can_release)
{
	unsigned permits = permits_of[_i / 2];
	struct shmd_segment *segment = make(permits);
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *before = attach_or_fail(mine, "seg", 0);

	for (unsigned i = 0; i < permits; i++)
		expect(shmd_acquire(before, 0), 0);
	if (_i % 2) {
		mine = shmd_disconnect(mine);
		mine = connect_or_fail();
	} else {
		before = shmd_detach(before);
	}
	AWAIT(clients_of(connection, "seg") == 1);
	struct shmd_segment *after = attach_or_fail(mine, "seg", 0);
	for (unsigned i = 0; i < permits; i++)
		expect(shmd_release(after), 0);
	expect(shmd_release(after), -EPERM);
	ck_assert_int_eq(available(), permits);
	ck_assert_uint_eq(holders(), 0);
	shmd_detach(after);
	shmd_detach(before);
	shmd_disconnect(mine);
	/* Nobody has died. */
	expect(shmd_acquire(segment, 0), 0);
	shmd_detach(segment);
}
END_TEST

static void try_to_release(struct actor *self, void *context)
{
	(void)self, (void)context;
	expect(shmd_release(attach_anew()), -EPERM);
}

/* The number of such a handle is nobody else's for as long as the process lives. */
START_TEST(a_handle_outlives_its_connection)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *orphan = attach_or_fail(mine, "seg", 0);
	struct actor other;

	shmd_disconnect(mine);
	AWAIT(clients_of(connection, "seg") == 1);
	expect(shmd_acquire(orphan, 0), 0);
	ck_assert_uint_eq(holder_of(getpid()).permits, 1);
	actor_start(&other, try_to_release, NULL);
	actor_finish(&other);
	expect(shmd_release(segment), -EPERM);
	expect(shmd_release(orphan), 0);
	shmd_detach(orphan);
	shmd_detach(segment);
}
END_TEST

/* --- other programs --------------------------------------------------------------------------- */

static void become_another_program(struct shmd *mine, struct shmd_segment *segment)
{
	(void)mine, (void)segment;
	execl("/bin/sleep", "sleep", "1000", NULL);
	_exit(127);
}

static void keep_and_become_another(struct shmd *mine, struct shmd_segment *segment)
{
	expect(shmd_keep_until_exit(segment), 0);
	become_another_program(mine, segment);
}

/* Its end of the pipes closes with the exec. */
static void await_exec(struct actor *actor)
{
	char byte;

	ck_assert_int_eq(read(actor->from, &byte, 1), 0);
}

START_TEST(another_program_keeps_the_permit)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct holding holding = {.permits = permits_of[_i], .then = become_another_program};
	struct actor actor;

	actor_start(&actor, holder, &holding);
	await_exec(&actor);
	AWAIT(clients_of(connection, "seg") == 1);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(available(), 0);
	ck_assert_int_eq(holder_of(actor.pid).until_exit, 0);
	actor_kill(&actor);
	expect_death_told(segment);
	ck_assert_int_eq(available(), permits_of[_i]);
	shmd_detach(segment);
}
END_TEST

START_TEST(until_exit_is_a_release)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct holding holding = {.permits = permits_of[_i], .then = keep_and_become_another};
	struct actor actor;

	actor_start(&actor, holder, &holding);
	await_exec(&actor);
	AWAIT(clients_of(connection, "seg") == 1);
	struct shmd_holder_info info = holder_of(actor.pid);
	ck_assert_uint_eq(info.permits, permits_of[_i]);
	ck_assert_int_eq(info.until_exit, 1);
	ck_assert_uint_eq(info.uid, getuid());
	actor_kill(&actor);
	expect(shmd_acquire(segment, WAIT_MS), 0);
	expect(shmd_release(segment), 0);
	ck_assert_int_eq(available(), permits_of[_i]);
	ck_assert_uint_eq(recovered(), 0);
	ck_assert(!daemon_logged(&daemon_, "gave back"));
	shmd_detach(segment);
}
END_TEST

/* Nobody has the memory any more, and yet there is a user. */
START_TEST(until_exit_keeps_the_segment)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct holding holding = {.permits = 1, .then = keep_and_become_another};
	struct actor actor;

	actor_start(&actor, holder, &holding);
	await_exec(&actor);
	shmd_detach(segment);
	AWAIT(clients_of(connection, "seg") == 0);
	for (int i = 0; i < 50; i++)
		ck_assert(segment_exists(connection, "seg"));
	actor_kill(&actor);
	await_gone(connection, "seg");
	await_segments(connection, 0);
}
END_TEST

/* A death that is kept silent does not silence another one. */
START_TEST(until_exit_hides_no_death)
{
	struct shmd_segment *segment = make(2);
	struct holding dying = {.permits = 1};
	struct holding keeping = {.permits = 1, .then = keep_and_become_another};
	struct actor one, two;

	start_holder(&one, &dying);
	actor_start(&two, holder, &keeping);
	await_exec(&two);
	actor_kill(&one);
	AWAIT(available() == 1);
	actor_kill(&two);
	AWAIT(available() == 2);
	expect_death_told(segment);
	shmd_detach(segment);
}
END_TEST

/* --- programs that open it by name ------------------------------------------------------------ */

static sem_t *open_by_name(const char *name)
{
	sem_t *raw = sem_open(name, 0);

	ck_assert_msg(raw != SEM_FAILED, "sem_open(%s): %m", name);
	return raw;
}

struct raw {
	char name[64];
	unsigned takes;
	bool waits; /* for one permit, after that */
};

static void raw_client(struct actor *self, void *context)
{
	struct raw *raw = context;
	sem_t *semaphore = open_by_name(raw->name);

	for (unsigned i = 0; i < raw->takes; i++)
		ck_assert_int_eq(sem_trywait(semaphore), 0);
	actor_tell(self);
	if (raw->waits) {
		ck_assert_int_eq(sem_wait(semaphore), 0);
		actor_tell(self);
	}
	actor_await(self);
	for (unsigned i = 0; i < raw->takes + raw->waits; i++)
		ck_assert_int_eq(sem_post(semaphore), 0);
}

static void start_raw(struct actor *actor, struct raw *raw, const struct shmd_segment *segment)
{
	snprintf(raw->name, sizeof(raw->name), "%s", shmd_segment_semaphore(segment));
	actor_start(actor, raw_client, raw);
	actor_await(actor);
}

START_TEST(names_and_handles_exclude_each_other)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	const uint64_t *word = map_word(segment);
	struct raw raw = {.waits = true};
	struct actor actor;

	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_acquire(segment, 0), 0);
	start_raw(&actor, &raw, segment);
	AWAIT(somebody_sleeps(word));
	/* The library's release wakes a sleeper of glibc's ... */
	expect(shmd_release(segment), 0);
	actor_await(&actor);
	expect(shmd_acquire(segment, 20), -ETIMEDOUT);
	/* ... and sem_post() one of the library's. */
	actor_tell(&actor);
	double before = now_ms();
	expect(shmd_acquire(segment, WAIT_MS), 0);
	ck_assert_double_le(now_ms() - before, 900);
	actor_finish(&actor);
	ck_assert_uint_eq(holder_of(getpid()).permits, permits_of[_i]);
	shmd_detach(segment);
}
END_TEST

START_TEST(who_opened_it_by_name_dies)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct raw raw = {.takes = permits_of[_i]};
	struct actor actor;

	start_raw(&actor, &raw, segment);
	ck_assert_int_eq(available(), 0);
	ck_assert_uint_eq(holders(), 0);
	actor_kill(&actor);
	expect_death_told(segment);
	ck_assert_int_eq(available(), permits_of[_i]);
	ck_assert_uint_eq(recovered(), permits_of[_i]);
	ck_assert(daemon_logged(&daemon_, "opened the semaphore by name kept it at its end"));
	shmd_detach(segment);
}
END_TEST

/* As long as one of them lives, it may be the holder. */
START_TEST(the_last_by_name_settles_it)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct raw takes = {.takes = permits_of[_i]}, looks = {.takes = 0};
	struct actor dying, living;

	start_raw(&dying, &takes, segment);
	start_raw(&living, &looks, segment);
	actor_kill(&dying);
	expect(shmd_acquire(segment, 300), -ETIMEDOUT);
	ck_assert_uint_eq(recovered(), 0);
	actor_tell(&living);
	actor_finish(&living);
	expect_death_told(segment);
	ck_assert_int_eq(available(), permits_of[_i]);
	shmd_detach(segment);
}
END_TEST

/* What a library's client holds meanwhile is not taken for missing. */
START_TEST(a_raw_death_spares_the_others)
{
	struct shmd_segment *segment = make(3);
	struct raw raw = {.takes = 1};
	struct actor actor;

	expect(shmd_acquire(segment, 0), 0);
	start_raw(&actor, &raw, segment);
	ck_assert_int_eq(available(), 1);
	actor_kill(&actor);
	AWAIT(available() == 2);
	ck_assert_uint_eq(holder_of(getpid()).permits, 1);
	ck_assert_uint_eq(recovered(), 1);
	expect(shmd_release(segment), 0);
	ck_assert_int_eq(available(), 3);
	shmd_detach(segment);
}
END_TEST

/* The folder's watch does not see files without a name. */
START_TEST(by_name_and_then_unlinked)
{
	struct shmd_segment *segment = make(permits_of[_i]);
	struct raw raw = {.takes = permits_of[_i]};
	struct actor actor;

	start_raw(&actor, &raw, segment);
	expect(shmd_unlink(connection, "seg"), 0);
	expect(shmd_acquire(segment, 20), -ETIMEDOUT);
	actor_kill(&actor);
	expect_death_told(segment);
	ck_assert_uint_eq(recovered(), permits_of[_i]);
	shmd_detach(segment);
	await_segments(connection, 0);
}
END_TEST

/* --- numbers ---------------------------------------------------------------------------------- */

#define NUMBERS 4095

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static bool has_room_for(rlim_t descriptors)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max >= descriptors;
}

/* With the handle's three descriptors and the connection's. */
static struct shmd_segment *one_more_locker(struct shmd **ret)
{
	*ret = connect_or_fail();
	return attach_or_fail(*ret, "seg", 0);
}

static void refused_child(struct actor *self, void *segment)
{
	(void)self;
	/* What it inherited is no way around that, at any try. */
	for (int i = 0; i < 3; i++) {
		expect(shmd_acquire(segment, 0), -EDQUOT);
		expect(shmd_release(segment), -EDQUOT);
	}
}

static void expect_no_number_in_a_child(struct shmd_segment *segment)
{
	struct actor child;

	/* Mapped before the fork. */
	expect(shmd_acquire(segment, 0), 0);
	expect(shmd_release(segment), 0);
	actor_start(&child, refused_child, segment);
	actor_finish(&child);
	expect(shmd_acquire(segment, 0), 0);
	expect(shmd_release(segment), 0);
}

START_TEST(numbers_run_out)
{
	static struct shmd *connections[NUMBERS + 1];
	static struct shmd_segment *handles[NUMBERS + 1];

	/* valgrind has a table of descriptors of its own, and small machines no room. */
	if (getenv("SHMD_WRAPPER") || !has_room_for(3 * NUMBERS + 100))
		return;
	raise_descriptor_limit();
	struct shmd_segment *segment = make(1);
	for (int i = 0; i < NUMBERS; i++)
		handles[i] = one_more_locker(&connections[i]);
	/* The creator has one, so the last of them has none. */
	expect(shmd_acquire(handles[NUMBERS - 2], 0), 0);
	expect(shmd_release(handles[NUMBERS - 2]), 0);
	expect(shmd_acquire(handles[NUMBERS - 1], 0), -EDQUOT);
	ck_assert_str_eq(shmd_error_message(),
			 "4095 clients can lock a segment, and as many do, or the daemon has no "
			 "memory for one more");
	expect(shmd_release(handles[NUMBERS - 1]), -EDQUOT);
	expect_no_number_in_a_child(segment);
	/* It is attached all the same, and one that goes makes room. */
	strcpy(shmd_segment_data(handles[NUMBERS - 1]), "written");
	ck_assert_str_eq(shmd_segment_data(segment), "written");
	handles[0] = shmd_detach(handles[0]);
	handles[NUMBERS] = attach_or_fail(connections[NUMBERS - 1], "seg", 0);
	expect(shmd_acquire(handles[NUMBERS], 0), 0);
	expect(shmd_acquire(segment, 0), -EAGAIN);
	expect(shmd_release(handles[NUMBERS]), 0);
	for (int i = 0; i <= NUMBERS; i++) {
		shmd_detach(handles[i]);
		shmd_disconnect(connections[i]);
	}
	shmd_detach(segment);
}
END_TEST

/* --- threads that are cancelled --------------------------------------------------------------- */

static void *wait_and_be_cancelled(void *context)
{
	int *result = context;

	*result = shmd_acquire(inherited, -1);
	pthread_testcancel();
	*result = 77;
	return NULL;
}

START_TEST(a_wait_is_no_cancellation_point)
{
	struct shmd_segment *other = NULL;
	pthread_t thread;
	int result = 55;
	void *returned;

	inherited = make(permits_of[_i]);
	const uint64_t *word = map_word(inherited);
	other = attach_anew();
	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_acquire(other, 0), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_and_be_cancelled, &result), 0);
	AWAIT(somebody_sleeps(word));
	ck_assert_int_eq(pthread_cancel(thread), 0);
	expect(shmd_release(other), 0);
	ck_assert_int_eq(pthread_join(thread, &returned), 0);
	ck_assert_ptr_eq(returned, PTHREAD_CANCELED);
	ck_assert_int_eq(result, 0);
	/* The permit is the process's. */
	expect(shmd_release(inherited), 0);
	shmd_detach(other);
	shmd_detach(inherited);
}
END_TEST

/* --- idle waiters ----------------------------------------------------------------------------- */

#define WAITERS 8

struct idle {
	int ms;
	struct {
		double cpu_ms;
		long switches;
	} used[WAITERS];
	int next;
};

static double cpu_ms(const struct rusage *usage)
{
	return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e3 +
	       (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e3;
}

static void idle_waiter(struct actor *self, void *context)
{
	struct idle *idle = context;
	struct shmd_segment *segment = attach_anew();
	struct rusage before, after;
	int i = __atomic_fetch_add(&idle->next, 1, __ATOMIC_SEQ_CST);

	/* What is done once, at the first use. */
	expect(shmd_acquire(segment, 0), -EAGAIN);
	actor_tell(self);
	actor_await(self);
	getrusage(RUSAGE_SELF, &before);
	expect(shmd_acquire(segment, idle->ms), -ETIMEDOUT);
	getrusage(RUSAGE_SELF, &after);
	idle->used[i].cpu_ms = cpu_ms(&after) - cpu_ms(&before);
	idle->used[i].switches = after.ru_nvcsw - before.ru_nvcsw;
	actor_tell(self);
	actor_await(self);
}

/* Each system call of the daemon's is one that it was woken for. */
static long switches_of(pid_t pid)
{
	char path[64], line[128];
	long n = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
			break;
	fclose(file);
	return n;
}

/* The kernel tells the system call of a process only while it is blocked there. */
static bool is_asleep(pid_t pid)
{
	char path[64], text[16] = "";

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
	fclose(file);
	return text[0] >= '0' && text[0] <= '9';
}

/* Word of semaphores that daemons of other tests close wakes ours, too. */
static int watch_others(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	ck_assert_int_ge(inotify_add_watch(fd, "/dev/shm", IN_CLOSE_WRITE), 0);
	return fd;
}

static bool was_quiet(int fd)
{
	char events[4096];
	ssize_t n = read(fd, events, sizeof(events));

	close(fd);
	return n < 0 && errno == EAGAIN;
}

/* How often the daemon was woken meanwhile; 0 also where others may have done that. */
static long run_waiters(struct idle *idle)
{
	struct actor actors[WAITERS];

	for (int i = 0; i < WAITERS; i++) {
		actor_start(&actors[i], idle_waiter, idle);
		actor_await(&actors[i]);
	}
	/* The reply to the last of them came before that. */
	AWAIT(is_asleep(daemon_.pid));
	int others = watch_others();
	long before = switches_of(daemon_.pid);
	for (int i = 0; i < WAITERS; i++)
		actor_tell(&actors[i]);
	for (int i = 0; i < WAITERS; i++)
		actor_await(&actors[i]);
	long woken = switches_of(daemon_.pid) - before;
	if (!was_quiet(others))
		woken = 0;
	for (int i = 0; i < WAITERS; i++) {
		actor_tell(&actors[i]);
		actor_finish(&actors[i]);
	}
	return woken;
}

START_TEST(waiting_costs_nothing)
{
	struct idle *idle = mmap(NULL, sizeof(*idle), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct shmd_segment *segment = make(permits_of[_i]);
	double most = 0;
	long switches = 0;

	idle->ms = getenv("SHMD_TEST_LARGE") ? 10000 : 2000;
	for (unsigned i = 0; i < permits_of[_i]; i++)
		expect(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(run_waiters(idle), 0);
	for (int i = 0; i < WAITERS; i++) {
		most = idle->used[i].cpu_ms > most ? idle->used[i].cpu_ms : most;
		switches = idle->used[i].switches > switches ? idle->used[i].switches : switches;
	}
	printf("# %u permits, %d waiters for %d ms: at most %.2f ms of CPU, %ld times asleep; the "
	       "daemon was not woken\n",
	       permits_of[_i], WAITERS, idle->ms, most, switches);
	/* A slice is a second. */
	if (waits_for_the_whole_word())
		ck_assert_int_le(switches, 3 * idle->ms / 1000 + 10);
	if (!getenv("SHMD_WRAPPER"))
		ck_assert_double_le(most, 20);
	shmd_detach(segment);
}
END_TEST

/* --- what there is to see --------------------------------------------------------------------- */

START_TEST(holders_are_told_of)
{
	struct shmd_segment *segment = make(5);
	struct holding holding = {.permits = 2};
	struct shmd_details *details;
	struct actor actor;
	char name[16];

	prctl(PR_GET_NAME, name);
	ck_assert_uint_eq(holders(), 0);
	expect(shmd_acquire(segment, 0), 0);
	start_holder(&actor, &holding);
	details = show();
	ck_assert_uint_eq(details->n_holders, 2);
	ck_assert_int_eq(details->permits_available, 2);
	ck_assert_uint_eq(details->segment->permits, 5);
	ck_assert_int_eq(details->holders[0]->pid, getpid());
	ck_assert_uint_eq(details->holders[0]->permits, 1);
	ck_assert_int_eq(details->holders[1]->pid, actor.pid);
	ck_assert_uint_eq(details->holders[1]->permits, 2);
	ck_assert_uint_eq(details->holders[1]->uid, getuid());
	ck_assert_int_eq(details->holders[1]->until_exit, 0);
	ck_assert_str_eq(details->holders[1]->command, name);
	shmd_details_free(details);
	actor_kill(&actor);
	AWAIT(holders() == 1);
	shmd_detach(segment);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
	TCase *tests = tcase_create(name);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	suite_add_tcase(suite, tests);
	return tests;
}

static void add_taking(Suite *suite)
{
	TCase *tests = add_case(suite, "taking");

	tcase_add_loop_test(tests, as_many_as_there_are, 0, 3);
	tcase_add_loop_test(tests, what_was_put_off_is_the_same_lock, 0, 2);
	tcase_add_test(tests, what_was_put_off_and_published_is_for_reading);
	tcase_add_loop_test(tests, a_wait_ends_with_its_time, 0, 2);
	tcase_add_loop_test(tests, a_handler_ends_a_wait, 0, 2);
	tcase_add_loop_test(tests, a_handler_that_restarts_does_not, 0, 2);
	tcase_add_loop_test(tests, who_holds_nothing_releases_nothing, 0, 2);
	tcase_add_loop_test(tests, threads_and_handles_share_permits, 0, 2);
	tcase_add_test(tests, threads_are_kept_apart);
	tcase_add_test(tests, a_child_has_a_number_of_its_own);
	tcase_add_loop_test(tests, readers_may_not_lock, 0, 2);
	tcase_add_loop_test(tests, a_wait_is_no_cancellation_point, 0, 2);
	tcase_add_loop_test(tests, waiting_costs_nothing, 0, 2);
	tcase_add_test(tests, numbers_run_out);
	tcase_add_test(tests, holders_are_told_of);
}

static void add_deaths(Suite *suite)
{
	TCase *tests = add_case(suite, "deaths");

	tcase_add_loop_test(tests, a_death_is_told_once, 0, 2);
	tcase_add_loop_test(tests, a_death_wakes_who_waits, 0, 2);
	tcase_add_loop_test(tests, readers_die_too, 0, 2);
	tcase_add_test(tests, a_parent_dies_before_its_child);
	tcase_add_loop_test(tests, a_lost_connection_is_no_death, 0, 2 * N_WAYS);
	tcase_add_loop_test(tests, who_comes_back_can_release, 0, 4);
	tcase_add_loop_test(tests, a_handle_outlives_its_connection, 0, 2);
	tcase_add_loop_test(tests, another_program_keeps_the_permit, 0, 2);
	tcase_add_loop_test(tests, until_exit_is_a_release, 0, 2);
	tcase_add_loop_test(tests, until_exit_keeps_the_segment, 0, 2);
	tcase_add_test(tests, until_exit_hides_no_death);
}

static void add_names(Suite *suite)
{
	TCase *tests = add_case(suite, "names");

	tcase_add_loop_test(tests, names_and_handles_exclude_each_other, 0, 2);
	tcase_add_loop_test(tests, who_opened_it_by_name_dies, 0, 2);
	tcase_add_loop_test(tests, the_last_by_name_settles_it, 0, 2);
	tcase_add_test(tests, a_raw_death_spares_the_others);
	tcase_add_loop_test(tests, by_name_and_then_unlinked, 0, 2);
}

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("lock");

	add_taking(suite);
	add_deaths(suite);
	add_names(suite);
	return run_suite(suite);
}

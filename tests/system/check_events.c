/* SPDX-License-Identifier: MIT */
/*
 * What has not happened yet, and what has: waits for a name and events of segments, by the real
 * library at a real daemon. A wait ends once, however it ends, and leaves nothing; thousands are
 * answered while others are served. Every event is heard or counted as lost, and who does not read
 * holds up nobody.
 *
 * SHMD_TEST_WAITERS is how many wait at once, and SHMD_TEST_STOPPED_MS how long a subscriber does
 * not read; with SHMD_TEST_LARGE, that is ten seconds.
 */
#include "harness.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

LEAVES_WITHOUT_A_WORD;

/* Users of nobody's, who need no entry in /etc/passwd. */
#define OWNER_UID 64502
#define OTHER_UID 64504

static const char config[] = "[limits]\n"
			     "clients = 16384\nclients_per_user = 16384\n"
			     "attachments = 500000\nattachments_per_user = 500000\n"
			     "waits = 200000\nwaits_per_user = 200000\n";
static const char few_waits[] = "[limits]\nwaits_per_user = 2\n"
				"subscriptions_per_user = 1\n";

static struct test_daemon daemon_;
static struct shmd *connection; /* the test's own */

static void set_up(void)
{
	daemon_start(&daemon_, config);
	connection = connect_or_fail();
}

static void set_up_few_waits(void)
{
	daemon_start(&daemon_, few_waits);
	connection = connect_or_fail();
}

static void tear_down(void)
{
	connection = shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static void expect_from(int r, int expected, int line)
{
	ck_assert_msg(r == expected, "line %d: %d instead of %d: %s", line, r, expected,
		      shmd_error_message());
}

#define EXPECT(call, expected) expect_from(call, expected, __LINE__)

static uint64_t read_number(const char *variable, uint64_t standard)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : standard;
}

static void *share(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	return memory;
}

static void become(uid_t uid)
{
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setresgid(uid, uid, uid), 0);
	ck_assert_int_eq(setresuid(uid, uid, uid), 0);
}

/* --- what the daemon tells of itself ---------------------------------------------------------- */

/* Waits and subscriptions. */
static uint64_t waits_seen_by(struct shmd *by)
{
	struct shmd_status *status;
	uint64_t use = 0;
	unsigned n = 0;

	EXPECT(shmd_status(by, &status), 0);
	for (size_t i = 0; i < status->n_limits; i++)
		if (strcmp(status->limits[i]->name, "waits") == 0 ||
		    strcmp(status->limits[i]->name, "subscriptions") == 0) {
			use += status->limits[i]->use;
			n++;
		}
	shmd_status_free(status);
	ck_assert_uint_eq(n, 2);
	return use;
}

static uint64_t waits(void)
{
	return waits_seen_by(connection);
}

/* As many events as there are acts that have one, but for the ends of clients. */
static uint64_t count_acts(void)
{
	static const char *const names[] = {"created",   "attached", "detached", "unlinked",
					    "published", "reaped",   "refused"};
	struct shmd_status *status;
	uint64_t n = 0;

	EXPECT(shmd_status(connection, &status), 0);
	for (size_t i = 0; i < status->n_counters; i++)
		for (size_t j = 0; j < sizeof(names) / sizeof(*names); j++)
			if (strcmp(status->counters[i]->name, names[j]) == 0)
				n += status->counters[i]->value;
	shmd_status_free(status);
	return n;
}

static uint64_t daemon_heap(void)
{
	struct shmd_status *status;

	EXPECT(shmd_status(connection, &status), 0);
	uint64_t bytes = status->heap_bytes;
	shmd_status_free(status);
	return bytes;
}

static double daemon_cpu_ms(void)
{
	char path[64];
	uint64_t ns = 0;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)daemon_.pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%" SCNu64, &ns) != 1)
		ns = 0;
	fclose(file);
	return (double)ns / 1e6;
}

/* Each system call that blocks is one switch at least, when it ends. */
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

/* The daemon's system call is not for everybody to see, but its state is. */
static bool is_asleep(pid_t pid)
{
	char path[64], state = 'X';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
	fclose(file);
	return state == 'S';
}

static void stop(const struct actor *actor)
{
	int status;

	ck_assert_int_eq(kill(actor->pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(actor->pid, &status, WUNTRACED), actor->pid);
	ck_assert(WIFSTOPPED(status));
}

static void go_on(const struct actor *actor)
{
	ck_assert_int_eq(kill(actor->pid, SIGCONT), 0);
}

/* --- segments --------------------------------------------------------------------------------- */

static struct shmd_segment *make(struct shmd *by, const char *name, mode_t mode,
				 enum shmd_lifetime lifetime)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.mode = mode;
	options.lifetime = lifetime;
	options.flags = SHMD_NO_SEMAPHORE;
	EXPECT(shmd_create(by, name, 4096, &options, &segment), 0);
	return segment;
}

/* Makes the next generation of a name, with that text in it. */
static struct shmd_segment *publish(const char *name, const char *text)
{
	struct shmd_segment *segment = make(connection, NULL, 0600, SHMD_LIFETIME_CLIENTS);

	strcpy(shmd_segment_data(segment), text);
	EXPECT(shmd_publish(segment, name, 0), 0);
	return segment;
}

/* --- waiting for a name ----------------------------------------------------------------------- */

#define LONG_MS 20000 /* what would end a wait that nobody answers */

/* One call of shmd_wait() in another process, and what came of it. */
struct waiting {
	const char *name;
	uint64_t newer_than;
	int timeout_ms;
	int flags;
	uid_t uid; /* who waits; 0: the test's own user */
	int result;
	uint64_t generation;
	char text[64];
	char message[512];
};

static void waiter(struct actor *self, void *context)
{
	struct waiting *waiting = context;
	struct shmd_segment *segment;

	if (waiting->uid)
		become(waiting->uid);
	struct shmd *mine = connect_or_fail();
	actor_tell(self);
	waiting->result = shmd_wait(mine, waiting->name, waiting->newer_than, waiting->timeout_ms,
				    waiting->flags, &segment);
	snprintf(waiting->message, sizeof(waiting->message), "%s", shmd_error_message());
	if (waiting->result == 0) {
		waiting->generation = shmd_segment_generation(segment);
		snprintf(waiting->text, sizeof(waiting->text), "%s",
			 (char *)shmd_segment_data(segment));
		shmd_detach(segment);
	}
	shmd_disconnect(mine);
}

static struct waiting *start_waiting(struct actor *actor, const struct waiting *what)
{
	struct waiting *waiting = share(sizeof(*waiting));
	uint64_t before = waits();

	*waiting = *what;
	actor_start(actor, waiter, waiting);
	actor_await(actor);
	AWAIT(waits() == before + 1);
	return waiting;
}

START_TEST(a_wait_ends_when_the_name_comes)
{
	struct shmd_segment *segment;
	struct actor actor;
	struct waiting *waiting = start_waiting(&actor, &(struct waiting){.name = "/seg",
									  .timeout_ms = -1});

	segment = make(connection, "others", 0600, SHMD_LIFETIME_CLIENTS);
	ck_assert_uint_eq(waits(), 1);
	shmd_detach(segment);
	segment = make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS);
	actor_finish(&actor);
	EXPECT(waiting->result, 0);
	ck_assert_uint_eq(waiting->generation, shmd_segment_generation(segment));
	ck_assert_uint_eq(waits(), 0);
	ck_assert_uint_eq(clients_of(connection, "seg"), 1);
	shmd_detach(segment);
}
END_TEST

START_TEST(a_wait_ends_with_a_newer_generation)
{
	struct shmd_segment *first = publish("seg", "first");
	uint64_t known = shmd_segment_generation(first);
	struct actor actor;
	struct waiting *waiting = start_waiting(&actor, &(struct waiting){.name = "seg",
									  .newer_than = known,
									  .timeout_ms = LONG_MS,
									  .flags = SHMD_READ_ONLY});

	/* What it knows is no news, whoever attaches it. */
	shmd_detach(attach_or_fail(connection, "seg", SHMD_READ_ONLY));
	ck_assert_uint_eq(waits(), 1);
	struct shmd_segment *second = publish("seg", "second");
	actor_finish(&actor);
	EXPECT(waiting->result, 0);
	ck_assert_str_eq(waiting->text, "second");
	ck_assert_uint_eq(waiting->generation, shmd_segment_generation(second));
	ck_assert_uint_gt(waiting->generation, known);
	ck_assert_uint_eq(waits(), 0);
	shmd_detach(first);
	shmd_detach(second);
}
END_TEST

/* A name that was dropped, and made anew by another create, has a newer generation, too. */
START_TEST(a_wait_outlives_the_name)
{
	struct shmd_segment *first = make(connection, "seg", 0600, SHMD_LIFETIME_PERSISTENT);
	uint64_t known = shmd_segment_generation(first);
	struct actor actor;
	struct waiting *waiting = start_waiting(&actor, &(struct waiting){.name = "seg",
									  .newer_than = known,
									  .timeout_ms = LONG_MS});

	EXPECT(shmd_unlink(connection, "seg"), 0);
	shmd_detach(first);
	ck_assert_uint_eq(waits(), 1);
	struct shmd_segment *second = make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS);
	actor_finish(&actor);
	EXPECT(waiting->result, 0);
	ck_assert_uint_eq(waiting->generation, shmd_segment_generation(second));
	shmd_detach(second);
}
END_TEST

START_TEST(what_is_there_is_not_waited_for)
{
	struct shmd_segment *segment = make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS), *again;
	uint64_t generation = shmd_segment_generation(segment);

	EXPECT(shmd_wait(connection, "seg", 0, 0, 0, &again), 0);
	ck_assert_uint_eq(shmd_segment_generation(again), generation);
	shmd_detach(again);
	EXPECT(shmd_wait(connection, "seg", generation - 1, LONG_MS, SHMD_READ_ONLY, &again), 0);
	shmd_detach(again);
	EXPECT(shmd_wait(connection, "seg", generation, 0, 0, &again), -ETIMEDOUT);
	shmd_detach(segment);
}
END_TEST

START_TEST(a_wait_ends_with_its_time)
{
	int ms = _i == 0 ? 0 : 50;
	struct shmd_segment *segment = NULL;
	double before = now_ms();

	EXPECT(shmd_wait(connection, "seg", 0, ms, 0, &segment), -ETIMEDOUT);
	double took = now_ms() - before;
	ck_assert_double_ge(took, ms);
	ck_assert_double_le(took, ms + 5000);
	ck_assert_ptr_null(segment);
	ck_assert_str_ne(shmd_error_message(), "");
	ck_assert_uint_eq(waits(), 0);
	/* Nothing of it comes later. */
	segment = make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS);
	ck_assert_uint_eq(clients_of(connection, "seg"), 1);
	shmd_detach(segment);
	await_segments(connection, 0);
	EXPECT(shmd_wait(connection, "seg", 0, -2, 0, &segment), -EINVAL);
}
END_TEST

static volatile sig_atomic_t handled;

static void on_alarm(int signal)
{
	(void)signal;
	handled++;
}

/* Until it has been interrupted: the first may come before the wait. */
static void interrupt_often(int flags)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
	struct itimerval often = {.it_interval.tv_usec = 20000, .it_value.tv_usec = 20000};

	handled = 0;
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
}

/* One with SA_RESTART, too, where there is a time-out, as it does with poll(2). */
START_TEST(a_handler_ends_a_wait)
{
	struct shmd_segment *segment = NULL;

	interrupt_often(_i & 1 ? SA_RESTART : 0);
	int r = shmd_wait(connection, "seg", 0, _i & 2 ? -1 : LONG_MS, 0, &segment);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	EXPECT(r, -EINTR);
	ck_assert_int_gt(handled, 0);
	ck_assert_ptr_null(segment);
	ck_assert_uint_eq(waits(), 0);
	segment = make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS);
	ck_assert_uint_eq(clients_of(connection, "seg"), 1);
	shmd_detach(segment);
}
END_TEST

#define PUBLISHED 10

struct following {
	unsigned answers;
	uint64_t generations[2 * PUBLISHED];
	char last[64];
};

/* Waits for one generation after the other, until one says that it is the last. */
static void follower(struct actor *self, void *context)
{
	struct following *following = context;
	struct shmd *mine = connect_or_fail();
	uint64_t known = 0;

	actor_tell(self);
	while (strcmp(following->last, "last") != 0 && following->answers < PUBLISHED) {
		struct shmd_segment *segment;
		EXPECT(shmd_wait(mine, "seg", known, -1, SHMD_READ_ONLY, &segment), 0);
		known = shmd_segment_generation(segment);
		following->generations[following->answers++] = known;
		strcpy(following->last, shmd_segment_data(segment));
		shmd_detach(segment);
	}
	shmd_disconnect(mine);
}

/* The first answer went out while it was stopped; what it asks for next is the newest. */
START_TEST(a_slow_one_skips_generations)
{
	struct following *following = share(sizeof(*following));
	struct shmd_segment *segments[PUBLISHED];
	struct actor actor;

	actor_start(&actor, follower, following);
	actor_await(&actor);
	AWAIT(waits() == 1);
	stop(&actor);
	for (int i = 0; i < PUBLISHED; i++)
		segments[i] = publish("seg", i + 1 < PUBLISHED ? "early" : "last");
	go_on(&actor);
	actor_finish(&actor);
	ck_assert_str_eq(following->last, "last");
	ck_assert_uint_le(following->answers, 2);
	ck_assert_uint_eq(following->generations[following->answers - 1],
			  shmd_segment_generation(segments[PUBLISHED - 1]));
	ck_assert_uint_eq(waits(), 0);
	EXPECT(shmd_unlink(connection, "seg"), 0);
	for (int i = 0; i < PUBLISHED; i++)
		shmd_detach(segments[i]);
	await_segments(connection, 0);
}
END_TEST

static void maker_who_dies(struct actor *self, void *context)
{
	struct shmd_segment *segment = make(connect_or_fail(), NULL, 0600, SHMD_LIFETIME_CLIENTS);

	(void)context;
	strcpy(shmd_segment_data(segment), "never seen");
	actor_tell(self);
	actor_await(self);
}

START_TEST(a_maker_that_dies_leaves_nothing)
{
	struct actor maker, actor;
	struct waiting *waiting = start_waiting(&actor, &(struct waiting){.name = "seg",
									  .timeout_ms = LONG_MS,
									  .flags = SHMD_READ_ONLY});

	actor_start(&maker, maker_who_dies, NULL);
	actor_await(&maker);
	ck_assert_uint_eq(status_segments(connection), 1);
	actor_kill(&maker);
	await_segments(connection, 0);
	ck_assert_uint_eq(waits(), 1);
	ck_assert(!segment_exists(connection, "seg"));
	struct shmd_segment *segment = publish("seg", "whole");
	actor_finish(&actor);
	EXPECT(waiting->result, 0);
	ck_assert_str_eq(waiting->text, "whole");
	shmd_detach(segment);
}
END_TEST

START_TEST(a_waiter_that_dies_leaves_nothing)
{
	struct actor actor;

	start_waiting(&actor, &(struct waiting){.name = "seg", .timeout_ms = -1});
	actor_kill(&actor);
	AWAIT(waits() == 0);
	struct shmd_segment *segment = make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS);
	ck_assert_uint_eq(clients_of(connection, "seg"), 1);
	shmd_detach(segment);
	await_segments(connection, 0);
}
END_TEST

/* Who waits for a name learns that it may not have it when it is there. */
START_TEST(what_may_not_be_read_is_refused)
{
	struct waiting what = {
		.name = "seg", .timeout_ms = LONG_MS, .flags = SHMD_READ_ONLY, .uid = OTHER_UID};
	struct waiting *later = share(sizeof(*later));
	struct actor actor;

	if (geteuid() != 0) {
		printf("# not root: nobody else to be refused\n");
		return;
	}
	struct waiting *waiting = start_waiting(&actor, &what);
	struct shmd_segment *segment = make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS);
	actor_finish(&actor);
	EXPECT(waiting->result, -EACCES);
	ck_assert_str_ne(waiting->message, "");
	*later = what;
	actor_start(&actor, waiter, later);
	actor_await(&actor);
	actor_finish(&actor);
	EXPECT(later->result, -EACCES);
	ck_assert_uint_eq(waits(), 0);
	ck_assert_uint_eq(clients_of(connection, "seg"), 1);
	shmd_detach(segment);
}
END_TEST

/* --- waits in a program's own loop ------------------------------------------------------------ */

/* What a wait was called back with. */
struct answer {
	int calls;
	int result;
	uint64_t generation;
	char name[32];
	char message[512];
	int order;
};

static int answers;

static void on_answer(int result, struct shmd_segment *segment, void *context)
{
	struct answer *answer = context;

	answer->calls++;
	answer->result = result;
	answer->order = ++answers;
	snprintf(answer->message, sizeof(answer->message), "%s",
		 result < 0 ? shmd_error_message() : "");
	ck_assert_int_eq(segment != NULL, result == 0);
	if (!segment)
		return;
	answer->generation = shmd_segment_generation(segment);
	snprintf(answer->name, sizeof(answer->name), "%s", shmd_segment_name(segment));
	shmd_detach(segment);
}

static void forbidden(int result, struct shmd_segment *segment, void *context)
{
	(void)segment, (void)context;
	ck_abort_msg("a cancelled wait called back with %d", result);
}

static bool is_readable(struct shmd *of, int ms)
{
	struct pollfd fd = {.fd = shmd_get_fd(of), .events = POLLIN};

	ck_assert_int_ge(fd.fd, 0);
	return poll(&fd, 1, ms) == 1;
}

/* Runs the loop until so many calls back; fails the test after 10 s. */
static void dispatch_until(struct shmd *of, const int *count, int n)
{
	double deadline = now_ms() + 10000;

	while (*count < n) {
		ck_assert_msg(now_ms() < deadline, "called back %d times, not %d", *count, n);
		is_readable(of, 1000);
		ck_assert_int_ge(shmd_dispatch(of), 0);
	}
}

static int start_wait(struct shmd *of, const char *name, shmd_wait_fn *fn, void *context)
{
	int number = shmd_wait_start(of, name, 0, SHMD_READ_ONLY, fn, context);

	ck_assert_msg(number > 0, "wait_start: %d %s", number, shmd_error_message());
	return number;
}

START_TEST(started_waits)
{
	struct answer a = {0}, b = {0}, b_too = {0}, there = {0};
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *segment_there = make(connection, "there", 0600, SHMD_LIFETIME_CLIENTS);
	int number = start_wait(mine, "a", on_answer, &a);

	start_wait(mine, "b", on_answer, &b);
	start_wait(mine, "b", on_answer, &b_too);
	int never = start_wait(mine, "a", forbidden, NULL);
	ck_assert_int_ne(number, never);
	AWAIT(waits() == 4);
	ck_assert(!is_readable(mine, 0));
	ck_assert_int_eq(shmd_dispatch(mine), 0);
	EXPECT(shmd_cancel(mine, never), 0);
	ck_assert_uint_eq(waits(), 3);
	start_wait(mine, "there", on_answer, &there);
	dispatch_until(mine, &answers, 1);
	ck_assert_int_eq(there.calls, 1);
	struct shmd_segment *segment_b = make(connection, "b", 0600, SHMD_LIFETIME_CLIENTS);
	dispatch_until(mine, &answers, 3);
	struct shmd_segment *segment_a = make(connection, "a", 0600, SHMD_LIFETIME_CLIENTS);
	dispatch_until(mine, &answers, 4);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(b.calls, 1);
	ck_assert_int_eq(b_too.calls, 1);
	ck_assert_int_eq(a.order, 4);
	ck_assert_int_lt(b.order, b_too.order);
	ck_assert_str_eq(a.name, "a");
	ck_assert_str_eq(b_too.name, "b");
	ck_assert_uint_eq(a.generation, shmd_segment_generation(segment_a));
	EXPECT(shmd_cancel(mine, number), -ENOENT);
	EXPECT(shmd_cancel(mine, never), -ENOENT);
	ck_assert_uint_eq(waits(), 0);
	ck_assert_int_eq(shmd_dispatch(mine), 0);
	shmd_detach(segment_a);
	shmd_detach(segment_b);
	shmd_detach(segment_there);
	shmd_disconnect(mine);
	await_segments(connection, 0);
}
END_TEST

/* Cancelled after the answer has come, and before it was looked at. */
START_TEST(what_a_cancelled_wait_was_given_is_given_back)
{
	struct shmd *mine = connect_or_fail();
	int number = start_wait(mine, "seg", forbidden, NULL);

	AWAIT(waits() == 1);
	struct shmd_segment *segment = make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS);
	AWAIT(waits() == 0);
	ck_assert(is_readable(mine, 10000));
	ck_assert_uint_eq(clients_of(connection, "seg"), 2);
	EXPECT(shmd_cancel(mine, number), 0);
	ck_assert_uint_eq(clients_of(connection, "seg"), 1);
	ck_assert_int_eq(shmd_dispatch(mine), 0);
	shmd_detach(segment);
	await_segments(connection, 0);
	shmd_disconnect(mine);
}
END_TEST

static void no_event(const struct shmd_event *event, void *context)
{
	(void)context;
	ck_abort_msg("an event: %s", shmd_event_name(event->kind));
}

static void count_event(const struct shmd_event *event, void *context)
{
	*(int *)context += event->kind != SHMD_EVENT_LOST;
}

START_TEST(the_limit_of_waits)
{
	static const char named[] = "waits_per_user=2", other[] = "subscriptions_per_user=1";
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *segment;
	struct answer refused = {0};

	int number = start_wait(mine, "a", forbidden, NULL);
	start_wait(mine, "b", forbidden, NULL);
	ck_assert_int_gt(shmd_subscribe(mine, "none", no_event, NULL), 0);
	AWAIT(waits() == 3);
	EXPECT(shmd_wait(mine, "c", 0, LONG_MS, 0, &segment), -EDQUOT);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), named));
	EXPECT(shmd_subscribe(mine, NULL, no_event, NULL), -EDQUOT);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), other));
	start_wait(mine, "c", on_answer, &refused);
	dispatch_until(mine, &answers, 1);
	EXPECT(refused.result, -EDQUOT);
	ck_assert_ptr_nonnull(strstr(refused.message, named));
	ck_assert_uint_eq(waits(), 3);
	EXPECT(shmd_cancel(mine, number), 0);
	EXPECT(shmd_wait(mine, "c", 0, 0, 0, &segment), -ETIMEDOUT);
	shmd_disconnect(mine);
	AWAIT(waits() == 0);
}
END_TEST

static struct answer parents_answer;
static int parents_events;
static int parents_fd;

static void child_of_a_waiter(struct actor *self, void *context)
{
	struct answer own = {0};

	(void)context;
	ck_assert_int_eq(shmd_get_fd(connection), parents_fd);
	start_wait(connection, "childs", on_answer, &own);
	AWAIT(waits() == 3);
	actor_tell(self);
	dispatch_until(connection, &answers, 1);
	ck_assert_int_eq(own.calls, 1);
	EXPECT(own.result, 0);
	/* The parent's. */
	actor_tell(self);
	actor_await(self);
	EXPECT(shmd_wait(connection, "parents", 0, 0, SHMD_READ_ONLY, &(struct shmd_segment *){0}),
	       0);
	ck_assert_int_eq(shmd_dispatch(connection), 0);
	ck_assert_int_eq(parents_answer.calls, 0);
	ck_assert_int_eq(parents_events, 0);
}

START_TEST(forked_child)
{
	struct shmd *other = connect_or_fail();
	struct actor child;

	start_wait(connection, "parents", on_answer, &parents_answer);
	ck_assert_int_gt(shmd_subscribe(connection, "*s", count_event, &parents_events), 0);
	parents_fd = shmd_get_fd(connection);
	actor_start(&child, child_of_a_waiter, NULL);
	actor_await(&child);
	struct shmd_segment *childs = make(other, "childs", 0600, SHMD_LIFETIME_CLIENTS);
	actor_await(&child);
	struct shmd_segment *parents = make(other, "parents", 0600, SHMD_LIFETIME_CLIENTS);
	dispatch_until(connection, &answers, 1);
	actor_tell(&child);
	actor_finish(&child);
	ck_assert_int_eq(parents_answer.calls, 1);
	EXPECT(parents_answer.result, 0);
	/* Created; attached and let go by each of the waiters; attached by the child and let go with it. */
	dispatch_until(connection, &parents_events, 8);
	ck_assert_int_eq(answers, 1);
	shmd_detach(childs);
	shmd_detach(parents);
	shmd_disconnect(other);
	AWAIT(waits() == 1);
}
END_TEST

/* --- what waiting costs ----------------------------------------------------------------------- */

#define IDLE_MS 2000

static void idle_poller(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();

	(void)context;
	start_wait(mine, "never", forbidden, NULL);
	ck_assert_int_gt(shmd_subscribe(mine, NULL, no_event, NULL), 0);
	ck_assert_int_ge(shmd_get_fd(mine), 0);
	actor_tell(self);
	is_readable(mine, -1);
}

START_TEST(waiting_costs_nothing)
{
	struct actor actor, poller;
	char ignored[4096];

	actor_start(&poller, idle_poller, NULL);
	actor_await(&poller);
	AWAIT(waits() == 2);
	start_waiting(&actor, &(struct waiting){.name = "never", .timeout_ms = 60000});
	/* Word of semaphores that daemons of other tests close wakes ours, too. */
	int others = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	ck_assert_int_ge(inotify_add_watch(others, "/dev/shm", IN_CLOSE_WRITE), 0);
	AWAIT(is_asleep(daemon_.pid) && is_asleep(actor.pid) && is_asleep(poller.pid));
	long of_daemon = switches_of(daemon_.pid);
	long of_waiter = switches_of(actor.pid), of_poller = switches_of(poller.pid);
	double cpu = daemon_cpu_ms();
	usleep(IDLE_MS * 1000);
	of_daemon = switches_of(daemon_.pid) - of_daemon;
	of_waiter = switches_of(actor.pid) - of_waiter;
	of_poller = switches_of(poller.pid) - of_poller;
	bool was_quiet = read(others, ignored, sizeof(ignored)) < 0;
	printf("# idle for %d ms: the daemon woke %ld times, %.3f ms of CPU; a waiter %ld, a "
	       "poller %ld\n",
	       IDLE_MS, of_daemon, daemon_cpu_ms() - cpu, of_waiter, of_poller);
	ck_assert_int_eq(of_waiter, 0);
	ck_assert_int_eq(of_poller, 0);
	if (was_quiet && !getenv("SHMD_WRAPPER"))
		ck_assert_int_eq(of_daemon, 0);
	close(others);
	actor_kill(&actor);
	actor_kill(&poller);
	AWAIT(waits() == 0);
}
END_TEST

/* --- thousands -------------------------------------------------------------------------------- */

#define CROWDS      10 /* processes */
#define CONNECTIONS 10 /* of each */
#define HELD_MAX    1000

enum phase { QUIET, BUSY, OVER };

struct thousands {
	unsigned n_per_connection;
	int phase;
	double last_ms;
	uint64_t answered;
	double worst_ms[2]; /* of somebody else's questions, by phase */
	unsigned asked[2];
	unsigned asked_between; /* when some had been answered, and some not */
	uint8_t calls[];        /* of each wait */
};

static struct thousands *thousands;

/* What is given back later, so that the time is that of the answers. */
static struct shmd_segment *held[HELD_MAX];
static unsigned n_held;

static void let_go(void)
{
	while (n_held > 0)
		shmd_detach(held[--n_held]);
}

static double max_ms(double *most, double value)
{
	double seen;

	__atomic_load(most, &seen, __ATOMIC_RELAXED);
	while (value > seen && !__atomic_compare_exchange(most, &seen, &value, false,
							  __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
	return value;
}

static void on_one_of_many(int result, struct shmd_segment *segment, void *context)
{
	max_ms(&thousands->last_ms, now_ms());
	if (result == 0)
		__atomic_fetch_add((uint8_t *)context, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&thousands->answered, 1, __ATOMIC_SEQ_CST);
	held[n_held++] = segment;
	if (n_held == HELD_MAX)
		let_go();
}

static void raise_descriptors(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int next_crowd;

static void wait_with_many(struct actor *self, void *context)
{
	struct shmd *mine[CONNECTIONS];
	struct pollfd fds[CONNECTIONS + 1] = {[CONNECTIONS] = {.fd = self->from, .events = POLLIN}};
	unsigned n = thousands->n_per_connection;
	uint8_t *calls = thousands->calls + *(int *)context * CONNECTIONS * n;

	raise_descriptors();
	for (int i = 0; i < CONNECTIONS; i++) {
		mine[i] = connect_or_fail();
		fds[i] = (struct pollfd){.fd = shmd_get_fd(mine[i]), .events = POLLIN};
		for (unsigned j = 0; j < n; j++)
			start_wait(mine[i], "many", on_one_of_many, calls++);
	}
	actor_tell(self);
	while (!fds[CONNECTIONS].revents) {
		ck_assert_int_gt(poll(fds, CONNECTIONS + 1, -1), 0);
		for (int i = 0; i < CONNECTIONS; i++)
			if (fds[i].revents)
				ck_assert_int_ge(shmd_dispatch(mine[i]), 0);
	}
	actor_await(self);
	let_go();
	actor_tell(self);
	actor_await(self);
	for (int i = 0; i < CONNECTIONS; i++)
		ck_assert_int_eq(shmd_dispatch(mine[i]), 0);
	for (int i = 0; i < CONNECTIONS; i++)
		shmd_disconnect(mine[i]);
}

static int count_segment(const struct shmd_segment_info *info, void *context)
{
	(void)info;
	++*(int *)context;
	return 0;
}

/* Somebody else, who asks all the time. */
static void asker(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();
	int phase, n = 0;

	(void)context;
	uint64_t all = waits_seen_by(mine);
	EXPECT(shmd_list(mine, NULL, count_segment, &n), 0);
	actor_tell(self);
	while ((phase = __atomic_load_n(&thousands->phase, __ATOMIC_SEQ_CST)) != OVER) {
		double before = now_ms();
		uint64_t left = waits_seen_by(mine);
		double middle = now_ms();
		EXPECT(shmd_list(mine, NULL, count_segment, &n), 0);
		max_ms(&thousands->worst_ms[phase], middle - before);
		max_ms(&thousands->worst_ms[phase], now_ms() - middle);
		thousands->asked[phase] += 2;
		thousands->asked_between += left > 0 && left < all;
	}
	shmd_disconnect(mine);
}

static void enter(enum phase phase)
{
	__atomic_store_n(&thousands->phase, phase, __ATOMIC_SEQ_CST);
}

START_TEST(thousands_wait_for_one_name)
{
	uint64_t wanted = read_number("SHMD_TEST_WAITERS", getenv("SHMD_WRAPPER") ? 200 : 5000);
	unsigned each = (unsigned)(wanted + CROWDS * CONNECTIONS - 1) / (CROWDS * CONNECTIONS);
	uint64_t n = (uint64_t)each * CROWDS * CONNECTIONS;
	struct actor crowds[CROWDS], asking;

	thousands = share(sizeof(*thousands) + n);
	thousands->n_per_connection = each;
	for (next_crowd = 0; next_crowd < CROWDS; next_crowd++)
		actor_start(&crowds[next_crowd], wait_with_many, &next_crowd);
	for (int i = 0; i < CROWDS; i++)
		actor_await(&crowds[i]);
	AWAIT(waits() == n);
	actor_start(&asking, asker, NULL);
	actor_await(&asking);
	usleep(300000);
	enter(BUSY);
	double cpu = daemon_cpu_ms();
	struct shmd_segment *segment = make(connection, "many", 0600, SHMD_LIFETIME_CLIENTS);
	double created = now_ms();
	while (__atomic_load_n(&thousands->answered, __ATOMIC_SEQ_CST) < n) {
		ck_assert_msg(now_ms() < created + 60000, "%" PRIu64 " of %" PRIu64 " answered",
			      thousands->answered, n);
		usleep(1000);
	}
	cpu = daemon_cpu_ms() - cpu;
	enter(OVER);
	actor_finish(&asking);
	printf("# %" PRIu64 " waiters in %d processes on %d connections: the last one called back "
	       "%.1f ms after the create had returned; %.1f ms of the daemon's CPU\n",
	       n, CROWDS, CROWDS * CONNECTIONS, thousands->last_ms - created, cpu);
	printf("# meanwhile another client's worst status or list took %.2f ms (of %u; %u between "
	       "two "
	       "answers); before, %.2f ms (of %u)\n",
	       thousands->worst_ms[BUSY], thousands->asked[BUSY], thousands->asked_between,
	       thousands->worst_ms[QUIET], thousands->asked[QUIET]);
	ck_assert_double_lt(thousands->worst_ms[BUSY], 5000);
	/* Some are answered at a time, and then others have their turn. */
	if (n >= 1000)
		ck_assert_uint_gt(thousands->asked_between, 0);
	for (int i = 0; i < CROWDS; i++)
		actor_tell(&crowds[i]);
	for (int i = 0; i < CROWDS; i++)
		actor_await(&crowds[i]);
	ck_assert_uint_eq(waits(), 0);
	ck_assert_uint_eq(clients_of(connection, "many"), 1);
	for (int i = 0; i < CROWDS; i++)
		actor_tell(&crowds[i]);
	for (int i = 0; i < CROWDS; i++)
		actor_finish(&crowds[i]);
	for (uint64_t i = 0; i < n; i++)
		ck_assert_msg(thousands->calls[i] == 1, "wait %" PRIu64 " had %u answers", i,
			      thousands->calls[i]);
	ck_assert_uint_eq(thousands->answered, n);
	shmd_detach(segment);
	await_segments(connection, 0);
}
END_TEST

#define STOPPED_WAITS 2000 /* their answers are more than a socket takes */

static void waiter_who_is_stopped(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();

	(void)context;
	raise_descriptors();
	for (int i = 0; i < STOPPED_WAITS; i++)
		start_wait(mine, "many", on_one_of_many, thousands->calls + i);
	actor_tell(self);
	while (thousands->answered < STOPPED_WAITS) {
		is_readable(mine, -1);
		ck_assert_int_ge(shmd_dispatch(mine), 0);
	}
	let_go();
	ck_assert_int_eq(shmd_dispatch(mine), 0);
	shmd_disconnect(mine);
}

/* One with a full socket keeps nobody waiting, and is answered when it reads. */
START_TEST(a_stopped_waiter_is_answered_later)
{
	struct actor stopped, actor;

	thousands = share(sizeof(*thousands) + STOPPED_WAITS);
	actor_start(&stopped, waiter_who_is_stopped, NULL);
	actor_await(&stopped);
	AWAIT(waits() == STOPPED_WAITS);
	stop(&stopped);
	struct waiting *waiting = start_waiting(&actor, &(struct waiting){.name = "many",
									  .timeout_ms = -1});
	struct shmd_segment *segment = make(connection, "many", 0600, SHMD_LIFETIME_CLIENTS);
	actor_finish(&actor);
	EXPECT(waiting->result, 0);
	uint64_t left = waits();
	printf("# of a stopped client's %d waits, %" PRIu64 " are not answered yet\n",
	       STOPPED_WAITS, left);
	ck_assert_uint_gt(left, 0);
	go_on(&stopped);
	actor_finish(&stopped);
	for (int i = 0; i < STOPPED_WAITS; i++)
		ck_assert_uint_eq(thousands->calls[i], 1);
	ck_assert_uint_eq(waits(), 0);
	ck_assert_uint_eq(clients_of(connection, "many"), 1);
	shmd_detach(segment);
}
END_TEST

/* --- events ----------------------------------------------------------------------------------- */

#define HEARD_MAX 64

struct heard {
	enum shmd_event_kind kind;
	uint64_t time_ns;
	char name[SHMD_NAME_MAX + 1]; /* "" for NULL */
	uint64_t id, size, count;
	pid_t pid;
	uid_t uid;
	int read_only;
	char text[512]; /* likewise */
};

/* What one subscription has heard, until the marker that it waits for. */
struct ear {
	int number;
	char marker[32];
	bool is_over;
	unsigned n;
	struct heard heard[HEARD_MAX];
};

static bool is_marker(const char *name)
{
	return name && strncmp(name, "marker", 6) == 0;
}

static void hear(const struct shmd_event *event, void *context)
{
	struct ear *ear = context;

	ck_assert_msg(event->kind != SHMD_EVENT_LOST, "%" PRIu64 " events were lost", event->count);
	if (is_marker(event->name)) {
		ear->is_over |= strcmp(event->name, ear->marker) == 0;
		return;
	}
	ck_assert_uint_lt(ear->n, HEARD_MAX);
	struct heard *heard = &ear->heard[ear->n++];
	*heard = (struct heard){.kind = event->kind,
				.time_ns = event->time_ns,
				.id = event->id,
				.size = event->size,
				.count = event->count,
				.pid = event->pid,
				.uid = event->uid,
				.read_only = event->read_only};
	snprintf(heard->name, sizeof(heard->name), "%s", event->name ? event->name : "");
	snprintf(heard->text, sizeof(heard->text), "%s", event->text ? event->text : "");
}

static struct ear *subscribe(struct shmd *of, const char *glob)
{
	struct ear *ear = share(sizeof(*ear));

	ear->number = shmd_subscribe(of, glob, hear, ear);
	ck_assert_msg(ear->number > 0, "subscribe: %d %s", ear->number, shmd_error_message());
	return ear;
}

/* Something that everybody may see, as the last that happens. */
static void make_marker(const char *name)
{
	shmd_detach(make(connection, name, 0644, SHMD_LIFETIME_PERSISTENT));
}

static void listen_until(struct shmd *of, struct ear *ear, const char *marker)
{
	double deadline = now_ms() + 10000;

	strcpy(ear->marker, marker);
	ear->is_over = false;
	while (!ear->is_over) {
		ck_assert_msg(now_ms() < deadline, "waited in vain for the event of %s", marker);
		is_readable(of, 1000);
		ck_assert_int_ge(shmd_dispatch(of), 0);
	}
}

/* Everything that has happened up to now. */
static void listen_on(struct shmd *of, struct ear *ear)
{
	static int n;
	char marker[32];

	snprintf(marker, sizeof(marker), "marker-%d", n++);
	/* It may be heard while it is made. */
	strcpy(ear->marker, marker);
	ear->is_over = false;
	make_marker(marker);
	listen_until(of, ear, marker);
}

/* What was heard as text: "created a, attached a". */
static const char *tale(const struct ear *ear)
{
	static char text[HEARD_MAX * 64];
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < ear->n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s%s%s", i ? ", " : "",
				       shmd_event_name(ear->heard[i].kind),
				       ear->heard[i].name[0] ? " " : "", ear->heard[i].name);
	return text;
}

static void expect_actor(const struct heard *heard, pid_t pid, uid_t uid)
{
	ck_assert_msg(heard->pid == pid && heard->uid == uid,
		      "%s %s by pid %d, uid %d; not by pid %d, uid %d",
		      shmd_event_name(heard->kind), heard->name, (int)heard->pid, (int)heard->uid,
		      (int)pid, (int)uid);
}

static void expect_segment(const struct heard *heard, uint64_t id, int read_only)
{
	ck_assert_uint_eq(heard->id, id);
	ck_assert_uint_eq(heard->size, 4096);
	ck_assert_int_eq(heard->read_only, read_only);
	ck_assert_uint_eq(heard->count, 0);
	ck_assert_str_eq(heard->text, "");
}

static void visitor(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();

	(void)self, (void)context;
	shmd_detach(attach_or_fail(mine, "seg", SHMD_READ_ONLY));
	shmd_disconnect(mine);
}

static uint64_t realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

START_TEST(events_of_segments)
{
	struct shmd *other = connect_or_fail();
	struct ear *ear = subscribe(other, NULL);
	uint64_t began = realtime_ns();
	struct actor actor;

	struct shmd_segment *segment = make(connection, "seg", 0600, SHMD_LIFETIME_PERSISTENT);
	uint64_t id = shmd_segment_generation(segment);
	actor_start(&actor, visitor, NULL);
	actor_finish(&actor);
	EXPECT(shmd_unlink(connection, "seg"), 0);
	shmd_detach(segment);
	await_segments(connection, 0);
	struct shmd_segment *gone = make(connection, "gone", 0600, SHMD_LIFETIME_CLIENTS);
	uint64_t gone_id = shmd_segment_generation(gone);
	shmd_detach(gone);
	await_segments(connection, 0);
	listen_on(other, ear);
	uint64_t ended = realtime_ns();
	ck_assert_str_eq(tale(ear), "created seg, attached seg, detached seg, unlinked seg, "
				    "detached, created gone, detached gone, reaped gone");
	for (unsigned i = 0; i < 8; i++) {
		const struct heard *heard = &ear->heard[i];
		bool by_visitor = i == 1 || i == 2;
		expect_segment(heard, i < 5 ? id : gone_id, by_visitor);
		if (heard->kind == SHMD_EVENT_REAPED)
			expect_actor(heard, 0, getuid());
		else
			expect_actor(heard, by_visitor ? actor.pid : getpid(), getuid());
		/* Its clock and ours may be a little apart. */
		ck_assert_uint_ge(heard->time_ns + 10000000, began);
		ck_assert_uint_le(heard->time_ns, ended + 10000000);
		ck_assert(i == 0 || heard->time_ns >= heard[-1].time_ns);
	}
	shmd_disconnect(other);
}
END_TEST

START_TEST(events_of_publishing)
{
	struct shmd *other = connect_or_fail();
	struct ear *ear = subscribe(other, NULL), *named = subscribe(other, "[ps]*");

	/* Both ends hear it: the name counts for the glob. */
	struct shmd_segment *segment = make(connection, NULL, 0600, SHMD_LIFETIME_CLIENTS);
	uint64_t before = shmd_segment_generation(segment);
	EXPECT(shmd_publish(segment, "pub", 0), 0);
	uint64_t after = shmd_segment_generation(segment);
	EXPECT(shmd_unlink(connection, "pub"), 0);
	shmd_detach(segment);
	await_segments(connection, 0);
	listen_on(other, ear);
	ck_assert_str_eq(tale(ear), "created, published pub, unlinked pub, detached");
	ck_assert_uint_ne(before, after);
	for (unsigned i = 0; i < 4; i++) {
		expect_segment(&ear->heard[i], i == 0 ? before : after, 0);
		expect_actor(&ear->heard[i], getpid(), getuid());
	}
	ck_assert_str_eq(tale(named), "published pub, unlinked pub");
	shmd_disconnect(other);
}
END_TEST

static void holder_who_dies(struct actor *self, void *context)
{
	struct shmd_segment *segment = attach_or_fail(connect_or_fail(), "seg", 0);

	(void)context;
	EXPECT(shmd_acquire(segment, 0), 0);
	EXPECT(shmd_acquire(segment, 0), 0);
	actor_tell(self);
	actor_await(self);
}

START_TEST(events_of_a_death)
{
	struct shmd *other = connect_or_fail();
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct actor actor;

	options.permits = 3;
	EXPECT(shmd_create(connection, "seg", 4096, &options, &segment), 0);
	uint64_t id = shmd_segment_generation(segment);
	struct ear *ear = subscribe(other, "seg");
	actor_start(&actor, holder_who_dies, NULL);
	actor_await(&actor);
	actor_kill(&actor);
	/* Its connection and its process end at two moments, in either order. */
	double deadline = now_ms() + 10000;
	while (ear->n < 3 && now_ms() < deadline) {
		is_readable(other, 100);
		ck_assert_int_ge(shmd_dispatch(other), 0);
	}
	ck_assert_uint_eq(ear->n, 3);
	bool is_last = ear->heard[2].kind == SHMD_EVENT_RECOVERED;
	struct heard *detached = &ear->heard[is_last ? 1 : 2],
		     *recovered = &ear->heard[is_last + 1];
	ck_assert_int_eq(ear->heard[0].kind, SHMD_EVENT_ATTACHED);
	ck_assert_int_eq(detached->kind, SHMD_EVENT_DETACHED);
	ck_assert_int_eq(recovered->kind, SHMD_EVENT_RECOVERED);
	expect_actor(&ear->heard[0], actor.pid, getuid());
	expect_actor(detached, actor.pid, getuid());
	expect_actor(recovered, 0, getuid());
	expect_segment(detached, id, 0);
	ck_assert_uint_eq(recovered->count, 2);
	ck_assert_uint_eq(recovered->id, id);
	ck_assert_str_eq(recovered->name, "seg");
	shmd_detach(segment);
	shmd_disconnect(other);
}
END_TEST

START_TEST(events_of_refusals)
{
	struct shmd *other = connect_or_fail();
	struct shmd_segment *segment;
	struct ear *ear = subscribe(other, NULL), *named = subscribe(other, "[n-z]*");

	EXPECT(shmd_attach(connection, "none", 0, &segment), -ENOENT);
	char message[512];
	strcpy(message, shmd_error_message());
	listen_on(other, ear);
	ck_assert_str_eq(tale(ear), "refused");
	expect_actor(&ear->heard[0], getpid(), getuid());
	ck_assert_str_eq(ear->heard[0].text, message);
	ck_assert_uint_eq(ear->heard[0].id, 0);
	ck_assert_uint_eq(ear->heard[0].size, 0);
	ck_assert_uint_eq(named->n, 0);
	shmd_disconnect(other);
}
END_TEST

START_TEST(globs)
{
	static const char *const names[] = {"ax", "b1", "c", "a", "b22", "a*"};
	struct shmd *other = connect_or_fail();
	struct ear *all = subscribe(other, NULL), *a = subscribe(other, "a*"),
		   *b = subscribe(other, "b?"), *none = subscribe(other, "d"),
		   *literal = subscribe(other, "a\\*");

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		make(connection, names[i], 0600, SHMD_LIFETIME_PERSISTENT);
	listen_on(other, all);
	ck_assert_str_eq(tale(all), "created ax, created b1, created c, created a, created b22, "
				    "created a*");
	ck_assert_str_eq(tale(a), "created ax, created a, created a*");
	ck_assert_str_eq(tale(b), "created b1");
	ck_assert_str_eq(tale(literal), "created a*");
	ck_assert_uint_eq(none->n, 0);
	EXPECT(shmd_subscribe(other, "", no_event, NULL), -EINVAL);
	shmd_disconnect(other);
}
END_TEST

START_TEST(only_what_happens_between)
{
	struct shmd *other = connect_or_fail();
	/* Somebody has listened before, so that it is kept. */
	struct ear *first = subscribe(other, NULL);

	make(connection, "before", 0600, SHMD_LIFETIME_PERSISTENT);
	struct ear *second = subscribe(other, NULL);
	ck_assert_int_ne(first->number, second->number);
	ck_assert_uint_eq(waits(), 2);
	make(connection, "between", 0600, SHMD_LIFETIME_PERSISTENT);
	listen_on(other, first);
	EXPECT(shmd_cancel(other, second->number), 0);
	EXPECT(shmd_cancel(other, second->number), -ENOENT);
	ck_assert_uint_eq(waits(), 1);
	make(connection, "after", 0600, SHMD_LIFETIME_PERSISTENT);
	listen_on(other, first);
	ck_assert_str_eq(tale(first), "created before, created between, created after");
	ck_assert_str_eq(tale(second), "created between");
	shmd_disconnect(other);
	AWAIT(waits() == 0);
}
END_TEST

/* What has arrived and was not called back for is not called back after a cancel. */
START_TEST(what_was_queued_ends_with_a_cancel)
{
	struct shmd *other = connect_or_fail();
	struct ear *all = subscribe(other, NULL);
	int number = shmd_subscribe(other, NULL, no_event, NULL);

	make(connection, "seg", 0600, SHMD_LIFETIME_PERSISTENT);
	/* Answers that are read bring the events in. */
	AWAIT(is_readable(other, 1000));
	status_segments(other);
	EXPECT(shmd_cancel(other, number), 0);
	listen_on(other, all);
	ck_assert_str_eq(tale(all), "created seg");
	shmd_disconnect(other);
}
END_TEST

START_TEST(the_descriptor_tells_of_events)
{
	struct ear *ear = subscribe(connection, NULL);
	struct shmd *other = connect_or_fail();

	ck_assert(!is_readable(connection, 0));
	struct shmd_segment *segment = make(other, "a", 0600, SHMD_LIFETIME_PERSISTENT);
	ck_assert(is_readable(connection, 10000));
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert(!is_readable(connection, 0));
	/* Events that another call has taken in on the way are told of, too. */
	shmd_detach(segment);
	AWAIT(is_readable(connection, 1000));
	for (int i = 0; i < 3; i++)
		status_segments(connection);
	ck_assert(is_readable(connection, 0));
	ck_assert_int_eq(shmd_dispatch(connection), 1);
	ck_assert(!is_readable(connection, 0));
	ck_assert_int_eq(shmd_dispatch(connection), 0);
	ck_assert_str_eq(tale(ear), "created a, detached a");
	shmd_disconnect(other);
}
END_TEST

/* A subscriber of another user. */
struct listening {
	uid_t uid;
	pid_t pid;
	struct ear *ear;
};

static void listener(struct actor *self, void *context)
{
	struct listening *listening = context;

	become(listening->uid);
	struct shmd *mine = connect_or_fail();
	listening->pid = getpid();
	listening->ear->number = shmd_subscribe(mine, NULL, hear, listening->ear);
	ck_assert_int_gt(listening->ear->number, 0);
	actor_tell(self);
	actor_await(self);
	listen_until(mine, listening->ear, "marker-users");
	shmd_disconnect(mine);
}

static void start_listener(struct actor *actor, struct listening *listening, uid_t uid)
{
	listening->uid = uid;
	listening->ear = share(sizeof(struct ear));
	actor_start(actor, listener, listening);
	actor_await(actor);
}

static pid_t *acting_pids;

/* Another user's acts. */
static void acting_owner(struct actor *self, void *context)
{
	struct shmd_segment *ignored;

	(void)self, (void)context;
	become(OWNER_UID);
	struct shmd *mine = connect_or_fail();
	acting_pids[0] = getpid();
	make(mine, "private", 0600, SHMD_LIFETIME_PERSISTENT);
	make(mine, "public", 0644, SHMD_LIFETIME_PERSISTENT);
	EXPECT(shmd_attach(mine, "none", 0, &ignored), -ENOENT);
	actor_tell(self);
	actor_await(self);
}

static void acting_other(struct actor *self, void *context)
{
	struct shmd_segment *ignored;

	(void)self, (void)context;
	become(OTHER_UID);
	struct shmd *mine = connect_or_fail();
	acting_pids[1] = getpid();
	EXPECT(shmd_attach(mine, "private", SHMD_READ_ONLY, &ignored), -EACCES);
	attach_or_fail(mine, "public", SHMD_READ_ONLY);
	actor_tell(self);
	actor_await(self);
}

START_TEST(users_hear_of_what_they_may_see)
{
	struct actor owner, other, owning, acting;
	struct listening *listening = share(2 * sizeof(*listening));
	struct shmd *mine;

	if (geteuid() != 0) {
		printf("# not root: there is only one user\n");
		return;
	}
	acting_pids = share(2 * sizeof(pid_t));
	start_listener(&owner, &listening[0], OWNER_UID);
	start_listener(&other, &listening[1], OTHER_UID);
	mine = connect_or_fail();
	struct ear *all = subscribe(mine, NULL);
	actor_start(&owning, acting_owner, NULL);
	actor_await(&owning);
	actor_start(&acting, acting_other, NULL);
	actor_await(&acting);
	struct shmd_segment *segment = attach_or_fail(connection, "public", SHMD_READ_ONLY);
	make_marker("marker-users");
	actor_tell(&owner);
	actor_tell(&other);
	actor_finish(&owner);
	actor_finish(&other);
	listen_on(mine, all);

	pid_t pids[] = {acting_pids[0], acting_pids[0], acting_pids[0],
			acting_pids[1], acting_pids[1], getpid()};
	uid_t uids[] = {OWNER_UID, OWNER_UID, OWNER_UID, OTHER_UID, OTHER_UID, 0};
	ck_assert_str_eq(tale(all), "created private, created public, refused, refused, "
				    "attached public, attached public");
	for (int i = 0; i < 6; i++)
		expect_actor(&all->heard[i], pids[i], uids[i]);

	const struct ear *owners = listening[0].ear, *others = listening[1].ear;
	static const int owners_own[] = {0, 1, 2, 4, 5};
	ck_assert_str_eq(tale(owners), "created private, created public, refused, "
				       "attached public, attached public");
	for (int i = 0; i < 5; i++)
		expect_actor(&owners->heard[i], pids[owners_own[i]], uids[owners_own[i]]);

	/* Its own acts it knows. */
	ck_assert_str_eq(tale(others), "created public, refused, attached public, attached public");
	expect_actor(&others->heard[0], 0, (uid_t)-1);
	expect_actor(&others->heard[1], acting_pids[1], OTHER_UID);
	expect_actor(&others->heard[2], acting_pids[1], OTHER_UID);
	expect_actor(&others->heard[3], 0, (uid_t)-1);
	ck_assert_ptr_null(strstr(others->heard[1].text, "pid"));

	actor_kill(&owning);
	actor_kill(&acting);
	shmd_detach(segment);
	shmd_disconnect(mine);
}
END_TEST

#define THREAD_ROUNDS 3000

static void *make_often(void *context)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_NO_SEMAPHORE;
	for (int i = 0; i < *(int *)context; i++) {
		if (shmd_create(connection, "often", 4096, &options, &segment) < 0)
			return (void *)"cannot create";
		shmd_detach(segment);
	}
	return NULL;
}

/* Of one segment after the other: created, detached, reaped. */
struct sequence {
	int n;
	uint64_t id;
	bool is_bad;
};

static void follow_sequence(const struct shmd_event *event, void *context)
{
	static const enum shmd_event_kind kinds[] = {SHMD_EVENT_CREATED, SHMD_EVENT_DETACHED,
						     SHMD_EVENT_REAPED};
	struct sequence *sequence = context;
	int place = sequence->n++ % 3;

	if (event->kind != kinds[place] ||
	    (place == 0 ? event->id <= sequence->id : event->id != sequence->id))
		sequence->is_bad = true;
	sequence->id = event->id;
}

/* Both read from the socket, whoever comes first. */
START_TEST(events_and_answers_share_a_connection)
{
	struct sequence first = {0}, second = {0};
	int rounds = getenv("SHMD_WRAPPER") ? THREAD_ROUNDS / 10 : THREAD_ROUNDS;
	pthread_t thread;
	void *complaint;

	ck_assert_int_gt(shmd_subscribe(connection, NULL, follow_sequence, &first), 0);
	ck_assert_int_gt(shmd_subscribe(connection, "often", follow_sequence, &second), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, make_often, &rounds), 0);
	dispatch_until(connection, &first.n, 3 * rounds);
	ck_assert_int_eq(pthread_join(thread, &complaint), 0);
	ck_assert_msg(!complaint, "%s", (char *)complaint);
	dispatch_until(connection, &second.n, 3 * rounds);
	ck_assert_int_eq(shmd_dispatch(connection), 0);
	ck_assert_int_eq(first.n, 3 * rounds);
	ck_assert_int_eq(second.n, 3 * rounds);
	ck_assert(!first.is_bad && !second.is_bad);
}
END_TEST

static void subscriber_who_dies(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();

	(void)context;
	for (int i = 0; i < 50; i++)
		ck_assert_int_gt(shmd_subscribe(mine, NULL, hear, NULL), 0);
	actor_tell(self);
	actor_await(self);
}

START_TEST(a_subscriber_that_dies_leaves_nothing)
{
	struct actor actor;
	uint64_t before = daemon_heap();

	actor_start(&actor, subscriber_who_dies, NULL);
	actor_await(&actor);
	ck_assert_uint_eq(waits(), 50);
	uint64_t meanwhile = daemon_heap();
	for (int i = 0; i < 100; i++)
		shmd_detach(make(connection, "seg", 0600, SHMD_LIFETIME_CLIENTS));
	actor_kill(&actor);
	AWAIT(waits() == 0);
	await_segments(connection, 0);
	uint64_t after = daemon_heap();
	printf("# the daemon's heap: %" PRIu64 " KiB, with 50 subscriptions %" PRIu64
	       " KiB, after them %" PRIu64 " KiB\n",
	       before >> 10, meanwhile >> 10, after >> 10);
	ck_assert_uint_le(after, before + (64 << 10));
	/* Nobody is told any more. */
	make(connection, "seg", 0600, SHMD_LIFETIME_PERSISTENT);
}
END_TEST

/* --- one that does not read ------------------------------------------------------------------- */

#define PRODUCERS 3
#define LATENCIES 400 /* buckets, of a tenth of an octave */
#define HEAP_ROOM (4u << 20)
#define KEPT      5000 /* events */

#define SUBSCRIBERS 30 /* more than are told before others get their turn */
#define SUBSCRIBED  3  /* connections of theirs */
#define TOLD        12000
#define STALLED_MS  100 /* nobody who has a processor is away for so long */

struct flood {
	int phase;
	struct {
		uint64_t events;
		uint64_t latencies[2][LATENCIES]; /* by phase */
	} producers[PRODUCERS];
	struct subscriber {
		uint64_t heard, lost, losses;
		double worst_gap_ms; /* between two looks */
		bool has_ended;
	} subscribers[SUBSCRIBERS];
};

static struct flood *flood;
static int next_actor;

static unsigned bucket_of(double us)
{
	unsigned i = 0;

	for (double bound = 1; bound < us && i < LATENCIES - 1; bound *= 1.0718)
		i++;
	return i;
}

static double percentile(int phase, double share_of)
{
	uint64_t counts[LATENCIES] = {0}, all = 0, seen = 0;
	double bound = 1;

	for (int i = 0; i < PRODUCERS; i++)
		for (int j = 0; j < LATENCIES; j++) {
			counts[j] += flood->producers[i].latencies[phase][j];
			all += flood->producers[i].latencies[phase][j];
		}
	for (int j = 0; j < LATENCIES; j++, bound *= 1.0718) {
		seen += counts[j];
		if ((double)seen >= share_of * (double)all)
			break;
	}
	return bound;
}

static void produce(struct shmd *mine, int which, unsigned round)
{
	int phase = __atomic_load_n(&flood->phase, __ATOMIC_SEQ_CST);
	char name[32];
	double before = now_ms();
	struct shmd_segment *segment = attach_or_fail(mine, "base", SHMD_READ_ONLY);

	if (phase != OVER)
		flood->producers[which].latencies[phase][bucket_of((now_ms() - before) * 1e3)]++;
	shmd_detach(segment);
	__atomic_add_fetch(&flood->producers[which].events, 2, __ATOMIC_SEQ_CST);
	if (round % 16 != 0)
		return;
	snprintf(name, sizeof(name), "of-%d", which);
	shmd_detach(make(mine, name, 0600, SHMD_LIFETIME_CLIENTS));
	__atomic_add_fetch(&flood->producers[which].events, 3, __ATOMIC_SEQ_CST);
}

static void producer(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();
	int which = *(int *)context;

	actor_tell(self);
	actor_await(self);
	for (unsigned round = 0; __atomic_load_n(&flood->phase, __ATOMIC_SEQ_CST) != OVER; round++)
		produce(mine, which, round);
	shmd_disconnect(mine);
}

static void count(const struct shmd_event *event, void *context)
{
	struct subscriber *subscriber = context;

	if (event->kind == SHMD_EVENT_LOST) {
		subscriber->lost += event->count;
		subscriber->losses++;
	} else if (event->name && strcmp(event->name, "end") == 0) {
		subscriber->has_ended = true;
	} else if (!subscriber->has_ended) {
		subscriber->heard++;
	}
}

static void subscriber(struct actor *self, void *context)
{
	struct subscriber *counts = &flood->subscribers[*(int *)context];
	struct shmd *mine = connect_or_fail();

	ck_assert_int_gt(shmd_subscribe(mine, NULL, count, counts), 0);
	actor_tell(self);
	actor_await(self);
	double before = now_ms();
	while (!counts->has_ended) {
		is_readable(mine, -1);
		ck_assert_int_ge(shmd_dispatch(mine), 0);
		double now = now_ms();
		if (counts->heard > 0 && now - before > counts->worst_gap_ms)
			counts->worst_gap_ms = now - before;
		before = now;
	}
	shmd_disconnect(mine);
}

static uint64_t produced(void)
{
	uint64_t n = 0;

	for (int i = 0; i < PRODUCERS; i++)
		n += __atomic_load_n(&flood->producers[i].events, __ATOMIC_SEQ_CST);
	return n;
}

/* Lets it flow for so long; returns events a second, and the most that the daemon's heap was. */
static double flow(double ms, uint64_t *most)
{
	double began = now_ms(), until = began + ms;
	uint64_t before = produced();

	while (now_ms() < until) {
		uint64_t bytes = daemon_heap();
		*most = bytes > *most ? bytes : *most;
		usleep(20000);
	}
	return (double)(produced() - before) / (now_ms() - began) * 1e3;
}

static void start_all(struct actor *actors, int n, actor_fn *fn)
{
	for (next_actor = 0; next_actor < n; next_actor++) {
		actor_start(&actors[next_actor], fn, &next_actor);
		actor_await(&actors[next_actor]);
	}
	for (int i = 0; i < n; i++)
		actor_tell(&actors[i]);
}

START_TEST(who_does_not_read_holds_up_nobody)
{
	double stopped_ms = (double)read_number("SHMD_TEST_STOPPED_MS",
						getenv("SHMD_TEST_LARGE") ? 10000 : 1500);
	struct shmd_segment *base = make(connection, "base", 0600, SHMD_LIFETIME_CLIENTS);
	struct actor producers[PRODUCERS], subscribers[2];
	uint64_t heap_at_first = daemon_heap(), most = 0, before;

	flood = share(sizeof(*flood));
	flood->phase = QUIET;
	start_all(subscribers, 2, subscriber);
	uint64_t acts = count_acts();
	before = daemon_heap();
	start_all(producers, PRODUCERS, producer);
	double rate = flow(500, &most);
	stop(&subscribers[1]);
	__atomic_store_n(&flood->phase, BUSY, __ATOMIC_SEQ_CST);
	uint64_t n_then = produced();
	double rate_then = flow(stopped_ms, &most);
	n_then = produced() - n_then;
	go_on(&subscribers[1]);
	flow(200, &most);
	__atomic_store_n(&flood->phase, OVER, __ATOMIC_SEQ_CST);
	for (int i = 0; i < PRODUCERS; i++)
		actor_finish(&producers[i]);
	await_segments(connection, 1);
	uint64_t n = produced();
	ck_assert_uint_eq(count_acts() - acts, n);
	struct shmd_segment *end = make(connection, "end", 0600, SHMD_LIFETIME_CLIENTS);
	for (int i = 0; i < 2; i++)
		actor_finish(&subscribers[i]);

	const struct subscriber *reads = &flood->subscribers[0], *slow = &flood->subscribers[1];
	bool is_loaded = reads->worst_gap_ms > STALLED_MS;
	printf("# %.0f events/s by %d producers, and %.0f while one of two subscribers was stopped "
	       "for %.0f ms\n",
	       rate, PRODUCERS, rate_then, stopped_ms);
	printf("# %" PRIu64 " events: one heard %" PRIu64 " (worst gap %.1f ms); the stopped one "
	       "%" PRIu64 ", and of %" PRIu64 " in %" PRIu64 " places that they were lost%s\n",
	       n, reads->heard, reads->worst_gap_ms, slow->heard, slow->lost, slow->losses,
	       is_loaded ? "; the machine was loaded" : "");
	printf("# an attach took %.0f us (p50), %.0f us (p99); while one was stopped, %.0f and "
	       "%.0f us\n",
	       percentile(QUIET, 0.5), percentile(QUIET, 0.99), percentile(BUSY, 0.5),
	       percentile(BUSY, 0.99));
	printf("# the daemon's heap: %" PRIu64 " KiB without subscribers, %" PRIu64
	       " KiB with them, at most %" PRIu64 " KiB\n",
	       heap_at_first >> 10, before >> 10, most >> 10);
	/* More than the daemon and a socket keep; but not on a slow machine. */
	if (n_then > KEPT)
		ck_assert_uint_gt(slow->lost, 0);
	ck_assert_uint_le(most, before + HEAP_ROOM);
	ck_assert_uint_eq(slow->heard + slow->lost, n);
	ck_assert_uint_eq(reads->heard + reads->lost, n);
	/* On a machine that has no time for it, who reads is late as well. */
	if (!is_loaded)
		ck_assert_uint_eq(reads->heard, n);
	shmd_detach(end);
	shmd_detach(base);
	AWAIT(waits() == 0);
	await_segments(connection, 0);
	ck_assert_uint_le(daemon_heap(), heap_at_first + (256 << 10));
}
END_TEST

static bool have_ended(void)
{
	for (int i = 0; i < SUBSCRIBERS; i++)
		if (!flood->subscribers[i].has_ended)
			return false;
	return true;
}

static void dispatch_once(struct shmd **mine)
{
	struct pollfd fds[SUBSCRIBED];

	for (int i = 0; i < SUBSCRIBED; i++)
		fds[i] = (struct pollfd){.fd = shmd_get_fd(mine[i]), .events = POLLIN};
	ck_assert_int_ge(poll(fds, SUBSCRIBED, 10), 0);
	for (int i = 0; i < SUBSCRIBED; i++)
		ck_assert_int_ge(shmd_dispatch(mine[i]), 0);
}

/* What one is told is not at the cost of another. */
START_TEST(every_subscriber_has_its_turn)
{
	struct shmd_segment *base = make(connection, "base", 0600, SHMD_LIFETIME_CLIENTS);
	struct shmd *mine[SUBSCRIBED];
	struct actor producers[PRODUCERS];
	uint64_t least = UINT64_MAX, n;

	flood = share(sizeof(*flood));
	flood->phase = QUIET;
	for (int i = 0; i < SUBSCRIBED; i++)
		mine[i] = connect_or_fail();
	for (int i = 0; i < SUBSCRIBERS; i++)
		ck_assert_int_gt(shmd_subscribe(mine[i % SUBSCRIBED], NULL, count,
						&flood->subscribers[i]),
				 0);
	start_all(producers, PRODUCERS, producer);
	while (produced() < TOLD)
		dispatch_once(mine);
	__atomic_store_n(&flood->phase, OVER, __ATOMIC_SEQ_CST);
	for (int i = 0; i < PRODUCERS; i++)
		actor_finish(&producers[i]);
	await_segments(connection, 1);
	struct shmd_segment *end = make(connection, "end", 0600, SHMD_LIFETIME_CLIENTS);
	while (!have_ended())
		dispatch_once(mine);
	n = produced();
	for (int i = 0; i < SUBSCRIBERS; i++) {
		const struct subscriber *one = &flood->subscribers[i];
		ck_assert_msg(one->heard + one->lost == n,
			      "the %dth of %d subscribers heard %" PRIu64 " and lost %" PRIu64
			      " of %" PRIu64,
			      i + 1, SUBSCRIBERS, one->heard, one->lost, n);
		least = one->heard < least ? one->heard : least;
	}
	printf("# %d subscribers in one process: each heard at least %" PRIu64 " of %" PRIu64
	       " events, and of the others that they were lost\n",
	       SUBSCRIBERS, least, n);
	for (int i = 0; i < SUBSCRIBED; i++)
		shmd_disconnect(mine[i]);
	shmd_detach(end);
	shmd_detach(base);
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

static void add_waiting(Suite *suite)
{
	TCase *tests = add_case(suite, "waiting");

	tcase_add_test(tests, a_wait_ends_when_the_name_comes);
	tcase_add_test(tests, a_wait_ends_with_a_newer_generation);
	tcase_add_test(tests, a_wait_outlives_the_name);
	tcase_add_test(tests, what_is_there_is_not_waited_for);
	tcase_add_loop_test(tests, a_wait_ends_with_its_time, 0, 2);
	tcase_add_loop_test(tests, a_handler_ends_a_wait, 0, 3);
	tcase_add_test(tests, a_slow_one_skips_generations);
	tcase_add_test(tests, a_maker_that_dies_leaves_nothing);
	tcase_add_test(tests, a_waiter_that_dies_leaves_nothing);
	tcase_add_test(tests, what_may_not_be_read_is_refused);
	tcase_add_test(tests, started_waits);
	tcase_add_test(tests, what_a_cancelled_wait_was_given_is_given_back);
	tcase_add_test(tests, forked_child);
	tcase_add_test(tests, waiting_costs_nothing);
	tcase_add_test(tests, thousands_wait_for_one_name);
	tcase_add_test(tests, a_stopped_waiter_is_answered_later);
}

static void add_limit(Suite *suite)
{
	TCase *tests = tcase_create("limit");

	tcase_add_checked_fixture(tests, set_up_few_waits, tear_down);
	tcase_set_timeout(tests, 120);
	suite_add_tcase(suite, tests);
	tcase_add_test(tests, the_limit_of_waits);
}

static void add_events(Suite *suite)
{
	TCase *tests = add_case(suite, "events");

	tcase_add_test(tests, events_of_segments);
	tcase_add_test(tests, events_of_publishing);
	tcase_add_test(tests, events_of_a_death);
	tcase_add_test(tests, events_of_refusals);
	tcase_add_test(tests, globs);
	tcase_add_test(tests, only_what_happens_between);
	tcase_add_test(tests, what_was_queued_ends_with_a_cancel);
	tcase_add_test(tests, the_descriptor_tells_of_events);
	tcase_add_test(tests, users_hear_of_what_they_may_see);
	tcase_add_test(tests, events_and_answers_share_a_connection);
	tcase_add_test(tests, a_subscriber_that_dies_leaves_nothing);
	tcase_add_test(tests, who_does_not_read_holds_up_nobody);
	tcase_add_test(tests, every_subscriber_has_its_turn);
}

int main(void)
{
	Suite *suite = suite_create("events");

	add_waiting(suite);
	add_limit(suite);
	add_events(suite);
	return run_suite(suite);
}

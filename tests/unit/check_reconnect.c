/* SPDX-License-Identifier: MIT */
/*
 * What programs notice of a daemon that dies: nothing, if the next one knows them, and as little as possible,
 * if it does not. mortal.c is the daemon.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mortal.h"
#include "unit.h"

#include "libshmd/shmd.h"
#include "wire/protocol.h"

static const char *path;
static struct shmd *connection;
static struct shmd_segment *held; /* "held", for writing; attached before each test */
static struct shmd_options plain = SHMD_OPTIONS_INIT;

#define assert_works(call)                                                                         \
	do {                                                                                       \
		int works_r_ = (call);                                                             \
		ck_assert_msg(works_r_ >= 0, "%s: %d, %s", #call, works_r_, shmd_error_message()); \
	} while (0)

static void set_up(void)
{
	path = mortal_start();
	plain.flags = SHMD_NO_SEMAPHORE;
	assert_works(shmd_connect(&connection, path));
	assert_works(shmd_create(connection, "held", MORTAL_SIZE, &plain, &held));
	strcpy(shmd_segment_data(held), "mine");
}

static void check_no_complaint(void)
{
	ck_assert_msg(!mortal_complaint(), "%s", mortal_complaint());
}

static void tear_down(void)
{
	check_no_complaint();
	held = shmd_detach(held);
	connection = shmd_disconnect(connection);
	mortal_stop();
}

static int status_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The daemon closes a connection as soon as it has read of its end. */
static void wait_for_connections(unsigned n)
{
	while (mortal_connections() != n)
		sched_yield();
}

/* --- each operation --------------------------------------------------------------------------- */

static void do_status(void)
{
	struct shmd_status *status;

	assert_works(shmd_status(connection, &status));
	shmd_status_free(status);
}

static void do_create(void)
{
	struct shmd_segment *segment;

	assert_works(shmd_create(connection, "new", MORTAL_SIZE, &plain, &segment));
	ck_assert(shmd_segment_is_new(segment));
	ck_assert_str_eq(shmd_segment_name(segment), "new");
	ck_assert_uint_eq(mortal_attached_to(shmd_segment_generation(segment), false), 1);
	shmd_detach(segment);
}

static void do_create_anonymous(void)
{
	struct shmd_segment *segment;

	assert_works(shmd_create(connection, NULL, MORTAL_SIZE, &plain, &segment));
	ck_assert_uint_eq(mortal_attached_to(shmd_segment_generation(segment), false), 1);
	ck_assert_uint_eq(mortal_attached(), 2);
	shmd_detach(segment);
}

static void do_attach(void)
{
	struct shmd_segment *segment;

	assert_works(shmd_attach(connection, "held", SHMD_READ_ONLY, &segment));
	ck_assert_uint_eq(mortal_attached_to(shmd_segment_generation(segment), true), 1);
	ck_assert_str_eq(shmd_segment_data(segment), "mine");
	shmd_detach(segment);
}

static void do_detach(void)
{
	struct shmd_segment *segment;

	assert_works(shmd_attach(connection, "held", 0, &segment));
	ck_assert_uint_eq(mortal_attached(), 2);
	shmd_detach(segment);
}

static void do_unlink(void)
{
	assert_works(shmd_unlink(connection, "held"));
	ck_assert(!mortal_has_name("held"));
}

static void do_publish(void)
{
	struct shmd_segment *segment;

	assert_works(shmd_create(connection, NULL, MORTAL_SIZE, &plain, &segment));
	assert_works(shmd_publish(segment, "published", 0));
	ck_assert_uint_eq(shmd_segment_generation(segment), mortal_generation("published"));
	shmd_detach(segment);
}

static void do_wait(void)
{
	struct shmd_segment *segment;

	assert_works(shmd_wait(connection, "held", 0, 10000, SHMD_READ_ONLY, &segment));
	ck_assert_uint_eq(mortal_attached(), 2);
	shmd_detach(segment);
}

static void ignore_event(const struct shmd_event *event, void *context)
{
	(void)event, (void)context;
}

static void do_subscribe(void)
{
	assert_works(shmd_subscribe(connection, NULL, ignore_event, NULL));
}

static void do_cancel(void)
{
	int number = shmd_subscribe(connection, NULL, ignore_event, NULL);

	assert_works(shmd_cancel(connection, number));
	ck_assert_int_eq(shmd_cancel(connection, number), -ENOENT);
}

static const struct {
	void (*act)(void);
	unsigned op;
} acts[] = {
	{do_status, WIRE_STATUS},   {do_create, WIRE_CREATE}, {do_create_anonymous, WIRE_CREATE},
	{do_attach, WIRE_ATTACH},   {do_detach, WIRE_DETACH}, {do_unlink, WIRE_UNLINK},
	{do_publish, WIRE_PUBLISH}, {do_wait, WIRE_WAIT},     {do_subscribe, WIRE_SUBSCRIBE},
	{do_cancel, WIRE_CANCEL},
};

#define ACTS      ((int)(sizeof(acts) / sizeof(*acts)))
#define N_MOMENTS ((int)MOMENTS - 1)

START_TEST(every_request_survives)
{
	mortal_plan(acts[_i / N_MOMENTS].op, UNREAD + _i % N_MOMENTS);
	acts[_i / N_MOMENTS].act();
	do_status();
	ck_assert_uint_eq(mortal_deaths(), 1);
	ck_assert_uint_eq(mortal_attached(), 1);
	ck_assert_uint_eq(mortal_doubtful(), 0);
}
END_TEST

/* Before the request, when nobody had noticed. */
START_TEST(every_request_mends)
{
	mortal_kill();
	acts[_i].act();
	ck_assert_uint_eq(mortal_attached(), 1);
	ck_assert_uint_eq(mortal_connections(), 1);
}
END_TEST

/* --- dying again ------------------------------------------------------------------------------ */

static const unsigned steps[] = {WIRE_HELLO,   WIRE_RESUME, WIRE_ATTACH,
				 WIRE_CONFIRM, WIRE_SETTLE, WIRE_CREATE};

#define STEPS ((int)(sizeof(steps) / sizeof(*steps)))

/* The first daemon creates and dies, the second one dies at some step of hearing of it. */
START_TEST(the_next_one_dies_too)
{
	unsigned op = steps[_i / N_MOMENTS];
	enum moment moment = UNREAD + _i % N_MOMENTS;

	mortal_plan(WIRE_CREATE, op == WIRE_CREATE ? UNREAD : DONE);
	mortal_plan(op, moment);
	do_create();
	ck_assert(!mortal_has_plans());
	ck_assert_uint_eq(mortal_deaths(), 2);
	ck_assert_uint_eq(mortal_attached(), 1);
	ck_assert_uint_eq(mortal_doubtful(), 0);
}
END_TEST

/* What nobody may attach cannot be had but by making it. */
START_TEST(a_mode_that_allows_nothing)
{
	plain.mode = 0;
	mortal_plan(WIRE_CREATE, DONE);
	do_create();
	ck_assert_uint_eq(mortal_count(WIRE_CREATE), 3);
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

START_TEST(what_ends_every_daemon_is_given_up)
{
	struct shmd_status *status;

	for (int i = 0; i < 5; i++)
		mortal_plan(WIRE_STATUS, READ);
	ck_assert_int_eq(shmd_status(connection, &status), -ECONNRESET);
	unit_assert_has(shmd_error_message(), "whenever");
	ck_assert(!mortal_has_plans());
	do_status();
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

/* That the daemon answers what the library asks for by itself does not say that it lives. */
START_TEST(what_ends_every_daemon_is_given_up_with_subscriptions)
{
	struct shmd_status *status;

	ck_assert_int_gt(shmd_subscribe(connection, NULL, ignore_event, NULL), 0);
	for (int i = 0; i < 8; i++)
		mortal_plan(WIRE_STATUS, READ);
	ck_assert_int_eq(shmd_status(connection, &status), -ECONNRESET);
	unit_assert_has(shmd_error_message(), "whenever");
	ck_assert(mortal_has_plans());
}
END_TEST

/* --- counts ----------------------------------------------------------------------------------- */

/* More than a packet confirms. */
START_TEST(many_are_confirmed)
{
	struct shmd_segment *segments[150], *again[150];
	char name[32];

	for (int i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		assert_works(shmd_create(connection, name, MORTAL_SIZE, &plain, &segments[i]));
		assert_works(shmd_attach(connection, name, i % 2 ? SHMD_READ_ONLY : 0, &again[i]));
	}
	for (int i = 0; i < 150; i += 3)
		shmd_detach(segments[i]);
	mortal_kill();
	do_status();
	ck_assert_uint_eq(mortal_attached(), 1 + 150 + 100);
	ck_assert_uint_eq(mortal_count(WIRE_CONFIRM), 151);
	for (int i = 0; i < 150; i++) {
		if (i % 3)
			shmd_detach(segments[i]);
		shmd_detach(again[i]);
	}
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

static void *storm(void *context)
{
	atomic_uint *failures = context;
	struct shmd_segment *segments[8] = {NULL};
	unsigned state = (unsigned)(uintptr_t)&segments;
	struct shmd_status *status;

	for (int i = 0; i < 400; i++) {
		unsigned place = (state = state * 1103515245u + 12345u) >> 16 & 7;
		int r = 0;
		if (segments[place])
			segments[place] = shmd_detach(segments[place]);
		else if (i % 3 == 0)
			r = shmd_create(connection, NULL, MORTAL_SIZE, &plain, &segments[place]);
		else
			r = shmd_attach(connection, "held", i % 2 ? SHMD_READ_ONLY : 0,
					&segments[place]);
		if (r == 0 && i % 20 == 0 && (r = shmd_status(connection, &status)) == 0)
			shmd_status_free(status);
		if (r < 0) {
			fprintf(stderr, "%d %s\n", r, shmd_error_message());
			atomic_fetch_add(failures, 1);
		}
	}
	for (int i = 0; i < 8; i++)
		shmd_detach(segments[i]);
	return NULL;
}

START_TEST(counts_are_exact_with_threads)
{
	pthread_t threads[4];
	atomic_uint failures = 0;

	mortal_die_often(30);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, storm, &failures), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	mortal_die_often(0);
	do_status();
	ck_assert_uint_eq(atomic_load(&failures), 0);
	ck_assert_uint_gt(mortal_deaths(), 10);
	check_no_complaint();
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

struct names {
	unsigned first;
	unsigned failures;
};

/* Each is done once: a second time would be refused. */
static void *name_and_unname(void *context)
{
	struct names *names = context;
	struct shmd_segment *segment;
	char name[32];

	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "name%u", names->first + i);
		bool publishes = i % 2;
		int r = shmd_create(connection, publishes ? NULL : name, MORTAL_SIZE, &plain,
				    &segment);
		if (r == 0 && publishes)
			r = shmd_publish(segment, name, 0);
		if (r == 0)
			r = shmd_unlink(connection, name);
		if (r == 0)
			shmd_detach(segment);
		else
			fprintf(stderr, "%s: %d %s\n", name, r, shmd_error_message());
		names->failures += r < 0;
	}
	return NULL;
}

START_TEST(names_are_made_once)
{
	struct names names[3] = {{.first = 0}, {.first = 1000}, {.first = 2000}};
	pthread_t threads[3];

	mortal_die_often(30);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, name_and_unname, &names[i]), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_eq(names[i].failures, 0);
	}
	mortal_die_often(0);
	do_status();
	ck_assert_uint_gt(mortal_deaths(), 10);
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

/* --- what nobody waits for -------------------------------------------------------------------- */

struct seen {
	unsigned created, lost;
	uint64_t lost_count;
	unsigned answers;
	int result;
	struct shmd_segment *segment;
};

static struct seen seen;

static void note_event(const struct shmd_event *event, void *context)
{
	struct seen *noted = context;

	noted->created += event->kind == SHMD_EVENT_CREATED;
	noted->lost += event->kind == SHMD_EVENT_LOST;
	noted->lost_count += event->kind == SHMD_EVENT_LOST ? event->count : 0;
}

static void note_result(int result, struct shmd_segment *segment, void *context)
{
	struct seen *noted = context;

	noted->answers++;
	noted->result = result;
	noted->segment = segment;
}

static bool is_readable(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

static void dispatch_until(int fd, const unsigned *count, unsigned n)
{
	while (*count < n) {
		unit_wait(fd);
		assert_works(shmd_dispatch(connection));
	}
}

START_TEST(the_loop_goes_on)
{
	int fd = shmd_get_fd(connection);

	seen = (struct seen){0};
	ck_assert_int_gt(shmd_subscribe(connection, "s*", note_event, &seen), 0);
	ck_assert_int_gt(shmd_wait_start(connection, "seg", 0, 0, note_result, &seen), 0);
	for (int i = 1; i <= 3; i++) {
		/* The answer to the subscription that was renewed has come, too. */
		do_status();
		ck_assert(!is_readable(fd));
		mortal_kill();
		ck_assert(is_readable(fd));
		dispatch_until(fd, &seen.lost, (unsigned)i);
		ck_assert_uint_eq(seen.lost_count, 0);
	}
	do_status();
	ck_assert_int_eq(shmd_get_fd(connection), fd);
	mortal_make("seg");
	dispatch_until(fd, &seen.created, 1);
	dispatch_until(fd, &seen.answers, 1);
	ck_assert_int_eq(seen.result, 0);
	ck_assert_uint_eq(mortal_attached(), 2);
	shmd_detach(seen.segment);
	ck_assert_uint_eq(seen.lost, 3);
	ck_assert(!is_readable(fd));
}
END_TEST

static void *wait_for_segment(void *context)
{
	struct shmd_segment *segment = NULL;

	*(int *)context = shmd_wait(connection, "seg", 0, -1, 0, &segment);
	shmd_detach(segment);
	return NULL;
}

START_TEST(a_thread_that_waits_mends)
{
	pthread_t thread;
	int result = 1;

	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_segment, &result), 0);
	while (mortal_count(WIRE_WAIT) == 0)
		sched_yield();
	mortal_kill();
	while (mortal_count(WIRE_WAIT) == 1)
		sched_yield();
	do_status();
	mortal_make("seg");
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, 0);
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

/* The grant was on its way when another request of ours was left unread. */
START_TEST(a_grant_behind_the_reset_counts)
{
	int fd = shmd_get_fd(connection);

	seen = (struct seen){0};
	ck_assert_int_gt(shmd_wait_start(connection, "held", 0, SHMD_READ_ONLY, note_result, &seen),
			 0);
	mortal_plan(WIRE_STATUS, UNREAD);
	do_status();
	dispatch_until(fd, &seen.answers, 1);
	ck_assert_int_eq(seen.result, 0);
	ck_assert_uint_eq(mortal_attached_to(shmd_segment_generation(held), true), 1);
	ck_assert_uint_eq(mortal_count(WIRE_WAIT), 1);
	shmd_detach(seen.segment);
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

START_TEST(a_time_out_is_kept)
{
	struct shmd_segment *segment;

	mortal_stall(true);
	mortal_kill();
	int64_t begin = now_ms();
	ck_assert_int_eq(shmd_wait(connection, "seg", 0, 200, 0, &segment), -ETIMEDOUT);
	ck_assert_int_ge(now_ms() - begin, 190);
	ck_assert_int_lt(now_ms() - begin, 5000);
	mortal_stall(false);
	do_status();
	ck_assert_uint_eq(mortal_attached(), 1);
	ck_assert_uint_eq(mortal_count(WIRE_WAIT), 0);
}
END_TEST

/* Whoever looks now and then while the daemon is being started does not count as one that ends it. */
START_TEST(short_time_outs_are_patient)
{
	int fd = shmd_get_fd(connection);
	struct shmd_segment *segment;

	seen = (struct seen){0};
	ck_assert_int_gt(shmd_wait_start(connection, "later", 0, 0, note_result, &seen), 0);
	mortal_stall(true);
	mortal_kill();
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(shmd_wait(connection, "seg", 0, i, 0, &segment), -ETIMEDOUT);
	mortal_stall(false);
	do_status();
	ck_assert_uint_le(mortal_count(WIRE_HELLO), 2);
	mortal_make("later");
	dispatch_until(fd, &seen.answers, 1);
	ck_assert_int_eq(seen.result, 0);
	shmd_detach(seen.segment);
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

static void do_nothing(int signal)
{
	(void)signal;
}

START_TEST(a_time_out_is_kept_with_signals)
{
	struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
	struct shmd_segment *segment;

	mortal_stall(true);
	mortal_kill();
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	int64_t begin = now_ms();
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	int r = shmd_wait(connection, "seg", 0, 200, 0, &segment);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	ck_assert_int_eq(r, -ETIMEDOUT);
	ck_assert_int_lt(now_ms() - begin, 1000);
	mortal_stall(false);
}
END_TEST

static void *dispatch_in_thread(void *context)
{
	*(int *)context = shmd_dispatch(connection);
	return NULL;
}

static void *time_out_in_thread(void *context)
{
	struct shmd_segment *segment;

	*(int *)context = shmd_wait(connection, "seg", 0, 300, 0, &segment);
	return NULL;
}

/* The patience of one thread is not that of another. */
START_TEST(a_loop_outlives_a_time_out)
{
	pthread_t waits, dispatches;
	int waited = 1, dispatched = 1;

	ck_assert_int_gt(shmd_subscribe(connection, NULL, ignore_event, NULL), 0);
	mortal_stall(true);
	mortal_kill();
	ck_assert_int_eq(pthread_create(&waits, NULL, time_out_in_thread, &waited), 0);
	poll(NULL, 0, 100);
	ck_assert_int_eq(pthread_create(&dispatches, NULL, dispatch_in_thread, &dispatched), 0);
	pthread_join(waits, NULL);
	ck_assert_int_eq(waited, -ETIMEDOUT);
	mortal_stall(false);
	pthread_join(dispatches, NULL);
	ck_assert_int_eq(dispatched, 1);
}
END_TEST

/* --- a daemon that knows nothing -------------------------------------------------------------- */

static void lose(void)
{
	mortal_forget();
	mortal_kill();
	do_status();
}

START_TEST(handles_of_a_lost_session)
{
	struct shmd_segment *anonymous, *again;

	assert_works(shmd_create(connection, NULL, MORTAL_SIZE, &plain, &anonymous));
	lose();
	strcpy(shmd_segment_data(held), "still");
	ck_assert_int_eq(shmd_publish(anonymous, "name", 0), -ESTALE);
	unit_assert_has(shmd_error_message(), "has ended");
	strcpy(shmd_segment_data(anonymous), "still");
	ck_assert_int_eq(shmd_attach(connection, "held", 0, &again), -ENOENT);
	assert_works(shmd_create(connection, "held", MORTAL_SIZE, &plain, &again));
	shmd_detach(anonymous);
	held = shmd_detach(held);
	ck_assert_uint_eq(mortal_count(WIRE_DETACH), 0);
	ck_assert_uint_eq(mortal_attached(), 1);
	mortal_kill();
	do_status();
	ck_assert_uint_eq(mortal_attached(), 1);
	shmd_detach(again);
	ck_assert_uint_eq(mortal_attached(), 0);
}
END_TEST

START_TEST(what_may_have_been_done_is_told)
{
	struct shmd_segment *segment, *anonymous;

	assert_works(shmd_create(connection, NULL, MORTAL_SIZE, &plain, &anonymous));
	mortal_forget();
	mortal_plan(_i == 0 ? WIRE_CREATE : _i == 1 ? WIRE_UNLINK : WIRE_PUBLISH, DONE);
	int r = _i == 0   ? shmd_create(connection, "new", MORTAL_SIZE, &plain, &segment)
		: _i == 1 ? shmd_unlink(connection, "held")
			  : shmd_publish(anonymous, "new", 0);
	ck_assert_int_eq(r, -ECONNRESET);
	unit_assert_has(shmd_error_message(), "may have been done, or not");
	shmd_detach(anonymous);
	do_create();
	ck_assert_uint_eq(mortal_attached(), 0);
}
END_TEST

static void do_attach_made(void)
{
	struct shmd_segment *segment;

	mortal_make("made");
	assert_works(shmd_attach(connection, "made", 0, &segment));
	shmd_detach(segment);
}

/* What only asks is asked again; waits and subscriptions, too. */
START_TEST(asking_survives_a_lost_session)
{
	int fd = shmd_get_fd(connection);

	seen = (struct seen){0};
	ck_assert_int_gt(shmd_subscribe(connection, NULL, note_event, &seen), 0);
	ck_assert_int_gt(shmd_wait_start(connection, "seg", 0, 0, note_result, &seen), 0);
	mortal_forget();
	mortal_plan(WIRE_STATUS, READ);
	do_status();
	do_attach_made();
	mortal_make("seg");
	dispatch_until(fd, &seen.answers, 1);
	dispatch_until(fd, &seen.lost, 1);
	dispatch_until(fd, &seen.created, 2);
	ck_assert_int_eq(seen.result, 0);
	shmd_detach(seen.segment);
	ck_assert_uint_eq(mortal_attached(), 0);
}
END_TEST

/* --- nobody there ----------------------------------------------------------------------------- */

START_TEST(without_a_daemon)
{
	struct shmd_segment *segment;
	int fd = shmd_get_fd(connection);

	seen = (struct seen){0};
	ck_assert_int_gt(shmd_subscribe(connection, NULL, note_event, &seen), 0);
	ck_assert_int_gt(shmd_wait_start(connection, "seg", 0, 0, note_result, &seen), 0);
	mortal_leave();
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(shmd_attach(connection, "held", 0, &segment), -ECONNRESET);
		unit_assert_has(shmd_error_message(), "cannot connect to");
	}
	ck_assert(is_readable(fd));
	ck_assert_int_eq(shmd_dispatch(connection), -ECONNRESET);
	unit_assert_has(shmd_error_message(), "cannot connect to");
	ck_assert_uint_eq(seen.answers, 1);
	ck_assert_int_eq(seen.result, -ECONNRESET);
	ck_assert_int_eq(shmd_wait_start(connection, "seg", 0, 0, note_result, &seen), -ECONNRESET);
	mortal_return();
	do_attach();
	ck_assert_uint_eq(mortal_attached(), 1);
	dispatch_until(fd, &seen.lost, 1);
	mortal_make("seg");
	dispatch_until(fd, &seen.created, 1);
	ck_assert_uint_eq(seen.answers, 1);
}
END_TEST

START_TEST(a_daemon_that_refuses)
{
	struct shmd_status *status;

	mortal_kill();
	mortal_refuse(true);
	ck_assert_int_eq(shmd_status(connection, &status), -ECONNRESET);
	unit_assert_has(shmd_error_message(), ": no");
	mortal_refuse(false);
	do_attach();
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

/* --- forked children -------------------------------------------------------------------------- */

static int use_inherited(void)
{
	struct shmd_segment *segment;

	if (shmd_attach(connection, "held", 0, &segment) < 0)
		return 1;
	shmd_detach(segment);
	shmd_detach(held);
	shmd_disconnect(connection);
	return 0;
}

START_TEST(a_child_does_not_resume)
{
	if (_i)
		mortal_kill();
	pid_t pid = fork();
	if (pid == 0)
		_exit(use_inherited());
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert_uint_eq(mortal_count(WIRE_RESUME), 0);
	do_attach();
	wait_for_connections(1);
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

static void *attach_in_thread(void *context)
{
	struct shmd_segment *segment = NULL;

	*(int *)context = shmd_attach(connection, "held", 0, &segment);
	shmd_detach(segment);
	return NULL;
}

/* The parent's two sockets and its segment go with what it closes. */
static int close_inherited(void)
{
	unsigned descriptors = unit_descriptors();
	int r = use_inherited();

	return r == 0 && unit_descriptors() + 3 == descriptors ? 0 : 1;
}

/* While another thread waits for the next daemon's welcome. */
START_TEST(a_fork_while_it_is_mended)
{
	pthread_t thread;
	int result = 1;

	mortal_stall(true);
	mortal_kill();
	ck_assert_int_eq(pthread_create(&thread, NULL, attach_in_thread, &result), 0);
	poll(NULL, 0, 50);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(20);
		_exit(close_inherited());
	}
	mortal_stall(false);
	ck_assert_int_eq(status_of(pid), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, 0);
	wait_for_connections(1);
	ck_assert_uint_eq(mortal_attached(), 1);
}
END_TEST

/* --- the end ---------------------------------------------------------------------------------- */

START_TEST(the_next_daemon_learns_of_the_end)
{
	mortal_kill();
	ck_assert_uint_eq(mortal_attached(), 1);
	connection = shmd_disconnect(connection);
	wait_for_connections(0);
	ck_assert_uint_eq(mortal_attached(), 0);
	ck_assert_str_eq(shmd_segment_data(held), "mine");
}
END_TEST

START_TEST(nobody_learns_of_the_end)
{
	int64_t begin = now_ms();

	if (_i) {
		mortal_stall(true);
		mortal_kill();
	} else {
		mortal_leave();
	}
	connection = shmd_disconnect(connection);
	ck_assert_int_lt(now_ms() - begin, _i ? 5000 : 500);
	held = shmd_detach(held);
	if (_i)
		mortal_stall(false);
	else
		mortal_return();
}
END_TEST

/* Of a daemon that does not know how to talk. */
START_TEST(nothing_leaks_of_nonsense)
{
	struct shmd_status *status;

	do_status();
	unsigned descriptors = unit_descriptors();

	for (int i = 0; i < 3; i++) {
		mortal_kill();
		mortal_babble(1, _i);
		ck_assert_int_eq(shmd_status(connection, &status), _i ? 0 : -ECONNRESET);
		if (_i)
			shmd_status_free(status);
		else
			do_status();
	}
	do_status();
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}
END_TEST

static void *detach_in_thread(void *context)
{
	shmd_detach(context);
	return NULL;
}

/* Handles of segments are not the connection's: threads may still let go of them. */
START_TEST(the_end_among_threads)
{
	struct shmd_segment *segments[2];
	pthread_t threads[2];

	for (int i = 0; i < 30; i++) {
		for (int t = 0; t < 2; t++)
			assert_works(shmd_attach(connection, "held", 0, &segments[t]));
		mortal_stall(i % 2);
		mortal_kill();
		for (int t = 0; t < 2; t++)
			ck_assert_int_eq(pthread_create(&threads[t], NULL, detach_in_thread,
							segments[t]),
					 0);
		if (i % 3)
			sched_yield();
		connection = shmd_disconnect(connection);
		for (int t = 0; t < 2; t++)
			pthread_join(threads[t], NULL);
		held = shmd_detach(held);
		mortal_stall(false);
		wait_for_connections(0);
		assert_works(shmd_connect(&connection, path));
		assert_works(shmd_attach(connection, "held", 0, &held));
	}
}
END_TEST

START_TEST(nothing_leaks)
{
	/* The daemon's are this process's, too: it has closed what it sent by then. */
	do_status();
	unsigned descriptors = unit_descriptors();

	for (int i = 0; i < 20; i++) {
		mortal_kill();
		do_attach();
		do_status();
	}
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_loop_test(tests, every_request_survives, 0, ACTS * N_MOMENTS);
	tcase_add_loop_test(tests, every_request_mends, 0, ACTS);
	tcase_add_loop_test(tests, the_next_one_dies_too, 0, STEPS * N_MOMENTS);
	tcase_add_test(tests, a_mode_that_allows_nothing);
	tcase_add_test(tests, what_ends_every_daemon_is_given_up);
	tcase_add_test(tests, what_ends_every_daemon_is_given_up_with_subscriptions);
	tcase_add_test(tests, many_are_confirmed);
	tcase_add_test(tests, counts_are_exact_with_threads);
	tcase_add_test(tests, names_are_made_once);
	tcase_add_test(tests, the_loop_goes_on);
	tcase_add_test(tests, a_thread_that_waits_mends);
	tcase_add_test(tests, a_grant_behind_the_reset_counts);
	tcase_add_test(tests, a_time_out_is_kept);
	tcase_add_test(tests, short_time_outs_are_patient);
	tcase_add_test(tests, a_time_out_is_kept_with_signals);
	tcase_add_test(tests, a_loop_outlives_a_time_out);
	tcase_add_test(tests, handles_of_a_lost_session);
	tcase_add_loop_test(tests, what_may_have_been_done_is_told, 0, 3);
	tcase_add_test(tests, asking_survives_a_lost_session);
	tcase_add_test(tests, without_a_daemon);
	tcase_add_test(tests, a_daemon_that_refuses);
	tcase_add_loop_test(tests, a_child_does_not_resume, 0, 2);
	tcase_add_test(tests, a_fork_while_it_is_mended);
	tcase_add_test(tests, the_next_daemon_learns_of_the_end);
	tcase_add_loop_test(tests, nobody_learns_of_the_end, 0, 2);
	tcase_add_loop_test(tests, nothing_leaks_of_nonsense, 0, 2);
	tcase_add_test(tests, the_end_among_threads);
	tcase_add_test(tests, nothing_leaks);
}

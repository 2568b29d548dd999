/* SPDX-License-Identifier: MIT */
/* What programs that use the library notice of a daemon that is restarted under a service manager: nothing. */
#include "manager.h"

#ifdef HAVE_LIBSYSTEMD
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "libshmd/shmd.h"

static struct manager *manager;
static struct shmd *connection;

#define assert_works(call)                                                                         \
	do {                                                                                       \
		int works_r_ = (call);                                                             \
		ck_assert_msg(works_r_ >= 0, "%s: %d, %s", #call, works_r_, shmd_error_message()); \
	} while (0)

static void (*const ends[])(struct manager *) = {manager_restart, manager_crash};
#define WAYS 2

static void set_up(void)
{
	manager = manager_new("[daemon]\ngrace = 2s\n");
	manager_start(manager);
	assert_works(shmd_connect(&connection, NULL));
}

static void tear_down(void)
{
	connection = shmd_disconnect(connection);
	manager = manager_free(manager);
}

struct totals {
	uint64_t clients, segments, attached;
};

static int add_clients(const struct shmd_segment_info *info, void *context)
{
	((struct totals *)context)->attached += info->clients;
	return 0;
}

static struct totals totals(void)
{
	struct totals found = {0};
	struct shmd_status *status;

	assert_works(shmd_status(connection, &status));
	found.clients = status->clients;
	found.segments = status->segments;
	shmd_status_free(status);
	assert_works(shmd_list(connection, NULL, add_clients, &found));
	return found;
}

/* --- memory and permits ----------------------------------------------------------------------- */

START_TEST(handles_go_on)
{
	struct shmd_segment *segment, *again, *anonymous;

	assert_works(shmd_create(connection, "seg", 4096, NULL, &segment));
	assert_works(shmd_create(connection, NULL, 4096, NULL, &anonymous));
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	strcpy(shmd_segment_data(segment), "mine");
	for (int i = 0; i < 5; i++) {
		ends[_i](manager);
		assert_works(shmd_attach(connection, "seg", SHMD_READ_ONLY, &again));
		ck_assert_str_eq(shmd_segment_data(again), "mine");
		ck_assert_int_eq(shmd_acquire(segment, 0), -EAGAIN);
		shmd_detach(again);
	}
	assert_works(shmd_release(segment));
	assert_works(shmd_publish(anonymous, "published", 0));
	ck_assert_uint_eq(totals().segments, 2);
	ck_assert_uint_eq(totals().clients, 1);
	shmd_detach(segment);
	shmd_detach(anonymous);
	connection = shmd_disconnect(connection);
	assert_works(shmd_connect(&connection, NULL));
	ck_assert_uint_eq(totals().segments, 0);
}
END_TEST

START_TEST(the_end_is_told)
{
	struct shmd_segment *segment;
	bool is_told = false;

	/* A daemon that is slow to start is not waited for. */
	for (int tries = 0; tries < 5 && !is_told; tries++) {
		assert_works(shmd_create(connection, NULL, 4096, NULL, &segment));
		ends[_i](manager);
		connection = shmd_disconnect(connection);
		shmd_detach(segment);
		assert_works(shmd_connect(&connection, NULL));
		is_told = totals().segments == 0 && totals().clients == 1;
	}
	ck_assert(is_told);
}
END_TEST

START_TEST(an_emptied_store)
{
	struct shmd_segment *segment, *anonymous, *again;

	assert_works(shmd_create(connection, "seg", 4096, NULL, &segment));
	assert_works(shmd_create(connection, NULL, 4096, NULL, &anonymous));
	manager_end(manager);
	manager_empty(manager);
	manager_start(manager);
	ck_assert_int_eq(shmd_publish(anonymous, "published", 0), -ESTALE);
	ck_assert_int_eq(shmd_attach(connection, "seg", 0, &again), -ENOENT);
	strcpy(shmd_segment_data(segment), "mine");
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	assert_works(shmd_release(segment));
	assert_works(shmd_create(connection, "seg", 4096, NULL, &again));
	shmd_detach(segment);
	shmd_detach(anonymous);
	ck_assert_uint_eq(totals().segments, 1);
	shmd_detach(again);
	ck_assert_uint_eq(totals().segments, 0);
}
END_TEST

/* --- while much is under way ------------------------------------------------------------------ */

#define RESTARTS 20

struct busy {
	atomic_bool *is_over;
	unsigned number;
	unsigned rounds;
	unsigned failures;
};

static int busy_round(struct busy *busy)
{
	struct shmd_segment *segment = NULL, *again = NULL;
	struct shmd_options options = SHMD_OPTIONS_INIT;
	bool publishes = busy->rounds % 2;
	char name[32];

	options.lifetime = SHMD_LIFETIME_PERSISTENT;
	snprintf(name, sizeof(name), "busy%u-%u", busy->number, busy->rounds);
	int r = shmd_create(connection, publishes ? NULL : name, 4096, &options, &segment);
	if (r == 0 && publishes)
		r = shmd_publish(segment, name, 0);
	if (r == 0)
		r = shmd_attach(connection, name, SHMD_READ_ONLY, &again);
	if (r == 0)
		r = shmd_unlink(connection, name);
	shmd_detach(segment);
	shmd_detach(again);
	return r;
}

static void *be_busy(void *context)
{
	struct busy *busy = context;

	for (; !atomic_load(busy->is_over); busy->rounds++) {
		int r = busy_round(busy);
		if (r < 0)
			fprintf(stderr, "round %u: %d, %s\n", busy->rounds, r,
				shmd_error_message());
		busy->failures += r < 0;
	}
	return NULL;
}

START_TEST(nobody_notices)
{
	atomic_bool is_over = false;
	struct busy busy[3] = {{&is_over, 0, 0, 0}, {&is_over, 1, 0, 0}, {&is_over, 2, 0, 0}};
	pthread_t threads[3];
	unsigned rounds = 0;

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, be_busy, &busy[i]), 0);
	for (int i = 0; i < RESTARTS; i++) {
		poll(NULL, 0, 20);
		ends[_i](manager);
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_eq(busy[i].failures, 0);
		rounds += busy[i].rounds;
	}
	ck_assert_uint_gt(rounds, 20);
	ck_assert_uint_eq(totals().attached, 0);
	ck_assert_uint_eq(totals().segments, 0);
}
END_TEST

/* --- a loop ----------------------------------------------------------------------------------- */

struct seen {
	unsigned created, lost, answers;
	int result;
};

static void note_event(const struct shmd_event *event, void *context)
{
	struct seen *seen = context;

	seen->created += event->kind == SHMD_EVENT_CREATED;
	seen->lost += event->kind == SHMD_EVENT_LOST;
}

static void note_result(int result, struct shmd_segment *segment, void *context)
{
	struct seen *seen = context;

	seen->answers++;
	seen->result = result;
	shmd_detach(segment);
}

static void dispatch_until(const unsigned *count, unsigned n)
{
	struct pollfd fd = {.fd = shmd_get_fd(connection), .events = POLLIN};

	while (*count < n) {
		ck_assert_int_eq(poll(&fd, 1, 10000), 1);
		assert_works(shmd_dispatch(connection));
	}
}

START_TEST(loops_go_on)
{
	struct seen seen = {0};
	struct shmd_segment *segment;

	ck_assert_int_gt(shmd_subscribe(connection, "seg", note_event, &seen), 0);
	ck_assert_int_gt(shmd_wait_start(connection, "seg", 0, 0, note_result, &seen), 0);
	for (unsigned i = 1; i <= 3; i++) {
		ends[_i](manager);
		dispatch_until(&seen.lost, i);
	}
	assert_works(shmd_create(connection, "seg", 4096, NULL, &segment));
	dispatch_until(&seen.created, 1);
	dispatch_until(&seen.answers, 1);
	ck_assert_int_eq(seen.result, 0);
	ck_assert_uint_eq(seen.lost, 3);
	shmd_detach(segment);
	ck_assert_uint_eq(totals().segments, 0);
}
END_TEST

static Suite *resume_suite(void)
{
	Suite *suite = suite_create("resume");
	TCase *tcase = tcase_create("resume");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, handles_go_on, 0, WAYS);
	tcase_add_loop_test(tcase, the_end_is_told, 0, WAYS);
	tcase_add_test(tcase, an_emptied_store);
	tcase_add_loop_test(tcase, nobody_notices, 0, WAYS);
	tcase_add_loop_test(tcase, loops_go_on, 0, WAYS);
	suite_add_tcase(suite, tcase);
	return suite;
}

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	return run_suite(resume_suite());
}
#else
#include <stdio.h>

int main(void)
{
	puts("1..0 # SKIP built without libsystemd");
	return 0;
}
#endif

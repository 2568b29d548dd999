/* SPDX-License-Identifier: MIT */
/* Publishing, what becomes of the generation before, and those who wait. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "core/memory.h"
#include "core/registry.h"

#define FIRST_ID UINT64_C(1000)
#define ALICE    (geteuid() + 1001)
#define BOB      (geteuid() + 1002)
#define SIZE     4096

static struct registry *registry;
static struct session alice, alice_again, bob;
static struct refusal why;
static uint64_t now;
static unsigned descriptors;
static unsigned n_ready;

static void enter(struct session *session, uint64_t id, uid_t uid)
{
	struct credentials who;

	credentials_init(&who, uid, uid, NULL, 0);
	session_init(session, id, 0, &who);
}

static void on_ready(void *context)
{
	(void)context;
	n_ready++;
}

static void set_up(void)
{
	struct quota_limits limits;

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = 1000000;
	limits.per_user[QUOTA_WAITS] = 3;
	close_fd(memory_reopen(STDERR_FILENO, true)); /* keeps a descriptor of the folder */
	descriptors = unit_descriptors();
	ck_assert_int_eq(registry_new(&registry, &limits, unit_folder, FIRST_ID), 0);
	ck_assert_int_eq(guard_init(), 0);
	registry->waits.on_ready = on_ready;
	enter(&alice, 1, ALICE);
	enter(&alice_again, 2, ALICE);
	enter(&bob, 3, BOB);
	now = 5000 * NSEC_PER_SEC;
	n_ready = 0;
}

static void run(void)
{
	struct segment *segment;
	int fds[2];

	registry_run_timers(registry, now);
	while (registry_settle_some(registry, 64, now))
		;
	while ((segment = registry_take_unused(registry, fds))) {
		close_fd(fds[0]);
		close_fd(fds[1]);
		registry_forget(registry, segment);
	}
}

static void leave(struct session *session)
{
	registry_leave(registry, session, now);
	run();
}

static void tear_down(void)
{
	leave(&alice);
	leave(&alice_again);
	leave(&bob);
	ck_assert_ptr_null(registry->waits.names);
	ck_assert_ptr_null(registry->waits.users);
	ck_assert_uint_eq(registry->quota.used[QUOTA_WAITS], 0);
	registry = registry_free(registry);
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}

/* --- acts ------------------------------------------------------------------------------------- */

static struct grant create(struct session *session, const char *name, enum lifetime lifetime)
{
	struct creation what = {
		.name = name, .size = SIZE, .mode = 0604, .lifetime = lifetime, .reader = !name};
	struct grant grant;

	ck_assert_int_eq(registry_create(registry, session, &what, now, &grant, &why), 0);
	return grant;
}

/* An anonymous segment, with its maker's descriptors closed: only the books keep it. */
static struct segment *make(struct session *session, enum lifetime lifetime, bool sealed)
{
	struct grant grant = create(session, NULL, lifetime);

	if (sealed)
		ck_assert_int_eq(fcntl(grant.fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	close_fd(grant.fd);
	close_fd(grant.reader_fd);
	return grant.segment;
}

static int publish(struct session *session, uint64_t id, const char *name, bool writable)
{
	uint64_t generation;

	why.text[0] = '\0';
	return registry_publish(registry, session, id, name, writable, now, &generation, &why);
}

static struct segment *publish_new(struct session *session, const char *name)
{
	struct segment *segment = make(session, LIFETIME_CLIENTS, true);

	ck_assert_msg(publish(session, segment->id, name, false) == 0, "%s", why.text);
	return segment;
}

static int attach(struct session *session, const char *name, bool read_only, struct grant *ret)
{
	return registry_attach(registry, session, 0, name, read_only, now, ret, &why);
}

static bool exists(const char *name)
{
	return registry_by_name(registry, name) != NULL;
}

/* --- publishing ------------------------------------------------------------------------------- */

START_TEST(its_maker_gets_what_only_reads)
{
	struct grant grant = create(&alice, NULL, LIFETIME_CLIENTS);
	char byte = 1;

	ck_assert_int_ge(grant.reader_fd, 0);
	ck_assert_int_eq(fcntl(grant.reader_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, grant.fd, 0);
	ck_assert(p != MAP_FAILED);
	memset(p, 'x', SIZE);
	/* The same address, and no mapping that could write. */
	ck_assert(mmap(p, SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, grant.reader_fd, 0) == p);
	ck_assert_int_eq(fcntl(grant.fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(publish(&alice, grant.segment->id, "frame", false), 0);
	ck_assert_int_eq(((char *)p)[SIZE - 1], 'x');
	ck_assert_int_eq(pwrite(grant.fd, &byte, 1, 0), -1);
	ck_assert_int_eq(fcntl(grant.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	munmap(p, SIZE);
	close_fd(grant.fd);
	close_fd(grant.reader_fd);
}
END_TEST

START_TEST(it_gets_a_newer_generation)
{
	struct segment *first = make(&alice, LIFETIME_CLIENTS, true);
	struct segment *second = make(&alice, LIFETIME_CLIENTS, true);
	struct grant grant;
	uint64_t id = first->id;

	ck_assert_uint_eq(first->generation, id);
	ck_assert_int_eq(publish(&alice, second->id, "frame", false), 0);
	uint64_t generation = registry_by_name(registry, "frame")->generation;
	ck_assert_int_eq(publish(&alice, id, "frame", false), 0);
	ck_assert_uint_gt(first->generation, generation);
	ck_assert_ptr_eq(registry_by_name(registry, "frame"), first);
	/* Everybody goes on by its id, and by name it is the same. */
	ck_assert_uint_eq(first->id, id);
	ck_assert_int_eq(attach(&alice, "frame", true, &grant), 0);
	close_fd(grant.fd);
	ck_assert_uint_eq(first->n_attachments, 1);
	ck_assert_int_eq(registry_detach(registry, &alice, id, true, now, &why), 0);
	ck_assert_int_eq(registry_detach(registry, &alice, id, false, now, &why), 0);
	ck_assert(exists("frame"));
}
END_TEST

START_TEST(unsealed_is_refused_unless_asked_for)
{
	struct segment *segment = make(&alice, LIFETIME_CLIENTS, false);
	uint64_t id = segment->id;
	struct grant grant;

	ck_assert_int_eq(publish(&alice, id, "frame", false), REFUSAL_INVALID);
	unit_assert_has(why.text, "F_SEAL_WRITE");
	/* And it can still be sealed. */
	ck_assert_int_eq(fcntl(segment->fd, F_GET_SEALS) & F_SEAL_SEAL, 0);
	ck_assert_int_eq(publish(&alice, id, "frame", true), 0);
	ck_assert(!segment->is_sealed);
	ck_assert_int_ne(fcntl(segment->fd, F_GET_SEALS) & F_SEAL_SEAL, 0);
	segment->ownership.mode = 0606;
	ck_assert_int_eq(attach(&bob, "frame", false, &grant), 0);
	ck_assert_int_eq(pwrite(grant.fd, "x", 1, 0), 1);
	close_fd(grant.fd);
}
END_TEST

START_TEST(a_sealed_one_is_read_only)
{
	struct segment *segment = publish_new(&alice, "frame");
	struct grant grant;

	ck_assert(segment->is_sealed);
	segment->ownership.mode = 0606;
	ck_assert_int_eq(attach(&bob, "frame", false, &grant), REFUSAL_DENIED);
	unit_assert_has(why.text, "sealed");
	ck_assert_int_eq(attach(&alice, "frame", false, &grant), REFUSAL_DENIED);
	ck_assert_int_eq(attach(&bob, "frame", true, &grant), 0);
	close_fd(grant.fd);
}
END_TEST

/* What is published, by whom, as what; and the refusal. */
START_TEST(refusals_lose_nothing)
{
	struct segment *segment = make(&alice, LIFETIME_CLIENTS, true);
	struct grant named = create(&alice, "named", LIFETIME_PERSISTENT);
	struct grant bobs = create(&bob, "bobs", LIFETIME_PERSISTENT);
	uint64_t id = segment->id;

	close_fd(named.fd);
	close_fd(bobs.fd);
	ck_assert_int_eq(publish(&bob, id, "x", false), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(publish(&alice, id + 100, "x", false), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(publish(&alice, id, "", false), REFUSAL_INVALID);
	ck_assert_int_eq(publish(&alice, id, "a/b", false), REFUSAL_INVALID);
	ck_assert_int_eq(publish(&alice, named.segment->id, "x", true), REFUSAL_INVALID);
	unit_assert_has(why.text, "without a name");
	ck_assert_int_eq(publish(&alice, id, "bobs", false), REFUSAL_DENIED);
	ck_assert_ptr_eq(registry_by_name(registry, "bobs"), bobs.segment);
	ck_assert(!exists("x"));
	ck_assert_uint_eq(segment->id, id);
	ck_assert_int_eq(publish(&alice, id, "named", false), 0);
	ck_assert_ptr_eq(registry_by_name(registry, "named"), segment);
	/* Once is enough. */
	ck_assert_int_eq(publish(&alice, id, "again", false), REFUSAL_INVALID);
}
END_TEST

/* A forked child, or another connection of the same user, may have it still. */
START_TEST(one_that_has_ended_stays_without_a_name)
{
	struct segment *segment = make(&alice, LIFETIME_OWNER, true);
	struct grant grant;
	uint64_t id = segment->id;

	ck_assert_int_eq(registry_attach(registry, &alice_again, id, "", false, now, &grant, &why),
			 0);
	close_fd(grant.fd);
	leave(&alice);
	ck_assert_int_eq(segment->state, SEGMENT_DROPPED);
	ck_assert_int_eq(publish(&alice_again, id, "frame", false), REFUSAL_NOT_FOUND);
	unit_assert_has(why.text, "has ended");
	ck_assert(!exists("frame"));
}
END_TEST

START_TEST(whoever_has_the_old_one_keeps_it)
{
	struct segment *old = publish_new(&alice, "frame");
	struct grant grant;

	ck_assert_int_eq(attach(&bob, "frame", true, &grant), 0);
	ck_assert_ptr_null(lineage_find(registry->lineages, ALICE, "frame"));
	publish_new(&alice, "frame");
	run();
	ck_assert_int_eq(old->state, SEGMENT_DROPPED);
	ck_assert_uint_eq(lineage_find(registry->lineages, ALICE, "frame")->generations, 1);
	ck_assert_uint_eq(lineage_find(registry->lineages, ALICE, "frame")->bytes, SIZE);
	uint64_t bytes = registry->quota.used[QUOTA_BYTES];
	/* The publisher's attachment keeps its memory, too. */
	leave(&bob);
	ck_assert_ptr_nonnull(lineage_find(registry->lineages, ALICE, "frame"));
	leave(&alice);
	ck_assert_ptr_nonnull(lineage_find(registry->lineages, ALICE, "frame"));
	close_fd(grant.fd);
	registry_read_watch(registry, now);
	for (int i = 0; i < 20 && lineage_find(registry->lineages, ALICE, "frame"); i++) {
		now += NSEC_PER_SEC;
		run();
	}
	ck_assert_ptr_null(lineage_find(registry->lineages, ALICE, "frame"));
	ck_assert_uint_lt(registry->quota.used[QUOTA_BYTES], bytes);
}
END_TEST

/* --- the binding ------------------------------------------------------------------------------ */

START_TEST(the_name_is_a_user)
{
	struct segment *segment = make(&alice, LIFETIME_CLIENTS, true);
	uint64_t id = segment->id;

	ck_assert_int_eq(publish(&alice, id, "frame", false), 0);
	ck_assert_int_eq(registry_detach(registry, &alice, id, false, now, &why), 0);
	run();
	ck_assert(exists("frame"));
	leave(&alice);
	ck_assert(!exists("frame"));
}
END_TEST

START_TEST(readers_keep_it_when_its_publisher_goes)
{
	struct grant grant;

	publish_new(&alice, "frame");
	ck_assert_int_eq(attach(&bob, "frame", true, &grant), 0);
	close_fd(grant.fd);
	leave(&alice);
	ck_assert(exists("frame"));
	leave(&bob);
	ck_assert(!exists("frame"));
}
END_TEST

START_TEST(a_persistent_one_stays)
{
	struct segment *segment = make(&alice, LIFETIME_PERSISTENT, true);

	ck_assert_int_eq(publish(&alice, segment->id, "frame", false), 0);
	leave(&alice);
	ck_assert(exists("frame"));
	/* The next publisher need not be the same connection. */
	publish_new(&alice_again, "frame");
	leave(&alice_again);
	ck_assert(!exists("frame"));
}
END_TEST

START_TEST(the_owner_of_an_owners_one_is_its_publisher)
{
	struct segment *segment = make(&alice, LIFETIME_OWNER, true);
	uint64_t id = segment->id;

	ck_assert_int_eq(publish(&alice, id, "frame", false), 0);
	ck_assert_int_eq(registry_detach(registry, &alice, id, false, now, &why), 0);
	run();
	ck_assert(exists("frame"));
	leave(&alice);
	ck_assert(!exists("frame"));
}
END_TEST

/* Another connection of the same user, as a forked child's. */
START_TEST(who_publishes_an_owners_one_owns_it)
{
	struct segment *segment = make(&alice, LIFETIME_OWNER, true);
	uint64_t id = segment->id;
	struct grant grant;

	ck_assert_int_eq(registry_attach(registry, &alice_again, id, "", false, now, &grant, &why),
			 0);
	close_fd(grant.fd);
	ck_assert_int_eq(publish(&alice_again, id, "frame", false), 0);
	leave(&alice);
	ck_assert(exists("frame"));
	leave(&alice_again);
	ck_assert(!exists("frame"));
}
END_TEST

START_TEST(an_owner_that_is_going_takes_it_along)
{
	struct segment *segment = make(&alice, LIFETIME_OWNER, true);
	struct grant grant;
	uint64_t id = segment->id;

	ck_assert_int_eq(registry_attach(registry, &alice_again, id, "", false, now, &grant, &why),
			 0);
	close_fd(grant.fd);
	/* And what follows from that has not had its turn. */
	registry_leave(registry, &alice, now);
	ck_assert_int_eq(publish(&alice_again, id, "frame", false), REFUSAL_NOT_FOUND);
}
END_TEST

START_TEST(a_names_next_owner_has_no_old_generations)
{
	struct grant grant;

	publish_new(&alice, "frame");
	ck_assert_int_eq(attach(&bob, "frame", true, &grant), 0);
	publish_new(&alice, "frame");
	ck_assert_int_eq(registry_unlink(registry, &alice, 0, "frame", now, &(uint64_t){0}, &why),
			 0);
	publish_new(&bob, "frame");
	ck_assert_ptr_null(lineage_find(registry->lineages, BOB, "frame"));
	ck_assert_ptr_nonnull(lineage_find(registry->lineages, ALICE, "frame"));
	close_fd(grant.fd);
}
END_TEST

START_TEST(unlinking_ends_the_binding)
{
	publish_new(&alice, "frame");
	ck_assert_int_eq(registry_unlink(registry, &alice, 0, "frame", now, &(uint64_t){0}, &why),
			 0);
	ck_assert_ptr_null(alice.published);
	ck_assert(!exists("frame"));
}
END_TEST

/* --- waiting ---------------------------------------------------------------------------------- */

static struct wait *wait_for(struct session *session, const char *name, uint64_t newer_than)
{
	static uint32_t number;
	struct wait *wait;

	why.text[0] = '\0';
	int r = registry_wait(registry, session, ++number, name, newer_than, 0, now, &wait, &why);
	ck_assert_msg(r == 0, "%s", why.text);
	return wait;
}

START_TEST(what_exists_is_not_waited_for)
{
	struct segment *segment = publish_new(&alice, "frame");

	ck_assert_ptr_null(wait_for(&bob, "/frame", 0));
	ck_assert_ptr_null(wait_for(&bob, "frame", segment->generation - 1));
	struct wait *wait = wait_for(&bob, "frame", segment->generation);
	ck_assert_ptr_nonnull(wait);
	ck_assert_ptr_eq(wait_find(&bob, wait->number), wait);
	ck_assert_uint_eq(registry->quota.used[QUOTA_WAITS], 1);
	ck_assert_ptr_null(wait_free(&registry->waits, wait));
	ck_assert_ptr_null(wait_free(&registry->waits, NULL));
}
END_TEST

START_TEST(creating_wakes)
{
	struct wait *one = wait_for(&bob, "frame", 0), *other = wait_for(&alice, "other", 0);
	struct grant grant = create(&alice, "frame", LIFETIME_CLIENTS);

	close_fd(grant.fd);
	ck_assert_uint_eq(n_ready, 1);
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), one);
	ck_assert_ptr_null(waits_take_ready(&registry->waits));
	ck_assert(registry_is_newer(registry, "frame", 0, now));
	wait_free(&registry->waits, one);
	wait_free(&registry->waits, other);
}
END_TEST

START_TEST(publishing_wakes_those_who_know_less)
{
	struct segment *first = publish_new(&alice, "frame");
	struct wait *newer = wait_for(&bob, "frame", first->generation);
	struct wait *never = wait_for(&bob, "frame", UINT64_MAX);

	publish_new(&alice, "frame");
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), newer);
	ck_assert_ptr_null(waits_take_ready(&registry->waits));
	/* Not answered now: it is put back, and told again with the next one. */
	ck_assert(!newer->is_ready);
	publish_new(&alice, "frame");
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), newer);
	wait_make_ready(&registry->waits, newer);
	wait_free(&registry->waits, newer);
	ck_assert_ptr_null(waits_take_ready(&registry->waits));
	wait_free(&registry->waits, never);
}
END_TEST

/* A creator that dies before it publishes leaves nothing. */
START_TEST(waiters_wait_on)
{
	struct wait *wait = wait_for(&bob, "frame", 0);

	make(&alice, LIFETIME_CLIENTS, true);
	leave(&alice);
	ck_assert_uint_eq(n_ready, 0);
	ck_assert_uint_eq(registry->quota.used[QUOTA_SEGMENTS], 0);
	/* One that was ready when the name went waits on, too. */
	publish_new(&alice_again, "frame");
	ck_assert_uint_eq(n_ready, 1);
	leave(&alice_again);
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), wait);
	ck_assert(!registry_is_newer(registry, "frame", 0, now));
	publish_new(&alice_again, "frame");
	ck_assert_uint_eq(n_ready, 2);
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), wait);
	ck_assert(registry_is_newer(registry, "frame", 0, now));
}
END_TEST

START_TEST(when_it_is_newer_is_its_readers_business)
{
	struct segment *segment = publish_new(&alice, "frame");

	segment->ownership.mode = 0600;
	/* Answered at once, whatever is asked for: with a refusal. */
	ck_assert_ptr_null(wait_for(&bob, "frame", 0));
	ck_assert_ptr_null(wait_for(&bob, "frame", UINT64_MAX));
	struct wait *wait = wait_for(&alice, "frame", UINT64_MAX);
	ck_assert_ptr_nonnull(wait);
}
END_TEST

START_TEST(one_that_is_far_ahead_comes_in_its_time)
{
	struct segment *first = publish_new(&alice, "frame");
	struct wait *far = wait_for(&bob, "frame", first->generation + 4);
	struct wait *farther = wait_for(&bob, "frame", first->generation + 40);

	/* Ids and generations count on together. */
	publish_new(&alice, "frame");
	ck_assert_uint_eq(registry_by_name(registry, "frame")->generation, first->generation + 2);
	ck_assert_ptr_null(waits_take_ready(&registry->waits));
	publish_new(&alice, "frame");
	ck_assert_ptr_null(waits_take_ready(&registry->waits));
	publish_new(&alice, "frame");
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), far);
	ck_assert_ptr_null(waits_take_ready(&registry->waits));
	for (int i = 0; i < 17; i++)
		publish_new(&alice, "frame");
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), far);
	ck_assert_ptr_null(waits_take_ready(&registry->waits));
	publish_new(&alice, "frame");
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), far);
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), farther);
}
END_TEST

/* However many of somebody's are before it. */
START_TEST(users_take_turns)
{
	struct wait *first = wait_for(&bob, "frame", 0), *second = wait_for(&bob, "frame", 0);
	struct wait *third = wait_for(&bob, "frame", 0), *other = wait_for(&alice, "frame", 0);

	publish_new(&alice, "frame");
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), first);
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), other);
	ck_assert_ptr_eq(waits_take_ready(&registry->waits), second);
	wait_free(&registry->waits, third);
	ck_assert_ptr_null(waits_take_ready(&registry->waits));
	leave(&bob);
	ck_assert_ptr_eq(wait_find(&alice, other->number), other);
}
END_TEST

START_TEST(waits_end_with_their_session_and_are_limited)
{
	struct wait *wait;

	for (int i = 0; i < 3; i++)
		wait_for(&bob, "frame", 0);
	ck_assert_int_eq(registry_wait(registry, &bob, 9, "frame", 0, 0, now, &wait, &why),
			 REFUSAL_LIMIT);
	unit_assert_has(why.text, "waits_per_user");
	ck_assert_int_eq(registry_wait(registry, &alice, 9, "a/b", 0, 0, now, &wait, &why),
			 REFUSAL_INVALID);
	leave(&bob);
	ck_assert_uint_eq(registry->quota.used[QUOTA_WAITS], 0);
	wait_for(&bob, "frame", 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, its_maker_gets_what_only_reads);
	tcase_add_test(tests, it_gets_a_newer_generation);
	tcase_add_test(tests, unsealed_is_refused_unless_asked_for);
	tcase_add_test(tests, a_sealed_one_is_read_only);
	tcase_add_test(tests, refusals_lose_nothing);
	tcase_add_test(tests, one_that_has_ended_stays_without_a_name);
	tcase_add_test(tests, whoever_has_the_old_one_keeps_it);
	tcase_add_test(tests, the_name_is_a_user);
	tcase_add_test(tests, readers_keep_it_when_its_publisher_goes);
	tcase_add_test(tests, a_persistent_one_stays);
	tcase_add_test(tests, the_owner_of_an_owners_one_is_its_publisher);
	tcase_add_test(tests, who_publishes_an_owners_one_owns_it);
	tcase_add_test(tests, an_owner_that_is_going_takes_it_along);
	tcase_add_test(tests, a_names_next_owner_has_no_old_generations);
	tcase_add_test(tests, unlinking_ends_the_binding);
	tcase_add_test(tests, when_it_is_newer_is_its_readers_business);
	tcase_add_test(tests, one_that_is_far_ahead_comes_in_its_time);
	tcase_add_test(tests, what_exists_is_not_waited_for);
	tcase_add_test(tests, creating_wakes);
	tcase_add_test(tests, publishing_wakes_those_who_know_less);
	tcase_add_test(tests, waiters_wait_on);
	tcase_add_test(tests, users_take_turns);
	tcase_add_test(tests, waits_end_with_their_session_and_are_limited);
}

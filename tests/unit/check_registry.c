/* SPDX-License-Identifier: MIT */
/*
 * The rules of a segment's life. Time is a number that each test moves on by itself, and the clients
 * are sessions without a socket; what stands behind a descriptor is the kernel's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "core/memory.h"
#include "core/registry.h"

#define FIRST_ID UINT64_C(1000)
#define SECOND   NSEC_PER_SEC
/* Neither root's nor our own, who may do everything. */
#define ALICE (geteuid() + 1001)
#define BOB   (geteuid() + 1002)

static struct registry *registry;
static struct session alice, alice_again, bob, daemon_user, stranger;
static struct estate alices, bobs; /* their processes' */
static struct refusal why;
static uint64_t now;
static unsigned descriptors;

static void enter(struct session *session, uint64_t id, uid_t uid, struct estate *estate)
{
	struct credentials who;

	credentials_init(&who, uid, uid, NULL, 0);
	session_init(session, id, 0, &who);
	session->can_lock = true;
	session->estate = estate;
}

static void set_up(void)
{
	static const uint64_t many = 1000000;
	struct quota_limits limits;

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = many;
	close_fd(memory_reopen(STDERR_FILENO, true)); /* keeps a descriptor of the folder */
	descriptors = unit_descriptors();
	ck_assert_int_eq(registry_new(&registry, &limits, unit_folder, FIRST_ID), 0);
#ifdef HAVE_LIBACL
	ck_assert_str_eq(registry->degraded, "");
#endif
	ck_assert(registry->has_leases);
	ck_assert_int_eq(guard_init(), 0);
	estate_init(&alices, &registry->emptied);
	estate_init(&bobs, &registry->emptied);
	enter(&alice, 1, ALICE, &alices);
	enter(&alice_again, 2, ALICE, &alices);
	enter(&bob, 3, BOB, &bobs);
	/* Nobody would tell of their deaths. */
	enter(&daemon_user, 4, geteuid(), NULL);
	enter(&stranger, 5, 65534, NULL);
	now = 5000 * SECOND;
}

/* Does what the daemon's loop does, until nothing is left to be done at this time. */
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

static void run_at(uint64_t when)
{
	now = when;
	run();
}

static void leave(struct session *session)
{
	registry_leave(registry, session, 0);
	run();
}

/* Whatever a test leaves alive must go with the registry, and nothing may stay behind it. */
static void tear_down(void)
{
	registry_leave(registry, &alice, 0);
	registry_leave(registry, &alice_again, 0);
	registry_leave(registry, &bob, 0);
	registry_leave(registry, &daemon_user, 0);
	estate_fini(&alices);
	estate_fini(&bobs);
	registry = registry_free(registry);
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct creation creation(const char *name, enum lifetime lifetime)
{
	return (struct creation){
		.name = name, .size = 4096, .mode = 0600, .lifetime = lifetime, .permits = 1};
}

/* Creates, and keeps the descriptor, as a client would. */
static struct grant create_as(struct session *session, const struct creation *what)
{
	struct grant grant;
	int r = registry_create(registry, session, what, now, &grant, &why);

	ck_assert_msg(r == 0, "refused: %s", why.text);
	return grant;
}

/* Creates, and closes the descriptor at once, so that only the books keep the segment. */
static struct segment *make(struct session *session, const char *name, enum lifetime lifetime)
{
	struct creation what = creation(name, lifetime);
	struct grant grant = create_as(session, &what);

	close_fd(grant.fd);
	return grant.segment;
}

static struct segment *make_shared(struct session *session, const char *name,
				   enum lifetime lifetime, uint64_t linger_ns)
{
	struct creation what = creation(name, lifetime);

	what.mode = 0666;
	what.linger_ns = linger_ns;
	struct grant grant = create_as(session, &what);
	close_fd(grant.fd);
	return grant.segment;
}

static int attach(struct session *session, uint64_t id, const char *name, bool read_only)
{
	struct grant grant = {.fd = -1};
	int r = registry_attach(registry, session, id, name, read_only, now, &grant, &why);

	close_fd(grant.fd);
	return r;
}

static int detach(struct session *session, uint64_t id, bool read_only)
{
	int r = registry_detach(registry, session, id, read_only, now, &why);

	run();
	return r;
}

static int unlink_name(struct session *session, const char *name)
{
	int r = registry_unlink(registry, session, 0, name, now, &(uint64_t){0}, &why);

	run();
	return r;
}

static bool is_named(const char *name)
{
	struct segment *segment;

	return registry_find(registry, &daemon_user.who, 0, name, &segment, &why) == 0;
}

/* Nothing but the lock of the instance, no charge, nothing to do. */
static void assert_nothing_left(void)
{
	ck_assert_ptr_null(registry_next(registry, 0));
	ck_assert_uint_eq(registry_next_deadline(registry), 0);
	ck_assert_uint_eq(unit_entries(unit_folder), 1);
	for (int i = 0; i < QUOTA_RESOURCES; i++)
		ck_assert_uint_eq(registry->quota.used[i], 0);
	ck_assert_ptr_null(registry->quota.users);
}

/* --- `clients` -------------------------------------------------------------------------------- */

START_TEST(clients_ends_with_its_last_client)
{
	make_shared(&alice, "a", LIFETIME_CLIENTS, 0);
	ck_assert_int_eq(attach(&bob, 0, "a", false), 0);
	leave(&alice);
	ck_assert(is_named("a"));
	leave(&bob);
	ck_assert(!is_named("a"));
	assert_nothing_left();
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_REAPED], 1);
}
END_TEST

START_TEST(clients_ends_by_detaching)
{
	struct segment *a = make(&alice, "a", LIFETIME_CLIENTS);

	ck_assert_int_eq(detach(&alice, a->id, false), 0);
	assert_nothing_left();
}
END_TEST

/* Moves on from the word of a close to the test that follows. */
static void hear_of_close(void)
{
	unit_wait(registry->watch.fd);
	registry_read_watch(registry, now);
	ck_assert_uint_ne(registry_next_deadline(registry), 0);
	ck_assert_uint_le(registry_next_deadline(registry), now + NSEC_PER_MSEC);
	run_at(registry_next_deadline(registry));
}

START_TEST(clients_waits_for_an_open_descriptor)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);

	leave(&alice);
	ck_assert(is_named("a"));
	ck_assert_uint_eq(quota_used_by(&registry->quota, ALICE, QUOTA_BYTES), 4096);
	close_fd(grant.fd);
	hear_of_close();
	assert_nothing_left();
}
END_TEST

START_TEST(clients_waits_for_a_mapping)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, grant.fd, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	close_fd(grant.fd);
	leave(&alice);
	ck_assert(is_named("a"));
	munmap(p, 4096);
	hear_of_close();
	assert_nothing_left();
}
END_TEST

START_TEST(clients_waits_for_a_forked_child)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);
	void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, grant.fd, 0);

	close_fd(grant.fd);
	struct unit_child child = unit_fork(NULL, NULL);
	munmap(p, 4096);
	leave(&alice);
	ck_assert(is_named("a"));
	unit_join(&child);
	hear_of_close();
	assert_nothing_left();
}
END_TEST

START_TEST(an_attach_stops_the_waiting)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);

	leave(&alice);
	ck_assert_int_ne(grant.segment->watch.wd, 0);
	ck_assert_int_eq(attach(&alice_again, 0, "a", true), 0);
	ck_assert_int_eq(grant.segment->watch.wd, 0);
	ck_assert_uint_eq(registry_next_deadline(registry), 0);
	close_fd(grant.fd);
	run_at(now + 1000 * SECOND);
	ck_assert(is_named("a"));
}
END_TEST

/* The word of a close comes before the kernel drops the count: after 0.5, 1, 2 ... ms we ask again. */
START_TEST(tests_are_repeated_after_a_close)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);
	uint64_t pause = NSEC_PER_MSEC / 2;
	unsigned tests = 0;

	leave(&alice);
	close_fd(memory_reopen(grant.fd, true));
	unit_wait(registry->watch.fd);
	registry_read_watch(registry, now);
	for (uint64_t deadline; (deadline = registry_next_deadline(registry)); tests++) {
		ck_assert_uint_eq(deadline - now, pause);
		pause *= 2;
		run_at(deadline);
		ck_assert(is_named("a"));
	}
	/* Up to half a minute; then only word brings it back. */
	ck_assert_uint_ge(tests, 10);
	ck_assert_uint_le(tests, 20);
	close_fd(grant.fd);
	hear_of_close();
	assert_nothing_left();
}
END_TEST

/* Who closes between our test and our watch sends word before the watch stands, and may drop the
 * count only after the second test: nothing would ever come again. */
/* With a full descriptor table the kernel cannot be asked, and nobody is left who could send word. */
START_TEST(a_full_table_delays_the_end_only)
{
	struct rlimit before, none;
	struct segment *a = make(&alice, "a", LIFETIME_CLIENTS);

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){0, before.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	leave(&alice);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(a->state, SEGMENT_LIVE);
		ck_assert_uint_ne(registry_next_deadline(registry), 0);
		ck_assert_uint_le(registry_next_deadline(registry), now + SECOND);
		run_at(registry_next_deadline(registry));
	}
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	run_at(registry_next_deadline(registry));
	assert_nothing_left();
}
END_TEST

START_TEST(a_new_watch_is_not_the_only_hope)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);

	leave(&alice);
	ck_assert_uint_ne(registry_next_deadline(registry), 0);
	ck_assert_uint_le(registry_next_deadline(registry), now + NSEC_PER_MSEC);
	close_fd(grant.fd);
	run_at(registry_next_deadline(registry));
	assert_nothing_left();
}
END_TEST

/* --- `owner` ---------------------------------------------------------------------------------- */

START_TEST(owner_ends_with_its_owner)
{
	struct segment *a = make_shared(&alice, "a", LIFETIME_OWNER, 0);

	ck_assert_int_eq(attach(&bob, 0, "a", false), 0);
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), 0);
	leave(&alice);
	ck_assert(!is_named("a"));
	ck_assert_int_eq(a->state, SEGMENT_DROPPED);
	ck_assert_uint_eq(quota_used_by(&registry->quota, ALICE, QUOTA_SEGMENTS), 1);
	leave(&alice_again);
	ck_assert_ptr_eq(registry_next(registry, 0), a);
	leave(&bob);
	assert_nothing_left();
}
END_TEST

START_TEST(owner_survives_others_leaving)
{
	make_shared(&alice, "a", LIFETIME_OWNER, 0);
	ck_assert_int_eq(attach(&bob, 0, "a", false), 0);
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), 0);
	leave(&bob);
	leave(&alice_again);
	ck_assert(is_named("a"));
}
END_TEST

START_TEST(owner_ends_with_the_last_of_its_attachments)
{
	struct segment *a = make(&alice, "a", LIFETIME_OWNER);

	ck_assert_int_eq(attach(&alice, 0, "a", true), 0);
	ck_assert_int_eq(detach(&alice, a->id, false), 0);
	ck_assert(is_named("a"));
	ck_assert_int_eq(detach(&alice, a->id, true), 0);
	assert_nothing_left();
}
END_TEST

/* --- `persistent`, and unlinking -------------------------------------------------------------- */

START_TEST(persistent_stays_until_unlinked)
{
	make(&alice, "a", LIFETIME_PERSISTENT);
	leave(&alice);
	run_at(now + 1000000 * SECOND);
	ck_assert(is_named("a"));
	ck_assert_int_eq(unlink_name(&alice_again, "a"), 0);
	assert_nothing_left();
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_UNLINKED], 1);
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_REAPED], 0);
}
END_TEST

START_TEST(persistent_without_a_name_ends_with_its_clients)
{
	make(&alice, NULL, LIFETIME_PERSISTENT);
	leave(&alice);
	assert_nothing_left();
}
END_TEST

START_TEST(unlink_drops_the_name_alone)
{
	struct segment *a = make(&alice, "a", LIFETIME_CLIENTS);
	uint64_t id = a->id;

	ck_assert_uint_eq(unit_entries(unit_folder), 2);
	ck_assert_int_eq(unlink_name(&alice, "/a"), 0);
	ck_assert_uint_eq(unit_entries(unit_folder), 1);
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(attach(&alice_again, id, "", false), 0);
	ck_assert_int_eq(registry_unlink(registry, &alice, id, "", now, &(uint64_t){0}, &why), 0);
	/* The name is free at once, and means the newer one. */
	ck_assert_uint_gt(make(&bob, "a", LIFETIME_CLIENTS)->id, id);
	leave(&alice);
	leave(&alice_again);
	ck_assert_ptr_null(registry_next(registry, 0)->by_id.next);
}
END_TEST

START_TEST(unlink_is_for_owner_and_administrator)
{
	char uid[16];

	make_shared(&alice, "a", LIFETIME_PERSISTENT, 0);
	ck_assert_int_eq(unlink_name(&bob, "a"), REFUSAL_DENIED);
	snprintf(uid, sizeof(uid), "uid %u", BOB);
	unit_assert_has(why.text, uid);
	unit_assert_has(why.text, "another user");
	unit_assert_has(why.text, "'a'");
	ck_assert(is_named("a"));
	ck_assert_int_eq(unlink_name(&stranger, "a"), REFUSAL_DENIED);
	ck_assert_int_eq(unlink_name(&daemon_user, "a"), 0);
	ck_assert_int_eq(unlink_name(&daemon_user, "a"), REFUSAL_NOT_FOUND);
	unit_assert_has(why.text, "'a'");
}
END_TEST

START_TEST(dropped_stays_charged_and_listed)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);
	struct segment *found;

	registry->quota.limits.per_user[QUOTA_SEGMENTS] = 1;
	ck_assert_int_eq(unlink_name(&alice, "a"), 0);
	leave(&alice);
	ck_assert_ptr_eq(registry_next(registry, 0), grant.segment);
	ck_assert_int_eq(registry_find(registry, &alice.who, grant.segment->id, "", &found, &why),
			 0);
	struct grant none;
	ck_assert_int_eq(registry_create(registry, &alice, &what, now, &none, &why), REFUSAL_LIMIT);
	close_fd(grant.fd);
	hear_of_close();
	assert_nothing_left();
	make(&alice, "a", LIFETIME_CLIENTS);
}
END_TEST

/* Closing takes its time, on the helper: until it is done the charge stays. */
START_TEST(charged_until_closed)
{
	int fds[2];

	make(&alice, "a", LIFETIME_CLIENTS);
	registry_leave(registry, &alice, 0);
	ck_assert(!registry_settle_some(registry, 64, now));
	struct segment *segment = registry_take_unused(registry, fds);
	ck_assert_ptr_nonnull(segment);
	ck_assert_int_ge(fds[0], 0);
	ck_assert_int_ge(fds[1], 0);
	ck_assert_ptr_null(registry_take_unused(registry, fds));
	ck_assert_ptr_null(registry_next(registry, 0));
	ck_assert_int_eq(attach(&alice, segment->id, "", false), REFUSAL_NOT_FOUND);
	ck_assert_uint_eq(quota_used_by(&registry->quota, ALICE, QUOTA_BYTES), 4096);
	close_fd(fds[0]);
	close_fd(fds[1]);
	registry_forget(registry, segment);
	assert_nothing_left();
}
END_TEST

/* --- lingering -------------------------------------------------------------------------------- */

START_TEST(linger_keeps_the_name_for_a_while)
{
	struct creation again = creation("a", LIFETIME_CLIENTS);
	struct segment *a = make_shared(&alice, "a", LIFETIME_CLIENTS, 10 * SECOND);
	struct grant grant;

	leave(&alice);
	ck_assert_int_eq(a->state, SEGMENT_LINGERING);
	ck_assert_uint_eq(registry_next_deadline(registry), now + 10 * SECOND);
	ck_assert_int_eq(registry_create(registry, &alice, &again, now, &grant, &why),
			 REFUSAL_EXISTS);
	run_at(now + 10 * SECOND - 1);
	ck_assert(is_named("a"));
	run_at(now + 1);
	assert_nothing_left();
}
END_TEST

START_TEST(linger_of_clients_is_revived_by_anybody)
{
	struct segment *a = make_shared(&alice, "a", LIFETIME_CLIENTS, 10 * SECOND);

	leave(&alice);
	ck_assert_int_eq(attach(&bob, 0, "a", true), 0);
	ck_assert_int_eq(a->state, SEGMENT_LIVE);
	ck_assert_uint_eq(registry_next_deadline(registry), 0);
	run_at(now + 100 * SECOND);
	ck_assert(is_named("a"));
	/* The next end lingers for the whole time again. */
	leave(&bob);
	ck_assert_uint_eq(registry_next_deadline(registry), now + 10 * SECOND);
}
END_TEST

/* Does what must not revive, then lets the time run out. */
static void expect_no_revival(struct session *session, bool read_only)
{
	struct segment *a = make_shared(&alice, "a", LIFETIME_OWNER, 10 * SECOND);

	leave(&alice);
	ck_assert_int_eq(attach(session, 0, "a", read_only), 0);
	ck_assert_int_eq(a->state, SEGMENT_LINGERING);
	run_at(now + 10 * SECOND);
	ck_assert(!is_named("a"));
	ck_assert_int_eq(a->state, SEGMENT_DROPPED);
	leave(session);
	assert_nothing_left();
}

START_TEST(linger_of_an_owner_is_not_revived_by_others)
{
	expect_no_revival(&bob, false);
	expect_no_revival(&alice_again, true);
	expect_no_revival(&daemon_user, false);
}
END_TEST

/* The old owner is gone, and the queue has not come to the segment yet. */
START_TEST(a_successor_does_not_come_too_early)
{
	struct segment *a = make_shared(&alice, "a", LIFETIME_OWNER, 10 * SECOND);

	registry_leave(registry, &alice, 0);
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), 0);
	ck_assert_ptr_eq(a->owner, &alice_again);
	run_at(now + 100 * SECOND);
	ck_assert_int_eq(a->state, SEGMENT_LIVE);
	/* Without a linger, it has ended for whoever comes next, whatever they want. */
	make(&alice, "b", LIFETIME_OWNER);
	registry_leave(registry, &alice, 0);
	ck_assert_int_eq(attach(&alice_again, 0, "b", false), REFUSAL_NOT_FOUND);
	make(&alice, "b", LIFETIME_OWNER);
	registry_leave(registry, &alice, 0);
	make(&alice, "b", LIFETIME_OWNER);
}
END_TEST

START_TEST(linger_of_an_owner_makes_a_new_owner)
{
	struct segment *a = make_shared(&alice, "a", LIFETIME_OWNER, 10 * SECOND);

	leave(&alice);
	ck_assert_int_eq(attach(&bob, 0, "a", false), 0);
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), 0);
	ck_assert_int_eq(a->state, SEGMENT_LIVE);
	run_at(now + 100 * SECOND);
	ck_assert(is_named("a"));
	leave(&bob);
	ck_assert_int_eq(a->state, SEGMENT_LIVE);
	leave(&alice_again);
	ck_assert_int_eq(a->state, SEGMENT_LINGERING);
	ck_assert_uint_eq(registry_next_deadline(registry), now + 10 * SECOND);
}
END_TEST

START_TEST(linger_is_revived_by_creating_or_opening)
{
	struct creation what = creation("a", LIFETIME_OWNER);
	struct segment *a = make_shared(&alice, "a", LIFETIME_OWNER, 10 * SECOND);

	leave(&alice);
	what.open_existing = true;
	struct grant grant = create_as(&alice_again, &what);
	ck_assert(!grant.is_new);
	close_fd(grant.fd);
	ck_assert_int_eq(a->state, SEGMENT_LIVE);
	ck_assert_ptr_eq(a->owner, &alice_again);
}
END_TEST

/* The time is up, but somebody comes back before the queue's turn. */
START_TEST(linger_is_revived_at_the_last_moment)
{
	make_shared(&alice, "a", LIFETIME_OWNER, 10 * SECOND);
	leave(&alice);
	run_at(now + 10 * SECOND - 1);
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), 0);
	run_at(now + 10 * SECOND);
	ck_assert(is_named("a"));
}
END_TEST

START_TEST(linger_ends_by_unlinking)
{
	make_shared(&alice, "a", LIFETIME_CLIENTS, 10 * SECOND);
	leave(&alice);
	ck_assert_int_eq(unlink_name(&alice_again, "a"), 0);
	assert_nothing_left();
}
END_TEST

START_TEST(nobody_lingers_without_a_name)
{
	make_shared(&alice, "", LIFETIME_CLIENTS, 10 * SECOND);
	leave(&alice);
	assert_nothing_left();
}
END_TEST

/* --- who finds what --------------------------------------------------------------------------- */

START_TEST(anonymous_is_for_its_user)
{
	struct segment *a = make_shared(&alice, "", LIFETIME_CLIENTS, 0);
	struct segment *found;

	ck_assert_int_eq(attach(&bob, a->id, "", true), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(registry_find(registry, &bob.who, a->id, "", &found, &why),
			 REFUSAL_NOT_FOUND);
	ck_assert_int_eq(registry_unlink(registry, &bob, a->id, "", now, &(uint64_t){0}, &why),
			 REFUSAL_NOT_FOUND);
	ck_assert_int_eq(attach(&alice_again, a->id, "", false), 0);
	ck_assert_int_eq(attach(&daemon_user, a->id, "", false), 0);
	ck_assert(!segment_is_visible(a, &bob.who));
	ck_assert(segment_is_visible(a, &alice_again.who));
	ck_assert(segment_is_visible(a, &daemon_user.who));
}
END_TEST

START_TEST(ids_only_grow)
{
	uint64_t last = FIRST_ID - 1;
	static const char *const names[] = {"a", NULL, "b", "a", NULL, "a"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct segment *segment = make(&alice, names[i], LIFETIME_CLIENTS);
		ck_assert_uint_gt(segment->id, last);
		last = segment->id;
		if (i % 2)
			leave(&alice);
	}
}
END_TEST

START_TEST(next_goes_through_all_by_id)
{
	uint64_t ids[5];

	for (int i = 0; i < 5; i++)
		ids[i] = make(&alice, NULL, LIFETIME_CLIENTS)->id;
	ck_assert_uint_eq(registry_next(registry, 0)->id, ids[0]);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(registry_next(registry, ids[i])->id, ids[i + 1]);
	ck_assert_ptr_null(registry_next(registry, ids[4]));
	/* The one that a page ended with may be gone when the next page is asked for. */
	ck_assert_int_eq(detach(&alice, ids[2], false), 0);
	ck_assert_uint_eq(registry_next(registry, ids[2])->id, ids[3]);
	ck_assert_uint_eq(registry_next(registry, ids[1])->id, ids[3]);
}
END_TEST

START_TEST(mode_decides_who_attaches)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct segment *found;
	struct grant grant;

	what.mode = 0644;
	close_fd(create_as(&alice, &what).fd);
	make(&alice, "private", LIFETIME_CLIENTS);
	ck_assert_int_eq(attach(&bob, 0, "a", false), REFUSAL_DENIED);
	unit_assert_has(why.text, "read and write");
	unit_assert_has(why.text, "'a'");
	ck_assert_int_eq(registry_attach(registry, &bob, 0, "a", true, now, &grant, &why), 0);
	ck_assert_int_eq(fcntl(grant.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close_fd(grant.fd);
	ck_assert_int_eq(attach(&bob, 0, "private", true), REFUSAL_DENIED);
	ck_assert_int_eq(registry_find(registry, &bob.who, 0, "private", &found, &why),
			 REFUSAL_DENIED);
	ck_assert_int_eq(registry_find(registry, &bob.who, 0, "a", &found, &why), 0);
	ck_assert_int_eq(attach(&stranger, 0, "private", true), REFUSAL_DENIED);
	ck_assert_uint_eq(session_segments(&bob), 1);
}
END_TEST

START_TEST(names_are_checked_everywhere)
{
	struct creation what = creation("a/b", LIFETIME_CLIENTS);
	struct segment *found;
	struct grant grant;

	ck_assert_int_eq(registry_create(registry, &alice, &what, now, &grant, &why),
			 REFUSAL_INVALID);
	ck_assert_int_eq(attach(&alice, 0, "..", false), REFUSAL_INVALID);
	ck_assert_int_eq(unlink_name(&alice, "a\n"), REFUSAL_INVALID);
	ck_assert_int_eq(registry_find(registry, &alice.who, 0, "", &found, &why), REFUSAL_INVALID);
	assert_nothing_left();
}
END_TEST

START_TEST(one_slash_in_front_is_dropped)
{
	struct segment *a = make(&alice, "/a", LIFETIME_CLIENTS);

	ck_assert_str_eq(a->name, "a");
	ck_assert_int_eq(attach(&alice, 0, "a", false), 0);
	ck_assert_int_eq(attach(&alice, 0, "/a", false), 0);
	ck_assert_int_eq(attach(&alice, 0, "//a", false), REFUSAL_INVALID);
}
END_TEST

/* --- creating --------------------------------------------------------------------------------- */

START_TEST(create_gives_what_was_asked_for)
{
	struct creation what = {.name = "a",
				.size = 12345,
				.mode = 0640,
				.lifetime = LIFETIME_OWNER,
				.linger_ns = 7,
				.permits = 3};
	struct grant grant = create_as(&alice, &what);
	const struct segment *a = grant.segment;

	ck_assert(grant.is_new);
	ck_assert_uint_eq(a->id, FIRST_ID);
	ck_assert_uint_eq(a->size, 12345);
	ck_assert_uint_eq(lseek(grant.fd, 0, SEEK_END), 12345);
	ck_assert_uint_eq(a->ownership.uid, ALICE);
	ck_assert_uint_eq(a->ownership.mode, 0640);
	ck_assert_uint_eq(a->linger_ns, 7);
	ck_assert_uint_eq(a->created_at, now);
	ck_assert_int_eq(semaphore_value(&a->semaphore), 3);
	ck_assert_int_eq(fcntl(grant.fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ck_assert_int_eq(fcntl(grant.fd, F_GETFD), FD_CLOEXEC);
	close_fd(grant.fd);
}
END_TEST

START_TEST(a_second_create_is_refused)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant;

	make_shared(&alice, "a", LIFETIME_CLIENTS, 0);
	ck_assert_int_eq(registry_create(registry, &bob, &what, now, &grant, &why), REFUSAL_EXISTS);
	unit_assert_has(why.text, "'a'");
	ck_assert_uint_eq(quota_used_by(&registry->quota, BOB, QUOTA_SEGMENTS), 0);
}
END_TEST

START_TEST(open_existing_attaches_or_creates)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);

	what.open_existing = true;
	struct grant first = create_as(&alice, &what);
	ck_assert(first.is_new);
	close_fd(first.fd);
	what.size = 1;
	struct grant second = create_as(&alice_again, &what);
	ck_assert(!second.is_new);
	ck_assert_ptr_eq(second.segment, first.segment);
	close_fd(second.fd);
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_CREATED], 1);
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_ATTACHED], 1);
}
END_TEST

START_TEST(open_existing_has_its_rules)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant;

	make(&alice, "a", LIFETIME_CLIENTS);
	what.open_existing = true;
	ck_assert_int_eq(registry_create(registry, &bob, &what, now, &grant, &why), REFUSAL_DENIED);
	what.size = 4097;
	ck_assert_int_eq(registry_create(registry, &alice, &what, now, &grant, &why),
			 REFUSAL_INVALID);
	unit_assert_has(why.text, "4096 bytes");
	unit_assert_has(why.text, "4097");
}
END_TEST

static void expect_refusal(struct session *session, const struct creation *what,
			   enum refusal_code code, const char *text)
{
	struct grant grant;
	unsigned before = unit_descriptors();

	ck_assert_int_eq(registry_create(registry, session, what, now, &grant, &why), (int)code);
	ck_assert_int_eq(why.code, code);
	unit_assert_has(why.text, text);
	ck_assert_uint_eq(unit_descriptors(), before);
}

START_TEST(create_refuses_what_cannot_be)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);

	expect_refusal(&stranger, &what, REFUSAL_DENIED, "uid 65534");
	what.size = 0;
	expect_refusal(&alice, &what, REFUSAL_INVALID, "at least 1 byte");
	what.size = INT64_MAX;
	expect_refusal(&alice, &what, REFUSAL_INVALID, "9223372036854775807");
	what = creation("a", LIFETIME_CLIENTS);
	what.permits = (unsigned)INT32_MAX + 1;
	expect_refusal(&alice, &what, REFUSAL_INVALID, "2147483647");
	what = creation("a", LIFETIME_PERSISTENT);
	what.linger_ns = 1;
	expect_refusal(&alice, &what, REFUSAL_INVALID, "linger");
	what = creation("", LIFETIME_CLIENTS);
	what.size = 0;
	expect_refusal(&alice, &what, REFUSAL_INVALID, "at least 1 byte");
	assert_nothing_left();
}
END_TEST

/* Nothing is left of what a limit refused; the limit, its value and its use are in the text. */
static void expect_limit(enum quota_resource resource, bool per_user, uint64_t limit,
			 const char *text)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	uint64_t *option = per_user ? &registry->quota.limits.per_user[resource]
				    : &registry->quota.limits.total[resource];
	uint64_t before = *option;

	*option = limit;
	expect_refusal(&alice, &what, REFUSAL_LIMIT, text);
	*option = before;
	assert_nothing_left();
}

START_TEST(limits_leave_nothing_behind)
{
	expect_limit(QUOTA_SEGMENTS, true, 0, "segments_per_user=0 is reached: 0 in use, 1 more");
	expect_limit(QUOTA_SEGMENTS, false, 0, "segments=0 is reached: 0 in use, 1 more");
	expect_limit(QUOTA_SEMAPHORES, true, 0, "semaphores_per_user=0 is reached: 0 in use");
	expect_limit(QUOTA_SEMAPHORES, false, 0, "semaphores=0 is reached: 0 in use, 1 more");
	expect_limit(QUOTA_BYTES, true, 4095,
		     "bytes_per_user=4095 is reached: 0 in use, 4096 more");
	expect_limit(QUOTA_BYTES, false, 4095, "bytes=4095 is reached: 0 in use, 4096 more");
	expect_limit(QUOTA_ATTACHMENTS, true, 0,
		     "attachments_per_user=0 is reached: 0 in use, 1 more");
	expect_limit(QUOTA_ATTACHMENTS, false, 0, "attachments=0 is reached: 0 in use, 1 more");
}
END_TEST

START_TEST(attachments_have_a_limit)
{
	make_shared(&alice, "a", LIFETIME_CLIENTS, 0);
	registry->quota.limits.per_user[QUOTA_ATTACHMENTS] = 1;
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), REFUSAL_LIMIT);
	unit_assert_has(why.text, "attachments_per_user=1 is reached: 1 in use");
	/* A pair counts once, and every user for itself. */
	ck_assert_int_eq(attach(&alice, 0, "a", true), 0);
	ck_assert_int_eq(attach(&bob, 0, "a", true), 0);
	ck_assert_uint_eq(session_segments(&alice_again), 0);
}
END_TEST

/* A revival must not come of an attach that was refused. */
START_TEST(a_refused_attach_revives_nothing)
{
	struct segment *a = make_shared(&alice, "a", LIFETIME_OWNER, 10 * SECOND);

	leave(&alice);
	registry->quota.limits.per_user[QUOTA_ATTACHMENTS] = 0;
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), REFUSAL_LIMIT);
	ck_assert_int_eq(a->state, SEGMENT_LINGERING);
	ck_assert_uint_eq(registry_next_deadline(registry), now + 10 * SECOND);
}
END_TEST

START_TEST(no_folder_no_registry)
{
	struct registry *none = NULL;
	unsigned before = unit_descriptors();

	ck_assert_int_eq(registry_new(&none, &registry->quota.limits, "/proc/none", 1), -ENOENT);
	ck_assert_ptr_null(none);
	ck_assert_uint_eq(unit_descriptors(), before);
}
END_TEST

/* --- attachments ------------------------------------------------------------------------------ */

START_TEST(detach_counts_each_access)
{
	struct segment *a = make(&alice, "a", LIFETIME_CLIENTS);
	uint64_t id = a->id;

	ck_assert_int_eq(attach(&alice, 0, "a", false), 0);
	ck_assert_int_eq(attach(&alice, 0, "a", true), 0);
	ck_assert_uint_eq(a->n_attachments, 1);
	ck_assert_int_eq(detach(&alice, id, false), 0);
	ck_assert_int_eq(detach(&alice, id, false), 0);
	ck_assert_int_eq(detach(&alice, id, false), REFUSAL_NOT_FOUND);
	unit_assert_has(why.text, "for writing");
	ck_assert(is_named("a"));
	ck_assert_int_eq(detach(&bob, id, true), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(detach(&alice, id, true), 0);
	ck_assert_int_eq(detach(&alice, id, true), REFUSAL_NOT_FOUND);
	assert_nothing_left();
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_DETACHED], 3);
}
END_TEST

/* One description for all would exclude nobody. */
START_TEST(each_attachment_has_its_own_file_locks)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant one = create_as(&alice, &what);
	struct grant two;

	ck_assert_int_eq(registry_attach(registry, &alice_again, 0, "a", false, now, &two, &why),
			 0);
	ck_assert_int_eq(flock(one.fd, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_eq(flock(two.fd, LOCK_EX | LOCK_NB), -1);
	close_fd(one.fd);
	ck_assert_int_eq(flock(two.fd, LOCK_EX | LOCK_NB), 0);
	close_fd(two.fd);
}
END_TEST

static bool gets_semaphore(struct session *session, const char *name, bool read_only)
{
	struct grant grant;

	ck_assert_int_eq(registry_attach(registry, session, 0, name, read_only, now, &grant, &why),
			 0);
	close_fd(grant.fd);
	return grant.semaphore_fd >= 0;
}

START_TEST(semaphores_are_for_writers)
{
	struct creation what = creation("readers", LIFETIME_CLIENTS);

	make(&alice, "writers", LIFETIME_CLIENTS);
	what.readers_lock = true;
	close_fd(create_as(&alice, &what).fd);
	what = creation("none", LIFETIME_CLIENTS);
	what.permits = 0;
	close_fd(create_as(&alice, &what).fd);

	ck_assert(gets_semaphore(&alice, "writers", false));
	ck_assert(!gets_semaphore(&alice, "writers", true));
	ck_assert(gets_semaphore(&alice, "readers", true));
	ck_assert(!gets_semaphore(&alice, "none", false));
	/* One whose sem_t is laid out otherwise. */
	alice_again.can_lock = false;
	ck_assert(!gets_semaphore(&alice_again, "writers", false));
}
END_TEST

/* --- permits ---------------------------------------------------------------------------------- */

static struct grant lock_as(struct session *session, const char *name, bool read_only)
{
	struct grant grant;

	ck_assert_int_eq(registry_attach(registry, session, 0, name, read_only, now, &grant, &why),
			 0);
	close_fd(grant.fd);
	registry_grant_lock(registry, session, read_only, &grant);
	return grant;
}

static unsigned number_of(struct session *session, const char *name)
{
	struct grant grant = lock_as(session, name, false);

	ck_assert_int_eq(grant.lock, LOCK_GRANTED);
	ck_assert_uint_gt(grant.number, 0);
	return grant.number;
}

/* As the library would, in the slot of a segment with several permits. */
static void hold(const struct segment *segment, unsigned number, uint32_t permits)
{
	uint64_t slot = permits, word = segment->ledger.permits - permits;

	ck_assert_int_eq(pwrite(segment->ledger.fd, &slot, sizeof(slot),
				(off_t)(number * sizeof(slot))),
			 sizeof(slot));
	ck_assert_int_eq(pwrite(segment->semaphore.fd, &word, sizeof(word), 0), sizeof(word));
}

static struct segment *make_lockable(enum lifetime lifetime)
{
	struct creation what = creation("a", lifetime);

	what.mode = 0666;
	what.permits = 3;
	struct grant grant = create_as(&alice, &what);
	close_fd(grant.fd);
	return grant.segment;
}

START_TEST(who_may_lock_gets_a_number)
{
	struct creation what = creation("one", LIFETIME_CLIENTS);

	close_fd(create_as(&alice, &what).fd);
	struct grant grant = lock_as(&alice, "one", false);
	ck_assert_int_eq(grant.lock, LOCK_GRANTED);
	ck_assert_uint_eq(grant.number, 1);
	ck_assert_int_eq(grant.ledger_fd, -1);
	const struct segment *a = make_lockable(LIFETIME_CLIENTS);
	grant = lock_as(&alice, "a", false);
	ck_assert_int_eq(grant.ledger_fd, a->ledger.fd);
	ck_assert_int_eq(grant.semaphore_fd, a->semaphore.fd);
	/* One for each pair, however often it attaches. */
	ck_assert_uint_eq(number_of(&alice, "a"), grant.number);
	ck_assert_uint_ne(number_of(&alice_again, "a"), grant.number);
	ck_assert_uint_ne(number_of(&bob, "a"), grant.number);
	ck_assert_uint_ne(number_of(&bob, "a"), number_of(&alice_again, "a"));
}
END_TEST

/* The file is made for the first who wants it, and nobody notices. */
START_TEST(a_semaphore_can_be_put_off)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);

	what.late_semaphore = true;
	what.permits = 3;
	struct grant grant = create_as(&alice, &what);
	close_fd(grant.fd);
	ck_assert_int_eq(grant.semaphore_fd, -1);
	ck_assert_uint_eq(unit_entries(unit_folder), 1);
	ck_assert_uint_eq(quota_used_by(&registry->quota, ALICE, QUOTA_SEMAPHORES), 1);
	ck_assert_int_eq(registry_grant_semaphore(registry, &alice, false, &grant, &why), 0);
	ck_assert_int_ge(grant.semaphore_fd, 0);
	ck_assert_uint_eq(unit_entries(unit_folder), 2);
	ck_assert_int_eq(semaphore_value(&grant.segment->semaphore), 3);
	char file[64];
	snprintf(file, sizeof(file), "sem.%s", grant.segment->semaphore.name);
	ck_assert_ptr_eq(recovery_find(&registry->recovery, file), grant.segment);
	registry_grant_lock(registry, &alice, false, &grant);
	ck_assert_int_eq(grant.lock, LOCK_GRANTED);
	leave(&alice);
	assert_nothing_left();
}
END_TEST

/* Programs may open it by its own name, whether the segment has one or not. */
START_TEST(what_is_put_off_is_looked_after_without_a_name)
{
	struct creation what = creation("", LIFETIME_CLIENTS);
	char file[64];

	what.late_semaphore = true;
	struct grant grant = create_as(&alice, &what);
	close_fd(grant.fd);
	ck_assert_int_eq(registry_grant_semaphore(registry, &alice, false, &grant, &why), 0);
	snprintf(file, sizeof(file), "sem.%s", grant.segment->semaphore.name);
	ck_assert_ptr_eq(recovery_find(&registry->recovery, file), grant.segment);
	leave(&alice);
	assert_nothing_left();
}
END_TEST

START_TEST(what_is_put_off_needs_no_name_any_more)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);

	what.late_semaphore = true;
	struct grant grant = create_as(&alice, &what);
	close_fd(grant.fd);
	ck_assert_int_eq(unlink_name(&alice, "a"), 0);
	ck_assert_int_eq(registry_grant_semaphore(registry, &alice, false, &grant, &why), 0);
	ck_assert_uint_eq(unit_entries(unit_folder), 1);
	ck_assert_int_eq(semaphore_value(&grant.segment->semaphore), 1);
	leave(&alice);
	assert_nothing_left();
}
END_TEST

START_TEST(who_may_not_is_told_why)
{
	struct creation what = creation("readers", LIFETIME_CLIENTS);

	make_shared(&alice, "a", LIFETIME_CLIENTS, 0);
	what.readers_lock = true;
	close_fd(create_as(&alice, &what).fd);
	what = creation("none", LIFETIME_CLIENTS);
	what.permits = 0;
	close_fd(create_as(&alice, &what).fd);
	ck_assert_int_eq(lock_as(&alice, "none", false).lock, LOCK_NO_SEMAPHORE);
	ck_assert_int_eq(lock_as(&bob, "a", true).lock, LOCK_READ_ONLY);
	ck_assert_int_eq(lock_as(&alice, "readers", true).lock, LOCK_GRANTED);
	ck_assert_int_eq(lock_as(&daemon_user, "a", false).lock, LOCK_UNWATCHED);
	bob.can_lock = false;
	struct grant refused = lock_as(&bob, "a", false);
	ck_assert_int_eq(refused.lock, LOCK_LAYOUT);
	ck_assert_uint_eq(refused.number, 0);
	ck_assert_int_eq(refused.ledger_fd, -1);
	registry->has_words = false;
	ck_assert_int_eq(lock_as(&alice, "a", false).lock, LOCK_LAYOUT);
}
END_TEST

START_TEST(all_numbers_may_be_given)
{
	struct segment *a = make_lockable(LIFETIME_CLIENTS);
	struct locker *locker;
	struct estate crowd;

	estate_init(&crowd, &registry->emptied);
	for (unsigned i = 0; i < WORD_NUMBER_MAX; i++)
		ck_assert_int_eq(locker_new(&a->ledger, &crowd, a->id, 1, 1, &locker), 0);
	ck_assert_int_eq(lock_as(&bob, "a", false).lock, LOCK_NO_NUMBER);
	locker_free(locker);
	ck_assert_uint_eq(number_of(&bob, "a"), WORD_NUMBER_MAX);
	estate_fini(&crowd);
}
END_TEST

START_TEST(detaching_gives_the_number_back)
{
	struct segment *a = make_lockable(LIFETIME_PERSISTENT);
	unsigned number = number_of(&alice, "a");

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(detach(&alice, a->id, false), 0);
	ck_assert_ptr_null(a->ledger.lockers);
	ck_assert_ptr_eq(registry_take_emptied(registry), &alices);
	ck_assert_ptr_null(registry_take_emptied(registry));
	ck_assert_uint_eq(number_of(&bob, "a"), number);
}
END_TEST

/* Who held a permit as it detached holds it still, at the price of the attachment. */
START_TEST(a_held_number_is_kept)
{
	struct segment *a = make_lockable(LIFETIME_PERSISTENT);
	unsigned number = number_of(&alice, "a");

	hold(a, number, 1);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(detach(&alice, a->id, false), 0);
	ck_assert_uint_eq(a->n_attachments, 0);
	ck_assert_uint_eq(quota_used_by(&registry->quota, ALICE, QUOTA_ATTACHMENTS), 1);
	ck_assert_ptr_null(registry_take_emptied(registry));
	ck_assert_uint_ne(number_of(&bob, "a"), number);
	/* Its process goes on with it, through whichever connection. */
	ck_assert_uint_eq(number_of(&alice_again, "a"), number);
	ck_assert_uint_eq(quota_used_by(&registry->quota, ALICE, QUOTA_ATTACHMENTS), 1);
}
END_TEST

/* A process that has lost its connection may be inside its critical section. */
START_TEST(leaving_is_no_death)
{
	struct segment *a = make_lockable(LIFETIME_PERSISTENT);
	unsigned number = number_of(&alice, "a");

	hold(a, number, 2);
	leave(&alice);
	ck_assert_int_eq(semaphore_value(&a->semaphore), 1);
	ck_assert_ptr_nonnull(a->ledger.lockers);
	ck_assert_uint_eq(quota_used_by(&registry->quota, ALICE, QUOTA_ATTACHMENTS), 1);
	registry_bury(registry, &alices);
	run();
	ck_assert_int_eq(semaphore_value(&a->semaphore), 3);
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_LOCKS_RECOVERED], 2);
	ck_assert_uint_eq(quota_used_by(&registry->quota, ALICE, QUOTA_ATTACHMENTS), 0);
	ck_assert_ptr_eq(registry_take_emptied(registry), &alices);
}
END_TEST

/* As the daemon does it: the death first, and then the connections go. */
START_TEST(burying_takes_all_of_a_process)
{
	struct segment *a = make_lockable(LIFETIME_CLIENTS);
	unsigned one = number_of(&alice, "a"), two = number_of(&alice_again, "a");
	unsigned bobs_number = number_of(&bob, "a");

	hold(a, one, 1);
	hold(a, two, 1);
	hold(a, bobs_number, 1);
	uint64_t word = 0;
	ck_assert_int_eq(pwrite(a->semaphore.fd, &word, sizeof(word), 0), sizeof(word));
	registry_bury(registry, &alices);
	registry_leave(registry, &alice, 0);
	registry_leave(registry, &alice_again, 0);
	ck_assert_int_eq(semaphore_value(&a->semaphore), 0);
	run();
	ck_assert_int_eq(semaphore_value(&a->semaphore), 2);
	ck_assert_uint_eq(a->ledger.lockers->number, bobs_number);
	ck_assert_ptr_null(a->ledger.lockers->next);
	ck_assert_ptr_eq(registry_take_emptied(registry), &alices);
	leave(&bob);
	assert_nothing_left();
}
END_TEST

START_TEST(keeping_is_for_who_has_a_number)
{
	struct segment *a = make_shared(&alice, "a", LIFETIME_CLIENTS, 0);

	ck_assert_int_eq(registry_keep(registry, &alice, a->id, &why), REFUSAL_NOT_FOUND);
	unit_assert_has(why.text, "no number");
	number_of(&alice, "a");
	ck_assert_int_eq(registry_keep(registry, &alice, a->id, &why), 0);
	ck_assert_int_eq(registry_keep(registry, &alice, a->id, &why), 0);
	ck_assert_uint_eq(a->ledger.n_kept, 1);
	ck_assert_int_eq(registry_keep(registry, &alice_again, a->id, &why), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(registry_keep(registry, &bob, a->id + 1, &why), REFUSAL_NOT_FOUND);
}
END_TEST

/* With nobody attached, and no memory mapped anywhere. */
START_TEST(keeping_keeps_the_segment)
{
	struct segment *a = make_lockable(LIFETIME_CLIENTS);
	unsigned number = number_of(&alice, "a");

	hold(a, number, 1);
	ck_assert_int_eq(registry_keep(registry, &alice, a->id, &why), 0);
	leave(&alice);
	run_at(now + 1000 * SECOND);
	ck_assert(is_named("a"));
	if (_i) {
		ck_assert_int_eq(unlink_name(&daemon_user, "a"), 0);
		ck_assert_int_eq(a->state, SEGMENT_DROPPED);
	}
	registry_bury(registry, &alices);
	run();
	assert_nothing_left();
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_LOCKS_RECOVERED], 0);
}
END_TEST

/* Without a wish to keep it, what a process left behind does not. */
START_TEST(what_is_left_behind_keeps_nothing)
{
	struct segment *a = make_lockable(LIFETIME_CLIENTS);

	hold(a, number_of(&alice, "a"), 1);
	leave(&alice);
	assert_nothing_left();
	ck_assert_ptr_eq(registry_take_emptied(registry), &alices);
	/* Nothing is left that a death could find. */
	registry_bury(registry, &alices);
	run();
}
END_TEST

static int open_by_name(const struct segment *segment)
{
	char file[64];

	snprintf(file, sizeof(file), "sem.%s", segment->semaphore.name);
	int fd = openat(registry->instance.folder, file, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void take_by_name(int fd)
{
	uint64_t word = 2;

	ck_assert_int_eq(pwrite(fd, &word, sizeof(word), 0), sizeof(word));
}

static void hear_and_settle(void)
{
	unit_wait(registry->watch.fd);
	registry_read_watch(registry, now);
	run();
	while (registry_next_deadline(registry))
		run_at(registry_next_deadline(registry));
}

START_TEST(a_close_makes_an_audit_due)
{
	struct segment *a = make_lockable(LIFETIME_PERSISTENT);
	struct segment *b = make(&alice, "b", LIFETIME_PERSISTENT);
	int fd = open_by_name(a);

	take_by_name(fd);
	close_fd(fd);
	unit_wait(registry->watch.fd);
	registry_read_watch(registry, now);
	ck_assert(a->is_audit_due);
	ck_assert(!b->is_audit_due);
	run();
	while (registry_next_deadline(registry))
		run_at(registry_next_deadline(registry));
	ck_assert_int_eq(semaphore_value(&a->semaphore), 3);
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_LOCKS_RECOVERED], 1);
}
END_TEST

START_TEST(a_close_after_the_unlink_too)
{
	struct segment *a = make_lockable(LIFETIME_PERSISTENT);

	number_of(&alice, "a");
	int fd = open_by_name(a);
	ck_assert_int_eq(unlink_name(&alice, "a"), 0);
	take_by_name(fd);
	close_fd(fd);
	hear_and_settle();
	ck_assert_int_eq(semaphore_value(&a->semaphore), 3);
	leave(&alice);
	assert_nothing_left();
}
END_TEST

/* What the kernel has lost may have been any file's. */
START_TEST(lost_words_make_all_audits_due)
{
	struct segment *a = make_lockable(LIFETIME_PERSISTENT);
	struct segment *b = make(&alice, "b", LIFETIME_PERSISTENT);
	struct segment *silent = make(&alice, "c", LIFETIME_PERSISTENT);

	/* Two files in turn, for a word that only repeats the last is none. */
	for (int i = 0; i < 40000; i++)
		close_fd(open_by_name(i % 2 ? a : b));
	for (int i = 0; !silent->is_audit_due; i++) {
		ck_assert_int_lt(i, 10000);
		unit_wait(registry->watch.fd);
		registry_read_watch(registry, now);
	}
	run();
	ck_assert(!silent->is_audit_due);
}
END_TEST

/* Without the folder's watch, the last client's going has to do. */
START_TEST(without_inotify_the_last_client_audits)
{
	struct segment *a = make_lockable(LIFETIME_PERSISTENT);
	int fd = open_by_name(a);

	watch_fini(&registry->watch);
	registry->watch.folder = 0;
	number_of(&bob, "a");
	take_by_name(fd);
	close_fd(fd);
	leave(&bob);
	ck_assert_int_eq(semaphore_value(&a->semaphore), 2);
	leave(&alice);
	ck_assert_int_eq(semaphore_value(&a->semaphore), 3);
}
END_TEST

/* --- kernels that tell less ------------------------------------------------------------------- */

START_TEST(without_leases_the_books_decide)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);

	registry->has_leases = false;
	leave(&alice);
	assert_nothing_left();
	/* What the client still has works on. */
	ck_assert_int_eq(pwrite(grant.fd, "x", 1, 0), 1);
	close_fd(grant.fd);
}
END_TEST

START_TEST(without_inotify_it_looks_again_and_again)
{
	struct creation what = creation("a", LIFETIME_CLIENTS);
	struct grant grant = create_as(&alice, &what);
	uint64_t pause = NSEC_PER_MSEC / 2;

	watch_fini(&registry->watch);
	leave(&alice);
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(registry_next_deadline(registry) - now, pause);
		run_at(registry_next_deadline(registry));
		ck_assert(is_named("a"));
		pause = pause < SECOND / 2 ? 2 * pause : SECOND;
	}
	close_fd(grant.fd);
	run_at(registry_next_deadline(registry));
	assert_nothing_left();
}
END_TEST

/* --- the daemon's turn ------------------------------------------------------------------------ */

START_TEST(settling_is_sliced)
{
	int fds[2];

	for (int i = 0; i < 10; i++)
		make(&alice, NULL, LIFETIME_CLIENTS);
	registry_leave(registry, &alice, 0);
	ck_assert_uint_eq(session_segments(&alice), 0);
	for (int slice = 1; slice <= 4; slice++) {
		ck_assert_int_eq(registry_settle_some(registry, 3, now), slice < 4);
		ck_assert_uint_eq(registry->statistics.counts[STATISTIC_REAPED],
				  slice < 4 ? 3 * slice : 10);
	}
	ck_assert(!registry_settle_some(registry, 3, now));
	for (int i = 0; i < 10; i++) {
		struct segment *segment = registry_take_unused(registry, fds);
		close_fd(fds[0]);
		close_fd(fds[1]);
		registry_forget(registry, segment);
	}
	assert_nothing_left();
}
END_TEST

/* Whoever comes between the leaving and the queue's turn finds what the turn would have left. */
START_TEST(an_attach_before_the_turn_comes_too_late)
{
	make(&alice, "a", LIFETIME_CLIENTS);
	registry_leave(registry, &alice, 0);
	ck_assert_int_eq(attach(&alice_again, 0, "a", false), REFUSAL_NOT_FOUND);
	run();
	assert_nothing_left();
}
END_TEST

START_TEST(the_end_takes_everything_along)
{
	make(&alice, "a", LIFETIME_PERSISTENT);
	make(&alice, "b", LIFETIME_CLIENTS);
	make(&alice, NULL, LIFETIME_OWNER);
	make_shared(&bob, "c", LIFETIME_OWNER, 5 * SECOND);
	leave(&bob);
	ck_assert_int_eq(unlink_name(&alice, "b"), 0);
	ck_assert_uint_gt(unit_entries(unit_folder), 3);
	/* tear_down() looks at what is left. */
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, clients_ends_with_its_last_client);
	tcase_add_test(tests, clients_ends_by_detaching);
	tcase_add_test(tests, clients_waits_for_an_open_descriptor);
	tcase_add_test(tests, clients_waits_for_a_mapping);
	tcase_add_test(tests, clients_waits_for_a_forked_child);
	tcase_add_test(tests, an_attach_stops_the_waiting);
	tcase_add_test(tests, tests_are_repeated_after_a_close);
	tcase_add_test(tests, a_new_watch_is_not_the_only_hope);
	tcase_add_test(tests, a_full_table_delays_the_end_only);
	tcase_add_test(tests, owner_ends_with_its_owner);
	tcase_add_test(tests, owner_survives_others_leaving);
	tcase_add_test(tests, owner_ends_with_the_last_of_its_attachments);
	tcase_add_test(tests, persistent_stays_until_unlinked);
	tcase_add_test(tests, persistent_without_a_name_ends_with_its_clients);
	tcase_add_test(tests, unlink_drops_the_name_alone);
	tcase_add_test(tests, unlink_is_for_owner_and_administrator);
	tcase_add_test(tests, dropped_stays_charged_and_listed);
	tcase_add_test(tests, charged_until_closed);
	tcase_add_test(tests, linger_keeps_the_name_for_a_while);
	tcase_add_test(tests, linger_of_clients_is_revived_by_anybody);
	tcase_add_test(tests, linger_of_an_owner_is_not_revived_by_others);
	tcase_add_test(tests, linger_of_an_owner_makes_a_new_owner);
	tcase_add_test(tests, a_successor_does_not_come_too_early);
	tcase_add_test(tests, linger_is_revived_by_creating_or_opening);
	tcase_add_test(tests, linger_is_revived_at_the_last_moment);
	tcase_add_test(tests, linger_ends_by_unlinking);
	tcase_add_test(tests, nobody_lingers_without_a_name);
	tcase_add_test(tests, anonymous_is_for_its_user);
	tcase_add_test(tests, ids_only_grow);
	tcase_add_test(tests, next_goes_through_all_by_id);
	tcase_add_test(tests, mode_decides_who_attaches);
	tcase_add_test(tests, names_are_checked_everywhere);
	tcase_add_test(tests, one_slash_in_front_is_dropped);
	tcase_add_test(tests, create_gives_what_was_asked_for);
	tcase_add_test(tests, a_second_create_is_refused);
	tcase_add_test(tests, open_existing_attaches_or_creates);
	tcase_add_test(tests, open_existing_has_its_rules);
	tcase_add_test(tests, create_refuses_what_cannot_be);
	tcase_add_test(tests, limits_leave_nothing_behind);
	tcase_add_test(tests, attachments_have_a_limit);
	tcase_add_test(tests, a_refused_attach_revives_nothing);
	tcase_add_test(tests, no_folder_no_registry);
	tcase_add_test(tests, detach_counts_each_access);
	tcase_add_test(tests, each_attachment_has_its_own_file_locks);
	tcase_add_test(tests, semaphores_are_for_writers);
	tcase_add_test(tests, who_may_lock_gets_a_number);
	tcase_add_test(tests, a_semaphore_can_be_put_off);
	tcase_add_test(tests, what_is_put_off_is_looked_after_without_a_name);
	tcase_add_test(tests, what_is_put_off_needs_no_name_any_more);
	tcase_add_test(tests, who_may_not_is_told_why);
	tcase_add_test(tests, all_numbers_may_be_given);
	tcase_add_test(tests, detaching_gives_the_number_back);
	tcase_add_test(tests, a_held_number_is_kept);
	tcase_add_test(tests, leaving_is_no_death);
	tcase_add_test(tests, burying_takes_all_of_a_process);
	tcase_add_test(tests, keeping_is_for_who_has_a_number);
	tcase_add_loop_test(tests, keeping_keeps_the_segment, 0, 2);
	tcase_add_test(tests, what_is_left_behind_keeps_nothing);
	tcase_add_test(tests, a_close_makes_an_audit_due);
	tcase_add_test(tests, a_close_after_the_unlink_too);
	tcase_add_test(tests, lost_words_make_all_audits_due);
	tcase_add_test(tests, without_inotify_the_last_client_audits);
	tcase_add_test(tests, without_leases_the_books_decide);
	tcase_add_test(tests, without_inotify_it_looks_again_and_again);
	tcase_add_test(tests, settling_is_sliced);
	tcase_add_test(tests, an_attach_before_the_turn_comes_too_late);
	tcase_add_test(tests, the_end_takes_everything_along);
}

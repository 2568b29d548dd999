/* SPDX-License-Identifier: MIT */
/* Descriptors that are sent and not read: on real sockets, for the kernel alone knows who has read. */
#include "unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shmd/unread.h"
#include "wire/channel.h"

#define PER_USER 20
#define ALICE    1001
#define BOB      1002

static struct quota quota;
static struct unread_list list;
static struct refusal why;
static unsigned descriptors_before;

/* A client of a user's, and the other end. */
struct pair {
	struct credentials who;
	struct unread *unread;
	struct charge charge; /* for being a client */
	int ours, theirs;
};

static void set_up(void)
{
	struct quota_limits limits;

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = 1000, limits.per_user[i] = PER_USER;
	descriptors_before = unit_descriptors();
	quota_init(&quota, &limits);
	list = (struct unread_list){0};
}

static void tear_down(void)
{
	unread_list_fini(&list);
	ck_assert_uint_eq(list.n_left, 0);
	ck_assert_ptr_null(list.first);
	for (int i = 0; i < QUOTA_RESOURCES; i++)
		ck_assert_uint_eq(quota.used[i], 0);
	ck_assert_ptr_null(quota.users);
	quota_fini(&quota);
	ck_assert_uint_eq(unit_descriptors(), descriptors_before);
}

static struct pair come(uid_t uid)
{
	struct pair pair;
	int fds[2];

	credentials_init(&pair.who, uid, uid, NULL, 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	pair.ours = fds[0];
	pair.theirs = fds[1];
	ck_assert_int_eq(quota_charge(&quota, &pair.who, QUOTA_CLIENTS, 1, &pair.charge, &why), 0);
	ck_assert_int_eq(unread_new(&pair.unread, pair.ours, &list, &quota, &pair.who, &why), 0);
	return pair;
}

static void leave(struct pair *pair)
{
	pair->unread = unread_leave(pair->unread, &pair->charge);
	charge_release(&pair->charge);
}

static int reserve(struct pair *pair, unsigned n)
{
	return unread_reserve(pair->unread, &pair->who, n, &why);
}

/* A reply with n descriptors, for which four were reserved. */
static void reply(struct pair *pair, unsigned n)
{
	int fds[4] = {pair->ours, pair->ours, pair->ours, pair->ours};

	ck_assert_int_eq(reserve(pair, 4), 0);
	unread_return(pair->unread, 4 - n);
	ck_assert_int_eq(channel_send(pair->ours, "12345678", 8, fds, n), 0);
	unread_sent(pair->unread, n);
}

static void read_one(struct pair *pair)
{
	int fds[WIRE_DESCRIPTORS_MAX], truncated;
	char bytes[8];
	size_t n;

	ck_assert_int_eq(channel_receive(pair->theirs, bytes, 8, fds, &n, &truncated), 8);
	while (n > 0)
		close(fds[--n]);
}

static uint64_t used(uid_t uid)
{
	return quota_used_by(&quota, uid, QUOTA_UNREAD);
}

START_TEST(who_was_sent_nothing_is_charged_nothing)
{
	struct pair alice = come(ALICE);

	ck_assert_int_eq(reserve(&alice, 4), 0);
	ck_assert_uint_eq(used(ALICE), 4);
	unread_return(alice.unread, 4);
	ck_assert_uint_eq(used(ALICE), 0);
	ck_assert(!unread_look(&list, 10));
	leave(&alice);
	close(alice.theirs);
}
END_TEST

START_TEST(what_is_sent_is_charged_until_it_is_read)
{
	struct pair alice = come(ALICE);

	reply(&alice, 2);
	reply(&alice, 3);
	ck_assert_uint_eq(used(ALICE), 5);
	ck_assert(!unread_look(&list, 10));
	read_one(&alice);
	ck_assert(!unread_look(&list, 10));
	ck_assert_uint_eq(used(ALICE), 5);
	read_one(&alice);
	ck_assert(unread_look(&list, 10));
	ck_assert_uint_eq(used(ALICE), 0);
	leave(&alice);
	close(alice.theirs);
}
END_TEST

/* What is reserved for a reply in the making is in no socket, and stays charged. */
START_TEST(to_read_gives_nothing_reserved_back)
{
	struct pair alice = come(ALICE);

	reply(&alice, 3);
	ck_assert_int_eq(reserve(&alice, 4), 0);
	read_one(&alice);
	ck_assert(unread_look(&list, 10));
	ck_assert_uint_eq(used(ALICE), 4);
	ck_assert(!unread_look(&list, 10));
	unread_return(alice.unread, 4);
	ck_assert_uint_eq(used(ALICE), 0);
	leave(&alice);
	close(alice.theirs);
}
END_TEST

START_TEST(a_user_has_a_limit_that_is_no_other_users)
{
	struct pair alice = come(ALICE), again = come(ALICE), bob = come(BOB);

	for (int i = 0; i < PER_USER / 4; i++)
		reply(&alice, 4);
	ck_assert(unread_others(again.unread));
	ck_assert_int_eq(reserve(&again, 4), REFUSAL_LIMIT);
	unit_assert_has(why.text, "unread_descriptors_per_user=20");
	ck_assert_int_eq(reserve(&bob, 4), 0);
	/* It may have to wait for them all the same: a total is everybody's. */
	ck_assert(unread_others(bob.unread));
	unread_return(bob.unread, 4);
	for (int i = 0; i < PER_USER / 4; i++)
		read_one(&alice);
	ck_assert(unread_look(&list, 10));
	ck_assert_int_eq(reserve(&again, 4), 0);
	ck_assert(!unread_others(again.unread));
	unread_return(again.unread, 4);
	leave(&alice), leave(&again), leave(&bob);
	close(alice.theirs), close(again.theirs), close(bob.theirs);
}
END_TEST

/* Neither the kernel's count nor ours goes down because our end closes. */
START_TEST(what_a_client_leaves_unread_outlives_it)
{
	struct pair alice = come(ALICE);
	char byte;

	reply(&alice, 3);
	leave(&alice);
	ck_assert_uint_eq(list.n_left, 1);
	ck_assert_uint_eq(used(ALICE), 3);
	ck_assert_uint_eq(quota_used_by(&quota, ALICE, QUOTA_CLIENTS), 1);
	ck_assert(!unread_look(&list, 10));
	/* It learns of its end all the same, behind the reply. */
	read_one(&alice);
	ck_assert_int_eq(recv(alice.theirs, &byte, 1, 0), 0);
	ck_assert(unread_look(&list, 10));
	ck_assert_uint_eq(list.n_left, 0);
	ck_assert_uint_eq(used(ALICE), 0);
	ck_assert_uint_eq(quota_used_by(&quota, ALICE, QUOTA_CLIENTS), 0);
	close(alice.theirs);
}
END_TEST

START_TEST(who_has_closed_has_nothing_unread)
{
	struct pair alice = come(ALICE), bob = come(BOB);

	reply(&alice, 3);
	reply(&bob, 3);
	close(alice.theirs);
	leave(&alice);
	ck_assert_uint_eq(list.n_left, 0);
	leave(&bob);
	ck_assert_uint_eq(list.n_left, 1);
	close(bob.theirs);
	ck_assert(unread_look(&list, 10));
	ck_assert_uint_eq(list.n_left, 0);
}
END_TEST

/* A look goes on where the last one ended, so that who never reads hides nobody who has. */
START_TEST(looks_come_to_everybody)
{
	struct pair pairs[5];

	for (int i = 0; i < 5; i++) {
		pairs[i] = come((uid_t)(ALICE + i));
		reply(&pairs[i], 1);
	}
	read_one(&pairs[4]);
	ck_assert(!unread_look(&list, 2));
	ck_assert(!unread_look(&list, 2));
	ck_assert(unread_look(&list, 2));
	ck_assert_uint_eq(used(ALICE + 4), 0);
	for (int i = 0; i < 5; i++) {
		close(pairs[i].theirs);
		leave(&pairs[i]);
	}
}
END_TEST

START_TEST(all_that_is_left_can_be_closed)
{
	struct pair alice = come(ALICE), bob = come(BOB);

	reply(&alice, 3);
	reply(&bob, 3);
	leave(&alice), leave(&bob);
	ck_assert_uint_eq(list.n_left, 2);
	unread_list_fini(&list);
	close(alice.theirs), close(bob.theirs);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, who_was_sent_nothing_is_charged_nothing);
	tcase_add_test(tests, what_is_sent_is_charged_until_it_is_read);
	tcase_add_test(tests, to_read_gives_nothing_reserved_back);
	tcase_add_test(tests, a_user_has_a_limit_that_is_no_other_users);
	tcase_add_test(tests, what_a_client_leaves_unread_outlives_it);
	tcase_add_test(tests, who_has_closed_has_nothing_unread);
	tcase_add_test(tests, looks_come_to_everybody);
	tcase_add_test(tests, all_that_is_left_can_be_closed);
}

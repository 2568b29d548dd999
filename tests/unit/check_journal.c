/* SPDX-License-Identifier: MIT */
/* Who hears of what, and what those lose who do not keep up. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "base/text.h"
#include "core/journal.h"
#include "core/segment.h"
#include "core/session.h"

#define ALICE (geteuid() + 1001)
#define BOB   (geteuid() + 1002)

static struct journal journal;
static struct quota quota;
static struct session alice, bob, root;
static struct segment segment;
static struct refusal why;
static unsigned n_news;

static void on_news(void *context)
{
	(void)context;
	n_news++;
}

static void enter(struct session *session, uint64_t id, uid_t uid)
{
	struct credentials who;

	credentials_init(&who, uid, uid, NULL, 0);
	session_init(session, id, 100 + (pid_t)id, &who);
}

static void set_up(void)
{
	struct quota_limits limits;

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = 10, limits.per_user[i] = 3;
	quota_init(&quota, &limits);
	journal = (struct journal){.on_news = on_news};
	enter(&alice, 1, ALICE);
	enter(&bob, 2, BOB);
	enter(&root, 3, 0);
	segment = (struct segment){.id = 6,
				   .generation = 7,
				   .size = 4096,
				   .ownership = {.uid = ALICE, .gid = ALICE, .mode = 0600}};
	text_copy(segment.name, sizeof(segment.name), "camera.front");
	n_news = 0;
}

static void leave(struct session *session)
{
	while (session->subscriptions)
		subscription_free(&journal, session->subscriptions);
}

static void tear_down(void)
{
	leave(&alice);
	leave(&bob);
	leave(&root);
	ck_assert(!journal.subscriptions && !journal.due);
	ck_assert_uint_eq(quota.used[QUOTA_SUBSCRIPTIONS], 0);
	quota_fini(&quota);
}

static struct subscription *subscribe(struct session *session, const char *prefix)
{
	static uint32_t number;

	ck_assert_int_eq(subscription_new(&journal, &quota, session, ++number, prefix, &why), 0);
	return subscription_find(session, number);
}

static void tell(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		journal_tell(&journal, EVENT_ATTACHED, &segment, &alice, true, 1000 + i);
}

START_TEST(nobody_listens_and_nothing_is_kept)
{
	tell(10);
	ck_assert_uint_eq(n_news, 0);
	ck_assert_ptr_null(journal_take_due(&journal));
}
END_TEST

START_TEST(what_happened_is_told_in_order)
{
	struct subscription *all = subscribe(&alice, "");

	journal_tell(&journal, EVENT_CREATED, &segment, &alice, false, 11);
	journal_tell_recovered(&journal, &segment, 3, 12);
	journal_tell(&journal, EVENT_REAPED, &segment, NULL, false, 13);
	ck_assert_uint_eq(n_news, 1);
	ck_assert_ptr_eq(journal_take_due(&journal), all);
	ck_assert_ptr_null(journal_take_due(&journal));
	ck_assert_uint_eq(all->n, 3);
	const struct journal_entry *entry = subscription_entry(all, 0);
	ck_assert_int_eq(entry->kind, EVENT_CREATED);
	ck_assert_uint_eq(entry->time, 11);
	ck_assert_uint_eq(entry->id, 7);
	ck_assert_uint_eq(entry->size, 4096);
	ck_assert_int_eq(entry->pid, 101);
	ck_assert_uint_eq(entry->uid, ALICE);
	ck_assert_str_eq(entry->text, "camera.front");
	entry = subscription_entry(all, 1);
	ck_assert_int_eq(entry->kind, EVENT_RECOVERED);
	ck_assert_uint_eq(entry->count, 3);
	entry = subscription_entry(all, 2);
	ck_assert_int_eq(entry->kind, EVENT_REAPED);
	ck_assert_int_eq(entry->pid, 0);
	ck_assert_uint_eq(entry->uid, ALICE);
	/* What was not sent comes again. */
	subscription_sent(&journal, all, 2);
	ck_assert_ptr_eq(journal_take_due(&journal), all);
	ck_assert_int_eq(subscription_entry(all, 0)->kind, EVENT_REAPED);
	subscription_sent(&journal, all, 1);
	ck_assert_ptr_null(journal_take_due(&journal));
}
END_TEST

START_TEST(it_begins_with_the_subscription)
{
	struct subscription *first = subscribe(&alice, "");

	tell(5);
	struct subscription *second = subscribe(&alice, "");
	tell(2);
	ck_assert_uint_eq(first->n, 7);
	ck_assert_uint_eq(second->n, 2);
	/* One after the other, and one that has more left goes to the end. */
	ck_assert_ptr_eq(journal_take_due(&journal), first);
	subscription_sent(&journal, first, 1);
	ck_assert_ptr_eq(journal_take_due(&journal), second);
	ck_assert_ptr_eq(journal_take_due(&journal), first);
}
END_TEST

/* The mode, who subscribes, and whether they hear of it and know who did it. */
static const struct {
	mode_t mode;
	struct session *who;
	bool hears, knows;
} rights[] = {
	{0600, &alice, true, true}, {0000, &alice, true, true}, {0600, &bob, false, false},
	{0620, &bob, false, false}, {0602, &bob, false, false}, {0604, &bob, true, false},
	{0600, &root, true, true},
};

START_TEST(others_hear_of_what_they_may_read)
{
	struct subscription *subscription = subscribe(rights[_i].who, "");

	segment.ownership.mode = rights[_i].mode;
	tell(1);
	ck_assert_uint_eq(subscription->n, rights[_i].hears);
	if (subscription->n > 0)
		ck_assert_int_eq(subscription_may_know_actor(subscription,
							     subscription_entry(subscription, 0)),
				 rights[_i].knows);
}
END_TEST

/* Whatever its mode says: no other can attach it, either. */
START_TEST(what_has_no_name_is_its_owners)
{
	struct subscription *alices = subscribe(&alice, ""), *bobs = subscribe(&bob, "");
	struct subscription *roots = subscribe(&root, "");

	segment.ownership.mode = 0666;
	text_copy(segment.name, sizeof(segment.name), "");
	tell(1);
	ck_assert_uint_eq(alices->n, 1);
	ck_assert_uint_eq(bobs->n, 0);
	ck_assert_uint_eq(roots->n, 1);
}
END_TEST

START_TEST(administrators_hear_of_all_and_of_whom)
{
	struct subscription *his = subscribe(&bob, "");

	access_set_administrators(BOB);
	tell(1);
	ck_assert_uint_eq(his->n, 1);
	ck_assert(subscription_may_know_actor(his, subscription_entry(his, 0)));
	access_set_administrators(ACCESS_NO_GROUP);
	ck_assert(!subscription_may_know_actor(his, subscription_entry(his, 0)));
	tell(1);
	ck_assert_uint_eq(his->n, 1);
}
END_TEST

START_TEST(ones_own_acts_are_known)
{
	struct subscription *subscription = subscribe(&bob, "");

	segment.ownership.mode = 0604;
	journal_tell(&journal, EVENT_ATTACHED, &segment, &bob, true, 1);
	ck_assert(subscription_may_know_actor(subscription, subscription_entry(subscription, 0)));
}
END_TEST

START_TEST(a_refusal_is_for_its_user)
{
	struct subscription *alices = subscribe(&alice, ""), *bobs = subscribe(&bob, "");
	struct subscription *roots = subscribe(&root, ""), *named = subscribe(&root, "there");

	journal_tell_refused(&journal, &bob, "there is no segment 'x'", 1);
	const struct journal_entry *entry = subscription_entry(bobs, 0);
	ck_assert_int_eq(entry->kind, EVENT_REFUSED);
	ck_assert_str_eq(entry->text, "there is no segment 'x'");
	ck_assert_uint_eq(entry->id, 0);
	ck_assert_uint_eq(alices->n, 0);
	ck_assert_uint_eq(roots->n, 1);
	/* A sentence is no name. */
	ck_assert_uint_eq(named->n, 0);
}
END_TEST

START_TEST(a_prefix_chooses_by_name)
{
	struct subscription *cameras = subscribe(&alice, "camera.");
	struct subscription *others = subscribe(&alice, "camera.front.left");
	struct subscription *all = subscribe(&alice, "");

	tell(1);
	text_copy(segment.name, sizeof(segment.name), "");
	tell(1);
	ck_assert_uint_eq(cameras->n, 1);
	ck_assert_uint_eq(others->n, 0);
	ck_assert_uint_eq(all->n, 2);
}
END_TEST

START_TEST(who_does_not_read_loses_the_oldest)
{
	struct subscription *stopped = subscribe(&alice, ""), *reader = subscribe(&alice, "");
	struct subscription *others = subscribe(&alice, "lidar");

	subscription_park(stopped);
	for (unsigned i = 0; i < JOURNAL_QUEUE + 10; i++) {
		tell(1);
		subscription_sent(&journal, reader, reader->n);
	}
	ck_assert_uint_eq(stopped->n, JOURNAL_QUEUE);
	ck_assert_uint_eq(stopped->lost, 10);
	ck_assert(!reader->lost && !reader->n && !others->lost);
	/* It is told only once it reads again. */
	while (journal_take_due(&journal) == reader)
		;
	ck_assert_ptr_null(journal.due);
	subscription_resume(&journal, stopped);
	ck_assert_ptr_eq(journal_take_due(&journal), stopped);
	subscription_sent(&journal, stopped, stopped->n);
	ck_assert_uint_eq(stopped->lost, 0);
	tell(1);
	ck_assert_uint_eq(subscription_entry(stopped, 0)->time, 1000);
}
END_TEST

START_TEST(subscriptions_are_limited)
{
	struct subscription *second;

	subscribe(&alice, "");
	second = subscribe(&alice, "");
	subscribe(&alice, "");
	ck_assert_int_eq(subscription_new(&journal, &quota, &alice, 99, "", &why), REFUSAL_LIMIT);
	unit_assert_has(why.text, "subscriptions_per_user");
	ck_assert_ptr_null(subscription_free(&journal, second));
	ck_assert_int_eq(subscription_new(&journal, &quota, &alice, 99, "", &why), 0);
	ck_assert_ptr_nonnull(subscription_find(&alice, 99));
	ck_assert_ptr_null(subscription_find(&bob, 99));
	ck_assert_ptr_null(subscription_free(&journal, NULL));
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, nobody_listens_and_nothing_is_kept);
	tcase_add_test(tests, what_happened_is_told_in_order);
	tcase_add_test(tests, it_begins_with_the_subscription);
	tcase_add_loop_test(tests, others_hear_of_what_they_may_read, 0,
			    sizeof(rights) / sizeof(rights[0]));
	tcase_add_test(tests, administrators_hear_of_all_and_of_whom);
	tcase_add_test(tests, ones_own_acts_are_known);
	tcase_add_test(tests, a_refusal_is_for_its_user);
	tcase_add_test(tests, what_has_no_name_is_its_owners);
	tcase_add_test(tests, a_prefix_chooses_by_name);
	tcase_add_test(tests, who_does_not_read_loses_the_oldest);
	tcase_add_test(tests, subscriptions_are_limited);
}

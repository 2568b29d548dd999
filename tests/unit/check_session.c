/* SPDX-License-Identifier: MIT */
/* Sessions and their attachments: the books of who has what. */
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "core/attachment.h"
#include "core/segment.h"
#include "core/session.h"

static struct quota quota;
static struct session alice, bob;
static struct segment one, two;
static struct refusal why;

static void enter(struct session *session, uint64_t id, uid_t uid)
{
	struct credentials who;

	credentials_init(&who, uid, uid, calloc(3, sizeof(gid_t)), 3);
	session_init(session, id, 99, &who);
}

static void set_up(void)
{
	struct quota_limits limits;

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = 2;
	quota_init(&quota, &limits);
	enter(&alice, 1, 1001);
	enter(&bob, 2, 1002);
	one = (struct segment){.id = 10, .size = 4096};
	two = (struct segment){.id = 20, .size = 100};
}

static void tear_down(void)
{
	session_fini(&alice);
	session_fini(&bob);
	ck_assert_ptr_null(alice.who.groups);
	ck_assert_ptr_null(quota.users);
	quota_fini(&quota);
}

static struct attachment *make(struct session *session, struct segment *segment)
{
	struct attachment *attachment = NULL;

	ck_assert_int_eq(attachment_new(&quota, session, segment, &attachment, &why), 0);
	return attachment;
}

START_TEST(it_stands_in_both_books)
{
	struct attachment *a = make(&alice, &one);
	struct attachment *b = make(&bob, &one);

	ck_assert_ptr_eq(attachment_find(&alice, 10), a);
	ck_assert_ptr_eq(attachment_find(&bob, 10), b);
	ck_assert_ptr_null(attachment_find(&alice, 20));
	ck_assert_uint_eq(one.n_attachments, 2);
	ck_assert_ptr_eq(one.attachments, a);
	ck_assert_uint_eq(session_segments(&alice), 1);
	ck_assert_uint_eq(alice.bytes, 4096);

	ck_assert_ptr_null(attachment_free(a));
	ck_assert_ptr_null(attachment_find(&alice, 10));
	ck_assert_ptr_eq(one.attachments, b);
	ck_assert_uint_eq(one.n_attachments, 1);
	ck_assert_uint_eq(session_segments(&alice), 0);
	ck_assert_uint_eq(alice.bytes, 0);
	attachment_free(b);
	ck_assert_ptr_null(one.attachments);
	ck_assert_ptr_null(attachment_free(NULL));
}
END_TEST

START_TEST(it_is_charged_to_its_user)
{
	struct attachment *a = make(&alice, &one);
	struct attachment *b = make(&alice, &two);
	struct attachment *none = NULL;

	ck_assert_uint_eq(quota_used_by(&quota, 1001, QUOTA_ATTACHMENTS), 2);
	ck_assert_uint_eq(alice.bytes, 4196);
	quota.limits.total[QUOTA_ATTACHMENTS] = 100;
	struct segment third = {.id = 30};
	ck_assert_int_eq(attachment_new(&quota, &alice, &third, &none, &why), REFUSAL_LIMIT);
	unit_assert_has(why.text, "attachments_per_user=2");
	ck_assert_ptr_null(none);
	ck_assert_ptr_null(third.attachments);
	ck_assert_uint_eq(session_segments(&alice), 2);
	attachment_free(a);
	attachment_free(b);
}
END_TEST

START_TEST(one_for_writing_makes_it_writable)
{
	struct attachment *a = make(&alice, &one);

	a->counts[true] = 2;
	ck_assert(attachment_is_read_only(a));
	a->counts[false] = 1;
	ck_assert(!attachment_is_read_only(a));
	attachment_free(a);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, it_stands_in_both_books);
	tcase_add_test(tests, it_is_charged_to_its_user);
	tcase_add_test(tests, one_for_writing_makes_it_writable);
}

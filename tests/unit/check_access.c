/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/access.h"

#define ALICE (geteuid() + 1001)
#define BOB   (geteuid() + 1002)
#define GROUP 5000
#define RW    (ACCESS_READ | ACCESS_WRITE)

static struct credentials somebody(uid_t uid, gid_t gid, gid_t supplementary)
{
	gid_t *groups = calloc(2, sizeof(*groups));
	struct credentials who;

	groups[0] = 4999;
	groups[1] = supplementary;
	credentials_init(&who, uid, gid, groups, 2);
	return who;
}

/* Who may read and who may write at a mode, as letters. */
static const char *rights(struct credentials who, mode_t mode)
{
	static char text[3];
	struct ownership of = {ALICE, GROUP, mode};
	bool reads = access_allowed(&who, &of, ACCESS_READ);
	bool writes = access_allowed(&who, &of, ACCESS_WRITE);

	ck_assert_int_eq(access_allowed(&who, &of, RW), reads && writes);
	snprintf(text, sizeof(text), "%c%c", reads ? 'r' : '-', writes ? 'w' : '-');
	credentials_fini(&who);
	ck_assert_ptr_null(who.groups);
	return text;
}

START_TEST(the_owner_has_the_owners_bits)
{
	ck_assert_str_eq(rights(somebody(ALICE, 1, 1), 0600), "rw");
	ck_assert_str_eq(rights(somebody(ALICE, 1, 1), 0400), "r-");
	ck_assert_str_eq(rights(somebody(ALICE, 1, 1), 0200), "-w");
	/* As for a file, also when others have more. */
	ck_assert_str_eq(rights(somebody(ALICE, GROUP, GROUP), 0066), "--");
	ck_assert_str_eq(rights(somebody(ALICE, 1, 1), 0100), "--");
}
END_TEST

START_TEST(the_group_has_the_groups_bits)
{
	ck_assert_str_eq(rights(somebody(BOB, GROUP, 1), 0640), "r-");
	ck_assert_str_eq(rights(somebody(BOB, 1, GROUP), 0660), "rw");
	ck_assert_str_eq(rights(somebody(BOB, 1, GROUP), 0606), "--");
	ck_assert_str_eq(rights(somebody(BOB, 1, 1), 0660), "--");
}
END_TEST

START_TEST(others_have_the_others_bits)
{
	ck_assert_str_eq(rights(somebody(BOB, 1, 1), 0604), "r-");
	ck_assert_str_eq(rights(somebody(BOB, 1, 1), 0006), "rw");
	ck_assert_str_eq(rights(somebody(BOB, 1, 1), 0770), "--");
}
END_TEST

START_TEST(root_and_ourselves_may_everything)
{
	ck_assert_str_eq(rights(somebody(0, 1, 1), 0), "rw");
	ck_assert_str_eq(rights(somebody(geteuid(), 1, 1), 0), "rw");
	struct credentials who = somebody(BOB, 0, 0);
	ck_assert(!access_is_privileged(&who));
	credentials_fini(&who);
}
END_TEST

static uid_t overflow_uid(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/sys/kernel/overflowuid", "re");
	unsigned uid = 65534;

	if (file && fscanf(file, "%u", &uid) != 1)
		uid = 65534;
	return uid;
}

/* It stands for all whom our namespace does not know: never an owner, a member, or one of us. */
START_TEST(the_overflow_uid_is_nobody)
{
	uid_t nobody = overflow_uid();
	struct credentials who = somebody(nobody, GROUP, GROUP);
	struct ownership theirs = {nobody, GROUP, 0660};

	ck_assert(!who.is_mapped);
	ck_assert(!access_is_owner(&who, &theirs));
	ck_assert(!access_is_privileged(&who));
	ck_assert(!access_allowed(&who, &theirs, ACCESS_READ));
	theirs.mode = 0004;
	ck_assert(access_allowed(&who, &theirs, ACCESS_READ));
	credentials_fini(&who);
}
END_TEST

START_TEST(the_owner_is_who_has_the_uid)
{
	struct credentials who = somebody(ALICE, 1, 1);
	struct ownership hers = {ALICE, 1, 0}, his = {BOB, 1, 0666};

	ck_assert(access_is_owner(&who, &hers));
	ck_assert(!access_is_owner(&who, &his));
	credentials_fini(&who);
}
END_TEST

START_TEST(administrators_are_a_group)
{
	struct credentials member = somebody(BOB, 1, GROUP), first = somebody(BOB, GROUP, 1),
			   other = somebody(BOB, 1, 1), root = somebody(0, 1, 1),
			   unknown = somebody(overflow_uid(), GROUP, GROUP);
	struct ownership hers = {ALICE, 1, 0600};

	ck_assert(!access_may_administer(&member) && access_may_administer(&root));
	access_set_administrators(GROUP);
	ck_assert(access_may_administer(&member) && access_may_administer(&first));
	ck_assert(access_may_administer(&root));
	ck_assert(!access_may_administer(&other) && !access_may_administer(&unknown));
	/* To see is not to touch. */
	ck_assert(!access_is_privileged(&member));
	ck_assert(!access_allowed(&member, &hers, ACCESS_READ));
	access_set_administrators(ACCESS_NO_GROUP);
	ck_assert(!access_may_administer(&member));
	credentials_fini(&member), credentials_fini(&first), credentials_fini(&other);
	credentials_fini(&root), credentials_fini(&unknown);
}
END_TEST

START_TEST(everybody_is_of_one_class)
{
	struct credentials owner = somebody(ALICE, GROUP, GROUP), member = somebody(BOB, 1, GROUP),
			   other = somebody(BOB, 1, 1), root = somebody(0, 1, 1);
	struct ownership of = {ALICE, GROUP, 0};

	ck_assert_int_eq(access_class(&owner, &of), ACCESS_OWNER);
	ck_assert_int_eq(access_class(&member, &of), ACCESS_GROUP);
	ck_assert_int_eq(access_class(&other, &of), ACCESS_OTHERS);
	ck_assert_int_eq(access_class(&root, &of), ACCESS_PRIVILEGED);
	credentials_fini(&owner), credentials_fini(&member);
	credentials_fini(&other), credentials_fini(&root);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, the_owner_has_the_owners_bits);
	tcase_add_test(tests, the_group_has_the_groups_bits);
	tcase_add_test(tests, others_have_the_others_bits);
	tcase_add_test(tests, root_and_ourselves_may_everything);
	tcase_add_test(tests, the_overflow_uid_is_nobody);
	tcase_add_test(tests, the_owner_is_who_has_the_uid);
	tcase_add_test(tests, administrators_are_a_group);
	tcase_add_test(tests, everybody_is_of_one_class);
}

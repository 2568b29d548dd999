/* SPDX-License-Identifier: MIT */
/* One segment by itself: how it is made, what is left of a failure, and what it says of itself. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/memory.h"
#include "core/segment.h"

#define ALICE (geteuid() + 1001)
#define BOB   (geteuid() + 1002)

static struct quota quota;
static struct instance instance;
static struct credentials alice, bob, ourselves;
static struct creation what;
static struct ownership of;
static struct refusal why;

static void set_up(void)
{
	struct quota_limits limits;

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = UINT64_MAX;
	quota_init(&quota, &limits);
	ck_assert_int_eq(instance_init(&instance, unit_folder), 0);
	credentials_init(&alice, ALICE, ALICE, NULL, 0);
	credentials_init(&bob, BOB, BOB, NULL, 0);
	credentials_init(&ourselves, geteuid(), getegid(), NULL, 0);
	of = (struct ownership){ALICE, ALICE, 0640};
	what = (struct creation){.name = "a", .size = 100, .mode = 0640, .permits = 2};
}

static void tear_down(void)
{
	ck_assert_ptr_null(quota.users);
	instance_fini(&instance);
	quota_fini(&quota);
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
}

static struct segment *make(void)
{
	struct segment *segment = NULL;
	int r = segment_new(&quota, &instance, 42, &alice, &of, &what, 7, &segment, &why);

	ck_assert_msg(r == 0, "refused: %s", why.text);
	return segment;
}

START_TEST(it_is_charged_while_it_lives)
{
	struct segment *segment = make();

	ck_assert_uint_eq(segment->id, 42);
	ck_assert_uint_eq(quota_used_by(&quota, ALICE, QUOTA_SEGMENTS), 1);
	ck_assert_uint_eq(quota_used_by(&quota, ALICE, QUOTA_BYTES), 100);
	ck_assert_uint_eq(quota_used_by(&quota, ALICE, QUOTA_SEMAPHORES), 1);
	ck_assert_int_eq(semaphore_value(&segment->semaphore), 2);
	ck_assert_ptr_null(segment_free(segment, &instance));
	ck_assert_ptr_null(segment_free(NULL, &instance));
}
END_TEST

START_TEST(it_is_unused_until_somebody_opens_it)
{
	struct segment *segment = make();

	ck_assert(segment->fd_is_original);
	ck_assert(segment_ask_use(segment) == LEASE_SOLE_USER);
	ck_assert(!segment->fd_is_original);
	int fd = memory_reopen(segment->fd, true);
	ck_assert(segment_ask_use(segment) == LEASE_SHARED);
	close_fd(fd);
	ck_assert(segment_ask_use(segment) == LEASE_SOLE_USER);
	segment_free(segment, &instance);
}
END_TEST

START_TEST(the_exchange_of_descriptors_changes_nothing)
{
	struct segment *segment = make();
	struct stat before, after;

	ck_assert_int_eq(fstat(segment->fd, &before), 0);
	ck_assert(segment_ask_use(segment) == LEASE_SOLE_USER);
	ck_assert_int_eq(fstat(segment->fd, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_int_eq(fcntl(segment->fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ck_assert_int_eq(fcntl(segment->fd, F_GETFD), FD_CLOEXEC);
	segment_free(segment, &instance);
}
END_TEST

START_TEST(it_describes_itself)
{
	char buffer[SEGMENT_DESCRIPTION_MAX];
	struct segment *segment = make();

	ck_assert_str_eq(segment_describe(segment, buffer), "'a' (id 42)");
	segment->name[0] = '\0';
	ck_assert_str_eq(segment_describe(segment, buffer), "without a name (id 42)");
	memset(segment->name, 'n', NAME_LENGTH_MAX);
	segment->id = segment->generation = UINT64_MAX;
	unit_assert_has(segment_describe(segment, buffer), "n' (id 18446744073709551615");
	strcpy(segment->name, "x' (id 1) of uid 0, \\");
	segment->generation = 7;
	ck_assert_str_eq(segment_describe(segment, buffer), "'x\\' (id 1) of uid 0, \\\\' (id 7)");
	memset(segment->name, '\'', NAME_LENGTH_MAX);
	segment->name[NAME_LENGTH_MAX] = '\0';
	segment->generation = UINT64_MAX;
	unit_assert_has(segment_describe(segment, buffer), "\\'' (id 18446744073709551615)");
	segment_free(segment, &instance);
}
END_TEST

START_TEST(its_maker_pays_whoever_owns_it)
{
	struct segment *segment = make();
	struct ownership to = {BOB, BOB, 0600};

	ck_assert_int_eq(segment_hand_over(segment, &to), 0);
	ck_assert_uint_eq(segment->ownership.uid, BOB);
	ck_assert_uint_eq(segment_payer(segment), ALICE);
	segment_free(segment, &instance);
}
END_TEST

START_TEST(who_sees_it)
{
	struct segment *segment = make();

	ck_assert(segment_is_visible(segment, &alice));
	ck_assert(segment_is_visible(segment, &ourselves));
	ck_assert(!segment_is_visible(segment, &bob));
	segment->ownership.mode = 0004;
	ck_assert(segment_is_visible(segment, &bob));
	ck_assert(segment_is_visible(segment, &alice));
	ck_assert(!segment_is_hidden(segment, &bob));
	segment->ownership.mode = 0002;
	ck_assert(segment_is_hidden(segment, &bob));
	segment->ownership.mode = 0004;
	segment->name[0] = '\0';
	ck_assert(!segment_is_hidden(segment, &bob));
	segment->is_anonymous = true;
	ck_assert(!segment_is_visible(segment, &bob));
	ck_assert(segment_is_hidden(segment, &bob));
	ck_assert(!segment_is_hidden(segment, &alice));
	ck_assert(!segment_is_hidden(segment, &ourselves));
	segment_free(segment, &instance);
}
END_TEST

START_TEST(who_locks_it)
{
	struct segment *segment = make();

	ck_assert(segment_may_lock(segment, false));
	ck_assert(!segment_may_lock(segment, true));
	segment->readers_lock = true;
	ck_assert(segment_may_lock(segment, true));
	segment_free(segment, &instance);
	what.permits = 0;
	what.readers_lock = true;
	segment = make();
	ck_assert(!segment_may_lock(segment, false));
	ck_assert(!segment_may_lock(segment, true));
	ck_assert_uint_eq(unit_entries(unit_folder), 1);
	segment_free(segment, &instance);
}
END_TEST

START_TEST(a_failure_leaves_nothing)
{
	struct segment *segment = NULL;
	unsigned before = unit_descriptors();
	int folder = instance.folder;

	/* No folder for the semaphore. */
	instance.folder = -1;
	ck_assert_int_eq(segment_new(&quota, &instance, 42, &alice, &of, &what, 7, &segment, &why),
			 REFUSAL_INTERNAL);
	unit_assert_has(why.text, "semaphore");
	unit_assert_has(why.text, strerror(EBADF));
	instance.folder = folder;
	ck_assert_ptr_null(segment);
	ck_assert_uint_eq(unit_descriptors(), before);
	ck_assert_ptr_null(quota.users);
	/* Bytes over the limit: the charge for the segment goes back too. */
	quota.limits.total[QUOTA_BYTES] = 99;
	ck_assert_int_eq(segment_new(&quota, &instance, 42, &alice, &of, &what, 7, &segment, &why),
			 REFUSAL_LIMIT);
	ck_assert_ptr_null(quota.users);
	ck_assert_uint_eq(unit_descriptors(), before);
}
END_TEST

START_TEST(only_a_semaphore_costs_one)
{
	struct segment *segment = NULL;

	quota.limits.per_user[QUOTA_SEMAPHORES] = 0;
	ck_assert_int_eq(segment_new(&quota, &instance, 42, &alice, &of, &what, 7, &segment, &why),
			 REFUSAL_LIMIT);
	ck_assert_str_eq(why.text, "the limit semaphores_per_user=0 is reached: 0 in use, 1 more "
				   "asked for");
	ck_assert_uint_eq(unit_entries(unit_folder), 1); /* the lock */
	what.permits = 0;
	segment = make();
	ck_assert_uint_eq(quota_used_by(&quota, ALICE, QUOTA_SEMAPHORES), 0);
	segment_free(segment, &instance);
}
END_TEST

/* Sparse memory costs nothing, so the largest that there can be is made. */
START_TEST(the_size_has_an_end)
{
	struct segment *segment;

	what.size = (uint64_t)INT64_MAX - 4096;
	segment_free(make(), &instance);
	what.size++;
	ck_assert_int_eq(segment_new(&quota, &instance, 42, &alice, &of, &what, 7, &segment, &why),
			 REFUSAL_INVALID);
	unit_assert_has(why.text, "9223372036854771711");
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, it_is_charged_while_it_lives);
	tcase_add_test(tests, it_is_unused_until_somebody_opens_it);
	tcase_add_test(tests, the_exchange_of_descriptors_changes_nothing);
	tcase_add_test(tests, it_describes_itself);
	tcase_add_test(tests, its_maker_pays_whoever_owns_it);
	tcase_add_test(tests, who_sees_it);
	tcase_add_test(tests, who_locks_it);
	tcase_add_test(tests, a_failure_leaves_nothing);
	tcase_add_test(tests, only_a_semaphore_costs_one);
	tcase_add_test(tests, the_size_has_an_end);
}

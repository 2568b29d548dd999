/* SPDX-License-Identifier: MIT */
/*
 * File locks on shmd_segment_fd(): that they keep clients apart, how they end, whose they are in forked
 * children, and what lockf(3) does instead.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_daemon daemon_;
static struct shmd *connection;
static struct shmd_segment *segment; /* this process's own handle */

static void set_up(void)
{
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
	segment = create_or_fail(connection, "seg", 4096, SHMD_LIFETIME_CLIENTS);
}

static void tear_down(void)
{
	segment = shmd_detach(segment);
	connection = shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

/* Another client's handle. The daemon has a copy of the descriptor until it has sent it, and whoever has
 * its next answer knows that it has closed that: a lock then ends with the client alone. */
static struct shmd_segment *attach_apart(void)
{
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *attached = attach_or_fail(mine, "seg", 0);

	ck_assert(segment_exists(mine, "seg"));
	return attached;
}

/* --- ways to lock ----------------------------------------------------------------------------- */

/* All of them lock exclusively, and return 0 or a negative errno. */
typedef int lock_fn(int fd);

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

static int range(int fd, int command, short type, off_t start, off_t length)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	return result(fcntl(fd, command, &lock));
}

static int try_flock(int fd)
{
	return result(flock(fd, LOCK_EX | LOCK_NB));
}

static int wait_flock(int fd)
{
	return result(flock(fd, LOCK_EX));
}

static int drop_flock(int fd)
{
	return result(flock(fd, LOCK_UN));
}

static int try_range(int fd)
{
	return range(fd, F_OFD_SETLK, F_WRLCK, 0, 0);
}

static int wait_range(int fd)
{
	return range(fd, F_OFD_SETLKW, F_WRLCK, 0, 0);
}

static int drop_range(int fd)
{
	return range(fd, F_OFD_SETLK, F_UNLCK, 0, 0);
}

/* Those that are promised; each test of them runs with both. */
static const struct kind {
	lock_fn *try, *wait, *drop;
} kinds[] = {
	{try_flock, wait_flock, drop_flock},
	{try_range, wait_range, drop_range},
};

static const struct kind *kind;

#define KINDS 2

/* flock(2) and F_OFD_SETLK say "somebody has it" with the same number on Linux. */
#define TAKEN (-EAGAIN)

/* --- clients exclude each other ----------------------------------------------------------------- */

/* Holds the lock; when told to, gives it back, and says so. */
static void holder(struct actor *self, void *context)
{
	struct shmd_segment *mine = attach_apart();

	(void)context;
	ck_assert_int_eq(kind->try(shmd_segment_fd(mine)), 0);
	actor_tell(self);
	actor_await(self);
	ck_assert_int_eq(kind->drop(shmd_segment_fd(mine)), 0);
	actor_tell(self);
	actor_await(self);
}

START_TEST(a_lock_excludes_another_client)
{
	int fd = shmd_segment_fd(segment);
	struct actor other;

	kind = &kinds[_i];
	actor_start(&other, holder, NULL);
	actor_await(&other);
	ck_assert_int_eq(kind->try(fd), TAKEN);
	actor_tell(&other);
	actor_await(&other);
	ck_assert_int_eq(kind->try(fd), 0);
	actor_tell(&other);
	actor_finish(&other);
}
END_TEST

/* Says what it does before it waits; whether it really waits, /proc tells. */
static void waiter(struct actor *self, void *context)
{
	struct shmd_segment *mine = attach_apart();

	(void)context;
	actor_tell(self);
	ck_assert_int_eq(kind->wait(shmd_segment_fd(mine)), 0);
	actor_tell(self);
	actor_await(self);
}

static bool is_asleep(pid_t pid)
{
	char path[64], line[256] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	fclose(f);
	const char *state = strrchr(line, ')');
	ck_assert_ptr_nonnull(state);
	return state[2] == 'S';
}

START_TEST(who_waits_goes_on_when_the_holder_is_killed)
{
	struct actor first, second;

	kind = &kinds[_i];
	actor_start(&first, holder, NULL);
	actor_await(&first);
	actor_start(&second, waiter, NULL);
	actor_await(&second);
	AWAIT(is_asleep(second.pid));
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), TAKEN);
	actor_kill(&first);
	actor_await(&second);
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), TAKEN);
	actor_kill(&second);
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), 0);
}
END_TEST

START_TEST(two_handles_of_a_process_exclude_each_other)
{
	struct shmd_segment *again = attach_or_fail(connection, "seg", 0);

	kind = &kinds[_i];
	ck_assert_int_ne(shmd_segment_fd(again), shmd_segment_fd(segment));
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), 0);
	ck_assert_int_eq(kind->try(shmd_segment_fd(again)), TAKEN);
	/* The same handle has it already: threads that share one are not kept apart. */
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), 0);
	/* That the other handle goes changes nothing for this one. */
	shmd_detach(again);
	again = attach_or_fail(connection, "seg", 0);
	ck_assert_int_eq(kind->try(shmd_segment_fd(again)), TAKEN);
	ck_assert_int_eq(kind->drop(shmd_segment_fd(segment)), 0);
	ck_assert_int_eq(kind->try(shmd_segment_fd(again)), 0);
	shmd_detach(again);
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), 0);
}
END_TEST

static void range_holder(struct actor *self, void *context)
{
	struct shmd_segment *mine = attach_apart();

	(void)context;
	ck_assert_int_eq(range(shmd_segment_fd(mine), F_OFD_SETLK, F_WRLCK, 64, 64), 0);
	ck_assert_int_eq(range(shmd_segment_fd(mine), F_OFD_SETLK, F_RDLCK, 1024, 64), 0);
	actor_tell(self);
	actor_await(self);
}

START_TEST(ranges_exclude_where_they_meet)
{
	int fd = shmd_segment_fd(segment);
	struct actor other;

	actor_start(&other, range_holder, NULL);
	actor_await(&other);
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_WRLCK, 0, 64), 0);
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_WRLCK, 128, 64), 0);
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_WRLCK, 64, 64), TAKEN);
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_RDLCK, 64, 64), TAKEN);
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_WRLCK, 127, 1), TAKEN);
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_WRLCK, 0, 0), TAKEN);
	/* Readers share. */
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_RDLCK, 1024, 64), 0);
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_WRLCK, 1024, 64), TAKEN);
	actor_kill(&other);
	ck_assert_int_eq(range(fd, F_OFD_SETLK, F_WRLCK, 0, 0), 0);
}
END_TEST

START_TEST(shared_locks_and_readers)
{
	struct shmd_segment *reader = attach_or_fail(connection, "seg", SHMD_READ_ONLY);
	int fd = shmd_segment_fd(segment), reading = shmd_segment_fd(reader);

	ck_assert_int_eq(flock(fd, LOCK_SH | LOCK_NB), 0);
	ck_assert_int_eq(flock(reading, LOCK_SH | LOCK_NB), 0);
	ck_assert_int_eq(try_flock(fd), TAKEN);
	ck_assert_int_eq(flock(fd, LOCK_UN), 0);
	/* Who only reads can lock exclusively by flock, and not by ranges. */
	ck_assert_int_eq(try_flock(reading), 0);
	ck_assert_int_eq(try_flock(fd), TAKEN);
	ck_assert_int_eq(try_range(reading), -EBADF);
	ck_assert_int_eq(range(reading, F_OFD_SETLK, F_RDLCK, 0, 0), 0);
	ck_assert_int_eq(try_range(fd), TAKEN);
	shmd_detach(reader);
}
END_TEST

/* The two kinds know nothing of each other. */
START_TEST(kinds_do_not_exclude_each_other)
{
	struct shmd_segment *again = attach_or_fail(connection, "seg", 0);

	ck_assert_int_eq(try_flock(shmd_segment_fd(segment)), 0);
	ck_assert_int_eq(try_range(shmd_segment_fd(again)), 0);
	ck_assert_int_eq(shmd_acquire(again, 0), 0);
	ck_assert_int_eq(shmd_release(again), 0);
	shmd_detach(again);
}
END_TEST

/* --- whose a lock is ---------------------------------------------------------------------------- */

/* What a child does with the handle that it inherited. */
typedef void heir_fn(struct shmd_segment *inherited);

static void take_permit(struct shmd_segment *inherited)
{
	ck_assert_int_eq(shmd_acquire(inherited, 0), 0);
	ck_assert_int_eq(shmd_release(inherited), 0);
}

static void detach(struct shmd_segment *inherited)
{
	shmd_detach(inherited);
}

static void attach_beside(struct shmd_segment *inherited)
{
	(void)inherited;
	attach_apart();
}

static const struct {
	heir_fn *fn;
	bool frees;
} heirs[] = {
	{take_permit, true},
	{detach, true},
	/* The inherited descriptor and mapping are still there. */
	{attach_beside, false},
};

#define HEIRS 3

struct family {
	struct actor child; /* the test's side */
	struct actor childs_side;
	heir_fn *fn;
};

/* Takes the lock, and forks a child, which lives on when this process is killed. */
static void parent(struct actor *self, void *context)
{
	struct family *family = context;
	struct shmd_segment *mine = attach_apart();

	ck_assert_int_eq(kind->try(shmd_segment_fd(mine)), 0);
	if (fork() == 0) {
		actor_tell(&family->childs_side);
		actor_await(&family->childs_side);
		family->fn(mine);
		actor_tell(&family->childs_side);
		actor_await(&family->childs_side);
		_exit(0);
	}
	actor_tell(self);
	actor_await(self);
}

static void connect_family(struct family *family)
{
	int to[2], from[2];

	ck_assert_int_eq(pipe(to), 0);
	ck_assert_int_eq(pipe(from), 0);
	family->child = (struct actor){.to = to[1], .from = from[0]};
	family->childs_side = (struct actor){.to = from[1], .from = to[0]};
}

/* A lock belongs to the file description, which a forked child shares until it has one of its own. */
START_TEST(a_child_that_lives_on_keeps_its_parents_lock)
{
	int fd = shmd_segment_fd(segment);
	struct family family = {.fn = heirs[_i / KINDS].fn};
	struct actor killed;

	kind = &kinds[_i % KINDS];
	connect_family(&family);
	actor_start(&killed, parent, &family);
	actor_await(&killed);
	actor_await(&family.child);
	ck_assert_int_eq(kind->try(fd), TAKEN);
	actor_kill(&killed);
	ck_assert_int_eq(kind->try(fd), TAKEN);
	actor_tell(&family.child);
	actor_await(&family.child);
	ck_assert_int_eq(kind->try(fd), heirs[_i / KINDS].frees ? 0 : TAKEN);
	actor_tell(&family.child);
	AWAIT(kind->try(fd) == 0);
}
END_TEST

/* While the parent lives, the child's own description neither has its lock nor can drop it. */
static void own_description(struct actor *self, void *context)
{
	int fd = shmd_segment_fd(segment);

	(void)self, (void)context;
	take_permit(segment);
	ck_assert_int_eq(fd, shmd_segment_fd(segment));
	ck_assert_int_eq(kind->try(fd), TAKEN);
	ck_assert_int_eq(kind->drop(fd), 0);
	ck_assert_int_eq(kind->try(fd), TAKEN);
}

static void shared_description(struct actor *self, void *context)
{
	(void)self, (void)context;
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), 0);
	ck_assert_int_eq(kind->drop(shmd_segment_fd(segment)), 0);
}

START_TEST(a_child_can_drop_its_parents_lock_until_it_has_its_own)
{
	struct shmd_segment *again = attach_or_fail(connection, "seg", 0);
	struct actor child;

	kind = &kinds[_i];
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), 0);
	actor_start(&child, own_description, NULL);
	actor_finish(&child);
	ck_assert_int_eq(kind->try(shmd_segment_fd(again)), TAKEN);
	actor_start(&child, shared_description, NULL);
	actor_finish(&child);
	ck_assert_int_eq(kind->try(shmd_segment_fd(again)), 0);
	shmd_detach(again);
}
END_TEST

/* So does a duplicate, which is what SCM_RIGHTS makes, too. */
START_TEST(a_duplicate_shares_the_lock)
{
	struct shmd_segment *again = attach_or_fail(connection, "seg", 0);
	int duplicate = dup(shmd_segment_fd(segment));

	kind = &kinds[_i];
	ck_assert_int_ge(duplicate, 0);
	ck_assert_int_eq(kind->try(shmd_segment_fd(segment)), 0);
	ck_assert_int_eq(kind->try(duplicate), 0);
	segment = shmd_detach(segment);
	ck_assert_int_eq(kind->try(shmd_segment_fd(again)), TAKEN);
	close(duplicate);
	ck_assert_int_eq(kind->try(shmd_segment_fd(again)), 0);
	shmd_detach(again);
}
END_TEST

/* --- the trap ----------------------------------------------------------------------------------- */

/* Tries the traditional lock and says what came of it. */
static void lockf_trier(struct actor *self, void *context)
{
	struct shmd_segment *mine = attach_apart();
	int *results = context;

	for (int i = 0; i < 2; i++) {
		actor_tell(self);
		actor_await(self);
		ck_assert_int_eq(result(lockf(shmd_segment_fd(mine), F_TLOCK, 0)), results[i]);
		lockf(shmd_segment_fd(mine), F_ULOCK, 0);
	}
	actor_tell(self);
}

/* lockf(3) and F_SETLK belong to the process, which loses them all when it closes any descriptor of the
 * memory: here, by letting go of a handle that never was locked. */
START_TEST(lockf_is_lost_with_another_handle)
{
	int expected[2] = {TAKEN, 0};
	struct shmd_segment *again = attach_or_fail(connection, "seg", 0);
	struct actor other;

	actor_start(&other, lockf_trier, expected);
	actor_await(&other);
	ck_assert_int_eq(lockf(shmd_segment_fd(segment), F_TLOCK, 0), 0);
	/* It does not keep the two handles apart, either. */
	ck_assert_int_eq(lockf(shmd_segment_fd(again), F_TEST, 0), 0);
	actor_tell(&other);
	actor_await(&other);
	shmd_detach(again);
	actor_tell(&other);
	actor_await(&other);
	actor_finish(&other);
}
END_TEST

/* --- the suite ---------------------------------------------------------------------------------- */

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("file locks");
	TCase *tests = tcase_create("file locks");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, a_lock_excludes_another_client, 0, KINDS);
	tcase_add_loop_test(tests, who_waits_goes_on_when_the_holder_is_killed, 0, KINDS);
	tcase_add_loop_test(tests, two_handles_of_a_process_exclude_each_other, 0, KINDS);
	tcase_add_test(tests, ranges_exclude_where_they_meet);
	tcase_add_test(tests, shared_locks_and_readers);
	tcase_add_test(tests, kinds_do_not_exclude_each_other);
	tcase_add_loop_test(tests, a_child_that_lives_on_keeps_its_parents_lock, 0, HEIRS * KINDS);
	tcase_add_loop_test(tests, a_child_can_drop_its_parents_lock_until_it_has_its_own, 0,
			    KINDS);
	tcase_add_loop_test(tests, a_duplicate_shares_the_lock, 0, KINDS);
	tcase_add_test(tests, lockf_is_lost_with_another_handle);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

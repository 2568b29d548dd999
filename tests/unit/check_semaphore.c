/* SPDX-License-Identifier: MIT */
/* Semaphores in the real /dev/shm, since that is where sem_open(3) looks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/semaphore.h"

static struct instance instance;
static struct semaphore semaphore;
static struct ownership ours;
static bool by_descriptor_only;

/* Outside of the tests' processes, so that a test that dies leaves nothing. */
static void make_instance(void)
{
	ck_assert_int_eq(instance_init(&instance, "/dev/shm"), 0);
}

/* Counts the semaphores of this instance, or removes them too. */
static unsigned count_files(bool and_remove)
{
	char prefix[64];
	DIR *folder = opendir("/dev/shm");
	unsigned n = 0;

	snprintf(prefix, sizeof(prefix), "sem.shmd-%s-", instance.name);
	for (struct dirent *entry; folder && (entry = readdir(folder));)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
			n++;
			if (and_remove)
				unlinkat(instance.folder, entry->d_name, 0);
		}
	if (folder)
		closedir(folder);
	return n;
}

static void end_instance(void)
{
	count_files(true);
	instance_fini(&instance);
}

static void set_up(void)
{
	ours = (struct ownership){geteuid(), getegid(), 0600};
	semaphore_init(&semaphore);
	ck_assert_int_eq(semaphore.fd, -1);
}

static void tear_down(void)
{
	semaphore_fini(&semaphore, &instance);
	ck_assert_int_eq(semaphore.fd, -1);
	semaphore_fini(&semaphore, &instance);
}

static void create(unsigned permits)
{
	ck_assert_int_eq(semaphore_create(&semaphore, &instance, permits, &ours, false,
					  &by_descriptor_only),
			 0);
}

static bool has_file(struct stat *st)
{
	char path[128];

	snprintf(path, sizeof(path), "/dev/shm/sem.%s", semaphore.name);
	return lstat(path, st) == 0;
}

START_TEST(it_is_a_file_of_ours)
{
	char prefix[32];
	struct stat st;

	create(1);
	ck_assert(!by_descriptor_only);
	snprintf(prefix, sizeof(prefix), "shmd-%s-", instance.name);
	ck_assert_int_eq(strncmp(semaphore.name, prefix, strlen(prefix)), 0);
	ck_assert_uint_eq(strlen(semaphore.name), strlen(prefix) + 16);
	ck_assert(has_file(&st));
	ck_assert(S_ISREG(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(st.st_uid, geteuid());
	ck_assert_uint_eq(st.st_size, sizeof(sem_t));
	ck_assert_int_eq(fcntl(semaphore.fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(sem_open_opens_it)
{
	int value = -1;

	create(3);
	sem_t *theirs = sem_open(semaphore.name, 0);
	ck_assert_ptr_ne(theirs, SEM_FAILED);
	ck_assert_int_eq(sem_getvalue(theirs, &value), 0);
	ck_assert_int_eq(value, 3);
	ck_assert_int_eq(sem_trywait(theirs), 0);
	ck_assert_int_eq(semaphore_value(&semaphore), 2);
	ck_assert_int_eq(sem_post(theirs), 0);
	ck_assert_int_eq(sem_post(theirs), 0);
	ck_assert_int_eq(semaphore_value(&semaphore), 4);
	sem_close(theirs);
}
END_TEST

START_TEST(an_unlinked_one_works_on)
{
	char name[SEMAPHORE_NAME_SIZE];
	struct stat st;

	create(1);
	strcpy(name, semaphore.name);
	sem_t *theirs = sem_open(name, 0);
	ck_assert(has_file(&st));
	semaphore_unlink(&semaphore, &instance);
	ck_assert_str_eq(semaphore.name, "");
	ck_assert_ptr_eq(sem_open(name, 0), SEM_FAILED);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(sem_trywait(theirs), 0);
	ck_assert_int_eq(semaphore_value(&semaphore), 0);
	sem_close(theirs);
	semaphore_unlink(&semaphore, &instance);
}
END_TEST

START_TEST(names_differ)
{
	struct semaphore other;

	create(1);
	semaphore_init(&other);
	ck_assert_int_eq(semaphore_create(&other, &instance, 1, &ours, false, &by_descriptor_only),
			 0);
	ck_assert_str_ne(semaphore.name, other.name);
	semaphore_fini(&other, &instance);
}
END_TEST

START_TEST(as_many_permits_as_there_can_be)
{
	create(INT32_MAX);
	ck_assert_int_eq(semaphore_value(&semaphore), INT32_MAX);
}
END_TEST

START_TEST(too_many_permits_leave_nothing)
{
	unsigned descriptors = unit_descriptors();
	unsigned entries = count_files(false);

	ck_assert_int_eq(semaphore_create(&semaphore, &instance, (unsigned)INT32_MAX + 1, &ours,
					  false, &by_descriptor_only),
			 -EINVAL);
	ck_assert_int_eq(semaphore.fd, -1);
	ck_assert_str_eq(semaphore.name, "");
	ck_assert_uint_eq(unit_descriptors(), descriptors);
	ck_assert_uint_eq(count_files(false), entries);
}
END_TEST

/* Whoever may lock may also truncate: the daemon must live through it. */
START_TEST(a_damaged_file_has_no_value)
{
	ck_assert_int_eq(semaphore_value(&semaphore), -1);
	create(1);
	ck_assert_int_eq(ftruncate(semaphore.fd, 3), 0);
	ck_assert_int_eq(semaphore_value(&semaphore), -1);
}
END_TEST

/* Others get a list, or where there are none the descriptor alone; never a mode that lets all in. */
START_TEST(others_never_get_more_than_their_due)
{
	struct ownership theirs = {geteuid() + 1001, getegid() + 1001, 0620};
	struct stat st;

	ck_assert_int_eq(
		semaphore_create(&semaphore, &instance, 1, &theirs, false, &by_descriptor_only), 0);
	ck_assert(has_file(&st));
	ck_assert_uint_eq(st.st_mode & 0007, 0);
	if (by_descriptor_only)
		ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

static int ends[2];

static void try_to_open(void *context)
{
	const struct credentials *who = context;
	char answer = 'n';

	if (setresgid(who->gid, who->gid, who->gid) < 0 ||
	    setresuid(who->uid, who->uid, who->uid) < 0)
		answer = '?';
	else if (sem_open(semaphore.name, 0) != SEM_FAILED)
		answer = 'y';
	if (write(ends[1], &answer, 1) != 1)
		_exit(1);
}

static char may_open(uid_t uid, gid_t gid)
{
	struct credentials who = {.uid = uid, .gid = gid};
	struct unit_child child = unit_fork(try_to_open, &who);
	char answer = 0;

	ck_assert_int_eq(read(ends[0], &answer, 1), 1);
	unit_join(&child);
	return answer;
}

static void expect_audience(mode_t mode, bool readers_lock, const char *answers)
{
	struct ownership theirs = {1001, 1001, mode};

	ck_assert_int_eq(semaphore_create(&semaphore, &instance, 1, &theirs, readers_lock,
					  &by_descriptor_only),
			 0);
	if (by_descriptor_only)
		answers = "nnn";
	ck_assert_int_eq(may_open(1001, 1002), answers[0]);
	ck_assert_int_eq(may_open(1002, 1001), answers[1]);
	ck_assert_int_eq(may_open(1002, 1002), answers[2]);
	semaphore_fini(&semaphore, &instance);
}

/* Whom it was open to before is out. */
START_TEST(it_is_handed_over)
{
	struct ownership before = {1001, 1001, 0666}, after = {1002, 1003, 0640};

	if (geteuid() != 0)
		return;
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(
		semaphore_create(&semaphore, &instance, 1, &before, false, &by_descriptor_only), 0);
	ck_assert_int_eq(semaphore_hand_over(&semaphore, &after, false), 0);
	ck_assert_int_eq(may_open(1001, 1001), 'n');
	ck_assert_int_eq(may_open(1004, 1004), 'n');
	ck_assert_int_eq(may_open(1004, 1003), 'n');
	ck_assert_int_eq(may_open(1002, 1001), by_descriptor_only ? 'n' : 'y');
	after.mode = 0;
	ck_assert_int_eq(semaphore_hand_over(&semaphore, &after, false), 0);
	ck_assert_int_eq(may_open(1002, 1003), 'n');
	semaphore_fini(&semaphore, &instance);
	ck_assert_int_eq(semaphore_hand_over(&semaphore, &before, false), 0);
	close_fd(ends[0]);
	close_fd(ends[1]);
}
END_TEST

START_TEST(owner_group_and_mode_decide_who_opens)
{
	/* Only root can become another user, whom the file would not belong to. */
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(pipe(ends), 0);
	expect_audience(0600, false, "ynn");
	expect_audience(0640, false, "ynn");
	expect_audience(0640, true, "yyn");
	expect_audience(0660, false, "yyn");
	expect_audience(0666, false, "yyy");
	expect_audience(0644, false, "ynn");
	expect_audience(0444, true, "yyy");
	expect_audience(0066, false, "nyy");
	expect_audience(0606, false, "yny");
	close_fd(ends[0]);
	close_fd(ends[1]);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_unchecked_fixture(tests, make_instance, end_instance);
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, it_is_a_file_of_ours);
	tcase_add_test(tests, sem_open_opens_it);
	tcase_add_test(tests, an_unlinked_one_works_on);
	tcase_add_test(tests, names_differ);
	tcase_add_test(tests, as_many_permits_as_there_can_be);
	tcase_add_test(tests, too_many_permits_leave_nothing);
	tcase_add_test(tests, a_damaged_file_has_no_value);
	tcase_add_test(tests, others_never_get_more_than_their_due);
	tcase_add_test(tests, owner_group_and_mode_decide_who_opens);
	tcase_add_test(tests, it_is_handed_over);
}

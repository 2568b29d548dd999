/* SPDX-License-Identifier: MIT */
/* Word of a close, and of a last unmap. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "core/memory.h"
#include "core/watch.h"

#define N 3

static struct watch watch;
static struct watch_item items[N];
static int fds[N];
static unsigned told[N];

static unsigned told_of_files; /* that were closed in the folder */
static char last_file[32];

static void count(struct watch_item *item, void *context)
{
	ck_assert_ptr_eq(context, told);
	told[item - items]++;
}

static void count_file(const char *name, void *context)
{
	ck_assert_ptr_eq(context, told);
	told_of_files++;
	snprintf(last_file, sizeof(last_file), "%s", name ? name : "any");
}

static void set_up(void)
{
	struct refusal why;

	ck_assert_int_eq(watch_init(&watch), 0);
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(memory_new("unit", 4096, 0, &fds[i], &why), 0);
		ck_assert_int_eq(watch_add(&watch, &items[i], fds[i], count), 0);
		ck_assert_int_ne(items[i].wd, 0);
	}
}

static void tear_down(void)
{
	for (int i = 0; i < N; i++) {
		watch_remove(&watch, &items[i]);
		ck_assert_int_eq(items[i].wd, 0);
		watch_remove(&watch, &items[i]);
		close_fd(fds[i]);
	}
	watch_fini(&watch);
}

static void listen(void)
{
	memset(told, 0, sizeof(told));
	told_of_files = 0;
	watch_read(&watch, count_file, told);
}

START_TEST(it_tells_of_a_close)
{
	int writer = memory_reopen(fds[1], false);
	int reader = memory_reopen(fds[2], true);

	listen();
	ck_assert_uint_eq(told[0] + told[1] + told[2], 0);
	close_fd(writer);
	unit_wait(watch.fd);
	listen();
	ck_assert_uint_ge(told[1], 1);
	ck_assert_uint_eq(told[0] + told[2], 0);
	close_fd(reader);
	unit_wait(watch.fd);
	listen();
	ck_assert_uint_ge(told[2], 1);
	ck_assert_uint_eq(told[0] + told[1], 0);
}
END_TEST

START_TEST(it_tells_of_a_last_unmap)
{
	int other = memory_reopen(fds[0], false);
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);

	close_fd(other);
	listen();
	ck_assert_uint_eq(told[0], 0);
	munmap(p, 4096);
	unit_wait(watch.fd);
	listen();
	ck_assert_uint_ge(told[0], 1);
}
END_TEST

START_TEST(it_tells_of_a_childs_end)
{
	int other = memory_reopen(fds[0], false);
	struct unit_child child = unit_fork(NULL, NULL);

	close_fd(other);
	listen();
	ck_assert_uint_eq(told[0], 0);
	unit_join(&child);
	unit_wait(watch.fd);
	listen();
	ck_assert_uint_ge(told[0], 1);
}
END_TEST

START_TEST(what_was_removed_is_not_told)
{
	close_fd(memory_reopen(fds[0], false));
	watch_remove(&watch, &items[0]);
	listen();
	ck_assert_uint_eq(told[0], 0);
}
END_TEST

static void remove_it(struct watch_item *item, void *context)
{
	count(item, context);
	watch_remove(&watch, item);
}

START_TEST(whoever_is_told_may_remove)
{
	for (int i = 0; i < N; i++)
		for (int times = 0; times < 2; times++)
			close_fd(memory_reopen(fds[i], false));
	for (int i = 0; i < N; i++)
		items[i].fn = remove_it;
	watch_read(&watch, count_file, told);
	for (int i = 0; i < N; i++)
		ck_assert_uint_eq(told[i], 1);
}
END_TEST

/* More than the kernel keeps: it says that some was lost, and everybody is told. */
START_TEST(lost_word_is_word_for_all)
{
	char text[16];
	_cleanup_fclose_ FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");

	if (!file || !fgets(text, sizeof(text), file) || atoi(text) > 100000)
		return;
	/* Two in turn, for the kernel merges what is alike. */
	for (int i = 0; i < atoi(text) + 10; i++)
		close_fd(memory_reopen(fds[i % 2], false));
	unsigned last = 0;
	do {
		last += told[2];
		listen();
	} while (told[0] + told[1] + told[2] > 0);
	ck_assert_uint_ge(last, 1);
	ck_assert_str_eq(last_file, "any");
}
END_TEST

static void close_in(int folder, const char *name, int flags)
{
	int fd = openat(folder, name, flags | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	close_fd(fd);
}

/* One watch for a folder: files that were open for writing, and that still have their name. */
START_TEST(a_folder_tells_of_its_files)
{
	char path[] = "/tmp/shmd-unit-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(path));
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(watch_add_folder(&watch, folder), 0);
	close_in(folder, "a", O_RDWR | O_CREAT);
	listen();
	ck_assert_uint_eq(told_of_files, 1);
	ck_assert_str_eq(last_file, "a");
	close_in(folder, "a", O_RDONLY);
	listen();
	ck_assert_uint_eq(told_of_files, 0);

	int fd = openat(folder, "a", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(unlinkat(folder, "a", 0), 0);
	close_fd(fd);
	listen();
	ck_assert_uint_eq(told_of_files, 0);
	ck_assert_int_eq(rmdir(path), 0);
	close_fd(folder);
}
END_TEST

/* A semaphore is closed when it is unmapped: sem_open(3) closes the descriptor at once. */
START_TEST(a_folder_tells_of_a_last_unmap)
{
	char path[] = "/tmp/shmd-unit-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(path));
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = openat(folder, "a", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, 32), 0);
	void *p = mmap(NULL, 32, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close_fd(fd);
	ck_assert_int_eq(watch_add_folder(&watch, folder), 0);
	listen();
	ck_assert_uint_eq(told_of_files, 0);
	munmap(p, 32);
	listen();
	ck_assert_uint_eq(told_of_files, 1);
	ck_assert_int_eq(unlinkat(folder, "a", 0), 0);
	ck_assert_int_eq(rmdir(path), 0);
	close_fd(folder);
}
END_TEST

START_TEST(it_never_blocks)
{
	listen();
	listen();
	ck_assert_uint_eq(told[0] + told[1] + told[2], 0);
}
END_TEST

/* A kernel that gave no instance. */
START_TEST(without_an_instance_it_watches_nothing)
{
	struct watch none = {.fd = -1};
	struct watch_item item = {0};

	ck_assert_int_lt(watch_add(&none, &item, fds[0], count), 0);
	ck_assert_int_eq(item.wd, 0);
	watch_remove(&none, &item);
	watch_read(&none, count_file, told);
	watch_fini(&none);
}
END_TEST

START_TEST(a_bad_descriptor_is_an_error)
{
	struct watch_item item = {0};

	ck_assert_int_eq(watch_add(&watch, &item, 1 << 20, count), -ENOENT);
	ck_assert_int_eq(item.wd, 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, it_tells_of_a_close);
	tcase_add_test(tests, it_tells_of_a_last_unmap);
	tcase_add_test(tests, it_tells_of_a_childs_end);
	tcase_add_test(tests, what_was_removed_is_not_told);
	tcase_add_test(tests, whoever_is_told_may_remove);
	tcase_add_test(tests, lost_word_is_word_for_all);
	tcase_add_test(tests, a_folder_tells_of_its_files);
	tcase_add_test(tests, a_folder_tells_of_a_last_unmap);
	tcase_add_test(tests, it_never_blocks);
	tcase_add_test(tests, without_an_instance_it_watches_nothing);
	tcase_add_test(tests, a_bad_descriptor_is_an_error);
}

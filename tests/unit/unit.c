/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

char unit_folder[UNIT_FOLDER_SIZE];

unsigned unit_entries(const char *path)
{
	unsigned n = 0;
	DIR *folder = opendir(path);

	ck_assert_ptr_nonnull(folder);
	for (struct dirent *entry; (entry = readdir(folder));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			n++;
	closedir(folder);
	return n;
}

unsigned unit_descriptors(void)
{
	return unit_entries("/proc/self/fd");
}

const char *unit_write(const char *name, const void *bytes, size_t size)
{
	static char path[sizeof(unit_folder) + 256];

	snprintf(path, sizeof(path), "%s/%s", unit_folder, name);
	_cleanup_fclose_ FILE *file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
	return path;
}

void unit_wait(int fd)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	ck_assert_int_eq(poll(&readable, 1, 10000), 1);
}

static void wait_for_end(int line)
{
	char byte = 'r';

	if (write(line, &byte, 1) == 1)
		while (read(line, &byte, 1) > 0)
			;
	_exit(0);
}

struct unit_child unit_fork(void (*act)(void *context), void *context)
{
	struct unit_child child;
	int ends[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	child.pid = fork();
	ck_assert_int_ge(child.pid, 0);
	if (child.pid == 0) {
		close(ends[0]);
		if (act)
			act(context);
		wait_for_end(ends[1]);
	}
	close(ends[1]);
	child.line = ends[0];
	ck_assert_int_eq(read(child.line, &byte, 1), 1);
	return child;
}

void unit_join(struct unit_child *child)
{
	/* Younger children have it too, so closing would not be the end of it. */
	shutdown(child->line, SHUT_RDWR);
	child->line = close_fd(child->line);
	ck_assert_int_eq(waitpid(child->pid, NULL, 0), child->pid);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)type, (void)where;
	return remove(path);
}

/* What a test that failed has left must not fail the next. */
static int remove_inner(const char *path, const struct stat *st, int type, struct FTW *where)
{
	return where->level > 0 ? remove_one(path, st, type, where) : 0;
}

static void clear_folder(void)
{
	nftw(unit_folder, remove_inner, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(unit_folder, sizeof(unit_folder), "%s/shmd-unit.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(unit_folder)) {
		perror(unit_folder);
		exit(99);
	}
}

/* The status is 0 also when tests have failed: automake counts the lines of TAP, and would count the
 * program as one more. */
int main(void)
{
	Suite *suite = suite_create(program_invocation_short_name);
	TCase *tests = tcase_create("tests");

	log_open(program_invocation_short_name);
	log_set_level(LOG_LEVEL_ERROR);
	/* As the daemon does: whoever opens a file under a lease makes the kernel send it. */
	signal(SIGIO, SIG_IGN);
	make_folder();
	tcase_set_timeout(tests, 60);
	tcase_add_checked_fixture(tests, clear_folder, NULL);
	unit_tests(tests);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	srunner_free(runner);
	nftw(unit_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

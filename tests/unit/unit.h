/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests share: main(), a folder that is gone afterwards, and children that hold what
 * they inherited for as long as a test wants.
 */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Each program defines it: adds its tests, and its fixtures, to the only test case. */
void unit_tests(TCase *tests);

/* A folder of this program's own, made before the tests and removed behind them. */
#define UNIT_FOLDER_SIZE 256
extern char unit_folder[UNIT_FOLDER_SIZE];

/* How many names a folder holds, without "." and "..". */
unsigned unit_entries(const char *folder);

/* How many descriptors this process has open. */
unsigned unit_descriptors(void);

/* Writes a file of unit_folder, and returns its path; valid until the next call. */
const char *unit_write(const char *name, const void *bytes, size_t size);

/* Waits until a descriptor is readable, and fails the test after ten seconds. */
void unit_wait(int fd);

/* A child process that waits to be stopped. */
struct unit_child {
	pid_t pid;
	int line; /* it ends when this closes */
};

/* Forks a child, which first calls `act` (NULL: nothing) and then holds all that it has. Returns
 * when it has called it. */
struct unit_child unit_fork(void (*act)(void *context), void *context);

/* Ends the child, and returns when the kernel has taken all it had. */
void unit_join(struct unit_child *child);

#define unit_assert_has(text, part) \
	ck_assert_msg(strstr((text), (part)) != NULL, "'%s' is not in '%s'", (part), (text))

#endif

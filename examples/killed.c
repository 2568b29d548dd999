/* SPDX-License-Identifier: MIT */
/*
 * A writer is killed in the middle of its turn, and the reader goes on. What keeps the two apart comes
 * from flock.c or semaphore.c, as in turns.c. In both ways nobody is stuck. With a file lock nobody is
 * told either: the reader takes half a record for a whole one. With the semaphore it is told, looks,
 * and makes the record whole.
 *
 * The exit status is 0 if the reader went on; what it prints says how.
 */
#include "turns.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 64

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, shmd_error_message());
	exit(2);
}

static void write_letters(volatile char *data, char letter, int n)
{
	for (int i = 0; i < n; i++)
		data[i] = letter;
}

static bool is_whole(const volatile char *data)
{
	for (int i = 1; i < SIZE; i++)
		if (data[i] != data[0])
			return false;
	return true;
}

/* --- the writer --------------------------------------------------------------------------------- */

/* One whole record, and half of the next; then it stays in its turn until it is killed. */
static void write_until_killed(struct shmd_segment *segment, int middle)
{
	volatile char *data = shmd_segment_data(segment);

	for (int i = 0; i < 2; i++) {
		if (guard_enter(segment) != 0)
			fail("the writer cannot enter");
		if (i == 1)
			break;
		write_letters(data, 'A', SIZE);
		if (guard_leave(segment) != 0)
			fail("the writer cannot leave");
	}
	write_letters(data, 'B', SIZE / 2);
	if (write(middle, "", 1) != 1)
		exit(2);
	for (;;)
		pause();
}

/* Returns when the writer is in the middle of its turn. */
static pid_t start_writer(struct shmd *connection, const char *name)
{
	struct shmd_segment *segment;
	int middle[2];
	char byte;

	if (pipe(middle) < 0)
		exit(2);
	pid_t writer = fork();
	if (writer == 0) {
		if (shmd_attach(connection, name, 0, &segment) < 0)
			fail("the writer cannot attach");
		write_until_killed(segment, middle[1]);
	}
	close(middle[1]);
	if (read(middle[0], &byte, 1) != 1)
		exit(2);
	close(middle[0]);
	return writer;
}

/* --- the reader --------------------------------------------------------------------------------- */

/* How to react: whoever is told looks at what it shares before it trusts it, and mends what is broken.
 * Here a record can be made whole by its first letter; others begin anew, or keep two copies. */
static void mend(volatile char *data)
{
	if (is_whole(data)) {
		puts("  told that its holder died; the record was whole");
		return;
	}
	write_letters(data, data[0], SIZE);
	puts("  told that its holder died: half a record, made whole");
}

static void read_record(struct shmd_segment *segment)
{
	volatile char *data = shmd_segment_data(segment);
	int r = guard_enter(segment);

	if (r < 0)
		fail("the reader cannot enter");
	if (r == SHMD_OWNER_DIED)
		mend(data);
	printf("  read %s record\n", is_whole(data) ? "a whole" : "half a");
	if (guard_leave(segment) != 0)
		fail("the reader cannot leave");
}

int main(void)
{
	struct shmd *connection;
	struct shmd_segment *segment;
	char name[32];

	snprintf(name, sizeof(name), "killed-%d", (int)getpid());
	if (shmd_connect(&connection, NULL) < 0)
		fail("cannot connect");
	if (shmd_create(connection, name, SIZE, NULL, &segment) < 0)
		fail("cannot create");
	pid_t writer = start_writer(connection, name);
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	puts("the writer was killed in the middle of its turn; the reader goes on:");
	/* Twice: a death is told once. */
	read_record(segment);
	read_record(segment);
	shmd_detach(segment);
	shmd_disconnect(connection);
	return 0;
}

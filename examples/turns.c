/* SPDX-License-Identifier: MIT */
/*
 * usage: flock [TURNS]
 *
 * The parent makes a segment of 64 bytes and forks a writer and a reader. Each attaches for itself
 * and takes 1000 turns, or as many as it is told: the writer fills the 64 bytes with one letter, the
 * reader looks whether all of them are equal. The exit status is 0 if every read was whole.
 *
 * posix.c is the same without shmd; ratio.sh tells what each turn costs in both.
 */
#include "turns.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 64

static int turns = 1000;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, shmd_error_message());
	exit(2);
}

/* One byte after the other, so that who is not kept out meanwhile sees a mixture. */
static int write_turn(volatile char *data, int turn)
{
	for (int i = 0; i < SIZE; i++)
		data[i] = (char)('A' + turn % 26);
	return 0;
}

/* Returns 1 for a torn read. */
static int read_turn(volatile char *data, int turn)
{
	(void)turn;
	for (int i = 1; i < SIZE; i++)
		if (data[i] != data[0])
			return 1;
	return 0;
}

typedef int turn_fn(volatile char *data, int turn);

/* Takes the turns and returns how many of them went wrong. */
static int take_turns(struct shmd_segment *segment, turn_fn *fn)
{
	int wrong = 0;

	for (int turn = 0; turn < turns; turn++) {
		if (guard_enter(segment) < 0)
			fail("cannot enter");
		wrong += fn(shmd_segment_data(segment), turn);
		if (guard_leave(segment) < 0)
			fail("cannot leave");
	}
	return wrong;
}

/* Returns when both children have come here: each closes its end of the pipe, and end of file is when
 * the last one has. */
static void wait_for_the_other(const int meeting[2])
{
	char byte;

	close(meeting[1]);
	if (read(meeting[0], &byte, 1) != 0)
		exit(2);
}

/* A child: attaches by name, with a file description of its own, and leaves all clearing up to its
 * end. The inherited connection becomes the child's own with this first call. */
static pid_t start(struct shmd *connection, const char *name, const int meeting[2], turn_fn *fn)
{
	struct shmd_segment *segment;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (shmd_attach(connection, name, 0, &segment) < 0)
		fail("cannot attach");
	wait_for_the_other(meeting);
	_exit(take_turns(segment, fn) > 0);
}

static int finish(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

int main(int argc, char *argv[])
{
	struct shmd *connection;
	struct shmd_segment *segment;
	char name[32];
	int meeting[2];

	if (argc > 1 && (turns = atoi(argv[1])) < 1)
		return 2;
	snprintf(name, sizeof(name), "turns-%d", (int)getpid());
	if (shmd_connect(&connection, NULL) < 0)
		fail("cannot connect");
	if (shmd_create(connection, name, SIZE, NULL, &segment) < 0)
		fail("cannot create");
	if (pipe(meeting) < 0)
		return 2;
	double start_ns = now_ns();
	pid_t writer = start(connection, name, meeting, write_turn);
	pid_t reader = start(connection, name, meeting, read_turn);
	close(meeting[0]);
	close(meeting[1]);
	int written = finish(writer);
	int torn = finish(reader);
	printf("%d turns each, %.0f ns a turn: %s\n", turns, (now_ns() - start_ns) / turns,
	       torn ? "torn reads" : "every read was whole");
	shmd_detach(segment);
	shmd_disconnect(connection);
	return written ? written : torn;
}

/* SPDX-License-Identifier: MIT */
/*
 * usage: publish [TURNS]
 *
 * The reader and the writer of turns.c without a lock: the writer fills 64 bytes of its own with one
 * letter and publishes them as the next generation of a name, 1000 times, or as often as it is told.
 * The reader waits for the newest generation, as often as it can, and looks whether all 64 bytes are
 * equal. Neither ever waits for the other. The exit status is 0 if every read was whole.
 */
#include <shmd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 64
#define LAST '.' /* what the last generation is full of */

static int turns = 1000;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, shmd_error_message());
	exit(2);
}

static char letter_of(int turn)
{
	return turn == turns - 1 ? LAST : (char)('A' + turn % 26);
}

/* Who is killed before the last step has published nothing, and leaves nothing. */
static void write_turn(struct shmd *connection, const char *name, int turn)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_NO_SEMAPHORE;
	if (shmd_create(connection, NULL, SIZE, &options, &segment) < 0)
		fail("cannot create");
	memset(shmd_segment_data(segment), letter_of(turn), SIZE);
	if (shmd_publish(segment, name, 0) < 0)
		fail("cannot publish");
	shmd_detach(segment);
}

static bool is_whole(const char *data)
{
	for (int i = 1; i < SIZE; i++)
		if (data[i] != data[0])
			return false;
	return true;
}

/* Reads the newest generation, and again when there is a newer one. Returns how many were torn. */
static int read_turns(struct shmd *connection, const char *name, int *ret_reads)
{
	struct shmd_segment *segment;
	uint64_t generation = 0;
	int torn = 0;
	char letter;

	*ret_reads = 0;
	do {
		if (shmd_wait(connection, name, generation, 10000, SHMD_READ_ONLY, &segment) < 0)
			fail("cannot wait");
		generation = shmd_segment_generation(segment);
		letter = *(const char *)shmd_segment_data(segment);
		torn += !is_whole(shmd_segment_data(segment));
		++*ret_reads;
		shmd_detach(segment);
	} while (letter != LAST);
	return torn;
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

/* The child's first call makes a connection of its own. The name need not exist yet. */
static pid_t start_reader(struct shmd *connection, const char *name)
{
	double start_ns = now_ns();
	int reads;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	int torn = read_turns(connection, name, &reads);
	printf("%d turns, %.0f ns a turn, %d of them read: %s\n", turns,
	       (now_ns() - start_ns) / turns, reads, torn ? "torn reads" : "every read was whole");
	exit(torn > 0);
}

int main(int argc, char *argv[])
{
	struct shmd *connection;
	char name[32];
	int status;

	if (argc > 1 && (turns = atoi(argv[1])) < 1)
		return 2;
	snprintf(name, sizeof(name), "publish-%d", (int)getpid());
	if (shmd_connect(&connection, NULL) < 0)
		fail("cannot connect");
	pid_t reader = start_reader(connection, name);
	for (int turn = 0; turn < turns; turn++)
		write_turn(connection, name, turn);
	/* The name stays for as long as the writer does: the reader may not have the last one yet. */
	if (waitpid(reader, &status, 0) != reader)
		return 2;
	shmd_disconnect(connection);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

/* SPDX-License-Identifier: MIT */
/*
 * A writer is killed in the middle of its turn, as in killed.c, but it publishes. What it had not
 * published goes with it, what it had stays whole, and nobody has anything to mend or to be told.
 *
 * The exit status is 0 if every record was whole; what it prints says how.
 */
#include <shmd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 64

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, shmd_error_message());
	exit(2);
}

/* A generation that shall outlive its writer without a reader lingers, or is persistent. */
static struct shmd_segment *create(struct shmd *connection)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_NO_SEMAPHORE;
	options.linger_ms = 60000;
	if (shmd_create(connection, NULL, SIZE, &options, &segment) < 0)
		fail("cannot create");
	return segment;
}

static void write_record(struct shmd *connection, const char *name, char letter)
{
	struct shmd_segment *segment = create(connection);

	memset(shmd_segment_data(segment), letter, SIZE);
	if (shmd_publish(segment, name, 0) < 0)
		fail("cannot publish");
	shmd_detach(segment);
}

/* One whole record, and half of the next; then it stays in its turn until it is killed. */
static void write_until_killed(struct shmd *connection, const char *name, int middle)
{
	write_record(connection, name, 'A');
	memset(shmd_segment_data(create(connection)), 'B', SIZE / 2);
	if (write(middle, "", 1) != 1)
		exit(2);
	for (;;)
		pause();
}

/* Returns when the writer is in the middle of its turn. */
static pid_t start_writer(struct shmd *connection, const char *name)
{
	int middle[2];
	char byte;

	if (pipe(middle) < 0)
		exit(2);
	pid_t writer = fork();
	if (writer == 0)
		write_until_killed(connection, name, middle[1]);
	close(middle[1]);
	if (read(middle[0], &byte, 1) != 1)
		exit(2);
	close(middle[0]);
	return writer;
}

static bool read_record(struct shmd *connection, const char *name)
{
	struct shmd_segment *segment;
	bool whole = true;

	if (shmd_attach(connection, name, SHMD_READ_ONLY, &segment) < 0)
		fail("the reader cannot attach");
	const char *data = shmd_segment_data(segment);
	for (int i = 1; i < SIZE; i++)
		whole = whole && data[i] == data[0];
	printf("  read %s record of %c\n", whole ? "a whole" : "half a", data[0]);
	shmd_detach(segment);
	return whole;
}

int main(void)
{
	struct shmd *connection;
	char name[32];

	snprintf(name, sizeof(name), "killed-%d", (int)getpid());
	if (shmd_connect(&connection, NULL) < 0)
		fail("cannot connect");
	pid_t writer = start_writer(connection, name);
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	puts("the writer was killed in the middle of its turn; the reader goes on:");
	bool whole = read_record(connection, name);
	puts("and so does the next writer:");
	write_record(connection, name, 'C');
	whole = read_record(connection, name) && whole;
	shmd_unlink(connection, name);
	shmd_disconnect(connection);
	return !whole;
}

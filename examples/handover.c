/* SPDX-License-Identifier: MIT */
/*
 * usage: handover client TEXT
 *        handover worker
 *
 * The client publishes TEXT as "job", waits for "result" and prints it; the worker waits for "job",
 * does it, and publishes "result". They can be started in any order: whoever comes first waits, without
 * asking again and again. Each result is newer than its job, as generations grow over all names, so
 * nobody takes that of an earlier job.
 */
#include <ctype.h>
#include <shmd.h>
#include <stdio.h>
#include <string.h>

static int fail(void)
{
	fprintf(stderr, "handover: %s\n", shmd_error_message());
	return 2;
}

/* Who publishes may be gone before the other one comes to take it: it lingers for a minute. */
static int create(struct shmd *connection, size_t size, struct shmd_segment **ret)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	options.flags = SHMD_NO_SEMAPHORE;
	options.linger_ms = 60000;
	return shmd_create(connection, NULL, size, &options, ret);
}

static int run_client(struct shmd *connection, const char *text)
{
	struct shmd_segment *job, *result;

	if (create(connection, strlen(text), &job) < 0)
		return fail();
	memcpy(shmd_segment_data(job), text, strlen(text));
	if (shmd_publish(job, "job", 0) < 0)
		return fail();
	puts("client: published a job");
	fflush(stdout);
	if (shmd_wait(connection, "result", shmd_segment_generation(job), -1, SHMD_READ_ONLY,
		      &result) < 0)
		return fail();
	printf("client: the result is %.*s\n", (int)shmd_segment_size(result),
	       (const char *)shmd_segment_data(result));
	shmd_unlink(connection, "result");
	shmd_detach(result);
	shmd_detach(job);
	return 0;
}

static void work(const char *job, char *result, size_t size)
{
	for (size_t i = 0; i < size; i++)
		result[i] = (char)toupper((unsigned char)job[i]);
}

static int run_worker(struct shmd *connection)
{
	struct shmd_segment *job, *result;

	puts("worker: waiting for a job");
	fflush(stdout);
	if (shmd_wait(connection, "job", 0, -1, SHMD_READ_ONLY, &job) < 0)
		return fail();
	shmd_unlink(connection, "job"); /* taken */
	if (create(connection, shmd_segment_size(job), &result) < 0)
		return fail();
	work(shmd_segment_data(job), shmd_segment_data(result), shmd_segment_size(job));
	if (shmd_publish(result, "result", 0) < 0)
		return fail();
	puts("worker: published the result");
	shmd_detach(result);
	shmd_detach(job);
	return 0;
}

int main(int argc, char *argv[])
{
	struct shmd *connection;
	int r = 2;

	if (shmd_connect(&connection, NULL) < 0)
		return fail();
	if (argc == 3 && strcmp(argv[1], "client") == 0)
		r = run_client(connection, argv[2]);
	else if (argc == 2 && strcmp(argv[1], "worker") == 0)
		r = run_worker(connection);
	shmd_disconnect(connection);
	return r;
}

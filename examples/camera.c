/* SPDX-License-Identifier: MIT */
/*
 * usage: camera write [RATE [SIZE [SECONDS]]]
 *        camera read [PAUSE_MS]
 *
 * The writer publishes frames: 60 a second, of 1 MiB, for 5 seconds unless told otherwise. Readers,
 * any number of them, started before the writer or later, take the newest frame whenever they are done
 * with the one before, and skip what they are too slow for. PAUSE_MS makes one slow. Nobody ever waits
 * for a reader. A reader ends when no frame has come for a second; its exit status is 0 if all frames
 * were whole and none older than the one before.
 */
#include <errno.h>
#include <shmd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME     "camera"
#define QUIET_MS 1000

struct frame {
	uint64_t number;   /* the writer's first one is 1 */
	uint64_t checksum; /* of the number and all pixels */
	uint64_t pixels[];
};

static int fail(const char *what)
{
	fprintf(stderr, "camera: %s: %s\n", what, shmd_error_message());
	return 2;
}

static uint64_t checksum(const struct frame *frame, size_t size)
{
	size_t n = (size - sizeof(*frame)) / sizeof(frame->pixels[0]);
	uint64_t sum = frame->number;

	for (size_t i = 0; i < n; i++)
		sum = (sum ^ frame->pixels[i]) * 0x100000001b3;
	return sum;
}

/* --- the writer --------------------------------------------------------------------------------- */

static void expose(struct frame *frame, size_t size, uint64_t number)
{
	size_t n = (size - sizeof(*frame)) / sizeof(frame->pixels[0]);

	frame->number = number;
	for (size_t i = 0; i < n; i++)
		frame->pixels[i] = number * 0x9e3779b97f4a7c15 + i;
	frame->checksum = checksum(frame, size);
}

/* The lifetime stays that of its clients: a frame is there as the newest one, or while somebody looks
 * at it, and when the camera is gone nothing is left. */
static int shoot(struct shmd *connection, size_t size, uint64_t number)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_NO_SEMAPHORE | SHMD_PREFAULT;
	if (shmd_create(connection, NULL, size, &options, &segment) < 0)
		return fail("cannot create a frame");
	expose(shmd_segment_data(segment), size, number);
	if (shmd_publish(segment, NAME, 0) < 0)
		return fail("cannot publish a frame");
	shmd_detach(segment);
	return 0;
}

static int write_frames(struct shmd *connection, int rate, size_t size, int seconds)
{
	struct timespec next;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &next);
	for (int i = 0; i < rate * seconds && r == 0; i++) {
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		r = shoot(connection, size, (uint64_t)i + 1);
		next.tv_nsec += 1000000000 / rate;
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
	}
	return r;
}

/* --- a reader ----------------------------------------------------------------------------------- */

struct tally {
	uint64_t generation; /* of the last frame, as is the number */
	uint64_t number;
	uint64_t seen, skipped, torn, backwards;
};

static void look(const struct shmd_segment *segment, struct tally *tally)
{
	const struct frame *frame = shmd_segment_data(segment);
	uint64_t generation = shmd_segment_generation(segment);

	if (frame->checksum != checksum(frame, shmd_segment_size(segment)))
		tally->torn++;
	if (generation <= tally->generation)
		tally->backwards++;
	if (tally->seen > 0 && frame->number > tally->number) /* else another camera has begun */
		tally->skipped += frame->number - tally->number - 1;
	tally->generation = generation;
	tally->number = frame->number;
	tally->seen++;
}

static int read_frames(struct shmd *connection, int pause_ms)
{
	struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000L};
	struct shmd_segment *segment;
	struct tally tally = {0};
	int r;

	while ((r = shmd_wait(connection, NAME, tally.generation, tally.seen ? QUIET_MS : -1,
			      SHMD_READ_ONLY, &segment)) == 0) {
		look(segment, &tally);
		nanosleep(&pause, NULL);
		shmd_detach(segment);
	}
	if (r != -ETIMEDOUT)
		return fail("cannot wait for a frame");
	printf("%s reader: %llu frames seen, %llu skipped, %llu torn, %llu backwards\n",
	       pause_ms ? "slow" : "fast", (unsigned long long)tally.seen,
	       (unsigned long long)tally.skipped, (unsigned long long)tally.torn,
	       (unsigned long long)tally.backwards);
	return tally.torn || tally.backwards;
}

/* The argument at that place, if there is one. */
static int number(int argc, char *const argv[], int i, int otherwise)
{
	return i < argc ? atoi(argv[i]) : otherwise;
}

static int run(struct shmd *connection, int argc, char *const argv[])
{
	int rate = number(argc, argv, 2, 60);
	int size = number(argc, argv, 3, 1 << 20);
	int seconds = number(argc, argv, 4, 5);

	if (strcmp(argv[1], "read") == 0)
		return read_frames(connection, number(argc, argv, 2, 0));
	if (strcmp(argv[1], "write") != 0 || rate < 1 || size < (int)sizeof(struct frame))
		return 2;
	return write_frames(connection, rate, (size_t)size, seconds);
}

int main(int argc, char *argv[])
{
	struct shmd *connection;

	if (argc < 2)
		return 2;
	if (shmd_connect(&connection, NULL) < 0)
		return fail("cannot connect");
	int r = run(connection, argc, argv);
	shmd_disconnect(connection);
	return r;
}

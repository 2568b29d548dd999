/* SPDX-License-Identifier: MIT */
#include "frames.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "measure.h"
#include "stage.h"

#define NAME_PUBLISHED "bench-frames"
#define NAME_LOCKED    "bench-frames-locked"
#define FRAME_SIZE     ((size_t)1 << 20)
#define WORDS          (FRAME_SIZE / sizeof(uint64_t))

/* The part of a run that does not count, while the processes are still waking up. */
#define WARM_UP 0.05

struct studio {
	sem_t ready, go; /* of the writer, and once of the reader */
	sem_t seen;      /* with FRAMES_PUBLISHED: the reader has the last one */
	atomic_bool running;
	_Alignas(64) _Atomic uint64_t read;
};

/* Frame n is number n and then the pattern. */
struct frame {
	uint64_t words[WORDS];
};

/* With FRAMES_LOCKED, in the segment: who waits sleeps in one of the semaphores, and the permit says
 * whose turn it is to touch the frame. */
struct slot {
	sem_t full, empty;
	uint64_t sequence;
	_Alignas(4096) struct frame frame;
};

static struct frame own; /* each process's: what it sends, or has received */

/* --- the reader ------------------------------------------------------------------------------- */

static uint64_t sum(const struct frame *frame)
{
	uint64_t total = 0;

	for (size_t i = 0; i < WORDS; i++)
		total += frame->words[i];
	return total;
}

static void fill(struct frame *frame)
{
	frame->words[0] = 0;
	for (size_t i = 1; i < WORDS; i++)
		frame->words[i] = i * 0x9e3779b97f4a7c15;
}

static void look_at(struct studio *studio, const struct frame *frame)
{
	static uint64_t pattern, n;
	static struct frame expected;

	if (n == 0) {
		fill(&expected);
		pattern = sum(&expected);
	}
	if (sum(frame) != pattern + ++n)
		errx(1, "frame %llu is missing, or damaged", (unsigned long long)n);
	atomic_store_explicit(&studio->read, n, memory_order_relaxed);
}

static struct shmd *new_connection(void)
{
	struct shmd *connection;

	need(shmd_connect(&connection, NULL), "connect");
	return connection;
}

static _Noreturn void read_published(struct studio *studio)
{
	struct shmd *connection = new_connection();
	uint64_t generation = 0;

	sem_post(&studio->ready);
	for (;;) {
		struct shmd_segment *segment;
		need(shmd_wait(connection, NAME_PUBLISHED, generation, -1,
			       SHMD_READ_ONLY | SHMD_PREFAULT, &segment),
		     "wait");
		sem_post(&studio->seen);
		generation = shmd_segment_generation(segment);
		look_at(studio, shmd_segment_data(segment));
		shmd_detach(segment);
	}
}

static _Noreturn void read_socket(struct studio *studio, int socket)
{
	sem_post(&studio->ready);
	for (;;) {
		ssize_t n = recv(socket, &own, sizeof(own), MSG_WAITALL);
		if (n == 0)
			_exit(0);
		if (n != (ssize_t)sizeof(own))
			err(1, "recv");
		look_at(studio, &own);
	}
}

static void down(sem_t *semaphore)
{
	while (sem_wait(semaphore) < 0)
		if (errno != EINTR)
			err(1, "sem_wait");
}

static _Noreturn void read_locked(struct studio *studio)
{
	struct shmd_segment *segment;

	need(shmd_attach(new_connection(), NAME_LOCKED, SHMD_PREFAULT, &segment), "attach");
	struct slot *slot = shmd_segment_data(segment);
	sem_post(&studio->ready);
	for (uint64_t n = 1;; n++) {
		down(&slot->full);
		need(shmd_acquire(segment, -1), "acquire");
		if (slot->sequence != n)
			errx(1, "frame %llu is missing", (unsigned long long)n);
		look_at(studio, &slot->frame);
		need(shmd_release(segment), "release");
		sem_post(&slot->empty);
	}
}

static void run_reader(struct frames *frames)
{
	switch (frames->side) {
	case FRAMES_PUBLISHED:
		read_published(frames->studio);
	case FRAMES_SOCKET:
		close(frames->sockets[0]);
		read_socket(frames->studio, frames->sockets[1]);
	case FRAMES_LOCKED:
		break;
	}
	read_locked(frames->studio);
}

/* --- the writer ------------------------------------------------------------------------------- */

/* What a way to send needs; each has its own. */
struct outlet {
	struct studio *studio;
	struct shmd *connection;
	int socket;
	struct shmd_segment *segment;
};

static void send_published(struct outlet *outlet)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_NO_SEMAPHORE | SHMD_PREFAULT;
	need(shmd_create(outlet->connection, NULL, sizeof(own), &options, &segment), "create");
	memcpy(shmd_segment_data(segment), &own, sizeof(own));
	if (own.words[0] > 1)
		down(&outlet->studio->seen);
	need(shmd_publish(segment, NAME_PUBLISHED, 0), "publish");
	shmd_detach(segment);
}

static void send_socket(struct outlet *outlet)
{
	const char *at = (const char *)&own;

	for (size_t left = sizeof(own); left > 0;) {
		ssize_t n = send(outlet->socket, at, left, MSG_NOSIGNAL);
		if (n < 0)
			err(1, "send");
		at += n;
		left -= (size_t)n;
	}
}

static void send_locked(struct outlet *outlet)
{
	struct slot *slot = shmd_segment_data(outlet->segment);

	down(&slot->empty);
	need(shmd_acquire(outlet->segment, -1), "acquire");
	memcpy(&slot->frame, &own, sizeof(own));
	slot->sequence = own.words[0];
	need(shmd_release(outlet->segment), "release");
	sem_post(&slot->full);
}

static void (*const send_frame[])(struct outlet *outlet) = {
	[FRAMES_PUBLISHED] = send_published,
	[FRAMES_SOCKET] = send_socket,
	[FRAMES_LOCKED] = send_locked,
};

static void open_slot(struct outlet *outlet)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	options.flags = SHMD_PREFAULT;
	need(shmd_create(outlet->connection, NAME_LOCKED, sizeof(struct slot), &options,
			 &outlet->segment),
	     "create");
	struct slot *slot = shmd_segment_data(outlet->segment);
	sem_init(&slot->full, 1, 0);
	sem_init(&slot->empty, 1, 1);
}

static void run_writer(struct frames *frames)
{
	struct studio *studio = frames->studio;
	struct outlet outlet = {.studio = studio, .socket = frames->sockets[0]};

	fill(&own);
	if (frames->side != FRAMES_SOCKET)
		outlet.connection = new_connection();
	if (frames->side == FRAMES_LOCKED)
		open_slot(&outlet);
	for (;;) {
		sem_post(&studio->ready);
		down(&studio->go);
		while (atomic_load_explicit(&studio->running, memory_order_relaxed)) {
			own.words[0]++;
			send_frame[frames->side](&outlet);
		}
	}
}

/* --- their parent ----------------------------------------------------------------------------- */

static struct studio *studio_new(void)
{
	struct studio *studio = mmap(NULL, sizeof(*studio), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (studio == MAP_FAILED)
		err(1, "mmap");
	sem_init(&studio->ready, 1, 0);
	sem_init(&studio->go, 1, 0);
	sem_init(&studio->seen, 1, 0);
	return studio;
}

static pid_t start(struct frames *frames, void run(struct frames *))
{
	pid_t self = getpid();
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		stage_end_with(self, SIGKILL);
		run(frames);
	}
	stage_await(&frames->studio->ready, 1);
	return pid;
}

void frames_start(struct frames *frames, enum frames_side side)
{
	*frames = (struct frames){.side = side, .studio = studio_new()};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, frames->sockets) < 0)
		err(1, "socketpair");
	frames->writer = start(frames, run_writer);
	frames->reader = start(frames, run_reader);
	close(frames->sockets[0]);
	close(frames->sockets[1]);
}

static uint64_t count(const struct frames *frames)
{
	return atomic_load_explicit(&frames->studio->read, memory_order_relaxed);
}

double frames_run(struct frames *frames, double seconds)
{
	struct studio *studio = frames->studio;

	atomic_store(&studio->running, true);
	sem_post(&studio->go);
	pause_for(WARM_UP);
	uint64_t start = clock_monotonic_ns(), before = count(frames);
	pause_for(seconds);
	uint64_t end = clock_monotonic_ns(), after = count(frames);
	atomic_store(&studio->running, false);
	stage_await(&studio->ready, 1);
	return (double)(after - before) * (double)NSEC_PER_SEC / (double)(end - start);
}

void frames_stop(struct frames *frames)
{
	kill(frames->writer, SIGKILL);
	kill(frames->reader, SIGKILL);
	waitpid(frames->writer, NULL, 0);
	waitpid(frames->reader, NULL, 0);
	munmap(frames->studio, sizeof(*frames->studio));
}

/* SPDX-License-Identifier: MIT */
#include "handoff.h"

#include <err.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "measure.h"
#include "stage.h"

#define LOOK_EVERY 50e-6 /* seconds: at whether the reader sleeps */

struct meeting {
	sem_t ready, done; /* posted by the reader: about to wait; had it, and has let go */
	uint64_t from, to;
};

#define NAME         "bench-handoff"
#define TWO_MESSAGES "bare: a message in; open anew, a message out"

const struct handoff_kind handoff_kinds[] = {
	{.key = "publish-wait",
	 .what = "publish, until a waiting reader has it",
	 .beside = TWO_MESSAGES,
	 .aim = 1.5},
	{.key = "publish-wait-seal",
	 .what = "publish, until a waiting reader has it",
	 .beside = "bare: munmap, seal; a message in; open anew, a message out",
	 .seals_beside = true},
	{.key = "publish-wait-writable",
	 .what = "publish for writing, until a waiting reader has it",
	 .beside = TWO_MESSAGES,
	 .flags = SHMD_WRITABLE},
	{.key = "publish-wait-supersede",
	 .what = "publish the next, until a waiting reader has it",
	 .beside = TWO_MESSAGES " (and nothing is freed)",
	 .supersedes = true},
	{NULL},
};

/* --- the reader ------------------------------------------------------------------------------- */

static _Noreturn void read_ours(struct meeting *meeting)
{
	uint64_t generation = 0;
	struct shmd *connection;

	need(shmd_connect(&connection, NULL), "connect");
	for (;;) {
		struct shmd_segment *segment;
		sem_post(&meeting->ready);
		need(shmd_wait(connection, NAME, generation, -1, SHMD_READ_ONLY, &segment), "wait");
		meeting->to = clock_monotonic_ns();
		generation = shmd_segment_generation(segment);
		shmd_detach(segment);
		sem_post(&meeting->done);
	}
}

static _Noreturn void read_bare(struct meeting *meeting, int socket, size_t size)
{
	for (;;) {
		struct bare_segment segment;
		sem_post(&meeting->ready);
		bare_take(socket, size, &segment);
		meeting->to = clock_monotonic_ns();
		/* Before the server drops it: its lease is refused while somebody has it. */
		bare_let_go(&segment);
		sem_post(&meeting->done);
	}
}

static _Noreturn void run_reader(const struct handoff *handoff)
{
	if (handoff->side == HANDOFF_BARE)
		read_bare(handoff->meeting, handoff->scene->server.reader, handoff->scene->size);
	read_ours(handoff->meeting);
}

/* --- the writer ------------------------------------------------------------------------------- */

static char state_of(pid_t pid)
{
	char path[32], state = '?';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	int n = file ? fscanf(file, "%*d (%*[^)]) %c", &state) : 0;
	if (n != 1)
		errx(1, "%s tells nothing", path);
	return state;
}

/* Once it is ready, there is nothing left to sleep in but the wait. What we ask for next comes to the
 * server after its request, so that the server has served that by then, too. */
static void await_reader(const struct handoff *handoff)
{
	stage_await(&handoff->meeting->ready, 1);
	do
		pause_for(LOOK_EVERY);
	while (state_of(handoff->reader) != 'S');
}

static void pass_ours(struct handoff *handoff)
{
	struct scene *scene = handoff->scene;
	struct meeting *meeting = handoff->meeting;
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_NO_SEMAPHORE;
	need(shmd_create(scene->connection, NULL, scene->size, &options, &segment), "create");
	memset(shmd_segment_data(segment), 1, scene->size);
	meeting->from = clock_monotonic_ns();
	need(shmd_publish(segment, NAME, handoff->kind->flags), "publish");
	stage_await(&meeting->done, 1);
	shmd_detach(segment);
	if (!handoff->kind->supersedes)
		need(shmd_unlink(scene->connection, NAME), "unlink");
}

static void pass_bare(struct handoff *handoff)
{
	struct scene *scene = handoff->scene;
	struct meeting *meeting = handoff->meeting;
	int socket = scene->server.sockets[0];

	bare_open(socket, BARE_CREATE_SEALABLE, scene->size, &scene->bare);
	memset(scene->bare.data, 1, scene->size);
	meeting->from = clock_monotonic_ns();
	if (handoff->kind->seals_beside)
		bare_seal(&scene->bare);
	bare_pass(socket);
	stage_await(&meeting->done, 1);
	bare_close(socket, BARE_DROP, &scene->bare);
}

double handoff_sample(struct handoff *handoff)
{
	await_reader(handoff);
	if (handoff->side == HANDOFF_BARE)
		pass_bare(handoff);
	else
		pass_ours(handoff);
	return (double)(handoff->meeting->to - handoff->meeting->from) / NSEC_PER_USEC;
}

/* --- both ------------------------------------------------------------------------------------- */

static struct meeting *meeting_new(void)
{
	struct meeting *meeting = mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (meeting == MAP_FAILED)
		err(1, "mmap");
	sem_init(&meeting->ready, 1, 0);
	sem_init(&meeting->done, 1, 0);
	return meeting;
}

void handoff_start(struct handoff *handoff, const struct handoff_kind *kind, enum handoff_side side,
		   struct scene *scene)
{
	pid_t self = getpid();

	*handoff = (struct handoff){
		.kind = kind, .side = side, .scene = scene, .meeting = meeting_new()};
	handoff->reader = fork();
	if (handoff->reader < 0)
		err(1, "fork");
	if (handoff->reader == 0) {
		stage_end_with(self, SIGKILL);
		run_reader(handoff);
	}
}

void handoff_stop(struct handoff *handoff)
{
	kill(handoff->reader, SIGKILL);
	waitpid(handoff->reader, NULL, 0);
	munmap(handoff->meeting, sizeof(*handoff->meeting));
}

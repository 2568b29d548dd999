/* SPDX-License-Identifier: MIT */
#include "crowd.h"

#include <err.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "measure.h"
#include "stage.h"

/* The part of a run that does not count, while clients are still waking up. */
#define WARM_UP 0.1

/* A cache line each, so that counting costs nobody else anything. */
struct counter {
	_Alignas(64) _Atomic uint64_t done;
};

struct board {
	sem_t ready, go;
	atomic_bool running;
	struct counter counters[];
};

static size_t board_size(unsigned n)
{
	return sizeof(struct board) + n * sizeof(struct counter);
}

static void board_new(struct crowd *crowd)
{
	crowd->board = mmap(NULL, board_size(crowd->n), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (crowd->board == MAP_FAILED)
		err(1, "mmap");
	sem_init(&crowd->board->ready, 1, 0);
	sem_init(&crowd->board->go, 1, 0);
}

/* --- the clients ------------------------------------------------------------------------------ */

static void take_turns(struct board *board, unsigned i, void turn(void *), void *context)
{
	for (;;) {
		sem_post(&board->ready);
		while (sem_wait(&board->go) < 0)
			continue;
		while (atomic_load_explicit(&board->running, memory_order_relaxed)) {
			turn(context);
			atomic_fetch_add_explicit(&board->counters[i].done, 1,
						  memory_order_relaxed);
		}
	}
}

static void turn_ours(void *context)
{
	struct shmd_segment *segment;

	need(shmd_attach(context, SCENE_WITH, 0, &segment), "attach");
	shmd_detach(segment);
}

struct bare_client {
	int socket;
	size_t size;
};

static void turn_bare(void *context)
{
	const struct bare_client *client = context;
	struct bare_segment segment;

	bare_open(client->socket, BARE_ATTACH_BOTH, client->size, &segment);
	bare_close(client->socket, BARE_PLAIN, &segment);
}

static void run_client(struct crowd *crowd, unsigned i, size_t size)
{
	if (crowd->side == CROWD_BARE) {
		struct bare_client client = {crowd->server.sockets[i], size};
		take_turns(crowd->board, i, turn_bare, &client);
	}
	struct shmd *connection;
	need(shmd_connect(&connection, NULL), "connect");
	take_turns(crowd->board, i, turn_ours, connection);
}

/* --- the crowd -------------------------------------------------------------------------------- */

void crowd_start(struct crowd *crowd, enum crowd_side side, unsigned n, const struct scene *scene)
{
	pid_t self = getpid();

	*crowd = (struct crowd){.side = side, .n = n, .clients = calloc(n, sizeof(pid_t))};
	if (!crowd->clients)
		errx(1, "out of memory");
	board_new(crowd);
	if (side == CROWD_BARE)
		bare_server_start(&crowd->server, n, scene->size, scene->prefix);
	for (unsigned i = 0; i < n; i++) {
		crowd->clients[i] = fork();
		if (crowd->clients[i] < 0)
			err(1, "fork");
		if (crowd->clients[i] == 0) {
			stage_end_with(self, SIGKILL);
			run_client(crowd, i, scene->size);
		}
		stage_await(&crowd->board->ready, 1);
	}
}

static uint64_t count(const struct crowd *crowd)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < crowd->n; i++)
		sum += atomic_load_explicit(&crowd->board->counters[i].done, memory_order_relaxed);
	return sum;
}

double crowd_run(struct crowd *crowd, double seconds)
{
	atomic_store(&crowd->board->running, true);
	for (unsigned i = 0; i < crowd->n; i++)
		sem_post(&crowd->board->go);
	pause_for(WARM_UP);
	uint64_t start = clock_monotonic_ns(), before = count(crowd);
	pause_for(seconds);
	uint64_t end = clock_monotonic_ns(), after = count(crowd);
	atomic_store(&crowd->board->running, false);
	stage_await(&crowd->board->ready, crowd->n);
	return (double)(after - before) * (double)NSEC_PER_SEC / (double)(end - start);
}

void crowd_stop(struct crowd *crowd)
{
	for (unsigned i = 0; i < crowd->n; i++)
		kill(crowd->clients[i], SIGKILL);
	for (unsigned i = 0; i < crowd->n; i++)
		waitpid(crowd->clients[i], NULL, 0);
	if (crowd->side == CROWD_BARE)
		bare_server_stop(&crowd->server);
	munmap(crowd->board, board_size(crowd->n));
	free(crowd->clients);
}

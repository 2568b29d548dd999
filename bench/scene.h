/* SPDX-License-Identifier: MIT */
/*
 * What one client's measurements work on: its connections to the daemon and to the bare server, the
 * segments that stay for the whole run, and the one that it opened last. The segments that stay are
 * held by another connection, so that an attachment is always the client's first one.
 */
#ifndef BENCH_SCENE_H
#define BENCH_SCENE_H

#include <semaphore.h>
#include <shmd.h>

#include "reference.h"

#define SCENE_WITH    "bench-with-semaphore"
#define SCENE_WITHOUT "bench-without-semaphore"
#define SCENE_SEVERAL "bench-several-permits"
#define SCENE_FRESH   "bench-fresh"

#define SCENE_PERMITS 4

struct scene {
	size_t size;        /* of every segment, in bytes */
	const char *prefix; /* of names in /dev/shm */
	struct shmd *holder;
	struct shmd_segment *with;
	struct shmd_segment *without;
	struct shmd_segment *several; /* of SCENE_PERMITS permits */
	char shm_kept[64];            /* names for shm_open(3) and sem_open(3) */
	char shm_fresh[64];
	sem_t *semaphore; /* of `with`, as any program opens it */
	sem_t *semaphore_several;

	struct shmd *connection;
	struct bare_server server;

	/* What the last open left for the close that follows. */
	struct shmd_segment *segment;
	struct bare_segment bare;
	int shm_fd;
	void *shm_data;
	sem_t *shm_semaphore;
};

/* Both end the program on failure. SHMD_SOCKET names the daemon's socket. */
void scene_open(struct scene *scene, size_t size, const char *prefix);
void scene_close(struct scene *scene);

/* Ends the program with the library's message unless r is 0. */
void need(int r, const char *what);

#endif

/* SPDX-License-Identifier: MIT */
#include "scene.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void need(int r, const char *what)
{
	if (r != 0)
		errx(1, "%s: %s", what, shmd_error_message());
}

static struct shmd_segment *hold(struct scene *scene, const char *name, unsigned flags,
				 unsigned permits)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = flags;
	options.permits = permits;
	need(shmd_create(scene->holder, name, scene->size, &options, &segment), name);
	return segment;
}

static sem_t *open_semaphore(const struct shmd_segment *segment)
{
	char name[64];

	snprintf(name, sizeof(name), "/%s", shmd_segment_semaphore(segment));
	sem_t *semaphore = sem_open(name, 0);
	if (semaphore == SEM_FAILED)
		err(1, "sem_open %s", name);
	return semaphore;
}

static void open_ours(struct scene *scene)
{
	need(shmd_connect(&scene->connection, NULL), "connect");
	need(shmd_connect(&scene->holder, NULL), "connect");
	scene->with = hold(scene, SCENE_WITH, 0, 1);
	scene->without = hold(scene, SCENE_WITHOUT, SHMD_NO_SEMAPHORE, 1);
	scene->several = hold(scene, SCENE_SEVERAL, 0, SCENE_PERMITS);
	scene->semaphore = open_semaphore(scene->with);
	scene->semaphore_several = open_semaphore(scene->several);
}

static void open_direct(struct scene *scene)
{
	snprintf(scene->shm_kept, sizeof(scene->shm_kept), "/%s-kept", scene->prefix);
	snprintf(scene->shm_fresh, sizeof(scene->shm_fresh), "/%s-fresh", scene->prefix);
	int fd = shm_open(scene->shm_kept, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)scene->size) < 0)
		err(1, "shm_open %s", scene->shm_kept);
	close(fd);
}

void scene_open(struct scene *scene, size_t size, const char *prefix)
{
	*scene = (struct scene){.size = size, .prefix = prefix};
	open_ours(scene);
	open_direct(scene);
	bare_server_start(&scene->server, 1, size, prefix);
}

void scene_close(struct scene *scene)
{
	bare_server_stop(&scene->server);
	shm_unlink(scene->shm_kept);
	sem_close(scene->semaphore);
	sem_close(scene->semaphore_several);
	shmd_detach(scene->with);
	shmd_detach(scene->without);
	shmd_detach(scene->several);
	shmd_disconnect(scene->holder);
	shmd_disconnect(scene->connection);
}

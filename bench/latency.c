/* SPDX-License-Identifier: MIT */
#include "latency.h"

#include <err.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

/* The clock is read once for so many pairs of acquire and release, which take less than it does. */
#define LOCKS 1000

/* --- the daemon, through the library ---------------------------------------------------------- */

static void ours_attach(struct scene *scene, const struct subject *subject)
{
	need(shmd_attach(scene->connection, subject->name, 0, &scene->segment), "attach");
}

static void ours_create(struct scene *scene, const struct subject *subject)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	options.flags = subject->flags;
	need(shmd_create(scene->connection, subject->name, scene->size, &options, &scene->segment),
	     "create");
}

static void ours_close(struct scene *scene, const struct subject *subject)
{
	(void)subject;
	scene->segment = shmd_detach(scene->segment);
}

static void lock_segment(struct shmd_segment *segment)
{
	for (int i = 0; i < LOCKS; i++) {
		int r = shmd_acquire(segment, -1);
		need(r == 0 ? shmd_release(segment) : r, "acquire and release");
	}
}

static void ours_lock(struct scene *scene, const struct subject *subject)
{
	(void)subject;
	lock_segment(scene->with);
}

static void ours_lock_several(struct scene *scene, const struct subject *subject)
{
	(void)subject;
	lock_segment(scene->several);
}

/* --- the references --------------------------------------------------------------------------- */

static void bare_do_open(struct scene *scene, const struct subject *subject)
{
	bare_open(scene->server.sockets[0], subject->opens, scene->size, &scene->bare);
}

static void bare_do_close(struct scene *scene, const struct subject *subject)
{
	bare_close(scene->server.sockets[0], subject->closes, &scene->bare);
}

static void map_direct(struct scene *scene)
{
	scene->shm_data = mmap(NULL, scene->size, PROT_READ | PROT_WRITE, MAP_SHARED, scene->shm_fd,
			       0);
	if (scene->shm_data == MAP_FAILED)
		err(1, "mmap");
}

/* Who did not make it has to ask for its size before mapping it. */
static void direct_attach(struct scene *scene, const struct subject *subject)
{
	struct stat st;

	(void)subject;
	scene->shm_fd = shm_open(scene->shm_kept, O_RDWR, 0);
	if (scene->shm_fd < 0 || fstat(scene->shm_fd, &st) < 0)
		err(1, "shm_open %s", scene->shm_kept);
	map_direct(scene);
}

static void direct_detach(struct scene *scene, const struct subject *subject)
{
	(void)subject;
	munmap(scene->shm_data, scene->size);
	close(scene->shm_fd);
}

static void direct_create(struct scene *scene, const struct subject *subject)
{
	scene->shm_fd = shm_open(scene->shm_fresh, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (scene->shm_fd < 0 || ftruncate(scene->shm_fd, (off_t)scene->size) < 0)
		err(1, "shm_open %s", scene->shm_fresh);
	map_direct(scene);
	if (subject->flags & SHMD_NO_SEMAPHORE)
		return;
	scene->shm_semaphore = sem_open(scene->shm_fresh, O_CREAT | O_EXCL, 0600, 1);
	if (scene->shm_semaphore == SEM_FAILED)
		err(1, "sem_open %s", scene->shm_fresh);
}

static void direct_remove(struct scene *scene, const struct subject *subject)
{
	direct_detach(scene, subject);
	shm_unlink(scene->shm_fresh);
	if (subject->flags & SHMD_NO_SEMAPHORE)
		return;
	sem_close(scene->shm_semaphore);
	sem_unlink(scene->shm_fresh);
}

static void lock_semaphore(sem_t *semaphore)
{
	for (int i = 0; i < LOCKS; i++)
		if (sem_wait(semaphore) < 0 || sem_post(semaphore) < 0)
			err(1, "sem_wait and sem_post");
}

static void direct_lock(struct scene *scene, const struct subject *subject)
{
	(void)subject;
	lock_semaphore(scene->semaphore);
}

static void direct_lock_several(struct scene *scene, const struct subject *subject)
{
	(void)subject;
	lock_semaphore(scene->semaphore_several);
}

/* --- the comparisons -------------------------------------------------------------------------- */

#define OURS_ATTACH(segment)                                                \
	{                                                                   \
		.open = ours_attach, .close = ours_close, .name = (segment) \
	}
#define OURS_CREATE(with)                                                                      \
	{                                                                                      \
		.open = ours_create, .close = ours_close, .name = SCENE_FRESH, .flags = (with) \
	}
#define BARE(opening, closing)                                                    \
	{                                                                         \
		.open = bare_do_open, .close = bare_do_close, .opens = (opening), \
		.closes = (closing)                                               \
	}
#define DIRECT_CREATE(with)                                                    \
	{                                                                      \
		.open = direct_create, .close = direct_remove, .flags = (with) \
	}

const struct comparison comparisons[] = {
	{.key = "attach",
	 .what = "attach",
	 .beside = "bare: open anew and pass, and pass the semaphore",
	 .aim = 1.3,
	 .ours = OURS_ATTACH(SCENE_WITH),
	 .reference = BARE(BARE_ATTACH_BOTH, BARE_PLAIN)},
	{.key = "attach-no-semaphore",
	 .what = "attach, no semaphore",
	 .beside = "bare: open anew and pass",
	 .aim = 1.3,
	 .ours = OURS_ATTACH(SCENE_WITHOUT),
	 .reference = BARE(BARE_ATTACH, BARE_PLAIN)},
	{.key = "create",
	 .what = "create",
	 .beside = "bare: make memfd and semaphore, open anew and pass both",
	 .aim = 1.5,
	 .ours = OURS_CREATE(0),
	 .reference = BARE(BARE_CREATE_BOTH, BARE_DROP)},
	{.key = "create-no-semaphore",
	 .what = "create, no semaphore",
	 .beside = "bare: make memfd, open anew and pass",
	 .aim = 1.5,
	 .ours = OURS_CREATE(SHMD_NO_SEMAPHORE),
	 .reference = BARE(BARE_CREATE, BARE_DROP)},
	{.key = "create-no-semaphore-raw",
	 .what = "create, no semaphore",
	 .beside = "bare: make memfd and pass that (nobody could tell who has it)",
	 .ours = OURS_CREATE(SHMD_NO_SEMAPHORE),
	 .reference = BARE(BARE_CREATE_RAW, BARE_DROP)},
	{.key = "detach",
	 .what = "detach",
	 .beside = "bare: an exchange",
	 .part = PART_CLOSE,
	 .ours = OURS_ATTACH(SCENE_WITH),
	 .reference = BARE(BARE_ATTACH_BOTH, BARE_PLAIN)},
	{.key = "detach-last",
	 .what = "detach, the last",
	 .beside = "bare: test the lease, unlink, close",
	 .part = PART_CLOSE,
	 .ours = OURS_CREATE(0),
	 .reference = BARE(BARE_CREATE_BOTH, BARE_DROP)},
	{.key = "attach-direct",
	 .what = "attach",
	 .beside = "no server: shm_open, fstat, mmap",
	 .ours = OURS_ATTACH(SCENE_WITHOUT),
	 .reference = {.open = direct_attach, .close = direct_detach}},
	{.key = "create-direct",
	 .what = "create",
	 .beside = "no server: shm_open, ftruncate, mmap, sem_open",
	 .ours = OURS_CREATE(0),
	 .reference = DIRECT_CREATE(0)},
	{.key = "create-no-semaphore-direct",
	 .what = "create, no semaphore",
	 .beside = "no server: shm_open, ftruncate, mmap",
	 .ours = OURS_CREATE(SHMD_NO_SEMAPHORE),
	 .reference = DIRECT_CREATE(SHMD_NO_SEMAPHORE)},
	{.key = "life-direct",
	 .what = "create and detach",
	 .beside = "no server: the same, munmap, close, shm_unlink, sem_close, sem_unlink",
	 .part = PART_BOTH,
	 .ours = OURS_CREATE(0),
	 .reference = DIRECT_CREATE(0)},
	{.key = "lock",
	 .what = "acquire and release",
	 .beside = "sem_wait, sem_post of the same semaphore",
	 .aim = 1.15,
	 .repeats = LOCKS,
	 .ours = {.open = ours_lock},
	 .reference = {.open = direct_lock}},
	{.key = "lock-several",
	 .what = "acquire and release, 4 permits",
	 .beside = "sem_wait, sem_post of the same semaphore",
	 .aim = 2.2,
	 .repeats = LOCKS,
	 .ours = {.open = ours_lock_several},
	 .reference = {.open = direct_lock_several}},
	{NULL},
};

double latency_sample(struct scene *scene, const struct comparison *comparison,
		      const struct subject *subject)
{
	unsigned repeats = comparison->repeats ? comparison->repeats : 1;
	uint64_t start = clock_monotonic_ns();

	subject->open(scene, subject);
	uint64_t opened = clock_monotonic_ns();
	if (subject->close)
		subject->close(scene, subject);
	uint64_t closed = clock_monotonic_ns();
	uint64_t from = comparison->part == PART_CLOSE ? opened : start;
	uint64_t to = comparison->part == PART_OPEN ? opened : closed;
	return (double)(to - from) / repeats / NSEC_PER_USEC;
}

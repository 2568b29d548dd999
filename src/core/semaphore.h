/* SPDX-License-Identifier: MIT */
/*
 * A named POSIX semaphore of the daemon's: a file that begins with a sem_t, made without sem_open(3)
 * so that nothing planted is ever opened. The daemon keeps one description of it, and clients get
 * duplicates of that one.
 */
#ifndef CORE_SEMAPHORE_H
#define CORE_SEMAPHORE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/access.h"
#include "core/instance.h"

#define SEMAPHORE_NAME_SIZE 48

struct semaphore {
	int fd;                         /* -1: there is none */
	char name[SEMAPHORE_NAME_SIZE]; /* for sem_open(3); empty once the name was dropped */
};

void semaphore_init(struct semaphore *semaphore);
void semaphore_fini(struct semaphore *semaphore, const struct instance *instance);

/*
 * Makes the semaphore with `permits` as its value. Those whom `of` lets write (with readers_lock,
 * read) may open it by name, as far as access control lists work here; the others never can.
 *
 * Returns 0 or -errno. *ret_by_descriptor_only: a list was needed and could not be set.
 */
int semaphore_create(struct semaphore *semaphore, const struct instance *instance, unsigned permits,
		     const struct ownership *of, bool readers_lock, bool *ret_by_descriptor_only);

/* Lets those open it by name whom `to` lets write, and nobody else any more. Returns 0 or -errno. */
int semaphore_hand_over(struct semaphore *semaphore, const struct ownership *to, bool readers_lock);

/* Tries whether another user can be let in by name at all. 0, or -ENOTSUP or what else went wrong. */
int semaphore_self_test(const struct instance *instance);

/* Makes a file a semaphore of that value: it begins with a sem_t, and is at least as long. 0 or -errno. */
int semaphore_write(int fd, unsigned value);

/* Whether its name leads to it. */
bool semaphore_is_named(const struct semaphore *semaphore, const struct instance *instance);

/* The name is somebody else's business from now on: it stays. */
void semaphore_leave(struct semaphore *semaphore);

/* Drops the name; the descriptor and all mappings stay. */
void semaphore_unlink(struct semaphore *semaphore, const struct instance *instance);

/* Permits that are free now; -1 if there is no semaphore or its file was damaged. */
int64_t semaphore_value(const struct semaphore *semaphore);

#endif

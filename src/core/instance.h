/* SPDX-License-Identifier: MIT */
/*
 * This run of the daemon, as it shows in /dev/shm: a name of its own, which its semaphores carry,
 * and a locked file that says that it lives. What dead instances of the same user left is swept.
 */
#ifndef CORE_INSTANCE_H
#define CORE_INSTANCE_H

#include <stdbool.h>

#define INSTANCE_NAME_SIZE 9

struct instance {
	char name[INSTANCE_NAME_SIZE]; /* eight hexadecimal digits, drawn at random */
	int folder;                    /* open descriptor of /dev/shm */
	int lock;
	bool was_locked; /* by the one that it took over */
};

/* Takes a new name and its lock. `path` is where POSIX semaphores live. Returns 0 or -errno. */
int instance_init(struct instance *instance, const char *path);

/* Goes on as an instance that has ended: with its name, and its lock, if that was handed over (else -1),
 * which is taken over. Returns 0 or -errno: somebody else is that instance, or it cannot be. */
int instance_take_over(struct instance *instance, const char *path, const char *name, int lock);

/* Ends it, and leaves all of it for the next one to take over. */
void instance_leave(struct instance *instance);

/* Removes the lock file. The semaphores must be gone. */
void instance_fini(struct instance *instance);

/*
 * Removes the semaphores and the lock file of every other instance of our user whose lock can be
 * taken, that is, which is dead. Opens nothing that is not a plain file of our own. Returns how many
 * semaphores went, or -errno.
 */
int instance_sweep(struct instance *instance);

/* Removes semaphores of our own that nothing is known of, as after a restart. Returns how many. */
typedef bool instance_known_fn(const char *semaphore, void *context);
int instance_sweep_own(struct instance *instance, instance_known_fn *is_known, void *context);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What src/preload/ asks, and nobody else: POSIX's shared memory and named semaphores, from the daemon.
 * They are not attached. Who has one open or mapped is the kernel's knowledge, and what nobody has any
 * more ends, or lingers. The memory is as shm_open(3) would give it: its users may change its size and mode.
 *
 * All of these return 0 or a negative errno, that which POSIX's function has where it has one, and
 * -ENOTCONN: no daemon of this process's own user can be asked. What this process is short of, to connect, is
 * -EMFILE or -ENOMEM.
 */
#ifndef LIBSHMD_POSIX_H
#define LIBSHMD_POSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "libshmd/shmd.h"

enum posix_kind {
	POSIX_MEMORY,
	POSIX_SEMAPHORE, /* its file begins with a sem_t, and is as long */
};

struct posix_request {
	enum posix_kind kind;
	const char *
		name; /* without what stands before it: shm_open("/a") and sem_open("/a") ask for "a" */
	int oflag;      /* O_RDONLY, O_WRONLY or O_RDWR, and O_CREAT, O_EXCL, O_TRUNC */
	mode_t mode;    /* of a new one: the umask has been applied */
	unsigned value; /* of a new semaphore */
	enum shmd_lifetime lifetime; /* of a new one: SHMD_LIFETIME_CLIENTS or _PERSISTENT */
	unsigned linger_ms;
	pid_t heir; /* of a new one; as of struct shmd_options, but by its number here */
};

struct posix_answer {
	int fd;      /* the lowest free one, with FD_CLOEXEC, and the caller's */
	uint64_t id; /* the same for each who opens the same one, and no other's */
	bool is_new;
};

/*
 * Connects to the daemon (shmd_connect()), if its user is this process's. The socket gets a high number, so
 * that those which POSIX promises stay free. A program that closes it, or puts something else in its place,
 * loses nothing: that is noticed before it is used.
 */
int posix_connect(struct shmd **ret);

/* What was created is taken back where its descriptor cannot be had. It has no heir where the daemon numbers
 * processes otherwise. */
int posix_open(struct shmd *connection, const struct posix_request *request,
	       struct posix_answer *ret);

int posix_unlink(struct shmd *connection, enum posix_kind kind, const char *name);

/* As shmd_hand_over(), for a process at its very end. -EAGAIN: the connection is not this process's own, or the
 * daemon numbers processes otherwise, or another call is under way, perhaps one that a signal handler has
 * interrupted to call this. */
int posix_bequeath(struct shmd *connection, pid_t heir);

/*
 * A handle to take the only permit of a semaphore by (shmd_acquire(), shmd_release()), so that it comes back
 * when this process dies; it keeps the semaphore, and ends with shmd_detach(). It is prepared: the first
 * shmd_release() maps and asks nothing. In a forked child as every handle. -ENOTSUP: it was made with another value than 1, or
 * permits cannot be given back here.
 */
int posix_lock(struct shmd *connection, uint64_t id, struct shmd_segment **ret);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a program's own loop watches: one descriptor that is readable when the socket is, or when
 * something is queued already. Owns its two descriptors, which keep their numbers in a forked child.
 */
#ifndef LIBSHMD_LOOP_H
#define LIBSHMD_LOOP_H

#include <stdbool.h>

struct loop {
	int epoll_fd; /* -1: nobody has asked for it */
	int wake_fd;
	bool is_awake;
};

void loop_init(struct loop *loop);

/* Makes the descriptors for that socket, or, where a parent's are open, makes them anew in their
 * places. Returns 0 or a negative errno; it can be tried again. */
int loop_open(struct loop *loop, int socket);

/* Watches another socket instead, if it is open. Returns 0 or a negative errno. */
int loop_exchange(struct loop *loop, int former, int socket);

bool loop_is_open(const struct loop *loop);

/* Says whether it is readable even without the socket. */
void loop_wake(struct loop *loop, bool awake);

void loop_fini(struct loop *loop);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The socket that clients connect to. A lock beside it (SOCKET.lock) tells a daemon that lives from a
 * socket that a dead one left. Keeps one descriptor in reserve, so that a full table refuses a client
 * with a reason instead of leaving it unanswered.
 */
#ifndef SHMD_LISTENER_H
#define SHMD_LISTENER_H

#include <stdbool.h>

struct closer;
struct event_base;
struct listener;
struct turns;

/* Called with each new connection, which is the callee's. */
typedef void listener_fn(int socket, void *context);

/*
 * Listens on a path, mode 0666: who may do what is decided request by request. Returns 0;
 * -EADDRINUSE: a living daemon has it; or -errno.
 */
int listener_open(struct listener **ret, const char *path);

/* Takes over a socket that is bound and listening already, and stays where it is at the end. */
int listener_adopt(struct listener **ret, int socket);

/* Starts to accept, in turns of its own. The closer stays the caller's. */
int listener_start(struct listener *listener, struct event_base *loop, struct turns *turns,
		   struct closer *closer, listener_fn *fn, void *context);

/* Accepts nobody for a while, or goes on. */
void listener_hold(struct listener *listener, bool is_held);

/* Removes what listener_open() made, and leaves the socket to the end of the process. Returns NULL. */
struct listener *listener_free(struct listener *listener);

#endif

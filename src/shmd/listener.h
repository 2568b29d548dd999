/* SPDX-License-Identifier: MIT */
/*
 * The socket that clients connect to. A lock beside it (SOCKET.lock) tells a daemon that lives from a
 * socket that a dead one left. Keeps one descriptor in reserve, so that a full table refuses a client
 * with a reason instead of leaving it unanswered.
 */
#ifndef SHMD_LISTENER_H
#define SHMD_LISTENER_H

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

/* Starts to accept, in turns of its own. */
int listener_start(struct listener *listener, struct event_base *loop, struct turns *turns,
		   listener_fn *fn, void *context);

/* Closes the socket and removes what listener_open() made. Returns NULL. */
struct listener *listener_free(struct listener *listener);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Closes the sockets of clients. What lies in them unread may have brought descriptors, and the kernel
 * closes these with the socket, in whatever thread that is: it may wait there for as long as a client likes
 * who has sent a socket that lingers, or the last reference to very much memory. Who has something like
 * that in its socket has it closed elsewhere, and is charged until that is done.
 *
 * From Linux 6.16 on no descriptors come (listener.c), and all is closed at once.
 */
#ifndef SHMD_CLOSER_H
#define SHMD_CLOSER_H

#include <stdbool.h>

struct charge;
struct closer;
struct event_base;

/* Told, on the loop, whether so much is to be closed of those who are charged for nothing that no more of
 * them should be let in. */
typedef void closer_fn(bool is_full, void *context);

/* Starts the thread. Returns 0 or -errno. */
int closer_new(struct closer **ret, struct event_base *loop, closer_fn *fn, void *context);

/* Waits for what is being closed: frees memory, but lets no socket linger. Takes NULL; returns NULL. */
struct closer *closer_free(struct closer *closer);

/*
 * Takes over a client's socket, and what is charged for it, if anything, until it is closed. Never blocks.
 * The client is to be told before what it is to be told last. Without a closer it is closed at once: none
 * is there before the first client, and after the last one.
 */
void closer_close(struct closer *closer, int socket, struct charge *client, struct charge *unread);

#endif

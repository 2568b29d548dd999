/* SPDX-License-Identifier: MIT */
/*
 * A daemon for tests of the library that dies as often as one likes: a thread that keeps names, attachments
 * and what it did last, and closes all its sockets at a chosen moment of a chosen request. The next daemon is
 * the same thread, which still knows everything, or nothing; what has been attached counts as doubtful then,
 * and a client that claims more than there was, or does a thing twice, is found out.
 */
#ifndef MORTAL_H
#define MORTAL_H

#include <stdbool.h>
#include <stdint.h>

#define MORTAL_SIZE 4096u

/* Of a request: when the daemon dies by it. */
enum moment {
	NEVER,
	UNREAD,   /* it stays in the socket, so that the client is told of a reset */
	READ,     /* and not done */
	DONE,     /* and not answered */
	ANSWERED, /* and the connection ends behind it */
	MOMENTS,
};

/* Starts it on unit_folder's socket "s", whose path is returned; ends it. */
const char *mortal_start(void);
void mortal_stop(void);

/* It dies by a request of that operation: one plan after the other. */
void mortal_plan(unsigned op, enum moment moment);
bool mortal_has_plans(void);

/* The next of its deaths makes it forget everything. It dies at every
 * n-th request, at any moment, for as long as it is told so; 0: no more. It does not accept. */
void mortal_forget(void);
void mortal_die_often(unsigned n);
void mortal_stall(bool is_stalled);

/* It dies now, and has when this returns. It closes the listening socket, too, and opens it again. */
void mortal_kill(void);
void mortal_leave(void);
void mortal_return(void);

/* It refuses connections, with a word. */
void mortal_refuse(bool refuses);

/* So many of its next replies are too long, or empty, and bring descriptors that nobody asked for. */
void mortal_babble(unsigned n, bool is_empty);

/* Makes a segment of that name, as if somebody else did, and tells subscribers. Returns its id. */
uint64_t mortal_make(const char *name);

/* What it knows. Deaths; connections that are open; requests of an operation that were done. */
unsigned mortal_deaths(void);
unsigned mortal_connections(void);
unsigned mortal_count(unsigned op);
/* Attachments of all connections, with those that await being resumed; of one segment; doubtful ones. */
unsigned mortal_attached(void);
unsigned mortal_attached_to(uint64_t id, bool read_only);
unsigned mortal_doubtful(void);
bool mortal_has_name(const char *name);
uint64_t mortal_generation(const char *name);
/* A client claimed what it did not have, or broke the order of resuming: why, or NULL. */
const char *mortal_complaint(void);

#endif

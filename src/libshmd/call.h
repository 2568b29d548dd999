/* SPDX-License-Identifier: MIT */
/*
 * One request and its reply. Several threads may have calls under way on one connection: each sends
 * its own, and whichever waits first reads for all, so that no thread of the library's is needed.
 */
#ifndef LIBSHMD_CALL_H
#define LIBSHMD_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/protocol.h"

struct shmd;

/* The descriptors of a reply, in their order; the later ones may be missing. */
enum { CALL_SEGMENT, CALL_SEMAPHORE, CALL_LEDGER, CALL_FDS_MAX };

struct call {
	/* The request. */
	unsigned op;
	const void *body;
	size_t body_size;
	/* The reply: its body and entries go to memory of the caller's, which then owns the fds. */
	void *reply;
	size_t room;
	size_t size;
	int fds[CALL_FDS_MAX];
	unsigned n_fds;
	bool lost_fds; /* some did not arrive: this process's table is full */

	uint32_t number;
	bool is_done;
	int result;
	char text[WIRE_TEXT_SIZE]; /* the daemon's sentence, where it refused */
	struct call *prev, *next;
};

/*
 * Sends the request and waits for the reply. Returns 0, or a negative errno with the thread's message
 * set: the daemon's refusal, -ECONNRESET, -EPROTO, -EMFILE (a descriptor was lost; what came is
 * closed). The connection must be one of this process's (connection_enter()).
 */
int call_perform(struct shmd *connection, struct call *call);

/* That descriptor of the reply, or -1; it stays the call's. */
int call_fd(const struct call *call, unsigned which);

/* Closes what descriptors of the reply have not been taken. */
void call_close(struct call *call);

#endif

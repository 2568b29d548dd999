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

struct arrival;
struct notice;
struct packet_message;
struct shmd;

/* The descriptors of a reply, in their order; the later ones may be missing. One that can only read the
 * segment comes behind those that there are. */
enum { CALL_SEGMENT, CALL_SEMAPHORE, CALL_LEDGER, CALL_FDS_MAX = CALL_LEDGER + 2 };

struct call {
	/* The request. */
	unsigned op;
	const void *body;
	size_t body_size;
	int timeout_ms; /* of what is answered later */
	/* The reply: its body and entries go to memory of the caller's, which then owns the fds. */
	void *reply;
	size_t room;
	size_t size;
	int fds[CALL_FDS_MAX];
	unsigned n_fds;
	int lost; /* why a grant is of no use and is to be given back: -EMFILE, -ENOMEM; 0: it is */

	struct notice *notice;  /* that it begins: a wait's, which nobody waits for; or NULL */
	unsigned needs_session; /* of the handle that it is about; 0: any will do */
	unsigned session;       /* the one that answered it */
	uint32_t number;
	bool is_sent;     /* by the socket that the connection has now, or had until it broke */
	bool is_starting; /* the notice is still the caller's */
	bool is_done;
	bool is_unanswered; /* done, as the connection could not be mended */
	int result;
	char text[WIRE_TEXT_SIZE]; /* the daemon's sentence, where it refused */
	struct call *prev, *next;
};

/*
 * Sends the request and waits for the reply. Returns 0, or a negative errno with the thread's message
 * set: the daemon's refusal; -ECONNRESET: the connection broke and could not be mended; -ESTALE: the daemon
 * knows nothing of its session; -EPROTO; what a grant was lost by, and then what came is closed. The
 * connection must be one of this process's (connection_enter()).
 */
int call_perform(struct shmd *connection, struct call *call);

/*
 * The same for a request that is answered later (WIRE_WAIT): waits so many milliseconds for it, -1 for
 * ever, and then calls it off. Also returns -ETIMEDOUT, or -EINTR: a signal handler without SA_RESTART
 * ran, which is only noticed where no other thread reads for this one.
 */
int call_perform_within(struct shmd *connection, struct call *call, int timeout_ms);

/*
 * Sends the request of a notice, and does not wait for the reply: the notice has it then, and may be
 * called back before this returns. Returns the number of the request; or a negative errno, and the
 * notice is still the caller's.
 */
int call_start(struct shmd *connection, struct call *call);

/* What call_perform() would have returned for a call that is done. */
int call_result(struct call *call);

/* With the connection's mutex held, which is opened meanwhile, and nobody reading: mends a connection that
 * is broken, and goes on with all calls. With no end to its patience (-1), or so many milliseconds. Returns
 * 0; -EAGAIN: it is still broken, and the calls are under way; -ECONNRESET: they have failed. */
int call_mend(struct shmd *connection, int patience_ms);

/* --- for resume.c, with the connection's mutex held --- */

/* NULL: none of that number is under way. */
struct call *call_find(const struct shmd *connection, uint32_t number);

/* It is done; where that is a failure, with the text. */
void call_finish(struct shmd *connection, struct call *call, int result, const char *text);

/* Gives a reply to the call that it is for. Descriptors that it takes are struck from the arrival. */
void call_take_reply(struct shmd *connection, const struct packet_message *message,
		     struct arrival *arrival);

/* Nobody wants the reply any more. With the connection's mutex held. */
void call_forget(struct shmd *connection, struct call *call);

/* Takes in what has arrived, if no other thread is about to, without waiting, and not more than so many
 * packets, and than the queue of notices has room for. With the connection's mutex held. */
void call_receive_now(struct shmd *connection, unsigned packets_max);

/* That descriptor of the reply, or -1; it stays the call's. */
int call_fd(const struct call *call, unsigned which);

/* Takes the last descriptor out of the reply; -1 if there is none. It is the caller's then. */
int call_steal_last_fd(struct call *call);

/* Fills the name of a request. Returns 0; -EINVAL: NULL; -ENAMETOOLONG. */
int call_put_name(char field[static WIRE_NAME_SIZE], const char *name);

/* Closes what descriptors of the reply have not been taken. */
void call_close(struct call *call);

#endif

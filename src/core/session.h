/* SPDX-License-Identifier: MIT */
/*
 * One client as the core sees it: who it is, and what it has attached. Embedded in the connection,
 * which owns it; the attachments are the registry's.
 */
#ifndef CORE_SESSION_H
#define CORE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/access.h"
#include "core/record.h"

struct attachment;
struct estate;
struct segment;
struct subscription;
struct wait;

struct session {
	uint64_t id;
	pid_t pid; /* 0: in a PID namespace that we cannot see */
	struct credentials who;
	bool is_leaving;       /* what it still has is being taken from it */
	bool can_lock;         /* its sem_t is laid out as ours */
	struct estate *estate; /* its process's; NULL: nobody would tell us of its death */
	struct attachment *attachments;
	struct segment *published; /* by it, that it still binds to their names */
	struct wait *waits;
	struct subscription *subscriptions;
	uint64_t bytes; /* the sizes of what is attached */

	uint64_t token;         /* by which its client can resume it; 0: it cannot */
	uint64_t process_start; /* its process's; 0: nobody watches that */
	struct deed last;
	struct row row;
};

/* Takes the groups in `who` over. */
void session_init(struct session *session, uint64_t id, pid_t pid, const struct credentials *who);

/* Nothing may be attached any more. */
void session_fini(struct session *session);

/* How many segments it has attached. */
unsigned session_segments(const struct session *session);

#endif

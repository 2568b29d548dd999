/* SPDX-License-Identifier: MIT */
/*
 * How the core says no: a code for programs, and a sentence for people that names the rule or the
 * limit, and the value. A refusal is an answer, not a failure of the system.
 */
#ifndef CORE_REFUSAL_H
#define CORE_REFUSAL_H

enum refusal_code {
	REFUSAL_INVALID = 1, /* a name, size or option outside its rule */
	REFUSAL_TOO_LONG,    /* a name */
	REFUSAL_EXISTS,
	REFUSAL_NOT_FOUND,
	REFUSAL_DENIED, /* owner, group and mode, or the policy, forbid it */
	REFUSAL_LIMIT,  /* of the configuration */
	REFUSAL_NO_MEMORY,
	REFUSAL_NO_SPACE, /* in /dev/shm */
	REFUSAL_NO_DESCRIPTORS,
	REFUSAL_UNSUPPORTED, /* by this kernel, build or client */
	REFUSAL_VERSION,     /* of the protocol */
	REFUSAL_INTERNAL,
};

struct refusal {
	enum refusal_code code;
	char text[512]; /* WIRE_TEXT_SIZE of wire/protocol.h carries all of it */
};

/* Writes the refusal down and returns its code. */
int refuse(struct refusal *refusal, enum refusal_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for a failed system call: `r` is its negative errno, `what` what was being done. */
int refuse_errno(struct refusal *refusal, int r, const char *what);

#endif

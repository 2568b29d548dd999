/* SPDX-License-Identifier: MIT */
/*
 * Those who wait for a name to exist, or to be newer than they know. A wait stands in the list of its
 * name until the name has what it waits for; then it is ready, and whoever answers it looks at the
 * name again: what it is given is the newest generation, and not each one in turn.
 */
#ifndef CORE_WAIT_H
#define CORE_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"
#include "core/name.h"
#include "core/quota.h"

struct session;

struct waited_name {
	char name[NAME_LENGTH_MAX + 1];
	struct wait *waits; /* that are not ready, and that the next generation will do for */
	struct wait *far;   /* that wait for one which is far in the future */
	uint64_t far_least; /* no far one waits for less than one greater than this */
	unsigned refs;      /* all of its waits */
	UT_hash_handle hh;
};

/* Whose waits take turns with those of others, however many they are. */
struct waiting_user {
	uid_t uid;
	struct wait *ready; /* in the order in which they are to be answered */
	bool is_held;       /* nothing can be sent to this user now */
	bool is_in_turn;
	unsigned refs;                    /* all of its waits */
	struct waiting_user *prev, *next; /* in waits->ready, while in turn */
	UT_hash_handle hh;
};

struct wait {
	struct session *session;
	uint32_t number; /* of the request */
	uint32_t flags;  /* of the request, for whoever answers it */
	uint64_t newer_than;
	struct waited_name *name;
	struct waiting_user *user;
	struct charge charge;
	bool is_ready;
	bool is_far;
	bool is_parked;                           /* it was, and its client could not be answered */
	struct wait *prev, *next;                 /* in name->waits or ->far, or in user->ready */
	struct wait *session_prev, *session_next; /* in session->waits */
};

struct waits {
	struct waited_name *names;
	uint64_t newest; /* the generation given last, of any name */
	struct waiting_user *users;
	struct waiting_user *ready; /* those of them whose waits are, in turn */
	/* Called when one has become ready; NULL: nobody answers. */
	void (*on_ready)(void *context);
	void *context;
};

void waits_fini(struct waits *waits);

/* Makes a wait, charged to the session's user. `name` has been parsed. Returns 0, a refusal, or
 * -ENOMEM. */
int wait_new(struct waits *waits, struct quota *quota, struct session *session, uint32_t number,
	     const char *name, uint64_t newer_than, uint32_t flags, struct wait **ret,
	     struct refusal *why);

/* Ends it, ready or not. Takes NULL; returns NULL. */
struct wait *wait_free(struct waits *waits, struct wait *wait);

/* The session's wait of that number, or NULL. */
struct wait *wait_find(const struct session *session, uint32_t number);

/* The name leads to that generation, the newest of all, now: who waits for an older or no one is ready. */
void waits_wake(struct waits *waits, const char *name, uint64_t generation);

/* The next one to be answered: it is ready no more, and waits again until it is freed. */
struct wait *waits_take_ready(struct waits *waits);

/* Puts one back that could not be answered, and lets its user's others wait with it until
 * waits_release(). */
void wait_hold(struct waits *waits, struct wait *wait);
void waits_release(struct waits *waits, uid_t uid);

/* Puts one back that could not be answered yet. */
void wait_make_ready(struct waits *waits, struct wait *wait);

#endif

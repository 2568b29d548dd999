/* SPDX-License-Identifier: MIT */
/*
 * Who may take permits of a segment: a client's number in the segment's ledger, and what a process
 * leaves behind. A number outlives its attachment, because a process that has lost its connection may
 * still be inside its critical section; it ends with the process, or with the segment.
 */
#ifndef CORE_LOCKER_H
#define CORE_LOCKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"
#include "core/quota.h"
#include "core/table.h"

struct estate;
struct ledger;
struct segment;

struct locker {
	struct ledger *ledger;
	struct estate *estate;
	unsigned number;     /* 1 to WORD_NUMBER_MAX, in the word and as the slot's index */
	uint64_t segment_id; /* the key in estate->left */
	pid_t pid;
	uint64_t process_start;
	uid_t uid;
	bool until_exit;      /* its process's end is a release, and no death */
	bool is_dead;         /* its process is; what it holds is to be given back */
	bool was_left;        /* a handle that no attachment stands for may still lock by it */
	struct charge charge; /* the attachment's, once that has gone */
	struct row row;
	struct locker *prev, *next;               /* in ledger->lockers */
	struct locker *estate_prev, *estate_next; /* in estate->lockers */
	UT_hash_handle hh;                        /* in estate->left, without an attachment */
};

/* The lockers of one process, and the segments that are kept for it. Embedded in whatever stands for the
 * process, and told of its death by that. */
struct estate {
	pid_t pid;      /* of what it stands for, for the record */
	uint64_t start; /* 0: unknown */
	struct locker *lockers;
	struct locker *left;     /* those without an attachment */
	struct segment *kept;    /* heir.h */
	struct estate **emptied; /* the list it goes to when nothing is in it any more */
	bool is_listed;          /* there */
	struct estate *prev, *next;
};

void estate_init(struct estate *estate, struct estate **emptied);

static inline bool estate_is_empty(const struct estate *estate)
{
	return !estate->lockers && !estate->kept;
}

/* Something was put into it, or taken out. */
void estate_note_change(struct estate *estate);

/* Takes it off the list, if it is there. */
void estate_unlist(struct estate *estate);

/* Frees what is left in it, and takes it off the list. */
void estate_fini(struct estate *estate);

/* Gives a client a number. Returns 0; -ENOMEM; -EDQUOT: all numbers are given. */
int locker_new(struct ledger *ledger, struct estate *estate, uint64_t segment_id, pid_t pid,
	       uid_t uid, struct locker **ret);

/* The same with that number. -EINVAL: it is given already. */
int locker_restore(struct ledger *ledger, struct estate *estate, uint64_t segment_id, pid_t pid,
		   uid_t uid, unsigned number, struct locker **ret);

/* Takes the number back: nobody may take or give permits by it any more. Returns NULL. */
struct locker *locker_free(struct locker *locker);

/* Its attachment goes, and leaves its charge to it. */
void locker_leave(struct locker *locker, struct charge *charge);

/* One that the same process has left behind in that segment, for a new attachment of the process's
 * to go on with; or NULL. */
struct locker *locker_take_up(struct estate *estate, uint64_t segment_id);

/* A new attachment goes on with that one; nothing happens if it was not left, or is taken up already. */
void locker_take_up_this(struct locker *locker);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * All segments, by id and by name, and the rules of their life: who may create and attach, what ends
 * them, and that what has ended is charged until its memory is gone.
 *
 * Knows no socket, loop or clock: time comes in as nanoseconds of CLOCK_BOOTTIME. Its owner calls
 * registry_run_timers() at registry_next_deadline(), registry_read_watch() when the watch's
 * descriptor is readable, registry_settle_some() until it says that nothing is left, and closes what
 * registry_take_unused() hands out, where closing may take its time.
 */
#ifndef CORE_REGISTRY_H
#define CORE_REGISTRY_H

#include "core/attachment.h"
#include "core/journal.h"
#include "core/locker.h"
#include "core/policy.h"
#include "core/reaped.h"
#include "core/record.h"
#include "core/recovery.h"
#include "core/segment.h"
#include "core/session.h"
#include "core/statistics.h"
#include "core/wait.h"

struct registry {
	struct quota quota;
	struct policy policy;
	struct tally *tallies; /* of its rules, also former ones */
	struct statistics statistics;
	struct instance instance;
	struct record record; /* for the next daemon */
	struct watch watch;
	struct recovery recovery;
	struct heap timers;
	bool has_leases; /* false: only our own books say who uses a segment */
	bool has_words;  /* false: this C library's semaphores have no room for a holder's number */
	bool is_left;    /* to the next daemon */
	bool was_told;   /* that a watch could not be had, once */
	char degraded[512];

	unsigned n_leaving; /* sessions */
	uint64_t next_id;
	struct segment *by_id;   /* all of them, oldest first */
	struct segment *by_name; /* those that a name leads to */
	struct segment *queue;   /* to be settled */
	struct segment *unused;  /* to be closed */
	struct estate *emptied;  /* that hold nothing any more */
	struct lineage *lineages;
	struct reaped reaped;     /* of our own user's */
	struct segment *put_down; /* by their makers, for whom they named */
	struct waits waits;
	struct journal journal;
};

/* Whether a client may take permits by itself, and if not, why. */
enum lock_right {
	LOCK_NO_SEMAPHORE,
	LOCK_GRANTED,
	LOCK_READ_ONLY, /* attached read-only, and readers may not lock it */
	LOCK_LAYOUT,    /* the client's semaphores, or ours, are laid out otherwise */
	LOCK_UNWATCHED, /* nobody would tell of the client's death */
	LOCK_NO_NUMBER, /* all numbers are given, or there is no memory for one more */
};

/* What a client gets. The descriptors: `fd` is the receiver's, the semaphore's stays the segment's. */
struct grant {
	struct segment *segment;
	int fd;
	int semaphore_fd; /* -1: none, or no right to lock */
	int reader_fd;    /* the receiver's: what it maps before it seals the segment; -1: none */
	bool is_new;
	/* What registry_grant_lock() adds. */
	enum lock_right lock;
	unsigned number; /* the client's in the segment's ledger; 0: none */
	int ledger_fd;   /* of the slots, the segment's; -1: it needs none */
};

/*
 * `shm_folder` is where POSIX semaphores live; what dead instances left there is swept. `first_id`
 * must be greater than any id that this machine has seen. Returns 0 or -errno.
 */
int registry_new(struct registry **ret, const struct quota_limits *limits, const char *shm_folder,
		 uint64_t first_id);

/* The same with an instance that was made already, which it takes over when it succeeds. */
int registry_make(struct registry **ret, const struct quota_limits *limits,
		  const struct instance *instance, uint64_t first_id);

/* Ends all segments. No session may have anything attached. Returns NULL. */
struct registry *registry_free(struct registry *registry);

/* The same for one that is kept (core/record.h): frees our own memory, and leaves everything else as it
 * stands for the next daemon. To be called before sessions end by our end, and registry_free() later. */
void registry_leave_behind(struct registry *registry);

/* From now on that policy decides; what exists stays as it is. Takes the rules over. */
void registry_set_policy(struct registry *registry, struct policy *policy);

/* Creates a segment and attaches the session to it for writing. 0, a refusal, or -errno. */
int registry_create(struct registry *registry, struct session *session, const struct creation *what,
		    uint64_t now, struct grant *ret, struct refusal *why);

/* Attaches by id, or where that is 0 by name. */
int registry_attach(struct registry *registry, struct session *session, uint64_t id,
		    const char *name, bool read_only, uint64_t now, struct grant *ret,
		    struct refusal *why);

/* Whether somebody may attach a segment that they have found: 0 or a refusal. */
int registry_check_attach(const struct segment *segment, const struct credentials *who,
			  bool read_only, struct refusal *why);

/* What open(2) is asked for a file. */
struct opening {
	int flags;          /* its access, O_CREAT, O_EXCL and O_TRUNC */
	struct creation of; /* its name, and what is created if there is none */
	gid_t gid;          /* of what is created */
};

struct opened {
	struct segment *segment;
	int fd; /* the receiver's */
	bool is_new;
};

/* Opens what the name leads to as open(2) does, or creates a segment of POSIX's. Nothing is attached. For the
 * daemon's own user only. 0, a refusal, or -errno. */
int registry_open(struct registry *registry, struct session *session, const struct opening *what,
		  uint64_t now, struct opened *ret, struct refusal *why);

/* A segment that its maker has put down, and which process is to have it by its name; NULL if there is none.
 * registry_inherit() follows with that process's estate, or NULL: it has ended. */
struct segment *registry_take_put_down(struct registry *registry, pid_t *ret_heir);
void registry_inherit(struct registry *registry, struct segment *segment, struct estate *heir);

/* The session's process ends by itself: what is kept for it is kept for that one from now on. NULL: for
 * nobody. */
void registry_bequeath(struct registry *registry, struct session *session, struct estate *heir);

/* Attaches a semaphore of POSIX's by its id, so that its only permit can be taken by a number. */
int registry_attach_semaphore(struct registry *registry, struct session *session, uint64_t id,
			      uint64_t now, struct grant *ret, struct refusal *why);

/* Makes the semaphore of a grant's segment if that was put off, and adds it. 0 or a refusal. */
int registry_grant_semaphore(struct registry *registry, const struct session *session,
			     bool read_only, struct grant *grant, struct refusal *why);

/* Adds to a grant what its client needs to take permits by itself. */
void registry_grant_lock(struct registry *registry, struct session *session, bool read_only,
			 struct grant *grant);

/* From now on the end of the client's process counts as a release of what it holds of that segment,
 * and the segment has a user until then. */
int registry_keep(struct registry *registry, struct session *session, uint64_t id,
		  struct refusal *why);

/* Takes one attachment of that access back. */
int registry_detach(struct registry *registry, struct session *session, uint64_t id, bool read_only,
		    uint64_t now, struct refusal *why);

/*
 * What the daemon before us had noted of a session may not be what its client has. The first says of one
 * segment how often that is, which may be less than was noted; the second, that this was all: what was not
 * confirmed is let go of. 0 or a refusal.
 */
int registry_confirm(struct registry *registry, struct session *session, uint64_t id,
		     uint64_t for_writing, uint64_t read_only, struct refusal *why);
void registry_settle_session(struct registry *registry, struct session *session);

/*
 * Binds the session's anonymous segment to the name, which what bears it now loses in the same step.
 * Its creator has sealed it against writing, unless it is to stay writable. *ret_generation is
 * greater than any before; its id stays. 0, a refusal, or -errno.
 */
int registry_publish(struct registry *registry, struct session *session, uint64_t id,
		     const char *name, bool writable, uint64_t now, uint64_t *ret_generation,
		     struct refusal *why);

/*
 * Waits for a name to lead to a generation greater than `newer_than`. Returns 0 with *ret NULL if it
 * does already, or if the session may not read what it leads to; else *ret is the wait, which waits_take_ready() tells of. Or a refusal,
 * or -ENOMEM.
 */
int registry_wait(struct registry *registry, struct session *session, uint32_t number,
		  const char *name, uint64_t newer_than, uint32_t flags, uint64_t now,
		  struct wait **ret, struct refusal *why);

/* Whether a name leads to a generation greater than that now. */
bool registry_is_newer(struct registry *registry, const char *name, uint64_t newer_than,
		       uint64_t now);

/* Drops a name, or by id the name of that segment, and says whose that was; 0: one of POSIX's, that had been
 * reaped. */
int registry_unlink(struct registry *registry, const struct session *session, uint64_t id,
		    const char *name, uint64_t now, uint64_t *ret_id, struct refusal *why);

/* Finds what somebody may see: 0, REFUSAL_NOT_FOUND, REFUSAL_DENIED, or a bad name's refusal. */
int registry_find(const struct registry *registry, const struct credentials *who, uint64_t id,
		  const char *name, struct segment **ret, struct refusal *why);

/* What a name leads to, or NULL, as it was settled last. */
struct segment *registry_by_name(const struct registry *registry, const char *name);

/* The segment of that id, or NULL: also where nobody has it any more. */
struct segment *registry_by_id(const struct registry *registry, uint64_t id);

/* The oldest segment with an id greater than that one, or NULL. */
struct segment *registry_next(const struct registry *registry, uint64_t after_id);

/* Takes all attachments of a session back; what follows from that comes with settle_some(). Permits
 * stay held: the process may live, and be inside its critical section. */
void registry_leave(struct registry *registry, struct session *session, uint64_t now);

/* The same in parts: from the first call on, what it still has counts for nobody who asks about a name.
 * Returns whether more than `most` of them were left. */
void registry_begin_to_leave(struct registry *registry, struct session *session);
bool registry_leave_some(struct registry *registry, struct session *session, unsigned most,
			 uint64_t now);

/* A process has died: what it holds is given back, with settle_some(). */
void registry_bury(struct registry *registry, struct estate *estate);

/* An estate of this registry's whose last locker has gone, once each time; NULL if there is none. */
struct estate *registry_take_emptied(struct registry *registry);

/* Decides about at most `most` segments whose users have changed. Returns whether more are left. */
bool registry_settle_some(struct registry *registry, unsigned most, uint64_t now);

/* The time of the next registry_run_timers(); 0: none is due. */
uint64_t registry_next_deadline(const struct registry *registry);
void registry_run_timers(struct registry *registry, uint64_t now);

/* Reads the watch (registry->watch.fd). */
void registry_read_watch(struct registry *registry, uint64_t now);

/* Takes the descriptors of a segment that nobody uses any more; they are the caller's to close, and
 * when that is done registry_forget() gives the charge back. NULL if there is none. */
struct segment *registry_take_unused(struct registry *registry, int ret_fds[static 2]);
void registry_forget(struct registry *registry, struct segment *segment);

#endif

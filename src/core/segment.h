/* SPDX-License-Identifier: MIT */
/*
 * One segment: its memory, its semaphore, its rule of life, and who has it. Knows how to make, hand
 * out and test its memory; when it ends is the registry's business.
 */
#ifndef CORE_SEGMENT_H
#define CORE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"
#include "core/access.h"
#include "core/instance.h"
#include "core/lease.h"
#include "core/ledger.h"
#include "core/lineage.h"
#include "core/name.h"
#include "core/quota.h"
#include "core/record.h"
#include "core/semaphore.h"
#include "core/tally.h"
#include "core/watch.h"

enum lifetime {
	LIFETIME_CLIENTS,
	LIFETIME_OWNER,
	LIFETIME_PERSISTENT,
};

enum segment_state {
	SEGMENT_LIVE,
	SEGMENT_LINGERING, /* ended, and kept by name until the deadline */
	SEGMENT_DROPPED,   /* without name and semaphore; somebody still has the memory */
	SEGMENT_UNUSED,    /* nobody has the memory; it waits for being closed */
};

enum segment_kind {
	SEGMENT_BROKERED,
	/* For programs that ask for POSIX's (WIRE_OPEN). Nobody attaches them: only the kernel knows who has them,
	 * and the daemon's own user alone can. */
	SEGMENT_POSIX_MEMORY, /* whose users change its size and mode: `size` is 0 */
	SEGMENT_POSIX_SEMAPHORE,
};

/* What a client asks for. */
struct creation {
	const char *name; /* "" or NULL: anonymous */
	uint64_t size;
	mode_t mode;
	enum lifetime lifetime;
	uint64_t linger_ns;
	unsigned permits;    /* 0: no semaphore */
	bool late_semaphore; /* it may be made for the first who wants it */
	bool readers_lock;
	bool huge;
	bool open_existing;
	pid_t heir; /* whom it is to be kept for by its name (heir.h); 0: nobody */
	enum segment_kind kind;
	unsigned value; /* of a semaphore of POSIX's */
	bool reader;    /* a read-only description for its creator, too; without a name only */
};

/* What is noted of it for the next daemon (core/record.h), and whether its descriptors are kept. */
struct segment_keeping {
	struct row row;
	uint32_t key;
	bool has_key;
	bool is_stale;        /* the row is to be written */
	bool is_unstored;     /* the descriptors are to be kept by others */
	struct pouch *pouch;  /* they are, there; NULL: they are not */
	bool stored_original; /* the first of them is what memfd_create(2) returned */
	struct record_file memory;
	struct record_file semaphore;
	struct record_file ledger;
	struct segment *stale_prev, *stale_next;
	struct segment *store_prev, *store_next;
};

struct segment {
	uint64_t id; /* by which clients ask for it, for its whole life */
	uint64_t
		generation; /* of its name, and what people are shown: the id, until it is published */
	char name[NAME_LENGTH_MAX + 1]; /* "": anonymous, or dropped */
	enum segment_state state;
	enum segment_kind kind;
	uint64_t size;
	struct ownership ownership;
	enum lifetime lifetime;
	uint64_t linger_ns;
	bool is_anonymous; /* never had a name */
	bool readers_lock;
	bool huge;
	bool is_sealed; /* nobody can write any more */
	uint64_t created_at;

	int fd;
	bool fd_is_original; /* as memfd_create(2) returned it: tells nothing; see lease.h */
	struct semaphore semaphore;
	struct ledger ledger;
	unsigned late_permits; /* of a semaphore that is not made yet; 0: it is, or there is none */

	struct attachment *attachments;
	unsigned n_attachments;
	struct session *owner; /* LIFETIME_OWNER: whose letting go ends it; NULL: it has ended */

	struct session *publisher; /* whose binding is a user of it; NULL: none, or no more */
	struct segment *published_prev, *published_next; /* in publisher->published */
	struct lineage *lineage; /* of the name that it lost to a newer generation */

	struct charge segment_charge;
	struct charge semaphore_charge; /* given back with the segment, as its descriptor is */
	struct charge bytes_charge;
	struct segment_keeping keeping;
	struct tally_share rule_share; /* in the rule of the policy that gave it its name */

	struct estate *heir; /* the process for which it is kept; NULL: for none */
	pid_t next_heir;     /* that is its maker, and this one follows; 0: none does */
	struct segment *kept_prev, *kept_next; /* in heir->kept */
	bool is_put_down;                      /* its maker lives, and nobody has it */
	struct segment *put_prev, *put_next;   /* in registry->put_down */

	struct watch_item watch;     /* while its clients are gone and its memory is not */
	struct heap_item timer;      /* end of its linger, or the next test */
	uint64_t retest_ns;          /* the pause before the next test; 0: none is due */
	bool queued;                 /* for registry_settle_some() */
	struct segment *prev, *next; /* in the registry's queue, or its list of unused ones */

	bool is_audit_due;           /* a program that had the semaphore by name may have died */
	bool is_damaged;             /* the log was told that the semaphore is */
	struct watch_item raw_watch; /* of the semaphore, once it has no name */
	struct heap_item lock_timer; /* the next attempt to give permits back */
	uint64_t lock_retry_ns;      /* the pause before it; 0: none is due */
	uint64_t audited_at;         /* the last time that the kernel had to be asked */
	uint64_t audit_pause_ns;     /* how long not to ask it again */

	UT_hash_handle by_id, by_name, by_semaphore;
};

/* Whether somebody may make segments at all: users that we cannot tell apart may not. 0 or a refusal. */
int segment_check_maker(const struct credentials *who, struct refusal *why);

/*
 * Makes a segment as asked for, with that ownership, charged to the user who asks, with its semaphore,
 * and attached to nobody. Returns 0, a refusal, or a negative errno; on failure nothing is left.
 */
int segment_new(struct quota *quota, const struct instance *instance, uint64_t id,
		const struct credentials *who, const struct ownership *of,
		const struct creation *what, uint64_t now, struct segment **ret,
		struct refusal *why);

/* Makes the semaphore that was put off. 0, a refusal, or -errno, and then it is still put off. */
int segment_make_late_semaphore(struct segment *segment, const struct instance *instance,
				struct refusal *why);

/* Gives it, and its semaphore, another owner, group and mode. What is charged stays charged to its
 * maker. Returns 0 or -errno, and then all is as it was. */
int segment_hand_over(struct segment *segment, const struct ownership *to);

/* Its bytes now. */
uint64_t segment_size(const struct segment *segment);

/* One of POSIX's is its own semaphore, whose permit can be given back if it is the only one. */
void segment_is_its_semaphore(struct segment *segment, unsigned permits);

/* Gives its descriptors away, one of which may be -1. They are the caller's to close. */
void segment_give_descriptors(struct segment *segment, int ret_fds[static 2]);

/* Frees it with all it owns; it must stand in no table, and have no attachments. Returns NULL. */
struct segment *segment_free(struct segment *segment, const struct instance *instance);

static inline bool segment_is_posix(const struct segment *segment)
{
	return segment->kind != SEGMENT_BROKERED;
}

/* Who pays for it: its maker, whoever owns it by now. The log's lines about it are about that user. */
uid_t segment_payer(const struct segment *segment);

/* Writes what the log calls it: its name in quotes, where quotes in it have a backslash before them, so
 * that no name can look like its own end and more; and its id. Returns the buffer. */
#define SEGMENT_DESCRIPTION_MAX (2 * NAME_LENGTH_MAX + 40)
const char *segment_describe(const struct segment *segment,
			     char buffer[static SEGMENT_DESCRIPTION_MAX]);

/* What a refusal calls it: who may not see it is told the name alone, which they gave, or the id. */
const char *segment_describe_to(const struct segment *segment, const struct credentials *who,
				char buffer[static SEGMENT_DESCRIPTION_MAX]);

/* Whether somebody may not even know it by its id: it is anonymous and somebody else's, or not theirs to
 * read. Then it is as good as none. */
bool segment_is_hidden(const struct segment *segment, const struct credentials *who);

/* Whether somebody may see it in listings: its owner, an administrator, or who may read it. */
bool segment_is_visible(const struct segment *segment, const struct credentials *who);

/* Whether somebody may take permits through an attachment of that access. */
bool segment_may_lock(const struct segment *segment, bool read_only);

/* Asks the kernel whether anybody but us has its memory. Without a descriptor left, it cannot say. */
enum lease_answer segment_ask_use(struct segment *segment);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What each user, and all together, may make the daemon keep. A charge is taken before the thing
 * exists, lies embedded in it, and is given back when it is gone. When little of a total is left, only
 * those get more who have little of it.
 */
#ifndef CORE_QUOTA_H
#define CORE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"
#include "core/access.h"
#include "core/refusal.h"
#include "core/users.h"

#define QUOTA_NAME_MAX 40
#define QUOTA_GENERAL  UINT64_MAX /* in an allowance: the limit that everybody has */

enum quota_resource {
	QUOTA_CLIENTS,
	QUOTA_SEGMENTS,
	QUOTA_SEMAPHORES,
	QUOTA_BYTES,
	QUOTA_ATTACHMENTS,
	QUOTA_WAITS,
	QUOTA_SUBSCRIPTIONS,
	QUOTA_UNREAD, /* descriptors in replies that were not read */
	QUOTA_RESOURCES,
};

struct quota_limits {
	uint64_t total[QUOTA_RESOURCES];
	uint64_t per_user[QUOTA_RESOURCES];
};

/* What some users may have: [limits NAME] of the configuration. */
struct quota_allowance {
	char name[QUOTA_NAME_MAX + 1];
	struct users users;
	uint64_t per_user[QUOTA_RESOURCES];
};

struct quota_allowances {
	struct quota_allowance *list; /* owned; the first one that lists a user is the user's */
	size_t n;
};

/* A limit that was reached, of which the log is told once: until the use is well below it, or the limit
 * is another one. */
struct quota_breach {
	bool is_told;
	uint64_t limit; /* of the configuration */
	uint64_t full;  /* what was used, or might be */
};

struct quota_user {
	uid_t uid;
	uint64_t used[QUOTA_RESOURCES];
	struct quota_breach breaches[QUOTA_RESOURCES];
	unsigned charges; /* how many there are; without any, the user is forgotten */
	UT_hash_handle hh;
};

struct quota {
	struct quota_limits limits;
	struct quota_allowances allowances;
	uint64_t used[QUOTA_RESOURCES];
	struct quota_breach breaches[QUOTA_RESOURCES]; /* of the totals */
	struct quota_user *users;
};

struct charge {
	struct quota *quota;
	struct quota_user *user; /* NULL: nothing is charged */
	enum quota_resource resource;
	uint64_t amount;
};

/* The names of the options that set the limits, for messages and for `status`. */
const char *quota_total_name(enum quota_resource resource);
const char *quota_per_user_name(enum quota_resource resource);

void quota_init(struct quota *quota, const struct quota_limits *limits);
void quota_fini(struct quota *quota);

/* Takes over what some users may have from now on; what is charged stays charged. */
void quota_set_allowances(struct quota *quota, struct quota_allowances *allowances);
void quota_allowances_fini(struct quota_allowances *allowances);

/* Whether so much more stays within a limit. */
static inline bool quota_fits(uint64_t limit, uint64_t used, uint64_t amount)
{
	return amount <= limit && used <= limit - amount;
}

/* What a user may have. It goes by the groups of who asks, the use by the user alone: processes of one
 * user that have different groups share what they use, and each may add up to its own limit. */
uint64_t quota_per_user_limit(const struct quota *quota, const struct credentials *who,
			      enum quota_resource resource);

/* Charges a user. Returns 0, REFUSAL_LIMIT with limit, value and use, or -ENOMEM. The first refusal by
 * each limit is logged. */
int quota_charge(struct quota *quota, const struct credentials *who, enum quota_resource resource,
		 uint64_t amount, struct charge *ret, struct refusal *why);

/* Makes a user's charge greater, as quota_charge(), or smaller. */
int charge_grow(struct charge *charge, const struct credentials *who, uint64_t amount,
		struct refusal *why);
void charge_shrink(struct charge *charge, uint64_t amount);

/* A charge of the same user's for something that there is already, whatever the limits are. */
void charge_anyway(const struct charge *of, enum quota_resource resource, uint64_t amount,
		   struct charge *ret);

/* The same where there is no other charge: what a user had in a former daemon's books. 0 or -ENOMEM. */
int quota_restore(struct quota *quota, uid_t uid, enum quota_resource resource, uint64_t amount,
		  struct charge *ret);

/* Gives a charge back; nothing happens if nothing is charged. */
void charge_release(struct charge *charge);

/* What a user has charged now. */
uint64_t quota_used_by(const struct quota *quota, uid_t uid, enum quota_resource resource);

#endif

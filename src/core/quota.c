/* SPDX-License-Identifier: MIT */
#include "core/quota.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"

static const struct {
	const char *total;
	const char *per_user;
	unsigned reserve; /* one part in so many of the total is for those who have little */
	unsigned floor;   /* what everybody may have while half of the total is left */
} names[QUOTA_RESOURCES] = {
	[QUOTA_CLIENTS] = {"clients", "clients_per_user", 16},
	[QUOTA_SEGMENTS] = {"segments", "segments_per_user", 16},
	[QUOTA_SEMAPHORES] = {"semaphores", "semaphores_per_user", 16},
	[QUOTA_BYTES] = {"bytes", "bytes_per_user", 16},
	[QUOTA_ATTACHMENTS] = {"attachments", "attachments_per_user", 16},
	[QUOTA_WAITS] = {"waits", "waits_per_user", 16},
	[QUOTA_SUBSCRIPTIONS] = {"subscriptions", "subscriptions_per_user", 16},
	/* All of it: who reads has few, and for who does not, fewer do. A packet's worth is in order. */
	[QUOTA_UNREAD] = {"unread_descriptors", "unread_descriptors_per_user", 1, 192},
};

const char *quota_total_name(enum quota_resource resource)
{
	return names[resource].total;
}

const char *quota_per_user_name(enum quota_resource resource)
{
	return names[resource].per_user;
}

void quota_init(struct quota *quota, const struct quota_limits *limits)
{
	*quota = (struct quota){.limits = *limits};
}

static void forget_user(struct quota *quota, struct quota_user *user)
{
	HASH_DEL(quota->users, user);
	free(user);
}

void quota_fini(struct quota *quota)
{
	struct quota_user *user, *next;

	HASH_ITER (hh, quota->users, user, next)
		forget_user(quota, user);
	quota_allowances_fini(&quota->allowances);
}

void quota_set_allowances(struct quota *quota, struct quota_allowances *allowances)
{
	quota_allowances_fini(&quota->allowances);
	quota->allowances = *allowances;
	*allowances = (struct quota_allowances){0};
}

void quota_allowances_fini(struct quota_allowances *allowances)
{
	free(allowances->list);
	*allowances = (struct quota_allowances){0};
}

static struct quota_user *find_user(const struct quota *quota, uid_t uid)
{
	struct quota_user *user;

	HASH_FIND(hh, quota->users, &uid, sizeof(uid), user);
	return user;
}

static struct quota_user *add_user(struct quota *quota, uid_t uid)
{
	struct quota_user *user = calloc(1, sizeof(*user));

	if (!user)
		return NULL;
	user->uid = uid;
	HASH_ADD(hh, quota->users, uid, sizeof(user->uid), user);
	if (!HASH_ADDED(hh, user)) {
		free(user);
		return NULL;
	}
	return user;
}

/* --- limits ----------------------------------------------------------------------------------- */

/* A limit as it holds for somebody. */
struct limit {
	const char *option;
	const char *section; /* its name; NULL: [limits], which is for everybody */
	uint64_t value;
};

static const struct quota_allowance *find_allowance(const struct quota *quota,
						    const struct credentials *who)
{
	for (size_t i = 0; i < quota->allowances.n; i++)
		if (users_include(&quota->allowances.list[i].users, who))
			return &quota->allowances.list[i];
	return NULL;
}

static struct limit find_limit(const struct quota *quota, const struct credentials *who,
			       enum quota_resource resource)
{
	struct limit limit = {names[resource].per_user, NULL, quota->limits.per_user[resource]};
	const struct quota_allowance *allowance = find_allowance(quota, who);

	if (allowance && allowance->per_user[resource] != QUOTA_GENERAL) {
		limit.section = allowance->name;
		limit.value = allowance->per_user[resource];
	}
	return limit;
}

uint64_t quota_per_user_limit(const struct quota *quota, const struct credentials *who,
			      enum quota_resource resource)
{
	return find_limit(quota, who, resource).value;
}

static int check(const struct limit *limit, uint64_t used, uint64_t amount, struct refusal *why)
{
	const char *section = limit->section;

	if (quota_fits(limit->value, used, amount))
		return 0;
	return refuse(why, REFUSAL_LIMIT,
		      "the limit %s=%" PRIu64 "%s%s%s is reached: %" PRIu64 " in use, %" PRIu64
		      " more asked for",
		      limit->option, limit->value, section ? " of [limits " : "",
		      section ? section : "", section ? "]" : "", used, amount);
}

/*
 * The last part of a total is for those who have little, so that a few who take what they can leave
 * something to everybody else: who comes to it may have a share of what is left behind them, rounded up,
 * so that of few there is one for each, but for the last one. A total of less than 16 has none.
 */
#define RESERVE_SHARE 8 /* one part in so many of what is left */

static int check_reserve(const struct limit *total, enum quota_resource resource, uint64_t used,
			 uint64_t own, uint64_t amount, struct refusal *why)
{
	uint64_t left = total->value - used - amount;
	uint64_t share = left / RESERVE_SHARE + (left % RESERVE_SHARE != 0);

	if (left >= total->value / 2 && share < names[resource].floor)
		share = names[resource].floor;
	/* The largest number is no limit at all. */
	if (total->value == UINT64_MAX || left >= total->value / names[resource].reserve ||
	    own + amount <= share)
		return 0;
	return refuse(why, REFUSAL_LIMIT,
		      "the limit %s=%" PRIu64 " is nearly reached: %" PRIu64 " in use, %" PRIu64
		      " more asked for; the rest is kept for users who use less",
		      total->option, total->value, used, amount);
}

/* --- what the log is told --------------------------------------------------------------------- */

/* A user without charges is one that nothing is remembered of: `breach` is NULL. `full` is how much was
 * too much. */
static void tell(struct quota_breach *breach, enum log_level level, uid_t uid,
		 const struct limit *limit, uint64_t full, const struct refusal *why)
{
	if (breach && breach->is_told && breach->limit == limit->value)
		return;
	if (breach)
		*breach = (struct quota_breach){true, limit->value, full};
	log_about(level, uid, "uid %u was refused more: %s", uid, why->text);
}

/* Down to seven eighths: who goes on at the limit, giving back one and taking one, is no news. */
static void end_breach(struct quota_breach *breach, uint64_t used)
{
	if (used <= breach->full / 8 * 7 + breach->full % 8 * 7 / 8)
		breach->is_told = false;
}

/* --- charges ---------------------------------------------------------------------------------- */

/* `user`: NULL where nothing is charged to them. */
static int check_limits(struct quota *quota, struct quota_user *user, const struct credentials *who,
			enum quota_resource resource, uint64_t amount, struct refusal *why)
{
	struct limit own = find_limit(quota, who, resource);
	struct limit total = {names[resource].total, NULL, quota->limits.total[resource]};
	struct quota_breach *breach = user ? &user->breaches[resource] : NULL;
	uint64_t used = user ? user->used[resource] : 0;
	int r = check(&own, used, amount, why);

	if (r != 0) {
		tell(breach, LOG_LEVEL_NOTICE, who->uid, &own, own.value, why);
		return r;
	}
	r = check(&total, quota->used[resource], amount, why);
	/* Others will be refused, too. */
	if (r != 0) {
		tell(&quota->breaches[resource], LOG_LEVEL_WARNING, who->uid, &total, total.value,
		     why);
		return r;
	}
	r = check_reserve(&total, resource, quota->used[resource], used, amount, why);
	if (r != 0)
		tell(breach, LOG_LEVEL_NOTICE, who->uid, &total, used, why);
	return r;
}

static struct charge take(struct quota *quota, struct quota_user *user,
			  enum quota_resource resource, uint64_t amount)
{
	user->charges++;
	user->used[resource] += amount;
	quota->used[resource] += amount;
	return (struct charge){quota, user, resource, amount};
}

int quota_charge(struct quota *quota, const struct credentials *who, enum quota_resource resource,
		 uint64_t amount, struct charge *ret, struct refusal *why)
{
	struct quota_user *user = find_user(quota, who->uid);
	/* Nothing is never too much, also where more is used than is allowed by now. */
	int r = amount > 0 ? check_limits(quota, user, who, resource, amount, why) : 0;

	if (r != 0)
		return r;
	if (!user)
		user = add_user(quota, who->uid);
	if (!user)
		return -ENOMEM;
	*ret = take(quota, user, resource, amount);
	return 0;
}

int quota_restore(struct quota *quota, uid_t uid, enum quota_resource resource, uint64_t amount,
		  struct charge *ret)
{
	struct quota_user *user = find_user(quota, uid);

	if (!user)
		user = add_user(quota, uid);
	if (!user)
		return -ENOMEM;
	*ret = take(quota, user, resource, amount);
	return 0;
}

void charge_anyway(const struct charge *of, enum quota_resource resource, uint64_t amount,
		   struct charge *ret)
{
	*ret = take(of->quota, of->user, resource, amount);
}

int charge_grow(struct charge *charge, const struct credentials *who, uint64_t amount,
		struct refusal *why)
{
	int r = check_limits(charge->quota, charge->user, who, charge->resource, amount, why);

	if (r != 0)
		return r;
	charge->user->used[charge->resource] += amount;
	charge->quota->used[charge->resource] += amount;
	charge->amount += amount;
	return 0;
}

void charge_shrink(struct charge *charge, uint64_t amount)
{
	struct quota *quota = charge->quota;
	struct quota_user *user = charge->user;
	enum quota_resource resource = charge->resource;

	charge->amount -= amount;
	user->used[resource] -= amount;
	quota->used[resource] -= amount;
	end_breach(&user->breaches[resource], user->used[resource]);
	end_breach(&quota->breaches[resource], quota->used[resource]);
}

void charge_release(struct charge *charge)
{
	struct quota_user *user = charge->user;

	if (!user)
		return;
	charge_shrink(charge, charge->amount);
	if (--user->charges == 0)
		forget_user(charge->quota, user);
	charge->user = NULL;
}

uint64_t quota_used_by(const struct quota *quota, uid_t uid, enum quota_resource resource)
{
	const struct quota_user *user = find_user(quota, uid);

	return user ? user->used[resource] : 0;
}

/* SPDX-License-Identifier: MIT */
#include "core/quota.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static const struct {
	const char *total;
	const char *per_user;
} names[QUOTA_RESOURCES] = {
	[QUOTA_CLIENTS] = {"clients", "clients_per_user"},
	[QUOTA_SEGMENTS] = {"segments", "segments_per_user"},
	[QUOTA_BYTES] = {"bytes", "bytes_per_user"},
	[QUOTA_ATTACHMENTS] = {"attachments", "attachments_per_user"},
	[QUOTA_WAITS] = {"waits", "waits_per_user"},
	[QUOTA_SUBSCRIPTIONS] = {"subscriptions", "subscriptions_per_user"},
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

static int check(const char *option, uint64_t limit, uint64_t used, uint64_t amount,
		 struct refusal *why)
{
	if (quota_fits(limit, used, amount))
		return 0;
	return refuse(why, REFUSAL_LIMIT,
		      "the limit %s=%" PRIu64 " is reached: %" PRIu64 " in use, %" PRIu64
		      " more asked for",
		      option, limit, used, amount);
}

int quota_charge(struct quota *quota, uid_t uid, enum quota_resource resource, uint64_t amount,
		 struct charge *ret, struct refusal *why)
{
	struct quota_user *user = find_user(quota, uid);
	int r = check(names[resource].per_user, quota->limits.per_user[resource],
		      user ? user->used[resource] : 0, amount, why);

	if (r == 0)
		r = check(names[resource].total, quota->limits.total[resource],
			  quota->used[resource], amount, why);
	if (r != 0)
		return r;
	if (!user)
		user = add_user(quota, uid);
	if (!user)
		return -ENOMEM;
	user->charges++;
	user->used[resource] += amount;
	quota->used[resource] += amount;
	*ret = (struct charge){quota, user, resource, amount};
	return 0;
}

void charge_release(struct charge *charge)
{
	struct quota_user *user = charge->user;

	if (!user)
		return;
	user->used[charge->resource] -= charge->amount;
	charge->quota->used[charge->resource] -= charge->amount;
	if (--user->charges == 0)
		forget_user(charge->quota, user);
	charge->user = NULL;
}

uint64_t quota_used_by(const struct quota *quota, uid_t uid, enum quota_resource resource)
{
	const struct quota_user *user = find_user(quota, uid);

	return user ? user->used[resource] : 0;
}

/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include "fuzz.h"

const struct quota_limits limits_at_start = {
	.total = {[QUOTA_CLIENTS] = 7,
		  [QUOTA_SEGMENTS] = 24,
		  [QUOTA_SEMAPHORES] = 20,
		  [QUOTA_BYTES] = 8 << 20,
		  [QUOTA_ATTACHMENTS] = 48,
		  [QUOTA_WAITS] = 12,
		  [QUOTA_SUBSCRIPTIONS] = 6},
	.per_user = {[QUOTA_CLIENTS] = 3,
		     [QUOTA_SEGMENTS] = 16,
		     [QUOTA_SEMAPHORES] = 14,
		     [QUOTA_BYTES] = 4 << 20,
		     [QUOTA_ATTACHMENTS] = 32,
		     [QUOTA_WAITS] = 8,
		     [QUOTA_SUBSCRIPTIONS] = 4},
};

/* What some users may have of one resource each. Who is listed in several has the first one that is in
 * force, and of all else what everybody has. */
static const struct grant {
	struct users_entry whom;
	enum quota_resource resource;
	uint64_t limit;
} grants[] = {
	{{true, GROUP}, QUOTA_SEGMENTS, 20},
	{{false, 5002}, QUOTA_WAITS, 9},
	{{true, ADMINISTRATORS}, QUOTA_SEMAPHORES, 1},
	{{true, OVERFLOW_ID}, QUOTA_ATTACHMENTS, 0},
};

#define GRANTS (sizeof(grants) / sizeof(grants[0]))

static unsigned granted; /* which of them are in force: bits */

static void take_allowances(unsigned which, struct quota *quota)
{
	struct quota_allowances allowances = {calloc(GRANTS, sizeof(*allowances.list)), 0};

	HOLDS(allowances.list);
	for (unsigned i = 0; i < GRANTS; i++) {
		struct quota_allowance *allowance = &allowances.list[allowances.n];
		if (!(which & 1u << i))
			continue;
		allowances.n++;
		strcpy(allowance->name, "fuzz");
		allowance->users = (struct users){.n = 1, .entries = {grants[i].whom}};
		for (int k = 0; k < QUOTA_RESOURCES; k++)
			allowance->per_user[k] = QUOTA_GENERAL;
		allowance->per_user[grants[i].resource] = grants[i].limit;
	}
	quota_set_allowances(quota, &allowances);
	HOLDS(!allowances.list);
	granted = which;
}

void limits_begin(void)
{
	granted = 0;
}

void limits_take(struct input *input, struct quota *quota)
{
	static const enum quota_resource resources[] = {QUOTA_CLIENTS,   QUOTA_SEGMENTS,
							QUOTA_BYTES,     QUOTA_ATTACHMENTS,
							QUOTA_WAITS,     QUOTA_SUBSCRIPTIONS,
							QUOTA_SEMAPHORES};
	unsigned how = take(input), value = how / 8 % 16;
	uint64_t *of = how & 128 ? quota->limits.total : quota->limits.per_user;

	if (how % 8 == 7)
		take_allowances(value, quota);
	else
		of[resources[how % 8]] = value == 15 ? 0 : 1u << value;
}

static bool is_listed(const struct users_entry *whom, const struct person *who)
{
	return whom->is_group ? person_has_group(who, whom->id) : who->uid == whom->id;
}

uint64_t limits_of(const struct quota *quota, const struct person *who,
		   enum quota_resource resource)
{
	unsigned i = 0;

	while (i < GRANTS && !(granted & 1u << i && is_listed(&grants[i].whom, who)))
		i++;
	if (i < GRANTS && grants[i].resource == resource)
		return grants[i].limit;
	return quota->limits.per_user[resource];
}

bool limits_fit(uint64_t limit, uint64_t used, uint64_t amount)
{
	return used <= limit && limit - used >= amount;
}

/* Of the last sixteenth of a total, an eighth of what is left behind them is a user's. */
static bool is_kept(uint64_t total, uint64_t left, uint64_t own)
{
	return left < total / 16 && own > (left + 7) / 8;
}

bool limits_forbid(const struct quota *quota, const struct person *who,
		   enum quota_resource resource, uint64_t amount)
{
	uint64_t total = quota->limits.total[resource], used = quota->used[resource];
	uint64_t own = quota_used_by(quota, who->uid, resource);

	return !limits_fit(limits_of(quota, who, resource), own, amount) ||
	       !limits_fit(total, used, amount) ||
	       is_kept(total, total - used - amount, own + amount);
}

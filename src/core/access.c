/* SPDX-License-Identifier: MIT */
#include "core/access.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The uid that the kernel shows for users outside our user namespace. */
static uid_t overflow_uid(void)
{
	static uid_t known = (uid_t)-1;

	if (known == (uid_t)-1) {
		uintmax_t value = 65534;
		_cleanup_fclose_ FILE *file = fopen("/proc/sys/kernel/overflowuid", "re");
		if (!file || fscanf(file, "%ju", &value) != 1)
			value = 65534;
		known = (uid_t)value;
	}
	return known;
}

void credentials_init(struct credentials *who, uid_t uid, gid_t gid, gid_t *groups, size_t n)
{
	*who = (struct credentials){uid, gid, groups, n, uid != overflow_uid()};
}

void credentials_fini(struct credentials *who)
{
	free(who->groups);
	*who = (struct credentials){0};
}

bool access_is_privileged(const struct credentials *who)
{
	return who->is_mapped && (who->uid == 0 || who->uid == geteuid());
}

bool access_is_owner(const struct credentials *who, const struct ownership *of)
{
	return who->is_mapped && who->uid == of->uid;
}

static bool is_member(const struct credentials *who, gid_t gid)
{
	if (who->gid == gid)
		return true;
	for (size_t i = 0; i < who->n_groups; i++)
		if (who->groups[i] == gid)
			return true;
	return false;
}

bool access_allowed(const struct credentials *who, const struct ownership *of, unsigned wanted)
{
	mode_t bits = of->mode;

	if (access_is_privileged(who))
		return true;
	if (access_is_owner(who, of))
		bits >>= 6;
	else if (who->is_mapped && is_member(who, of->gid))
		bits >>= 3;
	return (bits & wanted) == wanted;
}

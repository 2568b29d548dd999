/* SPDX-License-Identifier: MIT */
#include "core/access.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The number that the kernel shows for users, or groups, outside our user namespace. */
static id_t read_overflow(const char *path)
{
	uintmax_t value;
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	return file && fscanf(file, "%ju", &value) == 1 ? (id_t)value : 65534;
}

static bool is_overflow_uid(uid_t uid)
{
	static uid_t known = (uid_t)-1;

	if (known == (uid_t)-1)
		known = read_overflow("/proc/sys/kernel/overflowuid");
	return uid == known;
}

static bool is_overflow_gid(gid_t gid)
{
	static gid_t known = (gid_t)-1;

	if (known == (gid_t)-1)
		known = read_overflow("/proc/sys/kernel/overflowgid");
	return gid == known;
}

void credentials_init(struct credentials *who, uid_t uid, gid_t gid, gid_t *groups, size_t n)
{
	*who = (struct credentials){uid, gid, groups, n, !is_overflow_uid(uid)};
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

bool access_has_group(const struct ownership *of)
{
	return !is_overflow_gid(of->gid);
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
	else if (who->is_mapped && access_has_group(of) && is_member(who, of->gid))
		bits >>= 3;
	return (bits & wanted) == wanted;
}

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

/* How far somebody's own groups reach is asked at each use: a reload may name another group. */
static gid_t administrators = ACCESS_NO_GROUP;

void access_set_administrators(gid_t group)
{
	administrators = group;
}

bool access_may_administer(const struct credentials *who)
{
	return access_is_privileged(who) ||
	       (administrators != ACCESS_NO_GROUP && access_is_member(who, administrators));
}

bool access_is_owner(const struct credentials *who, const struct ownership *of)
{
	return who->is_mapped && who->uid == of->uid;
}

bool access_has_owner(const struct ownership *of)
{
	return !is_overflow_uid(of->uid);
}

bool access_has_group(const struct ownership *of)
{
	return !is_overflow_gid(of->gid);
}

bool access_is_member(const struct credentials *who, gid_t gid)
{
	if (!who->is_mapped || is_overflow_gid(gid))
		return false;
	if (who->gid == gid)
		return true;
	for (size_t i = 0; i < who->n_groups; i++)
		if (who->groups[i] == gid)
			return true;
	return false;
}

enum access_class access_class(const struct credentials *who, const struct ownership *of)
{
	if (access_is_privileged(who))
		return ACCESS_PRIVILEGED;
	if (access_is_owner(who, of))
		return ACCESS_OWNER;
	return access_is_member(who, of->gid) ? ACCESS_GROUP : ACCESS_OTHERS;
}

bool access_allowed(const struct credentials *who, const struct ownership *of, unsigned wanted)
{
	enum access_class class = access_class(who, of);
	mode_t bits = of->mode;

	if (class == ACCESS_PRIVILEGED)
		return true;
	if (class == ACCESS_OWNER)
		bits >>= 6;
	else if (class == ACCESS_GROUP)
		bits >>= 3;
	return (bits & wanted) == wanted;
}

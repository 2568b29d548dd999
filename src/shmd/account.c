/* SPDX-License-Identifier: MIT */
#include "shmd/account.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/parse.h"

/* The largest number stands for none. */
static int parse_id(const char *text, id_t *ret)
{
	uint64_t value;
	int r = parse_u64(text, &value);

	if (r == 0 && value >= UINT32_MAX)
		r = -ERANGE;
	if (r == 0)
		*ret = (id_t)value;
	return r;
}

static bool is_number(const char *text)
{
	return isdigit((unsigned char)text[0]) && parse_id(text, &(id_t){0}) != -EINVAL;
}

int account_find_user(const char *text, uid_t *ret)
{
	if (is_number(text))
		return parse_id(text, ret);
	errno = 0;
	const struct passwd *user = getpwnam(text);
	if (!user)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ENOENT;
	*ret = user->pw_uid;
	return 0;
}

int account_find_group(const char *text, gid_t *ret)
{
	if (is_number(text))
		return parse_id(text, ret);
	errno = 0;
	const struct group *group = getgrnam(text);
	if (!group)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ENOENT;
	*ret = group->gr_gid;
	return 0;
}

static int read_groups(const struct passwd *user, gid_t **ret, int *ret_n)
{
	_cleanup_free_ gid_t *groups = NULL;
	int n = 16, had = 0;

	/* On failure it says how many there are. */
	do {
		had = n;
		gid_t *larger = reallocarray(groups, (size_t)n, sizeof(*groups));
		if (!larger)
			return -ENOMEM;
		groups = larger;
	} while (getgrouplist(user->pw_name, user->pw_gid, groups, &n) < 0 && n > had);
	if (n > had)
		n = had;
	*ret = steal_ptr(groups);
	*ret_n = n;
	return 0;
}

int account_credentials(uid_t uid, struct credentials *ret)
{
	const struct passwd *user = getpwuid(uid);
	gid_t *groups = NULL;
	int n = 0;
	int r = user ? read_groups(user, &groups, &n) : 0;

	if (r < 0)
		return r;
	credentials_init(ret, uid, user ? user->pw_gid : ACCESS_NO_GROUP, groups, (size_t)n);
	return 0;
}

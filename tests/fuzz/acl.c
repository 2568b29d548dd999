/* SPDX-License-Identifier: MIT */
#include "acl.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "fuzz.h"

#define ENTRIES    16
#define READ_WRITE (ACL_READ | ACL_WRITE)

struct list {
	struct posix_acl_xattr_header header;
	struct posix_acl_xattr_entry entries[ENTRIES];
};

/* Returns how many entries there are; 0: no list. */
static unsigned read_list(int fd, struct list *ret)
{
	ssize_t n = fgetxattr(fd, "system.posix_acl_access", ret, sizeof(*ret));

	HOLDS(n >= 0 || errno == ENODATA || errno == EOPNOTSUPP);
	return n < 0 ? 0 : (unsigned)(((size_t)n - sizeof(ret->header)) / sizeof(ret->entries[0]));
}

static unsigned permission_of(const struct list *list, unsigned n, unsigned tag)
{
	for (unsigned i = 0; i < n; i++)
		if (list->entries[i].e_tag == tag)
			return list->entries[i].e_perm;
	return READ_WRITE;
}

/* The user's own entry decides, then those of their groups, then the one for all others. The file is
 * the daemon's, so that nobody else is its owner. */
static bool list_lets(const struct list *list, unsigned n, const struct person *who)
{
	unsigned mask = permission_of(list, n, ACL_MASK);
	bool is_in_group = false, lets_group = false;

	for (unsigned i = 0; i < n; i++) {
		const struct posix_acl_xattr_entry *entry = &list->entries[i];
		bool lets = (entry->e_perm & mask & READ_WRITE) == READ_WRITE;
		if (entry->e_tag == ACL_USER && entry->e_id == who->uid)
			return lets;
		if (entry->e_tag != ACL_GROUP || !person_has_group(who, entry->e_id))
			continue;
		is_in_group = true;
		lets_group = lets_group || lets;
	}
	if (is_in_group)
		return lets_group;
	return (permission_of(list, n, ACL_OTHER) & READ_WRITE) == READ_WRITE;
}

bool acl_lets(int fd, const struct person *who)
{
	struct list list;
	struct stat st;
	unsigned n = read_list(fd, &list);

	if (n > 0)
		return list_lets(&list, n, who);
	HOLDS(fstat(fd, &st) == 0);
	return (st.st_mode & 066) != 0;
}

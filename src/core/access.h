/* SPDX-License-Identifier: MIT */
/* Who somebody is, as the kernel told it at accept, and what owner, group and mode let them do. */
#ifndef CORE_ACCESS_H
#define CORE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ACCESS_READ  04u
#define ACCESS_WRITE 02u

struct credentials {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary ones */
	size_t n_groups;
	bool is_mapped; /* false: the overflow uid stands for a user whom our namespace does not know */
};

struct ownership {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/* Takes `groups` over. */
void credentials_init(struct credentials *who, uid_t uid, gid_t gid, gid_t *groups, size_t n);
void credentials_fini(struct credentials *who);

/* Root, and the daemon's own user, who could do everything to it anyway. */
bool access_is_privileged(const struct credentials *who);

/* Who may see everything and drop any name: privileged users, and the members of a group. Attaching and
 * creating is no part of it. The group is the process's, as its own user is; at first there is none. */
#define ACCESS_NO_GROUP ((gid_t)-1)
void access_set_administrators(gid_t group);
bool access_may_administer(const struct credentials *who);

/* Whether somebody is the owner. The overflow uid never is: it stands for many. */
bool access_is_owner(const struct credentials *who, const struct ownership *of);

/* Whether somebody has that group, as their first one or another. Nobody has the overflow gid. */
bool access_is_member(const struct credentials *who, gid_t gid);

/* Whether its owner is one that we can tell from others. */
bool access_has_owner(const struct ownership *of);

/* Whether its group is one that we can tell from others: the overflow gid stands for many. */
bool access_has_group(const struct ownership *of);

/* As what somebody is treated, and so which bits of the mode decide; all is allowed to the privileged. */
enum access_class {
	ACCESS_PRIVILEGED,
	ACCESS_OWNER,
	ACCESS_GROUP,
	ACCESS_OTHERS,
};
enum access_class access_class(const struct credentials *who, const struct ownership *of);

/* Whether all of `wanted` (ACCESS_READ | ACCESS_WRITE) is allowed, as for a file. */
bool access_allowed(const struct credentials *who, const struct ownership *of, unsigned wanted);

#endif

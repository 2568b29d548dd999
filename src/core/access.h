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

/* Whether somebody is the owner. The overflow uid never is: it stands for many. */
bool access_is_owner(const struct credentials *who, const struct ownership *of);

/* Whether its group is one that we can tell from others: the overflow gid stands for many. */
bool access_has_group(const struct ownership *of);

/* Whether all of `wanted` (ACCESS_READ | ACCESS_WRITE) is allowed, as for a file. */
bool access_allowed(const struct credentials *who, const struct ownership *of, unsigned wanted);

#endif

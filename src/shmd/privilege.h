/* SPDX-License-Identifier: MIT */
/* What the process gives up for good, whoever started it and as which user. */
#ifndef SHMD_PRIVILEGE_H
#define SHMD_PRIVILEGE_H

/*
 * Drops all capabilities and the way to get any: by executing a program, too. Of the calling thread, so
 * there must be no other yet. A daemon of uid 0 then has what files belong to uid 0, and no more.
 *
 * Returns 0 or -errno.
 */
int privilege_drop(void);

#endif

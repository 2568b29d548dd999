/* SPDX-License-Identifier: MIT */
/*
 * Names of POSIX's segments that were reaped. The programs whose they were do not know that, and unlink them
 * when they are done, as POSIX says: so the first unlink of such a name succeeds. Bounded: the oldest is
 * forgotten for the newest.
 */
#ifndef CORE_REAPED_H
#define CORE_REAPED_H

#include <stdbool.h>

#define REAPED_MAX 4096

struct reaped_name;

struct reaped {
	struct reaped_name *names; /* oldest first */
};

void reaped_fini(struct reaped *reaped);

/* Without memory it is not noted, and an unlink will not find it. */
void reaped_note(struct reaped *reaped, const char *name);

/* Whether it was noted; it is not any more. */
bool reaped_take(struct reaped *reaped, const char *name);

#endif

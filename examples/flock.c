/* SPDX-License-Identifier: MIT */
/* Kept apart by a file lock on each process's own descriptor. The kernel drops it with its holder. */
#include "turns.h"

#include <errno.h>
#include <sys/file.h>

int guard_enter(struct shmd_segment *segment)
{
	return flock(shmd_segment_fd(segment), LOCK_EX) < 0 ? -errno : 0;
}

int guard_leave(struct shmd_segment *segment)
{
	return flock(shmd_segment_fd(segment), LOCK_UN) < 0 ? -errno : 0;
}

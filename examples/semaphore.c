/* SPDX-License-Identifier: MIT */
/* Kept apart by the semaphore that comes with the segment. The daemon gives back what a dead process
 * holds of it, and tells the next one. */
#include "turns.h"

int guard_enter(struct shmd_segment *segment)
{
	return shmd_acquire(segment, -1);
}

int guard_leave(struct shmd_segment *segment)
{
	return shmd_release(segment);
}

/* SPDX-License-Identifier: MIT */
/* Kept apart by nothing: what the other examples are for. On more than one processor, reads tear. */
#include "turns.h"

int guard_enter(struct shmd_segment *segment)
{
	(void)segment;
	return 0;
}

int guard_leave(struct shmd_segment *segment)
{
	(void)segment;
	return 0;
}

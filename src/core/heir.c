/* SPDX-License-Identifier: MIT */
#include "core/heir.h"

#include <utlist.h>

#include "core/locker.h"
#include "core/segment.h"

void heir_drop(struct segment *segment)
{
	struct estate *estate = segment->heir;

	if (!estate)
		return;
	DL_DELETE2(estate->kept, segment, kept_prev, kept_next);
	segment->heir = NULL;
	estate_note_change(estate);
}

void heir_set(struct segment *segment, struct estate *estate)
{
	heir_drop(segment);
	segment->heir = estate;
	DL_APPEND2(estate->kept, segment, kept_prev, kept_next);
	estate_note_change(estate);
}

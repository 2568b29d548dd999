/* SPDX-License-Identifier: MIT */
#include "core/heir.h"

#include <utlist.h>

#include "core/ending.h"
#include "core/registry.h"

static void enter(struct segment *segment, struct estate *estate)
{
	segment->heir = estate;
	DL_APPEND2(estate->kept, segment, kept_prev, kept_next);
	estate_note_change(estate);
}

void heir_begin(struct segment *segment, struct estate *maker, pid_t next)
{
	enter(segment, maker);
	segment->next_heir = next;
}

void heir_fini(struct segment *segment)
{
	struct estate *estate = segment->heir;

	if (!estate)
		return;
	DL_DELETE2(estate->kept, segment, kept_prev, kept_next);
	segment->heir = NULL;
	segment->next_heir = 0;
	estate_note_change(estate);
}

static void pick_up(struct registry *registry, struct segment *segment)
{
	if (!segment->is_put_down)
		return;
	segment->is_put_down = false;
	DL_DELETE2(registry->put_down, segment, put_prev, put_next);
}

void heir_drop(struct registry *registry, struct segment *segment)
{
	pick_up(registry, segment);
	heir_fini(segment);
}

void heir_set(struct registry *registry, struct segment *segment, struct estate *estate)
{
	heir_drop(registry, segment);
	enter(segment, estate);
}

bool heir_keeps(struct registry *registry, struct segment *segment)
{
	if (!segment->heir)
		return false;
	if (segment->next_heir && !segment->is_put_down) {
		segment->is_put_down = true;
		DL_APPEND2(registry->put_down, segment, put_prev, put_next);
	}
	return true;
}

void heir_release(struct registry *registry, struct estate *estate)
{
	while (estate->kept)
		registry_inherit(registry, estate->kept, NULL);
}

void registry_bequeath(struct registry *registry, struct session *session, struct estate *heir)
{
	struct estate *from = session->estate;

	if (!from || from == heir)
		return;
	while (from->kept)
		registry_inherit(registry, from->kept, heir);
}

struct segment *registry_take_put_down(struct registry *registry, pid_t *ret_heir)
{
	struct segment *segment = registry->put_down;

	if (!segment)
		return NULL;
	*ret_heir = segment->next_heir;
	pick_up(registry, segment);
	return segment;
}

void registry_inherit(struct registry *registry, struct segment *segment, struct estate *heir)
{
	ending_enqueue(registry, segment);
	if (heir)
		heir_set(registry, segment, heir);
	else
		heir_drop(registry, segment);
}

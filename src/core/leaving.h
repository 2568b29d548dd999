/* SPDX-License-Identifier: MIT */
/*
 * How sessions let go of what they have: of thousands of things some at a time, so that others do not
 * wait. What a session that is leaving still has counts as let go of wherever somebody is answered about
 * a name. A part of the registry, as ending.h; what its owner calls is declared in registry.h.
 */
#ifndef CORE_LEAVING_H
#define CORE_LEAVING_H

#include "core/registry.h"

/* Takes an attachment out of the books, and with its owner's the segment's owner. Returns the segment,
 * which is to be settled. */
struct segment *leaving_let_go(struct registry *registry, struct attachment *attachment);

/* Takes from a segment what sessions that are leaving have of it, at most so much. Returns whether there is
 * more. */
bool leaving_settle(struct registry *registry, struct segment *segment, unsigned most,
		    uint64_t now);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * How segments come into the registry's tables, and sessions to segments. A part of the registry, as
 * ending.h; who may, and what its name leads to, has been decided before.
 */
#ifndef CORE_ENTERING_H
#define CORE_ENTERING_H

#include "core/registry.h"

/* Enters a segment, with its name, which must be free. Returns 0, or -ENOMEM and it is in no table. */
int entering_add(struct registry *registry, struct segment *segment);

/* Enters an attachment into the books and opens the memory for it. 0 or a refusal. */
int entering_attach(struct registry *registry, struct session *session, struct segment *segment,
		    bool read_only, struct grant *ret, struct refusal *why);

/* Whoever comes back for a segment that lingers revives it; an owner's one only for an owner. */
void entering_revive(struct registry *registry, struct segment *segment, struct session *session,
		     bool read_only);

#endif

/* SPDX-License-Identifier: MIT */
/* What the policy, and a segment that there is, would say to somebody about a name: nothing is done. */
#ifndef CORE_EXPLAIN_H
#define CORE_EXPLAIN_H

#include "core/registry.h"

struct explanation {
	const struct policy_rule
		*rule;              /* that decides; the registry's, until it has another policy */
	struct refusal create;      /* why; code 0: they may */
	struct ownership ownership; /* that a new segment would have; the mode POLICY_AS_ASKED */
	uint64_t segments_used; /* by the rule; POLICY_UNLIMITED: not counted, or not to be known */
	uint64_t bytes_used;
	bool exists;
	struct refusal read, write; /* whether they may attach it so, and why; code 0: they may */
};

/* Settles the name first, as a request that is more than a question would. Returns 0, or a bad name's
 * refusal. */
int registry_explain(struct registry *registry, const struct credentials *who, const char *name,
		     uint64_t now, struct explanation *ret, struct refusal *why);

#endif

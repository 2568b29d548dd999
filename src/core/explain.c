/* SPDX-License-Identifier: MIT */
#include "core/explain.h"

#include "core/ending.h"

static void explain_creation(const struct registry *registry, const struct credentials *who,
			     const char *name, struct explanation *ret)
{
	const struct policy_rule *rule = policy_find(&registry->policy, name);
	enum policy_ground ground = policy_ground(rule, who, name);
	const struct tally *tally = tally_find(registry->tallies, rule->name);

	ret->rule = rule;
	policy_tell_ground(ground, rule, who, name, &ret->create);
	ret->ownership = policy_ownership(rule, who, POLICY_AS_ASKED);
	/* How much others have of what one may not have is none of one's business. */
	ret->segments_used = ret->bytes_used = POLICY_UNLIMITED;
	if (rule->line == 0 || !policy_lets(ground))
		return;
	ret->segments_used = tally ? tally->segments : 0;
	ret->bytes_used = tally ? tally->bytes : 0;
}

static void tell_allowed(const struct segment *segment, const struct credentials *who,
			 struct refusal *ret)
{
	const struct ownership *of = &segment->ownership;

	switch (access_class(who, of)) {
	case ACCESS_PRIVILEGED:
		refuse(ret, 0, "uid %u is privileged", who->uid);
		break;
	case ACCESS_OWNER:
		refuse(ret, 0, "uid %u owns it, and its mode is %04o", who->uid, of->mode);
		break;
	case ACCESS_GROUP:
		refuse(ret, 0, "uid %u has its group %u, and its mode is %04o", who->uid, of->gid,
		       of->mode);
		break;
	case ACCESS_OTHERS:
		refuse(ret, 0, "its mode is %04o, also for others", of->mode);
		break;
	}
}

static void explain_attaching(const struct segment *segment, const struct credentials *who,
			      const char *name, bool read_only, struct refusal *ret)
{
	if (!segment)
		refuse(ret, REFUSAL_NOT_FOUND, "there is no segment '%s'", name);
	else if (registry_check_attach(segment, who, read_only, ret) == 0)
		tell_allowed(segment, who, ret);
}

int registry_explain(struct registry *registry, const struct credentials *who, const char *name,
		     uint64_t now, struct explanation *ret, struct refusal *why)
{
	int r = name_parse(name, &name, why);

	if (r != 0)
		return r;
	const struct segment *segment = ending_settle_name(registry, name, now);
	ret->exists = segment != NULL;
	explain_creation(registry, who, name, ret);
	explain_attaching(segment, who, name, true, &ret->read);
	explain_attaching(segment, who, name, false, &ret->write);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "core/policy.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/text.h"
#include "core/quota.h"

const char *const policy_lifetime_names[] = {
	[LIFETIME_CLIENTS] = "clients",
	[LIFETIME_OWNER] = "owner",
	[LIFETIME_PERSISTENT] = "persistent",
};

/* --- rules ------------------------------------------------------------------------------------ */

/* What holds for names that no rule matches. */
#define OPEN                                                                               \
	{                                                                                  \
		.names = "*\0", .create = {.text = "anyone", .anyone = true},              \
		.owner = POLICY_CREATOR, .group = POLICY_CREATOR, .mode = POLICY_AS_ASKED, \
		.mode_max = 0777, .lifetimes = POLICY_ALL_LIFETIMES,                       \
		.linger_max_ms = POLICY_UNLIMITED, .size_max = POLICY_UNLIMITED,           \
		.segments_max = POLICY_UNLIMITED, .bytes_max = POLICY_UNLIMITED            \
	}

static const struct policy_rule open_rule = OPEN;

void policy_rule_init(struct policy_rule *rule, const char *name, const char *file, unsigned line)
{
	*rule = open_rule;
	text_copy(rule->name, sizeof(rule->name), name);
	text_copy(rule->file, sizeof(rule->file), file);
	rule->line = line;
}

struct policy_rule *policy_add(struct policy *policy, const char *name, const char *file,
			       unsigned line)
{
	struct policy_rule *larger = reallocarray(policy->rules, policy->n + 1,
						  sizeof(*policy->rules));

	if (!larger)
		return NULL;
	policy->rules = larger;
	policy_rule_init(&policy->rules[policy->n], name, file, line);
	return &policy->rules[policy->n++];
}

void policy_fini(struct policy *policy)
{
	free(policy->rules);
	*policy = (struct policy){0};
}

const struct policy_rule *policy_by_name(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n; i++)
		if (strcmp(policy->rules[i].name, name) == 0)
			return &policy->rules[i];
	return NULL;
}

static bool matches(const struct policy_rule *rule, const char *name)
{
	for (const char *glob = rule->names; *glob; glob += strlen(glob) + 1)
		if (fnmatch(glob, name, 0) == 0)
			return true;
	return false;
}

const struct policy_rule *policy_find(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n; i++)
		if (matches(&policy->rules[i], name))
			return &policy->rules[i];
	return &open_rule;
}

const char *policy_describe(const struct policy_rule *rule,
			    char buffer[static POLICY_DESCRIPTION_MAX])
{
	snprintf(buffer, POLICY_DESCRIPTION_MAX, "rule '%s' (%s line %u)", rule->name, rule->file,
		 rule->line);
	return buffer;
}

/* --- who may ---------------------------------------------------------------------------------- */

/* The user whose number stands in front of the name, as "1000.": no sign, no zeroes before it. */
static bool is_reserved(const char *name, uid_t *ret)
{
	char digits[16];
	size_t n = strspn(name, "0123456789");
	uint64_t uid;

	if (n == 0 || n >= sizeof(digits) || name[n] != '.' || (name[0] == '0' && n > 1))
		return false;
	text_copy(digits, n + 1, name);
	if (parse_u64(digits, &uid) < 0 || uid >= UINT32_MAX)
		return false;
	*ret = (uid_t)uid;
	return true;
}

enum policy_ground policy_ground(const struct policy_rule *rule, const struct credentials *who,
				 const char *name)
{
	uid_t reserved;

	if (!who->is_mapped)
		return POLICY_UNKNOWN_USER;
	if (rule->line > 0) {
		if (users_include(&rule->create, who))
			return POLICY_LISTED;
		return access_is_privileged(who) ? POLICY_PRIVILEGED : POLICY_NOT_LISTED;
	}
	if (!is_reserved(name, &reserved))
		return POLICY_OPEN;
	if (who->uid == reserved)
		return POLICY_OWN_NAME;
	return access_is_privileged(who) ? POLICY_PRIVILEGED : POLICY_RESERVED_FOR_ANOTHER;
}

/* Of a long list, so much that the sentence around it has room. */
#define LIST_TOLD 120

static void tell_by_rule(bool lets, const struct policy_rule *rule, const char *name,
			 struct refusal *ret)
{
	char text[POLICY_DESCRIPTION_MAX];
	const char *list = rule->create.text;

	if (!rule->create.anyone && rule->create.n == 0)
		list = "nobody";
	refuse(ret, lets ? 0 : REFUSAL_DENIED, "%s lets %s%.*s%s create '%s'",
	       policy_describe(rule, text),
	       rule->create.anyone || !strcmp(list, "nobody") ? "" : "only ", LIST_TOLD, list,
	       strlen(list) > LIST_TOLD ? "..." : "", name);
}

static void tell_privileged(const struct policy_rule *rule, const struct credentials *who,
			    const char *name, uid_t reserved, struct refusal *ret)
{
	char text[POLICY_DESCRIPTION_MAX];

	if (rule->line > 0)
		refuse(ret, 0, "%s does not let uid %u create '%s', but privileged users may",
		       policy_describe(rule, text), who->uid, name);
	else
		refuse(ret, 0,
		       "no rule matches '%s', and it is reserved for uid %u, but privileged "
		       "users may create it",
		       name, reserved);
}

void policy_tell_ground(enum policy_ground ground, const struct policy_rule *rule,
			const struct credentials *who, const char *name, struct refusal *ret)
{
	uid_t reserved = 0;

	is_reserved(name, &reserved);
	switch (ground) {
	case POLICY_OPEN:
		refuse(ret, 0, "no rule matches '%s': anybody may create it", name);
		break;
	case POLICY_OWN_NAME:
		refuse(ret, 0, "no rule matches '%s': it is reserved for uid %u", name, reserved);
		break;
	case POLICY_LISTED:
	case POLICY_NOT_LISTED:
		tell_by_rule(ground == POLICY_LISTED, rule, name, ret);
		break;
	case POLICY_PRIVILEGED:
		tell_privileged(rule, who, name, reserved, ret);
		break;
	case POLICY_RESERVED_FOR_ANOTHER:
		refuse(ret, REFUSAL_DENIED,
		       "no rule matches '%s', and so its number reserves it for uid %u", name,
		       reserved);
		break;
	case POLICY_UNKNOWN_USER:
		segment_check_maker(who, ret);
		break;
	}
}

/* --- on which terms --------------------------------------------------------------------------- */

struct ownership policy_ownership(const struct policy_rule *rule, const struct credentials *who,
				  mode_t asked)
{
	return (struct ownership){
		.uid = rule->owner == POLICY_CREATOR ? who->uid : rule->owner,
		.gid = rule->group == POLICY_CREATOR ? who->gid : rule->group,
		.mode = rule->mode == POLICY_AS_ASKED ? asked : rule->mode,
	};
}

static int check_mode(const struct policy_rule *rule, const struct creation *what,
		      struct refusal *why)
{
	char text[POLICY_DESCRIPTION_MAX];

	if (rule->mode != POLICY_AS_ASKED || !(what->mode & ~rule->mode_max))
		return 0;
	return refuse(why, REFUSAL_DENIED,
		      "%s allows mode_max=%04o for '%s'; mode %04o was asked for",
		      policy_describe(rule, text), rule->mode_max, what->name, what->mode);
}

static int check_lifetime(const struct policy_rule *rule, const struct creation *what,
			  struct refusal *why)
{
	char text[POLICY_DESCRIPTION_MAX], limit[FORMAT_MAX], asked[FORMAT_MAX];
	uint64_t linger_ms = what->linger_ns / NSEC_PER_MSEC;

	if (!(rule->lifetimes & 1u << what->lifetime))
		return refuse(why, REFUSAL_DENIED, "%s does not allow the lifetime %s for '%s'",
			      policy_describe(rule, text), policy_lifetime_names[what->lifetime],
			      what->name);
	if (linger_ms > rule->linger_max_ms)
		return refuse(why, REFUSAL_LIMIT,
			      "%s allows linger_max=%s for '%s'; %s were asked for",
			      policy_describe(rule, text),
			      format_duration_ms(rule->linger_max_ms, limit), what->name,
			      format_duration_ms(linger_ms, asked));
	return 0;
}

static int check_size(const struct policy_rule *rule, const struct creation *what,
		      struct refusal *why)
{
	char text[POLICY_DESCRIPTION_MAX];

	if (what->size <= rule->size_max)
		return 0;
	return refuse(why, REFUSAL_LIMIT,
		      "%s allows size_max=%" PRIu64 " for '%s'; %" PRIu64 " bytes were asked for",
		      policy_describe(rule, text), rule->size_max, what->name, what->size);
}

static int check_limit(const struct policy_rule *rule, const char *option, uint64_t limit,
		       uint64_t used, uint64_t amount, struct refusal *why)
{
	char text[POLICY_DESCRIPTION_MAX];

	if (quota_fits(limit, used, amount))
		return 0;
	return refuse(why, REFUSAL_LIMIT,
		      "%s has reached %s=%" PRIu64 ": %" PRIu64 " in use, %" PRIu64
		      " more asked for",
		      policy_describe(rule, text), option, limit, used, amount);
}

static int count(const struct policy_rule *rule, struct tally **tallies, uint64_t size,
		 struct tally_share *ret, struct refusal *why)
{
	const struct tally *tally = tally_find(*tallies, rule->name);
	int r = check_limit(rule, "segments_max", rule->segments_max, tally ? tally->segments : 0,
			    1, why);

	if (r == 0)
		r = check_limit(rule, "bytes_max", rule->bytes_max, tally ? tally->bytes : 0, size,
				why);
	return r != 0 ? r : tally_add(tallies, rule->name, size, ret);
}

static int check_terms(const struct policy_rule *rule, const struct creation *what,
		       struct refusal *why)
{
	int r = check_mode(rule, what, why);

	if (r == 0)
		r = check_lifetime(rule, what, why);
	return r != 0 ? r : check_size(rule, what, why);
}

int policy_admit(const struct policy *policy, struct tally **tallies, const struct credentials *who,
		 const struct creation *what, struct ownership *ret, struct tally_share *ret_share,
		 struct refusal *why)
{
	const struct policy_rule *rule = policy_find(policy, what->name);
	enum policy_ground ground = policy_ground(rule, who, what->name);
	int r = 0;

	if (!policy_lets(ground)) {
		policy_tell_ground(ground, rule, who, what->name, why);
		return (int)why->code;
	}
	if (rule->line > 0)
		r = check_terms(rule, what, why);
	if (r == 0 && rule->line > 0)
		r = count(rule, tallies, what->size, ret_share, why);
	if (r == 0)
		*ret = policy_ownership(rule, who, what->mode);
	return r;
}

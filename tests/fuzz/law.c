/* SPDX-License-Identifier: MIT */
#include "law.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>

#include "fuzz.h"

#define STATUTES 8
#define NONE     POLICY_UNLIMITED

struct statute {
	const char *globs[2];
	bool anyone;
	unsigned n;
	struct users_entry create[3];
	uid_t owner;
	gid_t group;
	mode_t mode, mode_max;
	unsigned lifetimes;
	uint64_t linger_max_ms, size_max, segments_max, bytes_max;
};

#define CREATORS .owner = POLICY_CREATOR, .group = POLICY_CREATOR
#define AS_ASKED .mode = POLICY_AS_ASKED, .mode_max = 0777
#define ANY_LIFE .lifetimes = POLICY_ALL_LIFETIMES, .linger_max_ms = NONE
#define ANY_SIZE .size_max = NONE
#define ANY_MANY .segments_max = NONE, .bytes_max = NONE

static const struct statute statutes[STATUTES] = {
	{.globs = {"a*"},
	 .n = 2,
	 .create = {{false, 5001}, {true, GROUP}},
	 CREATORS,
	 .mode = POLICY_AS_ASKED,
	 .mode_max = 0660,
	 .lifetimes = POLICY_ALL_LIFETIMES,
	 .linger_max_ms = 999,
	 .size_max = 4097,
	 .segments_max = 3,
	 .bytes_max = 8194},
	{.globs = {"[ab]"},
	 .anyone = true,
	 .owner = 5002,
	 .group = GROUP,
	 .mode = 0640,
	 .mode_max = 0777,
	 .lifetimes = 1u << LIFETIME_CLIENTS | 1u << LIFETIME_PERSISTENT,
	 .linger_max_ms = NONE,
	 ANY_SIZE,
	 ANY_MANY},
	/* Nobody may, but for the privileged; and whose it becomes, no configuration can say. */
	{.globs = {"?"},
	 .owner = OVERFLOW_ID,
	 .group = POLICY_CREATOR,
	 AS_ASKED,
	 ANY_LIFE,
	 ANY_SIZE,
	 ANY_MANY},
	{.globs = {"b*", "c"},
	 .n = 3,
	 .create = {{false, OVERFLOW_ID}, {true, OVERFLOW_ID}, {false, 5003}},
	 CREATORS,
	 .mode = 0606,
	 .mode_max = 0777,
	 ANY_LIFE,
	 .size_max = 4096,
	 ANY_MANY},
	{.globs = {"*"},
	 .anyone = true,
	 CREATORS,
	 AS_ASKED,
	 ANY_LIFE,
	 ANY_SIZE,
	 .segments_max = 2,
	 .bytes_max = NONE},
	{.globs = {"c*"},
	 .n = 1,
	 .create = {{true, ADMINISTRATORS}},
	 .owner = 0,
	 .group = POLICY_CREATOR,
	 .mode = 0600,
	 .mode_max = 0777,
	 .lifetimes = 1u << LIFETIME_OWNER,
	 .linger_max_ms = 0,
	 ANY_SIZE,
	 ANY_MANY},
	{.globs = {"5001.*", "d"},
	 .anyone = true,
	 .owner = POLICY_CREATOR,
	 .group = 5300,
	 AS_ASKED,
	 ANY_LIFE,
	 ANY_SIZE,
	 .segments_max = NONE,
	 .bytes_max = 4099},
	{.globs = {"*"},
	 .n = 2,
	 .create = {{false, 5003}, {true, 5200}},
	 .owner = POLICY_CREATOR,
	 .group = OVERFLOW_ID,
	 .mode = 0660,
	 .mode_max = 0777,
	 ANY_LIFE,
	 ANY_SIZE,
	 ANY_MANY},
};

static const char *const rule_names[LAW_RULES_MAX] = {"one", "two", "three", "four"};

static const struct statute *law[LAW_RULES_MAX];
static int n_rules;

const char *law_rule_name(int rule)
{
	return rule_names[rule];
}

/* --- given to the core ------------------------------------------------------------------------ */

static void put_names(const struct statute *statute, struct policy_rule *rule)
{
	char *p = rule->names;

	for (int i = 0; i < 2 && statute->globs[i]; i++)
		p += sprintf(p, "%s", statute->globs[i]) + 1;
	*p = '\0';
}

static void put_rule(const struct statute *statute, struct policy_rule *rule)
{
	put_names(statute, rule);
	rule->create = (struct users){.anyone = statute->anyone, .n = statute->n};
	memcpy(rule->create.entries, statute->create, sizeof(statute->create));
	strcpy(rule->create.text, statute->anyone ? "anyone" : statute->n ? "some" : "");
	rule->owner = statute->owner;
	rule->group = statute->group;
	rule->mode = statute->mode;
	rule->mode_max = statute->mode_max;
	rule->lifetimes = statute->lifetimes;
	rule->linger_max_ms = statute->linger_max_ms;
	rule->size_max = statute->size_max;
	rule->segments_max = statute->segments_max;
	rule->bytes_max = statute->bytes_max;
}

void law_take(struct input *input, struct registry *registry)
{
	static const gid_t groups[] = {ACCESS_NO_GROUP, ADMINISTRATORS, GROUP, OVERFLOW_ID};
	struct policy policy = {0};
	unsigned how = take(input);

	n_rules = (int)(how % 8 % (LAW_RULES_MAX + 1));
	people_set_administrators(groups[how / 8 % 4]);
	for (int i = 0; i < n_rules; i++) {
		law[i] = &statutes[take(input) % STATUTES];
		struct policy_rule *rule = policy_add(&policy, rule_names[i], "fuzz",
						      (unsigned)i + 1);
		HOLDS(rule);
		put_rule(law[i], rule);
	}
	HOLDS(n_rules == 0 || policy_by_name(&policy, rule_names[0]) == policy.rules);
	HOLDS(!policy_by_name(&policy, "none"));
	registry_set_policy(registry, &policy);
}

void law_clear(void)
{
	n_rules = 0;
	people_set_administrators(ACCESS_NO_GROUP);
}

/* --- judging ---------------------------------------------------------------------------------- */

static bool is_about(const struct statute *statute, const char *name)
{
	return fnmatch(statute->globs[0], name, 0) == 0 ||
	       (statute->globs[1] && fnmatch(statute->globs[1], name, 0) == 0);
}

int law_rule_of(const char *name)
{
	int rule = 0;

	while (rule < n_rules && !is_about(law[rule], name))
		rule++;
	return rule < n_rules ? rule : LAW_NO_RULE;
}

static bool is_listed(const struct statute *statute, const struct person *who)
{
	bool is = statute->anyone;

	for (unsigned i = 0; i < statute->n; i++)
		is = is ||
		     (statute->create[i].is_group ? person_has_group(who, statute->create[i].id)
						  : statute->create[i].id == who->uid);
	return is;
}

/* "5001.x" is uid 5001's, and nothing else is anybody's. */
static bool is_anothers(const char *name, const struct person *who)
{
	char *end;
	uint64_t uid;

	if (!isdigit((unsigned char)name[0]) || (name[0] == '0' && name[1] != '.'))
		return false;
	errno = 0;
	uid = strtoull(name, &end, 10);
	return errno == 0 && *end == '.' && uid < UINT32_MAX && uid != who->uid;
}

bool law_lets(const struct person *who, const char *name)
{
	int rule = law_rule_of(name);

	if (!person_is_known(who))
		return false;
	if (person_is_privileged(who))
		return true;
	return rule == LAW_NO_RULE ? !is_anothers(name, who) : is_listed(law[rule], who);
}

bool law_denies(const struct law_case *what)
{
	int rule = law_rule_of(what->name);

	if (!law_lets(what->who, what->name))
		return true;
	if (rule == LAW_NO_RULE)
		return false;
	if (law[rule]->mode == POLICY_AS_ASKED && what->mode & ~law[rule]->mode_max)
		return true;
	return !(law[rule]->lifetimes & 1u << what->lifetime);
}

bool law_limits(const struct law_case *what)
{
	int rule = law_rule_of(what->name);

	return rule != LAW_NO_RULE &&
	       (what->size > law[rule]->size_max || what->linger_ms > law[rule]->linger_max_ms);
}

struct ownership law_ownership(const struct law_case *what)
{
	struct ownership of = {what->who->uid, what->who->gid, what->mode};
	int rule = law_rule_of(what->name);

	if (rule == LAW_NO_RULE)
		return of;
	if (law[rule]->owner != POLICY_CREATOR)
		of.uid = law[rule]->owner;
	if (law[rule]->group != POLICY_CREATOR)
		of.gid = law[rule]->group;
	if (law[rule]->mode != POLICY_AS_ASKED)
		of.mode = law[rule]->mode;
	return of;
}

uint64_t law_segments_max(int rule)
{
	return rule < n_rules ? law[rule]->segments_max : NONE;
}

uint64_t law_bytes_max(int rule)
{
	return rule < n_rules ? law[rule]->bytes_max : NONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * What the policy says that it would do, what it does, and what this file, which was written from
 * shmd.conf(5) and shares nothing with it, says that it should: on random policies, users and names,
 * all three agree. SHMD_TEST_SEED repeats a run, SHMD_TEST_POLICIES asks for more of them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "core/explain.h"
#include "core/memory.h"
#include "shmd/config.h"

#define RULES_MAX   6
#define ATTEMPTS    8
#define LIVING_MAX  ATTEMPTS
#define UNLIMITED   UINT64_MAX
#define N(array)    (sizeof(array) / sizeof((array)[0]))
#define PICK(array) ((array)[draw(N(array))])

static struct registry *registry;
static struct refusal why;
static unsigned long seed;
static uint64_t state;

/* xorshift64*: the same on every machine. */
static unsigned draw(size_t below)
{
	state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
	return (unsigned)((state * UINT64_C(2685821657736338717)) >> 33) % (unsigned)below;
}

static bool chance(unsigned percent)
{
	return draw(100) < percent;
}

static void set_up(void)
{
	struct quota_limits limits;
	const char *text = getenv("SHMD_TEST_SEED");

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = UINT64_MAX;
	ck_assert_int_eq(registry_new(&registry, &limits, unit_folder, 1000), 0);
	seed = text ? strtoul(text, NULL, 10) : (unsigned long)time(NULL);
	state = seed * 2654435761u + 88172645463325252u;
}

static void tear_down(void)
{
	registry = registry_free(registry);
}

/* --- the model: what shmd.conf(5) says -------------------------------------------------------- */

struct person {
	uid_t uid;
	gid_t gid;
	gid_t groups[2];
};

static const struct person people[] = {
	{0, 0, {0, 4}},
	{70001, 70001, {80001, 80002}},
	{70002, 80001, {70002, 70002}},
	{70003, 70003, {80002, 80003}},
	{70004, 80003, {80003, 70004}},
	{65534, 80001, {80002, 80003}}, /* stands for many */
};

/* Names are of two letters, so that the patterns need no second fnmatch(3) to be decided on. */
static const char *const names[] = {"aa", "ab", "ba", "bb", "cc", "70001.x", "70002.x", "80001.x"};
static const struct {
	const char *text;
	unsigned matches; /* a bit for each of names */
} patterns[] = {
	{"aa", 0x01},    {"a?", 0x03}, {"?b", 0x0a},  {"b*", 0x0c},      {"*", 0xff},
	{"[ab]a", 0x05}, {"7*", 0x60}, {"*.x", 0xe0}, {"70001.*", 0x20}, {"", 0},
};

static const char *const creators[] = {"anyone", "nobody", "70001",        "70002", "@80001",
				       "@80002", "@70004", "70003 @80003", "0"};
static const mode_t modes[] = {0, 0600, 0640, 0660, 0604, 0666, 0777};
static const uint64_t sizes[] = {1, 4096, 4097, 10000};
static const uint64_t lingers[] = {0, 1, 1000, 1001};

struct model_rule {
	char name[8];
	unsigned line;
	unsigned matches;
	const char *create;
	uid_t owner;        /* 0: the creator */
	gid_t group;        /* 0: the creator's */
	int mode, mode_max; /* -1: not set */
	unsigned lifetimes; /* 0: all */
	uint64_t linger_max, size_max, segments_max, bytes_max;
};

static struct model_rule rules[RULES_MAX];
static unsigned n_rules;

static const struct model_rule *model_find(unsigned name)
{
	for (unsigned i = 0; i < n_rules; i++)
		if (rules[i].matches >> name & 1)
			return &rules[i];
	return NULL;
}

static bool model_has_group(const struct person *person, gid_t gid)
{
	return person->gid == gid || person->groups[0] == gid || person->groups[1] == gid;
}

static bool model_is_listed(const struct person *person, const char *list)
{
	char copy[64];

	text_copy(copy, sizeof(copy), list);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		if (strcmp(word, "anyone") == 0 ||
		    (word[0] == '@' && model_has_group(person, (gid_t)atol(word + 1))) ||
		    (word[0] >= '0' && word[0] <= '9' && person->uid == (uid_t)atol(word)))
			return true;
	return false;
}

static bool model_may_create(const struct person *person, unsigned name)
{
	const struct model_rule *rule = model_find(name);

	if (person->uid == 65534)
		return false;
	if (person->uid == 0 || person->uid == geteuid())
		return true;
	if (rule)
		return model_is_listed(person, rule->create);
	return strlen(names[name]) == 2 || (uid_t)atol(names[name]) == person->uid;
}

/* What lives, by the rule that it was counted in. */
static struct living {
	char rule[8];
	uint64_t size;
} living[LIVING_MAX];
static unsigned n_living;

static bool model_has_room(const struct model_rule *rule, uint64_t size)
{
	uint64_t segments = 0, bytes = 0;

	for (unsigned i = 0; i < n_living; i++)
		if (strcmp(living[i].rule, rule->name) == 0) {
			segments++;
			bytes += living[i].size;
		}
	return (rule->segments_max == UNLIMITED || segments + 1 <= rule->segments_max) &&
	       (rule->bytes_max == UNLIMITED || bytes + size <= rule->bytes_max);
}

static bool model_terms_are_met(const struct model_rule *rule, const struct creation *what)
{
	if (rule->mode < 0 && rule->mode_max >= 0 && what->mode & ~(mode_t)rule->mode_max)
		return false;
	if (rule->lifetimes && !(rule->lifetimes >> what->lifetime & 1))
		return false;
	return what->linger_ns / NSEC_PER_MSEC <= rule->linger_max &&
	       what->size <= rule->size_max && model_has_room(rule, what->size);
}

/* --- random policies, as files ---------------------------------------------------------------- */

static char file[4096];

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...)
{
	size_t length = strlen(file);
	va_list ap;

	va_start(ap, format);
	vsnprintf(file + length, sizeof(file) - length, format, ap);
	va_end(ap);
}

static unsigned line_now(void)
{
	unsigned n = 1;

	for (const char *p = file; *p; p++)
		n += *p == '\n';
	return n;
}

static void draw_names(struct model_rule *rule)
{
	unsigned first = draw(N(patterns) - 1), second = draw(N(patterns));

	put("names = %s %s\n", patterns[first].text, patterns[second].text);
	rule->matches = patterns[first].matches | patterns[second].matches;
}

static void draw_mode(struct model_rule *rule)
{
	rule->mode = rule->mode_max = -1;
	if (chance(25))
		put("mode = %04o\n", (unsigned)(rule->mode = (int)PICK(modes)));
	else if (chance(30))
		put("mode_max = %04o\n", (unsigned)(rule->mode_max = (int)PICK(modes)));
}

static void draw_lifetimes(struct model_rule *rule)
{
	static const char *const words[] = {" clients", " owner", " persistent"};

	rule->lifetimes = chance(30) ? 1 + draw(7) : 0;
	if (!rule->lifetimes)
		return;
	put("lifetimes =");
	for (int i = 2; i >= 0; i--)
		put("%s", rule->lifetimes >> i & 1 ? words[i] : "");
	put("\n");
}

static uint64_t draw_limit(const char *option, const uint64_t *values, size_t n, const char *unit)
{
	if (!chance(30))
		return UNLIMITED;
	uint64_t value = values[draw(n)];
	put("%s = %ju%s\n", option, (uintmax_t)value, unit);
	return value;
}

static void draw_rule(struct model_rule *rule)
{
	static const uint64_t counts[] = {0, 1, 2, 3}, sums[] = {0, 4096, 8192, 20000};

	/* Few names, so that those of the policy before come back. */
	snprintf(rule->name, sizeof(rule->name), "r%u", (unsigned)(rule - rules));
	rule->line = line_now();
	put("[rule %s]\n", rule->name);
	draw_names(rule);
	rule->create = "anyone";
	if (chance(60))
		put("create = %s\n", rule->create = PICK(creators));
	rule->owner = chance(25) ? 70001 + draw(4) : 0;
	rule->group = chance(25) ? 80001 + draw(3) : 0;
	if (rule->owner)
		put("owner = %u\n", rule->owner);
	if (rule->group)
		put("group = %u\n", rule->group);
	draw_mode(rule);
	draw_lifetimes(rule);
	rule->linger_max = draw_limit("linger_max", lingers, N(lingers), "ms");
	rule->size_max = draw_limit("size_max", sizes, N(sizes), "");
	rule->segments_max = draw_limit("segments_max", counts, N(counts), "");
	rule->bytes_max = draw_limit("bytes_max", sums, N(sums), "");
}

static void draw_policy(void)
{
	struct config config;
	char error[CONFIG_ERROR_MAX];

	file[0] = '\0';
	n_rules = draw(RULES_MAX + 1);
	for (unsigned i = 0; i < n_rules; i++)
		draw_rule(&rules[i]);
	const char *path = unit_write("random.conf", file, strlen(file));
	int r = config_load(&config, path, error);
	ck_assert_msg(r == 0, "seed %lu: %s\n%s", seed, error, file);
	registry_set_policy(registry, &config.policy);
	unlink(path);
}

/* --- trying ------------------------------------------------------------------------------------ */

#define AGREE(condition, ...)                                                                \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			char text_[1600];                                                    \
			snprintf(text_, sizeof(text_), __VA_ARGS__);                         \
			ck_abort_msg("seed %lu: " #condition ": %s\n%s", seed, text_, file); \
		}                                                                            \
	} while (0)

static void enter(struct session *session, const struct person *person)
{
	gid_t *groups = malloc(sizeof(person->groups));
	struct credentials who;

	ck_assert_ptr_nonnull(groups);
	memcpy(groups, person->groups, sizeof(person->groups));
	credentials_init(&who, person->uid, person->gid, groups, 2);
	session_init(session, 1, 0, &who);
}

static struct creation draw_creation(unsigned name)
{
	return (struct creation){
		.name = names[name],
		.size = PICK(sizes),
		.mode = PICK(modes),
		.lifetime = (enum lifetime)draw(3),
		.permits = draw(2),
	};
}

static int create(struct session *session, const struct creation *what, bool publish,
		  struct segment **ret)
{
	struct creation as = *what;
	struct grant grant;
	uint64_t id;

	if (publish)
		as.name = "";
	int r = registry_create(registry, session, &as, 1, &grant, &why);
	if (r != 0)
		return r;
	close_fd(grant.fd);
	*ret = grant.segment;
	return publish ? registry_publish(registry, session, grant.segment->id, what->name, true, 1,
					  &id, &why)
		       : 0;
}

/* The explanation and the model, before anything is done. */
static void compare_explanation(const struct explanation *explanation, const struct person *person,
				unsigned name)
{
	const struct model_rule *rule = model_find(name);
	const struct policy_rule *said = explanation->rule;

	AGREE((explanation->create.code == 0) == model_may_create(person, name), "%s by %u: %s",
	      names[name], person->uid, explanation->create.text);
	AGREE(said->line == (rule ? rule->line : 0), "%s", names[name]);
	AGREE(strcmp(said->name, rule ? rule->name : "") == 0, "%s", said->name);
	AGREE(explanation->ownership.uid == (rule && rule->owner ? rule->owner : person->uid),
	      "owner %u", explanation->ownership.uid);
	AGREE(explanation->ownership.gid == (rule && rule->group ? rule->group : person->gid),
	      "group %u", explanation->ownership.gid);
	if (rule) {
		char where[64];
		snprintf(where, sizeof(where), "rule '%s' (random.conf line %u)", rule->name,
			 rule->line);
		AGREE(strstr(explanation->create.text, where) || person->uid == 65534, "%s",
		      explanation->create.text);
	}
}

/* What would follow from the explanation alone. */
static bool explained_to_work(const struct explanation *explanation, const struct creation *what)
{
	const struct policy_rule *rule = explanation->rule;

	if (explanation->create.code != 0)
		return false;
	if (explanation->ownership.mode == POLICY_AS_ASKED && what->mode & ~rule->mode_max)
		return false;
	if (!(rule->lifetimes >> what->lifetime & 1) ||
	    what->linger_ns / NSEC_PER_MSEC > rule->linger_max_ms || what->size > rule->size_max)
		return false;
	if (rule->line == 0)
		return true;
	return (rule->segments_max == UNLIMITED ||
		explanation->segments_used < rule->segments_max) &&
	       (rule->bytes_max == UNLIMITED ||
		explanation->bytes_used + what->size <= rule->bytes_max);
}

static void compare_segment(const struct explanation *explanation, const struct segment *segment,
			    const struct creation *what)
{
	const struct ownership *of = &segment->ownership, *said = &explanation->ownership;

	AGREE(of->uid == said->uid && of->gid == said->gid, "%u:%u", of->uid, of->gid);
	AGREE(of->mode == (said->mode == POLICY_AS_ASKED ? what->mode : said->mode), "%04o",
	      of->mode);
	const struct model_rule *rule = NULL;
	for (unsigned i = 0; i < n_rules; i++)
		if (rules[i].line == explanation->rule->line)
			rule = &rules[i];
	AGREE(of->mode == (rule && rule->mode >= 0 ? (mode_t)rule->mode : what->mode), "%04o",
	      of->mode);
}

/* Everybody asks about it, and tries. */
static void compare_attaching(unsigned name)
{
	struct explanation explanation;
	struct session session;
	struct grant grant;

	for (size_t i = 0; i < N(people); i++)
		for (int read_only = 0; read_only < 2; read_only++) {
			enter(&session, &people[i]);
			ck_assert_int_eq(registry_explain(registry, &session.who, names[name], 1,
							  &explanation, &why),
					 0);
			const struct refusal *said = read_only ? &explanation.read
							       : &explanation.write;
			int r = registry_attach(registry, &session, 0, names[name], read_only, 1,
						&grant, &why);
			AGREE(r == (int)said->code, "%s by %u: %d, but: %s", names[name],
			      people[i].uid, r, said->text);
			AGREE(r == 0 || strcmp(why.text, said->text) == 0, "%s / %s", why.text,
			      said->text);
			AGREE(explanation.exists == (r != REFUSAL_NOT_FOUND), "%s", said->text);
			if (r == 0)
				close_fd(grant.fd);
			registry_leave(registry, &session, 1);
			session_fini(&session);
		}
}

static unsigned n_allowed, n_denied, n_limited;

static void try_one(struct session *session, const struct person *person, unsigned name)
{
	struct creation what = draw_creation(name);
	struct explanation explanation;
	struct segment *segment = NULL;
	const struct model_rule *rule = model_find(name);

	if (what.lifetime != LIFETIME_PERSISTENT)
		what.linger_ns = PICK(lingers) * NSEC_PER_MSEC;
	ck_assert_int_eq(
		registry_explain(registry, &session->who, names[name], 1, &explanation, &why), 0);
	compare_explanation(&explanation, person, name);
	bool expected = model_may_create(person, name) &&
			(!rule || model_terms_are_met(rule, &what));
	bool explained = explained_to_work(&explanation, &what);
	AGREE(expected == explained, "%s by %u", names[name], person->uid);
	int r = create(session, &what, chance(40), &segment);
	AGREE((r == 0) == expected, "%s by %u: %d %s", names[name], person->uid, r, why.text);
	AGREE(r != REFUSAL_DENIED || explanation.create.code == 0 ||
		      strcmp(why.text, explanation.create.text) == 0,
	      "%s / %s", why.text, explanation.create.text);
	n_allowed += r == 0, n_denied += r == REFUSAL_DENIED, n_limited += r == REFUSAL_LIMIT;
	if (r != 0)
		return;
	compare_segment(&explanation, segment, &what);
	text_copy(living[n_living].rule, sizeof(living[0].rule), rule ? rule->name : "");
	living[n_living++].size = what.size;
	compare_attaching(name);
	struct session root;
	enter(&root, &people[0]);
	ck_assert_int_eq(registry_unlink(registry, &root, 0, names[name], 1, &(uint64_t){0}, &why),
			 0);
	session_fini(&root);
}

static void settle(void)
{
	struct segment *segment;
	int fds[2];

	while (registry_settle_some(registry, 64, 1))
		;
	while ((segment = registry_take_unused(registry, fds))) {
		close_fd(fds[0]);
		close_fd(fds[1]);
		registry_forget(registry, segment);
	}
}

/* The segments of one policy live, without their names, into the half of the next. */
START_TEST(three_agree_on_random_policies)
{
	const char *text = getenv("SHMD_TEST_POLICIES");
	unsigned policies = text ? (unsigned)strtoul(text, NULL, 10) : 1000;
	struct session sessions[N(people)];

	for (unsigned i = 0; i < policies; i++) {
		n_living = 0;
		for (size_t j = 0; j < N(people); j++)
			enter(&sessions[j], &people[j]);
		draw_policy();
		for (unsigned j = 0; j < ATTEMPTS; j++) {
			if (j == ATTEMPTS / 2)
				draw_policy();
			size_t person = draw(N(people));
			try_one(&sessions[person], &people[person], draw(N(names)));
		}
		for (size_t j = 0; j < N(people); j++) {
			registry_leave(registry, &sessions[j], 1);
			session_fini(&sessions[j]);
		}
		settle();
		AGREE(!registry->tallies && !registry->by_id, "policy %u", i);
	}
	printf("# seed %lu: %u allowed, %u denied, %u over a limit\n", seed, n_allowed, n_denied,
	       n_limited);
	/* Had it only ever been refused, nothing would be shown. */
	ck_assert_uint_gt(n_allowed, policies);
	ck_assert_uint_gt(n_denied, policies);
	ck_assert_uint_gt(n_limited, policies / 4);
}
END_TEST

/* --- some sentences ---------------------------------------------------------------------------- */

static struct explanation explain_to(const struct person *person, const char *name)
{
	struct explanation explanation;
	struct session session;

	enter(&session, person);
	ck_assert_int_eq(registry_explain(registry, &session.who, name, 1, &explanation, &why), 0);
	session_fini(&session);
	return explanation;
}

static void read_policy(const char *text)
{
	struct config config;
	char error[CONFIG_ERROR_MAX];
	int r = config_load(&config, unit_write("shmd.conf", text, strlen(text)), error);

	ck_assert_msg(r == 0, "%s", error);
	registry_set_policy(registry, &config.policy);
}

START_TEST(every_ground_has_its_sentence)
{
	read_policy("[rule r]\nnames = a*\ncreate = 70001\n[rule s]\nnames = b*\n");
	static const struct {
		unsigned person;
		const char *name, *says;
	} cases[] = {
		{1, "a", "rule 'r' (shmd.conf line 1) lets only 70001 create 'a'"},
		{2, "a", "rule 'r' (shmd.conf line 1) lets only 70001 create 'a'"},
		{0, "a",
		 "rule 'r' (shmd.conf line 1) does not let uid 0 create 'a', but privileged"},
		{1, "b", "rule 's' (shmd.conf line 4) lets anyone create 'b'"},
		{1, "c", "no rule matches 'c': anybody may create it"},
		{1, "70001.x", "no rule matches '70001.x': it is reserved for uid 70001"},
		{2, "70001.x", "no rule matches '70001.x', and so its number reserves it for uid"},
		{0, "70001.x", "but privileged users may create it"},
		{5, "c", "uid 65534 stands for users"},
	};

	for (size_t i = 0; i < N(cases); i++)
		unit_assert_has(explain_to(&people[cases[i].person], cases[i].name).create.text,
				cases[i].says);
}
END_TEST

START_TEST(use_is_told_to_those_who_may)
{
	read_policy("[rule r]\nnames = a*\ncreate = 70001\n");
	struct creation what = {
		.name = "aa", .size = 100, .mode = 0640, .lifetime = LIFETIME_CLIENTS};
	struct session session;
	struct segment *segment;

	enter(&session, &people[1]);
	ck_assert_int_eq(create(&session, &what, false, &segment), 0);
	ck_assert_uint_eq(explain_to(&people[1], "aa").segments_used, 1);
	ck_assert_uint_eq(explain_to(&people[1], "ab").bytes_used, 100);
	ck_assert_uint_eq(explain_to(&people[2], "aa").segments_used, POLICY_UNLIMITED);
	ck_assert_uint_eq(explain_to(&people[2], "aa").bytes_used, POLICY_UNLIMITED);
	ck_assert_uint_eq(explain_to(&people[1], "zz").segments_used, POLICY_UNLIMITED);
	unit_assert_has(explain_to(&people[1], "aa").write.text, "owns it, and its mode is 0640");
	unit_assert_has(explain_to(&people[0], "aa").write.text, "privileged");
	unit_assert_has(explain_to(&people[2], "aa").read.text, "its mode does not let uid 70002");
	/* Not even its mode. */
	ck_assert_ptr_null(strstr(explain_to(&people[2], "aa").read.text, "0640"));
	registry_leave(registry, &session, 1);
	session_fini(&session);
	settle();
}
END_TEST

START_TEST(a_bad_name_is_refused)
{
	struct explanation explanation;
	struct session session;

	enter(&session, &people[1]);
	ck_assert_int_eq(registry_explain(registry, &session.who, "a/b", 1, &explanation, &why),
			 REFUSAL_INVALID);
	session_fini(&session);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, three_agree_on_random_policies);
	tcase_add_test(tests, every_ground_has_its_sentence);
	tcase_add_test(tests, use_is_told_to_those_who_may);
	tcase_add_test(tests, a_bad_name_is_refused);
}

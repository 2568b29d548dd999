/* SPDX-License-Identifier: MIT */
/*
 * Every option of a rule, once where it lets somebody and once where it does not, each time for a
 * segment that is created under a name and for one that is published under it. The rules are read from
 * a file, as the daemon reads them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "core/memory.h"
#include "core/registry.h"
#include "shmd/config.h"

#define ALICE 70001
#define BOB   70002
#define GROUP 70010
#define OWNER 70020

static struct registry *registry;
static struct refusal why;
static uint64_t next_session;
static char error[CONFIG_ERROR_MAX];

static void set_up(void)
{
	struct quota_limits limits;

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = UINT64_MAX;
	ck_assert_int_eq(registry_new(&registry, &limits, unit_folder, 1000), 0);
}

static void tear_down(void)
{
	ck_assert_ptr_null(registry->tallies);
	registry = registry_free(registry);
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
}

static void read_policy(const char *text)
{
	struct config config;
	int r = config_load(&config, unit_write("shmd.conf", text, strlen(text)), error);

	ck_assert_msg(r == 0, "%s", error);
	registry_set_policy(registry, &config.policy);
	unlink(unit_write("shmd.conf", "", 0));
}

/* The second group is a supplementary one. */
static void enter(struct session *session, uid_t uid, gid_t group)
{
	gid_t *groups = calloc(2, sizeof(*groups));
	struct credentials who;

	ck_assert_ptr_nonnull(groups);
	groups[0] = 4, groups[1] = group;
	credentials_init(&who, uid, uid, groups, 2);
	session_init(session, ++next_session, 0, &who);
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

static void leave(struct session *session)
{
	registry_leave(registry, session, 1);
	session_fini(session);
	settle();
}

/* Who wants what; what is not said is harmless. */
struct attempt {
	uid_t uid; /* 0: ALICE's */
	gid_t group;
	const char *name; /* NULL: "a" */
	uint64_t size;
	mode_t mode; /* 0: 0600 */
	enum lifetime lifetime;
	unsigned linger_ms;
	bool by_root;
};

static struct creation creation_of(const struct attempt *attempt)
{
	return (struct creation){.name = attempt->name ? attempt->name : "a",
				 .size = attempt->size ? attempt->size : 4096,
				 .mode = attempt->mode ? attempt->mode : 0600,
				 .lifetime = attempt->lifetime,
				 .linger_ns = attempt->linger_ms * NSEC_PER_MSEC,
				 .permits = 1};
}

static int create(struct session *session, const struct creation *what, struct segment **ret)
{
	struct grant grant;
	int r = registry_create(registry, session, what, 1, &grant, &why);

	if (r != 0)
		return r;
	close_fd(grant.fd);
	*ret = grant.segment;
	return 0;
}

static int publish(struct session *session, const struct creation *what, struct segment **ret)
{
	struct creation anonymous = *what;
	uint64_t id;

	anonymous.name = "";
	ck_assert_int_eq(create(session, &anonymous, ret), 0);
	return registry_publish(registry, session, (*ret)->id, what->name, true, 1, &id, &why);
}

static int get(struct session *session, const struct creation *what, bool published,
	       struct segment **ret)
{
	return published ? publish(session, what, ret) : create(session, what, ret);
}

static void drop(const char *name)
{
	struct session root;

	enter(&root, 0, 0);
	ck_assert_int_eq(registry_unlink(registry, &root, 0, name, 1, &(uint64_t){0}, &why), 0);
	leave(&root);
}

/* Returns what it came to, and whose the segment was. */
static int attempt(const struct attempt *attempt, bool published, struct ownership *ret)
{
	struct creation what = creation_of(attempt);
	struct segment *segment;
	struct session session;

	enter(&session, attempt->by_root ? 0 : attempt->uid ? attempt->uid : ALICE, attempt->group);
	int r = get(&session, &what, published, &segment);
	if (r == 0) {
		*ret = segment->ownership;
		drop(what.name);
	}
	leave(&session);
	return r;
}

/* --- every option ----------------------------------------------------------------------------- */

static const struct {
	const char *rule; /* options of it */
	struct attempt good, bad;
	int code;
	const char *says;
} cases[] = {
	{"names = b* c?\ncreate = nobody\n",
	 {.name = "xb"},
	 {.name = "bb"},
	 REFUSAL_DENIED,
	 "rule 'r' (shmd.conf line 1) lets nobody create 'bb'"},
	{"names = b* c?\ncreate = nobody\n",
	 {.name = "c"},
	 {.name = "cx"},
	 REFUSAL_DENIED,
	 "lets nobody create 'cx'"},
	{"create = 70001\n",
	 {.uid = ALICE},
	 {.uid = BOB},
	 REFUSAL_DENIED,
	 "rule 'r' (shmd.conf line 1) lets only 70001 create 'a'"},
	{"create = 7 @70010\n",
	 {.uid = BOB, .group = GROUP},
	 {.uid = BOB, .group = GROUP + 1},
	 REFUSAL_DENIED,
	 "lets only 7 @70010 create 'a'"},
	/* Its first group. */
	{"create = @70002\n",
	 {.uid = BOB},
	 {.uid = ALICE},
	 REFUSAL_DENIED,
	 "lets only @70002 create 'a'"},
	{"create = nobody\n", {.by_root = true}, {.uid = BOB}, REFUSAL_DENIED, "lets nobody"},
	{"create = anyone\n", {.uid = BOB}, {.uid = 65534}, REFUSAL_DENIED, "stands for users"},
	{"mode_max = 0640\n",
	 {.mode = 0640},
	 {.mode = 0602},
	 REFUSAL_DENIED,
	 "allows mode_max=0640 for 'a'; mode 0602 was asked for"},
	{"mode_max = 0640\n",
	 {.mode = 0200},
	 {.mode = 0660, .by_root = true},
	 REFUSAL_DENIED,
	 "mode_max=0640"},
	{"lifetimes = owner persistent\n",
	 {.lifetime = LIFETIME_PERSISTENT},
	 {.lifetime = LIFETIME_CLIENTS},
	 REFUSAL_DENIED,
	 "does not allow the lifetime clients"},
	{"lifetimes = clients\n",
	 {.lifetime = LIFETIME_CLIENTS},
	 {.lifetime = LIFETIME_PERSISTENT, .by_root = true},
	 REFUSAL_DENIED,
	 "lifetime persistent"},
	{"linger_max = 1500ms\n",
	 {.linger_ms = 1500},
	 {.linger_ms = 1501},
	 REFUSAL_LIMIT,
	 "linger_max=1500ms for 'a'; 1501ms were asked for"},
	{"linger_max = 0\n", {.linger_ms = 0}, {.linger_ms = 1}, REFUSAL_LIMIT, "linger_max=0"},
	{"size_max = 8K\n",
	 {.size = 8192},
	 {.size = 8193},
	 REFUSAL_LIMIT,
	 "size_max=8192 for 'a'; 8193 bytes were asked for"},
	{"size_max = 8K\n",
	 {.size = 8192, .by_root = true},
	 {.size = 8193, .by_root = true},
	 REFUSAL_LIMIT,
	 "size_max=8192"},
	{"names = b\nsegments_max = 0\n",
	 {.name = "a"},
	 {.name = "b"},
	 REFUSAL_LIMIT,
	 "has reached segments_max=0: 0 in use, 1 more asked for"},
	{"bytes_max = 10000\n",
	 {.size = 10000},
	 {.size = 10001},
	 REFUSAL_LIMIT,
	 "rule 'r' (shmd.conf line 1) has reached bytes_max=10000: 0 in use, 10001 more"},
};
#define N_CASES ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(each_option_allows_and_denies)
{
	char text[512];
	struct ownership of;

	snprintf(text, sizeof(text), "[rule r]\n%s", cases[_i].rule);
	read_policy(text);
	for (int published = 0; published < 2; published++) {
		int r = attempt(&cases[_i].good, published, &of);
		ck_assert_msg(r == 0, "refused: %s", why.text);
		/* Who stands for many has nothing to publish. */
		if (cases[_i].bad.uid == 65534 && published)
			continue;
		r = attempt(&cases[_i].bad, published, &of);
		ck_assert_msg(r == cases[_i].code, "%d: %s", r, why.text);
		unit_assert_has(why.text, cases[_i].says);
	}
}
END_TEST

START_TEST(what_is_forced_is_had)
{
	const struct attempt as_alice = {.uid = ALICE, .mode = 0666};
	struct ownership of;

	for (int published = 0; published < 2; published++) {
		read_policy("[rule r]\nnames = a\nowner = 70020\ngroup = 70010\nmode = 0640\n");
		ck_assert_int_eq(attempt(&as_alice, published, &of), 0);
		ck_assert_uint_eq(of.uid, OWNER);
		ck_assert_uint_eq(of.gid, GROUP);
		ck_assert_uint_eq(of.mode, 0640);
		read_policy("[rule r]\nnames = b\nowner = 70020\ngroup = 70010\nmode = 0640\n");
		ck_assert_int_eq(attempt(&as_alice, published, &of), 0);
		ck_assert_uint_eq(of.uid, ALICE);
		ck_assert_uint_eq(of.gid, ALICE);
		ck_assert_uint_eq(of.mode, 0666);
		/* What is forced is not asked for. */
		read_policy("[rule r]\nmode = 0600\nmode_max = 0600\n");
		ck_assert_int_eq(attempt(&as_alice, published, &of), 0);
		ck_assert_uint_eq(of.mode, 0600);
	}
}
END_TEST

START_TEST(the_first_rule_that_matches_decides)
{
	const struct attempt front = {.name = "cam.front"}, back = {.name = "cam.back"},
			     other = {.name = "x"};
	struct ownership of;

	read_policy("[rule one]\nnames = cam.f*\nmode = 0604\n[rule two]\nnames = cam.*\n"
		    "mode = 0640\n[rule three]\nnames = *\nmode = 0600\n");
	ck_assert_int_eq(attempt(&front, false, &of), 0);
	ck_assert_uint_eq(of.mode, 0604);
	ck_assert_int_eq(attempt(&back, false, &of), 0);
	ck_assert_uint_eq(of.mode, 0640);
	ck_assert_int_eq(attempt(&other, false, &of), 0);
	ck_assert_uint_eq(of.mode, 0600);
}
END_TEST

/* --- names that no rule matches ---------------------------------------------------------------- */

START_TEST(a_uid_in_front_reserves_a_name)
{
	static const struct {
		const char *name;
		bool for_bob; /* it is reserved for Alice unless this is true */
	} names[] = {{"70001.", false},      {"70001.x", false},
		     {"70001.x.y", false},   {"70001", true},
		     {"70001x", true},       {"70001-.x", true},
		     {"x70001.x", true},     {".70001.x", true},
		     {"070001.x", true},     {"70002.x", true},
		     {"4294967295.x", true}, {"99999999999.x", true},
		     {"+70001.x", true},     {"999999999999999999999.x", true}};
	struct ownership of;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (int published = 0; published < 2; published++) {
			struct attempt bob = {.uid = BOB, .name = names[i].name};
			struct attempt root = {.by_root = true, .name = names[i].name};
			int r = attempt(&bob, published, &of);
			ck_assert_msg(r == (names[i].for_bob ? 0 : REFUSAL_DENIED), "%s: %d",
				      names[i].name, r);
			if (r != 0)
				unit_assert_has(why.text, "reserves it for uid 70001");
			ck_assert_int_eq(attempt(&root, published, &of), 0);
		}
	struct attempt alice = {.name = "70001.x"}, other = {.name = "70002.x"};
	ck_assert_int_eq(attempt(&alice, false, &of), 0);
	ck_assert_int_eq(attempt(&other, false, &of), REFUSAL_DENIED);
	/* As with a '/' in front, which is dropped. */
	other.name = "/70002.x";
	ck_assert_int_eq(attempt(&other, false, &of), REFUSAL_DENIED);
	/* A rule says otherwise. */
	read_policy("[rule r]\nnames = 70002.*\n");
	ck_assert_int_eq(attempt(&other, false, &of), 0);
}
END_TEST

/* --- what a rule counts ------------------------------------------------------------------------ */

static int try_one(struct session *session, const char *name, bool published)
{
	const struct attempt of_name = {.name = name, .size = 1000};
	struct creation what = creation_of(&of_name);
	struct segment *segment;

	return get(session, &what, published, &segment);
}

START_TEST(segments_are_counted_while_their_memory_is)
{
	struct session alice, bob;

	read_policy("[rule r]\nnames = a b c\nsegments_max = 2\n");
	enter(&alice, ALICE, 0);
	enter(&bob, BOB, 0);
	ck_assert_int_eq(try_one(&alice, "a", false), 0);
	ck_assert_int_eq(try_one(&bob, "b", true), 0);
	ck_assert_int_eq(try_one(&alice, "c", true), REFUSAL_LIMIT);
	unit_assert_has(why.text,
			"rule 'r' (shmd.conf line 1) has reached segments_max=2: 2 in use, 1 more");
	/* Others are not. */
	ck_assert_int_eq(try_one(&alice, "d", false), 0);
	/* Dropped and in use is in use. */
	drop("a");
	ck_assert_int_eq(try_one(&bob, "c", false), REFUSAL_LIMIT);
	leave(&alice);
	ck_assert_int_eq(try_one(&bob, "c", false), 0);
	ck_assert_uint_eq(tally_find(registry->tallies, "r")->bytes, 2000);
	leave(&bob);
}
END_TEST

START_TEST(bytes_are_counted_to_the_byte)
{
	struct session alice;

	read_policy("[rule r]\nbytes_max = 2000\n");
	enter(&alice, ALICE, 0);
	ck_assert_int_eq(try_one(&alice, "a", false), 0);
	ck_assert_int_eq(try_one(&alice, "b", true), 0);
	ck_assert_int_eq(try_one(&alice, "c", false), REFUSAL_LIMIT);
	unit_assert_has(why.text, "bytes_max=2000: 2000 in use, 1000 more asked for");
	leave(&alice);
}
END_TEST

/* All that a sentence is made of, as long as it can be. */
START_TEST(the_longest_sentence_is_told_to_its_end)
{
	char name[NAME_LENGTH_MAX + 1], file[80], text[1024];
	struct config config;
	struct ownership of;

	memset(name, 'n', NAME_LENGTH_MAX);
	name[NAME_LENGTH_MAX] = '\0';
	snprintf(file, sizeof(file), "%063d", 0);
	snprintf(text, sizeof(text), "[rule %040d]\ncreate = %0181d\n", 7, 7);
	int r = config_load(&config, unit_write(file, text, strlen(text)), error);
	ck_assert_msg(r == 0, "%s", error);
	registry_set_policy(registry, &config.policy);
	struct attempt bob = {.uid = BOB, .name = name};
	ck_assert_int_eq(attempt(&bob, false, &of), REFUSAL_DENIED);
	ck_assert_int_eq(strcmp(why.text + strlen(why.text) - 3, "nn'"), 0);
	unit_assert_has(why.text, "... create 'n");
	unlink(unit_write(file, "", 0));
}
END_TEST

START_TEST(a_refusal_counts_nothing)
{
	struct session alice;
	struct creation what = creation_of(&(struct attempt){.size = 1});

	read_policy("[rule r]\nsegments_max = 2\nbytes_max = 1M\n");
	enter(&alice, ALICE, 0);
	registry->quota.limits.total[QUOTA_SEGMENTS] = 0;
	ck_assert_int_eq(try_one(&alice, "a", false), REFUSAL_LIMIT);
	unit_assert_has(why.text, "the limit segments");
	what.size = 0;
	ck_assert_int_eq(create(&alice, &what, &(struct segment *){NULL}), REFUSAL_INVALID);
	ck_assert_ptr_null(registry->tallies);
	registry->quota.limits.total[QUOTA_SEGMENTS] = 100;
	leave(&alice);
}
END_TEST

START_TEST(counts_outlive_a_reload)
{
	struct session alice;

	enter(&alice, ALICE, 0);
	read_policy("[rule r]\nnames = a*\nsegments_max = 2\n");
	ck_assert_int_eq(try_one(&alice, "a1", false), 0);
	/* Elsewhere, under the same name: it goes on. */
	read_policy("[rule x]\nnames = z\n[rule r]\nnames = a*\nsegments_max = 2\n");
	ck_assert_int_eq(try_one(&alice, "a2", false), 0);
	ck_assert_int_eq(try_one(&alice, "a3", false), REFUSAL_LIMIT);
	unit_assert_has(why.text, "rule 'r' (shmd.conf line 3) has reached segments_max=2: 2 in");
	/* Without it, and with it again. */
	read_policy("");
	ck_assert_int_eq(try_one(&alice, "a3", false), 0);
	read_policy("[rule r]\nnames = a*\nsegments_max = 1\n");
	ck_assert_int_eq(try_one(&alice, "a4", false), REFUSAL_LIMIT);
	ck_assert_uint_eq(tally_find(registry->tallies, "r")->segments, 2);
	/* Another rule counts from nothing. */
	read_policy("[rule s]\nnames = a*\nsegments_max = 1\n");
	ck_assert_int_eq(try_one(&alice, "a4", false), 0);
	ck_assert_int_eq(try_one(&alice, "a5", false), REFUSAL_LIMIT);
	leave(&alice);
}
END_TEST

START_TEST(what_exists_stays_as_it_is)
{
	struct session alice;
	struct grant grant;

	enter(&alice, ALICE, 0);
	ck_assert_int_eq(try_one(&alice, "a", false), 0);
	read_policy("[rule r]\ncreate = nobody\nowner = 70020\nmode = 0\n");
	ck_assert_uint_eq(registry_by_name(registry, "a")->ownership.uid, ALICE);
	ck_assert_uint_eq(registry_by_name(registry, "a")->ownership.mode, 0600);
	/* To open what exists is not to create. */
	struct creation what = creation_of(&(struct attempt){.size = 1});
	what.open_existing = true;
	ck_assert_int_eq(registry_create(registry, &alice, &what, 1, &grant, &why), 0);
	close_fd(grant.fd);
	what.name = "b";
	ck_assert_int_eq(registry_create(registry, &alice, &what, 1, &grant, &why), REFUSAL_DENIED);
	/* Nobody is asked for a segment without a name. */
	what.name = "";
	ck_assert_int_eq(registry_create(registry, &alice, &what, 1, &grant, &why), 0);
	close_fd(grant.fd);
	leave(&alice);
}
END_TEST

/* Of what is given away, the next generation is the new owner's to publish. */
START_TEST(a_publisher_may_give_the_name_away)
{
	struct session alice;

	enter(&alice, ALICE, 0);
	read_policy("[rule r]\nnames = a\nowner = 70020\n");
	ck_assert_int_eq(try_one(&alice, "a", true), 0);
	ck_assert_int_eq(try_one(&alice, "a", true), REFUSAL_DENIED);
	unit_assert_has(why.text, "belongs to another user");
	ck_assert_uint_eq(tally_find(registry->tallies, "r")->segments, 1);
	leave(&alice);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_loop_test(tests, each_option_allows_and_denies, 0, N_CASES);
	tcase_add_test(tests, what_is_forced_is_had);
	tcase_add_test(tests, the_first_rule_that_matches_decides);
	tcase_add_test(tests, a_uid_in_front_reserves_a_name);
	tcase_add_test(tests, segments_are_counted_while_their_memory_is);
	tcase_add_test(tests, bytes_are_counted_to_the_byte);
	tcase_add_test(tests, the_longest_sentence_is_told_to_its_end);
	tcase_add_test(tests, a_refusal_counts_nothing);
	tcase_add_test(tests, counts_outlive_a_reload);
	tcase_add_test(tests, what_exists_stays_as_it_is);
	tcase_add_test(tests, a_publisher_may_give_the_name_away);
}

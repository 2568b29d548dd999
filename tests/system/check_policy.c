/* SPDX-License-Identifier: MIT */
/*
 * The policy, and administrators, through the real daemon: several users try what a rule lets them and
 * what it does not, and are told what shmd_explain() had told them. Needs root, to become them.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Users of nobody's, who need no entry in /etc/passwd. */
#define DAEMON_UID 64501
#define ALICE      64502
#define BOB        64503
#define OWNER      64504
#define GROUP      64510
#define ADMIN_GID  64511

static struct test_daemon daemon_;
static struct shmd *connection; /* root's */

static void set_up(void)
{
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	connection = connect_or_fail();
}

static void tear_down(void)
{
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static uint64_t limit_of_segments(void)
{
	struct shmd_status *status;
	uint64_t value = 0;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	for (size_t i = 0; i < status->n_limits; i++)
		if (strcmp(status->limits[i]->name, "segments") == 0)
			value = status->limits[i]->value;
	shmd_status_free(status);
	return value;
}

static void write_config(const char *text)
{
	FILE *file = fopen(daemon_.config, "we");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
}

/* Has the daemon read it, which a limit of another value each time tells. */
static void use_config(const char *text)
{
	static unsigned generation = 1000;
	char whole[4096];

	snprintf(whole, sizeof(whole), "%s[limits]\nsegments = %u\n", text, ++generation);
	write_config(whole);
	AWAIT(limit_of_segments() == generation);
}

static void become(uid_t uid, gid_t gid, gid_t extra)
{
	ck_assert_int_eq(setgroups(extra ? 1 : 0, &extra), 0);
	ck_assert_int_eq(setresgid(gid, gid, gid), 0);
	ck_assert_int_eq(setresuid(uid, uid, uid), 0);
}

/* --- every option ----------------------------------------------------------------------------- */

/* Who wants what; what is not said is harmless. */
struct wish {
	uid_t uid; /* 0: ALICE */
	gid_t extra;
	const char *name; /* NULL: "a" */
	size_t size;
	mode_t mode; /* 0: 0600 */
	enum shmd_lifetime lifetime;
	unsigned linger_ms;
	bool as_root;
};

struct trial {
	struct wish wish;
	bool publish;
	int result;
	const char *says;
};

static int create(struct shmd *mine, const struct wish *wish, bool publish,
		  struct shmd_segment **ret)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	const char *name = wish->name ? wish->name : "a";

	options.mode = wish->mode ? wish->mode : 0600;
	options.lifetime = wish->lifetime;
	options.linger_ms = wish->linger_ms;
	int r = shmd_create(mine, publish ? NULL : name, wish->size ? wish->size : 4096, &options,
			    ret);
	return r == 0 && publish ? shmd_publish(*ret, name, SHMD_WRITABLE) : r;
}

static void expect_explained(struct shmd *mine, const struct trial *trial)
{
	struct shmd_explanation *explanation;
	const char *name = trial->wish.name ? trial->wish.name : "a";

	ck_assert_int_eq(shmd_explain(mine, name, SHMD_OWN_UID, &explanation), 0);
	ck_assert_uint_eq(explanation->uid, getuid());
	/* What depends on the name and the user alone. */
	if (trial->result == 0)
		ck_assert_msg(explanation->may_create, "%s", explanation->create_reason);
	if (!explanation->may_create)
		ck_assert_str_eq(explanation->create_reason, shmd_error_message());
	shmd_explanation_free(explanation);
}

static void try_as_user(struct actor *self, void *context)
{
	const struct trial *trial = context;
	struct shmd_segment *segment;

	(void)self;
	if (!trial->wish.as_root)
		become(trial->wish.uid ? trial->wish.uid : ALICE, 64520, trial->wish.extra);
	struct shmd *mine = connect_or_fail();
	int r = create(mine, &trial->wish, trial->publish, &segment);
	ck_assert_msg(r == trial->result, "%d, not %d: %s", r, trial->result, shmd_error_message());
	if (r < 0)
		ck_assert_msg(strstr(shmd_error_message(), trial->says), "'%s' does not say '%s'",
			      shmd_error_message(), trial->says);
	expect_explained(mine, trial);
}

static void try_wish(const struct wish *wish, int result, const char *says)
{
	const char *name = wish->name ? wish->name : "a";

	for (int publish = 0; publish < 2; publish++) {
		struct trial trial = {*wish, publish, result, says};
		struct actor user;
		actor_start(&user, try_as_user, &trial);
		actor_finish(&user);
		/* A persistent, or a lingering one. */
		int r = shmd_unlink(connection, name);
		ck_assert(r == 0 || r == -ENOENT);
		await_segments(connection, 0);
	}
}

static const struct {
	const char *options;
	struct wish good, bad;
	int result;
	const char *says;
} cases[] = {
	{"names = b* c?\ncreate = nobody\n",
	 {.name = "ab"},
	 {.name = "bb"},
	 -EACCES,
	 "rule 'r' (conf line 1) lets nobody create 'bb'"},
	{"create = 64502\n",
	 {.uid = ALICE},
	 {.uid = BOB},
	 -EACCES,
	 "rule 'r' (conf line 1) lets only 64502 create 'a'"},
	{"create = root @64510\n",
	 {.extra = GROUP},
	 {.extra = GROUP + 1},
	 -EACCES,
	 "lets only root @64510 create 'a'"},
	{"create = nobody\n", {.as_root = true}, {.uid = ALICE}, -EACCES, "lets nobody create"},
	/* By name; users of every Debian. */
	{"create = bin @daemon\n",
	 {.uid = 2},
	 {.uid = 1},
	 -EACCES,
	 "lets only bin @daemon create 'a'"},
	{"create = bin @daemon\n",
	 {.uid = 3, .extra = 1},
	 {.uid = 3, .extra = 2},
	 -EACCES,
	 "lets only bin @daemon"},
	{"mode_max = 0640\n", {.mode = 0440}, {.mode = 0660}, -EACCES, "mode_max=0640 for 'a'"},
	{"lifetimes = clients\n",
	 {.lifetime = SHMD_LIFETIME_CLIENTS},
	 {.lifetime = SHMD_LIFETIME_PERSISTENT},
	 -EACCES,
	 "not allow the lifetime persistent"},
	{"lifetimes = persistent owner\n",
	 {.lifetime = SHMD_LIFETIME_PERSISTENT},
	 {.lifetime = SHMD_LIFETIME_CLIENTS, .as_root = true},
	 -EACCES,
	 "the lifetime clients"},
	{"linger_max = 50ms\n", {.linger_ms = 50}, {.linger_ms = 51}, -EDQUOT, "linger_max=50ms"},
	{"size_max = 8K\n", {.size = 8192}, {.size = 8193}, -EDQUOT, "size_max=8192 for 'a'"},
	{"names = b\nsegments_max = 0\n",
	 {.name = "a"},
	 {.name = "b"},
	 -EDQUOT,
	 "has reached segments_max=0: 0 in use"},
	{"bytes_max = 9999\n",
	 {.size = 9999},
	 {.size = 10000, .as_root = true},
	 -EDQUOT,
	 "has reached bytes_max=9999: 0 in use, 10000 more"},
	/* Where no rule matches. */
	{"names = z\n",
	 {.name = "64502.x"},
	 {.name = "64502.x", .uid = BOB},
	 -EACCES,
	 "its number reserves it for uid 64502"},
	{"names = z\n",
	 {.name = "64502.x", .as_root = true},
	 {.name = "64503.x"},
	 -EACCES,
	 "its number reserves it for uid 64503"},
};
#define N_CASES ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(each_option_allows_and_denies)
{
	char text[512];

	snprintf(text, sizeof(text), "[rule r]\n%s", cases[_i].options);
	use_config(text);
	try_wish(&cases[_i].good, 0, "");
	try_wish(&cases[_i].bad, cases[_i].result, cases[_i].says);
}
END_TEST

/* --- what is forced --------------------------------------------------------------------------- */

struct given {
	bool publish;
	uid_t uid; /* who tries */
	gid_t extra;
	int read, write, semaphore, drop;
};

static char semaphore_name[64];

static void giver(struct actor *self, void *context)
{
	const struct given *given = context;
	struct shmd_segment *segment;

	become(ALICE, 64520, 0);
	struct shmd *mine = connect_or_fail();
	int r = create(mine, &(struct wish){.mode = 0666}, given->publish, &segment);
	ck_assert_msg(r == 0, "%d %s", r, shmd_error_message());
	/* It has it still. */
	strcpy(shmd_segment_data(segment), "given away");
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	actor_tell(self);
	actor_await(self);
}

static void taker(struct actor *self, void *context)
{
	const struct given *given = context;
	struct shmd_segment *segment;

	(void)self;
	become(given->uid, 64521, given->extra);
	struct shmd *mine = connect_or_fail();
	ck_assert_int_eq(shmd_attach(mine, "a", SHMD_READ_ONLY, &segment), given->read);
	ck_assert_int_eq(shmd_attach(mine, "a", 0, &segment), given->write);
	errno = 0;
	sem_t *semaphore = sem_open(semaphore_name, 0);
	ck_assert_int_eq(semaphore == SEM_FAILED ? -errno : 0, given->semaphore);
	ck_assert_int_eq(shmd_unlink(mine, "a"), given->drop);
}

#ifdef HAVE_LIBACL
#define BY_NAME 0
#else
#define BY_NAME -EACCES
#endif

START_TEST(owner_group_and_mode_are_forced)
{
	static const struct given takers[] = {
		/* Who made it, and asked for 0666. */
		{.uid = ALICE,
		 .read = -EACCES,
		 .write = -EACCES,
		 .semaphore = -EACCES,
		 .drop = -EACCES},
		{.uid = BOB,
		 .read = -EACCES,
		 .write = -EACCES,
		 .semaphore = -EACCES,
		 .drop = -EACCES},
		{.uid = BOB,
		 .extra = GROUP,
		 .read = 0,
		 .write = -EACCES,
		 .semaphore = -EACCES,
		 .drop = -EACCES},
		{.uid = OWNER, .read = 0, .write = 0, .semaphore = BY_NAME, .drop = 0},
	};
	struct given given = {.publish = _i};
	struct shmd_details *details;
	struct actor making, taking;

	use_config("[rule r]\nowner = 64504\ngroup = 64510\nmode = 0640\n");
	actor_start(&making, giver, &given);
	actor_await(&making);
	ck_assert_int_eq(shmd_show(connection, "a", &details), 0);
	strcpy(semaphore_name, details->segment->semaphore);
	ck_assert_uint_eq(details->segment->uid, OWNER);
	ck_assert_uint_eq(details->segment->gid, GROUP);
	ck_assert_uint_eq(details->segment->mode, 0640);
	shmd_details_free(details);
	for (size_t i = 0; i < sizeof(takers) / sizeof(takers[0]); i++) {
		actor_start(&taking, taker, (void *)&takers[i]);
		actor_finish(&taking);
	}
	actor_tell(&making);
	actor_finish(&making);
	await_segments(connection, 0);
}
END_TEST

/* --- explaining ------------------------------------------------------------------------------- */

static void expect_defaults(const struct shmd_explanation *said)
{
	ck_assert_ptr_null(said->rule);
	ck_assert_ptr_null(said->file);
	ck_assert_uint_eq(said->line, 0);
	ck_assert(said->may_create && !said->exists && !said->may_read && !said->may_write);
	ck_assert(said->owner == 0 && said->group == 0 && said->mode == (mode_t)-1);
	ck_assert_uint_eq(said->mode_max, 0777);
	ck_assert_uint_eq(said->lifetimes, 7);
	ck_assert_uint_eq(said->linger_max_ms, UINT64_MAX);
	ck_assert_uint_eq(said->size_max, UINT64_MAX);
	ck_assert_uint_eq(said->segments_max, UINT64_MAX);
	ck_assert_uint_eq(said->bytes_max, UINT64_MAX);
	ck_assert_uint_eq(said->segments_used, UINT64_MAX);
	ck_assert_uint_eq(said->bytes_used, UINT64_MAX);
}

static void expect_all_options(const struct shmd_explanation *said)
{
	ck_assert_str_eq(said->rule, "all");
	ck_assert_str_eq(said->file, "conf");
	ck_assert_uint_eq(said->line, 3);
	ck_assert(said->may_create && said->exists && said->may_read && said->may_write);
	ck_assert(said->owner == OWNER && said->group == GROUP && said->mode == 0640);
	ck_assert_uint_eq(said->mode_max, 0660);
	ck_assert_uint_eq(said->lifetimes,
			  1u << SHMD_LIFETIME_CLIENTS | 1u << SHMD_LIFETIME_PERSISTENT);
	ck_assert_uint_eq(said->linger_max_ms, 1500);
	ck_assert_uint_eq(said->size_max, 4096);
	ck_assert_uint_eq(said->segments_max, 3);
	ck_assert_uint_eq(said->bytes_max, 8192);
	ck_assert_uint_eq(said->segments_used, 1);
	ck_assert_uint_eq(said->bytes_used, 100);
	ck_assert_str_eq(said->read_reason, "uid 0 is privileged");
}

START_TEST(all_of_a_rule_is_explained)
{
	struct shmd_explanation *said;

	use_config("[rule other]\nnames = b\n[rule all]\nnames = a\nowner = 64504\ngroup = 64510\n"
		   "mode = 0640\nmode_max = 0660\nlifetimes = persistent clients\n"
		   "linger_max = 1.5s\nsize_max = 4K\nsegments_max = 3\nbytes_max = 8K\n");
	struct shmd_segment *segment = create_or_fail(connection, "a", 100, SHMD_LIFETIME_CLIENTS);
	ck_assert_int_eq(shmd_explain(connection, "a", SHMD_OWN_UID, &said), 0);
	expect_all_options(said);
	ck_assert_ptr_null(shmd_explanation_free(said));
	ck_assert_int_eq(shmd_explain(connection, "c", SHMD_OWN_UID, &said), 0);
	expect_defaults(said);
	shmd_explanation_free(said);
	/* Whom it was given to, and somebody else. */
	ck_assert_int_eq(shmd_explain(connection, "a", OWNER, &said), 0);
	ck_assert_str_eq(said->write_reason, "uid 64504 owns it, and its mode is 0640");
	shmd_explanation_free(said);
	ck_assert_int_eq(shmd_explain(connection, "a", BOB, &said), 0);
	ck_assert(said->exists && !said->may_read && !said->may_write && said->may_create);
	shmd_explanation_free(said);
	ck_assert_int_eq(shmd_explain(connection, NULL, SHMD_OWN_UID, &said), -EINVAL);
	ck_assert_int_eq(shmd_explain(connection, "..", SHMD_OWN_UID, &said), -EINVAL);
	ck_assert_ptr_null(shmd_explanation_free(NULL));
	shmd_detach(segment);
}
END_TEST

/* --- reload ----------------------------------------------------------------------------------- */

static void keeper(struct actor *self, void *context)
{
	struct shmd_segment *segment;
	const char *const *names = context;

	become(ALICE, 64520, 0);
	struct shmd *mine = connect_or_fail();
	for (; *names; names++) {
		int r = create(mine, &(struct wish){.name = *names}, false, &segment);
		ck_assert_msg(r == 0, "%s: %d %s", *names, r, shmd_error_message());
	}
	actor_tell(self);
	actor_await(self);
}

START_TEST(a_reload_is_for_what_comes)
{
	static const char *const two[] = {"a1", "a2", NULL};
	const struct wish third = {.name = "a3"}, other = {.name = "b"};
	struct actor keeping;
	struct shmd_details *details;

	use_config("[rule r]\nnames = a*\nsegments_max = 2\n");
	actor_start(&keeping, keeper, (void *)two);
	actor_await(&keeping);
	/* What was counted is counted, although the rule stands elsewhere now and says more. */
	use_config("[rule q]\nnames = q\n[rule r]\nnames = a*\nsegments_max = 2\nmode = 0644\n");
	struct trial trial = {third, false, -EDQUOT,
			      "rule 'r' (conf line 3) has reached segments_max=2: 2 in use"};
	struct actor user;
	actor_start(&user, try_as_user, &trial);
	actor_finish(&user);
	ck_assert_int_eq(shmd_show(connection, "a1", &details), 0);
	ck_assert_uint_eq(details->segment->mode, 0600);
	shmd_details_free(details);
	/* One with a mistake changes nothing. */
	write_config("[rule r]\nnames = a*\n[rule s]\ncreate = nosuch\n");
	AWAIT(daemon_logged(&daemon_, "conf:4: create = nosuch: there is no user 'nosuch'"));
	actor_start(&user, try_as_user, &trial);
	actor_finish(&user);
	/* Without the rule, and then forbidden: who has it keeps it. */
	use_config("");
	trial.result = 0;
	actor_start(&user, try_as_user, &trial);
	actor_finish(&user);
	use_config("[rule none]\ncreate = nobody\n");
	trial = (struct trial){other, false, -EACCES, "rule 'none' (conf line 1) lets nobody"};
	actor_start(&user, try_as_user, &trial);
	actor_finish(&user);
	ck_assert_uint_eq(clients_of(connection, "a1"), 1);
	actor_tell(&keeping);
	actor_finish(&keeping);
	await_segments(connection, 0);
}
END_TEST

/* --- administrators --------------------------------------------------------------------------- */

struct onlooker {
	bool is_admin;
	pid_t owner;
};

static int count_segments(const struct shmd_segment_info *info, void *context)
{
	(void)info;
	++*(int *)context;
	return 0;
}

static int count_clients(const struct shmd_client_info *info, void *context)
{
	*(int *)context += info->uid == ALICE && info->pid > 0 && info->command[0];
	return 0;
}

static void on_event(const struct shmd_event *event, void *context)
{
	pid_t *pid = context;

	*pid = event->pid;
}

/* Looks at Alice's "secret", which its mode keeps for her, and at what she does. */
static void look(struct shmd *mine, const struct onlooker *as, pid_t *actor)
{
	struct shmd_details *details;
	struct shmd_segment *segment;
	int segments = 0, clients = 0;

	ck_assert_int_gt(shmd_subscribe(mine, NULL, on_event, actor), 0);
	ck_assert_int_eq(shmd_list(mine, NULL, count_segments, &segments), 0);
	ck_assert_int_eq(segments, as->is_admin ? 2 : 0);
	ck_assert_int_eq(shmd_clients(mine, count_clients, &clients), 0);
	ck_assert_int_eq(clients, as->is_admin ? 1 : 0);
	ck_assert_int_eq(shmd_show(mine, "secret", &details), as->is_admin ? 0 : -EACCES);
	if (as->is_admin) {
		ck_assert_uint_eq(details->n_attachments, 1);
		ck_assert_int_eq(details->attachments[0]->pid, as->owner);
		ck_assert_str_ne(details->attachments[0]->command, "");
		shmd_details_free(details);
	}
	/* To see is not to read. */
	ck_assert_int_eq(shmd_attach(mine, "secret", SHMD_READ_ONLY, &segment), -EACCES);
}

static void ask_about_others(struct shmd *mine, bool is_admin)
{
	struct shmd_explanation *explanation;
	int r = shmd_explain(mine, "64502.x", ALICE, &explanation);

	ck_assert_int_eq(r, is_admin ? 0 : -EACCES);
	if (r < 0) {
		ck_assert_ptr_nonnull(strstr(shmd_error_message(), "uid 64502 may do is told to"));
		return;
	}
	ck_assert_uint_eq(explanation->uid, ALICE);
	ck_assert_int_eq(explanation->may_create, 1);
	/* In no database: nobody knows its first group. */
	ck_assert_uint_eq(explanation->group, (gid_t)-1);
	shmd_explanation_free(explanation);
	ck_assert_int_eq(shmd_explain(mine, "64502.x", SHMD_OWN_UID, &explanation), 0);
	ck_assert_int_eq(explanation->may_create, 0);
	shmd_explanation_free(explanation);
	/* root, whose groups are known. */
	ck_assert_int_eq(shmd_explain(mine, "x", 0, &explanation), 0);
	ck_assert_uint_eq(explanation->group, 0);
	shmd_explanation_free(explanation);
}

static void onlooker(struct actor *self, void *context)
{
	const struct onlooker *as = context;
	struct shmd_segment *segment;
	pid_t seen = -1;

	become(BOB, 64521, ADMIN_GID);
	struct shmd *mine = connect_or_fail();
	look(mine, as, &seen);
	ask_about_others(mine, as->is_admin);
	ck_assert_int_eq(create(mine, &(struct wish){.name = "64502.y"}, false, &segment), -EACCES);
	/* The event was put before the reply to what follows. */
	actor_tell(self);
	actor_await(self);
	if (as->is_admin)
		AWAIT(shmd_dispatch(mine) >= 0 && seen == as->owner);
	ck_assert_int_ge(shmd_dispatch(mine), 0);
	ck_assert_int_eq(seen, as->is_admin ? as->owner : seen == getpid() ? getpid() : -1);
	ck_assert_int_eq(shmd_unlink(mine, "secret"), as->is_admin ? 0 : -EACCES);
}

static void secretive(struct actor *self, void *context)
{
	struct shmd_segment *segment;

	(void)context;
	become(ALICE, 64520, 0);
	struct shmd *mine = connect_or_fail();
	ck_assert_int_eq(create(mine, &(struct wish){.name = "secret"}, false, &segment), 0);
	ck_assert_int_eq(shmd_create(mine, NULL, 1, NULL, &segment), 0);
	actor_tell(self);
	actor_await(self);
	ck_assert_int_eq(shmd_create(mine, "another", 1, NULL, &segment), 0);
	actor_tell(self);
	actor_await(self);
}

/* Of the same group each time; what it is for changes under the feet of those who are connected. */
START_TEST(administrators_see_all_and_may_unlink)
{
	struct onlooker as = {.is_admin = _i};
	struct actor hiding, looking;

	use_config(_i ? "[daemon]\nadministrators = 64511\n" : "");
	actor_start(&hiding, secretive, NULL);
	actor_await(&hiding);
	as.owner = hiding.pid;
	actor_start(&looking, onlooker, &as);
	actor_await(&looking);
	actor_tell(&hiding);
	actor_await(&hiding);
	actor_tell(&looking);
	actor_finish(&looking);
	ck_assert(segment_exists(connection, "secret") == !_i);
	actor_tell(&hiding);
	actor_finish(&hiding);
	await_segments(connection, 0);
}
END_TEST

static void lasting(struct actor *self, void *context)
{
	int segments = 0;

	(void)context;
	become(BOB, 64521, ADMIN_GID);
	struct shmd *mine = connect_or_fail();
	for (int expected = 1; expected >= 0; expected--) {
		segments = 0;
		ck_assert_int_eq(shmd_list(mine, NULL, count_segments, &segments), 0);
		ck_assert_int_eq(segments, expected);
		actor_tell(self);
		actor_await(self);
	}
}

START_TEST(who_is_one_is_asked_each_time)
{
	struct shmd_segment *segment = create_or_fail(connection, "roots", 1,
						      SHMD_LIFETIME_CLIENTS);
	struct actor looking;

	use_config("[daemon]\nadministrators = 64511\n");
	actor_start(&looking, lasting, NULL);
	actor_await(&looking);
	use_config("");
	actor_tell(&looking);
	actor_await(&looking);
	actor_tell(&looking);
	actor_finish(&looking);
	shmd_detach(segment);
}
END_TEST

/* --- at start ---------------------------------------------------------------------------------- */

START_TEST(the_policy_holds_from_the_start)
{
	const struct wish wish = {.name = "a"};

	try_wish(&wish, -EACCES, "rule 'none' (conf line 1) lets nobody create 'a'");
}
END_TEST

static void start_with_policy(void)
{
	daemon_start_as(&daemon_, "[rule none]\ncreate = nobody\n", DAEMON_UID);
	connection = connect_or_fail();
}

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("policy");
	TCase *tests = tcase_create("policy");
	TCase *start = tcase_create("start");

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root, to become several users");
		return 0;
	}
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, each_option_allows_and_denies, 0, N_CASES);
	tcase_add_loop_test(tests, owner_group_and_mode_are_forced, 0, 2);
	tcase_add_test(tests, all_of_a_rule_is_explained);
	tcase_add_test(tests, a_reload_is_for_what_comes);
	tcase_add_loop_test(tests, administrators_see_all_and_may_unlink, 0, 2);
	tcase_add_test(tests, who_is_one_is_asked_each_time);
	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(start, start_with_policy, tear_down);
	tcase_add_test(start, the_policy_holds_from_the_start);
	suite_add_tcase(suite, start);
	return run_suite(suite);
}

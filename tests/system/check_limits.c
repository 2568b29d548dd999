/* SPDX-License-Identifier: MIT */
/*
 * Limits, and what the log says of those who meet them, through the real daemon: limits of some users,
 * what is kept for who has little, and how much somebody can have logged. Needs root, to become several
 * users.
 */
#include "harness.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Users of nobody's, who need no entry in /etc/passwd. */
#define DAEMON_UID 64501
#define ALICE      64502
#define BOB        64503
#define CAROL      64504
#define GROUP      64510

#define SEGMENTS_MAX 64

static struct test_daemon daemon_;
static struct shmd *connection; /* root's */

static void set_up(void)
{
	/* What is left out of the log is none of the level debug. */
	daemon_log_level = "info";
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	connection = connect_or_fail();
}

static void tear_down(void)
{
	shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static struct shmd_limit limit_of(struct shmd *mine, const char *name)
{
	struct shmd_limit limit = {0};
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(mine, &status), 0);
	for (size_t i = 0; i < status->n_limits; i++)
		if (strcmp(status->limits[i]->name, name) == 0)
			limit = *status->limits[i];
	shmd_status_free(status);
	return limit;
}

/* Has the daemon read it, which a limit of another value each time tells. */
static void use_config(const char *text)
{
	static unsigned generation = 100000;
	FILE *file = fopen(daemon_.config, "we");

	ck_assert_ptr_nonnull(file);
	fprintf(file, "%s\n[limits]\nattachments = %u\n", text, ++generation);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
	AWAIT(limit_of(connection, "attachments").value == generation);
}

static void become(uid_t uid, gid_t extra)
{
	ck_assert_int_eq(setgroups(extra ? 1 : 0, &extra), 0);
	ck_assert_int_eq(setresgid(64520, 64520, 64520), 0);
	ck_assert_int_eq(setresuid(uid, uid, uid), 0);
}

/* Segments that somebody holds. */
struct hoard {
	struct shmd *mine;
	struct shmd_segment *segments[SEGMENTS_MAX];
	unsigned n;
};

/* 0, or the refusal. */
static int take(struct hoard *hoard, unsigned flags)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	ck_assert_uint_lt(hoard->n, SEGMENTS_MAX);
	options.flags = flags;
	int r = shmd_create(hoard->mine, NULL, 4096, &options, &hoard->segments[hoard->n]);
	hoard->n += r == 0;
	return r;
}

static void take_all(struct hoard *hoard)
{
	int r;

	while ((r = take(hoard, 0)) == 0)
		;
	ck_assert_int_eq(r, -EDQUOT);
}

static void give_back(struct hoard *hoard, unsigned n)
{
	while (n-- > 0)
		shmd_detach(hoard->segments[--hoard->n]);
	AWAIT(limit_of(hoard->mine, "segments_per_user").use == hoard->n);
}

static void expect_message(const char *part)
{
	ck_assert_msg(strstr(shmd_error_message(), part), "'%s' does not say '%s'",
		      shmd_error_message(), part);
}

/* --- limits of some users --------------------------------------------------------------------- */

static const char sections[] = "[limits]\n"
			       "segments_per_user = 3\n"
			       "semaphores_per_user = 20\n"
			       "[limits alice]\n"
			       "users = 64502\n"
			       "segments_per_user = 5\n"
			       "[limits group]\n"
			       "users = 1 @64510\n"
			       "segments_per_user = 1\n"
			       "[limits carol]\n"
			       "users = 64504\n"
			       "semaphores_per_user = 2\n"
			       "[limits rest]\n"
			       "users = 64504 64502\n"
			       "segments_per_user = 7\n";

static const struct someone {
	uid_t uid;
	gid_t extra;
	unsigned segments; /* that they get */
	unsigned limit;    /* that status tells them */
	const char *says;
} people[] = {
	{BOB, 0, 3, 3, "the limit segments_per_user=3 is reached: 3 in use, 1 more asked for"},
	{ALICE, 0, 5, 5, "the limit segments_per_user=5 of [limits alice] is reached: 5 in use, 1"},
	{BOB, GROUP, 1, 1, "the limit segments_per_user=1 of [limits group] is reached: 1 in use"},
	{BOB, GROUP + 1, 3, 3, "the limit segments_per_user=3 is reached"},
	/* The first section that lists somebody is theirs. */
	{ALICE, GROUP, 5, 5, "segments_per_user=5 of [limits alice]"},
	{CAROL, GROUP, 1, 1, "segments_per_user=1 of [limits group]"},
	/* Also for what it does not say. */
	{CAROL, 0, 2, 3, "the limit semaphores_per_user=2 of [limits carol] is reached: 2 in use"},
	/* Privileges are none from limits. */
	{0, 0, 3, 3, "the limit segments_per_user=3 is reached: 3 in use"},
};
#define N_PEOPLE ((int)(sizeof(people) / sizeof(people[0])))

static void take_what_one_gets(struct actor *self, void *context)
{
	const struct someone *someone = context;
	struct hoard hoard = {0};

	(void)self;
	if (someone->uid)
		become(someone->uid, someone->extra);
	hoard.mine = connect_or_fail();
	take_all(&hoard);
	expect_message(someone->says);
	ck_assert_uint_eq(hoard.n, someone->segments);
	struct shmd_limit limit = limit_of(hoard.mine, "segments_per_user");
	ck_assert_uint_eq(limit.value, someone->limit);
	ck_assert_uint_eq(limit.use, someone->segments);
}

START_TEST(the_first_section_for_a_user_decides)
{
	struct actor actor;

	use_config(sections);
	actor_start(&actor, take_what_one_gets, (void *)&people[_i]);
	actor_finish(&actor);
}
END_TEST

static void meet_reloads(struct actor *self, void *context)
{
	struct hoard hoard = {0};
	static const struct {
		unsigned n;
		const char *says;
	} steps[] = {
		{3, "the limit segments_per_user=3 is reached"},
		{5, "segments_per_user=5 of [limits alice] is reached: 5 in use"},
		/* What there is stays. */
		{5, "segments_per_user=1 of [limits group] is reached: 5 in use"},
		{6, "segments_per_user=6 of [limits alice] is reached: 6 in use"},
		{6, "the limit segments_per_user=3 is reached: 6 in use"},
	};

	(void)context;
	become(ALICE, GROUP);
	hoard.mine = connect_or_fail();
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		take_all(&hoard);
		ck_assert_uint_eq(hoard.n, steps[i].n);
		expect_message(steps[i].says);
		ck_assert_uint_eq(limit_of(hoard.mine, "segments_per_user").use, steps[i].n);
		actor_tell(self);
		actor_await(self);
	}
}

START_TEST(a_reload_is_for_what_comes)
{
	static const char *const configs[] = {
		"[limits]\nsegments_per_user = 3\n[limits alice]\nusers = 64502\n"
		"segments_per_user = 5\n[limits group]\nusers = @64510\nsegments_per_user = 1\n",
		"[limits]\nsegments_per_user = 3\n[limits group]\nusers = @64510\n"
		"segments_per_user = 1\n[limits alice]\nusers = 64502\nsegments_per_user = 5\n",
		"[limits]\nsegments_per_user = 3\n[limits alice]\nusers = 64502\n"
		"segments_per_user = 6\n",
		"[limits]\nsegments_per_user = 3\n",
	};
	struct actor actor;

	use_config("[limits]\nsegments_per_user = 3\n");
	actor_start(&actor, meet_reloads, NULL);
	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
		actor_await(&actor);
		use_config(configs[i]);
		actor_tell(&actor);
	}
	actor_await(&actor);
	actor_tell(&actor);
	actor_finish(&actor);
}
END_TEST

static void run_out_of_semaphores(struct actor *self, void *context)
{
	struct hoard hoard = {0};

	(void)self, (void)context;
	become(ALICE, 0);
	hoard.mine = connect_or_fail();
	take_all(&hoard);
	expect_message("the limit semaphores_per_user=2 is reached: 2 in use, 1 more asked for");
	ck_assert_int_eq(take(&hoard, SHMD_NO_SEMAPHORE), 0);
	ck_assert_uint_eq(limit_of(hoard.mine, "semaphores_per_user").use, 2);
	ck_assert_uint_eq(limit_of(hoard.mine, "semaphores").use, 2);
	/* It comes back with the segment, and that is there for none. */
	shmd_detach(hoard.segments[0]);
	AWAIT(limit_of(hoard.mine, "semaphores_per_user").use == 1);
	ck_assert_uint_eq(limit_of(hoard.mine, "segments_per_user").use, 2);
}

START_TEST(semaphores_are_limited_for_themselves)
{
	struct actor actor;

	use_config("[limits]\nsemaphores_per_user = 2\n");
	actor_start(&actor, run_out_of_semaphores, NULL);
	actor_finish(&actor);
}
END_TEST

/* A wrong section is no half of a configuration. */
START_TEST(a_wrong_section_changes_nothing)
{
	FILE *file;

	use_config(sections);
	file = fopen(daemon_.config, "we");
	ck_assert_ptr_nonnull(file);
	fputs("[limits]\nsegments_per_user = 9\n[limits alice]\nsegments_per_user = 8\n", file);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
	AWAIT(daemon_logged(&daemon_, "conf:3: [limits alice] has no 'users'"));
	ck_assert_uint_eq(limit_of(connection, "segments_per_user").value, 3);
}
END_TEST

/* --- the last of a total ---------------------------------------------------------------------- */

static void hold_until_told(struct actor *self, void *context)
{
	const uid_t *uid = context;
	struct hoard hoard = {0};

	become(*uid, 0);
	hoard.mine = connect_or_fail();
	take_all(&hoard);
	if (*uid == ALICE) {
		ck_assert_uint_eq(hoard.n, 38);
		expect_message("the limit segments=40 is nearly reached: 38 in use, 1 more asked "
			       "for; the rest is kept for users who use less");
	} else {
		ck_assert_uint_eq(hoard.n, 1);
	}
	actor_tell(self);
	actor_await(self);
}

START_TEST(a_total_has_something_for_another_user)
{
	uid_t alice = ALICE, bob = BOB;
	struct actor greedy, modest;

	use_config("[limits]\nsegments = 40\nsegments_per_user = 40\n");
	actor_start(&greedy, hold_until_told, &alice);
	actor_await(&greedy);
	actor_start(&modest, hold_until_told, &bob);
	actor_await(&modest);
	ck_assert_uint_eq(status_segments(connection), 39);
	actor_kill(&greedy);
	actor_kill(&modest);
	await_segments(connection, 0);
}
END_TEST

/* --- the log ---------------------------------------------------------------------------------- */

static unsigned count_logged(const char *text)
{
	char line[2048];
	unsigned n = 0;
	FILE *log = fopen(daemon_.log, "re");

	ck_assert_ptr_nonnull(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, text) != NULL;
	fclose(log);
	return n;
}

#define BREACH \
	"notice: uid 64502 was refused more: the limit segments_per_user=16 is reached: 16 in use"

static void breach_again_and_again(struct actor *self, void *context)
{
	struct hoard hoard = {0};
	const unsigned *expected = context;

	(void)self;
	become(ALICE, 0);
	hoard.mine = connect_or_fail();
	for (int i = 0; i < 10; i++)
		take_all(&hoard);
	ck_assert_uint_eq(count_logged(BREACH), *expected + 1);
	/* Just below the limit, and at it again. */
	for (int i = 0; i < 3; i++) {
		give_back(&hoard, 1);
		take_all(&hoard);
	}
	ck_assert_uint_eq(count_logged(BREACH), *expected + 1);
	/* Well below it. */
	give_back(&hoard, 2);
	take_all(&hoard);
	ck_assert_uint_eq(count_logged(BREACH), *expected + 2);
}

START_TEST(a_breach_is_logged_once_until_it_ends)
{
	struct actor actor;

	use_config("[limits]\nsegments_per_user = 16\n");
	/* And by a user who was forgotten in between. */
	for (unsigned logged = 0; logged <= 2; logged += 2) {
		actor_start(&actor, breach_again_and_again, &logged);
		actor_finish(&actor);
		await_segments(connection, 0);
	}
}
END_TEST

static void connect_in_vain(struct actor *self, void *context)
{
	struct shmd *mine, *other;

	(void)self, (void)context;
	become(ALICE, 0);
	mine = connect_or_fail();
	for (int i = 0; i < 30; i++)
		ck_assert_int_eq(shmd_connect(&other, NULL), -EDQUOT);
	expect_message("the limit clients_per_user=1 of [limits alice] is reached: 1 in use");
	shmd_disconnect(mine);
}

/* Connections that are refused by a limit are no news each. */
START_TEST(refused_connections_are_one_breach)
{
	struct actor actor;

	use_config("[limits alice]\nusers = 64502\nclients_per_user = 1\n");
	actor_start(&actor, connect_in_vain, NULL);
	actor_finish(&actor);
	ck_assert_uint_eq(count_logged("clients_per_user=1 of [limits alice] is reached"), 1);
}
END_TEST

/* Sends what is no message, and waits until the daemon has hung up. */
static void send_nonsense(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char answer[1024];
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	strcpy(address.sun_path, daemon_.socket);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(send(fd, "abc", 3, MSG_NOSIGNAL), 3);
	while (recv(fd, answer, sizeof(answer), 0) > 0)
		;
	close(fd);
}

static void flood(struct actor *self, void *context)
{
	(void)self, (void)context;
	become(ALICE, 0);
	for (int i = 0; i < 500; i++)
		send_nonsense();
}

static void send_one(struct actor *self, void *context)
{
	(void)self, (void)context;
	become(BOB, 0);
	send_nonsense();
}

static void flood_the_log(void)
{
	struct actor actor;

	actor_start(&actor, flood, NULL);
	actor_finish(&actor);
	actor_start(&actor, send_one, NULL);
	actor_finish(&actor);
	/* It is logged before the connection ends. */
	ck_assert_uint_eq(count_logged("uid 64502) disconnected: malformed message"), 20);
	ck_assert_uint_eq(count_logged("uid 64503) disconnected: malformed message"), 1);
	ck_assert_uint_eq(count_logged("left out"), 0);
}

/* The daemon says so by itself: nobody else has a line written. */
START_TEST(a_flood_is_cut_short_and_counted)
{
	double began = now_ms();

	flood_the_log();
	while (count_logged("left out") == 0) {
		ck_assert(now_ms() < began + 20000);
		usleep(10000);
	}
	ck_assert_uint_eq(count_logged("notice: 480 more lines about uid 64502 were left out"), 1);
	ck_assert(now_ms() >= began + 9000);
	/* It has gone to sleep again. */
	ck_assert_uint_eq(count_logged("left out"), 1);
}
END_TEST

START_TEST(the_end_tells_what_was_left_out)
{
	flood_the_log();
	shmd_disconnect(connection);
	ck_assert_int_eq(kill(daemon_.pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(daemon_.pid, NULL, 0), daemon_.pid);
	ck_assert_uint_eq(count_logged("notice: 480 more lines about uid 64502 were left out"), 1);
	daemon_start_again(&daemon_);
	connection = connect_or_fail();
}
END_TEST

static void leave_many(struct actor *self, void *context)
{
	struct hoard hoard = {0};

	(void)self, (void)context;
	become(ALICE, 0);
	hoard.mine = connect_or_fail();
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(take(&hoard, SHMD_NO_SEMAPHORE), 0);
}

/* Many segments that end together are counted, and what is more important is told all the same. */
START_TEST(many_reaped_ones_are_counted)
{
	struct actor actor;

	actor_start(&actor, leave_many, NULL);
	actor_finish(&actor);
	await_segments(connection, 0);
	ck_assert_uint_eq(count_logged("reaped segment"), 20);
	actor_start(&actor, flood, NULL);
	actor_finish(&actor);
	ck_assert_uint_eq(count_logged("uid 64502) disconnected"), 20);
}
END_TEST

static void name_it(struct actor *self, void *context)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	(void)self;
	become(ALICE, 0);
	ck_assert_int_eq(shmd_create(connect_or_fail(), context, 1, &options, &segment), 0);
}

START_TEST(names_stay_inside_of_their_lines)
{
	struct actor actor;

	actor_start(&actor, name_it, (char[]){"x' (id 1) of uid 0, \xe2\x80\xaetxt"});
	actor_finish(&actor);
	await_segments(connection, 0);
	ck_assert_uint_eq(count_logged("reaped segment 'x\\' (id 1) of uid 0, ???txt' (id "), 1);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("limits");
	TCase *tests = tcase_create("limits");

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root, to become several users");
		return 0;
	}
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, the_first_section_for_a_user_decides, 0, N_PEOPLE);
	tcase_add_test(tests, a_reload_is_for_what_comes);
	tcase_add_test(tests, semaphores_are_limited_for_themselves);
	tcase_add_test(tests, a_wrong_section_changes_nothing);
	tcase_add_test(tests, a_total_has_something_for_another_user);
	tcase_add_test(tests, a_breach_is_logged_once_until_it_ends);
	tcase_add_test(tests, refused_connections_are_one_breach);
	tcase_add_test(tests, a_flood_is_cut_short_and_counted);
	tcase_add_test(tests, the_end_tells_what_was_left_out);
	tcase_add_test(tests, many_reaped_ones_are_counted);
	tcase_add_test(tests, names_stay_inside_of_their_lines);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

/* SPDX-License-Identifier: MIT */
/*
 * libshmd-preload.so under programs that know nothing of it (preload_client.h): that they cannot tell it from
 * the C library, and what it does beyond.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER_UID   64501
#define OUTPUT_MAX (1 << 18)

static struct test_daemon daemon_;
static struct shmd *connection;

static char shim[512], client[512]; /* paths */

/* --- running programs ------------------------------------------------------------------------- */

static void find_programs(void)
{
	const char *folder = getenv("top_builddir");

	ck_assert_ptr_nonnull(folder);
	snprintf(shim, sizeof(shim), "%s/.libs/libshmd-preload.so", folder);
	snprintf(client, sizeof(client), "%s/tests/system/preload_client", folder);
}

static void set_up_as(uid_t uid)
{
	find_programs();
	daemon_start_as(&daemon_, NULL, uid);
	connection = connect_or_fail();
}

static void set_up(void)
{
	set_up_as(0);
}

static void tear_down(void)
{
	await_segments(connection, 0);
	connection = shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

/* What is behind the act, up to NULL: variables with their values. Where the sanitizers' library is not the
 * first to be loaded, they would complain. */
struct program {
	const char *act;
	bool is_native;
	uid_t uid;
	const char *variables[4];
};

static void become(uid_t uid)
{
	if (uid && (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
		_exit(126);
}

static void execute(const struct program *program)
{
	for (size_t i = 0; program->variables[i]; i++)
		putenv((char *)program->variables[i]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	become(program->uid);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!program->is_native)
		setenv("LD_PRELOAD", shim, 1);
	execl(client, client, program->act, NULL);
	_exit(127);
}

static void run_actor(struct actor *self, void *context)
{
	dup2(self->from, STDIN_FILENO);
	dup2(self->to, STDOUT_FILENO);
	execute(context);
}

static void start(struct actor *actor, const struct program *program)
{
	actor_start(actor, run_actor, (void *)program);
}

static void run(const struct program *program)
{
	struct actor actor;

	start(&actor, program);
	actor_finish(&actor);
}

#define PROGRAM(...) (&(const struct program){__VA_ARGS__})
#define RUN(...)     run(PROGRAM(__VA_ARGS__))
#define RECOVER      "SHMD_PRELOAD_RECOVER=1"
#define REQUIRE      "SHMD_PRELOAD_REQUIRE=1"
#define PERSISTENT   "SHMD_PRELOAD_LIFETIME=persistent"

/* Returns what it wrote to that descriptor, which the caller frees. */
static char *output_of(const struct program *program, int from)
{
	char *text = calloc(1, OUTPUT_MAX);
	size_t size = 0;
	int ends[2], status;
	ssize_t n;

	ck_assert(text && pipe(ends) == 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(ends[1], from);
		close(ends[0]);
		close(ends[1]);
		execute(program);
	}
	close(ends[1]);
	while ((n = read(ends[0], text + size, OUTPUT_MAX - 1 - size)) > 0)
		size += (size_t)n;
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s ended with 0x%x",
		      program->act, status);
	return text;
}

static uint64_t counter(const char *name)
{
	struct shmd_status *status;
	uint64_t value = 0;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	for (size_t i = 0; i < status->n_counters; i++)
		if (strcmp(status->counters[i]->name, name) == 0)
			value = status->counters[i]->value;
	shmd_status_free(status);
	return value;
}

static uint64_t clients(void)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	uint64_t n = status->clients;
	shmd_status_free(status);
	return n;
}

/* --- as POSIX says ---------------------------------------------------------------------------- */

/* Fails with the first line that differs. */
static void compare(char *expected, char *got)
{
	char *a, *b;

	for (unsigned line = 1;; line++) {
		a = strsep(&expected, "\n");
		b = strsep(&got, "\n");
		if (!a || !b)
			break;
		ck_assert_msg(strcmp(a, b) == 0, "line %u is\n  %s\nand natively\n  %s", line, b,
			      a);
	}
	ck_assert(!a && !b);
}

static void compare_tables(uid_t uid)
{
	char *expected = output_of(PROGRAM("table", true, uid), STDOUT_FILENO);

	ck_assert_uint_gt(strlen(expected), 1000);
	for (int i = 0; i < 2; i++) {
		uint64_t before = counter("opened");
		char *got = output_of(PROGRAM("table", false, uid,
					      {PERSISTENT, REQUIRE, i ? RECOVER : NULL}),
				      STDOUT_FILENO);
		ck_assert_uint_gt(counter("opened"), before + 50);
		char *copy = strdup(expected);
		compare(copy, got);
		free(copy);
		free(got);
	}
	free(expected);
}

START_TEST(test_root_sees_no_difference)
{
	compare_tables(0);
}
END_TEST

/* Others cannot reach the build folder. */
static void copy_programs(void)
{
	char command[2048];

	snprintf(command, sizeof(command), "cp '%s' %s/shim.so && cp '%s' %s/client", shim,
		 daemon_.folder, client, daemon_.folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(shim, sizeof(shim), "%s/shim.so", daemon_.folder);
	snprintf(client, sizeof(client), "%s/client", daemon_.folder);
}

static void remove_copies(void)
{
	unlink(shim);
	unlink(client);
}

START_TEST(test_a_user_sees_no_difference)
{
	set_up_as(USER_UID);
	copy_programs();
	compare_tables(USER_UID);
	remove_copies();
	tear_down();
}
END_TEST

/* Acts that say themselves whether they went well, as they do with and without recovery. */
static const char *const plain_acts[] = {"few-descriptors",   "close-everything",
					 "take-its-place",    "take-its-place-and-close",
					 "find-native",       "descend",
					 "go-brokered",       "ping-pong",
					 "open-twice",        "open-many",
					 "native-semaphores", "foreign-post",
					 "inherited",         "cancelled",
					 "handlers",          "storm",
					 "inherit",           "inherit-from-grandchild",
					 "disinherit",        "see-through-vfork",
					 "end-in-handlers",   "end-without-socket",
					 "leave-namespace",   "outlive-first-thread"};

START_TEST(test_act)
{
	RUN(plain_acts[_i], .variables = {REQUIRE});
	RUN(plain_acts[_i], .variables = {REQUIRE, RECOVER});
}
END_TEST

START_TEST(test_two_programs_meet)
{
	struct actor writer;

	start(&writer, PROGRAM("write-there", .variables = {REQUIRE}));
	actor_await(&writer);
	RUN("read-there", .variables = {REQUIRE});
	actor_tell(&writer);
	actor_finish(&writer);
}
END_TEST

/* --- lifetimes -------------------------------------------------------------------------------- */

START_TEST(test_goes_with_killed_user)
{
	struct actor actor;

	start(&actor, PROGRAM("hold"));
	actor_await(&actor);
	ck_assert_uint_eq(status_segments(connection), 1);
	actor_kill(&actor);
	await_segments(connection, 0);

	start(&actor, PROGRAM("hold-semaphore"));
	actor_await(&actor);
	ck_assert_uint_eq(status_segments(connection), 1);
	actor_kill(&actor);
	await_segments(connection, 0);
}
END_TEST

/* Whether a segment that nobody has any more would have gone by now: a later one has. */
static void await_reaping(void)
{
	struct actor actor;
	uint64_t before = status_segments(connection);

	start(&actor, PROGRAM("hold"));
	actor_await(&actor);
	ck_assert_uint_eq(status_segments(connection), before + 1);
	actor_kill(&actor);
	await_segments(connection, before);
}

/* The child never asked the daemon for anything. */
START_TEST(test_stays_with_inherited_mapping)
{
	struct actor actor;

	start(&actor, PROGRAM("leave-to-child"));
	actor_await(&actor);
	ck_assert_int_eq(waitpid(actor.pid, NULL, 0), actor.pid);
	AWAIT(clients() == 1);
	await_reaping();
	ck_assert_uint_eq(status_segments(connection), 1);
	actor_tell(&actor);
	await_segments(connection, 0);
	close(actor.to);
	close(actor.from);
}
END_TEST

START_TEST(test_linger)
{
	RUN("make-and-leave", .variables = {"SHMD_PRELOAD_LINGER=1h"});
	await_reaping();
	RUN("find-left");
	await_segments(connection, 0);
	RUN("make-and-leave", .variables = {"SHMD_PRELOAD_LINGER=200ms"});
	await_segments(connection, 0);
}
END_TEST

START_TEST(test_persistent)
{
	RUN("make-and-leave", .variables = {PERSISTENT, "SHMD_PRELOAD_LINGER=1ms"});
	await_reaping();
	ck_assert_uint_eq(status_segments(connection), 1);
	RUN("find-left");
	await_segments(connection, 0);
}
END_TEST

/* --- the daemon ------------------------------------------------------------------------------- */

START_TEST(test_restart)
{
	struct actor actor;

	start(&actor, PROGRAM("survive-restart", .variables = {_i ? RECOVER : NULL}));
	actor_await(&actor);
	daemon_kill(&daemon_);
	actor_tell(&actor);
	actor_await(&actor);
	daemon_start_again(&daemon_);
	actor_tell(&actor);
	actor_finish(&actor);
	shmd_disconnect(connection);
	connection = connect_or_fail();
}
END_TEST

START_TEST(test_without_daemon)
{
	find_programs();
	setenv("SHMD_SOCKET", "/nonexistent/shmd-test", 1);
	RUN("go-native");
	RUN("be-refused", .variables = {REQUIRE});
}
END_TEST

START_TEST(test_daemon_of_another_user)
{
	set_up_as(USER_UID);
	RUN("go-native");
	RUN("be-refused", .variables = {REQUIRE});
	ck_assert_uint_eq(counter("opened"), 0);
	tear_down();
}
END_TEST

/* --- the environment -------------------------------------------------------------------------- */

static const struct {
	const char *variable;
	const char *value; /* as it is shown */
	const char *rule;
} bad[] = {
	{"SHMD_PRELOAD_LIFETIME=forever", "'forever'", "'clients' or 'persistent'"},
	{"SHMD_PRELOAD_LINGER=soon", "'soon'", "a duration"},
	{"SHMD_PRELOAD_LINGER=-1s", "'-1s'", "a duration"},
	{"SHMD_PRELOAD_LINGER=50d", "'50d'", "less than 50 days"},
	{"SHMD_PRELOAD_REQUIRE=yes", "'yes'", "0 or 1"},
	{"SHMD_PRELOAD_RECOVER=\033[31m", "'?[31m'", "0 or 1"},
};

START_TEST(test_bad_value)
{
	char name[64] = "";

	sscanf(bad[_i].variable, "%63[^=]", name);
	char *text = output_of(PROGRAM("be-invalid", .variables = {bad[_i].variable}),
			       STDERR_FILENO);
	ck_assert_msg(strstr(text, name) && strstr(text, bad[_i].value) &&
			      strstr(text, bad[_i].rule),
		      "%s", text);
	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	free(text);
}
END_TEST

START_TEST(test_empty_values)
{
	RUN("go-brokered", .variables = {"SHMD_PRELOAD_LIFETIME=", "SHMD_PRELOAD_LINGER=",
					 "SHMD_PRELOAD_RECOVER=0"});
}
END_TEST

/* --- holders that die ------------------------------------------------------------------------- */

static const char *const recovery_acts[] = {"killed-holder", "killed-under-waiter",
					    "used-as-signal", "times", "exclusion"};

START_TEST(test_recovery)
{
	RUN(recovery_acts[_i], .variables = {REQUIRE, RECOVER});
	ck_assert_uint_ge(counter("locks_recovered"), 1);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("preload");
	TCase *alone = tcase_create("alone");
	TCase *tests = tcase_create("with daemon");

	tcase_add_test(alone, test_without_daemon);
	/* It takes root to be two users. */
	if (geteuid() == 0) {
		tcase_add_test(alone, test_daemon_of_another_user);
		tcase_add_test(alone, test_a_user_sees_no_difference);
	}
	tcase_set_timeout(alone, 120);
	suite_add_tcase(suite, alone);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, test_root_sees_no_difference);
	tcase_add_loop_test(tests, test_act, 0, sizeof(plain_acts) / sizeof(plain_acts[0]));
	tcase_add_test(tests, test_two_programs_meet);
	tcase_add_test(tests, test_goes_with_killed_user);
	tcase_add_test(tests, test_stays_with_inherited_mapping);
	tcase_add_test(tests, test_linger);
	tcase_add_test(tests, test_persistent);
	tcase_add_loop_test(tests, test_restart, 0, 2);
	tcase_add_loop_test(tests, test_bad_value, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(tests, test_empty_values);
	tcase_add_loop_test(tests, test_recovery, 0,
			    sizeof(recovery_acts) / sizeof(recovery_acts[0]));
	tcase_set_timeout(tests, 120);
	suite_add_tcase(suite, tests);
	return suite;
}

int main(void)
{
	return run_suite(make_suite());
}

/* SPDX-License-Identifier: MIT */
/* The daemon itself: its start and end, its limits, its configuration, its death. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_daemon daemon_;

static void set_up(void)
{
	daemon_start(&daemon_, NULL);
}

static void tear_down(void)
{
	daemon_stop(&daemon_);
}

/* Runs the daemon with these arguments until it ends by itself, and returns its exit status; what it
 * writes goes to `ret`. */
static int run_shmd(const char *arguments, char *ret, size_t room)
{
	char command[1024];

	snprintf(command, sizeof(command), "exec 2>&1; exec \"$SHMD\" %s", arguments);
	FILE *pipe = popen(command, "r");
	ck_assert_ptr_nonnull(pipe);
	size_t n = fread(ret, 1, room - 1, pipe);
	ret[n] = '\0';
	int status = pclose(pipe);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* --- starting --------------------------------------------------------------------------------- */

START_TEST(command_line)
{
	static const struct {
		const char *arguments;
		int status;
		const char *says;
	} cases[] = {
		{"--version", 0, "shmd "},
		{"--help", 0, "--check-config"},
		{"--nonsense", 2, "--help"},
		{"-l loud", 2, "'loud'"},
		{"argument", 2, "'argument'"},
		{"--ready-fd=x", 2, "'x'"},
		{"-c /nonexistent/file", 78, "/nonexistent/file"},
		{"-c /dev/null --check-config", 0, ""},
		{"-c /dev/null --dump-config", 0, "clients_per_user = "},
		{"-c /dev/null -s /nonexistent/s", 1, "/nonexistent/s"},
		{"-c /dev/null -s /dev/null", 1, "/dev/null"},
	};
	char said[4096];
	int status = run_shmd(cases[_i].arguments, said, sizeof(said));

	ck_assert_msg(status == cases[_i].status, "status %d, says: %s", status, said);
	ck_assert_msg(strstr(said, cases[_i].says) != NULL, "it says: %s", said);
}
END_TEST

START_TEST(a_path_that_is_no_socket_stays)
{
	char path[128], arguments[256], said[1024];
	struct stat st;

	snprintf(path, sizeof(path), "%s/file", daemon_.folder);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(arguments, sizeof(arguments), "-c /dev/null -s %s", path);
	ck_assert_int_eq(run_shmd(arguments, said, sizeof(said)), 1);
	ck_assert_ptr_nonnull(strstr(said, "is no socket"));
	ck_assert_int_eq(stat(path, &st), 0);
	unlink(path);
	strcat(path, ".lock");
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(socket_is_for_everybody)
{
	struct stat st;

	ck_assert_int_eq(stat(daemon_.socket, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0666);
}
END_TEST

START_TEST(a_second_daemon_leaves_the_socket_alone)
{
	char arguments[256], said[1024];
	struct shmd *connection = connect_or_fail();

	snprintf(arguments, sizeof(arguments), "-c /dev/null -s %s", daemon_.socket);
	ck_assert_int_eq(run_shmd(arguments, said, sizeof(said)), 1);
	ck_assert_msg(strstr(said, "already serving") != NULL, "it says: %s", said);
	ck_assert_uint_eq(status_segments(connection), 0);
	shmd_disconnect(connection);
	shmd_disconnect(connect_or_fail());
}
END_TEST

/* A socket that is handed over, as systemd does. */
START_TEST(sockets_from_the_service_manager)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char pid[16], byte;
	int ready[2];

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/handed", daemon_.folder);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 10), 0);
	ck_assert_int_eq(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		if (fd != 3)
			dup2(fd, 3);
		dup2(ready[1], 9);
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		setenv("LISTEN_PID", pid, 1);
		setenv("LISTEN_FDS", "1", 1);
		execl(getenv("SHMD"), "shmd", "-c", "/dev/null", "-l", "error", "--ready-fd=9",
		      NULL);
		_exit(127);
	}
	close(fd);
	close(ready[1]);
	bool is_ready = read(ready[0], &byte, 1) == 1;
	struct shmd *connection;
	int r = is_ready ? shmd_connect(&connection, address.sun_path) : -1;
	if (r == 0)
		shmd_disconnect(connection);
	kill(child, SIGTERM);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
#ifdef HAVE_LIBSYSTEMD
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(status, 0);
	/* It is the manager's, and stays. */
	ck_assert_int_eq(access(address.sun_path, F_OK), 0);
#endif
	unlink(address.sun_path);
}
END_TEST

/* --- dying ------------------------------------------------------------------------------------ */

START_TEST(killed_daemon_is_succeeded)
{
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *segment = create_or_fail(connection, "seg", 4096,
						      SHMD_LIFETIME_PERSISTENT);
	struct test_daemon living, dead;

	/* Another living daemon's things are not touched. */
	daemon_start(&living, NULL);
	struct shmd *other = connect_or_fail();
	struct shmd_segment *theirs = create_or_fail(other, "seg", 1, SHMD_LIFETIME_CLIENTS);
	ck_assert_uint_eq(daemon_files(&living, "sem.shmd-"), 1);

	ck_assert_uint_eq(daemon_files(&daemon_, "sem.shmd-"), 1);
	daemon_kill(&daemon_);
	dead = daemon_;
	ck_assert_uint_eq(daemon_files(&dead, "sem.shmd-"), 1);
	daemon_start_again(&daemon_);
	ck_assert_str_ne(daemon_.instance, dead.instance);
	ck_assert_uint_eq(daemon_files(&dead, ""), 0);
	ck_assert_uint_eq(daemon_files(&living, "sem.shmd-"), 1);
	ck_assert_uint_eq(daemon_files(&living, "shmd-"), 1);

	strcpy(shmd_segment_data(segment), "a mapping needs no daemon");
	shmd_detach(segment);
	shmd_disconnect(connection);
	shmd_detach(theirs);
	shmd_disconnect(other);
	daemon_stop(&living);
	setenv("SHMD_SOCKET", daemon_.socket, 1);
	connection = connect_or_fail();
	ck_assert_uint_eq(status_segments(connection), 0);
	shmd_disconnect(connection);
}
END_TEST

START_TEST(ends_with_clients_and_segments)
{
	static struct shmd_segment *volatile kept[2];
	struct shmd *connection = connect_or_fail();

	kept[0] = create_or_fail(connection, "a", 4096, SHMD_LIFETIME_PERSISTENT);
	kept[1] = create_or_fail(connection, "b", 4096, SHMD_LIFETIME_OWNER);
	ck_assert_ptr_ne(kept[0], kept[1]);
	/* tear_down() checks that a clean end leaves nothing. */
}
END_TEST

/* --- the configuration ------------------------------------------------------------------------ */

static void rewrite_config(const char *text)
{
	FILE *file = fopen(daemon_.config, "we");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
}

static uint64_t limit_value(struct shmd *connection, const char *name)
{
	struct shmd_status *status;
	uint64_t value = 0;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	for (size_t i = 0; i < status->n_limits; i++)
		if (strcmp(status->limits[i]->name, name) == 0)
			value = status->limits[i]->value;
	shmd_status_free(status);
	return value;
}

START_TEST(hangup_reads_the_configuration_again)
{
	struct shmd *connection = connect_or_fail();

	rewrite_config("[limits]\nsegments = 77\n");
	AWAIT(limit_value(connection, "segments") == 77);
	rewrite_config("[limits]\nsegments = 88\nnonsense = 1\n");
	AWAIT(daemon_logged(&daemon_, "conf:3: there is no option 'nonsense'"));
	ck_assert_uint_eq(limit_value(connection, "segments"), 77);
	shmd_disconnect(connection);
}
END_TEST

/* --- limits ----------------------------------------------------------------------------------- */

static void limit(const char *config)
{
	struct shmd *connection = connect_or_fail();

	rewrite_config(config);
	AWAIT(daemon_logged(&daemon_, "configuration read again"));
	shmd_disconnect(connection);
}

static void expect_limit(int r, const char *says)
{
	ck_assert_int_eq(r, -EDQUOT);
	ck_assert_msg(strstr(shmd_error_message(), says) != NULL, "it says: %s",
		      shmd_error_message());
}

START_TEST(limit_on_segments)
{
	limit("[limits]\nsegments = 2\n");
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *one = create_or_fail(connection, "1", 1, SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *two = create_or_fail(connection, "2", 1, SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *three;

	expect_limit(shmd_create(connection, "3", 1, NULL, &three), "segments=2");
	shmd_detach(two);
	AWAIT(shmd_create(connection, "3", 1, NULL, &three) == 0);
	shmd_detach(three);
	shmd_detach(one);
	shmd_disconnect(connection);
}
END_TEST

START_TEST(limit_on_bytes)
{
	limit("[limits]\nbytes_per_user = 1M\n");
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *one = create_or_fail(connection, "1", 1 << 20, SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *two;

	expect_limit(shmd_create(connection, "2", 1, NULL, &two),
		     "bytes_per_user=1048576 is reached: 1048576 in use, 1 more");
	shmd_detach(one);
	AWAIT(shmd_create(connection, "2", 1 << 20, NULL, &two) == 0);
	shmd_detach(two);
	shmd_disconnect(connection);
}
END_TEST

START_TEST(limit_on_clients)
{
	limit("[limits]\nclients_per_user = 2\n");
	struct shmd *one = connect_or_fail();
	struct shmd *two = connect_or_fail();
	struct shmd *three;

	expect_limit(shmd_connect(&three, NULL), "clients_per_user=2");
	shmd_disconnect(two);
	AWAIT(shmd_connect(&three, NULL) == 0);
	shmd_disconnect(three);
	shmd_disconnect(one);
}
END_TEST

START_TEST(limit_on_attachments)
{
	limit("[limits]\nattachments = 1\n");
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *one = create_or_fail(connection, "1", 1, SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *two, *again;

	expect_limit(shmd_create(connection, "2", 1, NULL, &two), "attachments=1");
	ck_assert_uint_eq(status_segments(connection), 1);
	ck_assert_uint_eq(daemon_files(&daemon_, "sem."), 1);
	/* The same pair once more costs nothing more. */
	ck_assert_int_eq(shmd_attach(connection, "1", 0, &again), 0);
	shmd_detach(again);
	shmd_detach(one);
	shmd_disconnect(connection);
}
END_TEST

/* With its descriptor table full, the daemon refuses with a reason, and recovers. */
START_TEST(no_descriptor_left)
{
	struct rlimit few, before;
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *segments[100];
	int n = 0, r;
	char name[16];

	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, NULL, &before), 0);
	few = (struct rlimit){60, before.rlim_max};
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, &few, NULL), 0);
	do {
		snprintf(name, sizeof(name), "s%d", n);
		r = shmd_create(connection, name, 1, NULL, &segments[n]);
	} while (r == 0 && ++n < 100);
	ck_assert_int_lt(n, 100);
	ck_assert_int_eq(r, -ENFILE);
	printf("# at 60 descriptors, after %d segments: %s\n", n, shmd_error_message());
	struct shmd *more[20];
	int m = 0;
	do
		r = shmd_connect(&more[m], NULL);
	while (r == 0 && ++m < 20);
	ck_assert_int_lt(m, 20);
	ck_assert_int_eq(r, -ENFILE);
	while (m > 0)
		shmd_disconnect(more[--m]);
	ck_assert_uint_eq(status_segments(connection), n);
	while (n > 0)
		shmd_detach(segments[--n]);
	await_segments(connection, 0);
	AWAIT(shmd_create(connection, "again", 1, NULL, &segments[0]) == 0);
	shmd_detach(segments[0]);
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, &before, NULL), 0);
	shmd_disconnect(connection);
}
END_TEST

/* --- its own books ---------------------------------------------------------------------------- */

static void some_work(struct actor *self, void *context)
{
	struct shmd *connection = connect_or_fail();
	char name[32];

	(void)context;
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "w%d-%d", (int)getpid(), i);
		create_or_fail(connection, name, 1 << 16, (enum shmd_lifetime)(i % 2));
	}
	actor_tell(self);
	actor_await(self);
}

START_TEST(descriptors_return_to_where_they_began)
{
	struct shmd *connection = connect_or_fail();
	struct actor clients[8];

	shmd_detach(create_or_fail(connection, "first", 1, SHMD_LIFETIME_CLIENTS));
	await_segments(connection, 0);
	unsigned before = count_descriptors(daemon_.pid);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 8; i++)
			actor_start(&clients[i], some_work, NULL);
		for (int i = 0; i < 8; i++)
			actor_await(&clients[i]);
		ck_assert_uint_eq(status_segments(connection), 40);
		for (int i = 0; i < 8; i++)
			actor_kill(&clients[i]);
		await_segments(connection, 0);
	}
	AWAIT(count_descriptors(daemon_.pid) == before);
	ck_assert_uint_eq(daemon_files(&daemon_, "sem."), 0);
	shmd_disconnect(connection);
}
END_TEST

START_TEST(reaping_is_told_in_the_log)
{
	struct shmd *connection = connect_or_fail();
	struct actor client;

	actor_start(&client, some_work, NULL);
	actor_await(&client);
	actor_kill(&client);
	await_segments(connection, 0);
	ck_assert(daemon_logged(&daemon_, "its owner is gone"));
	ck_assert(daemon_logged(&daemon_, "nobody has it any more"));
	shmd_disconnect(connection);
}
END_TEST

/* --- freeing ---------------------------------------------------------------------------------- */

static void filler(struct actor *self, void *context)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	(void)context;
	options.flags = SHMD_PREFAULT;
	int r = shmd_create(connect_or_fail(), "large", large_size(), &options, &segment);
	ck_assert_msg(r == 0, "create: %d %s", r, shmd_error_message());
	actor_tell(self);
	actor_await(self);
}

/* Asks until no segment is left, or for so long. Returns the worst round trip in ms. */
static double worst_ping(struct shmd *connection, double for_ms, double *ret_took)
{
	double worst = 0, begin = now_ms(), before, after;
	bool done;

	do {
		before = now_ms();
		done = status_segments(connection) == 0;
		after = now_ms();
		if (after - before > worst)
			worst = after - before;
	} while (for_ms > 0 ? after - begin < for_ms : !done);
	*ret_took = after - begin;
	return worst;
}

START_TEST(freeing_a_large_segment_stalls_nobody)
{
	struct shmd *connection = connect_or_fail();
	struct actor filling;
	double took, took_quiet;

	rewrite_config("[limits]\nbytes = 100%\nbytes_per_user = 100%\n");
	AWAIT(daemon_logged(&daemon_, "configuration read again"));
	actor_start(&filling, filler, NULL);
	actor_await(&filling);
	actor_kill(&filling);
	double worst = worst_ping(connection, 0, &took);
	double quiet = worst_ping(connection, took, &took_quiet);
	printf("# %zu MiB freed in %.1f ms: worst round trip meanwhile %.2f ms, in a quiet time as "
	       "long %.2f ms\n",
	       large_size() >> 20, took, worst, quiet);
	shmd_disconnect(connection);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon");
	TCase *tests = tcase_create("daemon");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, command_line, 0, 11);
	tcase_add_test(tests, a_path_that_is_no_socket_stays);
	tcase_add_test(tests, socket_is_for_everybody);
	tcase_add_test(tests, a_second_daemon_leaves_the_socket_alone);
	tcase_add_test(tests, sockets_from_the_service_manager);
	tcase_add_test(tests, killed_daemon_is_succeeded);
	tcase_add_test(tests, ends_with_clients_and_segments);
	tcase_add_test(tests, hangup_reads_the_configuration_again);
	tcase_add_test(tests, limit_on_segments);
	tcase_add_test(tests, limit_on_bytes);
	tcase_add_test(tests, limit_on_clients);
	tcase_add_test(tests, limit_on_attachments);
	tcase_add_test(tests, no_descriptor_left);
	tcase_add_test(tests, descriptors_return_to_where_they_began);
	tcase_add_test(tests, reaping_is_told_in_the_log);
	tcase_add_test(tests, freeing_a_large_segment_stalls_nobody);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

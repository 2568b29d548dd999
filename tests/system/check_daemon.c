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

/* Runs the daemon with these arguments, which lets it end by itself, and returns its exit status; what
 * it writes goes to `ret`. One that serves instead is ended, with status 124. */
static int run_shmd(const char *arguments, char *ret, size_t room)
{
	char command[1024];

	snprintf(command, sizeof(command), "exec 2>&1; exec timeout 10 \"$SHMD\" %s", arguments);
	FILE *pipe = popen(command, "r");
	ck_assert_ptr_nonnull(pipe);
	size_t n = fread(ret, 1, room - 1, pipe);
	ret[n] = '\0';
	int status = pclose(pipe);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* How many the daemon has open. Who is not root may not look into it, and has its word alone. */
static uint64_t open_descriptors(struct shmd *connection)
{
	struct shmd_status *status;

	ck_assert_int_eq(shmd_status(connection, &status), 0);
	uint64_t n = geteuid() == 0 ? count_descriptors(daemon_.pid) : status->descriptors;
	shmd_status_free(status);
	return n;
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

static void write_config(const char *text)
{
	FILE *file = fopen(daemon_.config, "we");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
}

static void rewrite_config(const char *text)
{
	write_config(text);
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
	shmd_disconnect(connection);
}
END_TEST

#define SPACES_50  "                                                  "
#define SPACES_200 SPACES_50 SPACES_50 SPACES_50 SPACES_50

/* What inih alone would let through (design.md, fact 17), and other mistakes. Each stands behind a good
 * option, segments = 77, and has another one behind it, clients = 7. */
static const struct {
	const char *bad;
	int line; /* that is to blame: the first one of `bad` is 3 */
	const char *says;
} broken[] = {
	/* inih would cut it, and take `attachments = 9` for a line of its own */
	{"bytes = 1G " SPACES_200 "attachments = 9", 3,
	 "the line has 226 bytes; at most 190 are allowed"},
	{"# a comment " SPACES_200 "attachments = 9", 3, "at most 190 are allowed"},
	/* inih would take it for a further value of `segments` */
	{"  attachments = 9", 3, "the line is indented"},
	{"\tmore", 3, "the line is indented"},
	/* inih would stay in [limits] */
	{"[daemon\nattachments = 9", 3, "the section's ']' is missing"},
	{"[daemon] attachments = 9", 3, "something behind the section's ']'"},
	{"[demon]\nattachments = 9\n[limits]", 3, "there is no section [demon]"},
	{"attachment = 9", 3, "there is no option 'attachment' in section [limits]"},
	{"log_level = debug", 3, "there is no option 'log_level' in section [limits]"},
	{"[daemon]\nsegments = 9\n[limits]", 4, "there is no option 'segments' in section"},
	{"segments = 78", 3, "'segments' is set a second time"},
	{"segments = 77", 3, "'segments' is set a second time"},
	{"[daemon]\n[limits]\nsegments = 78", 5, "'segments' is set a second time"},
	/* inih would go on behind it */
	{"attachments", 3, "not of the form 'name = value'"},
	{"attachments =", 3, "attachments = : not a number"},
	{"attachments = many", 3, "attachments = many: not a number"},
	{"attachments = -1", 3, "attachments = -1: not a number"},
	{"attachments = 18446744073709551616", 3, "not a number"},
	{"bytes = 101%", 3, "bytes = 101%: not bytes"},
	{"bytes = 16777216T", 3, "bytes = 16777216T: not bytes"},
	{"[daemon]\nunread_timeout = 0\n[limits]", 4, "unread_timeout = 0: not a time"},
	{"[daemon]\nlog_level = loud\n[limits]", 4, "log_level = loud: not error, warning"},
	{"[daemon]\nsocket = s\n[limits]", 4, "socket = s: not an absolute path"},
	{"# \x1b[2J", 3, "byte 3 of the line is a control character or not UTF-8"},
	{"# \xff", 3, "byte 3 of the line is a control character or not UTF-8"},
	/* of several, the first one is told */
	{"\nattachments = a\nattachments = b", 4, "attachments = a: not a number"},
};
#define N_BROKEN ((int)(sizeof(broken) / sizeof(broken[0])))

static void write_broken(int i)
{
	char text[1024];

	snprintf(text, sizeof(text), "[limits]\nsegments = 77\n%s\nclients = 7\n", broken[i].bad);
	write_config(text);
}

/* Where, and why: as it begins, and what it has further on. */
static void expect_complaint(const char *said, int i)
{
	char where[128];

	snprintf(where, sizeof(where), "shmd: error: %s:%d: ", daemon_.config, broken[i].line);
	ck_assert_msg(strncmp(said, where, strlen(where)) == 0, "it says: %s", said);
	ck_assert_msg(strstr(said, broken[i].says) != NULL, "it says: %s", said);
}

START_TEST(nothing_starts_on_a_broken_configuration)
{
	char arguments[256], socket[128], said[4096];

	write_broken(_i);
	snprintf(socket, sizeof(socket), "%s/other", daemon_.folder);
	snprintf(arguments, sizeof(arguments), "-c %s -s %s", daemon_.config, socket);
	ck_assert_int_eq(run_shmd(arguments, said, sizeof(said)), 78);
	expect_complaint(said, _i);
	/* One sentence, on one line. */
	ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
	ck_assert_int_eq(access(socket, F_OK), -1);
	strcat(socket, ".lock");
	ck_assert_int_eq(access(socket, F_OK), -1);
	strcat(arguments, " --check-config");
	ck_assert_int_eq(run_shmd(arguments, said, sizeof(said)), 78);
	expect_complaint(said, _i);
}
END_TEST

/* The n-th line of the log, from 0, that says that a configuration was refused. */
static bool find_complaint(int n, char *ret, int room)
{
	FILE *log = fopen(daemon_.log, "re");
	bool found = false;

	ck_assert_ptr_nonnull(log);
	while (!found && fgets(ret, room, log))
		found = strstr(ret, "; the configuration stays as it was\n") && n-- == 0;
	fclose(log);
	return found;
}

START_TEST(a_broken_configuration_is_refused_as_a_whole)
{
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *kept = create_or_fail(connection, "kept", 1, SHMD_LIFETIME_CLIENTS);
	char said[2048];

	rewrite_config("[limits]\nsegments = 66\nclients = 6\nattachments = 60\n");
	AWAIT(limit_value(connection, "segments") == 66);
	uint64_t before = open_descriptors(connection);
	for (int i = 0; i < N_BROKEN; i++) {
		write_broken(i);
		ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
		AWAIT(find_complaint(i, said, sizeof(said)));
		expect_complaint(said, i);
		ck_assert_uint_eq(limit_value(connection, "segments"), 66);
		ck_assert_uint_eq(limit_value(connection, "clients"), 6);
		ck_assert_uint_eq(limit_value(connection, "attachments"), 60);
	}
	ck_assert(!find_complaint(N_BROKEN, said, sizeof(said)));
	unlink(daemon_.config);
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
	AWAIT(find_complaint(N_BROKEN, said, sizeof(said)));
	ck_assert_ptr_nonnull(strstr(said, "/conf: No such file or directory"));
	ck_assert_uint_eq(open_descriptors(connection), before);
	ck_assert_uint_eq(clients_of(connection, "kept"), 1);
	/* And a good one is taken after all that. */
	rewrite_config("[limits]\nsegments = 88\n");
	AWAIT(limit_value(connection, "segments") == 88);
	ck_assert_uint_eq(limit_value(connection, "attachments"), 65536);
	shmd_detach(kept);
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

static void connect_for_a_while(struct actor *self, void *context)
{
	struct shmd *connection = connect_or_fail();

	(void)context;
	actor_tell(self);
	actor_await(self);
	shmd_disconnect(connection);
	actor_tell(self);
	actor_await(self);
}

/* Anybody can make any process an heir. */
START_TEST(an_heir_pays_nothing)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct actor actor;
	struct shmd *two;

	limit("[limits]\nclients_per_user = 2\n");
	actor_start(&actor, connect_for_a_while, NULL);
	actor_await(&actor);
	struct shmd *one = connect_or_fail();
	options.heir = actor.pid;
	ck_assert_int_eq(shmd_create(one, "1", 1, &options, &segment), 0);
	shmd_detach(segment);
	/* It is the heir's by then. */
	ck_assert_int_eq(shmd_hand_over(one, actor.pid), 0);
	actor_tell(&actor);
	actor_await(&actor);
	AWAIT(shmd_connect(&two, NULL) == 0);
	ck_assert_uint_eq(status_segments(one), 1);
	shmd_disconnect(two);
	actor_tell(&actor);
	actor_finish(&actor);
	await_segments(one, 0);
	shmd_disconnect(one);
}
END_TEST

#define ANOTHER_UID 64501

static void be_somebody_else(struct actor *self, void *context)
{
	(void)context;
	ck_assert_int_eq(setresuid(ANOTHER_UID, ANOTHER_UID, ANOTHER_UID), 0);
	actor_tell(self);
	actor_await(self);
}

/* Else who may make nothing persistent would name a process that lives for ever. */
START_TEST(an_heir_is_of_the_same_user)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *segment;
	struct actor actor;

	if (geteuid() != 0)
		return;
	actor_start(&actor, be_somebody_else, NULL);
	actor_await(&actor);
	options.heir = actor.pid;
	ck_assert_int_eq(shmd_create(connection, "1", 1, &options, &segment), 0);
	ck_assert_int_eq(shmd_hand_over(connection, actor.pid), -ENOENT);
	shmd_detach(segment);
	await_segments(connection, 0);
	actor_tell(&actor);
	actor_finish(&actor);
	shmd_disconnect(connection);
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

static void expect_no_descriptors(int r, const char *says)
{
	ck_assert_int_eq(r, -ENFILE);
	ck_assert_msg(strstr(shmd_error_message(), says) != NULL, "it says: %s",
		      shmd_error_message());
}

static void owner(struct actor *self, void *context)
{
	(void)context;
	create_or_fail(connect_or_fail(), "owned", 4096, SHMD_LIFETIME_OWNER);
	actor_tell(self);
	actor_await(self);
}

/* With its descriptor table full, the daemon refuses with a reason, and recovers. */
START_TEST(no_descriptor_left)
{
	struct rlimit few, before;
	struct shmd *connection = connect_or_fail();
	struct shmd_segment *segments[100], *again;
	struct actor actor;
	int n = 0, r;
	char name[16];

	actor_start(&actor, owner, NULL);
	actor_await(&actor);
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, NULL, &before), 0);
	few = (struct rlimit){60, before.rlim_max};
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, &few, NULL), 0);
	do {
		snprintf(name, sizeof(name), "s%d", n);
		r = shmd_create(connection, name, 1, NULL, &segments[n]);
	} while (r == 0 && ++n < 100);
	ck_assert_int_lt(n, 100);
	expect_no_descriptors(r, "it has no descriptor left (RLIMIT_NOFILE=");
	printf("# at 60 descriptors, after %d segments: %s\n", n, shmd_error_message());
	struct shmd *more[20];
	int m = 0;
	do
		r = shmd_connect(&more[m], NULL);
	while (r == 0 && ++m < 20);
	ck_assert_int_lt(m, 20);
	expect_no_descriptors(r, "the daemon has no descriptor left (RLIMIT_NOFILE)");
	expect_no_descriptors(shmd_attach(connection, "s0", 0, &again),
			      "it has no descriptor left (RLIMIT_NOFILE=");
	/* What there is goes on: memory, locks, the books, the end of a name, and that of the dead. */
	strcpy(shmd_segment_data(segments[0]), "");
	ck_assert_int_eq(shmd_acquire(segments[0], 0), 0);
	ck_assert_int_eq(shmd_release(segments[0]), 0);
	ck_assert_uint_eq(status_segments(connection), n + 1);
	ck_assert_uint_eq(clients_of(connection, "s0"), 1);
	ck_assert_int_eq(shmd_unlink(connection, "s1"), 0);
	actor_kill(&actor);
	await_gone(connection, "owned");
	await_segments(connection, (uint64_t)n);
	while (m > 0)
		shmd_disconnect(more[--m]);
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
	uint64_t before = open_descriptors(connection);
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
	AWAIT(open_descriptors(connection) == before);
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
	tcase_add_loop_test(tests, nothing_starts_on_a_broken_configuration, 0, N_BROKEN);
	tcase_add_test(tests, a_broken_configuration_is_refused_as_a_whole);
	tcase_add_test(tests, limit_on_segments);
	tcase_add_test(tests, limit_on_bytes);
	tcase_add_test(tests, limit_on_clients);
	tcase_add_test(tests, an_heir_pays_nothing);
	tcase_add_test(tests, an_heir_is_of_the_same_user);
	tcase_add_test(tests, limit_on_attachments);
	tcase_add_test(tests, no_descriptor_left);
	tcase_add_test(tests, descriptors_return_to_where_they_began);
	tcase_add_test(tests, reaping_is_told_in_the_log);
	tcase_add_test(tests, freeing_a_large_segment_stalls_nobody);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}

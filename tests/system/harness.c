/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* --- the daemon ------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
}

/* Another user may not be able to reach the build folder, so the program is copied to one that it
 * can. */
static void become_user(const struct test_daemon *daemon)
{
	if (setgroups(0, NULL) < 0 || setgid(daemon->uid) < 0 || setuid(daemon->uid) < 0)
		_exit(126);
	/* Changing user drops the wish to end with the test. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static void copy_program(const struct test_daemon *daemon)
{
	char command[512];

	snprintf(command, sizeof(command), "cp \"$SHMD\" %s/shmd && chown -R %u %s", daemon->folder,
		 daemon->uid, daemon->folder);
	ck_assert_int_eq(system(command), 0);
}

const char *daemon_log_level = "debug";
void (*daemon_prepare)(void);

/* $SHMD_WRAPPER is a command to run the daemon under, as valgrind. */
void daemon_exec(const struct test_daemon *daemon, int ready)
{
	const char *wrapper = getenv("SHMD_WRAPPER");
	char command[1024], copy[96], option[32] = "";

	snprintf(copy, sizeof(copy), "%s/shmd", daemon->folder);
	if (ready >= 0)
		snprintf(option, sizeof(option), "--ready-fd=%d", ready);
	if (daemon->uid)
		become_user(daemon);
	if (daemon_prepare)
		daemon_prepare();
	snprintf(command, sizeof(command), "exec %s '%s' -c '%s' -s '%s' -l %s %s 2>>'%s'",
		 wrapper ? wrapper : "", daemon->uid ? copy : getenv("SHMD"), daemon->config,
		 daemon->socket, daemon_log_level, option, daemon->log);
	execl("/bin/sh", "sh", "-c", command, NULL);
	_exit(127);
}

void daemon_read_instance(struct test_daemon *daemon)
{
	char line[512];
	FILE *log = fopen(daemon->log, "re");

	ck_assert_ptr_nonnull(log);
	while (fgets(line, sizeof(line), log)) {
		const char *at = strstr(line, "instance ");
		if (at && strstr(line, "serving"))
			sscanf(at, "instance %8[0-9a-f]", daemon->instance);
	}
	fclose(log);
	ck_assert_uint_eq(strlen(daemon->instance), 8);
}

void daemon_start_again(struct test_daemon *daemon)
{
	int ready[2];
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	fcntl(ready[0], F_SETFD, FD_CLOEXEC);
	daemon->pid = fork();
	ck_assert_int_ge(daemon->pid, 0);
	if (daemon->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		close(ready[0]);
		daemon_exec(daemon, ready[1]);
	}
	close(ready[1]);
	ck_assert_msg(read(ready[0], &byte, 1) == 1, "the daemon did not start; see %s",
		      daemon->log);
	close(ready[0]);
	daemon_read_instance(daemon);
}

void daemon_start(struct test_daemon *daemon, const char *config)
{
	daemon_start_as(daemon, config, 0);
}

void daemon_start_as(struct test_daemon *daemon, const char *config, uid_t uid)
{
	daemon_make(daemon, config, uid);
	daemon_start_again(daemon);
}

void daemon_make(struct test_daemon *daemon, const char *config, uid_t uid)
{
	ck_assert_msg(getenv("SHMD") != NULL, "SHMD must name the daemon's program");
	*daemon = (struct test_daemon){.uid = uid};
	strcpy(daemon->folder, "/tmp/shmd-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(daemon->folder));
	/* Clients of other users come, too. */
	ck_assert_int_eq(chmod(daemon->folder, 0755), 0);
	snprintf(daemon->socket, sizeof(daemon->socket), "%s/s", daemon->folder);
	snprintf(daemon->log, sizeof(daemon->log), "%s/log", daemon->folder);
	snprintf(daemon->config, sizeof(daemon->config), "%s/conf", daemon->folder);
	write_file(daemon->config, config ? config : "");
	if (uid)
		copy_program(daemon);
	setenv("SHMD_SOCKET", daemon->socket, 1);
	printf("# daemon's log, kept if this fails: %s\n", daemon->log);
	fflush(stdout);
}

void daemon_stop(struct test_daemon *daemon)
{
	int status;

	ck_assert_int_eq(kill(daemon->pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(daemon->pid, &status, 0), daemon->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "the daemon ended with status 0x%x; see %s", status, daemon->log);
	ck_assert_uint_eq(daemon_files(daemon, "sem.shmd-"), 0);
	ck_assert_uint_eq(daemon_files(daemon, "shmd-"), 0);
	daemon_unmake(daemon);
}

void daemon_unmake(struct test_daemon *daemon)
{
	char copy[96];

	ck_assert_int_ne(access(daemon->socket, F_OK), 0);
	snprintf(copy, sizeof(copy), "%s/shmd", daemon->folder);
	unlink(copy);
	unlink(daemon->log);
	unlink(daemon->config);
	ck_assert_msg(rmdir(daemon->folder) == 0, "%s is not empty", daemon->folder);
}

void daemon_kill(struct test_daemon *daemon)
{
	ck_assert_int_eq(kill(daemon->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(daemon->pid, NULL, 0), daemon->pid);
}

bool daemon_logged(const struct test_daemon *daemon, const char *text)
{
	char line[2048];
	bool found = false;
	FILE *log = fopen(daemon->log, "re");

	ck_assert_ptr_nonnull(log);
	while (!found && fgets(line, sizeof(line), log))
		found = strstr(line, text) != NULL;
	fclose(log);
	return found;
}

static unsigned count_entries(const char *path, const char *prefix, const char *part)
{
	DIR *folder = opendir(path);
	unsigned n = 0;

	ck_assert_ptr_nonnull(folder);
	for (struct dirent *entry; (entry = readdir(folder));)
		if (entry->d_name[0] != '.' &&
		    strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
		    strstr(entry->d_name, part))
			n++;
	closedir(folder);
	return n;
}

unsigned daemon_files(const struct test_daemon *daemon, const char *prefix)
{
	return count_entries("/dev/shm", prefix, daemon->instance);
}

unsigned count_descriptors(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	return count_entries(path, "", "");
}

/* --- actors ----------------------------------------------------------------------------------- */

void actor_start(struct actor *actor, actor_fn *fn, void *context)
{
	int there[2], back[2];

	ck_assert_int_eq(pipe2(there, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(back, O_CLOEXEC), 0);
	actor->pid = fork();
	ck_assert_int_ge(actor->pid, 0);
	if (actor->pid == 0) {
		struct actor self = {.pid = getpid(), .to = back[1], .from = there[0]};
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(there[1]);
		close(back[0]);
		fn(&self, context);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	actor->to = there[1];
	actor->from = back[0];
}

void actor_await(struct actor *actor)
{
	char byte;

	ck_assert_msg(read(actor->from, &byte, 1) == 1, "the other side has died");
}

void actor_tell(struct actor *actor)
{
	ck_assert_int_eq(write(actor->to, "x", 1), 1);
}

static int end(struct actor *actor)
{
	int status;

	ck_assert_int_eq(waitpid(actor->pid, &status, 0), actor->pid);
	close(actor->to);
	close(actor->from);
	return status;
}

void actor_kill(struct actor *actor)
{
	ck_assert_int_eq(kill(actor->pid, SIGKILL), 0);
	end(actor);
}

void actor_finish(struct actor *actor)
{
	int status = end(actor);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "an actor ended with status 0x%x", status);
}

size_t large_size(void)
{
	const char *text = getenv("SHMD_TEST_LARGE");

	return text ? strtoull(text, NULL, 10) : (size_t)256 << 20;
}

/* --- clients ---------------------------------------------------------------------------------- */

struct shmd *connect_or_fail(void)
{
	struct shmd *connection;
	int r = shmd_connect(&connection, NULL);

	ck_assert_msg(r == 0, "connect: %d %s", r, shmd_error_message());
	return connection;
}

struct shmd_segment *create_or_fail(struct shmd *connection, const char *name, size_t size,
				    enum shmd_lifetime lifetime)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.lifetime = lifetime;
	int r = shmd_create(connection, name, size, &options, &segment);
	ck_assert_msg(r == 0, "create: %d %s", r, shmd_error_message());
	return segment;
}

struct shmd_segment *attach_or_fail(struct shmd *connection, const char *name, int flags)
{
	struct shmd_segment *segment;
	int r = shmd_attach(connection, name, flags, &segment);

	ck_assert_msg(r == 0, "attach: %d %s", r, shmd_error_message());
	return segment;
}

bool segment_exists(struct shmd *connection, const char *name)
{
	struct shmd_details *details;
	int r = shmd_show(connection, name, &details);

	if (r == 0)
		shmd_details_free(details);
	ck_assert_msg(r == 0 || r == -ENOENT, "show: %d %s", r, shmd_error_message());
	return r == 0;
}

unsigned clients_of(struct shmd *connection, const char *name)
{
	struct shmd_details *details;
	int r = shmd_show(connection, name, &details);

	ck_assert_msg(r == 0, "show: %d %s", r, shmd_error_message());
	unsigned n = details->segment->clients;
	shmd_details_free(details);
	return n;
}

double await_gone(struct shmd *connection, const char *name)
{
	double before = now_ms();

	AWAIT(!segment_exists(connection, name));
	return now_ms() - before;
}

static struct shmd_status read_status(struct shmd *connection)
{
	struct shmd_status *status;
	int r = shmd_status(connection, &status);

	ck_assert_msg(r == 0, "status: %d %s", r, shmd_error_message());
	struct shmd_status copy = *status;
	shmd_status_free(status);
	return copy;
}

uint64_t status_segments(struct shmd *connection)
{
	return read_status(connection).segments;
}

uint64_t status_bytes(struct shmd *connection)
{
	return read_status(connection).bytes;
}

void await_segments(struct shmd *connection, uint64_t n)
{
	AWAIT(status_segments(connection) == n);
}

int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);

	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	srunner_free(runner);
	/* TAP has told; an exit status on top would count failures twice. */
	return 0;
}

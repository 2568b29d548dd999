/* SPDX-License-Identifier: MIT */
#include "stage.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LOG_SHOWN 2000  /* bytes of the log's end */
#define PATIENCE  10000 /* ms for the daemon to end */

static const char config_text[] = "[limits]\n"
				  "clients = 4096\n"
				  "clients_per_user = 4096\n"
				  "attachments_per_user = 65536\n";

/* --- signals ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t runner; /* 0: none */
static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
	signalled = number;
	if (runner > 0)
		kill(runner, SIGKILL);
}

static void set_signals(void (*handler)(int))
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = handler};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
}

/* The parent may have died before the kernel was told to tell. */
void stage_end_with(pid_t parent, int number)
{
	prctl(PR_SET_PDEATHSIG, number);
	if (getppid() != parent)
		_exit(1);
}

/* --- the daemon ------------------------------------------------------------------------------- */

static int make_folder(struct stage *stage)
{
	strcpy(stage->folder, "/tmp/shmd-bench-XXXXXX");
	if (!mkdtemp(stage->folder)) {
		warn("%s", stage->folder);
		stage->folder[0] = '\0';
		return -1;
	}
	snprintf(stage->socket, sizeof(stage->socket), "%s/s", stage->folder);
	snprintf(stage->config, sizeof(stage->config), "%s/conf", stage->folder);
	snprintf(stage->log, sizeof(stage->log), "%s/log", stage->folder);
	_cleanup_fclose_ FILE *file = fopen(stage->config, "we");
	if (!file || fputs(config_text, file) < 0 || fflush(file) != 0) {
		warn("%s", stage->config);
		return -1;
	}
	return 0;
}

/* A session of its own, so that a Ctrl-C is for us to answer. Its log goes to a file: what it costs
 * the daemon to write one is part of what it costs. */
static void exec_daemon(const struct stage *stage, pid_t parent, int ready)
{
	char option[32];
	int log = open(stage->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	stage_end_with(parent, SIGTERM);
	setsid();
	set_signals(SIG_DFL);
	if (log < 0 || dup2(log, STDERR_FILENO) < 0)
		_exit(126);
	fcntl(ready, F_SETFD, 0);
	snprintf(option, sizeof(option), "--ready-fd=%d", ready);
	execl(getenv("SHMD"), "shmd", "-c", stage->config, "-s", stage->socket, option, NULL);
	_exit(127);
}

static int start_daemon(struct stage *stage)
{
	int ready[2];
	char byte;
	pid_t self = getpid();

	if (pipe2(ready, O_CLOEXEC) < 0) {
		warn("pipe");
		return -1;
	}
	stage->daemon = fork();
	if (stage->daemon == 0)
		exec_daemon(stage, self, ready[1]);
	close(ready[1]);
	ssize_t n = stage->daemon < 0 ? -1 : read(ready[0], &byte, 1);
	close(ready[0]);
	if (n == 1)
		return 0;
	if (!signalled)
		warnx("%s did not start", getenv("SHMD"));
	return -1;
}

int stage_open(struct stage *stage)
{
	struct rlimit files;

	*stage = (struct stage){0};
	snprintf(stage->prefix, sizeof(stage->prefix), "shmd-bench-%d", (int)getpid());
	if (!getenv("SHMD")) {
		warnx("SHMD must name the daemon's program");
		return -1;
	}
	/* 256 clients of the bare server are 512 sockets, and the soft limit is often 1024. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	set_signals(on_signal);
	if (make_folder(stage) < 0 || start_daemon(stage) < 0)
		return -1;
	setenv("SHMD_SOCKET", stage->socket, 1);
	return 0;
}

/* Waits for the daemon's end. Returns whether it came in time. */
static bool await_daemon(const struct stage *stage)
{
	static const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < PATIENCE; i++) {
		if (waitpid(stage->daemon, NULL, WNOHANG) != 0)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static void stop_daemon(struct stage *stage)
{
	if (stage->daemon <= 0)
		return;
	kill(stage->daemon, SIGTERM);
	if (!await_daemon(stage)) {
		warnx("the daemon did not end, and is killed");
		kill(stage->daemon, SIGKILL);
		waitpid(stage->daemon, NULL, 0);
	}
	stage->daemon = 0;
}

/* --- the runner ------------------------------------------------------------------------------- */

static void show_log(const struct stage *stage)
{
	char text[LOG_SHOWN + 1];
	_cleanup_fclose_ FILE *log = fopen(stage->log, "re");

	if (!log)
		return;
	if (fseek(log, -LOG_SHOWN, SEEK_END) < 0)
		rewind(log);
	text[fread(text, 1, LOG_SHOWN, log)] = '\0';
	fprintf(stderr, "the daemon's log ends with:\n%s", text);
}

static int await_runner(void)
{
	int status;

	while (waitpid(runner, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	runner = 0;
	if (signalled)
		return 128 + signalled;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int stage_run(struct stage *stage, int fn(const struct stage *stage, void *context), void *context)
{
	pid_t self = getpid();
	pid_t pid = fork();

	if (pid == 0) {
		stage_end_with(self, SIGKILL);
		set_signals(SIG_DFL);
		exit(fn(stage, context));
	}
	runner = pid;
	/* One that came before there was somebody to kill. */
	if (signalled && pid > 0)
		kill(pid, SIGKILL);
	int status = pid < 0 ? 1 : await_runner();
	if (status != 0 && !signalled)
		show_log(stage);
	return status;
}

void stage_await(sem_t *ready, unsigned n)
{
	while (n > 0) {
		struct timespec deadline;
		clock_gettime(CLOCK_MONOTONIC, &deadline);
		deadline.tv_sec++;
		if (sem_clockwait(ready, CLOCK_MONOTONIC, &deadline) == 0)
			n--;
		else if (waitpid(-1, NULL, WNOHANG) > 0)
			errx(1, "one of the clients, or the bare server, has failed");
	}
}

/* --- the end ---------------------------------------------------------------------------------- */

static void remove_entries(const char *path, const char *part)
{
	DIR *folder = opendir(path);

	if (!folder)
		return;
	for (struct dirent *entry; (entry = readdir(folder));)
		if (entry->d_name[0] != '.' && strstr(entry->d_name, part))
			unlinkat(dirfd(folder), entry->d_name, 0);
	closedir(folder);
}

/* What the bare server and shm_open made, whoever was killed before removing it. The prefix ends in
 * our pid, and another's may begin like it. */
static void remove_ours(const struct stage *stage)
{
	char part[64];

	snprintf(part, sizeof(part), "%s-", stage->prefix);
	remove_entries("/dev/shm", part);
}

/* What a daemon that was killed left for the next one to sweep; here none follows. */
static void remove_daemons(const struct stage *stage)
{
	char line[512], instance[16], part[32];
	_cleanup_fclose_ FILE *log = fopen(stage->log, "re");
	const char *at = log && fgets(line, sizeof(line), log) ? strstr(line, "instance ") : NULL;

	if (!at || sscanf(at, "instance %8[0-9a-f]", instance) != 1)
		return;
	snprintf(part, sizeof(part), "shmd-%s", instance);
	remove_entries("/dev/shm", part);
}

/* The runner's children end with it, and as their reaper we know when. */
static void await_orphans(void)
{
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		continue;
}

void stage_close(struct stage *stage)
{
	stop_daemon(stage);
	await_orphans();
	remove_ours(stage);
	if (!stage->folder[0])
		return;
	remove_daemons(stage);
	remove_entries(stage->folder, "");
	if (rmdir(stage->folder) < 0)
		warn("%s", stage->folder);
}

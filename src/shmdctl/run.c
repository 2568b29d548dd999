/* SPDX-License-Identifier: MIT */
/*
 * shmdctl run: a private daemon for as long as a command runs. Owns the daemon's directory and its
 * life; what the command does with the daemon is not its business.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "shmdctl/child.h"
#include "shmdctl/command.h"

#define GRACE_MS 10000

struct instance {
	struct context *context;
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char program[PATH_MAX]; /* the daemon's */
	pid_t pid;              /* 0: it does not run */
};

/* --- its directory -------------------------------------------------------------------------- */

static bool make_directory_in(struct instance *instance, const char *parent)
{
	size_t room = sizeof(instance->socket);

	if (!parent || *parent != '/' ||
	    strlen(parent) > room - sizeof("/shmdctl-XXXXXX/shmd.sock"))
		return false;
	stpcpy(stpcpy(instance->directory, parent), "/shmdctl-XXXXXX");
	if (!mkdtemp(instance->directory))
		return false;
	stpcpy(stpcpy(instance->socket, instance->directory), "/shmd.sock");
	return true;
}

/* A directory whose name is too long for a socket in it is passed over like one that fails. */
static int make_directory(struct instance *instance)
{
	if (make_directory_in(instance, getenv("XDG_RUNTIME_DIR")) ||
	    make_directory_in(instance, getenv("TMPDIR")) || make_directory_in(instance, "/tmp"))
		return 0;
	return context_fail(instance->context, "cannot make a directory in /tmp: %s",
			    strerror(errno));
}

/* The directory is flat: the daemon has nothing in it but sockets and lock files. */
static void remove_directory(const struct instance *instance)
{
	DIR *directory = opendir(instance->directory);
	struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory)
		closedir(directory);
	if (rmdir(instance->directory) < 0)
		context_say(instance->context, "cannot remove '%s': %s", instance->directory,
			    strerror(errno));
}

/* --- its program ---------------------------------------------------------------------------- */

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Beside this very program first, so that a build runs its own daemon and not the system's. */
static int find_program(struct instance *instance)
{
	static const char *const beside[] = {"shmd", "../shmd", "../sbin/shmd"};
	char own[PATH_MAX / 2];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash = n > 0 ? memrchr(own, '/', (size_t)n) : NULL;

	for (size_t i = 0; slash && i < sizeof(beside) / sizeof(*beside); i++) {
		slash[1] = '\0';
		snprintf(instance->program, sizeof(instance->program), "%s%s", own, beside[i]);
		if (is_program(instance->program))
			return 0;
	}
	strcpy(instance->program, SBINDIR "/shmd");
	if (is_program(instance->program))
		return 0;
	return context_fail(instance->context, "cannot find shmd, neither beside shmdctl nor in %s",
			    SBINDIR);
}

/* --- its life ------------------------------------------------------------------------------- */

struct birth {
	int ready_fd;
	pid_t parent;
};

/*
 * In the daemon's process: it ends when shmdctl is killed, a key pressed on the terminal does not
 * reach it, and what it says goes to standard error.
 */
static void prepare_daemon(void *argument)
{
	const struct birth *birth = argument;
	int null = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != birth->parent)
		_exit(EXIT_OWN_FAILURE);
	setpgid(0, 0);
	fcntl(birth->ready_fd, F_SETFD, 0);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	/* The manager of a service that runs us is not this daemon's. */
	unsetenv("NOTIFY_SOCKET");
	unsetenv("LISTEN_PID");
}

static pid_t start_daemon(struct instance *instance, const struct signals *signals, int ready_fd)
{
	struct birth birth = {ready_fd, getpid()};
	char ready[32];
	const char *const argv[] = {instance->program,
				    "-s",
				    instance->socket,
				    "-c",
				    "/dev/null",
				    "-l",
				    "warning",
				    ready,
				    NULL};

	snprintf(ready, sizeof(ready), "--ready-fd=%d", ready_fd);
	return child_start(instance->context, signals, (char *const *)argv, prepare_daemon, &birth);
}

/* Returns 0 once the daemon serves, a signal's number if one came first, -1 if it is gone. */
static int wait_until_ready(struct signals *signals, int ready_fd)
{
	struct pollfd fds[] = {{.fd = ready_fd, .events = POLLIN},
			       {.fd = signals->fd, .events = POLLIN}};
	struct signalfd_siginfo info;
	char byte;

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			return read(ready_fd, &byte, 1) == 1 && byte == '\n' ? 0 : -1;
		int signal = signals_next(signals, 0, &info);
		if (signal != 0 && signal != SIGCHLD)
			return signal;
	}
}

static int launch(struct instance *instance, struct signals *signals)
{
	_cleanup_close_ int ready_fd = -1;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return context_fail(instance->context, "cannot make a pipe: %s", strerror(errno));
	ready_fd = ends[0];
	pid_t pid = start_daemon(instance, signals, ends[1]);
	close_fd(ends[1]);
	if (pid < 0)
		return -1;
	instance->pid = pid;
	int r = wait_until_ready(signals, ready_fd);
	if (r < 0)
		return context_fail(instance->context, "the daemon could not start");
	if (r > 0)
		instance->context->status = EXIT_SIGNAL + r;
	return r > 0 ? -1 : 0;
}

static void daemon_ended(pid_t pid, void *argument)
{
	struct instance *instance = argument;

	if (pid != instance->pid)
		return;
	instance->pid = 0;
	context_say(instance->context, "the daemon has ended before the command");
}

static int run_beside(struct instance *instance, struct signals *signals)
{
	struct context *context = instance->context;

	if (launch(instance, signals) < 0)
		return -1;
	if (setenv("SHMD_SOCKET", instance->socket, 1) < 0)
		return context_fail(context, "%s", strerror(errno));
	pid_t pid = child_start(context, signals, context->operands, NULL, NULL);
	if (pid < 0)
		return -1;
	context->status = child_wait(signals, pid, daemon_ended, instance);
	return 0;
}

static int run_guarded(struct instance *instance, struct signals *signals)
{
	if (make_directory(instance) < 0)
		return -1;
	int r = run_beside(instance, signals);
	if (instance->pid > 0)
		child_stop(signals, instance->pid, GRACE_MS);
	remove_directory(instance);
	return r;
}

static int run(struct context *context)
{
	struct instance instance = {.context = context};
	struct signals signals;

	if (context_option(context) < 0 || find_program(&instance) < 0)
		return -1;
	if (signals_init(&signals, child_signals) < 0)
		return context_fail(context, "cannot take signals: %s", strerror(errno));
	int r = run_guarded(&instance, &signals);
	signals_fini(&signals);
	return r;
}

const struct command run_command = {
	.name = "run",
	.operands = "[--] COMMAND...",
	.summary = "run a command with a private daemon",
	.min_operands = 1,
	.max_operands = -1,
	.runs_program = true,
	.run = run,
};

/* SPDX-License-Identifier: MIT */
/*
 * shmdctl run: a private daemon for as long as a command runs. Owns the daemon's directory and its
 * life; what the command does with the daemon is not its business, and what became of that report.c's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "shmdctl/child.h"
#include "shmdctl/command.h"
#include "shmdctl/report.h"

#define GRACE_MS 10000
#define SHIM     "libshmd-preload.so"

enum { OPTION_PRELOAD = OPTION_LONG, OPTION_REPORT };

static const struct option_info options[] = {
	{"preload", OPTION_PRELOAD, NULL, "have the command's own shm_open and sem_open go there"},
	{"report", OPTION_REPORT, NULL, "tell at the end what was reaped, and what was left"},
	{0},
};

struct instance {
	struct context *context;
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char config[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char program[PATH_MAX]; /* the daemon's */
	char shim[PATH_MAX];    /* for LD_PRELOAD; "": not asked for */
	pid_t pid;              /* 0: it does not run */
	bool has_report;        /* is asked for */
	struct report *report;  /* NULL: none, or not yet */
	struct child_beside beside;
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

/* The directory is flat: there is nothing in it but sockets, lock files and the configuration. */
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

/* --- its configuration ---------------------------------------------------------------------- */

/* What the other limits may take of RLIMIT_NOFILE, and the most segments that make sense. */
#define OTHER_DESCRIPTORS 12000
#define SEGMENTS_MIN      4096
#define SEGMENTS_MAX      65536

static unsigned long segments_max(void)
{
	struct rlimit limit;
	rlim_t most = SEGMENTS_MIN;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max > OTHER_DESCRIPTORS)
		most = (limit.rlim_max - OTHER_DESCRIPTORS) / 2;
	return most < SEGMENTS_MIN ? SEGMENTS_MIN : most > SEGMENTS_MAX ? SEGMENTS_MAX : most;
}

/* All of it is one user's, and a command that knows of no daemon knows of no limits. */
static int write_config(struct instance *instance)
{
	FILE *file;
	int r;

	stpcpy(stpcpy(instance->config, instance->directory), "/shmd.conf");
	file = fopen(instance->config, "we");
	if (file) {
		unsigned long most = segments_max();
		fprintf(file,
			"[limits]\nclients_per_user = 4096\nsegments = %lu\n"
			"segments_per_user = %lu\nsemaphores = %lu\nsemaphores_per_user = %lu\n"
			"attachments_per_user = 65536\nwaits_per_user = 16384\n"
			"subscriptions_per_user = 256\nunread_descriptors_per_user = 3072\n"
			"bytes_per_user = 75%%\n",
			most, most, most, most);
		r = ferror(file);
		if ((fclose(file) | r) == 0)
			return 0;
	}
	return context_fail(instance->context, "cannot write '%s': %s", instance->config,
			    strerror(errno));
}

/* --- its program, and the shim -------------------------------------------------------------- */

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool is_library(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, R_OK) == 0;
}

/* Beside this very program first, so that a build runs its own parts and not the system's. `places` ends
 * with the one of the installation. */
static bool find(char ret[static PATH_MAX], const char *const *places, bool is_it(const char *path))
{
	char own[PATH_MAX / 2];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash = n > 0 ? memrchr(own, '/', (size_t)n) : NULL;

	for (; *places; places++) {
		if (**places != '/' && !slash)
			continue;
		if (slash)
			slash[1] = '\0';
		snprintf(ret, PATH_MAX, "%s%s", **places == '/' ? "" : own, *places);
		if (is_it(ret))
			return true;
	}
	return false;
}

static int find_program(struct instance *instance)
{
	static const char *const places[] = {"shmd", "../shmd", "../sbin/shmd", SBINDIR "/shmd",
					     NULL};

	if (find(instance->program, places, is_program))
		return 0;
	return context_fail(instance->context, "cannot find shmd, neither beside shmdctl nor in %s",
			    SBINDIR);
}

/* The dynamic linker takes a path apart at these, and has no way to quote them. */
static int find_shim(struct instance *instance)
{
	static const char *const places[] = {
		SHIM, ".libs/" SHIM, "../lib/" SHIM, "../lib64/" SHIM, "../" SHIM, LIBDIR "/" SHIM,
		NULL};

	if (!find(instance->shim, places, is_library))
		return context_fail(instance->context,
				    "cannot find " SHIM ", neither beside shmdctl nor in %s",
				    LIBDIR);
	if (strpbrk(instance->shim, ": \t\n"))
		return context_fail(instance->context,
				    "cannot preload '%s': its path has a colon or a space",
				    instance->shim);
	return 0;
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
				    instance->config,
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

/* --- the command ---------------------------------------------------------------------------- */

static void child_ended(pid_t pid, void *argument)
{
	struct instance *instance = argument;

	if (pid != instance->pid)
		return;
	instance->pid = 0;
	context_say(instance->context, "the daemon has ended before the command");
}

static void report_readable(void *argument)
{
	struct instance *instance = argument;

	if (report_take_in(instance->report) < 0)
		instance->beside.fd = -1;
}

static int begin_report(struct instance *instance)
{
	if (report_new(&instance->report, instance->context, instance->socket) < 0)
		return -1;
	instance->beside.fd = report_fd(instance->report);
	return 0;
}

/* Of the command alone: the daemon runs by now. What the caller preloads comes after ours. */
static int prepare_environment(struct instance *instance)
{
	_cleanup_free_ char *list = NULL;
	const char *others = getenv("LD_PRELOAD");
	int r = setenv("SHMD_SOCKET", instance->socket, 1);

	if (r == 0 && instance->shim[0]) {
		r = asprintf(&list, "%s%s%s", instance->shim, others && *others ? ":" : "",
			     others ? others : "");
		if (r < 0)
			list = NULL;
		else
			r = setenv("LD_PRELOAD", list, 1);
	}
	return r < 0 ? context_fail(instance->context, "%s", strerror(errno)) : 0;
}

static int run_beside(struct instance *instance, struct signals *signals)
{
	struct context *context = instance->context;

	if (launch(instance, signals) < 0 || (instance->has_report && begin_report(instance) < 0) ||
	    prepare_environment(instance) < 0)
		return -1;
	pid_t pid = child_start(context, signals, context->operands, NULL, NULL);
	if (pid < 0)
		return -1;
	context->status = child_wait(signals, pid, &instance->beside);
	if (instance->report)
		report_tell(instance->report);
	return 0;
}

static int run_guarded(struct instance *instance, struct signals *signals)
{
	if (make_directory(instance) < 0)
		return -1;
	int r = write_config(instance);
	if (r == 0)
		r = run_beside(instance, signals);
	instance->report = report_free(instance->report);
	if (instance->pid > 0)
		child_stop(signals, instance->pid, GRACE_MS);
	remove_directory(instance);
	return r;
}

static int parse(struct context *context, struct instance *instance)
{
	int option;

	while ((option = context_option(context)) > 0) {
		if (option == OPTION_REPORT)
			instance->has_report = true;
		else if (find_shim(instance) < 0)
			return -1;
	}
	return option;
}

static int run(struct context *context)
{
	struct instance instance = {.context = context};
	struct signals signals;

	instance.beside = (struct child_beside){
		.ended = child_ended, .readable = report_readable, .fd = -1, .argument = &instance};
	if (parse(context, &instance) < 0 || find_program(&instance) < 0)
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
	.options = options,
	.min_operands = 1,
	.max_operands = -1,
	.runs_program = true,
	.run = run,
};

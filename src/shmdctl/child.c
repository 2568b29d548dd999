/* SPDX-License-Identifier: MIT */
#include "shmdctl/child.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shmdctl/command.h"

const int child_signals[] = {SIGCHLD, SIGALRM, SIGHUP,  SIGINT, SIGQUIT,
			     SIGTERM, SIGUSR1, SIGUSR2, 0};

static _Noreturn void execute(struct context *context, const struct signals *signals,
			      char *const argv[])
{
	sigprocmask(SIG_SETMASK, &signals->before, NULL);
	execvp(argv[0], argv);
	int error = errno;
	context_say(context, "cannot execute '%s': %s", argv[0], strerror(error));
	_exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE);
}

pid_t child_start(struct context *context, const struct signals *signals, char *const argv[],
		  child_prepare_fn *prepare, void *argument)
{
	/* Where our caller ignored it, the kernel would throw the exit status away. */
	sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
	pid_t pid = fork();
	if (pid < 0)
		return context_fail(context, "cannot start '%s': %s", argv[0], strerror(errno));
	if (pid == 0) {
		if (prepare)
			prepare(argument);
		execute(context, signals, argv);
	}
	return pid;
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A key pressed on the terminal has reached the whole foreground group already. */
static bool came_from_terminal(const struct signalfd_siginfo *info)
{
	return info->ssi_code == SI_KERNEL &&
	       (info->ssi_signo == SIGINT || info->ssi_signo == SIGQUIT);
}

/* Takes in all children that have ended. Returns whether `pid` is among them. */
static bool reap(pid_t pid, int *ret_status, const struct child_beside *beside)
{
	bool found = false;
	pid_t ended;
	int status;

	while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
		if (ended == pid) {
			*ret_status = exit_status(status);
			found = true;
		} else if (beside && beside->ended) {
			beside->ended(ended, beside->argument);
		}
	}
	return found;
}

/* The next signal; meanwhile what there is beside is looked after. */
static int next_signal(struct signals *signals, const struct child_beside *beside,
		       struct signalfd_siginfo *ret)
{
	struct pollfd fds[] = {{.fd = signals->fd, .events = POLLIN}, {.events = POLLIN}};

	while (beside && beside->fd >= 0) {
		fds[1].fd = beside->fd;
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			beside->readable(beside->argument);
		if (fds[0].revents)
			break;
	}
	return signals_next(signals, -1, ret);
}

int child_wait(struct signals *signals, pid_t pid, const struct child_beside *beside)
{
	struct signalfd_siginfo info;
	int status = 0;

	for (;;) {
		int signal = next_signal(signals, beside, &info);
		if (signal == SIGCHLD && reap(pid, &status, beside))
			return status;
		if (signal != SIGCHLD && !came_from_terminal(&info))
			kill(pid, signal);
	}
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

void child_stop(struct signals *signals, pid_t pid, int grace_ms)
{
	struct signalfd_siginfo info;
	int64_t deadline = now_ms() + grace_ms;
	int64_t left;

	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		left = deadline - now_ms();
		if (left <= 0 || signals_next(signals, (int)left, &info) == 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return;
		}
	}
}

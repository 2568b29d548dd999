/* SPDX-License-Identifier: MIT */
#include "shmdctl/signals.h"

#include <poll.h>
#include <stddef.h>
#include <unistd.h>

int signals_matter(int signal)
{
	struct sigaction action;

	if (signal == SIGCHLD)
		return 1;
	return sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_IGN;
}

int signals_init(struct signals *signals, const int *list)
{
	sigset_t taken;

	sigemptyset(&taken);
	for (; *list; list++)
		if (signals_matter(*list))
			sigaddset(&taken, *list);
	signals->fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals->fd < 0)
		return -1;
	return sigprocmask(SIG_BLOCK, &taken, &signals->before);
}

void signals_fini(struct signals *signals)
{
	close(signals->fd);
	sigprocmask(SIG_SETMASK, &signals->before, NULL);
}

int signals_next(struct signals *signals, int timeout_ms, struct signalfd_siginfo *ret)
{
	struct pollfd pollfd = {.fd = signals->fd, .events = POLLIN};

	while (read(signals->fd, ret, sizeof(*ret)) != (ssize_t)sizeof(*ret))
		if (poll(&pollfd, 1, timeout_ms) == 0)
			return 0;
	return (int)ret->ssi_signo;
}

void signals_end_by(int signal)
{
	sigset_t set;

	sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal);
	raise(signal);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	_exit(128 + signal);
}

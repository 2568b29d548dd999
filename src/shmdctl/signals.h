/* SPDX-License-Identifier: MIT */
/*
 * Signals as events: blocked, and read from a descriptor. Signals that the caller of shmdctl had
 * ignored (nohup) stay ignored. Knows nothing of what they mean.
 */
#ifndef SHMDCTL_SIGNALS_H
#define SHMDCTL_SIGNALS_H

#include <signal.h>
#include <sys/signalfd.h>

struct signals {
	int fd;          /* readable when one has come */
	sigset_t before; /* the mask as it was, for children */
};

/* Takes the signals of a list that ends with 0. Returns 0 or -1 with errno. */
int signals_init(struct signals *signals, const int *list);

/* Gives them back: one that has come and was not read takes effect. */
void signals_fini(struct signals *signals);

/* Whether it does something: SIGCHLD always, others unless they are ignored. */
int signals_matter(int signal);

/* Waits for the next one; -1 milliseconds wait for ever. Returns its number, 0 at the time-out. */
int signals_next(struct signals *signals, int timeout_ms, struct signalfd_siginfo *ret);

/* Ends this process by that signal's default action, so that the caller sees how it ended. */
_Noreturn void signals_end_by(int signal);

#endif

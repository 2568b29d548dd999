/* SPDX-License-Identifier: MIT */
/*
 * Programs that shmdctl runs: starting one with the signals as shmdctl found them, passing signals
 * on to it, and its end as an exit status. shmdctl never ends before a program that it waits for.
 */
#ifndef SHMDCTL_CHILD_H
#define SHMDCTL_CHILD_H

#include <sys/types.h>

#include "shmdctl/signals.h"

struct context;

/* The signals that are passed on, and SIGCHLD; for signals_init(), before a program is started. */
extern const int child_signals[];

/* The same without SIGCHLD: those that end a program which does not care for them. */
#define CHILD_SIGNALS_THAT_END (child_signals + 1)

/* Called in the new process before it executes its program. */
typedef void child_prepare_fn(void *argument);

/* What else is looked after while a child is waited for. */
struct child_beside {
	void (*ended)(pid_t pid, void *argument); /* another child has; NULL: no matter */
	void (*readable)(void *argument);         /* the descriptor is */
	int fd;                                   /* -1: none; may be changed when called */
	void *argument;
};

/*
 * Starts a program, which it looks for along $PATH. Returns its pid or, having said why not, -1. In
 * the child a failure ends with EXIT_NOT_FOUND or EXIT_CANNOT_EXECUTE.
 */
pid_t child_start(struct context *context, const struct signals *signals, char *const argv[],
		  child_prepare_fn *prepare, void *argument);

/* Passes signals on until that child ends; `beside` may be NULL. Returns its exit status. */
int child_wait(struct signals *signals, pid_t pid, const struct child_beside *beside);

/* Asks a child to end, and kills it when it has not ended after that time. */
void child_stop(struct signals *signals, pid_t pid, int grace_ms);

#endif
